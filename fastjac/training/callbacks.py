"""Callbacks of ``fit``: what happens between epochs and batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastjac.nn.network import Network
from fastjac.support import arguments
from fastjac.support.attributes import Strict

Logs = dict[str, float]
Found = tuple[tuple[int, int], Callable[[], None]]  # an epoch and a batch of it, and what brings training there


class Callback(Strict):
    """Base of callbacks: override what you need.

    Set ``self.network.stop_training = True`` to end training after the batch or epoch at hand. ``logs`` has ``loss``
    and, where they exist, ``accuracy``, ``val_loss`` and ``val_accuracy``.

    ``on_batch_end`` makes training come back to Python after every batch; the others cost nothing.

    Attributes:
        network: the network being trained.

    >>> import numpy as np
    >>> import fastjac as fj
    >>> class Decay(fj.Callback):
    ...     def __init__(self, optimizer):
    ...         self.optimizer = optimizer
    ...     def on_epoch_end(self, epoch, logs):
    ...         self.optimizer.learning_rate *= 0.5
    >>> optimizer, net = fj.SGD(0.1), fj.Sequential([fj.Dense(2, 1)], seed=0)
    >>> history = net.fit(np.ones((4, 2)), np.ones(4), loss="huber", optimizer=optimizer, epochs=2,
    ...                   callbacks=[Decay(optimizer)])
    >>> optimizer.learning_rate
    0.025
    """

    network: Network
    comes_last: ClassVar[bool] = False  # a checkpoint must see what the others have done

    @property
    def wants_batches(self) -> bool:
        """Whether training must come back after every batch."""
        return type(self).on_batch_end is not Callback.on_batch_end

    @property
    def epochs_ahead(self) -> float:
        """For fastjac's own: after how many more epochs, at the earliest, it may do anything but take note of them.

        So many may run in one call before it is told of each.
        """
        return 1

    def attach(self, loop: Any) -> Found | None:
        """For fastjac's own checkpoints: a loop that begins. Returns what there is to go on from, changing nothing."""
        return None

    def state(self) -> Mapping[str, object]:
        """What a checkpoint keeps of this callback: numbers, texts and arrays by name; see ``Checkpoint``."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave, after ``on_train_begin``.

        It comes from a file: raise an error for what does not fit, and training does not begin; the callback's
        attributes are then put back.

        Args:
            state: numbers, texts and arrays by name.
        """

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch.

        Args:
            epoch: 0, 1, …
        """

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        """After the update of a batch.

        Args:
            batch: 0, 1, … within the epoch.
            logs: the figures of this batch.
        """

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation.

        Args:
            epoch: 0, 1, …
            logs: the figures of this epoch, which the history takes.
        """

    def on_train_end(self) -> None:
        """After the last epoch, also when training was interrupted, or ended by an error."""


class EpochFunction(Callback, strict=True):
    """A plain function of (epoch, logs) as a callback."""

    function: Callable[[int, Logs], object]

    def __init__(self, function: Callable[[int, Logs], object]) -> None:
        self.function = function

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.function(epoch, logs)


def _monitored(name: str, value: object) -> str:
    if value not in ("val_loss", "loss", "val_accuracy", "accuracy"):
        raise ValueError(f"{name} is {value!r}, expected val_loss, loss, val_accuracy or accuracy")
    return str(value)


class EarlyStopping(Callback, strict=True):
    """Stop when a figure has not improved for some epochs, and go back to the best parameters.

    Args:
        monitor: a column of the history: "val_loss", "loss", "val_accuracy" or "accuracy".
        patience: epochs without improvement before stopping, at least 0; 0 stops at the first, as 1 does.
        min_delta: how much better a figure must be to count as an improvement, at least 0.
        restore_best: put the parameters of the best epoch back when training ends, however it ends.

    Attributes:
        best, best_epoch: the best value so far, NaN before the first epoch, and its epoch, None before it.
        stopped_epoch: the epoch that ended training, or None.

    Raises:
        TypeError, ValueError: values out of range. From ``fit``, after the first epoch: training does not give the
            figure.

    >>> EarlyStopping(patience=3).monitor
    'val_loss'
    """

    monitor: str
    patience: int
    min_delta: float
    restore_best: bool
    best: float
    best_epoch: int | None
    stopped_epoch: int | None

    _checks: ClassVar = {
        "monitor": _monitored,
        "patience": partial(arguments.count, least=0),
        "min_delta": arguments.real,
        "restore_best": lambda name, value: bool(value),
    }

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self._start()

    def _start(self) -> None:
        self.best = math.nan
        self.best_epoch = None
        self.stopped_epoch = None
        self._waited = 0
        self._parameters: np.ndarray | None = None

    def on_train_begin(self) -> None:
        self._start()

    def _settings(self) -> list[object]:
        return [self.monitor, self.patience, self.min_delta, self.restore_best]

    def state(self) -> Mapping[str, object]:
        state: dict[str, object] = {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "waited": self._waited,
            "settings": self._settings(),
        }
        return state if self._parameters is None else state | {"parameters": self._parameters}

    def restore(self, state: dict[str, Any]) -> None:
        settings, parameters = state["settings"], state.get("parameters")
        if settings != self._settings():
            raise ValueError(
                f"monitor, patience, min_delta and restore_best were {settings}, expected {self._settings()}"
            )
        best, waited = state["best"], state["waited"]
        epochs = state["best_epoch"], state["stopped_epoch"]
        counts = [one for one in (waited, *epochs) if one is not None]
        own = self.network.parameters
        fits = parameters is None or (parameters.shape == own.shape and parameters.dtype == own.dtype)
        if not fits or type(best) is not float or waited is None or any(type(k) is not int or k < 0 for k in counts):
            raise ValueError("its best figure, epochs or parameters are not such")
        if (parameters is not None) != (self.restore_best and epochs[0] is not None):
            raise ValueError("the best parameters are missing, or of no epoch")
        self.best, self._waited, (self.best_epoch, self.stopped_epoch) = best, waited, epochs
        self._parameters = parameters

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.monitor not in logs:
            raise ValueError(
                f"EarlyStopping monitors {self.monitor!r}, but training gives only {', '.join(logs)};"
                " val_ figures need validation_data"
            )
        value = logs[self.monitor]
        gain = value - self.best if self.monitor.endswith("accuracy") else self.best - value
        # NaN is no improvement on anything, and anything is one on NaN
        if self.best_epoch is None or gain > self.min_delta or (math.isnan(self.best) and not math.isnan(value)):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._parameters = self.network.parameters.copy()
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_epoch = epoch
            self.network.stop_training = True

    def on_train_end(self) -> None:
        if self._parameters is not None:
            self.network.parameters = self._parameters
            self._parameters = None


CallbackLike = Callback | Callable[[int, Logs], object]
Callbacks = CallbackLike | Sequence[CallbackLike]


def as_callbacks(callbacks: Callbacks | None) -> list[Callback]:
    """The list of callbacks that ``fit`` was given, functions made callbacks.

    Raises:
        TypeError: something that is neither.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    if not isinstance(callbacks, list | tuple):
        raise TypeError(
            f"callbacks is {callbacks!r}, expected a list of Callback objects or functions of (epoch, logs)"
        )
    result: list[Callback] = []
    for one in callbacks:
        if isinstance(one, Callback):
            result.append(one)
        elif callable(one) and not isinstance(one, type):
            result.append(EpochFunction(one))
        else:
            raise TypeError(f"callbacks has {one!r}, expected Callback objects or functions of (epoch, logs)")
    return in_order(result)


def in_order(callbacks: list[Callback]) -> list[Callback]:
    """The order in which they are called: as they are, but those that must see what the others have done at the end."""
    return sorted(callbacks, key=lambda one: one.comes_last)
