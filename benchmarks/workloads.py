"""The six networks that are trained, each with its data and its first weights: the same for every peer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A network and a batch size. Widths from the input to the output; the last layer has no activation."""

    name: str
    widths: tuple[int, ...]
    activation: str
    batch: int
    batches: int  # in an epoch
    one_thread: float  # the ratio to reach: fastest peer's median step / ours
    all_threads: float

    @property
    def regression(self) -> bool:
        """Whether it learns numbers by squared error, or classes by softmax with cross-entropy."""
        return self.name == "expm"

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer."""
        return list(zip(self.widths, self.widths[1:], strict=False))

    @property
    def flops(self) -> int:
        """Arithmetic of the products of one step: forward, both gradients, without the one for the input."""
        macs = sum(i * o for i, o in self.layers)
        return 2 * self.batch * (3 * macs - self.widths[0] * self.widths[1])

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y: random numbers and labels, but for ``expm`` matrices and their exponentials."""
        rng = np.random.default_rng(0)
        samples = self.batch * self.batches
        if self.regression:
            matrices = rng.normal(size=(samples, 2, 2))
            return matrices.reshape(samples, 4).astype("f4"), _exponentials(matrices).reshape(samples, 4).astype("f4")
        X = rng.standard_normal((samples, self.widths[0]), "f4")
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
                A = np.tanh(A) if self.activation == "tanh" else np.maximum(A, 0)
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
        Workload("expm", (4, 32, 16, 4), "tanh", 10_000, 1, 3.0, 3.0),
        Workload("tiny", (8, 32, 32, 3), "relu", 32, 200, 3.5, 3.5),
        Workload("digits", (64, 128, 64, 10), "relu", 64, 200, 2.0, 2.0),
        Workload("mnist", (784, 128, 10), "relu", 64, 100, 2.0, 2.0),
        Workload("medium", (784, 512, 512, 10), "relu", 128, 8, 1.4, 1.4),
        Workload("large", (1024, 1024, 1024, 10), "relu", 256, 4, 1.3, 1.3),
    )
}
RATE = 1e-3  # of Adam
