"""With a matrix in or out, a Jacobian has three or four axes; ⊗_r is the product that sums over r of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_array, as_matrix, as_vector, check_length
from .elementwise import Derivative, elementwise
from .layout import to_layout


class MatrixVectorJacobians(NamedTuple):
    """What ``matrix_vector`` returns. Course row D2.

    Attributes:
        dy_dx: (m, n), A.
        dy_dA: (m, m, n), δ_ij x_k.
    """

    dy_dx: Array
    dy_dA: Array


class MatmulJacobians(NamedTuple):
    """What ``matmul`` returns. Course row D5.

    Attributes:
        dY_dX: (l, m, l, n), δ_ik a_lj.
        dY_dA: (l, m, n, m), x_ik δ_jl.
    """

    dY_dX: Array
    dY_dA: Array


def matrix_vector(A: ArrayLike, x: ArrayLike, layout: str = "numerator") -> MatrixVectorJacobians:
    """∂y/∂x = A and ∂y_i/∂a_jk = δ_ij x_k of y = Ax. Course row D2.

    Args:
        A: (m, n).
        x: (n,).
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        dy_dx (m, n) and dy_dA (m, m, n); layout="denominator" gives (n, m) and (m, n, m).

    Raises:
        ValueError: the shapes do not fit or the layout is unknown.

    >>> matrix_vector([[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0]).dy_dA[1]
    array([[0., 0.],
           [5., 6.]])
    """
    A, x = as_matrix("A", A), as_vector("x", x)
    check_length("x", x, A.shape[1], f"A has shape {A.shape}")
    dy_dA = np.einsum("ij,k->ijk", np.eye(A.shape[0], dtype=x.dtype), x)
    return MatrixVectorJacobians(to_layout(A.copy(), layout), to_layout(dy_dA, layout))


def elementwise_tensor(derivative: Derivative, X: ArrayLike, layout: str = "numerator") -> Array:
    """∂y_ij/∂x_kl = δ_ik δ_jl f′(x_ij) of Y = f(X), a batch in and a batch out. Course row D3.

    Args:
        derivative: f′, an activation's name or an object with ``.name`` and ``.parameter``, as for ``elementwise``.
        X: (b, m): one sample a row.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (b, m, b, m): zero between samples, and within one the diagonal of row B2. Symmetric in its two pairs of axes,
        so both layouts are the same array.

    Raises:
        ValueError: X is no matrix, or the derivative or the layout is unknown.

    >>> elementwise_tensor(np.cos, np.zeros((2, 3))).shape
    (2, 3, 2, 3)
    """
    X = as_matrix("X", X)
    return to_layout(elementwise(derivative, X.ravel()).reshape(X.shape + X.shape), layout, output_axes=2)


def contract(P: ArrayLike, Q: ArrayLike, axes: int = 1) -> Array:
    """P ⊗_r Q: the sum over the last r axes of P and the first r axes of Q. Course rows D4 and D5.

    Args:
        P, Q: arrays; the last r axes of P and the first r of Q have the same lengths.
        axes: r, how many dimensions are summed over: 1 is the matrix product, [i,j] ⊗₂ [i,j,k,l] → [k,l].

    Returns:
        The remaining axes of P, then those of Q.

    Raises:
        ValueError: r is more than the axes of P or Q, or the lengths differ.

    >>> contract(np.ones((2, 3)), np.ones((2, 3, 4, 5)), axes=2).shape
    (4, 5)
    """
    P, Q = as_array("P", P), as_array("Q", Q)
    if isinstance(axes, bool) or not isinstance(axes, int | np.integer) or not 0 <= axes <= min(P.ndim, Q.ndim):
        raise ValueError(
            f"axes is {axes!r}, expected 0 to {min(P.ndim, Q.ndim)}: P has shape {P.shape}, Q has shape {Q.shape}"
        )
    if P.shape[P.ndim - axes :] != Q.shape[:axes]:
        raise ValueError(
            f"Q has shape {Q.shape}, expected it to begin with {P.shape[P.ndim - axes :]}, "
            f"the last {axes} axes of P, shape {P.shape}"
        )
    return np.tensordot(P, Q, axes=int(axes))


def matmul(X: ArrayLike, A: ArrayLike, layout: str = "numerator") -> MatmulJacobians:
    """∂y_ij/∂a_kl = x_ik δ_jl and ∂y_ij/∂x_kl = δ_ik a_lj of Y = XA. Course row D5.

    By ⊗₂ with ∂E/∂Y (l, m) they give ∂E/∂X = ∂E/∂Y·Aᵀ and ∂E/∂A = Xᵀ·∂E/∂Y.

    The document repeats ∂y_ij/∂a_kl with x_il: a slip for x_ik, as two lines above it and in its last sum.

    Args:
        X: (l, n).
        A: (n, m).
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        dY_dX (l, m, l, n) and dY_dA (l, m, n, m); layout="denominator" (l, n, l, m) and (n, m, l, m).

    Raises:
        ValueError: the shapes do not fit or the layout is unknown.

    >>> X, A, dE_dY = np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4))
    >>> bool((contract(dE_dY, matmul(X, A).dY_dA, axes=2) == X.T @ dE_dY).all())
    True
    """
    X, A = as_matrix("X", X), as_matrix("A", A)
    if X.shape[1] != A.shape[0]:
        raise ValueError(f"A has shape {A.shape}, expected {X.shape[1]} rows: X has shape {X.shape}")
    dY_dX = np.einsum("ik,lj->ijkl", np.eye(X.shape[0], dtype=A.dtype), A)
    dY_dA = np.einsum("ik,jl->ijkl", X, np.eye(A.shape[1], dtype=X.dtype))
    return MatmulJacobians(to_layout(dY_dX, layout, output_axes=2), to_layout(dY_dA, layout, output_axes=2))
