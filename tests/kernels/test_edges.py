"""The value wanted at every numerical edge, at every lane of a vector and in its tail (reliability test 13).

The widest vector has 16 lanes; rows go up to 35, so that a special number stands at every place of two vectors and of a
tail behind them.
"""

import warnings

import numpy as np
import pytest

from fastjac import kernels

DTYPES = ("float32", "float64")
INF, NAN = np.inf, np.nan
LENGTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 35)

# z, then f(z)/slope at it; "tiny" is the smallest positive number of the type
Z = (-INF, -1e30, -0.0, 0.0, "tiny", 1e30, INF, NAN)
TABLE = {
    "identity": ((-INF, -1e30, -0.0, 0.0, "tiny", 1e30, INF, NAN), (1,) * 8),
    "relu": ((-0.0, -0.0, 0.0, 0.0, "tiny", 1e30, INF, NAN), (0, 0, 1, 1, 1, 1, 1, 1)),
    "leaky_relu": ((-INF, -1e28, -0.0, 0.0, "tiny", 1e30, INF, NAN), (0.01, 0.01, 1, 1, 1, 1, 1, 0.01)),
    "sigmoid": ((0, 0, 0.5, 0.5, 0.5, 1, 1, NAN), (0, 0, 0.25, 0.25, 0.25, 0, 0, NAN)),
    "tanh": ((-1, -1, -0.0, 0.0, "tiny", 1, 1, NAN), (0, 0, 1, 1, 1, 0, 0, NAN)),
    "softplus": ((0, 0, np.log(2), np.log(2), np.log(2), 1e30, INF, NAN), (0, 0, 0.5, 0.5, 0.5, 1, 1, NAN)),
    "elu": ((-1, -1, -0.0, 0.0, "tiny", 1e30, INF, NAN), (0, 0, 1, 1, 1, 1, 1, 1)),
    "silu": ((0, 0, -0.0, 0.0, None, 1e30, INF, NAN), (0, 0, 0.5, 0.5, 0.5, 1, 1, NAN)),
    "gelu": ((0, 0, -0.0, 0.0, None, 1e30, INF, NAN), (0, 0, 0.5, 0.5, 0.5, 1, 1, NAN)),
}
SIGNED = {"relu": (0, 1, 2, 3), "leaky_relu": (2, 3), "tanh": (2, 3), "elu": (2, 3), "identity": (2, 3)}


def number(value, dtype):
    return np.finfo(dtype).smallest_subnormal if value == "tiny" else np.dtype(dtype).type(value)


def same(found, wanted, dtype):
    """Equal to within one unit in the last place; NaN is NaN."""
    if np.isnan(wanted):
        return np.isnan(found)
    if not np.isfinite(wanted) or wanted == 0:
        return found == wanted
    return abs(found - wanted) <= np.spacing(np.abs(wanted)) * 1.01


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TABLE)
def test_activation_at_every_lane(name, dtype):
    values, slopes = TABLE[name]
    for column, z in enumerate(Z):
        for length in LENGTHS:
            row = np.linspace(-2, 2, length).astype(dtype)
            for lane in range(length):
                given = row.copy()
                given[lane] = number(z, dtype)
                A = kernels.activation_forward(given[None], name)
                d = kernels.activation_backward(np.ones((1, length), dtype), A, name, Z=given[None])
                if values[column] is not None:
                    wanted = number(values[column], dtype)
                    assert same(A[0, lane], wanted, dtype), (z, length, lane, A[0, lane])
                    if column in SIGNED.get(name, ()):
                        assert np.signbit(A[0, lane]) == np.signbit(wanted), (z, length, lane)
                assert same(d[0, lane], number(slopes[column], dtype), dtype), (z, length, lane, d[0, lane])


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_takes_pytorchs_slope_at_zero_on_request(dtype):
    z = np.array([[-1.0, -0.0, 0.0, 1.0]], dtype)
    A = kernels.activation_forward(z, "relu", parameter=0)
    np.testing.assert_array_equal(A, [[0, 0, 0, 1]])
    d = kernels.activation_backward(np.ones_like(z), A, "relu", parameter=0)
    np.testing.assert_array_equal(d, [[0, 0, 0, 1]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TABLE)
def test_dense_has_the_same_edges(name, dtype):
    values, slopes = TABLE[name]
    z = np.array([number(v, dtype) for v in Z])
    X = np.ones((1, 1), dtype)
    kept = np.empty((1, 8), dtype)
    A = kernels.dense_forward(X, z[None], np.zeros(8, dtype), name, z_out=kept)
    _, dW, _ = kernels.dense_backward(np.ones((1, 8), dtype), A, X, z[None], name, Z=kept, input_gradient=False)
    for column in range(8):
        if column == 2:
            continue  # 0 + 1·(-0.0) is +0.0
        if values[column] is not None:
            assert same(A[0, column], number(values[column], dtype), dtype), (column, A[0, column])
        assert same(dW[0, column], number(slopes[column], dtype), dtype), (column, dW[0, column])


SOFTMAX = [
    # logits, label, loss, gradient
    ((1e30, 0, -1e30), 0, 0, (0, 0, 0)),
    ((1e30, 0, -1e30), 1, 1e30, (1, -1, 0)),
    ((1e30, 0, -1e30), 2, 2e30, (1, 0, -1)),
    ((0, -INF), 0, 0, (0, 0)),
    ((0, -INF), 1, INF, (1, -1)),
    ((0, INF), 0, NAN, (NAN, NAN)),
    ((-INF, -INF), 0, NAN, (NAN, NAN)),
    ((NAN, 0), 1, NAN, (NAN, NAN)),
    ((0, NAN), 0, NAN, (NAN, NAN)),
    ((100, 0), 1, 100, (1, -1)),
    ((0, 0), 1, np.log(2), (0.5, -0.5)),
    ((5,), 0, 0, (0,)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["label", "one-hot"])
@pytest.mark.parametrize("case", range(len(SOFTMAX)))
def test_softmax_cross_entropy(case, form, dtype):
    logits, label, loss, gradient = SOFTMAX[case]
    with np.errstate(over="ignore"):
        logits = np.array(logits, dtype)
    for rows in (1, 3, 16, 17, 33):  # every lane of a vector of rows, and its tail
        for place in range(rows):
            Z = np.zeros((rows, len(logits)), dtype)
            Z[place] = logits
            y = np.zeros(rows, int)
            y[place] = label
            target = y if form == "label" else np.eye(len(logits))[y]
            weight = np.zeros(rows)
            weight[place] = 1
            found, d = kernels.softmax_cross_entropy(Z, target, sample_weight=weight)
            assert same(np.dtype(dtype).type(found), np.dtype(dtype).type(loss), dtype), (rows, place, found)
            for k, wanted in enumerate(gradient):
                assert same(d[place, k], np.dtype(dtype).type(wanted), dtype), (rows, place, d[place])
            others = np.delete(d, place, axis=0)
            assert not others.any()  # a sample without weight is absent


@pytest.mark.parametrize("form", ["label", "one-hot"])
def test_a_difference_that_overflows_loses_infinitely_but_has_a_gradient(form):
    logits = np.array([[3e38, -3e38]], np.float32)
    loss, d = kernels.softmax_cross_entropy(logits, [1] if form == "label" else np.eye(2)[[1]])
    assert loss == INF
    np.testing.assert_array_equal(d, [[1, -1]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 16, 17, 31, 32, 33, 64, 100])
def test_probabilities_sum_to_one_and_gradients_to_zero(classes, dtype):
    rng = np.random.default_rng(classes)
    Z = (rng.normal(size=(50, classes)) * 10).astype(dtype)
    eps = np.finfo(dtype).eps
    S = kernels.softmax(Z)
    assert ((S >= 0) & (S <= 1)).all()
    assert not np.signbit(S).any()
    assert np.abs(S.sum(axis=1, dtype=np.float64) - 1).max() <= 4 * eps
    _, d = kernels.softmax_cross_entropy(Z, rng.integers(0, classes, 50))
    assert np.abs(d.sum(axis=1, dtype=np.float64) * 50).max() <= classes * 2 * eps


BINARY = [
    (1e30, 1, 0, 0),
    (-1e30, 0, 0, 0),
    (1e30, 0, 1e30, 1),
    (-1e30, 1, 1e30, -1),
    (INF, 0, INF, 1),
    (INF, 1, 0, 0),
    (-INF, 0, 0, 0),
    (-INF, 1, INF, -1),
    (0, 0, np.log(2), 0.5),
    (0, 1, np.log(2), -0.5),
    (NAN, 1, NAN, NAN),
    (100, 1, np.exp(-100), None),
    (-100, 0, np.exp(-100), None),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", range(len(BINARY)))
def test_binary_cross_entropy(case, dtype):
    z, y, loss, gradient = BINARY[case]
    for length in LENGTHS:
        for lane in range(length):
            Z, Y = np.full((1, length), 1000.0, dtype), np.ones((1, length))  # a loss of exactly 0
            Z[0, lane], Y[0, lane] = z, y
            found, d = kernels.binary_cross_entropy(Z, Y)
            wanted = np.dtype(dtype).type(loss)
            if np.isfinite(loss) and loss:
                wanted = np.dtype(dtype).type(wanted / length)
                assert abs(found - wanted) <= 4 * np.spacing(wanted), (length, lane, found)
            else:
                assert same(found, wanted, dtype), (length, lane, found)
            if gradient is not None:
                wanted = np.dtype(dtype).type(gradient / length)
                assert same(d[0, lane], wanted, dtype) or abs(d[0, lane] - wanted) <= 2 * np.spacing(abs(wanted))


PROBABILITIES = [
    # p, y, loss, gradient
    (0.0, 0, 0, 0),
    (1.0, 1, 0, 0),
    (0.0, 1, 100, -1e12),
    (1.0, 0, 100, 1e12),
    (0.5, 1, np.log(2), -2),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("p", "y", "loss", "gradient"), PROBABILITIES)
def test_binary_cross_entropy_of_probabilities(p, y, loss, gradient, dtype):
    found, d = kernels.binary_cross_entropy_probabilities(np.array([[p]], dtype), [[y]])
    assert found == pytest.approx(loss, rel=1e-6)
    assert float(d[0, 0]) == pytest.approx(gradient, rel=1e-6)


@pytest.mark.parametrize("p", [-0.1, 1.1, NAN, INF])
def test_what_is_no_probability_is_refused(p):
    for function in (kernels.binary_cross_entropy_probabilities, kernels.categorical_cross_entropy):
        with pytest.raises(ValueError, match=r"\(1, 1\)"):
            function([[p]], [[1.0]])


def test_squared_error():
    for p, y, loss, gradient in ((1e30, -1e30, INF, 4e30), (1e-30, 0, 0, 2e-30)):
        found, d = kernels.mean_squared_error(np.array([[p]], np.float32), np.array([[y]], np.float32))
        assert found == loss
        assert d[0, 0] == np.float32(gradient)


REGRESSION = [
    # kernel, its own number, p, y, loss, gradient
    ("absolute_error", (), 2, 2, 0, 0),
    ("absolute_error", (), -1e30, 1e30, 2e30, -1),
    ("absolute_error", (), INF, 1, INF, 1),
    ("absolute_error", (), -INF, 1, INF, -1),
    ("absolute_error", (), NAN, 1, NAN, NAN),
    ("absolute_error", (), 0.0, -0.0, 0, 0),
    ("huber", (0.5,), 2, 2, 0, 0),
    ("huber", (0.5,), 2.5, 2, 0.125, 0.5),
    ("huber", (0.5,), 1.5, 2, 0.125, -0.5),
    ("huber", (0.5,), np.nextafter(np.float32(2.5), 3), 2, 0.125, 0.5),
    ("huber", (0.5,), -1e30, 1e30, 1e30, -0.5),
    ("huber", (0.5,), INF, 1, INF, 0.5),
    ("huber", (0.5,), -INF, 1, INF, -0.5),
    ("huber", (0.5,), NAN, 1, NAN, NAN),
    ("huber", (1e300,), 3, 1, 2, 2),
    ("quantile", (0.25,), 2, 2, 0, 0),
    ("quantile", (0.25,), 1, 3, 0.5, -0.25),
    ("quantile", (0.25,), 3, 1, 1.5, 0.75),
    ("quantile", (0.25,), -1e30, 1e30, 5e29, -0.25),
    ("quantile", (0.25,), INF, 1, INF, 0.75),
    ("quantile", (0.25,), -INF, 1, INF, -0.25),
    ("quantile", (0.25,), NAN, 1, NAN, NAN),
    ("poisson", (), 0, 0, 1, 1),
    ("poisson", (), 0, 1, 0, 0),
    ("poisson", (), -INF, 0, 0, 0),
    ("poisson", (), -INF, 2, INF, -2),
    ("poisson", (), INF, 2, INF, INF),
    ("poisson", (), INF, 0, INF, INF),
    ("poisson", (), 1e30, 1, INF, INF),
    ("poisson", (), -1e30, 2, 2e30, -2),
    ("poisson", (), NAN, 0, NAN, NAN),
    ("poisson", (), NAN, 3, NAN, NAN),
]
WITHOUT_LOSS = {"poisson": -1e4}  # what gives a loss of 0 for a target of 0; elsewhere 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", range(len(REGRESSION)))
def test_losses_of_regression_at_every_lane(case, dtype):
    name, own, p, y, loss, gradient = REGRESSION[case]
    for length in LENGTHS:
        for lane in range(length):
            P, Y = np.full((1, length), WITHOUT_LOSS.get(name, 0), dtype), np.zeros((1, length), dtype)
            P[0, lane], Y[0, lane] = p, y
            found, d = getattr(kernels, name)(P, Y, *own)
            assert found == pytest.approx(loss / length, rel=1e-6, nan_ok=True), (length, lane)
            np.testing.assert_allclose(d[0, lane], gradient / length, rtol=1e-6)
            assert not np.delete(d[0], lane).any(), (length, lane)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.huber([[1.0]], [1.0], -1), ValueError, "delta is -1, expected a finite number above 0"),
        (lambda: kernels.huber([[1.0]], [1.0], None), TypeError, "delta is None"),
        (lambda: kernels.quantile([[1.0]], [1.0], 1.5), ValueError, "quantile is 1.5, expected a number above 0 and"),
        (lambda: kernels.poisson([[1.0]], [-1.0]), ValueError, "from -1.0 to -1.0, expected values of at least 0"),
        (lambda: kernels.absolute_error([[1.0]], [NAN]), ValueError, "NaN or infinity"),
        (lambda: kernels.absolute_error([[1.0]], [[1.0, 2.0]]), ValueError, r"\(1, 2\), expected \(1, 1\)"),
    ],
)
def test_targets_and_numbers_that_a_loss_of_regression_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_any_integer_type_for_labels(classes):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(20, classes))
    y = rng.integers(0, classes, 20)
    loss, d = kernels.softmax_cross_entropy(Z, y)
    for kind in "bBhHiIlLqQ":
        other, e = kernels.softmax_cross_entropy(Z, y.astype(kind))
        assert other == loss
        np.testing.assert_array_equal(d, e)


def test_no_warning_reaches_the_user():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in TABLE:
            kernels.activation_forward(np.array([[-INF, INF, NAN, 1e30]]), name)
