"""What every function asks of its arguments; errors name the argument, what was seen, what was expected."""

import numbers

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]

LAYOUTS = ("numerator", "denominator")

_SHAPES = {0: "a scalar ()", 1: "a vector (n,)", 2: "a matrix (n, m)"}


def as_array(name: str, value: ArrayLike, ndim: int | None = None) -> Array:
    """value as float32 or float64, whichever it is; integers and booleans become float64."""
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} has dtype {array.dtype}, expected float32 or float64")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}, expected {_SHAPES[ndim]}")
    return array


def as_vector(name: str, value: ArrayLike) -> Array:
    return as_array(name, value, 1)


def as_matrix(name: str, value: ArrayLike) -> Array:
    return as_array(name, value, 2)


def check_length(name: str, vector: Array, length: int, because: str) -> None:
    if vector.shape != (length,):
        raise ValueError(f"{name} has shape {vector.shape}, expected ({length},): {because}")


def check_same_shape(name: str, array: Array, other_name: str, other: Array) -> None:
    if array.shape != other.shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {other.shape}, the shape of {other_name}")


def check_unit_interval(name: str, array: Array) -> None:
    outside = ~((array >= 0) & (array <= 1))  # so written, NaN counts as outside
    if outside.any():
        raise ValueError(f"{name} holds {array[outside].flat[0]!s}, expected numbers in [0, 1]")


def check_not_negative(name: str, array: Array) -> None:
    below = ~(array >= 0)  # so written, NaN counts as below
    if below.any():
        raise ValueError(f"{name} holds {array[below].flat[0]!s}, expected numbers of at least 0")


def check_inside(name: str, value: float, high: float) -> None:
    wanted = f"a number above 0 and below {high:g}"
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}, expected {wanted}")
    if isinstance(value, int) and value.bit_length() > 1023:  # more than a float holds
        raise ValueError(f"{name} is a whole number of {value.bit_length()} bits, expected {wanted}")
    if not 0 < value < high:
        raise ValueError(f"{name} is {value!r}, expected {wanted}")


def check_distribution(name: str, p: Array) -> None:
    """p, or every row of p, is non-negative and sums to 1 within the square root of its dtype's epsilon."""
    if p.shape[-1] == 0:
        raise ValueError(f"{name} has shape {p.shape}, expected a distribution over at least one class")
    check_unit_interval(name, p)
    sums = p.sum(axis=-1)
    wrong = np.abs(sums - 1) > np.sqrt(np.finfo(p.dtype).eps)
    if np.any(wrong):
        raise ValueError(f"{name} sums to {np.extract(wrong, sums)[0]!s}, expected a distribution, which sums to 1")


def check_count(name: str, value: int, at_least: int = 0) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name} is {value!r}, expected an integer of at least {at_least}")


def check_index(name: str, value: int, count: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < count:
        raise ValueError(f"{name} is {value!r}, expected an integer from 0 to {count - 1}")


def check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}, expected one of {', '.join(map(repr, LAYOUTS))}")
