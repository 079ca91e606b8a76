"""One register tile of a matrix product, C = init + A·B; the loops around it live where the product has a name.

The tile holds ``rows`` × ``vectors`` registers of C while k runs. A is read one number at a time and broadcast, from
any two strides, so A and Aᵀ cost the same and user arrays need no copy. B is read a vector at a time from rows that
are padded to whole vectors. Only the last vector of the tile may be partly outside C, and only its first read of
``init`` and its last write to C are masked: the inner loop has no edges.

Every entry of C is one chain of fused multiply-adds over k in order, whatever the tile: the same bits for any
shape of the rest, any split over threads, and any blocking over k that continues from C.
"""

from numba import types
from numba.extending import intrinsic

from ._jit import always_inline, inline
from .blocking import DEPTH, DEPTH_OF_MOST, MOST_VECTORS, TILE_ROWS, WIDE
from .counting import blocks, least
from .matrix import Rows, as_matrix, matrix_from, rows_from
from .simd import (
    advance,
    get,
    lanes,
    llvm_call,
    llvm_head,
    llvm_hidden,
    llvm_load,
    llvm_load_head,
    llvm_splat,
    llvm_store,
    llvm_store_head,
    llvm_suffix,
    load,
    load_head,
    put,
    store,
    store_head,
    transpose_block,
    vector_of,
)

SET, ADD = 0, 1  # whether a product is written over what is in C, or added to it


def _tile(rows, vectors, copying=False):
    """The code of one tile size: C = init + A·B, or with ``add`` C += init + A·B, for ``depth`` steps of k.

    a: Matrix (rows, depth).  b, c, init: Rows of ``vectors`` vectors; of the last one only ``tail`` lanes of C and init
    are touched, but all of B's. With ``copying``, the rows of B are written to ``copy`` as they are read, one after the
    other. C may be init, and overlaps neither A nor B.
    """

    @intrinsic
    def tile(typingctx, a, b, c, init, depth, tail, add, copy):
        n = types.intp
        signature = types.void(a, b, c, init, n, n, n, copy)
        element = copy.dtype

        def codegen(context, builder, sig, args):
            *matrices, depth, tail, add, copy = args
            (a, a_row, a_k), (b, b_k), (c, c_row), (init, init_row) = (
                [builder.extract_value(one, k) for k in range(len(kind))]
                for one, kind in zip(matrices, sig.args, strict=False)
            )
            vector = context.get_value_type(vector_of(element))
            alignment = element.bitwidth // 8
            fused = f"llvm.fmuladd.{llvm_suffix(vector)}"
            inside = llvm_head(builder, tail, vector.count)
            cells = [(i, j) for i in range(rows) for j in range(vectors)]

            def constant(number):
                return context.get_constant(types.intp, number)

            def place(pointer, stride, i, j):
                row = builder.gep(pointer, [builder.mul(stride, constant(i))])
                return builder.gep(row, [constant(j * vector.count)])

            def read(pointer, j):
                if j == vectors - 1:
                    return llvm_load_head(builder, pointer, vector, inside)
                return llvm_load(builder, pointer, vector, alignment)

            entry = builder.block
            start = {(i, j): read(place(init, init_row, i, j), j) for i, j in cells}
            # four pointers, each with a few rows at fixed distances: what fits into registers
            group = max(1, rows // 4)
            a_start = [llvm_hidden(builder, place(a, a_row, i, 0)) for i in range(0, rows, group)]
            body, end = builder.append_basic_block("k"), builder.append_basic_block("end")
            builder.cbranch(builder.icmp_signed(">", depth, constant(0)), body, end)

            builder.position_at_end(body)
            k = builder.phi(depth.type)
            a_now, b_now, copy_now = [builder.phi(a.type) for _ in a_start], builder.phi(b.type), builder.phi(b.type)
            sums = {cell: builder.phi(vector) for cell in cells}
            b_row = [llvm_load(builder, place(b_now, b_k, 0, j), vector, alignment) for j in range(vectors)]
            if copying:
                for j in range(vectors):
                    llvm_store(builder, b_row[j], place(copy_now, k, 0, j), alignment)
            after = {}
            for i in range(rows):
                number = llvm_splat(builder, builder.load(place(a_now[i // group], a_row, i % group, 0)), vector)
                for j in range(vectors):
                    after[i, j] = llvm_call(builder, fused, vector, [number, b_row[j], sums[i, j]])
            following = builder.add(k, constant(1))
            for phi, first, then in (
                (k, constant(0), following),
                *(
                    (now, begin, llvm_hidden(builder, builder.gep(now, [a_k])))
                    for now, begin in zip(a_now, a_start, strict=True)
                ),
                (b_now, b, builder.gep(b_now, [b_k])),
                (copy_now, copy, builder.gep(copy_now, [constant(vectors * vector.count)])),
                *((sums[cell], start[cell], after[cell]) for cell in cells),
            ):
                phi.add_incoming(first, entry)
                phi.add_incoming(then, body)
            builder.cbranch(builder.icmp_signed("<", following, depth), body, end)

            builder.position_at_end(end)
            result = {}
            for cell in cells:
                result[cell] = builder.phi(vector)
                result[cell].add_incoming(start[cell], entry)
                result[cell].add_incoming(after[cell], body)

            def write(values):
                for i, j in cells:
                    if j == vectors - 1:
                        llvm_store_head(builder, values[i, j], place(c, c_row, i, j), inside)
                    else:
                        llvm_store(builder, values[i, j], place(c, c_row, i, j), alignment)

            with builder.if_else(builder.icmp_signed("!=", add, constant(0))) as (then, otherwise):
                with then:
                    write({(i, j): builder.fadd(read(place(c, c_row, i, j), j), result[i, j]) for i, j in cells})
                with otherwise:
                    write(result)
            return context.get_dummy_value()

        return signature, codegen

    return tile


_most = _tile(TILE_ROWS, MOST_VECTORS)
_most_first = _tile(TILE_ROWS, MOST_VECTORS, copying=True)
_full = _tile(TILE_ROWS, 2)
_first = _tile(TILE_ROWS, 2, copying=True)
_4x3, _2x3, _1x3 = (_tile(rows, MOST_VECTORS) for rows in (4, 2, 1))
_4x2, _2x2, _1x2 = (_tile(rows, 2) for rows in (4, 2, 1))
_1x4, _1x8 = (_tile(1, vectors) for vectors in (4, 8))
_tall = _tile(2 * TILE_ROWS, 1)  # of short rows, as many sums
_8x1, _4x1, _2x1, _1x1 = (_tile(rows, 1) for rows in (8, 4, 2, 1))


@inline
def tile_columns(pointer, rows, columns, parts):
    """How many columns one tile of a product of this size covers, whose tiles so many threads share, and how many such
    tiles there are side by side. (Divided by constants: a division takes longer than the arithmetic of a small tile.)
    """
    pair, most = 2 * lanes(pointer), MOST_VECTORS * lanes(pointer)
    vectors = blocks(columns, lanes(pointer))
    # four are two tiles of two; of few columns of tiles, one more or less is much for a thread
    if rows >= TILE_ROWS and vectors > 2 and vectors != 4 and (parts == 1 or vectors >= 12 * parts):
        return most, blocks(columns, most)
    return pair, blocks(columns, pair)


@inline
def tile(a, b, c, init, rows, columns, depth, add):
    """C = init + A·B, tile under tile, for at most tile_columns columns; with ``add``, C += init + A·B.

    a: Matrix (rows, depth).  b: Rows (depth, columns), readable to the end of the last vector.
    c: Rows (rows, columns).  init: Rows, each the same where its stride is 0; may be C itself, to continue a sum.
    """
    tile_inlined(a, b, c, init, rows, columns, depth, add)


@always_inline
def tile_inlined(a, b, c, init, rows, columns, depth, add):
    """As ``tile``, for where it is called for few rows at a time, as dW does: with AVX2, such calls took 6 % of a step
    of tiny and 3 % of the instructions of mnist. Elsewhere one copy of the code takes 1 % fewer."""
    width = lanes(c.at)
    most, wide = MOST_VECTORS > 2 and columns > 2 * width, columns > width
    tail = columns - 2 * width if most else columns - width if wide else columns
    while rows > 0:
        if most:
            if rows >= TILE_ROWS:
                done = TILE_ROWS
                _most(a, b, c, init, depth, tail, add, b.at)
            elif rows >= 4:
                done = 4
                _4x3(a, b, c, init, depth, tail, add, b.at)
            elif rows >= 2:
                done = 2
                _2x3(a, b, c, init, depth, tail, add, b.at)
            else:
                done = 1
                _1x3(a, b, c, init, depth, tail, add, b.at)
        elif wide and rows >= TILE_ROWS:
            done = TILE_ROWS
            _full(a, b, c, init, depth, tail, add, b.at)
        elif not wide and rows >= 2 * TILE_ROWS:
            done = 2 * TILE_ROWS
            _tall(a, b, c, init, depth, tail, add, b.at)
        elif not wide and rows >= 8:
            done = 8
            _8x1(a, b, c, init, depth, tail, add, b.at)
        elif rows >= 4:
            done = 4
            if wide:
                _4x2(a, b, c, init, depth, tail, add, b.at)
            else:
                _4x1(a, b, c, init, depth, tail, add, b.at)
        elif rows >= 2:
            done = 2
            if wide:
                _2x2(a, b, c, init, depth, tail, add, b.at)
            else:
                _2x1(a, b, c, init, depth, tail, add, b.at)
        else:
            done = 1
            if wide:
                _1x2(a, b, c, init, depth, tail, add, b.at)
            else:
                _1x1(a, b, c, init, depth, tail, add, b.at)
        rows -= done
        a = matrix_from(a, done, 0)
        c = rows_from(c, done, 0)
        init = rows_from(init, done, 0)


@inline
def span(pointer, rows, depth):
    """How much of k to take for all columns before the next part: all, unless that many rows of A are too large for
    the second-level cache, from which every column of tiles reads them (1 MiB with the widest registers)."""
    return depth if rows * depth <= lanes(pointer) << 14 else blocks(depth, blocks(depth, DEPTH))


@inline
def panel(a, b, c, init, rows, columns, width, begin, end, buffer):
    """As ``tile`` for any B: a column of tiles, for k from ``begin`` to before ``end``, in blocks of about DEPTH. Where
    ``begin`` is not 0, it continues the sums in C.

    a: Matrix (rows, end).  b: Matrix (end, columns) whose rows or columns lie together: one of its strides is 1.
    c, init: Rows (rows, columns); C overlaps neither A nor B.  width: the columns of the product's tiles.

    A block of B is copied to ``buffer`` (PANEL numbers, at the begin of a cache line), which stays in the first-level
    cache for all rows; the first tile does that while it computes, which made a step of mnist and medium 1 to 2 %
    faster than copying before. Where all columns of a block are no more than a panel, they stay in the cache without
    being copied.
    """
    vector = lanes(buffer)
    pair, whole = 2 * vector, columns % vector == 0
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
                _first(above, lines, c, start, this, vector, SET, buffer)
            else:
                _most_first(above, lines, c, start, this, vector, SET, buffer)
        else:
            block = Rows(buffer, width)
            copy_rows(as_matrix(lines), block, this, columns)
        below = matrix_from(above, done, 0)
        tile(below, block, rows_from(c, done, 0), rows_from(start, done, 0), rows - done, columns, this, SET)


@inline
def row(a, b, c, init, columns, depth):
    """As ``tile`` for one row, with B where it is and several tiles' columns at once: one sum would wait for itself.

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
