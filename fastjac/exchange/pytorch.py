"""Networks to and from PyTorch.

PyTorch's ``nn.Sequential`` has the activation as a module of its own, so that ``Dense(64, 128, activation="relu")`` is
two of its modules, ``nn.Linear`` and ``nn.ReLU``, and the names of its parameters count both: "0.weight", "2.weight",
…. Its weights are (outputs, inputs), ours (inputs, outputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from fastjac.exchange.foreign import cannot, needs
from fastjac.nn import activations
from fastjac.nn.activations import ActivationFunction
from fastjac.nn.layers import Activation, Dense, Dropout, Layer, Softmax
from fastjac.sequential import Sequential


def _modules(network: Sequential) -> Iterator[tuple[str, Dense | ActivationFunction | float | None]]:
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
            raise cannot(layer, k, "an nn.Sequential of PyTorch's modules")


def _named(network: Sequential) -> dict[str, np.ndarray]:
    """The parameters by PyTorch's names and in its shapes: views."""
    found = {}
    for k, (_, what) in enumerate(_modules(network)):
        if isinstance(what, Dense):
            found[f"{k}.weight"] = what.parameters["weight"].T
            if "bias" in what.parameters:
                found[f"{k}.bias"] = what.parameters["bias"]
    return found


def state_dict(network: Sequential) -> dict[str, Any]:
    """The parameters as PyTorch's ``nn.Sequential.load_state_dict`` takes them.

    Args:
        network: of built-in layers.

    Returns:
        Tensors by name, copies; weights are (outputs, inputs).

    Raises:
        TypeError: a layer that PyTorch has not.
        ImportError: no PyTorch.
    """
    torch = needs("torch")
    return {name: torch.from_numpy(value.copy(order="C")) for name, value in _named(network).items()}


def load_state_dict(network: Sequential, values: Mapping[str, object]) -> None:
    """Copy parameters from the ``state_dict`` of an equivalent ``nn.Sequential``.

    Args:
        network: of built-in layers; its parameters are written.
        values: tensors, on any device, or arrays, by name; weights are (outputs, inputs). They are converted to the
            network's dtype.

    Raises:
        KeyError: names are missing or unexpected.
        TypeError, ValueError: a layer that PyTorch has not, no real numbers, or another shape. In every case nothing
            is changed.
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
    for name, view in own.items():
        array = _array(values[name])
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers")
        if array.shape != view.shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {view.shape}")
        arrays[name] = array
    with np.errstate(over="ignore"):  # what float32 can't hold becomes inf, as it does everywhere in NumPy
        for name, view in own.items():
            view[...] = arrays[name]


def _array(tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach"):  # NumPy has no bfloat16, and no way to another device
        tensor = tensor.detach().cpu()
        tensor = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    return np.asarray(tensor)


def to_torch(network: Sequential) -> Any:
    """An ``nn.Sequential`` that computes the same, with copies of the parameters.

    PyTorch's relu has the slope 0 at 0, fastjac's 1 unless it is ``fastjac.relu(at_zero=0)``: all else is alike.

    Args:
        network: of built-in layers.

    Returns:
        The ``nn.Sequential``, of the network's dtype, in the mode of training.

    Raises:
        TypeError: a layer that PyTorch has not.
        ImportError: no PyTorch.
    """
    torch = needs("torch")
    nn = torch.nn
    dtype = getattr(torch, str(network.dtype))
    modules = []
    for kind, what in _modules(network):
        if isinstance(what, Dense):
            modules.append(nn.Linear(what.inputs, what.outputs, bias="bias" in what.parameters, dtype=dtype))
        elif isinstance(what, ActivationFunction):
            modules.append(_torch_activation(nn, what))
        else:
            modules.append(nn.Softmax(dim=1) if kind == "softmax" else nn.Dropout(what))
    module = nn.Sequential(*modules)
    module.load_state_dict(state_dict(network))
    return module


_TORCH_NAMES = {
    "identity": "Identity",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "silu": "SiLU",
    "gelu": "GELU",
    "softplus": "Softplus",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
}


def _torch_activation(nn: ModuleType, activation: ActivationFunction) -> Any:
    if activation.name not in _TORCH_NAMES:
        raise TypeError(
            f"PyTorch has no module for the activation {activation}, expected one of {', '.join(_TORCH_NAMES)}"
        )
    kind = getattr(nn, _TORCH_NAMES[activation.name])
    return kind(activation.parameter) if activation.name in ("leaky_relu", "elu") else kind()


def from_torch(module: Any) -> Sequential:
    """A network that computes what an ``nn.Sequential`` of layers that fastjac has computes after its ``eval()``.

    Parameters are copied. An ``nn.Linear`` and the activation after it become one ``Dense``, whose kernels are fused.
    A module that stands in several places becomes a layer for each; those of an ``nn.Linear`` begin equal and are then
    trained apart.

    The names of the parameters, as ``state_dict`` of the result has them, are those of the modules one after the other,
    "0.weight", "2.weight", …: the module's own, if it has no ``nn.Sequential`` within and its modules have no names.

    Args:
        module: of Linear, the activations, Softmax over columns, and Dropout; nested ``nn.Sequential`` are opened.

    Returns:
        The network, of the module's dtype and with the seed 0.

    Raises:
        TypeError: modules that fastjac has not or can't look into, by their place: other kinds, subclasses, modules
            with hooks, parametrizations or a ``forward`` of their own; or parameters that are not float32 or float64.
        ValueError: settings that fastjac has not, or widths that don't fit together.
        ImportError: no PyTorch.
    """
    torch = needs("torch")
    nn = torch.nn
    if type(module) is not nn.Sequential:
        raise TypeError(f"module is a {type(module).__name__}, expected an nn.Sequential, and no subclass of it")
    layers: list[Layer] = []
    linears: list[tuple[np.ndarray, np.ndarray | None]] = []
    before: Any = None
    for name, one in _opened(nn, "", module, ()):
        try:
            if type(one) is nn.Linear:
                weight, bias = _linear(torch, one)
                linears.append((weight, bias))
                layers.append(Dense(weight.shape[1], weight.shape[0], bias=bias is not None))
            elif type(one) is nn.Dropout:
                layers.append(Dropout(one.p))
            elif type(one) is nn.Softmax and one.dim in (1, -1):
                layers.append(Softmax())
            else:
                activation = _from_torch_activation(nn, one)
                if type(before) is nn.Linear and activation.name != "identity":
                    dense = layers.pop()
                    assert isinstance(dense, Dense)
                    layers.append(Dense(dense.inputs, dense.outputs, activation=activation, bias=dense.has_bias))
                else:
                    layers.append(Activation(activation))
        except (TypeError, ValueError) as error:
            raise type(error)(f"module[{name}] is {' '.join(str(one).split())[:100]}: {error}") from error
        before = one
    if not linears:
        raise ValueError("module has no nn.Linear, which would tell its width")
    kinds = {str(array.dtype) for pair in linears for array in pair if array is not None}
    if len(kinds) > 1:
        raise TypeError(f"module has parameters of {' and '.join(sorted(kinds))}, expected one of them throughout")
    network = Sequential(layers, seed=0, dtype=kinds.pop())
    dense_layers = [layer for layer in network.layers if isinstance(layer, Dense)]
    for layer, (weight, bias) in zip(dense_layers, linears, strict=True):
        layer.parameters["weight"][...] = weight.T
        if bias is not None:
            layer.parameters["bias"][...] = bias
    return network


_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def _opened(nn: ModuleType, name: str, module: Any, around: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """The modules in the order in which they are called, a repeated one each time, with their places."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module[{name}] is {module!r}, expected a module")
    own = [kind.strip("_") for kind in _HOOKS if getattr(module, kind, None)]
    own += ["a forward of its own"] * ("forward" in vars(module))
    if own:
        raise TypeError(
            f"module[{name}] is a {type(module).__name__} with {', '.join(own)}: what that does to its"
            " output can't be known"
        )
    if type(module) is not nn.Sequential:
        yield name, module
        return
    if any(module is one for one in around):
        raise ValueError(f"module[{name}] is within itself")
    for inner, one in module._modules.items():  # named_children() would leave out what it has given before
        yield from _opened(nn, f"{name}.{inner}".lstrip("."), one, (*around, module))


def _linear(torch: ModuleType, module: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight (outputs, inputs) and bias as they are, whatever the module says of its widths."""
    arrays: list[np.ndarray] = []
    for name in ("weight", "bias"):
        tensor = getattr(module, name)
        if name == "bias" and tensor is None:
            return arrays[0], None
        # a tensor of another kind may compute in a way of its own, or have no numbers
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout != torch.strided or tensor.is_meta:
            raise TypeError(f"its {name} is no plain tensor of numbers in memory")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"its {name} is of {tensor.dtype}, expected float32 or float64")
        arrays.append(tensor.detach().cpu().numpy())
        wanted = (module.out_features, module.in_features)[: 2 if name == "weight" else 1]
        if arrays[-1].shape != wanted:
            raise ValueError(f"its {name} has shape {arrays[-1].shape}, expected {wanted}")
    return arrays[0], arrays[1]


def _from_torch_activation(nn: ModuleType, module: Any) -> ActivationFunction:
    plain = (nn.Identity, nn.Sigmoid, nn.Tanh, nn.SiLU)
    kind = type(module)
    if kind in plain:
        return activations.get({getattr(nn, value): key for key, value in _TORCH_NAMES.items()}[kind])
    if kind is nn.ReLU:
        return activations.relu(at_zero=0)
    if kind is nn.LeakyReLU:
        return activations.leaky_relu(module.negative_slope)
    if kind is nn.ELU:
        return activations.elu(module.alpha)
    if kind is nn.GELU and module.approximate == "none":
        return activations.get("gelu")
    # above its threshold, PyTorch's is z itself: from 20 on that is less than 2.1e-9 away
    if kind is nn.Softplus and module.beta == 1 and module.threshold >= 20:
        return activations.get("softplus")
    raise TypeError(
        "fastjac has no such layer, expected Linear, Dropout, Softmax(dim=1), or with settings that it has"
        f" too {', '.join(_TORCH_NAMES.values())}"
    )
