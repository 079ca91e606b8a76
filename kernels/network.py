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

import numpy as np

from . import dense, optimizers
from ._jit import inline, kernel
from .activations import activate, multiply_by_slope
from .blocking import CHUNK, UPDATE_VECTORS
from .counting import blocks, least, padded_row, share
from .gemm import copy_rows
from .losses import loss_rows, softmax, softmax_backward
from .plan import (
    ACTIVATION,
    AHEAD,
    BIAS,
    CODE,
    COLUMNS,
    DENSE,
    DONE,
    DROPOUT,
    GOES_ON,
    INPUTS,
    KEPT,
    KIND,
    L1,
    L2,
    LOSS_PARAMETER,
    NOT_FINITE,
    OUTPUTS,
    SOFTMAX,
    STEP,
    STRIDE,
    THE_GRADIENT,
    THE_LOSS,
    VALUE,
    WEIGHT,
    Data,
    Learning,
    Memory,
    Plan,
    reader,
)
from .random import dropout_mask, key_of
from .simd import (
    address,
    advance,
    doubles_at,
    flush_subnormals,
    get,
    integers_at,
    lanes,
    load_head,
    numbers_at,
    put,
    restore_subnormals,
    store_head,
)
from .threads import FAILED, TURN, barrier, pass_turn, read, wait_for_turn, write

_plan_at, _memory_at, _data_at, _learning_at = (reader(kind) for kind in (Plan, Memory, Data, Learning))


@inline
def _row(plan, op):
    """One operation: the columns of the plan."""
    return advance(plan.operations, op * COLUMNS)


@inline
def _gradient(plan, memory, turn):
    """One of the three buffers for gradients."""
    return _at(memory, plan.gradient + turn * plan.width)


@inline
def _at(memory, unit):
    """A matrix in the scratch memory."""
    return advance(memory.scratch, memory.capacity * unit)


@inline
def forward_block(plan, w, memory, x, x_row, x_column, n, dropout, key_seed, key_step, first_row, sync, part, parts):
    """All operations on n rows of X, every value kept in the scratch memory.

    ``first_row`` is the rows' place in the batch, which is what the dropout masks go by.
    """
    panel, zeros = memory.panel, memory.zeros
    source, source_row, source_column = x, x_row, x_column
    for op in range(plan.length):
        row = _row(plan, op)
        kind, o, stride = row[KIND], row[OUTPUTS], row[STRIDE]
        value = _at(memory, row[VALUE])
        kept = _at(memory, row[KEPT]) if row[KEPT] >= 0 else value
        p = plan.parameters[op]
        first, last = share(n, part, parts), share(n, part + 1, parts)
        above, line = advance(source, first * source_row), advance(value, first * stride)
        if kind == DENSE:
            bias = advance(w, row[BIAS]) if row[BIAS] >= 0 else zeros
            dense.forward(
                source, source_row, source_column, advance(w, row[WEIGHT]), bias, 1 if row[BIAS] >= 0 else 0,
                kept, stride, value, stride, n, row[INPUTS], o, row[CODE], p, panel, part, parts,
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
    row = _row(plan, op)
    value, stride = _at(memory, row[VALUE]), row[STRIDE]
    code, p, z, z_row = 0, 0.0, value, stride
    if row[KIND] == DENSE or row[KIND] == ACTIVATION:
        code, p = row[CODE], plan.parameters[op]
        if row[KEPT] >= 0:
            z = _at(memory, row[KEPT])
        elif row[KIND] == ACTIVATION:  # its input is the value below
            z, z_row = x, x_row
            if op > 0:
                z, z_row = _at(memory, _row(plan, op - 1)[VALUE]), _row(plan, op - 1)[STRIDE]
    return code, p, z, z_row, value, stride


@inline
def apply_slope(plan, memory, op, x, x_row, d, d_row, first, last):
    """D ⊙ f'(Z) of operation ``op``, in place, for some rows; nothing where it has no activation."""
    code, p, z, z_row, a, a_row = _slope_of(plan, memory, op, x, x_row)
    multiply_by_slope(
        code, p, advance(z, first * z_row), z_row, advance(a, first * a_row), a_row, advance(d, first * d_row), d_row,
        last - first, _row(plan, op)[OUTPUTS],
    )  # fmt: skip


@inline
def backward_block(
    plan, w, memory, x, x_row, x_column, n, dropout, g, add, fused, change, state, apart, input_gradient, sync, part,
    parts,
):  # fmt: skip
    """From the dZ of the last operation, in the scratch memory, down to the gradient of every parameter.

    Those go to the flat ``g``, or straight into the parameters where ``fused``. Returns dX, where there is one.

    Of the three gradient buffers one is read, one is written, and one may still be read by a slower thread that is
    busy with the parameters of the operation above.
    """
    panel, zeros = memory.panel, memory.zeros
    turn = 0
    for back in range(plan.length):
        op = plan.length - 1 - back
        row = _row(plan, op)
        kind, i, o, stride = row[KIND], row[INPUTS], row[OUTPUTS], row[STRIDE]
        d = _gradient(plan, memory, turn)
        first, last = share(n, part, parts), share(n, part + 1, parts)
        below_stride = _row(plan, op - 1)[STRIDE] if op > 0 else padded_row(i)
        if kind == DENSE:
            source, source_row, source_column = x, x_row, x_column
            if op > 0:
                source, source_row, source_column = _at(memory, _row(plan, op - 1)[VALUE]), below_stride, 1
            weight, has_bias = advance(w, row[WEIGHT]), 1 if row[BIAS] >= 0 else 0
            if op > 0 or input_gradient != 0:
                turn = (turn + 1) % 3
                dx = _gradient(plan, memory, turn)
                code, p, z, z_row, value, value_row = 0, 0.0, dx, below_stride, dx, below_stride
                if op > 0:
                    code, p, z, z_row, value, value_row = _slope_of(plan, memory, op - 1, x, x_row)
                dense.backward_input(
                    d, stride, weight, dx, below_stride, n, i, o,
                    code, p, z, z_row, value, value_row, zeros, panel, part, parts,
                )  # fmt: skip
                barrier(sync, parts)  # nobody needs W any more
            if fused != 0:
                dense.learn(
                    source, source_row, source_column, d, stride, weight, advance(w, row[BIAS]), has_bias,
                    change, advance(state, row[WEIGHT]), apart, n, i, o, zeros, panel, part, parts,
                )  # fmt: skip
            else:
                bias = advance(g, row[BIAS]) if has_bias != 0 else g
                dense.backward_parameters(
                    source, source_row, source_column, d, stride, advance(g, row[WEIGHT]), bias, has_bias,
                    n, i, o, add, zeros, panel, part, parts,
                )  # fmt: skip
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
    barrier(sync, parts)
    return _gradient(plan, memory, turn)


@inline
def _numbers(array, place):
    """Pointer to a user's array. One of the usual kind comes as itself, which is quick; any other as an address."""
    return numbers_at(place, address(array)) if place != 0 else address(array)


@kernel
def predict(parameters, plan_place, memory_place, X, x_place, x_row, x_column, n, out_array, sync_place, part, parts):
    """Forward without dropout, chunk by chunk, into ``out`` (n, outputs), contiguous; -0.0 is written as +0.0."""
    w = address(parameters)
    plan, memory, sync = _plan_at(plan_place, w), _memory_at(memory_place, w), integers_at(sync_place)
    x, out = _numbers(X, x_place), address(out_array)
    last_row = _row(plan, plan.length - 1)
    outputs = last_row[OUTPUTS]
    before = flush_subnormals()  # here and below, so that a loop by hand computes what training does
    for chunk in range(part, blocks(n, memory.capacity), parts):
        first = chunk * memory.capacity
        rows = least(memory.capacity, n - first)
        forward_block(plan, w, memory, advance(x, first * x_row), x_row, x_column, rows, False, 0, 0, 0, sync, 0, 1)
        write_rows(_at(memory, last_row[VALUE]), last_row[STRIDE], advance(out, first * outputs), rows, outputs)
    restore_subnormals(before)


@inline
def write_rows(source, source_row, out, rows, columns):
    """Rows without padding, and -0.0, our mark of a dead unit, as the +0.0 that a user expects."""
    for r in range(rows):
        line, place = advance(source, r * source_row), advance(out, r * columns)
        for j in range(0, columns, lanes(out)):
            tail = least(lanes(out), columns - j)
            store_head(place, j, load_head(line, j, tail) + 0.0, tail)


@kernel
def forward(
    parameters, plan_place, memory_place, X, x_place, x_row, x_column, n, out_array, dropout, seed, step, sync_place
):  # fmt: skip
    """Forward of one batch with every value kept for ``backward``; the result into ``out``."""
    w = address(parameters)
    plan, memory, sync = _plan_at(plan_place, w), _memory_at(memory_place, w), integers_at(sync_place)
    x, out = _numbers(X, x_place), address(out_array)
    before = flush_subnormals()
    forward_block(plan, w, memory, x, x_row, x_column, n, dropout, seed, step, 0, sync, 0, 1)
    last_row = _row(plan, plan.length - 1)
    write_rows(_at(memory, last_row[VALUE]), last_row[STRIDE], out, n, last_row[OUTPUTS])
    restore_subnormals(before)


@kernel
def backward(
    parameters, plan_place, memory_place, X, x_place, x_row, x_column, n, D, d_place, d_row, d_column, gradients,
    dx_array, dropout, sync_place,
):  # fmt: skip
    """From dA of the last operation (n, outputs) to the flat gradients and dX (n, inputs), after ``forward``."""
    w = address(parameters)
    plan, memory, sync = _plan_at(plan_place, w), _memory_at(memory_place, w), integers_at(sync_place)
    g, x = address(gradients), _numbers(X, x_place)
    last_op = plan.length - 1
    o, stride = _row(plan, last_op)[OUTPUTS], _row(plan, last_op)[STRIDE]
    d = _gradient(plan, memory, 0)
    before = flush_subnormals()
    copy_rows(_numbers(D, d_place), d_row, d_column, d, stride, n, o)
    apply_slope(plan, memory, last_op, x, x_row, d, stride, 0, n)
    nothing = optimizers.no_change()
    dx = backward_block(
        plan, w, memory, x, x_row, x_column, n, dropout, g, 0, 0, nothing, g, 0, 1, sync, 0, 1
    )  # fmt: skip
    i = _row(plan, 0)[INPUTS]
    copy_rows(dx, padded_row(i), 1, address(dx_array), i, n, i)
    restore_subnormals(before)


@inline
def _in_epoch(data, epoch):
    """The data in the order of this epoch, the first being 0."""
    order = data.order + 8 * epoch * data.samples if data.order != 0 else data.order
    return Data(
        data.x, data.x_row, data.x_column, data.labels, data.targets, data.weights, order, data.samples,
        data.batch_size, data.gather,
    )  # fmt: skip


@inline
def _sample(data, position):
    return get(integers_at(data.order), position) if data.order != 0 else position


@inline
def _weight_of(data, position):
    return get(doubles_at(data.weights), _sample(data, position)) if data.weights != 0 else 1.0


@inline
def _rows_of_chunk(plan, memory, data, x, place, first, last):
    """Where the rows of X and the targets of a chunk are: where they always were, or copied together.

    Returns X with its strides, labels, and targets with the distance of their rows.
    """
    i, o = _row(plan, 0)[INPUTS], _row(plan, plan.length - 1)[OUTPUTS]
    labels, targets, target_row = memory.labels, _at(memory, plan.targets), padded_row(o)
    given_labels, given_targets = integers_at(data.labels), numbers_at(data.targets, x)
    if data.order == 0:
        if data.labels != 0:
            labels = advance(given_labels, place)
        if data.targets != 0:
            targets, target_row = advance(given_targets, place * o), o
    else:
        for r in range(first, last):
            sample = _sample(data, place + r)
            if data.labels != 0:
                put(labels, r, get(given_labels, sample))
            if data.targets != 0:
                copy_rows(advance(given_targets, sample * o), o, 1, advance(targets, r * target_row), o, 1, o)
    if data.gather == 0:
        return advance(x, place * data.x_row), data.x_row, data.x_column, labels, targets, target_row
    gathered, row = _at(memory, plan.gathered), padded_row(i)
    for r in range(first, last):
        given = advance(x, _sample(data, place + r) * data.x_row)
        copy_rows(given, data.x_row, data.x_column, advance(gathered, r * row), row, 1, i)
    return gathered, row, 1, labels, targets, target_row


@inline
def _train_chunk(
    plan, memory, learning, data, x, begin, chunk, n, weight_sum, g, add, fused, change, sync, part, parts
):  # fmt: skip
    """Forward, loss and backward of one chunk of a batch, into ``g``, or into the parameters where ``fused``.

    Returns weighted sums of the chunk's losses and hits. Without backward where ``fused`` and the loss is not finite,
    unless training goes on.
    """
    w = learning.parameters
    place = begin + chunk * CHUNK
    first, last = share(n, part, parts), share(n, part + 1, parts)
    last_op = plan.length - 1
    o, stride = _row(plan, last_op)[OUTPUTS], _row(plan, last_op)[STRIDE]
    source, source_row, source_column, labels, targets, target_row = _rows_of_chunk(
        plan, memory, data, x, place, first, last
    )  # fmt: skip
    scales = memory.scales
    if data.weights == 0:
        for r in range(first, last):
            put(scales, r, 1.0 / weight_sum)
    else:
        for r in range(first, last):
            put(scales, r, _weight_of(data, place + r) / weight_sum if weight_sum > 0.0 else 0.0)
    barrier(sync, parts)
    step = learning.counters[STEP] + learning.counters[AHEAD]
    forward_block(
        plan, w, memory, source, source_row, source_column, n, True, learning.seed, step, chunk * CHUNK, sync,
        part, parts,
    )  # fmt: skip
    d = _gradient(plan, memory, 0)
    sums = memory.row_sums
    loss_rows(
        learning.loss, learning.numbers[LOSS_PARAMETER], _at(memory, _row(plan, last_op)[VALUE]), stride, labels,
        targets, target_row, scales, d, stride, sums, advance(sums, memory.capacity), first, last, o, learning.work,
    )  # fmt: skip
    apply_slope(plan, memory, last_op, source, source_row, d, stride, first, last)
    barrier(sync, parts)
    loss, hits = 0.0, 0.0
    for r in range(n):  # by every thread: it takes no longer than to wait for one
        weight = _weight_of(data, place + r)
        if weight != 0.0:  # a sample without weight says nothing, not even NaN
            loss += weight * sums[r]
            hits += weight * sums[memory.capacity + r]
    if fused == 0 or np.isfinite(loss) or learning.numbers[GOES_ON] != 0.0:
        backward_block(
            plan, w, memory, source, source_row, source_column, n, True, g, add, fused, change,
            learning.state, optimizers.padded_count(learning.size), 0, sync, part, parts,
        )  # fmt: skip
    return loss, hits


@kernel
def train(
    parameters,
    plan_place,
    memory_place,
    learning_place,
    data_place,
    first_batch,
    steps,
    by_rows,
    sync_place,
    part,
    parts,
):
    """``steps`` batches from number ``first_batch`` of an epoch on: forward, loss, backward and update of each.

    After an epoch's last batch comes the next one's first; ``data.order`` has a row for each epoch.

    Every thread runs this with its own ``part``; each has its own scratch memory when ``by_rows``.
    Ends early, before the update, when a batch's loss is not finite, or a gradient that is to be clipped, unless it is
    told to go on.
    """
    w = address(parameters)
    before = flush_subnormals()
    _train(
        _plan_at(plan_place, w), _memory_at(memory_place, w), _learning_at(learning_place, w), _data_at(data_place, w),
        first_batch, steps, by_rows, integers_at(sync_place), part, parts,
    )  # fmt: skip
    restore_subnormals(before)


@inline
def _train(plan, memory, learning, all_data, first_batch, steps, by_rows, sync, part, parts):
    w, g, count = learning.parameters, learning.gradients, learning.size
    x = numbers_at(all_data.x, w)
    batches = blocks(all_data.samples, all_data.batch_size)
    for done in range(steps):
        epoch = (first_batch + done) // batches
        data = _in_epoch(all_data, epoch)
        begin = (first_batch + done - epoch * batches) * data.batch_size
        n = least(data.batch_size, data.samples - begin)
        chunks = blocks(n, CHUNK)
        weight_sum = float(n)
        if data.weights != 0:
            weight_sum = 0.0
            for r in range(n):
                weight_sum += _weight_of(data, begin + r)
        step = learning.counters[STEP] + 1
        l1, l2 = _per_weight(learning.numbers, weight_sum)
        change = optimizers.change_of(learning.rule, learning.settings, learning.rates[done], step, 1.0, l1, l2)
        clips = learning.settings[optimizers.CLIP_NORM] > 0.0
        # a thread that takes rows of its own leaves their gradient to be added to the others'
        apart = by_rows != 0 and parts > 1
        fused = 1 if chunks == 1 and not apart and not clips and learning.keep_gradients == 0 else 0
        penalty = 0.0
        if part == 0:
            penalty = weight_sum * _penalty(plan, w, l1, l2)
            write(sync, TURN, 0)
        barrier(sync, parts)
        if read(sync, FAILED) != 0:  # somebody never began; whoever is here now comes to the end of the step
            return
        loss, hits = 0.0, 0.0
        if apart:
            own = learning.partial
            for chunk in range(part, chunks, parts):
                rows = least(CHUNK, n - chunk * CHUNK)
                sums = _train_chunk(
                    plan, memory, learning, data, x, begin, chunk, rows, weight_sum, own, 0, 0, change, sync, 0, 1
                )
                learning.chunk_sums[2 * chunk], learning.chunk_sums[2 * chunk + 1] = sums
                wait_for_turn(sync, chunk)
                _add_gradient(g, own, count, chunk)
                pass_turn(sync, chunk)
            barrier(sync, parts)
            for chunk in range(chunks):
                loss += learning.chunk_sums[2 * chunk]
                hits += learning.chunk_sums[2 * chunk + 1]
        else:
            for chunk in range(chunks):
                rows = least(CHUNK, n - chunk * CHUNK)
                sums = _train_chunk(
                    plan, memory, learning, data, x, begin, chunk, rows, weight_sum, g, chunk, fused, change, sync,
                    part, parts,
                )  # fmt: skip
                loss += sums[0]
                hits += sums[1]
        if not np.isfinite(loss) and learning.numbers[GOES_ON] == 0.0:
            if part == 0:
                learning.counters[NOT_FINITE] = THE_LOSS
            return
        if fused == 0 and not _update(plan, w, g, learning, change, clips, count, sync, part, parts):
            if part == 0:
                learning.counters[NOT_FINITE] = THE_GRADIENT
            return
        if part == 0:
            learning.results[4 * done] = loss
            learning.results[4 * done + 1] = hits
            learning.results[4 * done + 2] = weight_sum
            learning.results[4 * done + 3] = penalty
            learning.counters[STEP] += 1
            learning.counters[DONE] += 1
        barrier(sync, parts)


@inline
def _per_weight(numbers, weight_sum):
    """l1 and l2 for the mean over a batch."""
    if weight_sum > 0.0:
        return numbers[L1] / weight_sum, numbers[L2] / weight_sum
    return 0.0, 0.0


@inline
def _penalty(plan, w, l1, l2):
    """The penalty on all weights; biases pay none."""
    total = 0.0
    if l1 != 0.0 or l2 != 0.0:
        for op in range(plan.length):
            row = _row(plan, op)
            if row[KIND] == DENSE:
                total += optimizers.penalty(advance(w, row[WEIGHT]), row[INPUTS] * row[OUTPUTS], l1, l2)
    return total


@inline
def _update(plan, w, g, learning, change, clips, count, sync, part, parts):
    """The optimizer's step from the gradient in memory; False, and no step, where its norm is needed and not finite."""
    if change.l1 != 0.0 or change.l2 != 0.0:
        for op in range(plan.length):
            row = _row(plan, op)
            if row[KIND] == DENSE:
                size = row[INPUTS] * row[OUTPUTS]
                first, last = share(size, part, parts), share(size, part + 1, parts)
                place = row[WEIGHT] + first
                optimizers.add_penalty(change.l1, change.l2, advance(w, place), advance(g, place), last - first)
        barrier(sync, parts)
    if clips:
        length = optimizers.norm(g, count)  # by every thread, and to the same bits
        if not np.isfinite(length) and learning.numbers[GOES_ON] == 0.0:
            return False
        change = optimizers.scaled(change, optimizers.clip_factor(length, learning.settings[optimizers.CLIP_NORM]))
    unit = UPDATE_VECTORS * lanes(w)
    first = least(count, share(blocks(count, unit), part, parts) * unit)
    last = least(count, share(blocks(count, unit), part + 1, parts) * unit)
    state = advance(learning.state, first)
    optimizers.update(
        change, advance(w, first), 0, advance(g, first), 0, state, optimizers.padded_count(count), 1, last - first
    )
    barrier(sync, parts)
    return True


@inline
def _add_gradient(g, partial, count, chunk):
    """g = partial for the first chunk, g += partial for the others."""
    for j in range(0, count, lanes(g)):
        tail = least(lanes(g), count - j)
        value = load_head(partial, j, tail)
        if chunk > 0:
            value = load_head(g, j, tail) + value
        store_head(g, j, value, tail)
