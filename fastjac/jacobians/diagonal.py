"""Diagonal matrices: the Jacobian of anything element-wise, in n numbers instead of n²."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._validate import Array, as_array, as_vector, check_count

Dense = np.ndarray | Sequence[float] | Sequence[Sequence[float]]  # a matrix or a vector


class Diagonal:
    """diag(d): the n×n matrix with d on its diagonal, of which only d is stored. Course row B1.

    Behaves as a square matrix: + and − with a Diagonal or a matrix, @ with a Diagonal, a matrix or a vector from either
    side, ``inverse()``, ``transpose()``; ``to_array()`` and NumPy's ``asarray`` make the dense matrix. Sum, product and
    inverse of diag(a), diag(b) are diag(a + b), diag(a·b), diag(1/a); M·I = M.

    The slide prints a1·b2 as the second entry of the product: it is a2·b2.

    Args:
        d: vector (n,) float32 or float64; copied.

    Raises:
        ValueError: d is no vector, or the shapes of an operation do not fit.

    >>> A, B = Diagonal([1.0, 2.0]), Diagonal([3.0, 4.0])
    >>> A @ B
    Diagonal([3., 8.])
    >>> A + B
    Diagonal([4., 6.])
    >>> np.ones((2, 2)) @ A
    array([[1., 2.],
           [1., 2.]])
    """

    # NumPy's own operators step back, so that `ndarray @ Diagonal` arrives at __rmatmul__ below.
    __array_ufunc__ = None
    __slots__ = ("_entries",)

    def __init__(self, d: ArrayLike) -> None:
        self._entries = np.array(as_vector("d", d))
        self._entries.setflags(write=False)

    @classmethod
    def identity(cls, n: int, dtype: DTypeLike = np.float64) -> Diagonal:
        """I, the diagonal matrix with M·I = M. Course row B1.

        Args:
            n: the length of the diagonal.
            dtype: of its entries.

        Returns:
            The ``Diagonal`` of n ones.

        Raises:
            ValueError: n is no count.

        >>> Diagonal.identity(2)
        Diagonal([1., 1.])
        """
        check_count("n", n)
        return cls(np.ones(n, dtype=dtype))

    @property
    def entries(self) -> Array:
        """The diagonal (n,), read-only."""
        return self._entries

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n), of the matrix."""
        n = len(self._entries)
        return (n, n)

    @property
    def ndim(self) -> int:
        """2, as of any matrix."""
        return 2

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Of the entries: float32 or float64."""
        return self._entries.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of this form: n numbers."""
        return self._entries.nbytes

    @property
    def dense_nbytes(self) -> int:
        """Bytes of ``to_array()``: n² numbers."""
        return len(self._entries) * self._entries.nbytes

    def multiplies(self, columns: int = 1) -> int:
        """Multiplications of diag(d)·M for M n×columns: n·columns. Course row B1.

        Args:
            columns: of M.

        Returns:
            Their number.

        >>> Diagonal(np.ones(100)).multiplies(), Diagonal(np.ones(100)).dense_multiplies()
        (100, 10000)
        """
        return len(self._entries) * columns

    def dense_multiplies(self, columns: int = 1) -> int:
        """Multiplications of the same product with the dense form: n²·columns. Course row B1.

        Args:
            columns: of M.

        Returns:
            Their number.

        >>> Diagonal(np.ones(10)).dense_multiplies(columns=10)
        1000
        """
        return len(self._entries) ** 2 * columns

    def to_array(self) -> Array:
        """The dense matrix (n, n), its zeros written out. Course row B1.

        >>> Diagonal([1.0, 2.0]).to_array()
        array([[1., 0.],
               [0., 2.]])
        """
        return np.diag(self._entries)

    def inverse(self) -> Diagonal:
        """diag(1/d). Course row B1.

        Raises:
            ValueError: an entry is zero.

        >>> Diagonal([2.0, 4.0]).inverse()
        Diagonal([0.5 , 0.25])
        """
        zeros = np.flatnonzero(self._entries == 0)
        if zeros.size:
            raise ValueError(f"d is zero at entry {zeros[0]}, expected no zero: diag(d) has no inverse")
        return Diagonal(1 / self._entries)

    def transpose(self) -> Diagonal:
        """diag(d)ᵀ = diag(d). Course row B1.

        >>> Diagonal([1.0, 2.0]).transpose()
        Diagonal([1., 2.])
        """
        return self

    T = property(transpose)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("copy is False, but the dense form of a Diagonal is always a new array")
        return self.to_array() if dtype is None else self.to_array().astype(dtype)

    def __neg__(self) -> Diagonal:
        return Diagonal(-self._entries)

    @overload
    def __add__(self, other: Diagonal) -> Diagonal: ...
    @overload
    def __add__(self, other: Dense) -> Array: ...
    def __add__(self, other: Diagonal | Dense) -> Diagonal | Array:
        if isinstance(other, Diagonal):
            self._check_same_size(other)
            return Diagonal(self._entries + other._entries)
        matrix = as_array("the other matrix", other)
        if matrix.shape != self.shape:
            raise ValueError(f"the other matrix has shape {matrix.shape}, expected {self.shape}")
        return self.to_array() + matrix

    __radd__ = __add__

    @overload
    def __sub__(self, other: Diagonal) -> Diagonal: ...
    @overload
    def __sub__(self, other: np.ndarray) -> Array: ...
    def __sub__(self, other: Diagonal | np.ndarray) -> Diagonal | Array:
        return self + (-other)

    def __rsub__(self, other: Dense) -> Array:
        return -self + other

    @overload
    def __matmul__(self, other: Diagonal) -> Diagonal: ...
    @overload
    def __matmul__(self, other: Dense) -> Array: ...
    def __matmul__(self, other: Diagonal | Dense) -> Diagonal | Array:
        if isinstance(other, Diagonal):
            self._check_same_size(other)
            return Diagonal(self._entries * other._entries)
        array = as_array("the right factor", other)
        axis = max(array.ndim - 2, 0)
        if array.ndim == 0 or array.shape[axis] != len(self._entries):
            raise ValueError(f"the right factor has shape {array.shape}, expected {len(self._entries)} rows")
        return self._entries * array if array.ndim == 1 else self._entries[:, None] * array

    def __rmatmul__(self, other: Dense) -> Array:
        array = as_array("the left factor", other)
        if array.ndim == 0 or array.shape[-1] != len(self._entries):
            raise ValueError(f"the left factor has shape {array.shape}, expected {len(self._entries)} columns")
        return array * self._entries

    def _check_same_size(self, other: Diagonal) -> None:
        if other.shape != self.shape:
            raise ValueError(f"the other Diagonal has shape {other.shape}, expected {self.shape}")

    def __repr__(self) -> str:
        dtype = "" if self.dtype == np.float64 else f", dtype={self.dtype}"
        return f"Diagonal({np.array2string(self._entries, separator=', ')}{dtype})"
