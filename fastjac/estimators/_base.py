"""What both estimators share: parameters, how a fit begins and goes on, fitted attributes.

The meaning of every parameter and attribute that scikit-learn's MLPs have is theirs, to the order in which random
numbers are drawn, so that the same ``random_state`` gives the same weights, the same batches and, but for rounding, the
same loss curve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastjac.estimators._callbacks import CallbackSupportMixin, Tasks, typed, with_callbacks
from fastjac.estimators._formulas import Adam
from fastjac.estimators._lbfgs import Objective, minimizer
from fastjac.estimators._stochastic import HeldOut, Order, Recorder, SklearnTasks, StoppingRules
from fastjac.estimators._warnings import warn
from fastjac.estimators._weights import are_views, build, checked, dense, views, widths
from fastjac.kernels.arrays import all_finite
from fastjac.kernels.optimizers import TABLE as RULES
from fastjac.nn import activations, losses, optimizers
from fastjac.nn.batch import Batch
from fastjac.sequential import Sequential
from fastjac.training.callbacks import Callback, as_callbacks, in_order
from fastjac.training.loop import Loop, Validation
from fastjac.training.steps import Steps

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own from Python 3.11 on


class Sparse(Protocol):
    """A sparse matrix or array of SciPy's."""

    def toarray(self) -> np.ndarray: ...


Samples = ArrayLike | Sparse
GivenValidation = tuple[Samples | None, Samples | None, ArrayLike | None]  # X_val, y_val, sample_weight_val
HeldOutRows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]  # see ``_held_out``

STOCHASTIC = tuple(optimizers.BY_NAME)
_STOCHASTIC = f"{', '.join(map(repr, STOCHASTIC[:-1]))} and {STOCHASTIC[-1]!r}"  # in messages
_BLOCK = 4096  # rows of a sparse matrix that are made dense at a time, when they are predicted
_ACTIVATIONS = {"logistic": "sigmoid"}  # scikit-learn's name: ours


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Base of ``MLPClassifier`` and ``MLPRegressor``; not used by itself."""

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
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
        "products": [None, StrOptions({"bfloat16"})],
    }

    loss: str
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    # --- what the two estimators say for themselves ---------------------------------------------------------------

    def _validate_input(self, X: Samples, y: Samples, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        """X as an array or SciPy's compressed rows or columns, and y as an array, both checked."""
        raise NotImplementedError

    def _out_activation(self) -> str:
        raise NotImplementedError

    def _loss(self, dtype: np.dtype | None = None) -> tuple[losses.Loss, float, float]:
        """The loss, what its gradient is multiplied by to be scikit-learn's, and what its value is.

        ``dtype``: what the output is computed in, None for the network's.
        """
        raise NotImplementedError

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """Checked y (2-D) as ``self._loss()`` takes it."""
        raise NotImplementedError

    def _class_factors(self, y: np.ndarray, of: np.ndarray) -> np.ndarray | None:
        """The weight of each sample by its class, as these weigh in the targets ``of``; None for 1."""
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

    @typed(_fit_context(prefer_skip_nested_validation=True))
    @typed(with_callbacks)
    def fit(
        self,
        X: Samples,
        y: Samples,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Samples | None = None,
        y_val: Samples | None = None,
        sample_weight_val: ArrayLike | None = None,
        coefs_init: Sequence[ArrayLike] | None = None,
        intercepts_init: Sequence[ArrayLike] | None = None,
    ) -> Self:
        """Fit the network to X and y.

        Args:
            X: (n_samples, n_features), dense or sparse; float32 stays float32.
            y: targets: (n_samples,), or (n_samples, n_outputs) for several.
            sample_weight: (n_samples,), none negative; None: all weigh the same.
            X_val, y_val, sample_weight_val: rows that are not trained on. They give ``validation_loss_curve_``, and
                are what ``early_stopping`` goes by, instead of a part of X.
            coefs_init, intercepts_init: lists of arrays to start from, like ``coefs_`` and ``intercepts_``.

        Returns:
            self.

        Raises:
            ValueError: arrays that don't fit, parameters that would have no effect, or training that gave weights that
                are not finite.
        """
        return self._fit(X, y, sample_weight, False, (X_val, y_val, sample_weight_val), coefs_init, intercepts_init)

    def _fit(
        self,
        X: Samples,
        y: Samples,
        sample_weight: ArrayLike | None,
        incremental: bool,
        validation: GivenValidation,
        coefs_init: Sequence[ArrayLike] | None = None,
        intercepts_init: Sequence[ArrayLike] | None = None,
    ) -> Self:
        hidden = self._hidden()
        self._refuse_what_has_no_effect(validation)
        if incremental and self.early_stopping and validation[0] is None:
            raise ValueError("partial_fit does not support early_stopping=True without X_val and y_val")
        callbacks = self._own_callbacks(incremental)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        if first:
            self._activation_names(len(hidden))
        else:
            self._check_that_it_can_go_on(hidden, incremental)
        before: dict[str, object] | None = dict(vars(self))
        checkpointed = any(_is_checkpoint(one) for one in callbacks)
        values = None if first or not checkpointed else self._network.parameters.copy()
        try:
            train = self._prepared(
                X, y, sample_weight, incremental, first, hidden, validation, coefs_init, intercepts_init, callbacks
            )
            name = "iteration" if self.solver == "lbfgs" else "epoch"
            tasks = None if incremental else Tasks(self, X, y, sample_weight, name, self.max_iter)
        except BaseException:
            self._put_back(before, first)
            raise
        if not checkpointed:
            before = None  # and what it holds
        self._begun = False
        try:
            train(tasks)
        except BaseException:
            if before is not None and not self._begun:  # a checkpoint has refused
                self._put_back(before, first)
                if values is not None:
                    self._network.parameters = values
            raise
        finally:
            self.__dict__.pop("_begun", None)
        if not all_finite(self._network.parameters):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        if tasks is not None:
            tasks.close()
        return self

    def _put_back(self, before: dict[str, object] | None, first: bool) -> None:
        """Refused: what there was before stays."""
        self.__dict__.clear()
        self.__dict__.update(before or {})
        if not first:
            self._take(self._network)

    def _prepared(
        self,
        X: Samples,
        y: Samples,
        sample_weight: ArrayLike | None,
        incremental: bool,
        first: bool,
        hidden: list[int],
        validation: GivenValidation,
        coefs_init: Sequence[ArrayLike] | None,
        intercepts_init: Sequence[ArrayLike] | None,
        callbacks: list[Callback],
    ) -> Callable[[Tasks | None], None]:
        """All that comes before training, and all that refuses it; a function that trains.

        Attributes are set, and other objects put in their place, but what an earlier call left is not written to.
        """
        rows, target = self._validate_input(X, y, incremental, first)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, rows, dtype=np.float64)
        target = target.reshape(-1, 1) if target.ndim == 1 else target
        if not first and target.shape[1] != self._network.outputs:
            raise ValueError(
                f"y has {target.shape[1]} columns, expected {self._network.outputs}, which the fitted network has"
                " outputs"
            )
        self.n_outputs_ = target.shape[1]
        weight = self._weighted(target, target, weight)
        held_out = self._held_out(*validation, target)
        if first or not self._draws_for_nobody(incremental, rows.shape[0]):
            self._random_state = check_random_state(self.random_state)
        # SciPy's solver ends with weights in float64, whatever those are that it starts from
        dtype = np.dtype("f8") if self.solver == "lbfgs" else rows.dtype
        if self.products is not None and dtype != np.float32:
            raise ValueError(f"products is {self.products!r}, which is for float32 rows, and X has the type {dtype}")
        start_type = rows.dtype if first else self._network.dtype
        if first:
            self._initialize([rows.shape[1], *hidden, self.n_outputs_], dtype, rows.dtype)
        elif self.solver == "lbfgs" and self._network.dtype != dtype:
            self.coefs_[:] = [one.astype(dtype) for one in self.coefs_]
            self._use_network()
        start = self._start(coefs_init, intercepts_init)
        rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
        if self.solver == "lbfgs":
            objective = Objective(self, rows, target, weight, start_type)
            held = None if held_out is None else HeldOut(self, objective.loss, *held_out)
            train = minimizer(self, objective, len(rows), held, callbacks)
        else:
            train = self._stochastic(rows, target, weight, held_out, callbacks, incremental, first)
        for own, value in start:
            own[...] = value
        return train

    def _hidden(self) -> list[int]:
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if isinstance(hidden, Iterable) else [hidden]
        if any(width <= 0 for width in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        return hidden

    def _refuse_what_has_no_effect(self, validation: GivenValidation) -> None:
        """Parameters beyond scikit-learn's that nothing would come of."""
        if self.solver == "lbfgs":
            if self.dropout:
                raise ValueError("solver='lbfgs' needs the same loss at every call, so dropout must be 0")
            if self.clip_norm is not None:
                raise ValueError("solver='lbfgs' needs the whole gradient, so clip_norm must be None")
            if self.products is not None:
                raise ValueError("solver='lbfgs' needs exact gradients, so products must be None")
            if self.early_stopping and validation[0] is not None:
                raise ValueError(
                    f"early_stopping is for the solvers {_STOCHASTIC}; with 'lbfgs' and X_val,"
                    " look at validation_loss_curve_, or stop in a callback"
                )
            if self.early_stopping:
                warn("early_stopping has no effect with solver='lbfgs', as in scikit-learn")
        if self.weight_decay != 0.01 and self.solver != "adamw":
            raise ValueError(
                f"weight_decay is {self.weight_decay}, but only solver='adamw' has one; for"
                f" solver={self.solver!r} there is alpha"
            )
        if self.early_stopping_metric is not None and not self.early_stopping:
            raise ValueError(f"early_stopping_metric is {self.early_stopping_metric!r}, but early_stopping is False")

    def _own_callbacks(self, incremental: bool) -> list[Callback]:
        callbacks = as_callbacks(self.callbacks)
        for one in callbacks:
            if not _is_checkpoint(one):
                continue
            name = type(one).__name__
            if incremental:
                raise ValueError(
                    f"callbacks has a {name}, which goes on with fit and not with partial_fit: pickle the"
                    " estimator between two calls"
                )
            if self.solver == "lbfgs":
                raise ValueError(
                    f"callbacks has a {name}, which goes with the solvers {_STOCHASTIC}:"
                    " nothing can go on from the middle of 'lbfgs'"
                )
            if not isinstance(self.random_state, Integral):
                raise ValueError(
                    f"callbacks has a {name}, but random_state is {self.random_state!r}: expected a whole"
                    " number, so that a fit that is begun again draws the same"
                )
        return callbacks

    def _check_that_it_can_go_on(self, hidden: list[int], incremental: bool) -> None:
        """Before anything is changed: whether the parameters are those of the fitted network."""
        network = self._use_network()
        units = [layer.outputs for layer in dense(network)[:-1]]
        if hidden != units:
            raise ValueError(
                f"hidden_layer_sizes is {self.hidden_layer_sizes}, but the network to go on with has"
                f" hidden layers of {units} units; fit with warm_start=False"
            )
        if self._out_activation() != self.out_activation_:
            raise ValueError(
                f"the network to go on with ends in {self.out_activation_!r}, which its loss of now does"
                " not go with; fit with warm_start=False"
            )
        if incremental and vars(self).get("_optimizer") is not None and self.loss != self._schedule.loss:
            raise ValueError(
                f"loss is {self.loss!r}, but the solver that partial_fit goes on with was made for"
                f" {self._schedule.loss!r}; call fit, which makes a new one"
            )

    def _activation_names(self, hidden: int) -> list[str]:
        given = self.activation
        names = [given] * hidden if isinstance(given, str) else list(given)
        if len(names) != hidden:
            raise ValueError(f"activation has {len(names)} names for {hidden} hidden layers")
        for name in names:
            if name not in ("logistic", *activations.NAMES):
                raise ValueError(f"activation has {name!r}, expected logistic or one of {', '.join(activations.NAMES)}")
        return [_ACTIVATIONS.get(name, name) for name in names]

    def _initialize(self, units: list[int], dtype: np.dtype, drawn: np.dtype) -> None:
        """A new network. Weights and biases are drawn as scikit-learn draws them: Glorot and Bengio's uniform ones."""
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(units)
        self.out_activation_ = self._out_activation()
        # draws nothing from the generator where there is nothing to be decided by it
        seed = int(self._random_state.randint(2**31)) if self.dropout else 0
        network = build(units, self._activation_names(len(units) - 2), self.dropout, seed, dtype, self.products)
        self.coefs_, self.intercepts_ = views(network)  # other lists than those of the network before
        self._take(network)
        factor = 2.0 if self.activation == "logistic" else 6.0
        for weight, bias in zip(self.coefs_, self.intercepts_, strict=True):
            bound = np.sqrt(factor / sum(weight.shape))
            for array in (weight, bias):  # rounded to the type of X, which for "lbfgs" may be another than dtype
                array[...] = self._random_state.uniform(-bound, bound, array.shape).astype(drawn, copy=False)
        self._optimizer: optimizers.Optimizer | None = None
        if self.solver in STOCHASTIC:
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] | None = None
            self._no_improvement_count = 0
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf

    def _take(self, network: Sequential) -> None:
        """Make this the network, of which ``coefs_`` and ``intercepts_`` are views, in the lists that there are: who
        keeps one has the estimator's own, as in scikit-learn."""
        self._network = network
        self._made_of = self._activation_key(), self.dropout, self.products
        for name, arrays in zip(("coefs_", "intercepts_"), views(network), strict=True):
            kept = vars(self).get(name)
            if isinstance(kept, list):
                kept[:] = arrays
            else:
                setattr(self, name, arrays)

    def _activation_key(self) -> object:
        return self.activation if isinstance(self.activation, str) else tuple(self.activation)

    def _use_network(self) -> Sequential:
        """The network, with the weights, activations and dropout that the estimator has now.

        ``coefs_`` and ``intercepts_`` may have been replaced since it was used last, as a whole or in parts, and
        ``activation``, ``dropout`` and ``products`` been set.
        """
        network: Sequential | None = vars(self).get("_network")
        made_of = self._activation_key(), self.dropout, self.products
        if network is not None and made_of == self._made_of and are_views(network, self.coefs_, self.intercepts_):
            return network
        weights, biases, dtype = checked(self.coefs_, self.intercepts_)
        units = [len(weights[0]), *(weight.shape[1] for weight in weights)]
        if network is None or made_of != self._made_of or dtype != network.dtype or units != widths(network):
            before, seed = network, 0 if network is None else network.seed
            network = build(units, self._activation_names(len(units) - 2), self.dropout, seed, dtype, self.products)
            if before is not None and units == widths(before):
                self._go_on_with(before, network)
        for own, value in zip(chain(*views(network)), [*weights, *biases], strict=True):
            own[...] = value
        self._take(network)
        return network

    def _go_on_with(self, before: Sequential, network: Sequential) -> None:
        """Let a network that takes the place of another of its size be as far trained."""
        network._training_step = before._training_step
        optimizer = vars(self).get("_optimizer")
        if optimizer is not None:
            optimizer.state(network).take(optimizer.state(before))

    def _start(
        self, coefs: Sequence[ArrayLike] | None, intercepts: Sequence[ArrayLike] | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The network's arrays that are to start from given values, each with these."""
        start = []
        for name, given, own in (("coefs_init", coefs, self.coefs_), ("intercepts_init", intercepts, self.intercepts_)):
            if given is None:
                continue
            shapes = [np.shape(array) for array in given]
            if shapes != [array.shape for array in own]:
                raise ValueError(f"{name} has arrays of shapes {shapes}, expected {[array.shape for array in own]}")
            start += [(array, np.array(value, array.dtype)) for array, value in zip(own, given, strict=True)]
        return start

    def _held_out(
        self, X: Samples | None, y: Samples | None, weight: ArrayLike | None, trained: np.ndarray
    ) -> HeldOutRows | None:
        """The explicit validation set: X, y as ``fit`` has it after its checks, y as given, and weights.

        Classes weigh as in the targets that are trained on, as they do where a part of these is held out.
        """
        if X is None and y is None:
            if weight is not None:
                raise ValueError("sample_weight_val is given, but not X_val and y_val")
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together")
        given = np.asarray(y)
        rows, target = self._validate_input(X, y, True, False)
        own = None if weight is None else _check_sample_weight(weight, rows, dtype=np.float64)
        rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
        target = target.reshape(-1, 1) if target.ndim == 1 else target
        return rows, target, given, self._weighted(target, trained, own)

    def _weighted(self, y: np.ndarray, of: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        factors = self._class_factors(y, of)
        if factors is None:
            return weight
        return factors if weight is None else factors * weight

    def _stochastic(
        self,
        X: np.ndarray,
        y: np.ndarray,
        weight: np.ndarray | None,
        held_out: HeldOutRows | None,
        callbacks: list[Callback],
        incremental: bool,
        first: bool,
    ) -> Callable[[Tasks | None], None]:
        """A function that trains: all epochs, or the one more of ``partial_fit``."""
        if self.early_stopping and held_out is None:
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
        batch_size = self._batch_size(len(X))
        network = self._network
        loss, gradient_factor, value_factor = self._loss()
        optimizer = self._make_optimizer(gradient_factor, incremental)
        # the gradient's factor goes into the rate (or into Adam's epsilon), and out of the penalty's
        l1, l2 = self.l1 / gradient_factor, self.alpha / gradient_factor
        samples = Batch.checked(network.signature, loss, X, self._targets(y), weight)
        held = None if held_out is None else HeldOut(self, loss, *held_out)
        checkpointed = any(_is_checkpoint(one) for one in callbacks)
        unseen = self._draws_for_nobody(incremental, len(X))
        order = None if not self.shuffle or unseen else Order(len(X), self._random_state, checkpointed)
        recorder, rules = Recorder(self, len(X), order, held), StoppingRules(self)
        validation = None if held is None else Validation(held.figures, held.samples)
        self._begin_curves(held is not None)
        steps = Steps(
            network,
            samples,
            loss,
            optimizer,
            batch_size,
            callbacks,
            self.threads,
            l1,
            l2,
            order,
            goes_on=True,  # as scikit-learn does, which looks at the weights when all is done
        )
        sizes = np.full(steps.batches, batch_size)
        sizes[-1] = len(X) - batch_size * (steps.batches - 1)

        def columns(sums: np.ndarray) -> dict[str, list[float]]:
            return {"loss": _mean_losses(sums, sizes, value_factor, gradient_factor)}

        def train(tasks: Tasks | None) -> None:
            self.n_iter_ = 0
            if first and self.early_stopping:  # where no score is better: a new network's first weights, and the last
                recorder.best = network.parameters.copy()  # ones after a warm start, as scikit-learn
            told = [SklearnTasks(tasks)] if tasks is not None and tasks.is_watched else []
            every = in_order([recorder, *callbacks, *told, rules])
            epochs = 1 if incremental else self.max_iter
            loop = Loop(steps, epochs, every, validation, columns)
            loop.run(self.progress)
            if self.early_stopping and recorder.best is not None and not incremental:
                network.parameters[:] = recorder.best
            if loop.history.interrupted:
                warn("Training interrupted by user.")
            elif tasks is not None and self.n_iter_ == self.max_iter and not network.stop_training:
                warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't"
                    " converged yet.",
                    ConvergenceWarning,
                )

        return train

    def _begin_curves(self, validated: bool) -> None:
        """The attributes that epochs write to, where an earlier fit with other parameters left none."""
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_ = []
        if not hasattr(self, "validation_loss_curve_") or (validated and self.validation_loss_curve_ is None):
            self.validation_loss_curve_ = [] if validated else None
        if not hasattr(self, "_no_improvement_count"):
            self._no_improvement_count = 0
        if self.early_stopping and getattr(self, "best_validation_score_", None) is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if not self.early_stopping and getattr(self, "best_loss_", None) is None:
            self.best_loss_ = np.inf

    def _draws_for_nobody(self, incremental: bool, samples: int) -> bool:
        """Whether nothing depends on the random numbers that one more epoch of ``partial_fit`` draws.

        A single batch has all rows in any order, and a whole number begins anew at each call. To begin takes longer
        than the step.
        """
        seed = self.random_state
        private = isinstance(seed, Integral) and 0 <= int(seed) < 2**32  # what ``check_random_state`` takes
        return incremental and private and samples <= (200 if self.batch_size == "auto" else self.batch_size)

    def _batch_size(self, samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, samples)
        if self.batch_size > samples:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        return int(min(self.batch_size, samples))

    def _make_optimizer(self, factor: float, incremental: bool) -> optimizers.Optimizer:
        """A new one for each ``fit``; ``partial_fit`` goes on with the one there is, as in scikit-learn."""
        kept: optimizers.Optimizer | None = vars(self).get("_optimizer")
        if incremental and kept is not None:
            kept.clip_norm = self._clip(factor)
            return kept
        self._optimizer = made = self._new_optimizer(factor)
        self._schedule = _Schedule(
            self.learning_rate if self.solver == "sgd" else "constant", self.learning_rate_init, self.power_t, self.loss
        )
        self._rate: float = float(self.learning_rate_init)
        self._rate_factor = factor if self.solver == "sgd" else 1.0
        return made

    def _new_optimizer(self, factor: float) -> optimizers.Optimizer:
        """The solver, for a gradient that is ``factor`` times ours."""
        clip_norm = self._clip(factor)
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum)  # without momentum it is none
            return optimizers.SGD(self.learning_rate_init * factor, self.momentum, nesterov, clip_norm=clip_norm)
        made_by = Adam if self.solver == "adam" else optimizers.BY_NAME[self.solver]
        given = {
            "momentum": self.momentum,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon / factor,
            "weight_decay": self.weight_decay if self.solver == "adamw" else 0.0,  # the others have ``alpha``
        }
        settings = {name: value for name, value in given.items() if name in RULES[made_by.rule].settings}
        optimizer: optimizers.Optimizer = made_by(self.learning_rate_init, clip_norm=clip_norm, **settings)
        return optimizer

    def _clip(self, factor: float) -> float | None:
        return None if self.clip_norm is None else self.clip_norm / factor

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    # --- what a fitted network gives ------------------------------------------------------------------------------

    def _checked(self, X: Samples) -> Any:
        check_is_fitted(self)
        self._use_network()
        rows = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return rows if rows.dtype in (np.float64, np.float32) else rows.astype(np.float64)

    def _raw_output(self, X: Any) -> np.ndarray:
        """The network's output, before ``out_activation_``."""
        if not scipy.sparse.issparse(X):
            return self._network.predict(X, threads=self.threads)
        X = X.tocsr()
        blocks = (X[k : k + _BLOCK].toarray() for k in range(0, X.shape[0], _BLOCK))
        return np.concatenate([self._network.predict(block, threads=self.threads) for block in blocks])

    def _output(self, X: Any) -> np.ndarray:
        """The network's output with ``out_activation_``."""
        return self._activated(self._raw_output(X))

    def _activated(self, raw: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            if self.out_activation_ == "softmax":
                from fastjac import kernels

                return kernels.softmax(raw)
            if self.out_activation_ == "logistic":
                return np.asarray(expit(raw))
            if self.out_activation_ == "exp":
                return np.asarray(np.exp(raw))
        return raw

    def predict(self, X: Samples) -> np.ndarray:
        """What is predicted for the rows of X.

        Args:
            X: (n_samples, n_features), dense or sparse.

        Returns:
            Classes, or numbers: (n_samples,), or (n_samples, n_outputs) where y had several columns.

        Raises:
            ValueError: an X that doesn't fit, or not fitted (scikit-learn's NotFittedError).
        """
        return self._from_output(self._output(self._checked(X)))

    def hidden_activations(self, X: Samples, layer: int = -1) -> np.ndarray:
        """The values of a hidden layer for the rows of X, without dropout.

        Args:
            X: (n_samples, n_features), dense or sparse.
            layer: 0 for the first hidden layer, -1 for the last.

        Returns:
            (n_samples, width of the layer), of the network's dtype.

        Raises:
            ValueError: no such layer, an X that doesn't fit, or not fitted (scikit-learn's NotFittedError).
        """
        rows = self._checked(X)
        hidden = dense(self._network)[:-1]
        if not -len(hidden) <= layer < len(hidden):
            raise ValueError(f"layer is {layer}, expected one of the {len(hidden)} hidden layers")
        A = np.asarray(rows.toarray() if scipy.sparse.issparse(rows) else rows, self._network.dtype)
        for one in hidden[: layer % len(hidden) + 1]:
            A = one.forward(A, False) + 0
        return A

    def input_gradient(self, X: Samples, output: int = 0) -> np.ndarray:
        """The gradient of one output, before ``out_activation_``, with respect to the rows of X.

        Args:
            X: (n_samples, n_features), dense or sparse.
            output: which output; for a classifier of several classes, the index in ``classes_``.

        Returns:
            (n_samples, n_features), of the network's dtype.

        Raises:
            ValueError: no such output, an X that doesn't fit, or not fitted (scikit-learn's NotFittedError).
        """
        rows = self._checked(X)
        if not 0 <= output < self.n_outputs_:
            raise ValueError(f"output is {output}, expected 0 to {self.n_outputs_ - 1}")
        rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
        values = self._network.forward(rows, training=False)
        one = np.zeros_like(values)
        one[:, output] = 1
        return self._network.backward(one)

    @property
    def network_(self) -> Sequential:
        """The ``fastjac.Sequential`` behind it, which ends before ``out_activation_``.

        Raises:
            AttributeError: not fitted.
        """
        if "coefs_" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'network_'")
        return self._use_network()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        network = state.get("_network")
        if network is not None and are_views(network, state["coefs_"], state["intercepts_"]):
            del state["coefs_"], state["intercepts_"]  # the network has them
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_network" in state and "coefs_" not in state:
            self.coefs_, self.intercepts_ = views(self._network)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _is_checkpoint(callback: Callback) -> bool:
    return type(callback).attach is not Callback.attach


def _mean_losses(sums: np.ndarray, sizes: np.ndarray, value_factor: float, gradient_factor: float) -> list[float]:
    """The loss of epochs as scikit-learn has it: each batch counts as many samples as it has, whatever their weights.

    Args:
        sums: (epochs, batches, 4).
        sizes: (batches,), or more.
        value_factor, gradient_factor: what makes our losses and penalties theirs.
    """
    if sums.shape[1] == 1:  # as for the few rows of a ``partial_fit``, a tenth of whose time NumPy would take
        size = float(sizes[0])
        return [
            ((value_factor * loss + gradient_factor * penalty) / weight if weight != 0 else 0.0) * size / size
            for loss, _, weight, penalty in sums[:, 0].tolist()
        ]
    losses, _, weights, penalties = sums.transpose(2, 0, 1)
    with np.errstate(all="ignore"):  # where training diverges
        of_batch = value_factor * losses + gradient_factor * penalties
        of_batch = np.divide(of_batch, weights, out=np.zeros_like(of_batch), where=weights != 0)
        sizes = sizes[: sums.shape[1]]
        means: list[float] = ((of_batch * sizes).sum(axis=1) / sizes.sum()).tolist()
    return means


class _Schedule(NamedTuple):
    """What an optimizer was made for and goes on with, whatever the estimator's parameters are set to later."""

    name: str
    first: float
    power: float
    loss: str
