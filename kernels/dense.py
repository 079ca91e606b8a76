"""The dense layer A = f(X·W + b): forward, and backward to X, W and b (course B5, C7).

X (n, i), W (i, o), b (o,), Z, A, dZ (n, o). Each product walks its tiles once; what is element-wise is applied to a
tile while it is still in the first-level cache: the activation in the forward pass, and in the backward pass the
diagonal Jacobian of the layer *below*, so that dX·diag(f') leaves as the dZ of that layer.

Each function computes the caller's share of the tiles, as its ``team`` says: every tile is computed whole by one
thread. Nobody waits here. Unless it is said, what is written overlaps nothing that is read.
"""

from typing import Any, NamedTuple

from . import gemm, optimizers
from ._jit import inline
from .activations import activate, multiply_by_slope, slope_from
from .blocking import (
    CHUNK,
    FEW_COLUMNS,
    LEARN_ROWS,
    NARROW,
    PANEL,
    PANEL_COLUMNS,
    STRIP,
    TILE_ROWS,
    WIDE,
)
from .counting import blocks, least
from .gemm import ADD, SET
from .matrix import Matrix, Rows, Sizes, as_matrix, matrix_from, rows_from, share_of, transposed
from .simd import advance, distance, get, lanes, load, load_head, put, splat, store, store_head


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
    width, across = gemm.tile_columns(z.at, n, o, team.parts)
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
            column, row, rows = _strip(t, end, down, n, width)
            columns = least(width, o - column)
            target = rows_from(z, row, column)
            b = Rows(advance(layer.b, column * layer.bias), 0)
            w = Matrix(advance(layer.w, column), o, 1)
            gemm.panel(matrix_from(x, row, 0), w, target, b, rows, columns, width, first, last, buffer)
            if function.code != 0 and last == i:
                activate(function, target, rows_from(a, row, column), rows, columns)
            t += blocks(rows, TILE_ROWS)


@inline
def _strip(t, end, down, n, width):
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
    width, across = gemm.tile_columns(zeros, n, i, team.parts)
    down = blocks(n, TILE_ROWS)
    begin, end = share_of(team, down * across)
    depth = gemm.span(zeros, least(n, STRIP), o)
    init = Rows(zeros, 0)
    for first in range(0, o, depth):
        last = least(o, first + depth)
        t = begin
        while t < end:
            column, row, rows = _strip(t, end, down, n, width)
            columns = least(width, i - column)
            target, above = rows_from(dx, row, column), as_matrix(rows_from(dz, row, 0))
            turned = Matrix(advance(w, column * o), 1, o)
            gemm.panel(above, turned, target, init, rows, columns, width, first, last, buffer)
            if slope.function.code != 0 and last == o:
                multiply_by_slope(slope_from(slope, row, column), target, rows, columns)
            t += blocks(rows, TILE_ROWS)


@inline
def backward_parameters(x, dz, gradient, sizes, add, zeros, buffer, team):
    """dW = Xᵀ·dZ and, with a bias, db = Σ dZ over rows (C6, C7). With ``add`` they are added to what is there.

    x: Matrix.  dz: Rows, readable to whole vectors.  gradient: Layer of dW and db.  zeros: one tile row of them.
    buffer: PANEL numbers.
    """
    n, i, o = sizes
    width, across = gemm.tile_columns(zeros, i, o, team.parts)
    down = blocks(i, TILE_ROWS)
    init = Rows(zeros, 0)
    for first in range(0, n, CHUNK):
        depth = least(CHUNK, n - first)
        adding = ADD if add != 0 or first > 0 else SET
        x_chunk, dz_chunk = matrix_from(x, first, 0), rows_from(dz, first, 0)
        t, end = share_of(team, down * across)
        if _is_narrow(x, i, o, lanes(zeros)):
            if team.part == 0:
                _narrow(Rows(x_chunk.at, x.row), dz_chunk, gradient.w, Sizes(depth, i, o), adding, zeros, buffer)
            t = end
        while t < end:
            column, row, rows = _strip(t, end, down, i, width)
            columns = least(width, o - column)
            panel = gemm.near(rows_from(dz_chunk, 0, column), buffer, depth, columns, o, width)
            turned = transposed(matrix_from(x_chunk, 0, row))
            dw = Rows(advance(gradient.w, row * o + column), o)
            gemm.tile(turned, panel, dw, init, rows, columns, depth, adding)
            t += blocks(rows, TILE_ROWS)
        begin, end = share_of(team, gradient.bias * across)
        for t in range(begin, end):
            for column in range(t * width, least(o, (t + 1) * width), lanes(zeros)):
                tail = least(lanes(zeros), o - column)
                total = _column_sum(rows_from(dz_chunk, 0, column), depth)
                if adding != 0:
                    total = load_head(gradient.b, column, tail) + total
                store_head(gradient.b, column, total, tail)


@inline
def _is_narrow(x, i, o, vector):
    """Whether ``_narrow`` is for this product: X's rows are then read as whole vectors, no further than they go."""
    return o <= NARROW and x.column == 1 and i % vector == 0


@inline
def _narrow(x, dz, dw, sizes, adding, zeros, buffer):
    """dW = Xᵀ·dZ by way of dWᵀ = dZᵀ·X: the same sums in the same order.

    x, dz: Rows, X's as many numbers wide as are whole vectors.  dw: pointer.  buffer: PANEL numbers.
    """
    n, i, o = sizes
    width, across = gemm.tile_columns(zeros, o, i, 1)
    turned, tile = transposed(as_matrix(dz)), Rows(buffer, width)
    for t in range(across):
        row = t * width
        rows = least(width, i - row)
        gemm.tile(turned, rows_from(x, 0, row), tile, Rows(zeros, 0), o, rows, n, SET)
        to = advance(dw, row * o)
        for r in range(rows):
            for c in range(o):
                value = get(buffer, c * width + r)
                put(to, r * o + c, get(to, r * o + c) + value if adding != 0 else value)


@inline
def _column_sum(dz, depth):
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


@inline
def learn(x, dz, layer, change, state, apart, sizes, zeros, buffer, team):
    """``backward_parameters`` and the optimizer's step at once, some rows of W at a time: their gradient never leaves
    the second-level cache. For at most CHUNK rows, where nobody asks for the gradient.

    layer: W and b among the parameters, changed in place.  state: as far into the optimizer's state as W is into the
    parameters; its second vector lies ``apart`` further.  buffer: ``learn_memory(o)`` numbers.  Else as there.
    """
    n, i, o = sizes
    width, across = gemm.tile_columns(zeros, i, o, 1)
    tiles = blocks(i, TILE_ROWS)
    height = learn_rows(o)
    xt = advance(buffer, _panels_memory(o))
    dw = advance(xt, height * CHUNK)
    init = Rows(zeros, 0)
    if o > WIDE:
        for t in range(across):
            column = t * width
            columns = least(width, o - column)
            gemm.copy_rows(as_matrix(rows_from(dz, 0, column)), Rows(advance(buffer, column * n), width), n, columns)
    begin, end = share_of(team, tiles)
    end = least(i, end * TILE_ROWS)
    for row in range(begin * TILE_ROWS, end, height):
        rows = least(height, end - row)
        source = transposed(matrix_from(x, 0, row))
        below = TILE_ROWS * x.column  # from one tile of X's columns to the next
        narrow = _is_narrow(x, rows, o, lanes(zeros))
        if o >= FEW_COLUMNS:
            gemm.pack_tiles(source, xt, rows, n)
            source, below = Matrix(xt, 1, TILE_ROWS), TILE_ROWS * n
        if narrow:
            _narrow(Rows(source.at, x.row), dz, dw, Sizes(n, rows, o), SET, zeros, buffer)
        for t in range(0 if narrow else across):
            column = t * width
            columns = least(width, o - column)
            panel = rows_from(dz, 0, column)
            if o > WIDE:
                panel = Rows(advance(buffer, column * n), width)
            for r in range(0, rows, TILE_ROWS):
                turned = Matrix(advance(source.at, r // TILE_ROWS * below), source.row, source.column)
                target = Rows(advance(dw, r * o + column), o)
                gemm.tile_inlined(turned, panel, target, init, least(TILE_ROWS, rows - r), columns, n, SET)
        first = row * o
        optimizers.add_penalty(change.l1, change.l2, advance(layer.w, first), dw, rows * o)
        optimizers.update(change, advance(layer.w, first), dw, advance(state, first), apart, rows * o)
    beside = distance(layer.w, layer.b)
    begin, end = share_of(team, layer.bias * across)
    for t in range(begin, end):
        for column in range(t * width, least(o, (t + 1) * width), lanes(zeros)):
            store(buffer, 0, _column_sum(rows_from(dz, 0, column), n))
            own = advance(state, beside + column)
            optimizers.update(change, advance(layer.b, column), buffer, own, apart, least(lanes(zeros), o - column))


@inline
def learn_rows(o):
    """How many rows of W ``learn`` takes at a time: their gradient takes some 128 KiB, and X's columns no more.

    Whole tiles, as ``gemm.pack_tiles`` writes whole ones, and behind X's tiles lies the gradient.
    """
    rows = least(LEARN_ROWS, (1 << 15) // o // TILE_ROWS * TILE_ROWS)
    return rows if rows > 0 else TILE_ROWS


@inline
def learn_memory(o):
    """Numbers in the buffer that ``learn`` needs."""
    return _panels_memory(o) + learn_rows(o) * (CHUNK + o)


@inline
def _panels_memory(o):
    """Numbers in the first part of it: a panel, or all of dZ as panels, which every row of W needs again."""
    return CHUNK * (o + PANEL_COLUMNS) if o > WIDE else PANEL
