"""Backpropagation with compiled kernels: what `unfused` does in several passes over memory is one pass here.

X (N, I), W (I, O), b (O,), Z, A and their gradients (N, O); float32 or float64, the same in as out. An activation has
a `name` and a `parameter`. Losses are means over the samples, weighted if there are weights.

Z is kept only where the slope can't be told from A; elsewhere it is None. Dead ReLU units are -0.0 in A.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import fastjac.kernels as kernels
from fastjac.jacobians.elementwise import ActivationFunction
from fastjac.kernels.activations import CODES, TABLE
from fastjac.kernels.checked import loss_and_gradient
from fastjac.kernels.losses import TABLE as TABLE_OF_LOSSES

Array = NDArray[np.floating]

Loss = Callable[..., tuple[float, Array]]


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


def _of_kernel(name: str) -> Loss:
    def loss(P: Array, Y: Array, weights: Array | None, parameter: float = 0.0) -> tuple[float, Array]:
        return loss_and_gradient(name, P, Y, sample_weight=weights, parameter=parameter)

    return loss


# Value and gradient in one visit of a row. Course rows B9, B10, C1 to C4, E2; beyond the course F1 to F4.
LOSSES: dict[str, Loss] = {loss.name: _of_kernel(loss.name) for loss in TABLE_OF_LOSSES}
