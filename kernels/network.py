"""A whole network in one compiled call, driven by a plan: forward, backward and predict.

The plan is a table of integers, one row an operation, so one compilation serves every architecture. Activations live
in scratch memory with padded rows. ``capacity`` is how many rows the scratch memory holds.

Gradients are called after what they are the gradient of: while ``backward`` walks down, ``d`` is the dZ of the
operation at hand, because whatever wrote it has already multiplied it with that operation's slope.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import dense, learning, optimizers, rounded
from ._apart import Addresses, apart, calling
from ._jit import by_types, inline, kernel
from .activations import Slope, activate, multiply_by_slope, slope_from
from .bfloat16 import WORD
from .counting import blocks, least, padded_row
from .dense import Layer
from .gemm import copy_rows
from .losses import softmax_at
from .matrix import (
    SIZES_TYPE,
    TEAM_TYPE,
    Function,
    Matrix,
    Rows,
    Sizes,
    alone,
    as_matrix,
    matrix_from,
    matrix_type,
    rows_from,
    rows_type,
    share_of,
)
from .plan import (
    ACTIVATION,
    BACKWARD_PARAMETERS,
    BIAS,
    CODE,
    COLUMNS,
    DENSE,
    DROPOUT,
    INPUTS,
    KEPT,
    KIND,
    OUTPUTS,
    SOFTMAX,
    STRIDE,
    VALUE,
    WEIGHT,
    Given,
    Memory,
    Plan,
    reader,
)
from .random import dropout_mask, key_of
from .simd import (
    address,
    advance,
    flush_subnormals,
    get,
    integers_at,
    lanes,
    load_head,
    numbers_at,
    restore_subnormals,
    store_head,
)
from .threads import barrier
from .tile import SET

plan_at, _given_at = reader(Plan), reader(Given)
_memory, _memory_of_words = reader(Memory), reader(Memory, rounded=True)


class Masks(NamedTuple):
    """What dropout goes by: whether there is any, the run, the step, and where in the batch the first row is."""

    on: bool
    seed: int
    step: int
    first_row: int


class Destination(NamedTuple):
    """Where the gradients of parameters go: to the flat ``g``, or, where ``fused``, straight into the parameters.

    ``add``: they are added to what is in ``g``. ``change``, ``state``, ``apart``: as ``learning.learn`` takes them.
    """

    g: Any
    add: int
    fused: bool
    change: Any
    state: Any
    apart: int


def _takes_mask(numbers):
    return rows_type(numbers), types.intp, types.intp, types.intp, types.float64, types.int64


@apart(_takes_mask)
def _dropout_layer(mask, first, last, columns, rate, key):
    dropout_mask(mask, first, last, columns, rate, key)


_dropout_mask_at = calling(_takes_mask)
_dropout_addresses = Addresses(lambda _, dtype: [_dropout_layer.address(dtype)])


def compiled_dropout(dtype: Any) -> int:
    """What the plan has for a layer of dropout: where the address of what makes its mask is."""
    return _dropout_addresses(0, np.dtype(dtype))


def _takes_backward(numbers):
    layer = types.BaseTuple.from_types((numbers, numbers, types.intp), Layer)
    sizes = SIZES_TYPE, types.intp
    return matrix_type(numbers), types.intp, rows_type(numbers), layer, *sizes, numbers, numbers, TEAM_TYPE


@apart(_takes_backward)
def backward_parameters(x, readable, dz, gradient, sizes, add, zeros, buffer, team):
    dense.backward_parameters(x, readable, dz, gradient, sizes, add, zeros, buffer, team)


_backward_parameters_at = calling(_takes_backward)


# --- the products, of numbers as they are or of numbers rounded to bfloat16: only one of both is compiled ----------


@inline
def _usual_memory(address, w, products):
    return _memory(address, w)


@inline
def _rounded_memory(address, w, products):
    return _memory_of_words(address, w)


@by_types
def memory_at(address, w, products):
    """The table, as a kernel takes it. products: what entry functions are told, None, or a number for words."""
    return _usual_memory if products == types.none else _rounded_memory


@by_types
def _forward(x, layer, z, a, sizes, function, buffer, team):
    return rounded.forward if buffer.dtype == WORD else dense.forward


@by_types
def _backward_input(dz, w, dx, sizes, slope, zeros, buffer, team):
    return rounded.backward_input if buffer.dtype == WORD else dense.backward_input


@inline
def _usual_backward_parameters(at, like, x, readable, dz, gradient, sizes, add, zeros, buffer, team):
    _backward_parameters_at(at, like, (x, readable, dz, gradient, sizes, add, zeros, buffer, team))


@inline
def _rounded_backward_parameters(at, like, x, readable, dz, gradient, sizes, add, zeros, buffer, team):
    rounded.backward_parameters(x, readable, dz, gradient, sizes, add, zeros, buffer, team)


@by_types
def _backward_parameters(at, like, x, readable, dz, gradient, sizes, add, zeros, buffer, team):
    return _rounded_backward_parameters if buffer.dtype == WORD else _usual_backward_parameters


@by_types
def _learn(x, readable, dz, layer, change, state, apart, sizes, zeros, buffer, team):
    return rounded.learn if buffer.dtype == WORD else learning.learn


# --- what the plan says ----------------------------------------------------------------------------------------


@inline
def row_of(plan, op):
    """One operation: the columns of the plan."""
    return advance(plan.operations, op * COLUMNS)


@inline
def last_row(plan):
    return row_of(plan, plan.length - 1)


@inline
def gradient_rows(plan, memory, turn, stride):
    """Rows in one of the three buffers for gradients."""
    return rows_at(memory, plan.gradient + turn * plan.width, stride)


@inline
def rows_at(memory, unit, stride):
    """Rows in the scratch memory."""
    return Rows(advance(memory.scratch, memory.capacity * unit), stride)


@inline
def value_of(memory, row):
    """What an operation gives."""
    return rows_at(memory, row[VALUE], row[STRIDE])


@inline
def _input(plan, memory, op, x):
    """What an operation is given: X, or the value below it. A Matrix."""
    return x if op == 0 else as_matrix(value_of(memory, row_of(plan, op - 1)))


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
        row = row_of(plan, op)
        kind, o = row[KIND], row[OUTPUTS]
        value = value_of(memory, row)
        kept = rows_at(memory, row[KEPT], row[STRIDE]) if row[KEPT] >= 0 else value
        function = Function(row[CODE], plan.parameters[op])
        first, last = share_of(team, n)
        given, above, line = Rows(source.at, source.row), matrix_from(source, first, 0), rows_from(value, first, 0)
        if kind == DENSE:
            sizes, layer = Sizes(n, row[INPUTS], o), _layer(row, w, memory.zeros)
            _forward(source, layer, kept, value, sizes, function, memory.panel, team)
        elif kind == ACTIVATION:
            activate(function, rows_from(given, first, 0), line, last - first, o)
        elif kind == SOFTMAX:
            softmax_at(get(integers_at(row[CODE]), 0), w, (rows_from(given, first, 0), line, last - first, o))
        elif masks.on:
            begin = masks.first_row
            mask = rows_from(kept, -begin, 0)
            rate, key = function.parameter, key_of(masks.seed, masks.step, op)
            _dropout_mask_at(get(integers_at(row[CODE]), 0), w, (mask, begin + first, begin + last, o, rate, key))
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
    row = row_of(plan, op)
    value = value_of(memory, row)
    code, p, z = 0, 0.0, value
    if row[KIND] == DENSE or row[KIND] == ACTIVATION:
        code, p = row[CODE], plan.parameters[op]
        if row[KEPT] >= 0:
            z = rows_at(memory, row[KEPT], row[STRIDE])
        elif row[KIND] == ACTIVATION:  # its input is the value below
            below = _input(plan, memory, op, x)
            z = Rows(below.at, below.row)
    return Slope(Function(code, p), z, value)


@inline
def apply_slope(plan, memory, op, x, d, first, last):
    """D ⊙ f'(Z) of operation ``op``, in place, for some rows; nothing where it has no activation."""
    slope = slope_from(_slope_of(plan, memory, op, x), first, 0)
    multiply_by_slope(slope, rows_from(d, first, 0), last - first, row_of(plan, op)[OUTPUTS])


@inline
def backward_block(plan, w, memory, x, readable, n, dropout, to, input_gradient, team):
    """From the dZ of the last operation, in the scratch memory, down to the gradient of every parameter.

    x, readable: X, a Matrix, of whose rows so many numbers may be read.
    Returns dX, Rows, where there is one.

    Of the three gradient buffers one is read, one is written, and one may still be read by a slower thread that is
    busy with the parameters of the operation above.
    """
    panel, zeros = memory.panel, memory.zeros
    turn = 0
    for back in range(plan.length):
        op = plan.length - 1 - back
        row = row_of(plan, op)
        kind, i, o, stride = row[KIND], row[INPUTS], row[OUTPUTS], row[STRIDE]
        d = gradient_rows(plan, memory, turn, stride)
        first, last = share_of(team, n)
        if kind == DENSE:
            source, sizes = _input(plan, memory, op, x), Sizes(n, i, o)
            wide = padded_row(i) if op > 0 else readable
            if op > 0 or input_gradient:
                turn = (turn + 1) % 3
                dx = gradient_rows(plan, memory, turn, row_of(plan, op - 1)[STRIDE] if op > 0 else padded_row(i))
                slope = Slope(Function(0, 0.0), dx, dx)
                if op > 0:
                    slope = _slope_of(plan, memory, op - 1, x)
                _backward_input(d, advance(w, row[WEIGHT]), dx, sizes, slope, zeros, panel, team)
                barrier(team.sync, team.parts)  # nobody needs W any more
            if to.fused:
                state = advance(to.state, row[WEIGHT])
                _learn(source, wide, d, _layer(row, w, w), to.change, state, to.apart, sizes, zeros, panel, team)
            else:
                at, gradient = plan.unfused[BACKWARD_PARAMETERS], _layer(row, to.g, to.g)
                _backward_parameters(at, w, source, wide, d, gradient, sizes, to.add, zeros, panel, team)
        else:
            line = rows_from(d, first, 0)
            if kind == SOFTMAX:
                value = rows_from(value_of(memory, row), first, 0)
                softmax_at(get(integers_at(row[CODE]), 1), w, (value, line, last - first, o))
            elif kind == DROPOUT and dropout:
                mask = rows_at(memory, row[KEPT], stride)
                for r in range(first, last):
                    _multiply(rows_from(d, r, 0).at, rows_from(mask, r, 0).at, rows_from(d, r, 0).at, o)
            if op > 0:
                apply_slope(plan, memory, op - 1, x, d, first, last)
            barrier(team.sync, team.parts)
    barrier(team.sync, team.parts)
    return gradient_rows(plan, memory, turn, padded_row(row_of(plan, 0)[INPUTS]))


@inline
def _given(array, given_address):
    """A user's matrix. An array of the usual kind comes as itself, which is quick; any other as a table."""
    given = _given_at(given_address, address(array))
    if given.at == 0:
        return Matrix(address(array), array.shape[1], 1)
    return Matrix(numbers_at(given.at, address(array)), given.row, given.column)


@kernel
def predict(parameters, plan_address, memory_address, X, given, out, part, parts, products):
    """Forward without dropout, chunk by chunk, into ``out`` (n, outputs), contiguous; -0.0 is written as +0.0.

    X, given: see ``_given``. Each thread has scratch memory of its own, and takes every chunk number ``part`` of
    ``parts``.
    """
    w = address(parameters)
    plan, memory = plan_at(plan_address, w), memory_at(memory_address, w, products)
    x, n = _given(X, given), out.shape[0]
    outputs = last_row(plan)[OUTPUTS]
    masks = Masks(False, 0, 0, 0)
    before = flush_subnormals()  # here and below, so that a loop by hand computes what training does
    for chunk in range(part, blocks(n, memory.capacity), parts):
        first = chunk * memory.capacity
        rows = least(memory.capacity, n - first)
        forward_block(plan, w, memory, matrix_from(x, first, 0), rows, masks, alone(memory.sync))
        write_rows(value_of(memory, last_row(plan)), advance(address(out), first * outputs), rows, outputs)
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
def forward(parameters, plan_address, memory_address, X, given, out, dropout, seed, step, products):
    """Forward of one batch with every value kept for ``backward``; the result into ``out`` (n, outputs), contiguous."""
    w = address(parameters)
    plan, memory = plan_at(plan_address, w), memory_at(memory_address, w, products)
    n = out.shape[0]
    before = flush_subnormals()
    forward_block(plan, w, memory, _given(X, given), n, Masks(dropout, seed, step, 0), alone(memory.sync))
    write_rows(value_of(memory, last_row(plan)), address(out), n, last_row(plan)[OUTPUTS])
    restore_subnormals(before)


@kernel
def backward(parameters, plan_address, memory_address, X, given, D, d_given, gradients, out, dropout, products):
    """From dA of the last operation, D (n, outputs), to the flat gradients, and dX into ``out`` (n, inputs),
    contiguous, after ``forward``."""
    w, g = address(parameters), address(gradients)
    plan, memory = plan_at(plan_address, w), memory_at(memory_address, w, products)
    x, n = _given(X, given), out.shape[0]
    d = gradient_rows(plan, memory, 0, last_row(plan)[STRIDE])
    before = flush_subnormals()
    copy_rows(_given(D, d_given), d, n, last_row(plan)[OUTPUTS])
    apply_slope(plan, memory, plan.length - 1, x, d, 0, n)
    to = Destination(g, SET, False, optimizers.no_change(), g, 0)
    i = row_of(plan, 0)[INPUTS]
    dx = backward_block(plan, w, memory, x, i, n, dropout, to, True, alone(memory.sync))
    copy_rows(as_matrix(dx), Rows(address(out), i), n, i)
    restore_subnormals(before)
