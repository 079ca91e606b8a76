"""Many steps of training in one compiled call: a chunk of rows, a batch and its step, and batch after batch.

Threads share the work in one of two ways. Wide networks: all threads share the tiles of each product and meet after
it. Narrow networks with large batches: each thread sends chunks of rows through all layers alone, and the chunks'
gradients are added in the order of the chunks. Either way every number is computed in the same order by somebody, so
the bits do not depend on the number of threads, nor on which of the two ways was taken.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from . import optimizers
from ._apart import apart, calling
from ._jit import inline, kernel
from .blocking import CHUNK, UPDATE_VECTORS
from .counting import blocks, least, padded_row
from .gemm import copy_rows
from .losses import Found, Wanted, loss_rows
from .matrix import TEAM_TYPE, Function, Matrix, Rows, Team, alone, as_matrix, matrix_from, rows_from, share_of
from .network import (
    Destination,
    Masks,
    apply_slope,
    backward_block,
    forward_block,
    gradient_rows,
    last_row,
    memory_at,
    plan_at,
    row_of,
    rows_at,
    value_of,
)
from .plan import (
    AHEAD,
    DENSE,
    DONE,
    GOES_ON,
    INPUTS,
    KIND,
    L1,
    L2,
    LOSS_PARAMETER,
    NOT_FINITE,
    OUTPUTS,
    PENALTY,
    STEP,
    THE_GRADIENT,
    THE_LOSS,
    UPDATE,
    WEIGHT,
    Data,
    Learning,
    Plan,
    reader,
    table_type,
)
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
from .tile import ADD, SET

_data_at, _learning_at = reader(Data), reader(Learning)


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
    i, o = row_of(plan, 0)[INPUTS], last_row(plan)[OUTPUTS]
    labels, targets = memory.labels, rows_at(memory, plan.targets, padded_row(o))
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
    gathered = rows_at(memory, plan.gathered, padded_row(i))
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
    output = value_of(memory, last_row(plan))
    d = gradient_rows(plan, memory, 0, output.row)
    losses, hits = memory.row_sums, advance(memory.row_sums, memory.capacity)
    function = Function(learning.loss, learning.numbers[LOSS_PARAMETER])
    found, outputs = Found(d, losses, hits), last_row(plan)[OUTPUTS]
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
        i = row_of(plan, 0)[INPUTS]
        readable = padded_row(i) if data.gather != 0 else i
        backward_block(plan, w, memory, x, readable, n, True, to, False, team)
    return loss_sum, hit_sum


@kernel
def train(
    parameters,
    plan_address,
    memory_address,
    learning_address,
    data_address,
    first_batch,
    steps,
    by_rows,
    part,
    parts,
    products,
):
    """``steps`` batches from number ``first_batch`` of an epoch on: forward, loss, backward and update of each.

    After an epoch's last batch comes the next one's first; ``data.order`` has a row for each epoch.

    Every thread runs this with its own ``part``; each has its own scratch memory when ``by_rows``. products: None, or a
    number where operands are rounded to bfloat16; each is a compilation of its own.
    Ends early, before the update, when a batch's loss is not finite, or a gradient that is to be clipped, unless it is
    told to go on.
    """
    w = address(parameters)
    plan, memory = plan_at(plan_address, w), memory_at(memory_address, w, products)
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
        paid = 0.0
        if team.part == 0:
            if l1 != 0.0 or l2 != 0.0:
                w = learning.parameters
                paid = weight_sum * _penalty_at(plan.unfused[PENALTY], w, (plan, w, l1, l2))
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
                chunk_loss, chunk_hits = _train_chunk(plan, memory, learning, data, chunk, to, team)
                loss += chunk_loss
                hits += chunk_hits
        if not np.isfinite(loss) and learning.numbers[GOES_ON] == 0.0:
            if team.part == 0:
                learning.counters[NOT_FINITE] = THE_LOSS
            return
        if not fused:
            w = learning.parameters
            if not _update_at(plan.unfused[UPDATE], w, (plan, learning, change, clips, team)):
                if team.part == 0:
                    learning.counters[NOT_FINITE] = THE_GRADIENT
                return
        if team.part == 0:
            learning.results[4 * done] = loss
            learning.results[4 * done + 1] = hits
            learning.results[4 * done + 2] = weight_sum
            learning.results[4 * done + 3] = paid
            learning.counters[STEP] += 1
            learning.counters[DONE] += 1
        barrier(sync, team.parts)


@inline
def _per_weight(numbers, weight_sum):
    """l1 and l2 for the mean over a batch."""
    if weight_sum > 0.0:
        return numbers[L1] / weight_sum, numbers[L2] / weight_sum
    return 0.0, 0.0


def _takes_penalty(numbers):
    return table_type(Plan, numbers), numbers, types.float64, types.float64


@apart(_takes_penalty, types.float64)
def penalty(plan, w, l1, l2):
    """The penalty on all weights; biases pay none."""
    total = 0.0
    for op in range(plan.length):
        row = row_of(plan, op)
        if row[KIND] == DENSE:
            total += optimizers.penalty(advance(w, row[WEIGHT]), row[INPUTS] * row[OUTPUTS], l1, l2)
    return total


def _takes_update(numbers):
    tables = table_type(Plan, numbers), table_type(Learning, numbers)
    return *tables, optimizers.CHANGE_TYPE, types.boolean, TEAM_TYPE


@apart(_takes_update, types.boolean)
def update(plan, learning, change, clips, team):
    """The optimizer's step from the gradient in memory; False, and no step, where its norm is needed and not finite."""
    w, g, count = learning.parameters, learning.gradients, learning.size
    if change.l1 != 0.0 or change.l2 != 0.0:
        for op in range(plan.length):
            row = row_of(plan, op)
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


_penalty_at, _update_at = calling(_takes_penalty, types.float64), calling(_takes_update, types.boolean)


@inline
def _add_gradient(g, partial, count, chunk):
    """g = partial for the first chunk, g += partial for the others."""
    for j in range(0, count, lanes(g)):
        tail = least(lanes(g), count - j)
        value = load_head(partial, j, tail)
        if chunk > 0:
            value = load_head(g, j, tail) + value
        store_head(g, j, value, tail)
