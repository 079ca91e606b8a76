"""The networks that are trained, each with its data and its first weights: the same for every peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


@dataclass(frozen=True)
class Workload:
    """A network and a batch size. Widths from the input to the output; the last layer has no activation."""

    name: str
    widths: tuple[int, ...]
    activation: str
    batch: int
    batches: int  # in an epoch
    one_thread: float | None  # the ratio to reach: fastest peer's median step / ours
    all_threads: float | None
    of_the_roof: float | None  # the fraction to reach on one thread: see bounds.py
    regression: bool = False  # learns numbers by squared error, else classes by softmax with cross-entropy

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer."""
        return list(zip(self.widths, self.widths[1:], strict=False))

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum((i + 1) * o for i, o in self.layers)

    @property
    def flops(self) -> int:
        """Arithmetic of the products of one step: forward, both gradients, without the one for the input."""
        macs = sum(i * o for i, o in self.layers)
        return 2 * self.batch * (3 * macs - self.widths[0] * self.widths[1])

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y: random numbers and labels or waves of them, but for ``expm`` matrices and their exponentials."""
        rng = np.random.default_rng(0)
        samples = self.batch * self.batches
        if self.name == "expm":
            matrices = rng.normal(size=(samples, 2, 2))
            return matrices.reshape(samples, 4).astype("f4"), _exponentials(matrices).reshape(samples, 4).astype("f4")
        X = rng.standard_normal((samples, self.widths[0]), "f4")
        if self.regression:
            directions = rng.standard_normal((self.widths[0], self.widths[-1]), "f4")
            return X, np.sin(X @ directions * np.float32(self.widths[0] ** -0.5))
        return X, rng.integers(0, self.widths[-1], samples)

    def weights(self) -> list[np.ndarray]:
        """W of each layer, (inputs, outputs); biases begin at 0."""
        rng = np.random.default_rng(1)
        return [rng.standard_normal((i, o), "f4") * np.float32(np.sqrt(2 / (i + o))) for i, o in self.layers]

    def loss(self, parameters: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """The loss over all data, in float64: what peers are compared by."""
        X, y = self.data()
        A = X.astype("f8")
        for k, (W, b) in enumerate(parameters):
            A = A @ W.astype("f8") + b
            if k < len(parameters) - 1:
                A = _ACTIVATIONS[self.activation](A)
        if self.regression:
            return float(((A - y) ** 2).mean())
        A -= A.max(axis=1, keepdims=True)
        return float((np.log(np.exp(A).sum(axis=1)) - A[np.arange(len(y)), y]).mean())


def _exponentials(matrices: np.ndarray) -> np.ndarray:
    """e^A of real 2×2 matrices: e^(t/2)·(cosh s·I + sinh s/s·(A - t/2·I)), s² = (t/2)² - det A, t the trace."""
    half = np.trace(matrices, axis1=1, axis2=2) / 2
    root = np.sqrt((half**2 - np.linalg.det(matrices)).astype("c16"))
    ratio = np.where(root == 0, 1, np.sinh(root) / np.where(root == 0, 1, root))
    unit = np.eye(2)[None]
    inner = np.cosh(root)[:, None, None] * unit + ratio[:, None, None] * (matrices - half[:, None, None] * unit)
    result: np.ndarray = (np.exp(half)[:, None, None] * inner).real
    return result


WORKLOADS = {
    w.name: w
    for w in (
        Workload("expm", (4, 32, 16, 4), "tanh", 10_000, 1, 2.75, 3.0, 0.85, regression=True),
        Workload("regress", (9, 40, 1), "relu", 32, 256, 2.3, None, 0.60, regression=True),
        Workload("tiny", (8, 32, 32, 3), "relu", 32, 256, 3.7, 3.5, 0.82),
        Workload("tiny4", (8, 32, 32, 3), "relu", 32, 4, None, None, None),  # a small data set: many short epochs
        Workload("policy", (21, 48, 48, 5), "tanh", 64, 200, 1.9, None, 0.85, regression=True),
        Workload("odd", (90, 150, 70, 6), "sigmoid", 48, 200, 1.6, None, 0.87),
        Workload("digits", (64, 128, 64, 10), "relu", 64, 200, 1.6, 2.0, 0.92),
        Workload("mnist", (784, 128, 10), "relu", 64, 100, 1.4, 2.0, 0.88),
        Workload("medium", (784, 512, 512, 10), "relu", 128, 8, 1.25, 1.4, 0.88),
        Workload("large", (1024, 1024, 1024, 10), "relu", 256, 4, 1.2, 1.3, 0.91),
    )
}
RATE = 1e-3  # of Adam
