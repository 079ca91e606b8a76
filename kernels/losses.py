"""The table of losses: value and gradient of a row in one visit (course B9, B10, C1 to C4, E2; beyond it F1 to F4).

A loss reads a row of the network's output (logits z or probabilities p), returns the row's loss and writes ``scale``
times the gradient over it or beside it. ``scale`` is the row's share of the mean: 1/N, or w_i/Σw.
The values at the edges (infinities, NaN, p of 0 or 1, log 0) are tested one by one; a term whose target is 0 counts
as 0 even where its logarithm is infinite.

Adding a loss is adding a row, and most are a mean over the outputs: then ``_MeanOf`` makes it of one expression for
value and slope of one output. The loops, the checks and the classes of the library read this table.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import vectormath
from ._apart import Addresses, apart, calling
from ._jit import inline
from .blocking import FLAT, FLAT_ROWS, NARROW_LOSS
from .counting import least
from .gemm import copy_rows
from .matrix import Matrix, Rows, as_matrix, rows_from, rows_type
from .simd import (
    absolute,
    advance,
    get,
    integers_at,
    lane_numbers,
    lanes,
    load,
    load_head,
    max_across,
    put,
    splat,
    store,
    store_head,
    sum_across,
    sums_of_eight,
    where,
)

LABELS, BITS, AMOUNTS, NUMBERS = range(4)  # what a target may be: a class, in [0, 1], at least 0, anything finite

_LOG_FLOOR = -100.0  # the logarithm of a probability is cut here, and its denominator at 1e-12, as in PyTorch
_SMALLEST_DENOMINATOR = 1e-12


@inline
def _tail(columns, j, pointer):
    return least(columns - j, lanes(pointer))


@inline
def _first(vector):
    """The value of a vector whose lanes are all the same."""
    return max_across(vector)


@inline
def _largest(z, columns):
    """The largest of a row; -inf where all are. With a NaN in the row it is any number."""
    best = splat(z, -np.inf)
    for j in range(0, columns, lanes(z)):
        tail = _tail(columns, j, z)
        x = where(lane_numbers(best) < tail, load_head(z, j, tail), -np.inf)
        best = where(x > best, x, best)
    return max_across(best)


@inline
def _exponentials(z, s, columns, top):
    """s = e^(z - top), and their sum. An infinite or NaN z makes the sum NaN, or leaves its s at 0 where z = -inf."""
    total = splat(z, 0.0)
    for j in range(0, columns, lanes(z)):
        tail = _tail(columns, j, z)
        inside = lane_numbers(total) < tail
        e = where(inside, vectormath.exp(load_head(z, j, tail) - top), 0.0)
        store_head(s, j, e, tail)
        total = total + e
    return sum_across(total)


@inline
def softmax(z, s, rows, columns):
    """s_i = e^z_i / Σ e^z_k (A6), row by row. Z, S: Rows (rows, columns); S may be Z."""
    for r in range(rows):
        source, target = rows_from(z, r, 0).at, rows_from(s, r, 0).at
        total = _exponentials(source, target, columns, _largest(source, columns))
        for j in range(0, columns, lanes(target)):
            tail = _tail(columns, j, target)
            store_head(target, j, load_head(target, j, tail) / total, tail)


def _takes_softmax(numbers):
    return rows_type(numbers), rows_type(numbers), types.intp, types.intp


@inline
def softmax_backward(s, d, rows, columns):
    """dz_j = s_j·(ds_j - Σ_k ds_k·s_k) (C4, A7), in place on D. S, D: Rows (rows, columns), apart."""
    for r in range(rows):
        value, gradient = rows_from(s, r, 0).at, rows_from(d, r, 0).at
        total = splat(gradient, 0.0)
        for j in range(0, columns, lanes(gradient)):
            tail = _tail(columns, j, gradient)
            total = total + load_head(value, j, tail) * load_head(gradient, j, tail)
        dot = sum_across(total)
        for j in range(0, columns, lanes(gradient)):
            tail = _tail(columns, j, gradient)
            dz = load_head(value, j, tail) * (load_head(gradient, j, tail) - dot)
            store_head(gradient, j, dz, tail)


@apart(_takes_softmax)
def _softmax_layer(z, s, rows, columns):
    softmax(z, s, rows, columns)


@apart(_takes_softmax)
def _softmax_layer_backward(s, d, rows, columns):
    softmax_backward(s, d, rows, columns)


softmax_at = calling(_takes_softmax)
_softmax_addresses = Addresses(lambda _, dtype: [_softmax_layer.address(dtype), _softmax_layer_backward.address(dtype)])


def compiled_softmax(dtype: Any) -> int:
    """Where the addresses of the forward and the backward pass of a layer of softmax are."""
    return _softmax_addresses(0, np.dtype(dtype))


@inline
def _held(p, floor):
    """p cut to [floor, 1 - floor]; a NaN passes."""
    p = where(p < floor, floor, p)
    return where(p > 1.0 - floor, 1.0 - floor, p)


@inline
def _softmax_cross_entropy_label(z, y, label, floor, d, columns, scale):
    """-log s_label, and (s - y)·scale for the one-hot y (E2).

    With a floor above 0 the value is that of s cut to [floor, 1 - floor]; the gradient stays.
    """
    top = _largest(z, columns)
    below = top - get(z, label)
    total = _exponentials(z, d, columns, top)
    inverse = 1.0 / splat(d, total)
    for j in range(0, columns, lanes(d)):
        tail = _tail(columns, j, d)
        s = load_head(d, j, tail) * inverse
        one = where(lane_numbers(s) == label - j, splat(d, 1.0), splat(d, 0.0))
        store_head(d, j, (s - one) * scale, tail)
    if floor > 0.0:
        return -_first(vectormath.log(_held(vectormath.exp(splat(d, -below)) / total, floor)))
    return _first(vectormath.log(splat(d, total))) + below


@inline
def _softmax_cross_entropy_narrow(z, wanted, floor, found, rows, columns, work):
    """As ``_softmax_cross_entropy_label``, for at most a vector of rows of few columns: each row has a lane.

    A row alone would leave most of a vector empty and wait for every fold across it; so ten columns cost a third.
    ``work``: LOSS_WORK numbers.
    """
    width = lanes(work)
    by_row = advance(work, columns * width)  # first the labels, then losses and hits
    for c in range(columns):
        for r in range(rows):
            put(work, c * width + r, get(z.at, r * z.row + c))
    for r in range(rows):
        put(by_row, r, get(wanted.labels, r))
    label, scale = load(by_row, 0), load_head(wanted.scales, 0, rows)
    top = load(work, 0)
    chosen, best = top, splat(work, 0.0)
    for c in range(1, columns):
        x = load(work, c * width)
        chosen = where(label == c, x, chosen)
        best = where(x > top, splat(work, c), best)
        top = where(x > top, x, top)
    total = splat(work, 0.0)
    for c in range(columns):
        e = vectormath.exp(load(work, c * width) - top)
        store(work, c * width, e)
        total = total + e
    inverse, zero = 1.0 / total, splat(work, 0.0)
    absent = scale == 0.0  # a sample without weight is as good as absent, whatever it holds
    for c in range(columns):
        y = where(label == c, 1.0, zero)
        store(work, c * width, where(absent, zero, (load(work, c * width) * inverse - y) * scale))
    value = vectormath.log(total) + (top - chosen)
    if floor > 0.0:
        value = -vectormath.log(_held(vectormath.exp(chosen - top) / total, floor))
    store(by_row, 0, where(absent, zero, value))
    store(by_row, width, where(absent, zero, where(best == label, 1.0, zero)))
    for r in range(rows):
        put(found.losses, r, get(by_row, r))
        put(found.hits, r, get(by_row, width + r))
    for c in range(columns):
        for r in range(rows):
            put(found.d.at, r * found.d.row + c, get(work, c * width + r))


@inline
def _softmax_cross_entropy_row(z, y, label, parameter, d, columns, scale):
    """-Σ y·log s, and (s·Σy - y)·scale (E2, in general)."""
    top = _largest(z, columns)
    weight = splat(z, 0.0)
    for j in range(0, columns, lanes(z)):
        weight = weight + load_head(y, j, _tail(columns, j, z))
    weight_sum = sum_across(weight)
    linear = splat(z, 0.0)
    for j in range(0, columns, lanes(z)):  # before D, which may be Z, is written
        tail = _tail(columns, j, z)
        target = load_head(y, j, tail)
        linear = linear + where(target == 0.0, 0.0, target * (top - load_head(z, j, tail)))
    distance = sum_across(linear)
    total = _exponentials(z, d, columns, top)
    inverse = 1.0 / splat(d, total)
    for j in range(0, columns, lanes(d)):
        tail = _tail(columns, j, d)
        s = load_head(d, j, tail) * inverse
        store_head(d, j, (s * weight_sum - load_head(y, j, tail)) * scale, tail)
    log_total = _first(vectormath.log(splat(d, total)))
    # no target at all: nothing to lose, but a NaN in the row stays a NaN
    return distance + weight_sum * log_total


# --- means over the outputs ---------------------------------------------------------------------------------


class _MeanOf(NamedTuple):
    """The row of a loss that is a mean over the outputs.

    ``value_and_slope(p, y, parameter)`` takes vectors of outputs and targets. ``silent``: the value is 0 where p and y
    are, as they are beside the row; else such lanes are left out.
    """

    value_and_slope: Callable[..., Any]
    silent: bool = False


@inline
def _bits_from_logits(z, y, floor):
    """log(1 + e^-|z|) + y·max(-z, 0) + (1 - y)·max(z, 0), and σ(z) - y.

    For y of 0 or 1 that is softplus(±z); no term is ever 0·inf.
    """
    other = 1.0 - y
    value = vectormath.log1p(vectormath.exp(-absolute(z)))
    value = value + where(y == 0.0, 0.0, y * where(z < 0.0, -z, 0.0))
    value = value + where(other == 0.0, 0.0, other * where(z > 0.0, z, 0.0))
    return value, vectormath.sigmoid(z) - y


@inline
def _bits_held(z, y, floor):
    """As ``_bits_from_logits`` for y of 0 or 1, with the value of p = σ(z) cut to [floor, 1 - floor].

    p is rounded before it is taken from 1, which shows in the value where p is nearly 1.
    """
    p = 1.0 / (1.0 + vectormath.exp(-z))
    held = _held(p, floor)
    return -vectormath.log(where(y > 0.5, held, 1.0 - held)), p - y


@inline
def _bits(z, y, floor):
    if floor > 0.0:
        return _bits_held(z, y, floor)
    return _bits_from_logits(z, y, floor)


@inline
def _cut_log(p):
    value = vectormath.log(p)
    return where(value < _LOG_FLOOR, _LOG_FLOOR, value)


@inline
def _bits_from_probabilities(p, y, parameter):
    """-(y·log p + (1 - y)·log(1 - p)), and (p - y)/(p·(1 - p)) (B10, C2)."""
    spread = p * (1.0 - p)
    spread = where(spread < _SMALLEST_DENOMINATOR, _SMALLEST_DENOMINATOR, spread)
    return (y - 1.0) * _cut_log(1.0 - p) - y * _cut_log(p), (p - y) / spread


@inline
def _squared_error(p, y, parameter):
    """(y - p)², and 2·(p - y) (B9, C1)."""
    error = p - y
    return error * error, error + error


@inline
def _absolute_error(p, y, parameter):
    """|p - y|, and sign(p - y), 0 at 0 (F1)."""
    error = p - y
    sign = where(error > 0.0, 1.0, where(error < 0.0, -1.0, error))  # a NaN passes
    return absolute(error), sign


@inline
def _huber(p, y, delta):
    """c·(r - c/2) with r = p - y and c = r cut at ±delta, and c (F2).

    That is r²/2 where nothing is cut, else delta·(|r| - delta/2); a huge r is never squared.
    """
    error = p - y
    cut = where(error > delta, delta, where(error < -delta, -delta, error))
    return cut * (error - 0.5 * cut), cut


@inline
def _quantile(p, y, q):
    """q·(y - p) where y > p, else (1 - q)·(p - y); -q, or 1 - q, or 0 at 0 (F3)."""
    error = p - y
    slope = where(error > 0.0, 1.0 - q, where(error < 0.0, -q, error))  # a NaN passes
    return slope * error, slope


@inline
def _poisson(z, y, plain):
    """e^z - y + y·(log y - z), and e^z - y: z is the log of the rate (F4).

    Where ``plain`` is not 0, the value is y·log(y/e^z) - y + e^z whatever e^z is: infinite from 0, NaN from infinity,
    and from 0 where y is 0, too.
    """
    rate = vectormath.exp(z)
    slope = rate - y
    gap = where(y == 0.0, 0.0, y * (vectormath.log(y) - z))
    value = where(rate < np.inf, slope + gap, rate)  # never inf - inf
    if plain != 0.0:
        nothing = where(z < vectormath.exp_is_zero_below(z), splat(z, np.nan), 0.0)  # 0·log(0/0)
        value = where(y == 0.0, nothing, y * vectormath.log(y / rate)) + slope
    return value, slope


# --- sums over the outputs ----------------------------------------------------------------------------------


@inline
def _categorical_cross_entropy_label(p, y, label, parameter, d, columns, scale):
    """-log p_label, and -y/p·scale for the one-hot y (C3)."""
    chosen = splat(p, get(p, label))
    held = where(chosen < _SMALLEST_DENOMINATOR, _SMALLEST_DENOMINATOR, chosen)
    for j in range(columns):
        put(d, j, 0.0)
    put(d, label, _first(-scale / held))
    return _first(-_cut_log(chosen))


@inline
def _categorical_cross_entropy_row(p, y, label, parameter, d, columns, scale):
    """-Σ y·log p, and -y/p·scale (C3)."""
    total = splat(p, 0.0)
    for j in range(0, columns, lanes(p)):
        tail = _tail(columns, j, p)
        x, target = load_head(p, j, tail), load_head(y, j, tail)
        total = total - where(lane_numbers(total) < tail, target * _cut_log(x), 0.0)
        held = where(x < _SMALLEST_DENOMINATOR, _SMALLEST_DENOMINATOR, x)
        store_head(d, j, -target / held * scale, tail)
    return sum_across(total)


# --- whether a prediction is right --------------------------------------------------------------------------


@inline
def _index_of_largest(z, columns):
    best = 0
    for j in range(1, columns):
        if get(z, j) > get(z, best):
            best = j
    return best


@inline
def _is_label(z, y, label, columns):
    return 1.0 if _index_of_largest(z, columns) == label else 0.0


@inline
def _is_largest(z, y, label, columns):
    return 1.0 if _index_of_largest(z, columns) == _index_of_largest(y, columns) else 0.0


def _share_above(threshold):
    """Of several outputs, the share that is on the right side."""

    @inline
    def hit(z, y, label, columns):
        right = 0.0
        for j in range(columns):
            if (get(z, j) > threshold) == (get(y, j) > 0.5):
                right += 1.0
        return right / columns

    return hit


@inline
def _never(z, y, label, columns):
    """No amount is right or wrong."""
    return 0.0


# --- the table ----------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """One row of the table.

    ``row(z, y, label, parameter, d, columns, scale)`` gives the loss of a row of z and writes to d, which may be z, or
    it is a ``_MeanOf``;
    ``hit(z, y, label, columns)`` gives 1 where the prediction is right, else 0. ``y`` is a row of targets, ``label``
    the index of a class: one of them has a meaning.
    """

    name: str
    targets: int  # LABELS, BITS, AMOUNTS or NUMBERS
    row: Callable[..., Any] | _MeanOf
    hit: Callable[..., Any] = _never
    takes_labels: bool = False  # where targets may be class indices, each way of giving them has a row here
    narrow: Callable[..., Any] | None = None  # what takes a vector of rows of few columns at a time


TABLE = (
    Loss(
        "softmax_cross_entropy",
        LABELS,
        _softmax_cross_entropy_label,
        _is_label,
        takes_labels=True,
        narrow=_softmax_cross_entropy_narrow,
    ),
    Loss("softmax_cross_entropy", LABELS, _softmax_cross_entropy_row, _is_largest),
    Loss("binary_cross_entropy", BITS, _MeanOf(_bits), _share_above(0.0)),
    Loss("binary_cross_entropy_probabilities", BITS, _MeanOf(_bits_from_probabilities), _share_above(0.5)),
    Loss("categorical_cross_entropy", LABELS, _categorical_cross_entropy_label, _is_label, takes_labels=True),
    Loss("categorical_cross_entropy", LABELS, _categorical_cross_entropy_row, _is_largest),
    Loss("mean_squared_error", NUMBERS, _MeanOf(_squared_error, silent=True)),
    Loss("absolute_error", NUMBERS, _MeanOf(_absolute_error, silent=True)),
    Loss("huber", NUMBERS, _MeanOf(_huber, silent=True)),
    Loss("quantile", NUMBERS, _MeanOf(_quantile, silent=True)),
    Loss("poisson", AMOUNTS, _MeanOf(_poisson)),
)
CODES = {(row.name, row.takes_labels): code for code, row in enumerate(TABLE)}


def code_of(name: str, labels: bool) -> int:
    """The row for targets that are class indices, or rows of numbers."""
    return CODES[name, labels]


def kind_of(name: str) -> int:
    """What targets may be."""
    return TABLE[CODES[name, False]].targets


def counts_hits(name: str) -> bool:
    """Whether a prediction can be right or wrong."""
    return TABLE[CODES[name, False]].hit is not _never


class Wanted(NamedTuple):
    """What the rows of an output are compared with."""

    labels: Any  # pointer: the class of each row,
    targets: Any  # or Rows; of the two, a loss reads one
    scales: Any  # pointer: each row's share of the mean


class Found(NamedTuple):
    """Where a loss writes."""

    d: Any  # Rows: the gradients
    losses: Any  # pointers, of float64: the loss of each row,
    hits: Any  # and whether it is right


@inline
def wanted_from(wanted, row):
    """The same from a row on; so below."""
    return Wanted(advance(wanted.labels, row), rows_from(wanted.targets, row, 0), advance(wanted.scales, row))


@inline
def found_from(found, row):
    return Found(rows_from(found.d, row, 0), advance(found.losses, row), advance(found.hits, row))


@inline
def _line(z, wanted, found, r):
    """Of one row: the output, the target, both ways of giving it, where the gradient goes, and the scale."""
    output, target, gradient = rows_from(z, r, 0).at, rows_from(wanted.targets, r, 0).at, rows_from(found.d, r, 0).at
    return output, target, get(wanted.labels, r), gradient, get(wanted.scales, r)


@inline
def _keep(found, r, loss, hit):
    put(found.losses, r, loss)
    put(found.hits, r, hit)


@inline
def _clear(gradient, found, r, columns):
    """A sample without weight is as good as absent, whatever it holds."""
    _keep(found, r, 0.0, 0.0)
    for j in range(columns):
        put(gradient, j, 0.0)


def _loop(loss):
    if isinstance(loss.row, _MeanOf):
        return _mean_loop(*loss.row, loss.hit)
    row, hit = loss.row, loss.hit

    @inline
    def run(parameter, z, wanted, found, first, last, columns, work):
        for r in range(first, last):
            output, target, label, gradient, scale = _line(z, wanted, found, r)
            if scale == 0.0:
                _clear(gradient, found, r, columns)
            else:
                right = hit(output, target, label, columns)  # first, for the gradient may be written over the output
                _keep(found, r, row(output, target, label, parameter, gradient, columns, scale), right)

    return run


@inline
def _all(vector, count):
    return vector


@inline
def _within(vector, count):
    """Its first lanes, and 0 in the others."""
    return where(lane_numbers(vector) < count, vector, 0.0)


def _mean_loop(value_and_slope, silent, hit):
    """The loop of a loss that is a mean over the outputs: of many columns row by row, of few some rows at once."""
    counted = _all if silent else _within

    @inline
    def few(parameter, z, wanted, found, rows, columns, work):
        """At most FLAT_ROWS rows of at most a vector each, together without what is between them: no lane is empty."""
        for r in range(rows):  # first, for the gradient may be written over the output
            output, target, label, _, scale = _line(z, wanted, found, r)
            put(found.hits, r, hit(output, target, label, columns) if scale != 0.0 else 0.0)
        targets, shares = advance(work, FLAT), advance(work, 2 * FLAT)
        values, sums = advance(work, 3 * FLAT), targets
        _bring_together(z, work, rows, columns)
        _bring_together(wanted.targets, targets, rows, columns)
        for r in range(rows):
            store(shares, r * columns, splat(work, get(wanted.scales, r) * (1.0 / columns)))
        for j in range(0, rows * columns, lanes(work)):
            value, slope = value_and_slope(load(work, j), load(targets, j), parameter)
            share = load(shares, j)
            store(values, j, value)
            store(work, j, where(share == 0.0, 0.0, slope * share))
        _take_apart(work, found.d, rows, columns)
        if columns == 1:
            sums = values
        else:
            for r in range(0, rows, 8):
                at = advance(values, r * columns)
                a, b = _within(load(at, 0), columns), _within(load(at, columns), columns)
                c, d = _within(load(at, 2 * columns), columns), _within(load(at, 3 * columns), columns)
                e, f = _within(load(at, 4 * columns), columns), _within(load(at, 5 * columns), columns)
                g, h = _within(load(at, 6 * columns), columns), _within(load(at, 7 * columns), columns)
                store(sums, r, sums_of_eight(a, b, c, d, e, f, g, h))
        for r in range(rows):
            put(found.losses, r, get(sums, r) * (1.0 / columns) if get(wanted.scales, r) != 0.0 else 0.0)

    @inline
    def run(parameter, z, wanted, found, first, last, columns, work):
        if columns <= lanes(work):
            for r in range(first, last, FLAT_ROWS):
                rows = least(FLAT_ROWS, last - r)
                few(parameter, rows_from(z, r, 0), wanted_from(wanted, r), found_from(found, r), rows, columns, work)
            return
        for r in range(first, last):
            p, y, label, d, scale = _line(z, wanted, found, r)
            if scale == 0.0:
                _clear(d, found, r, columns)
            else:
                put(found.hits, r, hit(p, y, label, columns))
                total = splat(p, 0.0)
                for j in range(0, columns, lanes(p)):
                    tail = _tail(columns, j, p)
                    value, slope = value_and_slope(load_head(p, j, tail), load_head(y, j, tail), parameter)
                    total = total + counted(value, tail)
                    store_head(d, j, slope * (scale * (1.0 / columns)), tail)
                put(found.losses, r, sum_across(total) * (1.0 / columns))

    return run


@inline
def _bring_together(source, target, rows, columns):
    """Rows of at most a vector, one after the other. Of what is written behind them, nothing matters."""
    if source.row == columns:
        copy_rows(as_matrix(source), Rows(target, 0), 1, rows * columns)
    else:
        for r in range(rows):
            store(target, r * columns, load(source.at, r * source.row))


@inline
def _take_apart(source, target, rows, columns):
    """The other way round."""
    if target.row == columns:
        copy_rows(Matrix(source, 0, 1), target, 1, rows * columns)
    else:
        for r in range(rows):
            store(target.at, r * target.row, load(source, r * columns))


def _takes(numbers):
    rows, integers, doubles = rows_type(numbers), types.CPointer(types.int64), types.CPointer(types.float64)
    wanted = types.BaseTuple.from_types((integers, rows, numbers), Wanted)
    found = types.BaseTuple.from_types((rows, doubles, doubles), Found)
    return types.float64, rows, wanted, found, types.intp, types.intp, types.intp, numbers


def _wide(loss):
    run = _loop(loss)

    @apart(_takes)
    def rows(parameter, z, wanted, found, first, last, columns, work):
        run(parameter, z, wanted, found, first, last, columns, work)

    return rows


def _narrow(loss):
    run = loss.narrow

    @apart(_takes)
    def rows(parameter, z, wanted, found, first, last, columns, work):
        for r in range(first, last, lanes(work)):
            count = least(lanes(work), last - r)
            run(rows_from(z, r, 0), wanted_from(wanted, r), parameter, found_from(found, r), count, columns, work)

    return rows


# Few numbers a row are soon done: choosing for each takes as long
_rows = calling(_takes)
_wide_loops = [_wide(row) for row in TABLE]
_narrow_loops = {code: _narrow(row) for code, row in enumerate(TABLE) if row.narrow is not None}
_wide_addresses = Addresses(lambda code, dtype: [_wide_loops[code].address(dtype)])
_narrow_addresses = Addresses(lambda code, dtype: [_narrow_loops[code].address(dtype)])


def compiled(code: int, columns: int, dtype: Any) -> int:
    """What kernels take for a row of the table, with so many outputs: where the address of its loop is."""
    narrow = columns <= NARROW_LOSS and code in _narrow_loops
    return (_narrow_addresses if narrow else _wide_addresses)(code, np.dtype(dtype))


@inline
def loss_rows(function, z, wanted, found, first, last, columns, work):
    """Loss, hit and scaled gradient of the rows first … last - 1.

    function: a row of the table, and its parameter: Huber's delta, the quantile; of the cross-entropies from logits,
    for labels and for bits, where a probability is cut, 0 for nowhere; of Poisson's, whether it is ``plain``. The other
    losses have none.  z: Rows (last, columns); the gradients may be written over it.  work: LOSS_WORK numbers.

    The rows of z, of the targets and of the gradients each lie one after the other, or they are padded to whole
    vectors, with numbers that may be read and, beside the gradients, written.
    """
    at = get(integers_at(function.code), 0)
    _rows(at, z.at, (function.parameter, z, wanted, found, first, last, columns, work))
