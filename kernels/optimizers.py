"""Optimizer steps on one flat vector, in place. ``state`` holds as many numbers again a time as the rule needs.

The formulas are those of PyTorch's torch.optim (SGD, Adam, AdamW), which the tests compare with.
"""

import math
from typing import NamedTuple

from ._jit import inline
from .counting import PADDING, blocks, least
from .simd import (
    absolute,
    advance,
    far_scale,
    few_squares,
    floor_of_normals,
    fma,
    lanes,
    largest,
    least_root,
    load,
    load_head,
    newton_steps,
    reciprocal_estimate,
    reciprocal_root_estimate,
    splat,
    sqrt,
    store,
    store_head,
    sum_across,
    where,
)

SGD = 0
ADAM = 1
ADAMW = 2
STATES = (1, 2, 2)  # vectors of state that each rule keeps, each as long as ``padded_count``

# where each number stands in ``settings``
MOMENTUM = 0  # Adam: beta_1
BETA_2 = 1
EPSILON = 2
WEIGHT_DECAY = 3
NESTEROV = 4
CLIP_NORM = 5  # 0: never clip
EPSILON_BIASED = 6  # 1: ε is added to √v as it is, before its start bias is taken away
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
def no_change():
    """For where a gradient is asked for, and no step."""
    return Change(SGD, 1, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


@inline
def _two_factors(factor):
    """Two whose product it is: one alone may be below what float32 holds, where the gradient is nearly too large."""
    if factor < 2.0**-60:
        return 2.0**-80, factor * 2.0**80
    return 1.0, factor


@inline
def scaled(change, factor):
    """The same step with gradients multiplied by ``factor``."""
    first, second = _two_factors(factor)
    return Change(
        change.rule, 0, first, second, change.decay, change.shrink, change.momentum, change.nesterov, change.step_size,
        change.beta_2, change.spread, change.epsilon, change.l1, change.l2,
    )  # fmt: skip


# x + floor - floor, with floor_of_normals, is x, but never a subnormal number. Where a gradient stays 0 (a pixel that
# is always black) a moment would decay to those and stay there, and each operation on one costs a hundred others: an
# epoch of digits took three times as long from the 50th on.


@inline
def clip_factor(length, limit):
    """What the gradient is multiplied by: 1 inside the limit or without one."""
    return limit / length if limit > 0.0 and length > limit else 1.0


class Change(NamedTuple):
    """One step of a rule: its numbers, worked out once for all parameters."""

    rule: int
    plain: int  # whether gradients and parameters are taken as they are: factor and shrink 1, and no decay
    first_factor: float  # what gradients are multiplied by, one after the other
    factor: float
    decay: float  # what is added to them, times the parameter
    shrink: float  # what parameters are multiplied by
    momentum: float
    nesterov: float
    step_size: float
    beta_2: float
    spread: float
    epsilon: float
    l1: float
    l2: float


@inline
def change_of(rule, settings, rate, step, factor, l1, l2):
    """Step number ``step``, from 1 on. l1, l2: of the penalty on weights, as ``add_penalty`` takes them."""
    momentum, beta_2, decay = settings[MOMENTUM], settings[BETA_2], settings[WEIGHT_DECAY]
    shrink, step_size, spread, epsilon = 1.0, rate, 1.0, settings[EPSILON]
    if rule != SGD:
        step_size = rate / (1.0 - momentum**step)
        spread = 1.0 / math.sqrt(1.0 - beta_2**step)
        if settings[EPSILON_BIASED] != 0.0:
            epsilon *= spread
    if rule == ADAMW:
        shrink, decay = 1.0 - rate * decay, 0.0
    plain = 1 if factor == 1.0 and decay == 0.0 and shrink == 1.0 else 0
    first, second = _two_factors(factor)
    return Change(
        rule,
        plain,
        first,
        second,
        decay,
        shrink,
        momentum,
        settings[NESTEROV],
        step_size,
        beta_2,
        spread,
        epsilon,
        l1,
        l2,
    )


@inline
def _sgd(change, weight, gradient, velocity):
    """v = μ·v + g; w -= rate·v, or rate·(g + μ·v) with Nesterov. Returns w and v."""
    gradient = gradient * change.first_factor * change.factor + change.decay * weight
    if change.momentum != 0.0:
        floor = floor_of_normals(velocity)
        velocity = velocity * change.momentum + gradient + floor - floor
        gradient = gradient + change.momentum * velocity if change.nesterov != 0.0 else velocity
    return weight - change.step_size * gradient, velocity


@inline
def _adam(change, weight, gradient, m, v):
    """m = β₁·m + (1 - β₁)·g; v = β₂·v + (1 - β₂)·g²; w -= rate·m̂ / (√v̂ + ε), m̂ and v̂ without their start bias.

    Returns w, m and v. Without the divider where there are estimates, for it would cost more than all else together:
    1/√v and 1/(√v·spread + ε) are of 14 bits and Newton steps, within 4 units in the last place. An infinite v, which
    they cannot take, leaves w as it is. v is kept to multiples of 8 times the smallest normal number: the root of one
    is added to ε, or a v rounded to 0 beside a tiny ε would make a huge step. (That root is 3e-19 in float32 and 4e-154
    in float64.)
    """
    floor, ceiling = floor_of_normals(v), largest(v)
    if change.plain == 0:
        gradient = fma(gradient * change.first_factor, change.factor, change.decay * weight)
        weight = weight * change.shrink
    m = fma(m, change.momentum, fma(gradient, 1.0 - change.momentum, floor)) - floor
    raised = fma(v, change.beta_2, fma(gradient * (1.0 - change.beta_2), gradient, floor))
    v = raised - floor
    steps = newton_steps(v)
    if steps > 0:
        inverse_root = reciprocal_root_estimate(raised)  # of more than 0; √v is v times it, so 0 for 0
        for _ in range(steps - 1):
            inverse_root = inverse_root * fma(raised * inverse_root, inverse_root * -0.5, 1.5)
        root = v * inverse_root
        root = fma(inverse_root * 0.5, fma(-root, root, v), root)  # the last one to √v itself: one operation less
    else:
        root = sqrt(v)
    bottom = fma(root, change.spread, change.epsilon + change.spread * least_root(v))
    inverse = reciprocal_estimate(bottom)
    for _ in range(steps):
        inverse = inverse * fma(-bottom, inverse, 2.0)
    inverse = where(raised > ceiling, 0.0, inverse)
    return fma(m * -change.step_size, inverse, weight), m, v


@inline
def update(change, w, g, state, apart, count):
    """One step on ``count`` parameters in a row, in place.

    w, g: the parameters and their gradients, apart.  state: m (or v of SGD) of the same parameters; Adam's v lies
    ``apart`` numbers further.
    """
    width = lanes(w)
    second = advance(state, apart)
    j = 0
    while j < count:
        tail = count - j
        whole = tail >= width  # all but the last vector; masks would slow the others down
        if change.rule == SGD:
            # nothing is kept without momentum, and nothing read
            tail = least(tail, width)
            velocity = load_head(state, j, tail) if change.momentum != 0.0 else splat(w, 0.0)
            weight, velocity = _sgd(change, load_head(w, j, tail), load_head(g, j, tail), velocity)
            store_head(w, j, weight, tail)
            if change.momentum != 0.0:
                store_head(state, j, velocity, tail)
        elif whole:
            weight, m, v = _adam(change, load(w, j), load(g, j), load(state, j), load(second, j))
            store(w, j, weight)
            store(state, j, m)
            store(second, j, v)
        else:
            m, v = load_head(state, j, tail), load_head(second, j, tail)
            weight, m, v = _adam(change, load_head(w, j, tail), load_head(g, j, tail), m, v)
            store_head(w, j, weight, tail)
            store_head(state, j, m, tail)
            store_head(second, j, v, tail)
        j += width


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
