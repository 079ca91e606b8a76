"""Nothing a user passes makes a kernel read or write where it must not: refused with both shapes, or right.

The cases run in a process of their own, so that a crash is a failure and not the end of the tests.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastjac as fj
from fastjac import kernels

SIZES = (0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 70)
ODD_TYPES = ("bool", "int8", "uint64", "float16", "longdouble", ">f4", "<f8", "complex64", "object", "U3", "M8[s]")


def array(rng, shape, scale=1.0):
    """An array of this shape, or nearly, of some type, with some strides."""
    shape = list(shape)
    if rng.random() < 0.25 and shape:
        shape[rng.integers(len(shape))] = int(rng.choice(SIZES))
    if rng.random() < 0.05:
        shape = shape[:-1] if rng.random() < 0.5 else [*shape, 2]
    values = rng.normal(size=shape) * scale
    kind = rng.choice(ODD_TYPES) if rng.random() < 0.25 else rng.choice(["float32", "float64"])
    with np.errstate(all="ignore"):
        result = values.astype("int64").astype(kind) if kind == "M8[s]" else values.astype(kind)
    result = np.array(result)
    form = rng.integers(10)
    if form == 0 and result.ndim:
        return np.repeat(result, 2, axis=-1)[..., ::2]
    if form == 1 and result.ndim:
        return np.ascontiguousarray(result[::-1])[::-1]
    if form == 2:
        return np.asfortranarray(result)
    if form == 3:
        result.flags.writeable = False
    if form == 4 and result.dtype.kind == "f":
        raw = np.zeros(result.nbytes + 1, np.uint8)[1:]
        unaligned = raw.view(result.dtype).reshape(result.shape) if result.nbytes else result
        unaligned[...] = result
        return unaligned
    if form == 5 and result.ndim == 2 and len(result):
        return np.broadcast_to(result[:1], result.shape)
    if form == 6:
        return result.tolist()
    if form == 7 and result.dtype.kind == "f" and result.size:
        place = np.unravel_index(rng.integers(result.size), result.shape)
        with np.errstate(over="ignore"):
            result[place] = rng.choice([np.nan, np.inf, -np.inf, 1e30])
    if form == 8 and rng.random() < 0.2:
        return rng.choice([None, "text", 3.5, 2**70])
    if form == 9 and rng.random() < 0.2:
        return np.ma.masked_array(result, mask=False)
    return result


def labels(rng, count, classes):
    y = rng.integers(0, max(classes, 1), count).astype(rng.choice(list("bBhHiIlLqQ")))
    case = rng.integers(12)
    if case == 0 and len(y):
        y = y.astype("int64")
        y[rng.integers(len(y))] = rng.choice([-1, classes, 2**63 - 1, -100])
    if case == 1:
        return y.astype("float64")
    if case == 2:
        return y.astype("U2")
    if case == 3:
        return y.astype(bool)
    if case == 4:
        return y[:-1]
    if case == 5:
        return y.astype("uint64") + np.uint64(2**64 - 1 if rng.random() < 0.3 else 0)
    if case == 6:
        return rng.dirichlet(np.ones(max(classes, 1)), count)
    return y


def expected_dense(X, W, b, name):
    Z = np.asarray(X, float) @ np.asarray(W, np.float64) + (0 if b is None else np.asarray(b, float))
    return np.where(Z < 0, 0, Z) if name == "relu" else Z


def one_case(rng):
    """Call something; returns whether it was accepted. Raises for a refusal of the wrong kind or a wrong result."""
    n, i, o = (int(rng.choice(SIZES)) for _ in range(3))
    what = rng.integers(9)
    X, W, b = array(rng, (n, i)), array(rng, (i, o)), array(rng, (o,))
    dA, A = array(rng, (n, o)), array(rng, (n, o))
    name = str(rng.choice(["identity", "relu", "tanh", "gelu", "nonsense"], p=[0.3, 0.3, 0.2, 0.15, 0.05]))
    out = None if rng.random() < 0.6 else array(rng, (n, o))
    held = np.array(out, copy=True) if isinstance(out, np.ndarray) else None
    try:
        if what <= 1:
            result = kernels.dense_forward(X, W, b, name, out=out)
            if name in ("identity", "relu"):
                with np.errstate(all="ignore"):
                    wanted = expected_dense(X, W, b, name)
                    size = (
                        np.abs(np.asarray(X, float)) @ np.abs(np.asarray(W, float)) + np.abs(np.asarray(b, float)) + 10
                    )
                    gap = np.abs(result - wanted)
                good = (size < 1e30) & np.isfinite(wanted)  # float32 overflows soon after
                assert (gap <= (1e-3 if result.dtype == np.float32 else 1e-9) * size)[good].all()
        elif what == 2:
            kernels.dense_backward(dA, A, X, W, name, Z=A, dX=None if rng.random() < 0.5 else array(rng, (n, i)))
        elif what == 3:
            kernels.activation_forward(X, name, out=None if rng.random() < 0.5 else array(rng, (n, i)))
            kernels.activation_backward(dA, A, name, Z=A)
        elif what == 4:
            kernels.softmax_backward(dA, A)
            kernels.softmax(A, out=out)
        elif what == 5:
            weight = None if rng.random() < 0.5 else np.abs(rng.normal(size=n + int(rng.random() < 0.1)))
            kernels.softmax_cross_entropy(A, labels(rng, n, o), sample_weight=weight, out=out)
        elif what == 6:
            kernels.binary_cross_entropy(A, array(rng, (n, o)), out=out)
            kernels.mean_squared_error(A, array(rng, (n, o)), sample_weight=array(rng, (n,)))
            kernels.huber(A, array(rng, (n, o)), rng.choice([1.0, 0.1, -1.0, np.nan], p=[0.6, 0.3, 0.05, 0.05]))
            kernels.quantile(A, array(rng, (n, o)), rng.choice([0.5, 0.9, 1.5], p=[0.6, 0.3, 0.1]), out=out)
            kernels.absolute_error(A, array(rng, (n, o)), out=out)
            kernels.poisson(A, np.abs(rng.normal(size=(n, o))), sample_weight=np.abs(rng.normal(size=n)), out=out)
        else:
            net = fj.Sequential([fj.Dense(max(i, 1), 5, activation="relu"), fj.Dropout(0.1), fj.Dense(5, max(o, 1))],
                                seed=0, dtype=str(rng.choice(["float32", "float64"])))  # fmt: skip
            before = net.parameters.tobytes()
            try:
                if what == 7:
                    net.fit(X, labels(rng, n, o), loss="softmax_cross_entropy", batch_size=int(rng.integers(1, 40)),
                            sample_weight=None if rng.random() < 0.7 else array(rng, (n,)))  # fmt: skip
                    return True
                net.predict(X)
                net.forward(X)
                net.backward(dA)
            except (ValueError, TypeError):
                assert net.parameters.tobytes() == before
                raise
    except fj.NonFiniteError:  # 1e30 among the inputs, say
        return True
    except (ValueError, TypeError) as error:
        if held is not None:
            assert np.array(out, copy=True).tobytes() == held.tobytes()
        text = str(error)
        arrays = re.search(r"\([0-9 ,]*\)", text)
        reasons = "unknown activation|needs Z|can't be made an array|masked|all weights|least one|^(delta|quantile) is"
        other_reason = re.search(reasons, text)
        assert arrays or other_reason, f"a refusal without shapes: {text}"
        return False
    return True


def run_cases(count, seed):
    """In a process of its own: prints how many cases were accepted."""
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); import test_safety; test_safety.main({count}, {seed})"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=1500, check=False,
        env={**os.environ},
    )  # fmt: skip


def main(count, seed):
    accepted = 0
    for case in range(count):
        rng = np.random.default_rng([seed, case])
        try:
            accepted += one_case(rng)
        except BaseException:
            print("case", seed, case, flush=True)
            raise
    print("accepted", accepted)


def check(count, seed):
    done = run_cases(count, seed)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    accepted = int(done.stdout.split()[-1])
    assert count * 0.1 < accepted < count * 0.9  # both kinds are really tried


def test_some_hundred_random_calls():
    check(400, 0)


@pytest.mark.slow
def test_ten_thousand_random_calls():
    check(12_000, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_written_beside_an_output(dtype):
    rng = np.random.default_rng(0)
    guard = 4096
    for n, i, o in [
        (1, 1, 1),
        (3, 5, 7),
        (17, 33, 31),
        (9, 16, 10),
        (257, 3, 2),
        (40, 70, 16),
        (20, 32, 3),
        (30, 600, 70),
    ]:
        X, W, b = (rng.normal(size=shape).astype(dtype) for shape in ((n, i), (i, o), (o,)))
        bands = {}

        def banded(shape, bands=bands):
            size = int(np.prod(shape))
            whole = np.full(size + 2 * guard, np.nan, dtype)
            bands[len(bands)] = (whole, size)
            return whole[guard : guard + size].reshape(shape)

        A, Z = banded((n, o)), banded((n, o))
        kernels.dense_forward(X, W, b, "gelu", out=A, z_out=Z)
        dX, dW, db, d = banded((n, i)), banded((i, o)), banded((o,)), banded((n, o))
        kernels.dense_backward(A, A, X, W, "gelu", Z=Z, dX=dX, dW=dW, db=db)
        kernels.softmax_cross_entropy(A, rng.integers(0, o, n), out=d)
        kernels.softmax(A, out=banded((n, o)))
        for whole, size in bands.values():
            assert np.isnan(whole[:guard]).all()
            assert np.isnan(whole[guard + size :]).all()
            assert np.isfinite(whole[guard : guard + size]).all()


def test_an_output_that_overlaps_an_input_is_still_right():
    rng = np.random.default_rng(0)
    X, W, b = rng.normal(size=(20, 6)), rng.normal(size=(6, 6)), rng.normal(size=6)
    wanted = kernels.dense_forward(X, W, b, "tanh")
    held = X.copy()
    np.testing.assert_array_equal(kernels.dense_forward(held, W, b, "tanh", out=held), wanted)
    _, dW, _ = kernels.dense_backward(wanted, wanted, X, W, "tanh")
    held = W.copy()
    kernels.dense_backward(wanted, wanted, X, held, "tanh", dW=held)
    np.testing.assert_array_equal(held, dW)
    with pytest.raises(ValueError, match="share memory"):
        kernels.dense_forward(X, W, b, out=held, z_out=held) if len(X) == 6 else kernels.dense_forward(
            X, W, b, out=(both := np.empty((20, 6))), z_out=both
        )


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (33, 17)])
def test_integers_are_exact(shape):
    rng = np.random.default_rng(0)
    n, i = shape
    for o in (1, 2, 15, 16, 17, 33, 64):
        X, W, b = rng.integers(-9, 9, (n, i)), rng.integers(-9, 9, (i, o)), rng.integers(-9, 9, o)
        d = rng.integers(-9, 9, (n, o))
        for dtype in ("float32", "float64"):
            Wf = W.astype(dtype)
            np.testing.assert_array_equal(kernels.dense_forward(X, Wf, b), X @ W + b)
            dX, dW, db = kernels.dense_backward(d, d, X, Wf)
            np.testing.assert_array_equal(dX, d @ W.T)
            np.testing.assert_array_equal(dW, X.T @ d)
            np.testing.assert_array_equal(db, d.sum(axis=0))


@pytest.mark.parametrize("rows", [255, 256, 257, 511, 513, 1000])
def test_chunks_of_rows_are_exact(rows):
    rng = np.random.default_rng(rows)
    X, d = rng.integers(-9, 9, (rows, 5)), rng.integers(-9, 9, (rows, 18))
    dX, dW, db = kernels.dense_backward(d, d, X, np.ones((5, 18), np.float32))
    np.testing.assert_array_equal(dW, X.T @ d)
    np.testing.assert_array_equal(db, d.sum(axis=0))
    np.testing.assert_array_equal(dX, d @ np.ones((18, 5)))


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("activation", fj.activations.NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_alone_has_the_bits_it_has_in_a_batch(activation, dtype):
    for widths in ((1, 1), (3, 17), (70, 33), (300, 5)):
        net = fj.Sequential([fj.Dense(*widths, activation=activation), fj.Dense(widths[1], 11)], seed=1, dtype=dtype)
        X = np.random.default_rng(0).normal(size=(530, widths[0]))
        whole = net.predict(X, threads=1)
        np.testing.assert_array_equal(net.predict(X, threads=3), whole)
        for k in (0, 1, 7, 8, 255, 256, 529):
            np.testing.assert_array_equal(net.predict(X[k : k + 1])[0], whole[k])
        np.testing.assert_array_equal(net.predict(X[5:99:7]), whole[5:99:7])
