"""`compare`: one network three ways, and that it changes nothing."""

import numpy as np
import pytest

import fastjac as fj

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(9, 5)), RNG.integers(0, 3, 9)


def network(dtype="float32", dropout=0.0):
    return fj.Sequential([fj.Dense(5, 8, activation="relu"), fj.Dropout(dropout), fj.Dense(8, 3)], seed=0, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("start", ["fused", "reference"])
def test_the_three_paths_agree_and_the_network_is_as_before(dtype, dropout, start):
    net = network(dtype, dropout)
    net.path, net._training_step = start, 5
    parameters = net.parameters.copy()
    result = fj.compare(net, X, Y, "softmax_cross_entropy")
    assert list(result.results) == ["fused", "unfused", "reference"]
    for path, one in result.results.items():
        assert one.path == path
        assert list(one.gradients) == ["W1", "b1", "W3", "b3", "X"]
        assert max(one.differences.values()) < (1e-10 if dtype == "float64" else 1e-4)
        assert one.seconds > 0
        assert one.bytes > 0
        assert one.gradients["W1"].shape == (5, 8)
    assert max(result.results["reference"].differences.values()) == 0
    np.testing.assert_array_equal(net.parameters, parameters)
    assert (net.path, net._training_step) == (start, 5)


def test_explicit_jacobians_take_more_memory():
    net = fj.Sequential([fj.Dense(60, 80, activation="tanh"), fj.Dense(80, 3)], seed=0)
    X = np.random.default_rng(0).normal(size=(3, 60))
    result = fj.compare(net, X, [0, 1, 2], "softmax_cross_entropy").results
    assert result["reference"].bytes > 2 * result["unfused"].bytes


def test_it_prints_a_line_for_every_path():
    text = str(fj.compare(network(), X, Y, "softmax_cross_entropy"))
    for words in ("fused", "unfused", "reference", "Loss", "dW1", "db3", "dX", "Time", "Bytes", "µs"):
        assert words in text


def test_a_deliberate_difference_shows():
    class Wrong(fj.Layer):
        """Right on the reference path only."""

        def forward(self, X, training):
            return X

        def backward(self, dA):
            return dA if self.path.__name__.endswith("reference") else 1.01 * dA

    net = fj.Sequential([fj.Dense(5, 4), Wrong(), fj.Dense(4, 3)], seed=0, dtype="float64")
    result = fj.compare(net, X, Y, "softmax_cross_entropy")
    for path in ("fused", "unfused"):
        gaps = result.results[path].differences
        assert gaps["W1"] == pytest.approx(0.01, rel=1e-6)
        assert gaps["W3"] < 1e-12


def test_the_path_and_the_step_come_back_after_an_error():
    class Breaks(fj.Layer):
        def forward(self, X, training):
            if self.path.__name__.endswith("unfused"):
                raise KeyError("mine")
            return X

        def backward(self, dA):
            return dA

    net = fj.Sequential([fj.Dense(5, 3), Breaks()], seed=0)
    with pytest.raises(KeyError, match="mine"):
        fj.compare(net, X, Y, "softmax_cross_entropy")
    assert (net.path, net._training_step) == ("fused", 0)


def test_memory_is_measured_within_someone_elses_measurement():
    import tracemalloc

    tracemalloc.start()
    try:
        fj.compare(network(), X, Y, "softmax_cross_entropy")
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_its_repr_is_a_line_and_no_arrays():
    result = fj.compare(network(), X, Y, "softmax_cross_entropy")
    assert len(repr(result)) < 300
    assert "array" not in repr(result) + repr(result.results["fused"])
