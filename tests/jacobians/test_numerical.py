"""The numerical Jacobian: its shapes, the error it states, what it does to its arguments."""

import numpy as np
import pytest

from fastjac.jacobians import jacobian


@pytest.mark.parametrize(
    ("f", "third_derivative"),
    [(np.sin, 1.0), (np.exp, np.e), (lambda x: x**3 / 6, 1.0), (np.tanh, 2.0)],
    ids=["sin", "exp", "cubic", "tanh"],
)
def test_the_error_is_within_what_the_docstring_states(f, third_derivative):
    derivative = {"sin": np.cos, "exp": np.exp, "tanh": lambda x: 1 - np.tanh(x) ** 2}
    exact = derivative.get(getattr(f, "__name__", ""), lambda x: x**2 / 2)
    for x in np.linspace(-1, 1, 201):
        error = abs(jacobian(f, x)[0, 0] - exact(x))
        assert error <= 6.2e-12 * third_derivative * 1.01 + 4e-11 * max(abs(f(x)), 1e-16) + 1e-15


@pytest.mark.parametrize(
    ("f", "x", "numerator", "denominator"),
    [
        (lambda x: x**2, 3.0, (1, 1), (1, 1)),
        (lambda x: np.full(2, x), 3.0, (2, 1), (1, 2)),
        (np.sum, np.ones(3), (1, 3), (3, 1)),
        (lambda x: x[:2], np.ones(3), (2, 3), (3, 2)),
        (lambda x: np.full((2, 3), x), 1.0, (2, 3), (2, 3)),
        (np.sum, np.ones((2, 3)), (2, 3), (2, 3)),
        (lambda X: X[0], np.ones((2, 3)), (3, 2, 3), (2, 3, 3)),
        (lambda x: np.outer(x, x[:2]), np.ones(3), (3, 2, 3), (3, 3, 2)),
        (lambda X: X.T, np.ones((2, 3)), (3, 2, 2, 3), (2, 3, 3, 2)),
        (lambda x: x[:0], np.ones(3), (0, 3), (3, 0)),
        (lambda x: x, np.ones(0), (0, 0), (0, 0)),
    ],
)
def test_shapes(f, x, numerator, denominator):
    assert jacobian(f, x).shape == numerator
    assert jacobian(f, x, layout="denominator").shape == denominator


def test_entries_of_a_tensor_are_output_then_input():
    J = jacobian(lambda X: 2 * X.T, np.ones((2, 3)))
    for i, j, k, l in np.ndindex(J.shape):
        assert J[i, j, k, l] == pytest.approx(2.0 if (i, j) == (l, k) else 0.0)


def test_a_function_that_writes_into_its_argument_does_no_harm():
    x = np.array([1.0, 2.0])

    def f(x):
        x *= 3
        return x

    np.testing.assert_allclose(jacobian(f, x), 3 * np.eye(2))
    np.testing.assert_array_equal(x, [1.0, 2.0])


def test_large_and_float32_arguments_are_taken_in_float64():
    x = np.array([1e8], dtype=np.float32)
    np.testing.assert_allclose(jacobian(lambda x: x**2, x), [[2e8]], rtol=1e-9)
    assert jacobian(lambda x: x, x).dtype == np.float64


def test_a_function_whose_shape_changes_is_refused():
    with pytest.raises(ValueError, match=r"f gave shape \(2,\) near x, expected \(1,\)"):
        jacobian(lambda x: np.zeros(1 if x == 0 else 2), 0.0)
