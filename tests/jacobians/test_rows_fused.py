"""Rows of the course that have a fused form: the kernel against the closed form, in both types and at odd widths.

The closed forms are computed in float64 from the very numbers the kernel gets: what differs is the kernel's rounding.
"""

import ast
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import fastjac as fj
from fastjac import jacobians, kernels

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}
WIDTHS = [1, 2, 7, 16, 17, 33]
FUSED_ROWS = [
    *("A4", "A5", "A6", "A7", "B2", "B4", "B5", "B6", "B7", "B8", "B9", "B10"),
    *("C1", "C2", "C3", "C4", "C5", "C6", "C7", "E1", "E2", "E3", "F1", "F2", "F3", "F4"),
]

in_both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])
at_widths = pytest.mark.parametrize("width", WIDTHS)


def random(*shape, dtype, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def exact(*arrays):
    """The same numbers in float64, for the closed form."""
    return tuple(a.astype(np.float64) for a in arrays)


def same(kernel, closed, dtype, least=1e-3):
    """Equal but for rounding, which is relative to the largest entry, or to ``least`` where all are smaller."""
    kernel, closed = np.asarray(kernel), np.asarray(closed)
    if kernel.ndim:
        assert kernel.dtype == dtype
    assert kernel.shape == closed.shape
    scale = np.abs(closed).max(initial=0.0)
    np.testing.assert_allclose(kernel, closed, rtol=0, atol=TOLERANCE[dtype] * max(scale, least) * 4)


def probabilities(samples, classes, *, dtype, seed=0):
    """Rows of multiples of 1/128, which sum to 1 without rounding in either type."""
    counts = 1 + np.random.default_rng(seed).multinomial(128 - classes, [1 / classes] * classes, samples)
    return (counts / 128).astype(dtype)


@in_both_types
@at_widths
def test_A4_affine_fused(dtype, width):
    x, W, b, dz = (random(*s, dtype=dtype, seed=i) for i, s in enumerate([(5,), (5, width), (width,), (width,)]))
    z = kernels.dense_forward(x[None], W, b)
    same(z[0], exact(x)[0] @ exact(W)[0] + exact(b)[0], dtype)
    J = jacobians.affine(*exact(x, W))
    dX, dW, db = kernels.dense_backward(dz[None], z, x[None], W)
    (dz,) = exact(dz)
    same(dX[0], dz @ J.dz_dx, dtype)
    same(db, dz @ J.dz_db, dtype)
    for j in range(width):
        same(dW[:, j], dz @ J.dz_dw[j], dtype)


@in_both_types
@at_widths
def test_A5_affine_one_neuron_fused(dtype, width):
    X, w, dz = random(6, width, dtype=dtype), random(width, dtype=dtype, seed=1), random(6, dtype=dtype, seed=2)
    z = kernels.dense_forward(X, w[:, None], np.array([0.5], dtype))
    J = jacobians.affine_neuron(*exact(X, w))
    dX, dW, db = kernels.dense_backward(dz[:, None], z, X, w[:, None])
    (dz,) = exact(dz)
    same(dW[:, 0], dz @ J.dz_dw, dtype)
    same(db, dz @ J.dz_db, dtype)
    for i in range(6):
        same(dX[i], dz @ J.dz_dx[i], dtype)


@in_both_types
@at_widths
def test_A6_softmax_fused(dtype, width):
    l = random(4, width, dtype=dtype)
    s = kernels.softmax(l)
    same(s, jacobians.softmax_function(*exact(l)), dtype)
    for k in range(width):  # each unit vector reads one row of the Jacobian
        row = np.zeros_like(s)
        row[:, k] = 1
        closed = [jacobians.softmax(p / p.sum())[k] for p in exact(s)[0]]
        same(kernels.softmax_backward(row, s), closed, dtype)


@in_both_types
@at_widths
def test_A7_softmax_vjp_fused(dtype, width):
    p, dJ_dp = probabilities(5, width, dtype=dtype), random(5, width, dtype=dtype, seed=1)
    closed = [jacobians.softmax_vjp(d, row)[0] for d, row in zip(*exact(dJ_dp, p), strict=True)]
    same(kernels.softmax_backward(dJ_dp, p), closed, dtype)


SMOOTH = ["identity", "sigmoid", "tanh", "softplus", "silu", "gelu"]


def activation_and_slope_fused(name, dtype, width, parameter=None):
    z, dA = random(3, width, dtype=dtype, low=-5, high=5), random(3, width, dtype=dtype, seed=1)
    activation = fj.activations.get(name) if parameter is None else fj.activations.ActivationFunction(name, parameter)
    A = kernels.activation_forward(z, name, parameter=parameter)
    same(A, jacobians.activation_value(activation, *exact(z)), dtype)
    dZ = kernels.activation_backward(dA, A, name, Z=z, parameter=parameter)
    closed = [d @ jacobians.elementwise_diagonal(activation, row) for d, row in zip(*exact(dA, z), strict=True)]
    same(dZ, closed, dtype)


@in_both_types
@at_widths
@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("identity", None),
        ("leaky_relu", None),
        ("leaky_relu", 0.3),
        ("softplus", None),
        ("elu", None),
        ("elu", 0.5),
        ("silu", None),
        ("gelu", None),
    ],
)
def test_B2_elementwise_fused(dtype, width, name, parameter):
    activation_and_slope_fused(name, dtype, width, parameter)


@in_both_types
@at_widths
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_B4_sigmoid_tanh_relu_fused(dtype, width, name):
    activation_and_slope_fused(name, dtype, width)


@in_both_types
@at_widths
@pytest.mark.parametrize("at_zero", [0, 1])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_B4_relu_at_zero_fused(dtype, width, at_zero, zero):
    z, ones = np.full((2, width), zero, dtype), np.ones((2, width), dtype)
    A = kernels.activation_forward(z, "relu", parameter=at_zero)
    dZ = kernels.activation_backward(ones, A, "relu", parameter=at_zero)
    closed = jacobians.relu(z[0], at_zero=at_zero)
    np.testing.assert_array_equal(dZ, [closed.diagonal()] * 2)
    np.testing.assert_array_equal(dZ, at_zero)


@in_both_types
@at_widths
@pytest.mark.parametrize("name", fj.activations.NAMES)
def test_B5_dense_one_sample_fused(dtype, width, name):
    x, W, b, da = (
        random(*s, dtype=dtype, seed=i, low=-1, high=1) for i, s in enumerate([(6,), (6, width), (width,), (width,)])
    )
    J = jacobians.dense(*exact(x, W, b), name)
    Z = np.empty((1, width), dtype)
    A = kernels.dense_forward(x[None], W, b, name, z_out=Z)
    same(A[0], J.a, dtype)
    same(Z[0], J.z, dtype)
    dX, dW, db = kernels.dense_backward(da[None], A, x[None], W, name, Z=Z)
    (da,) = exact(da)
    same(dX[0], da @ J.da_dx, dtype, 0.25)
    same(db, da @ J.da_db, dtype, 0.25)
    for j in range(width):
        same(dW[:, j], da @ J.da_dw[j], dtype, 0.25)


@in_both_types
@at_widths
@pytest.mark.parametrize("samples", [1, 5, 259])
def test_B6_one_neuron_mini_batch_fused(dtype, width, samples):
    X, w = random(samples, width, dtype=dtype, low=-0.5, high=0.5), random(width, dtype=dtype, seed=1)
    da, b = random(samples, dtype=dtype, seed=2), np.array([0.25], dtype)
    J = jacobians.neuron(*exact(X, w), 0.25, "sigmoid")
    A = kernels.dense_forward(X, w[:, None], b, "sigmoid")
    same(A[:, 0], J.a, dtype)
    dX, dW, db = kernels.dense_backward(da[:, None], A, X, w[:, None], "sigmoid")
    (da,) = exact(da)
    same(dW[:, 0], da @ J.da_dw, dtype, 0.25)
    same(db, da @ J.da_db, dtype, 0.25)
    for i in {0, samples // 2, samples - 1}:
        same(dX[i], da @ J.da_dx[i], dtype, 0.25)


@in_both_types
@at_widths
def test_B7_dropout_is_a_product_with_its_mask_fused(dtype, width):
    X, dA = random(4, width, dtype=dtype), random(4, width, dtype=dtype, seed=1)
    net = fj.Sequential([fj.Dropout(0.5)], inputs=width, seed=1, dtype=dtype)
    mask = kernels.dropout_mask((4, width), 0.5, seed=net.dropout_seed, step=0, place=0, dtype=dtype)
    A, dX = net.forward(X), net.backward(dA)
    for i in range(4):
        J = jacobians.multiply(*exact(X[i], mask[i])).df_du
        same(A[i], exact(X)[0][i] * mask[i], dtype)
        same(dX[i], exact(dA)[0][i] @ J, dtype)


@in_both_types
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("samples", [1, 6, 300])
def test_B8_mini_batch_loss_fused(dtype, weighted, samples):
    p, y = random(samples, dtype=dtype), random(samples, dtype=dtype, seed=1)
    weight = random(samples, dtype="float64", seed=2, low=0.1) if weighted else None
    loss, d = kernels.mean_squared_error(p[:, None], y, sample_weight=weight)
    mean = jacobians.batch_mean(samples, weight)
    of_each = jacobians.loss_per_sample(jacobians.squared_error_slope, *exact(p, y))
    same(d[:, 0], (mean @ of_each)[0], dtype)
    assert loss == pytest.approx((mean @ np.square(np.subtract(*exact(p, y))))[0], rel=TOLERANCE[dtype])


@in_both_types
@pytest.mark.parametrize("samples", [1, 6, 300])
def test_B9_mean_squared_error_fused(dtype, samples):
    p, y = random(samples, dtype=dtype), random(samples, dtype=dtype, seed=1)
    _, d = kernels.mean_squared_error(p[:, None], y)
    same(d.T, jacobians.mean_squared_error(*exact(p, y)), dtype)


@in_both_types
@pytest.mark.parametrize("samples", [1, 6, 300])
def test_B10_binary_cross_entropy_fused(dtype, samples):
    p, y = random(samples, dtype=dtype, low=0.05, high=0.95), random(samples, dtype=dtype, seed=1, low=0, high=1)
    _, d = kernels.binary_cross_entropy_probabilities(p[:, None], y)
    same(d.T, jacobians.binary_cross_entropy(*exact(p, y)), dtype)
    # from logits: this row times the diagonal of the sigmoid, which divides p(1 - p) out
    z = random(samples, dtype=dtype, seed=3)
    _, d = kernels.binary_cross_entropy(z[:, None], y)
    of_z = jacobians.binary_cross_entropy(jacobians.activation_value("sigmoid", *exact(z)), *exact(y))
    same(d.T, of_z @ jacobians.sigmoid(*exact(z)), dtype)


@in_both_types
@at_widths
def test_C1_mean_squared_error_matrix_fused(dtype, width):
    P, Y = random(5, width, dtype=dtype), random(5, width, dtype=dtype, seed=1)
    same(kernels.mean_squared_error(P, Y)[1], jacobians.mean_squared_error_gradient(*exact(P, Y)), dtype)


@in_both_types
@at_widths
def test_C2_binary_cross_entropy_matrix_fused(dtype, width):
    P, Y = random(5, width, dtype=dtype, low=0.05, high=0.95), random(5, width, dtype=dtype, seed=1, low=0, high=1)
    closed = jacobians.binary_cross_entropy_gradient(*exact(P, Y))
    same(kernels.binary_cross_entropy_probabilities(P, Y)[1], closed, dtype)


@in_both_types
@at_widths
def test_C3_categorical_cross_entropy_fused(dtype, width):
    P, Y = probabilities(5, width, dtype=dtype), probabilities(5, width, dtype=dtype, seed=1)
    closed = jacobians.categorical_cross_entropy_gradient(*exact(P, Y))
    same(kernels.categorical_cross_entropy(P, Y)[1], closed, dtype)
    labels = np.arange(5) % width
    closed = jacobians.categorical_cross_entropy_gradient(exact(P)[0], np.eye(width)[labels])
    same(kernels.categorical_cross_entropy(P, labels)[1], closed, dtype)


@in_both_types
@at_widths
def test_C4_total_derivative_within_softmax_fused(dtype, width):
    P, dP = probabilities(5, width, dtype=dtype), random(5, width, dtype=dtype, seed=1)
    same(kernels.softmax_backward(dP, P), jacobians.softmax_gradient(*exact(dP, P)), dtype)
    # after C3 it is -(Y - Ŷ)/N, which the kernel of both at once writes without a division
    l, labels = random(5, width, dtype=dtype, seed=2), np.arange(5) % width
    Y_hat = jacobians.softmax_function(*exact(l))
    closed = jacobians.softmax_cross_entropy_gradient(Y_hat, np.eye(width)[labels])
    same(kernels.softmax_cross_entropy(l, labels)[1], closed, dtype)


@in_both_types
@at_widths
@pytest.mark.parametrize("samples", [1, 5, 257])
def test_C5_matrix_product_fused(dtype, width, samples):
    A, B = random(samples, width, dtype=dtype), random(width, 9, dtype=dtype, seed=1)
    dC = random(samples, 9, dtype=dtype, seed=2)
    C = kernels.dense_forward(A, B, None)
    same(C, np.matmul(*exact(A, B)), dtype)
    dA, dB, _ = kernels.dense_backward(dC, C, A, B)
    closed = jacobians.matmul_gradients(*exact(dC, A, B))
    same(dA, closed.dA, dtype)
    same(dB, closed.dB, dtype)


@in_both_types
@at_widths
@pytest.mark.parametrize("samples", [1, 5, 257])
def test_C6_bias_fused(dtype, width, samples):
    X, W = random(samples, 3, dtype=dtype), random(3, width, dtype=dtype, seed=1)
    dC = random(samples, width, dtype=dtype, seed=2)
    _, _, db = kernels.dense_backward(dC, kernels.dense_forward(X, W, np.zeros(width, dtype)), X, W)
    same(db, jacobians.bias_gradient(*exact(dC)), dtype)


@in_both_types
@at_widths
@pytest.mark.parametrize("samples", [1, 5, 257])
def test_C7_affine_mini_batch_fused(dtype, width, samples):
    X, W, b = random(samples, 11, dtype=dtype), random(11, width, dtype=dtype, seed=1), random(width, dtype=dtype)
    dZ = random(samples, width, dtype=dtype, seed=2)
    Z = kernels.dense_forward(X, W, b)
    same(Z, np.matmul(*exact(X, W)) + exact(b)[0], dtype)
    closed = jacobians.affine_gradients(*exact(dZ, X, W))
    for gradient, expected in zip(kernels.dense_backward(dZ, Z, X, W), closed, strict=True):
        same(gradient, expected, dtype)


@in_both_types
@at_widths
def test_E1_log_softmax_fused(dtype, width):
    """The loss of a one-hot target k is -log s_k, so its gradient is minus row k of the Jacobian of log s."""
    l = random(1, width, dtype=dtype)
    J = jacobians.log_softmax(jacobians.softmax_function(*exact(l))[0])
    log_s = jacobians.log_softmax_function(*exact(l))[0]
    for k in range(width):
        loss, d = kernels.softmax_cross_entropy(l, [k])
        same(d[0], -J[k], dtype)
        assert loss == pytest.approx(-log_s[k], rel=4 * TOLERANCE[dtype], abs=4 * TOLERANCE[dtype])


@in_both_types
@at_widths
@pytest.mark.parametrize("kind", ["index", "one-hot", "soft", "any sum"])
def test_E2_softmax_cross_entropy_fused(dtype, width, kind):
    l, labels = random(6, width, dtype=dtype), np.arange(6) % width
    rows = {"soft": probabilities(6, width, dtype=dtype, seed=1), "any sum": random(6, width, dtype=dtype, low=0)}.get(
        kind, np.eye(width, dtype=dtype)[labels]
    )
    loss, d = kernels.softmax_cross_entropy(l, labels if kind == "index" else rows)
    s = jacobians.softmax_function(*exact(l))
    same(d, [jacobians.softmax_cross_entropy(a, b) / 6 for a, b in zip(s, *exact(rows), strict=True)], dtype)
    expected = -(exact(rows)[0] * jacobians.log_softmax_function(*exact(l))).sum() / 6
    assert loss == pytest.approx(expected, rel=4 * TOLERANCE[dtype], abs=4 * TOLERANCE[dtype])


@in_both_types
@pytest.mark.parametrize("widths", [(3, 4, 2), (1, 1, 2), (5, 17, 9, 3), (7, 3, 3, 3, 4)], ids=str)
def test_E3_whole_chain_fused(dtype, widths):
    pairs = list(pairwise(widths))
    names = ["tanh"] * (len(pairs) - 1) + ["identity"]
    layers = [fj.Dense(i, o, activation=f) for (i, o), f in zip(pairs, names, strict=True)]
    net = fj.Sequential(layers, dtype=dtype, seed=0)
    net.parameters += random(net.parameters.size, dtype=dtype) * 0.1
    x, label = random(widths[0], dtype=dtype), 1
    layers = [(*exact(layer.weight, layer.bias), f) for layer, f in zip(net.layers, names, strict=True)]
    chain = jacobians.network_chain(*exact(x), np.eye(widths[-1])[label], layers)
    loss, d = fj.SoftmaxCrossEntropy()(net.forward(x[None]), [label])
    dX = net.backward(d)
    assert loss == pytest.approx(chain.loss, rel=10 * TOLERANCE[dtype])
    same(dX[0], chain.gradients["x"], dtype)
    for k, layer in enumerate(net.layers, start=1):
        same(layer.weight_gradient, chain.gradients[f"W{k}"], dtype)
        same(layer.bias_gradient, chain.gradients[f"b{k}"], dtype)


@in_both_types
@pytest.mark.parametrize("samples", [1, 6, 300])
def test_F1_absolute_error_fused(dtype, samples):
    p, y = random(samples, dtype=dtype), random(samples, dtype=dtype, seed=1)
    p[::4] = y[::4]  # the kink: 0 on both sides
    same(kernels.absolute_error(p[:, None], y)[1].T, jacobians.absolute_error(*exact(p, y)), dtype)


@in_both_types
@pytest.mark.parametrize("samples", [1, 6, 300])
@pytest.mark.parametrize("delta", [0.25, 1.0, 10.0])
def test_F2_huber_fused(dtype, samples, delta):
    p, y = random(samples, dtype=dtype), random(samples, dtype=dtype, seed=1)
    p[::4], y[::4] = delta, 0  # where both formulas meet
    same(kernels.huber(p[:, None], y, delta)[1].T, jacobians.huber(*exact(p, y), delta), dtype)


@in_both_types
@pytest.mark.parametrize("samples", [1, 6, 300])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_F3_quantile_fused(dtype, samples, q):
    p, y = random(samples, dtype=dtype), random(samples, dtype=dtype, seed=1)
    p[::4] = y[::4]
    same(kernels.quantile(p[:, None], y, q)[1].T, jacobians.quantile(*exact(p, y), q), dtype)


@in_both_types
@pytest.mark.parametrize("samples", [1, 6, 300])
def test_F4_poisson_fused(dtype, samples):
    z, y = random(samples, dtype=dtype), random(samples, dtype=dtype, seed=1, low=0, high=9)
    y[::4] = 0
    same(kernels.poisson(z[:, None], y)[1].T, jacobians.poisson(*exact(z, y)), dtype)


def test_every_row_with_a_fused_form_is_compared_with_its_kernel():
    here = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    tests = [node.name for node in here.body if isinstance(node, ast.FunctionDef) and node.name.endswith("_fused")]
    without = [row for row in FUSED_ROWS if not any(name.startswith(f"test_{row}_") for name in tests)]
    assert not without
    # the others: curves of the lectures, general statements, and tensors that no kernel ever holds
    assert set(jacobians.ROWS) - set(FUSED_ROWS) == {"A1", "A2", "A3", "B1", "B3", "D1", "D2", "D3", "D4", "D5"}
