"""The losses that networks are trained with, for one sample: the value and its Jacobian, ∂J0/∂p, a row (course B8).

A batch's loss is the mean of these: see ``losses.batch_mean``. Adding a loss here is adding a row to ``SAMPLE_LOSSES``;
the reference path and ``explain`` read it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._validate import Array
from .diagonal import Diagonal
from .elementwise import activation_value, elementwise_diagonal
from .losses import (
    LOG_FLOOR,
    LossSlope,
    absolute_error_slope,
    batch_mean,
    binary_cross_entropy_slope,
    categorical_cross_entropy_gradient,
    huber_slope,
    loss_per_sample_diagonal,
    poisson_slope,
    quantile_slope,
    squared_error_slope,
)
from .softmax import log_softmax, log_softmax_function, softmax_function


class SampleLoss(NamedTuple):
    """One loss.

    Attributes:
        row: the row of the course that has its derivative; see ``ROWS``.
        formula: of J0, with {} for the output.
        of: (p, y, its own number if it has one) -> J0 and ∂J0/∂p, for one sample's output and target (K,).
    """

    row: str
    formula: str
    of: Callable[..., tuple[np.floating, Array]]


def softmax_cross_entropy(z: Array, y: Array) -> tuple[np.floating, Array]:
    """J0 = −yᵀ log s, ∂J0/∂z = −yᵀ·(I − 1 sᵀ), from logits: no division by s. Course rows E1 and E2.

    Args:
        z, y: one sample's logits and target (K,).

    Returns:
        J0 and ∂J0/∂z.
    """
    if np.isnan(softmax_function(z)).any():
        return -_dot(y, log_softmax_function(z)), np.full_like(z, math.nan)
    return -_dot(y, log_softmax_function(z)), -y @ log_softmax(softmax_function(z))


def binary_cross_entropy(z: Array, y: Array) -> tuple[np.floating, Array]:
    """J0 = mean(y·softplus(−z) + (1 − y)·softplus(z)): two diagonals, from logits. Course rows B2 and B8.

    Args:
        z, y: one sample's logits and target (K,).

    Returns:
        J0 and ∂J0/∂z.
    """
    mean = batch_mean(len(z), dtype=z.dtype)[0]
    J0 = _dot(mean * y, activation_value("softplus", -z)) + _dot(mean * (1 - y), activation_value("softplus", z))
    slopes = (1 - y) @ elementwise_diagonal("softplus", z) - y @ elementwise_diagonal("softplus", -z)
    return J0, mean @ Diagonal(slopes)


def binary_cross_entropy_probabilities(p: Array, y: Array) -> tuple[np.floating, Array]:
    """J0 = −mean(y ln p + (1 − y) ln(1 − p)), ∂J0/∂p = mean·diag((p − y)/(p(1 − p))). Course rows B8 and B10.

    A logarithm is at least −100, the denominator at least 1e-12.

    Args:
        p, y: one sample's probabilities and target (K,).

    Returns:
        J0 and ∂J0/∂p.
    """
    mean = batch_mean(len(p), dtype=p.dtype)[0]
    J0 = -_dot(mean * y, np.maximum(np.log(p), LOG_FLOOR)) - _dot(mean * (1 - y), np.maximum(np.log1p(-p), LOG_FLOOR))
    return J0, mean @ loss_per_sample_diagonal(binary_cross_entropy_slope, p, y)


def categorical_cross_entropy(p: Array, y: Array) -> tuple[np.floating, Array]:
    """J0 = −yᵀ ln p, ∂J0/∂p = −y/p, on probabilities. Course row C3.

    A logarithm is at least −100, the denominator at least 1e-12.

    Args:
        p, y: one sample's probabilities and target (K,).

    Returns:
        J0 and ∂J0/∂p.
    """
    return -_dot(y, np.maximum(np.log(p), LOG_FLOOR)), categorical_cross_entropy_gradient(p[None], [y])[0]


def mean_squared_error(p: Array, y: Array) -> tuple[np.floating, Array]:
    """J0 = mean((y − p)²), ∂J0/∂p = mean·diag(−2(y − p)). Course rows B8 and B9.

    Args:
        p, y: one sample's output and target (K,).

    Returns:
        J0 and ∂J0/∂p.
    """
    return _mean_of(np.square(y - p), squared_error_slope, p, y)


def absolute_error(p: Array, y: Array) -> tuple[np.floating, Array]:
    """J0 = mean|y − p|, ∂J0/∂p = mean·diag(sign(p − y)). Course row B8, and beyond the course F1.

    Args:
        p, y: one sample's output and target (K,).

    Returns:
        J0 and ∂J0/∂p.
    """
    return _mean_of(np.abs(y - p), absolute_error_slope, p, y)


def huber(p: Array, y: Array, delta: float) -> tuple[np.floating, Array]:
    """J0 = mean of r²/2 where |r| ≤ δ, else δ(|r| − δ/2), ∂J0/∂p = mean·diag(r cut at ±δ), for r = p − y.

    Course row B8, and beyond the course F2.

    Args:
        p, y: one sample's output and target (K,).
        delta: δ, where the parabola becomes a line.

    Returns:
        J0 and ∂J0/∂p.
    """
    r = np.abs(p - y)
    value = np.where(r <= delta, np.square(r) / 2, delta * (r - delta / 2))
    return _mean_of(value, lambda p, y: huber_slope(p, y, delta), p, y)


def quantile(p: Array, y: Array, q: float) -> tuple[np.floating, Array]:
    """J0 = mean of max(qr, (q − 1)r), ∂J0/∂p = mean·diag(−q where r > 0, 1 − q where r < 0), for r = y − p.

    Course row B8, and beyond the course F3.

    Args:
        p, y: one sample's output and target (K,).
        q: above 0 and below 1.

    Returns:
        J0 and ∂J0/∂p.
    """
    return _mean_of(np.maximum(q * (y - p), (q - 1) * (y - p)), lambda p, y: quantile_slope(p, y, q), p, y)


def poisson(z: Array, y: Array) -> tuple[np.floating, Array]:
    """J0 = mean of e^z − y + y(ln y − z), ∂J0/∂z = mean·diag(e^z − y), z the logarithm of the rate.

    Course row B8, and beyond the course F4.

    Args:
        z, y: one sample's output and target (K,).

    Returns:
        J0 and ∂J0/∂z.
    """
    mean = batch_mean(len(z), dtype=z.dtype)[0]
    rate = np.exp(z)
    # Where a rate overflows so does the loss: inf − inf would make it NaN.
    J0 = mean @ (rate - y) + _dot(mean * y, np.where(rate < math.inf, np.log(y) - z, 0))
    return J0, mean @ loss_per_sample_diagonal(poisson_slope, z, y)


SAMPLE_LOSSES = {
    "softmax_cross_entropy": SampleLoss("E2", "-Σ y·log softmax({})", softmax_cross_entropy),
    "binary_cross_entropy": SampleLoss("B10", "binary cross-entropy(σ({}), y)", binary_cross_entropy),
    "binary_cross_entropy_probabilities": SampleLoss(
        "B10", "binary cross-entropy({}, y)", binary_cross_entropy_probabilities
    ),
    "categorical_cross_entropy": SampleLoss("C3", "-Σ y·log {}", categorical_cross_entropy),
    "mean_squared_error": SampleLoss("B9", "mean((y - {})²)", mean_squared_error),
    "absolute_error": SampleLoss("F1", "mean(|y - {}|)", absolute_error),
    "huber": SampleLoss("F2", "Huber(y - {})", huber),
    "quantile": SampleLoss("F3", "pinball(y - {})", quantile),
    "poisson": SampleLoss("F4", "mean(e^{0} - y + y·(ln y - {0}))", poisson),
}


def _mean_of(values: Array, slope: LossSlope, p: Array, y: Array) -> tuple[np.floating, Array]:
    """The mean over a sample's outputs of values that depend on one output each."""
    mean = batch_mean(len(p), dtype=p.dtype)[0]
    return mean @ values, mean @ loss_per_sample_diagonal(slope, p, y)


def _dot(y: Array, values: Array) -> np.floating:
    """yᵀ·values, without the terms whose y is 0: 0·log 0 counts as 0."""
    product: np.floating = y[y != 0] @ values[y != 0]
    return product
