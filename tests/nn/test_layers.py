"""Layers one by one: what they are made of, how they begin, what they refuse."""

import copy
import math
import pickle

import numpy as np
import pytest

import fastjac as fj
from fastjac.nn import activations
from fastjac.nn.activations import NAMES


def one(layer, inputs=None, dtype="float64", seed=0):
    return fj.Sequential([layer], inputs=inputs, seed=seed, dtype=dtype)


@pytest.mark.parametrize("activation", NAMES)
def test_weights_begin_as_he_or_glorot_say_by_the_activation(activation):
    net = one(fj.Dense(300, 100, activation=activation))
    limit = math.sqrt(6 / 300 if activation in ("relu", "leaky_relu", "elu", "softplus", "silu", "gelu") else 6 / 400)
    weight = net.layers[0].weight
    assert np.abs(weight).max() <= limit
    assert np.abs(weight).max() > 0.99 * limit
    assert abs(weight.mean()) < 0.02 * limit
    assert weight.std() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert not net.layers[0].bias.any()


def test_weights_begin_as_given():
    W, b = np.arange(6.0).reshape(2, 3), np.ones(3)
    layer = one(fj.Dense(2, 3, weight_init=W, bias_init=b)).layers[0]
    np.testing.assert_array_equal(layer.weight, W)
    np.testing.assert_array_equal(layer.bias, b)
    W[:] = 9  # a copy was taken
    np.testing.assert_array_equal(layer.weight, np.arange(6.0).reshape(2, 3))
    layer = one(fj.Dense(2, 3, weight_init=lambda rng, shape: np.full(shape, 2.0), bias_init=0.5)).layers[0]
    assert (layer.weight == 2).all()
    assert (layer.bias == 0.5).all()
    glorot = one(fj.Dense(3, 3, activation="relu", weight_init="glorot")).layers[0]
    assert np.abs(glorot.weight).max() <= 1.0 < np.sqrt(2)
    drawn = [
        one(fj.Dense(2, 3, bias_init=lambda rng, shape: rng.normal(size=shape)), seed=s).layers[0].bias
        for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fj.Dense(0, 3), ValueError, "inputs is 0, expected at least 1"),
        (lambda: fj.Dense(3, -1), ValueError, "outputs is -1, expected at least 1"),
        (lambda: fj.Dense(3.0, 1), TypeError, "inputs is 3.0, expected a whole number"),
        (lambda: fj.Dense(True, 1), TypeError, "inputs is True"),
        (lambda: fj.Dense(3, "4"), TypeError, "outputs is '4'"),
        (lambda: fj.Dense(3, 1, activation="rleu"), ValueError, "'rleu'; did you mean 'relu'.* Known: identity, relu"),
        (lambda: fj.Dense(3, 1, activation=math.sin), TypeError, "activation is .*fastjac.Elementwise"),
        (lambda: fj.Dense(3, 1, weight_init="hee"), ValueError, "unknown weight_init 'hee'; did you mean 'he'"),
        (
            lambda: fj.Dense(3, 1, weight_init=np.ones((1, 3))),
            ValueError,
            r"weight_init has shape \(1, 3\), expected \(3, 1\)",
        ),
        (lambda: fj.Dense(3, 1, bias_init=np.ones(3)), ValueError, r"bias_init has shape \(3,\), expected \(1,\)"),
        (lambda: fj.Dense(3, 1, bias_init=math.nan), ValueError, "bias_init is nan"),
        (
            lambda: one(fj.Dense(3, 1, weight_init=lambda rng, shape: np.ones(5))),
            ValueError,
            r"result of weight_init.*\(5,\)",
        ),
        (lambda: fj.Activation("tan"), ValueError, "'tan'; did you mean 'tanh'"),
        (lambda: fj.Activation(3), TypeError, "activation is 3"),
        (lambda: fj.Dropout(1.0), ValueError, r"rate is 1.0, expected a finite number in \[0, 1\)"),
        (lambda: fj.Dropout(-0.1), ValueError, "rate is -0.1"),
        (lambda: fj.Dropout("half"), TypeError, "rate is 'half'"),
        (lambda: fj.Dropout(math.nan), ValueError, "rate is nan"),
        (lambda: fj.Elementwise(3, math.cos), TypeError, "Elementwise takes two functions"),
        (lambda: fj.relu(at_zero=0.5), ValueError, "at_zero is 0.5, expected 0 or 1"),
        (lambda: fj.leaky_relu(-0.1), ValueError, "leaky_relu is -0.1, expected a positive number"),
        (lambda: fj.leaky_relu(math.inf), ValueError, "leaky_relu is inf"),
        (lambda: fj.elu(0.0), ValueError, "elu is 0.0, expected a positive number"),
        (lambda: activations.ActivationFunction("sine"), ValueError, "unknown activation 'sine'"),
    ],
)
def test_a_layer_that_can_not_be_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_layer_has_no_parameters_before_it_is_part_of_a_network():
    with pytest.raises(RuntimeError, match="once it is part of a network"):
        _ = fj.Dense(2, 3).weight


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (fj.Dense(2, 3), "Dense"),
        (fj.Dense(2, 3, activation="relu"), "Dense, relu"),
        (fj.Dense(2, 3, activation=fj.relu(at_zero=0)), "Dense, relu(0)"),
        (fj.Dense(2, 3, activation=fj.leaky_relu(0.2)), "Dense, leaky_relu(0.2)"),
        (fj.Dense(2, 3, activation=fj.leaky_relu()), "Dense, leaky_relu"),
        (fj.Activation("gelu"), "Activation, gelu"),
        (fj.Softmax(), "Softmax"),
        (fj.Dropout(0.25), "Dropout, 0.25"),
        (fj.Elementwise(math.sin, math.cos), "Elementwise, sin"),
        (fj.Elementwise(math.sin, math.cos, name="wave"), "Elementwise, wave"),
    ],
)
def test_a_layer_describes_itself(layer, words):
    assert layer.describe() == words


FORMULAS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "softplus": lambda z: np.log1p(np.exp(z)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "gelu": lambda z: z * np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(z),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("path", ["fused", "unfused", "reference"])
def test_an_activation_is_its_formula_and_its_slope_that_of_the_formula(name, dtype, tolerance, path):
    z = np.linspace(-6, 6, 241).reshape(1, -1).astype(dtype)
    net = one(fj.Activation(name), inputs=241, dtype=dtype)
    net.path = path
    f = FORMULAS[name]
    np.testing.assert_allclose(net.forward(z), f(z.astype(float)), rtol=0, atol=6 * tolerance)
    dZ = net.backward(np.ones_like(z))
    h = 1e-5
    away = np.abs(z) > 1e-3  # from the kink
    slope = (f(z.astype(float) + h) - f(z.astype(float) - h)) / (2 * h)
    np.testing.assert_allclose(dZ[away], slope[away], atol=1e-6)


def test_elementwise_takes_python_numba_and_math_functions():
    import numba

    X = np.random.default_rng(0).normal(size=(9, 5))
    compiled = numba.njit(lambda z: z * z), numba.njit(lambda z: 2 * z)
    for f, slope in ((math.sin, math.cos), (lambda z: z * z, lambda z: 2.0 * z), compiled):
        net = fj.Sequential([fj.Dense(5, 4), fj.Elementwise(f, slope), fj.Dense(4, 2)], seed=0)
        assert fj.check_gradients(net, X, X[:, :2], "mean_squared_error").passed
    one_sided = fj.Elementwise(lambda z: z if z > 0 else 0.0, lambda z: 1.0 if z > 0 else 0.0)
    np.testing.assert_array_equal(one(one_sided, inputs=5).predict(X), np.maximum(X, 0))


def test_elementwise_that_numba_can_not_compile_says_so():
    def opens(z):
        return open(z)

    with pytest.raises(ValueError, match="Numba can't compile opens or its slope"):
        fj.Elementwise(opens, opens)


def test_elementwise_reads_any_strides_and_leaves_its_input_alone():
    net = one(fj.Elementwise(math.exp, math.exp), inputs=3)
    wide = np.random.default_rng(0).normal(size=(8, 6))
    wide.setflags(write=False)
    np.testing.assert_allclose(net.forward(wide[::2, ::2]), np.exp(wide[::2, ::2]), rtol=1e-15)
    d = np.ones((4, 3))
    net.backward(d)
    np.testing.assert_array_equal(d, 1)


def test_a_layer_without_forward_or_backward_says_which():
    class Empty(fj.Layer):
        pass

    class Forward(fj.Layer):
        def forward(self, X, training):
            return X

    with pytest.raises(TypeError, match=r"Empty has no forward\(X, training\)"):
        one(Empty(), inputs=2).predict(np.zeros((1, 2)))
    net = one(Forward(), inputs=2)
    net.forward(np.zeros((1, 2)))
    with pytest.raises(TypeError, match=r"Forward has no backward\(dA\)"):
        net.backward(np.zeros((1, 2)))


def test_a_users_layer_may_change_the_width_and_need_not_call_our_init():
    class Halves(fj.Layer):
        """Sums of neighbours."""

        def __init__(self, name):
            self.name = name

        def build(self, inputs):
            if inputs % 2:
                raise ValueError(f"{self.name} needs an even width, not {inputs}")
            self.inputs, self.outputs = inputs, inputs // 2

        def forward(self, X, training):
            return X[:, ::2] + X[:, 1::2]

        def backward(self, dA):
            return np.repeat(dA, 2, axis=1)

    net = fj.Sequential([fj.Dense(3, 8, activation="tanh"), Halves("halves"), fj.Dense(4, 2)], seed=0)
    rng = np.random.default_rng(0)
    assert fj.check_gradients(net, rng.normal(size=(6, 3)), rng.integers(0, 2, 6), "softmax_cross_entropy").passed
    history = net.fit(rng.normal(size=(20, 3)), rng.integers(0, 2, 20), loss="softmax_cross_entropy", epochs=3)
    assert len(history["loss"]) == 3
    with pytest.raises(ValueError, match=r"layers\[1\]: halves needs an even width, not 7"):
        fj.Sequential([fj.Dense(3, 7), Halves("halves")])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_rows_are_distributions_and_its_gradient_sums_to_zero(dtype):
    net = one(fj.Softmax(), inputs=7, dtype=dtype)
    X = np.array([[1e30, 0, -1e30, 1, 2, 3, 4], [0] * 7, [-800, -801, -802, 0, 1, 2, 3]], dtype)
    S = net.forward(X)
    np.testing.assert_allclose(S.sum(axis=1), 1, rtol=1e-6)
    assert S[0, 0] == 1
    dX = net.backward(np.random.default_rng(0).normal(size=(3, 7)))
    np.testing.assert_allclose(dX.sum(axis=1), 0, atol=1e-6)


def test_a_copy_of_elementwise_has_what_is_compiled_already():
    layer = fj.Elementwise(math.sin, math.cos)
    twin = copy.deepcopy(layer)
    assert twin is not layer and twin._forward_loop is layer._forward_loop
    X = np.linspace(-1, 1, 6).reshape(2, 3)
    np.testing.assert_array_equal(twin.forward(X, False), layer.forward(X, False))
    assert twin.parameters is not layer.parameters


class Drifting(fj.Layer):
    """Says another width of itself from its first pass on."""

    def build(self, inputs):
        self.inputs, self.outputs = inputs, 2

    def forward(self, X, training):
        self.outputs = 3
        return X[:, :3]

    def backward(self, dA):
        self.inputs = 5
        return np.zeros((len(dA), 5))


def test_a_users_layer_that_changes_its_width_later_is_held_to_the_one_it_was_built_with():
    X = np.ones((6, 4))
    net = fj.Sequential([fj.Dense(4, 4), Drifting()], seed=0)
    for call in (net.forward, net.predict, lambda X: net.fit(X, X[:, :2], loss="huber", progress=False)):
        with pytest.raises(ValueError, match=r"layers\[1\] .* gave an array of shape \(6, 3\), expected \(6, 2\)"):
            call(X)
    net = fj.Sequential([fj.Dense(4, 4), Drifting()], seed=0)
    net.layers[1].forward = lambda X, training: X[:, :2]
    net = copy.deepcopy(net)
    net.forward(X)
    with pytest.raises(ValueError, match=r"gave a gradient of shape \(6, 5\), expected .* shape \(6, 4\)"):
        net.backward(np.ones((6, 2)))


@pytest.mark.parametrize("shape", [(1, 1), (3,), (4, 3), (3, 5)])
def test_elementwise_refuses_a_gradient_of_another_shape_than_its_output(shape):
    layer = fj.Elementwise(math.sin, math.cos)
    layer.forward(np.zeros((3, 4)), True)
    with pytest.raises(ValueError, match=r"dA has shape .*expected \(3, 4\)"):
        layer.backward(np.ones(shape))
    np.testing.assert_array_equal(layer.backward(np.full((3, 4), 2.0)), np.full((3, 4), 2.0))


class Masked(fj.Layer):
    """Multiplies each column by its own factor, which it was made with."""

    def __init__(self, *factors):
        self._mask, self._X, self._Z, self._A = np.array(factors), 1, 2, 3

    def forward(self, X, training):
        return X * self._mask

    def backward(self, dA):
        return dA * self._mask


def test_a_users_layer_keeps_its_attributes_in_copies_whatever_they_are_called():
    net = fj.Sequential([fj.Dense(3, 2), Masked(1.0, 0.5)], seed=0)
    X = np.random.default_rng(0).normal(size=(5, 3))
    net.forward(X)
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        own, ours = vars(twin.layers[1]), vars(twin.layers[0])
        assert (own["_X"], own["_Z"], own["_A"]) == (1, 2, 3)
        assert ours["_X"] is ours["_Z"] is ours["_A"] is None
        np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    assert fj.check_gradients(net, X, np.zeros((5, 2)), "mean_squared_error").passed
