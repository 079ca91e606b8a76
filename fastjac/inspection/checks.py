"""Gradients against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastjac.kernels.arrays import ArrayLike
from fastjac.nn import losses
from fastjac.nn.batch import Batch
from fastjac.nn.layers import Dropout, Layer
from fastjac.nn.network import Network
from fastjac.support import arguments, report
from fastjac.support.attributes import checks_keywords

# of PyTorch's torch.autograd.gradcheck
STEP, ABSOLUTE, RELATIVE = 1e-6, 1e-5, 1e-3


@dataclass(frozen=True)
class GradientCheck:
    """What ``check_gradients`` found. Prints as a table.

    Attributes:
        passed: whether every entry is close enough: |difference| ≤ 1e-5 + 1e-3·|central difference|.
        rows: for each parameter array and the input: name, entries tried, largest difference, largest ratio of the
            difference to what is allowed.
        suspect: where they differ, the layer nearest to the loss whose own backward is not the derivative of its
            forward, as "layers[1] (Scale)"; gradients of the layers before it are wrong because of it. None where all
            agree, or where no single layer differs (then look at the loss).
    """

    passed: bool
    rows: list[tuple[str, int, float, float]]
    suspect: str | None = None

    def __str__(self) -> str:
        cells = [[name, str(tried), f"{worst:.2e}", f"{ratio:.2g}"] for name, tried, worst, ratio in self.rows]
        title = "Gradients against central differences: " + ("all agree" if self.passed else "they DIFFER")
        if self.suspect:
            title += f"; look at {self.suspect}"
        return report.table(title, ["Gradient", "Entries", "Largest difference", "of what is allowed"], cells)


@checks_keywords
def check_gradients(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    loss: losses.LossLike,
    *,
    sample_weight: ArrayLike | None = None,
    entries: int = 200,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradients of a network, computed by its own path in float64, with central differences.

    Args:
        network: not changed; a float32 network is copied to float64 first. Dropout must have rate 0, for two passes
            to see one function.
        X, y, loss, sample_weight: as in ``fit``.
        entries: how many entries of each parameter array and of X to try, chosen at random; all where there are fewer.
        seed: of that choice.

    Returns:
        The result; ``print`` shows a table, ``.passed`` says whether all agree.

    Raises:
        TypeError, ValueError: as in ``fit``; ValueError for a network with Dropout.

    A central difference across a kink (ReLU at 0) is no derivative; with random numbers that does not happen.

    >>> import fastjac as fj
    >>> net = fj.Sequential([fj.Dense(3, 5, activation="gelu"), fj.Dense(5, 2)], seed=0)
    >>> rng = np.random.default_rng(0)
    >>> check_gradients(net, rng.normal(size=(7, 3)), rng.integers(0, 2, 7), "softmax_cross_entropy").passed
    True
    """
    chosen = losses.get(loss)
    network.check_loss(chosen)
    if any(isinstance(layer, Dropout) and layer.rate > 0 for layer in network.layers):
        raise ValueError("the network has Dropout: its loss is a different function each time; use rate 0 to check")
    arguments.count("entries", entries)
    twin = network.clone("float64")
    batch = Batch.checked(twin.signature, chosen, X, y, sample_weight, all_finite=False).own()
    X = batch.X  # its numbers are moved a little

    def value(gradient: np.ndarray | None = None) -> float:
        output = twin.forward(X, training=False)
        d = np.empty_like(output) if gradient is None else gradient
        total, _, weight_sum = twin.loss_sums(chosen, output, batch.labels, batch.targets, batch.weight, d)
        return total / weight_sum

    d = np.empty((len(X), twin.outputs))
    value(d)
    dX = twin.backward(d).copy()
    arrays = {
        f"layers[{k}].{name}": (layer.parameters[name], layer.gradients[name].copy())
        for k, layer in enumerate(twin.layers)
        for name in layer.parameters
    }
    arrays["X"] = (X, dX)
    rng = np.random.default_rng(seed)
    rows = []
    for name, (array, gradient) in arrays.items():
        worst, ratio, tried = _compare(value, array, gradient, rng, entries)
        rows.append((name, tried, worst, ratio))
    passed = all(row[3] <= 1 for row in rows)
    return GradientCheck(passed, rows, None if passed else _suspect(twin, X, rng, entries))


def _suspect(twin: Network, X: np.ndarray, rng: np.random.Generator, entries: int) -> str | None:
    """The last layer whose backward is not that of its own forward, each looked at by itself."""
    inputs = [X]
    for layer in twin.layers:
        inputs.append(np.array(layer.forward(inputs[-1].copy(), False)) + 0)
    for k, layer in reversed(list(enumerate(twin.layers))):
        A = inputs[k].copy()
        d = rng.normal(size=inputs[k + 1].shape)  # any sum of the outputs will do

        def value(layer: Layer = layer, A: np.ndarray = A, d: np.ndarray = d) -> float:
            return float((np.asarray(layer.forward(A.copy(), False)) * d).sum())

        value()
        dA = np.array(layer.backward(d.copy()))
        gradients = {name: layer.gradients[name].copy() for name in layer.parameters}
        pairs = [(A, dA), *((layer.parameters[name], gradient) for name, gradient in gradients.items())]
        if any(_compare(value, array, gradient, rng, entries)[1] > 1 for array, gradient in pairs):
            return f"layers[{k}] ({layer.describe()})"
    return None


def _compare(
    value: Callable[[], float], array: np.ndarray, gradient: np.ndarray, rng: np.random.Generator, entries: int
) -> tuple[float, float, int]:
    """Some entries of a gradient against differences of ``value()``: the worst distance, that over what is allowed."""
    chosen = rng.permutation(array.size)[:entries]  # indices as if the array were flat
    worst = ratio = 0.0
    for flat_index in chosen:
        index = np.unravel_index(flat_index, array.shape)
        held = array[index]
        array[index] = held + STEP
        above = value()
        array[index] = held - STEP
        below = value()
        array[index] = held
        difference = (above - below) / (2 * STEP)
        distance = abs(float(gradient[index]) - difference)
        if not np.isfinite(distance):
            distance = np.inf
        worst = max(worst, distance)
        ratio = max(ratio, distance / (ABSOLUTE + RELATIVE * abs(difference)))
    return worst, ratio, len(chosen)
