"""Random networks through files, PyTorch and ONNX, and random modules from PyTorch: the same numbers, or refused.

A hundred of each; two thousand more by ``pytest -m slow tests/exchange/test_exchange_search.py``. The other library
computes for itself. Rounding is 1e-13 in float64 and 1e-6 in float32 of the largest number that is added up, times what
the layers after it can make of it. GELU in ONNX has float32's erf, and softplus in PyTorch leaves out up to 2.1e-9
above 20.
"""

import random

import numpy as np
import pytest

import fastjac as fj
from fastjac import exchange
from fastjac.nn import activations

CASES = [range(100), pytest.param(range(100, 2100), marks=pytest.mark.slow, id="at size")]


def _activation(rng):
    name = rng.choice([None, *activations.NAMES, "relu", "tanh"])
    if name == "leaky_relu":
        return fj.leaky_relu(rng.choice([0.01, 0.3, 1.0, 3.5]))
    if name == "elu":
        return fj.elu(rng.choice([1.0, 0.5, 2.5, 1e-3]))
    if name == "relu":
        return fj.relu(at_zero=rng.randrange(2))
    return name


def _network(rng):
    """Layers of every kind in any order, with parameters of a size at which every activation bends."""
    width = inputs = rng.choice([1, 2, 3, 7, 16, 17, 40])
    layers = []
    for _ in range(rng.randint(1, 7)):
        kind = rng.choice(["dense", "dense", "dense", "activation", "dropout", "softmax"])
        if kind == "dense":
            outputs = rng.choice([1, 2, 5, 8, 16, 33, 70])
            layers.append(fj.Dense(width, outputs, activation=_activation(rng), bias=rng.random() < 0.7))
            width = outputs
        elif kind == "activation":
            layers.append(fj.Activation(_activation(rng) or "tanh"))
        else:
            layers.append(fj.Dropout(rng.choice([0.0, 0.3, 0.99])) if kind == "dropout" else fj.Softmax())
    net = fj.Sequential(layers, seed=rng.randrange(2**40), dtype=rng.choice(["float32", "float64"]), inputs=inputs)
    net.parameters[:] = np.random.default_rng(rng.randrange(2**32)).normal(scale=0.7, size=net.parameters.size)
    return net


def _rows(rng, inputs, dtype):
    made = np.random.default_rng(rng.randrange(2**32))
    X = made.normal(size=(rng.choice([1, 5, 33]), inputs)) * rng.choice([0.1, 1, 10])
    return X.astype(dtype)


def _size(net, X):
    """The largest number that is added up on the way: what rounding is relative to."""
    size, A = np.abs(X).max(initial=1.0), X.astype(np.float64)
    for layer in net.layers:
        if isinstance(layer, fj.Dense):
            size = max(size, (np.abs(A) @ np.abs(layer.weight.astype(np.float64))).max())
        A = fj.Sequential.predict(_alone(layer, A.shape[1], net.dtype), A).astype(np.float64)
    return max(size, np.abs(A).max())


def _alone(layer, inputs, dtype):
    """A network of a layer like this one."""
    if isinstance(layer, fj.Dense):
        one = fj.Dense(layer.inputs, layer.outputs, activation=layer.activation, bias="bias" in layer.parameters)
    elif isinstance(layer, fj.Activation):
        one = fj.Activation(layer.activation)
    else:
        one = fj.Softmax() if isinstance(layer, fj.Softmax) else fj.Dropout(layer.rate)
    net = fj.Sequential([one], seed=0, dtype=dtype, inputs=inputs)
    for name, value in layer.parameters.items():
        one.parameters[name][...] = value
    return net


def _steepness(net):
    """How much the layers can make an error grow: the product of their norms, and of slopes above 1."""
    grows = 1.0
    for layer in net.layers:
        if isinstance(layer, fj.Dense):
            grows *= max(1.0, float(np.linalg.norm(layer.weight.astype(np.float64), 2)))
        grows *= max(1.2, getattr(getattr(layer, "activation", None), "parameter", 1.0))
    return grows


def _agree(found, wanted, net, X, exact, case):
    unit = {"float32": 1e-6, "float64": 1e-13}[str(net.dtype)]
    tolerance = max(unit, exact) * _steepness(net) * _size(net, X)
    assert found.dtype == wanted.dtype, case
    assert np.array_equal(np.isnan(found), np.isnan(wanted)), case
    difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0)
    assert difference <= tolerance, (case, repr(net), difference, tolerance)


@pytest.mark.parametrize("cases", CASES)
def test_networks_come_back_from_files_to_the_bit(cases, tmp_path):
    for case in cases:
        rng = random.Random(f"files {case}")
        net = _network(rng)
        net.preprocessing = rng.choice([None, {}, {"columns": ["ä", 1, None, [0.1, True]]}])
        net.save(tmp_path / "net")
        again = fj.load(tmp_path / "net")
        X = _rows(rng, net.inputs, net.dtype)
        assert again.parameters.tobytes() == net.parameters.tobytes(), case
        assert again.predict(X).tobytes() == net.predict(X).tobytes(), case
        assert (again.configuration(), again.preprocessing) == (net.configuration(), net.preprocessing), case
        again.save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes(), case


@pytest.mark.parametrize("cases", CASES)
def test_networks_in_onnx_give_what_they_give_here(cases):
    pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for case in cases:
        rng = random.Random(f"onnx {case}")
        net = _network(rng)
        X = _rows(rng, net.inputs, net.dtype)
        ending = rng.choice([None, None, "softmax", "sigmoid"])
        model = exchange.to_onnx(net, probabilities=ending)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        (found,) = session.run(["Y"], {"X": X})
        wanted = net.predict(X)
        if ending is not None:
            last = fj.Softmax() if ending == "softmax" else fj.Activation("sigmoid")
            wanted = fj.Sequential([last], seed=0, dtype=net.dtype, inputs=net.outputs).predict(wanted)
        _agree(found, wanted, net, X, 2e-7 if "gelu" in repr(net) else 0, case)


@pytest.mark.parametrize("cases", CASES)
def test_networks_in_pytorch_give_what_they_give_here_and_come_back(cases):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for case in cases:
        rng = random.Random(f"torch {case}")
        net = _network(rng)
        X = _rows(rng, net.inputs, net.dtype)
        module = exchange.to_torch(net).eval()
        with torch.no_grad():
            found = module(torch.from_numpy(X)).numpy()
        exact = 2.1e-9 if "softplus" in repr(net) else 0
        _agree(found, net.predict(X), net, X, exact, case)
        if any(isinstance(layer, fj.Dense) for layer in net.layers):
            again = exchange.from_torch(module)
            assert again.parameters.tobytes() == net.parameters.tobytes(), case
            _agree(again.predict(X), net.predict(X), net, X, 0, case)
            assert exchange.state_dict(again).keys() == module.state_dict().keys(), case


# --- modules of PyTorch -----------------------------------------------------------------------------------------------


def _own_kinds(torch):
    nn = torch.nn

    class Scaled(nn.Linear):
        def forward(self, x):
            return 1.5 * super().forward(x)

    class Named(nn.Sequential):
        pass

    class Residual(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class Shifted(nn.Tanh):
        def forward(self, x):
            return super().forward(x) + 0.5

    return Scaled, Named, Residual, Shifted


def _module(torch, rng):
    """A tree of modules, most of which fastjac has; now and then one stands where another stood before."""
    nn = torch.nn
    scaled, named, residual, shifted = _own_kinds(torch)
    made = []
    odd = rng.random() < 0.4

    def leaf(width):
        again = [
            one for one in made if getattr(one, "in_features", width) == getattr(one, "out_features", width) == width
        ]
        if again and rng.random() < 0.25:
            return rng.choice(again), width
        known = [
            nn.ReLU,
            nn.Tanh,
            nn.Sigmoid,
            nn.SiLU,
            nn.GELU,
            nn.Softplus,
            nn.Identity,
            lambda: nn.Softmax(dim=rng.choice([1, -1])),
            lambda: nn.Dropout(rng.choice([0.0, 0.5])),
            lambda: nn.LeakyReLU(rng.choice([0.01, 0.2, 2])),
            lambda: nn.ELU(rng.choice([1, 0.5, 3.0])),
            lambda: nn.ReLU(inplace=True),
            lambda: nn.Softplus(threshold=rng.choice([20, 30])),
        ]
        unknown = [
            nn.ReLU6,
            nn.Hardtanh,
            nn.CELU,
            nn.SELU,
            nn.Mish,
            nn.Softsign,
            nn.LogSigmoid,
            nn.PReLU,
            shifted,
            nn.Flatten,
            lambda: nn.Softmax(dim=0),
            lambda: nn.GELU(approximate="tanh"),
            nn.LogSoftmax,
            lambda: nn.Softplus(beta=2),
            lambda: nn.Softplus(threshold=1),
            lambda: nn.LayerNorm(width),
            lambda: nn.BatchNorm1d(width),
            lambda: scaled(width, width),
            nn.AlphaDropout,
            lambda: nn.LeakyReLU(0.0),
            lambda: nn.LeakyReLU(-0.5),
            lambda: nn.Dropout(1.0),
        ]
        if rng.random() < 0.45:
            outputs = rng.choice([width, width, 1, 4, 9])
            one = nn.Linear(width, outputs, bias=rng.random() < 0.7)
        else:
            outputs, one = width, rng.choice(unknown if odd and rng.random() < 0.2 else known)()
        made.append(one)
        return one, outputs

    def tree(width, depth):
        parts = []
        for _ in range(rng.randint(0 if depth else 1, 4)):
            if depth < 3 and rng.random() < 0.25:
                part, width = tree(width, depth + 1)
            else:
                part, width = leaf(width)
            parts.append(part)
        kind = rng.choice([named, residual]) if odd and rng.random() < 0.1 else nn.Sequential
        return kind(*parts), width

    inputs = rng.choice([1, 4, 9])
    module, _ = tree(inputs, 0)
    module = module.double()
    for one in module.modules():
        if odd and rng.random() < 0.05:
            one.register_forward_hook(lambda m, x, y: y * 1.5)
        if odd and isinstance(one, nn.Linear) and rng.random() < 0.05:
            nn.utils.parametrizations.weight_norm(one)
    return module, inputs, odd


@pytest.mark.parametrize("cases", CASES)
def test_any_module_of_pytorch_gives_the_same_here_or_is_refused(cases):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    taken = refused = repeated = 0
    for case in cases:
        rng = random.Random(f"modules {case}")
        torch.manual_seed(case)
        module, inputs, odd = _module(torch, rng)
        leaves = [one for one in _called(torch, module) if not isinstance(one, torch.nn.Sequential)]
        try:
            net = exchange.from_torch(module)
        except (TypeError, ValueError) as error:
            refused += 1
            words, net = str(error), None
        if net is None:
            assert "module" in words, case
            assert odd or not any(isinstance(one, torch.nn.Linear) for one in leaves), (case, words)
            continue
        taken += 1
        repeated += len(leaves) > len({id(one) for one in leaves})
        X = _rows(rng, inputs, "float64")
        with torch.no_grad():
            found = module.eval()(torch.from_numpy(X.copy())).numpy()
        exact = 2.1e-9 if "softplus" in repr(net) else 0
        _agree(found, net.predict(X), net, X, exact, case)
    assert taken > len(cases) / 4
    assert refused > len(cases) / 10
    assert repeated > len(cases) / 50
    print(f"{taken} taken, of which {repeated} with repeated modules, {refused} refused")


def _called(torch, module):
    for one in module._modules.values():
        yield one
        if isinstance(one, torch.nn.Sequential):
            yield from _called(torch, one)
