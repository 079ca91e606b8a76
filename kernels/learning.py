"""dW tile by tile into an optimizer's step, so that the gradient never reaches memory.

The one file above both ``dense``, which knows no optimizer, and ``optimizers``, which know no layer.
"""

from . import dense, gemm, optimizers
from ._jit import inline
from .blocking import CHUNK, FEW_COLUMNS, LEARN_ROWS, PANEL, PANEL_COLUMNS, TILE_ROWS, WIDE
from .counting import blocks, least, padded_row
from .matrix import Matrix, Rows, Sizes, as_matrix, matrix_from, rows_from, share_of, transposed
from .simd import advance, lanes, store
from .tile import SET, tile_columns, tiles_inlined


@inline
def learn(x, readable, dz, layer, change, state, apart, sizes, zeros, buffer, team):
    """``dense.backward_parameters`` and the optimizer's step at once, some rows of W at a time: their gradient never
    leaves the second-level cache. For at most CHUNK rows, where nobody asks for the gradient.

    layer: W and, behind it, b among the parameters, changed in place.  state: as far into the optimizer's state as W is
    into the parameters; its second vector lies ``apart`` further.  buffer: ``learn_memory(o)`` numbers.  Else as there.
    """
    n, i, o = sizes
    width, across = tile_columns(zeros, i, o, 1)
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
        narrow = dense.is_narrow(x, readable - row, rows, o)
        if o >= FEW_COLUMNS:
            gemm.pack_tiles(source, xt, rows, n)
            source, below = Matrix(xt, 1, TILE_ROWS), TILE_ROWS * n
        if narrow:
            dense.narrow(Rows(source.at, x.row), dz, dw, Sizes(n, rows, o), SET, zeros, buffer)
        for t in range(0 if narrow else across):
            column = t * width
            columns = least(width, o - column)
            panel = rows_from(dz, 0, column)
            if o > WIDE:
                panel = Rows(advance(buffer, column * n), width)
            for r in range(0, rows, TILE_ROWS):
                turned = Matrix(advance(source.at, r // TILE_ROWS * below), source.row, source.column)
                target = Rows(advance(dw, r * o + column), o)
                tiles_inlined(turned, panel, target, init, least(TILE_ROWS, rows - r), columns, n, SET)
        learn_rows_of_w(dz, layer, change, state, apart, sizes, row, rows, dw, zeros)


@inline
def learn_rows_of_w(dz, layer, change, state, apart, sizes, row, rows, dw, zeros):
    """The step of some rows of W by their gradient at ``dw``, a pointer, behind which there is room for that of b."""
    n, i, o = sizes
    first, count = row * o, rows * o
    optimizers.add_penalty(change.l1, change.l2, advance(layer.w, first), dw, count)
    if layer.bias != 0 and row + rows == i:  # b follows W, and its gradient the last of W's: they are one step
        for column in range(0, o, lanes(zeros)):
            store(dw, count + column, dense.column_sum(rows_from(dz, 0, column), n))
        count += o
    optimizers.update(change, advance(layer.w, first), dw, advance(state, first), apart, count)


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
    return _panels_memory(o) + learn_rows(o) * (CHUNK + o) + padded_row(o)


@inline
def _panels_memory(o):
    """Numbers in the first part of it: a panel, or all of dZ as panels, which every row of W needs again."""
    return CHUNK * (o + PANEL_COLUMNS) if o > WIDE else PANEL
