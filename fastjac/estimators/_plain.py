"""What scikit-learn's checks would hand back as it is, told in some microseconds; all else goes through them.

Those checks know tables, sparse matrices, other libraries' arrays and words for what is wrong, and take as long as a
hundred steps of a small network: too long for ``partial_fit`` with a few rows at a time.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from fastjac.kernels.arrays import FLOATS, all_finite


def is_plain(X: object, estimator: Any) -> TypeGuard[np.ndarray]:
    """Whether X is rows for a fitted estimator to which nothing needs to be done and of which nothing is to be said."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in FLOATS
        and X.shape[0] > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and all_finite(X)
    )


def are_plain_numbers(y: object, rows: int) -> TypeGuard[np.ndarray]:
    """Whether y is one finite number for each row."""
    return type(y) is np.ndarray and y.shape == (rows,) and y.dtype in FLOATS and all_finite(y)


def class_indices(y: object, rows: int, classes: np.ndarray) -> np.ndarray | None:
    """Which of the classes each row is of; None where y is anything else than whole numbers or texts among them.

    Args:
        classes: (n_classes,), sorted.
    """
    if (
        type(y) is not np.ndarray
        or y.shape != (rows,)
        or y.dtype.kind not in "iuU"
        or y.dtype.kind != classes.dtype.kind
    ):
        return None
    indices = np.searchsorted(classes, y)
    return indices if (classes.take(indices, mode="clip") == y).all() else None
