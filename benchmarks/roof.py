"""The machine's roof, measured: arithmetic from registers, copies by level of memory, the cost of a parallel region."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from fastjac.kernels import threads as meeting
from fastjac.kernels._jit import kernel
from fastjac.kernels.arrays import aligned
from fastjac.kernels.simd import address, fma, integers_at, lanes, load, register_bytes, splat, store, sum_across
from fastjac.kernels.threads import barrier
from numpy.typing import DTypeLike

_CHAINS = 12  # sums that do not wait for each other: latency times units, and some

# Bytes of each of the two arrays of a copy: inside the first, second and third level, and beyond.
LEVELS = {"L1": 16 << 10, "L2": 512 << 10, "L3": 8 << 20, "memory": 256 << 20}


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


@kernel
def _multiply_add(values, count):
    p = address(values)
    a, b = load(p, 0), load(p, lanes(p))
    s0, s1, s2, s3 = splat(p, 0.0), splat(p, 1.0), splat(p, 2.0), splat(p, 3.0)
    s4, s5, s6, s7 = splat(p, 4.0), splat(p, 5.0), splat(p, 6.0), splat(p, 7.0)
    s8, s9, t0, t1 = splat(p, 8.0), splat(p, 9.0), splat(p, 10.0), splat(p, 11.0)
    for _ in range(count):
        s0, s1, s2, s3 = fma(a, s0, b), fma(a, s1, b), fma(a, s2, b), fma(a, s3, b)
        s4, s5, s6, s7 = fma(a, s4, b), fma(a, s5, b), fma(a, s6, b), fma(a, s7, b)
        s8, s9, t0, t1 = fma(a, s8, b), fma(a, s9, b), fma(a, t0, b), fma(a, t1, b)
    return sum_across(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + t0 + t1)


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
    count = 400_000
    _multiply_add(values, 1)
    width = register_bytes() // values.itemsize
    with ThreadPoolExecutor(threads) as pool:
        run = lambda: list(pool.map(lambda _: _multiply_add(values, count), range(threads)))  # noqa: E731
        return threads * count * _CHAINS * width * 2 / best(run)


def bandwidth() -> dict[str, float]:
    """Bytes read and written a second by a copy on one thread, by level of memory."""
    result = {}
    for level, size in LEVELS.items():
        source, target = aligned(size // 4, "f4"), aligned(size // 4, "f4")
        repeats = max(1, (64 << 20) // size)
        _copy(source, target, 16, 1)
        result[level] = 2 * size * repeats / best(lambda: _copy(source, target, size // 4, repeats))  # noqa: B023
    return result


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
    """What was measured."""

    peak_float32: float
    peak_float64: float
    peak_all_threads: float
    bandwidth: dict[str, float]
    meeting_seconds: float | None
    threads: int


def measure(threads: int) -> Roof:
    """The roof of one thread, and of all."""
    return Roof(
        peak(np.float32),
        peak(np.float64),
        peak(np.float32, threads),
        bandwidth(),
        meeting_seconds(threads) if threads > 1 else None,
        threads,
    )
