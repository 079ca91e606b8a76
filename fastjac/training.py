"""The training loop behind ``Sequential.fit``."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastjac import _arguments, losses, optimizers, progress
from fastjac.callbacks import Callback, Logs, as_callbacks
from fastjac.errors import NonFiniteError
from fastjac.kernels.arrays import finite, unknown, weights
from fastjac.layers import Dense
from fastjac.program import Batches, Learner

if TYPE_CHECKING:
    from fastjac.network import Sequential

_SECONDS_A_CALL = 0.03  # how long compiled code runs before Python looks at Ctrl-C and the progress bar


class History(dict[str, list[float]]):
    """What each epoch gave: loss, accuracy, val_loss, val_accuracy, seconds; one number an epoch in each list.

    Attributes:
        interrupted: whether Ctrl-C ended training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = False

    def add(self, logs: Logs) -> None:
        """One more epoch."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)

    def __reduce__(self) -> Any:
        return _history_from, (dict(self), self.interrupted)


def _history_from(columns: dict[str, list[float]], interrupted: bool) -> History:
    history = History()
    history.update(columns)
    history.interrupted = interrupted
    return history


@dataclass
class _Samples:
    """Checked samples."""

    X: np.ndarray
    labels: np.ndarray | None
    targets: np.ndarray | None
    weight: np.ndarray | None


def _samples(network: Sequential, loss: losses.Loss, X: Any, y: Any, weight: Any, prefix: str) -> _Samples:
    name = f"{prefix}X"
    X = finite(name, network._checked_input(X, name))
    if len(X) == 0:
        raise ValueError(f"{name} has shape {X.shape}, expected at least one row: (1, {network.inputs})")
    labels, targets = loss.targets(y, len(X), network.outputs, network.dtype, f"{prefix}y")
    weight = None if weight is None else weights(f"{prefix}sample_weight", weight, len(X))
    return _Samples(X, labels, targets, weight)


def _with_class_weight(samples: _Samples, class_weight: Any, classes: int) -> np.ndarray:
    """Sample weights times the weight of each sample's class."""
    if samples.labels is None:
        assert samples.targets is not None
        raise ValueError("class_weight needs targets that are class indices, expected y of shape"
                         f" ({len(samples.X)},), not {samples.targets.shape}")  # fmt: skip
    factors = np.ones(classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise unknown("class_weight", class_weight, ["balanced"])
        counts = np.bincount(samples.labels, minlength=classes)
        present = counts > 0
        factors[present] = len(samples.labels) / (present.sum() * counts[present])
    elif isinstance(class_weight, dict):
        for label, factor in class_weight.items():
            if _arguments.count("a class of class_weight", label, 0) >= classes:
                raise ValueError(f"class_weight has the class {label}, expected 0 to {classes - 1}")
            factors[label] = _arguments.real(f"class_weight[{label}]", factor)
    else:
        raise TypeError(f"class_weight is {class_weight!r}, expected {{class: weight}} or 'balanced'")
    given = 1.0 if samples.weight is None else samples.weight
    return weights("sample_weight times class_weight", factors[samples.labels] * given, len(samples.X))


class _Interruption:
    """Whether Ctrl-C was pressed, and whether training has begun: until then, kernels may be compiling."""

    asked = False
    begun = False


@contextmanager
def _interruptible() -> Iterator[_Interruption]:
    """Make Ctrl-C set a flag instead of raising wherever Python happens to be.

    It raises at once before the first steps have been taken, when there is nothing to keep in order, and the second
    time. Only where Ctrl-C would raise KeyboardInterrupt in this thread; a program's own handler is left alone.
    """
    state = _Interruption()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield state
        return

    def note(number: int, frame: Any) -> None:
        again, state.asked = state.asked, True
        if again or not state.begun:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Run:
    """One call of ``fit``, its arguments checked."""

    def __init__(
        self, network: Sequential, samples: _Samples, loss: losses.Loss, optimizer: optimizers.Optimizer,
        batch_size: int, callbacks: list[Callback], threads: int | None, l1: float = 0.0, l2: float = 0.0,
    ) -> None:  # fmt: skip
        self.network = network
        self.samples = samples
        self.loss = loss
        self.optimizer = optimizer
        self.batch_size = min(batch_size, len(samples.X))
        self.batches = -(-len(samples.X) // self.batch_size)
        self.callbacks = callbacks
        self.each_batch = any(type(one).on_batch_end is not Callback.on_batch_end for one in callbacks)
        state = optimizer.state(network)
        self.learner = Learner(
            network.parameters, network.gradients, state.moments, optimizer.settings(), optimizer.rule,
            loss.code(samples.labels), loss.parameter, network.dropout_seed, state.counters, l1, l2,
            keep_gradients=self.each_batch,  # a callback may look at them
        )  # fmt: skip
        self.threads = network.program.threads_for(self.batch_size, threads) if network.program else 1
        self.order: np.ndarray | None = None
        self._seconds_a_step = 0.0

    def steps(self, first: int, pool: ThreadPoolExecutor | None) -> np.ndarray:
        """Some steps from batch ``first`` on, as many as take a few hundredths of a second: a row of sums for each."""
        count = self.batches - first
        if self.each_batch:
            count = 1
        elif self._seconds_a_step > 0:
            count = max(1, min(count, int(_SECONDS_A_CALL / self._seconds_a_step)))
        else:
            count = min(count, 4)  # the first steps tell how long one takes
        rates = self.optimizer.rates(int(self.learner.counters[0]), count)
        begin = time.perf_counter()
        with self.network._lock:
            rows = self._compiled(first, rates, pool) if self.network.program else self._by_layers(first, rates)
        self._seconds_a_step = (time.perf_counter() - begin) / count
        if len(rows) < count:
            raise NonFiniteError(self._what_broke(first + len(rows)))
        return rows

    @contextmanager
    def threads_ready(self) -> Iterator[ThreadPoolExecutor | None]:
        """The threads beside this one, for as long as they are needed."""
        pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None
        try:
            yield pool
        finally:
            if pool is not None:
                pool.shutdown()

    def epoch(self, pool: ThreadPoolExecutor | None, interruption: _Interruption) -> np.ndarray | None:
        """All batches in the order of ``order``: a row of sums for each; None when Ctrl-C ended it before the last."""
        sums = np.zeros((self.batches, 4))
        done = 0
        while done < self.batches:
            rows = self.steps(done, pool)
            interruption.begun = True
            sums[done : done + len(rows)] = rows
            done += len(rows)
            if self.each_batch:
                for callback in self.callbacks:
                    callback.on_batch_end(done - 1, _means(rows, self.loss))
            if interruption.asked and done < self.batches:
                return None
        return sums

    def _compiled(self, first: int, rates: np.ndarray, pool: ThreadPoolExecutor | None) -> np.ndarray:
        s = self.samples
        batches = Batches(s.X, s.labels, s.targets, s.weight, self.order, self.batch_size)
        assert self.network.program is not None
        return self.network.program.train(self.learner, batches, first, rates, self.threads, pool)

    def _rows_of(self, batch: int) -> Any:
        chosen = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        return chosen if self.order is None else self.order[chosen]

    def _by_layers(self, first: int, rates: np.ndarray) -> np.ndarray:
        """The same steps layer by layer, for networks with a user's layers and for the other paths."""
        network, s = self.network, self.samples
        rows = np.zeros((len(rates), 4))
        for k in range(len(rates)):
            chosen = self._rows_of(first + k)
            output = network.forward_layers(s.X[chosen], True, int(self.learner.counters[0]))
            output = np.ascontiguousarray(output, network.dtype)
            gradient = np.empty_like(output)
            rows[k, :3] = network.loss_sums(
                self.loss, output, None if s.labels is None else s.labels[chosen],
                None if s.targets is None else s.targets[chosen], None if s.weight is None else s.weight[chosen],
                gradient,
            )  # fmt: skip
            if not np.isfinite(rows[k, 0]):
                return rows[:k]
            network.backward_layers(gradient, False)
            rows[k, 3] = self._penalize(rows[k, 2])
            self.optimizer.step_at(network, float(rates[k]))
        return rows

    def _penalize(self, weight_sum: float) -> float:
        """Add the gradient of the penalty on weights; returns the penalty, not yet divided by the sum of weights."""
        l1, l2 = self.learner.l1, self.learner.l2
        total = 0.0
        if (l1 or l2) and weight_sum > 0:
            for layer in self.network.layers:
                if isinstance(layer, Dense):
                    w = layer.weight
                    layer.weight_gradient[...] += (l1 / weight_sum) * np.sign(w) + (l2 / weight_sum) * w
                    total += float(l1 * np.abs(w).sum(dtype=float) + l2 / 2 * np.square(w).sum(dtype=float))
        return total

    def _what_broke(self, batch: int) -> str:
        """Which layer first gave something that is not finite, for the message."""
        chosen = self._rows_of(batch)
        A = self.samples.X[chosen]
        where = "the loss itself"
        with np.errstate(all="ignore"):
            for k, layer in enumerate(self.network.layers):
                A = layer.forward(A, False)
                if not np.isfinite(A).all():
                    where = f"layers[{k}] ({layer.describe()})"
                    break
        return (
            f"the loss is not finite in epoch {self.network.epochs_trained}, batch {batch}; the first values that"
            f" are not finite come from {where}. The network is as it was before that batch. A smaller learning rate,"
            " clip_norm or scaled inputs usually help."
        )


def _means(rows: np.ndarray, loss: losses.Loss) -> Logs:
    """Loss and accuracy over some steps, weighted as the samples are."""
    total = rows[:, 2].sum()
    logs = {"loss": float((rows[:, 0].sum() + rows[:, 3].sum()) / total) if total else 0.0}
    if loss.counts_hits:
        logs["accuracy"] = float(rows[:, 1].sum() / total) if total else 0.0
    return logs


def fit(
    network: Sequential, X: Any, y: Any, loss: Any, optimizer: Any, epochs: int, batch_size: int,
    validation_data: Any, callbacks: Any, sample_weight: Any, class_weight: Any, shuffle: bool,
    threads: int | None, show_progress: Any, l1: float, l2: float,
) -> History:  # fmt: skip
    """See ``Sequential.fit``."""
    chosen_loss = losses.get(loss)
    chosen_optimizer = optimizers.get(optimizer)
    epochs = _arguments.count("epochs", epochs)
    batch_size = _arguments.count("batch_size", batch_size)
    threads = None if threads is None else _arguments.count("threads", threads)
    l1, l2 = _arguments.real("l1", l1), _arguments.real("l2", l2)
    all_callbacks = as_callbacks(callbacks)
    network.check_loss(chosen_loss)
    samples = _samples(network, chosen_loss, X, y, sample_weight, "")
    if class_weight is not None:
        samples.weight = _with_class_weight(samples, class_weight, network.outputs)
    validation = None
    if validation_data is not None:
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            raise TypeError("validation_data must be (X, y) or (X, y, sample_weight)")
        given_weight = validation_data[2] if len(validation_data) == 3 else None
        X_val, y_val = validation_data[:2]
        validation = _samples(network, chosen_loss, X_val, y_val, given_weight, "validation ")

    run = _Run(network, samples, chosen_loss, chosen_optimizer, batch_size, all_callbacks, threads, l1, l2)
    history = History()
    network.stop_training = False
    for callback in all_callbacks:
        callback.network = network
    pool = ThreadPoolExecutor(run.threads - 1) if run.threads > 1 else None
    try:
        with progress.bar(show_progress, epochs) as show, _interruptible() as interruption:
            for callback in all_callbacks:
                callback.on_train_begin()
            try:
                for epoch in range(epochs):
                    finished = _epoch(run, epoch, shuffle, validation, history, show, pool, interruption)
                    if not finished or interruption.asked:
                        history.interrupted = interruption.asked
                        break
                    if network.stop_training:
                        break
            finally:
                for callback in all_callbacks:
                    callback.on_train_end()
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        if pool is not None:
            pool.shutdown()
    if history.interrupted:
        epochs_done = len(history.get("loss", []))
        warnings.warn(f"training was interrupted after {epochs_done} whole epochs", RuntimeWarning, stacklevel=3)
    return history


def _epoch(
    run: _Run, epoch: int, shuffle: bool, validation: _Samples | None, history: History, show: Any,
    pool: ThreadPoolExecutor | None, interruption: _Interruption,
) -> bool:  # fmt: skip
    """One epoch and its validation; False when it was cut short."""
    network = run.network
    for callback in run.callbacks:
        callback.on_epoch_begin(epoch)
    begin = time.perf_counter()
    if shuffle:
        # a function of the seed and the number of the epoch: a later fit goes on where this one ends
        run.order = np.random.default_rng([network.seed, network.epochs_trained]).permutation(len(run.samples.X))
    sums = np.zeros((run.batches, 4))
    done = 0
    while done < run.batches:
        rows = run.steps(done, pool)
        interruption.begun = True
        sums[done : done + len(rows)] = rows
        done += len(rows)
        if run.each_batch:
            batch_logs = _means(rows, run.loss)
            for callback in run.callbacks:
                callback.on_batch_end(done - 1, batch_logs)
        if done < run.batches:
            if interruption.asked or (run.each_batch and network.stop_training):
                return False
            show(epoch, _means(sums[:done], run.loss), min(done * run.batch_size, len(run.samples.X)),
                 len(run.samples.X))  # fmt: skip
    logs = _means(sums, run.loss)
    seconds = time.perf_counter() - begin
    network.epochs_trained += 1
    if validation is not None:
        given = validation.labels if validation.targets is None else validation.targets
        scores = network.evaluate(validation.X, given, run.loss, sample_weight=validation.weight)
        logs |= {f"val_{name}": value for name, value in scores.items()}
    history.add(logs | {"seconds": seconds})
    show(epoch, logs, len(run.samples.X), len(run.samples.X), epoch_end=True)
    for callback in run.callbacks:
        callback.on_epoch_end(epoch, dict(logs))
    return True
