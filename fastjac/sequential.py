"""``Sequential``: a network that can be trained."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from types import FrameType

from fastjac.kernels.arrays import ArrayLike
from fastjac.nn import description, losses
from fastjac.nn.batch import ClassWeight
from fastjac.nn.feed import Batches
from fastjac.nn.network import Network, products_here
from fastjac.nn.optimizers import OptimizerLike
from fastjac.support.attributes import checks_keywords
from fastjac.support.errors import ModelFileError
from fastjac.training import loop
from fastjac.training.callbacks import Callbacks
from fastjac.training.history import History
from fastjac.training.progress import ProgressLike


class _Call:
    """A call of ``fit``, which lives as long as it runs; exceptions may keep it longer, in a circle of frames."""

    def __init__(self, frame: FrameType) -> None:
        self.frame: FrameType | None = frame

    def is_on_the_stack_of(self, thread: int) -> bool:
        frame = sys._current_frames().get(thread)
        while frame is not None and frame is not self.frame:
            frame = frame.f_back
        return frame is not None


class Sequential(Network, strict=True):
    """A network: each layer takes what the one before gives.

    Args:
        layers: layers, in order; each belongs to one network.
        seed: decides initial parameters, the order of batches and dropout, to the bit. None: a new one each time.
        dtype: "float32" or "float64", of everything.
        inputs: width of the input, where the layers don't tell; None: that of the first that does.
        products: None, or "bfloat16": the operands of the three products of each dense layer are rounded to 8 bits, to
            nearest even; sums, parameters, the optimizer's state and all else stay float32. On a processor with
            AVX512_BF16 (``fastjac.has_bfloat16()``) wide layers take little more than half the time; narrow ones gain
            nothing. It is for float32, built-in
            layers and the path "fused".

    Attributes:
        layers: the layers, a tuple.
        parameters, gradients: (P,), flat vectors; the layers' arrays are views of them. Assigning writes into them.
        inputs, outputs: widths.
        seed, dtype, products: as given or chosen.
        epochs_trained: how many epochs ``fit`` has finished, ever.
        stop_training: set it to True in a callback to end training.
        preprocessing: a dictionary that travels with the network in model files (``fastjac.preprocessing``), or None.

    Raises:
        TypeError, ValueError: no layers, widths that don't fit together, a layer of another network; ``products`` with
            float64 or a layer of your own.
        RuntimeError: ``products`` that this processor does not know.

    >>> import numpy as np
    >>> import fastjac as fj
    >>> net = fj.Sequential([fj.Dense(64, 128, activation="relu"), fj.Dense(128, 10)], seed=0)
    >>> net.parameters.size, net.predict(np.zeros((5, 64))).shape
    (9610, (5, 10))
    """

    @checks_keywords
    def fit(
        self,
        X: ArrayLike | Batches,
        y: ArrayLike | None = None,
        *,
        loss: losses.LossLike,
        optimizer: OptimizerLike = "adam",
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: Sequence[ArrayLike] | Batches | None = None,
        callbacks: Callbacks | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
        shuffle: bool = True,
        threads: int | None = None,
        progress: ProgressLike = "auto",
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> History:
        """Train. With built-in layers and the path "fused", whole epochs run in compiled code.

        Args:
            X: (N, inputs) finite numbers, any strides, copied only if they must be converted; so a file of this
                network's dtype that is mapped to memory is read as training goes along it.
                Or, without ``y``, batches for data larger than memory: an iterable of (X, y) or
                (X, y, sample_weight), or a function that returns an iterator of them. Each batch is a step, as they
                come: ``batch_size`` and ``shuffle`` are without effect. It is gone through once an epoch. An error of
                a batch ends training there; the first is checked before anything is changed.
                Class indices may follow on rows of probabilities, and the reverse.
            y: targets, as the loss takes them. Class indices are copied; other arrays are read where they are, and may
                not be resized meanwhile.
            loss: "softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error", "huber", … or a loss
                object.
            optimizer: "adam", "adamw", "sgd" or an optimizer object, which keeps its state for a next ``fit``.
            epochs: how many times to go through the data.
            batch_size: rows a step; the last batch of an epoch may be smaller.
            validation_data: (X, y) or (X, y, sample_weight), evaluated after every epoch; or an iterable or function
                as X may be, but no list.
            callbacks: ``Callback`` objects or functions of (epoch, logs). What they change of the optimizer counts from
                the next step on. ``gradients`` in ``on_batch_end`` are those the step was taken with, the penalty of
                ``l1`` and ``l2`` in them (``backward`` by hand knows no penalty); clipping and ``weight_decay`` are
                the optimizer's own and not in them.
            sample_weight: (N,) weights; the loss is the weighted mean over each batch.
            class_weight: {class: weight} or "balanced", for class indices; multiplies sample_weight.
            shuffle: a new order of the rows for every epoch, where it has more than one batch.
            threads: how many to use at most, as far as they pay and there are cores that this process may use; None
                for as many as there are. The bits do not depend on it.
            progress: True, False, or "auto" for a bar where someone can see it.
            l1, l2: a penalty on the weights of all dense layers, not on biases: each batch's loss is its weighted sum
                of losses plus l1·Σ|w| + l2/2·Σw², over its sum of sample weights (scikit-learn's alpha is l2).

        Returns:
            The history: one number an epoch for loss, accuracy, val_loss, val_accuracy, seconds. The loss and
            accuracy of an epoch are means over its batches, each before its own update.

            Ctrl-C ends training after the batch at hand: a warning, ``history.interrupted``, and the network as it is.
            While a kernel is being compiled, it waits for that; pressed again, it does not.

        Raises:
            TypeError, ValueError: arguments that don't fit; nothing is changed.
            NonFiniteError: a loss became NaN or infinite; the network is as before that batch.
            RuntimeError: the network is already being trained by another thread; a thread cannot be started; this is
                not the main thread, and that one has come to its end, so that the interpreter is about to.
        """
        call = _Call(sys._getframe())
        entry = threading.get_ident(), weakref.ref(call)
        try:  # the dictionary and no lock: a signal's handler can raise between taking one and knowing it
            if not self._begin(entry):
                raise RuntimeError("this network is already being trained by another call of fit")
            return loop.fit(
                self,
                X,
                y,
                loss=loss,
                optimizer=optimizer,
                epochs=epochs,
                batch_size=batch_size,
                validation_data=validation_data,
                callbacks=callbacks,
                sample_weight=sample_weight,
                class_weight=class_weight,
                shuffle=shuffle,
                threads=threads,
                progress=progress,
                l1=l1,
                l2=l2,
            )
        finally:
            if "call" in self._trained_by and self._trained_by["call"] is entry:
                del self._trained_by["call"]
            call.frame = None

    def _begin(self, entry: tuple[int, weakref.ref[_Call]]) -> bool:
        """Whether this call of ``fit`` is the only one from now on."""
        held = self._trained_by.setdefault("call", entry)
        thread, call = held[0], held[1]()
        if held is not entry and call is not None and not call.is_on_the_stack_of(thread):
            del call
            gc.collect()  # it has ended, or waits in another stack, as greenlets have
        if held is not entry and held[1]() is None:  # a call that was ended twice, the second time as it cleared up
            with self._lock:
                if self._trained_by.get("call") is held:
                    del self._trained_by["call"]
                held = self._trained_by.setdefault("call", entry)
        return held is entry


def load(path: str | os.PathLike[str]) -> Sequential:
    """A network from a file that ``Sequential.save`` wrote, to the bit.

    Everything in the file is checked before it is used, and nothing in it is run.

    Args:
        path: the file.

    Returns:
        The network, with ``preprocessing`` as it was saved.

    Raises:
        OSError: the file can't be read.
        ModelFileError: it is damaged, cut short, of a newer format, or something else altogether.
        ImportError: safetensors is not installed.

    Warns:
        RuntimeWarning: its products are of bfloat16, and this processor has none: they are of float32 then.

    >>> import numpy as np
    >>> import fastjac as fj, tempfile
    >>> net = fj.Sequential([fj.Dense(4, 2)], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(f"{folder}/model.safetensors")
    ...     again = fj.load(f"{folder}/model.safetensors")
    >>> np.array_equal(again.parameters, net.parameters)
    True
    """
    described, tensors, preprocessing = description.load(path)
    try:
        network = Sequential(
            description.layers_of(described),
            described["seed"],
            described["dtype"],
            inputs=described["inputs"],
            products=products_here(described.get("products"), str(path)),
        )
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path} describes no network: {error}") from error
    for name, value in network.tensors().items():
        value[...] = tensors[name]
    network.epochs_trained = described["epochs_trained"]
    network._training_step = described["training_step"]
    network.preprocessing = preprocessing
    return network
