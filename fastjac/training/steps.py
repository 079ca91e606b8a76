"""The steps of a training: some at a time, by one of three ways, to the same bits.

Where the network is one compiled plan, many steps run in one call; otherwise each goes through the layers from Python.
Batches that come from outside are taken one by one, by either way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fastjac.kernels.arrays import address_of, all_finite
from fastjac.kernels.checked import penalize
from fastjac.kernels.plan import AHEAD, NOT_FINITE, STEP, THE_GRADIENT
from fastjac.kernels.random import shuffle
from fastjac.nn.batch import Batch
from fastjac.nn.feed import Feed
from fastjac.nn.layers import Dense
from fastjac.nn.losses import Loss
from fastjac.nn.network import Network
from fastjac.nn.optimizers import Optimizer
from fastjac.nn.program import Batches, Learner
from fastjac.support.errors import NonFiniteError
from fastjac.support.workers import Workers
from fastjac.training.callbacks import Callback
from fastjac.training.interrupt import check_that_python_goes_on

_AS_BEFORE = "The network is as it was before that batch."
_ADVICE = "A smaller learning rate, clip_norm or scaled inputs usually help."
_SECONDS_A_CALL = 0.03  # how long compiled code runs before Python looks at Ctrl-C and the progress bar

Orders = Callable[[int, int], np.ndarray]  # of some epochs, from a number on: (epochs, rows) of indices of rows


class Progress(NamedTuple):
    """Some steps of an epoch."""

    sums: np.ndarray  # a row for each: losses, hits, weights, penalty
    done: int  # rows of this epoch so far
    total: int  # rows in it, 0 where nobody knows
    last: bool
    before: bool = False  # taken by an earlier process


class Steps:
    """The steps of one training, by the whole plan in compiled code or, where there is none, layer by layer."""

    goes_back = True  # whether the rows of any batch can be had again

    def __init__(
        self,
        network: Network,
        samples: Batch,
        loss: Loss,
        optimizer: Optimizer,
        batch_size: int,
        callbacks: list[Callback],
        threads: int | None,
        l1: float = 0.0,
        l2: float = 0.0,
        orders: Orders | None = None,
        goes_on: bool = False,
    ) -> None:
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
        self.learner = self._learner(l1, l2, goes_on)
        self._rates = np.empty(0)  # of some steps, where they are all the same
        self.threads = network.program.threads_for(self.batch_size, threads) if network.program else 1
        self.orders = orders
        self.order: np.ndarray | None = None  # of the rows in the epoch at hand
        self._seconds_a_step = 0.0
        self._batches: tuple[Batch, Batches] | None = None  # the samples, and how compiled code has them

    def _learner(self, l1: float, l2: float, goes_on: bool) -> Learner:
        """What compiled code learns by: that of the fit before, made of the same arrays and numbers, or a new one."""
        network, loss, optimizer = self.network, self.loss, self.optimizer
        state = optimizer.state(network)
        arrays = network._parameters, network._gradients, state.moments, state.counters
        code = loss.code(self.samples.labels)
        numbers = optimizer.rule, code, network._dropout_seed, l1, l2, self.each_batch, goes_on
        learner, state.learner = state.learner, None  # one training has it at a time: see ``end``
        if learner is not None and learner.is_made_of(arrays, numbers):
            learner.settings[:] = optimizer.settings_for(network)
            learner.set_loss_parameter(loss.parameter)
            return learner
        return Learner(
            network._parameters,
            network._gradients,
            state.moments,
            optimizer.settings_for(network),
            optimizer.rule,
            code,
            loss.parameter,
            network._dropout_seed,
            state.counters,
            l1,
            l2,
            keep_gradients=self.each_batch,  # a callback may look at them
            goes_on=goes_on,
        )

    def end(self) -> None:
        """The training has ended as it should: let the next one have what this one prepared."""
        self.optimizer.state(self.network).learner = self.learner

    def epoch(self, workers: Workers) -> Iterator[Progress]:
        """Take all steps of an epoch, some at a time."""
        rows = len(self.samples.X)
        orders = self._next_orders(1)
        self.order = None if orders is None else orders[0]
        self.position %= self.batches  # not 0 where a checkpoint was made within an epoch
        if self.position:
            yield Progress(self.sums[: self.position], self.position * self.batch_size, rows, False, True)
        while self.position < self.batches:
            first = self.position
            sums = self.steps(first, workers)
            self.position = done = first + len(sums)
            self.sums[first:done] = sums
            yield Progress(sums, min(done * self.batch_size, rows), rows, done == self.batches)

    def epochs_at_once(self, most: int) -> int:
        """How many whole epochs compiled code may run in a few hundredths of a second, where nobody looks between."""
        if not self.network.program or self._seconds_a_step == 0 or self.position % self.batches:
            return 1
        return max(1, min(most, int(_SECONDS_A_CALL / (self._seconds_a_step * self.batches))))

    def epochs(self, count: int, workers: Workers) -> np.ndarray:
        """Some whole epochs in one call, to the bit as one by one: (count, batches, 4) sums."""
        check_that_python_goes_on()
        steps, orders = count * self.batches, self._next_orders(count)
        rates = self._next_rates(steps)
        begin = time.perf_counter()
        rows = self._take(0, rates, workers, orders)
        self._seconds_a_step = (time.perf_counter() - begin) / steps
        if len(rows) < steps:
            done, batch = divmod(len(rows), self.batches)
            self.network.epochs_trained += done
            self.order = None if orders is None else orders[done]
            raise NonFiniteError(self._what_broke(batch))
        return rows.reshape(count, self.batches, 4)

    def _next_orders(self, count: int) -> np.ndarray | None:
        """The orders of the rows in the next epochs; None for the order in which they are.

        That is also that of a single batch, which has all rows in any order: nothing needs to be gathered. Whoever
        draws the orders still does, so that what is drawn later stays the same.
        """
        orders = None if self.orders is None else self.orders(self.network.epochs_trained, count)
        return orders if self.batches > 1 else None

    def steps(self, first: int, workers: Workers) -> np.ndarray:
        """Some steps from batch ``first`` on, as many as take a few hundredths of a second: a row of sums for each."""
        check_that_python_goes_on()
        count = self.batches - first
        if self.each_batch:
            count = 1
        elif self._seconds_a_step > 0:
            count = max(1, min(count, int(_SECONDS_A_CALL / self._seconds_a_step)))
        else:
            count = min(count, 4)  # the first steps tell how long one takes
        rates = self._next_rates(count)
        if self.callbacks:  # which may have changed momentum, weight_decay, clip_norm … since
            self.learner.settings[:] = self.optimizer.settings_for(self.network)
            self.learner.set_loss_parameter(self.loss.parameter)
        begin = time.perf_counter()
        rows = self._take(first, rates, workers, self.order)
        self._seconds_a_step = (time.perf_counter() - begin) / count
        if len(rows) < count:
            raise NonFiniteError(self._what_broke(first + len(rows)))
        return rows

    def _next_rates(self, count: int) -> np.ndarray:
        """The learning rates of the next steps; a rate that stays is written down once."""
        rate = self.optimizer.learning_rate
        if callable(rate):
            return self.optimizer.rates(int(self.learner.counters[STEP]), count)
        if len(self._rates) < count or self._rates[0] != rate:
            self._rates = np.full(count, rate)
        return self._rates[:count]

    def _take(self, first: int, rates: np.ndarray, workers: Workers, order: np.ndarray | None) -> np.ndarray:
        """A step for each of the rates, while nobody else uses the network: a row of sums for each that was taken.

        The steps of the optimizer are counted as the network's too.
        """
        network, counters = self.network, self.learner.counters
        self.samples.check("the next step")
        with network._lock:
            counters[AHEAD] = network._training_step - counters[STEP]
            try:
                if network.program:
                    return self._compiled(first, rates, workers, order)
                return self._by_layers(first, rates)
            finally:
                network._training_step = int(counters[AHEAD] + counters[STEP])

    def _compiled(self, first: int, rates: np.ndarray, workers: Workers, order: np.ndarray | None) -> np.ndarray:
        s = self.samples
        if self._batches is None or self._batches[0] is not s:  # a stream has others each time
            self._batches = s, Batches(s.X, s.labels, s.targets, s.weight, None, self.batch_size)
        batches = self._batches[1]
        batches.order = order
        assert self.network.program is not None
        return self.network.program.train(self.learner, batches, first, rates, self.threads, workers)

    def _rows_of(self, batch: int) -> slice | np.ndarray:
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
                self.loss,
                output,
                None if s.labels is None else s.labels[chosen],
                None if s.targets is None else s.targets[chosen],
                None if s.weight is None else s.weight[chosen],
                gradient,
            )
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
        as_before = (
            _AS_BEFORE
            if all_finite(self.network._parameters)
            else (
                "The parameters are not finite either: the batch before had a finite loss, and a step too large for"
                f" {self.network.dtype}."
            )
        )
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
        if not self.learner.goes_on and not all_finite(self.network._parameters):
            raise NonFiniteError(
                f"the parameters are not finite after epoch {self.network.epochs_trained}: a batch had a finite loss,"
                f" and a step too large for {self.network.dtype}. {_ADVICE}"
            )


class StreamSteps(Steps):
    """The steps of a training on batches that come from outside, one step each."""

    goes_back = False

    def __init__(
        self,
        network: Network,
        feed: Feed[Batch],
        loss: Loss,
        optimizer: Optimizer,
        callbacks: list[Callback],
        threads: int | None,
        l1: float,
        l2: float,
    ) -> None:
        super().__init__(network, feed.first, loss, optimizer, len(feed.first.X), callbacks, threads, l1, l2)
        self.feed = feed
        self._asked_threads = threads
        self._rows = 0  # in an epoch, once one has been gone through

    def epoch(self, workers: Workers) -> Iterator[Progress]:
        """Take all steps of an epoch, one at a time; the order is that of the batches."""
        done = 0
        batches = iter(self.feed)
        batch: Batch | None = next(batches)
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
            yield Progress(sums, done, self._rows or done * len(self.feed) // self.before, batch is None)


def shuffled(seed: int, rows: int) -> Orders:
    """The order of each epoch: a function of the seed and its number, so that a later fit goes on where this ends.

    Args:
        seed: 64 bits, such as ``Network.dropout_seed``.
    """

    def orders(first: int, count: int) -> np.ndarray:
        found = np.empty((count, rows), np.int64)
        shuffle(address_of(found), rows, seed, first, count)
        return found

    return orders
