"""Layers: shapes, parameters and checks. What they compute is a function of a path; see ``fastjac.paths``.

A layer of your own
-------------------
Subclass ``Layer`` and write it in NumPy. ``build`` says how wide the output is, ``parameter_shapes`` what can be
learnt; the network gives the layer views of its flat parameter and gradient vectors under those names. ``forward``
keeps what ``backward`` needs; ``backward`` adds nothing, it *writes* ``self.gradients[...]`` and returns dX. The
arrays that it is given can't be written to: other layers, and whoever called, still need them. What it keeps in its
attributes (arrays, also in lists and dictionaries) is brought back where ``predict`` comes between ``forward`` and
``backward``.

>>> import numpy as np
>>> import fastjac as fj
>>> class Scale(fj.Layer):
...     '''A = X ⊙ s, one learnt factor a column.'''
...     def build(self, inputs):
...         self.inputs = self.outputs = inputs
...     def parameter_shapes(self):
...         return {"scale": (self.inputs,)}
...     def initialize(self, rng):
...         self.parameters["scale"][...] = 1.0
...     def forward(self, X, training):
...         self.X = X
...         return X * self.parameters["scale"]
...     def backward(self, dA):
...         self.gradients["scale"][...] = (dA * self.X).sum(axis=0)
...         return dA * self.parameters["scale"]
>>> net = fj.Sequential([fj.Dense(3, 4, activation="tanh"), Scale(), fj.Dense(4, 2)], seed=0, dtype="float64")
>>> rng = np.random.default_rng(0)
>>> X, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
>>> fj.check_gradients(net, X, y, loss="softmax_cross_entropy").passed
True
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from fastjac.files.container import expect, is_real, whole
from fastjac.kernels import dropout_mask
from fastjac.kernels import plan as kinds
from fastjac.kernels.arrays import float_of, floats, unknown
from fastjac.kernels.elementwise import compile_loops
from fastjac.nn import activations
from fastjac.nn.activations import ActivationFunction
from fastjac.nn.program import Operation
from fastjac.paths import PATHS
from fastjac.support import arguments
from fastjac.support.attributes import Strict, refuse_unknown

# a name, numbers, or what gives numbers of a shape
Initializer = ArrayLike | Callable[[np.random.Generator, tuple[int, ...]], ArrayLike]

_HE = ("relu", "leaky_relu", "elu", "softplus", "silu", "gelu")  # activations that keep about half of the variance


_SET_IN_A_NETWORK = ("weight", "bias")  # what a user may set on a layer of a network


class Views(dict[str, np.ndarray]):
    """Arrays by name, parts of a network's vector: what is assigned is written into them.

    >>> views = Views({"scale": np.zeros(3)})
    >>> scale = views["scale"]
    >>> views["scale"] = 2
    >>> scale
    array([2., 2., 2.])
    """

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        if name not in self:
            raise unknown("parameter", name, list(self))
        view = self[name]
        view[...] = value if np.ndim(value) == 0 else floats(name, value, view.shape, view.dtype)

    def update(self, *values: Any, **named: ArrayLike) -> None:
        """Write several.

        Args:
            values: at most one mapping, or pairs, of names and what to write.
            named: the same as keywords.

        Raises:
            TypeError, ValueError: unknown names, or arrays that don't fit.
        """
        for name, value in dict(*values, **named).items():
            self[name] = value

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the parameters and gradients of a layer are parts of its network's: they can't be taken out")

    __delitem__ = __ior__ = clear = pop = popitem = setdefault = _refuse


class Layer(Strict):
    """Base of the layers, and of a user's own.

    Attributes:
        inputs, outputs: widths, known after ``build``.
        parameters, gradients: views of the network's flat vectors by name. Assigning writes into them.
        path: the module of ``fastjac.paths`` that the network uses.
    """

    inputs: int
    outputs: int
    parameters: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    path: ModuleType

    _used: ClassVar[tuple[str, ...]] = ()  # what ``forward`` keeps for ``backward``, and no copy does
    _stays: ClassVar[tuple[str, ...]] = ()  # what is set once

    def __init__(self) -> None:
        self._prepare()

    def __init_subclass__(cls, strict: bool = False, **kwargs: object) -> None:
        super().__init_subclass__(strict=strict, **kwargs)
        if strict:
            cls.__setattr__ = _set_attribute  # type: ignore[method-assign,assignment]

    def _prepare(self) -> None:
        self.parameters = {}
        self.gradients = {}
        self.path = PATHS["fused"]

    def __getstate__(self) -> dict[str, object]:
        """What a copy or a file holds: nothing of the network's memory, nor what ``backward`` was to use."""
        left_out = ("parameters", "gradients", "path", "_network")
        return {k: None if k in self._used else v for k, v in vars(self).items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._prepare()
        vars(self).update(state)

    if TYPE_CHECKING:  # what ``net.layers[0].weight`` is; a layer without one has no such attribute

        @property
        def weight(self) -> np.ndarray: ...

        @weight.setter
        def weight(self, value: ArrayLike) -> None: ...

        @property
        def bias(self) -> np.ndarray | None: ...

        @bias.setter
        def bias(self, value: ArrayLike) -> None: ...

        @property
        def weight_gradient(self) -> np.ndarray: ...

        @property
        def bias_gradient(self) -> np.ndarray | None: ...

    def _kept(self) -> dict[str, object]:
        """A copy of what ``forward`` may have kept for ``backward``."""
        own = ("parameters", "gradients", "path", "inputs", "outputs", "_network")
        return {name: _copied(value) for name, value in vars(self).items() if name not in own}

    def build(self, inputs: int) -> None:
        """Set ``self.inputs`` and ``self.outputs``; called when the network is made.

        Args:
            inputs: width of the input.

        Raises:
            ValueError: the layer can't take this width.
        """
        self.inputs = self.outputs = inputs

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what is learnt, in the order of the flat vector; none by default."""
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Write first values into ``self.parameters``, which are 0 until then.

        Args:
            rng: what to draw from; the network's seed decides what it gives.
        """

    def _initialized(self) -> None:
        """The network is made: what was only for ``initialize`` is not needed any more."""

    def forward(self, X: np.ndarray, training: bool) -> np.ndarray:
        """The layer's output for a batch; it keeps what ``backward`` needs.

        Args:
            X: (N, inputs), of the network's dtype, not to be written to.
            training: whether it is a step of training, in which Dropout drops.

        Returns:
            A (N, outputs).

        Raises:
            TypeError: the layer has no ``forward`` of its own.
        """
        raise TypeError(f"{type(self).__name__} has no forward(X, training); a layer needs one")

    def backward(self, dA: np.ndarray) -> np.ndarray | None:
        """The gradients of the last ``forward``: what it writes into ``self.gradients`` replaces what was there.

        Args:
            dA: (N, outputs), the gradient with respect to the output, not to be written to.

        Returns:
            dX (N, inputs), the gradient with respect to the input. ``fit`` does not look at that of the first layer.

        Raises:
            TypeError: the layer has no ``backward`` of its own.
        """
        raise TypeError(f"{type(self).__name__} has no backward(dA); a layer needs one")

    def operation(self, offsets: dict[str, int]) -> Operation | None:
        """The layer as a row of a compiled plan, or None where it can only be run by itself."""
        return None

    def config(self) -> dict[str, object]:
        """What a file says of a built-in layer, besides its kind: plain numbers and texts."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any], what: str) -> Layer:
        """A layer from what ``config`` gave.

        Args:
            config: as a file says it.
            what: the layer in messages.

        Returns:
            A new layer.

        Raises:
            ValueError: nothing that ``config`` gives.
        """
        return cls()

    def describe(self) -> str:
        """The layer in a word or two, for a summary."""
        return type(self).__name__


def _copied(value: object) -> object:
    """A copy of arrays, in lists, tuples and dictionaries too; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is list:
        return [_copied(one) for one in value]
    if type(value) is tuple:
        return tuple(_copied(one) for one in value)
    if type(value) is dict:
        return {key: _copied(one) for key, one in value.items()}
    return value


def _set_attribute(self: Layer, name: str, value: object) -> None:
    """Of our own layers: nothing unknown, and nothing that a network or the rest of the layer has built upon."""
    if name == "path" and "_network" in vars(self):
        raise AttributeError(
            f"path of a {type(self).__name__} that belongs to a network can't be changed; a network"
            ' sets it for all its layers: net.path = "unfused"'
        )
    if name[0] != "_" and name not in _SET_IN_A_NETWORK and name in self._settable and "_network" in vars(self):  # type: ignore[operator]
        raise AttributeError(
            f"{name} of a {type(self).__name__} that belongs to a network can't be changed: the network is built on it."
            " Make a new layer and a new network"
        )
    if name == "path" and not any(value is one for one in PATHS.values()):
        raise TypeError(
            f"path of a layer is {value!r}, expected a module of fastjac.paths; a network sets it for all its layers:"
            ' net.path = "unfused"'
        )
    if name in self._stays and name in vars(self):
        raise AttributeError(
            f"{name} of a {type(self).__name__} can't be changed: the rest of it was made for it. Make a new layer"
        )
    refuse_unknown(self, name, value)


class Dense(Layer, strict=True):
    """A = f(X·W + b): every output is connected to every input (course B5, C7).

    Args:
        inputs: I, width of X.
        outputs: O, number of neurons.
        activation: a name, an activation object, or None for the identity.
        bias: whether there is a b.
        weight_init: "he" or "glorot" (uniform; He et al. 2015, Glorot & Bengio 2010), None to choose by the
            activation (He for relu and its kin), an (I, O) array, or a function of (generator, shape).
        bias_init: an (O,) array, a number or a function of (generator, shape).

    Attributes:
        has_bias: whether there is a b.
        weight, bias: (I, O) and (O,), views of the network's parameters; assigning writes into them. Without a b,
            ``bias`` is None.
        weight_gradient, bias_gradient: the same of its gradients.

    Raises:
        TypeError, ValueError: widths that aren't positive whole numbers, unknown names, arrays of a wrong shape.

    >>> import fastjac as fj
    >>> net = fj.Sequential([fj.Dense(3, 2)], seed=0)
    >>> net.layers[0].weight.shape, net.layers[0].bias
    ((3, 2), array([0., 0.], dtype=float32))
    """

    activation: ActivationFunction
    has_bias: bool

    _used: ClassVar = ("_X", "_Z", "_A")
    _stays: ClassVar = ("inputs", "outputs", "has_bias")
    _checks: ClassVar = {
        "inputs": arguments.count,
        "outputs": arguments.count,
        "activation": lambda name, value: activations.get(value),
    }

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str | ActivationFunction | None = None,
        *,
        bias: bool = True,
        weight_init: Initializer | None = None,
        bias_init: Initializer = 0.0,
    ) -> None:
        self._prepare()
        self.inputs = inputs
        self.outputs = outputs
        self.activation = activation  # type: ignore[assignment]
        self.has_bias = bool(bias)
        if isinstance(weight_init, str) and weight_init not in ("he", "glorot"):
            raise unknown("weight_init", weight_init, ("he", "glorot"))
        self._weight_init = self._checked("weight_init", weight_init, (self.inputs, self.outputs))
        self._bias_init = self._checked("bias_init", bias_init, (self.outputs,))
        self._X: np.ndarray | None = None
        self._Z: np.ndarray | None = None
        self._A: np.ndarray | None = None

    @staticmethod
    def _checked(name: str, init: Initializer | None, shape: tuple[int, ...]) -> Initializer | None:
        if init is None or isinstance(init, str) or callable(init):
            return init
        if np.ndim(init) == 0:
            return arguments.real(name, init, -np.inf)
        return floats(name, init, shape, float_of(init)).copy()

    def config(self) -> dict[str, object]:
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "activation": [self.activation.name, float(self.activation.parameter)],
            "bias": self.has_bias,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], what: str) -> Dense:
        inputs = whole(config.get("inputs"), f"inputs of {what}", 1)
        outputs = whole(config.get("outputs"), f"outputs of {what}", 1)
        expect(type(config.get("bias")) is bool, f"{what} does not say whether it has a bias")
        return cls(inputs, outputs, activation=_activation_of(config, what), bias=config["bias"])

    def build(self, inputs: int) -> None:
        if inputs != self.inputs:
            raise ValueError(f"Dense({self.inputs}, {self.outputs}) takes {self.inputs} inputs, but gets {inputs}")

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.inputs, self.outputs)}
        return {**shapes, "bias": (self.outputs,)} if self.has_bias else shapes

    def initialize(self, rng: np.random.Generator) -> None:
        weight = self.parameters["weight"]
        init = self._weight_init
        if init is None:
            init = "he" if self.activation.name in _HE else "glorot"
        if isinstance(init, str):
            limit = np.sqrt(6 / self.inputs if init == "he" else 6 / (self.inputs + self.outputs))
            weight[...] = rng.uniform(-limit, limit, weight.shape)
        else:
            weight[...] = self._given("weight_init", init, rng, weight)
        if self.has_bias:
            self.parameters["bias"][...] = self._given("bias_init", self._bias_init, rng, self.parameters["bias"])

    def _initialized(self) -> None:
        # a layer is initialized once: arrays and functions need not be kept, nor pickled
        if not isinstance(self._weight_init, str):
            self._weight_init = None
        if not isinstance(self._bias_init, float):
            self._bias_init = 0.0

    @staticmethod
    def _given(name: str, init: Initializer | None, rng: np.random.Generator, target: np.ndarray) -> ArrayLike | None:
        if not callable(init):
            return init
        return floats(f"the result of {name}", init(rng, target.shape), target.shape, target.dtype)

    def _view(self, views: dict[str, np.ndarray], name: str) -> np.ndarray | None:
        if not views:
            raise RuntimeError("a layer has parameters once it is part of a network: fastjac.Sequential([...])")
        return views.get(name)

    @property
    def weight(self) -> np.ndarray:
        view = self._view(self.parameters, "weight")
        assert view is not None
        return view

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        self.weight[...] = floats("weight", value, self.weight.shape, self.weight.dtype)

    @property
    def bias(self) -> np.ndarray | None:
        return self._view(self.parameters, "bias")

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        if self.bias is None:
            raise ValueError("this layer has no bias: it was made with bias=False")
        self.bias[...] = floats("bias", value, self.bias.shape, self.bias.dtype)

    @property
    def weight_gradient(self) -> np.ndarray:
        view = self._view(self.gradients, "weight")
        assert view is not None
        return view

    @property
    def bias_gradient(self) -> np.ndarray | None:
        return self._view(self.gradients, "bias")

    def forward(self, X: np.ndarray, training: bool) -> np.ndarray:
        bias = np.zeros(self.outputs, self.weight.dtype) if self.bias is None else self.bias
        self._X = X
        self._Z, self._A = self.path.dense_forward(X, self.weight, bias, self.activation)
        return self._A

    def backward(self, dA: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        dX, dW, db = self.path.dense_backward(
            dA, self._Z, self._A, self._X, self.weight, self.activation, input_gradient
        )
        self.weight_gradient[...] = dW
        if self.bias_gradient is not None:
            self.bias_gradient[...] = db
        return dX  # type: ignore[no-any-return]

    def operation(self, offsets: dict[str, int]) -> Operation:
        return Operation(
            kinds.DENSE, self.inputs, self.outputs, self.activation, offsets["weight"], offsets.get("bias", -1)
        )

    def describe(self) -> str:
        return "Dense" if self.activation.name == "identity" else f"Dense, {self.activation}"


class Activation(Layer, strict=True):
    """A = f(X), element by element; its Jacobian is diagonal (course B2, B4).

    Args:
        activation: a name or an activation object.

    Raises:
        TypeError, ValueError: something else, or an unknown name.

    >>> import fastjac as fj
    >>> fj.Sequential([fj.Dense(1, 1), fj.Activation("tanh")]).layers[1].outputs
    1
    """

    activation: ActivationFunction

    _used: ClassVar = ("_X", "_A")
    _checks: ClassVar = {"activation": lambda name, value: activations.get(value)}

    def __init__(self, activation: str | ActivationFunction) -> None:
        self._prepare()
        self.activation = activation  # type: ignore[assignment]
        self._X: np.ndarray | None = None
        self._A: np.ndarray | None = None

    def config(self) -> dict[str, object]:
        return {"activation": [self.activation.name, float(self.activation.parameter)]}

    @classmethod
    def from_config(cls, config: dict[str, Any], what: str) -> Activation:
        return cls(_activation_of(config, what))

    def forward(self, X: np.ndarray, training: bool) -> np.ndarray:
        self._X = X
        self._A = self.path.activation_forward(X, self.activation)
        return self._A

    def backward(self, dA: np.ndarray) -> np.ndarray:
        return self.path.activation_backward(dA, self._X, self._A, self.activation)  # type: ignore[no-any-return]

    def operation(self, offsets: dict[str, int]) -> Operation:
        return Operation(kinds.ACTIVATION, self.inputs, self.outputs, self.activation)

    def describe(self) -> str:
        return f"Activation, {self.activation}"


class Softmax(Layer, strict=True):
    """Rows of probabilities e^x_i / Σ e^x_k (course A6, A7, C4).

    To train a classifier, leave it out and use the loss "softmax_cross_entropy", which takes logits: it is faster and
    exact at the edges. With this layer last, the loss is "categorical_cross_entropy".
    """

    _used: ClassVar = ("_A",)

    def __init__(self) -> None:
        self._prepare()
        self._A: np.ndarray | None = None

    def forward(self, X: np.ndarray, training: bool) -> np.ndarray:
        self._A = self.path.softmax_forward(X)
        return self._A

    def backward(self, dA: np.ndarray) -> np.ndarray:
        return self.path.softmax_backward(dA, self._A)  # type: ignore[no-any-return]

    def operation(self, offsets: dict[str, int]) -> Operation:
        return Operation(kinds.SOFTMAX, self.inputs, self.outputs)


class Dropout(Layer, strict=True):
    """While training, sets each number to 0 with probability ``rate`` and scales the others by 1/(1 - rate).

    As Srivastava et al. 2014, but with the scale in training rather than in prediction. The mask is a function of the
    network's seed, the training step and the layer's place, so a seed repeats it.

    Args:
        rate: probability in [0, 1).

    Attributes:
        seed, step, place: what the mask is a function of; set by the network.

    Raises:
        TypeError, ValueError: not such a number.

    >>> import fastjac as fj
    >>> net = fj.Sequential([fj.Dense(2, 3), fj.Dropout(0.5), fj.Dense(3, 1)], seed=0)
    """

    rate: float
    seed: int
    step: int
    place: int

    _used: ClassVar = ("_mask",)
    _checks: ClassVar = {"rate": lambda name, value: arguments.real(name, value, 0, 1)}

    def __init__(self, rate: float) -> None:
        self._prepare()
        self.rate = rate
        self.seed, self.step, self.place = 0, 0, 0  # set by the network before each training pass
        self._mask: np.ndarray | None = None

    def config(self) -> dict[str, object]:
        return {"rate": self.rate}

    @classmethod
    def from_config(cls, config: dict[str, Any], what: str) -> Dropout:
        rate: Any = config.get("rate")
        expect(type(rate) in (int, float) and 0 <= rate < 1, f"the rate of {what} is {str(rate)[:40]!r}")
        return cls(float(rate))

    def forward(self, X: np.ndarray, training: bool) -> np.ndarray:
        if not training:
            self._mask = None
            return X.copy()
        shape = (X.shape[0], X.shape[1])
        self._mask = dropout_mask(shape, self.rate, seed=self.seed, step=self.step, place=self.place, dtype=X.dtype)
        return self.path.dropout_forward(X, self._mask)  # type: ignore[no-any-return]

    def backward(self, dA: np.ndarray) -> np.ndarray:
        if self._mask is None:
            return dA
        return self.path.dropout_backward(dA, self._mask)  # type: ignore[no-any-return]

    def operation(self, offsets: dict[str, int]) -> Operation:
        return Operation(kinds.DROPOUT, self.inputs, self.outputs, rate=self.rate)

    def describe(self) -> str:
        return f"Dropout, {self.rate:g}"


# What the compiled plan and the files know, by the name that a file has for it
BUILT_IN: dict[str, type[Layer]] = {kind.__name__: kind for kind in (Dense, Activation, Softmax, Dropout)}


def _activation_of(config: dict[str, Any], what: str) -> ActivationFunction:
    value = config.get("activation")
    good = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and is_real(value[1])
    expect(good, f"the activation of {what} is {str(value)[:40]!r}")
    assert isinstance(value, list)
    return ActivationFunction(value[0], float(value[1]))


class Elementwise(Layer, strict=True):
    """A = f(X) for a function of your own, element by element (course B2).

    Args:
        f: a function of one number that Numba can compile.
        slope: its derivative, also of the input z.
        name: what to call it in a summary; None for the name of ``f``.

    Raises:
        TypeError: not functions.
        ValueError: Numba can't compile them.

    >>> import math
    >>> import fastjac as fj
    >>> sine = fj.Elementwise(math.sin, math.cos, name="sine")
    >>> net = fj.Sequential([fj.Dense(2, 3), sine, fj.Dense(3, 1)])
    """

    f: Callable[[float], float]
    slope: Callable[[float], float]
    name: str

    _used: ClassVar = ("_X",)
    _stays: ClassVar = ("f", "slope")

    def __init__(self, f: Callable[[float], float], slope: Callable[[float], float], name: str | None = None) -> None:
        self._prepare()
        if not callable(f) or not callable(slope):
            raise TypeError(f"Elementwise takes two functions, f and its slope, not {f!r} and {slope!r}")
        self.f, self.slope = f, slope
        self.name = name or str(getattr(f, "__name__", "f"))
        try:
            plain = [_wrapped(g) for g in (f, slope)]
            self._forward_loop, self._backward_loop = compile_loops(*plain)
        except Exception as error:
            raise ValueError(f"Numba can't compile {self.name} or its slope: {error}") from error
        self._X: np.ndarray | None = None

    def forward(self, X: np.ndarray, training: bool) -> np.ndarray:
        self._X = np.ascontiguousarray(X)
        A = np.empty_like(self._X)
        self._forward_loop(self._X.reshape(-1), A.reshape(-1))
        return A

    def backward(self, dA: np.ndarray) -> np.ndarray:
        assert self._X is not None
        dX = np.array(floats("dA", dA, self._X.shape, self._X.dtype), order="C")
        self._backward_loop(self._X.reshape(-1), dX.reshape(-1))
        return dX

    def describe(self) -> str:
        return f"Elementwise, {self.name}"

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in super().__getstate__().items() if not k.endswith("_loop")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_forward_loop" not in vars(self):
            self._forward_loop, self._backward_loop = compile_loops(_wrapped(self.f), _wrapped(self.slope))

    def __deepcopy__(self, memo: dict[int, object]) -> Elementwise:
        """With what is compiled already, which a pickle can't hold."""
        other = memo[id(self)] = type(self).__new__(type(self))
        state = copy.deepcopy(self.__getstate__(), memo)
        if state["f"] is self.f and state["slope"] is self.slope:  # functions are their own copies
            state |= {"_forward_loop": self._forward_loop, "_backward_loop": self._backward_loop}
        other.__setstate__(state)
        return other


def _wrapped(function: Callable[[float], float]) -> Callable[[float], float]:
    """The function as one written in Python, which is what Numba compiles; math.sin, for one, is not."""
    plain: Any = getattr(function, "py_func", function)
    if hasattr(plain, "__code__"):
        return plain  # type: ignore[no-any-return]
    return lambda z: plain(z)
