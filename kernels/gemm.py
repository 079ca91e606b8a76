"""The loops around a tile: panels of B in the cache, packing, and a row alone.

Where a product has a name, ``dense``, are the loops around these.
"""

from ._jit import inline
from .blocking import DEPTH, DEPTH_OF_MOST, MOST_VECTORS, TILE_ROWS, WIDE
from .counting import blocks, least
from .matrix import Rows, as_matrix, matrix_from, rows_from
from .simd import advance, get, lanes, load, load_head, put, store, store_head, transpose_block
from .tile import SET, one_tile, tiles

_copying_most, _copying_pair = (one_tile(TILE_ROWS, vectors, copying=True) for vectors in (MOST_VECTORS, 2))
_1x8, _1x4, _1x2 = (one_tile(1, vectors) for vectors in (8, 4, 2))


@inline
def span(pointer, rows, depth):
    """How much of k to take for all columns before the next part: all, unless that many rows of A are too large for
    the second-level cache, from which every column of tiles reads them (1 MiB with the widest registers)."""
    return depth if rows * depth <= lanes(pointer) << 14 else blocks(depth, blocks(depth, DEPTH))


@inline
def panel(a, b, c, init, rows, columns, width, begin, end, buffer):
    """As ``tile.tiles`` for any B: a column of tiles, for k from ``begin`` to before ``end``, in blocks of about DEPTH.
    Where ``begin`` is not 0, it continues the sums in C.

    a: Matrix (rows, end).  b: Matrix (end, columns) whose rows or columns lie together: one of its strides is 1.
    c, init: Rows (rows, columns); C overlaps neither A nor B.  width: the columns of the product's tiles.

    A block of B is copied to ``buffer`` (PANEL numbers, at the begin of a cache line), which stays in the first-level
    cache for all rows; the first tile does that while it computes, which made a step of mnist and medium 1 to 2 %
    faster than copying before. Where all columns of a block are no more than a panel, they stay in the cache without
    being copied.
    """
    pair, whole = 2 * lanes(buffer), columns % lanes(buffer) == 0
    depth = end - begin
    size = blocks(depth, blocks(depth, DEPTH) if width == pair else blocks(depth, DEPTH_OF_MOST))
    start = init
    for first in range(begin, end, size):
        if first > 0:
            start = c
        this = least(size, end - first)
        above, at = matrix_from(a, 0, first), matrix_from(b, first, 0).at
        lines, block, done = Rows(at, b.row), Rows(buffer, columns), 0
        if b.column != 1:
            block = Rows(buffer, width)
            pack_transposed(Rows(at, b.column), block, columns, this)
        elif whole and this * b.row <= DEPTH * pair:
            block = lines
        elif whole and columns >= pair and rows >= TILE_ROWS:
            done = TILE_ROWS
            if MOST_VECTORS == 2 or columns == pair:
                _copying_pair(above, lines, c, start, this, lanes(buffer), SET, buffer)
            else:
                _copying_most(above, lines, c, start, this, lanes(buffer), SET, buffer)
        else:
            block = Rows(buffer, width)
            copy_rows(as_matrix(lines), block, this, columns)
        below = matrix_from(above, done, 0)
        tiles(below, block, rows_from(c, done, 0), rows_from(start, done, 0), rows - done, columns, this, SET)


@inline
def row(a, b, c, init, columns, depth):
    """As ``tile.tiles`` for one row, with B where it is and several tiles' columns at once: one sum would wait for
    itself.

    a: Matrix (1, depth).  b: Rows (depth, columns).  c, init: Rows (1, columns).
    Returns how many columns are done, as many as are a multiple of two whole vectors; B is not read beyond them.
    """
    width = lanes(c.at)
    done = 0
    while columns - done >= 2 * width:
        at, to, start = rows_from(b, 0, done), rows_from(c, 0, done), rows_from(init, 0, done)
        if columns - done >= 8 * width:
            _1x8(a, at, to, start, depth, width, SET, at.at)
            done += 8 * width
        elif columns - done >= 4 * width:
            _1x4(a, at, to, start, depth, width, SET, at.at)
            done += 4 * width
        else:
            _1x2(a, at, to, start, depth, width, SET, at.at)
            done += 2 * width
    return done


@inline
def near(b, buffer, depth, columns, across, width):
    """Where to read these columns of a matrix ``across`` wide, as Rows: a copy in ``buffer``, ``width`` numbers apart,
    where rows lie so far apart that each step down is a new page of memory."""
    if across <= WIDE:
        return b
    block = Rows(buffer, width)
    copy_rows(as_matrix(b), block, depth, columns)
    return block


@inline
def pack_tiles(a, target, rows, depth):
    """A, Matrix (rows, depth), as tiles: TILE_ROWS rows, k after k, so that a tile reads memory in its order.

    ``target``: whole tiles of TILE_ROWS·depth numbers; of the last, rows that A has not are left as they are.
    """
    for r in range(0, rows, TILE_ROWS):
        tail = least(TILE_ROWS, rows - r)
        for k in range(depth):
            line, to = matrix_from(a, r, k).at, advance(target, r * depth + k * TILE_ROWS)
            if a.row == 1:
                for i in range(0, tail, lanes(target)):
                    head = least(lanes(target), tail - i)
                    store_head(to, i, load_head(line, i, head), head)
            else:
                for i in range(tail):
                    put(to, i, get(line, i * a.row))


@inline
def pack_transposed(source, target, rows, columns):
    """target[c, r] = source[r, c], in squares of one vector. Rows (rows, columns) and (columns, rows), apart."""
    size = lanes(source.at)
    for r in range(0, rows, size):
        c = 0
        if r + size <= rows:
            while c + size <= columns:
                transpose_block(rows_from(source, r, c).at, source.row, rows_from(target, c, r).at, target.row)
                c += size
        for one in range(r, least(rows, r + size)):
            for column in range(c, columns):
                put(target.at, column * target.row + one, get(source.at, one * source.row + column))


@inline
def copy_rows(source, target, rows, columns):
    """target = source, (rows, columns): Rows from a Matrix, which lies elsewhere."""
    for r in range(rows):
        line, to = advance(source.at, r * source.row), advance(target.at, r * target.row)
        if source.column == 1:
            c = 0
            while c <= columns - lanes(to):
                store(to, c, load(line, c))
                c += lanes(to)
            if c < columns:
                store_head(to, c, load_head(line, c, columns - c), columns - c)
        else:
            for c in range(columns):
                put(to, c, get(line, c * source.column))


@inline
def copy_column(source, target, rows):
    """As ``copy_rows``, for one column: Rows from numbers that lie together."""
    for r in range(rows):
        put(target.at, r * target.row, get(source, r))
