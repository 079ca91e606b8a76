"""``Sequential.predictor``: the bits of ``predict``, for all that a network can be, and clear errors."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastjac as fj


def network(dtype="float32", first=None, last=None):
    layers = [fj.Dense(5, 9, activation="tanh"), fj.Dropout(0.3), fj.Dense(9, 3, activation=last)]
    return fj.Sequential(([first] if first else []) + layers, inputs=5, seed=1, dtype=dtype)


def rows(count, dtype="float32"):
    return np.random.default_rng(count).normal(size=(count, 5)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 600])
@pytest.mark.parametrize("first", [lambda: None, fj.Softmax, lambda: fj.Activation("relu")])
def test_a_predictor_has_the_bits_of_predict(dtype, count, first):
    net = network(dtype, first())
    X = rows(count, dtype)
    predictor = net.predictor(count)
    for _ in range(2):
        np.testing.assert_array_equal(predictor(X), net.predict(X, threads=1))
        X = X[::-1].copy()
    assert predictor.shape == (count, 5)
    assert predictor(X).dtype == net.dtype


def test_one_row_is_a_vector():
    net = network()
    predictor, X = net.predictor(), rows(4)
    assert predictor.shape == (5,)
    for x in X:
        found = predictor(x)
        assert found.shape == (3,)
        np.testing.assert_array_equal(found, net.predict(x[None])[0])


def test_a_dead_unit_gives_plus_zero():
    net = network(last="relu")
    net.layers[-1].bias[:] = -99
    assert not np.signbit(net.predictor()(np.zeros(5, "f4"))).any()
    net.path = "unfused"
    assert not np.signbit(net.predictor()(np.zeros(5, "f4"))).any()


def test_results_are_arrays_of_their_own_and_what_is_given_stays():
    net = network()
    predictor, X = net.predictor(), rows(3)
    before = X.copy()
    found = [predictor(x) for x in X]
    np.testing.assert_array_equal(np.stack(found), net.predict(X))
    np.testing.assert_array_equal(X, before)
    found[0][:] = 7
    np.testing.assert_array_equal(predictor(X[1]), found[1])


@pytest.mark.parametrize("path", ["unfused", "reference"])
def test_another_path_is_followed_at_once(path):
    net = network()
    predictor, X = net.predictor(3), rows(3)
    fused = predictor(X)
    net.path = path
    np.testing.assert_array_equal(predictor(X), net.predict(X))
    np.testing.assert_allclose(predictor(X), fused, atol=1e-6)
    net.path = "fused"
    np.testing.assert_array_equal(predictor(X), fused)


class Twice(fj.Layer):
    def build(self, inputs):
        self.inputs = self.outputs = inputs

    def forward(self, X, training=True):
        return 2 * X

    def backward(self, D):
        return 2 * D


def test_a_network_with_a_users_layer():
    net = fj.Sequential([fj.Dense(5, 4), Twice()], seed=0)
    X = rows(2)
    np.testing.assert_array_equal(net.predictor(2)(X), net.predict(X))


def test_it_follows_training_and_new_parameters():
    net, X = network(), rows(40)
    predictor = net.predictor(40)
    for _ in range(3):
        net.fit(X, X[:, :3], loss="mean_squared_error", epochs=1, progress=False)
        np.testing.assert_array_equal(predictor(X), net.predict(X))
    net.parameters = np.zeros_like(net.parameters)
    assert (predictor(X) == 0).all()


def test_a_copy_of_the_network_is_another():
    net, X = network(), rows(1)
    predictor, other = net.predictor(1), copy.deepcopy(net)
    before = predictor(X)
    other.parameters = np.zeros_like(net.parameters)
    np.testing.assert_array_equal(predictor(X), before)
    assert (other.predictor(1)(X) == 0).all()


@pytest.mark.parametrize(
    "given", [[0.1, 0.2, 0.3, 0.4, 0.5], range(5), np.arange(5), np.arange(5.0), np.arange(10.0)[::2]]
)
def test_other_kinds_of_numbers_are_converted(given):
    net = network()
    wanted = net.predict(np.asarray(given, "f4")[None])[0]
    np.testing.assert_array_equal(net.predictor()(given), wanted)


def test_what_does_not_fit_is_refused_and_nothing_is_changed():
    net = network()
    predictor, x = net.predictor(), rows(1)[0]
    before = predictor(x)
    for wrong, message in (
        (np.zeros(4, "f4"), r"X has shape \(4,\), expected \(5,\)"),
        (np.zeros((1, 5), "f4"), r"X has shape \(1, 5\), expected \(5,\)"),
        (np.float32(1), r"X has shape \(\), expected \(5,\)"),
        (np.zeros(1, "f4"), r"X has shape \(1,\), expected \(5,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor(wrong)
    with pytest.raises(TypeError, match="X has dtype complex64"):
        predictor(np.zeros(5, "c8"))
    with pytest.raises(ValueError, match=r"X has shape \(5,\), expected \(2, 5\)"):
        net.predictor(2)(x)
    np.testing.assert_array_equal(predictor(x), before)


@pytest.mark.parametrize(("rows", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_rows_is_a_count(rows, error):
    with pytest.raises(error, match="rows"):
        network().predictor(rows)


def test_threads_may_share_one():
    net, X = network(), rows(8)
    predictor, wanted = net.predictor(), net.predict(X)

    def all_are_right(k):
        return all(np.array_equal(predictor(X[k]), wanted[k]) for _ in range(500))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(all_are_right, range(8)))
