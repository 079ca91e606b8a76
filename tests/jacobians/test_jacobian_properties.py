"""What holds for every Jacobian, whatever the numbers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastjac.jacobians import (
    Diagonal,
    chain_rule,
    contract,
    elementwise,
    jacobian,
    log_softmax,
    softmax,
    to_layout,
)

quickly = settings(deadline=None, max_examples=50)

numbers = st.floats(-4, 4)
sizes = st.integers(1, 5)


def vectors(n):
    return arrays(np.float64, n, elements=numbers)


def matrices(rows, columns):
    return arrays(np.float64, (rows, columns), elements=numbers)


@st.composite
def several_vectors(draw, count):
    n = draw(sizes)
    return [draw(vectors(n)) for _ in range(count)]


@st.composite
def distributions(draw):
    p = draw(arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
    p[0] += 1
    return p / p.sum()


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@quickly
@given(several_vectors(1), numbers, numbers)
def test_the_jacobian_is_linear_in_the_function(vs, alpha, beta):
    (x,) = vs
    J = jacobian(lambda x: alpha * np.sin(x) + beta * x**2, x)
    expected = alpha * jacobian(np.sin, x) + beta * jacobian(lambda x: x**2, x)
    # Each of the three is within the error that `jacobian` states; |f| is at most 4 + 64, x up to 4.
    np.testing.assert_allclose(J, expected, rtol=1e-7, atol=2e-8)


@quickly
@given(several_vectors(3))
def test_diagonals_add_and_multiply_as_their_dense_forms(vs):
    a, b, _ = vs
    A, B, C = map(Diagonal, vs)
    close((A + B).to_array(), np.diag(a) + np.diag(b))
    close((A - B).to_array(), np.diag(a) - np.diag(b))
    close((A @ B).to_array(), np.diag(a) @ np.diag(b))
    close((A @ B).entries, (B @ A).entries)
    close((A @ (B + C)).entries, (A @ B + A @ C).entries)
    close(A @ b, np.diag(a) @ b)
    close(b @ A, b @ np.diag(a))


@quickly
@given(st.data(), sizes, sizes)
def test_diagonals_multiply_matrices_from_either_side(data, n, m):
    d, M = data.draw(vectors(n)), data.draw(matrices(n, m))
    close(Diagonal(d) @ M, np.diag(d) @ M)
    close(M.T @ Diagonal(d), M.T @ np.diag(d))
    stack = np.stack([M, 2 * M])
    close(Diagonal(d) @ stack, np.diag(d) @ stack)


@quickly
@given(arrays(np.float64, sizes, elements=st.floats(0.1, 10)))
def test_a_diagonal_times_its_inverse_is_the_identity(d):
    close((Diagonal(d) @ Diagonal(d).inverse()).entries, np.ones(len(d)))


@quickly
@given(distributions())
def test_softmax_jacobian_is_symmetric_positive_semidefinite_and_its_rows_sum_to_zero(p):
    J = softmax(p)
    np.testing.assert_array_equal(J, J.T)
    np.testing.assert_allclose(J.sum(axis=1), 0, atol=1e-15)
    assert np.linalg.eigvalsh(J).min() >= -1e-15


@quickly
@given(distributions())
def test_softmax_jacobian_is_that_of_its_logarithm_times_the_probabilities(p):
    close(Diagonal(p) @ log_softmax(p), softmax(p))


@quickly
@given(st.data(), st.integers(0, 2), st.integers(0, 2))
def test_generalised_product_is_associative(data, r, s):
    shapes = st.tuples(*[st.integers(1, 3)] * 2)
    left, joined, joined_too, right = (data.draw(shapes) for _ in range(4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    P = rng.normal(size=left + joined[:r])
    Q = rng.normal(size=joined[:r] + joined_too[:s])
    R = rng.normal(size=joined_too[:s] + right)
    close(contract(contract(P, Q, axes=r), R, axes=s), contract(P, contract(Q, R, axes=s), axes=r))


@quickly
@given(st.data(), sizes, sizes, sizes)
def test_the_jacobian_of_a_composition_is_the_product_of_the_jacobians(data, n, m, k):
    A, B, x = data.draw(matrices(m, n)), data.draw(matrices(k, m)), data.draw(vectors(n))
    A, B = A / 4, B / 4

    def inner(x):
        return np.tanh(A @ x)

    def outer(u):
        return np.sin(B @ u)

    u = inner(x)
    product = jacobian(outer, u) @ jacobian(inner, x)
    np.testing.assert_allclose(jacobian(lambda x: outer(inner(x)), x), product, rtol=1e-7, atol=1e-7)
    closed = chain_rule(elementwise(np.cos, B @ u), B, elementwise("tanh", A @ x), A)
    np.testing.assert_allclose(closed, product, rtol=1e-7, atol=1e-7)


@quickly
@given(st.data(), st.integers(0, 4))
def test_the_layout_turned_twice_is_the_layout(data, output_axes):
    shape = data.draw(st.tuples(*[st.integers(1, 3)] * 4))
    J = np.random.default_rng(0).normal(size=shape)
    turned = to_layout(J, "denominator", output_axes)
    assert turned.shape == shape[output_axes:] + shape[:output_axes]
    np.testing.assert_array_equal(to_layout(turned, "denominator", 4 - output_axes), J)


@quickly
@given(several_vectors(1))
def test_elementwise_jacobians_are_diagonal(vs):
    for name in ("sigmoid", "tanh", "relu", "softplus", "elu", "silu", "gelu", "leaky_relu", "identity"):
        J = elementwise(name, vs[0])
        np.testing.assert_array_equal(J, np.diag(np.diag(J)))
