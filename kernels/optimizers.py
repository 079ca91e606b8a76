"""The table of optimizers' rules, and their steps on one flat vector, in place.

A row is a name, the settings, how many vectors of state are kept, the numbers that are worked out once a step, and one
expression for what a step makes of a vector of parameters, gradients and states. Adding an optimizer is adding a row,
and a class in ``fastjac/nn/optimizers.py``: the loops below and that file read this table.

The formulas are those of PyTorch's torch.optim (SGD, Adam, AdamW), which the tests compare with.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from ._apart import Addresses, apart, calling
from ._jit import inline, one_of
from .counting import PADDING, blocks, least
from .simd import (
    absolute,
    advance,
    far_scale,
    few_squares,
    floor_of_normals,
    fma,
    get,
    integers_at,
    lanes,
    largest,
    least_kept,
    least_root,
    load,
    load_head,
    newton_steps,
    quotient,
    reciprocal_root_estimate,
    splat,
    sqrt,
    store,
    store_head,
    sum_across,
    where,
)

# where each number stands in ``settings``
MOMENTUM, BETA_2, EPSILON, WEIGHT_DECAY, NESTEROV, CLIP_NORM, EPSILON_BIASED = range(7)
SETTINGS = 7


@inline
def padded_count(count):
    """How far the second vector of state lies from the first: whole cache lines, as the parameters begin at one."""
    return blocks(count, PADDING) * PADDING


@inline
def norm(g, count):
    """Euclidean length of the gradient, whatever its scale.

    Infinite or NaN only where an entry is, or where the length of float64 numbers is none itself.
    """
    total, scale = _squares(g, count)
    return math.sqrt(total) / scale


@inline
def _squares(g, count):
    """Σ (scale·g)², and the scale: 1, or another where squares would overflow or vanish."""
    total, scale = _sum_of_squares(g, count, 1.0), 1.0
    if total == math.inf or total < few_squares(splat(g, 0.0)):
        scale = far_scale(splat(g, 0.0))
        if total == math.inf:
            scale = 1.0 / scale
        total = _sum_of_squares(g, count, scale)
    return total, scale


@inline
def _sum_of_squares(g, count, scale):
    """Σ (scale·g)²: in blocks in the type of g, and the blocks in double precision."""
    total = 0.0
    block = 64 * lanes(g)
    for first in range(0, count, block):
        squares = splat(g, 0.0)
        for j in range(first, least(count, first + block), lanes(g)):
            x = load_head(g, j, least(lanes(g), count - j)) * scale
            squares = squares + x * x
        total += sum_across(squares)
    return total


@inline
def _two_factors(factor):
    """Two whose product it is: one alone may be below what float32 holds, where the gradient is nearly too large."""
    if factor < 2.0**-60:
        return 2.0**-80, factor * 2.0**80
    return 1.0, factor


class Numbers(NamedTuple):
    """What a rule works out once a step, for all parameters."""

    decay: float  # what is added to gradients, times the parameter
    shrink: float  # what parameters are multiplied by
    momentum: float
    nesterov: float
    step_size: float
    beta_2: float
    spread: float
    epsilon: float


class Change(NamedTuple):
    """One step of a rule."""

    loop: int  # the address of the loop that takes it
    own: Any  # the rule's Numbers
    plain: int  # whether gradients and parameters are taken as they are: factors and shrink 1, and no decay
    first_factor: float  # what gradients are multiplied by, one after the other
    factor: float
    l1: float
    l2: float


@inline
def clip_factor(length, limit):
    """What the gradient is multiplied by: 1 inside the limit or without one."""
    return limit / length if limit > 0.0 and length > limit else 1.0


# --- the rules ----------------------------------------------------------------------------------------------


@inline
def _sgd_numbers(settings, rate, step):
    return Numbers(
        decay=settings[WEIGHT_DECAY],
        shrink=1.0,
        momentum=settings[MOMENTUM],
        nesterov=settings[NESTEROV],
        step_size=rate,
        beta_2=settings[BETA_2],
        spread=1.0,
        epsilon=settings[EPSILON],
    )


@inline
def _has_momentum(change):
    return change.own.momentum != 0.0


@inline
def _sgd(change, weight, gradient, velocity, unused):
    """v = μ·v + g; w -= rate·v, or rate·(g + μ·v) with Nesterov."""
    own = change.own
    gradient = gradient * change.first_factor * change.factor + own.decay * weight
    if own.momentum != 0.0:
        floor = floor_of_normals(velocity)
        velocity = velocity * own.momentum + gradient + floor - floor
        gradient = gradient + own.momentum * velocity if own.nesterov != 0.0 else velocity
    return weight - own.step_size * gradient, velocity, unused


# x + floor - floor, with floor_of_normals, is x, but never a subnormal number. Where a gradient stays 0 (a pixel that
# is always black) a moment would decay to those and stay there, and each operation on one costs a hundred others: an
# epoch of digits took three times as long from the 50th on.


# Adam's states are kept as m/(1 - β₁) and v/(1 - β₂): what is added to them is then not multiplied by anything, and its
# time is that of its multiplications where a core begins one of those a cycle. ``units`` of a rule are these 1 - β.


@inline
def _power(base, exponent):
    """base^exponent for whole numbers from 0 on: the same bits as ``**``, for which Numba compiles a function apart."""
    if exponent > 1 << 16:
        return math.pow(base, float(exponent))
    result = 1.0
    while exponent != 0:
        if exponent & 1 != 0:
            result *= base
        exponent >>= 1
        base *= base
    return result


@inline
def _numbers_of_adam(settings, rate, step, decay, shrink):
    one_step = 1.0 - settings[MOMENTUM], 1.0 - settings[BETA_2]
    left = 1.0 - _power(settings[BETA_2], step)
    spread = math.sqrt(left / one_step[1])  # √v̂ is the root of what is kept, over this
    epsilon = settings[EPSILON]
    if settings[EPSILON_BIASED] != 0.0:  # it is added to √v as it is, before its start bias is taken away
        epsilon /= math.sqrt(left)
    return Numbers(
        decay=decay,
        shrink=shrink,
        momentum=settings[MOMENTUM],
        nesterov=settings[NESTEROV],
        step_size=rate * spread * one_step[0] / (1.0 - _power(settings[MOMENTUM], step)),
        beta_2=settings[BETA_2],
        spread=spread,
        epsilon=epsilon * spread,
    )


@inline
def _adam_numbers(settings, rate, step):
    return _numbers_of_adam(settings, rate, step, settings[WEIGHT_DECAY], 1.0)


@inline
def _adamw_numbers(settings, rate, step):
    return _numbers_of_adam(settings, rate, step, 0.0, 1.0 - rate * settings[WEIGHT_DECAY])


@inline
def _always(change):
    return True


@inline
def _root(v):
    """√v of multiples of ``least_kept``: the machine's, or where it has an estimate of 1/√v that and Newton steps.

    The last step is one to √v itself, one operation less. An infinite v gives NaN there.
    """
    steps = newton_steps(v)
    if steps > 0:
        positive = where(v > least_kept(v), v, least_kept(v))  # of which there is an inverse; √v is v times it
        inverse = reciprocal_root_estimate(positive)
        for _ in range(steps - 1):
            inverse = inverse * fma(positive * inverse, inverse * -0.5, 1.5)
        first = v * inverse
        root = fma(inverse * 0.5, fma(-first, first, v), first)
    else:
        root = sqrt(v)
    return root


@inline
def _adam(change, weight, gradient, m, v):
    """m = β₁·m + (1 - β₁)·g; v = β₂·v + (1 - β₂)·g²; w -= rate·m̂ / (√v̂ + ε), m̂ and v̂ without their start bias.

    m and v come and go in their units, as β₁·m + g and β₂·v + g²; ``spread`` and the step make up for that.

    A v that is infinite leaves w as it is, for good. v is kept to multiples of 8 times the smallest normal number: the
    root of one is added to ε, or a v rounded to 0 beside a tiny ε would make a huge step. (That root is 3e-19 in
    float32 and 4e-154 in float64.)
    """
    own, floor, ceiling = change.own, floor_of_normals(v), largest(v)
    if change.plain == 0:
        gradient = fma(gradient * change.first_factor, change.factor, own.decay * weight)
        weight = weight * own.shrink
    m = fma(m, own.momentum, gradient + floor) - floor
    raised = fma(v, own.beta_2, fma(gradient, gradient, floor))
    v = raised - floor
    epsilon = least(own.epsilon + own.spread * least_root(v), 0.5 * ceiling)  # an infinite one has no inverse
    # 0 of a gradient too large to be squared, and NaN of an infinite one: whoever trains looks for that
    ratio = where(raised > ceiling, gradient * 0.0, quotient(m, _root(v) + epsilon))
    return fma(ratio, -own.step_size, weight), m, v


# --- the table ----------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """One row of the table.

    ``numbers(settings, rate, step)`` gives what a step needs, once for all parameters. ``expression(change, weight,
    gradient, first, second)`` takes vectors, and gives those of parameters and states as they are after the step; a
    rule with one vector of state hands the second back as it is.
    """

    name: str
    settings: dict[str, int]  # which attribute of the optimizer stands where
    states: int  # vectors that are kept, each as long as ``padded_count``: one or two
    numbers: Callable[..., Any]
    expression: Callable[..., Any]
    keeps: Callable[..., Any] = _always  # whether this step uses the states: else they are neither read nor written
    units: tuple[int, ...] = ()  # settings β: the states are kept divided by 1 - β, each by its own


_OF_ADAM = {"beta_1": MOMENTUM, "beta_2": BETA_2, "epsilon": EPSILON, "weight_decay": WEIGHT_DECAY}
_UNITS_OF_ADAM = (MOMENTUM, BETA_2)
TABLE = (
    Rule(
        "sgd",
        {"momentum": MOMENTUM, "nesterov": NESTEROV, "weight_decay": WEIGHT_DECAY},
        1,
        _sgd_numbers,
        _sgd,
        _has_momentum,
    ),
    Rule("adam", _OF_ADAM, 2, _adam_numbers, _adam, units=_UNITS_OF_ADAM),
    Rule("adamw", _OF_ADAM, 2, _adamw_numbers, _adam, units=_UNITS_OF_ADAM),
)
CODES = {row.name: code for code, row in enumerate(TABLE)}


_NUMBERS_TYPE = types.BaseTuple.from_types([types.float64] * len(Numbers._fields), Numbers)
CHANGE_TYPE = types.BaseTuple.from_types((types.intp, _NUMBERS_TYPE, types.intp, *[types.float64] * 4), Change)


def _takes(numbers):
    return CHANGE_TYPE, numbers, numbers, numbers, types.intp, types.intp


def _loop(expression, states, keeps):
    @apart(_takes)
    def run(change, w, g, state, apart, count):
        width, kept, two = lanes(w), keeps(change), states > 1
        nothing, second = splat(w, 0.0), advance(state, apart)
        j = 0
        while j <= count - width:  # all but the last vector; masks would slow the others down
            m = load(state, j) if kept else nothing
            v = load(second, j) if two else nothing
            weight, m, v = expression(change, load(w, j), load(g, j), m, v)
            store(w, j, weight)
            if kept:
                store(state, j, m)
            if two:
                store(second, j, v)
            j += width
        if j < count:
            tail = count - j
            m = load_head(state, j, tail) if kept else nothing
            v = load_head(second, j, tail) if two else nothing
            weight, m, v = expression(change, load_head(w, j, tail), load_head(g, j, tail), m, v)
            store_head(w, j, weight, tail)
            if kept:
                store_head(state, j, m, tail)
            if two:
                store_head(second, j, v, tail)

    return run


_numbers = one_of([row.numbers for row in TABLE], "settings, rate, step")
_run = calling(_takes)
# rules with one expression have one loop
_loops = {one: _loop(*one) for one in dict.fromkeys((row.expression, row.states, row.keeps) for row in TABLE)}
_addresses = Addresses(
    lambda code, dtype: [code, _loops[TABLE[code].expression, TABLE[code].states, TABLE[code].keeps].address(dtype)]
)


def compiled(code: int, dtype: Any) -> int:
    """What kernels take for a row of the table: where its code is, and the address of its loop."""
    return _addresses(code, np.dtype(dtype))


@inline
def no_change():
    """For where a gradient is asked for, and no step."""
    nothing = Numbers(
        decay=0.0, shrink=1.0, momentum=0.0, nesterov=0.0, step_size=0.0, beta_2=0.0, spread=1.0, epsilon=0.0
    )
    return Change(0, nothing, 1, 1.0, 1.0, 0.0, 0.0)


@inline
def change_of(rule, settings, rate, step, factor, l1, l2):
    """Step number ``step``, from 1 on, of a rule: what ``compiled`` gives.

    settings: pointer or array.  rate: the learning rate.  factor: what gradients are multiplied by.  l1, l2: of the
    penalty on weights, as ``add_penalty`` takes them.
    """
    code, loop = get(integers_at(rule), 0), get(integers_at(rule), 1)
    own = _numbers(code, settings, rate, step)
    plain = 1 if factor == 1.0 and own.decay == 0.0 and own.shrink == 1.0 else 0
    first, second = _two_factors(factor)
    return Change(loop, own, plain, first, second, l1, l2)


@inline
def scaled(change, factor):
    """The same step with gradients multiplied by ``factor``."""
    first, second = _two_factors(factor)
    return Change(change.loop, change.own, 0, first, second, change.l1, change.l2)


@inline
def update(change, w, g, state, apart, count):
    """One step on ``count`` parameters in a row, in place.

    w, g: the parameters and their gradients, apart.  state: the first vector of state of the same parameters; the
    second lies ``apart`` numbers further.
    """
    _run(change.loop, w, (change, w, g, state, apart, count))


@inline
def add_penalty(l1, l2, w, g, count):
    """g += l1·sign(w) + l2·w."""
    if l1 != 0.0 or l2 != 0.0:
        for j in range(0, count, lanes(w)):
            tail = least(lanes(w), count - j)
            weight = load_head(w, j, tail)
            zero = splat(w, 0.0)
            side = where(weight > zero, splat(w, l1), where(weight < zero, splat(w, -l1), zero))
            store_head(g, j, load_head(g, j, tail) + (side + l2 * weight), tail)


@inline
def penalty(w, count, l1, l2):
    """l1·Σ|w| + l2/2·Σw², whatever the weights' scale."""
    total = 0.0
    if l1 != 0.0:
        block = 64 * lanes(w)
        for first in range(0, count, block):
            sizes = splat(w, 0.0)
            for j in range(first, least(count, first + block), lanes(w)):
                sizes = sizes + absolute(load_head(w, j, least(lanes(w), count - j)))
            total += l1 * sum_across(sizes)
    if l2 != 0.0:
        squares, scale = _squares(w, count)
        total += 0.5 * l2 / scale * squares / scale
    return total
