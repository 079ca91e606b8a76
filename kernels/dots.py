"""A layer of one output, z = X·w + b, by dot products: a register tile would use one lane of each register.

The order of a sum is the same for any number of rows, any strides of X and any share of them: lane l of a register adds
the products of k = l, l + lanes, … one after the other, and then the lanes are folded onto each other.
"""

from ._jit import inline
from .blocking import DOTS, DOTS_DEPTH
from .counting import least
from .gemm import copy_rows
from .matrix import Rows, as_matrix, matrix_from
from .simd import advance, fma, get, lanes, load, load_head, splat, store, sums_of_eight


@inline
def dots(x, w, b, z, rows, depth, buffer):
    """z = X·w + b.

    x: Matrix (rows, depth).  w, b: pointers, to ``depth`` numbers and to one.  z: pointer, to ``rows`` numbers and up
    to DOTS - 1 more that are written as well.  buffer: DOTS·DOTS_DEPTH numbers, apart from all others.
    """
    for r in range(0, rows, DOTS):
        s0, s1, s2, s3, s4, s5, s6, s7 = _products(matrix_from(x, r, 0), w, least(DOTS, rows - r), depth, buffer)
        store(z, r, sums_of_eight(s0, s1, s2, s3, s4, s5, s6, s7) + get(b, 0))


@inline
def _products(x, w, rows, depth, buffer):
    """The sums of eight rows, lane by lane: chains that do not wait for each other. In place of rows that X has not,
    the last one is taken."""
    s0, s1, s2, s3 = splat(w, 0.0), splat(w, 0.0), splat(w, 0.0), splat(w, 0.0)
    s4, s5, s6, s7 = splat(w, 0.0), splat(w, 0.0), splat(w, 0.0), splat(w, 0.0)
    for first in range(0, depth, DOTS_DEPTH):
        part, weights = least(DOTS_DEPTH, depth - first), advance(w, first)
        lines = matrix_from(x, 0, first)
        if x.column != 1:
            copy_rows(lines, Rows(buffer, DOTS_DEPTH), rows, part)
            lines = as_matrix(Rows(buffer, DOTS_DEPTH))
        x0, x1, x2, x3 = lines.at, _row(lines, rows, 1), _row(lines, rows, 2), _row(lines, rows, 3)
        x4, x5, x6, x7 = _row(lines, rows, 4), _row(lines, rows, 5), _row(lines, rows, 6), _row(lines, rows, 7)
        k = 0
        while k <= part - lanes(w):
            y = load(weights, k)
            s0, s1 = fma(load(x0, k), y, s0), fma(load(x1, k), y, s1)
            s2, s3 = fma(load(x2, k), y, s2), fma(load(x3, k), y, s3)
            s4, s5 = fma(load(x4, k), y, s4), fma(load(x5, k), y, s5)
            s6, s7 = fma(load(x6, k), y, s6), fma(load(x7, k), y, s7)
            k += lanes(w)
        if k < part:  # of both only what there is: beside a row there may be anything, NaN for one
            t = part - k
            y = load_head(weights, k, t)
            s0, s1 = fma(load_head(x0, k, t), y, s0), fma(load_head(x1, k, t), y, s1)
            s2, s3 = fma(load_head(x2, k, t), y, s2), fma(load_head(x3, k, t), y, s3)
            s4, s5 = fma(load_head(x4, k, t), y, s4), fma(load_head(x5, k, t), y, s5)
            s6, s7 = fma(load_head(x6, k, t), y, s6), fma(load_head(x7, k, t), y, s7)
    return s0, s1, s2, s3, s4, s5, s6, s7


@inline
def _row(matrix, rows, r):
    return advance(matrix.at, least(r, rows - 1) * matrix.row)
