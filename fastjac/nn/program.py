"""A network of built-in layers as a plan that the compiled kernels run whole.

``Program`` lays out the plan and the scratch memory, and turns arrays into the addresses that kernels take. It checks
nothing: whoever calls has checked shapes, types and ranges, and keeps the arrays alive during the call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from fastjac.kernels import activations, losses, network, optimizers, training
from fastjac.kernels import plan as plans
from fastjac.kernels.arrays import address_of, aligned, strides
from fastjac.kernels.blocking import CHUNK, LOSS_WORK, ZEROS
from fastjac.kernels.checked import kernel_parameter
from fastjac.kernels.counting import padded_row
from fastjac.kernels.learning import learn_memory
from fastjac.kernels.plan import Table
from fastjac.kernels.rounded import words_memory
from fastjac.kernels.threads import STATE_SIZE
from fastjac.nn.activations import IDENTITY, ActivationFunction
from fastjac.support.cores import threads_at_most
from fastjac.support.workers import Workers

# Multiply-adds of a step from which threads pay. Measured on two cores, one thread and two: 3.3 million (64-128-64-10,
# batch 64) 36 and 55 µs, 20 million (784-128-10, batch 64) 177 and 135 µs, where the threads meet after every product.
# By rows, where each takes whole chunks of rows alone, they meet less often.
LEAST_WORK_TOGETHER = 15_000_000
LEAST_WORK_BY_ROWS = 10_000_000

_AS_IT_IS = Table(plans.Given, at=0, row=0, column=0)


_TOLD = {None: None, "bfloat16": 1}  # of products, what kernels are told


class Operation(NamedTuple):
    """One row of a plan, before offsets are known. ``weight`` and ``bias`` are offsets in the flat parameters: a bias
    follows its weights."""

    kind: int
    inputs: int
    outputs: int
    activation: ActivationFunction = IDENTITY
    weight: int = 0
    bias: int = -1
    rate: float = 0.0


class _Memory:
    """Scratch memory of one thread, and its table."""

    def __init__(self, capacity: int, **arrays: np.ndarray) -> None:
        self.arrays, self.capacity = arrays, capacity
        self._table = Table(plans.Memory, **arrays, capacity=capacity)
        self.address = self._table.address

    def with_panel(self, panel: np.ndarray) -> _Memory:
        """The same memory, but for a panel of its own."""
        return _Memory(self.capacity, **(self.arrays | {"panel": panel}))


@dataclass
class Batches:
    """What ``Program.train`` learns from; arrays already in the form kernels take."""

    X: np.ndarray
    labels: np.ndarray | None
    targets: np.ndarray | None
    weights: np.ndarray | None
    order: np.ndarray | None  # indices of rows, an epoch after the other; may be replaced
    batch_size: int
    _table: Table | None = None

    def table(self, gathers: bool) -> Table:
        """As kernels take it. ``gathers``: whether the network's first operation needs its rows together."""
        gather = int(gathers or self.order is not None)
        if self._table is None:
            row, column = strides(self.X)
            self._table = Table(
                plans.Data,
                x=self.X,
                x_row=row,
                x_column=column,
                labels=self.labels,
                targets=self.targets,
                weights=self.weights,
                order=self.order,
                samples=len(self.X),
                batch_size=self.batch_size,
                gather=gather,
            )
        else:
            self._table["order"], self._table["gather"] = self.order, gather
        return self._table


@dataclass
class Learner:
    """The numbers that training changes, and its settings."""

    parameters: np.ndarray
    gradients: np.ndarray
    state: np.ndarray
    settings: np.ndarray
    rule: int
    loss: int
    loss_parameter: float
    seed: int
    counters: np.ndarray = field(default_factory=lambda: np.zeros(plans.COUNTERS, np.int64))
    l1: float = 0.0
    l2: float = 0.0
    keep_gradients: bool = False
    goes_on: bool = False  # after a loss that is not finite
    # made by ``Program.train``, of what is above
    partials: list[np.ndarray] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    chunk_sums: np.ndarray = field(default_factory=lambda: np.zeros(0))
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def is_made_of(self, arrays: tuple[np.ndarray, ...], numbers: tuple[float, ...]) -> bool:
        """Whether it learns in these very arrays, the first four, and by these numbers."""
        own = self.parameters, self.gradients, self.state, self.counters
        by = self.rule, self.loss, self.seed, self.l1, self.l2, self.keep_gradients, self.goes_on
        return numbers == by and all(map(operator.is_, arrays, own))

    def unfused(self, largest: int) -> bool:
        """Whether a step of so many rows may keep its gradient, as ``training._train`` decides, or pay a penalty."""
        penalized = self.l1 != 0.0 or self.l2 != 0.0
        return largest > CHUNK or self.keep_gradients or penalized or bool(self.settings[optimizers.CLIP_NORM] > 0.0)

    def set_loss_parameter(self, value: float) -> None:
        """From the next step on."""
        self.loss_parameter = self.numbers[plans.LOSS_PARAMETER] = value


class Program:
    """The plan of one network, and the memory it runs in."""

    def __init__(self, operations: list[Operation], dtype: np.dtype, products: str | None = None) -> None:
        self.dtype = np.dtype(dtype)
        self._products = _TOLD[products]
        self.inputs = operations[0].inputs
        self.outputs = operations[-1].outputs
        table = np.zeros((len(operations), plans.COLUMNS), np.int64)
        units = 0
        for row, operation in zip(table, operations, strict=True):
            stride = padded_row(operation.outputs)
            assert operation.bias in (-1, operation.weight + operation.inputs * operation.outputs)  # see ``learn``
            row[plans.KIND] = operation.kind
            row[plans.INPUTS] = operation.inputs
            row[plans.OUTPUTS] = operation.outputs
            row[plans.STRIDE] = stride
            row[plans.WEIGHT] = operation.weight
            row[plans.BIAS] = operation.bias
            row[plans.KEPT] = -1
            row[plans.VALUE], units = units, units + stride
            keeps_input = operation.kind == plans.DENSE and operation.activation.needs_input
            if keeps_input or operation.kind == plans.DROPOUT:
                row[plans.KEPT], units = units, units + stride
        widest = max(padded_row(max(o.inputs, o.outputs)) for o in operations)
        self.gathered = gathered = units
        targets = gathered + padded_row(self.inputs)
        gradient = targets + padded_row(self.outputs)
        self._units = gradient + 3 * widest
        numbers, words = max(learn_memory(o.outputs) for o in operations), (words_memory(*o[1:3]) for o in operations)
        sizes: dict[str | None, tuple[int, np.dtype]] = {
            None: (numbers, self.dtype),
            "bfloat16": (max(words), np.dtype(np.uint32)),
        }
        self._panel = partial(aligned, *sizes[products])
        self._multiply_adds = sum(3 * o.inputs * o.outputs for o in operations if o.kind == plans.DENSE)
        self._parameters = sum((o.inputs + 1) * o.outputs for o in operations if o.kind == plans.DENSE)
        self._gathers = operations[0].kind != plans.DENSE
        self.operations = table
        self._activations = [o.activation.code for o in operations]
        self._ready = False
        self._unfused = np.zeros(3, np.int64)
        self.numbers = np.array([self._number_of(o) for o in operations])
        self.plan = Table(
            plans.Plan,
            operations=table,
            length=len(table),
            parameters=self.numbers,
            gathered=gathered,
            targets=targets,
            gradient=gradient,
            width=widest,
            unfused=self._unfused,
        )
        self._usual = np.empty((0, 0), self.dtype)
        self._sync = np.zeros(STATE_SIZE, np.int64)
        self._zeros = aligned(ZEROS, self.dtype)
        self._chunk_memory: list[_Memory] = []
        self._shared: list[_Memory] = []
        self._loss_work: list[np.ndarray] = []  # of each thread
        self._batch_memory: _Memory | None = None

    def _make_ready(self) -> None:
        """Compile the network's activations, or load them: not before the network is run."""
        for row, code in zip(self.operations, self._activations, strict=True):
            match row[plans.KIND]:
                case plans.DENSE:
                    row[plans.CODE] = activations.compiled_or_none(code, self.dtype)
                case plans.ACTIVATION:
                    row[plans.CODE] = activations.compiled(code, self.dtype)
                case plans.SOFTMAX:
                    row[plans.CODE] = losses.compiled_softmax(self.dtype)
                case plans.DROPOUT:
                    row[plans.CODE] = network.compiled_dropout(self.dtype)
        self._ready = True

    def _make_ready_unfused(self) -> None:
        """The same of what only steps need that keep their gradient, or pay a penalty."""
        if not self._unfused.all():
            self._unfused[plans.BACKWARD_PARAMETERS] = network.backward_parameters.address(self.dtype)
            self._unfused[plans.UPDATE] = training.update.address(self.dtype)
            self._unfused[plans.PENALTY] = training.penalty.address(self.dtype)

    def _number_of(self, operation: Operation) -> float:
        """What an operation's kernel takes besides its code: a rate, or its activation's parameter."""
        if operation.kind == plans.DROPOUT:
            return operation.rate
        number = kernel_parameter(operation.activation.name, operation.activation.parameter, self.dtype)
        if operation.activation.name == "relu" and number != 0.0:
            # the least z that is alive: while a network runs, what is less than this is taken for 0
            return float(np.finfo(self.dtype).tiny)
        return number

    def _memory(self, capacity: int) -> _Memory:
        return _Memory(
            capacity,
            scratch=aligned(capacity * self._units, self.dtype),
            panel=self._panel(),
            zeros=self._zeros,
            scales=aligned(capacity, self.dtype),
            labels=np.zeros(capacity, np.int64),
            row_sums=np.zeros((2, capacity)),
            sync=self._sync,
        )

    def _memories(self, count: int) -> list[_Memory]:
        while len(self._chunk_memory) < count:
            self._chunk_memory.append(self._memory(CHUNK))
        return self._chunk_memory[:count]

    def _shared_memory(self, count: int) -> list[_Memory]:
        """One memory for some threads, but for what each has of its own."""
        (first,) = self._memories(1)
        if not self._shared:
            self._shared.append(first)
        while len(self._shared) < count:
            self._shared.append(first.with_panel(self._panel()))
        return self._shared[:count]

    def _given(self, array: np.ndarray) -> tuple[np.ndarray, Table]:
        """A matrix as kernels take it: itself, or another and where it is, if it is not of the usual kind."""
        flags = array.flags
        if flags.c_contiguous and flags.writeable:
            return array, _AS_IT_IS
        row, column = strides(array)
        return self._usual, Table(plans.Given, at=address_of(array), row=row, column=column)

    def readable(self, X: np.ndarray) -> np.ndarray:
        """Only a dense layer reads its input with any strides."""
        return np.ascontiguousarray(X) if self._gathers else X

    def predict(self, parameters: np.ndarray, X: np.ndarray, threads: int | None = 1) -> np.ndarray:
        """The network's output for the rows of X, without dropout. threads: at most, as ``threads_for`` takes them."""
        if not self._ready:
            self._make_ready()
        if self._gathers:
            X = self.readable(X)
        rows = len(X)
        out = np.empty((rows, self.outputs), self.dtype)
        array, given = self._given(X)
        if rows <= CHUNK:  # at once: a single row takes less time than what is below
            memory = (self._chunk_memory or self._memories(1))[0]
            network.predict(
                parameters, self.plan.address, memory.address, array, given.address, out, 0, 1, self._products
            )
            return out
        threads = min(self.threads_for(rows, threads), -(-rows // CHUNK))
        memories = self._memories(threads)

        def part_of(part: int, out: np.ndarray = out) -> None:
            network.predict(
                parameters,
                self.plan.address,
                memories[part].address,
                array,
                given.address,
                out,
                part,
                threads,
                self._products,
            )

        if threads == 1:
            part_of(0)
            return out
        part_of(0, out[:0])  # see ``train``
        with Workers() as workers:
            workers.run(threads, part_of, self._sync)
        return out

    def prepared(self, parameters: np.ndarray, X: np.ndarray, out: np.ndarray) -> Callable[[], None]:
        """What predicts X into ``out`` on one thread, whenever it is called: arrays of ours, contiguous and apart."""
        self._make_ready()
        memory = self._memories(1)[0]
        given = parameters, self.plan.address, memory.address, X, _AS_IT_IS.address, out, 0, 1, self._products

        def run() -> None:
            network.predict(*given)

        return run

    def forward(self, parameters: np.ndarray, X: np.ndarray, dropout: bool, seed: int, step: int) -> np.ndarray:
        """The output for one batch, with every value kept for ``backward``. X must stay as it is until then."""
        if not self._ready:
            self._make_ready()
        rows = len(X)
        if self._batch_memory is None or self._batch_memory.capacity < rows:
            self._batch_memory = self._memory(rows)
        out = np.empty((rows, self.outputs), self.dtype)
        memory, (array, given) = self._batch_memory.address, self._given(X)
        tables = self.plan.address, memory
        network.forward(parameters, *tables, array, given.address, out, dropout, seed, step, self._products)
        return out

    def backward(
        self, parameters: np.ndarray, X: np.ndarray, d: np.ndarray, gradients: np.ndarray, dropout: bool
    ) -> np.ndarray:
        """Fill the flat gradients from dA of the output, after ``forward`` of the same X; returns dX."""
        assert self._batch_memory is not None
        self._make_ready_unfused()
        dX = np.empty((len(X), self.inputs), self.dtype)
        (x, given), (above, d_given) = self._given(X), self._given(d)  # X and d stay, whose memory the tables name
        tables = self.plan.address, self._batch_memory.address
        given_d = above, d_given.address
        network.backward(parameters, *tables, x, given.address, *given_d, gradients, dX, dropout, self._products)
        return dX

    def threads_for(self, batch_size: int, threads: int | None) -> int:
        """How many threads to use for batches of this size: as asked or as there are, but one where more do not pay."""
        work = self._multiply_adds * batch_size
        if work < min(LEAST_WORK_BY_ROWS, LEAST_WORK_TOGETHER):
            return 1
        available = threads_at_most(threads)
        enough = LEAST_WORK_BY_ROWS if self._by_rows(batch_size, available) else LEAST_WORK_TOGETHER
        return available if work >= enough else 1

    def _by_rows(self, batch_size: int, threads: int) -> bool:
        """Whether each thread takes chunks of rows alone: there are enough, and their gradients are cheap to add."""
        chunks = -(-batch_size // CHUNK)
        return chunks >= 2 * threads and self._parameters * 8 <= CHUNK * self._multiply_adds // 3

    def train(
        self,
        learner: Learner,
        batches: Batches,
        first_batch: int,
        rates: np.ndarray,
        threads: int,
        workers: Workers,
    ) -> np.ndarray:
        """One step for each of ``rates``, from batch ``first_batch`` of the epoch on.

        Returns a row for each finished step: weighted sum of losses, of hits, the sum of weights, and the
        penalty on weights. Fewer rows than rates means that the loss or the gradient of the next batch was not finite:
        ``learner.counters`` says which.
        """
        if not self._ready:
            self._make_ready()
        steps = len(rates)
        X = batches.X
        data = batches.table(self._gathers)
        largest = min(batches.batch_size, len(X))
        chunks = -(-largest // CHUNK)
        by_rows = self._by_rows(largest, threads)
        if learner.unfused(largest):
            self._make_ready_unfused()
        memories = self._memories(threads) if by_rows else self._shared_memory(threads)
        results = np.zeros((steps, 4))
        if len(learner.tables) != threads or learner.chunk_sums.size != 2 * chunks:
            self._prepare(learner, threads, by_rows, chunks)
        for table in learner.tables:
            table["rates"], table["results"] = rates, results
        learner.counters[plans.DONE] = learner.counters[plans.NOT_FINITE] = 0

        def part_of(part: int, steps: int = steps) -> None:
            tables = self.plan.address, memories[part].address, learner.tables[part].address, data.address
            training.train(learner.parameters, *tables, first_batch, steps, int(by_rows), part, threads, self._products)

        if threads > 1:
            # no step: load the kernel here, which takes a stack that other threads may not have, and memory that may
            # not be there, before anyone waits for anyone
            part_of(0, steps=0)
        workers.run(threads, part_of, self._sync)
        return results[: learner.counters[plans.DONE]]

    def _prepare(self, learner: Learner, threads: int, by_rows: bool, chunks: int) -> None:
        """Each thread's table of what a learner changes, and its own memory for it."""
        count = learner.parameters.size
        learner.chunk_sums = np.zeros(2 * chunks)
        learner.numbers = np.array([learner.l1, learner.l2, learner.loss_parameter, float(learner.goes_on)])
        apart = by_rows and threads > 1
        learner.partials = [aligned(count, self.dtype) for _ in range(threads)] if apart else []
        while len(self._loss_work) < threads:
            self._loss_work.append(aligned(LOSS_WORK, self.dtype))
        learner.tables = [
            Table(
                plans.Learning,
                gradients=learner.gradients,
                partial=learner.partials[part] if apart else None,
                work=self._loss_work[part],
                state=learner.state,
                rates=None,  # new at every call, as the results
                settings=learner.settings,
                numbers=learner.numbers,
                counters=learner.counters,
                results=None,
                chunk_sums=learner.chunk_sums,
                size=count,
                rule=optimizers.compiled(learner.rule, self.dtype),
                loss=losses.compiled(learner.loss, self.outputs, self.dtype),
                seed=learner.seed,
                keep_gradients=int(learner.keep_gradients),
            )
            for part in range(threads)
        ]
