"""Model files: the safetensors format, with the architecture as JSON in its header, a version and a checksum.

A file holds the tensors ``<layer>.<parameter>`` and one text in its metadata, "fastjac": JSON with the version of the
format, the network as ``describe`` gives it, and what was learnt about the columns of a table. "sha256" is the digest
of the whole file with the digest itself as zeros, so that any other bit is found. The same contents give the same
bytes. There is no pickle: reading a file runs no code, and nothing in it makes it take more memory than a file of its
length may.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fastjac.activations import ActivationFunction
from fastjac.atomic import atomic_file
from fastjac.errors import ModelFileError
from fastjac.layers import Activation, Dense, Dropout, Layer, Softmax

if TYPE_CHECKING:
    from fastjac.network import Sequential

VERSION = 1
LARGEST_SEED = 2**4096 - 1
_HEADER_LIMIT = 64 << 20  # bytes; a header is some hundred bytes a layer
_WIDEST_WITHOUT_WEIGHTS = 1 << 24  # of a network without dense layers, whose width no tensor proves
_NO_DIGEST = b"0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_DTYPES = ("float32", "float64")
_FOREIGN = {
    ".h5": "Keras", ".hdf5": "Keras", ".keras": "Keras", ".pb": "TensorFlow", ".tflite": "TensorFlow Lite",
    ".pt": "PyTorch", ".pth": "PyTorch", ".onnx": "ONNX (fastjac.exchange.to_onnx writes those)", ".npy": "NumPy",
    ".npz": "NumPy", ".pkl": "pickle", ".pickle": "pickle", ".joblib": "joblib", ".json": "JSON", ".csv": "CSV",
}  # fmt: skip

Tensors = dict[str, np.ndarray]


# --- a network as JSON ------------------------------------------------------------------------------------------------


def describe(network: Sequential) -> dict[str, Any]:
    """The architecture, as ``layers_of`` takes it: plain numbers, texts and lists.

    Raises:
        TypeError: a layer of a user's own, which no file can describe.
        ValueError: what ``parameter_shapes`` would refuse when it is read, such as a width.

    >>> import fastjac as fj
    >>> describe(fj.Sequential([fj.Dense(2, 1)], seed=0))["layers"]
    [{'kind': 'Dense', 'inputs': 2, 'outputs': 1, 'activation': ['identity', 0.0], 'bias': True}]
    """
    layers = []
    for k, layer in enumerate(network.layers):
        if type(layer) is Dense:
            layers.append({
                "kind": "Dense", "inputs": layer.inputs, "outputs": layer.outputs,
                "activation": [layer.activation.name, float(layer.activation.parameter)],
                "bias": "bias" in layer.parameters,
            })  # fmt: skip
        elif type(layer) is Activation:
            activation = [layer.activation.name, float(layer.activation.parameter)]
            layers.append({"kind": "Activation", "activation": activation})
        elif type(layer) is Softmax:
            layers.append({"kind": "Softmax"})
        elif type(layer) is Dropout:
            layers.append({"kind": "Dropout", "rate": layer.rate})
        else:
            raise TypeError(
                f"layers[{k}] is {type(layer).__name__}, which is code of your own and can't be put into a model file:"
                " expected Dense, Activation, Softmax or Dropout"
            )
    description = {
        "dtype": str(network.dtype), "inputs": network.inputs, "seed": network.seed,
        "epochs_trained": network.epochs_trained, "training_step": network._training_step, "layers": layers,
    }  # fmt: skip
    try:
        parameter_shapes(description)
    except ValueError as error:
        raise ValueError(f"this network can't be put into a model file: {error}") from error
    return description


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _whole(value: Any, what: str, low: int = 0, high: int = 2**62 - 1) -> int:
    _expect(type(value) is int and low <= value <= high, f"{what} is {str(value)[:40]!r}")
    return int(value)


def is_real(value: Any) -> bool:
    """Whether something read from JSON is a number that a float can hold, and finite."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _activation(value: Any, what: str) -> ActivationFunction:
    good = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and is_real(value[1])
    _expect(good, f"the activation of {what} is {str(value)[:40]!r}")
    return ActivationFunction(value[0], float(value[1]))


def parameter_shapes(description: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a described network; checks everything but the values of activations.

    Raises:
        ValueError: not a description.
    """
    _expect(isinstance(description, dict), "the network is not described")
    dtype = description.get("dtype")
    _expect(isinstance(dtype, str) and dtype in _DTYPES, f"dtype is {str(dtype)[:40]!r}")
    _whole(description.get("seed"), "seed", 0, LARGEST_SEED)
    for name in ("epochs_trained", "training_step"):
        _whole(description.get(name), name)
    width = _whole(description.get("inputs"), "inputs", 1)
    layers = description.get("layers")
    _expect(isinstance(layers, list) and len(layers) > 0, "there are no layers")
    shapes: dict[str, tuple[int, ...]] = {}
    for k, layer in enumerate(layers):  # type: ignore[arg-type]
        what = f"layer {k}"
        _expect(isinstance(layer, dict), f"{what} is not described")
        kind = layer.get("kind")
        _expect(kind in ("Dense", "Activation", "Softmax", "Dropout"), f"{what} is of the kind {str(kind)[:40]!r}")
        if kind == "Dense":
            _expect(layer.get("inputs") == width, f"{what} takes {str(layer.get('inputs'))[:40]} inputs, not {width}")
            _expect(type(layer.get("bias")) is bool, f"{what} does not say whether it has a bias")
            outputs = _whole(layer.get("outputs"), f"outputs of {what}", 1)
            shapes[f"{k}.weight"] = (width, outputs)
            if layer["bias"]:
                shapes[f"{k}.bias"] = (outputs,)
            width = outputs
        elif kind == "Dropout":
            rate = layer.get("rate")
            _expect(type(rate) in (int, float) and 0 <= rate < 1, f"the rate of {what} is {str(rate)[:40]!r}")
        if kind in ("Dense", "Activation"):
            _activation(layer.get("activation"), what)
    _expect(bool(shapes) or description["inputs"] <= _WIDEST_WITHOUT_WEIGHTS, "inputs is too large")
    return shapes


def layers_of(description: dict[str, Any]) -> list[Layer]:
    """New layers of this architecture.

    Raises:
        ValueError: not what ``describe`` gives.

    >>> import fastjac as fj
    >>> layers_of(describe(fj.Sequential([fj.Dense(2, 1)], seed=0)))[0].outputs
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


# --- files ------------------------------------------------------------------------------------------------------------


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('model files need safetensors: pip install "fastjac[files]"') from error
    return safetensors.numpy


def check_ending(path: Any) -> str:
    """The path as a text, unless it ends as another program's files do, which our bytes would belie.

    Raises:
        TypeError: not a path.
        ValueError: such an ending.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise TypeError(f"path is {path!r}, expected a text or a pathlib.Path") from error
    ending = os.path.splitext(text)[1].lower()
    if ending in _FOREIGN:
        raise ValueError(f"path is {text!r}, but {ending} is an ending of {_FOREIGN[ending]}, and this writes the"
                         f" safetensors format: expected another one, such as .safetensors")  # fmt: skip
    return text


def to_bytes(tensors: Tensors, header: dict[str, Any]) -> bytes:
    """A safetensors file with this JSON in its metadata, and a checksum. Equal contents give equal bytes.

    Raises:
        TypeError: what JSON can't hold.
        ValueError: a header that ``from_bytes`` would refuse for its length.
    """
    try:
        text = json.dumps({"version": VERSION, **header}, sort_keys=True)
    except (ValueError, RecursionError) as error:  # a list within itself
        raise TypeError(str(error)) from error
    laid_out = _safetensors().save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()})
    body = 8 + int.from_bytes(laid_out[:8], "little")
    # the library writes metadata in an order that changes from one process to the next
    metadata = {"__metadata__": {"fastjac": text, "sha256": _NO_DIGEST.decode()}}
    head = json.dumps(metadata | json.loads(laid_out[8:body]), separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > _HEADER_LIMIT:
        raise ValueError(f"the layers and the preprocessing take {len(head) / 2**20:,.0f} MiB as text, and a file holds"
                         f" {_HEADER_LIMIT >> 20} at most")  # fmt: skip
    data = bytearray(len(head).to_bytes(8, "little") + head)
    data += memoryview(laid_out)[body:]
    found = _DIGEST.search(data, 8, 8 + len(head))
    assert found is not None
    data[found.start(1) : found.end(1)] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def from_bytes(data: bytes, name: str) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and JSON of a file, its checksum tested. ``name`` is for the message.

    Raises:
        ModelFileError: not such a file, or a damaged one.
    """
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 2 <= length <= min(len(data) - 8, _HEADER_LIMIT):
        raise ModelFileError(f"{name} is not a safetensors file, or not a whole one: it has {len(data)} bytes, and its"
                             f" header would have {length}")  # fmt: skip
    header_text = data[8 : 8 + length]
    found = _DIGEST.search(header_text)
    if found is None:
        raise ModelFileError(f"{name} has no checksum: it was not written by fastjac, or is damaged")
    whole = memoryview(data)
    computed = hashlib.sha256(whole[: 8 + found.start(1)])
    computed.update(_NO_DIGEST)
    computed.update(whole[8 + found.end(1) :])
    if computed.hexdigest().encode() != found[1]:
        raise ModelFileError(f"{name} is damaged: its checksum is not that of its contents")
    try:
        header = json.loads(json.loads(header_text)["__metadata__"]["fastjac"])
        _expect(isinstance(header, dict), "its header is not an object")
        version = _whole(header.get("version"), "its version", 1)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{name} has a header that can't be read: {str(error)[:200]}") from error
    if version > VERSION:
        raise ModelFileError(f"{name} has version {version} of the format, and this fastjac reads up to {VERSION}: a"
                             " newer one wrote it")  # fmt: skip
    try:
        tensors: Tensors = _safetensors().load(data)
    except Exception as error:  # the library's own errors, of several kinds
        raise ModelFileError(f"{name} has tensors that can't be read: {str(error)[:200]}") from error
    return tensors, header


def read(path: Any) -> tuple[Tensors, dict[str, Any]]:
    """``from_bytes`` of a file."""
    with open(path, "rb") as file:
        return from_bytes(file.read(), str(path))


def write(path: Any, data: bytes) -> None:
    """Write a file whole or not at all: see ``atomic_file``."""
    with atomic_file(path) as file:
        file.write(data)


def digest(array: np.ndarray) -> str:
    """A checksum of an array's numbers."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def tensors_of(network: Sequential) -> Tensors:
    """The network's parameters by name."""
    return {f"{k}.{name}": value for k, layer in enumerate(network.layers) for name, value in layer.parameters.items()}


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
            raise ModelFileError(f"{name} has the tensor {key!r} of shape {tensors[key].shape} and type"
                                 f" {tensors[key].dtype}, expected {shape} and {description['dtype']}")  # fmt: skip
    unexpected = sorted(set(tensors) - set(wanted))
    if unexpected:
        raise ModelFileError(f"{name} has tensors that no layer has: {', '.join(unexpected)[:200]}")


def save(network: Sequential, path: Any) -> None:
    """See ``Sequential.save``."""
    check_ending(path)
    header = {"network": describe(network), "preprocessing": network.preprocessing}
    try:
        data = to_bytes(tensors_of(network), header)
    except TypeError as error:
        raise TypeError(f"preprocessing can't be written as JSON: {error}") from error
    write(path, data)


def load(path: Any) -> tuple[dict[str, Any], Tensors, dict[str, Any] | None]:
    """What a model file holds, all of it checked: the architecture, the tensors that fit it, the preprocessing.

    Raises:
        OSError, ModelFileError: see ``fastjac.load``.
    """
    tensors, header = read(path)
    description, preprocessing = header.get("network"), header.get("preprocessing")
    check_tensors(tensors, description, str(path))
    if preprocessing is not None and not isinstance(preprocessing, dict):
        raise ModelFileError(f"{path} has a preprocessing that is not an object")
    return description, tensors, preprocessing  # type: ignore[return-value]
