"""``Network``: layers one after the other over one flat vector of parameters. It knows no training."""

from __future__ import annotations

import copy
import math
import os
import threading
import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from fastjac.files import container
from fastjac.kernels.arrays import ArrayLike, Borrowed, Float, aligned, float_type, floats, unknown
from fastjac.kernels.bfloat16 import has_bfloat16
from fastjac.kernels.simd import compiler_target
from fastjac.nn import description, losses
from fastjac.nn.batch import Batch, Signature
from fastjac.nn.feed import Batches, Feed
from fastjac.nn.layers import BUILT_IN, Activation, Dense, Dropout, Elementwise, Layer, Views
from fastjac.nn.predictor import Predictor
from fastjac.nn.program import Program
from fastjac.paths import PATHS
from fastjac.support import arguments, forks, report
from fastjac.support.attributes import Strict, checks_keywords

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own from Python 3.11 on

_BUILT_IN = tuple(BUILT_IN.values())
_WITHOUT_BFLOAT16 = (
    f"{compiler_target()[0]} has no AVX512_BF16, with which bfloat16 numbers are multiplied (fastjac.has_bfloat16())"
)
_OURS = (*_BUILT_IN, Elementwise)  # layers that leave alone what they are given


def _object_or_none(name: str, value: object) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise TypeError(f"{name} is {value!r}, expected a dictionary, or None")
    return value


class _Pass(NamedTuple):
    """A ``forward`` that ``backward`` may come after."""

    X: Borrowed
    training: bool
    program: Program | None  # what ran it; None: the layers, by themselves
    path: str


class Network(Strict, strict=True):
    """What ``Sequential`` is without ``fit``: see there."""

    epochs_trained: int
    stop_training: bool
    preprocessing: dict[str, Any] | None

    _checks: ClassVar = {"epochs_trained": partial(arguments.count, least=0), "preprocessing": _object_or_none}

    def __init__(
        self,
        layers: Sequence[Layer],
        seed: int | None = None,
        dtype: DTypeLike = "float32",
        *,
        inputs: int | None = None,
        products: str | None = None,
    ) -> None:
        self._layers = _as_layers(layers)
        self._dtype = float_type(dtype)
        self._products = _checked_products(products, self._dtype, self._layers)
        self._seed = _new_seed() if seed is None else arguments.count("seed", seed, 0, description.LARGEST_SEED)
        self._inputs = self._build(None if inputs is None else arguments.count("inputs", inputs))
        self._outputs = self._widths[-1]
        self.epochs_trained = 0
        self.stop_training = False
        self.preprocessing = None
        self._path = "fused"
        self._seen: _Pass | None = None  # the last forward
        self._kept: list[dict[str, object]] | None = None  # what layers kept of it, where they have run since
        self._training_step = 0
        self._identity = uuid.uuid4().hex  # of this network and its copies, for the state of optimizers
        self._lock = threading.RLock()
        self._trained_by: forks.Callers = {}  # "call": the thread that trains it, and its call
        forks.keep_whole(self)
        # one 64-bit number for dropout and the order of rows, from all bits of the seed
        self._dropout_seed = int(np.random.SeedSequence(self._seed).generate_state(1, np.uint64)[0].astype(np.int64))
        rng = np.random.default_rng(self._seed)
        try:
            self._allocate()
            for layer in self._layers:
                layer.initialize(rng)
        except BaseException:
            for layer in self._layers:  # they can be used again
                vars(layer).pop("_network", None)
                layer.parameters, layer.gradients = {}, {}
            raise
        for layer in self._layers:
            layer._initialized()

    def _build(self, inputs: int | None) -> int:
        """Tell every layer its width; returns the network's."""
        if inputs is None:
            inputs = next((layer.inputs for layer in self._layers if hasattr(layer, "inputs")), None)
        if inputs is None:
            raise ValueError("no layer tells the width of the input: give it, as Sequential(layers, inputs=64)")
        self._widths = [inputs]  # of the input and of each output, whatever a user's layer says of itself later
        for k, layer in enumerate(self._layers):
            if not hasattr(layer, "parameters"):
                layer._prepare()  # a user's layer whose __init__ did not call ours
            try:
                layer.build(self._widths[-1])
            except ValueError as error:
                raise ValueError(f"layers[{k}]: {error}") from error
            self._widths.append(layer.outputs)
        return inputs

    def _allocate(self) -> None:
        """Lay all parameters out in one vector and give each layer its views, and build the plan if there is one."""
        shapes = [layer.parameter_shapes() for layer in self._layers]
        size = sum(math.prod(shape) for one in shapes for shape in one.values())
        self._parameters = aligned(size, self._dtype)
        self._gradients = aligned(size, self._dtype)
        offset = 0
        operations = []
        for k, (layer, one) in enumerate(zip(self._layers, shapes, strict=True)):
            offsets, parameters, gradients = {}, {}, {}
            for name, shape in one.items():
                end = offset + math.prod(shape)
                parameters[name] = self._parameters[offset:end].reshape(shape)
                gradients[name] = self._gradients[offset:end].reshape(shape)
                offsets[name], offset = offset, end
            layer.parameters, layer.gradients = Views(parameters), Views(gradients)
            if isinstance(layer, Dropout):
                layer.place = k
            operations.append(layer.operation(offsets))
        self._program: Program | None = None  # a user's layer is run by itself, and so are those beside it
        if all(type(layer) in _BUILT_IN for layer in self._layers):
            self._program = Program([o for o in operations if o is not None], self._dtype, self._products)
        for layer in self._layers:
            layer._network = True  # type: ignore[attr-defined]

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self._layers

    @property
    def inputs(self) -> int:
        return self._inputs

    @property
    def outputs(self) -> int:
        return self._outputs

    @property
    def dtype(self) -> Float:
        return self._dtype

    @property
    def seed(self) -> int:
        return self._seed

    @property
    def products(self) -> str | None:
        """What the operands of products are rounded to: "bfloat16", or None."""
        return self._products

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return Signature(self._inputs, self._outputs, self._dtype)

    @property
    def dropout_seed(self) -> int:
        return self._dropout_seed

    @property
    def parameters(self) -> np.ndarray:
        return self._parameters[:]  # a view of its own: whoever gets it may give it another shape

    @parameters.setter
    def parameters(self, value: ArrayLike) -> None:
        values = floats("parameters", value, self._parameters.shape, self._dtype)
        with self._lock:
            self._parameters[:] = values

    @property
    def gradients(self) -> np.ndarray:
        return self._gradients[:]

    @gradients.setter
    def gradients(self, value: ArrayLike) -> None:
        values = floats("gradients", value, self._gradients.shape, self._dtype)
        with self._lock:
            self._gradients[:] = values

    # --- running ----------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """How the network is computed: "fused" (compiled kernels), "unfused" (NumPy) or "reference" (Jacobians).

        Raises:
            ValueError: set to another name.
        """
        return self._path

    @path.setter
    def path(self, name: str) -> None:
        if name not in PATHS:
            raise unknown("path", name, list(PATHS))
        self._path = name
        for layer in self._layers:
            vars(layer)["path"] = PATHS[name]

    @property
    def program(self) -> Program | None:
        """The compiled plan, where the network is made of built-in layers and the path is "fused"."""
        return self._program if self._path == "fused" else None

    def _checked_input(self, X: ArrayLike) -> np.ndarray:
        # what most programs give is seen to be right in a third of the time that a look at anything takes
        if type(X) is np.ndarray and X.dtype is self._dtype and X.ndim == 2 and X.shape[1] == self._inputs:
            flags = X.flags
            if flags.c_contiguous and flags.aligned:
                return X
        return floats("X", X, (None, self._inputs), self._dtype)

    @checks_keywords
    def forward(self, X: ArrayLike, training: bool = True) -> np.ndarray:
        """The last layer's output for one batch, with everything kept that ``backward`` needs.

        Args:
            X: (N, inputs) numbers; its numbers must not change before ``backward``.
            training: whether Dropout drops; a forward pass that counts as a step of training.

        Returns:
            (N, outputs).

        Raises:
            TypeError, ValueError: not numbers, another width, or no rows.
        """
        X = self._checked_input(X)
        if len(X) == 0:
            raise ValueError(f"X has shape {X.shape}, expected at least one row: (1, {self._inputs})")
        training = bool(training)
        own = vars(self)  # to write to at once: this is called for every step
        with self._lock:
            own["_seen"] = own["_kept"] = None
            step = self._training_step
            program = self.program
            if program is not None:
                X = program.readable(X)
                held = Borrowed("X", X)
                output = program.forward(self._parameters, held.array, training, self._dropout_seed, step)
            else:
                held = Borrowed("X", X)
                # + 0 turns -0.0, our mark of a dead unit, into +0.0
                output = self.forward_layers(held.array, training, step) + 0
            own["_training_step"] = step + training
            own["_seen"] = _Pass(held, training, program, self._path)
        return output

    def forward_layers(self, X: np.ndarray, training: bool, step: int) -> np.ndarray:
        """Forward layer by layer, with -0.0 for dead ReLU units. For callers that have checked X and have the lock."""
        if self._seen is not None and self._seen.program is None and self._kept is None:
            self._kept = [layer._kept() for layer in self._layers]  # for the ``backward`` that may still come
        A = X
        for k, layer in enumerate(self._layers):
            if isinstance(layer, Dropout):
                vars(layer).update(seed=self._dropout_seed, step=step)
            if type(layer) in _OURS:
                A = layer.forward(A, training)
                continue
            A = self._of_user(k, layer.forward, A, training)
            wanted = (len(X), self._widths[k + 1])
            if not isinstance(A, np.ndarray):
                raise TypeError(
                    f"layers[{k}] ({layer.describe()}) gave a {type(A).__name__}, expected an array of shape {wanted}"
                )
            if A.shape != wanted:
                raise ValueError(
                    f"layers[{k}] ({layer.describe()}) gave an array of shape {A.shape}, expected {wanted}"
                )
        return A

    def _of_user(self, k: int, function: Callable[..., Any], array: np.ndarray, *more: bool) -> Any:
        """What a user's layer makes of an array that it must not change."""
        given = array.view()
        given.flags.writeable = False
        try:
            return function(given, *more)
        except ValueError as error:
            if "read-only" in str(error):
                raise ValueError(
                    f"layers[{k}] ({self._layers[k].describe()}) writes into the array of shape {array.shape} that"
                    f" {function.__name__} was given, which others still need; expected it to write into a copy"
                ) from error
            raise

    def backward(self, d: ArrayLike) -> np.ndarray:
        """Gradients of all parameters, from the gradient with respect to the output of the last ``forward``.

        ``predict``, ``evaluate`` or another ``path`` in between change nothing about it.

        Args:
            d: (N, outputs), as a loss gives it.

        Returns:
            dX (N, inputs). The parameters' gradients are in ``gradients``, written over.

        Raises:
            RuntimeError: no ``forward`` before it.
            TypeError, ValueError: an array that does not fit that ``forward``, or an X that was resized since.

        >>> import fastjac as fj
        >>> net = fj.Sequential([fj.Dense(2, 1, weight_init=np.ones((2, 1)))], dtype="float64")
        >>> net.forward([[1.0, 2.0]])
        array([[3.]])
        >>> net.backward([[5.0]])
        array([[5., 5.]])
        >>> net.gradients
        array([ 5., 10.,  5.])
        """
        with self._lock:
            if self._seen is None:
                raise RuntimeError("backward needs a forward(X) before it")
            held, training, program, path = self._seen
            X = held.array
            d = floats("d", d, (len(X), self._outputs), self._dtype)
            held.check("backward")
            if program is not None:
                return program.backward(self._parameters, X, d, self._gradients, training)
            if self._kept is not None:
                for layer, kept in zip(self._layers, self._kept, strict=True):
                    vars(layer).update(kept)
                self._kept = None
            now, self.path = self._path, path
            try:
                return self.backward_layers(d, True)  # type: ignore[return-value]
            finally:
                self.path = now

    def backward_layers(self, d: np.ndarray, input_gradient: bool) -> np.ndarray | None:
        """Backward layer by layer, after ``forward_layers``."""
        gradient: Any = d
        for k, layer in reversed(list(enumerate(self._layers))):
            if type(layer) not in _OURS:
                gradient = self._of_user(k, layer.backward, gradient)
                wanted = (len(d), self._widths[k])
                if (k > 0 or input_gradient) and np.shape(gradient) != wanted:
                    seen = (
                        f"shape {gradient.shape}" if isinstance(gradient, np.ndarray) else f"{type(gradient).__name__}"
                    )
                    raise ValueError(
                        f"layers[{k}] ({layer.describe()}) gave a gradient of {seen}, expected an array of"
                        f" shape {wanted}"
                    )
            elif k == 0 and type(layer) is Dense:
                gradient = layer.backward(gradient, input_gradient)
            else:
                gradient = layer.backward(gradient)
        return gradient  # type: ignore[no-any-return]

    @checks_keywords
    def predict(self, X: ArrayLike, *, threads: int | None = None) -> np.ndarray:
        """The last layer's output for every row (logits, where the last layer has no activation); no dropout.

        ``predict(X)[i]`` has the same bits as ``predict(X[i:i+1])[0]``, on any number of threads.

        Args:
            X: (N, inputs) numbers, any strides. No rows give no rows.
            threads: how many to use at most, as far as they pay and there are cores; None for as many as there are.

        Returns:
            (N, outputs), of the network's dtype.

        Raises:
            TypeError, ValueError: not numbers, or another width.
        """
        X = self._checked_input(X)
        wanted = None if threads is None else arguments.count("threads", threads)
        with self._lock:
            program = self.program
            if program is not None:
                return program.predict(self._parameters, X, wanted)
            blocks = [self.forward_layers(X[k : k + 4096], False, 0) + 0 for k in range(0, len(X), 4096)]
            return np.concatenate(blocks) if blocks else np.empty((0, self._outputs), self._dtype)

    @checks_keywords
    def predictor(self, rows: int | None = None) -> Predictor:
        """A function that predicts the same number of rows again and again, in less time than ``predict`` takes.

        For loops that ask for one row, or a few, at a time, on one thread. It stays good while the network is trained,
        and follows its parameters.

        Args:
            rows: how many rows a call takes, at least 1; None: one row, as a vector.

        Returns:
            A ``Predictor``: from an array (inputs,), or (rows, inputs), to one (outputs,), or (rows, outputs).

        Raises:
            TypeError, ValueError: not a number of rows.
        """
        rows = None if rows is None else arguments.count("rows", rows)
        return Predictor(self.signature, rows, self._lock, self._prepared)

    def _prepared(self, X: np.ndarray, output: np.ndarray) -> Callable[[], None]:
        """What writes the prediction for X to ``output``, whenever it is called: arrays of our own, contiguous."""
        compiled = None if self._program is None else self._program.prepared(self._parameters, X, output)

        def run() -> None:
            if compiled is not None and self._path == "fused":
                compiled()
            else:
                output[...] = self.forward_layers(X, False, 0) + 0

        return run

    def loss_sums(
        self,
        loss: losses.Loss,
        output: np.ndarray,
        labels: np.ndarray | None,
        targets: np.ndarray | None,
        weight: np.ndarray | None,
        gradient: np.ndarray,
    ) -> tuple[float, float, float]:
        """``Loss.sums`` by this network's path: losses, hits, weights; the gradient of the mean is written."""
        result = loss.sums(output, labels, targets, weight, gradient)
        if self._path == "fused":
            return result
        function = PATHS[self._path].LOSSES[loss.name]
        value, d = function(output, labels if targets is None else targets, weight, *loss.parameters)
        gradient[...] = d
        return float(value) * result[2], result[1], result[2]

    @checks_keywords
    def evaluate(
        self,
        X: ArrayLike | Batches,
        y: ArrayLike | None,
        loss: losses.LossLike,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Loss, and accuracy where the loss has one, over all rows.

        Args:
            X: (N, inputs), or with None for ``y`` an iterable of batches, as in ``fit``.
            y: targets, as the loss takes them.
            loss: a name or a loss object.
            sample_weight: (N,) weights for a weighted mean.

        Returns:
            {"loss": …, "accuracy": …}; no accuracy for the losses of regression.

        Raises:
            TypeError, ValueError: arrays that don't fit, labels out of range, no rows, an unknown loss.

        >>> import fastjac as fj
        >>> net = fj.Sequential([fj.Dense(2, 1, weight_init=np.ones((2, 1)))])
        >>> net.evaluate([[1.0, 2.0]], [5.0], "mean_squared_error")
        {'loss': 4.0}
        """
        chosen = losses.get(loss)
        self.check_loss(chosen)
        if y is None:
            return self.figures(chosen, Feed(X, partial(Batch.checked, self.signature, chosen), 1, "X", Batch.own))
        return self.figures(chosen, [Batch.checked(self.signature, chosen, X, y, sample_weight, all_finite=False)])

    def figures(self, loss: losses.Loss, batches: Iterable[Batch]) -> dict[str, float]:
        """Loss, and accuracy where the loss has one, over the rows of all batches, without dropout.

        Args:
            loss: a loss object.
            batches: of checked arrays.

        Returns:
            As ``evaluate``.
        """
        sums = []
        for s in batches:
            output = self.predict(s.X)
            sums.append((*self.loss_sums(loss, output, s.labels, s.targets, s.weight, np.empty_like(output)), 0.0))
        return loss.means(np.array(sums))

    def check_loss(self, loss: losses.Loss) -> None:
        """Raise ValueError where the last layer and the loss don't belong together."""
        last = self.layers[-1]
        name = last.activation.name if isinstance(last, Dense | Activation) else type(last).__name__
        if not loss.probabilities and loss.name.endswith("cross_entropy") and name in ("Softmax", "sigmoid"):
            instead = "'categorical_cross_entropy'" if name == "Softmax" else "BinaryCrossEntropy(from_logits=False)"
            raise ValueError(
                f"{loss.name} takes logits, but the last layer gives probabilities ({name}): leave it out, or use"
                f" {instead}"
            )
        if loss.probabilities and name not in ("Softmax", "sigmoid") and type(last) in _BUILT_IN:
            raise ValueError(
                f"{loss!r} takes probabilities, but the last layer ({last.describe()}) can give any number: end with"
                f" Softmax() or a sigmoid, or use the loss from logits"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that ``fastjac.load`` reads: safetensors, whole or not at all.

        Args:
            path: where to. What was there is replaced at once; a crash leaves the old file or the new one. A link is
                followed.

        Raises:
            OSError: it can't be written, or something else than a regular file is there.
            TypeError: a layer of your own, which a file can't hold, or a ``preprocessing`` that is not JSON.
            ValueError: a name that ends as files of another kind do, such as .h5 or .pt, or a ``preprocessing`` of more
                than 64 MiB.
            ImportError: safetensors is not installed.
        """
        container.check_ending(path)
        try:
            data = container.to_bytes(
                self.tensors(), {"network": self.configuration(), "preprocessing": self.preprocessing}
            )
        except TypeError as error:
            raise TypeError(f"preprocessing can't be written as JSON: {error}") from error
        container.write(path, data)

    def configuration(self) -> dict[str, Any]:
        """The architecture and how far it is trained, as a model file has it: see ``fastjac.nn.description``.

        Raises:
            TypeError: a layer of your own, which a file can't hold.
        """
        return description.describe(
            self._layers,
            self._dtype,
            self._products,
            inputs=self._inputs,
            seed=self._seed,
            epochs_trained=self.epochs_trained,
            training_step=self._training_step,
        )

    def tensors(self) -> container.Tensors:
        """The parameters as a model file names them, ``<layer>.<parameter>``: the network's own arrays."""
        named = ((k, *one) for k, layer in enumerate(self._layers) for one in layer.parameters.items())
        return {f"{k}.{name}": value for k, name, value in named}

    def summary(self) -> None:
        """Print a table: layer, output shape, parameters."""
        rows = [
            [str(k), layer.describe(), f"(N, {layer.outputs})", f"{sum(p.size for p in layer.parameters.values()):,}"]
            for k, layer in enumerate(self.layers)
        ]
        size = self.parameters.size
        kind = f"{self.dtype}{self._of_products()}"
        title = f"{type(self).__name__}: {size:,} parameters, {kind}, {self.parameters.nbytes / 1024:,.1f} KiB"
        print(report.table(title, ["", "Layer", "Output shape", "Parameters"], rows))

    def __repr__(self) -> str:
        layers = "; ".join(layer.describe() for layer in self.layers)
        return f"{type(self).__name__}([{layers}], dtype={self.dtype}{self._of_products()})"

    def _of_products(self) -> str:
        return "" if self._products is None else f", products={self._products}"

    def clone(self, dtype: DTypeLike | None = None) -> Self:
        """A network of the same layers, values and path that shares no memory with this one.

        Args:
            dtype: "float32" or "float64", or None for the same. In float64, products are exact.

        Returns:
            The new network; what ``forward`` has kept is not copied.

        Raises:
            ValueError: another dtype.
        """
        twin = object.__new__(type(self))
        layers = [copy.copy(layer) for layer in self._layers]
        for layer in layers:
            layer.parameters, layer.gradients = {}, {}  # the clone's own will take their place
        kind = self._dtype if dtype is None else float_type(dtype)
        products = self._products if kind == np.float32 else None
        twin.__setstate__(self.__getstate__() | {"_layers": tuple(layers), "_dtype": kind, "_products": products})
        return twin

    def __getstate__(self) -> dict[str, object]:
        left_out = ("_lock", "_trained_by", "_program", "_seen", "_kept", "_gradients")
        own = {k: v for k, v in vars(self).items() if k not in left_out}
        layers = tuple(copy.copy(layer) for layer in self._layers)
        return own | {"_layers": layers, "_parameters": self._parameters.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state.pop("_parameters")
        state["_products"] = products_here(state.get("_products"), "a network from another machine")
        vars(self).update(state, _seen=None, _kept=None, _lock=threading.RLock(), _trained_by={})
        forks.keep_whole(self)
        self._allocate()
        self._parameters[:] = values
        self.path = self._path


def _as_layers(given: Iterable[Layer]) -> tuple[Layer, ...]:
    """Checked layers, each of which can become part of a network."""
    try:
        layers = tuple(given)
    except TypeError as error:
        raise TypeError(f"layers is {given!r}, expected a list of layers") from error
    if not layers:
        raise ValueError("layers is empty, expected at least one layer")
    for k, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{k}] is {layer!r}, expected a layer, such as fastjac.Dense(64, 10)")
        if any(layer is other for other in layers[:k]):
            raise ValueError(f"layers[{k}] is the same object as an earlier layer; make a new one for each place")
        if getattr(layer, "_network", None) is not None:
            raise ValueError(f"layers[{k}] already belongs to a network; make a new one for each network")
    return layers


def _checked_products(products: str | None, dtype: Float, layers: Sequence[Layer]) -> str | None:
    """``products``, where this network and this processor know it."""
    if products is None:
        return None
    if products != "bfloat16":
        raise unknown("products", products, ["bfloat16"])
    if dtype != np.float32:
        raise ValueError(f"products is 'bfloat16' and dtype {str(dtype)!r}, expected dtype 'float32'")
    for k, layer in enumerate(layers):
        if type(layer) not in _BUILT_IN:
            raise TypeError(
                f"products is 'bfloat16' and layers[{k}] {layer.describe()}, expected built-in layers: others are run"
                " one by one, whose products know float32 alone"
            )
    if not has_bfloat16():
        raise RuntimeError(f"products is 'bfloat16', expected None on this processor: {_WITHOUT_BFLOAT16}")
    return products


def products_here(products: str | None, whose: str) -> str | None:
    """What a network that was made elsewhere multiplies here; it warns where that is something else."""
    if products is None or has_bfloat16():
        return products
    warnings.warn(
        f"{whose} has products={products!r}: here they are of float32, for {_WITHOUT_BFLOAT16}",
        RuntimeWarning,
        stacklevel=3,
    )
    return None


def _new_seed() -> int:
    """A seed from the system, small enough to write down."""
    return int(np.random.SeedSequence().generate_state(1)[0])
