"""A whole network in one compiled call, driven by a plan: forward, backward, and many steps of training.

The plan is a table of integers, one row an operation, so one compilation serves every architecture. Activations live
in scratch memory with padded rows. ``capacity`` is how many rows the scratch memory holds.

Gradients are called after what they are the gradient of: while ``backward`` walks down, ``d`` is the dZ of the
operation at hand, because whatever wrote it has already multiplied it with that operation's slope.

Threads share the work in one of two ways. Wide networks: all threads share the tiles of each product and meet after
it. Narrow networks with large batches: each thread sends chunks of rows through all layers alone, and the chunks'
gradients are added in the order of the chunks. Either way every number is computed in the same order by somebody, so
the bits do not depend on the number of threads, nor on which of the two ways was taken.
"""

from typing import Any, NamedTuple

import numpy as np

from . import dense, optimizers
from ._jit import inline, kernel
from .activations import activate, multiply_by_slope
from .counting import blocks, least, padded_row, share
from .dense import CHUNK, copy_rows
from .losses import loss_rows, softmax, softmax_backward
from .random import dropout_mask, key_of
from .simd import address, advance, doubles_at, get, integers_at, lanes, load_head, numbers_at, put, store_head
from .threads import FAILED, GO_ON, TURN, barrier, pass_turn, read, wait_for_turn, write

# Kinds of operation
DENSE, ACTIVATION, SOFTMAX, DROPOUT = 0, 1, 2, 3

# Columns of the plan. Offsets count numbers: WEIGHT and BIAS into the flat parameters; PACKED (W in panels)
# and TRANSPOSED (Wᵀ in panels) into the packed memory; VALUE and KEPT (what the slope needs besides the
# value, or a mask; -1 for none) into one row's share of the scratch memory.
KIND, INPUTS, OUTPUTS, STRIDE, CODE, WEIGHT, BIAS, PACKED, TRANSPOSED, VALUE, KEPT = range(11)
COLUMNS = 11

# Where training counts: optimizer steps ever, finished steps of this call, and whether a loss was not finite
STEP, DONE, NOT_FINITE = 0, 1, 2


class Plan(NamedTuple):
    """What to compute."""

    operations: Any  # (operations, COLUMNS) int64
    parameters: Any  # (operations,) float64: the activation's parameter or the dropout rate
    units: Any  # (4,) int64: one row's offsets of the gathered X, the two gradient buffers, the gathered targets


class Memory(NamedTuple):
    """Where to compute it: one thread's scratch memory, and what threads share."""

    scratch: Any  # (capacity · units,) numbers
    packed: Any  # packed weights, shared by threads
    zeros: Any  # one tile row of zeros
    scales: Any  # (capacity,) each row's share of the mean
    labels: Any  # (capacity,) int64
    row_sums: Any  # (2, capacity) float64: losses and hits of the rows
    capacity: int


GATHERED, GRADIENT, OTHER_GRADIENT, TARGETS = range(4)


@inline
def _at(memory, unit):
    """A matrix in the scratch memory."""
    return advance(address(memory.scratch), memory.capacity * unit)


@inline
def pack(plan, w, packed, need_transposed, part, parts):
    """Copy the weights to how the products read them: in panels, and transposed where that is needed."""
    for op in range(plan.operations.shape[0]):
        row = plan.operations[op]
        if row[KIND] == DENSE:
            weight = advance(w, row[WEIGHT])
            dense.pack(weight, advance(packed, row[PACKED]), row[INPUTS], row[OUTPUTS], part, parts)
            if need_transposed > 1 or (need_transposed == 1 and op > 0):
                place = advance(packed, row[TRANSPOSED])
                dense.pack_transposed(weight, place, row[INPUTS], row[OUTPUTS], part, parts)


@inline
def forward_block(plan, w, memory, x, x_row, x_column, n, dropout, key_seed, key_step, first_row, sync, part, parts):
    """All operations on n rows of X, every value kept in the scratch memory.

    ``first_row`` is the rows' place in the batch, which is what the dropout masks go by.
    """
    operations = plan.operations
    packed, zeros = address(memory.packed), address(memory.zeros)
    source, source_row, source_column = x, x_row, x_column
    for op in range(operations.shape[0]):
        row = operations[op]
        kind, o, stride = row[KIND], row[OUTPUTS], row[STRIDE]
        value = _at(memory, row[VALUE])
        kept = _at(memory, row[KEPT]) if row[KEPT] >= 0 else value
        p = plan.parameters[op]
        first, last = share(n, part, parts), share(n, part + 1, parts)
        above, line = advance(source, first * source_row), advance(value, first * stride)
        if kind == DENSE:
            bias = advance(w, row[BIAS]) if row[BIAS] >= 0 else zeros
            dense.forward(
                source, source_row, source_column, advance(packed, row[PACKED]), bias, 1 if row[BIAS] >= 0 else 0,
                kept, stride, value, stride, n, row[INPUTS], o, row[CODE], p, part, parts,
            )  # fmt: skip
        elif kind == ACTIVATION:
            activate(row[CODE], p, above, source_row, line, stride, last - first, o)
        elif kind == SOFTMAX:
            softmax(above, source_row, line, stride, last - first, o)
        elif dropout:
            key = key_of(key_seed, key_step, op)
            mask = advance(kept, -first_row * stride)
            dropout_mask(mask, stride, first_row + first, first_row + last, o, p, key)
            for r in range(first, last):
                _multiply(advance(source, r * source_row), advance(kept, r * stride), advance(value, r * stride), o)
        else:
            copy_rows(above, source_row, source_column, line, stride, last - first, o)
        barrier(sync, parts)
        source, source_row, source_column = value, stride, 1


@inline
def _multiply(a, b, c, count):
    """c = a·b, element by element."""
    for j in range(0, count, lanes(a)):
        tail = least(lanes(a), count - j)
        store_head(c, j, load_head(a, j, tail) * load_head(b, j, tail), tail)


@inline
def _slope_of(plan, memory, op, x, x_row):
    """What the slope of operation ``op`` is made of: code, parameter, z and a with their row strides.

    The code is that of the identity where the operation has no activation.
    """
    row = plan.operations[op]
    value, stride = _at(memory, row[VALUE]), row[STRIDE]
    code, p, z, z_row = 0, 0.0, value, stride
    if row[KIND] == DENSE or row[KIND] == ACTIVATION:
        code, p = row[CODE], plan.parameters[op]
        if row[KEPT] >= 0:
            z = _at(memory, row[KEPT])
        elif row[KIND] == ACTIVATION:  # its input is the value below
            z, z_row = x, x_row
            if op > 0:
                z, z_row = _at(memory, plan.operations[op - 1, VALUE]), plan.operations[op - 1, STRIDE]
    return code, p, z, z_row, value, stride


@inline
def apply_slope(plan, memory, op, x, x_row, d, d_row, first, last):
    """D ⊙ f'(Z) of operation ``op``, in place, for some rows; nothing where it has no activation."""
    code, p, z, z_row, a, a_row = _slope_of(plan, memory, op, x, x_row)
    multiply_by_slope(
        code, p, advance(z, first * z_row), z_row, advance(a, first * a_row), a_row, advance(d, first * d_row), d_row,
        last - first, plan.operations[op, OUTPUTS],
    )  # fmt: skip


@inline
def backward_block(plan, memory, x, x_row, x_column, n, dropout, g, add, input_gradient, sync, part, parts):
    """From the dZ of the last operation, in the scratch memory, to all parameter gradients in the flat ``g``.

    Returns the unit of the buffer that holds dX, of which only ``input_gradient`` makes sense.
    """
    operations = plan.operations
    packed, zeros = address(memory.packed), address(memory.zeros)
    here, there = plan.units[GRADIENT], plan.units[OTHER_GRADIENT]
    for back in range(operations.shape[0]):
        op = operations.shape[0] - 1 - back
        row = operations[op]
        kind, i, o, stride = row[KIND], row[INPUTS], row[OUTPUTS], row[STRIDE]
        d = _at(memory, here)
        first, last = share(n, part, parts), share(n, part + 1, parts)
        below_stride = operations[op - 1, STRIDE] if op > 0 else padded_row(i)
        if kind == DENSE:
            source, source_row, source_column = x, x_row, x_column
            if op > 0:
                source, source_row, source_column = _at(memory, operations[op - 1, VALUE]), below_stride, 1
            bias = advance(g, row[BIAS]) if row[BIAS] >= 0 else g
            dense.backward_parameters(
                source, source_row, source_column, d, stride, advance(g, row[WEIGHT]), bias, 1 if row[BIAS] >= 0 else 0,
                n, i, o, add, zeros, part, parts,
            )  # fmt: skip
            if op > 0 or input_gradient != 0:
                dx = _at(memory, there)
                code, p, z, z_row, value, value_row = 0, 0.0, dx, below_stride, dx, below_stride
                if op > 0:
                    code, p, z, z_row, value, value_row = _slope_of(plan, memory, op - 1, x, x_row)
                dense.backward_input(
                    d, stride, advance(packed, row[TRANSPOSED]), dx, below_stride, n, i, o,
                    code, p, z, z_row, value, value_row, zeros, part, parts,
                )  # fmt: skip
                here, there = there, here
        else:
            line = advance(d, first * stride)
            if kind == SOFTMAX:
                softmax_backward(
                    advance(_at(memory, row[VALUE]), first * stride), stride, line, stride, last - first, o
                )
            elif kind == DROPOUT and dropout:
                mask = _at(memory, row[KEPT])
                for r in range(first, last):
                    _multiply(advance(d, r * stride), advance(mask, r * stride), advance(d, r * stride), o)
            if op > 0:
                apply_slope(plan, memory, op - 1, x, x_row, d, stride, first, last)
        barrier(sync, parts)
    return here


@kernel
def predict(plan, parameters, memory, x_place, x_row, x_column, n, out_place, sync, part, parts):
    """Forward without dropout, chunk by chunk, into ``out`` (n, outputs), contiguous; -0.0 is written as +0.0."""
    w, packed = address(parameters), address(memory.packed)
    x, out = numbers_at(x_place, w), numbers_at(out_place, w)
    last_row = plan.operations[plan.operations.shape[0] - 1]
    outputs = last_row[OUTPUTS]
    pack(plan, w, packed, 0, part, parts)
    barrier(sync, parts)
    for chunk in range(part, blocks(n, memory.capacity), parts):
        first = chunk * memory.capacity
        rows = least(memory.capacity, n - first)
        forward_block(plan, w, memory, advance(x, first * x_row), x_row, x_column, rows, False, 0, 0, 0, sync, 0, 1)
        write_rows(_at(memory, last_row[VALUE]), last_row[STRIDE], advance(out, first * outputs), rows, outputs)


@inline
def write_rows(source, source_row, out, rows, columns):
    """Rows without padding, and -0.0, our mark of a dead unit, as the +0.0 that a user expects."""
    for r in range(rows):
        line, place = advance(source, r * source_row), advance(out, r * columns)
        for j in range(0, columns, lanes(out)):
            tail = least(lanes(out), columns - j)
            store_head(place, j, load_head(line, j, tail) + 0.0, tail)


@kernel
def forward(plan, parameters, memory, x_place, x_row, x_column, n, out_place, dropout, seed, step, sync):
    """Forward of one batch with every value kept for ``backward``; the result into ``out``."""
    w = address(parameters)
    x, out = numbers_at(x_place, w), numbers_at(out_place, w)
    pack(plan, w, address(memory.packed), 2, 0, 1)
    forward_block(plan, w, memory, x, x_row, x_column, n, dropout, seed, step, 0, sync, 0, 1)
    last_row = plan.operations[plan.operations.shape[0] - 1]
    write_rows(_at(memory, last_row[VALUE]), last_row[STRIDE], out, n, last_row[OUTPUTS])


@kernel
def backward(plan, memory, x_place, x_row, x_column, n, d_place, d_row, d_column, gradients, dx_place, dropout, sync):
    """From dA of the last operation (n, outputs) to the flat gradients and dX (n, inputs), after ``forward``."""
    g = address(gradients)
    x = numbers_at(x_place, g)
    last_op = plan.operations.shape[0] - 1
    o, stride = plan.operations[last_op, OUTPUTS], plan.operations[last_op, STRIDE]
    d = _at(memory, plan.units[GRADIENT])
    copy_rows(numbers_at(d_place, g), d_row, d_column, d, stride, n, o)
    apply_slope(plan, memory, last_op, x, x_row, d, stride, 0, n)
    unit = backward_block(plan, memory, x, x_row, x_column, n, dropout, g, 0, 1, sync, 0, 1)
    i = plan.operations[0, INPUTS]
    copy_rows(_at(memory, unit), padded_row(i), 1, numbers_at(dx_place, g), i, n, i)


class Data(NamedTuple):
    """What to learn from. Addresses and strides: any layout of X is one compilation. 0 for what there is none of."""

    x: int  # X (samples, inputs), with its strides in numbers
    x_row: int
    x_column: int
    labels: int  # (samples,) int64
    targets: int  # (samples, outputs), contiguous
    weights: int  # (samples,) float64
    order: int  # (samples,) int64: which sample comes when
    samples: int
    batch_size: int
    gather: int  # copy the rows of a chunk together first: they are shuffled, or the first operation is not dense


class Learning(NamedTuple):
    """What changes while learning, and how."""

    parameters: Any  # (count,) numbers
    gradients: Any  # (count,)
    partial: Any  # (count,) this thread's gradient of one chunk
    work: Any  # (losses.WORK,) this thread's scratch memory for the loss
    state: Any  # (states · count,) of the optimizer
    rates: Any  # (steps,) float64: the learning rate of each step of this call
    settings: Any  # (optimizers.SETTINGS,) float64
    counters: Any  # (3,) int64: STEP, DONE, NOT_FINITE
    results: Any  # (steps, 3) float64: weighted loss, weighted hits, sum of weights of each step
    chunk_sums: Any  # (chunks of a batch, 2) float64
    rule: int
    loss: int
    loss_parameter: float
    seed: int


@inline
def _sample(data, position):
    return get(integers_at(data.order), position) if data.order != 0 else position


@inline
def _weight_of(data, position):
    return get(doubles_at(data.weights), _sample(data, position)) if data.weights != 0 else 1.0


@inline
def _train_chunk(plan, memory, learning, data, x, begin, chunk, n, weight_sum, g, add, sync, part, parts):
    """Forward, loss and backward of one chunk of a batch, into ``g``."""
    w = address(learning.parameters)
    place = begin + chunk * CHUNK
    first, last = share(n, part, parts), share(n, part + 1, parts)
    last_op = plan.operations.shape[0] - 1
    o, stride = plan.operations[last_op, OUTPUTS], plan.operations[last_op, STRIDE]
    labels, scales = address(memory.labels), address(memory.scales)
    targets, target_row = _at(memory, plan.units[TARGETS]), padded_row(o)
    source, source_row, source_column = advance(x, place * data.x_row), data.x_row, data.x_column
    i = plan.operations[0, INPUTS]
    if data.gather != 0:
        source, source_row, source_column = _at(memory, plan.units[GATHERED]), padded_row(i), 1
    for r in range(first, last):
        sample = _sample(data, place + r)
        weight = _weight_of(data, place + r)
        put(scales, r, weight / weight_sum if weight_sum > 0.0 else 0.0)
        put(labels, r, get(integers_at(data.labels), sample) if data.labels != 0 else 0)
        if data.targets != 0:
            given = advance(numbers_at(data.targets, w), sample * o)
            copy_rows(given, o, 1, advance(targets, r * target_row), target_row, 1, o)
        if data.gather != 0:
            given = advance(x, sample * data.x_row)
            copy_rows(given, data.x_row, data.x_column, advance(source, r * source_row), source_row, 1, i)
    barrier(sync, parts)
    step = learning.counters[STEP]
    forward_block(
        plan,
        w,
        memory,
        source,
        source_row,
        source_column,
        n,
        True,
        learning.seed,
        step,
        chunk * CHUNK,
        sync,
        part,
        parts,
    )
    d = _at(memory, plan.units[GRADIENT])
    sums = memory.row_sums
    loss_rows(
        learning.loss, learning.loss_parameter, _at(memory, plan.operations[last_op, VALUE]), stride, labels, targets,
        target_row, scales, d, stride, address(sums), advance(address(sums), memory.capacity), first, last, o,
        address(learning.work),
    )  # fmt: skip
    apply_slope(plan, memory, last_op, source, source_row, d, stride, first, last)
    barrier(sync, parts)
    if part == 0:
        loss, hits = 0.0, 0.0
        for r in range(n):
            weight = _weight_of(data, place + r)
            if weight != 0.0:  # a sample without weight says nothing, not even NaN
                loss += weight * sums[0, r]
                hits += weight * sums[1, r]
        learning.chunk_sums[chunk, 0] = loss
        learning.chunk_sums[chunk, 1] = hits
    backward_block(plan, memory, source, source_row, source_column, n, True, g, add, 0, sync, part, parts)


@kernel
def train(plan, memory, learning, data, first_batch, steps, by_rows, sync, part, parts):
    """``steps`` batches from number ``first_batch`` of this epoch on: forward, loss, backward and update of each.

    Every thread runs this with its own ``part``; each has its own scratch memory when ``by_rows``.
    Ends early, before the update, when a batch's loss is not finite.
    """
    w, g = address(learning.parameters), address(learning.gradients)
    count = learning.parameters.shape[0]
    x = numbers_at(data.x, w)
    for done in range(steps):
        begin = (first_batch + done) * data.batch_size
        n = least(data.batch_size, data.samples - begin)
        chunks = blocks(n, CHUNK)
        weight_sum = float(n)
        if data.weights != 0:
            weight_sum = 0.0
            for r in range(n):
                weight_sum += _weight_of(data, begin + r)
        if part == 0:
            write(sync, TURN, 0)
        pack(plan, w, address(memory.packed), 1, part, parts)
        barrier(sync, parts)
        if by_rows != 0 and parts > 1:
            own = address(learning.partial)
            for chunk in range(part, chunks, parts):
                rows = least(CHUNK, n - chunk * CHUNK)
                _train_chunk(plan, memory, learning, data, x, begin, chunk, rows, weight_sum, own, 0, sync, 0, 1)
                wait_for_turn(sync, chunk)
                _add_gradient(g, own, count, chunk)
                pass_turn(sync, chunk)
            barrier(sync, parts)
        else:
            for chunk in range(chunks):
                rows = least(CHUNK, n - chunk * CHUNK)
                _train_chunk(
                    plan, memory, learning, data, x, begin, chunk, rows, weight_sum, g, chunk, sync, part, parts
                )
        if read(sync, FAILED) != 0:
            return
        if part == 0:
            loss, hits = 0.0, 0.0
            for chunk in range(chunks):
                loss += learning.chunk_sums[chunk, 0]
                hits += learning.chunk_sums[chunk, 1]
            learning.results[done, 0] = loss
            learning.results[done, 1] = hits
            learning.results[done, 2] = weight_sum
            write(sync, GO_ON, 1 if np.isfinite(loss) else 0)
        barrier(sync, parts)
        if read(sync, GO_ON) == 0:
            if part == 0:
                learning.counters[NOT_FINITE] = 1
            return
        factor = 1.0
        if learning.settings[optimizers.CLIP_NORM] > 0.0:
            factor = optimizers.clip_factor(optimizers.norm(g, count), learning.settings[optimizers.CLIP_NORM])
        unit = 16 * lanes(w)
        first = least(count, share(blocks(count, unit), part, parts) * unit)
        last = least(count, share(blocks(count, unit), part + 1, parts) * unit)
        optimizers.update(
            learning.rule, w, g, address(learning.state), count, first, last, learning.rates[done],
            learning.settings, factor, learning.counters[STEP] + 1,
        )  # fmt: skip
        barrier(sync, parts)
        if part == 0:
            learning.counters[STEP] += 1
            learning.counters[DONE] += 1
        barrier(sync, parts)


@inline
def _add_gradient(g, partial, count, chunk):
    """g = partial for the first chunk, g += partial for the others."""
    for j in range(0, count, lanes(g)):
        tail = least(lanes(g), count - j)
        value = load_head(partial, j, tail)
        if chunk > 0:
            value = load_head(g, j, tail) + value
        store_head(g, j, value, tail)
