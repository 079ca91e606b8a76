"""Optimizers: hyperparameters, and state that belongs to one network at a time. The steps are compiled."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastjac import _arguments
from fastjac.kernels import optimizers as rules
from fastjac.kernels.arrays import aligned, unknown
from fastjac.kernels.checked import optimizer_update

if TYPE_CHECKING:
    from fastjac.network import Sequential

Rate = float | Callable[[int], float]


class _State:
    """What an optimizer remembers of one network: its moments and how many steps it has taken."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.moments = aligned(size, dtype)
        self.counters = np.zeros(3, np.int64)  # steps; the other two are the training kernel's own


class Optimizer:
    """Base of the optimizers; not used by itself.

    Attributes:
        learning_rate: a number, or a function from the step (0, 1, …) to a number: a schedule.
        clip_norm: the gradient's largest Euclidean norm; longer ones are scaled down. None: no limit.
        steps: how many steps were taken with the network used last.
    """

    rule: ClassVar[int]

    def __init__(self, learning_rate: Rate, clip_norm: float | None) -> None:
        if not callable(learning_rate):
            learning_rate = _arguments.real("learning_rate", learning_rate)
        self.learning_rate = learning_rate
        if clip_norm is not None and _arguments.real("clip_norm", clip_norm) == 0:
            raise ValueError("clip_norm is 0, expected a positive number, or None for no limit")
        self.clip_norm = clip_norm
        self._states: weakref.WeakKeyDictionary[Sequential, _State] = weakref.WeakKeyDictionary()

    def settings(self) -> np.ndarray:
        """The hyperparameters as kernels take them."""
        values = np.zeros(rules.SETTINGS)
        values[rules.CLIP_NORM] = self.clip_norm or 0.0
        return values

    def state(self, network: Sequential) -> _State:
        """The state for this network; new where there is none yet."""
        try:
            state = self._states.get(network)
        except TypeError:  # no weak reference can be made of it
            state = None
        if state is None:
            if not hasattr(network, "parameters") or not hasattr(network, "gradients"):
                raise TypeError(f"an optimizer steps a network, fastjac.Sequential, not {type(network).__name__}")
            size = rules.STATES[self.rule] * rules.padded_count(network.parameters.size)
            state = self._states[network] = _State(size, network.dtype)
        return state

    def rates(self, first: int, count: int) -> np.ndarray:
        """The learning rates of some steps, from number ``first`` on.

        Raises:
            ValueError: the schedule gave something that is not a finite number of at least 0.
        """
        if not callable(self.learning_rate):
            return np.full(count, self.learning_rate)
        values = np.array([self.learning_rate(step) for step in range(first, first + count)], np.float64)
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(f"learning_rate gave {values[k]} for step {first + k}, expected a finite number ≥ 0")
        return values

    def step(self, network: Sequential) -> None:
        """Change the network's parameters by its gradients, in place.

        >>> import fastjac as fj
        >>> net = fj.Sequential([fj.Dense(1, 1, weight_init=np.ones((1, 1)))], dtype="float64")
        >>> net.gradients[:] = 1
        >>> fj.SGD(learning_rate=0.5).step(net)
        >>> net.parameters
        array([ 0.5, -0.5])
        """
        rate = self.learning_rate
        if callable(rate):
            rate = float(self.rates(int(self.state(network).counters[0]), 1)[0])
        self.step_at(network, rate)

    def step_at(self, network: Sequential, rate: float) -> None:
        """``step`` with a learning rate that is known already."""
        state = self.state(network)
        step = int(state.counters[0])
        optimizer_update(
            self.rule, network.parameters, network.gradients, state.moments, rate, self.settings(), step + 1
        )
        state.counters[0] += 1

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_states"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _states=weakref.WeakKeyDictionary())


class SGD(Optimizer):
    """Gradient descent, with momentum: v = μ·v + g; w -= rate·v, or rate·(g + μ·v) with Nesterov.

    Args:
        learning_rate: a number, or a function of the step.
        momentum: μ in [0, 1).
        nesterov: look ahead; needs momentum.
        weight_decay: adds weight_decay·w to the gradient.
        clip_norm: the gradient's largest norm, or None.

    Raises:
        TypeError, ValueError: values out of range.

    >>> SGD(0.1, momentum=0.9, nesterov=True).momentum
    0.9
    """

    rule = rules.SGD

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm)
        self.momentum = _arguments.real("momentum", momentum, 0, 1)
        self.nesterov = bool(nesterov)
        self.weight_decay = _arguments.real("weight_decay", weight_decay)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; momentum is 0")

    def settings(self) -> np.ndarray:
        values = super().settings()
        values[rules.MOMENTUM] = self.momentum
        values[rules.NESTEROV] = float(self.nesterov)
        values[rules.WEIGHT_DECAY] = self.weight_decay
        return values


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), as in PyTorch: w -= rate·m̂ / (√v̂ + ε).

    Args:
        learning_rate: a number, or a function of the step.
        beta_1, beta_2: how fast the mean and the mean square of the gradient are forgotten, in [0, 1).
        epsilon: added to √v̂.
        weight_decay: adds weight_decay·w to the gradient.
        clip_norm: the gradient's largest norm, or None.

    Raises:
        TypeError, ValueError: values out of range.

    >>> Adam(1e-3).beta_2
    0.999
    """

    rule = rules.ADAM

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm)
        self.beta_1 = _arguments.real("beta_1", beta_1, 0, 1)
        self.beta_2 = _arguments.real("beta_2", beta_2, 0, 1)
        self.epsilon = _arguments.real("epsilon", epsilon)
        self.weight_decay = _arguments.real("weight_decay", weight_decay)

    def settings(self) -> np.ndarray:
        values = super().settings()
        values[rules.MOMENTUM] = self.beta_1
        values[rules.BETA_2] = self.beta_2
        values[rules.EPSILON] = self.epsilon
        values[rules.WEIGHT_DECAY] = self.weight_decay
        return values


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): w shrinks by rate·weight_decay in each step.

    Arguments as ``Adam``; weight_decay is 0.01 by default, as in PyTorch.

    >>> AdamW().weight_decay
    0.01
    """

    rule = rules.ADAMW

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, clip_norm=clip_norm)


BY_NAME: dict[str, Any] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get(optimizer: Any) -> Optimizer:
    """The optimizer for a name (with its default settings) or an optimizer object.

    Raises:
        ValueError: unknown name.
        TypeError: anything else.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if optimizer in BY_NAME.values():
        made: Optimizer = optimizer()
        return made
    if isinstance(optimizer, str):
        if optimizer not in BY_NAME:
            raise unknown("optimizer", optimizer, list(BY_NAME))
        named: Optimizer = BY_NAME[optimizer]()
        return named
    raise TypeError(f"optimizer is {optimizer!r}, expected a name ({', '.join(BY_NAME)}) or an optimizer object")


def exponential_decay(start: float, rate: float, steps: int) -> Callable[[int], float]:
    """A schedule: start·rate^(step/steps).

    >>> exponential_decay(0.1, 0.5, 100)(200)
    0.025
    """
    start, rate = _arguments.real("start", start), _arguments.real("rate", rate, open_high=False)
    steps = _arguments.count("steps", steps)
    return lambda step: float(start * rate ** (step / steps))


def cosine_decay(start: float, steps: int, end: float = 0.0, warmup: int = 0) -> Callable[[int], float]:
    """A schedule: a linear rise over ``warmup`` steps, then half a cosine from ``start`` to ``end`` until ``steps``.

    >>> schedule = cosine_decay(0.1, 100, warmup=10)
    >>> [round(schedule(step), 3) for step in (0, 9, 55, 100, 1000)]
    [0.01, 0.1, 0.05, 0.0, 0.0]
    """
    start, end = _arguments.real("start", start), _arguments.real("end", end)
    warmup = _arguments.count("warmup", warmup, 0)
    steps = _arguments.count("steps", steps, warmup + 1)

    def rate(step: int) -> float:
        if step < warmup:
            return start * (step + 1) / warmup
        done = min(1.0, (step - warmup) / (steps - warmup))
        return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * done))

    return rate
