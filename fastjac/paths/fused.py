"""Backpropagation with compiled kernels: what `unfused` does in several passes over memory is one pass here.

X (N, I), W (I, O), b (O,), Z, A and their gradients (N, O); float32 or float64, the same in as out. An activation has
a `name` and a `parameter`. Losses are means over the samples, weighted if there are weights.

Z is kept only where the slope can't be told from A; elsewhere it is None. Dead ReLU units are -0.0 in A.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastjac import kernels
from fastjac.jacobians.elementwise import ActivationFunction
from fastjac.kernels.activations import CODES, TABLE

Array = NDArray[np.floating[Any]]


def dense_forward(X: Array, W: Array, b: Array, activation: ActivationFunction) -> tuple[Array | None, Array]:
    """A = g(XW + b), the activation applied to each tile of the product. Course rows C7 and B5."""
    Z = np.empty((X.shape[0], W.shape[1]), W.dtype) if TABLE[CODES[activation.name]].needs_input else None
    A = kernels.dense_forward(X, W, b, activation.name, parameter=activation.parameter, z_out=Z)
    return Z, A


def dense_backward(
    dA: Array,
    Z: Array | None,
    A: Array,
    X: Array,
    W: Array,
    activation: ActivationFunction,
    input_gradient: bool = True,
) -> tuple[Array | None, Array, Array]:
    """dX, dW and db, the slope applied to a block of rows of dA while it is in the cache. Course rows B5 and C7."""
    return kernels.dense_backward(
        dA, A, X, W, activation.name, Z=Z, parameter=activation.parameter, input_gradient=input_gradient
    )


def activation_forward(Z: Array, activation: ActivationFunction) -> Array:
    """A = g(Z), entry by entry, in vector registers. Course row B4."""
    return kernels.activation_forward(Z, activation.name, parameter=activation.parameter)


def activation_backward(dA: Array, Z: Array | None, A: Array, activation: ActivationFunction) -> Array:
    """dZ = dA ⊙ g′(Z), the diagonal Jacobian never built. Course rows B2 and B4."""
    return kernels.activation_backward(dA, A, activation.name, Z=Z, parameter=activation.parameter)


def softmax_forward(Z: Array) -> Array:
    """s_k = e^z_k / Σ e^z_j of every row. Course row A6."""
    return kernels.softmax(Z)


def softmax_backward(dS: Array, S: Array) -> Array:
    """dz_j = s_j(ds_j − Σ ds_k s_k). Course rows A7 and C4."""
    return kernels.softmax_backward(dS, S)


def dropout_forward(X: Array, mask: Array) -> Array:
    """A = X ⊙ mask; the mask holds 0 and 1/(1 − rate). Course row B7."""
    with np.errstate(over="ignore", invalid="ignore"):  # as in kernels: who trains looks at the loss
        return X * mask


def dropout_backward(dA: Array, mask: Array) -> Array:
    """dX = dA ⊙ mask. Course row B7."""
    with np.errstate(over="ignore", invalid="ignore"):
        return dA * mask


def softmax_cross_entropy(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """−Σ y log softmax(z) and s − y in one visit of a row. Course row E2."""
    return kernels.softmax_cross_entropy(Z, Y, sample_weight=weights)


def binary_cross_entropy(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """Binary cross-entropy from logits and σ(z) − y in one visit."""
    return kernels.binary_cross_entropy(Z, Y, sample_weight=weights)


def binary_cross_entropy_probabilities(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """Binary cross-entropy from probabilities. Course rows B10 and C2."""
    return kernels.binary_cross_entropy_probabilities(P, Y, sample_weight=weights)


def categorical_cross_entropy(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """Cross-entropy of rows of probabilities. Course row C3."""
    return kernels.categorical_cross_entropy(P, Y, sample_weight=weights)


def mean_squared_error(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """Mean of (y − p)² and its gradient in one visit. Course rows B9 and C1."""
    return kernels.mean_squared_error(P, Y, sample_weight=weights)


def absolute_error(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """Mean of |y − p| and its gradient in one visit. Course row B8, and beyond the course F1."""
    return kernels.absolute_error(P, Y, sample_weight=weights)


def huber(P: Array, Y: Array, weights: Array | None, delta: float) -> tuple[float, Array]:
    """Mean of Huber's loss and its gradient in one visit. Course row B8, and beyond the course F2."""
    return kernels.huber(P, Y, delta, sample_weight=weights)


def quantile(P: Array, Y: Array, weights: Array | None, q: float) -> tuple[float, Array]:
    """Mean of the pinball loss and its gradient in one visit. Course row B8, and beyond the course F3."""
    return kernels.quantile(P, Y, q, sample_weight=weights)


def poisson(Z: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
    """Half the mean Poisson deviance of the rates e^z, and its gradient. Course row B8, and beyond the course F4."""
    return kernels.poisson(Z, Y, sample_weight=weights)
