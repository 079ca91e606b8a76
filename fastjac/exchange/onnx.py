"""Networks to ONNX."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastjac.exchange.foreign import cannot, needs
from fastjac.files import container
from fastjac.kernels.arrays import Float
from fastjac.nn.activations import ActivationFunction
from fastjac.nn.layers import Activation, Dense, Dropout, Softmax
from fastjac.sequential import Sequential

_OPSET = 17  # of ONNX: what every onnxruntime since 1.12 runs
_IR_VERSION = 8


class _Graph:
    """Nodes one after the other, and the arrays they name."""

    def __init__(self, onnx: ModuleType, dtype: Float) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.last = "X"

    def constant(self, value: ArrayLike) -> str:
        """The name of an array of the network's type."""
        name = f"constant_{len(self.arrays)}"
        self.arrays.append(self.onnx.numpy_helper.from_array(np.array(value, self.dtype), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: int) -> str:
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
            self.add("Mul", self._not_infinite(z), self.add("Sigmoid", z))
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
            half = self.add("Mul", self._not_infinite(z), self.constant(0.5))
            self.add("Mul", half, self.add("Add", erf, self.constant(1)))
        elif name != "identity":
            raise TypeError(f"ONNX has no operator for the activation {activation}, and no others are known for it")

    def _not_infinite(self, z: str) -> str:
        """z, but not below -1000, where silu and gelu are 0 in both types: -∞·0 would be NaN, and their limit is 0."""
        return self.add("Max", z, self.constant(-1000))


def to_onnx(
    network: Sequential, path: str | os.PathLike[str] | None = None, *, probabilities: str | None = None
) -> Any:
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
    onnx = needs("onnx")
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
            raise cannot(layer, k, "an ONNX model")
    if probabilities is not None:
        graph.add(probabilities.capitalize(), graph.last, **({"axis": -1} if probabilities == "softmax" else {}))
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.last], ["Y"]))
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(network.dtype))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "fastjac",
            [onnx.helper.make_tensor_value_info("X", kind, ["N", network.inputs])],
            [onnx.helper.make_tensor_value_info("Y", kind, ["N", network.outputs])],
            graph.arrays,
        ),
        producer_name="fastjac",
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    if path is not None:
        container.write(path, model.SerializeToString())
    return model
