"""The products of a dense layer: exact where whole numbers make them so, elsewhere within what rounding may do."""

import numpy as np
import pytest

from fastjac import kernels

# around the widths of vectors, tiles, panels and chunks of every processor
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 64, 65, 96, 97, 129, 160, 161, 300, 500)
ROWS = (1, 2, 3, 5, 6, 7, 8, 9, 12, 13, 16, 17, 31, 33, 64, 100, 255, 256, 257, 513)
MOST = 300_000  # multiply-adds: a millisecond for NumPy


def shapes(count, seed):
    """Random sizes (n, i, o), and a generator for each."""
    rng = np.random.default_rng(seed)
    made = 0
    while made < count:
        n, i, o = (int(rng.choice(sizes)) for sizes in (ROWS, WIDTHS, WIDTHS))
        if n * i * o <= MOST:
            made += 1
            yield (n, i, o), np.random.default_rng([seed, made])


def exact_products(count, seed):
    for (n, i, o), rng in shapes(count, seed):
        high = int((2**24 / (max(n, i, o) + 1)) ** 0.5)  # every partial sum of products is below 2^24
        X, W, b, d = (rng.integers(-high, high + 1, s) for s in ((n, i), (i, o), (o,), (n, o)))
        dtype = rng.choice(["float32", "float64"])
        if rng.random() < 0.3:
            X = np.asfortranarray(X)
        Wf, x = W.astype(dtype), X.astype(dtype)
        where = (n, i, o), dtype
        np.testing.assert_array_equal(kernels.dense_forward(x, Wf, b), X @ W + b, str(where))
        dX, dW, db = kernels.dense_backward(d, d, x, Wf)
        for found, wanted in ((dX, d @ W.T), (dW, X.T @ d), (db, d.sum(axis=0))):
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, wanted, str(where))


def test_whole_numbers_are_exact():
    """Reliability test 9, a fortieth of it: equal to products of int64, without tolerance."""
    exact_products(250, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradients_of_no_rows_are_zeros_whatever_was_there(dtype):
    dW, db = np.full((3, 2), 7, dtype), np.full(2, 7, dtype)
    d, X, W = np.zeros((0, 2)), np.zeros((0, 3)), np.ones((3, 2), dtype)
    dX, *_ = kernels.dense_backward(d, d, X, W, dW=dW, db=db)
    assert dX.shape == (0, 3)
    assert not dW.any() and not db.any()


@pytest.mark.slow
def test_whole_numbers_are_exact_in_ten_thousand_shapes():
    """Reliability test 9: ``pytest -m slow tests/kernels/test_products.py``."""
    exact_products(10_000, 1)


def bounded_products(count, seed):
    """Returns the largest error, as a part of what is allowed."""
    worst = 0.0
    unit = 2.0**-24
    for (n, i, o), rng in shapes(count, seed):
        # numbers of very different sizes, whose sums cancel
        X, W, b, d = (
            (rng.normal(size=s) * 10.0 ** rng.integers(-3, 4, s)).astype("float32")
            for s in ((n, i), (i, o), (o,), (n, o))
        )
        dX, dW, db = kernels.dense_backward(d, d, X, W)
        for name, found, left, right in (
            ("A", kernels.dense_forward(X, W, b), np.hstack([X, np.ones((n, 1))]), np.vstack([W, b])),
            ("dX", dX, d, W.T),
            ("dW", dW, X.T, d),
            ("db", db[None], np.ones((1, n)), d),
        ):
            left, right = left.astype(float), right.astype(float)
            allowed = 2 * left.shape[1] * unit * (abs(left) @ abs(right))
            error = abs(found - left @ right)
            assert (error <= allowed).all(), (name, (n, i, o), np.argwhere(error > allowed)[0])
            worst = max(worst, float((error / np.maximum(allowed, 1e-300)).max()))
    return worst


def test_every_entry_is_within_the_bound_of_its_own_sum():
    """Reliability test 10: |found - true| ≤ 2·K·2⁻²⁴·(|A|·|B|) for each entry, no norm that hides one among many."""
    assert 0 < bounded_products(250, 0) <= 1


@pytest.mark.slow
def test_every_entry_is_within_the_bound_in_ten_thousand_shapes():
    """Reliability test 10: ``pytest -m slow tests/kernels/test_products.py``."""
    print("the largest error takes", bounded_products(10_000, 1), "of what is allowed")
