"""The fused path: the same names as the other two, and the same gradients on networks of every kind."""

import inspect

import numpy as np
import pytest
from fastjac.kernels.losses import NUMBERS, TABLE

import fastjac as fj
from fastjac.jacobians.samples import SAMPLE_LOSSES
from fastjac.nn.activations import NAMES
from fastjac.nn.losses import BY_NAME
from fastjac.paths import PATHS, unfused

RELATIVE = {"float64": 1e-10, "float32": 1e-4}  # as promised
ACTIVATIONS = [*NAMES, fj.relu(at_zero=0), fj.leaky_relu(0.2), fj.elu(0.5)]


def surface(path):
    """Names, parameters and their defaults, in the order of the file."""
    return [
        (name, [(p.name, p.default, p.kind) for p in inspect.signature(f).parameters.values()])
        for name, f in vars(path).items()
        if inspect.isfunction(f) and f.__module__ == path.__name__ and not name.startswith("_")
        if name not in path.LOSSES
    ]


def test_the_three_paths_define_the_same_names_with_the_same_parameters_in_the_same_order():
    assert list(PATHS) == ["fused", "unfused", "reference"]
    surfaces = {name: surface(path) for name, path in PATHS.items()}
    assert surfaces["fused"] == surfaces["unfused"] == surfaces["reference"]
    assert [name for name, _ in surfaces["fused"]] == [
        "dense_forward",
        "dense_backward",
        "activation_forward",
        "activation_backward",
        "softmax_forward",
        "softmax_backward",
        "dropout_forward",
        "dropout_backward",
    ]
    for path in PATHS.values():
        assert set(path.LOSSES) == set(BY_NAME) == {loss.name for loss in TABLE}


def test_every_function_of_a_path_says_which_row_of_the_course_it_is():
    for path in PATHS.values():
        for name, _ in surface(path):
            doc = inspect.getdoc(getattr(path, name))
            assert doc, (path.__name__, name)
            assert "Course row" in doc, (path.__name__, name)
    for one in (unfused.LOSSES, {name: loss.of for name, loss in SAMPLE_LOSSES.items()}):
        for name, loss in one.items():
            assert "Course row" in inspect.getdoc(loss), name


def drawn(number, dtype, dropout=True):
    """A network, a batch, targets, a loss and weights, all of them drawn from a number."""
    rng = np.random.default_rng(number)
    loss = list(BY_NAME)[number % len(BY_NAME)]
    depth = 1 + number // 5 % 5
    widths = [int(w) for w in rng.choice([1, 2, 3, 5, 7, 9, 13, 15, 17, 19, 23, 33], depth + 1)]
    layers = []
    for k in range(depth):
        activation = ACTIVATIONS[(number + k * 5) % len(ACTIVATIONS)]
        last = k == depth - 1
        separate = rng.random() < 0.3
        within = None if last or separate else activation
        layers.append(fj.Dense(widths[k], widths[k + 1], activation=within, bias=bool(rng.random() < 0.8)))
        if separate and not last:
            layers.append(fj.Activation(activation))
        if not last and rng.random() < 0.2:
            layers.append(fj.Softmax())
        if not last and rng.random() < 0.3 and dropout:
            layers.append(fj.Dropout(float(rng.choice([0.0, 0.25, 0.5]))))
    if loss == "categorical_cross_entropy":
        layers.append(fj.Softmax())
    elif loss == "binary_cross_entropy_probabilities":
        layers.append(fj.Activation("sigmoid"))
    net = fj.Sequential(layers, seed=number, dtype=dtype)
    net.parameters += rng.normal(0, 0.1, net.parameters.size)  # biases too
    samples, outputs = int(rng.choice([1, 2, 5, 11])), widths[-1]
    X = rng.normal(size=(samples, widths[0]))
    if loss in ("softmax_cross_entropy", "categorical_cross_entropy"):
        y = rng.integers(0, outputs, samples) if rng.random() < 0.5 else rng.dirichlet(np.ones(outputs), samples)
    elif loss == "poisson":
        y = rng.poisson(1.0, (samples, outputs))
    elif BY_NAME[loss].kind == NUMBERS:
        y = rng.normal(size=(samples, outputs))
    else:
        y = rng.random((samples, outputs)).round(1)
    weight = rng.uniform(0.1, 2, samples) if rng.random() < 0.4 else None
    own = {"huber": fj.Huber(float(rng.uniform(0.1, 2))), "quantile": fj.QuantileLoss(float(rng.uniform(0.05, 0.95)))}
    return net, X, y, own.get(loss, BY_NAME[loss]), weight


NETWORKS = [(number, dtype) for dtype in ("float64", "float32") for number in range(60)]


@pytest.mark.parametrize(("number", "dtype"), NETWORKS)
def test_gradients_of_random_networks_agree_between_the_three_paths(number, dtype):
    net, X, y, loss, weight = drawn(number, dtype)
    result = fj.compare(net, X, y, loss, sample_weight=weight, repeats=1)
    assert list(result.results) == ["fused", "unfused", "reference"]
    reference = result.results["reference"]
    # relative to the whole gradient: a layer whose share of it is lost in rounding has nothing of its own to compare
    size = max(np.abs(g).max(initial=0.0) for g in reference.gradients.values())
    for path in ("fused", "unfused"):
        one = result.results[path]
        assert one.loss == pytest.approx(reference.loss, rel=RELATIVE[dtype])
        assert list(one.gradients) == list(reference.gradients)
        for name, gradient in one.gradients.items():
            assert gradient.dtype == dtype
            own = np.abs(reference.gradients[name]).max(initial=0.0)
            gap = np.abs(gradient - reference.gradients[name]).max(initial=0.0)
            assert gap <= RELATIVE[dtype] * max(own, 1e-3 * size), (path, name, gap, own)
            assert one.differences[name] == pytest.approx(gap / own if own > 0 else gap, rel=1e-6)


@pytest.mark.slow
def test_the_paths_agree_to_the_last_digits_over_500_networks():
    """Reliability test 8: ``pytest -m slow tests/paths/test_fused.py -k last_digits``; 60 networks at every change."""
    for number in range(500):
        net, X, y, loss, weight = drawn(number, "float64")
        result = fj.compare(net, X, y, loss, sample_weight=weight, repeats=1).results
        wanted = result["reference"].gradients
        size = max(np.abs(g).max(initial=0.0) for g in wanted.values())
        assert result["fused"].loss == pytest.approx(result["reference"].loss, rel=1e-12, abs=1e-300)
        for name, gradient in result["fused"].gradients.items():
            gap = np.abs(gradient - wanted[name]).max(initial=0.0)
            assert gap <= 1e-12 * size, (number, name, gap, size)


@pytest.mark.parametrize("number", range(60))
def test_gradients_of_random_networks_are_those_of_central_differences(number):
    net, X, y, loss, weight = drawn(number, "float64", dropout=False)
    result = fj.check_gradients(net, X, y, loss, sample_weight=weight, entries=25)
    assert result.passed, str(result)


@pytest.mark.slow
def test_gradients_of_500_networks_are_those_of_central_differences():
    """Reliability test 7: ``pytest -m slow tests/paths/test_fused.py -k 500``; 60 networks at every change."""
    for number in range(500):
        net, X, y, loss, weight = drawn(number, "float64", dropout=False)
        result = fj.check_gradients(net, X, y, loss, sample_weight=weight, entries=25)
        assert result.passed, (number, str(result))


@pytest.mark.parametrize("path", ["unfused", "reference"])
@pytest.mark.parametrize("number", range(5))
def test_the_other_paths_are_checked_by_central_differences_too(path, number):
    net, X, y, loss, weight = drawn(number, "float64", dropout=False)
    net.path = path
    assert fj.check_gradients(net, X, y, loss, sample_weight=weight, entries=5).passed


def torch_gradients(net, X, y, loss, weight):
    """The same network in PyTorch: automatic differentiation of the same loss."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    dtype = getattr(torch, net.dtype.name)
    functions = {
        "identity": lambda z, p: z,
        "relu": lambda z, p: F.relu(z),
        "leaky_relu": F.leaky_relu,
        "sigmoid": lambda z, p: torch.sigmoid(z),
        "tanh": lambda z, p: torch.tanh(z),
        "softplus": lambda z, p: F.softplus(z, threshold=1000.0),
        "elu": F.elu,
        "silu": lambda z, p: F.silu(z),
        "gelu": lambda z, p: F.gelu(z),
    }
    A = start = torch.tensor(X, dtype=dtype, requires_grad=True)
    leaves = {}
    for k, layer in enumerate(net.layers):
        for name, array in layer.parameters.items():
            short = {"weight": "W", "bias": "b"}[name]
            leaves[f"{short}{k + 1}"] = torch.tensor(array.copy(), requires_grad=True)
        if isinstance(layer, fj.Dense):
            A = A @ leaves[f"W{k + 1}"]
            if layer.has_bias:
                A = A + leaves[f"b{k + 1}"]
        if isinstance(layer, fj.Dense | fj.Activation):
            A = functions[layer.activation.name](A, layer.activation.parameter)
        elif isinstance(layer, fj.Softmax):
            A = torch.softmax(A, dim=1)
        elif isinstance(layer, fj.Dropout):
            A = A * torch.tensor(layer._mask)
    rows = torch.tensor(np.eye(A.shape[1])[y] if np.ndim(y) == 1 else y, dtype=dtype)
    each = {
        "softmax_cross_entropy": lambda: F.cross_entropy(A, rows, reduction="none"),
        "binary_cross_entropy": lambda: F.binary_cross_entropy_with_logits(A, rows, reduction="none").mean(1),
        "binary_cross_entropy_probabilities": lambda: F.binary_cross_entropy(A, rows, reduction="none").mean(1),
        "categorical_cross_entropy": lambda: -(rows * A.log()).sum(1),
        "mean_squared_error": lambda: F.mse_loss(A, rows, reduction="none").mean(1),
        "absolute_error": lambda: F.l1_loss(A, rows, reduction="none").mean(1),
        "huber": lambda: F.huber_loss(A, rows, reduction="none", delta=loss.delta).mean(1),
        "quantile": lambda: torch.maximum(loss.quantile * (rows - A), (loss.quantile - 1) * (rows - A)).mean(1),
        "poisson": lambda: (A.exp() - rows * A + torch.xlogy(rows, rows) - rows).mean(1),
    }[loss.name]()
    w = torch.ones(len(X), dtype=dtype) if weight is None else torch.tensor(weight, dtype=dtype)
    total = (each * w).sum() / w.sum()
    total.backward()
    leaves["X"] = start
    return total.item(), {name: leaf.grad.numpy() for name, leaf in leaves.items()}


@pytest.mark.parametrize(("number", "dtype"), NETWORKS)
def test_gradients_of_random_networks_are_those_of_pytorch(number, dtype):
    pytest.importorskip("torch")
    net, X, y, loss, weight = drawn(number, dtype)
    result = fj.compare(net, X, y, loss, sample_weight=weight, repeats=1).results["fused"]
    expected_loss, expected = torch_gradients(net, X, y, loss, weight)
    assert result.loss == pytest.approx(expected_loss, rel=RELATIVE[dtype])
    size = max(np.abs(g).max(initial=0.0) for g in expected.values())
    assert set(result.gradients) == set(expected)
    for name, gradient in expected.items():
        gap = np.abs(result.gradients[name] - gradient).max(initial=0.0)
        assert gap <= RELATIVE[dtype] * max(np.abs(gradient).max(initial=0.0), 1e-3 * size), (name, gap)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("at_zero", [0, 1])
@pytest.mark.parametrize("path", list(PATHS))
@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("width", [1, 3, 16, 21])
@pytest.mark.parametrize("layer", ["Dense", "Activation", "Activation of an Activation"])
def test_B4_relu_at_zero_has_slope_1_in_all_paths_or_0_if_asked(dtype, at_zero, path, zero, width, layer):
    relu = fj.relu(at_zero=at_zero)
    if layer == "Dense":  # z = x·1 + 0 where x is ±0
        net = fj.Sequential([fj.Dense(width, width, activation=relu, bias=zero == 0.0 and width == 3)], dtype=dtype)
        net.layers[0].weight = np.eye(width)
    elif layer == "Activation":
        net = fj.Sequential([fj.Activation(relu)], inputs=width, dtype=dtype)
    else:  # what comes from below is -0.0 for dead units within the fused path
        net = fj.Sequential([fj.Activation("identity"), fj.Activation(relu)], inputs=width, dtype=dtype)
    net.path = path
    X = np.full((2, width), zero, dtype)
    X[0, 0], X[1, -1] = -1.0, 1.0
    out = net.forward(X)
    np.testing.assert_array_equal(out, np.maximum(X, 0))
    assert not np.signbit(out).any()
    dX = net.backward(np.ones((2, width)))
    np.testing.assert_array_equal(dX, np.where(X == 0, at_zero, X > 0))


@pytest.mark.parametrize("path", list(PATHS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_on_relu_sees_the_zeros_of_the_first_as_zeros(path, dtype):
    """A dead unit gives +0.0, at which the next ReLU has slope 1: the gradient stops at the first all the same."""
    net = fj.Sequential([fj.Activation("relu"), fj.Activation("relu"), fj.Dense(3, 2)], seed=0, dtype=dtype)
    net.path = path
    net.forward([[-1.0, 0.0, 2.0]])
    dX = net.backward(np.ones((1, 2)))
    W = net.layers[2].weight
    np.testing.assert_allclose(dX[0], W.sum(axis=1) * [0, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_differs_from_pytorch_at_zero_unless_asked_to_be_the_same(dtype, zero):
    torch = pytest.importorskip("torch")
    x = torch.tensor([zero, -1.0, 2.0], dtype=getattr(torch, dtype), requires_grad=True)
    torch.relu(x).sum().backward()
    of_torch = x.grad.numpy()
    assert of_torch[0] == 0
    slopes = {}
    for at_zero in (0, 1):
        net = fj.Sequential([fj.Activation(fj.relu(at_zero=at_zero))], inputs=3, dtype=dtype)
        net.forward([[zero, -1.0, 2.0]])
        slopes[at_zero] = net.backward(np.ones((1, 3)))[0]
    np.testing.assert_array_equal(slopes[0], of_torch)
    np.testing.assert_array_equal(slopes[1], [1, 0, 1])  # the course


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", NAMES)
def test_a_dense_layer_is_one_sample_after_another(activation, dtype):
    """The rows of a batch have the bits they have alone, in forward and in the gradient of the input."""
    fused = PATHS["fused"]
    rng = np.random.default_rng(0)
    X, W, b, dA = (rng.normal(size=s).astype(dtype) for s in ((37, 13), (13, 19), (19,), (37, 19)))
    function = fj.activations.get(activation)
    Z, A = fused.dense_forward(X, W, b, function)
    dX, _, _ = fused.dense_backward(dA, Z, A, X, W, function)
    for i in (0, 1, 17, 36):
        own = slice(i, i + 1)
        Zi, Ai = fused.dense_forward(X[own], W, b, function)
        np.testing.assert_array_equal(Ai, A[own])
        dXi, _, _ = fused.dense_backward(dA[own], Zi, Ai, X[own], W, function)
        np.testing.assert_array_equal(dXi, dX[own])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "i", "o"),
    [
        (5, 16, 3),
        (300, 48, 4),
        (300, 40, 1),
        (19, 7, 4),  # few outputs: dW by way of its transpose, or not
        (40, 700, 70),
        (9, 300, 500),
        (7, 300, 96),  # W copied by the first tile, rows and columns left over
        (1030, 270, 33),
        (600, 640, 40),  # more rows than a panel serves, A too large for the second-level cache
    ],
)
def test_products_of_all_shapes_are_those_of_wider_arithmetic(n, i, o, dtype):
    """Within 4·√depth units in the last place of the largest sum of magnitudes: errors that add at random."""
    fused = PATHS["fused"]
    rng = np.random.default_rng(n + i + o)
    X, W, b, dZ = (rng.normal(size=s).astype(dtype) for s in ((n, i), (i, o), (o,), (n, o)))
    identity = fj.activations.get("identity")
    Z, A = fused.dense_forward(X, W, b, identity)
    dX, dW, db = fused.dense_backward(dZ, Z, A, X, W, identity)
    wide = np.float64 if dtype == "float32" else np.longdouble
    x, w, d = (array.astype(wide) for array in (X, W, dZ))
    ones = np.ones((n, 1))
    for found, left, right, more in ((A, x, w, b), (dX, d, w.T, 0), (dW, x.T, d, 0), (db[None], ones.T, d, 0)):
        scale = float(np.max(abs(left) @ abs(right)))
        error = abs(found - (left @ right + more)).max() / scale
        assert error <= 4 * np.finfo(dtype).eps * np.sqrt(left.shape[1]), (left.shape, right.shape)
