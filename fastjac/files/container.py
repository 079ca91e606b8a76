"""The container of model files and checkpoints: safetensors with a JSON text in its header, a version and a checksum.

A file holds tensors by name and one text in its metadata, "fastjac": JSON with the version of the format, and what
the writer adds. "sha256" is the digest of the whole file with the digest itself as zeros, so that any other bit is
found. The same contents give the same bytes. There is no pickle: reading a file runs no code, and nothing in it makes
it take more memory than a file of its length may.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeGuard

import numpy as np

from fastjac.support.atomic import atomic_file
from fastjac.support.errors import ModelFileError

VERSION = 1
_HEADER_LIMIT = 64 << 20  # bytes; a header is some hundred bytes a layer
_NO_DIGEST = b"0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_FOREIGN = {
    ".h5": "Keras",
    ".hdf5": "Keras",
    ".keras": "Keras",
    ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".onnx": "ONNX (fastjac.exchange.to_onnx writes those)",
    ".npy": "NumPy",
    ".npz": "NumPy",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "joblib",
    ".json": "JSON",
    ".csv": "CSV",
}

Tensors = dict[str, np.ndarray]


# --- what was read from JSON ------------------------------------------------------------------------------------------


def expect(condition: bool, what: str) -> None:
    """Raise ValueError with these words unless something read from a file is as it should be."""
    if not condition:
        raise ValueError(what)


def whole(value: object, what: str, low: int = 0, high: int = 2**62 - 1) -> int:
    """Something read from JSON, which must be a whole number in this range."""
    if type(value) is int and low <= value <= high:
        return value
    raise ValueError(f"{what} is {str(value)[:40]!r}")


def is_real(value: object) -> TypeGuard[float]:
    """Whether something read from JSON is a number that a float can hold, and finite."""
    return (type(value) is int or type(value) is float) and abs(value) <= sys.float_info.max


# --- files ------------------------------------------------------------------------------------------------------------


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('model files need safetensors: pip install "fastjac[files]"') from error
    return safetensors.numpy


def check_ending(path: str | os.PathLike[str]) -> str:
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
        raise ValueError(
            f"path is {text!r}, but {ending} is an ending of {_FOREIGN[ending]}, and this writes the"
            f" safetensors format: expected another one, such as .safetensors"
        )
    return text


def to_bytes(tensors: Tensors, header: Mapping[str, object]) -> bytes:
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
        raise ValueError(
            f"the layers and the preprocessing take {len(head) / 2**20:,.0f} MiB as text, and a file holds"
            f" {_HEADER_LIMIT >> 20} at most"
        )
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
        raise ModelFileError(
            f"{name} is not a safetensors file, or not a whole one: it has {len(data)} bytes, and its"
            f" header would have {length}"
        )
    header_text = data[8 : 8 + length]
    found = _DIGEST.search(header_text)
    if found is None:
        raise ModelFileError(f"{name} has no checksum: it was not written by fastjac, or is damaged")
    view = memoryview(data)
    computed = hashlib.sha256(view[: 8 + found.start(1)])
    computed.update(_NO_DIGEST)
    computed.update(view[8 + found.end(1) :])
    if computed.hexdigest().encode() != found[1]:
        raise ModelFileError(f"{name} is damaged: its checksum is not that of its contents")
    try:
        header = json.loads(json.loads(header_text)["__metadata__"]["fastjac"])
        expect(isinstance(header, dict), "its header is not an object")
        version = whole(header.get("version"), "its version", 1)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{name} has a header that can't be read: {str(error)[:200]}") from error
    if version > VERSION:
        raise ModelFileError(
            f"{name} has version {version} of the format, and this fastjac reads up to {VERSION}: a newer one wrote it"
        )
    try:
        tensors: Tensors = _safetensors().load(data)
    except Exception as error:  # the library's own errors, of several kinds
        raise ModelFileError(f"{name} has tensors that can't be read: {str(error)[:200]}") from error
    return tensors, header


def read(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, Any]]:
    """``from_bytes`` of a file."""
    with open(path, "rb") as file:
        return from_bytes(file.read(), str(path))


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: see ``atomic_file``."""
    with atomic_file(path) as file:
        file.write(data)


def digest(array: np.ndarray) -> str:
    """A checksum of an array's numbers."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
