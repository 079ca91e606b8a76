"""Rows are outputs and columns are inputs, or the other way round: one function turns one into the other."""

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_array, check_layout


def to_layout(J: ArrayLike, layout: str, output_axes: int = 1) -> Array:
    """∂y/∂x (m×n) as it is, or its transpose (n×m). Course row D1.

    Every ``layout=`` in this package goes through here, so there is one formula for a Jacobian, not two.

    Args:
        J: Jacobian in numerator layout: its first output_axes axes are the outputs', the rest the inputs'.
        layout: "numerator" (outputs first, as in the course) or "denominator" (inputs first).
        output_axes: how many axes of J are the outputs'.

    Returns:
        J, or J with the input axes moved in front; same dtype. For a matrix this is the transpose.

    Raises:
        ValueError: the layout is unknown, or there are more output axes than J has.

    >>> to_layout([[1.0, 2.0, 3.0]], "denominator")
    array([[1.],
           [2.],
           [3.]])
    """
    check_layout(layout)
    J = as_array("J", J)
    if not 0 <= output_axes <= J.ndim:
        raise ValueError(f"output_axes is {output_axes}, expected 0 to {J.ndim}, the axes of J, shape {J.shape}")
    if layout == "numerator":
        return J
    axes = range(J.ndim)
    return np.transpose(J, (*axes[output_axes:], *axes[:output_axes]))
