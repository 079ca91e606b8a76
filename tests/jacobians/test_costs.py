"""The costs that `fastjac.jacobians.costs` states, against what is allocated and what is multiplied."""

import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest

from fastjac import jacobians, kernels
from fastjac.paths import unfused

N, INPUTS, OUTPUTS = 100, 60, 80


class Activation(NamedTuple):
    name: str
    parameter: float = 0.01


LEAKY = Activation("leaky_relu")
ZERO_TO_ONE = np.random.default_rng(0)
X = ZERO_TO_ONE.random((N, INPUTS))
W = ZERO_TO_ONE.random((INPUTS, OUTPUTS))
B = ZERO_TO_ONE.random(OUTPUTS)
Z = ZERO_TO_ONE.random((N, OUTPUTS)) - 0.5
DA = ZERO_TO_ONE.random((N, OUTPUTS))
S = unfused.softmax_forward(Z)
Y = np.eye(OUTPUTS)[ZERO_TO_ONE.integers(0, OUTPUTS, N)]


def jacobians_of(operation):
    """The dense Jacobians of every sample, as arrays."""
    for i in range(N):
        if operation == "dense_backward":
            dz = jacobians.affine(X[i], W)
            yield from (jacobians.elementwise(LEAKY, Z[i]), dz.dz_dx, dz.dz_dw, dz.dz_db)
        elif operation == "activation_backward":
            yield jacobians.elementwise(LEAKY, Z[i])
        elif operation == "softmax_backward":
            yield jacobians.softmax(S[i])
        elif operation == "dropout_backward":
            yield jacobians.Diagonal(DA[i]).to_array()
        elif operation == "softmax_cross_entropy":
            yield jacobians.log_softmax(S[i])
        elif operation == "binary_cross_entropy":
            yield from (jacobians.softplus(Z[i]), jacobians.softplus(-Z[i]))
        elif operation == "mean_squared_error":
            yield jacobians.loss_per_sample(jacobians.squared_error_slope, Z[i], Y[i])
        elif operation in ("absolute_error", "huber", "quantile", "poisson"):
            yield jacobians.loss_per_sample(getattr(jacobians, f"{operation}_slope"), Z[i], Y[i])


UNFUSED = {
    # Z is made on the way to A: only A counts as the result.
    "dense_forward": lambda: unfused.dense_forward(X, W, B, Activation("identity")),
    "dense_backward": lambda: unfused.dense_backward(DA, Z, Z, X, W, LEAKY),
    "activation_backward": lambda: unfused.activation_backward(DA, Z, Z, LEAKY),
    "softmax_backward": lambda: unfused.softmax_backward(DA, S),
    "dropout_backward": lambda: unfused.dropout_backward(DA, S),
    "softmax_cross_entropy": lambda: unfused.softmax_cross_entropy(Z, Y, None),
    "binary_cross_entropy": lambda: unfused.binary_cross_entropy(Z, Y, None),
    "mean_squared_error": lambda: unfused.mean_squared_error(Z, Y, None),
    "absolute_error": lambda: unfused.absolute_error(Z, Y, None),
    "huber": lambda: unfused.huber(Z, Y, None, 0.3),
    "quantile": lambda: unfused.quantile(Z, Y, None, 0.3),
    "poisson": lambda: unfused.poisson(Z, Y, None),
}


def cost(operation):
    return jacobians.cost(operation, N, INPUTS, OUTPUTS, itemsize=8)


@pytest.mark.parametrize("operation", [o for o in jacobians.OPERATIONS if not o.endswith("forward")])
def test_bytes_and_multiplies_of_the_explicit_form_are_those_of_the_arrays_built(operation):
    nbytes = entries = 0
    for J in jacobians_of(operation):
        nbytes += J.nbytes
        entries += J.size
    assert cost(operation).explicit.bytes == nbytes
    assert cost(operation).explicit.multiplies == entries


def peak_beside_results(operation):
    run = UNFUSED[operation]
    previous = np.setbufsize(64)  # the buffers of a broadcasting ufunc are no arrays of ours
    try:
        run()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        results = run()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        np.setbufsize(previous)
    results = results if isinstance(results, tuple) else (results,)
    if operation == "dense_forward":
        results = results[1:]
    return peak - sum(a.nbytes for a in results if isinstance(a, np.ndarray))


@pytest.mark.parametrize("operation", jacobians.OPERATIONS)
def test_bytes_of_the_unfused_form_are_those_numpy_allocates(operation):
    # A quarter of one array for masks (one byte an entry), vectors of length N and Python's own objects.
    assert peak_beside_results(operation) == pytest.approx(cost(operation).unfused.bytes, abs=0.25 * 8 * N * OUTPUTS)


class Counted(float):
    """A float that counts the multiplications it takes part in."""

    count = 0

    def __mul__(self, other):
        Counted.count += 1
        return Counted(float(self) * float(other))

    __rmul__ = __mul__

    def __add__(self, other):
        return Counted(float(self) + float(other))

    __radd__ = __add__

    def __sub__(self, other):
        return Counted(float(self) - float(other))


def counted(array):
    return np.vectorize(Counted, otypes=[object])(array)


@pytest.mark.parametrize(
    ("operation", "run"),
    [
        ("dense_forward", lambda X, W, Z, dA: X @ W),
        (
            "dense_backward",
            lambda X, W, Z, dA: [(dZ := unfused.dropout_backward(dA, Z)), dZ @ W.T, X.T @ dZ, dZ.sum(axis=0)],
        ),
        ("softmax_backward", lambda X, W, Z, dA: unfused.softmax_backward(dA, Z)),
        ("dropout_backward", lambda X, W, Z, dA: unfused.dropout_backward(dA, Z)),
    ],
)
def test_multiplies_of_the_unfused_form_are_those_done(operation, run):
    samples, inputs, outputs = 3, 4, 5
    Counted.count = 0
    run(*(counted(a) for a in (X[:3, :4], W[:4, :5], Z[:3, :5], DA[:3, :5])))
    # NumPy's object matmul starts each sum with a product and adds the rest: one multiplication a term.
    assert Counted.count == jacobians.cost(operation, samples, inputs, outputs).unfused.multiplies


@pytest.mark.parametrize("operation", jacobians.OPERATIONS)
def test_formulas_say_what_the_numbers_are(operation):
    c = cost(operation)
    names = {"N": N, "inputs": INPUTS, "outputs": OUTPUTS, "itemsize": 8}
    for form in (c.explicit, c.unfused, c.fused):
        for formula, number in ((form.bytes_formula, form.bytes), (form.multiplies_formula, form.multiplies)):
            expression = formula.replace("·", "*").replace("²", "**2").replace("³", "**3")
            assert eval(expression, {"__builtins__": {}}, names) == number


@pytest.mark.parametrize("operation", jacobians.OPERATIONS)
def test_explicit_jacobians_are_the_dearest_form(operation):
    c = jacobians.cost(operation, N=256, inputs=64, outputs=64)  # large enough for a kernel's panel to be nothing
    assert c.explicit.bytes >= max(c.unfused.bytes, c.fused.bytes)
    assert c.explicit.multiplies >= c.unfused.multiplies >= c.fused.multiplies


def test_costs_lists_every_operation_and_prints():
    listed = jacobians.costs(64, 64, 128)
    assert [c.operation for c in listed] == list(jacobians.OPERATIONS)
    assert "N·outputs²·inputs" in str(listed[1])


def test_cost_names_what_is_wrong():
    with pytest.raises(ValueError, match="operation is 'conv', expected one of 'dense_forward'"):
        jacobians.cost("conv", 1, 1, 1)
    with pytest.raises(ValueError, match="inputs is -1"):
        jacobians.cost("dense_forward", 1, -1, 1)


FUSED = {
    "dense_forward": lambda a: kernels.dense_forward(a["X"], a["W"], a["b"], "tanh"),
    "dense_backward": lambda a: kernels.dense_backward(a["dA"], a["Z"], a["X"], a["W"], "leaky_relu"),
    "activation_backward": lambda a: kernels.activation_backward(a["dA"], a["Z"], "leaky_relu"),
    "softmax_backward": lambda a: kernels.softmax_backward(a["dA"], a["Z"]),
    "softmax_cross_entropy": lambda a: kernels.softmax_cross_entropy(a["Z"], a["y"]),
    "mean_squared_error": lambda a: kernels.mean_squared_error(a["Z"], a["dA"]),
    "absolute_error": lambda a: kernels.absolute_error(a["Z"], a["dA"]),
    "huber": lambda a: kernels.huber(a["Z"], a["dA"]),
    "quantile": lambda a: kernels.quantile(a["Z"], a["dA"]),
    "poisson": lambda a: kernels.poisson(a["Z"], a["counts"]),
}


@pytest.mark.parametrize("operation", FUSED)
def test_bytes_of_the_fused_form_are_those_allocated(operation):
    rng = np.random.default_rng(0)
    n, i, o = 256, 240, 240  # rows of 15 cache lines of floats: no padding
    a = {"X": (n, i), "W": (i, o), "b": (o,), "Z": (n, o), "dA": (n, o)}
    a = {name: rng.normal(size=shape).astype(np.float32) for name, shape in a.items()} | {"y": rng.integers(0, o, n)}
    a["counts"] = np.abs(a["dA"])
    run = FUSED[operation]
    run(a)  # compiles or loads the kernel
    tracemalloc.start()
    try:
        results = run(a)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    results = results if isinstance(results, tuple) else (results,)
    beside = peak - sum(r.nbytes for r in results if isinstance(r, np.ndarray))
    wanted = jacobians.cost(operation, N=n, inputs=i, outputs=o).fused.bytes
    # a panel is a whole number of tiles wide (256 for 240), and losses have a few kilobytes of their own
    assert wanted <= beside <= wanted * 1.1 + 20_000
