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

from ._jit import inline
from .counting import blocks, least
from .simd import (
    advance,
    lanes,
    llvm_call,
    llvm_head,
    llvm_load,
    llvm_load_head,
    llvm_splat,
    llvm_store,
    llvm_store_head,
    llvm_suffix,
    vector_of,
)

# Two vectors wide, so that a tile of 8 rows keeps both fma units busy (16 sums for 2 units of latency 4) and a batch
# of 32, 64 or 128 has no remainder. Measured on one AVX-512 core, 64×64×64 in L1, GFLOP/s: 8×2 149, 12×2 143,
# 14×2 144, 6×4 114, 8×3 105, 4×4 121.
TILE_ROWS = 8
TILE_VECTORS = 2

# How much of k is summed before the next rows of A: a panel of B this deep, 32 floats wide, is 32 KiB and stays in L1.
DEPTH = 256


def _tile(rows, vectors):
    """The code of one tile size, as a function of pointers and strides."""

    @intrinsic
    def tile(typingctx, a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add):
        n = types.intp
        signature = types.void(a, n, n, b, n, c, n, init, n, n, n, n)
        element = a.dtype

        def codegen(context, builder, sig, args):
            a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add = args
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
            body, end = builder.append_basic_block("k"), builder.append_basic_block("end")
            builder.cbranch(builder.icmp_signed(">", depth, constant(0)), body, end)

            builder.position_at_end(body)
            k = builder.phi(depth.type)
            a_now, b_now = builder.phi(a.type), builder.phi(b.type)
            sums = {cell: builder.phi(vector) for cell in cells}
            b_row = [llvm_load(builder, place(b_now, b_k, 0, j), vector, alignment) for j in range(vectors)]
            after = {}
            for i in range(rows):
                number = llvm_splat(builder, builder.load(place(a_now, a_row, i, 0)), vector)
                for j in range(vectors):
                    after[i, j] = llvm_call(builder, fused, vector, [number, b_row[j], sums[i, j]])
            following = builder.add(k, constant(1))
            for phi, first, then in (
                (k, constant(0), following),
                (a_now, a, builder.gep(a_now, [a_k])),
                (b_now, b, builder.gep(b_now, [b_k])),
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


_8x2, _4x2, _2x2, _1x2 = (_tile(rows, 2) for rows in (8, 4, 2, 1))
_8x1, _4x1, _2x1, _1x1 = (_tile(rows, 1) for rows in (8, 4, 2, 1))


@inline
def tile_columns(pointer):
    """Columns that one tile covers."""
    return TILE_VECTORS * lanes(pointer)


@inline
def tile(a, a_row, a_k, b, b_k, c, c_row, init, init_row, rows, columns, depth, add):
    """C = init + A·B, tile under tile, for at most tile_columns columns; with ``add``, C += init + A·B.

    a: A[i, k] at i·a_row + k·a_k.  b: B[k, j] at k·b_k + j, readable to the end of the last vector.
    c: C[i, j] at i·c_row + j.  init: at i·init_row + j; may be C itself, to continue a sum.
    """
    width = lanes(a)
    wide = columns > width
    tail = columns - width if wide else columns
    while rows > 0:
        if rows >= 8:
            done = 8
            if wide:
                _8x2(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
            else:
                _8x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
        elif rows >= 4:
            done = 4
            if wide:
                _4x2(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
            else:
                _4x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
        elif rows >= 2:
            done = 2
            if wide:
                _2x2(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
            else:
                _2x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
        else:
            done = 1
            if wide:
                _1x2(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
            else:
                _1x1(a, a_row, a_k, b, b_k, c, c_row, init, init_row, depth, tail, add)
        rows -= done
        a = advance(a, done * a_row)
        c = advance(c, done * c_row)
        init = advance(init, done * init_row)


@inline
def panel(a, a_row, a_k, b, b_k, c, c_row, init, init_row, rows, columns, depth, add):
    """As ``tile``, with k in blocks of about DEPTH: B is read from memory once, whatever the number of rows.

    The blocks continue each other's sums in C, so with ``add`` there may be only one.
    """
    count = blocks(depth, DEPTH)
    size = blocks(depth, count) if count > 0 else 0
    if count <= 1:
        tile(a, a_row, a_k, b, b_k, c, c_row, init, init_row, rows, columns, depth, add)
        return
    for first in range(0, depth, size):
        a_block, b_block = advance(a, first * a_k), advance(b, first * b_k)
        this = least(size, depth - first)
        if first == 0:
            tile(a_block, a_row, a_k, b_block, b_k, c, c_row, init, init_row, rows, columns, this, 0)
        else:
            tile(a_block, a_row, a_k, b_block, b_k, c, c_row, c, c_row, rows, columns, this, 0)
