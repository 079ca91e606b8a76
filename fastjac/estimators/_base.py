"""What both estimators share: parameters, the stochastic and the quasi-Newton training loop, fitted attributes.

The meaning of every parameter and attribute that scikit-learn's MLPs have is theirs, to the order in which random
numbers are drawn, so that the same ``random_state`` gives the same weights, the same batches and, but for rounding, the
same loss curve.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, shuffle
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastjac import activations, losses, optimizers, training
from fastjac.callbacks import Callback, as_callbacks
from fastjac.errors import NonFiniteError
from fastjac.estimators._callbacks import CallbackSupportMixin, Tasks, with_callbacks
from fastjac.estimators._lbfgs import minimize
from fastjac.layers import Dense, Dropout, Layer
from fastjac.network import Sequential
from fastjac.progress import bar

STOCHASTIC = ("sgd", "adam", "adamw")
_BLOCK = 4096  # rows of a sparse matrix that are made dense at a time, when they are predicted
_ACTIVATIONS = {"logistic": "sigmoid"}  # scikit-learn's name: ours


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Base of ``MLPClassifier`` and ``MLPRegressor``; not used by itself."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"logistic", *activations.NAMES}), "array-like"],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        # beyond scikit-learn
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "l1": [Interval(Real, 0, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "early_stopping_metric": [None, str],
        "callbacks": [None, list, tuple, Callback, callable],
        "progress": ["boolean", StrOptions({"auto"})],
        "threads": [None, Interval(Integral, 1, None, closed="left")],
    }

    # --- what the two estimators say for themselves ---------------------------------------------------------------

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        raise NotImplementedError

    def _out_activation(self) -> str:
        raise NotImplementedError

    def _loss(self) -> tuple[losses.Loss, float, float]:
        """The loss, what its gradient is multiplied by to be scikit-learn's, and what its value is."""
        raise NotImplementedError

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """Checked y (2-D) as ``self._loss()`` takes it."""
        raise NotImplementedError

    def _class_factors(self, y: np.ndarray) -> np.ndarray | None:
        """The weight of each sample by its class; None for 1."""
        return None

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        """Checked y as ``predict`` gives it."""
        return y.ravel() if y.shape[1] == 1 else y

    def _from_output(self, output: np.ndarray) -> np.ndarray:
        """What ``predict`` gives, from ``_output``."""
        raise NotImplementedError

    def _own_score(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
        raise NotImplementedError

    # --- fitting --------------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None, coefs_init: Any = None, intercepts_init: Any = None,
    ) -> Any:  # fmt: skip
        """Fit the network to X and y.

        Args:
            X: (n_samples, n_features), dense or sparse; float32 stays float32.
            y: targets: (n_samples,), or (n_samples, n_outputs) for several.
            sample_weight: (n_samples,).
            X_val, y_val, sample_weight_val: rows that are not trained on. They give ``validation_loss_curve_``, and
                are what ``early_stopping`` goes by, instead of a part of X.
            coefs_init, intercepts_init: lists of arrays to start from, like ``coefs_`` and ``intercepts_``.

        Returns:
            self.

        Raises:
            ValueError: arrays that don't fit, or training that gave weights that are not finite.
        """
        return self._fit(X, y, sample_weight, False, (X_val, y_val, sample_weight_val), coefs_init, intercepts_init)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: tuple[Any, Any, Any],
        coefs_init: Any = None, intercepts_init: Any = None,
    ) -> Any:  # fmt: skip
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if isinstance(hidden, Iterable) else [hidden]
        if any(width <= 0 for width in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        names = self._activation_names(len(hidden))
        given = X, y
        first = not hasattr(self, "_network") or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental, first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize([X.shape[1], *hidden, self.n_outputs_], names, X.dtype)
        self._start_from(coefs_init, intercepts_init)
        X = X.toarray() if scipy.sparse.issparse(X) else X
        held_out = self._held_out(*validation)
        if self.solver == "lbfgs" and self.dropout:
            raise ValueError("solver='lbfgs' needs the same loss at every call, so dropout must be 0")
        # after its last iteration, SciPy may have begun one more
        name, most = ("iteration", self.max_iter + 1) if self.solver == "lbfgs" else ("epoch", self.max_iter)
        tasks = None if incremental else Tasks(self, *given, sample_weight, name, most)
        if self.solver == "lbfgs":
            assert tasks is not None  # partial_fit does not take this solver
            minimize(self, X, self._targets(y), self._weighted(y, sample_weight), tasks)
        else:
            self._fit_stochastic(X, y, sample_weight, held_out, tasks)
        if not np.isfinite(self._network.parameters).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        if tasks is not None:
            tasks.close()
        return self

    def _activation_names(self, hidden: int) -> list[str]:
        given = self.activation
        names = [given] * hidden if isinstance(given, str) else list(given)
        if len(names) != hidden:
            raise ValueError(f"activation has {len(names)} names for {hidden} hidden layers")
        for name in names:
            if name not in ("logistic", *activations.NAMES):
                raise ValueError(f"activation has {name!r}, expected logistic or one of {', '.join(activations.NAMES)}")
        return [_ACTIVATIONS.get(name, name) for name in names]

    def _initialize(self, units: list[int], names: list[str], dtype: Any) -> None:
        """A new network. Weights and biases are drawn as scikit-learn draws them: Glorot and Bengio's uniform ones."""
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(units)
        self.out_activation_ = self._out_activation()
        layers: list[Layer] = []
        dense: list[Dense] = []
        for k, (i, o) in enumerate(pairwise(units)):
            dense.append(Dense(i, o, activation=names[k] if k < len(names) else None))
            layers.append(dense[-1])
            if self.dropout and k < len(names):
                layers.append(Dropout(self.dropout))
        # draws nothing from the generator where there is nothing to be decided by it
        seed = int(self._random_state.randint(2**31)) if self.dropout else 0
        self._network = Sequential(layers, seed=seed, dtype=dtype)
        factor = 2.0 if self.activation == "logistic" else 6.0
        for layer in dense:
            bound = np.sqrt(factor / (layer.inputs + layer.outputs))
            layer.weight[...] = self._random_state.uniform(-bound, bound, layer.weight.shape)
            bias = layer.parameters["bias"]
            bias[...] = self._random_state.uniform(-bound, bound, bias.shape)
        self._optimizer: Any = None
        if self.solver in STOCHASTIC:
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] | None = None
            self._without_improvement = 0
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf

    def _start_from(self, coefs: Any, intercepts: Any) -> None:
        for name, given, own in (("coefs_init", coefs, self.coefs_), ("intercepts_init", intercepts, self.intercepts_)):
            if given is None:
                continue
            shapes = [np.shape(array) for array in given]
            if shapes != [array.shape for array in own]:
                raise ValueError(f"{name} has arrays of shapes {shapes}, expected {[array.shape for array in own]}")
            for array, value in zip(own, given, strict=True):
                array[...] = value

    def _held_out(self, X: Any, y: Any, weight: Any) -> Any:
        """The explicit validation set: X, y as ``fit`` has it after its checks, y as given, and weights."""
        if X is None and y is None:
            if weight is not None:
                raise ValueError("sample_weight_val is given, but not X_val and y_val")
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together")
        given = np.asarray(y)
        X, y = self._validate_input(X, y, True, False)
        weight = None if weight is None else _check_sample_weight(weight, X, dtype=np.float64)
        X = X.toarray() if scipy.sparse.issparse(X) else X
        return X, y.reshape(-1, 1) if y.ndim == 1 else y, given, weight

    def _weighted(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        factors = self._class_factors(y)
        if factors is None:
            return weight
        return factors if weight is None else factors * weight

    def _fit_stochastic(
        self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, held_out: Any, tasks: Tasks | None
    ) -> None:
        """All epochs; without tasks, one more, of ``partial_fit``."""
        incremental = tasks is None
        stops_early = self.early_stopping
        if stops_early and incremental and held_out is None:
            raise ValueError("partial_fit does not support early_stopping=True without X_val and y_val")
        weight = self._weighted(y, weight)
        if stops_early and held_out is None:
            stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
            parts = (X, y) if weight is None else (X, y, weight)
            split = train_test_split(
                *parts, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
            )
            X, X_val, y, y_val = split[:4]
            weight, weight_val = split[4:] or (None, None)
            if len(X_val) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
                )
            held_out = (X_val, y_val, self._decoded(y_val), weight_val)
        samples = len(X)
        batch_size = self._batch_size(samples)
        loss, gradient_factor, value_factor = self._loss()
        if self._optimizer is None or not incremental:
            self._optimizer = self._new_optimizer(gradient_factor)
        # the gradient's factor goes into the rate (or into Adam's epsilon), and out of the penalty's
        l1, l2 = self.l1 / gradient_factor, self.alpha / gradient_factor
        callbacks = as_callbacks(self.callbacks)
        for callback in callbacks:
            callback.network = self._network
        checked = training._samples(self._network, loss, X, self._targets(y), weight, "")
        run = training._Run(
            self._network, checked, loss, self._optimizer, batch_size, callbacks, self.threads, l1, l2
        )  # fmt: skip
        sizes = np.full(run.batches, batch_size)
        sizes[-1] = samples - batch_size * (run.batches - 1)
        order = np.arange(samples)
        best: np.ndarray | None = None
        rate = self.learning_rate_init
        if incremental and hasattr(self, "_rate"):
            rate = self._rate  # type: ignore[has-type]
        if held_out is not None and self.validation_loss_curve_ is None:
            self.validation_loss_curve_ = []
        self._network.stop_training = False
        if not incremental:
            self.n_iter_ = 0
        epochs = 1 if incremental else self.max_iter
        for callback in callbacks:
            callback.on_train_begin()
        with run.threads_ready() as pool, bar(self.progress, epochs) as show, training._interruptible() as interruption:
            for epoch in range(epochs):
                for callback in callbacks:
                    callback.on_epoch_begin(epoch)
                if tasks is not None:
                    tasks.begin()
                if self.shuffle:
                    order = shuffle(order, random_state=self._random_state)
                    run.order = order
                try:
                    rows = run.sums_of_epoch(pool, interruption)
                except NonFiniteError as error:
                    raise ValueError(
                        "Solver produced non-finite parameter weights. The input data may contain large values and need"
                        f" to be preprocessed. ({error})"
                    ) from error
                if rows is None:
                    warnings.warn("Training interrupted by user.", stacklevel=4)
                    break
                self.n_iter_ += 1
                self.t_ += samples
                # each batch counts as many samples as it has, whatever their weights
                of_batch = value_factor * rows[:, 0] + gradient_factor * rows[:, 3]
                of_batch = np.divide(of_batch, rows[:, 2], out=np.zeros_like(of_batch), where=rows[:, 2] > 0)
                self.loss_ = float(of_batch @ sizes / samples)
                self.loss_curve_.append(self.loss_)
                logs = {"loss": self.loss_}
                if self.verbose:
                    print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                if held_out is not None:
                    logs["val_loss"] = self._validation_loss(*held_out)
                    self.validation_loss_curve_.append(logs["val_loss"])  # type: ignore[union-attr]
                improved = self._count_improvement(held_out)
                if improved:
                    best = self._network.parameters.copy()
                show(epoch, logs, samples, samples, epoch_end=True)
                for callback in callbacks:
                    callback.on_epoch_end(epoch, dict(logs))
                stopped = tasks is not None and tasks.end()
                if self.solver == "sgd" and self.learning_rate == "invscaling":
                    rate = self._change_rate(rate, self.learning_rate_init / (self.t_ + 1) ** self.power_t)
                if self._without_improvement > self.n_iter_no_change:
                    what = "Validation score" if stops_early else "Training loss"
                    message = (
                        f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive"
                        " epochs."
                    )
                    if self.solver != "sgd" or self.learning_rate != "adaptive" or rate <= 1e-6:
                        self._say(message + " Stopping.")
                        break
                    rate = self._change_rate(rate, rate / 5)
                    self._say(f"{message} Setting learning rate to {rate:f}")
                    self._without_improvement = 0
                if self._network.stop_training or stopped:
                    break
                if not incremental and self.n_iter_ == self.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization"
                        " hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
        for callback in callbacks:
            callback.on_train_end()
        self._rate = rate
        if stops_early and best is not None and not incremental:
            self._network.parameters[:] = best

    def _batch_size(self, samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, samples)
        if self.batch_size > samples:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                          stacklevel=5)  # fmt: skip
        return int(min(self.batch_size, samples))

    def _new_optimizer(self, factor: float) -> optimizers.Optimizer:
        """The solver, for a gradient that is ``factor`` times ours."""
        if self.solver == "sgd":
            sgd = optimizers.SGD(self.learning_rate_init * factor, clip_norm=self._clip(factor))
            # scikit-learn takes a momentum of 1, too; Nesterov's without momentum is none
            sgd.momentum, sgd.nesterov = float(self.momentum), bool(self.nesterovs_momentum and self.momentum)
            return sgd
        settings = {
            "learning_rate": self.learning_rate_init, "beta_1": self.beta_1, "beta_2": self.beta_2,
            "epsilon": self.epsilon / factor, "clip_norm": self._clip(factor),
        }  # fmt: skip
        if self.solver == "adam":
            return optimizers.Adam(**settings)
        return optimizers.AdamW(**settings, weight_decay=self.weight_decay)

    def _clip(self, factor: float) -> float | None:
        return None if self.clip_norm is None else self.clip_norm / factor

    def _change_rate(self, old: float, new: float) -> float:
        """SGD's velocity is a sum of gradients here, and of steps in scikit-learn: those already made stay as long."""
        self._optimizer.learning_rate *= new / old
        self._optimizer.state(self._network).moments[:] *= old / new
        return new

    def _say(self, message: str) -> None:
        if self.verbose:
            print(message)

    def _validation_loss(self, X: np.ndarray, y: np.ndarray, given: Any, weight: np.ndarray | None) -> float:
        """The loss of held-out rows, without penalty."""
        loss, _, value_factor = self._loss()
        scores = self._network.evaluate(X, self._targets(y), loss, sample_weight=weight)
        return value_factor * scores["loss"]

    def _count_improvement(self, held_out: Any) -> bool:
        """Whether this epoch is the best so far by what stops training; counts epochs without improvement."""
        if not self.early_stopping:
            loss = self.loss_curve_[-1]
            self._without_improvement = self._without_improvement + 1 if loss > self.best_loss_ - self.tol else 0
            self.best_loss_ = min(loss, self.best_loss_)  # type: ignore[type-var]
            return False
        score = self._validation_score(held_out)
        self.validation_scores_.append(score)  # type: ignore[union-attr]
        self._say(f"Validation score: {score:f}")
        # a score that is NaN neither improves nor counts, as in scikit-learn
        self._without_improvement = (
            self._without_improvement + 1 if score < self.best_validation_score_ + self.tol else 0
        )
        if score > self.best_validation_score_:  # type: ignore[operator]
            self.best_validation_score_ = score
            return True
        return False

    def _validation_score(self, held_out: Any) -> float:
        X, _, given, weight = held_out
        metric = self.early_stopping_metric
        if metric in (None, "score"):
            predicted = self._from_output(self._output(X))
            if np.issubdtype(predicted.dtype, np.floating) and not np.isfinite(predicted).all():
                return float("nan")
            return self._own_score(given, predicted, weight)
        if metric == "loss":
            return -self.validation_loss_curve_[-1]  # type: ignore[index]
        return float(get_scorer(metric)(_Unnamed(self), X, given, sample_weight=weight))

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    # --- what a fitted network gives ------------------------------------------------------------------------------

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False, dtype=(np.float64, np.float32))

    def _raw_output(self, X: Any) -> np.ndarray:
        """The network's output, before ``out_activation_``."""
        if not scipy.sparse.issparse(X):
            return self._network.predict(X, threads=self.threads)
        X = X.tocsr()
        blocks = [self._network.predict(X[k : k + _BLOCK].toarray()) for k in range(0, X.shape[0], _BLOCK)]
        return np.concatenate(blocks)

    def _output(self, X: Any) -> np.ndarray:
        """The network's output with ``out_activation_``."""
        raw = self._raw_output(X)
        if self.out_activation_ == "softmax":
            from fastjac import kernels

            return kernels.softmax(raw)
        if self.out_activation_ == "logistic":
            from fastjac import kernels

            return kernels.activation_forward(raw, "sigmoid")
        if self.out_activation_ == "exp":
            with np.errstate(over="ignore"):
                return np.asarray(np.exp(raw))
        return raw

    def predict(self, X: Any) -> np.ndarray:
        """What is predicted for the rows of X: classes, or numbers."""
        return self._from_output(self._output(self._checked(X)))

    def hidden_activations(self, X: Any, layer: int = -1) -> np.ndarray:
        """The values of a hidden layer for the rows of X, without dropout.

        Args:
            X: (n_samples, n_features).
            layer: 0 for the first hidden layer, -1 for the last.

        Returns:
            (n_samples, width of the layer).
        """
        X = self._checked(X)
        dense = self._dense()[:-1]
        if not -len(dense) <= layer < len(dense):
            raise ValueError(f"layer is {layer}, expected one of the {len(dense)} hidden layers")
        A = np.asarray(X.toarray() if scipy.sparse.issparse(X) else X, self._network.dtype)
        for one in dense[: layer % len(dense) + 1]:
            A = one.forward(A, False) + 0
        return A

    def input_gradient(self, X: Any, output: int = 0) -> np.ndarray:
        """The gradient of one output, before ``out_activation_``, with respect to the rows of X.

        Args:
            X: (n_samples, n_features).
            output: which output; for a classifier of several classes, the place in ``classes_``.

        Returns:
            (n_samples, n_features).
        """
        X = self._checked(X)
        if not 0 <= output < self.n_outputs_:
            raise ValueError(f"output is {output}, expected 0 to {self.n_outputs_ - 1}")
        X = X.toarray() if scipy.sparse.issparse(X) else X
        values = self._network.forward(X, training=False)
        one = np.zeros_like(values)
        one[:, output] = 1
        return self._network.backward(one)

    def _dense(self) -> list[Dense]:
        return [layer for layer in self._network.layers if isinstance(layer, Dense)]

    def _fitted_network(self, name: str) -> list[Dense]:
        if "_network" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._dense()

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of each layer, (inputs, outputs): views, so that what is written to them counts."""
        return [layer.weight for layer in self._fitted_network("coefs_")]

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        self._start_from(values, None)

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of each layer: views."""
        return [layer.parameters["bias"] for layer in self._fitted_network("intercepts_")]

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        self._start_from(None, values)

    @property
    def network_(self) -> Sequential:
        """The ``fastjac.Sequential`` behind it, which ends before ``out_activation_``."""
        self._fitted_network("network_")
        return self._network

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class _Unnamed:
    """A fitted estimator for a scorer, on arrays that were checked before and have lost their feature names."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._estimator_type = getattr(estimator, "_estimator_type", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def __sklearn_tags__(self) -> Any:
        return self._estimator.__sklearn_tags__()

    def predict(self, X: Any) -> np.ndarray:
        return self._estimator._from_output(self._estimator._output(X))  # type: ignore[no-any-return]

    def predict_proba(self, X: Any) -> np.ndarray:
        return self._estimator._probabilities(self._estimator._output(X))  # type: ignore[no-any-return]
