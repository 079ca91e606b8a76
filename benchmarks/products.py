"""Matrix products and element-wise functions beside the roof, NumPy and PyTorch: one thread, compiled loops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from statistics import median

import numpy as np
from fastjac.benchmarks import roof
from fastjac.kernels import dense, learning, vectormath
from fastjac.kernels._jit import kernel
from fastjac.kernels.activations import CODES, activate, compiled
from fastjac.kernels.arrays import aligned
from fastjac.kernels.counting import padded_row
from fastjac.kernels.matrix import Function, Matrix, Rows, Sizes, alone
from fastjac.kernels.simd import address, integers_at, lanes, load, register_bytes, store

from fastjac import kernels

# M, K, N, and the share of the measured peak to reach
SHAPES = {
    (64, 64, 128): 0.78,
    (64, 128, 64): 0.78,
    (128, 512, 512): 0.78,
    (128, 784, 512): 0.78,
    (256, 1024, 1024): 0.72,
    (32, 32, 32): 0.60,
}
FUNCTIONS = ("exp", "tanh", "sigmoid", "tanh, public")
COUNTS = (10_000, 100_000, 1_000_000)


@dataclass
class Figure:
    """One product or function: medians of interleaved rounds, for each who can do it."""

    name: str
    dtype: str
    size: int
    target: float | None
    rates: dict[str, float]  # operations a second, or numbers a second
    peak: float | None = None  # of multiply-adds from registers, measured in the same rounds


@kernel
def _product(a, w, c, zeros, panel, m, k, n, repeats):
    x, layer = Matrix(address(a), padded_row(k), 1), dense.Layer(address(w), address(zeros), 0)
    z, identity, team = Rows(address(c), padded_row(n)), Function(0, 0.0), alone(integers_at(0))
    for _ in range(repeats):
        dense.forward(x, layer, z, z, Sizes(m, k, n), identity, address(panel), team)


def _interleaved(runs: dict[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, float]:
    """Median seconds of a run of each."""
    repeats = {}
    for name, run in runs.items():
        run()
        begin = time.perf_counter()
        run()
        repeats[name] = max(1, int(seconds / max(time.perf_counter() - begin, 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            taken[name].append((time.perf_counter() - begin) / repeats[name])
    return {name: median(seconds) for name, seconds in taken.items()}


def product(m: int, k: int, n: int, dtype: str, rounds: int, seconds: float, target: float | None = None) -> Figure:
    """C = A·B, with B packed each time, as a training step does."""
    rng = np.random.default_rng(0)
    # rows as far apart as in a network's scratch memory, for everybody
    a, w, c = (
        aligned((m, padded_row(k)), dtype)[:, :k],
        aligned((k, n), dtype),
        aligned((m, padded_row(n)), dtype)[:, :n],
    )
    a[:], w[:] = rng.normal(size=a.shape), rng.normal(size=w.shape)
    zeros, panel = aligned(64, dtype), aligned(learning.learn_memory(n), dtype)
    flops = 2 * m * k * n
    inside = max(1, int(1e6 / flops))  # as a step calls it: from compiled code
    runs: dict[str, Callable[[], object]] = {
        "fastjac": lambda: _product(a, w, c, zeros, panel, m, k, n, inside),
        "NumPy": lambda: np.matmul(a, w, out=c),
    }
    if find_spec("torch"):
        import torch

        ta, tw, tc = (torch.from_numpy(x) for x in (a, w, c))
        runs["PyTorch"] = lambda: torch.mm(ta, tw, out=tc)
    runs["peak"] = lambda: roof.multiply_add(dtype)
    taken = _interleaved(runs, rounds, seconds)
    taken["fastjac"] /= inside
    peak = roof.MULTIPLY_ADDS * 2 * register_bytes() // np.dtype(dtype).itemsize / taken.pop("peak")
    return Figure(f"{m}×{k}×{n}", dtype, flops, target, {name: flops / s for name, s in taken.items()}, peak)


def function(name: str, count: int, rounds: int, seconds: float) -> Figure:
    """An element-wise function on float32 numbers, in memory that begins with a cache line, for everybody.

    Ours is the compiled loop, as networks run it; "tanh, public" is the function that checks its arguments first.
    """
    x, out = aligned((1, count), "f4"), aligned((1, count), "f4")
    x[:] = np.random.default_rng(0).normal(size=(1, count)) * 3
    name, _, public = name.partition(", ")
    numpy_form: dict[str, Callable[[], object]] = {
        "exp": lambda: np.exp(x, out=out),
        "tanh": lambda: np.tanh(x, out=out),
        "sigmoid": lambda: np.reciprocal(np.add(np.exp(np.negative(x, out=out), out=out), 1, out=out), out=out),
    }
    code = 0 if name == "exp" else compiled(CODES[name], x.dtype)
    ours: Callable[[], object] = lambda: _function(x, out, count, code)  # noqa: E731
    if public:
        ours = lambda: kernels.activation_forward(x, name, out=out)  # noqa: E731
    runs: dict[str, Callable[[], object]] = {"fastjac": ours, "NumPy": numpy_form[name]}
    if find_spec("torch"):
        import torch

        tx, to = torch.from_numpy(x), torch.from_numpy(out)
        runs["PyTorch"] = lambda: getattr(torch, name)(tx, out=to)
    taken = _interleaved(runs, rounds, seconds)
    shown = f"{name}, {public}" if public else name
    return Figure(shown, "float32", count, None, {name: count / s for name, s in taken.items()})


@kernel
def _function(x, out, count, code):
    z, a = address(x), address(out)
    if code != 0:
        activate(Function(code, 0.0), Rows(z, count), Rows(a, count), 1, count)
    else:
        for j in range(0, count, lanes(z)):
            store(a, j, vectormath.exp(load(z, j)))


def grid(rounds: int, seconds: float, how_many: int) -> list[Figure]:
    """Products of sizes between 16 and 1024, most of them not multiples of the tile, to find where NumPy is faster."""
    rng = np.random.default_rng(7)
    figures = []
    for _ in range(how_many):
        m, k, n = (int(x) for x in np.exp2(rng.uniform(4, 10, 3)).round())
        figures.append(product(m, k, n, "float32", rounds, seconds))
    return figures


def measure(rounds: int, seconds: float, grid_size: int) -> dict[str, list[Figure]]:
    """All figures of this file. NumPy and PyTorch take as many threads as they were told to."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)
    return {
        "products": [
            product(*shape, dtype, rounds, seconds, target)
            for dtype in ("float32", "float64")
            for shape, target in SHAPES.items()
        ],
        "functions": [function(name, count, rounds, seconds) for name in FUNCTIONS for count in COUNTS],
        "grid": grid(rounds, seconds, grid_size),
    }


def measure_apart(rounds: int, seconds: float, grid_size: int) -> dict[str, list[Figure]]:
    """``measure`` in a process whose libraries have one thread, on one core."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", "fastjac.benchmarks.products", json.dumps([rounds, seconds, grid_size])],
        capture_output=True,
        text=True,
        check=True,
        cwd=tempfile.gettempdir(),
        env=os.environ | {variable: "1" for variable in variables},
    )
    return {kind: [Figure(**figure) for figure in figures] for kind, figures in json.loads(done.stdout).items()}


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    measured = measure(*json.loads(sys.argv[1]))
    print(json.dumps({kind: [asdict(figure) for figure in figures] for kind, figures in measured.items()}))
