"""A network as plain numbers and texts, for the header of a file, and back; see ``fastjac.files.container``.

A model file holds the tensors ``<layer>.<parameter>``, the network as ``describe`` gives it, and what was learnt about
the columns of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastjac.files import container
from fastjac.files.container import Tensors, expect, is_real, whole
from fastjac.nn.activations import ActivationFunction
from fastjac.nn.layers import Activation, Dense, Dropout, Layer, Softmax
from fastjac.support.errors import ModelFileError

LARGEST_SEED = 2**4096 - 1
_WIDEST_WITHOUT_WEIGHTS = 1 << 24  # of a network without dense layers, whose width no tensor proves
_DTYPES = ("float32", "float64")


def describe(layers: Sequence[Layer], dtype: Any, **numbers: int) -> dict[str, Any]:
    """The architecture, as ``layers_of`` takes it: plain numbers, texts and lists.

    Args:
        layers: those of a network.
        dtype: its type.
        numbers: inputs, seed, epochs_trained, training_step.

    Raises:
        TypeError: a layer of a user's own, which no file can describe.
        ValueError: what ``parameter_shapes`` would refuse when it is read, such as a width.

    >>> import fastjac as fj
    >>> fj.Sequential([fj.Dense(2, 1)], seed=0).configuration()["layers"]
    [{'kind': 'Dense', 'inputs': 2, 'outputs': 1, 'activation': ['identity', 0.0], 'bias': True}]
    """
    described = []
    for k, layer in enumerate(layers):
        if type(layer) is Dense:
            described.append(
                {
                    "kind": "Dense",
                    "inputs": layer.inputs,
                    "outputs": layer.outputs,
                    "activation": [layer.activation.name, float(layer.activation.parameter)],
                    "bias": "bias" in layer.parameters,
                }
            )
        elif type(layer) is Activation:
            activation = [layer.activation.name, float(layer.activation.parameter)]
            described.append({"kind": "Activation", "activation": activation})
        elif type(layer) is Softmax:
            described.append({"kind": "Softmax"})
        elif type(layer) is Dropout:
            described.append({"kind": "Dropout", "rate": layer.rate})
        else:
            raise TypeError(
                f"layers[{k}] is {type(layer).__name__}, which is code of your own and can't be put into a model file:"
                " expected Dense, Activation, Softmax or Dropout"
            )
    description = {"dtype": str(dtype), **numbers, "layers": described}
    try:
        parameter_shapes(description)
    except ValueError as error:
        raise ValueError(f"this network can't be put into a model file: {error}") from error
    return description


def _activation(value: Any, what: str) -> ActivationFunction:
    good = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and is_real(value[1])
    expect(good, f"the activation of {what} is {str(value)[:40]!r}")
    return ActivationFunction(value[0], float(value[1]))


def parameter_shapes(description: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a described network; checks everything but the values of activations.

    Raises:
        ValueError: not a description.
    """
    expect(isinstance(description, dict), "the network is not described")
    dtype = description.get("dtype")
    expect(isinstance(dtype, str) and dtype in _DTYPES, f"dtype is {str(dtype)[:40]!r}")
    whole(description.get("seed"), "seed", 0, LARGEST_SEED)
    for name in ("epochs_trained", "training_step"):
        whole(description.get(name), name)
    width = whole(description.get("inputs"), "inputs", 1)
    layers = description.get("layers")
    expect(isinstance(layers, list) and len(layers) > 0, "there are no layers")
    shapes: dict[str, tuple[int, ...]] = {}
    for k, layer in enumerate(layers):  # type: ignore[arg-type]
        what = f"layer {k}"
        expect(isinstance(layer, dict), f"{what} is not described")
        kind = layer.get("kind")
        expect(kind in ("Dense", "Activation", "Softmax", "Dropout"), f"{what} is of the kind {str(kind)[:40]!r}")
        if kind == "Dense":
            expect(layer.get("inputs") == width, f"{what} takes {str(layer.get('inputs'))[:40]} inputs, not {width}")
            expect(type(layer.get("bias")) is bool, f"{what} does not say whether it has a bias")
            outputs = whole(layer.get("outputs"), f"outputs of {what}", 1)
            shapes[f"{k}.weight"] = (width, outputs)
            if layer["bias"]:
                shapes[f"{k}.bias"] = (outputs,)
            width = outputs
        elif kind == "Dropout":
            rate = layer.get("rate")
            expect(type(rate) in (int, float) and 0 <= rate < 1, f"the rate of {what} is {str(rate)[:40]!r}")
        if kind in ("Dense", "Activation"):
            _activation(layer.get("activation"), what)
    expect(bool(shapes) or description["inputs"] <= _WIDEST_WITHOUT_WEIGHTS, "inputs is too large")
    return shapes


def layers_of(description: dict[str, Any]) -> list[Layer]:
    """New layers of this architecture.

    Raises:
        ValueError: not what ``describe`` gives.

    >>> import fastjac as fj
    >>> layers_of(fj.Sequential([fj.Dense(2, 1)], seed=0).configuration())[0].outputs
    1
    """
    parameter_shapes(description)
    layers: list[Layer] = []
    for k, layer in enumerate(description["layers"]):
        if layer["kind"] == "Dense":
            activation = _activation(layer["activation"], f"layer {k}")
            layers.append(Dense(layer["inputs"], layer["outputs"], activation=activation, bias=layer["bias"]))
        elif layer["kind"] == "Activation":
            layers.append(Activation(_activation(layer["activation"], f"layer {k}")))
        elif layer["kind"] == "Softmax":
            layers.append(Softmax())
        else:
            layers.append(Dropout(float(layer["rate"])))
    return layers


def check_tensors(tensors: Tensors, description: Any, name: str) -> None:
    """Raise ModelFileError where the tensors are not those of the described network. Builds nothing."""
    try:
        wanted = parameter_shapes(description)
    except ValueError as error:
        raise ModelFileError(f"{name} describes no network: {error}") from error
    for key, shape in wanted.items():
        if key not in tensors:
            raise ModelFileError(f"{name} has no tensor {key!r}, expected one of shape {shape}")
        if tensors[key].shape != shape or str(tensors[key].dtype) != description["dtype"]:
            raise ModelFileError(
                f"{name} has the tensor {key!r} of shape {tensors[key].shape} and type"
                f" {tensors[key].dtype}, expected {shape} and {description['dtype']}"
            )
    unexpected = sorted(set(tensors) - set(wanted))
    if unexpected:
        raise ModelFileError(f"{name} has tensors that no layer has: {', '.join(unexpected)[:200]}")


def load(path: Any) -> tuple[dict[str, Any], Tensors, dict[str, Any] | None]:
    """What a model file holds, all of it checked: the architecture, the tensors that fit it, the preprocessing.

    Raises:
        OSError, ModelFileError: see ``fastjac.load``.
    """
    tensors, header = container.read(path)
    description, preprocessing = header.get("network"), header.get("preprocessing")
    check_tensors(tensors, description, str(path))
    if preprocessing is not None and not isinstance(preprocessing, dict):
        raise ModelFileError(f"{path} has a preprocessing that is not an object")
    return description, tensors, preprocessing  # type: ignore[return-value]
