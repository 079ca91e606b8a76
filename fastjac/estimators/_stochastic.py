"""The stochastic solvers: what scikit-learn does between two epochs, as callbacks of the library's training loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import get_scorer

from fastjac.estimators._callbacks import Estimator, Tasks
from fastjac.nn.batch import Batch
from fastjac.nn.losses import Loss
from fastjac.training.callbacks import Callback, Logs

_CURVES = ("loss_curve_", "validation_loss_curve_", "validation_scores_")
_FIGURES = ("loss_", "n_iter_", "t_", "best_loss_", "best_validation_score_", "_no_improvement_count")


class Order:
    """The order of the rows in each epoch, drawn from the estimator's random numbers as scikit-learn draws it.

    Args:
        rows: how many.
        random: the estimator's random numbers.
        remembers: whether ``state`` will be asked for.
    """

    def __init__(self, rows: int, random: np.random.RandomState, remembers: bool) -> None:
        self._order = np.arange(rows)
        self._random = random
        self._remembers = remembers
        self._before: tuple[np.ndarray, Any] | None = None
        self.within = False  # whether an epoch of the order drawn last is at work

    def __call__(self, first: int, count: int) -> np.ndarray:
        orders = np.empty((count, len(self._order)), np.int64)
        for order in orders:
            self._before = self._now() if self._remembers else None
            drawn = np.arange(len(order))
            self._random.shuffle(drawn)  # as ``sklearn.utils.shuffle``, without its checks
            order[:] = self._order[drawn]
            self._order = order
        self.within = True
        return orders

    def _now(self) -> tuple[np.ndarray, Any]:
        return self._order, self._random.get_state()

    def state(self) -> dict[str, object]:
        """What the order of the epoch at hand is drawn from, or of the next."""
        order, random = self._before if self._before is not None and self.within else self._now()
        return {"order": order, "random": random[1], "random_position": int(random[2])}

    def restore(self, order: np.ndarray, random: np.ndarray, position: int) -> None:
        """Take up what ``state`` gave. No normal numbers are drawn from them, of which one might be kept."""
        if order.shape != self._order.shape or not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ValueError("its order is not one of these rows")
        self._random.set_state(("MT19937", random, position, 0, 0.0))
        self._order = order


class Recorder(Callback):
    """Sets the attributes that scikit-learn's MLPs have after each epoch, and keeps the best parameters.

    Args:
        estimator: whose attributes they are.
        rows: how many an epoch has.
        order: of the rows, or None where they are not shuffled.
        held: rows that are not trained on, or None.

    Attributes:
        best: the parameters to end with; None for the last.
    """

    def __init__(self, estimator: Estimator, rows: int, order: Order | None, held: HeldOut | None) -> None:
        self._estimator, self._rows, self._order, self._held = estimator, rows, order, held
        self.best: np.ndarray | None = None

    @property
    def epochs_ahead(self) -> float:
        return math.inf if self._held is None else 1

    def on_epoch_begin(self, epoch: int) -> None:
        self._estimator._begun = True

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        estimator = self._estimator
        if self._order is not None:
            self._order.within = False
        estimator.n_iter_ += 1
        estimator.t_ += self._rows
        estimator.loss_ = logs["loss"]
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if self._held is not None:
            assert estimator.validation_loss_curve_ is not None
            estimator.validation_loss_curve_.append(logs["val_loss"])
        if not estimator.early_stopping:
            least = estimator.best_loss_
            assert least is not None
            self._count(estimator.loss_ > least - estimator.tol)
            if estimator.loss_ < least:
                estimator.best_loss_ = estimator.loss_
            return
        scores, best = estimator.validation_scores_, estimator.best_validation_score_
        assert self._held is not None and scores is not None and best is not None
        score = self._held.score()
        scores.append(score)
        say(estimator, f"Validation score: {score:f}")
        # a score that is NaN neither improves nor counts, as in scikit-learn
        self._count(score < best + estimator.tol)
        if score > best:
            estimator.best_validation_score_ = score
            self.best = self.network.parameters.copy()

    def _count(self, no_improvement: bool) -> None:
        self._estimator._no_improvement_count = self._estimator._no_improvement_count + 1 if no_improvement else 0

    def state(self) -> dict[str, object]:
        attributes = vars(self._estimator)
        state = {name: attributes.get(name) for name in (*_CURVES, *_FIGURES)}
        state |= {} if self._order is None else self._order.state()
        return state if self.best is None else state | {"best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        figures = {name: state[name] for name in _FIGURES}
        curves = {name: state[name] for name in _CURVES}
        best = state.get("best")
        kinds = [one for one in figures.values() if type(one) not in (int, float, type(None))]
        lists = [one for one in curves.values() if one is not None]
        if kinds or any(type(one) is not list or any(type(x) is not float for x in one) for one in lists):
            raise ValueError("its figures are no numbers")
        own = self.network.parameters
        if best is not None and (best.shape != own.shape or best.dtype != own.dtype):
            raise ValueError("its best parameters are of another network")
        if self._order is not None:
            self._order.restore(state["order"], state["random"], state["random_position"])
        self.best = best
        for name, value in (figures | curves).items():
            if value is not None or name in vars(self._estimator):
                setattr(self._estimator, name, value)


class SklearnTasks(Callback):
    """Tells scikit-learn's own callbacks of each epoch."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def on_epoch_begin(self, epoch: int) -> None:
        self._tasks.begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._tasks.end():
            self.network.stop_training = True


class StoppingRules(Callback):
    """What scikit-learn does when an epoch has ended: lower the rate, and stop where nothing improves any more."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator

    @property
    def epochs_ahead(self) -> float:
        estimator = self._estimator
        if estimator._schedule.name == "invscaling":
            return 1
        return max(1, estimator.n_iter_no_change + 1 - estimator._no_improvement_count)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        estimator = self._estimator
        schedule = estimator._schedule
        if schedule.name == "invscaling":
            self._change_rate(float(schedule.first) / (estimator.t_ + 1) ** schedule.power)
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            if self._has_converged():
                self.network.stop_training = True
            else:
                estimator._no_improvement_count = 0

    def _has_converged(self) -> bool:
        """Whether too long a time without improvement ends training; with "adaptive", it lowers the rate first."""
        estimator = self._estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive"
            " epochs."
        )
        if estimator._schedule.name != "adaptive":
            say(estimator, message + " Stopping.")
            return True
        if estimator._rate <= 1e-6:
            say(estimator, message + " Learning rate too small. Stopping.")
            return True
        self._change_rate(estimator._rate / 5.0)
        say(estimator, f"{message} Setting learning rate to {estimator._rate:f}")
        return False

    def _change_rate(self, new: float) -> None:
        """SGD's velocity is a sum of gradients here, and of steps in scikit-learn: those already made stay as long."""
        estimator = self._estimator
        optimizer = estimator._optimizer
        assert optimizer is not None
        optimizer.learning_rate = new * estimator._rate_factor
        optimizer.state(self.network).moments[:] *= estimator._rate / new
        estimator._rate = new

    def state(self) -> dict[str, object]:
        return {"rate": self._estimator._rate}

    def restore(self, state: dict[str, Any]) -> None:
        if type(state["rate"]) is not float or not state["rate"] > 0:
            raise ValueError(f"its rate is {str(state['rate'])[:40]}")
        self._estimator._rate = state["rate"]


def say(estimator: Estimator, message: str) -> None:
    """Print it, if the estimator is to say what it does."""
    if estimator.verbose:
        print(message)


class HeldOut:
    """Rows that are not trained on, and what the network says to them."""

    def __init__(
        self,
        estimator: Estimator,
        loss: Loss,
        X: np.ndarray,
        y: np.ndarray,
        given: np.ndarray,
        weight: np.ndarray | None,
    ) -> None:
        self._estimator, self._loss, self._given = estimator, loss, given
        signature = estimator._network.signature
        self.samples = Batch.checked(signature, loss, X, estimator._targets(y), weight, "validation ")
        self._weight = weight
        self._raw: np.ndarray = np.empty(0)
        metric = estimator.early_stopping_metric
        self._scorer = None if metric in (None, "score", "loss") else get_scorer(metric)

    def figures(self) -> Logs:
        """Compute what the network gives now; its loss, without penalty."""
        s = self.samples
        self._raw = raw = self._estimator._raw_output(s.X)
        total, _, weight = self._estimator._network.loss_sums(
            self._loss, raw, s.labels, s.targets, s.weight, np.empty_like(raw)
        )
        return {"loss": float(self._estimator._loss()[2] * total / weight)}

    def score(self) -> float:
        """What ``early_stopping`` goes by: the more the better."""
        estimator = self._estimator
        if estimator.early_stopping_metric == "loss":
            assert estimator.validation_loss_curve_ is not None
            return -float(estimator.validation_loss_curve_[-1])
        if self._scorer is not None:
            scorer: Any = self._scorer
            return float(scorer(_Unnamed(estimator), self.samples.X, self._given, sample_weight=self._weight))
        predicted = estimator._from_output(estimator._activated(self._raw))
        if np.issubdtype(predicted.dtype, np.floating) and not np.isfinite(predicted).all():
            return float("nan")
        return float(estimator._own_score(self._given, predicted, self._weight))


class _Unnamed:
    """A fitted estimator for a scorer, on arrays that were checked before and have lost their feature names."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._estimator_type = getattr(estimator, "_estimator_type", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def __sklearn_tags__(self) -> Any:
        return self._estimator.__sklearn_tags__()

    def predict(self, X: ArrayLike) -> np.ndarray:
        return self._estimator._from_output(self._estimator._output(X))  # type: ignore[no-any-return]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        return self._estimator._probabilities(self._estimator._output(X))  # type: ignore[no-any-return]
