"""Every public kernel over a grid of shapes and types, fused beside unfused and, where small, explicit Jacobians.

pytest benchmarks/bench_kernels.py --benchmark-group-by=group --benchmark-columns=median,iqr,rounds
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from fastjac import activations, kernels
from fastjac.paths import fused, reference, unfused

SHAPES = [(8, 4, 3), (32, 32, 32), (64, 64, 128), (64, 784, 128), (128, 512, 512)]  # N, inputs, outputs
DTYPES = ["float32", "float64"]
EXPLICIT = 100_000  # numbers in the largest Jacobian that is built


def _arrays(shape, dtype):
    n, i, o = shape
    rng = np.random.default_rng(0)

    def make(*size):
        return np.asarray(rng.normal(size=size), dtype)

    return {
        "X": make(n, i), "W": make(i, o), "b": make(o), "Z": make(n, o), "d": make(n, o),
        "P": kernels.softmax(make(n, o)), "labels": rng.integers(0, o, n),
        "bits": rng.integers(0, 2, (n, o)).astype(dtype),
        "numbers": make(n, o),
    }  # fmt: skip


TANH = activations.get("tanh")
PLAIN = activations.get(None)

# What each operation is called with, by name in the path modules
CALLS = {
    "dense_forward": lambda path, a: path.dense_forward(a["X"], a["W"], a["b"], PLAIN),
    "dense_backward": lambda path, a: path.dense_backward(a["d"], a["Z"], a["Z"], a["X"], a["W"], PLAIN, True),
    "activation_forward": lambda path, a: path.activation_forward(a["Z"], TANH),
    "activation_backward": lambda path, a: path.activation_backward(a["d"], a["Z"], np.tanh(a["Z"]), TANH),
    "softmax_forward": lambda path, a: path.softmax_forward(a["Z"]),
    "softmax_backward": lambda path, a: path.softmax_backward(a["d"], a["P"]),
    "softmax_cross_entropy": lambda path, a: path.softmax_cross_entropy(a["Z"], a["labels"], None),
    "categorical_cross_entropy": lambda path, a: path.categorical_cross_entropy(a["P"], a["labels"], None),
    "binary_cross_entropy": lambda path, a: path.binary_cross_entropy(a["Z"], a["bits"], None),
    "mean_squared_error": lambda path, a: path.mean_squared_error(a["Z"], a["numbers"], None),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("path", [fused, unfused, reference], ids=["fused", "unfused", "explicit"])
def test_path(benchmark, path, operation, shape, dtype):
    n, i, o = shape
    if path is reference and n * o * n * max(i, o) > EXPLICIT:
        pytest.skip("the Jacobian would be too large")
    benchmark.group = f"{operation} {n}×{i}×{o} {dtype}"
    benchmark(partial(CALLS[operation], path, _arrays(shape, dtype)))
