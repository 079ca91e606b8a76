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
    """Row length in scratch memory for ``count`` numbers: whole vectors of any machine, whole cache lines."""
    return (count + PADDING - 1) // PADDING * PADDING


@inline
def share(total, part, parts):
    """Where part number ``part`` of ``parts`` begins among ``total`` things; part + 1 gives its end."""
    return total * part // parts if parts > 1 else total * part
