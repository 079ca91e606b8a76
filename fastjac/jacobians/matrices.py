"""Products and sums of whole matrices: gradients shaped like what they are gradients of."""

from typing import NamedTuple

from numpy.typing import ArrayLike

from ._validate import Array, as_matrix


class MatmulGradients(NamedTuple):
    """What ``matmul_gradients`` returns. Course row C5.

    Attributes:
        dA: (α, β), dC·Bᵀ.
        dB: (β, γ), Aᵀ·dC.
    """

    dA: Array
    dB: Array


class AffineGradients(NamedTuple):
    """What ``affine_gradients`` returns. Course row C7.

    Attributes:
        dX: (N, m), dZ·Wᵀ.
        dW: (m, n), Xᵀ·dZ.
        db: (n,), the sum of dZ over its rows.
    """

    dX: Array
    dW: Array
    db: Array


def matmul_gradients(dC: ArrayLike, A: ArrayLike, B: ArrayLike) -> MatmulGradients:
    """dA = dC·Bᵀ and dB = Aᵀ·dC of C = AB. Course row C5.

    Args:
        dC: (α, γ).
        A: (α, β).
        B: (β, γ).

    Returns:
        dA (α, β), entries Row_i(dC)·Col_j(Bᵀ), and dB (β, γ), entries Row_i(Aᵀ)·Col_j(dC).

    Raises:
        ValueError: the shapes do not fit.

    >>> matmul_gradients([[1.0]], [[2.0, 3.0]], [[4.0], [5.0]])
    MatmulGradients(dA=array([[4., 5.]]), dB=array([[2.],
           [3.]]))
    """
    dC, A, B = as_matrix("dC", dC), as_matrix("A", A), as_matrix("B", B)
    if A.shape[1] != B.shape[0]:
        raise ValueError(f"B has shape {B.shape}, expected {A.shape[1]} rows: A has shape {A.shape}")
    if dC.shape != (A.shape[0], B.shape[1]):
        raise ValueError(f"dC has shape {dC.shape}, expected {(A.shape[0], B.shape[1])}, the shape of AB")
    return MatmulGradients(dA=dC @ B.T, dB=A.T @ dC)


def bias_gradient(dC: ArrayLike) -> Array:
    """db = sum(dC, axis=0) of C = A + bᵀ. Course row C6.

    Args:
        dC: (α, β).

    Returns:
        (β,): b_i reaches every row of column i.

    Raises:
        ValueError: dC is no matrix.

    >>> bias_gradient([[1.0, 2.0], [3.0, 4.0]])
    array([4., 6.])
    """
    db: Array = as_matrix("dC", dC).sum(axis=0)
    return db


def affine_gradients(dZ: ArrayLike, X: ArrayLike, W: ArrayLike) -> AffineGradients:
    """dX = dZ·Wᵀ, dW = Xᵀ·dZ, db = sum(dZ, axis=0) of Z = XW + bᵀ. Course row C7.

    Args:
        dZ: (N, n).
        X: (N, m).
        W: (m, n).

    Returns:
        dX (N, m), dW (m, n), db (n,).

    Raises:
        ValueError: the shapes do not fit.

    >>> affine_gradients([[1.0], [2.0]], [[3.0], [4.0]], [[5.0]])
    AffineGradients(dX=array([[ 5.],
           [10.]]), dW=array([[11.]]), db=array([3.]))
    """
    dZ, X, W = as_matrix("dZ", dZ), as_matrix("X", X), as_matrix("W", W)
    if X.shape[1] != W.shape[0]:
        raise ValueError(f"W has shape {W.shape}, expected {X.shape[1]} rows: X has shape {X.shape}")
    if dZ.shape != (X.shape[0], W.shape[1]):
        raise ValueError(f"dZ has shape {dZ.shape}, expected {(X.shape[0], W.shape[1])}, the shape of XW + b")
    dX, dW = matmul_gradients(dZ, X, W)
    return AffineGradients(dX, dW, bias_gradient(dZ))
