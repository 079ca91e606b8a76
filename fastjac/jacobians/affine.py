"""The affine function z = xᵀW + b: one sample and n neurons, then N samples and one neuron."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_matrix, as_vector, check_count, check_index, check_length
from .layout import to_layout


def affine_input(W: ArrayLike, layout: str = "numerator") -> Array:
    """∂z/∂x = Wᵀ of z = xᵀW + b. Course row A4.

    Args:
        W: (m, n) float32 or float64: a column is the weights of one neuron.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (n, m): row j is w_jᵀ; layout="denominator" gives (m, n).

    Raises:
        ValueError: W is no matrix or the layout is unknown.

    >>> affine_input([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    array([[1., 3., 5.],
           [2., 4., 6.]])
    """
    return to_layout(as_matrix("W", W).T.copy(), layout)


def affine_weight(x: ArrayLike, neuron: int, neurons: int, layout: str = "numerator") -> Array:
    """∂z/∂w_j of z = xᵀW + b: zero but for row j, which is xᵀ. Course row A4.

    The slide prints ∂z_1/∂w_2 = xᵀ beside z_2, and so on: a slip for ∂z_2/∂w_2, its matrices are right.

    Args:
        x: (m,) float32 or float64, one sample.
        neuron: j, from 0; w_j is column j of W.
        neurons: n.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (n, m); layout="denominator" gives (m, n).

    Raises:
        ValueError: x is no vector, j is not below n, or the layout is unknown.

    >>> affine_weight([5.0, 7.0], neuron=1, neurons=3)
    array([[0., 0.],
           [5., 7.],
           [0., 0.]])
    """
    x = as_vector("x", x)
    check_count("neurons", neurons, at_least=1)
    check_index("neuron", neuron, neurons)
    J = np.zeros((neurons, len(x)), dtype=x.dtype)
    J[neuron] = x
    return to_layout(J, layout)


def affine_weight_tensor(x: ArrayLike, neurons: int, layout: str = "numerator") -> Array:
    """∂z_o/∂W_ik = δ_ok x_i of z = xᵀW + b: every ∂z/∂w_j of ``affine_weight`` at once. Course row A4.

    Args:
        x: (m,) float32 or float64, one sample.
        neurons: n.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (n, m, n), the last two axes as W; ``[:, :, j]`` is ∂z/∂w_j; layout="denominator" gives (m, n, n).

    Raises:
        ValueError: x is no vector, n is no count, or the layout is unknown.

    >>> affine_weight_tensor([5.0, 7.0], neurons=3)[:, :, 1]
    array([[0., 0.],
           [5., 7.],
           [0., 0.]])
    """
    x = as_vector("x", x)
    check_count("neurons", neurons)
    return to_layout(np.einsum("ok,i->oik", np.eye(neurons, dtype=x.dtype), x), layout)


def affine_bias(neurons: int, dtype: type[np.floating] | str = "float64") -> Array:
    """∂z/∂b = I of z = xᵀW + b. Course row A4.

    Args:
        neurons: n.
        dtype: of the array.

    Returns:
        (n, n) of dtype. Symmetric: both layouts are the same array.

    Raises:
        ValueError: n is no count.

    >>> affine_bias(2)
    array([[1., 0.],
           [0., 1.]])
    """
    check_count("neurons", neurons)
    return np.eye(neurons, dtype=dtype)


class AffineJacobians(NamedTuple):
    """What ``affine`` and ``affine_neuron`` return. Course rows A4 and A5.

    Attributes:
        dz_dx: (n, m), ∂z/∂x; of a neuron (N, N, m), ∂z/∂x⁽ⁱ⁾ for each i.
        dz_dw: (n, n, m), ∂z/∂w_j for each j; of a neuron (N, m), ∂z/∂w.
        dz_db: (n, n), ∂z/∂b; of a neuron (N, 1).
    """

    dz_dx: Array
    dz_dw: Array
    dz_db: Array


def affine(x: ArrayLike, W: ArrayLike, layout: str = "numerator") -> AffineJacobians:
    """The three Jacobians of z = xᵀW + b, one sample and n neurons. Course row A4.

    Args:
        x: (m,).
        W: (m, n).
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        The three Jacobians; layout="denominator" transposes each: (m, n), (n, m, n), (n, n).

        - dz_dx: (n, m), Wᵀ.
        - dz_dw: (n, n, m), dz_dw[j] is ∂z/∂w_j: zero but for row j, which is xᵀ.
        - dz_db: (n, n), I.

    Raises:
        ValueError: the shapes do not fit or the layout is unknown.

    >>> affine([5.0, 7.0], np.ones((2, 3))).dz_dw[1]
    array([[0., 0.],
           [5., 7.],
           [0., 0.]])
    """
    x, W = as_vector("x", x), as_matrix("W", W)
    inputs, neurons = W.shape
    check_length("x", x, inputs, f"W has shape {W.shape}")
    dz_dx = affine_input(W, layout)
    dz_dw = np.empty((neurons, *dz_dx.shape), dtype=x.dtype)
    for j in range(neurons):
        dz_dw[j] = affine_weight(x, j, neurons, layout)
    return AffineJacobians(dz_dx, dz_dw, affine_bias(neurons, W.dtype.name))


def affine_neuron(X: ArrayLike, w: ArrayLike, layout: str = "numerator") -> AffineJacobians:
    """The three Jacobians of z = Xw + b, N samples and one neuron. Course row A5.

    The slide labels ∂z/∂w as Xᵀ, for an X with samples as columns; with samples as rows its matrix is X.

    Args:
        X: (N, m).
        w: (m,).
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        The three Jacobians; layout="denominator" transposes each: (N, m, N), (m, N), (1, N).

        - dz_dx: (N, N, m), dz_dx[i] is ∂z/∂x⁽ⁱ⁾: zero but for row i, which is wᵀ.
        - dz_dw: (N, m), row i is x⁽ⁱ⁾ᵀ, so X itself.
        - dz_db: (N, 1), ones.

    Raises:
        ValueError: the shapes do not fit or the layout is unknown.

    >>> affine_neuron([[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0]).dz_dx[1]
    array([[0., 0.],
           [5., 6.]])
    """
    X, w = as_matrix("X", X), as_vector("w", w)
    samples, inputs = X.shape
    check_length("w", w, inputs, f"X has shape {X.shape}")
    dz_dx = np.zeros((samples, samples, inputs), dtype=w.dtype)
    for i in range(samples):
        dz_dx[i, i] = w
    return AffineJacobians(
        dz_dx=np.swapaxes(dz_dx, 1, 2) if layout == "denominator" else dz_dx,
        dz_dw=to_layout(X.copy(), layout),
        dz_db=to_layout(np.ones((samples, 1), dtype=X.dtype), layout),
    )
