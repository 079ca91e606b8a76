"""Whole-number arithmetic of loops over blocks. (Numba's own ``min`` costs a compilation for every pair of types.)"""

from ._jit import inline

PADDING = 16  # numbers: the widest vector, and one cache line of floats


@inline
def least(a, b):
    """The smaller of two counts."""
    return a if a < b else b


@inline
def blocks(count, size):
    """How many blocks of ``size`` cover ``count``."""
    return (count + size - 1) // size


@inline
def padded_row(count):
    """Row length in scratch memory for ``count`` numbers: whole vectors of any machine, whole cache lines of floats.

    From four lines on, an odd number of them: rows a power of two apart would all fall into a few sets of the cache.
    """
    lines = (count + PADDING - 1) // PADDING
    if lines >= 4 and lines % 2 == 0:
        lines += 1
    return lines * PADDING


@inline
def share(total, part, parts):
    """Where part number ``part`` of ``parts`` begins among ``total`` things; part + 1 gives its end."""
    return total * part // parts if parts > 1 else total * part
