"""Random numbers as a function of where they are used: a key and a position, no state.

A dropout mask is then the same for any split over threads and any order of computation, and costs no memory to repeat;
the order of the rows in an epoch is the same wherever training begins. All of it is whole numbers: the same on every
processor.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import inline, kernel
from .simd import advance, get, integers_at, put

_GOLDEN = -7046029254386353131  # the golden-ratio step of SplitMix64, as a signed number
_ORDER = -1  # stands where dropout has the number of its operation


@intrinsic
def _mix(typingctx, number):
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit."""

    def codegen(context, builder, sig, args):
        z = args[0]
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = builder.xor(z, builder.lshr(z, context.get_constant(types.uint64, shift)))
            z = builder.mul(z, context.get_constant(types.uint64, factor))
        return builder.xor(z, builder.lshr(z, context.get_constant(types.uint64, 31)))

    return types.int64(types.int64), codegen


@intrinsic
def _below(typingctx, number, limit):
    """One of 0 … limit - 1 from 64 random bits: the upper half of their product with the limit (Lemire 2019).

    None is more probable than another by more than limit in 2^64, which no test can see.
    """

    def codegen(context, builder, sig, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), args[0].type)

    return types.int64(types.int64, types.int64), codegen


@inline
def key_of(seed, step, operation):
    """One key for a seed, a step of training and the number of an operation of the network."""
    return _mix(_mix(seed * 31 + operation + 1) + step)


@inline
def dropout_mask(mask, first, last, columns, rate, key):
    """Rows first … last - 1 of the mask, Rows (last, columns): 0 with probability ``rate``, else 1/(1 - rate)."""
    kept = 1.0 / (1.0 - rate)
    limit = int(rate * 9007199254740992.0)  # 2^53
    for r in range(first, last):
        for j in range(columns):
            number = _mix(key + (r * columns + j + 1) * _GOLDEN)
            put(mask.at, r * mask.row + j, 0.0 if ((number >> 11) & 9007199254740991) < limit else kept)


@kernel
def shuffle(orders, rows, seed, first, count):
    """The orders of ``rows`` rows in the epochs first … first + count - 1: the permutations of 0 … rows - 1 that the
    seed and the number of each epoch give.

    orders: the address of int64 (count, rows), written.
    """
    for k in range(count):
        _permutation(advance(integers_at(orders), k * rows), rows, key_of(seed, first + k, _ORDER))


@inline
def _permutation(order, rows, key):
    """Fisher and Yates, from the inside out (Knuth, volume 2, 3.4.2): each number goes to a place among those before
    it, and what was there to the end. Nothing waits for the random numbers, which do not depend on each other.
    """
    for i in range(rows):
        place = _below(_mix(key + (i + 1) * _GOLDEN), i + 1)
        put(order, i, get(order, place))  # where place is i: any number, to be written over
        put(order, place, i)
