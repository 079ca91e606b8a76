"""A network as plain numbers and texts, for the header of a file, and back; see ``fastjac.files.container``.

A model file holds the tensors ``<layer>.<parameter>``, the network as ``describe`` gives it, and what was learnt about
the columns of a table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fastjac.files import container
from fastjac.files.container import Tensors, expect, whole
from fastjac.kernels.arrays import Float
from fastjac.nn.layers import BUILT_IN, Layer
from fastjac.support.errors import ModelFileError

LARGEST_SEED = 2**4096 - 1
_WIDEST_WITHOUT_WEIGHTS = 1 << 24  # of a network without dense layers, whose width no tensor proves
_DTYPES = ("float32", "float64")
KINDS = " or ".join([", ".join(list(BUILT_IN)[:-1]), list(BUILT_IN)[-1]])


def describe(layers: Sequence[Layer], dtype: Float, products: str | None, **numbers: int) -> dict[str, Any]:
    """The architecture, as ``layers_of`` takes it: plain numbers, texts and lists.

    Args:
        layers: those of a network.
        dtype: its type.
        products: what operands of products are rounded to; None, which is not written down: for nothing.
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
        kind = type(layer).__name__
        if type(layer) is not BUILT_IN.get(kind):
            raise TypeError(
                f"layers[{k}] is {kind}, which is code of your own and can't be put into a model file: expected {KINDS}"
            )
        described.append({"kind": kind, **layer.config()})
    rounded = {} if products is None else {"products": products}
    description = {"dtype": str(dtype), **rounded, **numbers, "layers": described}
    try:
        parameter_shapes(description)
    except ValueError as error:
        raise ValueError(f"this network can't be put into a model file: {error}") from error
    return description


def parameter_shapes(description: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a described network; checks everything.

    Raises:
        ValueError: not a description.
    """
    expect(isinstance(description, dict), "the network is not described")
    dtype = description.get("dtype")
    expect(isinstance(dtype, str) and dtype in _DTYPES, f"dtype is {str(dtype)[:40]!r}")
    products = description.get("products")
    expect(products is None or (products == "bfloat16" and dtype == "float32"), f"products is {str(products)[:40]!r}")
    whole(description.get("seed"), "seed", 0, LARGEST_SEED)
    for name in ("epochs_trained", "training_step"):
        whole(description.get(name), name)
    width = whole(description.get("inputs"), "inputs", 1)
    shapes: dict[str, tuple[int, ...]] = {}
    for k, layer in enumerate(_layers(description)):
        inputs = getattr(layer, "inputs", width)
        expect(inputs == width, f"layer {k} takes {inputs} inputs, not {width}")
        layer.build(width)
        shapes |= {f"{k}.{name}": shape for name, shape in layer.parameter_shapes().items()}
        width = layer.outputs
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
    return _layers(description)


def _layers(description: dict[str, Any]) -> list[Layer]:
    """The layers, each by itself what it should be; without a network they have no arrays, and take no memory."""
    described = description.get("layers")
    expect(isinstance(described, list) and len(described) > 0, "there are no layers")
    assert isinstance(described, list)
    layers = []
    for k, one in enumerate(described):
        expect(isinstance(one, dict), f"layer {k} is not described")
        kind = one.get("kind")
        expect(isinstance(kind, str) and kind in BUILT_IN, f"layer {k} is of the kind {str(kind)[:40]!r}")
        layers.append(BUILT_IN[kind].from_config(one, f"layer {k}"))
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


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Tensors, dict[str, Any] | None]:
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
