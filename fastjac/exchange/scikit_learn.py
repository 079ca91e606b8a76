"""Networks from scikit-learn's fitted MLPs."""

from __future__ import annotations

import copy
from typing import Any

from fastjac.nn.layers import Activation, Dense, Layer, Softmax
from fastjac.sequential import Sequential


def from_sklearn(estimator: Any, *, probabilities: bool = False) -> Sequential:
    """The network of a fitted ``MLPClassifier`` or ``MLPRegressor``, scikit-learn's or ours.

    Args:
        estimator: a fitted one.
        probabilities: end as ``predict_proba`` does, with a softmax, or a sigmoid for two classes or several labels.
            False: end before it, with what fastjac's losses take.

    Returns:
        A network whose ``predict`` gives logits or probabilities; for regression what the estimator's ``predict``
        gives, or its logarithm where the loss is "poisson". Columns are in the order of ``classes_``; of two classes,
        there is one column, for the second.

    Raises:
        TypeError: no such estimator.
        ValueError: not fitted.
    """
    if not all(hasattr(estimator, name) for name in ("hidden_layer_sizes", "activation", "solver")):
        raise TypeError(f"estimator is a {type(estimator).__name__}, expected an MLPClassifier or MLPRegressor")
    if not hasattr(estimator, "coefs_"):
        raise ValueError("estimator is not fitted; call its fit first")
    if hasattr(estimator, "network_"):  # ours
        layers: list[Layer] = [copy.copy(layer) for layer in estimator.network_.layers]
        dtype = estimator.network_.dtype
    else:
        name = {"logistic": "sigmoid"}.get(estimator.activation, estimator.activation)
        coefs = estimator.coefs_
        dtype = coefs[0].dtype
        layers = [Dense(len(one), one.shape[1], activation=name if one is not coefs[-1] else None) for one in coefs]
    ending: dict[str, Layer] = {"softmax": Softmax(), "logistic": Activation("sigmoid")}
    if probabilities and estimator.out_activation_ in ending:
        layers.append(ending[estimator.out_activation_])
    network = Sequential(layers, seed=0, dtype=dtype)
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    for layer, weight, bias in zip(dense, estimator.coefs_, estimator.intercepts_, strict=True):
        layer.parameters["weight"][...] = weight
        layer.parameters["bias"][...] = bias
    return network
