"""Backpropagation by explicit Jacobians: every matrix of the course is built, and multiplied from the left.

X (N, I), W (I, O), b (O,), Z, A and their gradients (N, O); float32 or float64, the same in as out.
An activation has a `name` and a `parameter`: relu its slope at zero, leaky_relu its slope below zero, elu its
alpha. Losses are means over the samples, weighted if there are weights; a sample of weight 0 counts as
absent. One sample after another, one Jacobian at a time: slow, plain, exact. The oracle of the other two
paths.
"""

import math
from collections.abc import Callable

import numpy as np

from ..jacobians import (
    ActivationFunction,
    Array,
    Diagonal,
    activation_value,
    affine_bias,
    affine_input,
    affine_weight,
    batch_mean,
    elementwise_diagonal,
    softmax,
    softmax_function,
)
from ..jacobians.samples import SAMPLE_LOSSES, SampleLoss

Loss = Callable[..., tuple[float, Array]]

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


def _over_batch(one: SampleLoss) -> Loss:
    @_quiet
    def loss(P: Array, Y: Array, weights: Array | None, *parameters: float) -> tuple[float, Array]:
        value, dP = _nothing_yet(P, weights), np.zeros_like(P)
        for i, share in _samples(P, weights):
            J0, dJ0 = one.of(P[i], _target_row(Y[i], P), *parameters)
            value += share * J0
            dP[i] = share * dJ0
        return float(value), dP

    return loss


# J = Σ shares·J0, ∂J/∂p = shares·∂J0/∂p, sample by sample. Course row B8.
LOSSES: dict[str, Loss] = {name: _over_batch(one) for name, one in SAMPLE_LOSSES.items()}


def _samples(Z: Array, weights: Array | None) -> list[tuple[int, Array]]:
    """Every sample that counts, with its entry of ∂J/∂J0. Course row B8."""
    shares = batch_mean(len(Z), weights, dtype=Z.dtype)[0].astype(Z.dtype)
    return [(i, share) for i, share in enumerate(shares) if share != 0]


def _nothing_yet(Z: Array, weights: Array | None) -> np.floating:
    """The loss before any sample: 0, or NaN for the mean of an empty batch."""
    return Z.dtype.type(math.nan if len(Z) == 0 and weights is None else 0)


def _target_row(y: Array, like: Array) -> Array:
    """A class index as a one-hot row (K,); a row as it is."""
    return np.eye(like.shape[1], dtype=like.dtype)[y] if y.ndim == 0 else y.astype(like.dtype)
