"""One register tile of a matrix product, C = init + A·B, and the choice among the sizes of tiles.

A tile holds ``rows`` × ``vectors`` registers of C while k runs. A is read one number at a time and broadcast, from
any two strides, so A and Aᵀ cost the same and user arrays need no copy. B is read a vector at a time from rows that
are padded to whole vectors. Only the last vector of the tile may be partly outside C, and only its first read of
``init`` and its last write to C are masked: the inner loop has no edges.

Every entry of C is one chain of fused multiply-adds over k in order, whatever the tile: the same bits for any
shape of the rest, any split over threads, and any blocking over k that continues from C.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import always_inline, inline, never_inline
from .bfloat16 import WORD, llvm_add_products
from .blocking import MOST_VECTORS, TILE_ROWS
from .counting import blocks
from .matrix import matrix_from, rows_from
from .simd import (
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
    register_bytes,
    vector_of,
)

SET, ADD = 0, 1  # whether a product is written over what is in C, or added to it


def one_tile(rows, vectors, copying=False, half=False):
    """The code of one tile size: C = init + A·B, or with ``add`` C += init + A·B, for ``depth`` steps of k.

    a: Matrix (rows, depth).  b, c, init: Rows of ``vectors`` vectors; of the last one only ``tail`` lanes of C and init
    are touched, but all of B's. With ``copying``, the rows of B are written to ``copy`` as they are read, one after the
    other. With ``half``, vectors are half as long. C may be init, and overlaps neither A nor B. Where A and B are words
    of two bfloat16 each (``bfloat16``), a step of k takes one.
    """

    @intrinsic
    def tile(typingctx, a, b, c, init, depth, tail, add, copy):
        n = types.intp
        signature = types.void(a, b, c, init, n, n, n, copy)
        element, operand = c.types[0].dtype, copy.dtype

        def codegen(context, builder, sig, args):
            *matrices, depth, tail, add, copy = args
            (a, a_row, a_k), (b, b_k), (c, c_row), (init, init_row) = (
                [builder.extract_value(one, k) for k in range(len(kind))]
                for one, kind in zip(matrices, sig.args, strict=False)
            )
            lanes_of_one = vector_of(element).lanes // (2 if half else 1)
            vector = ir.VectorType(context.get_value_type(element), lanes_of_one)
            factor = ir.VectorType(context.get_value_type(operand), lanes_of_one)
            alignment = element.bitwidth // 8
            fused = f"llvm.fmuladd.{llvm_suffix(vector)}"
            inside = llvm_head(builder, tail, vector.count)
            cells = [(i, j) for i in range(rows) for j in range(vectors)]

            def constant(number):
                return context.get_constant(types.intp, number)

            def entry(pointer, stride, i, j):
                row = builder.gep(pointer, [builder.mul(stride, constant(i))])
                return builder.gep(row, [constant(j * vector.count)])

            def read(pointer, j):
                if j == vectors - 1:
                    return llvm_load_head(builder, pointer, vector, inside)
                return llvm_load(builder, pointer, vector, alignment)

            before = builder.block
            start = {(i, j): read(entry(init, init_row, i, j), j) for i, j in cells}
            # four pointers, each with a few rows at fixed distances: what fits into registers
            group = max(1, rows // 4)
            a_start = [llvm_hidden(builder, entry(a, a_row, i, 0)) for i in range(0, rows, group)]
            body, end = builder.append_basic_block("k"), builder.append_basic_block("end")
            builder.cbranch(builder.icmp_signed(">", depth, constant(0)), body, end)

            builder.position_at_end(body)
            k = builder.phi(depth.type)
            a_now, b_now, copy_now = [builder.phi(a.type) for _ in a_start], builder.phi(b.type), builder.phi(b.type)
            sums = {cell: builder.phi(vector) for cell in cells}
            b_row = [llvm_load(builder, entry(b_now, b_k, 0, j), factor, alignment) for j in range(vectors)]
            if copying:
                for j in range(vectors):
                    llvm_store(builder, b_row[j], entry(copy_now, k, 0, j), alignment)
            after = {}
            for i in range(rows):
                number = llvm_splat(builder, builder.load(entry(a_now[i // group], a_row, i % group, 0)), factor)
                for j in range(vectors):
                    if operand == WORD:
                        after[i, j] = llvm_add_products(builder, number, b_row[j], sums[i, j])
                    else:
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
                phi.add_incoming(first, before)
                phi.add_incoming(then, body)
            builder.cbranch(builder.icmp_signed("<", following, depth), body, end)

            builder.position_at_end(end)
            result = {}
            for cell in cells:
                result[cell] = builder.phi(vector)
                result[cell].add_incoming(start[cell], before)
                result[cell].add_incoming(after[cell], body)

            def write(values):
                for i, j in cells:
                    if j == vectors - 1:
                        llvm_store_head(builder, values[i, j], entry(c, c_row, i, j), inside)
                    else:
                        llvm_store(builder, values[i, j], entry(c, c_row, i, j), alignment)

            with builder.if_else(builder.icmp_signed("!=", add, constant(0))) as (then, otherwise):
                with then:
                    write({(i, j): builder.fadd(read(entry(c, c_row, i, j), j), result[i, j]) for i, j in cells})
                with otherwise:
                    write(result)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _down(heights, vectors, half=False):
    """A step down a column of tiles: the highest tile that fits is computed, and its rows are returned."""
    highest, high, low, lowest = heights
    first, second, third, last = (one_tile(height, vectors, half=half) for height in heights)

    @always_inline
    def step(a, b, c, init, rows, depth, tail, add):
        if rows >= highest:
            first(a, b, c, init, depth, tail, add, b.at)
            return highest
        if rows >= high:
            second(a, b, c, init, depth, tail, add, b.at)
            return high
        if rows >= low:
            third(a, b, c, init, depth, tail, add, b.at)
            return low
        last(a, b, c, init, depth, tail, add, b.at)
        return lowest

    return step


_down_most = _down((TILE_ROWS, 4, 2, 1), MOST_VECTORS)
_down_pair = _down((TILE_ROWS, 4, 2, 1), 2)
_down_short = _down((8, 4, 2, 1), 1)
_tall = one_tile(2 * TILE_ROWS, 1)


@always_inline
def _down_whole(a, b, c, init, rows, depth, tail, add):
    """As many sums as in the others, for rows are short."""
    if rows >= 2 * TILE_ROWS:
        _tall(a, b, c, init, depth, tail, add, b.at)
        return 2 * TILE_ROWS
    return _down_short(a, b, c, init, rows, depth, tail, add)


_down_half = _down((2 * TILE_ROWS, 8, 4, 1), 1, half=True)


@always_inline
def _down_half_or_whole(a, b, c, init, rows, depth, tail, add):
    if 2 * tail <= lanes(c.at):
        return _down_half(a, b, c, init, rows, depth, tail, add)
    return _down_whole(a, b, c, init, rows, depth, tail, add)


# In half registers where those are of 64 bytes: Zen 4 computes twice as many of them in the same time, and no processor
# fewer. Steps of policy, odd, tiny and expm take 2 to 5 % less.
_HALVES = register_bytes() == 64
_down_single = _down_half_or_whole if _HALVES else _down_whole


@inline
def tile_columns(pointer, rows, columns, parts):
    """How many columns one tile of a product of this size covers, whose tiles so many threads share, and how many such
    tiles there are side by side. (Divided by constants: a division takes longer than the arithmetic of a small tile.)
    """
    pair, most = 2 * lanes(pointer), MOST_VECTORS * lanes(pointer)
    vectors = blocks(columns, lanes(pointer))
    halves = _HALVES and rows >= TILE_ROWS and parts == 1 and vectors > 1
    if halves and 2 * columns <= (2 * vectors - 1) * lanes(pointer):
        # what is left over takes half a vector, where it comes to be a tile of its own
        if vectors % MOST_VECTORS == 1:
            return most, blocks(columns, most)
        if vectors % 2 == 1:
            return pair, blocks(columns, pair)
    # four are two tiles of two; of few columns of tiles, one more or less is much for a thread
    if rows >= TILE_ROWS and vectors > 2 and vectors != 4 and (parts == 1 or vectors >= 12 * parts):
        return most, blocks(columns, most)
    return pair, blocks(columns, pair)


@never_inline
def tiles(a, b, c, init, rows, columns, depth, add):
    """C = init + A·B, tile under tile, for at most tile_columns columns; with ``add``, C += init + A·B.

    a: Matrix (rows, depth).  b: Rows (depth, columns), readable to the end of the last vector.
    c: Rows (rows, columns).  init: Rows, each the same where its stride is 0; may be C itself, to continue a sum.
    """
    tiles_inlined(a, b, c, init, rows, columns, depth, add)


@always_inline
def tiles_inlined(a, b, c, init, rows, columns, depth, add):
    """As ``tiles``, for where it is called for few rows at a time, as dW does: with AVX2, such calls took 6 % of a step
    of tiny and 3 % of the instructions of mnist. Elsewhere one copy of the code takes 1 % fewer."""
    width = lanes(c.at)
    most, wide = MOST_VECTORS > 2 and columns > 2 * width, columns > width
    tail = columns - 2 * width if most else columns - width if wide else columns
    while rows > 0:
        if most:
            done = _down_most(a, b, c, init, rows, depth, tail, add)
        elif wide:
            done = _down_pair(a, b, c, init, rows, depth, tail, add)
        else:
            done = _down_single(a, b, c, init, rows, depth, tail, add)
        rows -= done
        a = matrix_from(a, done, 0)
        c = rows_from(c, done, 0)
        init = rows_from(init, done, 0)
