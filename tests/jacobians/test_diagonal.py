"""`Diagonal` as an object: what it stores, what it costs, what NumPy makes of it."""

import numpy as np
import pytest

from fastjac.jacobians import Diagonal


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_the_diagonal_is_stored(dtype):
    D = Diagonal(np.arange(100, dtype=dtype))
    assert D.nbytes == D.entries.nbytes == 100 * np.dtype(dtype).itemsize
    assert D.dense_nbytes == D.to_array().nbytes
    assert D.dtype == D.to_array().dtype == dtype
    assert D.shape == D.to_array().shape == (100, 100)
    assert D.ndim == 2


def test_multiplications_are_those_of_the_two_products():
    D = Diagonal(np.ones(10))
    assert D.multiplies(7) == (D @ np.ones((10, 7))).size  # one an entry of the result
    assert D.dense_multiplies(7) == 10 * D.multiplies(7)


def test_numpy_sees_a_matrix():
    D = Diagonal([1.0, 2.0])
    np.testing.assert_array_equal(np.asarray(D), np.diag([1.0, 2.0]))
    assert np.asarray(D, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.ones((3, 2)) @ D, np.ones((3, 2)) @ np.diag([1.0, 2.0]))
    with pytest.raises(ValueError, match="copy is False"):
        np.asarray(D, copy=False)


def test_sums_and_differences_with_a_matrix_are_dense():
    D, M = Diagonal([1.0, 2.0]), np.ones((2, 2))
    dense = np.diag([1.0, 2.0])
    for result, expected in ((D + M, dense + M), (M + D, M + dense), (D - M, dense - M), (M - D, M - dense)):
        assert isinstance(result, np.ndarray)
        np.testing.assert_array_equal(result, expected)


def test_the_entries_are_a_copy_and_cannot_be_written():
    d = np.array([1.0, 2.0])
    D = Diagonal(d)
    d[0] = 99
    assert D.entries[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        D.entries[0] = 99


def test_transpose_identity_and_repr():
    D = Diagonal([1.0, 2.0])
    np.testing.assert_array_equal(D.T.to_array(), D.to_array().T)
    np.testing.assert_array_equal(Diagonal.identity(3).to_array(), np.eye(3))
    assert repr(Diagonal(np.float32([1, 2]))) == "Diagonal([1., 2.], dtype=float32)"
    assert Diagonal([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda D: Diagonal([[1.0]]), r"d has shape \(1, 1\), expected a vector"),
        (lambda D: Diagonal([1.0, 0.0]).inverse(), "d is zero at entry 1"),
        (lambda D: D + Diagonal([1.0]), r"the other Diagonal has shape \(1, 1\), expected \(2, 2\)"),
        (lambda D: D @ Diagonal([1.0]), r"the other Diagonal has shape \(1, 1\), expected \(2, 2\)"),
        (lambda D: D + np.ones((2, 3)), r"the other matrix has shape \(2, 3\), expected \(2, 2\)"),
        (lambda D: D @ np.ones((3, 2)), r"the right factor has shape \(3, 2\), expected 2 rows"),
        (lambda D: np.ones((2, 3)) @ D, r"the left factor has shape \(2, 3\), expected 2 columns"),
        (lambda D: D @ 3.0, r"the right factor has shape \(\), expected 2 rows"),
        (lambda D: Diagonal.identity(-1), "n is -1, expected an integer of at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(operation, message):
    with pytest.raises(ValueError, match=message):
        operation(Diagonal([1.0, 2.0]))
