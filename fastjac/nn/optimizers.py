"""Optimizers: hyperparameters, and state that belongs to one network at a time. The steps are compiled."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fastjac.kernels import optimizers as rules
from fastjac.kernels.arrays import aligned, unknown
from fastjac.kernels.checked import optimizer_update
from fastjac.kernels.plan import COUNTERS
from fastjac.nn.network import Network
from fastjac.nn.program import Learner
from fastjac.support import arguments
from fastjac.support.attributes import Strict, checks_keywords, refuse_own_code
from fastjac.support.errors import NonFiniteError

Rate = float | Callable[[int], float]


class _State:
    """What an optimizer remembers of one network: its moments and how many steps it has taken.

    Attributes:
        moments: each vector of them divided by its unit: Adam's by 1 - β₁ and 1 - β₂, see ``rules``.
        units: one for each vector.
        counters: steps first; the others are the kernel's own.
        learner: what the last fit has prepared; never of a copy.
    """

    def __init__(self, size: int, dtype: np.dtype, units: tuple[float, ...]) -> None:
        self.moments = aligned(size, dtype)
        self.units = units
        self.counters = np.zeros(COUNTERS, np.int64)
        self.learner: Learner | None = None

    def convert(self, units: tuple[float, ...]) -> None:
        """Have the same moments in other units: those that other settings take them in."""
        if units != self.units:
            if self.counters[0] > 0:  # else they are 0 in all units
                for moment, old, new in zip(np.split(self.moments, len(units)), self.units, units, strict=True):
                    moment *= moment.dtype.type(old / new)
            self.units = units

    def take(self, other: _State) -> None:
        """Become as another of the same size is."""
        self.moments[:], self.units, self.counters[0] = other.moments, other.units, other.counters[0]

    def copy(self) -> _State:
        new = _State(self.moments.size, self.moments.dtype, self.units)
        new.take(self)
        return new

    def __getstate__(self) -> tuple[np.ndarray, tuple[float, ...], int]:
        return self.moments, self.units, int(self.counters[0])

    def __setstate__(self, kept: tuple[np.ndarray, tuple[float, ...], int]) -> None:
        moments, units, steps = kept
        # in memory that begins where kernels want it
        self.__init__(moments.size, moments.dtype, units)  # type: ignore[misc]
        self.moments[:], self.counters[0] = moments, steps


def _rate(name: str, value: Rate) -> Rate:
    return value if callable(value) else arguments.real(name, value)


def _limit(name: str, value: object) -> float | None:
    number = None if value is None else arguments.real(name, value)
    if number == 0:
        raise ValueError(f"{name} is 0, expected a positive number, or None for no limit")
    return number


def _below_one(name: str, value: object) -> float:
    return arguments.real(name, value, 0, 1)


def _up_to_one(name: str, value: object) -> float:
    return arguments.real(name, value, 0, 1, open_high=False)


def _flag(name: str, value: object) -> bool:
    return bool(value)


class Optimizer(Strict):
    """Base of the optimizers; not used by itself.

    What it remembers, moments and the number of steps, belongs to one network; it can step several. A copy (``copy``,
    ``deepcopy``, a pickle) remembers as much, and knows a copy of the network for that network, whether the two were
    copied together or one by one: training goes on with the same bits. A network that is made anew begins anew.

    Args:
        learning_rate: a finite number of at least 0, or a function from the step (0, 1, …) to one: a schedule.
        clip_norm: the gradient's largest Euclidean norm, above 0; longer ones are scaled down. None: no limit.

    Attributes:
        steps: how many steps were taken with the network used last.

    Raises:
        TypeError, ValueError: values out of range.
    """

    rule: ClassVar[int]
    learning_rate: Rate
    clip_norm: float | None

    _checks: ClassVar = {"learning_rate": _rate, "clip_norm": _limit}

    def __init__(self, learning_rate: Rate, clip_norm: float | None) -> None:
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self._forget()

    def _forget(self) -> None:
        self._states: weakref.WeakKeyDictionary[Network, _State] = weakref.WeakKeyDictionary()
        self._of_copies: dict[str, _State] = {}  # by the network's identity, until it is stepped
        self._counters = np.zeros(COUNTERS, np.int64)  # of the state used last

    @property
    def steps(self) -> int:
        """How many steps were taken with the network used last.

        >>> import fastjac as fj
        >>> optimizer, net = fj.Adam(), fj.Sequential([fj.Dense(2, 1)])
        >>> history = net.fit(np.ones((6, 2)), np.ones(6), loss="huber", optimizer=optimizer, batch_size=2, epochs=2)
        >>> optimizer.steps
        6
        """
        return int(self._counters[0])

    def settings(self) -> np.ndarray:
        """The hyperparameters as kernels take them."""
        values = np.zeros(rules.SETTINGS)
        values[rules.CLIP_NORM] = self.clip_norm or 0.0
        for name, index in rules.TABLE[self.rule].settings.items():
            values[index] = getattr(self, name)
        return values

    def settings_for(self, network: Network) -> np.ndarray:
        """``settings``, and the moments of this network brought into the units that these take them in."""
        values, state = self.settings(), self.state(network)
        row = rules.TABLE[self.rule]
        if row.units:
            with network._lock:
                state.convert(tuple(float(1.0 - values[beta]) for beta in row.units))
        return values

    def state(self, network: Network) -> _State:
        """The state for this network; new where there is none yet."""
        try:
            state = self._states.get(network)
        except TypeError:  # no weak reference can be made of it
            state = None
        if state is None:
            if not hasattr(network, "parameters") or not hasattr(network, "gradients"):
                raise TypeError(f"an optimizer steps a network, fastjac.Sequential, not {type(network).__name__}")
            states = rules.TABLE[self.rule].states
            size = states * rules.padded_count(network._parameters.size)
            state = self._of_copies.pop(network._identity, None)
            if state is None or state.moments.size != size or state.moments.dtype != network.dtype:
                state = _State(size, network._dtype, (1.0,) * states)
            self._states[network] = state
        if self._counters is not state.counters:
            self._counters = state.counters
        return state

    def rates(self, first: int, count: int) -> np.ndarray:
        """The learning rates of some steps, from number ``first`` on.

        Raises:
            ValueError: the schedule gave something that is not a finite number of at least 0.
        """
        if not callable(self.learning_rate):
            return np.full(count, self.learning_rate)
        given = [self.learning_rate(step) for step in range(first, first + count)]
        try:
            values = np.array(given, np.float64)
        except (TypeError, ValueError):  # texts, or lists of several lengths
            values = np.empty(0)
        if values.shape != (count,) or not (np.isfinite(values) & (values >= 0)).all():
            k = next(k for k, value in enumerate(given) if not _is_rate(value))
            raise ValueError(f"learning_rate gave {given[k]!r} for step {first + k}, expected a finite number ≥ 0")
        return values

    def step(self, network: Network) -> None:
        """Change the network's parameters by its gradients, in place.

        Args:
            network: a ``Sequential``, after its ``backward``.

        Raises:
            NonFiniteError: ``clip_norm`` is set, and the gradient has an entry that is NaN or infinite.
            TypeError: no network.
            ValueError: the schedule gave something that is not a finite number of at least 0, or settings don't go
                together.

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
        if not self.step_at(network, rate):
            raise NonFiniteError("the gradient is not finite, so that it can't be clipped; nothing was changed")

    def step_at(self, network: Network, rate: float) -> bool:
        """``step`` with a learning rate that is known already. False, and no step, where ``clip_norm`` is set and the
        gradient is not finite."""
        state = self.state(network)
        with network._lock:
            settings, step = self.settings_for(network), int(state.counters[0])
            rule = rules.compiled(self.rule, network._parameters.dtype)
            done: bool = optimizer_update(
                rule, network._parameters, network._gradients, state.moments, rate, settings, step + 1
            )
            state.counters[0] += done
        return done

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    def __getstate__(self) -> dict[str, object]:
        of_copies = {key: state.copy() for key, state in self._of_copies.items()}
        of_copies |= {network._identity: state.copy() for network, state in list(self._states.items())}
        own = {k: v for k, v in vars(self).items() if k not in ("_states", "_of_copies", "_counters")}
        return own | {"of_copies": of_copies, "steps": self.steps}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._forget()
        self._of_copies, self._counters[0] = state.pop("of_copies"), state.pop("steps")
        vars(self).update(state)


class SGD(Optimizer, strict=True):
    """Gradient descent, with momentum: v = μ·v + g; w -= rate·v, or rate·(g + μ·v) with Nesterov.

    As in PyTorch: the rate is no part of v, as it is in Sutskever et al. 2013.

    Args:
        learning_rate: a number of at least 0, or a function of the step.
        momentum: μ in [0, 1].
        nesterov: look ahead; needs a momentum above 0.
        weight_decay: adds weight_decay·w to the gradient; at least 0.
        clip_norm: the gradient's largest Euclidean norm, above 0, or None.

    Raises:
        TypeError, ValueError: values out of range.

    >>> SGD(0.1, momentum=0.9, nesterov=True).momentum
    0.9
    """

    rule = rules.CODES["sgd"]
    momentum: float
    nesterov: bool
    weight_decay: float

    _checks: ClassVar = {"momentum": _up_to_one, "nesterov": _flag, "weight_decay": arguments.real}

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
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        SGD.settings(self)  # which looks at two together

    def settings(self) -> np.ndarray:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; momentum is 0")
        return super().settings()


class Adam(Optimizer, strict=True):
    """Adam (Kingma & Ba 2015), as in PyTorch: w -= rate·m̂ / (√v̂ + ε).

    Args:
        learning_rate: a number of at least 0, or a function of the step.
        beta_1, beta_2: how much of the mean and of the mean square of the gradient stays from step to step, in [0, 1).
        epsilon: added to √v̂; at least 0.
        weight_decay: adds weight_decay·w to the gradient; at least 0.
        clip_norm: the gradient's largest Euclidean norm, above 0, or None.

    Raises:
        TypeError, ValueError: values out of range.

    >>> Adam(1e-3).beta_2
    0.999
    """

    rule = rules.CODES["adam"]
    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float

    _checks: ClassVar = {
        "beta_1": _below_one,
        "beta_2": _below_one,
        "epsilon": arguments.real,
        "weight_decay": arguments.real,
    }

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
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.weight_decay = weight_decay


class AdamW(Adam, strict=True):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): w shrinks by rate·weight_decay in each step.

    Args:
        learning_rate, beta_1, beta_2, epsilon: as for ``Adam``.
        weight_decay: at least 0; 0.01 by default, as in PyTorch.
        clip_norm: as for ``Adam``.

    Raises:
        TypeError, ValueError: values out of range.

    >>> AdamW().weight_decay
    0.01
    """

    rule = rules.CODES["adamw"]

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


BY_NAME: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


OptimizerName = Literal["sgd", "adam", "adamw"]
OptimizerLike = OptimizerName | Optimizer | type[Optimizer]  # what a function takes for an optimizer

# what other libraries call theirs, and what is not here but is nearest
_ELSEWHERE = {
    "gd": "sgd",
    "gradient_descent": "sgd",
    "momentum": "SGD(momentum=0.9)",
    "nesterov": "SGD(momentum=0.9, nesterov=True)",
    "nadam": "adam",
    "amsgrad": "adam",
    "adamax": "adam",
    "rmsprop": "adam",
    "adagrad": "adam",
    "adadelta": "adam",
}


def get(optimizer: OptimizerLike | str) -> Optimizer:
    """The optimizer for a name (with its default settings) or an optimizer object.

    Raises:
        ValueError: unknown name.
        TypeError: anything else, or an optimizer with code of its own, which compiled training would not run.
    """
    if isinstance(optimizer, Optimizer):
        if not hasattr(optimizer, "rule"):
            raise TypeError(
                f"{type(optimizer).__name__} is a base of optimizers, expected one such as {', '.join(BY_NAME)}"
            )
        refuse_own_code(optimizer, Optimizer, ("step_at", "step"))
        return optimizer
    for kind in BY_NAME.values():
        if optimizer is kind:
            return kind()
    if isinstance(optimizer, str):
        if optimizer not in BY_NAME:
            raise unknown("optimizer", optimizer, list(BY_NAME), _ELSEWHERE)
        return BY_NAME[optimizer]()
    raise TypeError(f"optimizer is {optimizer!r}, expected a name ({', '.join(BY_NAME)}) or an optimizer object")


def _is_rate(value: float) -> bool:
    try:
        return bool(np.ndim(value) == 0 and 0 <= float(value) < math.inf)
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True)
class _ExponentialDecay:
    """A class and no closure, so that an optimizer with a schedule can be pickled; so below."""

    start: float
    rate: float
    steps: int

    def __call__(self, step: int) -> float:
        return float(self.start * self.rate ** (step / self.steps))


@dataclass(frozen=True)
class _CosineDecay:
    start: float
    steps: int
    end: float
    warmup: int

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.start * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * done))


@checks_keywords
def exponential_decay(start: float, rate: float, steps: int) -> Callable[[int], float]:
    """A schedule: start·rate^(step/steps).

    Args:
        start: the learning rate at step 0, at least 0.
        rate: what it is multiplied by over ``steps``, at least 0.
        steps: how many, at least 1.

    Returns:
        A function from the step to the learning rate, for ``learning_rate`` of an optimizer; it can be pickled.

    Raises:
        TypeError, ValueError: not such numbers.

    >>> exponential_decay(0.1, 0.5, 100)(200)
    0.025
    """
    start, rate = arguments.real("start", start), arguments.real("rate", rate, open_high=False)
    return _ExponentialDecay(start, rate, arguments.count("steps", steps))


@checks_keywords
def cosine_decay(start: float, steps: int, end: float = 0.0, warmup: int = 0) -> Callable[[int], float]:
    """A schedule: a linear rise over ``warmup`` steps, then half a cosine from ``start`` to ``end`` until ``steps``.

    Loshchilov & Hutter 2017, without restarts.

    Args:
        start: the highest learning rate, at least 0.
        steps: when it has come down to ``end``, counted from the beginning; more than ``warmup``.
        end: the learning rate from then on, at least 0.
        warmup: how many steps it rises, at least 0.

    Returns:
        A function from the step to the learning rate, for ``learning_rate`` of an optimizer; it can be pickled.

    Raises:
        TypeError, ValueError: not such numbers.

    >>> schedule = cosine_decay(0.1, 100, warmup=10)
    >>> [round(schedule(step), 3) for step in (0, 9, 55, 100, 1000)]
    [0.01, 0.1, 0.05, 0.0, 0.0]
    """
    start, end = arguments.real("start", start), arguments.real("end", end)
    warmup = arguments.count("warmup", warmup, 0)
    return _CosineDecay(start, arguments.count("steps", steps, warmup + 1), end, warmup)
