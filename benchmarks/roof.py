"""The machine's roof, measured: arithmetic from registers, what memory gives at each size, a meeting of threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from fastjac.kernels import threads as meeting
from fastjac.kernels._jit import inline, kernel
from fastjac.kernels.arrays import aligned
from fastjac.kernels.simd import (
    Vector,
    address,
    fma,
    integers_at,
    lanes,
    load,
    register_bytes,
    splat,
    store,
    sum_across,
)
from fastjac.kernels.threads import barrier
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import DTypeLike

_CHAINS = 12  # sums that do not wait for each other: latency times units, and some

SIZES = [1 << bits for bits in range(14, 30)]  # bytes of memory that is gone through again and again


def best(run: Callable[[], object], seconds: float = 0.5) -> float:
    """The shortest of many runs, in seconds: what the machine can do, not what it usually does.

    Runs go on for ``seconds``, at least seven of them: on a shared machine a core may be away for a tenth of a second.
    """
    shortest, begin, runs = float("inf"), time.perf_counter(), 0
    while runs < 7 or time.perf_counter() - begin < seconds:
        before = time.perf_counter()
        run()
        shortest = min(shortest, time.perf_counter() - before)
        runs += 1
    return shortest


@inline
def _chains(a, b, count):
    s0, s1, s2, s3 = splat(a, 0.0), splat(a, 1.0), splat(a, 2.0), splat(a, 3.0)
    s4, s5, s6, s7 = splat(a, 4.0), splat(a, 5.0), splat(a, 6.0), splat(a, 7.0)
    s8, s9, t0, t1 = splat(a, 8.0), splat(a, 9.0), splat(a, 10.0), splat(a, 11.0)
    for _ in range(count):
        s0, s1, s2, s3 = fma(a, s0, b), fma(a, s1, b), fma(a, s2, b), fma(a, s3, b)
        s4, s5, s6, s7 = fma(a, s4, b), fma(a, s5, b), fma(a, s6, b), fma(a, s7, b)
        s8, s9, t0, t1 = fma(a, s8, b), fma(a, s9, b), fma(a, t0, b), fma(a, t1, b)
    return sum_across(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + t0 + t1)


@kernel
def _multiply_add(values, count):
    p = address(values)
    return _chains(load(p, 0), load(p, lanes(p)), count)


@intrinsic
def _half(typingctx, x):
    """The first half of a register: a vector of half as many numbers."""
    half = Vector(x.dtype, x.lanes // 2)

    def codegen(context, builder, sig, args):
        index = ir.Constant(ir.VectorType(ir.IntType(32), half.lanes), list(range(half.lanes)))
        return builder.shuffle_vector(args[0], args[0], index)

    return half(x), codegen


@kernel
def _multiply_add_halves(values, count):
    p = address(values)
    return _chains(_half(load(p, 0)), _half(load(p, lanes(p))), count)


@kernel
def _divide(values, count):
    p = address(values)
    a = load(p, 0)
    s0, s1, s2, s3 = splat(p, 1.0), splat(p, 2.0), splat(p, 3.0), splat(p, 4.0)
    s4, s5, s6, s7 = splat(p, 5.0), splat(p, 6.0), splat(p, 7.0), splat(p, 8.0)
    s8, s9, t0, t1 = splat(p, 9.0), splat(p, 10.0), splat(p, 11.0), splat(p, 12.0)
    for _ in range(count):
        s0, s1, s2, s3, s4, s5 = a / s0, a / s1, a / s2, a / s3, a / s4, a / s5
        s6, s7, s8, s9, t0, t1 = a / s6, a / s7, a / s8, a / s9, a / t0, a / t1
    return sum_across(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + t0 + t1)


@kernel
def _shift(x, count):
    for _ in range(count):
        x ^= x << 13
        x ^= x >> 7
        x ^= x << 17
    return x


@kernel
def _change(array, factor, count, repeats):
    p = address(array)
    by = splat(p, factor)
    for _ in range(repeats):
        for j in range(0, count, lanes(p)):
            store(p, j, load(p, j) * by)


@kernel
def _copy(source, target, count, repeats):
    s, t = address(source), address(target)
    for _ in range(repeats):
        for j in range(0, count, lanes(s)):
            store(t, j, load(s, j))


@kernel
def _meet(state, count, parts):
    sync = integers_at(state)
    for _ in range(count):
        barrier(sync, parts)


MULTIPLY_ADDS = 20_000 * _CHAINS  # vectors, in one call of ``multiply_add``


def multiply_add(dtype: DTypeLike) -> None:
    """Some multiply-adds from registers, for races with other things."""
    _multiply_add(np.full(64, 0.5, dtype), MULTIPLY_ADDS // _CHAINS)


def peak(dtype: DTypeLike, threads: int = 1) -> float:
    """Fused multiply-adds from registers, in floating-point operations a second, all threads together."""
    values = np.full(64, 0.5, dtype)
    count = 4_000_000  # some 8 ms: to start the threads takes a tenth of one
    _multiply_add(values, 1)
    width = register_bytes() // values.itemsize
    with ThreadPoolExecutor(threads) as pool:
        run = lambda: list(pool.map(lambda _: _multiply_add(values, count), range(threads)))  # noqa: E731
        return threads * count * _CHAINS * width * 2 / best(run)


def half_cost() -> float:
    """How long a multiply-add on half a float32 register takes, as a share of one on a whole register."""
    values = np.full(64, 0.5, np.float32)
    count = 100_000
    whole = best(lambda: _multiply_add(values, count))
    return min(1.0, best(lambda: _multiply_add_halves(values, count)) / whole)


def division_seconds() -> float:
    """A division of one float32 register by another, among others that do not wait for it."""
    values = np.full(64, 0.5, np.float32)
    count = 20_000
    return best(lambda: _divide(values, count)) / (count * _CHAINS)


def clock() -> float:
    """Cycles a second: of shifts and exclusive ors that wait for each other, each takes one."""
    count = 100_000
    return count * 6 / best(lambda: _shift(0x9E3779B97F4A7C, count))


@dataclass
class Bandwidth:
    """Bytes read and written a second by one thread that goes through memory of this many bytes again and again."""

    size: int
    copy: float  # from one half into the other
    in_place: float  # every number replaced


def bandwidths(sizes: Sequence[int] = tuple(SIZES), seconds: float = 0.15) -> list[Bandwidth]:
    """What memory gives, by size, and so by the level that holds it."""
    found = []
    for size in sizes:
        count = size // 4
        array = aligned(count, "f4")
        array[:] = 1.0
        repeats = max(1, (16 << 20) // size)
        half = count // 2
        copied = best(lambda: _copy(array[:half], array[half:], half, 2 * repeats), seconds)  # noqa: B023
        changed = best(lambda: _change(array, np.float32(1.0), count, repeats), seconds)  # noqa: B023
        found.append(Bandwidth(size, 2 * size * repeats / copied, 2 * size * repeats / changed))
    return found


def at_size(found: Sequence[Bandwidth], size: float) -> Bandwidth:
    """What memory of this size gives: measured at the next smaller size, so that nothing is made slower than it is.

    >>> one, two = Bandwidth(1024, 4e11, 5e11), Bandwidth(2048, 2e11, 3e11)
    >>> [at_size([one, two], size).size for size in (10, 1024, 2047, 5000)]
    [1024, 1024, 1024, 2048]
    """
    return max((one for one in found if one.size <= size), key=lambda one: one.size, default=found[0])


def meeting_seconds(threads: int) -> float:
    """One barrier of all threads inside compiled code."""
    state = np.zeros(meeting.STATE_SIZE, np.int64)
    place, count = state.ctypes.data, 20_000
    with ThreadPoolExecutor(threads) as pool:
        run = lambda: list(pool.map(lambda _: _meet(place, count, threads), range(threads)))  # noqa: E731
        run()
        return best(run) / count


@dataclass
class Roof:
    """What was measured: operations and bytes a second, seconds, cycles a second."""

    peak_float32: float
    peak_float64: float
    peak_all_threads: float
    bandwidths: list[Bandwidth]
    meeting_seconds: float | None
    threads: int
    lanes: int  # float32 numbers in a register
    half_cost: float
    division_seconds: float
    clock: float

    @property
    def multiply_add_seconds(self) -> float:
        """A multiply-add of one float32 register."""
        return 2 * self.lanes / self.peak_float32


def measure(threads: int) -> Roof:
    """The roof of one thread, and of all."""
    return Roof(
        peak_float32=peak(np.float32),
        peak_float64=peak(np.float64),
        peak_all_threads=peak(np.float32, threads),
        bandwidths=bandwidths(),
        meeting_seconds=meeting_seconds(threads) if threads > 1 else None,
        threads=threads,
        lanes=register_bytes() // 4,
        half_cost=half_cost(),
        division_seconds=division_seconds(),
        clock=clock(),
    )
