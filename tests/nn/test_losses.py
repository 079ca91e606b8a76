"""Losses: values and gradients against their formulas, what they take for targets, and what they refuse."""

import math
import pickle

import numpy as np
import pytest
from fastjac.kernels.losses import LABELS

import fastjac as fj
from fastjac.jacobians import jacobian
from fastjac.nn import losses
from fastjac.nn.losses import BY_NAME


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# of each row, from the definition
FORMULAS = {
    "softmax_cross_entropy": lambda z, y: -(y * np.log(softmax(z))).sum(axis=1),
    "binary_cross_entropy": lambda z, y: -(y * np.log(sigmoid(z)) + (1 - y) * np.log(1 - sigmoid(z))).mean(axis=1),
    "binary_cross_entropy_probabilities": lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=1),
    "categorical_cross_entropy": lambda p, y: -(y * np.log(p)).sum(axis=1),
    "mean_squared_error": lambda p, y: np.square(y - p).mean(axis=1),
    "absolute_error": lambda p, y: np.abs(y - p).mean(axis=1),
    "huber": lambda p, y: np.where(np.abs(y - p) <= 1, (y - p) ** 2 / 2, np.abs(y - p) - 1 / 2).mean(axis=1),
    "quantile": lambda p, y: np.abs(y - p).mean(axis=1) / 2,
    "poisson": lambda z, y: (np.exp(z) - y * z + y * np.log(y) - y).mean(axis=1),
}


def problem(name, samples, outputs, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(samples, outputs))
    if BY_NAME[name].probabilities:
        z = softmax(z) * 0.9 + 0.01
    y = (
        softmax(rng.normal(size=(samples, outputs)))
        if "softmax" in name or "categorical" in name
        else rng.random(z.shape)
    )
    return z, y


@pytest.mark.parametrize("name", list(BY_NAME))
@pytest.mark.parametrize("outputs", [1, 2, 5, 17])
@pytest.mark.parametrize("samples", [1, 7, 300])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_are_those_of_the_formula(name, outputs, samples, dtype, tolerance, weighted):
    z, y = problem(name, samples, outputs)
    z, y = z.astype(dtype), y.astype(dtype)
    weight = np.random.default_rng(1).random(samples) if weighted else None
    loss, d = BY_NAME[name](z, y, weight)
    assert isinstance(loss, float)
    assert (d.shape, d.dtype) == (z.shape, np.dtype(dtype))
    exact = FORMULAS[name](z.astype(float), y.astype(float))
    assert loss == pytest.approx(np.average(exact, weights=weight), rel=10 * tolerance, abs=10 * tolerance)
    if samples <= 7:
        slope = jacobian(lambda z: np.average(FORMULAS[name](z, y.astype(float)), weights=weight), z.astype(float))
        np.testing.assert_allclose(d, slope, rtol=1e-5, atol=max(1e-8, 10 * tolerance))


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "categorical_cross_entropy"])
@pytest.mark.parametrize("kind", ["i1", "u1", ">i4", "i8", "u8", "list"])
def test_class_indices_of_any_integer_type_are_one_hot_rows(name, kind):
    z, _ = problem(name, 9, 4)
    labels = np.arange(9) % 4
    expected = BY_NAME[name](z, np.eye(4)[labels])
    loss, d = BY_NAME[name](z, labels.tolist() if kind == "list" else labels.astype(kind))
    assert loss == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(d, expected[1], atol=1e-15)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "categorical_cross_entropy"])
@pytest.mark.parametrize("outputs", [2, 3, 32, 33, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_outputs_that_are_equal_the_first_is_what_is_predicted(name, outputs, dtype):
    rng = np.random.default_rng(0)
    z = (rng.integers(0, 3, (300, outputs)) / 4).astype(dtype)
    labels = np.array([rng.choice(np.flatnonzero(row == row.max())) for row in z])
    right = (labels == z.argmax(axis=1)).sum()
    assert 0 < right < 300
    for given in ((labels, None), (None, np.eye(outputs, dtype=dtype)[labels])):
        assert BY_NAME[name].sums(z, *given, None, np.empty_like(z))[1] == right


@pytest.mark.parametrize("name", [name for name, loss in BY_NAME.items() if loss.kind != LABELS])
def test_targets_of_one_output_may_be_a_vector(name):
    p, y = problem(name, 9, 1)
    one, other = BY_NAME[name](p, y[:, 0]), BY_NAME[name](p, y)
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "huber"])
@pytest.mark.parametrize("epochs", [1, 2, 9, 300])
@pytest.mark.parametrize("batches", [1, 2, 3, 7, 8, 9, 16, 127, 128, 129, 1000])
def test_the_means_of_many_epochs_are_those_of_each_to_the_bit(batches, epochs, name):
    """And those of NumPy's sums of one epoch, which the history has had from the beginning."""
    loss = losses.get(name)
    sums = np.random.default_rng(batches).lognormal(0, 5, (epochs, batches, 4))
    sums[epochs // 2, :, 2] = 0  # no weights
    columns = loss.columns(sums)
    assert all(len(column) == epochs for column in columns.values())
    for k, of_epoch in enumerate(sums):
        a, hits, weights, penalties = (of_epoch[:, j].sum() for j in range(4))
        wanted = {"loss": (a + penalties) / weights if weights else 0.0}
        if name == "softmax_cross_entropy":
            wanted["accuracy"] = hits / weights if weights else 0.0
        assert loss.means(of_epoch) == wanted == {name: column[k] for name, column in columns.items()}
        assert all(type(one) is float for one in loss.means(of_epoch).values())


def test_means_are_over_samples_or_over_samples_and_outputs():
    assert fj.SoftmaxCrossEntropy()(np.zeros((5, 4)), [0] * 5)[0] == pytest.approx(math.log(4))
    assert fj.BinaryCrossEntropy()(np.zeros((5, 4)), np.ones((5, 4)))[0] == pytest.approx(math.log(2))
    loss, d = fj.MeanSquaredError()(np.full((5, 4), 3.0), np.ones((5, 4)))
    assert loss == 4.0
    np.testing.assert_allclose(d, 2 * 2 / 20)


def regression(samples, outputs, dtype, seed=0):
    """Predictions, and targets of at least 0, among them zeros and predictions that hit exactly."""
    rng = np.random.default_rng(seed)
    p = rng.normal(0, 2, (samples, outputs)).astype(dtype)
    y = rng.gamma(1, 2, (samples, outputs)).astype(dtype)
    y[::3, 0] = 0
    p[1::4, -1] = y[1::4, -1]
    return p, y


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("outputs", [1, 3, 20])
@pytest.mark.parametrize("loss", [fj.MeanAbsoluteError(), fj.Huber(), fj.Huber(0.3), fj.Poisson()], ids=repr)
def test_losses_of_regression_are_those_of_pytorch(loss, outputs, dtype, tolerance):
    torch = pytest.importorskip("torch")
    p, y = regression(50, outputs, dtype)
    theirs = {
        "absolute_error": torch.nn.L1Loss(),
        "huber": torch.nn.HuberLoss(delta=getattr(loss, "delta", 1.0)),
        "poisson": torch.nn.PoissonNLLLoss(log_input=True, full=False),
    }[loss.name]
    leaf = torch.tensor(p, requires_grad=True)
    expected = theirs(leaf, torch.tensor(y))
    expected.backward()
    value, d = loss(p, y)
    if loss.name == "poisson":  # the constant that PyTorch leaves out
        exact = y.astype(float)
        value -= (exact * np.log(np.where(exact == 0, 1, exact)) - exact).mean()
    assert value == pytest.approx(expected.item(), rel=10 * tolerance)
    np.testing.assert_allclose(d, leaf.grad.numpy(), rtol=tolerance, atol=tolerance / p.size)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("q", [0.05, 0.5, 0.8])
def test_losses_of_regression_are_those_of_scikit_learn(q, outputs, weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    p, y = regression(40, outputs, "float64")
    weight = np.random.default_rng(1).random(40) if weighted else None
    expected = metrics.mean_pinball_loss(y, p, alpha=q, sample_weight=weight)
    assert fj.QuantileLoss(q)(p, y, weight)[0] == pytest.approx(expected, rel=1e-13)
    expected = metrics.mean_absolute_error(y, p, sample_weight=weight)
    assert fj.MeanAbsoluteError()(p, y, weight)[0] == pytest.approx(expected, rel=1e-13)
    deviance = metrics.mean_poisson_deviance(y[:, 0], np.exp(p[:, 0]), sample_weight=weight)
    assert 2 * fj.Poisson()(p[:, :1], y[:, :1], weight)[0] == pytest.approx(deviance, rel=1e-13)


def test_poisson_has_the_loss_curve_of_scikit_learns_mlp_regressor():
    base = pytest.importorskip("sklearn.neural_network._base")
    if "poisson" not in base.LOSS_FUNCTIONS:
        pytest.skip("this scikit-learn's MLPRegressor has no Poisson loss")
    p, y = regression(40, 1, "float64")
    weight = np.random.default_rng(1).random(40)
    for given in (None, weight):
        expected = base.LOSS_FUNCTIONS["poisson"](y, np.exp(p), given)
        assert fj.Poisson()(p, y, given)[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", [name for name, loss in BY_NAME.items() if not loss.counts_hits])
def test_no_prediction_of_an_amount_counts_as_a_hit(name):
    p, y = regression(9, 2, "float64")
    total, hits, weights = BY_NAME[name].sums(p, None, y, None, np.empty_like(p))
    assert total > 0
    assert (hits, weights) == (0, 9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.75])
def test_the_slope_of_the_quantile_loss_is_one_of_two_numbers_and_0_between_them(q, dtype):
    y = np.zeros((3, 7), dtype)
    p = np.repeat(np.array([[-2.0], [0.0], [3.0]], dtype), 7, axis=1)
    _, d = fj.QuantileLoss(q)(p, y)
    np.testing.assert_allclose(21 * d, np.repeat([[-q], [0], [1 - q]], 7, axis=1), rtol=1e-6)
    np.testing.assert_allclose(2 * fj.QuantileLoss(0.5)(p, y)[1], fj.MeanAbsoluteError()(p, y)[1], rtol=1e-6)


@pytest.mark.parametrize("loss", [fj.MeanAbsoluteError(), fj.QuantileLoss(0.9), fj.QuantileLoss(0.25)], ids=repr)
def test_a_constant_that_minimises_the_loss_is_the_quantile(loss):
    y = np.random.default_rng(0).gamma(2, 1, (400, 1))
    net = fj.Sequential([fj.Dense(1, 1)], seed=0, dtype="float64")
    net.fit(np.zeros((400, 1)), y, loss=loss, optimizer=fj.SGD(fj.cosine_decay(2.0, 400)), epochs=400, batch_size=400)
    found = net.predict([[0.0]])[0, 0]
    assert found == pytest.approx(np.quantile(y, getattr(loss, "quantile", 0.5)), abs=0.05)


def test_a_constant_that_minimises_the_poisson_loss_is_the_logarithm_of_the_mean():
    y = np.random.default_rng(0).poisson(3.0, (200, 1))
    net = fj.Sequential([fj.Dense(1, 1)], seed=0, dtype="float64")
    net.fit(np.zeros((200, 1)), y, loss="poisson", optimizer=fj.SGD(0.2), epochs=200, batch_size=200)
    assert net.predict([[0.0]])[0, 0] == pytest.approx(np.log(y.mean()), rel=1e-9)


def test_the_three_paths_and_the_explanation_take_a_losss_own_number():
    net = fj.Sequential([fj.Dense(3, 4, activation="tanh"), fj.Dense(4, 2)], seed=0, dtype="float64")
    X, y = np.random.default_rng(0).normal(size=(6, 3)), np.random.default_rng(1).normal(size=(6, 2))
    for losses_of_a_kind in ([fj.Huber(0.1), fj.Huber(0.5)], [fj.QuantileLoss(0.1), fj.QuantileLoss(0.7)]):
        values = set()
        for loss in losses_of_a_kind:
            value = net.evaluate(X, y, loss)["loss"]
            values.add(value)
            for one in fj.compare(net, X, y, loss, repeats=1).results.values():
                assert one.loss == pytest.approx(value, rel=1e-14)
                assert max(one.differences.values()) < 1e-13
            assert fj.check_gradients(net, X, y, loss).passed
            result = fj.jacobians.explain(net, X, y, loss)
            assert result.loss == pytest.approx(value, rel=1e-14)
            assert max(result.differences.values()) < 1e-14
        assert len(values) == 2


@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_sample_without_weight_says_nothing_not_even_nan(name):
    z, y = problem(name, 4, 3)
    without = BY_NAME[name](z[:3], y[:3], [1.0, 2.0, 3.0])
    z[3] = z[3] if BY_NAME[name].probabilities else np.nan
    loss, d = BY_NAME[name](z, y, [1.0, 2.0, 3.0, 0.0])
    assert loss == pytest.approx(without[0], rel=1e-14)
    np.testing.assert_array_equal(d[3], 0)
    np.testing.assert_allclose(d[:3], without[1], rtol=1e-14)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_strides_and_types_do_not_change_the_bits_and_arguments_stay(name):
    z, y = problem(name, 8, 6)
    z, y = z.astype(np.float32).astype(float), y.astype(np.float32).astype(float)
    expected = BY_NAME[name](z, y)
    for one, other in (
        (np.asfortranarray(z), y),
        (z, y[:, ::-1].copy()[:, ::-1]),
        (z.astype(">f8"), y.astype("f4")),
        (z.tolist(), y),
    ):
        loss, d = BY_NAME[name](one, other)
        assert loss == expected[0]
        np.testing.assert_array_equal(d, expected[1])
    z.setflags(write=False)
    y.setflags(write=False)
    BY_NAME[name](z, y)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0, 3]), ValueError, "class index 3 at 1, expected 0 to 2"),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0]), ValueError, r"y has shape \(1,\), expected \(2,\)"),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0.0, 1.0]), TypeError, "integer class indices"),
        (
            lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), np.ones((2, 4))),
            ValueError,
            r"\(2, 4\), expected \(2, 3\)",
        ),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), -np.ones((2, 3))), ValueError, "values of at least 0"),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), np.full((2, 3), np.inf)), ValueError, "NaN or infinity"),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((0, 3)), []), ValueError, r"output has shape \(0, 3\)"),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 0)), [0, 0]), ValueError, r"output has shape \(2, 0\)"),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros(3), [0]), ValueError, r"output has shape \(3,\)"),
        (lambda: fj.SoftmaxCrossEntropy()("z", [0]), TypeError, "output has dtype"),
        (
            lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0, 1], [1.0]),
            ValueError,
            r"sample_weight has shape \(1,\)",
        ),
        (
            lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0, 1], [1.0, -1]),
            ValueError,
            "negative weight -1.0 at 1",
        ),
        (lambda: fj.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0, 1], [0.0, 0.0]), ValueError, "are zero"),
        (lambda: fj.BinaryCrossEntropy()(np.zeros((2, 1)), [0, 2]), ValueError, r"values in \[0, 1\]"),
        (
            lambda: fj.BinaryCrossEntropy()(np.zeros((2, 2)), [0, 1]),
            ValueError,
            r"y has shape \(2,\), expected \(2, 2\)",
        ),
        (lambda: fj.BinaryCrossEntropy(from_logits=False)(np.full((2, 1), 1.5), [0, 1]), ValueError, "from 1.5 to 1.5"),
        (lambda: fj.CategoricalCrossEntropy()(np.full((2, 2), -0.5), [0, 1]), ValueError, "takes probabilities"),
        (lambda: fj.CategoricalCrossEntropy()(np.full((2, 2), np.nan), [0, 1]), ValueError, "takes probabilities"),
        (lambda: fj.MeanSquaredError()(np.zeros((2, 3)), np.zeros((3, 2))), ValueError, r"\(3, 2\), expected \(2, 3\)"),
        (lambda: fj.MeanAbsoluteError()(np.zeros((2, 1)), [0, np.nan]), ValueError, "NaN or infinity"),
        (lambda: fj.Huber()(np.zeros((2, 2)), [0, 1]), ValueError, r"y has shape \(2,\), expected \(2, 2\)"),
        (lambda: fj.Poisson()(np.zeros((2, 1)), [1, -0.5]), ValueError, "-0.5 to 1.0, expected values of at least 0"),
        (lambda: fj.Poisson()(np.zeros((2, 1)), [0, np.inf]), ValueError, "NaN or infinity"),
        (lambda: fj.Huber(0), ValueError, "delta is 0, expected a finite number above 0"),
        (lambda: fj.Huber(math.inf), ValueError, "delta is inf, expected a finite number"),
        (lambda: fj.Huber(math.nan), ValueError, "delta is nan, expected a finite number"),
        (lambda: fj.Huber("1"), TypeError, "delta is '1', expected a finite number"),
        (lambda: fj.Huber(True), TypeError, "delta is True"),
        (lambda: fj.QuantileLoss(1), ValueError, "quantile is 1, expected a number above 0 and below 1"),
        (lambda: fj.QuantileLoss(0.0), ValueError, "quantile is 0.0"),
        (lambda: fj.QuantileLoss(math.nan), ValueError, "quantile is nan"),
        (lambda: fj.QuantileLoss(None), TypeError, "quantile is None, expected a number above 0 and below 1"),
        (lambda: losses.get("mean_absolute_error"), ValueError, "did you mean 'absolute_error'"),
        (lambda: losses.get("mse"), ValueError, r"unknown loss 'mse'.*Known: softmax_cross_entropy"),
        (lambda: losses.get("mean_square_error"), ValueError, "did you mean 'mean_squared_error'"),
        (lambda: losses.get(None), TypeError, "loss is None, expected a name"),
    ],
)
def test_a_refusal_names_what_was_seen_and_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_losses_are_found_by_name_class_or_object():
    for name, loss in BY_NAME.items():
        assert losses.get(name) is loss
        assert losses.get(loss) is loss
    assert isinstance(losses.get(fj.MeanSquaredError), fj.MeanSquaredError)
    assert repr(losses.get("softmax_cross_entropy")) == "SoftmaxCrossEntropy()"
    for loss in (fj.Huber(0.1), fj.QuantileLoss(0.9), fj.Huber(np.float32(0.5))):
        assert eval(repr(loss), vars(fj)).parameters == loss.parameters
        assert pickle.loads(pickle.dumps(loss)).parameters == loss.parameters


@pytest.mark.parametrize(
    ("last", "loss", "ok"),
    [
        (None, "softmax_cross_entropy", True),
        ("softmax", "softmax_cross_entropy", False),
        ("sigmoid", "binary_cross_entropy", False),
        ("sigmoid", "softmax_cross_entropy", False),
        ("tanh", "binary_cross_entropy", True),
        ("softmax", "categorical_cross_entropy", True),
        ("sigmoid", "binary_cross_entropy_probabilities", True),
        (None, "categorical_cross_entropy", False),
        ("relu", "binary_cross_entropy_probabilities", False),
        ("softmax", "mean_squared_error", True),
        ("relu", "huber", True),
        (None, "poisson", True),
    ],
)
def test_a_loss_and_a_last_layer_that_do_not_belong_together_are_refused(last, loss, ok):
    for separate in (True, False):
        if last is None or (last != "softmax" and not separate):
            net = fj.Sequential([fj.Dense(3, 2, activation=last)], seed=0)
        else:
            net = fj.Sequential([fj.Dense(3, 2), fj.Softmax() if last == "softmax" else fj.Activation(last)], seed=0)
        X, y = np.zeros((4, 3)), np.full((4, 2), 0.5)
        for call in (net.evaluate, lambda X, y, loss, net=net: net.fit(X, y, loss=loss), net_compare(net)):
            if ok:
                call(X, y, loss)
            else:
                with pytest.raises(ValueError, match=r"takes logits|takes probabilities"):
                    call(X, y, loss)


def net_compare(net):
    return lambda X, y, loss: fj.compare(net, X, y, loss)


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1e-37), ("float64", 1e-309)])
@pytest.mark.parametrize("make", [lambda: fj.QuantileLoss(0.5), fj.MeanAbsoluteError, fj.Huber, fj.MeanSquaredError])
def test_numbers_below_the_normal_ones_count_as_0_by_hand_as_in_fit(make, dtype, scale):
    rng = np.random.default_rng(5)
    X, y = (rng.normal(size=(64, n)).astype(dtype) * np.array(scale, dtype) for n in (3, 2))

    def network():
        return fj.Sequential([fj.Dense(3, 8, activation="relu"), fj.Dense(8, 2)], seed=0, dtype=dtype)

    net, loss, sgd = network(), make(), fj.SGD(0.1, momentum=0.9)
    for _ in range(5):
        net.backward(loss(net.forward(X), y)[1])
        sgd.step(net)
    whole = network()
    whole.fit(X, y, loss=make(), optimizer=fj.SGD(0.1, momentum=0.9), epochs=5, batch_size=64, shuffle=False)
    np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_a_loss_that_training_would_not_call_is_refused():
    class Doubled(fj.MeanSquaredError):
        def sums(self, output, labels, targets, weight, gradient):
            loss, hits, weights = super().sums(output, labels, targets, weight, gradient)
            return 2 * loss, hits, weights

    class Other(fj.MeanSquaredError):
        def code(self, labels):
            return super().code(labels)

    class Called(fj.MeanSquaredError):
        def __call__(self, output, y, sample_weight=None):
            return super().__call__(output, y, sample_weight)

    class Named(fj.Huber):
        """Only its settings are its own."""

        def __repr__(self):
            return "Named()"

    net = fj.Sequential([fj.Dense(2, 1)], seed=0)
    X, y = np.zeros((3, 2)), np.zeros(3)
    for loss, name in ((Doubled, "sums"), (Other, "code"), (Called, "__call__")):
        for given in (loss, loss()):
            for use in (lambda given: net.fit(X, y, loss=given), lambda given: net.evaluate(X, y, given)):
                with pytest.raises(TypeError, match=rf"{loss.__name__} has a {name} of its own"):
                    use(given)
    for given in (losses.Loss, losses.Loss()):
        with pytest.raises(TypeError, match="Loss is a base of losses"):
            net.fit(X, y, loss=given)
    assert net.evaluate(X, y, Named(2.0)) == net.evaluate(X, y, fj.Huber(2.0))
