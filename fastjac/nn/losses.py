"""Losses: what they take for targets, and which function of a path computes them.

A loss is called with the network's output and the targets and gives the mean over the samples and its gradient. With
sample weights the mean is weighted, Σ w·loss / Σ w.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from fastjac.kernels import losses as table
from fastjac.kernels.arrays import ArrayLike, Float, float_of, rows, unknown, weights
from fastjac.kernels.checked import loss_parameter, loss_sums, loss_targets
from fastjac.support.attributes import Strict, checks_keywords, refuse_own_code


class Loss(Strict):
    """Base of the losses; not used by itself."""

    name: ClassVar[str]  # as in fit(loss="…"), in every path, and in the kernels' table
    probabilities: ClassVar[bool] = False  # whether the network's output must lie in [0, 1]

    @property
    def parameters(self) -> tuple[float, ...]:
        """What a path's function takes after output, targets and weights; at most one number."""
        return ()

    @property
    def parameter(self) -> float:
        """The same as the kernels take it: 0 for a loss that has none."""
        return self.parameters[0] if self.parameters else 0.0

    @property
    def kind(self) -> int:
        """What targets may be: see ``kernels.losses``."""
        return table.kind_of(self.name)

    @property
    def counts_hits(self) -> bool:
        """Whether there is an accuracy."""
        return table.counts_hits(self.name)

    def code(self, labels: np.ndarray | None) -> int:
        """The kernel for these targets."""
        return table.code_of(self.name, labels is not None)

    def targets(
        self, y: object, samples: int, outputs: int, dtype: Float, name: str = "y"
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Checked targets: (class indices, None) or (None, rows).

        Raises:
            TypeError, ValueError: targets that don't fit the network's output.
        """
        return loss_targets(y, self.kind, samples, outputs, dtype, name)

    def sums(
        self,
        output: np.ndarray,
        labels: np.ndarray | None,
        targets: np.ndarray | None,
        weight: np.ndarray | None,
        gradient: np.ndarray,
    ) -> tuple[float, float, float]:
        """Weighted sums of losses and hits, and of the weights, from checked arrays; the gradient is written."""
        return loss_sums(self.code(labels), self.parameter, output, labels, targets, weight, gradient, flushes=True)

    def means(self, sums: np.ndarray) -> dict[str, float]:
        """Loss and accuracy over some batches, weighted as their samples are.

        Args:
            sums: (batches, 4): of each the weighted sums of losses and hits, the sum of weights, and the penalty.

        Returns:
            {"loss": …, "accuracy": …}; no accuracy for the losses of regression.
        """
        return {name: column[0] for name, column in self.columns(sums[np.newaxis]).items()}

    def columns(self, sums: np.ndarray) -> dict[str, list[float]]:
        """``means`` of some epochs, each to the bit as alone.

        Args:
            sums: (epochs, batches, 4), as there.

        Returns:
            A number for each epoch; 0 where nothing has any weight.
        """
        if sums.shape[1] == 1:
            losses, hits, weights, penalties = sums[:, 0].T.tolist()
        else:  # one after the other: along a row, where numbers lie apart, NumPy adds as it adds a row alone
            losses, hits, weights, penalties = (sums[:, :, k].sum(axis=1).tolist() for k in range(4))
        epochs = range(len(sums))
        figures = {"loss": [(losses[k] + penalties[k]) / weights[k] if weights[k] else 0.0 for k in epochs]}
        if self.counts_hits:
            figures["accuracy"] = [hits[k] / weights[k] if weights[k] else 0.0 for k in epochs]
        return figures

    @checks_keywords
    def __call__(
        self, output: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, np.ndarray]:
        """The loss and its gradient with respect to ``output``.

        Args:
            output: (N, K), what the network gave.
            y: targets; see the class.
            sample_weight: (N,) weights, none negative.

        Returns:
            The mean loss, and the gradient (N, K).

        Raises:
            TypeError, ValueError: arrays that don't fit, labels out of range, no rows.
        """
        dtype = float_of(output)
        output = rows("output", output, (None, None), dtype)
        if 0 in output.shape:
            raise ValueError(f"output has shape {output.shape}, expected at least one row and one column: (1, 1)")
        if self.probabilities and not ((output >= 0) & (output <= 1)).all():
            raise ValueError(
                f"{self.name} takes probabilities, but output, of shape {output.shape}, has values from"
                f" {output.min()} to {output.max()}"
            )
        labels, targets = self.targets(y, output.shape[0], output.shape[1], dtype)
        weight = None if sample_weight is None else weights("sample_weight", sample_weight, len(output))
        gradient = np.empty(output.shape, dtype)
        loss, _, weight_sum = self.sums(output, labels, targets, weight, gradient)
        return loss / weight_sum, gradient

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxCrossEntropy(Loss, strict=True):
    """-log softmax(logits)_y; the gradient is (s - y)/N (course E2).

    Takes logits (N, K), and class indices (N,) of any integer type or one-hot or soft rows (N, K).

    >>> SoftmaxCrossEntropy()([[0.0, 0.0]], [1])[1]
    array([[ 0.5, -0.5]])
    """

    name = "softmax_cross_entropy"


class BinaryCrossEntropy(Loss, strict=True):
    """Mean over samples *and outputs* of -(y·log p + (1 - y)·log(1 - p)), for one or several independent outputs.

    Takes targets (N, K) in [0, 1], or (N,) for one output.

    Args:
        from_logits: with True p = σ(output), and the gradient is (p - y)/(N·K). With False p is the output itself
            (course B10, C2), which must lie in [0, 1]; logarithms are cut at -100, as in PyTorch.

    >>> BinaryCrossEntropy()([[0.0]], [1])[1]
    array([[-0.5]])
    """

    def __init__(self, from_logits: bool = True) -> None:
        self._from_logits = bool(from_logits)

    @property
    def from_logits(self) -> bool:
        return self._from_logits

    @property
    def probabilities(self) -> bool:  # type: ignore[override]
        return not self._from_logits

    @property
    def name(self) -> str:  # type: ignore[override]
        """As ``fit`` takes it."""
        return "binary_cross_entropy" if self._from_logits else "binary_cross_entropy_probabilities"

    def __repr__(self) -> str:
        return f"BinaryCrossEntropy(from_logits={self.from_logits})"


class CategoricalCrossEntropy(Loss, strict=True):
    """-Σ y·log p on rows of probabilities, such as a Softmax layer gives; gradient -y/p/N (course C3).

    Takes probabilities (N, K), and targets as ``SoftmaxCrossEntropy``, which is faster and exact at the edges.

    >>> CategoricalCrossEntropy()([[0.5, 0.5]], [1])[1]
    array([[ 0., -2.]])
    """

    name = "categorical_cross_entropy"
    probabilities = True


class MeanSquaredError(Loss, strict=True):
    """Mean over samples *and outputs* of (y - ŷ)², as in PyTorch; for one output as in the course (B9, C1).

    Takes targets (N, K), or (N,) for one output.

    >>> MeanSquaredError()([[3.0]], [1.0])
    (4.0, array([[4.]]))
    """

    name = "mean_squared_error"


class MeanAbsoluteError(Loss, strict=True):
    """Mean over samples *and outputs* of |y - ŷ|, PyTorch's L1Loss (row F1). At y = ŷ the slope is 0.

    Takes targets (N, K), or (N,) for one output.

    >>> MeanAbsoluteError()([[3.0]], [1.0])
    (2.0, array([[1.]]))
    """

    name = "absolute_error"


class Huber(Loss, strict=True):
    """Mean over samples *and outputs* of (y - ŷ)²/2 up to |y - ŷ| = delta, and of delta·(|y - ŷ| - delta/2) beyond.

    As PyTorch's HuberLoss (row F2; Huber 1964): half the squared error for small errors, and no more than ``delta`` of
    slope for large ones. Takes targets (N, K), or (N,) for one output.

    Args:
        delta: where the parabola ends, a finite number above 0.

    Raises:
        TypeError, ValueError: not such a number.

    >>> Huber(delta=1.0)([[3.0]], [1.0])
    (1.5, array([[1.]]))
    """

    name = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    @property
    def delta(self) -> float:
        return self._delta

    @delta.setter
    def delta(self, value: float) -> None:
        self._delta = loss_parameter("delta", value)

    @property
    def parameters(self) -> tuple[float, ...]:
        return (self._delta,)

    def __repr__(self) -> str:
        return f"Huber(delta={self.delta})"


class QuantileLoss(Loss, strict=True):
    """Mean over samples *and outputs* of max(q·(y - ŷ), (q - 1)·(y - ŷ)), the pinball loss: ŷ learns the quantile q.

    As scikit-learn's mean_pinball_loss (row F3; Koenker & Bassett 1978). With q = 1/2 it is half the absolute error; at
    y = ŷ the slope is 0 too. Takes targets (N, K), or (N,) for one output.

    Args:
        quantile: q, above 0 and below 1.

    Raises:
        TypeError, ValueError: not such a number.

    >>> QuantileLoss(quantile=0.25)([[3.0]], [1.0])
    (1.5, array([[0.75]]))
    """

    name = "quantile"

    def __init__(self, quantile: float = 0.5) -> None:
        self.quantile = quantile

    @property
    def quantile(self) -> float:
        return self._quantile

    @quantile.setter
    def quantile(self, value: float) -> None:
        self._quantile = loss_parameter("quantile", value, 1)

    @property
    def parameters(self) -> tuple[float, ...]:
        return (self._quantile,)

    def __repr__(self) -> str:
        return f"QuantileLoss(quantile={self.quantile})"


class Poisson(Loss, strict=True):
    """Mean over samples *and outputs* of e^z - y + y·(log y - z), z being the network's output; gradient (e^z - y)/N/K.

    The output is the logarithm of the rate: let the last layer have no activation, and take ``np.exp`` of what the
    network predicts. Takes targets (N, K) of at least 0, or (N,) for one output.

    It is half the Poisson deviance (row F4), as in scikit-learn's MLPRegressor(loss="poisson") with one output (which
    adds the outputs up). PyTorch's PoissonNLLLoss(log_input=True) leaves out y·log y - y, which no gradient depends on.

    >>> Poisson()([[0.0]], [0.0])
    (1.0, array([[1.]]))
    """

    name = "poisson"


BY_NAME: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        SoftmaxCrossEntropy(),
        BinaryCrossEntropy(),
        BinaryCrossEntropy(from_logits=False),
        CategoricalCrossEntropy(),
        MeanSquaredError(),
        MeanAbsoluteError(),
        Huber(),
        QuantileLoss(),
        Poisson(),
    )
}


LossName = Literal[
    "softmax_cross_entropy",
    "binary_cross_entropy",
    "binary_cross_entropy_probabilities",
    "categorical_cross_entropy",
    "mean_squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "poisson",
]
LossLike = LossName | Loss | type[Loss]  # what a function takes for a loss

# what other libraries call theirs
_ELSEWHERE = {
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "sparsecategoricalcrossentropy": "softmax_cross_entropy",
    "categoricalcrossentropy": "softmax_cross_entropy",
    "cross_entropy": "softmax_cross_entropy",
    "crossentropy": "softmax_cross_entropy",
    "crossentropyloss": "softmax_cross_entropy",
    "nll": "softmax_cross_entropy",
    "nllloss": "softmax_cross_entropy",
    "nll_loss": "softmax_cross_entropy",
    "log_loss": "softmax_cross_entropy",
    "logistic": "softmax_cross_entropy",
    "softmax": "softmax_cross_entropy",
    "ce": "softmax_cross_entropy",
    "bce": "binary_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "binarycrossentropy": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy",
    "bceloss": "binary_cross_entropy_probabilities",
    "mse": "mean_squared_error",
    "mseloss": "mean_squared_error",
    "l2": "mean_squared_error",
    "l2loss": "mean_squared_error",
    "squared_error": "mean_squared_error",
    "squared_loss": "mean_squared_error",
    "mae": "absolute_error",
    "l1": "absolute_error",
    "l1loss": "absolute_error",
    "mean_absolute_error": "absolute_error",
    "meanabsoluteerror": "absolute_error",
    "smooth_l1": "huber",
    "smoothl1loss": "huber",
    "huberloss": "huber",
    "huber_loss": "huber",
    "pinball": "quantile",
    "pinball_loss": "quantile",
    "quantileloss": "quantile",
    "poissonnllloss": "poisson",
    "poisson_nll": "poisson",
    "poisson_nll_loss": "poisson",
}


def get(loss: LossLike | str) -> Loss:
    """The loss for a name or a loss object.

    Raises:
        ValueError: unknown name.
        TypeError: anything else, or a loss with code of its own, which compiled training would not run.
    """
    if isinstance(loss, type) and issubclass(loss, Loss):
        loss = loss()
    if isinstance(loss, Loss):
        if getattr(loss, "name", None) not in BY_NAME:
            raise TypeError(f"{type(loss).__name__} is a base of losses, expected one such as {', '.join(BY_NAME)}")
        refuse_own_code(loss, Loss, ("sums", "code", "__call__"))
        return loss
    if isinstance(loss, str):
        if loss not in BY_NAME:
            raise unknown("loss", loss, list(BY_NAME), _ELSEWHERE)
        return BY_NAME[loss]
    raise TypeError(f"loss is {loss!r}, expected a name ({', '.join(BY_NAME)}) or a loss object")
