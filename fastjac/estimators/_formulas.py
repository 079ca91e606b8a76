"""scikit-learn's numbers where fastjac's own differ: its logarithmic and Poisson losses, and Adam's epsilon."""

from __future__ import annotations

import numpy as np

from fastjac.kernels import optimizers as rules
from fastjac.nn import losses, optimizers


class LogLoss(losses.SoftmaxCrossEntropy):
    """Cross-entropy of class indices whose value, not its gradient, is that of probabilities cut to [eps, 1 - eps].

    So that no row loses more than 36.04 in float64: on unscaled data, it is this that the curve shows and ``tol`` sees.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self._eps = float(np.finfo(dtype).eps)

    @property
    def parameter(self) -> float:
        return self._eps


class BinaryLogLoss(losses.BinaryCrossEntropy):
    """The same for independent outputs of 0 or 1."""

    def __init__(self, dtype: np.dtype) -> None:
        super().__init__()
        self._eps = float(np.finfo(dtype).eps)

    @property
    def parameter(self) -> float:
        return self._eps


class PoissonDeviance(losses.Poisson):
    """Half the Poisson deviance, computed from the rate as it is: infinite for 0, NaN for infinity, and for 0 where
    the target is 0, too."""

    @property
    def parameter(self) -> float:
        return 1.0


class Adam(optimizers.Adam):
    """Adam whose ε is added to √v before its start bias is taken away: w -= rate·m̂ / (√v̂ + ε/√(1 - β₂ᵗ))."""

    def settings(self) -> np.ndarray:
        values = super().settings()
        values[rules.EPSILON_BIASED] = 1.0
        return values
