"""Names that do not exist are refused with the nearest one: ``layer.wieght = 3``, ``fj.Adam(lr=0.1)``.

And values that a constructor would refuse, also when they are assigned later: ``adam.beta_1 = 2``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, KeysView, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from fastjac.kernels.arrays import nearest

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own from Python 3.11 on

Function = TypeVar("Function", bound=Callable[..., object])

# what other libraries call it: what it is here
ELSEWHERE = {
    "lr": "learning_rate",
    "betas": "beta_1",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "eps": "epsilon",
    "decay": "weight_decay",
    "clipnorm": "clip_norm",
    "global_clipnorm": "clip_norm",
    "max_norm": "clip_norm",
    "weights": "weight",
    "kernel": "weight",
    "coefs_": "weight",
    "kernel_initializer": "weight_init",
    "bias_initializer": "bias_init",
    "use_bias": "bias",
    "units": "outputs",
    "out_features": "outputs",
    "in_features": "inputs",
    "input_dim": "inputs",
    "input_shape": "inputs",
    "p": "rate",
    "random_state": "seed",
    "weight_gradients": "weight_gradient",
    "grad": "gradients",
    "params": "parameters",
    "nb_epoch": "epochs",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "max_iter": "epochs",
    "x": "X",
    "batchsize": "batch_size",
    "validation_split": "validation_data",
    "sample_weights": "sample_weight",
    "verbose": "progress",
    "n_jobs": "threads",
    "num_threads": "threads",
    "criterion": "loss",
    "loss_fn": "loss",
    "reg_lambda": "l2",
    "alpha": "l2",
    "n_iter_no_change": "patience",
    "restore_best_weights": "restore_best",
}


def unexpected(of: str, name: str, known: Iterable[str], what: str = "keyword argument") -> TypeError:
    """The error for a keyword that a call does not take."""
    names = list(known)
    return TypeError(
        f"{of} got an unexpected {what} {name!r}{nearest(name, names, ELSEWHERE)}"
        f" It takes {', '.join(names) if names else 'none'}."
    )


@functools.cache
def _keywords(function: Callable[..., object]) -> KeysView[str] | None:
    """The names that a function takes as keywords; None where it takes any."""
    kinds = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in kinds):
        return None
    return dict.fromkeys(one.name for one in kinds if one.kind is not one.POSITIONAL_ONLY and one.name != "self").keys()


def _check_keywords(function: Callable[..., object], of: str, given: Mapping[str, object]) -> None:
    known = _keywords(function)
    if known is not None and not given.keys() <= known:
        raise unexpected(f"{of}()", next(name for name in given if name not in known), known)


def checks_keywords(function: Function) -> Function:
    """The function, with a hint where a keyword is not one of its own. For calls that take longer than a microsecond.

    >>> @checks_keywords
    ... def fit(X, batch_size=32): ...
    >>> fit(1, batch_sise=3)
    Traceback (most recent call last):
    TypeError: fit() got an unexpected keyword argument 'batch_sise'; did you mean 'batch_size'? It takes X, batch_size.
    """

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        if kwargs:
            _check_keywords(function, function.__qualname__, kwargs)
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def refuse_own_code(one: object, base: type, names: Iterable[str]) -> None:
    """Raise TypeError where an object computes something by a function of its own that kernels know nothing of."""
    for name in names:
        if getattr(getattr(one, name), "__func__", None) is not getattr(base, name):
            raise TypeError(
                f"{type(one).__name__} has a {name} of its own, which compiled training does not call: it runs the"
                f" kernels of fastjac's own classes. Step by hand instead: forward, your own code, backward"
            )


class Strict:
    """Base of classes whose objects take no other attributes than they have.

    A class says so itself: ``class Adam(Optimizer, strict=True)``. It then takes what it or a base declares (an
    annotation in the class) or defines (a property), and names that begin with an underscore, and its constructor's
    own keywords. A subclass without ``strict``, such as a user's, takes any attribute.

    What a class has in ``_checks``, a function of (name, value) by attribute, is called with every value that is
    assigned: it gives the value to keep, or raises an error.

    >>> class Wheel(Strict, strict=True):
    ...     radius: float
    >>> wheel = Wheel()
    >>> wheel.radius = 2
    >>> wheel.raduis = 3
    Traceback (most recent call last):
    AttributeError: Wheel has no attribute 'raduis'; did you mean 'radius'? What can be set: radius.
    """

    _settable: ClassVar[frozenset[str] | None] = None
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {}

    def __init_subclass__(cls, strict: bool = False, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._checks = {k: check for base in reversed(cls.__mro__) for k, check in vars(base).get("_checks", {}).items()}
        cls._settable = None
        if strict:
            own = [one for base in cls.__mro__ for one in _declared(base)]
            cls._settable = frozenset(own)
            if "__setattr__" not in vars(cls):
                cls.__setattr__ = refuse_unknown  # type: ignore[method-assign]
        elif "__setattr__" not in vars(cls):
            cls.__setattr__ = _set_checked if cls._checks else object.__setattr__  # type: ignore[method-assign]

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        if kwargs and cls._settable is not None:
            _check_keywords(cls.__init__, cls.__name__, kwargs)
        return super().__new__(cls)


def _declared(cls: type) -> list[str]:
    """The public names that objects of a class have of their own, and its properties."""
    annotations = inspect.get_annotations(cls)
    found = [name for name, kind in annotations.items() if not str(kind).removeprefix("typing.").startswith("ClassVar")]
    found += [name for name, value in vars(cls).items() if isinstance(value, property)]
    return [name for name in found if not name.startswith("_")]


def refuse_unknown(self: Any, name: str, value: object) -> None:
    """``__setattr__`` of a strict class."""
    if name[0] != "_" and name not in self._settable:
        cls = type(self)
        known = sorted(one for one in self._settable if getattr(getattr(cls, one, None), "fset", True) is not None)
        raise AttributeError(
            f"{cls.__name__} has no attribute {name!r}{nearest(name, known, ELSEWHERE)}"
            f" What can be set: {', '.join(known) or 'nothing'}."
        )
    _set_checked(self, name, value)


def _set_checked(self: Any, name: str, value: object) -> None:
    """``__setattr__`` of a class that takes any name, but not any value for those it knows."""
    check = self._checks.get(name)
    object.__setattr__(self, name, value if check is None else check(name, value))
