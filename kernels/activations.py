"""The table of activations: a row is a name, a function of z, and its slope, the diagonal of its Jacobian (course B4).

``forward(z, p)`` and ``slope(z, a, p)`` take vectors; ``p`` is the row's one number, see ``Parameter``. The slope sees
the input z and the output a. Most rows need the output alone; a row that says ``needs_input`` has z kept for it by the
forward pass.
Adding an activation is adding a row: the loops below, the checks, the tests and the documentation read this table.

The slope is only ever the local derivative: the loops multiply it with the gradient that arrives from above.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import vectormath
from ._apart import Addresses, apart, calling
from ._jit import inline
from .matrix import rows_from, rows_type
from .simd import (
    bits,
    get,
    integers_at,
    lanes,
    least_normal,
    load,
    load_head,
    splat,
    store,
    store_head,
    where,
)


class Parameter(NamedTuple):
    """The one number that a row takes, as a user gives it. The rows that have no use for one take any."""

    default: float = 0.0
    wanted: str = "a number"
    what: str = ""  # what it is called; "" for "the parameter of …"
    allowed: Callable[[float], bool] = lambda number: True
    taken_as: Callable[[float, Any], float] = lambda number, dtype: number  # by the row's functions, in this type


class Activation(NamedTuple):
    """One row of the table."""

    name: str
    forward: Callable[..., Any]
    slope: Callable[..., Any]
    needs_input: bool = False
    parameter: Parameter = Parameter()


@inline
def _identity(z, p):
    return z


@inline
def _identity_slope(z, a, p):
    return splat(a, 1.0)


@inline
def _relu(z, p):
    # p is the least z that is alive: 0 for ReLU'(0) = 1 (course B4), the smallest positive number for ReLU'(0) = 0.
    # Dead units are marked -0.0, live zeros are +0.0 (z + 0.0 turns -0.0 into +0.0), and NaN, not being < p, stays.
    return where(z < p, -0.0, z + 0.0)


@inline
def _relu_slope(z, a, p):
    dead = bits(splat(a, -0.0))
    return where(bits(a) == dead, splat(a, 0.0), splat(a, 1.0))


@inline
def _leaky_relu(z, p):
    # A product that underflows to -0.0 becomes the smallest normal negative number, so that a < 0 always tells z < 0,
    # also where smaller ones count as 0
    scaled = z * p
    return where(z < 0.0, where(scaled == 0.0, -least_normal(z), scaled), z)


@inline
def _leaky_relu_slope(z, a, p):
    # a zero counts as not negative, as in relu; NaN takes p, as it does in PyTorch and JAX
    return where(a >= 0.0, splat(a, 1.0), splat(a, p))


@inline
def _sigmoid(z, p):
    return vectormath.sigmoid(z)


@inline
def _sigmoid_slope(z, a, p):
    return a * (1.0 - a)


@inline
def _tanh(z, p):
    return vectormath.tanh(z)


@inline
def _tanh_slope(z, a, p):
    return (1.0 + a) * (1.0 - a)


@inline
def _softplus(z, p):
    return vectormath.softplus(z)


@inline
def _softplus_slope(z, a, p):
    # softplus' = sigmoid(z) = 1 - e^-a: the output is enough, and expm1 keeps the relative accuracy of small a
    return -vectormath.expm1(-a)


@inline
def _elu(z, p):
    scaled = p * vectormath.expm1(z)
    return where(z < 0.0, where(scaled == 0.0, -least_normal(z), scaled), z)  # as in leaky ReLU


@inline
def _elu_slope(z, a, p):
    return where(a < 0.0, a + p, splat(a, 1.0))


@inline
def _silu(z, p):
    return vectormath.silu(z)


@inline
def _silu_slope(z, a, p):
    return vectormath.silu_slope(z)


@inline
def _gelu(z, p):
    return vectormath.gelu(z)


@inline
def _gelu_slope(z, a, p):
    return vectormath.gelu_slope(z)


def _positive(default):
    return Parameter(default, "a positive number", allowed=lambda number: 0 < number < float("inf"))


_AT_ZERO = Parameter(
    default=1.0,
    wanted="0 or 1",
    what="the slope of relu at zero",
    allowed=lambda number: number in (0, 1),
    taken_as=lambda number, dtype: 0.0 if number == 1 else float(np.finfo(dtype).smallest_subnormal),
)
TABLE = (
    Activation("identity", _identity, _identity_slope),
    Activation("relu", _relu, _relu_slope, parameter=_AT_ZERO),
    Activation("leaky_relu", _leaky_relu, _leaky_relu_slope, parameter=_positive(0.01)),
    Activation("sigmoid", _sigmoid, _sigmoid_slope),
    Activation("tanh", _tanh, _tanh_slope),
    Activation("softplus", _softplus, _softplus_slope),
    Activation("elu", _elu, _elu_slope, parameter=_positive(1.0)),
    Activation("silu", _silu, _silu_slope, needs_input=True),
    Activation("gelu", _gelu, _gelu_slope, needs_input=True),
)
CODES = {row.name: code for code, row in enumerate(TABLE)}
IDENTITY = CODES["identity"]


def _takes_forward(numbers):
    return types.float64, rows_type(numbers), rows_type(numbers), types.intp, types.intp


def _takes_slope(numbers):
    return types.float64, *[rows_type(numbers)] * 3, types.intp, types.intp


def _forward_loop(forward):
    @apart(_takes_forward)
    def run(p, z, a, rows, columns):
        width = lanes(z.at)
        for i in range(rows):
            source, target = rows_from(z, i, 0).at, rows_from(a, i, 0).at
            j = 0
            while j <= columns - width:
                store(target, j, forward(load(source, j), p))
                j += width
            if j < columns:
                tail = columns - j
                store_head(target, j, forward(load_head(source, j, tail), p), tail)

    return run


def _slope_loop(slope):
    @apart(_takes_slope)
    def run(p, z, a, d, rows, columns):
        width = lanes(a.at)
        for i in range(rows):
            before, after, gradient = rows_from(z, i, 0).at, rows_from(a, i, 0).at, rows_from(d, i, 0).at
            j = 0
            while j <= columns - width:
                store(gradient, j, load(gradient, j) * slope(load(before, j), load(after, j), p))
                j += width
            if j < columns:
                tail = columns - j
                local = slope(load_head(before, j, tail), load_head(after, j, tail), p)
                store_head(gradient, j, load_head(gradient, j, tail) * local, tail)

    return run


# The choice is outside the loops: inside, among nine, it costs eleven times the work of a relu
_forward, _slope = calling(_takes_forward), calling(_takes_slope)
_loops = [(_forward_loop(row.forward), _slope_loop(row.slope)) for row in TABLE]
_addresses = Addresses(lambda code, dtype: [loop.address(dtype) for loop in _loops[code]])


def compiled(code: int, dtype: Any) -> int:
    """What kernels take for a row of the table: where the addresses of its two loops are."""
    return _addresses(code, np.dtype(dtype))


def compiled_or_none(code: int, dtype: Any) -> int:
    """As ``compiled``, for who has nothing to do where it is the identity: then it is 0."""
    return 0 if code == IDENTITY else compiled(code, dtype)


@inline
def activate(function, z, a, rows, columns):
    """A = f(Z), element by element. Z, A: Rows (rows, columns); A may be Z."""
    if columns == z.row and columns == a.row:
        rows, columns = 1, rows * columns
    _forward(get(integers_at(function.code), 0), z.at, (function.parameter, z, a, rows, columns))


class Slope(NamedTuple):
    """f'(Z): the function, and its input Z and output A, Rows; where the table's row needs no input, Z may be A."""

    function: Any
    z: Any
    a: Any


@inline
def slope_from(slope, row, column):
    """The slope of the entries from one on, to the right and down."""
    return Slope(slope.function, rows_from(slope.z, row, column), rows_from(slope.a, row, column))


@inline
def multiply_by_slope(slope, d, rows, columns):
    """D = D ⊙ f'(Z): the product with the diagonal Jacobian, in place. D: Rows (rows, columns), neither Z nor A."""
    if slope.function.code != 0:
        if columns == slope.z.row and columns == slope.a.row and columns == d.row:
            rows, columns = 1, rows * columns
        function = slope.function
        at = get(integers_at(function.code), 1)
        _slope(at, d.at, (function.parameter, slope.z, slope.a, d, rows, columns))
