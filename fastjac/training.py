"""The training loop behind ``Sequential.fit``."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastjac import _arguments, losses, optimizers, progress
from fastjac.callbacks import Callback, Logs, as_callbacks
from fastjac.errors import NonFiniteError
from fastjac.kernels.arrays import Borrowed, finite, unknown, weights
from fastjac.kernels.checked import penalize
from fastjac.kernels.plan import AHEAD, NOT_FINITE, STEP, THE_GRADIENT
from fastjac.layers import Dense
from fastjac.program import Batches, Learner
from fastjac.streaming import Feed
from fastjac.workers import Workers

if TYPE_CHECKING:
    from fastjac.network import Sequential

_AS_BEFORE = "The network is as it was before that batch."
_ADVICE = "A smaller learning rate, clip_norm or scaled inputs usually help."

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


class _Samples:
    """Checked samples: labels of our own, and the rest as it was given, which ``check`` looks at again."""

    def __init__(
        self, X: np.ndarray, labels: np.ndarray | None, targets: np.ndarray | None, weight: np.ndarray | None,
        prefix: str = "",
    ) -> None:  # fmt: skip
        given = {"X": X, "y": targets, "sample_weight": weight}
        held = {name: Borrowed(prefix + name, array) for name, array in given.items() if array is not None}
        self._held = list(held.values())
        self._prefix = prefix
        self.X = held["X"].array
        self.labels = labels
        self.targets = held["y"].array if targets is not None else None
        self.weight = held["sample_weight"].array if weight is not None else None

    def check(self, before: str) -> None:
        """Raise ValueError where an array was resized, and its memory with it."""
        for one in self._held:
            one.check(before)

    def own(self) -> _Samples:
        """The same in memory of their own."""
        targets = None if self.targets is None else self.targets.copy()
        weight = None if self.weight is None else self.weight.copy()
        return _Samples(self.X.copy(), self.labels, targets, weight, self._prefix)


def _samples(
    network: Sequential, loss: losses.Loss, X: Any, y: Any, weight: Any, prefix: str, class_weight: Any = None
) -> _Samples:
    name = f"{prefix}X"
    X = finite(name, network._checked_input(X, name))
    if len(X) == 0:
        raise ValueError(f"{name} has shape {X.shape}, expected at least one row: (1, {network.inputs})")
    labels, targets = loss.targets(y, len(X), network.outputs, network.dtype, f"{prefix}y")
    weight = None if weight is None else weights(f"{prefix}sample_weight", weight, len(X))
    if class_weight is not None:
        weight = _with_class_weight(labels, targets, weight, class_weight, network.outputs)
    return _Samples(X, labels, targets, weight, prefix)


@dataclass
class _Validation:
    """What gives the figures of rows that are not trained on, after each epoch."""

    figures: Callable[[], Logs]
    samples: _Samples | None = None  # the rows; None where they come in batches


def _validation(network: Sequential, loss: losses.Loss, data: Any, epochs: int) -> _Validation | None:
    """What to call after each epoch for the figures of rows that are not trained on, their arrays checked now."""
    if data is None:
        return None
    if isinstance(data, tuple | list):
        if len(data) not in (2, 3):
            raise TypeError("validation_data must be (X, y) or (X, y, sample_weight)")
        samples = _samples(network, loss, data[0], data[1], data[2] if len(data) == 3 else None, "validation ")
        given = samples.labels if samples.targets is None else samples.targets

        def of_arrays() -> Logs:
            samples.check("its epoch was validated")
            return network.evaluate(samples.X, given, loss, sample_weight=samples.weight)

        return _Validation(of_arrays, samples)
    feed: Feed[_Samples] = Feed(data, partial(_samples, network, loss), epochs, "validation_data", _Samples.own)
    return _Validation(lambda: _evaluate(network, loss, feed))


def evaluate_batches(network: Sequential, loss: losses.Loss, batches: Any) -> Logs:
    """See ``Sequential.evaluate``."""
    return _evaluate(network, loss, Feed(batches, partial(_samples, network, loss), 1, "X", _Samples.own))


def _evaluate(network: Sequential, loss: losses.Loss, feed: Feed[_Samples]) -> Logs:
    sums = []
    for s in feed:
        output = network.predict(s.X)
        sums.append((*network.loss_sums(loss, output, s.labels, s.targets, s.weight, np.empty_like(output)), 0.0))
    return _means(np.array(sums), loss)


def _with_class_weight(
    labels: np.ndarray | None, targets: np.ndarray | None, weight: np.ndarray | None, class_weight: Any, classes: int
) -> np.ndarray:
    """Sample weights times the weight of each sample's class."""
    if labels is None:
        assert targets is not None
        raise ValueError("class_weight needs targets that are class indices, expected y of shape"
                         f" ({len(targets)},), not {targets.shape}")  # fmt: skip
    factors = np.ones(classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise unknown("class_weight", class_weight, ["balanced"])
        counts = np.bincount(labels, minlength=classes)
        present = counts > 0
        factors[present] = len(labels) / (present.sum() * counts[present])
    elif isinstance(class_weight, dict):
        for label, factor in class_weight.items():
            if _arguments.count("a class of class_weight", label, 0) >= classes:
                raise ValueError(f"class_weight has the class {label}, expected 0 to {classes - 1}")
            factors[label] = _arguments.real(f"class_weight[{label}]", factor)
    else:
        raise TypeError(f"class_weight is {class_weight!r}, expected {{class: weight}} or 'balanced'")
    given = 1.0 if weight is None else weight
    return weights("sample_weight times class_weight", factors[labels] * given, len(labels))


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

    try:
        signal.signal(signal.SIGINT, note)  # here, because ``note`` may raise as soon as it is set
        yield state
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _check_that_python_goes_on() -> None:
    """Raise RuntimeError in another thread when the main one has come to its end, where it waits for this one."""
    main = threading.main_thread()
    # the second is set earlier, before executors are waited for; nothing public says so
    ending = not main.is_alive() or getattr(threading, "_SHUTTING_DOWN", False)
    if ending and threading.current_thread() is not main:
        raise RuntimeError(
            "the interpreter is about to end: training was stopped after the last whole batch. Wait for the thread"
            " that trains (join) before the main thread ends"
        )


class _Progress(NamedTuple):
    """Some steps of an epoch."""

    sums: np.ndarray  # a row for each: losses, hits, weights, penalty
    done: int  # rows of this epoch so far
    total: int  # rows in it, 0 where nobody knows
    last: bool
    before: bool = False  # taken by an earlier process


class _Run:
    """One call of ``fit``, its arguments checked."""

    goes_back = True  # whether the rows of any batch can be had again
    validation: _Validation | None = None

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
        self.before = 0  # batches of the epoch that came before these samples
        self.callbacks = callbacks
        self.sums = np.zeros((self.batches, 4))  # of the batches of this epoch so far, which are ``position``
        self.position = 0
        self.each_batch = any(one.wants_batches for one in callbacks)
        state = optimizer.state(network)
        self.learner = Learner(
            network._parameters, network._gradients, state.moments, optimizer.settings(), optimizer.rule,
            loss.code(samples.labels), loss.parameter, network._dropout_seed, state.counters, l1, l2,
            keep_gradients=self.each_batch,  # a callback may look at them
        )  # fmt: skip
        self.threads = network.program.threads_for(self.batch_size, threads) if network.program else 1
        self.order: np.ndarray | None = None
        self.shuffle = False
        self._seconds_a_step = 0.0
        self._batches: tuple[_Samples, Batches] | None = None  # the samples, and how compiled code has them

    def epoch(self, shuffle: bool, workers: Workers) -> Iterator[_Progress]:
        """Take all steps of an epoch, some at a time."""
        rows = len(self.samples.X)
        if shuffle:
            self.order = self._shuffled(self.network.epochs_trained)
        self.position %= self.batches  # not 0 where a checkpoint was made within an epoch
        if self.position:
            yield _Progress(self.sums[: self.position], self.position * self.batch_size, rows, False, True)
        while self.position < self.batches:
            first = self.position
            sums = self.steps(first, workers)
            self.position = done = first + len(sums)
            self.sums[first:done] = sums
            yield _Progress(sums, min(done * self.batch_size, rows), rows, done == self.batches)

    def _shuffled(self, epoch: int) -> np.ndarray:
        """The order of an epoch: a function of the seed and its number, so that a later fit goes on where this ends."""
        return np.random.default_rng([self.network.seed, epoch]).permutation(len(self.samples.X))

    def epochs_at_once(self, most: int) -> int:
        """How many whole epochs compiled code may run in a few hundredths of a second, where nobody looks between."""
        if not self.network.program or self._seconds_a_step == 0 or self.position % self.batches:
            return 1
        return max(1, min(most, int(_SECONDS_A_CALL / (self._seconds_a_step * self.batches))))

    def epochs(self, count: int, shuffle: bool, workers: Workers) -> np.ndarray:
        """Some whole epochs in one call, to the bit as one by one: (count, batches, 4) sums."""
        _check_that_python_goes_on()
        first, steps = self.network.epochs_trained, count * self.batches
        orders = np.stack([self._shuffled(first + k) for k in range(count)]) if shuffle else None
        rates = self.optimizer.rates(int(self.learner.counters[0]), steps)
        begin = time.perf_counter()
        with self._stepping():
            rows = self._compiled(0, rates, workers, orders)
        self._seconds_a_step = (time.perf_counter() - begin) / steps
        if len(rows) < steps:
            done, batch = divmod(len(rows), self.batches)
            self.network.epochs_trained += done
            self.order = None if orders is None else orders[done]
            raise NonFiniteError(self._what_broke(batch))
        return rows.reshape(count, self.batches, 4)

    def steps(self, first: int, workers: Workers) -> np.ndarray:
        """Some steps from batch ``first`` on, as many as take a few hundredths of a second: a row of sums for each."""
        _check_that_python_goes_on()
        count = self.batches - first
        if self.each_batch:
            count = 1
        elif self._seconds_a_step > 0:
            count = max(1, min(count, int(_SECONDS_A_CALL / self._seconds_a_step)))
        else:
            count = min(count, 4)  # the first steps tell how long one takes
        rates = self.optimizer.rates(int(self.learner.counters[0]), count)
        if self.callbacks:  # which may have changed momentum, weight_decay, clip_norm … since
            self.learner.settings[:] = self.optimizer.settings()
            self.learner.set_loss_parameter(self.loss.parameter)
        begin = time.perf_counter()
        with self._stepping():
            if self.network.program:
                rows = self._compiled(first, rates, workers, self.order)
            else:
                rows = self._by_layers(first, rates)
        self._seconds_a_step = (time.perf_counter() - begin) / count
        if len(rows) < count:
            raise NonFiniteError(self._what_broke(first + len(rows)))
        return rows

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """Nobody else uses the network, and the steps of the optimizer are counted as the network's too."""
        network, counters = self.network, self.learner.counters
        self.samples.check("the next step")
        with network._lock:
            counters[AHEAD] = network._training_step - counters[STEP]
            try:
                yield
            finally:
                network._training_step = int(counters[AHEAD] + counters[STEP])

    def threads_ready(self) -> Workers:
        """The threads beside this one, for as long as they are needed: a context."""
        return Workers()

    def sums_of_epoch(self, workers: Workers, interruption: _Interruption) -> np.ndarray | None:
        """All batches in the order of ``order``: a row of sums for each; None when Ctrl-C ended it before the last."""
        for state in self.epoch(False, workers):
            interruption.begun = True
            if self.each_batch:
                for callback in self.callbacks:
                    callback.on_batch_end(self.position - 1, _means(state.sums, self.loss))
            if interruption.asked and not state.last:
                return None
        return self.sums

    def _compiled(self, first: int, rates: np.ndarray, workers: Workers, order: np.ndarray | None) -> np.ndarray:
        s = self.samples
        if self._batches is None or self._batches[0] is not s:  # a stream has others each time
            self._batches = s, Batches(s.X, s.labels, s.targets, s.weight, None, self.batch_size)
        batches = self._batches[1]
        batches.order = order
        assert self.network.program is not None
        return self.network.program.train(self.learner, batches, first, rates, self.threads, workers)

    def _rows_of(self, batch: int) -> Any:
        chosen = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        return chosen if self.order is None else self.order[chosen]

    def _by_layers(self, first: int, rates: np.ndarray) -> np.ndarray:
        """The same steps layer by layer, for networks with a user's layers and for the other paths."""
        network, s = self.network, self.samples
        counters = self.learner.counters
        counters[NOT_FINITE] = 0
        rows = np.zeros((len(rates), 4))
        for k in range(len(rates)):
            chosen = self._rows_of(first + k)
            output = network.forward_layers(s.X[chosen], True, int(counters[STEP] + counters[AHEAD]))
            output = np.ascontiguousarray(output, network.dtype)
            gradient = np.empty_like(output)
            rows[k, :3] = network.loss_sums(
                self.loss, output, None if s.labels is None else s.labels[chosen],
                None if s.targets is None else s.targets[chosen], None if s.weight is None else s.weight[chosen],
                gradient,
            )  # fmt: skip
            if not np.isfinite(rows[k, 0]) and not self.learner.goes_on:
                return rows[:k]
            network.backward_layers(gradient, False)
            rows[k, 3] = self._penalize(rows[k, 2])
            if not self.optimizer.step_at(network, float(rates[k])):
                self.learner.counters[NOT_FINITE] = THE_GRADIENT
                return rows[:k]
        return rows

    def _penalize(self, weight_sum: float) -> float:
        """Add the gradient of the penalty on weights; returns the penalty, not yet divided by the sum of weights."""
        if weight_sum == 0.0 or (self.learner.l1 == 0.0 and self.learner.l2 == 0.0):
            return 0.0
        l1, l2 = self.learner.l1 / weight_sum, self.learner.l2 / weight_sum
        dense = [layer for layer in self.network.layers if isinstance(layer, Dense)]
        parts = [penalize(one.weight.reshape(-1), one.weight_gradient.reshape(-1), l1, l2) for one in dense]
        return float(weight_sum * sum(parts))

    def _what_broke(self, batch: int) -> str:
        """What was not finite first, for the message."""
        where = f"epoch {self.network.epochs_trained}, batch {self.before + batch}"
        if self.learner.counters[NOT_FINITE] == THE_GRADIENT:
            return f"the gradient is not finite in {where}, though the loss is. {_AS_BEFORE} {_ADVICE}"
        as_before = _AS_BEFORE if _all_finite(self.network.parameters) else (
            "The parameters are not finite either: the batch before had a finite loss, and a step too large for"
            f" {self.network.dtype}."
        )  # fmt: skip
        return (
            f"the loss is not finite in {where}; the first values that are not finite come from"
            f" {self._first_not_finite(batch)}. {as_before} {_ADVICE}"
        )

    def _first_not_finite(self, batch: int) -> str:
        """Which layer first gave something that is not finite."""
        A = self.samples.X[self._rows_of(batch)]
        with np.errstate(all="ignore"):
            for k, layer in enumerate(self.network.layers):
                A = layer.forward(A, False)
                if not np.isfinite(A).all():
                    return f"layers[{k}] ({layer.describe()})"
        return "the loss itself"

    def check_parameters(self) -> None:
        """Raise NonFiniteError where the last step of an epoch was too large: no loss of a next batch will tell."""
        if not _all_finite(self.network.parameters):
            raise NonFiniteError(
                f"the parameters are not finite after epoch {self.network.epochs_trained}: a batch had a finite loss,"
                f" and a step too large for {self.network.dtype}. {_ADVICE}"
            )


class _StreamRun(_Run):
    """One call of ``fit`` on batches that come from outside; each is one step."""

    goes_back = False

    def __init__(
        self, network: Sequential, feed: Feed[_Samples], loss: losses.Loss, optimizer: optimizers.Optimizer,
        callbacks: list[Callback], threads: int | None, l1: float, l2: float,
    ) -> None:  # fmt: skip
        super().__init__(network, feed.first, loss, optimizer, len(feed.first.X), callbacks, threads, l1, l2)
        self.feed = feed
        self._asked_threads = threads
        self._rows = 0  # in an epoch, once one has been gone through

    def epoch(self, shuffle: bool, workers: Workers) -> Iterator[_Progress]:
        """Take all steps of an epoch, one at a time; the order is that of the batches."""
        done = 0
        batches = iter(self.feed)
        batch: _Samples | None = next(batches)
        self.before = 0
        while batch is not None:
            self.samples, self.batch_size = batch, len(batch.X)
            code = self.loss.code(batch.labels)
            if code != self.learner.loss:  # class indices after rows, or the reverse
                self.learner.loss, self.learner.tables = code, []
            if self.network.program:
                self.threads = self.network.program.threads_for(self.batch_size, self._asked_threads)
            sums = self.steps(0, workers)
            done += self.batch_size
            self.before += 1
            batch = next(batches, None)  # only now: a batch may live in memory that the next one is written to
            if batch is None:
                self._rows = done
            elif self.each_batch:
                batch = batch.own()  # what a callback reads may be written to the same memory
            yield _Progress(sums, done, self._rows or done * len(self.feed) // self.before, batch is None)


def _all_finite(array: np.ndarray) -> bool:
    """Whether no entry is NaN or infinite: a finite sum says so at once, an infinite one may be mere overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


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
    run: _Run
    if y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight does not go with batches, expected it in them: (X, y, sample_weight)")
        if isinstance(class_weight, str):
            raise ValueError(f"class_weight is {class_weight!r}, which needs all of y at once; with batches, expected"
                             " {class: weight}")  # fmt: skip
        check = partial(_samples, network, chosen_loss, class_weight=class_weight)
        feed: Feed[_Samples] = Feed(X, check, epochs, "X", _Samples.own)
        validation = _validation(network, chosen_loss, validation_data, epochs)
        run = _StreamRun(network, feed, chosen_loss, chosen_optimizer, all_callbacks, threads, l1, l2)
    else:
        samples = _samples(network, chosen_loss, X, y, sample_weight, "", class_weight)
        validation = _validation(network, chosen_loss, validation_data, epochs)
        run = _Run(network, samples, chosen_loss, chosen_optimizer, batch_size, all_callbacks, threads, l1, l2)
    history = History()
    network.stop_training = False
    for callback in all_callbacks:
        callback.network = network
    run.shuffle, run.validation = bool(shuffle), validation
    try:
        with (
            run.threads_ready() as workers,
            progress.bar(show_progress, epochs) as show,
            _interruptible() as interruption,
        ):
            begun: list[Callback] = []
            try:
                for callback in all_callbacks:
                    callback.on_train_begin()
                    begun.append(callback)
                begin = _attach(run, history, all_callbacks)
                nobody_looks = type(run) is _Run and validation is None and not all_callbacks
                epoch = begin
                while epoch < epochs and not network.stop_training:
                    several = run.epochs_at_once(epochs - epoch) if nobody_looks else 1
                    if several > 1:
                        _epochs(run, epoch, several, shuffle, history, show, workers)
                        finished = True
                    else:
                        finished = _epoch(run, epoch, shuffle, validation, history, show, workers, interruption)
                    if not finished or interruption.asked:
                        history.interrupted = interruption.asked
                        break
                    epoch += several
            finally:
                with ExitStack() as ends:  # which goes on with the others where one raises
                    for callback in reversed(begun):
                        ends.callback(callback.on_train_end)
    except KeyboardInterrupt:
        history.interrupted = True
    if history.interrupted:
        epochs_done = len(history.get("loss", []))
        warnings.warn(f"training was interrupted after {epochs_done} whole epochs", RuntimeWarning, stacklevel=4)
    return history


def _attach(run: _Run, history: History, callbacks: list[Callback]) -> int:
    """Go on from the furthest of the checkpoints; returns the epoch to begin with."""
    found = [one for callback in callbacks if (one := callback.attach(run, history, callbacks)) is not None]
    if not found:
        return 0
    (epoch, _), go_on = max(found, key=lambda one: one[0])
    go_on()
    return epoch


def _epochs(run: _Run, first: int, count: int, shuffle: bool, history: History, show: Any, workers: Workers) -> None:
    """Some epochs that are too short to come back to Python for each."""
    begin = time.perf_counter()
    sums = run.epochs(count, shuffle, workers)
    run.network.epochs_trained += count - 1  # only the last can have broken what its own losses do not show
    run.check_parameters()
    run.network.epochs_trained += 1
    seconds = (time.perf_counter() - begin) / count
    rows = len(run.samples.X)
    for k in range(count):
        logs = _means(sums[k], run.loss)
        history.add(logs | {"seconds": seconds})
        show(first + k, logs, rows, rows, epoch_end=True)


def _epoch(
    run: _Run, epoch: int, shuffle: bool, validation: _Validation | None, history: History, show: Any,
    workers: Workers, interruption: _Interruption,
) -> bool:  # fmt: skip
    """One epoch and its validation; False when it was cut short."""
    network = run.network
    for callback in run.callbacks:
        callback.on_epoch_begin(epoch)
    begin = time.perf_counter()
    parts: list[np.ndarray] = []
    so_far = np.zeros((1, 4))
    batches = 0
    for state in run.epoch(shuffle, workers):
        interruption.begun = True
        parts.append(state.sums)
        so_far += state.sums.sum(0)
        batches += len(state.sums)
        if run.each_batch and not state.before:
            batch_logs = _means(state.sums, run.loss)
            for callback in run.callbacks:
                callback.on_batch_end(batches - 1, batch_logs)
        if not state.last:
            if interruption.asked or (run.each_batch and network.stop_training):
                return False
            show(epoch, _means(so_far, run.loss), state.done, state.total)
    run.check_parameters()
    logs = _means(np.concatenate(parts), run.loss)
    seconds = time.perf_counter() - begin
    network.epochs_trained += 1
    if validation is not None:
        logs |= {f"val_{name}": value for name, value in validation.figures().items()}
    history.add(logs | {"seconds": seconds})
    show(epoch, logs, state.done, state.done, epoch_end=True)
    for callback in run.callbacks:
        callback.on_epoch_end(epoch, dict(logs))
    return True
