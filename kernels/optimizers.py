"""Optimizer steps on one flat vector, in place. ``state`` holds as many numbers again a time as the rule needs.

The formulas are those of PyTorch's torch.optim (SGD, Adam, AdamW), which the tests compare with.
"""

import math

from ._jit import inline
from .counting import least
from .simd import (
    absolute,
    advance,
    fma,
    lanes,
    load,
    load_head,
    newton_steps,
    reciprocal_estimate,
    reciprocal_root_estimate,
    smallest_normal,
    splat,
    store,
    store_head,
    sum_across,
    where,
)

SGD = 0
ADAM = 1
ADAMW = 2
STATES = (1, 2, 2)  # vectors of state that each rule keeps

# where each number stands in ``settings``
MOMENTUM = 0  # Adam: beta_1
BETA_2 = 1
EPSILON = 2
WEIGHT_DECAY = 3
NESTEROV = 4
CLIP_NORM = 5  # 0: never clip
SETTINGS = 6


@inline
def norm(g, count):
    """Euclidean length of the gradient, summed in blocks in double precision."""
    total = 0.0
    block = 64 * lanes(g)
    for first in range(0, count, block):
        squares = splat(g, 0.0)
        for j in range(first, least(count, first + block), lanes(g)):
            x = load_head(g, j, least(lanes(g), count - j))
            squares = squares + x * x
        total += sum_across(squares)
    return math.sqrt(total)


@inline
def _flushed(x):
    """x, with subnormal numbers as 0.

    Where a gradient stays 0 (a pixel that is always black) a moment decays to the smallest numbers and stays there, and
    each operation on one costs a hundred others: an epoch of digits took three times as long from the 50th on.
    """
    return where(absolute(x) < smallest_normal(x), 0.0, x)


@inline
def clip_factor(length, limit):
    """What the gradient is multiplied by: 1 inside the limit or without one."""
    return limit / length if limit > 0.0 and length > limit else 1.0


@inline
def _sgd(w, g, state, first, last, rate, settings, factor):
    """v = μ·v + g; w -= rate·v, or rate·(g + μ·v) with Nesterov."""
    momentum, decay, nesterov = settings[MOMENTUM], settings[WEIGHT_DECAY], settings[NESTEROV]
    for j in range(first, last, lanes(w)):
        tail = least(lanes(w), last - j)
        weight = load_head(w, j, tail)
        gradient = load_head(g, j, tail) * factor + decay * weight
        if momentum != 0.0:
            velocity = _flushed(load_head(state, j, tail) * momentum + gradient)
            store_head(state, j, velocity, tail)
            gradient = gradient + momentum * velocity if nesterov != 0.0 else velocity
        store_head(w, j, weight - rate * gradient, tail)


@inline
def _over_root(m, v, spread, epsilon):
    """m / (√v·spread + ε) without the divider, which would cost more than all else together.

    Estimates of 14 bits and Newton steps: within 4 units in the last place of the exact quotient (tested). ``least``
    keeps the estimate of 1/√0 finite; √v is then v times a number, so 0 for 0.
    """
    steps = newton_steps(v)
    least_v = splat(v, 1e-37)
    held = where(v < least_v, least_v, v)
    inverse_root = reciprocal_root_estimate(held)
    for _ in range(steps):
        inverse_root = inverse_root * fma(held * inverse_root, inverse_root * -0.5, 1.5)
    bottom = fma(v * inverse_root, spread, epsilon)
    inverse = reciprocal_estimate(bottom)
    for _ in range(steps):
        # an infinite bottom has an estimate of 0, which must stay 0
        inverse = where(inverse == 0.0, inverse, inverse * fma(-bottom, inverse, 2.0))
    return m * inverse


@inline
def _adam(w, g, state, count, first, last, rate, settings, factor, step, decoupled):
    """m = β₁·m + (1 - β₁)·g; v = β₂·v + (1 - β₂)·g²; w -= rate·m̂ / (√v̂ + ε), m̂ and v̂ without their start bias."""
    beta_1, beta_2, epsilon = settings[MOMENTUM], settings[BETA_2], settings[EPSILON]
    decay = settings[WEIGHT_DECAY]
    coupled_decay = 0.0 if decoupled else decay
    shrink = 1.0 - rate * decay if decoupled else 1.0
    step_size = rate / (1.0 - beta_1**step)
    spread = 1.0 / math.sqrt(1.0 - beta_2**step)
    second = advance(state, count)
    width = lanes(w)
    j = first
    while j < last:
        whole = j + width <= last  # all but the last vector; masks would slow the others down
        if whole:
            weight, gradient = load(w, j), load(g, j)
            m, v = load(state, j), load(second, j)
        else:
            weight, gradient = load_head(w, j, last - j), load_head(g, j, last - j)
            m, v = load_head(state, j, last - j), load_head(second, j, last - j)
        gradient = fma(gradient, factor, coupled_decay * weight)
        m = _flushed(fma(m, beta_1, gradient * (1.0 - beta_1)))
        v = _flushed(fma(v, beta_2, gradient * gradient * (1.0 - beta_2)))
        weight = fma(weight, shrink, -step_size * _over_root(m, v, spread, epsilon))
        if whole:
            store(state, j, m)
            store(second, j, v)
            store(w, j, weight)
        else:
            store_head(state, j, m, last - j)
            store_head(second, j, v, last - j)
            store_head(w, j, weight, last - j)
        j += width


@inline
def update(rule, w, g, state, count, first, last, rate, settings, factor, step):
    """One step of the rule on the numbers first … last - 1 of ``count``; ``step`` counts from 1."""
    if rule == SGD:
        _sgd(w, g, state, first, last, rate, settings, factor)
    elif rule == ADAM:
        _adam(w, g, state, count, first, last, rate, settings, factor, step, False)
    else:
        _adam(w, g, state, count, first, last, rate, settings, factor, step, True)
