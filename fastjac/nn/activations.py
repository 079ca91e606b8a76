"""Activations by name, with their parameter (course B4). The functions themselves are rows of one table in kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastjac.kernels.activations import CODES, TABLE
from fastjac.kernels.arrays import unknown
from fastjac.kernels.checked import activation_code, kernel_parameter
from fastjac.support.attributes import checks_keywords

NAMES = tuple(CODES)


@dataclass(frozen=True)
class ActivationFunction:
    """A named activation and its parameter (course B4).

    Attributes:
        name: one of ``fastjac.nn.activations.NAMES``.
        parameter: relu: its slope at zero; leaky_relu: its slope below zero; elu: alpha; 0 for the others.

    Raises:
        TypeError, ValueError: an unknown name, or a parameter out of range.
    """

    name: str
    parameter: float = 0.0

    def __post_init__(self) -> None:
        activation_code(self.name)
        kernel_parameter(self.name, self.parameter, np.dtype(np.float64))
        object.__setattr__(self, "parameter", float(self.parameter))

    @property
    def code(self) -> int:
        """The row of the kernels' table."""
        return activation_code(self.name)

    @property
    def needs_input(self) -> bool:
        """Whether the slope needs z, because the output alone does not tell it."""
        return TABLE[self.code].needs_input

    def __str__(self) -> str:
        default = TABLE[CODES[self.name]].parameter.default if self.name in CODES else 0.0  # a later version's
        return self.name if self.parameter == default else f"{self.name}({self.parameter:g})"


IDENTITY = ActivationFunction("identity")


@checks_keywords
def relu(at_zero: int = 1) -> ActivationFunction:
    """max(z, 0) (course B4).

    Args:
        at_zero: its slope at z = 0: 1 as in the course, or 0 as in PyTorch.

    Returns:
        The activation, for a layer.

    Raises:
        ValueError: ``at_zero`` is neither 0 nor 1.

    >>> relu(at_zero=0)
    ActivationFunction(name='relu', parameter=0.0)
    """
    if at_zero not in (0, 1):
        raise ValueError(f"at_zero is {at_zero!r}, expected 0 or 1")
    return ActivationFunction("relu", at_zero)


@checks_keywords
def leaky_relu(negative_slope: float = 0.01) -> ActivationFunction:
    """z for z ≥ 0, else negative_slope·z (Maas et al. 2013).

    Args:
        negative_slope: a finite number above 0.

    Returns:
        The activation, for a layer.

    Raises:
        TypeError, ValueError: not such a number.

    >>> leaky_relu(0.2)
    ActivationFunction(name='leaky_relu', parameter=0.2)
    """
    return ActivationFunction("leaky_relu", negative_slope)


@checks_keywords
def elu(alpha: float = 1.0) -> ActivationFunction:
    """z for z ≥ 0, else alpha·(e^z - 1) (Clevert et al. 2016).

    Args:
        alpha: a finite number above 0; the function goes to -alpha where z goes to -∞.

    Returns:
        The activation, for a layer.

    Raises:
        TypeError, ValueError: not such a number.

    >>> elu(0.5)
    ActivationFunction(name='elu', parameter=0.5)
    """
    return ActivationFunction("elu", alpha)


# what other libraries call theirs
_ELSEWHERE = {
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "logsig": "sigmoid",
    "swish": "silu",
    "leakyrelu": "leaky_relu",
    "softmax": "the layer fastjac.Softmax()",
    "hardtanh": "tanh",
    "tansig": "tanh",
}


def get(activation: str | ActivationFunction | None) -> ActivationFunction:
    """The activation for a name, None (identity) or an ``ActivationFunction``.

    Raises:
        ValueError: unknown name.
        TypeError: anything else.

    >>> get("tanh").name
    'tanh'
    """
    if activation is None:
        return IDENTITY
    if isinstance(activation, ActivationFunction):
        return activation
    if isinstance(activation, str):
        if activation not in CODES:
            raise unknown("activation", activation, NAMES, _ELSEWHERE)
        return ActivationFunction(activation, TABLE[CODES[activation]].parameter.default)
    raise TypeError(
        f"activation is {activation!r}, expected a name ({', '.join(NAMES)}), None, or fastjac.relu(...),"
        " fastjac.leaky_relu(...), fastjac.elu(...); for a function of your own use the layer fastjac.Elementwise"
    )
