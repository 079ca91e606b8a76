"""The dense layer A = f(X·W + b): forward, and backward to X, W and b (course B5, C7).

X (n, i), W (i, o), b (o,), Z, A, dZ (n, o). Each product walks its tiles once; what is element-wise is applied to a
tile while it is still in the first-level cache: the activation in the forward pass, and in the backward pass the
diagonal Jacobian of the layer *below*, so that dX·diag(f') leaves as the dZ of that layer.

``part`` of ``parts`` is the caller's share of the tiles: every tile is computed whole by one thread.
"""

from . import gemm, optimizers
from ._jit import inline
from .activations import activate, multiply_by_slope
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
from .counting import blocks, least, share
from .simd import advance, distance, get, lanes, load, load_head, put, splat, store, store_head


@inline
def forward(x, x_row, x_column, w, b, b_column, z, z_row, a, a_row, n, i, o, code, p, buffer, part, parts):
    """A = f(X·W + b), keeping Z in its own memory where z differs from a.  C7, B5.

    A may not overlap X. Without a bias: b is zeros and b_column 0, else 1. ``buffer``: see ``gemm.panel``.
    """
    width, across = gemm.tile_columns(a, n, o, parts)
    down = blocks(n, TILE_ROWS)
    begin, end = share(down * across, part, parts), share(down * across, part + 1, parts)
    # a row alone would read W only to copy it; a bias of zeros is as short as a tile
    if n == 1 and parts == 1 and b_column != 0:
        done = gemm.row(x, x_column, w, o, z, b, o, i)
        if code != 0:
            activate(code, p, z, z_row, a, a_row, 1, done)
        begin = done // width
    depth = gemm.span(x, least(n, STRIP), i)
    for first in range(0, i, depth):
        last = least(i, first + depth)
        t = begin
        while t < end:
            column, row, rows = _strip(t, end, down, n, width)
            columns = least(width, o - column)
            target = advance(z, row * z_row + column)
            gemm.panel(
                advance(x, row * x_row), x_row, x_column, advance(w, column), o, 0,
                target, z_row, advance(b, column * b_column), 0, rows, columns, width, first, last, buffer,
            )  # fmt: skip
            if code != 0 and last == i:
                activate(code, p, target, z_row, advance(a, row * a_row + column), a_row, rows, columns)
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
def backward_input(dz, dz_row, w, dx, dx_row, n, i, o, code, p, z, z_row, a, a_row, zeros, buffer, part, parts):
    """dX = dZ·Wᵀ (C7), then ⊙ f'(Z) with the layer below's activation, whose input is Z and output A (n, i).

    ``zeros``: one tile row of zeros. ``buffer``: see ``gemm.panel``.
    """
    width, across = gemm.tile_columns(dx, n, i, parts)
    down = blocks(n, TILE_ROWS)
    begin, end = share(down * across, part, parts), share(down * across, part + 1, parts)
    depth = gemm.span(dz, least(n, STRIP), o)
    for first in range(0, o, depth):
        last = least(o, first + depth)
        t = begin
        while t < end:
            column, row, rows = _strip(t, end, down, n, width)
            columns = least(width, i - column)
            target = advance(dx, row * dx_row + column)
            gemm.panel(
                advance(dz, row * dz_row), dz_row, 1, advance(w, column * o), o, 1,
                target, dx_row, zeros, 0, rows, columns, width, first, last, buffer,
            )  # fmt: skip
            if code != 0 and last == o:
                multiply_by_slope(
                    code, p, advance(z, row * z_row + column), z_row, advance(a, row * a_row + column), a_row,
                    target, dx_row, rows, columns,
                )  # fmt: skip
            t += blocks(rows, TILE_ROWS)


@inline
def backward_parameters(x, x_row, x_column, dz, dz_row, dw, db, bias, n, i, o, add, zeros, buffer, part, parts):
    """dW = Xᵀ·dZ and, with ``bias``, db = Σ dZ over rows (C6, C7). With ``add`` they are added to.

    dZ's rows are readable to whole vectors. dW (i, o) without padding.
    """
    width, across = gemm.tile_columns(dz, i, o, parts)
    down = blocks(i, TILE_ROWS)
    for first in range(0, n, CHUNK):
        depth = least(CHUNK, n - first)
        adding = 1 if add != 0 or first > 0 else 0
        x_chunk, dz_chunk = advance(x, first * x_row), advance(dz, first * dz_row)
        t, end = share(down * across, part, parts), share(down * across, part + 1, parts)
        if _is_narrow(x, x_column, i, o):
            if part == 0:
                _narrow(x_chunk, x_row, dz_chunk, dz_row, dw, i, o, depth, adding, zeros, buffer)
            t = end
        while t < end:
            column, row, rows = _strip(t, end, down, i, width)
            columns = least(width, o - column)
            panel, panel_row = gemm.near(advance(dz_chunk, column), dz_row, buffer, depth, columns, o, width)
            gemm.tile(
                advance(x_chunk, row * x_column), x_column, x_row, panel, panel_row,
                advance(dw, row * o + column), o, zeros, 0, rows, columns, depth, adding,
            )  # fmt: skip
            t += blocks(rows, TILE_ROWS)
        for t in range(share(bias * across, part, parts), share(bias * across, part + 1, parts)):
            for column in range(t * width, least(o, (t + 1) * width), lanes(dz)):
                tail = least(lanes(dz), o - column)
                total = _column_sum(dz_chunk, dz_row, column, depth)
                if adding != 0:
                    total = load_head(db, column, tail) + total
                store_head(db, column, total, tail)


@inline
def _is_narrow(x, x_column, i, o):
    """Whether ``_narrow`` is for this product: X's rows are then read as whole vectors, no further than they go."""
    return o <= NARROW and x_column == 1 and i % lanes(x) == 0


@inline
def _narrow(x, x_row, dz, dz_row, dw, i, o, n, adding, zeros, buffer):
    """dW = Xᵀ·dZ by way of dWᵀ = dZᵀ·X: the same sums in the same order. ``buffer``: a panel."""
    width, across = gemm.tile_columns(dz, o, i, 1)
    for t in range(across):
        row = t * width
        rows = least(width, i - row)
        gemm.tile(dz, 1, dz_row, advance(x, row), x_row, buffer, width, zeros, 0, o, rows, n, 0)
        place = advance(dw, row * o)
        for r in range(rows):
            for c in range(o):
                value = get(buffer, c * width + r)
                put(place, r * o + c, get(place, r * o + c) + value if adding != 0 else value)


@inline
def _column_sum(dz, dz_row, column, depth):
    """The sums of one vector of columns; four chains, as each addition waits for the one before."""
    a, b, c, d = splat(dz, 0.0), splat(dz, 0.0), splat(dz, 0.0), splat(dz, 0.0)
    place, row = advance(dz, column), dz_row
    for _ in range(depth // 4):
        a, b = a + load(place, 0), b + load(place, row)
        c, d = c + load(place, 2 * row), d + load(place, 3 * row)
        place = advance(place, 4 * row)
    for k in range(depth % 4):
        a = a + load(place, k * row)
    return (a + b) + (c + d)


@inline
def learn(x, x_row, x_column, dz, dz_row, w, b, bias, change, state, apart, n, i, o, zeros, buffer, part, parts):
    """``backward_parameters`` and the optimizer's step at once, some rows of W at a time: their gradient never leaves
    the second-level cache. For at most CHUNK rows, where nobody asks for the gradient.

    w, b: W (i, o) and the bias among the parameters. state: as far into the optimizer's state as w is into the
    parameters; its second vector lies ``apart`` further. ``buffer``: ``learn_memory(o)`` numbers.
    """
    width, across = gemm.tile_columns(dz, i, o, 1)
    tiles = blocks(i, TILE_ROWS)
    height = learn_rows(o)
    xt = advance(buffer, _panels_memory(o))
    dw = advance(xt, height * CHUNK)
    if o > WIDE:
        for t in range(across):
            column = t * width
            columns = least(width, o - column)
            gemm.copy_rows(advance(dz, column), dz_row, 1, advance(buffer, column * n), width, n, columns)
    end = least(i, share(tiles, part + 1, parts) * TILE_ROWS)
    for row in range(share(tiles, part, parts) * TILE_ROWS, end, height):
        rows = least(height, end - row)
        source = advance(x, row * x_column)
        source_row, source_k, source_tile = x_column, x_row, TILE_ROWS * x_column
        if o >= FEW_COLUMNS:
            gemm.pack_tiles(source, x_column, x_row, xt, rows, n)
            source, source_row, source_k, source_tile = xt, 1, TILE_ROWS, TILE_ROWS * n
        narrow = _is_narrow(x, x_column, rows, o)
        if narrow:
            _narrow(source, x_row, dz, dz_row, dw, rows, o, n, 0, zeros, buffer)
        for t in range(0 if narrow else across):
            column = t * width
            columns = least(width, o - column)
            panel, panel_row = advance(dz, column), dz_row
            if o > WIDE:
                panel, panel_row = advance(buffer, column * n), width
            for r in range(0, rows, TILE_ROWS):
                gemm.tile_inlined(
                    advance(source, r // TILE_ROWS * source_tile), source_row, source_k, panel, panel_row,
                    advance(dw, r * o + column), o, zeros, 0, least(TILE_ROWS, rows - r), columns, n, 0,
                )  # fmt: skip
        place = row * o
        optimizers.add_penalty(change.l1, change.l2, advance(w, place), dw, rows * o)
        optimizers.update(change, advance(w, place), 0, dw, 0, advance(state, place), apart, 1, rows * o)
    beside = distance(w, b)
    for t in range(share(bias * across, part, parts), share(bias * across, part + 1, parts)):
        for column in range(t * width, least(o, (t + 1) * width), lanes(dz)):
            store(buffer, 0, _column_sum(dz, dz_row, column, n))
            columns = least(lanes(dz), o - column)
            place = advance(state, beside + column)
            optimizers.update(change, advance(b, column), 0, buffer, 0, place, apart, 1, columns)


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
