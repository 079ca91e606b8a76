"""`check_gradients`: it finds a wrong gradient, passes right ones, and leaves the network alone."""

import math

import numpy as np
import pytest

import fastjac as fj
from fastjac.activations import NAMES
from fastjac.losses import BY_NAME

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(7, 3)), RNG.integers(0, 2, 7)


class Scale(fj.Layer):
    wrong = None

    def parameter_shapes(self):
        return {"scale": (self.inputs,)}

    def initialize(self, rng):
        self.parameters["scale"][...] = rng.uniform(0.5, 1.5, self.inputs)

    def forward(self, X, training):
        self.X = X
        return X * self.parameters["scale"]

    def backward(self, dA):
        d = (dA * self.X).sum(axis=0)
        if self.wrong == "parameter":
            d[0] *= 1.01
        if self.wrong != "missing":
            self.gradients["scale"][...] = d
        return dA if self.wrong == "input" else dA * self.parameters["scale"]


def network(wrong=None, dtype="float32"):
    scale = Scale()
    scale.wrong = wrong
    return fj.Sequential([fj.Dense(3, 4, activation="tanh"), scale, fj.Dense(4, 2)], seed=0, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("path", ["fused", "unfused", "reference"])
def test_right_gradients_pass(dtype, path):
    net = network(dtype=dtype)
    net.path = path
    result = fj.check_gradients(net, X, Y, "softmax_cross_entropy")
    assert result.passed
    assert [row[:2] for row in result.rows] == [
        ("layers[0].weight", 12), ("layers[0].bias", 4), ("layers[1].scale", 4), ("layers[2].weight", 8),
        ("layers[2].bias", 2), ("X", 21),
    ]  # fmt: skip
    text = str(result)
    assert "all agree" in text
    assert "layers[1].scale" in text


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ("parameter", {"layers[1].scale"}),
        ("missing", {"layers[1].scale"}),
        ("input", {"layers[0].weight", "layers[0].bias", "X"}),
    ],
)
def test_a_wrong_gradient_is_found_and_named(wrong, where):
    result = fj.check_gradients(network(wrong), X, Y, "softmax_cross_entropy")
    assert not result.passed
    assert {name for name, _, _, ratio in result.rows if ratio > 1} == where
    assert "they DIFFER" in str(result)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("loss", list(BY_NAME))
def test_every_activation_with_every_loss(activation, loss):
    ending = {
        "categorical_cross_entropy": [fj.Softmax()],
        "binary_cross_entropy_probabilities": [fj.Activation("sigmoid")],
    }
    net = fj.Sequential([fj.Dense(3, 5, activation=activation), fj.Dense(5, 2), *ending.get(loss, [])], seed=1)
    y = Y if loss in ("softmax_cross_entropy", "categorical_cross_entropy") else np.eye(2)[Y]
    weight = np.linspace(0, 1, 7)
    assert fj.check_gradients(net, X, y, loss, sample_weight=weight, entries=8).passed


def test_a_wrong_elementwise_slope_is_found():
    for slope, right in ((math.cos, True), (lambda z: 0.99 * math.cos(z), False)):
        net = fj.Sequential([fj.Dense(3, 4), fj.Elementwise(math.sin, slope), fj.Dense(4, 2)], seed=0)
        assert fj.check_gradients(net, X, Y, "softmax_cross_entropy").passed is right


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_network_and_the_arguments_are_as_before(dtype):
    net = network(dtype=dtype)
    net.forward(X)
    net.backward(np.ones((7, 2)))
    before = net.parameters.copy(), net.gradients.copy(), net.predict(X)
    given = X.copy()
    given.setflags(write=False)
    fj.check_gradients(net, given, Y, "softmax_cross_entropy")
    np.testing.assert_array_equal(net.parameters, before[0])
    np.testing.assert_array_equal(net.gradients, before[1])
    np.testing.assert_array_equal(net.predict(X), before[2])
    for layer in net.layers:
        for name, array in layer.parameters.items():
            assert np.shares_memory(array, net.parameters), (layer.describe(), name)
    net.layers[0].weight[...] = 0
    assert not net.parameters[:12].any()
    np.testing.assert_array_equal(given, X)


def test_dropout_is_refused_but_not_at_rate_0():
    for rate, error in ((0.5, True), (0.0, False)):
        net = fj.Sequential([fj.Dense(3, 4), fj.Dropout(rate), fj.Dense(4, 2)], seed=0)
        if error:
            with pytest.raises(ValueError, match="the network has Dropout"):
                fj.check_gradients(net, X, Y, "softmax_cross_entropy")
        else:
            assert fj.check_gradients(net, X, Y, "softmax_cross_entropy").passed


def test_entries_are_chosen_by_the_seed():
    one, other, another = (
        fj.check_gradients(network(), X, Y, "softmax_cross_entropy", entries=3, seed=s) for s in (1, 1, 2)
    )
    assert one == other
    assert one != another
    assert {row[1] for row in one.rows} == {2, 3}


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
@pytest.mark.parametrize("path", ["fused", "reference"])
def test_the_layer_that_is_broken_is_named_and_not_its_neighbour(wrong, path):
    class Twice(fj.Layer):
        """A layer without parameters; only some of them are right."""

        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, X, training):
            return 2 * X

        def backward(self, dA):
            return self.factor * dA

    layers = [fj.Dense(3, 4, activation="tanh"), fj.Dense(4, 4), fj.Activation("silu"), fj.Dense(4, 2)]
    layers.insert(wrong, Twice(2.1))
    layers.insert(0, Twice(2.0))
    net = fj.Sequential(layers, seed=0, inputs=3)
    net.path = path
    result = fj.check_gradients(net, X, Y, "softmax_cross_entropy")
    assert not result.passed
    assert result.suspect == f"layers[{wrong + 1}] (Twice)"
    assert f"they DIFFER; look at layers[{wrong + 1}] (Twice)" in str(result)


@pytest.mark.parametrize("wrong", ["parameter", "missing", "input"])
def test_a_broken_layer_with_parameters_is_named(wrong):
    assert fj.check_gradients(network(wrong), X, Y, "softmax_cross_entropy").suspect == "layers[1] (Scale)"
    assert fj.check_gradients(network(), X, Y, "softmax_cross_entropy").suspect is None
