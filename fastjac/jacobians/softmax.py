"""Softmax, its logarithm, and what becomes of them under a cross-entropy."""

import numpy as np
from numpy.typing import ArrayLike

from ._validate import (
    Array,
    as_array,
    as_matrix,
    as_vector,
    check_distribution,
    check_length,
    check_same_shape,
)
from .layout import to_layout


def softmax_function(l: ArrayLike) -> Array:
    """p_i = e^{l_i} / Σ_k e^{l_k}. Course row A6.

    Args:
        l: (K,) or (N, K) logits, float32 or float64.

    Returns:
        The shape of l: a distribution, or one a row. The largest logit is subtracted first, which changes nothing but
        that no exponential overflows. A row with NaN, +inf or nothing but −inf is NaN.

    Raises:
        ValueError: l is a scalar or has no class.

    >>> softmax_function([0.0, 0.0])
    array([0.5, 0.5])
    """
    l = _logits(l)
    with np.errstate(over="ignore", invalid="ignore"):
        e: Array = np.exp(l - l.max(axis=-1, keepdims=True))
        sums: Array = e.sum(axis=-1, keepdims=True)
        return e / sums


def log_softmax_function(l: ArrayLike) -> Array:
    """log p_i = l_i − log Σ_k e^{l_k}. Course row E1.

    Args:
        l: (K,) or (N, K) logits, float32 or float64.

    Returns:
        The shape of l, none above 0. The largest logit is subtracted first: finite even where p underflows. A row with
        NaN, +inf or nothing but −inf is NaN.

    Raises:
        ValueError: l is a scalar or has no class.

    >>> log_softmax_function([0.0, 1000.0])
    array([-1000.,     0.])
    """
    l = _logits(l)
    with np.errstate(over="ignore", invalid="ignore"):
        shifted: Array = l - l.max(axis=-1, keepdims=True)
        sums: Array = np.exp(shifted).sum(axis=-1, keepdims=True)
        return shifted - np.log(sums)


def softmax(p: ArrayLike) -> Array:
    """∂p/∂l = diag(p) − p pᵀ, entries p_i(δ_ij − p_j), of p = softmax(l). Course row A6.

    Args:
        p: (K,) float32 or float64: the probabilities that softmax gave, not the logits.

    Returns:
        (K, K). Symmetric: both layouts are the same array. Rows and columns sum to 0.

    Raises:
        ValueError: p is no distribution.

    >>> softmax([0.5, 0.5])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    p = as_vector("p", p)
    check_distribution("p", p)
    return np.diag(p) - np.outer(p, p)


def softmax_vjp(dJ_dp: ArrayLike, p: ArrayLike) -> Array:
    """∂J/∂l = (∂J/∂p)(∂p/∂l), a vector–Jacobian product. Course row A7.

    Args:
        dJ_dp: (1, K) or (K,): the gradient arriving at the output of softmax.
        p: (K,): the probabilities that softmax gave.

    Returns:
        (1, K).

    Raises:
        ValueError: p is no distribution or dJ_dp has not K entries.

    >>> softmax_vjp([[1.0, 0.0]], [0.5, 0.5])
    array([[ 0.25, -0.25]])
    """
    p = as_vector("p", p)
    dJ_dp = as_array("dJ_dp", dJ_dp)
    if dJ_dp.shape not in ((1, len(p)), (len(p),)):
        raise ValueError(f"dJ_dp has shape {dJ_dp.shape}, expected (1, {len(p)}): p has {len(p)} entries")
    return dJ_dp.reshape(1, -1) @ softmax(p)


def softmax_gradient(dY_hat: ArrayLike, Y_hat: ArrayLike) -> Array:
    """dl_j = ŷ_j(dŷ_j − Σ_k dŷ_k ŷ_k), row by row: the total derivative within softmax. Course row C4.

    Args:
        dY_hat: (N, K): the gradient arriving at the output of softmax.
        Y_hat: (N, K): the probabilities that softmax gave.

    Returns:
        (N, K): what ``softmax_vjp`` gives for every row, without a K×K matrix.

    Raises:
        ValueError: the shapes differ or a row of Ŷ is no distribution.

    >>> softmax_gradient([[1.0, 0.0]], [[0.5, 0.5]])
    array([[ 0.25, -0.25]])
    """
    dY_hat, Y_hat = as_matrix("dY_hat", dY_hat), as_matrix("Y_hat", Y_hat)
    check_same_shape("dY_hat", dY_hat, "Y_hat", Y_hat)
    check_distribution("Y_hat", Y_hat)
    sums: Array = (dY_hat * Y_hat).sum(axis=1, keepdims=True)
    return Y_hat * (dY_hat - sums)


def softmax_cross_entropy_gradient(Y_hat: ArrayLike, Y: ArrayLike) -> Array:
    """dL = −(1/N)(Y − Ŷ): ``softmax_gradient`` of ``categorical_cross_entropy_gradient``. Course row C4.

    Args:
        Y_hat: (N, K): the probabilities that softmax gave.
        Y: (N, K): targets; rows that do not sum to 1 give (1/N)(Ŷ·ΣY − Y).

    Returns:
        (N, K): the gradient in the logits of J = −(1/N)·Σ Y ln Ŷ.

    Raises:
        ValueError: the shapes differ or a row of Ŷ is no distribution.

    >>> softmax_cross_entropy_gradient([[0.25, 0.75], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]])
    array([[-0.375,  0.375],
           [ 0.25 , -0.25 ]])
    """
    Y_hat, Y = as_matrix("Y_hat", Y_hat), as_matrix("Y", Y)
    check_same_shape("Y", Y, "Y_hat", Y_hat)
    check_distribution("Y_hat", Y_hat)
    sums: Array = Y.sum(axis=1, keepdims=True)
    return (Y_hat * sums - Y) / max(len(Y), 1)


def log_softmax(s: ArrayLike, layout: str = "numerator") -> Array:
    """∂log s_i/∂x_k = δ_ik − s_k of s = softmax(x), hence ∂s/∂x = diag(s)·(I − 1 sᵀ). Course row E1.

    The slide writes δ_ik as an indicator of x_i = x_k: it is one of i = k, equal logits are still two logits.

    Args:
        s: (K,) float32 or float64: the probabilities that softmax gave, not the logits.
        layout: "numerator" or "denominator"; see ``to_layout``.

    Returns:
        (K, K), every row I's minus sᵀ; layout="denominator" gives its transpose.

    Raises:
        ValueError: s is no distribution or the layout is unknown.

    >>> log_softmax([0.25, 0.75])
    array([[ 0.75, -0.75],
           [-0.25,  0.25]])
    """
    s = as_vector("s", s)
    check_distribution("s", s)
    return to_layout(np.eye(len(s), dtype=s.dtype) - s, layout)


def softmax_cross_entropy(s: ArrayLike, y: ArrayLike) -> Array:
    """∂L/∂x = s − y of L = −Σ y_i log s_i, s = softmax(x); in general s·Σy − y. Course row E2.

    Args:
        s: (K,): the probabilities that softmax gave.
        y: (K,): the target, one-hot, soft, or any numbers.

    Returns:
        (K,): −yᵀ times the Jacobian of ``log_softmax``, with nothing divided by s.

    Raises:
        ValueError: s is no distribution or y has another shape.

    >>> softmax_cross_entropy([0.25, 0.75], [1.0, 0.0])
    array([-0.75,  0.75])
    """
    s, y = as_vector("s", s), as_vector("y", y)
    check_length("y", y, len(s), f"s has {len(s)} classes")
    check_distribution("s", s)
    total: np.floating = y.sum()
    return s * total - y


def _logits(value: ArrayLike) -> Array:
    logits = as_array("l", value)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"l has shape {logits.shape}, expected at least one class along the last axis")
    return logits
