"""The kernels for callers with arrays: every argument is checked, every output is optional.

These are what ``fastjac.kernels`` exports. Matrices may have any strides and byte order; they are copied only where a
kernel can't read them. The floating-point type is that of the parameters (or of the first array), float32 or
float64; other arrays are converted to it. Every refusal is a TypeError or ValueError with both shapes.

With ReLU, the outputs of dead units are -0.0 (which equals 0.0): that is how the backward pass, which sees only the
output, tells z < 0 from z = 0, where the slope is 1 (course B4).
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from . import dense, losses, optimizers
from ._jit import kernel
from .activations import (
    CODES,
    IDENTITY,
    TABLE,
    Slope,
    activate,
    compiled,
    compiled_or_none,
    multiply_by_slope,
    slope_from,
)
from .arrays import (
    FLOATS,
    ArrayLike,
    Float,
    address_of,
    aligned,
    array_of,
    finite,
    float_of,
    float_type,
    floats,
    labels,
    output,
    place_to_write,
    rows,
    strides,
    unknown,
    weights,
)
from .blocking import CHUNK, LOSS_WORK, PANEL, ZEROS
from .counting import blocks, least, padded_row
from .dense import Layer
from .gemm import copy_rows
from .losses import BITS, LABELS, NUMBERS, Found, Wanted
from .matrix import Function, Matrix, Rows, Sizes, alone, matrix_at, matrix_from, rows_from
from .random import dropout_mask as dropout_mask_rows
from .random import key_of
from .simd import (
    address,
    advance,
    doubles_at,
    flush_subnormals,
    get,
    integers_at,
    numbers_at,
    put,
    restore_subnormals,
)
from .tile import ADD, SET

_ZEROS = {dtype: aligned(ZEROS, dtype) for dtype in FLOATS}


def activation_code(activation: str) -> int:
    """The table's row for a name.

    Raises:
        ValueError: unknown name.
    """
    if not isinstance(activation, str):
        raise TypeError(f"activation is {activation!r}, expected a name: {', '.join(CODES)}")
    if activation not in CODES:
        raise unknown("activation", activation, list(CODES))
    return CODES[activation]


def kernel_parameter(activation: str, parameter: float | None, dtype: Float) -> float:
    """The number that the table's row takes, from what a user gave; None for its default.

    Raises:
        TypeError: not a number.
        ValueError: outside of the row's range.
    """
    row = TABLE[CODES[activation]].parameter
    value = row.default if parameter is None else parameter
    name = row.what or f"the parameter of {activation}"
    number = _number(name, value, row.wanted)
    if not row.allowed(number):
        raise ValueError(f"{name} is {value!r}, expected {row.wanted}")
    return row.taken_as(number, dtype)


def _number(name: str, value: object, wanted: str) -> float:
    """Any real number as a float.

    Raises:
        TypeError: something else.
        ValueError: more than a float holds.
    """
    if type(value) is float:
        return value
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}, expected {wanted}")
    try:
        return float(value)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{name} is larger than any floating-point number, expected {wanted}") from error


def _finish(result: np.ndarray, target: np.ndarray) -> np.ndarray:
    if result is not target:
        target[...] = result
    return target


# --- dense --------------------------------------------------------------------------------------------------------


# What these kernels take from Python has addresses where compiled code has pointers; 0 is an array that there is not.


@kernel
def _dense_forward(x, layer, z, a, sizes, function, zeros, panel):
    """x, layer: Matrix and Layer of addresses.  z, a: addresses of arrays without padding."""
    empty = address(zeros)
    bias = numbers_at(layer.b, empty) if layer.bias != 0 else empty
    given = Layer(numbers_at(layer.w, empty), bias, layer.bias)
    kept, value = Rows(numbers_at(z, empty), sizes.outputs), Rows(numbers_at(a, empty), sizes.outputs)
    dense.forward(matrix_at(x, empty), given, kept, value, sizes, function, address(panel), alone(integers_at(0)))


@kernel
def _dense_backward(x, d, slope, w, dx, gradient, sizes, zeros, dz, panel):
    """x, d: Matrix of addresses.  slope, gradient: Slope and Layer of addresses.  w, dx: addresses.

    dZ exists a chunk of rows at a time, in ``dz``: it is made, and used three times, while it is in the cache.
    """
    empty, buffer, team = address(zeros), address(panel), alone(integers_at(0))
    n, i, o = sizes
    inputs, above = matrix_at(x, empty), matrix_at(d, empty)
    own = Slope(slope.function, Rows(numbers_at(slope.z, empty), o), Rows(numbers_at(slope.a, empty), o))
    to = Layer(numbers_at(gradient.w, empty), numbers_at(gradient.b, empty), gradient.bias)
    weight, below = numbers_at(w, empty), Rows(numbers_at(dx, empty), i)
    chunk = Rows(address(dz), padded_row(o))
    for first in range(0, n, CHUNK):
        part = Sizes(least(CHUNK, n - first), i, o)
        copy_rows(matrix_from(above, first, 0), chunk, part.rows, o)
        multiply_by_slope(slope_from(own, first, 0), chunk, part.rows, o)
        add = ADD if first > 0 else SET
        dense.backward_parameters(matrix_from(inputs, first, 0), i, chunk, to, part, add, empty, buffer, team)
        if dx != 0:
            target = rows_from(below, first, 0)
            nothing = Slope(Function(0, 0.0), target, target)
            dense.backward_input(chunk, weight, target, part, nothing, empty, buffer, team)


def _dense_arguments(X: ArrayLike, W: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    dtype = float_of(W)
    W = rows("W", W, (None, None), dtype)
    if 0 in W.shape:
        raise ValueError(f"W has shape {W.shape}, expected at least one input and one output, as (1, 1)")
    return floats("X", X, (None, W.shape[0]), dtype), W


def dense_forward(
    X: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None,
    activation: str = "identity",
    *,
    parameter: float | None = None,
    out: np.ndarray | None = None,
    z_out: np.ndarray | None = None,
) -> np.ndarray:
    """A = f(X·W + b), in one pass (course B5, C7).

    Args:
        X: (N, I) numbers, any strides.
        W: (I, O) float32 or float64, which decides the type of everything.
        b: (O,), or None.
        activation: a name from the activation table.
        parameter: relu: its slope at zero, 1 (default) or 0; leaky_relu: its slope below zero; elu: alpha.
        out: (N, O) array for A.
        z_out: (N, O) array for Z = X·W + b, which silu and gelu need in the backward pass.

    Returns:
        A (N, O), which is ``out`` if given. Dead ReLU units are -0.0.

    Raises:
        TypeError, ValueError: shapes that don't fit, an unknown activation, or arrays that aren't numbers.

    >>> import numpy as np
    >>> X, W = np.array([[1.0, 2.0]]), np.array([[1.0], [3.0]])
    >>> dense_forward(X, W, np.array([-5.0]), activation="relu")
    array([[2.]])
    """
    code = activation_code(activation)
    X, W = _dense_arguments(X, W)
    b = None if b is None else rows("b", b, (W.shape[1],), W.dtype)
    p = kernel_parameter(activation, parameter, W.dtype)
    (n, i), o = X.shape, W.shape[1]
    target = output("out", out, (n, o), W.dtype)
    z_target = None if z_out is None else output("z_out", z_out, (n, o), W.dtype)
    if z_target is not None and np.may_share_memory(target, z_target):
        raise ValueError(f"out and z_out share memory (both of shape {(n, o)}); expected two arrays of shape {(n, o)}")
    A = place_to_write(target, X, W, b)
    Z = A if z_target is None or code == IDENTITY else place_to_write(z_target, X, W, b)
    layer = Layer(address_of(W), address_of(b), 0 if b is None else 1)
    _dense_forward(
        Matrix(address_of(X), *strides(X)),
        layer,
        address_of(Z),
        address_of(A),
        Sizes(n, i, o),
        Function(compiled_or_none(code, W.dtype), p),
        _ZEROS[W.dtype],
        aligned(PANEL, W.dtype),
    )
    if z_target is not None:
        _finish(Z, z_target)
    return _finish(A, target)


def dense_backward(
    dA: ArrayLike,
    A: ArrayLike,
    X: ArrayLike,
    W: ArrayLike,
    activation: str = "identity",
    *,
    Z: ArrayLike | None = None,
    parameter: float | None = None,
    input_gradient: bool = True,
    dX: np.ndarray | None = None,
    dW: np.ndarray | None = None,
    db: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """From dA to dX = dZ·Wᵀ, dW = Xᵀ·dZ and db = Σ dZ, where dZ = dA ⊙ f'(Z) (course B5, C6, C7).

    Args:
        dA: (N, O), gradient with respect to A.
        A: (N, O), as ``dense_forward`` gave it (with relu, the sign of a zero tells dead from live).
        X: (N, I), as in ``dense_forward``.
        W: (I, O), which decides the type of everything.
        activation: a name from the activation table.
        Z: (N, O), X·W + b; needed by silu and gelu.
        parameter: as in ``dense_forward``.
        input_gradient: False for the first layer of a network: dX is not computed.
        dX, dW, db: arrays for the results, (N, I), (I, O), (O,).

    Returns:
        dX (N, I) (None without ``input_gradient``), dW (I, O), db (O,); those given are written.

    Raises:
        TypeError, ValueError: as ``dense_forward``; ValueError for silu or gelu without Z.

    >>> import numpy as np
    >>> X, W, b = np.array([[1.0, 2.0]]), np.array([[1.0], [3.0]]), np.array([0.5])
    >>> A = dense_forward(X, W, b, activation="relu")
    >>> dX, dW, db = dense_backward(np.array([[1.0]]), A, X, W, activation="relu")
    >>> dX, dW.ravel(), db
    (array([[1., 3.]]), array([1., 2.]), array([1.]))
    """
    code = activation_code(activation)
    X, W = _dense_arguments(X, W)
    p = kernel_parameter(activation, parameter, W.dtype)
    (n, i), o = X.shape, W.shape[1]
    dA = floats("dA", dA, (n, o), W.dtype)
    A = rows("A", A, (n, o), W.dtype)
    if Z is None and TABLE[code].needs_input:
        raise ValueError(f"the slope of {activation} needs Z of shape {(n, o)}, but Z is None (A has shape {A.shape})")
    Z = A if Z is None or not TABLE[code].needs_input else rows("Z", Z, (n, o), W.dtype)
    if not input_gradient and dX is not None:
        raise ValueError("dX is given, but input_gradient is False")
    to_dX = output("dX", dX, (n, i), W.dtype) if input_gradient else None
    to_dW, to_db = output("dW", dW, (i, o), W.dtype), output("db", db, (o,), W.dtype)
    given = [t for t in (to_dX, to_dW, to_db) if t is not None]
    if any(np.may_share_memory(one, other) for k, one in enumerate(given) for other in given[:k]):
        raise ValueError(f"dX, dW and db share memory (shapes {[t.shape for t in given]}); expected separate arrays")
    read = dA, A, Z, X, W
    dX = None if to_dX is None else place_to_write(to_dX, *read)
    dW, db = place_to_write(to_dW, *read), place_to_write(to_db, *read)
    if n == 0:
        for one in (dX, dW, db):
            if one is not None:
                one[...] = 0
    _dense_backward(
        Matrix(address_of(X), *strides(X)),
        Matrix(address_of(dA), *strides(dA)),
        Slope(Function(compiled_or_none(code, W.dtype), p), address_of(Z), address_of(A)),
        address_of(W),
        address_of(dX),
        Layer(address_of(dW), address_of(db), 1),
        Sizes(n, i, o),
        _ZEROS[W.dtype],
        aligned(least(CHUNK, n) * padded_row(o) + 64, W.dtype),
        aligned(PANEL, W.dtype),
    )
    return None if dX is None or to_dX is None else _finish(dX, to_dX), _finish(dW, to_dW), _finish(db, to_db)


# --- element-wise and softmax -------------------------------------------------------------------------------------


@kernel
def _activation_forward(z, a, count, function, zeros):
    """z, a: addresses of ``count`` numbers; they may be the same."""
    given, value = Rows(numbers_at(z, address(zeros)), count), Rows(numbers_at(a, address(zeros)), count)
    activate(function, given, value, 1, count)


@kernel
def _activation_backward(slope, d, count, zeros):
    """slope: Slope of addresses.  d: address, changed in place."""
    empty = address(zeros)
    z, a = Rows(numbers_at(slope.z, empty), count), Rows(numbers_at(slope.a, empty), count)
    multiply_by_slope(Slope(slope.function, z, a), Rows(numbers_at(d, empty), count), 1, count)


@kernel
def _softmax(z, s, n, k, zeros):
    """z, s: addresses of arrays (n, k) without padding; they may be the same."""
    losses.softmax(Rows(numbers_at(z, address(zeros)), k), Rows(numbers_at(s, address(zeros)), k), n, k)


@kernel
def _softmax_backward(s, d, n, k, zeros):
    """s, d: as above; d is changed in place."""
    losses.softmax_backward(Rows(numbers_at(s, address(zeros)), k), Rows(numbers_at(d, address(zeros)), k), n, k)


def activation_forward(
    Z: ArrayLike, activation: str, *, parameter: float | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """A = f(Z), element by element (course B2, B4).

    Args:
        Z: (N, K) numbers, any strides.
        activation: a name from the activation table.
        parameter: as in ``dense_forward``.
        out: (N, K) array for A; may be Z.

    Returns:
        A (N, K), which is ``out`` if given. Dead ReLU units are -0.0.

    Raises:
        TypeError, ValueError: not a matrix of numbers, an unknown activation, or an ``out`` that doesn't fit.

    >>> activation_forward([[-1.0, 0.0, 2.0]], "softplus").round(4)
    array([[0.3133, 0.6931, 2.1269]])
    """
    code = activation_code(activation)
    dtype = float_of(Z)
    Z = rows("Z", Z, (None, None), dtype)
    p = kernel_parameter(activation, parameter, dtype)
    target = output("out", out, Z.shape, dtype)
    A = target if target is Z else place_to_write(target, Z)
    _activation_forward(address_of(Z), address_of(A), Z.size, Function(compiled(code, dtype), p), _ZEROS[dtype])
    return _finish(A, target)


def activation_backward(
    dA: ArrayLike,
    A: ArrayLike,
    activation: str,
    *,
    Z: ArrayLike | None = None,
    parameter: float | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """dZ = dA ⊙ f'(Z): the product with the diagonal Jacobian (course B4).

    Args:
        dA: (N, K), gradient with respect to A.
        A: (N, K), as ``activation_forward`` gave it.
        activation: a name from the activation table.
        Z: (N, K), needed by silu and gelu.
        parameter: as in ``dense_forward``.
        out: (N, K) array for dZ.

    Returns:
        dZ (N, K), which is ``out`` if given.

    Raises:
        TypeError, ValueError: as ``activation_forward``; ValueError for silu or gelu without Z.

    >>> activation_backward([[1.0, 1.0]], [[0.5, 0.0]], "tanh")
    array([[0.75, 1.  ]])
    """
    code = activation_code(activation)
    dtype = float_of(A)
    A = rows("A", A, (None, None), dtype)
    dA = floats("dA", dA, A.shape, dtype)
    if Z is None and TABLE[code].needs_input:
        raise ValueError(f"the slope of {activation} needs Z of shape {A.shape}, but Z is None (A has {A.shape})")
    Z = A if Z is None or not TABLE[code].needs_input else rows("Z", Z, A.shape, dtype)
    p = kernel_parameter(activation, parameter, dtype)
    target = None if out is None else output("out", out, A.shape, dtype)
    dZ = np.array(dA, order="C")
    slope = Slope(Function(compiled_or_none(code, dtype), p), address_of(Z), address_of(A))
    _activation_backward(slope, address_of(dZ), A.size, _ZEROS[dtype])
    return dZ if target is None else _finish(dZ, target)


def softmax(Z: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """s_i = e^z_i / Σ e^z_k of every row (course A6).

    Args:
        Z: (N, K) numbers, of any size: nothing overflows; K at least 1.
        out: (N, K) array for the result; may be Z.

    Returns:
        S (N, K), which is ``out`` if given; rows add up to 1.

    Raises:
        TypeError, ValueError: not a matrix of numbers, no columns, or an ``out`` that doesn't fit.

    >>> softmax([[0.0, 0.0]])
    array([[0.5, 0.5]])
    """
    dtype = float_of(Z)
    Z = rows("Z", Z, (None, None), dtype)
    _need_columns("Z", Z)
    target = output("out", out, Z.shape, dtype)
    S = target if target is Z else place_to_write(target, Z)
    _softmax(address_of(Z), address_of(S), *Z.shape, _ZEROS[dtype])
    return _finish(S, target)


def softmax_backward(dS: ArrayLike, S: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """dz_j = s_j·(ds_j - Σ_k ds_k·s_k): the product with diag(s) - s·sᵀ (course A7, C4).

    Args:
        dS: (N, K), gradient with respect to S.
        S: (N, K), as ``softmax`` gave it; K at least 1.
        out: (N, K) array for dZ.

    Returns:
        dZ (N, K), which is ``out`` if given.

    Raises:
        TypeError, ValueError: not matrices of numbers of one shape, no columns, or an ``out`` that doesn't fit.

    >>> softmax_backward([[1.0, 0.0]], [[0.5, 0.5]])
    array([[ 0.25, -0.25]])
    """
    dtype = float_of(S)
    S = rows("S", S, (None, None), dtype)
    _need_columns("S", S)
    target = None if out is None else output("out", out, S.shape, dtype)
    dZ = np.array(floats("dS", dS, S.shape, dtype), order="C")
    _softmax_backward(address_of(S), address_of(dZ), *S.shape, _ZEROS[dtype])
    return dZ if target is None else _finish(dZ, target)


def _need_columns(name: str, array: np.ndarray) -> None:
    if array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected at least one column: ({array.shape[0]}, 1)")


@kernel
def _dropout_mask(mask, columns, rate, seed, step, place):
    """mask: flat, of whole rows of ``columns`` numbers, at least one."""
    rows = Rows(address(mask), columns)
    dropout_mask_rows(rows, 0, mask.shape[0] // columns, columns, rate, key_of(seed, step, place))


def dropout_mask(
    shape: tuple[int, int], rate: float, *, seed: int, step: int, place: int, dtype: DTypeLike
) -> np.ndarray:
    """Multipliers for dropout: 0 with probability ``rate``, else 1/(1 - rate).

    A function of its arguments alone: the mask of training step ``step`` at place ``place`` of a network.

    Args:
        shape: (rows, columns), each at least 0.
        rate: in [0, 1).
        seed, step, place: whole numbers that 64 bits hold.
        dtype: "float32" or "float64".

    Returns:
        (rows, columns) of this dtype.

    Raises:
        TypeError, ValueError: something else.

    >>> sorted({float(x) for x in dropout_mask((8, 8), 0.5, seed=0, step=0, place=1, dtype="float32").ravel()})
    [0.0, 2.0]
    """
    rate = _number("rate", rate, "a number in [0, 1)")
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"rate is {rate!r}, expected a number in [0, 1)")
    dtype = float_type(dtype)
    seed, step, place = (_whole(n, v) for n, v in (("seed", seed), ("step", step), ("place", place)))
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise TypeError(f"shape is {shape!r}, expected (rows, columns)")
    shape = (_whole("shape[0]", shape[0], 0), _whole("shape[1]", shape[1], 0))
    mask = np.empty(shape[0] * shape[1], dtype)
    if mask.size:
        _dropout_mask(mask, shape[1], rate, seed, step, place)
    return mask.reshape(shape)


def _whole(name: str, value: SupportsIndex, least: int = -(2**63)) -> int:
    """A whole number that 64 bits hold."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} is {value!r}, expected a whole number") from error
    if not least <= number < 2**63:
        raise ValueError(f"{name} is outside {least} to 2^63 - 1, expected a whole number in it")
    return number


# --- losses -------------------------------------------------------------------------------------------------------


@kernel
def _loss(function, z, labels, targets, weights, gradient, numbers, doubles, flushes):
    """Sums of weighted losses and hits, and of the weights, in the order of the rows, chunk by chunk.

    z, labels, targets, weights: addresses.
    """
    before = flush_subnormals()
    if not flushes:
        restore_subnormals(before)
    n, k = gradient.shape
    scales = address(numbers)
    work = advance(scales, least(CHUNK, n))
    found = Found(Rows(address(gradient), k), address(doubles), advance(address(doubles), least(CHUNK, n)))
    output, given = Rows(numbers_at(z, scales), k), doubles_at(weights)
    # without labels or targets the pointer is at what is never read
    class_of = integers_at(labels) if labels != 0 else address(_NO_LABELS)
    target = Rows(numbers_at(targets, scales), k) if targets != 0 else output
    weight_sum = float(n)
    if weights != 0:
        weight_sum = 0.0
        for r in range(n):
            weight_sum += get(given, r)
    loss, hits = 0.0, 0.0
    for chunk in range(blocks(n, CHUNK)):
        first = chunk * CHUNK
        count = least(CHUNK, n - first)
        for r in range(count):
            weight = get(given, first + r) if weights != 0 else 1.0
            put(scales, r, weight / weight_sum if weight_sum > 0.0 else 0.0)
        wanted = Wanted(advance(class_of, first) if labels != 0 else class_of, rows_from(target, first, 0), scales)
        to = Found(rows_from(found.d, first, 0), found.losses, found.hits)
        losses.loss_rows(function, rows_from(output, first, 0), wanted, to, 0, count, k, work)
        chunk_loss, chunk_hits = 0.0, 0.0
        for r in range(count):
            weight = get(given, first + r) if weights != 0 else 1.0
            if weight != 0.0:
                chunk_loss += weight * get(found.losses, r)
                chunk_hits += weight * get(found.hits, r)
        loss += chunk_loss
        hits += chunk_hits
    restore_subnormals(before)
    return loss, hits, weight_sum


_NO_LABELS = np.zeros(CHUNK, np.int64)


def loss_sums(
    code: int,
    parameter: float,
    Z: np.ndarray,
    class_of: np.ndarray | None,
    targets: np.ndarray | None,
    weight: np.ndarray | None,
    d: np.ndarray,
    *,
    flushes: bool = False,
) -> tuple[float, float, float]:
    """Weighted sums of losses and hits, and the sum of weights; the gradient of the mean into ``d``.

    For callers that have checked: Z, targets and d (N, K) contiguous of one type, d may be Z; labels int64; weights
    float64. ``parameter`` is the loss's own number, 0.0 where it has none. ``flushes``: subnormal numbers count as 0,
    as they do in training.
    """
    chunk = least(CHUNK, len(Z))
    numbers, doubles = np.empty(chunk + LOSS_WORK, Z.dtype), np.empty(2 * chunk)
    function = Function(losses.compiled(code, Z.shape[1], Z.dtype), parameter)
    result: tuple[float, float, float] = _loss(
        function,
        address_of(Z),
        address_of(class_of),
        address_of(targets),
        address_of(weight),
        d,
        numbers,
        doubles,
        flushes,
    )
    return result


def loss_targets(
    y: object, kind: int, samples: int, outputs: int, dtype: Float, name: str = "y"
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Targets as kernels take them: (class indices, None) or (None, rows).

    Args:
        y: class indices (N,) or rows (N, K); for one output, also (N,) numbers.
        kind: LABELS for classes (indices or rows), BITS for independent outputs in [0, 1], AMOUNTS for numbers of at
            least 0, NUMBERS for any numbers.

    Raises:
        TypeError, ValueError: another length or width, an index out of range, not finite, negative, above 1.
    """
    given = y if type(y) is np.ndarray else array_of(name, y)
    shape = given.shape
    if kind == LABELS and len(shape) != 2:
        return labels(name, given, samples, outputs), None
    if kind != LABELS and outputs == 1 and len(shape) == 1:
        target = floats(name, given, (samples,), dtype).reshape(samples, 1)
    else:
        target = floats(name, given, (samples, outputs), dtype)
    target = finite(name, np.ascontiguousarray(target))
    if kind != NUMBERS and target.size and ((target < 0).any() or (kind == BITS and (target > 1).any())):
        wanted = "in [0, 1]" if kind == BITS else "of at least 0"
        raise ValueError(
            f"{name} has shape {target.shape} and values from {target.min()} to {target.max()}, expected values"
            f" {wanted} and shape {(samples, outputs)}"
        )
    return None, target


def loss_parameter(name: str, value: object, high: float = math.inf) -> float:
    """The number of a loss that has one: above 0 and below ``high``.

    Raises:
        TypeError: not a number.
        ValueError: outside.
    """
    wanted = f"a number above 0 and below {high:g}" if high < math.inf else "a finite number above 0"
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, expected {wanted}")
    number = _number(name, value, wanted)
    if not 0 < number < high:
        raise ValueError(f"{name} is {value!r}, expected {wanted}")
    return number


def loss_and_gradient(
    loss: str,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    out: np.ndarray | None = None,
    parameter: float = 0.0,
    name: str = "output",
) -> tuple[float, np.ndarray]:
    """The mean of a loss of the table by its name, and its gradient.

    Args:
        loss: its name.
        Z: (N, K), what the loss takes.
        y, sample_weight, out: as the functions below take them.
        parameter: the loss's own number, checked.
        name: what Z is called in messages.
    """
    dtype = float_of(Z)
    Z = rows(name, Z, (None, None), dtype)
    _need_columns(name, Z)
    class_of, target = loss_targets(y, losses.kind_of(loss), Z.shape[0], Z.shape[1], dtype)
    weight = None if sample_weight is None else weights("sample_weight", sample_weight, len(Z))
    result = output("out", out, Z.shape, dtype)
    d = place_to_write(result, Z, class_of, target, weight)
    if len(Z) == 0:
        return float("nan"), result
    code = losses.code_of(loss, labels=target is None)
    total, _, weight_sum = loss_sums(code, parameter, Z, class_of, target, weight, d)
    return total / weight_sum, _finish(d, result)


def softmax_cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, out: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean of -log softmax(logits)_y, and its gradient (s - y)/N (course E2).

    Args:
        logits: (N, K) numbers, of any size: nothing overflows.
        y: (N,) class indices of any integer type, or (N, K) one-hot or soft rows.
        sample_weight: (N,); the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, a class index out of range, or negative weights.

    >>> loss, d = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(loss, 6), d
    (0.693147, array([[ 0.5, -0.5]]))
    """
    return loss_and_gradient("softmax_cross_entropy", logits, y, sample_weight=sample_weight, out=out, name="logits")


def binary_cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, out: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean over samples and outputs of -(y·log σ(z) + (1 - y)·log(1 - σ(z))), and (σ(z) - y)/(N·K).

    Args:
        logits: (N, K) numbers, of any size: nothing overflows.
        y: (N, K) in [0, 1], or (N,) for one output.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, targets outside of [0, 1], or negative weights.

    >>> loss, d = binary_cross_entropy([[0.0]], [1.0])
    >>> round(loss, 6), d
    (0.693147, array([[-0.5]]))
    """
    return loss_and_gradient("binary_cross_entropy", logits, y, sample_weight=sample_weight, out=out, name="logits")


def binary_cross_entropy_probabilities(
    p: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, out: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """As ``binary_cross_entropy``, from probabilities (course B10, C2): gradient (p - y)/(p·(1 - p))/(N·K).

    Logarithms are cut at -100 and the denominator at 1e-12, as in PyTorch.

    Args:
        p: (N, K) probabilities, in [0, 1].
        y: (N, K) in [0, 1], or (N,) for one output.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, probabilities or targets outside of [0, 1], or negative weights.

    >>> loss, d = binary_cross_entropy_probabilities([[0.5]], [1.0])
    >>> round(loss, 6), d
    (0.693147, array([[-2.]]))
    """
    _check_probabilities(p)
    return loss_and_gradient("binary_cross_entropy_probabilities", p, y, sample_weight=sample_weight, out=out, name="p")


def categorical_cross_entropy(
    p: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, out: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean of -Σ y·log p, and -y/p/N (course C3), from rows of probabilities.

    The cuts are those of ``binary_cross_entropy_probabilities``.

    Args:
        p: (N, K), rows of probabilities, in [0, 1].
        y: (N,) class indices of any integer type, or (N, K) one-hot or soft rows.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, probabilities outside of [0, 1], a class index out of range, or
            negative weights.

    >>> loss, d = categorical_cross_entropy([[0.5, 0.5]], [1])
    >>> round(loss, 6), d
    (0.693147, array([[ 0., -2.]]))
    """
    _check_probabilities(p)
    return loss_and_gradient("categorical_cross_entropy", p, y, sample_weight=sample_weight, out=out, name="p")


def _check_probabilities(p: ArrayLike) -> None:
    p = floats("p", p, (None, None), float_of(p))
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"p has shape {p.shape} and values from {p.min()} to {p.max()}, expected probabilities in"
            f" [0, 1] of shape {p.shape}"
        )


def mean_squared_error(
    p: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, out: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean over samples and outputs of (y - p)², and 2·(p - y)/(N·K) (course B9, C1).

    Args:
        p: (N, K) predictions.
        y: (N, K) numbers, or (N,) for one output.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, entries of y that are not finite, or negative weights.

    >>> mean_squared_error([[3.0]], [1.0])
    (4.0, array([[4.]]))
    """
    return loss_and_gradient("mean_squared_error", p, y, sample_weight=sample_weight, out=out, name="p")


def absolute_error(
    p: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, out: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean over samples and outputs of |y - p|, and sign(p - y)/(N·K), 0 where p = y (row F1).

    Args:
        p: (N, K) predictions.
        y: (N, K) numbers, or (N,) for one output.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, entries of y that are not finite, or negative weights.

    >>> absolute_error([[3.0]], [1.0])
    (2.0, array([[1.]]))
    """
    return loss_and_gradient("absolute_error", p, y, sample_weight=sample_weight, out=out, name="p")


def huber(
    p: ArrayLike,
    y: ArrayLike,
    delta: float = 1.0,
    *,
    sample_weight: ArrayLike | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Mean over samples and outputs of r²/2 where r = p - y is within ±delta, else delta·(|r| - delta/2) (row F2).

    The gradient is r cut at ±delta, over N·K.

    Args:
        p: (N, K) predictions.
        y: (N, K) numbers, or (N,) for one output.
        delta: where the parabola ends, a finite number above 0.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, entries of y that are not finite, negative weights, or another
            delta.

    >>> huber([[3.0]], [1.0])
    (1.5, array([[1.]]))
    """
    return loss_and_gradient(
        "huber", p, y, sample_weight=sample_weight, out=out, parameter=loss_parameter("delta", delta), name="p"
    )


def quantile(
    p: ArrayLike,
    y: ArrayLike,
    quantile: float = 0.5,
    *,
    sample_weight: ArrayLike | None = None,
    out: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Mean over samples and outputs of max(q·(y - p), (q - 1)·(y - p)) for the quantile q (row F3).

    The gradient is -q where y > p, 1 - q where y < p, 0 where p = y, over N·K.

    Args:
        p: (N, K) predictions.
        y: (N, K) numbers, or (N,) for one output.
        quantile: q, above 0 and below 1.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, entries of y that are not finite, negative weights, or another
            quantile.

    >>> quantile([[3.0]], [1.0], 0.25)
    (1.5, array([[0.75]]))
    """
    return loss_and_gradient(
        "quantile",
        p,
        y,
        sample_weight=sample_weight,
        out=out,
        parameter=loss_parameter("quantile", quantile, 1),
        name="p",
    )


def poisson(
    z: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, out: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean over samples and outputs of e^z - y + y·(log y - z), and (e^z - y)/(N·K) (row F4).

    It is half the Poisson deviance: 0 where e^z = y.

    Args:
        z: (N, K), the logarithm of the rate.
        y: (N, K) numbers of at least 0, or (N,) for one output.
        sample_weight: (N,), none negative; the mean is then weighted, Σ w·loss / Σ w.
        out: (N, K) array for the gradient.

    Returns:
        The loss (NaN for no rows) and the gradient (N, K).

    Raises:
        TypeError, ValueError: shapes that don't fit, negative targets, or negative weights.

    >>> poisson([[0.0]], [0.0])
    (1.0, array([[1.]]))
    """
    return loss_and_gradient("poisson", z, y, sample_weight=sample_weight, out=out, name="z")


# --- optimizers ---------------------------------------------------------------------------------------------------


@kernel
def penalize(weights, gradients, l1, l2):
    """Add the gradient of l1·Σ|w| + l2/2·Σw² to owned flat arrays of one type and length; returns the penalty."""
    w, count = address(weights), weights.shape[0]
    before = flush_subnormals()
    value = optimizers.penalty(w, count, l1, l2)
    optimizers.add_penalty(l1, l2, w, address(gradients), count)
    restore_subnormals(before)
    return value


@kernel
def optimizer_update(rule, parameters, gradients, state, rate, settings, step):
    """One step of an optimizer on owned flat arrays of one type and length, clipping first if so set.

    False, and nothing is done, where the gradient would have to be clipped and is not finite.
    """
    w, g, count = address(parameters), address(gradients), parameters.shape[0]
    before = flush_subnormals()
    factor, finite = 1.0, True
    if settings[optimizers.CLIP_NORM] > 0.0:
        length = optimizers.norm(g, count)
        finite = np.isfinite(length)
        factor = optimizers.clip_factor(length, settings[optimizers.CLIP_NORM])
    if finite:
        change = optimizers.change_of(rule, settings, rate, step, factor, 0.0, 0.0)
        optimizers.update(change, w, g, address(state), optimizers.padded_count(count), count)
    restore_subnormals(before)
    return finite
