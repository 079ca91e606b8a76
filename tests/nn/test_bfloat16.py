"""Products of bfloat16: against NumPy with rounded operands, for every size of tile and tail."""

import json
import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest

import fastjac as fj
from fastjac import cli
from fastjac.estimators import MLPClassifier, MLPRegressor
from fastjac.nn import network as networks

needs_bfloat16 = pytest.mark.skipif(not fj.has_bfloat16(), reason="this processor has no AVX512_BF16")
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 97, 127, 129, 143, 145, 161, 255, 257]


def rounded(values):
    """To bfloat16, to nearest even, as float64; what is below the normal numbers is 0. Found by its bits."""
    values = np.ascontiguousarray(values, "f4")
    bits = values.view("u4").astype("u8")
    bits += 0x7FFF + (bits >> 16 & 1)
    result = (bits & 0xFFFF0000).astype("u4").view("f4").astype("f8")
    return np.where(np.abs(values) < np.finfo("f4").tiny, 0.0, result)


def product(a, b, beside=0.0):
    """Rounded operands multiplied in float64, and how far a chain of float32 sums may be from that.

    A chain of k multiply-adds, each rounded once, is within k units of 2^-24 of the sum of sizes (Higham 2002,
    3.1); the instruction rounds two sums a word.
    """
    a, b = rounded(a), rounded(b)
    return a @ b + beside, (a.shape[1] + 2) * 2.0**-23 * (np.abs(a) @ np.abs(b) + np.abs(beside)) + 1e-37


def dense(i, o, **options):
    return fj.Sequential([fj.Dense(i, o, **options)], seed=i * 1000 + o, products="bfloat16")


def within(found, wanted, bound):
    gap = np.abs(found - wanted)
    assert (gap <= bound).all(), f"{(gap / bound).max():.3g} times the bound"


def check(n, i, o, X=None, bias=True):
    rng = np.random.default_rng([n, i, o])
    X = rng.standard_normal((n, i), "f4") if X is None else X
    d = rng.standard_normal((n, o), "f4")
    net = dense(i, o, bias=bias)
    (layer,) = net.layers
    b = np.zeros(o)
    if bias:
        layer.bias = b = rng.standard_normal(o, "f4")
    output = net.forward(X)
    dX = net.backward(d)
    within(output, *product(X, layer.weight, b))
    within(dX, *product(d, layer.weight.T))
    within(layer.weight_gradient, *product(X.T, d))
    if bias:
        np.testing.assert_allclose(layer.bias_gradient, d.sum(0, dtype="f8"), atol=1e-6 * n)
    return net, output


@needs_bfloat16
class TestProducts:
    @pytest.mark.parametrize("o", SIZES)
    def test_are_those_of_rounded_operands_for_every_width(self, o):
        for k, n in enumerate(SIZES):
            check(n, SIZES[(k * 11 + o) % len(SIZES)], o, bias=bool(k % 2))

    @pytest.mark.parametrize(
        ("n", "i", "o"),
        [
            (256, 2049, 65),  # A in two parts, each of which the second-level cache holds
            (200, 40, 2700),
            (300, 90, 33),  # more rows than are taken at once
            (513, 33, 130),
            (5, 6000, 3),
            (130, 784, 512),
        ],
    )
    def test_are_those_of_rounded_operands_for_large_sizes(self, n, i, o):
        check(n, i, o)

    @pytest.mark.parametrize("view", ["columns first", "backwards", "every other column", "every third row"])
    def test_of_x_of_any_strides(self, view):
        rng = np.random.default_rng(0)
        X = {
            "columns first": lambda: np.asfortranarray(rng.standard_normal((77, 51), "f4")),
            "backwards": lambda: rng.standard_normal((77, 51), "f4")[::-1, ::-1],
            "every other column": lambda: rng.standard_normal((77, 102), "f4")[:, ::2],
            "every third row": lambda: rng.standard_normal((231, 51), "f4")[::3],
        }[view]()
        net, output = check(77, 51, 37, X)
        np.testing.assert_array_equal(output, net.forward(X.copy()))

    def test_of_a_row_alone_and_in_a_batch_have_the_same_bits(self):
        net = dense(150, 70)
        X = np.random.default_rng(0).standard_normal((600, 150), "f4")
        predicted = net.predict(X)
        np.testing.assert_array_equal(predicted, net.forward(X))
        for row in (0, 7, 255, 256, 599):
            np.testing.assert_array_equal(net.predict(X[row : row + 1])[0], predicted[row])

    def test_of_infinity_and_nan_are_what_they_are_in_float32(self):
        X = np.zeros((4, 5), "f4")
        X[0, 1], X[1, 2] = np.inf, np.nan
        net = dense(5, 3, weight_init=np.ones((5, 3)))
        np.testing.assert_array_equal(net.predict(X), X.sum(axis=1, keepdims=True).repeat(3, 1))

    def test_round_to_nearest_even(self):
        halfway = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, -1 - 2.0**-8], "f4")
        net = dense(1, 1, weight_init=np.ones((1, 1)))
        np.testing.assert_array_equal(net.predict(halfway[:, np.newaxis])[:, 0], [1.0, 1 + 2.0**-6, 1 + 2.0**-7, -1.0])


def deep(products="bfloat16", widths=(20, 130, 50, 4), seed=0):
    layers = []
    for i, o in pairwise(widths[:-1]):
        layers += [fj.Dense(i, o, activation="tanh"), fj.Dropout(0.1)]
    return fj.Sequential([*layers, fj.Dense(widths[-2], widths[-1])], seed=seed, products=products)


def data(n, inputs=20, classes=4):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, inputs), "f4"), rng.integers(0, classes, n)


@needs_bfloat16
class TestTraining:
    @pytest.mark.parametrize("batch_size", [32, 100, 256, 300, 700])  # within a chunk of rows, and over several
    @pytest.mark.parametrize("optimizer", ["adam", "sgd"])
    def test_has_the_bits_of_a_loop_by_hand(self, batch_size, optimizer):
        X, y = data(700)
        net, by_hand = deep(), deep()
        net.fit(X, y, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=batch_size, shuffle=False)
        chosen = {"adam": fj.Adam, "sgd": fj.SGD}[optimizer]()
        for k in range(0, len(X), batch_size):
            output = by_hand.forward(X[k : k + batch_size])
            _, d = fj.kernels.softmax_cross_entropy(output, y[k : k + batch_size])
            by_hand.backward(d)
            chosen.step(by_hand)
        np.testing.assert_array_equal(net.parameters, by_hand.parameters)

    @pytest.mark.usefixtures("threads_as_asked")
    @pytest.mark.parametrize(
        ("widths", "batch_size"),
        [((300, 400, 300, 4), 250), ((20, 130, 50, 4), 3000)],  # all share each product, and each takes rows alone
    )
    def test_has_the_same_bits_on_any_number_of_threads(self, widths, batch_size):
        X, y = data(3000, widths[0])
        found = []
        for threads in (1, 2, 3, 8):
            net = deep(widths=widths)
            net.fit(X, y, loss="softmax_cross_entropy", batch_size=batch_size, threads=threads)
            found.append(np.concatenate([net.parameters, net.predict(X, threads=threads).ravel()]))
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])

    def test_learns_what_float32_learns(self):
        X, y = fj.datasets.digits()
        accuracy = {}
        for products in (None, "bfloat16"):
            net = fj.Sequential([fj.Dense(64, 128, activation="relu"), fj.Dense(128, 10)], seed=0, products=products)
            net.fit(X[:1400], y[:1400], loss="softmax_cross_entropy", epochs=15)
            accuracy[products] = net.evaluate(X[1400:], y[1400:], "softmax_cross_entropy")["accuracy"]
        assert accuracy[None] > 0.85
        assert accuracy["bfloat16"] > accuracy[None] - 0.02

    def test_shows_what_is_lost_beside_the_exact_paths(self):
        X, y = data(6)
        result = fj.compare(deep(), X, y, loss="softmax_cross_entropy")
        fused, unfused = (max(result.results[path].differences.values()) for path in ("fused", "unfused"))
        assert 1e-4 < fused < 2e-2  # 8 bits are lost in each operand
        assert unfused < 1e-5

    @pytest.mark.slow
    def test_is_as_accurate_over_ten_seeds(self):
        X, y = fj.datasets.digits()
        accuracy = {None: [], "bfloat16": []}
        for seed in range(10):
            for products, found in accuracy.items():
                layers = [fj.Dense(64, 128, activation="relu"), fj.Dense(128, 64, activation="relu"), fj.Dense(64, 10)]
                net = fj.Sequential(layers, seed=seed, products=products)
                net.fit(X[:1400], y[:1400], loss="softmax_cross_entropy", epochs=25)
                found.append(net.evaluate(X[1400:], y[1400:], "softmax_cross_entropy")["accuracy"])
        exact = np.array(accuracy[None])
        assert abs(np.mean(accuracy["bfloat16"]) - exact.mean()) <= exact.std(ddof=1)


@needs_bfloat16
class TestWhatKnowsOfIt:
    def test_a_network_says_it(self, capsys):
        net = deep()
        assert net.products == "bfloat16"
        assert "products=bfloat16" in repr(net)
        net.summary()
        assert "bfloat16" in capsys.readouterr().out
        assert deep(None).products is None
        with pytest.raises(AttributeError):
            net.products = None

    @pytest.mark.parametrize("again", ["pickle", "clone", "file"])
    def test_copies_have_it(self, again, tmp_path):
        X, y = data(40)
        net = deep()
        net.fit(X, y, loss="softmax_cross_entropy")
        net.save(tmp_path / "net.safetensors")
        other = {
            "pickle": lambda: pickle.loads(pickle.dumps(net)),
            "clone": net.clone,
            "file": lambda: fj.load(tmp_path / "net.safetensors"),
        }[again]()
        assert other.products == "bfloat16"
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        assert net.clone("float64").products is None

    def test_a_checkpoint_goes_on_with_it_and_with_nothing_else(self, tmp_path):
        X, y = data(100)

        def train(products, epochs, *callbacks):
            net = deep(products)
            net.fit(X, y, loss="softmax_cross_entropy", epochs=epochs, callbacks=list(callbacks))
            return net.parameters

        train("bfloat16", 2, fj.Checkpoint(tmp_path / "run.safetensors"))
        with pytest.raises(ValueError, match=r"its products are 'bfloat16', expected None"):
            train(None, 4, fj.Checkpoint(tmp_path / "run.safetensors"))
        resumed = train("bfloat16", 4, fj.Checkpoint(tmp_path / "run.safetensors"))
        np.testing.assert_array_equal(resumed, train("bfloat16", 4))

    def test_estimators_take_it(self):
        X, y = fj.datasets.digits()
        X = X[:300].astype("f4")
        net = MLPClassifier((40,), max_iter=5, random_state=0, products="bfloat16")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.fit(X, y[:300])
            assert net.network_.products == "bfloat16"
            exact = MLPClassifier((40,), max_iter=5, random_state=0).fit(X, y[:300])
        assert not np.array_equal(net.coefs_[0], exact.coefs_[0])
        np.testing.assert_allclose(net.coefs_[0], exact.coefs_[0], atol=0.02)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            partly = net.set_params(products=None).partial_fit(X, y[:300])  # goes on with another
        assert partly.network_.products is None
        with pytest.raises(ValueError, match=r"products is 'bfloat16', which is for float32 rows"):
            net.set_params(products="bfloat16").fit(X.astype("f8"), y[:300])
        with pytest.raises(ValueError, match="needs exact gradients, so products must be None"):
            MLPRegressor(solver="lbfgs", products="bfloat16").fit(X, y[:300])

    def test_the_command_line_takes_it(self, capfd):
        with pytest.raises(SystemExit) as ended:
            cli.run(["train", "digits", "--epochs", "2", "--products", "bfloat16", "--json", "--no-progress"])
        assert ended.value.code == 0
        assert "products=bfloat16" in json.loads(capfd.readouterr().out)["network"]


class TestWhereThereIsNone:
    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch):
        monkeypatch.setattr(networks, "has_bfloat16", lambda: False)

    def test_asking_for_it_is_an_error_that_says_what_is_missing(self):
        with pytest.raises(
            RuntimeError, match=r"products is 'bfloat16', expected None on this processor: .*AVX512_BF16"
        ):
            deep()

    def test_what_was_made_elsewhere_is_exact_with_a_warning(self, tmp_path, monkeypatch):
        monkeypatch.setattr(networks, "has_bfloat16", lambda: True)
        monkeypatch.setattr(
            networks, "Program", lambda operations, dtype, products: None
        )  # nothing is computed with it
        net = deep()
        net.save(tmp_path / "net.safetensors")
        kept = pickle.dumps(net)
        monkeypatch.undo()
        monkeypatch.setattr(networks, "has_bfloat16", lambda: False)
        for again in (lambda: fj.load(tmp_path / "net.safetensors"), lambda: pickle.loads(kept)):
            with pytest.warns(RuntimeWarning, match=r"products='bfloat16': here they are of float32"):
                other = again()
            assert other.products is None
            np.testing.assert_array_equal(other.parameters, net.parameters)


class TestWhatIsRefused:
    def test_another_name(self):
        with pytest.raises(ValueError, match=r"unknown products 'bf16'.*bfloat16"):
            fj.Sequential([fj.Dense(2, 1)], products="bf16")

    def test_float64(self):
        with pytest.raises(ValueError, match=r"products is 'bfloat16' and dtype 'float64', expected dtype 'float32'"):
            fj.Sequential([fj.Dense(2, 1)], dtype="float64", products="bfloat16")

    def test_a_layer_of_ones_own(self):
        class Own(fj.Layer):
            pass

        with pytest.raises(TypeError, match=r"layers\[1\] Own, expected built-in layers"):
            fj.Sequential([fj.Dense(2, 1), Own()], products="bfloat16")

    def test_a_file_that_asks_for_what_there_is_not(self, tmp_path):
        from fastjac.nn import description

        described = fj.Sequential([fj.Dense(2, 1)], seed=0).configuration()
        for wrong in ("float16", 1, {"products": "bfloat16", "dtype": "float64"}):
            changed = described | (wrong if isinstance(wrong, dict) else {"products": wrong})
            with pytest.raises(ValueError, match="products is"):
                description.parameter_shapes(changed)
