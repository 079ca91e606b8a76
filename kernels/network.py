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
from .activations import IDENTITY, Slope, activate, multiply_by_slope, slope_from
from .blocking import CHUNK, UPDATE_VECTORS
from .counting import blocks, least, padded_row
from .dense import Layer
from .gemm import ADD, SET, copy_rows
from .losses import Found, Wanted, loss_rows, softmax, softmax_backward
from .matrix import (
    Function,
    Matrix,
    Rows,
    Sizes,
    Team,
    alone,
    as_matrix,
    matrix_from,
    rows_from,
    share_of,
)
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


class Masks(NamedTuple):
    """What dropout goes by: whether there is any, the run, the step, and where in the batch the first row is."""

    on: bool
    seed: int
    step: int
    first_row: int


class Destination(NamedTuple):
    """Where the gradients of parameters go: to the flat ``g``, or, where ``fused``, straight into the parameters.

    ``add``: they are added to what is in ``g``. ``change``, ``state``, ``apart``: as ``dense.learn`` takes them.
    """

    g: Any
    add: int
    fused: bool
    change: Any
    state: Any
    apart: int


@inline
def _row(plan, op):
    """One operation: the columns of the plan."""
    return advance(plan.operations, op * COLUMNS)


@inline
def _last_row(plan):
    return _row(plan, plan.length - 1)


@inline
def _gradient(plan, memory, turn, stride):
    """Rows in one of the three buffers for gradients."""
    return _at(memory, plan.gradient + turn * plan.width, stride)


@inline
def _at(memory, unit, stride):
    """Rows in the scratch memory."""
    return Rows(advance(memory.scratch, memory.capacity * unit), stride)


@inline
def _value(memory, row):
    """What an operation gives."""
    return _at(memory, row[VALUE], row[STRIDE])


@inline
def _input(plan, memory, op, x):
    """What an operation is given: X, or the value below it. A Matrix."""
    return x if op == 0 else as_matrix(_value(memory, _row(plan, op - 1)))


@inline
def _layer(row, parameters, nothing):
    """W and b among the parameters, or among their gradients; without a bias, ``nothing`` in place of b."""
    bias = 1 if row[BIAS] >= 0 else 0
    return Layer(advance(parameters, row[WEIGHT]), advance(parameters, row[BIAS]) if bias != 0 else nothing, bias)


@inline
def forward_block(plan, w, memory, x, n, masks, team):
    """All operations on n rows of X, every value kept in the scratch memory.

    w: the parameters, flat.  x: Matrix (n, inputs), whose columns lie together unless the first operation is dense.
    """
    source = x
    for op in range(plan.length):
        row = _row(plan, op)
        kind, o = row[KIND], row[OUTPUTS]
        value = _value(memory, row)
        kept = _at(memory, row[KEPT], row[STRIDE]) if row[KEPT] >= 0 else value
        function = Function(row[CODE], plan.parameters[op])
        first, last = share_of(team, n)
        given, above, line = Rows(source.at, source.row), matrix_from(source, first, 0), rows_from(value, first, 0)
        if kind == DENSE:
            sizes, layer = Sizes(n, row[INPUTS], o), _layer(row, w, memory.zeros)
            dense.forward(source, layer, kept, value, sizes, function, memory.panel, team)
        elif kind == ACTIVATION:
            activate(function, rows_from(given, first, 0), line, last - first, o)
        elif kind == SOFTMAX:
            softmax(rows_from(given, first, 0), line, last - first, o)
        elif masks.on:
            begin = masks.first_row
            mask = rows_from(kept, -begin, 0)
            rate, key = function.parameter, key_of(masks.seed, masks.step, op)
            dropout_mask(mask, begin + first, begin + last, o, rate, key)
            for r in range(first, last):
                _multiply(rows_from(given, r, 0).at, rows_from(kept, r, 0).at, rows_from(value, r, 0).at, o)
        else:
            copy_rows(above, line, last - first, o)
        barrier(team.sync, team.parts)
        source = as_matrix(value)


@inline
def _multiply(a, b, c, count):
    """c = a·b, element by element."""
    for j in range(0, count, lanes(a)):
        tail = least(lanes(a), count - j)
        store_head(c, j, load_head(a, j, tail) * load_head(b, j, tail), tail)


@inline
def _slope_of(plan, memory, op, x):
    """The slope of operation ``op``; that of the identity where it has no activation."""
    row = _row(plan, op)
    value = _value(memory, row)
    code, p, z = IDENTITY, 0.0, value
    if row[KIND] == DENSE or row[KIND] == ACTIVATION:
        code, p = row[CODE], plan.parameters[op]
        if row[KEPT] >= 0:
            z = _at(memory, row[KEPT], row[STRIDE])
        elif row[KIND] == ACTIVATION:  # its input is the value below
            below = _input(plan, memory, op, x)
            z = Rows(below.at, below.row)
    return Slope(Function(code, p), z, value)


@inline
def apply_slope(plan, memory, op, x, d, first, last):
    """D ⊙ f'(Z) of operation ``op``, in place, for some rows; nothing where it has no activation."""
    slope = slope_from(_slope_of(plan, memory, op, x), first, 0)
    multiply_by_slope(slope, rows_from(d, first, 0), last - first, _row(plan, op)[OUTPUTS])


@inline
def backward_block(plan, w, memory, x, n, dropout, to, input_gradient, team):
    """From the dZ of the last operation, in the scratch memory, down to the gradient of every parameter.

    Returns dX, Rows, where there is one.

    Of the three gradient buffers one is read, one is written, and one may still be read by a slower thread that is
    busy with the parameters of the operation above.
    """
    panel, zeros = memory.panel, memory.zeros
    turn = 0
    for back in range(plan.length):
        op = plan.length - 1 - back
        row = _row(plan, op)
        kind, i, o, stride = row[KIND], row[INPUTS], row[OUTPUTS], row[STRIDE]
        d = _gradient(plan, memory, turn, stride)
        first, last = share_of(team, n)
        if kind == DENSE:
            source, sizes = _input(plan, memory, op, x), Sizes(n, i, o)
            if op > 0 or input_gradient:
                turn = (turn + 1) % 3
                dx = _gradient(plan, memory, turn, _row(plan, op - 1)[STRIDE] if op > 0 else padded_row(i))
                slope = Slope(Function(IDENTITY, 0.0), dx, dx)
                if op > 0:
                    slope = _slope_of(plan, memory, op - 1, x)
                dense.backward_input(d, advance(w, row[WEIGHT]), dx, sizes, slope, zeros, panel, team)
                barrier(team.sync, team.parts)  # nobody needs W any more
            if to.fused:
                state = advance(to.state, row[WEIGHT])
                dense.learn(source, d, _layer(row, w, w), to.change, state, to.apart, sizes, zeros, panel, team)
            else:
                dense.backward_parameters(source, d, _layer(row, to.g, to.g), sizes, to.add, zeros, panel, team)
        else:
            line = rows_from(d, first, 0)
            if kind == SOFTMAX:
                softmax_backward(rows_from(_value(memory, row), first, 0), line, last - first, o)
            elif kind == DROPOUT and dropout:
                mask = _at(memory, row[KEPT], stride)
                for r in range(first, last):
                    _multiply(rows_from(d, r, 0).at, rows_from(mask, r, 0).at, rows_from(d, r, 0).at, o)
            if op > 0:
                apply_slope(plan, memory, op - 1, x, d, first, last)
            barrier(team.sync, team.parts)
    barrier(team.sync, team.parts)
    return _gradient(plan, memory, turn, padded_row(_row(plan, 0)[INPUTS]))


@inline
def _given(array, matrix):
    """A user's matrix. An array of the usual kind comes as itself, which is quick; any other as an address."""
    pointer = numbers_at(matrix.at, address(array)) if matrix.at != 0 else address(array)
    return Matrix(pointer, matrix.row, matrix.column)


@kernel
def predict(parameters, plan_address, memory_address, X, matrix, out, part, parts):
    """Forward without dropout, chunk by chunk, into ``out`` (n, outputs), contiguous; -0.0 is written as +0.0.

    X, matrix: see ``_given``. Each thread has scratch memory of its own, and takes every chunk number ``part`` of
    ``parts``.
    """
    w = address(parameters)
    plan, memory = _plan_at(plan_address, w), _memory_at(memory_address, w)
    x, n = _given(X, matrix), out.shape[0]
    outputs = _last_row(plan)[OUTPUTS]
    masks = Masks(False, 0, 0, 0)
    before = flush_subnormals()  # here and below, so that a loop by hand computes what training does
    for chunk in range(part, blocks(n, memory.capacity), parts):
        first = chunk * memory.capacity
        rows = least(memory.capacity, n - first)
        forward_block(plan, w, memory, matrix_from(x, first, 0), rows, masks, alone(memory.sync))
        write_rows(_value(memory, _last_row(plan)), advance(address(out), first * outputs), rows, outputs)
    restore_subnormals(before)


@inline
def write_rows(source, out, rows, columns):
    """Rows without padding, and -0.0, our mark of a dead unit, as the +0.0 that a user expects."""
    for r in range(rows):
        line, to = rows_from(source, r, 0).at, advance(out, r * columns)
        for j in range(0, columns, lanes(out)):
            tail = least(lanes(out), columns - j)
            store_head(to, j, load_head(line, j, tail) + 0.0, tail)


@kernel
def forward(parameters, plan_address, memory_address, X, matrix, out, dropout, seed, step):
    """Forward of one batch with every value kept for ``backward``; the result into ``out`` (n, outputs), contiguous."""
    w = address(parameters)
    plan, memory = _plan_at(plan_address, w), _memory_at(memory_address, w)
    n = out.shape[0]
    before = flush_subnormals()
    forward_block(plan, w, memory, _given(X, matrix), n, Masks(dropout, seed, step, 0), alone(memory.sync))
    write_rows(_value(memory, _last_row(plan)), address(out), n, _last_row(plan)[OUTPUTS])
    restore_subnormals(before)


@kernel
def backward(parameters, plan_address, memory_address, X, matrix, D, d_matrix, gradients, out, dropout):
    """From dA of the last operation, D (n, outputs), to the flat gradients, and dX into ``out`` (n, inputs),
    contiguous, after ``forward``."""
    w, g = address(parameters), address(gradients)
    plan, memory = _plan_at(plan_address, w), _memory_at(memory_address, w)
    x, n = _given(X, matrix), out.shape[0]
    d = _gradient(plan, memory, 0, _last_row(plan)[STRIDE])
    before = flush_subnormals()
    copy_rows(_given(D, d_matrix), d, n, _last_row(plan)[OUTPUTS])
    apply_slope(plan, memory, plan.length - 1, x, d, 0, n)
    to = Destination(g, SET, False, optimizers.no_change(), g, 0)
    dx = backward_block(plan, w, memory, x, n, dropout, to, True, alone(memory.sync))
    i = _row(plan, 0)[INPUTS]
    copy_rows(as_matrix(dx), Rows(address(out), i), n, i)
    restore_subnormals(before)


# --- training -----------------------------------------------------------------------------------------------


class Chunk(NamedTuple):
    """Some rows of a batch that are taken together: ``rows`` from number ``first`` of the epoch on.

    ``in_batch``: how many rows of its batch come before. ``weight_sum``: of the batch.
    """

    first: int
    rows: int
    in_batch: int
    weight_sum: float


@inline
def _in_epoch(data, epoch):
    """The data in the order of this epoch, the first being 0."""
    order = data.order + 8 * epoch * data.samples if data.order != 0 else data.order
    return Data(
        x=data.x,
        x_row=data.x_row,
        x_column=data.x_column,
        labels=data.labels,
        targets=data.targets,
        weights=data.weights,
        order=order,
        samples=data.samples,
        batch_size=data.batch_size,
        gather=data.gather,
    )


@inline
def _sample(data, position):
    return get(integers_at(data.order), position) if data.order != 0 else position


@inline
def _weight_of(data, position):
    return get(doubles_at(data.weights), _sample(data, position)) if data.weights != 0 else 1.0


@inline
def _rows_of_chunk(plan, memory, data, chunk, like, first, last):
    """Where a chunk's rows of X, its labels and its targets are: where they always were, or copied together, each
    thread its share from ``first`` to before ``last``. Returns X, a Matrix, and what the loss takes.
    """
    i, o = _row(plan, 0)[INPUTS], _last_row(plan)[OUTPUTS]
    labels, targets = memory.labels, _at(memory, plan.targets, padded_row(o))
    given_labels, given_targets = integers_at(data.labels), Rows(numbers_at(data.targets, like), o)
    given = Matrix(numbers_at(data.x, like), data.x_row, data.x_column)
    if data.order == 0:
        if data.labels != 0:
            labels = advance(given_labels, chunk.first)
        if data.targets != 0:
            targets = rows_from(given_targets, chunk.first, 0)
    else:
        for r in range(first, last):
            sample = _sample(data, chunk.first + r)
            if data.labels != 0:
                put(labels, r, get(given_labels, sample))
            if data.targets != 0:
                copy_rows(as_matrix(rows_from(given_targets, sample, 0)), rows_from(targets, r, 0), 1, o)
    wanted = Wanted(labels, targets, memory.scales)
    if data.gather == 0:
        return matrix_from(given, chunk.first, 0), wanted
    gathered = _at(memory, plan.gathered, padded_row(i))
    for r in range(first, last):
        copy_rows(matrix_from(given, _sample(data, chunk.first + r), 0), rows_from(gathered, r, 0), 1, i)
    return as_matrix(gathered), wanted


@inline
def _train_chunk(plan, memory, learning, data, chunk, to, team):
    """Forward, loss and backward of one chunk of a batch; the gradients go where ``to`` says.

    Returns weighted sums of the chunk's losses and hits. Without backward where that would change the parameters and
    the loss is not finite, unless training goes on.
    """
    w, n = learning.parameters, chunk.rows
    first, last = share_of(team, n)
    last_op = plan.length - 1
    x, wanted = _rows_of_chunk(plan, memory, data, chunk, w, first, last)
    if data.weights == 0:
        for r in range(first, last):
            put(wanted.scales, r, 1.0 / chunk.weight_sum)
    else:
        for r in range(first, last):
            weight = _weight_of(data, chunk.first + r)
            put(wanted.scales, r, weight / chunk.weight_sum if chunk.weight_sum > 0.0 else 0.0)
    barrier(team.sync, team.parts)
    step = learning.counters[STEP] + learning.counters[AHEAD]
    forward_block(plan, w, memory, x, n, Masks(True, learning.seed, step, chunk.in_batch), team)
    output = _value(memory, _last_row(plan))
    d = _gradient(plan, memory, 0, output.row)
    losses, hits = memory.row_sums, advance(memory.row_sums, memory.capacity)
    function = Function(learning.loss, learning.numbers[LOSS_PARAMETER])
    found, outputs = Found(d, losses, hits), _last_row(plan)[OUTPUTS]
    loss_rows(function, output, wanted, found, first, last, outputs, learning.work)
    apply_slope(plan, memory, last_op, x, d, first, last)
    barrier(team.sync, team.parts)
    loss_sum, hit_sum = 0.0, 0.0
    for r in range(n):  # by every thread: it takes no longer than to wait for one
        weight = _weight_of(data, chunk.first + r)
        if weight != 0.0:  # a sample without weight says nothing, not even NaN
            loss_sum += weight * losses[r]
            hit_sum += weight * hits[r]
    if not to.fused or np.isfinite(loss_sum) or learning.numbers[GOES_ON] != 0.0:
        backward_block(plan, w, memory, x, n, True, to, False, team)
    return loss_sum, hit_sum


@kernel
def train(
    parameters, plan_address, memory_address, learning_address, data_address, first_batch, steps, by_rows, part, parts
):
    """``steps`` batches from number ``first_batch`` of an epoch on: forward, loss, backward and update of each.

    After an epoch's last batch comes the next one's first; ``data.order`` has a row for each epoch.

    Every thread runs this with its own ``part``; each has its own scratch memory when ``by_rows``.
    Ends early, before the update, when a batch's loss is not finite, or a gradient that is to be clipped, unless it is
    told to go on.
    """
    w = address(parameters)
    plan, memory = _plan_at(plan_address, w), _memory_at(memory_address, w)
    learning, data = _learning_at(learning_address, w), _data_at(data_address, w)
    before = flush_subnormals()
    _train(plan, memory, learning, data, first_batch, steps, by_rows, Team(part, parts, memory.sync))
    restore_subnormals(before)


@inline
def _train(plan, memory, learning, all_data, first_batch, steps, by_rows, team):
    sync = team.sync
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
        apart = by_rows != 0 and team.parts > 1
        fused = chunks == 1 and not apart and not clips and learning.keep_gradients == 0
        between = optimizers.padded_count(learning.size)
        penalty = 0.0
        if team.part == 0:
            penalty = weight_sum * _penalty(plan, learning.parameters, l1, l2)
            write(sync, TURN, 0)
        barrier(sync, team.parts)
        if read(sync, FAILED) != 0:  # somebody never began; whoever is here now comes to the end of the step
            return
        loss, hits = 0.0, 0.0
        if apart:
            to = Destination(learning.partial, SET, False, change, learning.state, between)
            for k in range(team.part, chunks, team.parts):
                chunk = Chunk(begin + k * CHUNK, least(CHUNK, n - k * CHUNK), k * CHUNK, weight_sum)
                sums = _train_chunk(plan, memory, learning, data, chunk, to, alone(sync))
                learning.chunk_sums[2 * k], learning.chunk_sums[2 * k + 1] = sums
                wait_for_turn(sync, k)
                _add_gradient(learning.gradients, learning.partial, learning.size, k)
                pass_turn(sync, k)
            barrier(sync, team.parts)
            for k in range(chunks):
                loss += learning.chunk_sums[2 * k]
                hits += learning.chunk_sums[2 * k + 1]
        else:
            for k in range(chunks):
                chunk = Chunk(begin + k * CHUNK, least(CHUNK, n - k * CHUNK), k * CHUNK, weight_sum)
                add = ADD if k > 0 else SET
                to = Destination(learning.gradients, add, fused, change, learning.state, between)
                sums = _train_chunk(plan, memory, learning, data, chunk, to, team)
                loss += sums[0]
                hits += sums[1]
        if not np.isfinite(loss) and learning.numbers[GOES_ON] == 0.0:
            if team.part == 0:
                learning.counters[NOT_FINITE] = THE_LOSS
            return
        if not fused and not _update(plan, learning, change, clips, team):
            if team.part == 0:
                learning.counters[NOT_FINITE] = THE_GRADIENT
            return
        if team.part == 0:
            learning.results[4 * done] = loss
            learning.results[4 * done + 1] = hits
            learning.results[4 * done + 2] = weight_sum
            learning.results[4 * done + 3] = penalty
            learning.counters[STEP] += 1
            learning.counters[DONE] += 1
        barrier(sync, team.parts)


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
def _update(plan, learning, change, clips, team):
    """The optimizer's step from the gradient in memory; False, and no step, where its norm is needed and not finite."""
    w, g, count = learning.parameters, learning.gradients, learning.size
    if change.l1 != 0.0 or change.l2 != 0.0:
        for op in range(plan.length):
            row = _row(plan, op)
            if row[KIND] == DENSE:
                first, last = share_of(team, row[INPUTS] * row[OUTPUTS])
                begin = row[WEIGHT] + first
                optimizers.add_penalty(change.l1, change.l2, advance(w, begin), advance(g, begin), last - first)
        barrier(team.sync, team.parts)
    if clips:
        length = optimizers.norm(g, count)  # by every thread, and to the same bits
        if not np.isfinite(length) and learning.numbers[GOES_ON] == 0.0:
            return False
        change = optimizers.scaled(change, optimizers.clip_factor(length, learning.settings[optimizers.CLIP_NORM]))
    unit = UPDATE_VECTORS * lanes(w)
    first, last = share_of(team, blocks(count, unit))
    first, last = least(count, first * unit), least(count, last * unit)
    apart = optimizers.padded_count(count)
    optimizers.update(change, advance(w, first), advance(g, first), advance(learning.state, first), apart, last - first)
    barrier(team.sync, team.parts)
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
