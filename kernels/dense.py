"""The dense layer A = f(X·W + b): forward, and backward to X, W and b (course B5, C7).

X (n, i), W (i, o), b (o,), Z, A, dZ (n, o). Each product walks its tiles once; what is element-wise is applied to a
tile while it is still in the first-level cache: the activation in the forward pass, and in the backward pass the
diagonal Jacobian of the layer *below*, so that dX·diag(f') leaves as the dZ of that layer.

Each function computes the caller's share of the tiles, as its ``team`` says: every tile is computed whole by one
thread. Nobody waits here. Unless it is said, what is written overlaps nothing that is read.
"""

from typing import Any, NamedTuple

from . import gemm
from ._jit import inline
from .activations import activate, multiply_by_slope, slope_from
from .blocking import CHUNK, DOTS, MOST_VECTORS, NARROW, STRIP, TILE_ROWS
from .counting import blocks, least
from .dots import dots
from .matrix import Matrix, Rows, Sizes, as_matrix, matrix_from, rows_from, share_of, transposed
from .simd import advance, get, lanes, load, load_head, put, splat, store_head
from .tile import ADD, SET, tile_columns, tiles


class Layer(NamedTuple):
    """W (i, o) and b (o,), or the gradients of both: pointers, to numbers without padding."""

    w: Any
    b: Any
    bias: int  # 1, or 0 where there is none: forward then reads a tile row of zeros at b, and backward nothing


@inline
def forward(x, layer, z, a, sizes, function, buffer, team):
    """A = f(X·W + b), keeping Z in its own memory where z differs from a.  C7, B5.

    x: Matrix.  z, a: Rows; the same where nobody needs Z, and neither overlaps X.  buffer: see ``gemm.panel``.
    """
    n, i, o = sizes
    if o == 1:
        _forward_one(x, layer, z, a, sizes, function, buffer, team)
        return
    width, across = tile_columns(z.at, n, o, team.parts)
    down = blocks(n, TILE_ROWS)
    begin, end = share_of(team, down * across)
    # a row alone would read W only to copy it; a bias of zeros is as short as a tile
    if n == 1 and team.parts == 1 and layer.bias != 0:
        done = gemm.row(x, Rows(layer.w, o), z, Rows(layer.b, 0), o, i)
        if function.code != 0:
            activate(function, z, a, 1, done)
        begin = done // width
    depth = gemm.span(z.at, least(n, STRIP), i)
    for first in range(0, i, depth):
        last = least(i, first + depth)
        t = begin
        while t < end:
            column, row, rows = strip(t, end, down, n, width)
            columns = least(width, o - column)
            target = rows_from(z, row, column)
            b = Rows(advance(layer.b, column * layer.bias), 0)
            w = Matrix(advance(layer.w, column), o, 1)
            gemm.panel(matrix_from(x, row, 0), w, target, b, rows, columns, width, first, last, buffer)
            if function.code != 0 and last == i:
                activate(function, target, rows_from(a, row, column), rows, columns)
            t += blocks(rows, TILE_ROWS)


@inline
def _forward_one(x, layer, z, a, sizes, function, buffer, team):
    """As ``forward``, for one output, whose numbers of a chunk of rows lie together while they are computed."""
    n, i, _ = sizes
    apart = advance(buffer, CHUNK)
    begin, end = share_of(team, blocks(n, DOTS))
    end = least(n, end * DOTS)
    for first in range(begin * DOTS, end, CHUNK):
        rows, kept, value = least(CHUNK, end - first), rows_from(z, first, 0), rows_from(a, first, 0)
        dots(matrix_from(x, first, 0), layer.w, layer.b, buffer, rows, i, apart)
        gemm.copy_column(buffer, kept, rows)
        if function.code != 0:
            together = Rows(buffer, rows)
            activate(function, together, together, 1, rows)
            gemm.copy_column(buffer, value, rows)


@inline
def strip(t, end, down, n, width):
    """The next piece of a share of tiles, counted down each column of tiles: column, first row and rows.

    As many tiles as stand under each other, but no more rows than STRIP.
    """
    first = t % down
    tiles = least(least(down - first, end - t), STRIP // TILE_ROWS)
    row = first * TILE_ROWS
    return t // down * width, row, least(tiles * TILE_ROWS, n - row)


@inline
def backward_input(dz, w, dx, sizes, slope, zeros, buffer, team):
    """dX = dZ·Wᵀ (C7), then ⊙ f'(Z) of the layer below, whose Z and A are (n, i).

    dz, dx: Rows.  w: pointer.  zeros: one tile row of them.  buffer: see ``gemm.panel``.
    """
    n, i, o = sizes
    width, across = tile_columns(zeros, n, i, team.parts)
    down = blocks(n, TILE_ROWS)
    begin, end = share_of(team, down * across)
    depth = gemm.span(zeros, least(n, STRIP), o)
    init = Rows(zeros, 0)
    for first in range(0, o, depth):
        last = least(o, first + depth)
        t = begin
        while t < end:
            column, row, rows = strip(t, end, down, n, width)
            columns = least(width, i - column)
            target, above = rows_from(dx, row, column), as_matrix(rows_from(dz, row, 0))
            # a column of W is a row as it lies
            turned = Matrix(advance(w, column * o), 1, o) if o > 1 else Matrix(advance(w, column), i, 1)
            gemm.panel(above, turned, target, init, rows, columns, width, first, last, buffer)
            if slope.function.code != 0 and last == o:
                multiply_by_slope(slope_from(slope, row, column), target, rows, columns)
            t += blocks(rows, TILE_ROWS)


@inline
def backward_parameters(x, readable, dz, gradient, sizes, add, zeros, buffer, team):
    """dW = Xᵀ·dZ and, with a bias, db = Σ dZ over rows (C6, C7). With ``add`` they are added to what is there.

    x: Matrix.  readable: how many numbers of each of its rows may be read, more than there are where they are padded.
    dz: Rows, readable to whole vectors.  gradient: Layer of dW and db.  zeros: one tile row of them.  buffer: PANEL
    numbers.
    """
    n, i, o = sizes
    width, across = tile_columns(zeros, i, o, team.parts)
    down = blocks(i, TILE_ROWS)
    init = Rows(zeros, 0)
    for first in range(0, n, CHUNK):
        depth = least(CHUNK, n - first)
        adding = ADD if add != 0 or first > 0 else SET
        x_chunk, dz_chunk = matrix_from(x, first, 0), rows_from(dz, first, 0)
        t, end = share_of(team, down * across)
        if is_narrow(x, readable, i, o):
            if team.part == 0:
                narrow(Rows(x_chunk.at, x.row), dz_chunk, gradient.w, Sizes(depth, i, o), adding, zeros, buffer)
            t = end
        while t < end:
            column, row, rows = strip(t, end, down, i, width)
            columns = least(width, o - column)
            panel = gemm.near(rows_from(dz_chunk, 0, column), buffer, depth, columns, o, width)
            turned = transposed(matrix_from(x_chunk, 0, row))
            dw = Rows(advance(gradient.w, row * o + column), o)
            tiles(turned, panel, dw, init, rows, columns, depth, adding)
            t += blocks(rows, TILE_ROWS)
        bias_gradient(dz_chunk, gradient, Sizes(depth, i, o), adding, zeros, team)


@inline
def bias_gradient(dz, gradient, sizes, adding, zeros, team):
    """db = Σ dZ over rows, where there is a bias."""
    n, i, o = sizes
    width, across = tile_columns(zeros, i, o, team.parts)
    begin, end = share_of(team, gradient.bias * across)
    for t in range(begin, end):
        for column in range(t * width, least(o, (t + 1) * width), lanes(zeros)):
            tail = least(lanes(zeros), o - column)
            total = column_sum(rows_from(dz, 0, column), n)
            if adding != 0:
                total = load_head(gradient.b, column, tail) + total
            store_head(gradient.b, column, total, tail)


@inline
def is_narrow(x, readable, i, o):
    """Whether ``narrow`` is for this product of x, a Matrix: its rows are read as whole vectors."""
    few = o <= NARROW or 2 * o <= lanes(x.at)
    return few and x.column == 1 and blocks(i, lanes(x.at)) * lanes(x.at) <= readable


@inline
def narrow(x, dz, dw, sizes, adding, zeros, buffer):
    """dW = Xᵀ·dZ by way of dWᵀ = dZᵀ·X: the same sums in the same order.

    x, dz: Rows, X's readable to whole vectors.  dw: pointer.  buffer: PANEL numbers.
    """
    n, i, o = sizes
    width = MOST_VECTORS * lanes(zeros)  # as many chains of sums as there are, for there are few rows
    turned, tile = transposed(as_matrix(dz)), Rows(buffer, width)
    for row in range(0, i, width):
        rows = least(width, i - row)
        to = advance(dw, row * o)
        target = Rows(to, i) if o == 1 else tile  # a column is a row as it lies
        tiles(turned, rows_from(x, 0, row), target, Rows(zeros, 0), o, rows, n, adding if o == 1 else SET)
        if o > 1:
            for r in range(rows):
                for c in range(o):
                    value = get(buffer, c * width + r)
                    put(to, r * o + c, get(to, r * o + c) + value if adding != 0 else value)


@inline
def column_sum(dz, depth):
    """The sums of one vector of columns; four chains, as each addition waits for the one before. dz: Rows."""
    at, row = dz
    a, b, c, d = splat(at, 0.0), splat(at, 0.0), splat(at, 0.0), splat(at, 0.0)
    for _ in range(depth // 4):
        a, b = a + load(at, 0), b + load(at, row)
        c, d = c + load(at, 2 * row), d + load(at, 3 * row)
        at = advance(at, 4 * row)
    for k in range(depth % 4):
        a = a + load(at, k * row)
    return (a + b) + (c + d)
