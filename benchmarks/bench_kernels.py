"""Every public kernel over a grid of shapes and types, fused beside unfused and, where small, explicit Jacobians.

pytest benchmarks/bench_kernels.py                      everything; a table of the roof at the end
pytest benchmarks/bench_kernels.py -k "tanh and float32"
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fastjac.benchmarks import roof

from fastjac import kernels
from fastjac.nn import activations
from fastjac.paths import fused, reference, unfused
from fastjac.training import steps

SHAPES = [(8, 4, 3), (32, 32, 32), (64, 64, 128), (64, 784, 128), (128, 512, 512)]  # N, inputs, outputs
DTYPES = ["float32", "float64"]
MASK = partial(kernels.dropout_mask, rate=0.5, seed=0, step=0, place=0)
EXPLICIT = 100_000  # numbers in the largest Jacobian that is built
PATHS = {"fused": fused, "unfused": unfused, "explicit": reference}

peak = cache(roof.peak)
bandwidths = cache(roof.bandwidths)


def _arrays(shape: tuple[int, int, int], dtype: str) -> dict[str, np.ndarray]:
    n, i, o = shape
    rng = np.random.default_rng(0)

    def make(*size: int) -> np.ndarray:
        return np.asarray(rng.normal(size=size), dtype)

    arrays = {
        "X": make(n, i),
        "W": make(i, o),
        "b": make(o),
        "Z": make(n, o),
        "d": make(n, o),
        "P": kernels.softmax(make(n, o)),
        "labels": rng.integers(0, o, n),
        "bits": rng.integers(0, 2, (n, o)).astype(dtype),
        "numbers": make(n, o),
        "counts": rng.poisson(1, (n, o)).astype(dtype),
        "mask": MASK((n, o), dtype=dtype),
    }
    return arrays | {f"A {name}": unfused.activation_forward(arrays["Z"], activations.get(name)) for name in NAMES}


NAMES = [name for name in activations.NAMES if name != "identity"]
PLAIN = activations.get(None)

# What each operation is called with, by its name in the modules of ``fastjac.paths``
CALLS: dict[str, Callable[[ModuleType, dict[str, np.ndarray]], object]] = {
    "dense_forward": lambda path, a: path.dense_forward(a["X"], a["W"], a["b"], PLAIN),
    "dense_backward": lambda path, a: path.dense_backward(a["d"], a["Z"], a["Z"], a["X"], a["W"], PLAIN, True),
    "softmax_forward": lambda path, a: path.softmax_forward(a["Z"]),
    "softmax_backward": lambda path, a: path.softmax_backward(a["d"], a["P"]),
    "dropout_forward": lambda path, a: path.dropout_forward(a["Z"], a["mask"]),
    "dropout_backward": lambda path, a: path.dropout_backward(a["d"], a["mask"]),
    "softmax_cross_entropy": lambda path, a: path.softmax_cross_entropy(a["Z"], a["labels"], None),
    "categorical_cross_entropy": lambda path, a: path.categorical_cross_entropy(a["P"], a["labels"], None),
    "binary_cross_entropy": lambda path, a: path.binary_cross_entropy(a["Z"], a["bits"], None),
    "binary_cross_entropy_probabilities": lambda path, a: path.binary_cross_entropy_probabilities(
        a["P"], a["bits"], None
    ),
    "mean_squared_error": lambda path, a: path.mean_squared_error(a["Z"], a["numbers"], None),
    "absolute_error": lambda path, a: path.absolute_error(a["Z"], a["numbers"], None),
    "huber": lambda path, a: path.huber(a["Z"], a["numbers"], None, 1.0),
    "quantile": lambda path, a: path.quantile(a["Z"], a["numbers"], None, 0.9),
    "poisson": lambda path, a: path.poisson(a["Z"], a["counts"], None),
}


def _forward(name: str, path: ModuleType, a: dict[str, np.ndarray]) -> object:
    return path.activation_forward(a["Z"], activations.get(name))


def _backward(name: str, path: ModuleType, a: dict[str, np.ndarray]) -> object:
    return path.activation_backward(a["d"], a["Z"], a[f"A {name}"], activations.get(name))


CALLS |= {f"activation_forward {name}": partial(_forward, name) for name in NAMES}
CALLS |= {f"activation_backward {name}": partial(_backward, name) for name in NAMES}


def _note_roof(benchmark: Any, operation: str, shape: tuple[int, int, int], dtype: str) -> None:
    """How much of the roof: of the fma peak for products, else of the bandwidth of a copy in as much memory."""
    n, i, o = shape
    if benchmark.stats is None:  # --benchmark-disable
        return
    seconds = benchmark.stats.stats.median
    products = {"dense_forward": 2, "product": 2, "dense_backward": 4}.get(operation)
    if products is not None:
        share, what = products * n * i * o / seconds / peak(dtype), "fma peak"
    else:
        read_and_written = (3 if "backward" in operation or not operation.count("_forward") else 2) * n * o
        size = read_and_written * np.dtype(dtype).itemsize
        share, what = size / seconds / roof.at_size(bandwidths(), size).copy, "bandwidth of a copy"
    benchmark.extra_info |= {"roof": what, "share": share}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("path", PATHS)
def test_path(benchmark: Any, path: str, operation: str, shape: tuple[int, int, int], dtype: str) -> None:
    n, i, o = shape
    if path == "explicit" and n * o * n * max(i, o) > EXPLICIT:
        pytest.skip("the Jacobian would be too large")
    benchmark.group = f"{operation} {n}×{i}×{o} {dtype}"
    benchmark.extra_info["path"] = path
    benchmark(partial(CALLS[operation], PATHS[path], _arrays(shape, dtype)))
    _note_roof(benchmark, operation, shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("library", ["fastjac", "NumPy", "PyTorch"])
def test_product(benchmark: Any, library: str, shape: tuple[int, int, int], dtype: str) -> None:
    a = _arrays(shape, dtype)
    run: Callable[[], object]
    X, W, out = a["X"], a["W"], np.empty_like(a["Z"])
    if library == "PyTorch":
        if not find_spec("torch"):
            pytest.skip("PyTorch is not installed")
        import torch

        run = partial(torch.mm, torch.from_numpy(X), torch.from_numpy(W), out=torch.from_numpy(out))
    elif library == "NumPy":
        run = partial(np.matmul, X, W, out=out)
    else:
        run = partial(kernels.dense_forward, X, W, None, out=out)
    benchmark.group = f"product {'×'.join(map(str, shape))} {dtype}"
    benchmark.extra_info["path"] = library
    benchmark(run)
    _note_roof(benchmark, "product", shape, dtype)


@pytest.mark.parametrize("rows", [128, 1024, 8192, 60_000])
@pytest.mark.parametrize("path", ["fused", "NumPy"])
def test_order_of_an_epoch(benchmark: Any, path: str, rows: int) -> None:
    benchmark.group = f"order of {rows} rows"
    benchmark.extra_info["path"] = path
    if path == "fused":
        benchmark(partial(steps.shuffled(0, rows), 1, 1))
    else:
        benchmark(lambda: np.random.default_rng([0, 1]).permutation(rows))


@pytest.mark.parametrize("shape", [(64, 128), (1000, 1000)], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("path", ["fused", "unfused"])
def test_dropout_mask(benchmark: Any, path: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    benchmark.group = f"dropout_mask {shape[0]}×{shape[1]} float32"
    benchmark.extra_info["path"] = path
    if path == "fused":
        benchmark(partial(MASK, shape, dtype="float32"))
    else:
        benchmark(lambda: (rng.random(shape, "f4") >= 0.5) * np.float32(2))
