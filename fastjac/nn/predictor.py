"""``Predictor``: predictions of a few rows, one call after the other, with as little around them as can be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from fastjac.kernels.arrays import ArrayLike, floats
from fastjac.nn.batch import Signature


class Predictor:
    """Predict the same number of rows again and again, as a controller or a server does; ``Sequential.predictor``
    makes it.

    Memory, addresses and types are settled once. A call looks at the shape and the type of what it is given, copies it,
    and runs the kernel: some two thirds of the time of ``predict`` for one row. Bits are those of ``predict``, and
    parameters those of the network at the time of the call: training may go on between two calls.

    Args:
        of: the network's widths and type.
        rows: how many a call takes, at least 1; None: one row, as a vector.
        lock: the network's: nobody predicts in the midst of a step of training, nor two threads in the same memory.
        prepare: a function of X (rows, inputs) and the output (rows, outputs), contiguous arrays: returns what computes
            the second from the first, whenever it is called.

    Attributes:
        shape: of what a call takes: (inputs,), or (rows, inputs).

    >>> import fastjac as fj
    >>> net = fj.Sequential([fj.Dense(4, 8, activation="tanh"), fj.Dense(8, 2)], seed=0)
    >>> policy = net.predictor()
    >>> observation = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    >>> bool((policy(observation) == net.predict(observation[None])[0]).all())
    True
    """

    __slots__ = ("_X", "_dtype", "_lock", "_output", "_run", "shape")

    def __init__(
        self,
        of: Signature,
        rows: int | None,
        lock: AbstractContextManager[object],
        prepare: Callable[[np.ndarray, np.ndarray], Callable[[], None]],
    ) -> None:
        X, output = np.zeros((rows or 1, of.inputs), of.dtype), np.zeros((rows or 1, of.outputs), of.dtype)
        self._lock, self._run = lock, prepare(X, output)
        self._X: np.ndarray = X[0] if rows is None else X
        self._output: np.ndarray = output[0] if rows is None else output
        self._dtype = of.dtype
        self.shape = self._X.shape

    def __call__(self, X: ArrayLike) -> np.ndarray:
        """The network's output, as ``Sequential.predict`` gives it.

        Args:
            X: numbers of ``shape``: (inputs,), or (rows, inputs).

        Returns:
            (outputs,), or (rows, outputs): a new array of the network's dtype.

        Raises:
            TypeError, ValueError: not numbers, or another shape.
        """
        if type(X) is not np.ndarray or X.dtype is not self._dtype or X.shape != self.shape:
            X = floats("X", X, self.shape, self._dtype)
        with self._lock:
            self._X[...] = X
            self._run()
            return self._output.copy()

    def __repr__(self) -> str:
        return f"Predictor(shape={self.shape}, dtype={self._dtype})"
