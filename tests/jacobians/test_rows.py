"""One test a row of the course, each against something that does not know the closed form.

`numerically` is a central difference; where PyTorch is installed, its automatic differentiation is asked as
well.
"""

import ast
from pathlib import Path

import numpy as np
import pytest

from fastjac import jacobians
from fastjac.jacobians import ROWS, contract, jacobian

NUMERICAL = {"rtol": 1e-7, "atol": 1e-8}


def random(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def numerically(J, f, x, shape=None):
    """J has the shape of the row, and the entries a central difference of f at x finds."""
    expected = jacobian(f, x)
    assert J.shape == (expected.shape if shape is None else shape)
    np.testing.assert_allclose(J, expected.reshape(J.shape), **NUMERICAL)


def torch_jacobian(f, x):
    torch = pytest.importorskip("torch")
    return torch.autograd.functional.jacobian(f, torch.tensor(x, dtype=torch.float64)).numpy()


def normalised(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def cross_entropy_of_logits(x, y):
    return -(y * np.log(normalised(x))).sum()


def test_A1_circle_jacobian():
    quarters = {0.0: (1, 0), 0.25: (0, 1), 0.5: (-1, 0), 0.75: (0, -1)}
    for t, dot in quarters.items():
        np.testing.assert_allclose(jacobians.circle_function(t), dot, atol=1e-15)
        # A quarter turn ahead of the dot, 2π as fast.
        np.testing.assert_allclose(jacobians.circle(t), 2 * np.pi * np.array([[-dot[1]], [dot[0]]]), atol=1e-14)
        J = jacobians.circle(t)
        assert J.shape == (2, 1)
        # The third derivative is (2π)³: the bound that `jacobian` states is 6e-12·248 + 4e-11.
        np.testing.assert_allclose(J, jacobian(jacobians.circle_function, t), atol=2e-9)


def test_A2_sin_cos_tan_jacobian():
    for x in ([0.3, -0.4], [2.0, 1.5], [1.0, 1.0]):
        numerically(jacobians.sin_cos_tan(x), jacobians.sin_cos_tan_function, x, (3, 2))
    # The slide prints +cos for this entry; it is +sin.
    assert jacobians.sin_cos_tan([0.3, -0.4])[1, 1] == pytest.approx(np.sin(0.7))


def test_A3_four_cases():
    W = random(3, 2)
    cases = {
        (1, 1): (lambda t: t**3, 1.5, [[6.75]]),
        (2, 1): (lambda t: np.array([t, t**2]), 1.5, [[1], [3]]),
        (1, 3): (lambda x: x @ x, np.array([1.0, 2.0, 3.0]), [[2, 4, 6]]),
        (2, 3): (lambda x: x @ W, np.array([1.0, 2.0, 3.0]), W.T),
    }
    for shape, (f, x, expected) in cases.items():
        J = jacobian(f, x)
        assert J.shape == shape and J.dtype == np.float64
        np.testing.assert_allclose(J, expected, **NUMERICAL)
        np.testing.assert_allclose(jacobians.stack_gradients(*np.asarray(expected)), J, **NUMERICAL)


def test_A4_affine_one_sample():
    x, W, b = random(4), random(4, 3, seed=1), random(3, seed=2)
    J = jacobians.affine(x, W)
    numerically(J.dz_dx, lambda x: x @ W + b, x, (3, 4))
    numerically(J.dz_db, lambda b: x @ W + b, b, (3, 3))
    tensor = jacobians.affine_weight_tensor(x, 3)
    numerically(tensor, lambda W: x @ W + b, W, (3, 4, 3))
    for j in range(3):

        def z(w, j=j):
            changed = W.copy()
            changed[:, j] = w
            return x @ changed + b

        numerically(J.dz_dw[j], z, W[:, j], (3, 4))
        np.testing.assert_array_equal(jacobians.affine_weight(x, j, 3), J.dz_dw[j])
        np.testing.assert_array_equal(tensor[:, :, j], J.dz_dw[j])


def test_A5_affine_one_neuron():
    X, w, b = random(5, 3), random(3, seed=1), 0.7
    J = jacobians.affine_neuron(X, w)
    numerically(J.dz_dw, lambda w: X @ w + b, w, (5, 3))
    numerically(J.dz_db, lambda b: X @ w + b, b, (5, 1))
    for i in range(5):

        def z(x, i=i):
            changed = X.copy()
            changed[i] = x
            return changed @ w + b

        numerically(J.dz_dx[i], z, X[i], (5, 3))


def test_A6_softmax_jacobian():
    logits = random(5)
    J = jacobians.softmax(normalised(logits))
    numerically(J, normalised, logits, (5, 5))
    np.testing.assert_allclose(jacobians.softmax_function(logits), normalised(logits), rtol=1e-15)
    np.testing.assert_allclose(J, torch_jacobian(lambda x: x.softmax(0), logits), atol=1e-15)


def test_A7_softmax_vjp():
    logits, dJ_dp = random(5), random(1, 5, seed=1)
    J = jacobians.softmax_vjp(dJ_dp, normalised(logits))
    numerically(J, lambda x: dJ_dp[0] @ normalised(x), logits, (1, 5))


def test_B1_diagonal_matrices():
    a, b, M = random(4, low=0.5), random(4, seed=1), random(4, 4, seed=2)
    A, B = jacobians.Diagonal(a), jacobians.Diagonal(b)
    np.testing.assert_array_equal((A + B).to_array(), np.diag(a) + np.diag(b))
    np.testing.assert_array_equal((A @ B).to_array(), np.diag(a) @ np.diag(b))
    np.testing.assert_allclose(A.inverse().to_array(), np.linalg.inv(np.diag(a)), rtol=1e-15)
    np.testing.assert_array_equal(M @ jacobians.Diagonal.identity(4), M)
    # The slide prints a1·b2 for this entry; it is a2·b2.
    assert (A @ B).entries[1] == a[1] * b[1]


def test_B2_unary_elementwise():
    x = random(4)
    numerically(jacobians.elementwise(lambda x: 3 * x**2, x), lambda x: x**3, x, (4, 4))
    numerically(jacobians.identity(x), lambda x: x, x, (4, 4))
    np.testing.assert_array_equal(jacobians.identity(x), np.eye(4))
    for name, derivative in (
        ("leaky_relu", jacobians.leaky_relu),
        ("softplus", jacobians.softplus),
        ("elu", jacobians.elu),
        ("silu", jacobians.silu),
        ("gelu", jacobians.gelu),
    ):
        numerically(derivative(x), lambda x, name=name: jacobians.activation_value(name, x), x, (4, 4))
        stored = jacobians.elementwise_diagonal(name, x)
        assert isinstance(stored, jacobians.Diagonal)
        np.testing.assert_array_equal(stored.to_array(), derivative(x))


def test_B3_log_plus_exp():
    x = random(4, low=0.2)
    numerically(jacobians.log_plus_exp(x), lambda x: np.log(x) + np.exp(x), x, (4, 4))


def test_B4_sigmoid_tanh_relu():
    z = random(5)
    numerically(jacobians.sigmoid(z), lambda z: 1 / (1 + np.exp(-z)), z, (5, 5))
    numerically(jacobians.tanh(z), np.tanh, z, (5, 5))
    numerically(jacobians.relu(z), lambda z: np.maximum(z, 0), z, (5, 5))
    a = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(jacobians.sigmoid(z), np.diag(a * (1 - a)), rtol=1e-14)
    # At zero no difference helps; the course says 1.
    np.testing.assert_array_equal(jacobians.relu([0.0, -0.0]), np.eye(2))
    np.testing.assert_array_equal(jacobians.relu([0.0, -0.0], at_zero=0), np.zeros((2, 2)))


def test_B5_dense_one_sample():
    x, W, b = random(4), random(4, 3, seed=1), random(3, seed=2)
    J = jacobians.dense(x, W, b, "tanh")
    np.testing.assert_allclose(J.a, np.tanh(x @ W + b), rtol=1e-15)
    numerically(J.da_dz, np.tanh, J.z, (3, 3))
    numerically(J.da_dx, lambda x: np.tanh(x @ W + b), x, (3, 4))
    numerically(J.da_db, lambda b: np.tanh(x @ W + b), b, (3, 3))
    for j in range(3):

        def a(w, j=j):
            changed = W.copy()
            changed[:, j] = w
            return np.tanh(x @ changed + b)

        numerically(J.da_dw[j], a, W[:, j], (3, 4))


def test_B6_one_neuron_mini_batch():
    X, w, b = random(5, 3), random(3, seed=1), 0.3

    def g(z):
        return 1 / (1 + np.exp(-z))

    J = jacobians.neuron(X, w, b, "sigmoid")
    numerically(J.da_dz, g, J.z, (5, 5))
    numerically(J.da_dw, lambda w: g(X @ w + b), w, (5, 3))
    numerically(J.da_db, lambda b: g(X @ w + b), b, (5, 1))
    for i in range(5):

        def a(x, i=i):
            changed = X.copy()
            changed[i] = x
            return g(changed @ w + b)

        numerically(J.da_dx[i], a, X[i], (5, 3))


def test_B7_binary_elementwise():
    u, v = random(4), random(4, seed=1)
    for f, J in (
        (lambda u, v: u + v, jacobians.add(u, v)),
        (lambda u, v: u - v, jacobians.subtract(u, v)),
        (lambda u, v: u * v, jacobians.multiply(u, v)),
        (
            lambda u, v: u**2 * np.sin(v),
            jacobians.binary_elementwise(lambda u, v: 2 * u * np.sin(v), lambda u, v: u**2 * np.cos(v), u, v),
        ),
    ):
        numerically(J.df_du, lambda u, f=f: f(u, v), u, (4, 4))
        numerically(J.df_dv, lambda v, f=f: f(u, v), v, (4, 4))


def test_B8_mini_batch_loss():
    y_hat, y, weights = random(5), random(5, seed=1), random(5, seed=2, low=0.1)
    numerically(jacobians.batch_mean(5), np.mean, y_hat, (1, 5))
    numerically(jacobians.batch_mean(5, weights), lambda J0: np.average(J0, weights=weights), y_hat, (1, 5))
    J = jacobians.loss_per_sample(lambda p, y: 3 * (p - y) ** 2, y_hat, y)
    numerically(J, lambda y_hat: (y_hat - y) ** 3, y_hat, (5, 5))


def test_B9_mean_squared_error():
    y_hat, y = random(5), random(5, seed=1)
    numerically(jacobians.mean_squared_error(y_hat, y), lambda p: np.mean((y - p) ** 2), y_hat, (1, 5))


def binary_cross_entropy(p, y):
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def test_B10_binary_cross_entropy():
    y_hat, y = random(5, low=0.1, high=0.9), np.array([0.0, 1.0, 1.0, 0.0, 0.3])
    numerically(jacobians.binary_cross_entropy(y_hat, y), lambda p: binary_cross_entropy(p, y), y_hat, (1, 5))


def test_C1_mean_squared_error_matrix():
    Y_hat, Y = random(5, 1), random(5, 1, seed=1)
    numerically(jacobians.mean_squared_error_gradient(Y_hat, Y), lambda P: np.mean((Y - P) ** 2), Y_hat, (5, 1))


def test_C2_binary_cross_entropy_matrix():
    Y_hat, Y = random(5, 1, low=0.1, high=0.9), np.array([[0.0], [1.0], [1.0], [0.0], [0.3]])
    dY_hat = jacobians.binary_cross_entropy_gradient(Y_hat, Y)
    numerically(dY_hat, lambda P: binary_cross_entropy(P, Y), Y_hat, (5, 1))


def test_C3_categorical_cross_entropy():
    Y_hat, Y = normalised(random(4, 3)), normalised(random(4, 3, seed=1))
    Y[0] = [0, 1, 0]
    dY_hat = jacobians.categorical_cross_entropy_gradient(Y_hat, Y)
    numerically(dY_hat, lambda P: -(Y * np.log(P)).sum() / 4, Y_hat, (4, 3))


def test_C4_total_derivative_within_softmax():
    logits, dY_hat = random(4, 3), random(4, 3, seed=1)
    dL = jacobians.softmax_gradient(dY_hat, normalised(logits))
    numerically(dL, lambda L: (dY_hat * normalised(L)).sum(), logits, (4, 3))

    Y = np.eye(3)[[0, 2, 1, 1]]
    dL = jacobians.softmax_cross_entropy_gradient(normalised(logits), Y)
    numerically(dL, lambda L: cross_entropy_of_logits(L, Y) / 4, logits, (4, 3))
    through_C3 = jacobians.categorical_cross_entropy_gradient(normalised(logits), Y)
    np.testing.assert_allclose(jacobians.softmax_gradient(through_C3, normalised(logits)), dL, atol=1e-16)


def test_C5_matrix_product():
    A, B, dC = random(2, 3), random(3, 4, seed=1), random(2, 4, seed=2)
    dA, dB = jacobians.matmul_gradients(dC, A, B)
    numerically(dA, lambda A: (dC * (A @ B)).sum(), A, (2, 3))
    numerically(dB, lambda B: (dC * (A @ B)).sum(), B, (3, 4))
    for (i, j), entry in np.ndenumerate(dA):
        assert entry == pytest.approx(dC[i] @ B.T[:, j])  # Row_i(dC)·Col_j(Bᵀ)
    for (i, j), entry in np.ndenumerate(dB):
        assert entry == pytest.approx(A.T[i] @ dC[:, j])  # Row_i(Aᵀ)·Col_j(dC)


def test_C6_bias():
    A, b, dC = random(4, 3), random(3, seed=1), random(4, 3, seed=2)
    numerically(jacobians.bias_gradient(dC), lambda b: (dC * (A + b)).sum(), b, (3,))


def test_C7_affine_mini_batch():
    X, W, b, dZ = random(5, 3), random(3, 2, seed=1), random(2, seed=2), random(5, 2, seed=3)
    dX, dW, db = jacobians.affine_gradients(dZ, X, W)
    numerically(dX, lambda X: (dZ * (X @ W + b)).sum(), X, (5, 3))
    numerically(dW, lambda W: (dZ * (X @ W + b)).sum(), W, (3, 2))
    numerically(db, lambda b: (dZ * (X @ W + b)).sum(), b, (2,))


def test_D1_either_layout():
    W = random(3, 2)
    x = random(3, seed=1)
    numerator, denominator = jacobian(lambda x: x @ W, x), jacobian(lambda x: x @ W, x, layout="denominator")
    assert numerator.shape == (2, 3) and denominator.shape == (3, 2)
    np.testing.assert_array_equal(denominator, numerator.T)
    np.testing.assert_array_equal(jacobians.to_layout(numerator, "denominator"), denominator)
    np.testing.assert_array_equal(jacobians.to_layout(numerator, "numerator"), numerator)
    b = random(2, seed=2)
    for closed, f, at in (
        (jacobians.affine_input(W, layout="denominator"), lambda x: x @ W, x),
        (jacobians.circle(0.1, layout="denominator"), jacobians.circle_function, 0.1),
        (jacobians.sin_cos_tan(x[:2], layout="denominator"), jacobians.sin_cos_tan_function, x[:2]),
        (jacobians.log_softmax(normalised(x), layout="denominator"), lambda x: np.log(normalised(x)), x),
        (jacobians.affine_weight_tensor(x, 2, layout="denominator"), lambda W: x @ W, W),
        (jacobians.affine(x, W, layout="denominator").dz_dx, lambda x: x @ W, x),
        (jacobians.dense(x, W, b, "tanh", layout="denominator").da_dx, lambda x: np.tanh(x @ W + b), x),
        (jacobians.matrix_vector(W.T, x, layout="denominator").dy_dA, lambda A: A @ x, W.T),
    ):
        np.testing.assert_allclose(closed, jacobian(f, at, layout="denominator"), rtol=1e-6, atol=1e-8)
    # A stack of Jacobians is transposed one by one.
    X = random(4, 3, seed=3)
    for numerator, denominator in (
        (jacobians.affine(x, W).dz_dw, jacobians.affine(x, W, layout="denominator").dz_dw),
        (jacobians.dense(x, W, b).da_dw, jacobians.dense(x, W, b, layout="denominator").da_dw),
        (jacobians.affine_neuron(X, x).dz_dx, jacobians.affine_neuron(X, x, layout="denominator").dz_dx),
        (jacobians.neuron(X, x, 0.1).da_dx, jacobians.neuron(X, x, 0.1, layout="denominator").da_dx),
    ):
        np.testing.assert_array_equal(denominator, numerator.transpose(0, 2, 1))


def test_D2_matrix_vector():
    A, x = random(2, 3), random(3, seed=1)
    J = jacobians.matrix_vector(A, x)
    numerically(J.dy_dx, lambda x: A @ x, x, (2, 3))
    numerically(J.dy_dA, lambda A: A @ x, A, (2, 2, 3))


def test_D3_matrix_in_matrix_out():
    X = random(2, 3)
    numerically(jacobians.elementwise_tensor("tanh", X), np.tanh, X, (2, 3, 2, 3))


def test_D4_generalised_product():
    P, Q = random(2, 3), random(2, 3, 4, 5, seed=1)
    R = contract(P, Q, axes=2)
    assert R.shape == (4, 5)
    expected = np.zeros((4, 5))
    for i, j, k, l in np.ndindex(Q.shape):
        expected[k, l] += P[i, j] * Q[i, j, k, l]
    np.testing.assert_allclose(R, expected, rtol=1e-14)
    np.testing.assert_allclose(contract(P, P.T), P @ P.T, rtol=1e-15)
    np.testing.assert_array_equal(contract(P[0], P[1], axes=0), np.outer(P[0], P[1]))


def test_D5_matrix_product_tensors():
    X, A, dE_dY = random(2, 3), random(3, 4, seed=1), random(2, 4, seed=2)
    J = jacobians.matmul(X, A)
    numerically(J.dY_dA, lambda A: X @ A, A, (2, 4, 3, 4))
    numerically(J.dY_dX, lambda X: X @ A, X, (2, 4, 2, 3))
    np.testing.assert_allclose(contract(dE_dY, J.dY_dA, axes=2), X.T @ dE_dY, rtol=1e-14)
    np.testing.assert_allclose(contract(dE_dY, J.dY_dX, axes=2), dE_dY @ A.T, rtol=1e-14)
    denominator = jacobians.matmul(X, A, layout="denominator")
    assert denominator.dY_dA.shape == (3, 4, 2, 4) and denominator.dY_dX.shape == (2, 3, 2, 4)


def test_E1_log_softmax():
    x = random(5)
    s = normalised(x)
    J = jacobians.log_softmax(s)
    numerically(J, lambda x: np.log(normalised(x)), x, (5, 5))
    np.testing.assert_allclose(J, torch_jacobian(lambda x: x.log_softmax(0), x), atol=1e-15)
    np.testing.assert_allclose(jacobians.Diagonal(s) @ J, jacobians.softmax(s), atol=1e-16)
    np.testing.assert_allclose(jacobians.log_softmax_function(x), np.log(s), rtol=1e-14)


@pytest.mark.parametrize("y", [[0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], [2.0, 0.0, 1.0, 0.5]])
def test_E2_softmax_cross_entropy(y):
    x, y = random(4), np.array(y, dtype=float)
    s = normalised(x)
    gradient = jacobians.softmax_cross_entropy(s, y)
    assert gradient.shape == (4,)
    np.testing.assert_allclose(gradient, jacobian(lambda x: cross_entropy_of_logits(x, y), x)[0], **NUMERICAL)
    np.testing.assert_allclose(gradient, -y @ jacobians.log_softmax(s), atol=1e-15)
    if y.sum() == pytest.approx(1):
        np.testing.assert_allclose(gradient, s - y, atol=1e-15)


def test_E3_whole_chain():
    x, y = random(3), np.array([0.0, 1.0])
    W1, b1, W2, b2 = random(3, 4, seed=1), random(4, seed=2), random(4, 2, seed=3), random(2, seed=4)
    chain = jacobians.network_chain(x, y, [(W1, b1, "tanh"), (W2, b2, "identity")])

    def loss(x=x, W1=W1, b1=b1, W2=W2, b2=b2):
        return cross_entropy_of_logits(np.tanh(x @ W1 + b1) @ W2 + b2, y)

    assert chain.loss == pytest.approx(loss(), rel=1e-14)
    for name in ("x", "W1", "b1", "W2", "b2"):
        given = {"x": x, "W1": W1, "b1": b1, "W2": W2, "b2": b2}[name]
        expected = jacobian(lambda value, name=name: loss(**{name: value}), given)
        np.testing.assert_allclose(chain.gradients[name], expected.reshape(given.shape), **NUMERICAL)

    # Every Jacobian on the way is there, and their product is the gradient.
    J = chain.jacobians
    assert list(J) == [
        "dJ/dp",
        "dp/da2",
        "da2/dz2",
        "dz2/db2",
        "dz2/dW2",
        "dz2/da1",
        "da1/dz1",
        "dz1/db1",
        "dz1/dW1",
        "dz1/dx",
    ]
    path = ("dJ/dp", "dp/da2", "da2/dz2", "dz2/da1", "da1/dz1", "dz1/dW1")
    product = jacobians.chain_rule(*(J[name] for name in path))
    np.testing.assert_allclose(product[0], chain.gradients["W1"], rtol=1e-14)
    assert chain.gradients["W1"].shape == W1.shape
    # As C7 for one sample: dW = xᵀ·dz.
    np.testing.assert_allclose(chain.gradients["W1"], np.outer(x, chain.gradients["z1"]), rtol=1e-14)
    assert "dz1/dW1  4×3×4" in str(chain)


def off_the_kinks(y_hat, y, kink=0.0):
    """A central difference across a kink is no derivative: none of these is within its step."""
    assert np.abs(np.abs(y_hat - y) - kink).min() > 1e-3


def test_F1_absolute_error():
    y_hat, y = random(5), random(5, seed=1)
    off_the_kinks(y_hat, y)
    numerically(jacobians.absolute_error(y_hat, y), lambda p: np.mean(np.abs(y - p)), y_hat, (1, 5))
    np.testing.assert_array_equal(jacobians.absolute_error(y, y), np.zeros((1, 5)))


@pytest.mark.parametrize("delta", [0.4, 1.0, 5.0])
def test_F2_huber(delta):
    y_hat, y = random(5), random(5, seed=1)
    off_the_kinks(y_hat, y, delta)

    def value(p):
        r = np.abs(y - p)
        return np.mean(np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)))

    numerically(jacobians.huber(y_hat, y, delta), value, y_hat, (1, 5))
    # both formulas meet at |r| = δ, and so do their slopes
    np.testing.assert_array_equal(jacobians.huber_slope([delta, -delta], [0.0, 0.0], delta), [delta, -delta])
    F = pytest.importorskip("torch").nn.functional
    of_torch = torch_jacobian(lambda p: F.huber_loss(p, p.new_tensor(y), delta=delta), y_hat)
    np.testing.assert_allclose(jacobians.huber(y_hat, y, delta)[0], of_torch, rtol=1e-14)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_F3_quantile(q):
    y_hat, y = random(5), random(5, seed=1)
    off_the_kinks(y_hat, y)
    J = jacobians.quantile(y_hat, y, q)
    numerically(J, lambda p: np.mean(np.maximum(q * (y - p), (q - 1) * (y - p))), y_hat, (1, 5))
    np.testing.assert_array_equal(jacobians.quantile(y, y, q), np.zeros((1, 5)))
    np.testing.assert_allclose(2 * jacobians.quantile(y_hat, y, 0.5), jacobians.absolute_error(y_hat, y), rtol=1e-15)


def test_F4_poisson():
    z, y = random(5), np.array([0.0, 1.0, 2.0, 0.5, 30.0])
    numerically(jacobians.poisson(z, y), lambda z: np.mean(np.exp(z) - y * z), z, (1, 5))
    F = pytest.importorskip("torch").nn.functional
    of_torch = torch_jacobian(lambda z: F.poisson_nll_loss(z, z.new_tensor(y)), z)
    np.testing.assert_allclose(jacobians.poisson(z, y)[0], of_torch, rtol=1e-14)


def test_every_row_has_a_test():
    identifiers = [
        *(f"A{i}" for i in range(1, 8)),
        *(f"B{i}" for i in range(1, 11)),
        *(f"C{i}" for i in range(1, 8)),
        *(f"D{i}" for i in range(1, 6)),
        *(f"E{i}" for i in range(1, 4)),
        *(f"F{i}" for i in range(1, 5)),
    ]
    assert list(ROWS) == identifiers
    here = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    tests = [node.name for node in here.body if isinstance(node, ast.FunctionDef)]
    untested = [row for row in identifiers if not any(name.startswith(f"test_{row}_") for name in tests)]
    assert not untested
