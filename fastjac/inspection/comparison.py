"""One network computed three ways, side by side."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass

import numpy as np

from fastjac.kernels.arrays import ArrayLike
from fastjac.nn import losses
from fastjac.nn.batch import Batch
from fastjac.nn.network import Network
from fastjac.paths import PATHS
from fastjac.support import arguments, report
from fastjac.support.attributes import checks_keywords

_SHORT = {"weight": "W", "bias": "b"}  # as the course calls them


@dataclass(frozen=True, repr=False)
class PathResult:
    """One path's forward, loss and backward.

    Attributes:
        path: its name.
        loss: the mean loss.
        differences: for each gradient, its largest relative difference from the reference path's: the largest
            difference of an entry over the largest entry.
        seconds: median time of forward, loss and backward.
        bytes: the most memory that NumPy held at once for it, beyond the network's own.
        gradients: by name: a copy.
    """

    path: str
    loss: float
    differences: dict[str, float]
    seconds: float
    bytes: int
    gradients: dict[str, np.ndarray]

    def __repr__(self) -> str:
        worst = max(self.differences.values(), default=0.0)
        return f"PathResult({self.path}, loss={self.loss:.9g}, largest difference {worst:.1e})"


@dataclass(frozen=True, repr=False)
class Comparison:
    """What ``compare`` found. Prints as a table.

    Attributes:
        results: by the name of the path: "fused", "unfused" or "reference".
    """

    results: dict[str, PathResult]

    def __repr__(self) -> str:
        return f"Comparison({', '.join(map(repr, self.results.values()))}; print it for a table)"

    def __str__(self) -> str:
        names = list(next(iter(self.results.values())).gradients)
        cells = []
        for one in self.results.values():
            gaps = ["-" if one.path == "reference" else f"{one.differences[name]:.1e}" for name in names]
            cells.append([one.path, f"{one.loss:.9g}", *gaps, f"{one.seconds * 1e6:,.0f} µs", f"{one.bytes:,}"])
        title = "Three paths: largest relative difference of every gradient from the reference"
        return report.table(title, ["Path", "Loss", *(f"d{name}" for name in names), "Time", "Bytes"], cells)


@checks_keywords
def compare(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    loss: losses.LossLike,
    *,
    sample_weight: ArrayLike | None = None,
    repeats: int = 5,
) -> Comparison:
    """Compute loss and gradients by every path: fused kernels, NumPy expressions, explicit Jacobians.

    Args:
        network: not changed, but for ``gradients``. With Dropout, every path drops the same.
        X, y, loss, sample_weight: one batch, as in ``fit``. The reference builds Jacobians of (outputs × inputs)
            for each sample and neuron: keep the batch small.
        repeats: how many times to time each path; the reference is timed once.

    Returns:
        The results, which print as a table.

    Raises:
        TypeError, ValueError: as in ``fit``.

    >>> import fastjac as fj
    >>> net = fj.Sequential([fj.Dense(3, 4, activation="tanh"), fj.Dense(4, 2)], seed=0, dtype="float64")
    >>> result = compare(net, np.eye(3), [0, 1, 0], loss="softmax_cross_entropy")
    >>> max(result.results["fused"].differences.values()) < 1e-12
    True
    """
    chosen = losses.get(loss)
    network.check_loss(chosen)
    arguments.count("repeats", repeats)
    batch = Batch.checked(network.signature, chosen, X, y, sample_weight, all_finite=False)
    held_path, held_step = network.path, network._training_step

    def once() -> tuple[float, np.ndarray]:
        network._training_step = held_step  # the same dropout masks for every path and repeat
        output = network.forward(batch.X)
        d = np.empty_like(output)
        total, _, weight_sum = network.loss_sums(chosen, output, batch.labels, batch.targets, batch.weight, d)
        return total / weight_sum, network.backward(d)

    found: dict[str, tuple[float, dict[str, np.ndarray], float, int]] = {}
    try:
        for path in PATHS:
            network.path = path
            value, dX = once()  # compiles or loads what is needed, and fills the network's scratch memory
            gradients = {
                f"{_SHORT.get(name, name)}{k + 1}": layer.gradients[name].copy()
                for k, layer in enumerate(network.layers)
                for name in layer.parameters
            }
            gradients["X"] = dX.copy()
            times = []
            for _ in range(1 if path == "reference" else repeats):
                begin = time.perf_counter()
                once()
                times.append(time.perf_counter() - begin)
            already = tracemalloc.is_tracing()
            if not already:
                tracemalloc.start()
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            once()
            peak = tracemalloc.get_traced_memory()[1] - before
            if not already:
                tracemalloc.stop()
            found[path] = (value, gradients, float(np.median(times)), peak)
    finally:
        network.path, network._training_step = held_path, held_step
    reference = found["reference"][1]
    return Comparison(
        {
            path: PathResult(
                path, value, {name: _gap(g, reference[name]) for name, g in gradients.items()}, seconds, peak, gradients
            )
            for path, (value, gradients, seconds, peak) in found.items()
        }
    )


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference over the largest entry of ``other``."""
    size = float(np.abs(other).max(initial=0.0))
    gap = float(np.abs(one - other).max(initial=0.0))
    return gap / size if size > 0 else gap
