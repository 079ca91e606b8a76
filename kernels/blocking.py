"""How large the pieces are that the loops work on, and what each size must be a multiple of.

Two tables, one for machines with 32 vector registers and one for those with 16, whatever the registers hold: 16, 8, 4
or 2 numbers. ``check`` runs for both when this file is imported, on any machine, so that a size that does not fit
another is found where it is written and not on the machines that take it.
"""

from typing import NamedTuple

from .counting import PADDING
from .simd import registers


class Blocks(NamedTuple):
    """The sizes for one number of registers."""

    registers: int
    lanes: int  # the most that one of them holds
    tile_rows: int
    tile_vectors: int
    most_vectors: int
    depth_of_most: int
    learn_rows: int


# A tile is two vectors wide, so that one of 8 rows keeps both fma units busy (16 sums for 2 units of latency 4) and a
# batch of 32, 64 or 128 has no remainder. Measured on one AVX-512 core, µs a step of tiny, mnist, expm and large: 8
# rows 3.2, 186, 507 and 16,900; 10 rows 3.4, 185, 539, 17,500; 12 rows 3.4, 184, 520, 17,700. With AVX2, whose 16
# registers cannot hold the sums of 8 rows beside B, tiny, digits, mnist and medium take 5.7, 79, 370 and 5,260 µs with
# 8 rows, 5.1, 72, 332 and 4,840 with 4, and 4.9, 66, 308 and 4,360 with 6.
#
# Three vectors wide where B is wide and there are registers for 24 sums: they read A a third less often for the same
# work. Products with 384 to 1152 columns take 1 to 7 % less time than two vectors wide, the more the busier the caches
# that a virtual machine shares (9 rows less; four vectors by 6 rows as much as three by 8, but batches have remainders
# then), and those of dW with 144 columns 12 %.
#
# Of k, so much is summed before the next rows of A: a panel of B this deep and this many vectors wide is some 32 KiB
# of the first-level cache. (Three vectors: 96 is up to 5 % slower, 112 to 160 the same.)
#
# ``learning.learn`` takes some 50 rows of W at a time, in whole tiles and, for dW as its transpose, in whole vectors.
MANY = Blocks(registers=32, lanes=16, tile_rows=8, tile_vectors=2, most_vectors=3, depth_of_most=160, learn_rows=64)
FEW = Blocks(registers=16, lanes=8, tile_rows=6, tile_vectors=2, most_vectors=2, depth_of_most=256, learn_rows=48)

MOST_LANES = 16  # of any machine

DEPTH = 256  # of k, where a tile is two vectors wide

# Columns of a panel of the widest vectors, and the numbers in it.
PANEL_COLUMNS = 3 * MOST_LANES
PANEL = DEPTH * PANEL_COLUMNS

# Zeros to begin the sums of a tile row with.
ZEROS = 64

# Columns up to which B's rows are read where they are.
WIDE = 128

# Rows whose contributions to dW and db are summed in one chain. Chunks are added in order, so the bits depend on the
# batch alone. At 256 rows the activations of widths up to 64 or so stay in the first two cache levels.
CHUNK = 256

# Rows that one panel of W, copied into the first-level cache, is used for; what was computed for them is still in the
# second when what is element-wise follows. With 256, 538 × 814 × 687 took a tenth longer, and longer than NumPy's.
STRIP = 4 * CHUNK

# Columns of W from which it pays to copy X's columns together for the product Xᵀ·dZ.
FEW_COLUMNS = 160

# Columns of W up to which dW is computed as its transpose, whose rows fill registers: the gradient of 4 outputs of
# expm's 16 units takes 12 µs a step instead of 29. More are few where they take no more than half a register.
NARROW = 4

# Rows whose dot products with the column of a layer of one output are taken together, as many chains of sums; and how
# much of them at a time where X's columns lie apart.
DOTS, DOTS_DEPTH = 8, 512

# Columns up to which softmax with cross-entropy takes a vector of rows at a time, and the numbers it keeps meanwhile:
# a vector for each column, and four more.
NARROW_LOSS = 32

# Rows of at most a vector that a mean over the outputs takes at a time. It keeps four numbers for each of theirs; eight
# rows are added at a time, so that up to seven behind the last are read, and whole vectors are written behind it.
FLAT_ROWS = 32
FLAT = (FLAT_ROWS + 8) * MOST_LANES
LOSS_WORK = 4 * FLAT

# Vectors of a gradient that one thread's share of an optimizer step is a multiple of.
UPDATE_VECTORS = 16


class BlockSizeError(ValueError):
    """A block size that does not fit another."""


def check(blocks: Blocks) -> None:
    """Raise BlockSizeError where one of the sizes does not fit the others.

    >>> try:
    ...     check(FEW._replace(learn_rows=64))
    ... except BlockSizeError as error:
    ...     print(error)
    16 registers: learn_rows is 64, expected a multiple of tile_rows, 6
    """

    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise BlockSizeError(f"{blocks.registers} registers: {what}")

    def multiple(name: str, size: int, other: str, unit: int) -> None:
        demand(size > 0 and size % unit == 0, f"{name} is {size}, expected a multiple of {other}, {unit}")

    rows, most = blocks.tile_rows, blocks.most_vectors
    # `gemm.pack_tiles` writes whole tiles, and behind those of X lies the gradient
    multiple("learn_rows", blocks.learn_rows, "tile_rows", rows)
    # and where dW is computed as its transpose, its rows are read as vectors
    multiple("learn_rows", blocks.learn_rows, "the lanes", blocks.lanes)
    # sums, a row of B and a number of A
    taken = rows * most + most + 1
    demand(taken <= blocks.registers, f"a tile of {rows} rows of {most} vectors takes {taken}")
    pair = blocks.tile_vectors
    demand(pair == 2, f"tile_vectors is {pair}, expected 2: `tile.tiles` is made for that")
    demand(most in (2, 3), f"most_vectors is {most}, expected 2 or 3: `tile.tiles` is made for those")
    demand(rows >= 4, f"tile_rows is {rows}, expected at least 4: `tile.tiles` goes on with 4, 2 and 1")
    demand(rows <= STRIP, f"STRIP is {STRIP}, expected at least tile_rows, {rows}")
    for lanes in (2, 4, 8, 16):
        columns = most * lanes
        multiple("PADDING", PADDING, "the lanes", lanes)
        demand(columns <= ZEROS, f"ZEROS is {ZEROS}, expected a tile row of {columns}")
        for name, depth, wide in (
            ("DEPTH", DEPTH, 2 * lanes),
            ("depth_of_most", blocks.depth_of_most, columns),
            ("CHUNK", CHUNK, columns),  # `gemm.near` copies as many rows of dZ
            ("NARROW", NARROW, columns),  # and `dense.narrow` keeps a transposed tile there
        ):
            demand(depth * wide <= PANEL, f"PANEL is {PANEL}, expected {name} times a tile's columns, {depth * wide}")
        # of one output, ``dense.forward`` keeps the sums of a chunk of rows, and beside them rows of X
        multiple("DOTS_DEPTH", DOTS_DEPTH, "the lanes", lanes)
        room = CHUNK + DOTS * DOTS_DEPTH
        demand(room <= PANEL, f"PANEL is {PANEL}, expected {room} for dot products")
        # dZ as panels: the last one may be partly beside it
        demand(columns <= PANEL_COLUMNS, f"PANEL_COLUMNS is {PANEL_COLUMNS}, expected a tile row of {columns}")
        work = (NARROW_LOSS + 4) * lanes
        demand(work <= LOSS_WORK, f"LOSS_WORK is {LOSS_WORK}, expected {work}")
        flat = (FLAT_ROWS + 8) * lanes
        demand(flat <= FLAT, f"FLAT is {FLAT}, expected {flat}")
    multiple("STRIP", STRIP, "CHUNK", CHUNK)
    demand(DOTS == 8, f"DOTS is {DOTS}, expected 8: `dots.dots` is made for that")
    multiple("CHUNK", CHUNK, "DOTS", DOTS)


for _one in (MANY, FEW):
    check(_one)

HERE = MANY if registers() == MANY.registers else FEW
TILE_ROWS, TILE_VECTORS, MOST_VECTORS = HERE.tile_rows, HERE.tile_vectors, HERE.most_vectors
DEPTH_OF_MOST = HERE.depth_of_most
LEARN_ROWS = HERE.learn_rows
