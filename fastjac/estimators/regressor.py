"""``MLPRegressor``."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from fastjac.estimators._base import BaseMLP, GivenValidation, Samples
from fastjac.estimators._callbacks import typed
from fastjac.estimators._formulas import PoissonDeviance
from fastjac.estimators._plain import are_plain_numbers, is_plain
from fastjac.nn import losses
from fastjac.training.callbacks import Callbacks
from fastjac.training.progress import ProgressLike

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own from Python 3.11 on

LOSSES = ("squared_error", "poisson", "absolute_error", "huber", "quantile")


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc,unused-ignore]
    """A multi-layer perceptron for numbers: scikit-learn's ``MLPRegressor``, several times as fast, and more.

    Parameters and attributes that scikit-learn has are as there. Beyond it:

    Args:
        loss: also "absolute_error", "huber", "quantile"; each is the mean over samples and outputs.
        activation, solver: as for ``MLPClassifier``.
        delta: where "huber" turns from a square to a line, above 0.
        quantile: which quantile "quantile" learns, in (0, 1).
        dropout, l1, weight_decay, clip_norm, early_stopping_metric, callbacks, progress, threads, products: as for
            ``MLPClassifier``.

    Attributes:
        validation_loss_curve_: the loss of held-out rows after each epoch, where there are any.
        network_: the ``fastjac.Sequential`` behind it; with the loss "poisson" it gives logarithms.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=5000, alpha=1, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.4
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] | np.ndarray = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        delta: float = 1.0,
        quantile: float = 0.5,
        dropout: float = 0.0,
        l1: float = 0.0,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
        early_stopping_metric: str | None = None,
        callbacks: Callbacks | None = None,
        progress: ProgressLike = False,
        threads: int | None = None,
        products: str | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.delta = delta
        self.quantile = quantile
        self.dropout = dropout
        self.l1 = l1
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.early_stopping_metric = early_stopping_metric
        self.callbacks = callbacks
        self.progress = progress
        self.threads = threads
        self.products = products

    def _validate_input(self, X: Samples, y: Samples, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        if incremental and not reset and is_plain(X, self) and are_plain_numbers(y, len(X)):
            return X, y
        rows, target = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if target.ndim == 2 and target.shape[1] == 1:
            target = column_or_1d(target, warn=True)
        return rows, target

    def _refuse_what_has_no_effect(self, validation: GivenValidation) -> None:
        super()._refuse_what_has_no_effect(validation)
        for name, usual, loss in (("delta", 1.0, "huber"), ("quantile", 0.5, "quantile")):
            if getattr(self, name) != usual and self.loss != loss:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but only loss={loss!r} has one; loss is {self.loss!r}"
                )

    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _loss(self, dtype: np.dtype | None = None) -> tuple[losses.Loss, float, float]:
        outputs = float(self.n_outputs_)
        if self.loss == "squared_error":
            # scikit-learn: half the mean of squares as value, and the errors themselves as gradient
            return losses.MeanSquaredError(), outputs / 2, 0.5
        if self.loss == "poisson":
            return PoissonDeviance(), outputs, outputs  # there a sum over outputs
        if self.loss == "absolute_error":
            return losses.MeanAbsoluteError(), 1.0, 1.0
        if self.loss == "huber":
            return losses.Huber(self.delta), 1.0, 1.0
        return losses.QuantileLoss(self.quantile), 1.0, 1.0

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return y.astype(self._network.dtype)

    def _from_output(self, output: np.ndarray) -> np.ndarray:
        return output.ravel() if output.shape[1] == 1 else output

    def _own_score(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
        return float(r2_score(y, predicted, sample_weight=weight))

    @typed(available_if(lambda estimator: estimator._check_solver()))
    @typed(_fit_context(prefer_skip_nested_validation=True))
    def partial_fit(
        self,
        X: Samples,
        y: Samples,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Samples | None = None,
        y_val: Samples | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """One epoch over X and y.

        Args:
            X, y, sample_weight: as for ``fit``.
            X_val, y_val, sample_weight_val: as for ``fit``. With ``early_stopping``, scores of X_val are kept in
                ``validation_scores_``, over all calls.

        Returns:
            self.

        Raises:
            AttributeError: ``solver`` is "lbfgs", which has no epochs.
            ValueError: as ``fit``.
        """
        return self._fit(X, y, sample_weight, True, (X_val, y_val, sample_weight_val))
