"""``MLPClassifier``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from fastjac.estimators._base import BaseMLP, Samples
from fastjac.estimators._callbacks import typed
from fastjac.estimators._formulas import BinaryLogLoss, LogLoss
from fastjac.estimators._plain import class_indices, is_plain
from fastjac.nn import losses
from fastjac.training.callbacks import Callbacks
from fastjac.training.progress import ProgressLike

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own from Python 3.11 on


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc,unused-ignore]
    """A multi-layer perceptron for classes: scikit-learn's ``MLPClassifier``, several times as fast, and more.

    Parameters and attributes that scikit-learn has are as there. Beyond it:

    Args:
        activation: a name, or a list with one for each hidden layer: logistic, or any of fastjac's.
        solver: also "adamw", with ``weight_decay``.
        class_weight: {class: weight} or "balanced"; counts in held-out rows, too, as the classes weigh in training.
        dropout: share of the values of each hidden layer that are dropped while training, in [0, 1).
        l1: strength of a penalty l1·Σ|w|, at least 0, beside ``alpha``/2·Σw².
        weight_decay: of "adamw", which takes rate·weight_decay·w from a weight w in each step; at least 0.
        clip_norm: the gradient's largest Euclidean norm, above 0; None: no limit.
        early_stopping_metric: "score" (default), "loss", or the name of a scikit-learn scorer.
        callbacks: fastjac's callbacks, or functions of (epoch, logs).
        progress: True, False, or "auto" for a bar where someone can see it.
        threads: how many to use at most, as far as they pay; None for as many as there are. Training with "lbfgs" is on
            one thread, and ``threads`` is for ``predict`` then.
        products: "bfloat16" rounds the operands of matrix products, for float32 rows and wide layers, as in
            ``fastjac.Sequential``; None: they are as they are.

    Apart from ``threads``, such a parameter that would have no effect is refused, as ``weight_decay`` with another
    solver.

    Attributes:
        validation_loss_curve_: the loss of held-out rows after each epoch, where there are any.
        network_: the ``fastjac.Sequential`` behind it, which gives logits.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier((32,), solver="lbfgs", max_iter=2000, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.9
    True
    """

    loss = "log_loss"  # as scikit-learn's has it, where it is no parameter either

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [None, dict, StrOptions({"balanced"})],
    }

    def __init__(
        self,
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
        class_weight: dict[Any, float] | dict[Any, int] | Literal["balanced"] | None = None,
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
        self.class_weight = class_weight
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
        if incremental and not reset and is_plain(X, self) and (chosen := self._chosen(y, len(X))) is not None:
            return X, chosen
        rows, target = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=(np.float64, np.float32), reset=reset
        )
        if target.ndim == 2 and target.shape[1] == 1:
            target = column_or_1d(target, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(target)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(target)
            if self.warm_start and not incremental:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit."
                        f" Previously got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        return rows, self._label_binarizer.transform(target).astype(bool)

    def _chosen(self, y: Samples, rows: int) -> np.ndarray | None:
        """The rows of the label binarizer for y, where y is plain labels of known classes and there are two or more."""
        count = len(self.classes_)
        if count < 2 or self._label_binarizer.y_type_ not in ("binary", "multiclass"):
            return None
        indices = class_indices(y, rows, self.classes_)
        if indices is None:
            return None
        chosen: np.ndarray = indices[:, np.newaxis] == (1 if count == 2 else np.arange(count))
        return chosen

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _loss(self, dtype: np.dtype | None = None) -> tuple[losses.Loss, float, float]:
        dtype = self._network.dtype if dtype is None else dtype
        if self.out_activation_ == "softmax":
            return LogLoss(dtype), 1.0, 1.0
        # ours is a mean over outputs, scikit-learn's a sum
        return BinaryLogLoss(dtype), float(self.n_outputs_), float(self.n_outputs_)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else y.astype(self._network.dtype)

    def _class_factors(self, y: np.ndarray, of: np.ndarray) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if self._label_binarizer.y_type_.startswith("multilabel"):
            raise ValueError("class_weight is for one class a sample, not for multilabel targets")
        indices = self._class_indices(of)
        labels = self.classes_[indices]
        if isinstance(self.class_weight, dict):
            factors = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
        else:
            # classes that partial_fit has not seen yet have no weight to be balanced by
            present = np.unique(indices)
            factors = np.ones(len(self.classes_))
            factors[present] = compute_class_weight("balanced", classes=self.classes_[present], y=labels)
        weights: np.ndarray = np.asarray(factors, float)[self._class_indices(y)]
        return weights

    def _class_indices(self, y: np.ndarray) -> np.ndarray:
        """Of checked y, the indices in ``classes_``."""
        return y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        decoded: np.ndarray = self._label_binarizer.inverse_transform(y.astype(int))
        return decoded

    def _from_output(self, output: np.ndarray) -> np.ndarray:
        predicted: np.ndarray = self._label_binarizer.inverse_transform(
            output.ravel() if self.n_outputs_ == 1 else output
        )
        return predicted

    def _own_score(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
        return float(accuracy_score(y, predicted, sample_weight=weight))

    @typed(available_if(lambda estimator: estimator._check_solver()))
    @typed(_fit_context(prefer_skip_nested_validation=True))
    def partial_fit(
        self,
        X: Samples,
        y: Samples,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        X_val: Samples | None = None,
        y_val: Samples | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """One epoch over X and y.

        Args:
            X, y, sample_weight: as for ``fit``.
            classes: (n_classes,), all classes there will ever be; needed at the first call.
            X_val, y_val, sample_weight_val: as for ``fit``. With ``early_stopping``, scores of X_val are kept in
                ``validation_scores_``, over all calls.

        Returns:
            self.

        Raises:
            AttributeError: ``solver`` is "lbfgs", which has no epochs.
            ValueError: as ``fit``; no ``classes`` at the first call, or others later.
        """
        known = classes is not None and hasattr(self, "classes_") and np.array_equal(self.classes_, classes)
        if not known and _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, True, (X_val, y_val, sample_weight_val))

    def _probabilities(self, output: np.ndarray) -> np.ndarray:
        return np.hstack([1 - output, output]) if self.n_outputs_ == 1 else output

    def predict_proba(self, X: Samples) -> np.ndarray:
        """Probabilities of the classes in ``classes_``.

        Args:
            X: (n_samples, n_features), dense or sparse.

        Returns:
            (n_samples, n_classes), in [0, 1]; rows add up to 1, except where a sample may have several labels.

        Raises:
            ValueError: as ``predict``.
        """
        check_is_fitted(self)
        return self._probabilities(self._output(self._checked(X)))

    def predict_log_proba(self, X: Samples) -> np.ndarray:
        """Logarithms of ``predict_proba``.

        Args:
            X: (n_samples, n_features), dense or sparse.

        Returns:
            (n_samples, n_classes); -∞ where a probability is 0.

        Raises:
            ValueError: as ``predict``.
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
