"""Backpropagation by explicit Jacobians: every matrix of the course is built, and multiplied from the left.

X (N, I), W (I, O), b (O,), Z, A and their gradients (N, O); float32 or float64, the same in as out.
An activation has a `name` and a `parameter`: relu its slope at zero, leaky_relu its slope below zero, elu its
alpha. Losses are means over the samples, weighted if there are weights; a sample of weight 0 counts as
absent. One sample after another, one Jacobian at a time: slow, plain, exact. The oracle of the other two
paths.
"""

import math
from typing import Any

import numpy as np

from ..jacobians import (
    ActivationFunction,
    Array,
    Diagonal,
    absolute_error_slope,
    activation_value,
    affine_bias,
    affine_input,
    affine_weight,
    batch_mean,
    binary_cross_entropy_slope,
    categorical_cross_entropy_gradient,
    elementwise_diagonal,
    huber_slope,
    log_softmax,
    log_softmax_function,
    loss_per_sample_diagonal,
    poisson_slope,
    quantile_slope,
    softmax,
    softmax_function,
    squared_error_slope,
)

# Overflow to inf, inf − inf and 0·inf are let happen, as in the other two paths.
_quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


@_quiet
def dense_forward(X: Array, W: Array, b: Array, activation: ActivationFunction) -> tuple[Array, Array]:
    """z = xᵀW + b, a = g(z), one sample after another. Course row B5."""
    Z = np.empty((len(X), len(b)), dtype=X.dtype)
    for i, x in enumerate(X):
        Z[i] = x @ W + b
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
    """∂J/∂w_j = ∂J/∂a·∂a/∂z·∂z/∂w_j, so for b and x; w_j and b sum over samples. Course rows A4 and B5."""
    dX = np.empty_like(X) if input_gradient else None
    dW, db = np.zeros_like(W), np.zeros_like(dA, shape=W.shape[1])
    dz_db, dz_dx = affine_bias(len(db), W.dtype.name), affine_input(W)
    for i, x in enumerate(X):
        dz = dA[i] @ elementwise_diagonal(activation, Z[i])
        for j in range(W.shape[1]):
            dW[:, j] += dz @ affine_weight(x, neuron=j, neurons=W.shape[1])
        db += dz @ dz_db
        if dX is not None:
            dX[i] = dz @ dz_dx
    return dX, dW, db


@_quiet
def activation_forward(Z: Array, activation: ActivationFunction) -> Array:
    """a = g(z), entry by entry. Course row B4."""
    return activation_value(activation, Z)


@_quiet
def activation_backward(dA: Array, Z: Array, A: Array, activation: ActivationFunction) -> Array:
    """∂J/∂z = ∂J/∂a·diag(g′(z)). Course rows B2 and B4."""
    dZ = np.empty_like(dA)
    for i, z in enumerate(Z):
        dZ[i] = dA[i] @ elementwise_diagonal(activation, z)
    return dZ


@_quiet
def softmax_forward(Z: Array) -> Array:
    """s_i = e^{z_i} / Σ_k e^{z_k}, one sample after another. Course row A6."""
    S = np.empty_like(Z)
    for i, z in enumerate(Z):
        S[i] = softmax_function(z)
    return S


@_quiet
def softmax_backward(dS: Array, S: Array) -> Array:
    """∂J/∂z = ∂J/∂s·(diag(s) − s sᵀ). Course rows A6 and A7."""
    dZ = np.empty_like(dS)
    for i, s in enumerate(S):
        dZ[i] = math.nan if np.isnan(s).any() else dS[i] @ softmax(s)
    return dZ


@_quiet
def dropout_forward(X: Array, mask: Array) -> Array:
    """a = diag(mask)·x; the mask holds 0 or 1/(1 − rate). Course row B7."""
    A = np.empty_like(X)
    for i, x in enumerate(X):
        A[i] = Diagonal(mask[i]) @ x
    return A


@_quiet
def dropout_backward(dA: Array, mask: Array) -> Array:
    """∂J/∂x = ∂J/∂a·diag(mask). Course row B7."""
    dX = np.empty_like(dA)
    for i, da in enumerate(dA):
        dX[i] = da @ Diagonal(mask[i])
    return dX


@_quiet
def softmax_cross_entropy(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """L = −yᵀ log s, ∂L/∂z = −yᵀ·(I − 1 sᵀ), from logits: no division by s. Course rows E1 and E2."""
    loss, dZ = _nothing_yet(Z, weights), np.zeros_like(Z)
    for i, share in _samples(Z, weights):
        y, s = _target_row(Y[i], Z), softmax_function(Z[i])
        loss -= share * _dot(y, log_softmax_function(Z[i]))
        dZ[i] = math.nan if np.isnan(s).any() else share * (-y @ log_softmax(s))
    return float(loss), dZ


@_quiet
def binary_cross_entropy(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """L = y·softplus(−z) + (1 − y)·softplus(z): two diagonals, from logits. Course rows B2 and B8."""
    loss, dZ = _nothing_yet(Z, weights), np.zeros_like(Z)
    mean = batch_mean(Z.shape[1], dtype=Z.dtype)[0]
    for i, share in _samples(Z, weights):
        z, y = Z[i], Y[i].astype(Z.dtype)
        loss += share * _dot(mean * y, activation_value("softplus", -z))
        loss += share * _dot(mean * (1 - y), activation_value("softplus", z))
        dL_dz = (1 - y) @ elementwise_diagonal("softplus", z) - y @ elementwise_diagonal("softplus", -z)
        dZ[i] = share * (mean @ Diagonal(dL_dz))
    return float(loss), dZ


@_quiet
def binary_cross_entropy_probabilities(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """L = −[y ln p + (1 − y) ln(1 − p)], ∂J/∂p = ∂J/∂L·diag((p − y)/(p(1 − p))). Course rows B8 and B10.

    A logarithm is at least −100, the denominator at least 1e-12.
    """
    loss, dP = _nothing_yet(P, weights), np.zeros_like(P)
    mean = batch_mean(P.shape[1], dtype=P.dtype)[0]
    for i, share in _samples(P, weights):
        p, y = P[i], Y[i].astype(P.dtype)
        loss -= share * _dot(mean * y, np.maximum(np.log(p), -100))
        loss -= share * _dot(mean * (1 - y), np.maximum(np.log1p(-p), -100))
        dP[i] = share * (mean @ loss_per_sample_diagonal(binary_cross_entropy_slope, p, y))
    return float(loss), dP


@_quiet
def categorical_cross_entropy(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """L = −yᵀ ln p, ∂L/∂p = −y/p, on probabilities. Course row C3.

    A logarithm is at least −100, the denominator at least 1e-12.
    """
    loss, dP = _nothing_yet(P, weights), np.zeros_like(P)
    for i, share in _samples(P, weights):
        y = _target_row(Y[i], P)
        loss -= share * _dot(y, np.maximum(np.log(P[i]), -100))
        dP[i] = share * categorical_cross_entropy_gradient(P[i : i + 1], [y])[0]
    return float(loss), dP


@_quiet
def mean_squared_error(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """L = (y − p)², ∂J/∂p = ∂J/∂L·diag(−2(y − p)). Course rows B8 and B9."""
    loss, dP = _nothing_yet(P, weights), np.zeros_like(P)
    mean = batch_mean(P.shape[1], dtype=P.dtype)[0]
    for i, share in _samples(P, weights):
        p, y = P[i], Y[i].astype(P.dtype)
        loss += share * (mean @ np.square(y - p))
        dP[i] = share * (mean @ loss_per_sample_diagonal(squared_error_slope, p, y))
    return float(loss), dP


@_quiet
def absolute_error(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """L = |y − p|, ∂J/∂p = ∂J/∂L·diag(sign(p − y)). Course row B8, and beyond the course F1."""
    loss, dP = _nothing_yet(P, weights), np.zeros_like(P)
    mean = batch_mean(P.shape[1], dtype=P.dtype)[0]
    for i, share in _samples(P, weights):
        p, y = P[i], Y[i].astype(P.dtype)
        loss += share * (mean @ np.abs(y - p))
        dP[i] = share * (mean @ loss_per_sample_diagonal(absolute_error_slope, p, y))
    return float(loss), dP


@_quiet
def huber(P: Array, Y: Array, weights: Array | None, delta: float) -> tuple[float, Array]:
    """L = r²/2 where |r| ≤ δ, else δ(|r| − δ/2), ∂J/∂p = ∂J/∂L·diag(r cut at ±δ), for r = p − y.

    Course row B8, and beyond the course F2.
    """
    loss, dP = _nothing_yet(P, weights), np.zeros_like(P)
    mean = batch_mean(P.shape[1], dtype=P.dtype)[0]
    for i, share in _samples(P, weights):
        p, y = P[i], Y[i].astype(P.dtype)
        distance = np.abs(p - y)
        loss += share * (mean @ np.where(distance <= delta, np.square(distance) / 2, delta * (distance - delta / 2)))
        dP[i] = share * (mean @ loss_per_sample_diagonal(lambda p, y: huber_slope(p, y, delta), p, y))
    return float(loss), dP


@_quiet
def quantile(P: Array, Y: Array, weights: Array | None, q: float) -> tuple[float, Array]:
    """L = max(qr, (q − 1)r), ∂J/∂p = ∂J/∂L·diag(−q where r > 0, 1 − q where r < 0), for r = y − p.

    Course row B8, and beyond the course F3.
    """
    loss, dP = _nothing_yet(P, weights), np.zeros_like(P)
    mean = batch_mean(P.shape[1], dtype=P.dtype)[0]
    for i, share in _samples(P, weights):
        p, y = P[i], Y[i].astype(P.dtype)
        loss += share * (mean @ np.maximum(q * (y - p), (q - 1) * (y - p)))
        dP[i] = share * (mean @ loss_per_sample_diagonal(lambda p, y: quantile_slope(p, y, q), p, y))
    return float(loss), dP


@_quiet
def poisson(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """L = e^z − y + y(ln y − z), ∂J/∂z = ∂J/∂L·diag(e^z − y), z the logarithm of the rate.

    Course row B8, and beyond the course F4.
    """
    loss, dZ = _nothing_yet(Z, weights), np.zeros_like(Z)
    mean = batch_mean(Z.shape[1], dtype=Z.dtype)[0]
    for i, share in _samples(Z, weights):
        z, y = Z[i], Y[i].astype(Z.dtype)
        rate = np.exp(z)
        # Where a rate overflows so does the loss: inf − inf would make it NaN.
        loss += share * (mean @ (rate - y) + _dot(mean * y, np.where(rate < math.inf, np.log(y) - z, 0)))
        dZ[i] = share * (mean @ loss_per_sample_diagonal(poisson_slope, z, y))
    return float(loss), dZ


def _samples(Z: Array, weights: Array | None) -> list[tuple[int, Array]]:
    """Every sample that counts, with its entry of ∂J/∂J0. Course row B8."""
    shares = batch_mean(len(Z), weights, dtype=Z.dtype)[0].astype(Z.dtype)
    return [(i, share) for i, share in enumerate(shares) if share != 0]


def _nothing_yet(Z: Array, weights: Array | None) -> Any:
    """The loss before any sample: 0, or NaN for the mean of an empty batch."""
    return Z.dtype.type(math.nan if len(Z) == 0 and weights is None else 0)


def _target_row(y: Array, like: Array) -> Array:
    """A class index as a one-hot row (K,); a row as it is."""
    return np.eye(like.shape[1], dtype=like.dtype)[y] if y.ndim == 0 else y.astype(like.dtype)


def _dot(y: Array, values: Array) -> Any:
    """yᵀ·values, without the terms whose y is 0: 0·log 0 counts as 0."""
    return y[y != 0] @ values[y != 0]
