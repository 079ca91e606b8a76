"""The training loop of ``Sequential.fit`` and the estimators: epochs of steps, and all that happens between them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fastjac.kernels.arrays import ArrayLike
from fastjac.nn import losses, optimizers
from fastjac.nn.batch import Batch, ClassWeight
from fastjac.nn.feed import Batches, Feed
from fastjac.nn.losses import Loss, LossLike
from fastjac.nn.network import Network
from fastjac.nn.optimizers import OptimizerLike
from fastjac.support import arguments
from fastjac.support.workers import Workers
from fastjac.training.callbacks import Callback, Callbacks, Logs, as_callbacks
from fastjac.training.history import History
from fastjac.training.interrupt import Interruption
from fastjac.training.progress import Columns, ProgressLike, Show, bar
from fastjac.training.steps import Steps, StreamSteps, shuffled


@dataclass
class Validation:
    """What gives the figures of rows that are not trained on, after each epoch."""

    figures: Callable[[], Logs]
    samples: Batch | None = None  # the rows; None where they come in batches


@dataclass
class Loop:
    """One training, its arguments checked.

    Attributes:
        steps: takes the steps of an epoch.
        epochs: how many at most; those that a checkpoint has behind it count.
        callbacks: in the order in which they are called.
        validation: what is looked at after each epoch, or None.
        columns: what is told of each of some epochs, from a row of sums for each of its batches: see ``Loss.columns``.
        history: what each epoch gave.
    """

    steps: Steps
    epochs: int
    callbacks: list[Callback]
    validation: Validation | None
    columns: Callable[[np.ndarray], Columns]
    history: History = field(default_factory=History)

    def figures(self, sums: np.ndarray) -> Logs:
        """What is told of some batches, from a row of sums for each."""
        return {name: column[0] for name, column in self.columns(sums[np.newaxis]).items()}

    def run(self, show_progress: ProgressLike) -> None:
        """Train. ``history.interrupted`` tells whether Ctrl-C has ended it."""
        network, history = self.steps.network, self.history
        network.stop_training = False
        for callback in self.callbacks:
            callback.network = network
        try:
            with (
                Workers() as workers,
                bar(show_progress, self.epochs) as show,
                Interruption() as interruption,
            ):
                begun: list[Callback] = []
                try:
                    for callback in self.callbacks:
                        callback.on_train_begin()
                        begun.append(callback)
                    epoch = self._attach()
                    nobody_looks = self.steps.goes_back and self.validation is None
                    while epoch < self.epochs and not network.stop_training:
                        most = min((one.epochs_ahead for one in self.callbacks), default=self.epochs)
                        several = self.steps.epochs_at_once(int(min(most, self.epochs - epoch))) if nobody_looks else 1
                        if several > 1:
                            self._epochs(epoch, several, show, workers)
                            finished = True
                        else:
                            finished = self._epoch(epoch, show, workers, interruption)
                        if not finished or interruption.asked:
                            history.interrupted = interruption.asked
                            break
                        epoch += several
                finally:
                    if begun:
                        with ExitStack() as ends:  # which goes on with the others where one raises
                            for callback in reversed(begun):
                                ends.callback(callback.on_train_end)
            self.steps.end()
        except KeyboardInterrupt:
            history.interrupted = True

    def _attach(self) -> int:
        """Go on from the furthest of the checkpoints; returns the epoch to begin with."""
        found = [one for callback in self.callbacks if (one := callback.attach(self)) is not None]
        if not found:
            return 0
        (epoch, _), go_on = max(found, key=lambda one: one[0])
        go_on()
        return epoch

    def _epochs(self, first: int, count: int, show: Show, workers: Workers) -> None:
        """Some epochs that are too short to come back to Python for each."""
        steps, epochs = self.steps, range(first, first + count)
        for callback in self.callbacks:
            for epoch in epochs:
                callback.on_epoch_begin(epoch)
        begin = time.perf_counter()
        sums = steps.epochs(count, workers)
        steps.network.epochs_trained += count - 1  # only the last can have broken what its own losses do not show
        steps.check_parameters()
        steps.network.epochs_trained += 1
        seconds = (time.perf_counter() - begin) / count
        columns = self.columns(sums)
        self.history.extend(columns | {"seconds": [seconds] * count})
        show.epochs(first, columns, len(steps.samples))
        for k, epoch in enumerate(epochs if self.callbacks else ()):
            logs = {name: column[k] for name, column in columns.items()}
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, dict(logs))

    def _epoch(self, epoch: int, show: Show, workers: Workers, interruption: Interruption) -> bool:
        """One epoch and its validation; False when it was cut short."""
        steps, network = self.steps, self.steps.network
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        begin = time.perf_counter()
        parts: list[np.ndarray] = []
        so_far = np.zeros((1, 4))
        batches = 0
        for state in steps.epoch(workers):
            interruption.begun = True
            parts.append(state.sums)
            batches += len(state.sums)
            if steps.each_batch and not state.before:
                batch_logs = self.figures(state.sums)
                for callback in self.callbacks:
                    callback.on_batch_end(batches - 1, batch_logs)
            if not state.last:
                if interruption.asked or (steps.each_batch and network.stop_training):
                    return False
                so_far += state.sums.sum(0)
                show(epoch, self.figures(so_far), state.done, state.total)
        steps.check_parameters()
        logs = self.figures(parts[0] if len(parts) == 1 else np.concatenate(parts))
        seconds = time.perf_counter() - begin
        network.epochs_trained += 1
        if self.validation is not None:
            logs |= {f"val_{name}": value for name, value in self.validation.figures().items()}
        self.history.add(logs | {"seconds": seconds})
        show(epoch, logs, state.done, state.done, epoch_end=True)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, dict(logs))
        return True


def fit(
    network: Network,
    X: ArrayLike | Batches,
    y: ArrayLike | None = None,
    *,
    loss: LossLike,
    optimizer: OptimizerLike = "adam",
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Sequence[ArrayLike] | Batches | None = None,
    callbacks: Callbacks | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight | None = None,
    shuffle: bool = True,
    threads: int | None = None,
    progress: ProgressLike = "auto",
    l1: float = 0.0,
    l2: float = 0.0,
) -> History:
    """See ``Sequential.fit``."""
    chosen_loss = losses.get(loss)
    chosen_optimizer = optimizers.get(optimizer)
    epochs = arguments.count("epochs", epochs)
    batch_size = arguments.count("batch_size", batch_size)
    threads = None if threads is None else arguments.count("threads", threads)
    l1, l2 = arguments.real("l1", l1), arguments.real("l2", l2)
    all_callbacks = as_callbacks(callbacks)
    network.check_loss(chosen_loss)
    steps: Steps
    if y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight does not go with batches, expected it in them: (X, y, sample_weight)")
        if isinstance(class_weight, str):
            raise ValueError(
                f"class_weight is {class_weight!r}, which needs all of y at once; with batches, expected"
                " {class: weight}"
            )
        check = partial(Batch.checked, network.signature, chosen_loss, class_weight=class_weight)
        feed: Feed[Batch] = Feed(X, check, epochs, "X", Batch.own)
        validation = _validation(network, chosen_loss, validation_data, epochs)
        steps = StreamSteps(network, feed, chosen_loss, chosen_optimizer, all_callbacks, threads, l1, l2)
    else:
        samples = Batch.checked(network.signature, chosen_loss, X, y, sample_weight, class_weight=class_weight)
        validation = _validation(network, chosen_loss, validation_data, epochs)
        # a single batch has all rows, in any order: only that of its sums would be another
        orders = shuffled(network.dropout_seed, len(samples)) if shuffle and batch_size < len(samples) else None
        steps = Steps(
            network, samples, chosen_loss, chosen_optimizer, batch_size, all_callbacks, threads, l1, l2, orders
        )
    training = Loop(steps, epochs, all_callbacks, validation, chosen_loss.columns)
    training.run(progress)
    history = training.history
    if history.interrupted:
        epochs_done = len(history.get("loss", []))
        warnings.warn(f"training was interrupted after {epochs_done} whole epochs", RuntimeWarning, stacklevel=4)
    return history


def _validation(
    network: Network, loss: Loss, data: Sequence[ArrayLike] | Batches | None, epochs: int
) -> Validation | None:
    """What to call after each epoch for the figures of rows that are not trained on, their arrays checked now."""
    if data is None:
        return None
    if isinstance(data, tuple | list):
        if len(data) not in (2, 3):
            raise TypeError("validation_data must be (X, y) or (X, y, sample_weight)")
        weight = data[2] if len(data) == 3 else None
        samples = Batch.checked(network.signature, loss, data[0], data[1], weight, "validation ")

        def of_arrays() -> Logs:
            samples.check("its epoch was validated")
            return network.figures(loss, [samples])

        return Validation(of_arrays, samples)
    check = partial(Batch.checked, network.signature, loss)
    feed: Feed[Batch] = Feed(data, check, epochs, "validation_data", Batch.own)
    return Validation(lambda: network.figures(loss, feed))
