"""What kernels take instead of loose pointers, strides and counts: named tuples, of which compiled code keeps nothing.

To Numba a tuple's type is that of its fields, in order: a pointer and an address, or a whole number and a float, make
two types, and each type a compilation of its own. So what is made here is made of pointers, int64 and float64 alone;
only what comes from Python, ``Matrix`` and what is in ``checked``, has addresses in place of the pointers.

None of these functions reads or writes a number: they reckon where numbers are.
"""

from typing import Any, NamedTuple

from numba import types

from ._jit import inline
from .counting import share
from .simd import advance, numbers_at


class Matrix(NamedTuple):
    """A matrix of any layout: entry (r, c) is at ``at`` + r·row + c·column."""

    at: Any  # a pointer; from Python an address
    row: int  # strides, in numbers
    column: int


class Rows(NamedTuple):
    """A matrix whose rows are read and written as vectors: entry (r, c) is at ``at`` + r·row + c."""

    at: Any
    row: int


class Sizes(NamedTuple):
    """Of a dense layer: X (rows, inputs), W (inputs, outputs), Z and A (rows, outputs)."""

    rows: int
    inputs: int
    outputs: int


class Function(NamedTuple):
    """A row of a table, of activations or of losses, and the one number that it takes.

    ``code`` is where the address of its code is (``compiled`` of the table gives it), or 0 for an identity that
    is left out.
    """

    code: int
    parameter: float


class Team(NamedTuple):
    """Which thread this is, among how many that share a piece of work, and where they meet (``threads``)."""

    part: int
    parts: int
    sync: Any


def rows_type(numbers):
    """The type of Rows, from that of a pointer to their numbers."""
    return types.BaseTuple.from_types((numbers, types.intp), Rows)


def matrix_type(numbers):
    """As ``rows_type``, of Matrix."""
    return types.BaseTuple.from_types((numbers, types.intp, types.intp), Matrix)


SIZES_TYPE = types.BaseTuple.from_types([types.intp] * 3, Sizes)
TEAM_TYPE = types.BaseTuple.from_types((types.intp, types.intp, types.CPointer(types.int64)), Team)


@inline
def matrix_at(given, like):
    """A matrix from Python, whose ``at`` is an address, of numbers of the type that ``like`` points to."""
    return Matrix(numbers_at(given.at, like), given.row, given.column)


@inline
def matrix_from(matrix, row, column):
    """The matrix from an entry on, to the right and down."""
    return Matrix(advance(matrix.at, row * matrix.row + column * matrix.column), matrix.row, matrix.column)


@inline
def rows_from(rows, row, column):
    """As ``matrix_from``, of rows."""
    return Rows(advance(rows.at, row * rows.row + column), rows.row)


@inline
def transposed(matrix):
    """Aᵀ, where A is."""
    return Matrix(matrix.at, matrix.column, matrix.row)


@inline
def as_matrix(rows):
    """The same, for who takes any layout."""
    return Matrix(rows.at, rows.row, 1)


@inline
def alone(sync):
    """The team of a thread that shares its work with no other."""
    return Team(0, 1, sync)


@inline
def share_of(team, total):
    """Where this thread's share of ``total`` things begins, and where it ends."""
    return share(total, team.part, team.parts), share(total, team.part + 1, team.parts)
