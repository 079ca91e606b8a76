"""Backpropagation as a textbook writes it: one NumPy expression an operation, over the whole mini-batch.

X (N, I), W (I, O), b (O,), Z, A and their gradients (N, O); float32 or float64, the same in as out.
An activation has a `name` and a `parameter`: relu its slope at zero, leaky_relu its slope below zero, elu its
alpha. Losses are means over the samples, weighted if there are weights; a sample of weight 0 counts as
absent. Nothing is checked and nothing is compiled: see `reference` for where the formulas come from, `fused`
for speed.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..jacobians.elementwise import ActivationFunction

Array = NDArray[np.floating]


# Overflow to inf, inf − inf and 0·inf are let happen; where a limit exists, the expressions below choose it.
_quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


@_quiet
def dense_forward(X: Array, W: Array, b: Array, activation: ActivationFunction) -> tuple[Array, Array]:
    """Z = XW + b, A = g(Z). Course row C7."""
    Z = X @ W + b
    return Z, activation_forward(Z, activation)


@_quiet
def dense_backward(
    dA: Array,
    Z: Array,
    A: Array,
    X: Array,
    W: Array,
    activation: ActivationFunction,
    input_gradient: bool = True,
) -> tuple[Array | None, Array, Array]:
    """dZ = dA ⊙ g′(Z), dX = dZ·Wᵀ, dW = Xᵀ·dZ, db = sum(dZ, axis=0). Course rows B5 and C7."""
    dZ = activation_backward(dA, Z, A, activation)
    dX = dZ @ W.T if input_gradient else None
    return dX, X.T @ dZ, dZ.sum(axis=0)


@_quiet
def activation_forward(Z: Array, activation: ActivationFunction) -> Array:
    """A = g(Z), entry by entry. Course row B4."""
    parameter = float(activation.parameter)
    match activation.name:
        case "identity":
            return Z.copy()
        case "relu":
            return np.where(Z < 0, 0, Z) + 0  # + 0 turns −0 into +0; NaN < 0 is false, so NaN passes
        case "leaky_relu":
            return np.where(Z >= 0, Z, parameter * Z)
        case "sigmoid":
            return _sigmoid(Z)
        case "tanh":
            return np.tanh(Z)
        case "softplus":
            return np.maximum(Z, 0) + np.log1p(np.exp(-np.abs(Z)))
        case "elu":
            return np.where(Z < 0, parameter * np.expm1(np.minimum(Z, 0)), Z)
        case "silu":
            return np.where(np.isneginf(Z), 0, Z * _sigmoid(Z))
        case "gelu":
            return np.where(np.isneginf(Z), 0, Z * _normal_cdf(Z))
    raise ValueError(f"activation is {activation.name!r}, which the unfused path does not know")


@_quiet
def activation_backward(dA: Array, Z: Array, A: Array, activation: ActivationFunction) -> Array:
    """dZ = dA ⊙ g′(Z): the diagonal Jacobian as a product entry by entry. Course rows B2 and B4."""
    parameter = Z.dtype.type(activation.parameter)
    match activation.name:
        case "identity":
            return dA.copy()
        case "relu":
            return dA * np.where(Z == 0, parameter, ~(Z < 0))
        case "leaky_relu":
            return dA * np.where(Z >= 0, 1, parameter)
        case "sigmoid":
            return dA * (A * _sigmoid(-Z))  # A(1 − A), with 1 − A free of cancellation
        case "tanh":
            return dA * ((1 + A) * (1 - A))
        case "softplus":
            return dA * _sigmoid(Z)
        case "elu":
            return dA * np.where(Z < 0, parameter * np.exp(np.minimum(Z, 0)), 1)
        case "silu":
            return dA * (_sigmoid(Z) + _finite(Z) * _sigmoid(Z) * _sigmoid(-Z))
        case "gelu":
            return dA * (_normal_cdf(Z) + _finite(Z) * np.exp(-Z * Z / 2) / math.sqrt(2 * math.pi))
    raise ValueError(f"activation is {activation.name!r}, which the unfused path does not know")


@_quiet
def softmax_forward(Z: Array) -> Array:
    """S = e^Z / sum(e^Z), row by row, the largest logit subtracted first. Course row A6."""
    E: Array = np.exp(Z - Z.max(axis=1, keepdims=True))
    sums: Array = E.sum(axis=1, keepdims=True)
    return E / sums


@_quiet
def softmax_backward(dS: Array, S: Array) -> Array:
    """dZ = S ⊙ (dS − sum(dS ⊙ S)), row by row. Course row C4."""
    sums: Array = (dS * S).sum(axis=1, keepdims=True)
    return S * (dS - sums)


@_quiet
def dropout_forward(X: Array, mask: Array) -> Array:
    """A = X ⊙ mask; the mask holds 0 or 1/(1 − rate). Course row B7."""
    return X * mask


@_quiet
def dropout_backward(dA: Array, mask: Array) -> Array:
    """dX = dA ⊙ mask. Course row B7."""
    return dA * mask


@_quiet
def softmax_cross_entropy(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """J = −mean(sum(Y ⊙ log S)), dZ = (S·sum(Y) − Y)/N, from logits. Course rows C4 and E2."""
    Y = _target_rows(Y, Z)
    shifted = Z - Z.max(axis=1, keepdims=True)
    E = np.exp(shifted)
    sums = E.sum(axis=1, keepdims=True)
    losses = np.where(Y == 0, 0, Y * (np.log(sums) - shifted)).sum(axis=1)
    return _mean(losses, E / sums * Y.sum(axis=1, keepdims=True) - Y, weights)


@_quiet
def binary_cross_entropy(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """J = mean(Y·softplus(−Z) + (1 − Y)·softplus(Z)), dZ = (σ(Z) − Y)/(N·K), from logits. Course row C2."""
    Y = Y.astype(Z.dtype, copy=False)
    tail = np.log1p(np.exp(-np.abs(Z)))
    # A term of factor 0 is left out: 0·inf would make the loss of a certain and right prediction NaN.
    of_one = np.where(Y == 0, 0, Y * (np.maximum(-Z, 0) + tail))
    of_zero = np.where(Y == 1, 0, (1 - Y) * (np.maximum(Z, 0) + tail))
    return _mean((of_one + of_zero).mean(axis=1), (_sigmoid(Z) - Y) / Z.shape[1], weights)


@_quiet
def binary_cross_entropy_probabilities(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """J = −mean(Y·ln P + (1 − Y)·ln(1 − P)), dP = (P − Y)/(P(1 − P))/(N·K). Course rows B10 and C2.

    A logarithm is at least −100, the denominator at least 1e-12.
    """
    Y = Y.astype(P.dtype, copy=False)
    losses = -(Y * np.maximum(np.log(P), -100) + (1 - Y) * np.maximum(np.log1p(-P), -100))
    return _mean(losses.mean(axis=1), (P - Y) / np.maximum(P * (1 - P), 1e-12) / P.shape[1], weights)


@_quiet
def categorical_cross_entropy(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """J = −mean(sum(Y ⊙ ln P)), dP = −Y/P/N, on probabilities. Course row C3.

    A logarithm is at least −100, the denominator at least 1e-12.
    """
    Y = _target_rows(Y, P)
    losses = -(Y * np.maximum(np.log(P), -100)).sum(axis=1)
    return _mean(losses, np.where(Y == 0, 0, -Y / np.maximum(P, 1e-12)), weights)


@_quiet
def mean_squared_error(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """J = mean((Y − P)²), dP = −2(Y − P)/(N·K). Course rows B9 and C1."""
    Y = Y.astype(P.dtype, copy=False)
    return _mean(np.square(Y - P).mean(axis=1), -2 * (Y - P) / P.shape[1], weights)


@_quiet
def absolute_error(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """J = mean(|Y − P|), dP = sign(P − Y)/(N·K). Course row B8, and beyond the course F1."""
    Y = Y.astype(P.dtype, copy=False)
    return _mean(np.abs(Y - P).mean(axis=1), np.sign(P - Y) / P.shape[1], weights)


@_quiet
def huber(P: Array, Y: Array, weights: Array | None, delta: float) -> tuple[float, Array]:
    """J = mean(R²/2 where |R| ≤ δ, else δ(|R| − δ/2)), dP = R cut at ±δ, /(N·K), for R = P − Y.

    Course row B8, and beyond the course F2.
    """
    R = P - Y.astype(P.dtype, copy=False)
    losses = np.where(np.abs(R) <= delta, np.square(R) / 2, delta * (np.abs(R) - delta / 2))
    return _mean(losses.mean(axis=1), np.clip(R, -delta, delta) / P.shape[1], weights)


@_quiet
def quantile(P: Array, Y: Array, weights: Array | None, q: float) -> tuple[float, Array]:
    """J = mean(max(qR, (q − 1)R)), dP = −q where R > 0, 1 − q where R < 0, /(N·K), for R = Y − P.

    Course row B8, and beyond the course F3.
    """
    R = Y.astype(P.dtype, copy=False) - P
    slopes = np.where(R > 0, -q, np.where(R < 0, 1 - q, R))
    return _mean(np.maximum(q * R, (q - 1) * R).mean(axis=1), slopes / P.shape[1], weights)


@_quiet
def poisson(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """J = mean(e^Z − Y + Y·(ln Y − Z)), dZ = (e^Z − Y)/(N·K), from the logarithms of the rates.

    Course row B8, and beyond the course F4.
    """
    Y = Y.astype(Z.dtype, copy=False)
    rates = np.exp(Z)
    # Where a rate overflows so does the loss: inf − inf would make it NaN. Without counts 0·ln 0 counts as 0.
    losses = np.where(rates < math.inf, rates - Y + np.where(Y == 0, 0, Y * (np.log(Y) - Z)), rates)
    return _mean(losses.mean(axis=1), (rates - Y) / Z.shape[1], weights)


LOSSES: dict[str, Callable[..., tuple[float, Array]]] = {
    loss.__name__: loss
    for loss in (
        softmax_cross_entropy,
        binary_cross_entropy,
        binary_cross_entropy_probabilities,
        categorical_cross_entropy,
        mean_squared_error,
        absolute_error,
        huber,
        quantile,
        poisson,
    )
}


def _mean(losses: Array, gradients: Array, weights: Array | None) -> tuple[float, Array]:
    """The weighted mean of losses (N,), and gradients (N, K) times each sample's share. Course row B8."""
    if weights is None:
        weights = np.ones(len(losses), dtype=gradients.dtype)
        if len(losses) == 0:
            return math.nan, gradients
    total = weights.sum()
    shares = (weights / (total if total > 0 else 1)).astype(gradients.dtype)
    loss = np.where(shares == 0, 0, shares * losses).sum()
    return float(loss), np.where(shares[:, None] == 0, 0, shares[:, None] * gradients)


def _target_rows(Y: Array, like: Array) -> Array:
    """Class indices (N,) as one-hot rows (N, K); rows as they are."""
    return np.eye(like.shape[1], dtype=like.dtype)[Y] if Y.ndim == 1 else Y.astype(like.dtype, copy=False)


def _sigmoid(Z: Array) -> Array:
    E = np.exp(-np.abs(Z))
    S: Array = np.where(Z >= 0, 1, E) / (1 + E)
    return S


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_cdf(Z: Array) -> Array:
    P: Array = (_erfc(-Z / math.sqrt(2)) / 2).astype(Z.dtype)
    return P


def _finite(Z: Array) -> Array:
    return np.clip(Z, np.finfo(Z.dtype).min, np.finfo(Z.dtype).max)
