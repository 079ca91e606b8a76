"""The dense layer A = f(X·W + b): forward, and backward to X, W and b (course B5, C7).

X (n, i), W (i, o), b (o,), Z, A, dZ (n, o). Each product walks its tiles once; what is element-wise is applied to a
tile while it is still in the first-level cache: the activation in the forward pass, and in the backward pass the
diagonal Jacobian of the layer *below*, so that dX·diag(f') leaves as the dZ of that layer.

``part`` of ``parts`` is the caller's share of the tiles: every tile is computed whole by one thread.
"""

from . import gemm
from ._jit import inline
from .activations import activate, multiply_by_slope
from .counting import blocks, least, share
from .simd import advance, get, lanes, load, load_head, put, splat, store, store_head, transpose_block

# Rows whose contributions to dW and db are summed in one chain. Chunks are added in order, so the bits depend on the
# batch alone. At 256 rows the activations of widths up to 64 or so stay in the first two cache levels.
CHUNK = 256


@inline
def forward(x, x_row, x_column, w_panels, b, b_column, z, z_row, a, a_row, n, i, o, code, p, part, parts):
    """A = f(X·W + b), keeping Z in its own memory where z differs from a.  C7, B5.

    w_panels is W packed by ``pack``. A may not overlap X. Without a bias: b is zeros and b_column 0, else 1.
    """
    width = gemm.tile_columns(a)
    down = blocks(n, gemm.TILE_ROWS)
    t, end = share(down * blocks(o, width), part, parts), share(down * blocks(o, width), part + 1, parts)
    while t < end:
        column, row, rows = _strip(t, end, down, n, width)
        columns = least(width, o - column)
        target = advance(z, row * z_row + column)
        gemm.panel(
            advance(x, row * x_row), x_row, x_column, advance(w_panels, column * i), width,
            target, z_row, advance(b, column * b_column), 0, rows, columns, i, 0,
        )  # fmt: skip
        if code != 0:
            activate(code, p, target, z_row, advance(a, row * a_row + column), a_row, rows, columns)
        t += blocks(rows, gemm.TILE_ROWS)


@inline
def _strip(t, end, down, n, width):
    """The next piece of a share of tiles, counted down each column of tiles: column, first row and rows.

    As many tiles as stand under each other, but no more rows than CHUNK, so that what was computed is still in the
    first-level cache when what is element-wise follows.
    """
    first = t % down
    tiles = least(least(down - first, end - t), CHUNK // gemm.TILE_ROWS)
    row = first * gemm.TILE_ROWS
    return t // down * width, row, least(tiles * gemm.TILE_ROWS, n - row)


@inline
def backward_input(dz, dz_row, wt_panels, dx, dx_row, n, i, o, code, p, z, z_row, a, a_row, zeros, part, parts):
    """dX = dZ·Wᵀ (C7), then ⊙ f'(Z) with the layer below's activation, whose input is Z and output A (n, i).

    wt_panels is Wᵀ packed by ``pack_transposed``. ``zeros``: one tile row of zeros.
    """
    width = gemm.tile_columns(dx)
    down = blocks(n, gemm.TILE_ROWS)
    t, end = share(down * blocks(i, width), part, parts), share(down * blocks(i, width), part + 1, parts)
    while t < end:
        column, row, rows = _strip(t, end, down, n, width)
        columns = least(width, i - column)
        target = advance(dx, row * dx_row + column)
        gemm.panel(
            advance(dz, row * dz_row), dz_row, 1, advance(wt_panels, column * o), width,
            target, dx_row, zeros, 0, rows, columns, o, 0,
        )  # fmt: skip
        if code != 0:
            multiply_by_slope(
                code, p, advance(z, row * z_row + column), z_row, advance(a, row * a_row + column), a_row,
                target, dx_row, rows, columns,
            )  # fmt: skip
        t += blocks(rows, gemm.TILE_ROWS)


@inline
def backward_parameters(x, x_row, x_column, dz, dz_row, dw, db, bias, n, i, o, add, zeros, part, parts):
    """dW = Xᵀ·dZ and, with ``bias``, db = Σ dZ over rows (C6, C7). With ``add`` they are added to.

    dZ's rows are readable to whole vectors. dW (i, o) without padding.
    """
    width = gemm.tile_columns(dz)
    across = blocks(o, width)
    down = blocks(i, gemm.TILE_ROWS)
    for first in range(0, n, CHUNK):
        depth = least(CHUNK, n - first)
        adding = 1 if add != 0 or first > 0 else 0
        x_chunk, dz_chunk = advance(x, first * x_row), advance(dz, first * dz_row)
        t, end = share(down * across, part, parts), share(down * across, part + 1, parts)
        while t < end:
            column, row, rows = _strip(t, end, down, i, width)
            gemm.tile(
                advance(x_chunk, row * x_column), x_column, x_row, advance(dz_chunk, column), dz_row,
                advance(dw, row * o + column), o, zeros, 0, rows, least(width, o - column), depth, adding,
            )  # fmt: skip
            t += blocks(rows, gemm.TILE_ROWS)
        for t in range(share(bias * across, part, parts), share(bias * across, part + 1, parts)):
            for column in range(t * width, least(o, (t + 1) * width), lanes(dz)):
                total = splat(dz, 0.0)
                for k in range(depth):
                    total = total + load(dz_chunk, k * dz_row + column)
                tail = least(lanes(dz), o - column)
                if adding != 0:
                    total = load_head(db, column, tail) + total
                store_head(db, column, total, tail)


@inline
def pack(w, panels, i, o, part, parts):
    """W (i, o) as panels: one for each tile's columns, its rows next to each other, in the order of use."""
    width = gemm.tile_columns(w)
    across = blocks(o, width)
    for t in range(share(across, part, parts), share(across, part + 1, parts)):
        columns = least(width, o - t * width)
        copy_rows(advance(w, t * width), o, 1, advance(panels, t * width * i), width, i, columns)


@inline
def pack_transposed(w, panels, i, o, part, parts):
    """Wᵀ (o, i) as panels, from W (i, o), in squares of one vector."""
    size = lanes(w)
    width = gemm.tile_columns(w)
    across = blocks(i, size)
    for t in range(share(across, part, parts), share(across, part + 1, parts)):
        row = t * size
        target = advance(panels, row // width * width * o + row % width)
        column = 0
        if row + size <= i:
            while column + size <= o:
                transpose_block(advance(w, row * o + column), o, advance(target, column * width), width)
                column += size
        for r in range(row, least(i, row + size)):
            for c in range(column, o):
                put(target, c * width + r - row, get(w, r * o + c))


@inline
def copy_rows(source, source_row, source_column, target, target_row, rows, columns):
    """target (rows, columns), contiguous in columns, from a source of any strides."""
    for r in range(rows):
        line, place = advance(source, r * source_row), advance(target, r * target_row)
        if source_column == 1:
            c = 0
            while c <= columns - lanes(target):
                store(place, c, load(line, c))
                c += lanes(target)
            if c < columns:
                store_head(place, c, load_head(line, c, columns - c), columns - c)
        else:
            for c in range(columns):
                put(place, c, get(line, c * source_column))
