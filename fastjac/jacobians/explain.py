"""One batch through a network, operation by operation: explicit Jacobians beside what the fused kernels computed.

This file looks at a network, which is built on top of this package: it imports the library when it is called.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array
from .affine import affine_bias, affine_input, affine_weight_tensor
from .chain import chain_rule
from .elementwise import activation_value, elementwise, elementwise_diagonal, multiply
from .losses import (
    LOG_FLOOR,
    batch_mean,
    binary_cross_entropy_slope,
    categorical_cross_entropy_gradient,
    loss_per_sample_diagonal,
    squared_error_slope,
)
from .numerical import jacobian
from .softmax import log_softmax_function, softmax, softmax_cross_entropy, softmax_function
from .tensors import contract

if TYPE_CHECKING:
    from ..losses import Loss
    from ..network import Sequential

LARGEST = 512 * 2**20  # bytes of all Jacobians together

# As the course calls them; a number behind each tells the layer.
_SHORT = {"weight": "W", "bias": "b"}


@dataclass(frozen=True)
class Derivative:
    """∂output/∂input of one operation, and the gradient that arrives at this input through it.

    input       "X", "W1", "a1", …: what the derivative is with respect to
    name        "dz1/dW1"
    row         of the course: the one that derives this Jacobian
    jacobian    (N, outputs, *the input's own axes): one explicit Jacobian a sample
    gradient    ∂J/∂input, shaped like the input: the gradient of the output times the Jacobian; for a
                parameter the sum over samples
    fused       the same from the fused kernels; None where they have nothing like it
    difference  the largest |gradient − fused|, or None
    """

    input: str
    name: str
    row: str
    jacobian: Array
    gradient: Array
    fused: Array | None
    difference: float | None


@dataclass(frozen=True)
class Operation:
    """One operation of the network on the batch.

    kind        "affine", "relu", …, "softmax", "dropout", "elementwise", a loss's name, "mean", or the class of
                a user's layer
    formula     "z1 = X·W1 + b1"
    layer       its number in `net.layers`; None for the loss
    row         of the course
    inputs      arrays by name
    name, output    what it gives: its name, and the array from the closed form
    fused       the output from the fused kernels
    difference  the largest |output − fused|
    derivatives one for each input that has a gradient
    """

    kind: str
    formula: str
    layer: int | None
    row: str
    inputs: dict[str, Array]
    name: str
    output: Array
    fused: Array
    difference: float
    derivatives: tuple[Derivative, ...]


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns: plain data, which prints as a table.

    loss        J
    operations  in the order of the forward pass; the loss and the mean over samples are the last two
    """

    loss: float
    operations: tuple[Operation, ...]

    @property
    def values(self) -> dict[str, Array]:
        """All inputs and outputs by name: "X", "W1", "b1", "z1", "a1", … "y", "J0", "J"."""
        found: dict[str, Array] = {}
        for operation in self.operations:
            found |= operation.inputs
            found[operation.name] = operation.output
        return found

    @property
    def jacobians(self) -> dict[str, Array]:
        """All Jacobians by name: "dz1/dX", "dz1/dW1", …"""
        return {one.name: one.jacobian for operation in self.operations for one in operation.derivatives}

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradient of J by name of what it is in: "X", "W1", "z1", …"""
        return {one.input: one.gradient for operation in self.operations for one in operation.derivatives}

    @property
    def fused(self) -> dict[str, Array]:
        """What the fused kernels computed: values as "z1", gradients as "dz1"."""
        found = {operation.name: operation.fused for operation in self.operations}
        for one in (one for operation in self.operations for one in operation.derivatives):
            if one.fused is not None:
                found[f"d{one.input}"] = one.fused
        return found

    @property
    def differences(self) -> dict[str, float]:
        """The largest difference of each array in `fused` from its closed form."""
        found = {operation.name: operation.difference for operation in self.operations}
        for one in (one for operation in self.operations for one in operation.derivatives):
            if one.difference is not None:
                found[f"d{one.input}"] = one.difference
        return found

    def __str__(self) -> str:
        from .. import report

        rows = []
        for number, operation in enumerate(self.operations, start=1):
            line = [str(number), operation.formula, operation.row, _shape(operation.output)]
            line.append(f"{operation.difference:.1e}")
            for one in operation.derivatives:
                gap = "-" if one.difference is None else f"{one.difference:.1e}"
                rows.append([*line, one.name, one.row, _shape(one.jacobian), f"d{one.input}", _shape(one.gradient), gap])
                line = [""] * 5
        columns = ["", "Operation", "Row", "Output", "fused ±", "Jacobian", "Row", "Shape", "Gradient", "Shape", "fused ±"]
        title = f"J = {self.loss:.9g}: every operation, its Jacobians, and how far the fused kernels are from them"
        return report.table(title, columns, rows)


def explain(
    net: Sequential, X: ArrayLike, y: ArrayLike, loss: Any = "softmax_cross_entropy", *, sample_weight: Any = None
) -> Explanation:
    """Every operation of a network on one small batch: inputs, output, explicit Jacobian, gradient, fused kernel.

    net         a `Sequential`; not changed. Dropout drops what it would drop in the next step of training
    X (N, inputs), y, loss, sample_weight    as for `net.fit`
    Returns an `Explanation`. The values and Jacobians are the closed forms of this package, computed forward;
    gradients are products with them, computed backward, in the network's dtype; beside each, what the fused
    kernels of the same operation gave on their own way. (In a fused dense layer z and dz exist one tile at a
    time; here the kernels of the single operations are asked for them.)
    A user's layer has no closed form: its Jacobians are central differences (row A3) of its float64 copy.
    Raises ValueError or TypeError as `net.fit` does; ValueError if the Jacobians would take more than 512 MiB,
    or if a user's layer mixes samples, so that there is no Jacobian of one sample.

    >>> import fastjac as fj
    >>> net = fj.Sequential([fj.Dense(3, 4, activation="relu"), fj.Dense(4, 2)], seed=0, dtype="float64")
    >>> result = explain(net, np.eye(3), [0, 1, 0])
    >>> [operation.formula for operation in result.operations][:3]
    ['z1 = X·W1 + b1', 'a1 = relu(z1)', 'z2 = a1·W2 + b2']
    >>> result.jacobians["dz1/dW1"].shape, result.gradients["W1"].shape
    ((3, 4, 3, 4), (3, 4))
    >>> max(result.differences.values()) < 1e-14
    True
    """
    from .. import losses
    from ..kernels.arrays import finite, weights

    chosen = losses.get(loss)
    if chosen.name not in _LOSSES:
        raise ValueError(f"loss is {chosen!r}, expected one of {', '.join(_LOSSES)}: the others have no closed form here")
    net.check_loss(chosen)
    batch = finite("X", net._checked_input(X))
    if len(batch) == 0:
        raise ValueError(f"X has shape {batch.shape}, expected at least one row: (1, {net.inputs})")
    labels, targets = chosen.targets(y, len(batch), net.outputs, net.dtype)
    weight = None if sample_weight is None else weights("sample_weight", sample_weight, len(batch))
    _check_size(net, len(batch))
    Y = np.eye(net.outputs, dtype=net.dtype)[labels] if targets is None else targets
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        steps = _forward(net, np.ascontiguousarray(batch))
        steps += _loss(net, chosen, steps[-1], Y, weight)
        return _backward(steps)


class _Factor:
    """A Jacobian of a `_Step`, and how to get the same gradient from the kernels."""

    def __init__(self, input: str, row: str, jacobian: Array, *, parameter: bool = False) -> None:
        self.input, self.row, self.jacobian, self.parameter = input, row, jacobian, parameter
        self.fused: Array | None = None


class _Step:
    """An operation after the forward pass. `fused_backward` takes the kernels' gradient of the output, writes that
    of every factor and returns what flows on to the operation below."""

    def __init__(
        self, kind: str, formula: str, layer: int | None, row: str, inputs: dict[str, Array], name: str,
        output: Array, fused: Array, factors: list[_Factor], fused_backward: Callable[[list[_Factor], Array], Array],
    ) -> None:  # fmt: skip
        self.kind, self.formula, self.layer, self.row = kind, formula, layer, row
        self.inputs, self.name, self.output, self.fused = inputs, name, output, fused
        self.factors, self.fused_backward = factors, fused_backward


def _forward(net: Sequential, X: Array) -> list[_Step]:
    """The network's operations on X: by the closed forms, and by the fused kernels of a copy."""
    from ..layers import Activation, Dense, Dropout, Elementwise, Softmax

    twin = copy.deepcopy(net)
    twin.path = "fused"
    steps: list[_Step] = []
    name, value, fused = "X", X, X
    for k, layer in enumerate(twin.layers):
        if isinstance(layer, Dropout):
            layer.seed, layer.step = net.dropout_seed, net._training_step
        before, fused = fused, np.asarray(layer.forward(fused, True))
        if type(layer) is Dense:
            steps += _dense(k, layer, name, value, before)
        elif type(layer) is Activation:
            steps.append(_activation(k, layer, name, value, fused))
        elif type(layer) is Softmax:
            steps.append(_softmax(k, layer, name, value, fused))
        elif type(layer) is Dropout:
            steps.append(_dropout(k, layer, name, value, fused))
        elif type(layer) is Elementwise:
            steps.append(_elementwise(k, layer, name, value, fused))
        else:
            steps.append(_users(k, layer, net, name, value, fused))
        name, value = steps[-1].name, steps[-1].output
    return steps


def _whole_layer(layer: Any) -> Callable[[list[_Factor], Array], Array]:
    """The layer's own backward, and its parameters' gradients."""

    def backward(factors: list[_Factor], d: Array) -> Array:
        factors[0].fused = np.asarray(layer.backward(d))
        for factor, gradient in zip(factors[1:], layer.gradients.values(), strict=True):
            factor.fused = gradient.copy()
        return factors[0].fused

    return backward


def _dense(k: int, layer: Any, name: str, X: Array, fused_X: Array) -> list[_Step]:
    """The affine function, and the activation if it does anything."""
    from ..activations import IDENTITY
    from ..paths import fused

    n = k + 1
    W, b, activation = layer.weight.copy(), layer.bias, layer.activation
    b = np.zeros(layer.outputs, W.dtype) if b is None else b.copy()
    Z = X @ W + b
    inputs = {name: X, f"W{n}": W}
    factors = [
        _Factor(name, "A4", np.stack([affine_input(W)] * len(X))),
        _Factor(f"W{n}", "A4", np.stack([affine_weight_tensor(x, layer.outputs) for x in X]), parameter=True),
    ]
    formula = f"z{n} = {name}·W{n}"
    if layer.has_bias:
        formula += f" + b{n}"
        inputs[f"b{n}"] = b
        factors.append(_Factor(f"b{n}", "A4", np.stack([affine_bias(layer.outputs, W.dtype.name)] * len(X)), parameter=True))
    fused_Z = fused.dense_forward(fused_X, W, b, IDENTITY)[1]

    def affine_backward(factors: list[_Factor], dZ: Array) -> Array:
        dX, *parameters = fused.dense_backward(dZ, None, fused_Z, fused_X, W, IDENTITY)
        for factor, gradient in zip(factors, (dX, *parameters), strict=False):
            factor.fused = gradient
        assert dX is not None
        return dX

    steps = [_Step("affine", formula, k, "C7", inputs, f"z{n}", Z, fused_Z, factors, affine_backward)]
    if activation.name == "identity":
        return steps

    # The layer's own kernels do both operations at once; dz alone is asked for, dX, dW and db are the layer's.
    def layer_backward(factors: list[_Factor], dA: Array) -> Array:
        dZ = fused.activation_backward(dA, layer._Z, layer._A, activation)
        factors[0].fused = dZ
        return dZ

    def dense_backward(factors: list[_Factor], dZ: Array) -> Array:
        return _whole_layer(layer)(factors, dA_of_layer[0])

    dA_of_layer: list[Array] = []

    def remember(factors: list[_Factor], dA: Array) -> Array:
        dA_of_layer.append(dA)
        return layer_backward(factors, dA)

    steps[0].fused_backward = dense_backward
    A = activation_value(activation, Z)
    factor = _Factor(f"z{n}", _activation_row(activation), np.stack([elementwise(activation, z) for z in Z]))
    steps.append(
        _Step(
            activation.name, f"a{n} = {activation}(z{n})", k, factor.row, {f"z{n}": Z}, f"a{n}", A, layer._A, [factor],
            remember,
        )
    )  # fmt: skip
    return steps
