"""``coefs_`` and ``intercepts_``: plain lists, as scikit-learn's, of views of a network's parameters.

What is written into such an array is in the network at once. Another array put in its place, another list, or lists
where there is no network yet, are taken up when the estimator is used next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from fastjac.nn.layers import Dense, Dropout, Layer
from fastjac.sequential import Sequential


def build(
    units: list[int], activations: list[str], dropout: float, seed: int, dtype: np.dtype, products: str | None = None
) -> Sequential:
    """A network of dense layers, with dropout after each hidden one."""
    layers: list[Layer] = []
    for k, (i, o) in enumerate(pairwise(units)):
        hidden = k < len(activations)
        layers.append(Dense(i, o, activation=activations[k] if hidden else None))
        if dropout and hidden:
            layers.append(Dropout(dropout))
    return Sequential(layers, seed=seed, dtype=dtype, products=products)


def dense(network: Sequential) -> list[Dense]:
    """The layers that have weights."""
    return [layer for layer in network.layers if isinstance(layer, Dense)]


def widths(network: Sequential) -> list[int]:
    """Inputs of the network, and units of each layer."""
    return [network.inputs, *(layer.outputs for layer in dense(network))]


def views(network: Sequential) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases of each layer: views of the network's parameters, the same objects at every call."""
    layers = dense(network)
    return [layer.parameters["weight"] for layer in layers], [layer.parameters["bias"] for layer in layers]


def are_views(network: Sequential, coefs: Sequence[object], intercepts: Sequence[object]) -> bool:
    """Whether these lists are what ``views`` gives."""
    weights, biases = views(network)
    own, given = [*weights, *biases], [*coefs, *intercepts]
    lists = isinstance(coefs, list) and isinstance(intercepts, list)
    return lists and len(given) == len(own) and len(coefs) == len(weights) and all(map(_is, given, own))


def _is(a: object, b: object) -> bool:
    return a is b


def checked(
    coefs: Sequence[ArrayLike], intercepts: Sequence[ArrayLike]
) -> tuple[list[np.ndarray], list[np.ndarray], np.dtype]:
    """Copies of arrays that are the weights and biases of layers, one after the other, and their type.

    Raises:
        ValueError: shapes that don't fit together, or something that is not numbers.
    """
    dtype = np.dtype("f4") if all(np.asarray(a).dtype == np.float32 for a in (*coefs, *intercepts)) else np.dtype("f8")
    if len(coefs) != len(intercepts) or not len(coefs):
        raise ValueError(
            f"coefs_ has {len(coefs)} arrays and intercepts_ has {len(intercepts)}, expected one of each for each layer"
        )
    weights, biases = [], []
    for k, (weight, bias) in enumerate(zip(coefs, intercepts, strict=True)):
        try:
            weights.append(np.array(weight, dtype))  # views of one network may have changed places
            biases.append(np.array(bias, dtype))
        except (TypeError, ValueError) as error:
            raise ValueError(f"coefs_[{k}] or intercepts_[{k}] is no array of numbers: {error}") from error
        shape = weights[k].shape
        if len(shape) != 2 or 0 in shape or (k > 0 and shape[0] != weights[k - 1].shape[1]):
            inputs = weights[k - 1].shape[1] if k > 0 and weights[k - 1].ndim == 2 else "inputs"
            raise ValueError(f"coefs_[{k}] has shape {shape}, expected ({inputs}, units)")
        if biases[k].shape != shape[1:]:
            raise ValueError(f"intercepts_[{k}] has shape {biases[k].shape}, expected {shape[1:]}")
    return weights, biases, dtype
