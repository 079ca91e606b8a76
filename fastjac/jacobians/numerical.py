"""The Jacobian of any function, by differences: what every closed form here is checked against."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_vector, check_layout
from .layout import to_layout

# The rounding error of a central difference falls as 1/h, its truncation error grows as h²: they meet near
# eps^(1/3).
STEP = float(np.cbrt(np.finfo(np.float64).eps))


def jacobian(f: Callable[..., ArrayLike], x: ArrayLike, layout: str = "numerator") -> Array:
    """J_ij = ∂f_i/∂x_j ≈ (f_i(x + h e_j) − f_i(x − h e_j)) / 2h. Course rows A3, D1, D3.

    Step: h = eps^(1/3)·max(1, |x_j|), which is 6.1e-6 for |x_j| ≤ 1. Error of an entry, M being the largest
    |∂³f_i/∂x_j³| within h of x and eps = 2.2e-16 the relative error of f: at most h²·M/6 + eps·|f_i|/h, that is
    6e-12·M + 4e-11·|f_i| for |x_j| ≤ 1. It says nothing at a kink such as ReLU at 0.

    Args:
        f: from a scalar, vector or matrix to a scalar, vector or matrix (or more axes).
        x: where; taken as float64.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        float64, by the four cases of the course: scalar → scalar 1×1, scalar → vector n×1, vector → scalar 1×m,
        vector → vector n×m. With a matrix on either side: the axes of the output, then the axes of the input (b×m → b×m
        gives b×m×b×m; a vector of a matrix m×m×n), and a scalar on the other side adds no axis (a loss of b×m gives
        b×m). layout="denominator" puts the axes of the input first.

    Raises:
        ValueError: the layout is unknown, or f's output changes shape.

    >>> jacobian(lambda x: x[0] * x[1], [2.0, 3.0]).round(9)
    array([[3., 2.]])
    >>> jacobian(lambda X: X @ X, np.eye(2)).shape
    (2, 2, 2, 2)
    """
    check_layout(layout)
    try:
        x = np.array(x, dtype=np.float64)
    except OverflowError as error:
        raise ValueError("x holds a number that is larger than any float64") from error
    output_shape = np.shape(f(_argument(x)))
    columns = []
    for index in np.ndindex(x.shape):
        h = STEP * max(1.0, abs(float(x[index])))
        above, below = x.copy(), x.copy()
        above[index] += h
        below[index] -= h
        after = np.asarray(f(_argument(above)), dtype=np.float64)
        before = np.asarray(f(_argument(below)), dtype=np.float64)
        for shape in (after.shape, before.shape):
            if shape != output_shape:
                raise ValueError(f"f gave shape {shape} near x, expected {output_shape} as at x")
        # Divided by the distance of the two points as rounded, not by 2h.
        columns.append((after - before) / (above[index] - below[index]))

    input_shape = x.shape
    if len(output_shape) <= 1 and len(input_shape) <= 1:
        output_shape, input_shape = output_shape or (1,), input_shape or (1,)
    J = np.empty((int(np.prod(output_shape)), len(columns)))
    for j, column in enumerate(columns):
        J[:, j] = column.ravel()
    return to_layout(J.reshape(output_shape + input_shape), layout, output_axes=len(output_shape))


def _argument(x: Array) -> float | Array:
    """A copy, so that an f that writes into its argument does no harm; a float if x is a scalar."""
    return float(x) if x.ndim == 0 else x.copy()


def stack_gradients(*gradients: ArrayLike, layout: str = "numerator") -> Array:
    """∂f/∂x has the gradient ∇f_i of each output as a row. Course row A3.

    Args:
        gradients: n vectors (m,), one for each output.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (n, m); layout="denominator" gives (m, n), the gradients as columns.

    Raises:
        ValueError: there is none, or their lengths differ.

    >>> stack_gradients([1.0, 2.0], [3.0, 4.0], [5.0, 6.0])
    array([[1., 2.],
           [3., 4.],
           [5., 6.]])
    """
    if not gradients:
        raise ValueError("gradients is empty, expected at least one vector")
    rows = [as_vector(f"gradient {i}", gradient) for i, gradient in enumerate(gradients)]
    for i, row in enumerate(rows):
        if row.shape != rows[0].shape:
            raise ValueError(f"gradient {i} has shape {row.shape}, expected {rows[0].shape} as gradient 0")
    return to_layout(np.stack(rows), layout)
