"""`Sequential`: shapes and views, forward, backward and predict, copies, seeds, and what it refuses."""

import copy
import functools
import math
import pickle
import re
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from tests_support import use_plan

import fastjac as fj
from fastjac.nn.activations import NAMES


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def two_layers(dtype="float32", seed=0, activation="relu"):
    return fj.Sequential([fj.Dense(5, 7, activation=activation), fj.Dense(7, 3)], seed=seed, dtype=dtype)


class Shift(fj.Layer):
    """A = X + s, in NumPy."""

    def parameter_shapes(self):
        return {"shift": (self.inputs,)}

    def initialize(self, rng):
        self.parameters["shift"][...] = rng.normal(size=self.inputs)

    def forward(self, X, training):
        return X + self.parameters["shift"]

    def backward(self, dA):
        self.gradients["shift"][...] = dA.sum(axis=0)
        return dA


# --- shapes, views and setters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("f8"), ">f4"])
def test_parameters_are_one_vector_and_the_layers_arrays_are_views_of_it(dtype):
    net = fj.Sequential(
        [fj.Dense(5, 7), fj.Activation("tanh"), Shift(), fj.Dense(7, 3, bias=False)], seed=0, dtype=dtype
    )
    first, _, shift, last = net.layers
    assert net.parameters.shape == net.gradients.shape == (5 * 7 + 7 + 7 + 7 * 3,)
    assert net.parameters.dtype == net.gradients.dtype == np.dtype(dtype).newbyteorder("=")
    assert first.weight.shape == first.weight_gradient.shape == (5, 7)
    assert first.bias.shape == first.bias_gradient.shape == (7,)
    assert last.bias is None
    assert last.bias_gradient is None
    net.parameters[:] = np.arange(net.parameters.size)
    np.testing.assert_array_equal(first.weight, np.arange(35).reshape(5, 7))
    np.testing.assert_array_equal(first.bias, np.arange(35, 42))
    np.testing.assert_array_equal(shift.parameters["shift"], np.arange(42, 49))
    np.testing.assert_array_equal(last.weight, np.arange(49, 70).reshape(7, 3))
    last.weight[0, 0] = -1
    assert net.parameters[49] == -1
    net.gradients[:] = np.arange(70)
    np.testing.assert_array_equal(last.weight_gradient, np.arange(49, 70).reshape(7, 3))


def test_assigning_a_weight_writes_into_the_network():
    net = two_layers()
    weight = net.layers[0].weight
    net.layers[0].weight = np.arange(35).reshape(5, 7)
    net.layers[0].bias = [1] * 7
    assert net.layers[0].weight.base is weight.base
    np.testing.assert_array_equal(net.parameters[:42], [*range(35), *[1] * 7])
    for name, value, error, message in (
        ("weight", np.zeros((7, 5)), ValueError, r"weight has shape \(7, 5\), expected \(5, 7\)"),
        ("bias", np.zeros(6), ValueError, r"bias has shape \(6,\), expected \(7,\)"),
        ("weight", np.zeros((5, 7), complex), TypeError, "weight has dtype complex128"),
        ("bias", ["a"] * 7, TypeError, "bias has dtype <U1"),
    ):
        before = net.parameters.copy()
        with pytest.raises(error, match=message):
            setattr(net.layers[0], name, value)
        np.testing.assert_array_equal(net.parameters, before)
    bare = fj.Sequential([fj.Dense(2, 2, bias=False)])
    with pytest.raises(ValueError, match="no bias"):
        bare.layers[0].bias = [0, 0]


def test_summary_is_a_table_of_layers_shapes_and_parameters(capsys):
    net = fj.Sequential([fj.Dense(64, 128, activation="relu"), fj.Dropout(0.5), fj.Dense(128, 10)], seed=0)
    net.summary()
    text = capsys.readouterr().out
    assert "9,610 parameters, float32, 37.5 KiB" in text
    for words in ("Dense, relu", "(N, 128)", "8,320", "Dropout, 0.5", "(N, 10)", "1,290"):
        assert words in text
    assert repr(net) == "Sequential([Dense, relu; Dropout, 0.5; Dense], dtype=float32)"


# --- forward, backward, predict -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", NAMES)
def test_a_row_of_predict_has_the_bits_it_has_alone(activation, dtype):
    for widths in ((1, 1, 1), (3, 5, 2), (7, 17, 1), (13, 33, 19), (16, 16, 16)):
        layers = [fj.Dense(widths[0], widths[1], activation=activation), fj.Dense(widths[1], widths[2])]
        layers += [fj.Activation(activation), fj.Softmax()]
        net = fj.Sequential(layers, seed=1, dtype=dtype)
        X = 3 * random(301, widths[0])
        whole = net.predict(X)
        assert whole.dtype == dtype
        assert whole.shape == (301, widths[2])
        assert not np.signbit(whole).any()
        for i in (0, 1, 2, 11, 12, 13, 200, 255, 256, 257, 300):
            np.testing.assert_array_equal(net.predict(X[i : i + 1])[0], whole[i])
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(net.predict(X, threads=threads), whole)
        np.testing.assert_array_equal(net.forward(X, training=False), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_of_ten_thousand_rows_has_the_bits_it_has_alone(dtype):
    """Reliability test 18."""
    layers = [fj.Dense(13, 33, activation="gelu"), fj.Dense(33, 7, activation="tanh"), fj.Dense(7, 3)]
    net = fj.Sequential(layers, seed=1, dtype=dtype)
    X = random(10_000, 13)
    alone = np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(net.predict(X), alone)


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1000])
def test_predict_gives_a_row_for_a_row(rows):
    net = two_layers()
    assert net.predict(np.zeros((rows, 5))).shape == (rows, 3)
    net.path = "unfused"
    assert net.predict(np.zeros((rows, 5))).shape == (rows, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_input_of_any_type_and_stride_gives_the_bits_of_its_plain_copy(dtype):
    net = two_layers(dtype)
    plain = np.round(random(40, 5) * 8).astype(dtype)
    expected = net.predict(plain)
    wide = np.zeros((80, 15), dtype)
    wide[::2, ::3] = plain
    misaligned = np.zeros(plain.nbytes + 1, np.uint8)[1:].view(dtype).reshape(plain.shape)
    misaligned[...] = plain
    odd = np.zeros(40, np.dtype([("pad", "u1"), ("row", dtype, 5)]))
    odd["row"] = plain
    variants = [
        plain.astype("f8"),
        plain.astype("f4"),
        plain.astype("i2"),
        plain.astype(np.float16),
        plain.astype(">f8"),
        plain.astype(np.longdouble),
        np.asfortranarray(plain),
        plain[::-1][::-1],
        wide[::2, ::3],
        plain[:, ::-1].copy()[:, ::-1],
        misaligned,
        odd["row"],
        plain.tolist(),
    ]
    for k, variant in enumerate(variants):
        np.testing.assert_array_equal(net.predict(variant), expected, err_msg=str(k))
        np.testing.assert_array_equal(net.forward(variant), expected, err_msg=str(k))
        dX = net.backward(np.ones((40, 3)))
        if k == 0:
            expected_dX, expected_gradients = dX, net.gradients.copy()
        np.testing.assert_array_equal(dX, expected_dX)
        np.testing.assert_array_equal(net.gradients, expected_gradients)
    one = np.broadcast_to(plain[0], (40, 5))
    np.testing.assert_array_equal(net.predict(one), np.repeat(expected[:1], 40, axis=0))
    np.testing.assert_array_equal(net.predict(plain > 0), net.predict((plain > 0).astype(dtype)))


def test_predict_does_not_disturb_a_forward_that_waits_for_backward():
    net, X = two_layers(), random(4, 5)
    net.forward(X)
    expected = net.backward(np.ones((4, 3)))
    net.forward(X)
    net.predict(random(9, 5, seed=1))
    np.testing.assert_array_equal(net.backward(np.ones((4, 3))), expected)


class Scaled(fj.Layer):
    """A = X ⊙ s, which keeps X in memory of its own that it writes over."""

    def __init__(self, nested=False):
        super().__init__()
        self.nested = nested
        self.buffers = {"X": [np.zeros(0)]} if nested else np.zeros(0)

    def parameter_shapes(self):
        return {"scale": (self.inputs,)}

    def initialize(self, rng):
        self.parameters["scale"][...] = rng.uniform(0.5, 1.5, self.inputs)

    def forward(self, X, training):
        place = self.buffers["X"][0] if self.nested else self.buffers
        if place.shape != X.shape:
            place = X.copy()
        place[...] = X
        if self.nested:
            self.buffers["X"][0] = place
        else:
            self.buffers = place
        return X * self.parameters["scale"]

    def backward(self, dA):
        X = self.buffers["X"][0] if self.nested else self.buffers
        self.gradients["scale"][...] = (dA * X).sum(axis=0)
        return dA * self.parameters["scale"]


@functools.cache
def elementwise(f, slope):
    """Compiled once; copies have it, too."""
    return fj.Elementwise(f, slope)


def arctan_slope(z):
    return 1 / (1 + z * z)


ROUTES = {
    "whole": (True, "fused"),
    "by layers": (False, "fused"),
    "unfused": (True, "unfused"),
    "reference": (True, "reference"),
}
EXTRAS = {
    "none": lambda: [],
    "Elementwise": lambda: [copy.deepcopy(elementwise(math.sin, math.cos))],
    "user": lambda: [Scaled(), fj.Dropout(0.3), fj.Activation("relu")],
    "nested user": lambda: [Scaled(True), fj.Softmax(), fj.Dropout(0.3)],
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("extra", "rows"), [(e, r) for e in EXTRAS for r in (2, 6, 9) if e != "Elementwise" or r == 6])
def test_what_comes_between_forward_and_backward_does_not_change_the_gradient(route, extra, rows):
    def made():
        layers = [fj.Dense(5, 7, activation="relu"), fj.Activation("silu"), *EXTRAS[extra](), fj.Dense(7, 3)]
        net = fj.Sequential(layers, seed=0)
        whole, net.path = ROUTES[route]
        use_plan(whole, net)
        return net

    def between(net, kind):
        other = random(rows, 5, seed=9)
        if kind == "predict":
            net.predict(other)
            net.predict(other[:1])
        elif kind == "evaluate":
            net.evaluate(other, np.arange(rows) % 3, "softmax_cross_entropy")
        elif kind == "backward and predict":
            net.backward(np.ones((6, 3)))
            net.predict(other)
        else:
            net.path = kind
            net.predict(other)

    X, d = random(6, 5), random(6, 3, seed=1)
    plain = made()
    output = plain.forward(X)
    expected = plain.backward(d), plain.gradients.copy()
    for kind in ("predict", "evaluate", "backward and predict", "fused", "unfused", "reference"):
        net = made()
        np.testing.assert_array_equal(net.forward(X), output)
        between(net, kind)
        path = net.path
        dX = net.backward(d)
        np.testing.assert_array_equal(dX, expected[0], err_msg=kind)
        np.testing.assert_array_equal(net.gradients, expected[1], err_msg=kind)
        assert net.path == path
        # and another forward is none of the first
        net.path = plain.path
        net._training_step = 0
        np.testing.assert_array_equal(net.forward(X), output)


def test_a_forward_that_failed_leaves_nothing_for_backward():
    class Breaks(Shift):
        broken = False

        def forward(self, X, training):
            if self.broken:
                raise KeyError("mine")
            return super().forward(X, training)

    net = fj.Sequential([fj.Dense(5, 3), Breaks()], seed=0)
    net.forward(X)
    net.layers[1].broken = True
    with pytest.raises(KeyError):
        net.forward(X[:2])
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        net.backward(np.ones((6, 3)))


FIRST_LAYERS = {
    "Activation": lambda: fj.Activation("tanh"),
    "relu": lambda: fj.Activation("relu"),
    "Softmax": fj.Softmax,
    "Dropout": lambda: fj.Dropout(0.4),
    "Dense": lambda: fj.Dense(5, 5, activation="gelu"),
    "user": Scaled,
}


@pytest.mark.parametrize("first", FIRST_LAYERS)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_input_of_any_strides_gives_the_bits_of_its_plain_copy_whatever_layer_is_first(first, whole, dtype):
    plain, d = random(6, 5).astype(dtype), random(6, 2, seed=1)
    wide = np.full((12, 15), np.nan, dtype)
    wide[::2, 1::3] = plain
    forms = {
        "Fortran": np.asfortranarray(plain),
        "wide": wide[::2, 1::3],
        "reversed": plain[::-1, ::-1].copy()[::-1, ::-1],
        "column": np.broadcast_to(plain[:, :1], plain.shape),
        "row": np.broadcast_to(plain[:1], plain.shape),
    }
    for name, X in forms.items():
        results = []
        for array in (X, X.copy(order="C")):
            net = fj.Sequential([FIRST_LAYERS[first](), fj.Dense(5, 2)], seed=0, inputs=5, dtype=dtype)
            use_plan(whole, net)
            results.append([net.forward(array), net.backward(d), net.gradients, net.predict(array)])
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("route", ROUTES)
def test_an_input_that_was_resized_is_refused_or_right(route):
    d = np.ones((40, 3))
    for change in ("shape", "shrink", "grow", "dtype"):
        net = two_layers("float64")
        whole, net.path = ROUTES[route]
        use_plan(whole, net)
        owner = random(40, 5)
        net.forward(owner.copy())
        expected = net.backward(d)
        net.forward(owner)
        if change == "shape":
            owner.shape = (200, 1)
        elif change == "dtype":
            owner.dtype = np.float32
        else:
            owner.resize((1, 1) if change == "shrink" else (10**6, 5), refcheck=False)
        if change in ("shape", "dtype"):
            np.testing.assert_array_equal(net.backward(d), expected)
        else:
            with pytest.raises(ValueError, match=r"X, of shape \(40, 5\), was resized before backward"):
                net.backward(d)
        net.forward(random(40, 5))
        net.backward(d)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_users_layer_that_writes_into_what_it_was_given_is_stopped_and_named(where, place):
    class InPlace(fj.Layer):
        def forward(self, X, training):
            if where == "forward":
                np.multiply(X, 2, out=X)
            return X

        def backward(self, dA):
            if where == "backward":
                dA *= 2
            return dA

    layers = [fj.Dense(5, 5, activation="relu"), fj.Activation("tanh")]
    layers.insert(place, InPlace())
    net = fj.Sequential(layers, seed=0, dtype="float64")
    X, d = random(6, 5), random(6, 5, seed=1)
    before = X.copy(), d.copy()
    if where == "backward":
        net.forward(X)
    with pytest.raises(ValueError, match=rf"layers\[{place}\] \(InPlace\) writes into the array .* that {where} was"):
        net.forward(X) if where == "forward" else net.backward(d)
    with pytest.raises(ValueError, match="writes into"):
        net.fit(X, d, loss="mean_squared_error")
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(d, before[1])


@pytest.mark.parametrize(
    ("forward", "backward", "message"),
    [
        (lambda X: X.tolist(), None, r"layers\[1\] \(Odd\) gave a list, expected an array of shape \(6, 4\)"),
        (lambda X: None, None, r"layers\[1\] \(Odd\) gave a NoneType"),
        (lambda X: X[:, :2], None, r"gave an array of shape \(6, 2\), expected \(6, 4\)"),
        (None, lambda d: d[:, :1], r"layers\[1\] \(Odd\) gave a gradient of shape \(6, 1\), expected .* \(6, 4\)"),
        (None, lambda d: None, r"layers\[1\] \(Odd\) gave a gradient of NoneType, expected an array of shape \(6, 4\)"),
    ],
)
def test_what_a_users_layer_gives_is_looked_at(forward, backward, message):
    class Odd(fj.Layer):
        def forward(self, X, training):
            return forward(X) if forward else X

        def backward(self, dA):
            return backward(dA) if backward else dA

    net = fj.Sequential([fj.Dense(5, 4), Odd(), fj.Dense(4, 3)], seed=0)
    if backward:
        net.forward(X)
    with pytest.raises((TypeError, ValueError), match=message):
        net.backward(np.ones((6, 3))) if backward else net.forward(X)


def test_backward_writes_gradients_over_and_can_be_repeated():
    net, X = two_layers("float64"), random(4, 5)
    net.gradients[:] = np.nan
    net.forward(X)
    dX = net.backward(np.ones((4, 3)))
    once = net.gradients.copy()
    assert np.isfinite(once).all()
    np.testing.assert_array_equal(net.backward(np.ones((4, 3))), dX)
    np.testing.assert_array_equal(net.gradients, once)


@pytest.mark.parametrize("path", ["fused", "unfused", "reference"])
def test_the_path_can_be_switched_and_gives_the_same(path):
    net, X, d = two_layers("float64"), random(6, 5), random(6, 3, seed=1)
    expected, expected_dX = net.forward(X), net.backward(d)
    gradients = net.gradients.copy()
    net.path = path
    assert net.path == path
    np.testing.assert_allclose(net.forward(X), expected, rtol=1e-12)
    np.testing.assert_allclose(net.backward(d), expected_dX, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(net.gradients, gradients, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)


def built_in(kind):
    return {
        "Activation": lambda: fj.Activation("silu"),
        "Softmax": fj.Softmax,
        "Dropout": lambda: fj.Dropout(0.3),
        "Elementwise": lambda: copy.deepcopy(elementwise(math.atan, arctan_slope)),
        "user": Shift,
    }[kind]()


@pytest.mark.parametrize("kind", ["Activation", "Softmax", "Dropout", "Elementwise", "user"])
@pytest.mark.parametrize("place", ["first", "between", "last", "only"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_layer_stands_anywhere(kind, place, dtype):
    dense = [fj.Dense(5, 4, activation="gelu"), fj.Dense(4, 5)]
    layers = {
        "first": lambda one: [one, *dense],
        "between": lambda one: [dense[0], one, dense[1]],
        "last": lambda one: [*dense, one],
        "only": lambda one: [one],
    }[place](built_in(kind))
    net = fj.Sequential(layers, inputs=5, seed=0, dtype=dtype)
    X, d = random(7, 5), random(7, 5, seed=1)
    results = {}
    for path in ("fused", "unfused", "reference"):
        net.path, net._training_step = path, 0
        results[path] = net.forward(X), net.backward(d), net.gradients.copy(), net.predict(X)
        assert net.predict(X[:0]).shape == (0, 5)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-13}
    for path in ("fused", "unfused"):
        for one, other in zip(results[path], results["reference"], strict=True):
            np.testing.assert_allclose(one, other, **tolerance)
    # by whole and by layers: the same bits
    net.path = "fused"
    for whole in (True, False):
        use_plan(whole, net)
        net._training_step = 0
        again = net.forward(X), net.backward(d), net.gradients.copy(), net.predict(X)
        for one, other in zip(again, results["fused"], strict=True):
            np.testing.assert_array_equal(one, other)
    if kind != "Dropout":
        assert fj.check_gradients(net, X, d, "mean_squared_error").passed


@pytest.mark.parametrize("widths", [(1, 1), (1, 9, 1), (9, 1, 9), (1, 1, 1, 1)])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_width_1_and_batch_1_and_no_bias(widths, batch, dtype):
    layers = [fj.Dense(i, o, activation="tanh", bias=False) for i, o in pairwise(widths)]
    net = fj.Sequential(layers, seed=0, dtype=dtype)
    A = X = random(batch, widths[0]).astype(dtype)
    for layer in net.layers:
        A = np.tanh(A @ layer.weight)
    np.testing.assert_allclose(net.predict(X), A, rtol=1e-5)
    assert fj.check_gradients(net, X, random(batch, widths[-1]), "mean_squared_error").passed
    net.fit(X, random(batch, widths[-1]), loss="mean_squared_error", epochs=2)


def test_dropout_drops_while_training_only_and_keeps_the_mean():
    net = fj.Sequential([fj.Dropout(0.25)], inputs=50, seed=0)
    X = np.ones((400, 50), np.float32)
    np.testing.assert_array_equal(net.predict(X), X)
    np.testing.assert_array_equal(net.forward(X, training=False), X)
    A = net.forward(X)
    assert set(np.unique(A)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((A == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(net.backward(X), A)
    assert not np.array_equal(net.forward(X), A)  # another step, another mask
    again = fj.Sequential([fj.Dropout(0.25)], inputs=50, seed=0)
    np.testing.assert_array_equal(again.forward(X), A)


# --- seeds and copies ---------------------------------------------------------------------------------------------


def test_a_seed_decides_parameters_to_the_bit_and_none_is_a_new_one():
    np.testing.assert_array_equal(two_layers(seed=3).parameters, two_layers(seed=3).parameters)
    assert not np.array_equal(two_layers(seed=3).parameters, two_layers(seed=4).parameters)
    a, b = two_layers(seed=None), two_layers(seed=None)
    assert a.seed != b.seed
    np.testing.assert_array_equal(two_layers(seed=a.seed).parameters, a.parameters)


def trained(make_layers, **options):
    net = fj.Sequential(make_layers(), inputs=5, seed=0, **options)
    rng = np.random.default_rng(1)
    net.fit(rng.normal(size=(60, 5)), rng.integers(0, 3, 60), loss="softmax_cross_entropy", epochs=2)
    return net


def halve(z):
    return 0.5 * z


def half(z):
    return 0.5


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("path", ["fused", "unfused"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_copy_predicts_the_same_bits_and_is_independent(copied, path, dtype):
    def layers():
        return [
            fj.Dense(5, 7, activation=fj.leaky_relu(0.2)),
            fj.Dropout(0.1),
            fj.Activation("silu"),
            Shift(),
            copy.deepcopy(elementwise(halve, half)),
            fj.Dense(7, 3),
        ]

    net = trained(layers, dtype=dtype)
    net.path = path
    X = random(20, 5)
    expected, parameters = net.predict(X), net.parameters.copy()
    twin = copied(net)
    assert (twin.path, twin.seed, twin.epochs_trained, twin.dtype) == (path, 0, 2, net.dtype)
    np.testing.assert_array_equal(twin.parameters, parameters)
    np.testing.assert_array_equal(twin.predict(X), expected)
    # both stay whole: their layers look into their own vectors
    for one in (net, twin):
        for layer in one.layers:
            for name, array in layer.parameters.items():
                assert np.shares_memory(array, one.parameters), (layer, name)
                assert np.shares_memory(layer.gradients[name], one.gradients), (layer, name)
    twin.parameters += 1
    twin.layers[0].weight[...] = 0
    np.testing.assert_array_equal(net.parameters, parameters)
    np.testing.assert_array_equal(net.predict(X), expected)
    # and go on with the same bits
    twin = copied(net)
    y = np.arange(20) % 3
    for one in (net, twin):
        one.fit(X, y, loss="softmax_cross_entropy", optimizer=fj.SGD(0.1), epochs=2)
    np.testing.assert_array_equal(twin.parameters, net.parameters)


def test_history_and_optimizers_and_losses_can_be_pickled():
    net = two_layers()
    optimizer = fj.Adam(0.01, clip_norm=1.0)
    history = net.fit(random(9, 5), np.arange(9) % 3, loss="softmax_cross_entropy", optimizer=optimizer, epochs=2)
    again = pickle.loads(pickle.dumps(history))
    assert isinstance(again, fj.History)
    assert dict(again) == dict(history)
    assert again.interrupted is False
    other = pickle.loads(pickle.dumps(optimizer))
    assert repr(other) == repr(optimizer)
    assert repr(pickle.loads(pickle.dumps(fj.BinaryCrossEntropy(from_logits=False)))) == (
        "BinaryCrossEntropy(from_logits=False)"
    )


# --- refusals -----------------------------------------------------------------------------------------------------

X, Y = random(6, 5), np.arange(6) % 3

REFUSED = [
    (lambda net: net.predict(random(6, 4)), ValueError, ["X has shape (6, 4)", "(any, 5)"]),
    (lambda net: net.predict(random(5)), ValueError, ["X has shape (5,)", "(any, 5)"]),
    (lambda net: net.predict("text"), TypeError, ["X has dtype <U4"]),
    (lambda net: net.predict(X.astype(complex)), TypeError, ["complex128", "real numbers"]),
    (lambda net: net.predict(X.astype(object)), TypeError, ["object"]),
    (lambda net: net.predict([[1, 2], [3]]), ValueError, ["X can't be made an array"]),
    (lambda net: net.predict(np.ma.masked_array(X)), TypeError, ["masked array", "filled"]),
    (lambda net: net.predict(X, threads=0), ValueError, ["threads is 0", "at least 1"]),
    (lambda net: net.predict(X, threads=1.5), TypeError, ["threads is 1.5", "whole number"]),
    (lambda net: net.forward(X[:0]), ValueError, ["X has shape (0, 5)", "at least one row"]),
    (lambda net: net.backward(np.ones((5, 3))), ValueError, ["d has shape (5, 3)", "(6, 3)"]),
    (lambda net: net.backward(np.ones((6, 3), complex)), TypeError, ["d has dtype complex128"]),
    (lambda net: setattr(net, "path", "fusd"), ValueError, ["'fusd'", "did you mean 'fused'", "unfused, reference"]),
    (lambda net: net.evaluate(X, Y, "softmax"), ValueError, ["'softmax'", "softmax_cross_entropy"]),
    (lambda net: net.evaluate(X, Y[:5], "softmax_cross_entropy"), ValueError, ["y has shape (5,)", "(6,)"]),
    (lambda net: net.evaluate(X, Y + 1, "softmax_cross_entropy"), ValueError, ["class index 3", "0 to 2"]),
    (lambda net: net.evaluate(X, Y - 1, "softmax_cross_entropy"), ValueError, ["class index -1", "0 to 2"]),
    (lambda net: net.evaluate(X, Y * 1.0, "softmax_cross_entropy"), TypeError, ["float64", "integer class indices"]),
    (lambda net: net.evaluate(X[:0], Y[:0], "softmax_cross_entropy"), ValueError, ["X has shape (0, 5)"]),
    (lambda net: net.evaluate(X, X, "mean_squared_error"), ValueError, ["y has shape (6, 5)", "(6, 3)"]),
    (lambda net: net.evaluate(X, Y, "categorical_cross_entropy"), ValueError, ["takes probabilities", "Softmax"]),
    (lambda net: net.evaluate(X, Y, 3), TypeError, ["loss is 3", "expected a name"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", epochs=0), ValueError, ["epochs is 0"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", epochs=True), TypeError, ["epochs is True"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", batch_size=0), ValueError, ["batch_size is 0"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", batch_size=2.0), TypeError, ["batch_size is 2.0"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", threads=-1), ValueError, ["threads is -1"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", progress="yes"), ValueError, ["progress is 'yes'"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", optimizer="adm"), ValueError, ["'adm'", "'adam'", "sgd"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", optimizer=3), TypeError, ["optimizer is 3"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", callbacks=[3]), TypeError, ["callbacks has 3"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", callbacks=3), TypeError, ["callbacks"]),
    (lambda net: net.fit(X[:0], Y[:0], loss="softmax_cross_entropy"), ValueError, ["X has shape (0, 5)"]),
    (lambda net: net.fit(X, Y[:4], loss="softmax_cross_entropy"), ValueError, ["y has shape (4,)", "(6,)"]),
    (lambda net: net.fit(X, Y + 9, loss="softmax_cross_entropy"), ValueError, ["class index 11", "0 to 2"]),
    (lambda net: net.fit(X * np.nan, Y, loss="softmax_cross_entropy"), ValueError, ["X has shape (6, 5)", "NaN"]),
    (lambda net: net.fit(X, X[:, :3] * np.inf, loss="mean_squared_error"), ValueError, ["y has shape (6, 3)", "inf"]),
    (lambda net: net.fit(X, X[:, :3], loss="binary_cross_entropy"), ValueError, ["y has shape (6, 3)", "[0, 1]"]),
    (lambda net: net.fit(X, -(X[:, :3] ** 2), loss="softmax_cross_entropy"), ValueError, ["y has shape", "at least 0"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", sample_weight=[1] * 5), ValueError, ["(5,)", "(6,)"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", sample_weight=[-1] * 6), ValueError, ["negative weight"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", sample_weight=[0] * 6), ValueError, ["are zero"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", sample_weight=[np.nan] * 6), ValueError, ["NaN"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", class_weight={3: 1.0}), ValueError, ["class 3", "0 to 2"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", class_weight={0: -1.0}), ValueError, ["class_weight[0]"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", class_weight={"a": 1.0}), TypeError, ["'a'"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", class_weight="even"), ValueError, ["'even'", "balanced"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", class_weight=[1, 1, 1]), TypeError, ["class_weight"]),
    (lambda net: net.fit(X, X[:, :3], loss="mean_squared_error", class_weight={0: 1}), ValueError, ["class indices"]),
    (lambda net: net.fit(X, Y, loss="softmax_cross_entropy", validation_data=X), TypeError, ["validation_data"]),
    (
        lambda net: net.fit(X, Y, loss="softmax_cross_entropy", validation_data=(X[:, :4], Y)),
        ValueError,
        ["validation X has shape (6, 4)", "(any, 5)"],
    ),
    (
        lambda net: net.fit(X, Y, loss="softmax_cross_entropy", validation_data=(X, Y + 7)),
        ValueError,
        ["validation y", "class index"],
    ),
    (
        lambda net: net.fit(X, Y, loss="softmax_cross_entropy", callbacks=[fj.EarlyStopping()]),
        ValueError,
        ["val_loss", "validation_data"],
    ),
    (lambda net: fj.compare(net, X, Y[:5], "softmax_cross_entropy"), ValueError, ["(5,)", "(6,)"]),
    (lambda net: fj.compare(net, X, Y, "softmax_cross_entropy", repeats=0), ValueError, ["repeats is 0"]),
    (lambda net: fj.check_gradients(net, X[:, :2], Y, "softmax_cross_entropy"), ValueError, ["(6, 2)", "(any, 5)"]),
    (lambda net: fj.check_gradients(net, X, Y, "softmax_cross_entropy", entries=0), ValueError, ["entries is 0"]),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by layers"])
def test_a_refusal_names_what_was_seen_and_expected_and_changes_nothing(call, error, words, whole):
    net = two_layers()
    use_plan(whole, net)
    net.forward(X)
    net.backward(np.ones((6, 3)))
    before = net.parameters.copy(), net.gradients.copy(), net.predict(X)
    state = net.path, net._training_step, net.epochs_trained
    with pytest.raises(error) as caught:
        call(net)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    after = net.parameters, net.gradients, net.predict(X)
    if "val_loss" not in words:  # known only after an epoch
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)
        assert (net.path, net._training_step, net.epochs_trained) == state
    net.fit(X, Y, loss="softmax_cross_entropy")  # nothing is left locked


def test_backward_needs_a_forward():
    with pytest.raises(RuntimeError, match=r"backward needs a forward\(X\) before it"):
        two_layers().backward(np.ones((6, 3)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fj.Sequential([]), ValueError, "layers is empty"),
        (lambda: fj.Sequential([3]), TypeError, r"layers\[0\] is 3, expected a layer"),
        (lambda: fj.Sequential([fj.Dense]), TypeError, r"layers\[0\]"),
        (
            lambda: fj.Sequential([fj.Dense(2, 3), fj.Dense(4, 1)]),
            ValueError,
            r"layers\[1\].*takes 4 inputs, but gets 3",
        ),
        (lambda: fj.Sequential([fj.Dense(2, 3)], inputs=5), ValueError, r"takes 2 inputs, but gets 5"),
        (lambda: fj.Sequential([fj.Softmax()]), ValueError, "inputs=64"),
        (lambda: fj.Sequential([fj.Softmax()], inputs=0), ValueError, "inputs is 0"),
        (lambda: fj.Sequential([fj.Dense(2, 3)], dtype="float16"), ValueError, "'float32' or 'float64', not float16"),
        (lambda: fj.Sequential([fj.Dense(2, 3)], dtype="nothing"), ValueError, "'nothing'"),
        (lambda: fj.Sequential([fj.Dense(2, 3)], seed=-1), ValueError, "seed is -1"),
        (lambda: fj.Sequential([fj.Dense(2, 3)], seed=1.5), TypeError, "seed is 1.5"),
    ],
)
def test_a_network_that_can_not_be_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_layer_belongs_to_one_place_of_one_network():
    layer = fj.Dense(3, 3)
    with pytest.raises(ValueError, match=r"layers\[1\] is the same object as an earlier layer"):
        fj.Sequential([layer, layer])
    fj.Sequential([layer])
    with pytest.raises(ValueError, match=r"layers\[0\] already belongs to a network"):
        fj.Sequential([layer])


def test_a_network_that_could_not_be_made_leaves_its_layers_free():
    weight = np.arange(12.0).reshape(3, 4)
    layers = [fj.Dense(3, 4, weight_init=weight), fj.Dense(4, 2, weight_init=lambda rng, shape: np.ones(5))]
    with pytest.raises(ValueError, match="the result of weight_init"):
        fj.Sequential(layers)
    with pytest.raises(RuntimeError, match="once it is part of a network"):
        _ = layers[0].weight
    with pytest.raises(ValueError, match="takes 3 inputs"):
        fj.Sequential([fj.Dense(2, 2), layers[0]])

    class Broken(fj.Layer):
        def parameter_shapes(self):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        fj.Sequential([layers[0], Broken()])
    net = fj.Sequential([layers[0], fj.Dense(4, 2)], seed=0)
    np.testing.assert_array_equal(net.layers[0].weight, weight)  # what it was given is not forgotten


def test_layers_that_are_no_list_are_refused():
    with pytest.raises(TypeError, match=r"layers is .*Dense.*, expected a list of layers"):
        fj.Sequential(fj.Dense(2, 3))
    assert len(fj.Sequential(fj.Dense(3, 3) for _ in range(2)).layers) == 2


def test_a_function_that_drew_the_first_weights_is_not_kept():
    layers = [
        fj.Dense(3, 2, weight_init=lambda rng, shape: np.full(shape, 2.0), bias_init=lambda rng, shape: np.ones(2))
    ]
    net = fj.Sequential(layers, seed=0)
    twin = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(twin.parameters, [2.0] * 6 + [1.0] * 2)
    np.testing.assert_array_equal(copy.deepcopy(net).parameters, twin.parameters)


def test_a_users_layer_of_another_shape_than_it_says_is_named():
    class Wrong(fj.Layer):
        def forward(self, X, training):
            return X[:, :-1]

    net = fj.Sequential([fj.Dense(3, 4), Wrong()])
    with pytest.raises(ValueError, match=re.escape("layers[1] (Wrong) gave an array of shape (2, 3), expected (2, 4)")):
        net.predict(np.zeros((2, 3)))


def test_evaluate_is_the_loss_and_the_share_of_right_answers():
    net = two_layers("float64")
    X, y, w = random(50, 5), np.arange(50) % 3, np.random.default_rng(1).random(50)
    logits = net.predict(X)
    result = net.evaluate(X, y, "softmax_cross_entropy", sample_weight=w)
    assert result["loss"] == pytest.approx(fj.SoftmaxCrossEntropy()(logits, y, w)[0], rel=1e-12)
    assert result["accuracy"] == pytest.approx(np.average(logits.argmax(1) == y, weights=w), rel=1e-12)
    assert net.evaluate(X, np.eye(3)[y], "softmax_cross_entropy", sample_weight=w) == pytest.approx(result, rel=1e-12)
    assert set(net.evaluate(X, logits, fj.MeanSquaredError())) == {"loss"}
    bits = (random(50, 3, seed=3) > 0) * 1.0
    expected = np.mean((logits > 0) == (bits > 0.5))
    assert net.evaluate(X, bits, "binary_cross_entropy")["accuracy"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("activation", [fj.leaky_relu(1e-46), fj.leaky_relu(1e-30), fj.elu(1e-39), fj.elu(1e-46)])
def test_a_unit_whose_output_is_too_small_for_a_number_is_still_below_0(activation):
    def layers():
        return [fj.Dense(1, 1, activation=activation, weight_init=1.0), fj.Dense(1, 1, weight_init=1.0)]

    for path in ("fused", "unfused"):
        net = fj.Sequential(layers(), seed=0)
        net.path = path
        net.forward([[-1e-9]])
        assert abs(net.backward([[1.0]]).item() - activation.parameter) < 2e-38, path
    net = fj.Sequential(layers(), seed=0)
    net.fit([[-2.0]], [1.0], loss="mean_squared_error", optimizer=fj.SGD(0.1))
    assert net.layers[0].weight.item() == 1.0  # its gradient is as small


def test_rows_of_any_strides_are_not_copied_for_training():
    X = np.asfortranarray(np.random.default_rng(0).normal(size=(50_000, 20)).astype("f4"))
    y = np.zeros(len(X), int)
    nets = [fj.Sequential([fj.Activation("tanh"), fj.Dense(20, 2)], seed=0) for _ in range(2)]
    options = {"loss": "softmax_cross_entropy", "progress": False}
    nets[0].fit(np.ascontiguousarray(X), y, **options)
    tracemalloc.start()
    try:
        nets[1].fit(X, y, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize(("path", "wanted"), [("fused", 0.0), ("unfused", 1e-310), ("reference", 1e-310)])
def test_numbers_below_the_normal_ones_count_as_0_in_whole_networks_alone(path, wanted):
    net = fj.Sequential([fj.Dense(1, 1, weight_init=np.ones((1, 1)))], dtype="float64")
    net.path = path
    assert net.predict([[1e-310]]) == wanted
    assert net.forward([[1e-310]]) == wanted
