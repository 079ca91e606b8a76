"""`check_gradients`: it finds a wrong gradient, passes right ones, and leaves the network alone."""

import math
from itertools import pairwise

import numpy as np
import pytest

import fastjac as fj
from fastjac.nn.activations import NAMES
from fastjac.nn.losses import BY_NAME

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
        ("layers[0].weight", 12),
        ("layers[0].bias", 4),
        ("layers[1].scale", 4),
        ("layers[2].weight", 8),
        ("layers[2].bias", 2),
        ("X", 21),
    ]
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


def away_from_kinks(net, X, y, loss):
    """Whether no number that a kink is in comes within 1e-4 of it."""
    A, net.path = X, "unfused"
    for layer in net.layers:
        layer_Z = layer.forward(A, False)
        z = layer._Z if isinstance(layer, fj.Dense) else layer_Z
        if np.abs(z).min() < 1e-4:
            return False
        A = layer_Z
    net.path = "fused"
    gap = np.abs(A - y) if np.shape(y) == A.shape else np.ones(1)
    return gap.min() > 1e-4 and np.abs(gap - 1).min() > 1e-4 * ("huber" in loss)


def random_networks(count, seed):
    """Every activation with every loss, 1 to 6 layers deep: gradients against differences, and the paths."""
    rng, done = np.random.default_rng(seed), 0
    while done < count:
        activation, loss = NAMES[done % len(NAMES)], list(BY_NAME)[done // len(NAMES) % len(BY_NAME)]
        widths = rng.integers(1, 7, 2 + done % 6)
        layers = [fj.Dense(int(i), int(o), activation=activation) for i, o in pairwise(widths)]
        if BY_NAME[loss].probabilities:
            layers.append(fj.Activation("sigmoid") if "binary" in loss else fj.Softmax())
        elif loss in ("softmax_cross_entropy", "binary_cross_entropy") and activation == "sigmoid":
            layers.append(fj.Dense(int(widths[-1]), int(widths[-1])))
        net = fj.Sequential(layers, seed=int(rng.integers(10**9)), dtype="float64")
        X = rng.normal(size=(int(rng.integers(1, 6)), int(widths[0])))
        y = (
            rng.dirichlet(np.ones(widths[-1]), len(X))
            if "categ" in loss or "soft" in loss
            else rng.random((len(X), widths[-1]))
        )
        if not away_from_kinks(net, X, y, loss):
            continue
        result = fj.check_gradients(net, X, y, loss, entries=12)
        assert result.passed, (activation, loss, widths, str(result))
        gaps = fj.compare(net, X, y, loss, repeats=1).results["fused"].differences
        assert max(gaps.values()) <= 1e-12, (activation, loss, widths, gaps)
        done += 1


def test_random_networks_have_right_gradients_on_every_path():
    """Reliability tests 7 and 8, a part of them."""
    random_networks(27, 0)


@pytest.mark.slow
def test_five_hundred_random_networks():
    """Reliability tests 7 and 8: ``pytest -m slow tests/inspection/test_checks.py``. PyTorch's step and tolerances;
    1e-12 between the kernels and the explicit Jacobians, of the largest entry."""
    random_networks(500, 1)
