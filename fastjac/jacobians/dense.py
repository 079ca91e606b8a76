"""The dense layer a = g(xᵀW + b): the affine Jacobians, multiplied from the left by the diagonal of g′(z)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_array, as_matrix, as_vector, check_length
from .affine import affine, affine_neuron
from .elementwise import ActivationFunction, activation_value, elementwise_diagonal
from .layout import to_layout


class DenseJacobians(NamedTuple):
    """What ``dense`` and ``neuron`` return. Course rows B5 and B6.

    Attributes:
        z, a: (n,), of the forward pass; of a neuron (N,).
        da_dz: (n, n), ∂a/∂z; of a neuron (N, N).
        da_dx: (n, m), ∂a/∂x; of a neuron (N, N, m), ∂a/∂x⁽ⁱ⁾ for each i.
        da_dw: (n, n, m), ∂a/∂w_j for each j; of a neuron (N, m), ∂a/∂w.
        da_db: (n, n), ∂a/∂b; of a neuron (N, 1).
    """

    z: Array
    a: Array
    da_dz: Array
    da_dx: Array
    da_dw: Array
    da_db: Array


def dense(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    activation: str | ActivationFunction = "identity",
    layout: str = "numerator",
) -> DenseJacobians:
    """The Jacobians of a = g(xᵀW + b), one sample and n neurons. Course row B5.

    The slide writes ∂a_1/∂z_1 in every ∂a/∂w_j: a slip, row j has ∂a_j/∂z_j.

    Args:
        x: (m,).
        W: (m, n).
        b: (n,).
        activation: as for ``activation_value``.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        z and a of the forward pass, the Jacobians; layout="denominator" transposes each: (m, n) for da_dx, (n, m, n)
        for da_dw.

        - z, a: (n,), xᵀW + b and g(z).
        - da_dz: (n, n), diag(g′(z)).
        - da_dx: (n, m), row j is g′(z_j)·w_jᵀ.
        - da_dw: (n, n, m), da_dw[j] is ∂a/∂w_j: zero but for row j, which is g′(z_j)·xᵀ.
        - da_db: (n, n), diag(g′(z)).

    Raises:
        ValueError: the shapes do not fit, or the activation or the layout is unknown.

    >>> dense([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]], [0.0, -99.0], "relu").da_dx
    array([[3., 5.],
           [0., 0.]])
    """
    x, W, b = as_vector("x", x), as_matrix("W", W), as_vector("b", b)
    check_length("x", x, W.shape[0], f"W has shape {W.shape}")
    check_length("b", b, W.shape[1], f"W has shape {W.shape}")
    z = x @ W + b
    da_dz = elementwise_diagonal(activation, z)
    dz = affine(x, W)
    return DenseJacobians(
        z=z,
        a=activation_value(activation, z),
        da_dz=da_dz.to_array(),
        da_dx=to_layout(da_dz @ dz.dz_dx, layout),
        da_dw=_transpose_each(da_dz @ dz.dz_dw, layout),
        da_db=da_dz @ dz.dz_db,
    )


def neuron(
    X: ArrayLike,
    w: ArrayLike,
    b: ArrayLike,
    activation: str | ActivationFunction = "sigmoid",
    layout: str = "numerator",
) -> DenseJacobians:
    """The Jacobians of a = g(Xw + b), one artificial neuron and N samples. Course row B6.

    Args:
        X: (N, m).
        w: (m,).
        b: scalar.
        activation: as for ``activation_value``.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        z and a of the forward pass, the Jacobians; layout="denominator" transposes each: (N, m, N), (m, N), (1, N).

        - z, a: (N,), Xw + b and g(z).
        - da_dz: (N, N), diag(g′(z⁽ⁱ⁾)), over the samples.
        - da_dx: (N, N, m), da_dx[i] is ∂a/∂x⁽ⁱ⁾: zero but for row i, which is g′(z⁽ⁱ⁾)·wᵀ.
        - da_dw: (N, m), row i is g′(z⁽ⁱ⁾)·x⁽ⁱ⁾ᵀ.
        - da_db: (N, 1), the column of g′(z⁽ⁱ⁾).

    Raises:
        ValueError: the shapes do not fit, or the activation or the layout is unknown.

    >>> neuron([[1.0, 2.0], [-1.0, -2.0]], [1.0, 1.0], 0.0, "relu").da_dw
    array([[ 1.,  2.],
           [-0., -0.]])
    """
    X, w = as_matrix("X", X), as_vector("w", w)
    check_length("w", w, X.shape[1], f"X has shape {X.shape}")
    if np.ndim(b) != 0:
        raise ValueError(f"b has shape {np.shape(b)}, expected a scalar (): one neuron has one bias")
    z = X @ w + as_array("b", b, 0).astype(X.dtype, copy=False)
    da_dz = elementwise_diagonal(activation, z)
    dz = affine_neuron(X, w)
    return DenseJacobians(
        z=z,
        a=activation_value(activation, z),
        da_dz=da_dz.to_array(),
        da_dx=_transpose_each(da_dz @ dz.dz_dx, layout),
        da_dw=to_layout(da_dz @ dz.dz_dw, layout),
        da_db=to_layout(da_dz @ dz.dz_db, layout),
    )


def _transpose_each(stack: Array, layout: str) -> Array:
    """A stack of Jacobians, each in the layout; its first axis counts them."""
    return np.stack([to_layout(J, layout) for J in stack]) if layout != "numerator" and len(stack) else stack
