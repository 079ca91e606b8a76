"""Losses over a mini-batch: as Jacobians of a vector of N predictions, then as matrices shaped like them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._validate import (
    Array,
    as_array,
    as_matrix,
    as_vector,
    check_count,
    check_inside,
    check_length,
    check_not_negative,
    check_same_shape,
    check_unit_interval,
)
from .diagonal import Diagonal
from .elementwise import elementwise_diagonal

# As PyTorch: log p never below −100, p(1 − p) never below 1e-12, so that p = 0 or 1 stays finite.
LOG_FLOOR = -100.0
DENOMINATOR_FLOOR = 1e-12

LossSlope = Callable[[Array, Array], Array]


def batch_mean(samples: int, weights: ArrayLike | None = None, dtype: DTypeLike = np.float64) -> Array:
    """∂J/∂J0 = (1/N … 1/N) of J = (1/N)·Σ J0⁽ⁱ⁾. Course row B8.

    Args:
        samples: N.
        weights: None, or (N,) non-negative: then J = Σ w_i J0⁽ⁱ⁾ / Σ w_i and the entries are w_i / Σ w_i (all zero if
            every weight is).
        dtype: of the result, where there are no weights.

    Returns:
        (1, N) of dtype (of the weights, if there are any).

    Raises:
        ValueError: N is no count, or a weight is negative or not finite.

    >>> batch_mean(4)
    array([[0.25, 0.25, 0.25, 0.25]])
    >>> batch_mean(2, weights=[1.0, 3.0])
    array([[0.25, 0.75]])
    """
    check_count("samples", samples)
    if weights is None:
        return np.full((1, samples), 1 / max(samples, 1), dtype=dtype)
    weights = as_vector("weights", weights)
    check_length("weights", weights, samples, "one weight a sample")
    bad = ~((weights >= 0) & np.isfinite(weights))
    if bad.any():
        raise ValueError(f"weights holds {weights[bad][0]!s}, expected finite numbers of at least 0")
    total = weights.sum()
    return (weights / total if total > 0 else weights)[None, :]


def squared_error_slope(y_hat: ArrayLike, y: ArrayLike) -> Array:
    """∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ = −2(y − ŷ) of J0 = (y − ŷ)², entry by entry. Course row B9.

    Args:
        y_hat, y: predictions and targets of one shape.

    Returns:
        That shape: the diagonal of ∂J0/∂ŷ.

    Raises:
        ValueError: the shapes differ.

    >>> squared_error_slope([3.0, 1.0], [1.0, 1.0])
    array([ 4., -0.])
    """
    y_hat, y = _predictions_and_targets(y_hat, y)
    return -2 * (y - y_hat)


def binary_cross_entropy_slope(y_hat: ArrayLike, y: ArrayLike) -> Array:
    """∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ = (ŷ − y)/(ŷ(1 − ŷ)) of J0 = −[y ln ŷ + (1 − y) ln(1 − ŷ)]. Course row B10.

    Args:
        y_hat: predicted probabilities in [0, 1].
        y: targets in [0, 1], same shape.

    Returns:
        That shape: the diagonal of ∂J0/∂ŷ. The denominator is at least 1e-12 (PyTorch's choice too), so that ŷ = 0 with
        y = 1 gives −1e12, not −inf.

    Raises:
        ValueError: the shapes differ or a number is outside [0, 1].

    >>> binary_cross_entropy_slope([0.5, 0.5], [1.0, 0.0])
    array([-2.,  2.])
    """
    y_hat, y = _predictions_and_targets(y_hat, y)
    check_unit_interval("y_hat", y_hat)
    check_unit_interval("y", y)
    return (y_hat - y) / np.maximum(y_hat * (1 - y_hat), y_hat.dtype.type(DENOMINATOR_FLOOR))


def absolute_error_slope(y_hat: ArrayLike, y: ArrayLike) -> Array:
    """∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ = sign(ŷ − y) of J0 = |y − ŷ|, entry by entry. Beyond the course, row F1.

    Args:
        y_hat, y: predictions and targets of one shape.

    Returns:
        That shape: the diagonal of ∂J0/∂ŷ. Where ŷ = y there is no derivative: 0 is chosen.

    Raises:
        ValueError: the shapes differ.

    >>> absolute_error_slope([3.0, 1.0, 0.0], [1.0, 1.0, 1.0])
    array([ 1.,  0., -1.])
    """
    y_hat, y = _predictions_and_targets(y_hat, y)
    return np.sign(y_hat - y)


def huber_slope(y_hat: ArrayLike, y: ArrayLike, delta: float = 1.0) -> Array:
    """∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ = ŷ − y cut at ±δ, of J0 = (y − ŷ)²/2 or δ(|y − ŷ| − δ/2). Beyond the course, row F2.

    Args:
        y_hat, y: predictions and targets of one shape.
        delta: δ, where the parabola becomes a line: a number above 0.

    Returns:
        That shape: the diagonal of ∂J0/∂ŷ. It has no jump: at |y − ŷ| = δ both formulas give ±δ.

    Raises:
        ValueError: the shapes differ or δ is not above 0.

    >>> huber_slope([3.0, 1.0, 0.5], [1.0, 1.0, 1.0])
    array([ 1. ,  0. , -0.5])
    """
    y_hat, y = _predictions_and_targets(y_hat, y)
    check_inside("delta", delta, np.inf)
    return np.clip(y_hat - y, -float(delta), float(delta))


def quantile_slope(y_hat: ArrayLike, y: ArrayLike, quantile: float = 0.5) -> Array:
    """∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ = −q, or 1 − q, of J0 = max(q(y − ŷ), (q − 1)(y − ŷ)). Beyond the course, row F3.

    Args:
        y_hat, y: predictions and targets of one shape.
        quantile: q, above 0 and below 1.

    Returns:
        That shape: the diagonal of ∂J0/∂ŷ: −q where y > ŷ, 1 − q where y < ŷ. Where they are equal there is no
        derivative: 0 is chosen, which lies between the two.

    Raises:
        ValueError: the shapes differ or q is not inside (0, 1).

    >>> quantile_slope([3.0, 1.0, 0.0], [1.0, 1.0, 1.0], quantile=0.25)
    array([ 0.75,  0.  , -0.25])
    """
    y_hat, y = _predictions_and_targets(y_hat, y)
    check_inside("quantile", quantile, 1)
    error, q = y_hat - y, float(quantile)
    return np.where(error > 0, 1 - q, np.where(error < 0, -q, error))  # a NaN passes


def poisson_slope(z: ArrayLike, y: ArrayLike) -> Array:
    """∂J0⁽ⁱ⁾/∂z⁽ⁱ⁾ = e^z − y of J0 = e^z − y + y(ln y − z), entry by entry. Beyond the course, row F4.

    Args:
        z: logarithms of the predicted rates.
        y: targets of at least 0, same shape.

    Returns:
        That shape: the diagonal of ∂J0/∂z.

    Raises:
        ValueError: the shapes differ or a target is below 0.

    >>> poisson_slope([0.0, 0.0], [0.0, 3.0])
    array([ 1., -2.])
    """
    z, y = as_array("z", z), as_array("y", y)
    check_same_shape("y", y, "z", z)
    check_not_negative("y", y)
    return np.exp(z) - y


def loss_per_sample_diagonal(slope: LossSlope, y_hat: ArrayLike, y: ArrayLike) -> Diagonal:
    """∂J0/∂ŷ, diagonal since J0⁽ⁱ⁾ depends on ŷ⁽ⁱ⁾ alone; N numbers stored. Course row B8.

    Args:
        slope: ∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ as a function of (ŷ, y), such as ``squared_error_slope``.
        y_hat, y: vectors (N,).

    Returns:
        A ``Diagonal`` N×N.

    Raises:
        ValueError: the shapes differ.

    >>> loss_per_sample_diagonal(squared_error_slope, [3.0, 2.0], [1.0, 1.0])
    Diagonal([4., 2.])
    """
    y_hat, y = as_vector("y_hat", y_hat), as_vector("y", y)
    check_same_shape("y", y, "y_hat", y_hat)
    return elementwise_diagonal(lambda y_hat: slope(y_hat, y), y_hat)


def loss_per_sample(slope: LossSlope, y_hat: ArrayLike, y: ArrayLike) -> Array:
    """∂J0/∂ŷ = diag(∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾), the losses of N samples. Course row B8.

    Args:
        slope: ∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ as a function of (ŷ, y), such as ``squared_error_slope``.
        y_hat, y: vectors (N,).

    Returns:
        (N, N), the zeros written out; ``loss_per_sample_diagonal`` is the same matrix in N numbers.

    Raises:
        ValueError: the shapes differ.

    >>> loss_per_sample(squared_error_slope, [3.0, 2.0], [1.0, 1.0])
    array([[4., 0.],
           [0., 2.]])
    """
    return loss_per_sample_diagonal(slope, y_hat, y).to_array()


def mean_squared_error(y_hat: ArrayLike, y: ArrayLike) -> Array:
    """∂J/∂ŷ = −(2/N)(y − ŷ), the product of ``batch_mean`` and ∂J0/∂ŷ. Course row B9.

    The slide heads ∂J0⁽ⁱ⁾/∂ŷ⁽ⁱ⁾ as ∂J/∂J0⁽ⁱ⁾, here and for the binary cross-entropy: a slip, the latter is 1/N.

    Args:
        y_hat, y: vectors (N,): predictions and targets.

    Returns:
        (1, N): the Jacobian of a scalar is a row.

    Raises:
        ValueError: the shapes differ.

    >>> mean_squared_error([3.0, 2.0], [1.0, 1.0])
    array([[2., 1.]])
    """
    J = loss_per_sample_diagonal(squared_error_slope, y_hat, y)
    return batch_mean(J.shape[0], dtype=J.dtype) @ J


def binary_cross_entropy(y_hat: ArrayLike, y: ArrayLike) -> Array:
    """∂J/∂ŷ = (1/N)(ŷ − y)/(ŷ(1 − ŷ)), the product of ``batch_mean`` and ∂J0/∂ŷ. Course row B10.

    Args:
        y_hat, y: vectors (N,): predicted probabilities and targets, both in [0, 1].

    Returns:
        (1, N): the Jacobian of a scalar is a row. ŷ(1 − ŷ) counts as 1e-12 where it is less.

    Raises:
        ValueError: the shapes differ or a number is outside [0, 1].

    >>> binary_cross_entropy([0.5, 0.5], [1.0, 0.0])
    array([[-1.,  1.]])
    """
    J = loss_per_sample_diagonal(binary_cross_entropy_slope, y_hat, y)
    return batch_mean(J.shape[0], dtype=J.dtype) @ J


def absolute_error(y_hat: ArrayLike, y: ArrayLike) -> Array:
    """∂J/∂ŷ = (1/N)·sign(ŷ − y), the product of ``batch_mean`` and ∂J0/∂ŷ. Beyond the course, row F1.

    Args:
        y_hat, y: vectors (N,): predictions and targets.

    Returns:
        (1, N): the Jacobian of a scalar is a row. Where ŷ = y there is no derivative: 0 is chosen.

    Raises:
        ValueError: the shapes differ.

    >>> absolute_error([3.0, 0.0], [1.0, 1.0])
    array([[ 0.5, -0.5]])
    """
    J = loss_per_sample_diagonal(absolute_error_slope, y_hat, y)
    return batch_mean(J.shape[0], dtype=J.dtype) @ J


def huber(y_hat: ArrayLike, y: ArrayLike, delta: float = 1.0) -> Array:
    """∂J/∂ŷ = (1/N)·(ŷ − y cut at ±δ), the product of ``batch_mean`` and ∂J0/∂ŷ. Beyond the course, row F2.

    Args:
        y_hat, y: vectors (N,): predictions and targets.
        delta: δ, where the parabola becomes a line: a number above 0.

    Returns:
        (1, N): the Jacobian of a scalar is a row.

    Raises:
        ValueError: the shapes differ or δ is not above 0.

    >>> huber([3.0, 0.5], [1.0, 1.0])
    array([[ 0.5 , -0.25]])
    """
    J = loss_per_sample_diagonal(lambda y_hat, y: huber_slope(y_hat, y, delta), y_hat, y)
    return batch_mean(J.shape[0], dtype=J.dtype) @ J


def quantile(y_hat: ArrayLike, y: ArrayLike, quantile: float = 0.5) -> Array:
    """∂J/∂ŷ = (1/N)·(−q or 1 − q), the product of ``batch_mean`` and ∂J0/∂ŷ. Beyond the course, row F3.

    Args:
        y_hat, y: vectors (N,): predictions and targets.
        quantile: q, above 0 and below 1.

    Returns:
        (1, N): the Jacobian of a scalar is a row. Where ŷ = y there is no derivative: 0 is chosen.

    Raises:
        ValueError: the shapes differ or q is not inside (0, 1).

    >>> quantile([3.0, 0.0], [1.0, 1.0], quantile=0.25)
    array([[ 0.375, -0.125]])
    """
    J = loss_per_sample_diagonal(lambda y_hat, y: quantile_slope(y_hat, y, quantile), y_hat, y)
    return batch_mean(J.shape[0], dtype=J.dtype) @ J


def poisson(z: ArrayLike, y: ArrayLike) -> Array:
    """∂J/∂z = (1/N)(e^z − y), the product of ``batch_mean`` and ∂J0/∂z. Beyond the course, row F4.

    Args:
        z, y: vectors (N,): logarithms of the predicted rates, and targets of at least 0.

    Returns:
        (1, N): the Jacobian of a scalar is a row.

    Raises:
        ValueError: the shapes differ or a target is below 0.

    >>> poisson([0.0, 0.0], [0.0, 3.0])
    array([[ 0.5, -1. ]])
    """
    z, y = as_vector("z", z), as_vector("y", y)
    check_same_shape("y", y, "z", z)
    J = loss_per_sample_diagonal(poisson_slope, z, y)
    return batch_mean(J.shape[0], dtype=J.dtype) @ J


def mean_squared_error_gradient(Y_hat: ArrayLike, Y: ArrayLike) -> Array:
    """dŶ = −(2/N)(Y − Ŷ). Course row C1.

    Args:
        Y_hat, Y: (N, 1): predictions and targets; with K columns the mean is over all N·K numbers.

    Returns:
        The shape of Ŷ.

    Raises:
        ValueError: they are no matrices of one shape.

    >>> mean_squared_error_gradient([[3.0], [2.0]], [[1.0], [1.0]])
    array([[2.],
           [1.]])
    """
    Y_hat, Y = as_matrix("Y_hat", Y_hat), as_matrix("Y", Y)
    return squared_error_slope(Y_hat, Y) / max(Y.size, 1)


def binary_cross_entropy_gradient(Y_hat: ArrayLike, Y: ArrayLike) -> Array:
    """dŶ = (1/N)(Ŷ − Y)/(Ŷ(1 − Ŷ)). Course row C2.

    Args:
        Y_hat, Y: (N, 1): predicted probabilities and targets in [0, 1]; with K columns the mean is over all N·K
            numbers.

    Returns:
        The shape of Ŷ. Ŷ(1 − Ŷ) counts as 1e-12 where it is less.

    Raises:
        ValueError: they are no matrices of one shape or a number is outside [0, 1].

    >>> binary_cross_entropy_gradient([[0.5], [0.5]], [[1.0], [0.0]])
    array([[-1.],
           [ 1.]])
    """
    Y_hat, Y = as_matrix("Y_hat", Y_hat), as_matrix("Y", Y)
    return binary_cross_entropy_slope(Y_hat, Y) / max(Y.size, 1)


def categorical_cross_entropy_gradient(Y_hat: ArrayLike, Y: ArrayLike) -> Array:
    """dŶ = −(1/N)·Y/Ŷ of J = −(1/N)·Σ_i Σ_k y_k⁽ⁱ⁾ ln ŷ_k⁽ⁱ⁾. Course row C3.

    The slide leaves out the class index of ŷ in the first line of J; the lines below have it.

    Args:
        Y_hat: (N, K) predicted probabilities in [0, 1].
        Y: (N, K) targets, one-hot or soft rows.

    Returns:
        (N, K). Where Y is 0 the entry is 0, whatever Ŷ; Ŷ counts as 1e-12 where it is less.

    Raises:
        ValueError: they are no matrices of one shape or Ŷ is outside [0, 1].

    >>> categorical_cross_entropy_gradient([[0.25, 0.75], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]])
    array([[-2.,  0.],
           [ 0., -1.]])
    """
    Y_hat, Y = as_matrix("Y_hat", Y_hat), as_matrix("Y", Y)
    check_same_shape("Y", Y, "Y_hat", Y_hat)
    check_unit_interval("Y_hat", Y_hat)
    quotient = Y / np.maximum(Y_hat, Y_hat.dtype.type(DENOMINATOR_FLOOR))
    return np.where(Y == 0, 0, -quotient / max(len(Y), 1)).astype(Y_hat.dtype, copy=False)


def _predictions_and_targets(y_hat: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    y_hat, y = as_array("y_hat", y_hat), as_array("y", y)
    check_same_shape("y", y, "y_hat", y_hat)
    return y_hat, y
