"""The reference path: explicit Jacobians, against central differences and against the NumPy formulas."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastjac.jacobians import jacobian
from fastjac.paths import reference, unfused


class Activation(NamedTuple):
    name: str
    parameter: float = 1.0


ACTIVATIONS = [
    Activation("identity"),
    Activation("relu"),
    Activation("relu", 0.0),
    Activation("leaky_relu", 0.01),
    Activation("leaky_relu", 0.3),
    Activation("sigmoid"),
    Activation("tanh"),
    Activation("softplus"),
    Activation("elu"),
    Activation("elu", 0.5),
    Activation("silu"),
    Activation("gelu"),
]
LOSSES = [
    "softmax_cross_entropy",
    "binary_cross_entropy",
    "binary_cross_entropy_probabilities",
    "categorical_cross_entropy",
    "mean_squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "poisson",
]
PARAMETERS = {"huber": (0.7,), "quantile": (0.3,)}  # what a loss takes besides
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}

shapes = st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(1, 5), st.integers(0, 2**31))
dtypes = st.sampled_from([np.float32, np.float64])


def same(a, b, dtype):
    """a and b agree relative to the largest number of b: rounding errors are relative to that."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    scale = max(1.0, np.abs(b).max(initial=0.0))
    np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


def both(name, *arguments):
    return tuple((path.LOSSES.get(name) or getattr(path, name))(*arguments) for path in (reference, unfused))


@settings(deadline=None, max_examples=60)
@given(shapes, dtypes, st.sampled_from(ACTIVATIONS), st.booleans())
def test_dense_forward_and_backward_are_those_of_the_formulas(shape, dtype, activation, input_gradient):
    N, inputs, outputs, seed = shape
    rng = np.random.default_rng(seed)
    X, W, b, dA = (rng.normal(size=s).astype(dtype) for s in ((N, inputs), (inputs, outputs), (outputs,), (N, outputs)))
    (Z, A), (Z_too, A_too) = both("dense_forward", X, W, b, activation)
    same(Z, Z_too, dtype)
    same(A, A_too, dtype)
    gradients, gradients_too = both("dense_backward", dA, Z, A, X, W, activation, input_gradient)
    for gradient, gradient_too in zip(gradients, gradients_too, strict=True):
        if gradient_too is None:
            assert gradient is None and not input_gradient
        else:
            assert gradient.dtype == gradient_too.dtype == dtype
            same(gradient, gradient_too, dtype)


@settings(deadline=None, max_examples=60)
@given(shapes, dtypes, st.sampled_from(ACTIVATIONS))
def test_activation_softmax_and_dropout_are_those_of_the_formulas(shape, dtype, activation):
    N, _, outputs, seed = shape
    rng = np.random.default_rng(seed)
    Z, dA = (3 * rng.normal(size=(2, N, outputs))).astype(dtype)
    for arguments in (
        ("activation_forward", Z, activation),
        ("activation_backward", dA, Z, unfused.activation_forward(Z, activation), activation),
        ("softmax_forward", Z),
        ("softmax_backward", dA, unfused.softmax_forward(Z)),
        ("dropout_forward", Z, (2 * rng.integers(0, 2, Z.shape)).astype(dtype)),
        ("dropout_backward", dA, (2 * rng.integers(0, 2, Z.shape)).astype(dtype)),
    ):
        result, result_too = both(*arguments)
        assert result.dtype == result_too.dtype == dtype
        same(result, result_too, dtype)


def problem(name, N, K, rng, dtype):
    """Predictions and targets a loss is defined on."""
    if name in ("softmax_cross_entropy", "mean_squared_error", "absolute_error", "huber", "quantile", "poisson"):
        predictions = 3 * rng.normal(size=(N, K))
        targets = rng.random((N, K))
    elif name == "binary_cross_entropy":
        predictions = 3 * rng.normal(size=(N, K))
        targets = rng.random((N, K)).round(1)
    elif name == "binary_cross_entropy_probabilities":
        predictions = rng.uniform(0.01, 0.99, size=(N, K))
        targets = rng.random((N, K)).round(1)
    else:
        predictions = unfused.softmax_forward(rng.normal(size=(N, K)))
        targets = np.eye(K)[rng.integers(0, K, N)]
    return predictions.astype(dtype), targets.astype(dtype)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(LOSSES), shapes, dtypes, st.sampled_from([None, "some", "zero"]), st.booleans())
def test_losses_are_those_of_the_formulas(name, shape, dtype, weighted, indices):
    N, _, K, seed = shape
    rng = np.random.default_rng(seed)
    P, Y = problem(name, N, K, rng, dtype)
    if indices and name in ("softmax_cross_entropy", "categorical_cross_entropy"):
        Y = rng.integers(0, K, N)
    weights = {None: None, "some": rng.integers(0, 3, N).astype(dtype), "zero": np.zeros(N, dtype)}[weighted]
    (loss, gradient), (loss_too, gradient_too) = both(name, P, Y, weights, *PARAMETERS.get(name, ()))
    assert isinstance(loss, float) and isinstance(loss_too, float)
    assert gradient.dtype == gradient_too.dtype == dtype
    same(gradient, gradient_too, dtype)
    if N == 0 and weights is None:
        assert math.isnan(loss) and math.isnan(loss_too)
        return
    same(loss, loss_too, dtype)
    if weighted == "zero":
        assert loss == loss_too == 0.0
        assert not gradient.any() and not gradient_too.any()


@pytest.mark.parametrize("path", [reference, unfused])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_of_a_loss_is_that_of_its_value(path, name, weighted):
    rng = np.random.default_rng(1)
    P, Y = problem(name, 4, 3, rng, np.float64)
    weights = np.array([1.0, 0.0, 2.0, 0.5]) if weighted else None
    loss, own = path.LOSSES[name], PARAMETERS.get(name, ())
    expected = jacobian(lambda P: loss(P, Y, weights, *own)[0], P)
    np.testing.assert_allclose(loss(P, Y, weights, *own)[1], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("path", [reference, unfused])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_the_gradients_of_a_dense_layer_are_those_of_its_output(path, activation):
    rng = np.random.default_rng(2)
    X, W, b, dA = (rng.normal(size=s) for s in ((4, 3), (3, 2), (2,), (4, 2)))
    Z, A = path.dense_forward(X, W, b, activation)
    assert np.abs(Z).min() > 1e-3  # away from the kinks
    dX, dW, db = path.dense_backward(dA, Z, A, X, W, activation)

    def value(X, W, b):
        return (dA * path.dense_forward(X, W, b, activation)[1]).sum()

    tolerance = {"rtol": 1e-7, "atol": 1e-8}
    np.testing.assert_allclose(dX, jacobian(lambda X: value(X, W, b), X), **tolerance)
    np.testing.assert_allclose(dW, jacobian(lambda W: value(X, W, b), W), **tolerance)
    np.testing.assert_allclose(db, jacobian(lambda b: value(X, W, b), b)[0], **tolerance)
    assert path.dense_backward(dA, Z, A, X, W, activation, input_gradient=False)[0] is None


@pytest.mark.parametrize("path", [reference, unfused])
def test_the_gradient_of_softmax_is_that_of_its_output(path):
    rng = np.random.default_rng(3)
    Z, dS = rng.normal(size=(2, 3, 4))
    dZ = path.softmax_backward(dS, path.softmax_forward(Z))
    np.testing.assert_allclose(dZ, jacobian(lambda Z: (dS * path.softmax_forward(Z)).sum(), Z), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_a_sample_of_weight_zero_counts_as_absent_whatever_it_holds(name):
    P, Y = problem(name, 3, 3, np.random.default_rng(4), np.float64)
    own = PARAMETERS.get(name, ())
    without = unfused.LOSSES[name](P[:2], Y[:2], np.array([1.0, 2.0]), *own)
    P[2] = math.nan
    for path in (reference, unfused):
        loss, gradient = path.LOSSES[name](P, Y, np.array([1.0, 2.0, 0.0]), *own)
        assert loss == pytest.approx(without[0], rel=1e-14)
        np.testing.assert_allclose(gradient[:2], without[1], rtol=1e-14)
        np.testing.assert_array_equal(gradient[2], 0)


def test_a_probability_that_is_none_is_refused():
    Y = np.array([[1.0]])
    for bad in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"y_hat holds .*, expected numbers in \[0, 1\]"):
            reference.LOSSES["binary_cross_entropy_probabilities"](np.array([[bad]]), Y, None)
    with pytest.raises(ValueError, match=r"y holds 2\.0"):
        reference.LOSSES["binary_cross_entropy_probabilities"](np.array([[0.5]]), 2 * Y, None)


def test_both_paths_define_the_same_functions_with_the_same_parameters_in_the_same_order():
    import inspect

    def surface(path):
        return [
            (name, [(p.name, p.default) for p in inspect.signature(f).parameters.values()])
            for name, f in vars(path).items()
            if inspect.isfunction(f) and f.__module__ == path.__name__ and not name.startswith("_")
            if name not in path.LOSSES
        ]

    assert surface(reference) == surface(unfused)
    assert len(surface(reference)) == 8 and list(reference.LOSSES) == list(unfused.LOSSES)
