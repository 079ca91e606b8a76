"""Networks to and from other libraries: PyTorch, scikit-learn, ONNX. Needs ``pip install "fastjac[exchange]"``.

PyTorch's ``nn.Sequential`` has the activation as a module of its own, so that ``Dense(64, 128, activation="relu")`` is
two of its modules, ``nn.Linear`` and ``nn.ReLU``, and the names of its parameters count both: "0.weight", "2.weight",
…. Its weights are (outputs, inputs), ours (inputs, outputs).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastjac import activations, storage
from fastjac.activations import ActivationFunction
from fastjac.layers import Activation, Dense, Dropout, Layer, Softmax
from fastjac.network import Sequential

_OPSET = 17  # of ONNX: what every onnxruntime since 1.12 runs
_IR_VERSION = 8


def _needs(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f'this needs {package}: pip install "fastjac[exchange]"') from error


def _cannot(layer: Layer, place: int, what: str) -> TypeError:
    return TypeError(f"layers[{place}] is {type(layer).__name__}, which {what} can't hold: expected Dense, Activation,"
                     " Softmax or Dropout")  # fmt: skip


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def _modules(network: Sequential) -> Iterator[tuple[str, Any]]:
    """What each module of the ``nn.Sequential`` is made of: its kind, and a layer, an activation or a rate."""
    for k, layer in enumerate(network.layers):
        if type(layer) is Dense:
            yield "linear", layer
            if layer.activation.name != "identity":
                yield "activation", layer.activation
        elif type(layer) is Activation:
            yield "activation", layer.activation
        elif type(layer) is Softmax:
            yield "softmax", None
        elif type(layer) is Dropout:
            yield "dropout", layer.rate
        else:
            raise _cannot(layer, k, "an nn.Sequential of PyTorch's modules")


def _named(network: Sequential) -> dict[str, np.ndarray]:
    """The parameters by PyTorch's names and in its shapes: views."""
    found = {}
    for place, (kind, what) in enumerate(_modules(network)):
        if kind == "linear":
            found[f"{place}.weight"] = what.parameters["weight"].T
            if "bias" in what.parameters:
                found[f"{place}.bias"] = what.parameters["bias"]
    return found


def state_dict(network: Sequential) -> dict[str, Any]:
    """The parameters as PyTorch's ``nn.Sequential.load_state_dict`` takes them: copies.

    Raises:
        TypeError: a layer that PyTorch has not.
        ImportError: no PyTorch.
    """
    torch = _needs("torch")
    return {name: torch.from_numpy(value.copy(order="C")) for name, value in _named(network).items()}


def load_state_dict(network: Sequential, values: Mapping[str, Any]) -> None:
    """Copy parameters from the ``state_dict`` of an equivalent ``nn.Sequential``, of tensors or arrays.

    Raises:
        KeyError: names are missing or unexpected.
        TypeError, ValueError: no real numbers, or another shape. In every case nothing is changed.
    """
    own = _named(network)
    if not isinstance(values, Mapping):
        raise TypeError(f"values is a {type(values).__name__}, expected a state_dict: names and tensors")
    missing, unexpected = sorted(set(own) - set(values)), sorted(map(str, set(values) - set(own)))
    if missing or unexpected:
        parts = {"lacks": missing, "has besides": unexpected}
        said = " and ".join(f"{word} {', '.join(names)}" for word, names in parts.items() if names)
        raise KeyError(f"values is not the state_dict of this network, as it {said}; expected {', '.join(own)}")
    arrays = {}
    for name, place in own.items():
        array = _array(values[name])
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers")
        if array.shape != place.shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {place.shape}")
        arrays[name] = array
    for name, place in own.items():
        place[...] = arrays[name]


def _array(tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach"):  # NumPy has no bfloat16, and no way to another device
        tensor = tensor.detach().cpu()
        tensor = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    return np.asarray(tensor)


def to_torch(network: Sequential) -> Any:
    """An ``nn.Sequential`` that computes the same, with copies of the parameters.

    PyTorch's relu has the slope 0 at 0, fastjac's 1 unless it is ``fastjac.relu(at_zero=0)``: all else is alike.

    Raises:
        TypeError: a layer that PyTorch has not.
        ImportError: no PyTorch.
    """
    torch = _needs("torch")
    nn = torch.nn
    dtype = getattr(torch, str(network.dtype))
    modules = []
    for kind, what in _modules(network):
        if kind == "linear":
            modules.append(nn.Linear(what.inputs, what.outputs, bias="bias" in what.parameters, dtype=dtype))
        elif kind == "activation":
            modules.append(_torch_activation(nn, what))
        else:
            modules.append(nn.Softmax(dim=1) if kind == "softmax" else nn.Dropout(what))
    module = nn.Sequential(*modules)
    module.load_state_dict(state_dict(network))
    return module


def _torch_activation(nn: Any, activation: ActivationFunction) -> Any:
    plain = {"identity": "Identity", "relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "silu": "SiLU",
             "gelu": "GELU", "softplus": "Softplus"}  # fmt: skip
    if activation.name == "leaky_relu":
        return nn.LeakyReLU(activation.parameter)
    if activation.name == "elu":
        return nn.ELU(activation.parameter)
    return getattr(nn, plain[activation.name])()


def from_torch(module: Any) -> Sequential:
    """A network that computes the same as an ``nn.Sequential`` of layers that fastjac has; parameters are copied.

    An ``nn.Linear`` and the activation after it become one ``Dense``, whose kernels are fused. The names of the
    parameters stay: ``state_dict`` of the result is the module's own.

    Args:
        module: of Linear, the activations, Softmax over columns, and Dropout; nested ``nn.Sequential`` are opened.

    Raises:
        TypeError, ValueError: other modules, or others of their settings, by their place.
        ImportError: no PyTorch.
    """
    nn = _needs("torch").nn
    if not isinstance(module, nn.Sequential):
        raise TypeError(f"module is a {type(module).__name__}, expected an nn.Sequential")
    layers: list[Layer] = []
    linears = []
    before = None
    for name, one in module.named_modules():
        if isinstance(one, nn.Sequential):
            continue
        if isinstance(one, nn.Linear):
            linears.append(one)
            layers.append(Dense(one.in_features, one.out_features, bias=one.bias is not None))
        elif isinstance(one, nn.Dropout):
            layers.append(Dropout(one.p))
        elif isinstance(one, nn.Softmax) and one.dim in (1, -1):
            layers.append(Softmax())
        else:
            activation = _from_torch_activation(nn, name, one)
            if isinstance(before, nn.Linear) and activation.name != "identity":
                layers[-1] = Dense(
                    before.in_features, before.out_features, activation=activation, bias=before.bias is not None
                )
            else:
                layers.append(Activation(activation))
        before = one
    if not linears:
        raise ValueError("module has no nn.Linear, which would tell its width")
    kinds = {str(one.weight.dtype).removeprefix("torch.") for one in linears}
    if len(kinds) > 1 or not kinds <= {"float32", "float64"}:
        raise TypeError(f"module has parameters of {', '.join(sorted(kinds))}, expected float32 or float64 throughout")
    network = Sequential(layers, seed=0, dtype=kinds.pop())
    for layer, linear in zip((one for one in network.layers if isinstance(one, Dense)), linears, strict=True):
        layer.parameters["weight"][...] = _array(linear.weight).T
        if linear.bias is not None:
            layer.parameters["bias"][...] = _array(linear.bias)
    return network


def _from_torch_activation(nn: Any, name: str, module: Any) -> ActivationFunction:
    kinds = {nn.Identity: "identity", nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.SiLU: "silu"}
    if type(module) in kinds:
        found = kinds[type(module)]
        return activations.relu(at_zero=0) if found == "relu" else activations.get(found)
    if isinstance(module, nn.LeakyReLU):
        return activations.leaky_relu(module.negative_slope)
    if isinstance(module, nn.ELU):
        return activations.elu(module.alpha)
    if isinstance(module, nn.GELU) and module.approximate == "none":
        return activations.get("gelu")
    if isinstance(module, nn.Softplus) and module.beta == 1:
        return activations.get("softplus")
    raise TypeError(f"module[{name}] is {module}, which fastjac has no layer for: expected Linear, Dropout,"
                    f" Softmax(dim=1), or one of the activations {', '.join(activations.NAMES)}")  # fmt: skip


# --- scikit-learn -----------------------------------------------------------------------------------------------------


def from_sklearn(estimator: Any, *, probabilities: bool = False) -> Sequential:
    """The network of a fitted ``MLPClassifier`` or ``MLPRegressor``, scikit-learn's or ours.

    Args:
        estimator: a fitted one.
        probabilities: end as ``predict_proba`` does, with a softmax, or a sigmoid for two classes or several labels.
            False: end before it, with what fastjac's losses take.

    Returns:
        A network whose ``predict`` gives logits or probabilities; for regression what the estimator's ``predict``
        gives, or its logarithm where the loss is "poisson". Columns are in the order of ``classes_``; of two classes,
        there is one column, for the second.

    Raises:
        TypeError: no such estimator.
        ValueError: not fitted.
    """
    if not all(hasattr(estimator, name) for name in ("hidden_layer_sizes", "activation", "solver")):
        raise TypeError(f"estimator is a {type(estimator).__name__}, expected an MLPClassifier or MLPRegressor")
    if not hasattr(estimator, "coefs_"):
        raise ValueError("estimator is not fitted; call its fit first")
    if hasattr(estimator, "network_"):  # ours
        layers: list[Layer] = [copy.copy(layer) for layer in estimator.network_.layers]
        dtype = estimator.network_.dtype
    else:
        name = {"logistic": "sigmoid"}.get(estimator.activation, estimator.activation)
        coefs = estimator.coefs_
        dtype = coefs[0].dtype
        layers = [Dense(len(one), one.shape[1], activation=name if one is not coefs[-1] else None) for one in coefs]
    ending: dict[str, Layer] = {"softmax": Softmax(), "logistic": Activation("sigmoid")}
    if probabilities and estimator.out_activation_ in ending:
        layers.append(ending[estimator.out_activation_])
    network = Sequential(layers, seed=0, dtype=dtype)
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    for layer, weight, bias in zip(dense, estimator.coefs_, estimator.intercepts_, strict=True):
        layer.parameters["weight"][...] = weight
        layer.parameters["bias"][...] = bias
    return network


# --- ONNX -------------------------------------------------------------------------------------------------------------


class _Graph:
    """Nodes one after the other, and the arrays they name."""

    def __init__(self, onnx: Any, dtype: np.dtype[Any]) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.last = "X"

    def constant(self, value: Any) -> str:
        """The name of an array of the network's type."""
        name = f"constant_{len(self.arrays)}"
        self.arrays.append(self.onnx.numpy_helper.from_array(np.array(value, self.dtype), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node; its output is what comes last."""
        self.last = f"value_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [self.last], **attributes))
        return self.last

    def activate(self, activation: ActivationFunction) -> None:
        """The activation of what came last, in nodes that onnxruntime has for both types."""
        z, name, parameter = self.last, activation.name, activation.parameter
        if name in ("relu", "sigmoid", "tanh"):
            self.add({"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}[name], z)
        elif name == "silu":
            self.add("Mul", z, self.add("Sigmoid", z))
        elif name in ("leaky_relu", "elu"):
            # as max(z, 0) + the part below zero: attributes of LeakyRelu and Elu would be float32, Elu has no float64
            below = self.add("Min", z, self.constant(0))
            if name == "elu":
                below = self.add("Sub", self.add("Exp", below), self.constant(1))
            self.add("Add", self.add("Relu", z), self.add("Mul", below, self.constant(parameter)))
        elif name == "softplus":  # max(z, 0) + log(1 + e^-|z|)
            small = self.add("Exp", self.add("Neg", self.add("Abs", z)))
            self.add("Add", self.add("Relu", z), self.add("Log", self.add("Add", small, self.constant(1))))
        elif name == "gelu":  # z·(1 + erf(z/√2))/2; erf is there in float32 alone
            kinds = self.onnx.TensorProto
            argument = self.add("Mul", z, self.constant(np.sqrt(0.5)))
            erf = self.add("Erf", self.add("Cast", argument, to=kinds.FLOAT))
            if self.dtype == np.float64:
                erf = self.add("Cast", erf, to=kinds.DOUBLE)
            half = self.add("Mul", z, self.constant(0.5))
            self.add("Mul", half, self.add("Add", erf, self.constant(1)))


def to_onnx(network: Sequential, path: Any = None, *, probabilities: str | None = None) -> Any:
    """The network as an ONNX model that computes what ``predict`` gives, for any number of rows.

    Dropout is left out. The input is named "X", the output "Y".

    Args:
        network: of built-in layers.
        path: a file to write it to, whole or not at all.
        probabilities: "softmax" or "sigmoid" to end with, where the network gives logits.

    Returns:
        The ``onnx.ModelProto``, checked by ONNX's own checker.

    Raises:
        TypeError: a layer of your own.
        ValueError: other words for ``probabilities``.
        OSError: the file can't be written.
        ImportError: no onnx.
    """
    onnx = _needs("onnx")
    if probabilities not in (None, "softmax", "sigmoid"):
        raise ValueError(f"probabilities is {probabilities!r}, expected 'softmax', 'sigmoid' or None")
    graph = _Graph(onnx, network.dtype)
    for k, layer in enumerate(network.layers):
        if type(layer) is Dense:
            weight = graph.constant(layer.parameters["weight"])
            if "bias" in layer.parameters:
                graph.add("Gemm", graph.last, weight, graph.constant(layer.parameters["bias"]))
            else:
                graph.add("MatMul", graph.last, weight)
            graph.activate(layer.activation)
        elif type(layer) is Activation:
            graph.activate(layer.activation)
        elif type(layer) is Softmax:
            graph.add("Softmax", graph.last, axis=-1)
        elif type(layer) is not Dropout:
            raise _cannot(layer, k, "an ONNX model")
    if probabilities is not None:
        graph.add(probabilities.capitalize(), graph.last, **({"axis": -1} if probabilities == "softmax" else {}))
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.last], ["Y"]))
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(network.dtype))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes, "fastjac", [onnx.helper.make_tensor_value_info("X", kind, ["N", network.inputs])],
            [onnx.helper.make_tensor_value_info("Y", kind, ["N", network.outputs])], graph.arrays,
        ),
        producer_name="fastjac", opset_imports=[onnx.helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION,
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    if path is not None:
        storage.write(path, model.SerializeToString())
    return model
