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


def _tile(rows, vectors, copying=False):
    """The code of one tile size, as a function of pointers and strides.

    With ``copying``, the rows of B are written to ``copy`` as they are read, one after the other.
    """

    @intrinsic
    def tile(typingctx, a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, copy):
        n = types.intp
        signature = types.void(a, n, n, b, n, c, n, init, n, n, n, n, copy)
        element = a.dtype

        def codegen(context, builder, sig, args):
            a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, copy = args
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
def tile(a, a_row, a_k, b, b_k, c, c_row, init, init_row, rows, columns, depth, add):
    """C = init + A·B, tile under tile, for at most tile_columns columns; with ``add``, C += init + A·B.

    a: A[i, k] at i·a_row + k·a_k.  b: B[k, j] at k·b_k + j, readable to the end of the last vector.
    c: C[i, j] at i·c_row + j.  init: at i·init_row + j; may be C itself, to continue a sum.
    """
    tile_inlined(a, a_row, a_k, b, b_k, c, c_row, init, init_row, rows, columns, depth, add)


@always_inline
def tile_inlined(a, a_row, a_k, b, b_k, c, c_row, init, init_row, rows, columns, depth, add):
    """As ``tile``, for where it is called for few rows at a time, as dW does: with AVX2, such calls took 6 % of a step
    of tiny and 3 % of the instructions of mnist. Elsewhere one copy of the code takes 1 % fewer."""
    width = lanes(a)
    most, wide = MOST_VECTORS > 2 and columns > 2 * width, columns > width
    tail = columns - 2 * width if most else columns - width if wide else columns
    while rows > 0:
        if most:
            if rows >= TILE_ROWS:
                done = TILE_ROWS
                _most(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
            elif rows >= 4:
                done = 4
                _4x3(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
            elif rows >= 2:
                done = 2
                _2x3(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
            else:
                done = 1
                _1x3(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
        elif wide and rows >= TILE_ROWS:
            done = TILE_ROWS
            _full(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
        elif not wide and rows >= 2 * TILE_ROWS:
            done = 2 * TILE_ROWS
            _tall(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
        elif not wide and rows >= 8:
            done = 8
            _8x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
        elif rows >= 4:
            done = 4
            if wide:
                _4x2(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
            else:
                _4x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
        elif rows >= 2:
            done = 2
            if wide:
                _2x2(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
            else:
                _2x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
        else:
            done = 1
            if wide:
                _1x2(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
            else:
                _1x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add, b)
        rows -= done
        a = advance(a, done * a_row)
        c = advance(c, done * c_row)
        init = advance(init, done * init_row)


@inline
def span(a, rows, depth):
    """How much of k to take for all columns before the next part: all, unless that many rows of A are too large for
    the second-level cache, from which every column of tiles reads them (1 MiB with the widest registers)."""
    return depth if rows * depth <= lanes(a) << 14 else blocks(depth, blocks(depth, DEPTH))


@inline
def panel(
    a, a_row, a_k, w, w_row, transposed, c, c_row, init, init_row, rows, columns, width, begin, end, buffer
):  # fmt: skip
    """As ``tile`` with B = W, or Wᵀ where ``transposed``: a column of tiles, for k from ``begin`` to before ``end``, in
    blocks of about DEPTH. Where ``begin`` is not 0, it continues the sums in C.

    w: W[k, j] at k·w_row + j (transposed: j·w_row + k). Each block of it is copied to ``buffer`` (PANEL numbers, at the
    begin of a cache line), which stays in the first-level cache for all rows; the first tile does that while it
    computes, which made a step of mnist and medium 1 to 2 % faster than copying before. Where all columns of a block
    are no more than a panel, they stay in the cache without being copied. width: of the product's tiles.
    """
    pair, whole = 2 * lanes(a), columns % lanes(a) == 0
    depth = end - begin
    size = blocks(depth, blocks(depth, DEPTH) if width == pair else blocks(depth, DEPTH_OF_MOST))
    start, start_row = init, init_row
    for first in range(begin, end, size):
        if first > 0:
            start, start_row = c, c_row
        this = least(size, end - first)
        above = advance(a, first * a_k)
        block, block_row, done = buffer, columns, 0
        if transposed != 0:
            block_row = width
            pack_transposed(advance(w, first), w_row, buffer, width, columns, this)
        elif whole and this * w_row <= DEPTH * pair:
            block, block_row = advance(w, first * w_row), w_row
        elif whole and columns >= pair and rows >= TILE_ROWS:
            done = TILE_ROWS
            source = advance(w, first * w_row)
            if MOST_VECTORS == 2 or columns == pair:
                _first(above, a_row, a_k, source, w_row, c, c_row, start, start_row, this, lanes(a), 0, buffer)
            else:
                _most_first(above, a_row, a_k, source, w_row, c, c_row, start, start_row, this, lanes(a), 0, buffer)
        else:
            block_row = width
            copy_rows(advance(w, first * w_row), w_row, 1, buffer, width, this, columns)
        tile(
            advance(above, done * a_row), a_row, a_k, block, block_row, advance(c, done * c_row), c_row,
            advance(start, done * start_row), start_row, rows - done, columns, this, 0,
        )  # fmt: skip


@inline
def row(a, a_k, b, b_k, c, init, columns, depth):
    """As ``tile`` for one row, with B where it is and several tiles' columns at once: one sum would wait for itself.

    Returns how many columns are done, as many as are a multiple of two whole vectors; B is not read beyond them.
    """
    width = lanes(a)
    done = 0
    while columns - done >= 2 * width:
        at, to, start = advance(b, done), advance(c, done), advance(init, done)
        if columns - done >= 8 * width:
            _1x8(a, 0, a_k, at, b_k, to, 0, start, 0, depth, width, 0, at)
            done += 8 * width
        elif columns - done >= 4 * width:
            _1x4(a, 0, a_k, at, b_k, to, 0, start, 0, depth, width, 0, at)
            done += 4 * width
        else:
            _1x2(a, 0, a_k, at, b_k, to, 0, start, 0, depth, width, 0, at)
            done += 2 * width
    return done


@inline
def near(b, b_row, buffer, depth, columns, across, width):
    """Where to read these columns of a matrix ``across`` wide, and how far apart its rows are: a copy in ``buffer``,
    ``width`` numbers apart, where rows lie so far apart that each step down is a new page of memory."""
    if across <= WIDE:
        return b, b_row
    copy_rows(b, b_row, 1, buffer, width, depth, columns)
    return buffer, width


@inline
def pack_tiles(a, a_row, a_k, target, rows, depth):
    """A as tiles: TILE_ROWS rows, k after k, so that a tile reads memory in its order."""
    for r in range(0, rows, TILE_ROWS):
        tail = least(TILE_ROWS, rows - r)
        for k in range(depth):
            line, place = advance(a, r * a_row + k * a_k), advance(target, r * depth + k * TILE_ROWS)
            if a_row == 1:
                for i in range(0, tail, lanes(a)):
                    head = least(lanes(a), tail - i)
                    store_head(place, i, load_head(line, i, head), head)
            else:
                for i in range(tail):
                    put(place, i, get(line, i * a_row))


@inline
def pack_transposed(source, source_row, target, target_row, rows, columns):
    """target[c·target_row + r] = source[r·source_row + c], in squares of one vector."""
    size = lanes(source)
    for r in range(0, rows, size):
        c = 0
        if r + size <= rows:
            while c + size <= columns:
                transpose_block(
                    advance(source, r * source_row + c), source_row, advance(target, c * target_row + r), target_row
                )
                c += size
        for one in range(r, least(rows, r + size)):
            for column in range(c, columns):
                put(target, column * target_row + one, get(source, one * source_row + column))


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
