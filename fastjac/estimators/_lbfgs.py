"""The solver "lbfgs": SciPy's L-BFGS-B on the fused forward and backward pass, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning

from fastjac.estimators._callbacks import Estimator, Tasks
from fastjac.estimators._stochastic import HeldOut
from fastjac.estimators._warnings import warn
from fastjac.estimators._weights import build, dense, widths
from fastjac.kernels.arrays import weights
from fastjac.nn.batch import Batch
from fastjac.training.callbacks import Callback
from fastjac.training.progress import bar

_BLOCK = 2048  # rows whose values are kept at a time: 10⁶ rows and 100 hidden units would be more than 2 GB
# whether the parameters that SciPy calls a function with have the type of those it was given to start from
_KEEPS_TYPE = tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 12)


class Objective:
    """The penalized mean loss of all rows as a function of the parameters, and its gradient.

    It is computed in the type that X, ``start_type`` and the targets have together, as in scikit-learn, though SciPy
    and the estimator's network, which is given the same parameters, have float64. Rates don't ask for the targets'
    type: they overflow before they are compared with these.

    Raises:
        ValueError: targets or weights that the loss does not take.
    """

    def __init__(
        self, estimator: Estimator, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, start_type: np.dtype
    ) -> None:
        self.start_type = np.dtype(start_type if _KEEPS_TYPE else "f8")
        self._network = network = estimator._network
        compared = [] if estimator.out_activation_ == "exp" else [y.dtype]  # which for classes is bool
        single = np.result_type(X.dtype, self.start_type, *compared) == np.float32
        dtype = np.dtype("f4" if single else "f8")
        targets = estimator._targets(y)
        if dtype != network.dtype:
            units = widths(network)
            network = build(units, estimator._activation_names(len(units) - 2), 0.0, 0, dtype)
        self.network = network
        self.loss, self._gradient_factor, self._value_factor = estimator._loss(dtype)
        if weight is not None:
            weight = weights("sample_weight", weight, len(X))
        self._weight_sum = float(len(X)) if weight is None else float(weight.sum())
        self._blocks = [
            Batch.checked(
                network.signature,
                self.loss,
                X[k : k + _BLOCK],
                targets[k : k + _BLOCK],
                None if weight is None else weight[k : k + _BLOCK],
            )
            for k in range(0, len(X), _BLOCK)
            if weight is None or weight[k : k + _BLOCK].any()
        ]
        self._dense = dense(network)
        self._l1, self._l2 = estimator.l1 / self._weight_sum, estimator.alpha / self._weight_sum
        self._largest = np.empty((min(_BLOCK, len(X)), network.outputs), network.dtype)

    def __call__(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        network = self.network
        network.parameters[:] = self._network.parameters[:] = parameters
        gradient = np.zeros(len(parameters))
        value = 0.0
        for s in self._blocks:
            output = network.forward(s.X, training=False)
            d = self._largest[: len(output)]
            total, _, weight = self.loss.sums(output, s.labels, s.targets, s.weight, d)
            network.backward(d)
            value += self._value_factor * total / self._weight_sum
            with np.errstate(all="ignore"):  # where the line search went too far
                gradient += network.gradients * (self._gradient_factor * weight / self._weight_sum)
        network.gradients[:] = gradient
        for layer in self._dense:
            w = layer.weight
            with np.errstate(all="ignore"):
                value += self._l1 * float(np.abs(w).sum()) + self._l2 / 2 * float(np.square(w).sum())
                layer.weight_gradient[...] += self._l1 * np.sign(w) + self._l2 * w
        self._network.gradients[:] = network.gradients
        return value, self._network.gradients.copy()


def minimizer(
    estimator: Estimator, objective: Objective, samples: int, held: HeldOut | None, callbacks: list[Callback]
) -> Callable[[Tasks | None], None]:
    """A function that minimises the objective over the network's parameters, and sets ``n_iter_`` and ``loss_``."""

    def train(tasks: Tasks | None) -> None:
        assert tasks is not None  # there is no ``partial_fit``
        _minimize(estimator, objective, samples, held, callbacks, tasks)

    return train


def _minimize(
    estimator: Estimator,
    objective: Objective,
    samples: int,
    held: HeldOut | None,
    callbacks: list[Callback],
    tasks: Tasks,
) -> None:
    network = estimator._network
    iterations = 0
    begun = stopped = False
    network.stop_training = False
    curve: list[float] = []
    estimator.validation_loss_curve_ = None if held is None else curve
    for callback in callbacks:
        callback.network = network

    def value(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """An iteration begins with the first step away from where the one before has ended: SciPy says only when it has
        ended, and then may find that it was the last."""
        nonlocal begun
        if not begun and not np.array_equal(parameters, network.parameters.astype(parameters.dtype)):
            begun = True
            for callback in callbacks:
                callback.on_epoch_begin(iterations)
            tasks.begin()
        return objective(parameters)

    def after_iteration(intermediate_result: Any) -> None:
        nonlocal iterations, begun, stopped
        network.parameters[:] = intermediate_result.x
        logs = {"loss": float(intermediate_result.fun)}
        if estimator.verbose:
            print(f"Iteration {iterations + 1}, loss = {logs['loss']:.8f}")
        if held is not None:
            logs["val_loss"] = held.figures()["loss"]
            curve.append(logs["val_loss"])
        show(min(iterations, estimator.max_iter - 1), logs, samples, samples, epoch_end=True)
        for callback in callbacks:
            callback.on_epoch_end(iterations, dict(logs))
        iterations += 1
        begun = False
        stopped = tasks.end() or network.stop_training
        if stopped:
            raise StopIteration

    with bar(estimator.progress, estimator.max_iter) as show:
        try:
            for callback in callbacks:
                callback.on_train_begin()
            result = optimize.minimize(
                value,
                network.parameters.astype(objective.start_type),
                method="L-BFGS-B",
                jac=True,
                callback=after_iteration,
                options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
            )
            network.parameters[:] = result.x
        finally:
            for callback in callbacks:
                callback.on_train_end()
    estimator.n_iter_ = min(result.nit, estimator.max_iter)
    estimator.loss_ = float(result.fun)
    if begun:  # a step that led nowhere
        tasks.end()
    if result.status != 0 and not stopped:
        warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}): {result.message}."
            " Increase max_iter or max_fun, or scale the data.",
            ConvergenceWarning,
        )
