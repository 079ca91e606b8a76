"""The three products of a dense layer with operands rounded to bfloat16; sums, and all else, stay float32.

Each function does what the one of the same name in ``dense`` or ``learning`` does, and takes the same, but for the
buffer: of words, two bfloat16 each, for which ``bfloat16`` has the instruction. The numbers of a word follow each other
along k, the index that is summed over. So the three products need three layouts: X·W pairs numbers of a row of X, and
of a column of W; dZ·Wᵀ numbers of a row of dZ, and of a row of W; Xᵀ·dZ pairs rows of X, and rows of dZ. The last
number of an odd k has a 0 beside it.

Numbers are rounded where a product needs them, A once for all columns and B a panel at a time. That takes a twentieth
of the product's time where a batch has 128 rows, and nothing else has to know of a second copy of the parameters.

Every entry of a product is one chain over k in order, whatever the tile: the bits depend neither on threads nor on how
many rows there are, as in ``tile``.
"""

from . import dense
from ._jit import inline
from .activations import activate, multiply_by_slope, slope_from
from .bfloat16 import as_numbers, words_in_row, words_of_rows
from .blocking import CHUNK, DEPTH, DEPTH_OF_MOST, LEARN_ROWS, PANEL, PANEL_COLUMNS, TILE_ROWS
from .counting import PADDING, blocks, least, padded_row
from .gemm import pack_transposed
from .learning import learn_rows, learn_rows_of_w
from .matrix import Matrix, Rows, Sizes, as_matrix, matrix_from, rows_from, share_of
from .simd import advance, get, lanes, load, load_head, put, splat, store
from .tile import ADD, SET, tile_columns, tiles, tiles_inlined

# Words of A that stay in the second-level cache while every column of tiles reads them: 1 MiB
_SPAN = 1 << 18


@inline
def forward(x, layer, z, a, sizes, function, buffer, team):
    """A = f(X·W + b), keeping Z in its own memory where z differs from a.  C7, B5."""
    n, i, o = sizes
    width, across = tile_columns(z.at, n, o, team.parts)
    panel = advance(buffer, _rows_memory(i))
    for above in range(0, n, CHUNK):
        count = least(CHUNK, n - above)
        down = blocks(count, TILE_ROWS)
        begin, end = share_of(team, down * across)
        span = _span(count, i)
        for first in range(0, i if begin < end else 0, span):
            depth = least(span, i - first)
            words = round_rows(matrix_from(x, above, first), buffer, count, depth)
            t = begin
            while t < end:
                column, row, rows = dense.strip(t, end, down, count, width)
                columns = least(width, o - column)
                target = rows_from(z, above + row, column)
                init = Rows(advance(layer.b, column * layer.bias), 0)
                if first > 0:
                    init = target
                below = matrix_from(words, row, 0)
                w = Rows(advance(layer.w, first * o + column), o)
                _times_w(below, w, target, init, rows, columns, width, depth, panel)
                if function.code != 0 and first + depth == i:
                    activate(function, target, rows_from(a, above + row, column), rows, columns)
                t += blocks(rows, TILE_ROWS)


@inline
def backward_input(dz, w, dx, sizes, slope, zeros, buffer, team):
    """dX = dZ·Wᵀ (C7), then ⊙ f'(Z) of the layer below."""
    n, i, o = sizes
    width, across = tile_columns(zeros, n, i, team.parts)
    panel = advance(buffer, _rows_memory(o))
    for above in range(0, n, CHUNK):
        count = least(CHUNK, n - above)
        down = blocks(count, TILE_ROWS)
        begin, end = share_of(team, down * across)
        span = _span(count, o)
        for first in range(0, o if begin < end else 0, span):
            depth = least(span, o - first)
            words = round_rows(as_matrix(rows_from(dz, above, first)), buffer, count, depth)
            t = begin
            while t < end:
                column, row, rows = dense.strip(t, end, down, count, width)
                columns = least(width, i - column)
                target = rows_from(dx, above + row, column)
                init = Rows(zeros, 0)
                if first > 0:
                    init = target
                below = matrix_from(words, row, 0)
                turned = Rows(advance(w, column * o + first), o)
                _times_turned(below, turned, target, init, rows, columns, width, depth, panel)
                if slope.function.code != 0 and first + depth == o:
                    multiply_by_slope(slope_from(slope, above + row, column), target, rows, columns)
                t += blocks(rows, TILE_ROWS)


@inline
def backward_parameters(x, readable, dz, gradient, sizes, add, zeros, buffer, team):
    """dW = Xᵀ·dZ and, with a bias, db = Σ dZ over rows (C6, C7). With ``add`` they are added to what is there."""
    n, i, o = sizes
    begin, end = share_of(team, blocks(i, TILE_ROWS))
    end = least(i, end * TILE_ROWS)
    for first in range(0, n, CHUNK):
        depth = least(CHUNK, n - first)
        adding = ADD if add != 0 or first > 0 else SET
        x_chunk, dz_chunk = matrix_from(x, first, 0), rows_from(dz, first, 0)
        if begin * TILE_ROWS < end:
            _panels(dz_chunk, i, o, depth, buffer)
        for row in range(begin * TILE_ROWS, end, LEARN_ROWS):
            rows = least(LEARN_ROWS, end - row)
            dw = Rows(advance(gradient.w, row * o), o)
            _rows_of_dw(matrix_from(x_chunk, 0, row), dw, rows, i, o, depth, adding, zeros, buffer)
        dense.bias_gradient(dz_chunk, gradient, Sizes(depth, i, o), adding, zeros, team)


@inline
def learn(x, readable, dz, layer, change, state, apart, sizes, zeros, buffer, team):
    """``backward_parameters`` and the optimizer's step at once, some rows of W at a time; for at most CHUNK rows."""
    n, i, o = sizes
    gradient = as_numbers(advance(buffer, _panels_memory(o)), zeros)
    begin, end = share_of(team, blocks(i, TILE_ROWS))
    end = least(i, end * TILE_ROWS)
    if begin * TILE_ROWS < end:
        _panels(dz, i, o, n, buffer)
    height = learn_rows(o)
    for row in range(begin * TILE_ROWS, end, height):
        rows = least(height, end - row)
        _rows_of_dw(matrix_from(x, 0, row), Rows(gradient, o), rows, i, o, n, SET, zeros, buffer)
        learn_rows_of_w(dz, layer, change, state, apart, sizes, row, rows, gradient, zeros)


@inline
def words_memory(i, o):
    """Words in the buffer of a layer."""
    deepest = i if i > o else o
    products = _rows_memory(deepest) + 2 * PANEL
    learning = _panels_memory(o) + learn_rows(o) * o + padded_row(o)
    return products if products > learning else learning


# --- rounding: what a product reads --------------------------------------------------------------------------


@inline
def _span(rows, depth):
    """How much of k to take for all columns before the next part, an even number; see ``gemm.span``."""
    if rows * depth <= 2 * _SPAN:
        return depth
    return 2 * blocks(depth, 2 * blocks(depth, 2 * DEPTH))


@inline
def _rows_memory(depth):
    """Words in the first part of the buffer, the rows of A."""
    return least(CHUNK * padded_row(blocks(depth, 2)), _SPAN + 2 * PADDING * CHUNK)


@inline
def _piece(source, row, column, count, staging):
    """The next ``count`` numbers of a row, at most a register: a vector, 0 beyond them. source: Matrix."""
    line = matrix_from(source, row, column).at
    if source.column == 1:
        return load(line, 0) if count == lanes(line) else load_head(line, 0, count)
    for k in range(count):
        put(staging, k, get(line, k * source.column))
    return load_head(staging, 0, count)


@inline
def _inside(count, done):
    """How many numbers the next register has."""
    return least(count - done, 16) if count > done else 0


@inline
def round_rows(source, words, rows, columns):
    """A's rows, its numbers paired along them: (rows, columns/2) words, a Matrix.

    source: Matrix.  words: pointer, to whole vectors for each row.
    """
    stride = padded_row(blocks(columns, 2))
    target = Matrix(words, stride, 1)
    for r in range(rows):
        to = advance(words, r * stride)
        staging = as_numbers(to, source.at)
        for j in range(0, columns, 32):
            here, there = _inside(columns, j), _inside(columns, j + 16)
            first = _piece(source, r, j, here, advance(staging, j // 2))
            second = splat(first, 0.0)
            if there > 0:
                second = _piece(source, r, j + 16, there, advance(staging, j // 2))
            store(to, j // 2, words_in_row(first, second))
    return target


@inline
def pair_rows(source, target, rows, columns):
    """target[k, c] = the word of source[2k, c] and source[2k + 1, c], 0 below the last row.

    source: Matrix.  target: Rows of words, writable to whole vectors.
    """
    for r in range(0, rows, 2):
        to = advance(target.at, r // 2 * target.row)
        staging = as_numbers(to, source.at)
        for c in range(0, columns, 16):
            inside = _inside(columns, c)
            upper = _piece(source, r, c, inside, advance(staging, c))
            lower = splat(upper, 0.0)
            if r + 1 < rows:
                lower = _piece(source, r + 1, c, inside, advance(staging, c))
            store(to, c, words_of_rows(upper, lower))


# --- blocks of B, and the tiles below each other ---------------------------------------------------------------


def _product(pack):
    """C = init + A·B for a column of tiles, B rounded a block at a time by ``pack``.

    (To ask the cache for the next block meanwhile, as W comes from the third level, made a step of medium no faster.)
    """

    @inline
    def product(a, b, c, init, rows, columns, width, depth, block):
        half = blocks(depth, 2)
        size = blocks(half, blocks(half, DEPTH if width == 2 * lanes(c.at) else DEPTH_OF_MOST))
        start = init
        for first in range(0, half, size):
            if first > 0:
                start = c
            this = least(size, half - first)
            panel = Rows(block, width)
            pack(b, panel, 2 * first, least(2 * this, depth - 2 * first), columns)
            tiles(matrix_from(a, 0, first), panel, c, start, rows, columns, this, SET)

    return product


@inline
def _pack_w(w, panel, first, depth, columns):
    """W's rows in pairs. w: Rows (k, columns)."""
    pair_rows(as_matrix(rows_from(w, first, 0)), panel, depth, columns)


@inline
def _pack_turned(w, panel, first, depth, columns):
    """W's rows rounded, then turned. w: Rows (columns, k)."""
    rounded = round_rows(as_matrix(rows_from(w, 0, first)), advance(panel.at, PANEL), columns, depth)
    pack_transposed(Rows(rounded.at, rounded.row), panel, columns, blocks(depth, 2))


_times_w, _times_turned = _product(_pack_w), _product(_pack_turned)


@inline
def _panels_memory(o):
    """Words of all of dZ as panels, and of some of X's columns behind them."""
    return CHUNK // 2 * (o + PANEL_COLUMNS + LEARN_ROWS)


@inline
def _panels(dz, i, o, depth, buffer):
    """dZ's rows in pairs, a panel for each column of tiles, which every row of W needs again."""
    width, across = tile_columns(dz.at, i, o, 1)
    half = blocks(depth, 2)
    for t in range(across):
        column = t * width
        panel = Rows(advance(buffer, column * half), width)
        pair_rows(as_matrix(rows_from(dz, 0, column)), panel, depth, least(width, o - column))


@inline
def _rows_of_dw(x, dw, rows, i, o, depth, adding, zeros, buffer):
    """Some rows of Xᵀ·dZ, as many as there are columns in x, a Matrix; dZ lies in the buffer. dw: Rows."""
    width, across = tile_columns(zeros, i, o, 1)
    half = blocks(depth, 2)
    pairs = advance(buffer, CHUNK // 2 * (o + PANEL_COLUMNS))
    stride = blocks(rows, PADDING) * PADDING
    pair_rows(x, Rows(pairs, stride), depth, rows)
    for t in range(across):
        column = t * width
        panel, columns = Rows(advance(buffer, column * half), width), least(width, o - column)
        for r in range(0, rows, TILE_ROWS):
            turned, target = Matrix(advance(pairs, r), 1, stride), rows_from(dw, r, column)
            height = least(TILE_ROWS, rows - r)
            tiles_inlined(turned, panel, target, Rows(zeros, 0), height, columns, half, adding)
