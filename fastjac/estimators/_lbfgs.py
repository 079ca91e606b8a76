"""The solver "lbfgs": SciPy's L-BFGS-B on the fused forward and backward pass of all rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning

from fastjac import training
from fastjac.estimators._callbacks import Tasks
from fastjac.layers import Dense


def minimize(estimator: Any, X: np.ndarray, targets: np.ndarray, weight: np.ndarray | None, tasks: Tasks) -> None:
    """Minimise the penalized loss over the network's parameters; sets ``n_iter_`` and ``loss_``."""
    network = estimator._network
    loss, gradient_factor, value_factor = estimator._loss()
    samples = training._samples(network, loss, X, targets, weight, "")
    weight_sum = float(len(X)) if samples.weight is None else float(samples.weight.sum())
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    l1, l2 = estimator.l1 / weight_sum, estimator.alpha / weight_sum

    def value_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        network.parameters[:] = parameters
        output = network.forward(samples.X, training=False)
        d = np.empty_like(output)
        total, _, _ = loss.sums(output, samples.labels, samples.targets, samples.weight, d)
        network.backward(d)
        value = value_factor * total / weight_sum
        network.gradients *= gradient_factor
        for layer in dense:
            w = layer.weight
            value += l1 * float(np.abs(w).sum(dtype=float)) + l2 / 2 * float(np.square(w).sum(dtype=float))
            layer.weight_gradient[...] += l1 * np.sign(w) + l2 * w
        return value, network.gradients.astype(np.float64)

    stopped = False

    def after_iteration(parameters: np.ndarray) -> None:
        nonlocal stopped
        network.parameters[:] = parameters
        stopped = tasks.end()
        if stopped:
            raise StopIteration
        tasks.begin()

    tasks.begin()
    result = optimize.minimize(
        value_and_gradient, network.parameters.astype(np.float64), method="L-BFGS-B", jac=True,
        callback=after_iteration,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )  # fmt: skip
    network.parameters[:] = result.x
    estimator.n_iter_ = min(result.nit, estimator.max_iter)
    estimator.loss_ = float(result.fun)
    if not stopped:
        tasks.end()
    if result.status != 0 and not stopped:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}): {result.message}."
            " Increase max_iter or max_fun, or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
