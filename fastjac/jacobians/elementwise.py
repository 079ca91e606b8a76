"""Element-wise operations: f_i depends on x_i alone, so the Jacobian is diagonal.

``elementwise`` writes the zeros out; ``elementwise_diagonal`` is the same matrix as a ``Diagonal``.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_array, as_vector, check_same_shape
from .diagonal import Diagonal


class ActivationFunction(Protocol):
    """Anything with a name from the table below and its one parameter."""

    @property
    def name(self) -> str: ...

    @property
    def parameter(self) -> float: ...


_erfc = np.frompyfunc(math.erfc, 1, 1)


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))  # never above 1, so nothing overflows
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def _normal_cdf(z: Array) -> Array:
    return np.asarray(_erfc(-z / math.sqrt(2)), dtype=z.dtype) / 2


def _normal_density(z: Array) -> Array:
    return np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)


def _finite(z: Array) -> Array:
    """±inf as ±the largest number: the limit of z·f(z) where f falls off faster than 1/z is 0, not inf·0."""
    return np.clip(z, np.finfo(z.dtype).min, np.finfo(z.dtype).max)


class _Row(NamedTuple):
    value: Callable[[Array, float | np.floating], Array]
    slope: Callable[[Array, float | np.floating], Array]
    parameter: float  # what it is when only a name is given; unused by most


# One row an activation: a(z) and a′(z). At a kink the slope is the right-hand one, as the course has it
# for ReLU.
_TABLE = {
    "identity": _Row(lambda z, _: z, lambda z, _: np.ones_like(z), 0.0),
    "relu": _Row(
        # `z < 0`, not `z >= 0`, lets NaN through; + 0 turns −0 into +0.
        lambda z, _: np.where(z < 0, 0, z) + 0,
        lambda z, at_zero: np.where(z < 0, 0, np.where(z == 0, at_zero, 1)),
        1.0,
    ),
    "leaky_relu": _Row(
        lambda z, below: np.where(z >= 0, z, below * z),
        lambda z, below: np.where(z >= 0, 1, below),
        0.01,
    ),
    "sigmoid": _Row(
        lambda z, _: _sigmoid(z),
        lambda z, _: _sigmoid(z) * _sigmoid(-z),  # a(1 − a), with 1 − a free of cancellation
        0.0,
    ),
    "tanh": _Row(lambda z, _: np.tanh(z), lambda z, _: (1 + np.tanh(z)) * (1 - np.tanh(z)), 0.0),
    "softplus": _Row(
        lambda z, _: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
        lambda z, _: _sigmoid(z),
        0.0,
    ),
    "elu": _Row(
        lambda z, alpha: np.where(z < 0, alpha * np.expm1(np.minimum(z, 0)), z),
        lambda z, alpha: np.where(z < 0, alpha * np.exp(np.minimum(z, 0)), 1),
        1.0,
    ),
    "silu": _Row(
        lambda z, _: np.where(np.isneginf(z), 0, z * _sigmoid(z)),
        lambda z, _: _sigmoid(z) + _finite(z) * _sigmoid(z) * _sigmoid(-z),
        0.0,
    ),
    "gelu": _Row(
        lambda z, _: np.where(np.isneginf(z), 0, z * _normal_cdf(z)),
        lambda z, _: _normal_cdf(z) + _finite(z) * _normal_density(z),
        0.0,
    ),
}

Derivative = str | ActivationFunction | Callable[[Array], ArrayLike]


def _look_up(activation: str | ActivationFunction) -> tuple[_Row, float]:
    name = activation if isinstance(activation, str) else getattr(activation, "name", None)
    if not isinstance(name, str):
        raise TypeError(
            f"activation is {activation!r}, expected a name ({', '.join(_TABLE)}), or an object that has one"
        )
    if name not in _TABLE:
        raise ValueError(f"activation is {name!r}, expected one of {', '.join(map(repr, _TABLE))}")
    row = _TABLE[name]
    parameter = row.parameter if isinstance(activation, str) else activation.parameter
    try:
        return row, float(parameter)
    except OverflowError as error:
        raise ValueError(f"the parameter of {name} is larger than any float, expected a number that is none") from error


# inf·0 and exp of a large square are meant: their outcome is chosen above.
@np.errstate(over="ignore", invalid="ignore")
def activation_value(activation: str | ActivationFunction, z: ArrayLike) -> Array:
    """a = g(z), entry by entry. Course row B4.

    Args:
        activation: a name (identity, relu, leaky_relu, sigmoid, tanh, softplus, elu, silu, gelu) or an object with
            ``.name`` and ``.parameter`` (leaky_relu: slope below zero, 0.01; elu: alpha, 1).
        z: float32 or float64, any shape.

    Returns:
        The same shape and dtype. At ±inf the limit; NaN stays NaN; ReLU of −0.0 is +0.0.

    Raises:
        ValueError: a name is not known.

    >>> activation_value("relu", [-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    z = as_array("z", z)
    row, parameter = _look_up(activation)
    return row.value(z, z.dtype.type(parameter)).astype(z.dtype)


@np.errstate(over="ignore", invalid="ignore")
def activation_slope(activation: str | ActivationFunction, z: ArrayLike) -> Array:
    """g′(z), entry by entry: the diagonal of ∂a/∂z. Course row B4.

    Args:
        activation: as for ``activation_value``; the parameter of relu is its slope at zero, 1 as in the course.
        z: float32 or float64, any shape.

    Returns:
        The same shape and dtype. At the kink of relu, leaky_relu and elu (z = +0.0 or −0.0) the slope is the right-hand
        one; at ±inf the limit; NaN gives NaN, but identity, relu and elu 1, leaky_relu its slope below zero.

    Raises:
        ValueError: a name is not known.

    >>> activation_slope("relu", [-1.0, -0.0, 0.0, 2.0])
    array([0., 1., 1., 1.])
    """
    z = as_array("z", z)
    row, parameter = _look_up(activation)
    return row.slope(z, z.dtype.type(parameter)).astype(z.dtype, copy=False)


def _slopes(derivative: Derivative, x: ArrayLike) -> Array:
    x = as_vector("x", x)
    if isinstance(derivative, str) or not callable(derivative):
        return activation_slope(derivative, x)
    slopes = as_array("derivative(x)", derivative(x))
    check_same_shape("derivative(x)", slopes, "x", x)
    return slopes


def elementwise_diagonal(derivative: Derivative, x: ArrayLike) -> Diagonal:
    """diag(f′(x)) of f_i(x) = f(x_i), n numbers stored. Course row B2.

    Args:
        derivative: f′, from an array to an array of its shape; or an activation's name, or an object with ``.name`` and
            ``.parameter``.
        x: vector (n,) float32 or float64.

    Returns:
        A ``Diagonal`` n×n of the dtype of f′(x).

    Raises:
        ValueError: f′(x) has another shape than x, or a name is not known.

    >>> elementwise_diagonal(np.cos, [0.0, 0.0])
    Diagonal([1., 1.])
    """
    return Diagonal(_slopes(derivative, x))


def elementwise(derivative: Derivative, x: ArrayLike) -> Array:
    """∂f/∂x = diag(f′(x)) of any element-wise f_i(x) = f(x_i). Course row B2.

    Args:
        derivative: f′, from an array to an array of its shape; or an activation's name, or an object with ``.name`` and
            ``.parameter``.
        x: vector (n,) float32 or float64.

    Returns:
        (n, n), the zeros written out; ``elementwise_diagonal`` is the same matrix in n numbers. Diagonal, so both
        layouts are the same array. For f(x) = x, f′ is ``np.ones_like`` and the Jacobian is I.

    Raises:
        ValueError: f′(x) has another shape than x, or a name is not known.

    >>> elementwise(lambda x: 2 * x, [1.0, 3.0])
    array([[2., 0.],
           [0., 6.]])
    """
    return np.diag(_slopes(derivative, x))


def log_plus_exp(x: ArrayLike) -> Array:
    """∂f/∂x = diag(1/x + eˣ) of f(x) = ln x + eˣ. Course row B3.

    Args:
        x: vector (n,) of positive numbers.

    Returns:
        (n, n).

    Raises:
        ValueError: an entry is not positive: ln x is not defined there.

    >>> log_plus_exp([1.0]).round(6)
    array([[3.718282]])
    """
    x = as_vector("x", x)
    if not np.all(x > 0):
        raise ValueError(f"x holds {x[~(x > 0)][0]!s}, expected positive numbers: ln x is not defined elsewhere")
    return elementwise(lambda x: 1 / x + np.exp(x), x)


class _Activation(NamedTuple):
    name: str
    parameter: float


def identity(z: ArrayLike) -> Array:
    """∂a/∂z = I of a = z. Course row B2.

    Args:
        z: vector (n,) float32 or float64.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> identity([5.0, 7.0])
    array([[1., 0.],
           [0., 1.]])
    """
    return elementwise("identity", z)


def sigmoid(z: ArrayLike) -> Array:
    """∂a/∂z = diag(a(1 − a)) of a = σ(z) = 1/(1 + e^−z). Course row B4.

    Args:
        z: vector (n,) float32 or float64: the input of σ, not its output.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> sigmoid([0.0, 0.0])
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    return elementwise("sigmoid", z)


def tanh(z: ArrayLike) -> Array:
    """∂a/∂z = diag((1 + a)(1 − a)) of a = tanh(z). Course row B4.

    Args:
        z: vector (n,) float32 or float64: the input of tanh, not its output.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> tanh([0.0])
    array([[1.]])
    """
    return elementwise("tanh", z)


def relu(z: ArrayLike, at_zero: float = 1.0) -> Array:
    """∂a/∂z = diag(1 if z ≥ 0 else 0) of a = max(0, z). Course row B4.

    Args:
        z: vector (n,) float32 or float64.
        at_zero: the slope at z = +0.0 and −0.0: 1 in the course; PyTorch and JAX take 0.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> relu([-1.0, 0.0])
    array([[0., 0.],
           [0., 1.]])
    """
    return elementwise(_Activation("relu", at_zero), z)


def leaky_relu(z: ArrayLike, negative_slope: float = 0.01) -> Array:
    """∂a/∂z = diag(1 if z ≥ 0 else negative_slope). Course row B2.

    Args:
        z: vector (n,) float32 or float64.
        negative_slope: the slope below zero.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> leaky_relu([-1.0, 1.0])
    array([[0.01, 0.  ],
           [0.  , 1.  ]])
    """
    return elementwise(_Activation("leaky_relu", negative_slope), z)


def softplus(z: ArrayLike) -> Array:
    """∂a/∂z = diag(σ(z)) of a = ln(1 + eᶻ). Course row B2.

    Args:
        z: vector (n,) float32 or float64.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> softplus([0.0])
    array([[0.5]])
    """
    return elementwise("softplus", z)


def elu(z: ArrayLike, alpha: float = 1.0) -> Array:
    """∂a/∂z = diag(1 if z ≥ 0 else alpha·eᶻ) of a = z if z ≥ 0 else alpha·(eᶻ − 1). Course row B2.

    Args:
        z: vector (n,) float32 or float64.
        alpha: as in the formula.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> elu([0.0, 1.0])
    array([[1., 0.],
           [0., 1.]])
    """
    return elementwise(_Activation("elu", alpha), z)


def silu(z: ArrayLike) -> Array:
    """∂a/∂z = diag(σ(z) + z·σ(z)·σ(−z)) of a = z·σ(z). Course row B2.

    Args:
        z: vector (n,) float32 or float64.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> silu([0.0])
    array([[0.5]])
    """
    return elementwise("silu", z)


def gelu(z: ArrayLike) -> Array:
    """∂a/∂z = diag(Φ(z) + z·φ(z)) of a = z·Φ(z), Φ the normal distribution (exact, with erf). Course row B2.

    Args:
        z: vector (n,) float32 or float64.

    Returns:
        (n, n).

    Raises:
        ValueError: z is no vector.

    >>> gelu([0.0])
    array([[0.5]])
    """
    return elementwise("gelu", z)


class BinaryJacobians(NamedTuple):
    """The two Jacobians of an element-wise function of two vectors. Course row B7.

    Attributes:
        df_du: (n, n), ∂f/∂u, diagonal.
        df_dv: (n, n), ∂f/∂v, diagonal.
    """

    df_du: Array
    df_dv: Array


def binary_elementwise(
    df_du: Callable[[Array, Array], ArrayLike],
    df_dv: Callable[[Array, Array], ArrayLike],
    u: ArrayLike,
    v: ArrayLike,
) -> BinaryJacobians:
    """∂f/∂u and ∂f/∂v, both diagonal, of f_i(u, v) = f(u_i, v_i). Course row B7.

    Args:
        df_du, df_dv: the partial derivatives of f, from two arrays to an array of their shape.
        u, v: vectors (n,).

    Returns:
        Two arrays (n, n), ``df_du`` and ``df_dv``.

    Raises:
        ValueError: u and v differ in shape, or a derivative has another shape than u.

    >>> binary_elementwise(lambda u, v: 2 * u * v, lambda u, v: u**2, [1.0, 2.0], [3.0, 4.0]).df_du
    array([[ 6.,  0.],
           [ 0., 16.]])
    """
    u, v = as_vector("u", u), as_vector("v", v)
    check_same_shape("v", v, "u", u)
    return BinaryJacobians(elementwise(lambda u: df_du(u, v), u), elementwise(lambda v: df_dv(u, v), v))


def add(u: ArrayLike, v: ArrayLike) -> BinaryJacobians:
    """(I, I): the Jacobians of u + v in u and in v. Course row B7.

    Args:
        u, v: vectors (n,).

    Returns:
        Two arrays (n, n).

    Raises:
        ValueError: u and v differ in shape.

    >>> add([1.0], [2.0])
    BinaryJacobians(df_du=array([[1.]]), df_dv=array([[1.]]))
    """
    return binary_elementwise(lambda u, v: np.ones_like(u), lambda u, v: np.ones_like(v), u, v)


def subtract(u: ArrayLike, v: ArrayLike) -> BinaryJacobians:
    """(I, −I): the Jacobians of u − v in u and in v. Course row B7.

    Args:
        u, v: vectors (n,).

    Returns:
        Two arrays (n, n).

    Raises:
        ValueError: u and v differ in shape.

    >>> subtract([1.0], [2.0])
    BinaryJacobians(df_du=array([[1.]]), df_dv=array([[-1.]]))
    """
    return binary_elementwise(lambda u, v: np.ones_like(u), lambda u, v: -np.ones_like(v), u, v)


def multiply(u: ArrayLike, v: ArrayLike) -> BinaryJacobians:
    """(diag v, diag u): the Jacobians of u ⊙ v in u and in v. Course row B7.

    Args:
        u, v: vectors (n,).

    Returns:
        Two arrays (n, n).

    Raises:
        ValueError: u and v differ in shape.

    >>> multiply([1.0], [2.0])
    BinaryJacobians(df_du=array([[2.]]), df_dv=array([[1.]]))
    """
    return binary_elementwise(lambda u, v: v, lambda u, v: u, u, v)
