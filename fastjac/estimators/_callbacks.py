"""scikit-learn's own callbacks, which it has from 1.9 on: a task for ``fit``, and in it one for each epoch.

A callback is set by ``set_callbacks`` and told of the beginning and the end of each task; what it asks for, such as a
fitted copy of the estimator as it is then, is made only if it does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from fastjac.estimators._weights import views
from fastjac.nn.losses import Loss
from fastjac.nn.optimizers import Optimizer
from fastjac.sequential import Sequential
from fastjac.training.progress import ProgressLike

_Method = TypeVar("_Method", bound=Callable[..., object])

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: _Method) -> _Method:
        """The method itself."""
        return method


__all__ = ["CallbackSupportMixin", "Estimator", "Tasks", "typed", "with_callbacks"]


def typed(decorator: Callable[..., Any]) -> Callable[[_Method], _Method]:
    """A decorator of scikit-learn's, of which type checkers know nothing, as one that leaves types as they are."""
    return decorator


class Schedule(Protocol):
    """What an optimizer was made for."""

    @property
    def name(self) -> str: ...
    @property
    def first(self) -> float: ...
    @property
    def power(self) -> float: ...


class Estimator(Protocol):
    """What the solvers know of an estimator."""

    alpha: float
    early_stopping: bool
    early_stopping_metric: str | None
    l1: float
    max_fun: int
    max_iter: int
    n_iter_no_change: float
    progress: ProgressLike
    tol: float
    verbose: bool | int

    best_loss_: float | None
    best_validation_score_: float | None
    loss_: float
    loss_curve_: list[float]
    n_iter_: int
    out_activation_: str
    t_: int
    validation_loss_curve_: list[float] | None
    validation_scores_: list[float] | None

    _begun: bool
    _network: Sequential
    _no_improvement_count: int
    _optimizer: Optimizer | None
    _rate: float
    _rate_factor: float

    @property
    def _schedule(self) -> Schedule: ...
    def _activated(self, raw: np.ndarray) -> np.ndarray: ...
    def _activation_names(self, hidden: int) -> list[str]: ...
    def _from_output(self, output: np.ndarray) -> np.ndarray: ...
    def _loss(self, dtype: np.dtype | None = None) -> tuple[Loss, float, float]: ...
    def _own_score(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float: ...
    def _raw_output(self, X: np.ndarray) -> np.ndarray: ...
    def _targets(self, y: np.ndarray) -> np.ndarray: ...


class Tasks:
    """The task of one ``fit``, and its epochs or iterations one after the other."""

    def __init__(self, estimator: Any, X: object, y: object, sample_weight: object, name: str, most: int) -> None:
        self._estimator, self._name = estimator, name
        self._data = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
        self._fit: Any = None
        self._step: Any = None
        if getattr(estimator, "_skl_callbacks", None):
            self._fit = estimator._init_callback_context(max_subtasks=most)
            self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)

    @property
    def is_watched(self) -> bool:
        """Whether anybody is to be told of epochs."""
        return self._fit is not None

    def _state(self) -> dict[str, object]:
        """What makes a copy of the estimator one that is fitted as far as this one."""
        network = copy.deepcopy(self._estimator._network)
        coefs, intercepts = views(network)
        return {"_network": network, "coefs_": coefs, "intercepts_": intercepts}

    def begin(self) -> None:
        """An epoch begins."""
        if self._fit is not None:
            self._step = self._fit.subcontext(task_name=self._name)
            self._step.call_on_fit_task_begin(
                estimator=self._estimator, reconstruction_attributes=self._state, **self._data
            )

    def end(self) -> bool:
        """An epoch has ended; whether a callback wants it to be the last."""
        if self._fit is None:
            return False
        return bool(
            self._step.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=self._state, **self._data
            )
        )

    def close(self) -> None:
        """The fit has ended."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=self._state, **self._data
            )
