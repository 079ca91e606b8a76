"""One batch through a network, operation by operation: explicit Jacobians beside what the fused kernels computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastjac.jacobians._validate import Array
from fastjac.jacobians.affine import affine_bias, affine_input, affine_weight_tensor
from fastjac.jacobians.chain import chain_rule
from fastjac.jacobians.elementwise import activation_value, elementwise, multiply
from fastjac.jacobians.losses import (
    batch_mean,
)
from fastjac.jacobians.numerical import jacobian
from fastjac.jacobians.samples import SAMPLE_LOSSES
from fastjac.jacobians.softmax import softmax, softmax_function
from fastjac.jacobians.tensors import contract
from fastjac.kernels import dense_forward
from fastjac.nn import losses
from fastjac.nn.activations import ActivationFunction
from fastjac.nn.batch import Batch
from fastjac.nn.layers import Activation, Dense, Dropout, Elementwise, Softmax
from fastjac.nn.losses import Loss, LossLike
from fastjac.nn.network import Network
from fastjac.paths import fused
from fastjac.support import report

LARGEST = 512 * 2**20  # bytes of all Jacobians together

# As the course calls them; a number behind each tells the layer.
_SHORT = {"weight": "W", "bias": "b"}


@dataclass(frozen=True, repr=False)
class Derivative:
    """∂output/∂input of one operation, and the gradient that arrives at this input through it.

    Attributes:
        input: "X", "W1", "a1", …: what the derivative is with respect to.
        name: "dz1/dW1".
        row: of the course: the one that derives this Jacobian.
        jacobian: (N, outputs, *the input's own axes): one explicit Jacobian a sample.
        gradient: ∂J/∂input, shaped like the input: the gradient of the output times the Jacobian; for a parameter the
            sum over samples.
        fused: the same from the fused kernels; None where they have nothing like it.
        difference: the largest |gradient − fused|, or None.
    """

    input: str
    name: str
    row: str
    jacobian: Array
    gradient: Array
    fused: Array | None
    difference: float | None

    def __repr__(self) -> str:
        return f"Derivative({self.name}, {_shape(self.jacobian)}, row {self.row})"


@dataclass(frozen=True, repr=False)
class Operation:
    """One operation of the network on the batch.

    Attributes:
        kind: "affine", "relu", …, "softmax", "dropout", "elementwise", a loss's name, "mean", or the class of a user's
            layer.
        formula: "z1 = X·W1 + b1".
        layer: its number in ``net.layers``; None for the loss.
        row: of the course.
        inputs: arrays by name.
        name: of what it gives.
        output: what it gives: the array from the closed form.
        fused: the output from the fused kernels.
        difference: the largest |output − fused|.
        derivatives: one for each input that has a gradient.
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

    def __repr__(self) -> str:
        return f"Operation({self.formula}, row {self.row}, {', '.join(one.name for one in self.derivatives)})"


@dataclass(frozen=True, repr=False)
class Explanation:
    """What ``explain`` returns: plain data, which prints as a table.

    Attributes:
        loss: J.
        operations: in the order of the forward pass; the loss and the mean over samples are the last two.
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
        """The largest difference of each array in ``fused`` from its closed form."""
        found = {operation.name: operation.difference for operation in self.operations}
        for one in (one for operation in self.operations for one in operation.derivatives):
            if one.difference is not None:
                found[f"d{one.input}"] = one.difference
        return found

    @property
    def apart(self) -> tuple[str, ...]:
        """The names in ``differences`` that are further apart than rounding can explain.

        That is, by more than 1e-9 in float64 or 1e-3 in float32 of the largest entry of the closed form (of 1, where
        that is less): something is wrong with the layer that gave it.
        """
        closed = {operation.name: operation.output for operation in self.operations}
        derivatives = [one for operation in self.operations for one in operation.derivatives]
        closed |= {f"d{one.input}": one.gradient for one in derivatives}
        return tuple(name for name, gap in self.differences.items() if _too_far(gap, closed[name]))

    def __repr__(self) -> str:
        what = f"{len(self.operations)} operations, {', '.join(self.apart) or 'nothing'} apart from the fused kernels"
        return f"Explanation(loss={self.loss:.9g}, {what}; print it for a table)"

    def __str__(self) -> str:
        rows = []
        apart = self.apart
        for number, operation in enumerate(self.operations, start=1):
            line = [f"{number:2}  {operation.formula}", operation.row, _shape(operation.output)]
            line.append(f"{operation.difference:.1e}{_mark(operation.name, apart)}")
            for one in operation.derivatives:
                gap = "-" if one.difference is None else f"{one.difference:.1e}{_mark(f'd{one.input}', apart)}"
                gradient = [f"d{one.input}", _shape(one.gradient), gap]
                rows.append([*line, one.name, one.row, _shape(one.jacobian), *gradient])
                line = [""] * len(line)
        columns = ["    Operation", "Row", "Output", "± fused"]
        columns += ["Jacobian", "Row", "Shape", "Gradient", "Shape", "± fused"]
        title = f"J = {self.loss:.9g}: every operation, its Jacobians, and how far the fused kernels are from them"
        table = report.table(title, columns, rows)
        if apart:
            table += f"\n!! {', '.join(apart)}: further apart than rounding explains"
        return table


def explain(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    loss: LossLike = "softmax_cross_entropy",
    *,
    sample_weight: ArrayLike | None = None,
) -> Explanation:
    """Every operation of a network on one small batch: inputs, output, explicit Jacobian, gradient, fused kernel.

    The values and Jacobians are the closed forms of ``fastjac.jacobians``, computed forward; gradients are products
    with them, computed backward, in the network's dtype; beside each, what the fused kernels of the same operation gave
    on their own way. (In a fused dense layer z and dz exist one tile at a time; here the kernels of the single
    operations are asked for them.) A user's layer has no closed form: its Jacobians are central differences (row A3) of
    its float64 copy.

    Args:
        net: a ``Sequential``; not changed. Dropout drops what it would drop in the next step of training.
        X: (N, inputs), as for ``net.fit``.
        y, loss, sample_weight: as for ``net.fit``.

    Returns:
        An ``Explanation``.

    Raises:
        TypeError, ValueError: as ``net.fit`` does; ValueError if the Jacobians would take more than 512 MiB, or if a
            user's layer mixes samples, so that there is no Jacobian of one sample.

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
    chosen = losses.get(loss)
    if chosen.name not in losses.BY_NAME:
        raise ValueError(f"loss is {chosen!r}, expected one of {', '.join(losses.BY_NAME)}")
    net.check_loss(chosen)
    batch = Batch.checked(net.signature, chosen, X, y, sample_weight)
    Y = np.eye(net.outputs, dtype=net.dtype)[batch.labels] if batch.targets is None else batch.targets
    _check_size(net, len(batch))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _explained(net, chosen, np.ascontiguousarray(batch.X), Y, batch.weight)


class _Factor(NamedTuple):
    """A ``Derivative`` before its gradient is known."""

    input: str
    row: str
    jacobian: Array
    of_parameter: bool = False


class _Step(NamedTuple):
    """An ``Operation`` before its gradients are known."""

    kind: str
    formula: str
    layer: int | None
    row: str
    inputs: dict[str, Array]
    name: str
    output: Array
    fused: Array
    factors: list[_Factor]


def _explained(net: Network, loss: Loss, X: Array, Y: Array, weight: Array | None) -> Explanation:
    twin = net.clone()
    twin.path = "fused"
    steps: list[_Step] = []
    name, value, fused_input = "X", X, X
    names = []  # of each layer's input
    for k in range(len(twin.layers)):
        names.append(name)
        steps += _of_layer(net, twin, k, name, value, fused_input)
        name, value, fused_input = steps[-1].name, steps[-1].output, steps[-1].fused
    loss_steps, d = _of_loss(loss, name, value, fused_input, Y, weight)
    steps += loss_steps
    fused = _fused_gradients(twin, names, name, d)

    arriving = {"J": np.ones((1, 1), X.dtype)}
    operations = []
    for step in reversed(steps):
        above = arriving[step.name]
        derivatives = []
        for factor in step.factors:
            if factor.of_parameter or step.name == "J":
                gradient = contract(above, factor.jacobian, axes=2)
            else:
                gradient = np.stack([chain_rule(row, J) for row, J in zip(above, factor.jacobian, strict=True)])
            arriving[factor.input] = gradient if factor.input != "J0" else gradient[:, None]
            given = fused.get(factor.input)
            gap = None if given is None else _gap(gradient, given)
            name = f"d{step.name}/d{factor.input}"
            derivatives.append(Derivative(factor.input, name, factor.row, factor.jacobian, gradient, given, gap))
        operations.append(
            Operation(
                step.kind,
                step.formula,
                step.layer,
                step.row,
                step.inputs,
                step.name,
                step.output,
                step.fused,
                _gap(step.output, step.fused),
                tuple(derivatives),
            )
        )
    return Explanation(float(steps[-1].output), tuple(reversed(operations)))


def _of_layer(net: Network, twin: Network, k: int, name: str, X: Array, fused_X: Array) -> list[_Step]:
    """The operations of layer k on X, and what the fused kernels give for ``fused_X``, their value of X."""
    layer = twin.layers[k]
    n, out = k + 1, f"a{k + 1}"
    if isinstance(layer, Dropout):
        vars(layer).update(seed=net._dropout_seed, step=net._training_step)
    A = np.asarray(layer.forward(fused_X, True))
    given = A + 0  # without -0.0, the kernels' mark of a dead unit

    if type(layer) is Dense:
        W, o = layer.weight.copy(), layer.outputs
        inputs = {name: X, f"W{n}": W}
        factors = [
            _Factor(name, "A4", np.stack([affine_input(W)] * len(X))),
            _Factor(f"W{n}", "A4", np.stack([affine_weight_tensor(x, o) for x in X]), of_parameter=True),
        ]
        Z, formula, b = X @ W, f"z{n} = {name}·W{n}", None
        if layer.has_bias:
            b = np.array(layer.bias)
            Z, formula, inputs[f"b{n}"] = Z + b, f"{formula} + b{n}", b
            factors.append(_Factor(f"b{n}", "A4", np.stack([affine_bias(o, W.dtype.name)] * len(X)), of_parameter=True))
        fused_Z = dense_forward(fused_X, W, b)
        steps = [_Step("affine", formula, k, "C7", inputs, f"z{n}", Z, fused_Z, factors)]
        if layer.activation.name == "identity":
            return steps
        return [*steps, _element_by_element(layer.activation, k, f"z{n}", Z, given)]
    if type(layer) is Activation:
        return [_element_by_element(layer.activation, k, name, X, given)]
    if type(layer) is Softmax:
        S = softmax_function(X)
        factors = [_Factor(name, "A6", np.stack([softmax(s) for s in S]))]
        return [_Step("softmax", f"{out} = softmax({name})", k, "A6", {name: X}, out, S, given, factors)]
    if type(layer) is Dropout:
        mask = np.array(layer._mask)
        factors = [_Factor(name, "B7", np.stack([multiply(x, m).df_du for x, m in zip(X, mask, strict=True)]))]
        inputs = {name: X, f"mask{n}": mask}
        return [_Step("dropout", f"{out} = {name} ⊙ mask{n}", k, "B7", inputs, out, X * mask, given, factors)]
    if type(layer) is Elementwise:
        value, slope = (np.vectorize(f, otypes=[X.dtype]) for f in (layer.f, layer.slope))
        factors = [_Factor(name, "B2", np.stack([elementwise(slope, x) for x in X]))]
        formula = f"{out} = {layer.name}({name})"
        return [_Step("elementwise", formula, k, "B2", {name: X}, out, value(X), given, factors)]
    return [_of_user(net, k, name, X, given)]


def _element_by_element(activation: ActivationFunction, k: int, name: str, Z: Array, fused: Array) -> _Step:
    row = "B4" if activation.name in ("sigmoid", "tanh", "relu") else "B2"
    factors = [_Factor(name, row, np.stack([elementwise(activation, z) for z in Z]))]
    out, A = f"a{k + 1}", activation_value(activation, Z)
    return _Step(activation.name, f"{out} = {activation}({name})", k, row, {name: Z}, out, A, fused, factors)


def _of_user(net: Network, k: int, name: str, X: Array, given: Array) -> _Step:
    """A user's layer: the derivatives of its forward, sample by sample, by differences."""
    layer = net.clone("float64").layers[k]
    one_by_one = np.stack([layer.forward(x[None].astype(np.float64), True)[0] for x in X])
    if not np.allclose(one_by_one, given, rtol=1e-4, atol=1e-5):
        raise ValueError(
            f"layers[{k}] ({layer.describe()}) gives other values for a batch of shape {X.shape} than for its rows one"
            " by one, expected the same: it mixes samples, and there is no Jacobian of one sample"
        )

    def of(parameter: str, x: Array) -> Array:
        array = layer.parameters[parameter]

        def value(changed: Array) -> Array:
            held = array.copy()
            array[...] = changed
            result = np.array(layer.forward(x[None], True)[0])
            array[...] = held
            return result

        return jacobian(value, array.copy())

    rows = [x.astype(np.float64) for x in X]
    J = np.stack([jacobian(lambda x: layer.forward(x[None], True)[0], x) for x in rows])
    factors = [_Factor(name, "A3", J.astype(X.dtype))]
    inputs = {name: X}
    for parameter, array in net.layers[k].parameters.items():
        short = f"{_SHORT.get(parameter, parameter)}{k + 1}"
        inputs[short] = array.copy()
        J = np.stack([of(parameter, x) for x in rows]).astype(X.dtype)
        factors.append(_Factor(short, "A3", J, of_parameter=True))
    formula = f"a{k + 1} = {layer.describe()}({', '.join(inputs)})"
    output = one_by_one.astype(X.dtype)
    return _Step(type(layer).__name__, formula, k, "A3", inputs, f"a{k + 1}", output, given, factors)


def _of_loss(
    loss: Loss, name: str, P: Array, fused_P: Array, Y: Array, weight: Array | None
) -> tuple[list[_Step], Array]:
    """The loss of each sample, J0, and their mean, J; and the fused kernel's gradient of J."""
    row, form, of_sample = SAMPLE_LOSSES[loss.name]
    kernel = fused.LOSSES[loss.name]
    pairs = [of_sample(p, y, *loss.parameters) for p, y in zip(P, Y, strict=True)]
    J0 = np.array([value for value, _ in pairs], P.dtype)
    factors = [_Factor(name, row, np.stack([slope.reshape(1, -1) for _, slope in pairs]).astype(P.dtype, copy=False))]
    each = [kernel(fused_P[i : i + 1], Y[i : i + 1], None, *loss.parameters)[0] for i in range(len(P))]
    fused_J0 = np.array(each, P.dtype)
    formula = f"J0 = {form.format(name)}"
    first = _Step(loss.name, formula, None, row, {name: P, "y": Y}, "J0", J0, fused_J0, factors)

    shares = batch_mean(len(P), weight, dtype=P.dtype).astype(P.dtype, copy=False)
    inputs = {"J0": J0} if weight is None else {"J0": J0, "weights": weight}
    J, d = kernel(fused_P, Y, weight, *loss.parameters)
    formula = "J = mean(J0)" if weight is None else "J = Σ weights·J0 / Σ weights"
    last = _Step(
        "mean", formula, None, "B8", inputs, "J", shares[0] @ J0, np.array(J), [_Factor("J0", "B8", shares[None])]
    )
    return [first, last], d


def _fused_gradients(twin: Network, names: list[str], last: str, d: Array) -> dict[str, Array]:
    """The fused backward pass, layer by layer, after the forward pass: gradients by name of what they are in."""
    found = {last: d}
    for k in reversed(range(len(names))):
        layer = twin.layers[k]
        if isinstance(layer, Dense) and layer.activation.name != "identity":
            found[f"z{k + 1}"] = fused.activation_backward(d, layer._Z, np.asarray(layer._A), layer.activation)
        d = np.array(layer.backward(d))
        for parameter, gradient in layer.gradients.items():
            found[f"{_SHORT.get(parameter, parameter)}{k + 1}"] = gradient.copy()
        found[names[k]] = d
    return found


def _check_size(net: Network, samples: int) -> None:
    """Raise ValueError if the Jacobians of a batch would not fit."""
    sizes = {"the loss": net.outputs}
    for k, layer in enumerate(net.layers):
        inputs = layer.inputs + sum(array.size for array in layer.parameters.values())
        # an activation's own Jacobian is square
        square = layer.outputs**2 if hasattr(layer, "activation") and layer.parameters else 0
        sizes[f"layers[{k}] ({layer.describe()}, {layer.inputs} to {layer.outputs})"] = layer.outputs * inputs + square
    total = samples * sum(sizes.values()) * net.dtype.itemsize
    if total > LARGEST:
        worst = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"the Jacobians of a batch of shape ({samples}, {net.inputs}) take {total:,} bytes, most of them"
            f" {worst} with {sizes[worst]:,} numbers a sample; expected at most {LARGEST:,} bytes: give fewer rows"
        )


def _gap(one: Array, other: Array) -> float:
    """The largest difference of two arrays; two infinities of one sign, or two NaN, are the same."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return float(np.where(same, 0, np.abs(one - other)).max(initial=0.0))


def _too_far(gap: float, closed: Array) -> bool:
    finite = np.abs(closed[np.isfinite(closed)])
    return not gap <= (1e-9 if closed.dtype == np.float64 else 1e-3) * max(1.0, float(finite.max(initial=0.0)))


def _mark(name: str, apart: tuple[str, ...]) -> str:
    return " !!" if name in apart else ""


def _shape(array: Array) -> str:
    return "×".join(map(str, array.shape)) or "1"
