"""`explain`: every operation's explicit Jacobian and gradient, and the fused kernels beside them."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

import fastjac as fj
from fastjac import jacobians
from fastjac.inspection.explain import explain
from fastjac.jacobians import ROWS
from fastjac.nn.activations import NAMES
from fastjac.nn.losses import BY_NAME

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def targets(loss, samples, outputs, seed=1):
    rng = np.random.default_rng(seed)
    if loss in ("softmax_cross_entropy", "categorical_cross_entropy"):
        return rng.integers(0, outputs, samples)
    return rng.random((samples, outputs)).round(1)


def ending(loss):
    """The layer that such a loss wants before it."""
    endings = {"categorical_cross_entropy": fj.Softmax, "binary_cross_entropy_probabilities": sigmoid}
    return [endings[loss]()] if loss in endings else []


def sigmoid():
    return fj.Activation("sigmoid")


def check(net, X, y, loss, weight=None):
    """Every number of the explanation, against the network itself and against what it is made of."""
    result = explain(net, X, y, loss, sample_weight=weight)
    tolerance = TOLERANCE[net.dtype.name]
    sizes = {name: np.abs(array).max(initial=1e-30) for name, array in result.values.items() if array.dtype.kind == "f"}
    for name, gap in result.differences.items():
        scale = sizes.get(name) or max(np.abs(result.gradients[name[1:]]).max(initial=0), 1e-3)
        assert gap <= tolerance * max(scale, 1), (name, gap)

    # the network's own forward and backward, one compiled call each
    loss_object = fj.losses.get(loss)
    step = net._training_step
    output = net.forward(X)
    net._training_step = step
    value, d = loss_object(output, y, weight)
    dX = net.backward(d)
    assert result.loss == pytest.approx(value, rel=10 * tolerance)
    own = {"X": dX}
    for k, layer in enumerate(net.layers):
        for name, gradient in layer.gradients.items():
            own[{"weight": f"W{k + 1}", "bias": f"b{k + 1}"}.get(name, f"{name}{k + 1}")] = gradient
    for name, gradient in own.items():
        assert result.gradients[name].shape == gradient.shape
        np.testing.assert_allclose(result.gradients[name], gradient, rtol=10 * tolerance, atol=tolerance)

    # each gradient is the product of the one above with its Jacobian; of a parameter, summed over samples
    arriving = {"J": np.ones((1, 1))}
    for operation in reversed(result.operations):
        assert operation.row in ROWS
        for one in operation.derivatives:
            assert one.row in ROWS
            summed = one.input[0] in "WbJ"
            own_axes = operation.inputs[one.input].shape[0 if summed else 1 :]
            above = arriving[operation.name].reshape(-1, one.jacobian.shape[1])
            assert one.jacobian.shape == (*above.shape, *own_axes)
            expected = np.einsum("no,no...->..." if summed else "no,no...->n...", above, one.jacobian)
            np.testing.assert_allclose(one.gradient, expected, rtol=1e-3, atol=tolerance)
            arriving[one.input] = one.gradient
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("separate", [False, True], ids=["in Dense", "Activation"])
def test_every_activation_in_both_types(activation, dtype, separate):
    first = [fj.Dense(3, 5), fj.Activation(activation)] if separate else [fj.Dense(3, 5, activation=activation)]
    net = fj.Sequential([*first, fj.Dense(5, 2)], seed=0, dtype=dtype)
    result = check(net, random(4, 3), [0, 1, 1, 0], "softmax_cross_entropy")
    rows = [operation.row for operation in result.operations]
    if activation == "identity" and not separate:
        assert rows == ["C7", "C7", "E2", "B8"]
    else:
        assert rows == ["C7", "B4" if activation in ("relu", "tanh", "sigmoid") else "B2", "C7", "E2", "B8"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", list(BY_NAME))
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss_in_both_types(loss, dtype, weighted):
    net = fj.Sequential([fj.Dense(4, 6, activation="tanh"), fj.Dense(6, 3), *ending(loss)], seed=1, dtype=dtype)
    weight = np.array([1.0, 0.0, 2.5, 0.5, 1.0]) if weighted else None
    check(net, random(5, 4), targets(loss, 5, 3), loss, weight)


@pytest.mark.parametrize("at_zero", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_at_zero_has_the_slope_asked_for_on_both_sides(at_zero, dtype):
    net = fj.Sequential([fj.Activation(fj.relu(at_zero=at_zero))], inputs=4, dtype=dtype)
    result = explain(net, [[0.0, -0.0, 1.0, -1.0]], np.zeros((1, 4)), "mean_squared_error")
    np.testing.assert_array_equal(np.diag(result.jacobians["da1/dX"][0]), [at_zero, at_zero, 1, 0])
    assert result.differences == pytest.approx(dict.fromkeys(result.differences, 0.0))
    net = fj.Sequential([fj.Dense(2, 4, activation=fj.relu(at_zero=at_zero))], dtype=dtype)
    net.parameters[:] = 0
    result = explain(net, [[1.0, 2.0]], np.ones((1, 4)), "mean_squared_error")
    np.testing.assert_array_equal(result.gradients["z1"], np.full((1, 4), -0.5 * at_zero))
    np.testing.assert_array_equal(result.fused["dz1"], result.gradients["z1"])


def test_dropout_softmax_and_elementwise_anywhere():
    net = fj.Sequential(
        [
            fj.Dropout(0.4),
            fj.Elementwise(math.sin, math.cos, name="sine"),
            fj.Dense(5, 4, bias=False),
            fj.Softmax(),
            fj.Dense(4, 3, activation="gelu"),
            fj.Dropout(0.2),
            fj.Dense(3, 1),
        ],
        inputs=5,
        seed=3,
        dtype="float64",
    )
    for _ in range(2):  # the masks are those of the step at hand
        result = check(net, random(6, 5), random(6, 1, seed=4), "mean_squared_error")
        mask = result.values["mask1"]
        assert set(np.unique(mask)) == {0.0, 1 / 0.6}
        np.testing.assert_array_equal(result.jacobians["da1/dX"], [np.diag(row) for row in mask])
        net._training_step += 1
    assert "b3" not in result.values
    assert [operation.layer for operation in result.operations] == [0, 1, 2, 3, 4, 4, 5, 6, None, None]


class Scale(fj.Layer):
    """A = X ⊙ s ⊙ s."""

    def parameter_shapes(self):
        return {"scale": (self.inputs,)}

    def initialize(self, rng):
        self.parameters["scale"][...] = rng.uniform(0.5, 1.5, self.inputs)

    def forward(self, X, training):
        self.X = X
        return X * self.parameters["scale"] ** 2

    def backward(self, dA):
        s = self.parameters["scale"]
        self.gradients["scale"][...] = (dA * self.X).sum(axis=0) * 2 * s
        return dA * s**2


class Centre(fj.Layer):
    """Takes the mean over samples away, so that every output depends on every sample."""

    def forward(self, X, training):
        return X - X.mean(axis=0)

    def backward(self, dA):
        return dA - dA.mean(axis=0)


def test_a_users_layer_is_explained_by_differences():
    net = fj.Sequential([fj.Dense(3, 4, activation="tanh"), Scale(), fj.Dense(4, 2)], seed=0, dtype="float64")
    result = explain(net, random(5, 3), [0, 1, 1, 0, 0])
    s = net.layers[1].parameters["scale"]
    np.testing.assert_allclose(result.jacobians["da2/da1"], [np.diag(s**2)] * 5, rtol=1e-8)
    assert result.jacobians["da2/dscale2"].shape == (5, 4, 4)
    assert max(result.differences.values()) < 1e-8
    wrong = [operation for operation in result.operations if operation.row == "A3"]
    assert [operation.kind for operation in wrong] == ["Scale"]


def test_a_users_wrong_gradient_shows():
    class Wrong(Scale):
        def backward(self, dA):
            return 0.9 * super().backward(dA)

    net = fj.Sequential([fj.Dense(3, 4, activation="tanh"), Wrong(), fj.Dense(4, 2)], seed=0, dtype="float64")
    result = explain(net, random(5, 3), [0, 1, 1, 0, 0])
    assert result.differences["a2"] < 1e-12
    assert result.differences["da1"] > 1e-3


def test_a_layer_that_mixes_samples_has_no_jacobian_of_one_sample():
    net = fj.Sequential([fj.Dense(3, 4), Centre(), fj.Dense(4, 2)], seed=0)
    with pytest.raises(ValueError, match=r"layers\[1\] \(Centre\) .* mixes samples"):
        explain(net, random(5, 3), [0, 1, 1, 0, 0])


def test_the_network_is_as_before():
    net = fj.Sequential([fj.Dense(3, 4, activation="relu"), fj.Dropout(0.5), Scale(), fj.Dense(4, 2)], seed=0)
    X = random(5, 3).astype(np.float32)
    X.setflags(write=False)
    net.path = "unfused"
    output = net.forward(X)
    parameters, step = net.parameters.copy(), net._training_step
    explain(net, X, [0, 1, 1, 0, 0])
    np.testing.assert_array_equal(net.parameters, parameters)
    assert (net.path, net._training_step) == ("unfused", step)
    for layer in net.layers:
        for name in layer.parameters:
            assert np.shares_memory(layer.parameters[name], net.parameters)
            assert np.shares_memory(layer.gradients[name], net.gradients)
    net.backward(np.ones_like(output))  # of the forward pass before


def test_it_is_frozen_plain_data_reached_by_name():
    net = fj.Sequential([fj.Dense(3, 4, activation="relu"), fj.Dense(4, 2)], seed=0)
    result = explain(net, random(5, 3), [0, 1, 1, 0, 0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.loss = 0.0
    assert list(result.values) == ["X", "W1", "b1", "z1", "a1", "W2", "b2", "z2", "y", "J0", "J"]
    assert set(result.gradients) == {"X", "W1", "b1", "z1", "a1", "W2", "b2", "z2", "J0"}
    assert list(result.jacobians)[:3] == ["dz1/dX", "dz1/dW1", "dz1/db1"]
    assert set(result.differences) == set(result.fused)
    assert all(isinstance(a, np.ndarray) or np.isscalar(a) for a in result.values.values())
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.jacobians["dz2/dW2"], result.jacobians["dz2/dW2"])
    assert again.operations[0].formula == "z1 = X·W1 + b1"


def test_it_prints_a_line_for_every_jacobian():
    net = fj.Sequential([fj.Dense(3, 4, activation="relu"), fj.Dense(4, 2)], seed=0)
    result = explain(net, random(5, 3), [0, 1, 1, 0, 0])
    text = str(result)
    assert text.startswith(f"J = {result.loss:.9g}")
    for words in ("z1 = X·W1 + b1", "dz1/dW1", "5×4×3×4", "a1 = relu(z1)", "J0 = -Σ y·log softmax(z2)", "E2", "B8"):
        assert words in text
    for line in (line for line in text.splitlines() if "/d" in line):
        assert len(line) < 140
    assert sum("/d" in line for line in text.splitlines()) == len(result.jacobians)


def test_closed_forms_and_explanation_agree_with_the_chain_of_E3():
    net = fj.Sequential([fj.Dense(3, 4, activation="tanh"), fj.Dense(4, 2)], seed=0, dtype="float64")
    x, y = random(3), np.array([0.0, 1.0])
    first, last = net.layers
    chain = jacobians.network_chain(x, y, [(first.weight, first.bias, "tanh"), (last.weight, last.bias, "identity")])
    result = explain(net, x[None], [1])
    assert result.loss == pytest.approx(chain.loss, rel=1e-13)
    np.testing.assert_allclose(result.jacobians["dz1/dW1"][0], chain.jacobians["dz1/dW1"], rtol=1e-13)
    for name in ("W1", "b1", "W2", "b2"):
        np.testing.assert_allclose(result.gradients[name], chain.gradients[name], rtol=1e-11, atol=1e-15)


def test_too_large_a_batch_is_refused_with_the_numbers():
    net = fj.Sequential([fj.Dense(784, 128, activation="relu"), fj.Dense(128, 10)], seed=0)
    with pytest.raises(
        ValueError, match=r"shape \(64, 784\) take 3,\d+,\d+,\d+ bytes, most of them layers\[0\].*536,870,912"
    ):
        explain(net, np.zeros((64, 784)), np.zeros(64, int))


@pytest.mark.parametrize(
    ("X", "y", "loss", "message"),
    [
        (np.ones((2, 4)), [0, 1], "softmax_cross_entropy", r"X has shape \(2, 4\), expected \(any, 3\)"),
        (np.ones((0, 3)), [], "softmax_cross_entropy", r"X has shape \(0, 3\), expected at least one row"),
        (np.full((2, 3), np.nan), [0, 1], "softmax_cross_entropy", "X has shape .* NaN"),
        (np.ones((2, 3)), [0, 2], "softmax_cross_entropy", "class index 2"),
        (np.ones((2, 3)), [0, 1], "softmax_crossentropy", "did you mean 'softmax_cross_entropy'"),
        (np.ones((2, 3)), [0, 1], "categorical_cross_entropy", "takes probabilities"),
    ],
)
def test_bad_input_is_a_clear_value_error(X, y, loss, message):
    net = fj.Sequential([fj.Dense(3, 2)], seed=0)
    with pytest.raises(ValueError, match=message):
        explain(net, X, y, loss)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_difference_that_rounding_does_not_explain_is_marked(dtype):
    class Wrong(fj.Layer):
        factor = 1.0

        def forward(self, X, training):
            return X

        def backward(self, dA):
            return self.factor * dA

    X, y = np.random.default_rng(0).normal(size=(4, 3)), [0, 1, 0, 1]
    net = fj.Sequential([fj.Dense(3, 4, activation="tanh"), Wrong(), fj.Dense(4, 2)], seed=0, dtype=dtype)
    right = fj.jacobians.explain(net, X, y)
    assert right.apart == ()
    assert "!!" not in str(right)
    assert "nothing apart" in repr(right)
    Wrong.factor = 1.4
    wrong = fj.jacobians.explain(net, X, y)
    assert {"da1", "dz1", "dW1", "db1", "dX"} == set(wrong.apart)
    assert str(wrong).count(" !!") == 5
    assert "further apart than rounding explains" in str(wrong)
    assert len(repr(wrong)) < 200
    assert "array" not in repr(wrong) + repr(wrong.operations[0]) + repr(wrong.operations[0].derivatives[0])
