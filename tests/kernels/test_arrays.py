"""Arrays of other libraries: taken as they are where the memory can be shared, and refused with a reason otherwise."""

import numpy as np
import pytest
from fastjac.kernels import arrays

import fastjac as fj
from fastjac import kernels

F4, F8 = np.dtype("f4"), np.dtype("f8")
VALUES = np.random.default_rng(0).normal(size=(20, 4)).astype("f4")
LABELS = np.arange(20) % 3


def _torch(values):
    return pytest.importorskip("torch", reason="PyTorch is not installed").from_numpy(np.array(values))


def _torch_with_gradient(values):
    return _torch(values).requires_grad_()


def _jax(values):
    return pytest.importorskip("jax.numpy", reason="JAX is not installed").asarray(values)


def _pandas(values):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame(values, columns=list("abcd")) if values.ndim == 2 else pandas.Series(values)


def _polars(values):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    return polars.DataFrame(values, schema=list("abcd")) if values.ndim == 2 else polars.Series(values)


class OnlyDLPack:
    """An array of a library that NumPy knows nothing about."""

    def __init__(self, values):
        self.values, self.shape = np.array(values), np.shape(values)

    def __len__(self):
        return len(self.values)

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


MAKERS = [_torch, _jax, _pandas, _polars, OnlyDLPack]


def _net(dtype="float32"):
    return fj.Sequential([fj.Dense(4, 5, activation="tanh"), fj.Dense(5, 3)], seed=0, dtype=dtype)


@pytest.mark.parametrize("make", MAKERS)
def test_everything_takes_them(make):
    ours, theirs = _net(), _net()
    X, y, weight = make(VALUES), make(LABELS), make(np.linspace(1, 2, 20).astype("f4"))
    plain = VALUES, LABELS, np.linspace(1, 2, 20).astype("f4")
    histories = [
        net.fit(a, b, loss="softmax_cross_entropy", epochs=3, sample_weight=w, validation_data=(a, b))
        for net, (a, b, w) in ((ours, plain), (theirs, (X, y, weight)))
    ]
    assert histories[0]["loss"] == histories[1]["loss"]
    assert histories[0]["val_loss"] == histories[1]["val_loss"]
    assert np.array_equal(ours.parameters, theirs.parameters)
    assert np.array_equal(ours.predict(VALUES), theirs.predict(X))
    assert ours.evaluate(VALUES, LABELS, loss="softmax_cross_entropy") == theirs.evaluate(
        X, y, loss="softmax_cross_entropy"
    )
    assert np.array_equal(ours.forward(VALUES), theirs.forward(X))


def test_rows_of_targets_may_come_without_a_shape():
    rows = OnlyDLPack(np.eye(3)[LABELS])
    del rows.shape
    found = fj.SoftmaxCrossEntropy()(VALUES[:, :3], rows)
    wanted = fj.SoftmaxCrossEntropy()(VALUES[:, :3], np.eye(3)[LABELS])
    assert found[0] == wanted[0] and np.array_equal(found[1], wanted[1])


@pytest.mark.parametrize("make", [_torch, _torch_with_gradient, _jax, OnlyDLPack])
def test_their_memory_is_shared(make):
    given = make(VALUES)
    first, second = (arrays.floats("X", given, (None, 4), F4) for _ in range(2))
    assert first.ctypes.data == second.ctypes.data
    assert np.array_equal(first, VALUES)
    if make is _torch:
        assert first.ctypes.data == given.data_ptr()


@pytest.mark.parametrize("make", [_pandas, _polars])
def test_the_memory_of_columns_is_shared(make):
    column = make(VALUES[:, 0].copy())
    first, second = (arrays.floats("y", column, (20,), F4) for _ in range(2))
    assert first.ctypes.data == second.ctypes.data


def test_the_memory_of_a_data_frame_of_one_type_is_shared():
    frame = _pandas(VALUES)
    assert np.shares_memory(arrays.floats("X", frame, (None, 4), F4), frame["b"].to_numpy())


@pytest.mark.parametrize("make", [_torch, _jax])
def test_losses_and_kernels_compute_in_their_type(make):
    logits = make(VALUES[:, :3].copy())
    loss, gradient = fj.SoftmaxCrossEntropy()(logits, make(LABELS))
    wanted, wanted_gradient = fj.SoftmaxCrossEntropy()(VALUES[:, :3], LABELS)
    assert (loss, gradient.dtype) == (wanted, F4)
    assert np.array_equal(gradient, wanted_gradient)
    W = make(VALUES[:4].copy())
    found = kernels.dense_forward(make(VALUES), W, None, "tanh")
    assert found.dtype == F4
    assert np.array_equal(found, kernels.dense_forward(VALUES, VALUES[:4], None, "tanh"))


def test_losses_compute_doubles_of_pytorch_in_float64():
    assert fj.MeanSquaredError()(_torch(VALUES.astype("f8")), VALUES)[1].dtype == F8


def test_memory_of_another_device_is_refused():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(TypeError, match=r"X is in the memory of the device 'meta', .*X\.cpu\(\)"):
        _net().predict(torch.empty((2, 4), device="meta"))


def test_types_that_numpy_has_not_are_refused():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(ValueError, match=r"X can't be made an array: .*BFloat16"):
        _net().predict(torch.zeros((2, 4), dtype=torch.bfloat16))


def test_columns_that_are_no_numbers_are_named():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = _pandas(VALUES)
    frame["c"] = "red"
    with pytest.raises(TypeError, match=r"the column 'c' of X has the type (str|object|string), expected real numbers"):
        _net().predict(frame)
    with pytest.raises(TypeError, match=r"y has the type (str|object|string)"):
        _net().fit(VALUES, frame["c"], loss="softmax_cross_entropy")
    frame["c"] = pandas.Categorical(["u"] * 20)
    with pytest.raises(TypeError, match="the column 'c' of X has the type category"):
        _net().predict(frame)


def test_columns_of_polars_that_are_no_numbers_are_named():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = _polars(VALUES).with_columns(polars.lit("red").alias("c"))
    with pytest.raises(TypeError, match="the column 'c' of X has the type String, expected real numbers"):
        _net().predict(frame)


def test_missing_values_are_named_with_their_column_and_row():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = _pandas(VALUES)
    frame["b"] = pandas.array([1, 2, 3, None] * 5, dtype="Int64")
    with pytest.raises(ValueError, match="the column 'b' of X has 5 missing values, the first in row 3"):
        _net().predict(frame)


def test_nullable_columns_without_missing_values_are_numbers():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = _pandas(VALUES)
    frame["b"] = pandas.array(range(20), dtype="Int64")
    plain = VALUES.astype("f8")
    plain[:, 1] = range(20)
    assert np.array_equal(_net().predict(frame), _net().predict(plain))
    assert np.array_equal(arrays.labels("y", pandas.Series([1, 2], dtype="Int64"), 2, 3), [1, 2])


@pytest.mark.parametrize("weights", [[1e308, 1e308], [5e-324, 0.0], [1e-310, 1e-310]])
def test_weights_whose_sum_is_no_usual_number_are_refused_before_anything_changes(weights):
    """Divided by an infinite or a subnormal sum, they trained nothing, and the loss was 0 or NaN."""
    net = fj.Sequential([fj.Dense(3, 2)], seed=0)
    before = net.parameters.copy()
    X, y = np.ones((2, 3)), np.array([0, 1])
    for call in (net.fit, net.evaluate):
        with pytest.raises(ValueError, match=r"sample_weight.* sums to"):
            call(X, y, loss="softmax_cross_entropy", sample_weight=weights)
    np.testing.assert_array_equal(net.parameters, before)
    net.fit(X, y, loss="softmax_cross_entropy", sample_weight=[1e-290, 1e-290])
    assert not np.array_equal(net.parameters, before)


# --- checks of numbers ------------------------------------------------------------------------------------------------

SIZES = [1, arrays._FEW, arrays._FEW + 1]  # both ways to look at them


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_seen_wherever_it_is(bad, size, dtype):
    for place in {0, size // 2, size - 1}:
        array = np.zeros(size, dtype)
        array[place] = bad
        assert not arrays.all_finite(array)
        with pytest.raises(ValueError, match=rf"X has shape \({size},\) and 1 entries .* at \({place},\)"):
            arrays.finite("X", array)


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize("size", [0, *SIZES])
def test_the_largest_numbers_are_finite_and_nobody_is_warned(size, dtype, recwarn):
    assert arrays.all_finite(np.full(size, np.finfo(dtype).max))
    assert arrays.all_finite(np.full((2, size), np.finfo(dtype).min)[:, ::2])
    opposite = np.full(size, np.finfo(dtype).max)
    opposite[::2] *= -1
    assert arrays.all_finite(opposite)
    assert not recwarn.list


@pytest.mark.parametrize("size", [1, 9, 1000])
@pytest.mark.parametrize("wrong", [-1, -(2**63), 3, 2**62])
def test_one_class_index_out_of_range_is_seen_wherever_it_is(wrong, size):
    for place in {0, size // 2, size - 1}:
        given = np.arange(size) % 3
        given[place] = wrong
        with pytest.raises(ValueError, match=rf"y has shape \({size},\) and the class index {wrong} at {place},"):
            arrays.labels("y", given, size, 3)
    assert (arrays.labels("y", np.arange(size) % 3, size, 3) == np.arange(size) % 3).all()


def test_a_class_index_that_int64_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=f"the class index {2**64 - 1} at 1"):
        arrays.labels("y", np.array([0, 2**64 - 1], np.uint64), 2, 3)
    assert arrays.labels("y", np.zeros(0, np.int8), 0, 3).shape == (0,)
