"""Loops for a user's own element-wise function: compiled once for each pair of functions, never kept on disk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._jit import transient

Loop = Callable[[np.ndarray, np.ndarray], None]


def compile_loops(f: Callable[[float], float], slope: Callable[[float], float]) -> tuple[Loop, Loop]:
    """``forward(z, a)``: a = f(z), and ``backward(z, d)``: d *= slope(z), on flat arrays of one type.

    The functions are compiled here with a first call, on no numbers.

    Raises:
        numba.core.errors.NumbaError: the functions can't be compiled.
    """
    inner_f, inner_slope = transient(f), transient(slope)

    @transient
    def forward(z, a):
        for k in range(z.shape[0]):
            a[k] = inner_f(z[k])

    @transient
    def backward(z, d):
        for k in range(z.shape[0]):
            d[k] *= inner_slope(z[k])

    for dtype in (np.float32, np.float64):
        nothing = np.empty(0, dtype)
        forward(nothing, nothing)
        backward(nothing, nothing)
    return forward, backward
