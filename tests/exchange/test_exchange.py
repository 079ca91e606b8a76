"""Networks to and from PyTorch, scikit-learn and ONNX, checked by those libraries themselves.

Tolerances: 1e-6 of the largest output for float32 networks (24 bits through a few layers), 1e-12 for float64; gelu in
ONNX is 1e-6 in both, because onnxruntime's erf is float32.
"""

import sys
import warnings

import numpy as np
import pytest

import fastjac as fj
from fastjac import exchange
from fastjac.exchange import pytorch
from fastjac.nn import activations

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(size=(40, 6)), 4 * RNG.normal(size=(20, 6)), np.zeros((1, 6))])
ACTIVATIONS = [*activations.NAMES, fj.leaky_relu(0.3), fj.elu(0.5)]
HEADS = {
    "logits": [],
    "softmax": [fj.Softmax],
    "sigmoid": [lambda: fj.Activation("sigmoid")],
    "dropout, softmax": [lambda: fj.Dropout(0.5), fj.Softmax],
}


def _network(activation="relu", head="logits", dtype="float64", bias=True):
    layers = [
        fj.Dense(6, 9, activation=activation, bias=bias),
        fj.Dropout(0.2),
        fj.Activation(activation),
        fj.Dense(9, 5, activation=activation),
        fj.Dense(5, 4),
        *(make() for make in HEADS[head]),
    ]
    net = fj.Sequential(layers, seed=1, dtype=dtype)
    net.parameters[:] = np.random.default_rng(2).normal(scale=0.5, size=net.parameters.size)
    return net


def _close(found, wanted, dtype, exact=1e-12):
    tolerance = 1e-6 if dtype == "float32" else exact
    assert found.dtype == wanted.dtype == np.dtype(dtype)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))


# --- PyTorch ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def _forward(torch, module, dtype, X=X):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(X.astype(dtype))).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_pytorch_computes_the_same(torch, activation, head, dtype):
    net = _network(activation, head, dtype)
    module = exchange.to_torch(net)
    # PyTorch's softplus is z itself above 20, where they differ by up to 2e-9
    _close(_forward(torch, module, dtype), net.predict(X), dtype, 1e-8 if str(activation) == "softplus" else 1e-12)
    again = exchange.from_torch(module)
    assert np.array_equal(again.parameters, net.parameters)
    _close(again.predict(X), net.predict(X), dtype)
    assert exchange.state_dict(again).keys() == module.state_dict().keys()


def test_a_dense_layer_and_its_activation_become_one_again(torch):
    nn = torch.nn
    net = exchange.from_torch(nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 2, bias=False)))
    assert [layer.describe() for layer in net.layers] == ["Dense, tanh", "Dense"]
    assert net.parameters.size == 3 * 4 + 4 + 4 * 2


def test_an_activation_after_dropout_stays_where_it_is(torch):
    nn = torch.nn
    net = exchange.from_torch(nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(), nn.Identity(), nn.ReLU()))
    assert [layer.describe() for layer in net.layers][:2] == ["Dense", "Dropout, 0.5"]
    assert len(net.layers) == 5


def test_training_goes_on_in_pytorch_as_here(torch):
    net = _network("tanh", dtype="float64")
    object.__setattr__(net.layers[1], "rate", 0.0)
    net = exchange.from_torch(exchange.to_torch(net))
    module = exchange.to_torch(net)
    y = RNG.integers(0, 4, len(X))
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        optimizer.step()
    net.fit(X, y, loss="softmax_cross_entropy", optimizer=fj.SGD(0.05), epochs=5, batch_size=len(X), shuffle=False)
    for name, value in exchange.state_dict(net).items():
        np.testing.assert_allclose(value.numpy(), module.state_dict()[name].numpy(), rtol=1e-9, atol=1e-12)


def test_state_dicts_are_copies_and_come_back_to_the_bit(torch, tmp_path):
    net, other = _network(), _network()
    other.parameters[:] = 0
    values = exchange.state_dict(net)
    torch.save(values, tmp_path / "weights.pt")
    exchange.load_state_dict(other, torch.load(tmp_path / "weights.pt", weights_only=True))
    assert np.array_equal(other.parameters, net.parameters)
    values["0.weight"][:] = 7
    assert not (net.layers[0].weight == 7).any()


def test_a_state_dict_of_another_type_is_converted(torch):
    net = _network(dtype="float32")
    wanted = {name: value.bfloat16() for name, value in exchange.state_dict(net).items()}
    exchange.load_state_dict(net, wanted)
    for name, value in exchange.state_dict(net).items():
        assert torch.equal(value, wanted[name].float())


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda v: v.pop("0.bias"), KeyError, "lacks 0.bias"),
        (lambda v: v.update(other=v["0.bias"]), KeyError, "besides other"),
        (
            lambda v: v.update({"0.weight": v["0.weight"].T}),
            ValueError,
            r"0.weight has shape \(6, 9\), expected \(9, 6\)",
        ),
        (lambda v: v.update({"6.bias": np.array(list("abcd"))}), TypeError, "6.bias has dtype <U1"),
    ],
)
def test_a_wrong_state_dict_changes_nothing(change, kind, words):
    net = _network()
    before = net.parameters.copy()
    values = {name: value + 1 for name, value in pytorch._named(net).items()}
    change(values)
    with pytest.raises(kind, match=words):
        exchange.load_state_dict(net, values)
    assert np.array_equal(net.parameters, before)


def test_what_is_no_state_dict():
    with pytest.raises(TypeError, match="values is a list, expected a state_dict"):
        exchange.load_state_dict(_network(), [1, 2])


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), TypeError, r"module\[1\] is BatchNorm1d"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.GELU(approximate="tanh")), TypeError, r"module\[1\] is GELU"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Softplus(beta=2)), TypeError, r"module\[1\] is Softplus"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=0)), TypeError, r"module\[1\] is Softmax"),
        (lambda nn: nn.Sequential(nn.ReLU()), ValueError, "no nn.Linear"),
        (lambda nn: nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3)), ValueError, r"layers\[1\]"),
        (lambda nn: nn.Linear(2, 2), TypeError, "module is a Linear, expected an nn.Sequential"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2).half()), TypeError, "float16"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2).bfloat16()), TypeError, r"module\[0\] is Linear.*bfloat16"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), TypeError, "float32 and float64"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Softplus(threshold=1)), TypeError, r"module\[1\] is Softplus"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Softplus(threshold=19.9)), TypeError, r"module\[1\] is Softp"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.ReLU6()), TypeError, r"module\[1\] is ReLU6"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.0)), ValueError, r"module\[1\] is LeakyReLU"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.Dropout(1.0)), ValueError, r"module\[1\] is Dropout\(p=1.0"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2), nn.AlphaDropout()), TypeError, r"module\[1\] is AlphaDropout"),
        (lambda nn: nn.Sequential(nn.Linear(2, 2, device="meta")), TypeError, r"module\[0\].*no plain tensor"),
    ],
)
def test_modules_that_have_no_layer_here(torch, make, kind, words):
    with pytest.raises(kind, match=words):
        exchange.from_torch(make(torch.nn))


def _shared(nn):
    relu, tanh, linear, inner = nn.ReLU(), nn.Tanh(), nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.Sigmoid())
    return {
        "one activation everywhere": nn.Sequential(nn.Linear(6, 5), relu, nn.Linear(5, 4), relu, nn.Linear(4, 2), relu),
        "one activation twice in a row": nn.Sequential(nn.Linear(6, 5), tanh, tanh, nn.Linear(5, 4), tanh),
        "one Linear twice": nn.Sequential(linear, relu, linear, tanh, linear),
        "one part twice": nn.Sequential(inner, nn.Linear(6, 6), inner, inner),
        "within and without": nn.Sequential(nn.Sequential(nn.Linear(6, 6), relu), nn.Sequential(), linear, relu),
    }


@pytest.mark.parametrize(
    "what",
    [
        "one activation everywhere",
        "one activation twice in a row",
        "one Linear twice",
        "one part twice",
        "within and without",
    ],
)
def test_a_module_that_stands_in_several_places_is_taken_in_each(torch, what):
    torch.manual_seed(0)
    module = _shared(torch.nn)[what].double()
    net = exchange.from_torch(module)
    _close(net.predict(X), _forward(torch, module, "float64"), "float64")
    assert sum(layer.describe().startswith("Dense") for layer in net.layers) >= 2


def _changed(torch, how):
    """A module that computes something of its own, by every way that PyTorch has for that."""
    nn = torch.nn

    class Twice(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Skipping(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class Plain(nn.Sequential):
        pass

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x):
            return x + self.inner(x)

    class Loud(nn.ReLU):
        def forward(self, x):
            return super().forward(x) + 1

    module = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 3)))
    if how == "a subclass of Linear":
        module[0] = Twice(3, 3)
    elif how == "a subclass of Sequential within":
        module[1] = Skipping(nn.Linear(3, 3))
    elif how == "a subclass of Sequential":
        module = Skipping(nn.Linear(3, 3))
    elif how == "a subclass of Sequential that changes nothing":
        module[1] = Plain(nn.Linear(3, 3))
    elif how == "a container":
        module[1] = Residual()
    elif how == "a subclass of an activation":
        module[1][0] = Loud()
    elif how == "a list":
        module[1] = nn.ModuleList([nn.Linear(3, 3)])
    elif how == "nothing at all":
        module.register_module("2", None)
    elif how == "a forward of the object's own":
        module[1][1].forward = lambda x: x + 1
    elif how == "a forward of the whole":
        module.forward = lambda x: x + 1
    elif how == "a forward hook":
        module[1][1].register_forward_hook(lambda m, x, y: y + 1)
    elif how == "a forward hook of a part":
        module[1].register_forward_hook(lambda m, x, y: y + 1)
    elif how == "a forward hook of the whole":
        module.register_forward_pre_hook(lambda m, x: (x[0] + 1,))
    elif how == "a backward hook":
        module[0].register_full_backward_hook(lambda m, a, b: (a[0] * 2,))
    elif how == "a parametrization":
        nn.utils.parametrizations.weight_norm(module[0])
    elif how == "spectral norm":
        nn.utils.parametrizations.spectral_norm(module[0])
    elif how == "pruning":
        from torch.nn.utils import prune

        prune.l1_unstructured(module[0], "weight", 1)
    elif how == "compiled":
        module = torch.compile(module, backend="eager")
    elif how == "a weight of another shape":
        module[0].weight = nn.Parameter(torch.zeros(3))
    elif how == "a bias of another shape":
        module[0].bias = nn.Parameter(torch.zeros(1))
    elif how == "a sparse weight":
        module[0].weight = nn.Parameter(torch.eye(3).to_sparse(), requires_grad=False)
    elif how == "half a bias":
        module[0].bias = nn.Parameter(torch.zeros(3).double())
    elif how == "within itself":
        module[1].append(module)
    return module


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("a subclass of Linear", r"module\[0\] is Twice"),
        ("a subclass of Sequential within", r"module\[1\] is Skipping"),
        ("a subclass of Sequential", "module is a Skipping"),
        ("a subclass of Sequential that changes nothing", r"module\[1\] is Plain"),
        ("a container", r"module\[1\] is Residual"),
        ("a subclass of an activation", r"module\[1.0\] is Loud"),
        ("a list", r"module\[1\] is ModuleList"),
        ("nothing at all", r"module\[2\] is None"),
        ("a forward of the object's own", r"module\[1.1\] is a Linear with a forward of its own"),
        ("a forward of the whole", r"module\[\] is a Sequential with a forward of its own"),
        ("a forward hook", r"module\[1.1\] is a Linear with forward_hooks"),
        ("a forward hook of a part", r"module\[1\] is a Sequential with forward_hooks"),
        ("a forward hook of the whole", r"module\[\] is a Sequential with forward_pre_hooks"),
        ("a backward hook", r"module\[0\] is a Linear with backward_hooks"),
        ("a parametrization", r"module\[0\] is ParametrizedLinear"),
        ("spectral norm", r"module\[0\] is ParametrizedLinear"),
        ("pruning", r"module\[0\] is a Linear with forward_pre_hooks"),
        ("compiled", "module is a OptimizedModule"),
        ("a weight of another shape", r"its weight has shape \(3,\), expected \(3, 3\)"),
        ("a bias of another shape", r"its bias has shape \(1,\), expected \(3,\)"),
        ("a sparse weight", "no plain tensor"),
        ("half a bias", "float32 and float64"),
        ("within itself", "within itself"),
    ],
)
def test_what_computes_something_of_its_own_is_refused_by_its_place(torch, how, words):
    with pytest.raises((TypeError, ValueError), match=words):
        exchange.from_torch(_changed(torch, how))


def test_softplus_from_the_threshold_on_where_it_makes_no_difference(torch):
    module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Softplus(threshold=40)).double()
    _close(exchange.from_torch(module).predict(9 * X), _forward(torch, module, "float64", 9 * X), "float64")


def test_the_names_of_the_parameters_are_those_of_modules_one_after_the_other(torch):
    nn = torch.nn
    flat = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(4, 2))
    nested = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 2)))
    wanted = ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert list(flat.state_dict()) == wanted
    for module in (flat, nested):
        assert list(exchange.state_dict(exchange.from_torch(module))) == wanted


def test_what_float32_can_not_hold_in_a_state_dict_becomes_infinite():
    net = _network(dtype="float32")
    values = {name: np.full(value.shape, 1e300) for name, value in pytorch._named(net).items()}
    exchange.load_state_dict(net, values)
    assert np.isposinf(net.parameters).all()


@pytest.mark.parametrize("function", [exchange.to_torch, exchange.to_onnx])
def test_an_activation_that_the_other_library_has_not_is_refused(function):
    pytest.importorskip("onnx" if function is exchange.to_onnx else "torch", reason="not installed")
    unknown = activations.get("tanh")
    object.__setattr__(unknown, "name", "mish")
    for layer in (fj.Dense(2, 2), fj.Activation("tanh")):
        net = fj.Sequential([layer], seed=0, inputs=2)
        object.__setattr__(net.layers[0], "activation", unknown)  # as a file of a later version might have
        with pytest.raises(TypeError, match=r"no .* for the activation mish"):
            function(net)


class Own(fj.Layer):
    def forward(self, X, training):
        return X

    def backward(self, dA):
        return dA


@pytest.mark.parametrize("function", [exchange.state_dict, exchange.to_torch, exchange.to_onnx])
def test_layers_of_a_users_own_are_refused(function):
    pytest.importorskip("onnx" if function is exchange.to_onnx else "torch", reason="not installed")
    with pytest.raises(TypeError, match=r"layers\[1\] is Own"):
        function(fj.Sequential([fj.Dense(2, 2), Own()]))


# --- scikit-learn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("task", ["classes", "two classes", "labels", "amounts", "several amounts"])
def test_fitted_estimators_of_scikit_learn(task, activation, ours):
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    if ours:
        from fastjac import estimators as neural_network
    labels = RNG.integers(0, 2, (len(X), 3))
    y = {
        "classes": np.arange(len(X)) % 3,
        "two classes": labels[:, 0],
        "labels": labels,
        "amounts": X[:, 0],
        "several amounts": X[:, :2],
    }[task]
    kind = "MLPRegressor" if "amounts" in task else "MLPClassifier"
    made = getattr(neural_network, kind)(hidden_layer_sizes=(5, 4), activation=activation, max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.fit(X, y)
    found = exchange.from_sklearn(made, probabilities=True).predict(X)
    if kind == "MLPRegressor":
        wanted = made.predict(X).reshape(len(X), -1)
    else:
        wanted = made.predict_proba(X)
        wanted = wanted[:, 1:] if task == "two classes" else wanted
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    if kind == "MLPClassifier":
        logits = exchange.from_sklearn(made).predict(X)
        p = np.exp(logits - logits.max(axis=1, keepdims=True)) if task == "classes" else 1 / (1 + np.exp(-logits))
        np.testing.assert_allclose(p / p.sum(axis=1, keepdims=True) if task == "classes" else p, wanted, atol=1e-12)


def test_float32_estimators_give_float32_networks():
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = neural_network.MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0)
        made.fit(X.astype("f4"), X[:, 0].astype("f4"))
    assert exchange.from_sklearn(made).dtype == np.float32


def test_what_is_no_fitted_estimator():
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    with pytest.raises(ValueError, match="not fitted"):
        exchange.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(TypeError, match="estimator is a dict"):
        exchange.from_sklearn({})


# --- ONNX -------------------------------------------------------------------------------------------------------------


def _run_onnx(model, dtype, X=X):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["Y"], {"X": X.astype(dtype)})
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_onnxruntime_computes_the_same(activation, head, dtype):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net = _network(activation, head, dtype)
    _close(_run_onnx(exchange.to_onnx(net), dtype), net.predict(X), dtype, 1e-6 if str(activation) == "gelu" else 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activations_in_onnx_are_right_for_numbers_of_any_size(activation, dtype):
    pytest.importorskip("onnx", reason="onnx is not installed")
    z = np.array([0.0, 1e-30, 1e-3, 1, 9, 20, 50, 88, 100, 1000, 1e30])
    Z = np.concatenate([-z, z])[:, None]
    net = fj.Sequential([fj.Activation(activation)], seed=0, dtype=dtype, inputs=1)
    found, wanted = _run_onnx(exchange.to_onnx(net), dtype, Z), net.predict(Z)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activations_in_onnx_are_right_for_numbers_that_are_not_finite(activation, dtype):
    pytest.importorskip("onnx", reason="onnx is not installed")
    Z = np.array([-np.inf, np.inf, np.nan, -1001, -999, -1e38])[:, None]
    net = fj.Sequential([fj.Activation(activation)], seed=0, dtype=dtype, inputs=1)
    np.testing.assert_allclose(_run_onnx(exchange.to_onnx(net), dtype, Z), net.predict(Z), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ending", ["softmax", "sigmoid"])
def test_onnx_models_may_end_with_probabilities(ending):
    pytest.importorskip("onnx", reason="onnx is not installed")
    found = _run_onnx(exchange.to_onnx(_network(bias=False), probabilities=ending), "float64")
    _close(found, _network(head=ending, bias=False).predict(X), "float64")


def test_onnx_models_in_files(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = exchange.to_onnx(_network(), tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx") == model
    with pytest.raises(ValueError, match="probabilities is 'relu'"):
        exchange.to_onnx(_network(), tmp_path / "other.onnx", probabilities="relu")
    assert not (tmp_path / "other.onnx").exists()


def test_missing_libraries_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for function, extra in ((exchange.to_torch, "torch"), (exchange.to_onnx, "onnx")):
        with pytest.raises(ImportError, match=rf'pip install "fastjac\[{extra}\]"'):
            function(_network())
