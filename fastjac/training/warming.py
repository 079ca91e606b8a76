"""``warm_up``: compile every kernel before it is needed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastjac.kernels as kernels
from fastjac.kernels._apart import EVERY
from fastjac.kernels._jit import CacheInfo, cache_info, statistics
from fastjac.kernels._jit import kernels as kernels_here
from fastjac.nn import optimizers
from fastjac.nn.layers import Dense, Dropout
from fastjac.nn.network import Network
from fastjac.training import loop
from fastjac.training.progress import ProgressLike, compiling

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class WarmUp:
    """What ``warm_up`` did.

    Attributes:
        compiled: how many kernels were compiled now.
        loaded: how many had been compiled by an earlier process.
        seconds: how long it took.
        cache: where they are kept, and whether: see ``cache.enabled`` and ``cache.reason``.
    """

    compiled: int
    loaded: int
    seconds: float
    cache: CacheInfo

    @property
    def lost(self) -> bool:
        """Whether a later process will have to compile again."""
        return not self.cache.enabled or bool(self.compiled and self.cache.reason)

    def __str__(self) -> str:
        kept = f"not kept: {self.cache.reason}" if self.lost else f"kept in {self.cache.folder}"
        return f"{self.compiled} kernels compiled and {self.loaded} loaded in {self.seconds:.1f} s; {kept}"


def warm_up(progress: ProgressLike = "auto") -> WarmUp:
    """Compile all kernels, for float32 and float64, or load those that an earlier process compiled.

    Later processes of the same user, with the same versions and on the same kind of processor, then compile nothing,
    but the kernels of ``products="bfloat16"`` when a network first asks for them.
    Call it, or ``fastjac info --warm-up``, when an image of a container is made. It takes up to a minute the first
    time, and part of a second when all is there.

    Args:
        progress: True, False, or "auto" for a line that counts the kernels and the seconds where someone can see it.

    Returns:
        How many kernels were compiled and loaded, the seconds, and where they are kept. ``print`` it.

    Raises:
        ValueError: ``progress`` is something else.
        ImportError: ``progress`` is True and rich is not installed.

    Example:
        >>> import fastjac as fj
        >>> done = fj.warm_up()
        >>> done.cache.enabled
        True
    """
    begin, before = time.perf_counter(), statistics()
    with compiling(progress, _how_far):
        for dtype in DTYPES:
            _use_a_network(dtype)
            _use_each_kernel(dtype)
            for one in EVERY:  # activations, losses and rules of optimizers that the network above has not
                one.address(np.dtype(dtype))
    after = statistics()
    return WarmUp(after.compiles - before.compiles, after.hits - before.hits, time.perf_counter() - begin, cache_info())


def _how_far() -> str:
    """How many of all there are, compiled and loaded; that of the order of rows knows whole numbers alone."""
    have = [count for name, count in kernels_here().items() if name.startswith("fastjac.kernels.")]
    all_there_are = len(have) * len(DTYPES) - (len(DTYPES) - 1)
    return f", {sum(min(count, len(DTYPES)) for count in have)} of {all_there_are}"


def _use_a_network(dtype: str) -> None:
    """Everything that is compiled for networks, which is the same for all of them."""
    X, y = np.zeros((2, 3), dtype), np.zeros(2, np.int64)
    net = Network([Dense(3, 4, activation="tanh"), Dropout(0.5), Dense(4, 2)], seed=0, dtype=dtype)
    options: dict[str, Any] = {"loss": "softmax_cross_entropy", "batch_size": 1, "threads": 1, "progress": False}
    loop.fit(net, X, y, validation_data=(X, y), **options)  # in two batches, for which rows are shuffled
    net.predict(X)
    net.backward(net.forward(X))
    optimizers.SGD().step(net)
    net.path = "unfused"  # layer by layer, a penalty is a kernel of its own
    loop.fit(net, X, y, l2=1.0, **options)


def _use_each_kernel(dtype: str) -> None:
    """What ``fastjac.kernels`` exports: networks that are run layer by layer are made of these."""
    X, W, y = np.zeros((2, 3), dtype), np.zeros((3, 4), dtype), np.zeros(2, np.int64)
    Z = kernels.dense_forward(X, W, None)
    kernels.dense_backward(Z, Z, X, W)
    A = kernels.activation_forward(Z, "tanh")
    kernels.activation_backward(A, A, "tanh")
    S = kernels.softmax(Z)
    kernels.softmax_backward(S, S)
    kernels.dropout_mask((2, 3), 0.5, seed=0, step=0, place=0, dtype=dtype)
    kernels.softmax_cross_entropy(Z, y)
