"""Arrays with more than 2^31 numbers, in sparse files: rows that are far away are reached (reliability test 6).

``pytest -m slow tests/kernels/test_large.py``; takes some GiB of page cache, and of disk nearly nothing.
"""

import sys

import numpy as np
import pytest

import fastjac as fj

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="files are sparse only on request"),
]


def sparse(path, shape):
    try:
        return np.memmap(path, "float32", "w+", shape=shape)
    except OSError as error:
        pytest.skip(f"no sparse file of this size here: {error}")


def network(inputs):
    return fj.Sequential([fj.Dense(inputs, 7, activation="tanh"), fj.Dense(7, 3)], seed=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_last_rows_of_a_large_matrix_are_predicted_as_those_rows_alone(tmp_path, threads):
    columns = 4096
    rows = 2**31 // columns + 700
    X = sparse(tmp_path / "X", (rows, columns))
    assert X.size > 2**31
    rng = np.random.default_rng(0)
    border = 2**31 // columns  # where the number 2^31 lies
    written = [0, 1, border - 1, border, border + 1, rows - 257, rows - 2, rows - 1]
    for row in written:
        X[row] = rng.normal(size=columns)
    net = network(columns)
    found = net.predict(X, threads=threads)
    alone = net.predict(np.array(X[written]))
    np.testing.assert_array_equal(found[written], alone)
    assert len(np.unique(alone, axis=0)) == len(written)
    elsewhere = np.delete(found, written, axis=0)
    assert (elsewhere == net.predict(np.zeros((1, columns), "float32"))).all()


def test_rows_far_apart_are_read_where_they_are(tmp_path):
    apart, rows, columns = 2**29 + 3, 12, 5  # the last row begins at the number 5.9·10⁹
    X = sparse(tmp_path / "X", (rows, apart))[:, :columns]
    X[...] = np.random.default_rng(0).normal(size=X.shape)
    near = np.array(X)
    y = np.arange(rows) % 3
    assert X.strides[0] * (rows - 1) > 2**34
    one, other = network(columns), network(columns)
    np.testing.assert_array_equal(one.predict(X), other.predict(near))
    np.testing.assert_array_equal(one.forward(X), other.forward(near))
    d = np.ones((rows, 3), "float32")
    np.testing.assert_array_equal(one.backward(d), other.backward(d))
    np.testing.assert_array_equal(one.gradients, other.gradients)
    for shuffle in (False, True):
        for net, given in ((one, X), (other, near)):
            net.fit(given, y, loss="softmax_cross_entropy", batch_size=5, epochs=3, shuffle=shuffle)
        np.testing.assert_array_equal(one.parameters, other.parameters)
    W = np.ones((columns, 4), "float32")
    np.testing.assert_array_equal(fj.kernels.dense_forward(X, W, None), fj.kernels.dense_forward(near, W, None))
