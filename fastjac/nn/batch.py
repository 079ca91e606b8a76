"""``Batch``: rows and what belongs to them, checked once, against a network's widths and a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from fastjac.kernels.arrays import Borrowed, Float, finite, floats, unknown, weights
from fastjac.nn.losses import Loss
from fastjac.support import arguments

ClassWeight = Mapping[int, float] | Literal["balanced"]


class Signature(NamedTuple):
    """What a network takes and gives."""

    inputs: int
    outputs: int
    dtype: Float


class Batch:
    """Checked samples: labels of our own, and the rest as it was given, which ``check`` looks at again.

    Attributes:
        X: (N, inputs) of the network's dtype.
        labels: (N,) class indices, or None.
        targets: (N, outputs), or None where there are labels.
        weight: (N,) weights, or None for 1.
    """

    def __init__(
        self,
        X: np.ndarray,
        labels: np.ndarray | None,
        targets: np.ndarray | None,
        weight: np.ndarray | None,
        prefix: str = "",
    ) -> None:
        self._held: list[Borrowed] = []
        self._prefix = prefix
        self.X = self._hold("X", X)
        self.labels = labels
        self.targets = None if targets is None else self._hold("y", targets)
        self.weight = None if weight is None else self._hold("sample_weight", weight)

    def _hold(self, name: str, array: np.ndarray) -> np.ndarray:
        held = Borrowed(self._prefix + name, array)
        self._held.append(held)
        return held.array

    @classmethod
    def checked(
        cls,
        of: Signature,
        loss: Loss,
        X: object,
        y: object,
        weight: object,
        prefix: str = "",
        *,
        class_weight: ClassWeight | None = None,
        all_finite: bool = True,
    ) -> Batch:
        """The samples, if they are what a network of this signature and the loss take.

        Args:
            of: the network's widths and type.
            loss: whose targets ``y`` are.
            X, y, weight: as ``Sequential.fit`` takes them; no weight is None.
            prefix: what the names of arguments begin with in messages, such as "validation ".
            class_weight: as ``Sequential.fit`` takes it.
            all_finite: whether X may have no NaN and nothing infinite.

        Raises:
            TypeError, ValueError: what does not fit, by its name.
        """
        name = f"{prefix}X"
        X = floats(name, X, (None, of.inputs), of.dtype)
        if all_finite:
            X = finite(name, X)
        if len(X) == 0:
            raise ValueError(f"{name} has shape {X.shape}, expected at least one row: (1, {of.inputs})")
        labels, targets = loss.targets(y, len(X), of.outputs, of.dtype, f"{prefix}y")
        weight = None if weight is None else weights(f"{prefix}sample_weight", weight, len(X))
        if class_weight is not None:
            weight = _with_class_weight(labels, targets, weight, class_weight, of.outputs)
        return cls(X, labels, targets, weight, prefix)

    def __len__(self) -> int:
        return len(self.X)

    def check(self, before: str) -> None:
        """Raise ValueError where an array was resized, and its memory with it."""
        for one in self._held:
            one.check(before)

    def own(self) -> Batch:
        """The same in memory of their own."""
        targets = None if self.targets is None else self.targets.copy()
        weight = None if self.weight is None else self.weight.copy()
        return Batch(self.X.copy(), self.labels, targets, weight, self._prefix)


def _with_class_weight(
    labels: np.ndarray | None,
    targets: np.ndarray | None,
    weight: np.ndarray | None,
    class_weight: ClassWeight,
    classes: int,
) -> np.ndarray:
    """Sample weights times the weight of each sample's class."""
    if labels is None:
        assert targets is not None
        raise ValueError(
            "class_weight needs targets that are class indices, expected y of shape"
            f" ({len(targets)},), not {targets.shape}"
        )
    factors = np.ones(classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise unknown("class_weight", class_weight, ["balanced"])
        counts = np.bincount(labels, minlength=classes)
        present = counts > 0
        factors[present] = len(labels) / (present.sum() * counts[present])
    elif isinstance(class_weight, Mapping):
        for label, factor in class_weight.items():
            if arguments.count("a class of class_weight", label, 0) >= classes:
                raise ValueError(f"class_weight has the class {label}, expected 0 to {classes - 1}")
            factors[label] = arguments.real(f"class_weight[{label}]", factor)
    else:
        raise TypeError(f"class_weight is {class_weight!r}, expected {{class: weight}} or 'balanced'")
    given = 1.0 if weight is None else weight
    return weights("sample_weight times class_weight", factors[labels] * given, len(labels))
