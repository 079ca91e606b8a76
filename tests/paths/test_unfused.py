"""Values at the edges, in both NumPy paths and dtypes; each is a limit or a choice stated in the docs."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from fastjac.paths import reference, unfused


class Activation(NamedTuple):
    name: str
    parameter: float = 1.0


inf, nan = math.inf, math.nan
PATHS = [pytest.param(path, id=path.__name__.rsplit(".", 1)[1]) for path in (reference, unfused)]
DTYPES = [np.float32, np.float64]
both_paths = pytest.mark.parametrize("path", PATHS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)

TINY = 1.4e-45  # the smallest float32
Z = [-inf, -1e30, -0.0, 0.0, TINY, 1e30, inf, nan]
EDGES = {
    Activation("identity"): [Z, [1] * 8],
    Activation("relu"): [[0, 0, 0, 0, TINY, 1e30, inf, nan], [0, 0, 1, 1, 1, 1, 1, 1]],
    Activation("relu", 0.0): [[0, 0, 0, 0, TINY, 1e30, inf, nan], [0, 0, 0, 0, 1, 1, 1, 1]],
    Activation("leaky_relu", 0.01): [
        [-inf, -1e28, -0.0, 0, TINY, 1e30, inf, nan],
        [0.01, 0.01, 1, 1, 1, 1, 1, 0.01],
    ],
    Activation("sigmoid"): [[0, 0, 0.5, 0.5, 0.5, 1, 1, nan], [0, 0, 0.25, 0.25, 0.25, 0, 0, nan]],
    Activation("tanh"): [[-1, -1, -0.0, 0, TINY, 1, 1, nan], [0, 0, 1, 1, 1, 0, 0, nan]],
    Activation("softplus"): [[0, 0] + [math.log(2)] * 3 + [1e30, inf, nan], [0, 0, 0.5, 0.5, 0.5, 1, 1, nan]],
    Activation("elu"): [[-1, -1, -0.0, 0, TINY, 1e30, inf, nan], [0, 0, 1, 1, 1, 1, 1, 1]],
    Activation("silu"): [[0, -0.0, -0.0, 0, TINY / 2, 1e30, inf, nan], [0, 0, 0.5, 0.5, 0.5, 1, 1, nan]],
    Activation("gelu"): [[0, -0.0, -0.0, 0, TINY / 2, 1e30, inf, nan], [0, 0, 0.5, 0.5, 0.5, 1, 1, nan]],
}


def equal(actual, expected, dtype):
    """Equal to a unit in the last place, NaN as NaN, and zeros with their sign where the value is a zero."""
    expected = np.asarray(expected, dtype=np.float64).astype(dtype)
    np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    zeros = expected == 0
    np.testing.assert_array_equal(np.signbit(actual[zeros]), np.signbit(expected[zeros]))


@both_paths
@both_dtypes
@pytest.mark.parametrize("activation", EDGES, ids=str)
def test_activations_at_the_edges(path, dtype, activation):
    values, slopes = EDGES[activation]
    z = np.array([Z], dtype=dtype)
    a = path.activation_forward(z, activation)
    assert a.dtype == dtype
    equal(a[0], values, dtype)
    dz = path.activation_backward(np.ones_like(z), z, a, activation)
    assert dz.dtype == dtype
    np.testing.assert_allclose(dz[0], np.asarray(slopes, dtype=dtype), rtol=4 * np.finfo(dtype).eps)


@both_paths
@both_dtypes
def test_relu_at_plus_and_minus_zero_has_slope_one_as_in_the_course(path, dtype):
    z = np.array([[0.0, -0.0]], dtype=dtype)
    a = path.activation_forward(z, Activation("relu"))
    np.testing.assert_array_equal(path.activation_backward(np.ones_like(z), z, a, Activation("relu")), [[1, 1]])
    # In a whole layer: an all-zero row meets a zero bias.
    X, W, b = np.zeros((1, 3), dtype), np.ones((3, 2), dtype), np.array([0.0, -0.0], dtype)
    Z, A = path.dense_forward(X, W, b, Activation("relu"))
    dX, _, db = path.dense_backward(np.ones_like(A), Z, A, X, W, Activation("relu"))
    np.testing.assert_array_equal(db, [1, 1])
    np.testing.assert_array_equal(dX, [[2, 2, 2]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_at_zero_is_where_pytorch_differs(dtype):
    torch = pytest.importorskip("torch")
    z = torch.tensor([0.0, -0.0], dtype=getattr(torch, dtype), requires_grad=True)
    torch.relu(z).sum().backward()
    assert z.grad.tolist() == [0, 0]
    # relu(at_zero=0) is PyTorch's.
    z = np.array([[0.0, -0.0]], dtype=dtype)
    dz = unfused.activation_backward(np.ones_like(z), z, z, Activation("relu", 0.0))
    np.testing.assert_array_equal(dz, [[0, 0]])


@both_paths
@both_dtypes
@pytest.mark.parametrize(
    ("logits", "target", "loss", "gradient"),
    [
        ([1e30, 0, -1e30], 0, 0, [0, 0, 0]),
        ([1e30, 0, -1e30], 1, 1e30, [1, -1, 0]),
        ([1e30, 0, -1e30], 2, 2e30, [1, 0, -1]),
        ([0, -inf, 0], 0, math.log(2), [-0.5, 0, 0.5]),
        ([0, -inf], 1, inf, [1, -1]),
        ([inf, 0], 0, nan, [nan, nan]),
        ([-inf, -inf], 0, nan, [nan, nan]),
        ([nan, 0], 0, nan, [nan, nan]),
        ([100, 0], 1, 100, [1, -1]),
        ([0, 0], 0, math.log(2), [-0.5, 0.5]),
        ([5], 0, 0, [0]),
    ],
)
@pytest.mark.parametrize("rows", [False, True])
def test_softmax_cross_entropy_at_the_edges(path, dtype, logits, target, loss, gradient, rows):
    z = np.array([logits], dtype=dtype)
    y = np.eye(len(logits), dtype=dtype)[[target]] if rows else np.array([target])
    value, dz = path.LOSSES["softmax_cross_entropy"](z, y, None)
    assert value == pytest.approx(loss, rel=1e-6, nan_ok=True)
    assert math.copysign(1, value) == 1 or math.isnan(value)
    np.testing.assert_allclose(dz[0], gradient, rtol=1e-6, atol=1e-40)


@both_paths
def test_softmax_cross_entropy_whose_difference_of_logits_overflows(path):
    z = np.array([[3e38, -3e38]], dtype=np.float32)
    loss, dz = path.LOSSES["softmax_cross_entropy"](z, np.array([1]), None)
    assert loss == inf
    np.testing.assert_array_equal(dz, [[1, -1]])


@both_paths
@both_dtypes
def test_softmax_is_a_distribution_and_its_gradient_with_cross_entropy_sums_to_zero(path, dtype):
    z = np.random.default_rng(0).normal(size=(20, 10), scale=30).astype(dtype)
    s = path.softmax_forward(z)
    assert np.abs(s.sum(axis=1) - 1).max() <= 4 * np.finfo(dtype).eps
    assert (s >= 0).all() and (s <= 1).all() and not np.signbit(s).any()
    dz = path.LOSSES["softmax_cross_entropy"](z, np.zeros(20, dtype=np.int64), None)[1]
    assert np.abs(20 * dz.sum(axis=1)).max() <= 10 * np.finfo(dtype).eps


@both_paths
@both_dtypes
@pytest.mark.parametrize(
    ("p", "y", "loss", "gradient"),
    [
        (0, 0, 0, 0),
        (1, 1, 0, 0),
        (0, 1, 100, -1e12),
        (1, 0, 100, 1e12),
        (TINY, 1, 100, -1e12),
    ],
)
def test_binary_cross_entropy_of_probabilities_at_the_edges(path, dtype, p, y, loss, gradient):
    value, dp = path.LOSSES["binary_cross_entropy_probabilities"](np.array([[p]], dtype), np.array([[y]], dtype), None)
    assert value == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(dp, [[gradient]], rtol=1e-6)


@both_paths
@both_dtypes
@pytest.mark.parametrize(
    ("z", "y", "loss", "gradient"),
    [
        (1e30, 1, 0, 0),
        (-1e30, 0, 0, 0),
        (1e30, 0, 1e30, 1),
        (-1e30, 1, 1e30, -1),
        (inf, 0, inf, 1),
        (inf, 1, 0, 0),
        (-inf, 0, 0, 0),
        (-inf, 1, inf, -1),
        (nan, 1, nan, nan),
        (100, 1, 3.8e-44, 0),
        (-100, 0, 3.8e-44, 0),
        (0, 0, math.log(2), 0.5),
        (0, 1, math.log(2), -0.5),
        (0, 0.5, math.log(2), 0),
    ],
)
def test_binary_cross_entropy_of_logits_at_the_edges(path, dtype, z, y, loss, gradient):
    value, dz = path.LOSSES["binary_cross_entropy"](np.array([[z]], dtype), np.array([[y]], dtype), None)
    # Absolutely within one subnormal of float32.
    assert value == pytest.approx(loss, rel=1e-6, abs=1.5e-45, nan_ok=True)
    np.testing.assert_allclose(dz, [[gradient]], rtol=1e-6, atol=1e-40)


@both_paths
@pytest.mark.parametrize(
    ("p", "y", "loss", "gradient"),
    [(1e30, -1e30, inf, 4e30), (inf, inf, nan, nan), (1e-30, 0, 0, 2e-30)],
)
def test_mean_squared_error_at_the_edges_of_float32(path, p, y, loss, gradient):
    value, dp = path.LOSSES["mean_squared_error"](np.array([[p]], np.float32), np.array([[y]], np.float32), None)
    assert value == pytest.approx(loss, nan_ok=True)
    np.testing.assert_allclose(dp, [[gradient]], rtol=1e-6)


@both_paths
@both_dtypes
@pytest.mark.parametrize(
    ("name", "own", "p", "y", "loss", "gradient"),
    [
        ("absolute_error", (), 2, 2, 0, 0),
        ("absolute_error", (), -1e30, 1e30, 2e30, -1),
        ("absolute_error", (), inf, 1, inf, 1),
        ("absolute_error", (), nan, 1, nan, nan),
        ("huber", (0.5,), 2, 2, 0, 0),
        ("huber", (0.5,), 2.5, 2, 0.125, 0.5),
        ("huber", (0.5,), 1.5, 2, 0.125, -0.5),
        ("huber", (0.5,), -1e30, 1e30, 1e30, -0.5),
        ("huber", (0.5,), inf, 1, inf, 0.5),
        ("huber", (0.5,), nan, 1, nan, nan),
        ("quantile", (0.25,), 2, 2, 0, 0),
        ("quantile", (0.25,), 1, 3, 0.5, -0.25),
        ("quantile", (0.25,), 3, 1, 1.5, 0.75),
        ("quantile", (0.25,), -1e30, 1e30, 5e29, -0.25),
        ("quantile", (0.25,), inf, 1, inf, 0.75),
        ("quantile", (0.25,), nan, 1, nan, nan),
        ("poisson", (), 0, 0, 1, 1),
        ("poisson", (), 0, 1, 0, 0),
        ("poisson", (), -inf, 0, 0, 0),
        ("poisson", (), -inf, 2, inf, -2),
        ("poisson", (), inf, 2, inf, inf),
        ("poisson", (), inf, 0, inf, inf),
        ("poisson", (), 1e30, 1, inf, inf),
        ("poisson", (), -1e30, 2, 2e30, -2),
        ("poisson", (), nan, 0, nan, nan),
    ],
)
def test_losses_of_regression_at_the_edges(path, dtype, name, own, p, y, loss, gradient):
    value, dp = path.LOSSES[name](np.array([[p]], dtype), np.array([[y]], dtype), None, *own)
    assert value == pytest.approx(loss, rel=1e-6, nan_ok=True)
    np.testing.assert_allclose(dp, [[gradient]], rtol=1e-6)


@both_paths
@both_dtypes
def test_categorical_cross_entropy_where_a_probability_is_zero(path, dtype):
    P = np.array([[0, 1], [0, 1]], dtype)
    loss, dP = path.LOSSES["categorical_cross_entropy"](P, np.array([1, 0]), None)
    assert loss == pytest.approx(50)  # the second sample's −log 0 counts as 100
    np.testing.assert_allclose(dP, [[0, -0.5], [-5e11, 0]], rtol=1e-6)


@both_paths
@both_dtypes
def test_layers_without_rows_or_inputs(path, dtype):
    relu = Activation("relu")
    Z, A = path.dense_forward(np.zeros((0, 3), dtype), np.ones((3, 2), dtype), np.ones(2, dtype), relu)
    assert Z.shape == A.shape == (0, 2)
    dX, dW, db = path.dense_backward(A, Z, A, np.zeros((0, 3), dtype), np.ones((3, 2), dtype), relu)
    assert dX.shape == (0, 3) and not dW.any() and not db.any()
    Z, A = path.dense_forward(np.zeros((4, 0), dtype), np.zeros((0, 2), dtype), np.array([1, 2], dtype), relu)
    np.testing.assert_array_equal(A, [[1, 2]] * 4)
    assert path.softmax_forward(np.zeros((0, 3), dtype)).shape == (0, 3)


@both_paths
@pytest.mark.parametrize("activation", EDGES, ids=str)
def test_results_are_new_arrays(path, activation):
    z = np.array([[0.5, -0.5]])
    a = path.activation_forward(z, activation)
    dz = path.activation_backward(a, z, a, activation)
    assert not np.shares_memory(a, z) and not np.shares_memory(dz, a)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "elu", "silu", "gelu", "leaky_relu"])
def test_activations_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    function = {"leaky_relu": torch.nn.functional.leaky_relu}.get(name) or getattr(torch.nn.functional, name)
    z = torch.linspace(-8, 8, 200, dtype=torch.float64, requires_grad=True)
    a = function(z)
    a.sum().backward()
    activation = Activation(name, 0.01 if name == "leaky_relu" else 1.0)
    Z = z.detach().numpy()[None, :]
    A = unfused.activation_forward(Z, activation)
    np.testing.assert_allclose(A[0], a.detach().numpy(), rtol=1e-12, atol=1e-15)
    dZ = unfused.activation_backward(np.ones_like(Z), Z, A, activation)
    np.testing.assert_allclose(dZ[0], z.grad.numpy(), rtol=1e-9, atol=1e-15)


def test_an_unknown_activation_is_named():
    for path in (reference, unfused):
        with pytest.raises(ValueError, match="activation is 'relU'"):
            path.activation_forward(np.ones((1, 1)), Activation("relU"))
    with pytest.raises(ValueError, match="activation is 'relU'"):
        unfused.activation_backward(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), Activation("relU"))
