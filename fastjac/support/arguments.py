"""Checks of arguments that are not arrays; those of arrays are in ``fastjac.kernels.arrays``."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from typing import SupportsIndex

_LARGEST = 2**63 - 1  # what kernels and NumPy count with


def count(name: str, value: SupportsIndex, least: int = 1, most: int | None = _LARGEST) -> int:
    """A whole number of at least ``least``, and at most ``most``.

    Raises:
        TypeError: not a whole number.
        ValueError: too small, or too large.
    """
    if type(value) is int and least <= value <= _LARGEST == most:  # nearly always
        return value
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, expected a whole number of at least {least}")
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} is {value!r}, expected a whole number of at least {least}") from error
    if number < least:
        raise ValueError(f"{name} is {shown(number)}, expected at least {least}")
    if most is not None and number > most:
        raise ValueError(f"{name} is {shown(number)}, expected at most {shown(most)}")
    return number


def shown(value: object) -> str:
    """A value as a message shows it; a whole number with more digits than anyone reads, by its length."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return f"a whole number of {value.bit_length()} bits"
    return repr(value)


def real(name: str, value: object, low: float = 0.0, high: float = math.inf, *, open_high: bool = True) -> float:
    """A finite number in [low, high) (or [low, high]).

    Raises:
        TypeError: not a number.
        ValueError: outside.
    """
    if type(value) is float and low <= value < high:  # nearly always
        return value
    wanted = f"a finite number in [{low:g}, {high:g}{')' if open_high else ']'}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}, expected {wanted}")
    try:
        number = float(value)
    except (OverflowError, ValueError) as error:  # 10**400, say
        raise ValueError(f"{name} is {shown(value)}, expected {wanted}") from error
    if not math.isfinite(number) or not (low <= number < high or (number == high and not open_high)):
        raise ValueError(f"{name} is {number!r}, expected {wanted}")
    return number


def texts(name: str, value: object) -> tuple[str, ...]:
    """Several texts, such as names of columns.

    Raises:
        TypeError: one text, or what is no text.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} is {value!r}, expected several in a list")
    found = tuple(value)
    for one in found:
        if not isinstance(one, str):
            raise TypeError(f"{name} has {one!r}, expected texts")
    return found
