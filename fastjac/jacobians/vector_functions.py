"""The two vector functions the course begins with: one input, then two."""

import math

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_array, as_vector, check_length
from .layout import to_layout


def circle_function(t: ArrayLike) -> Array:
    """r(t) = (cos 2πt, sin 2πt). Course row A1.

    Args:
        t: scalar, in turns.

    Returns:
        (2,): a dot on the unit circle.

    Raises:
        ValueError: t is no scalar.

    >>> circle_function(0.25).round(12)
    array([0., 1.])
    """
    angle = 2 * math.pi * as_array("t", t, 0)
    return np.array([np.cos(angle), np.sin(angle)])


def circle(t: ArrayLike, layout: str = "numerator") -> Array:
    """∂r/∂t = (−2π sin 2πt, 2π cos 2πt) of r(t) = (cos 2πt, sin 2πt). Course row A1.

    Args:
        t: scalar, in turns.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (2, 1): one input is one column; layout="denominator" gives (1, 2).

    Raises:
        ValueError: t is no scalar or the layout is unknown.

    >>> (circle(0.0) / np.pi).round(12)
    array([[-0.],
           [ 2.]])
    """
    angle = 2 * math.pi * as_array("t", t, 0)
    J = np.array([[-2 * math.pi * np.sin(angle)], [2 * math.pi * np.cos(angle)]])
    return to_layout(J, layout)


def sin_cos_tan_function(x: ArrayLike) -> Array:
    """r(x) = (sin, cos, tan)(x1 − x2). Course row A2.

    Args:
        x: vector (2,).

    Returns:
        (3,).

    Raises:
        ValueError: x is no vector of two.

    >>> sin_cos_tan_function([1.0, 1.0])
    array([0., 1., 0.])
    """
    x = as_vector("x", x)
    check_length("x", x, 2, "the function is of x1 − x2")
    d = x[0] - x[1]
    return np.array([np.sin(d), np.cos(d), np.tan(d)])


def sin_cos_tan(x: ArrayLike, layout: str = "numerator") -> Array:
    """∂r/∂x has rows (cos, −cos), (−sin, sin), (sec², −sec²) of x1 − x2. Course row A2.

    The slide prints the last entry of row 2 as +cos(x1 − x2): a slip, ∂cos(x1 − x2)/∂x2 = +sin(x1 − x2).

    Args:
        x: vector (2,).
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (3, 2); layout="denominator" gives (2, 3).

    Raises:
        ValueError: x is no vector of two or the layout is unknown.

    >>> sin_cos_tan([1.0, 1.0])
    array([[ 1., -1.],
           [-0.,  0.],
           [ 1., -1.]])
    """
    x = as_vector("x", x)
    check_length("x", x, 2, "the function is of x1 − x2")
    d = x[0] - x[1]
    slopes = np.array([np.cos(d), -np.sin(d), 1 / np.cos(d) ** 2])  # of sin, cos and tan
    return to_layout(np.outer(slopes, [1, -1]).astype(x.dtype), layout)
