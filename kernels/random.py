"""Random numbers as a function of where they are used: a key and a position, no state.

A dropout mask is then the same for any split over threads and any order of computation, and costs no memory to repeat.
"""

from numba import types
from numba.extending import intrinsic

from ._jit import inline
from .simd import put


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
            # the golden-ratio step of SplitMix64, as a signed number
            number = _mix(key + (r * columns + j + 1) * -7046029254386353131)
            put(mask.at, r * mask.row + j, 0.0 if ((number >> 11) & 9007199254740991) < limit else kept)
