"""Checkpoints: a training that can be killed at any moment and goes on as if nothing had been."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastjac import _arguments, storage
from fastjac.callbacks import Callback, Logs
from fastjac.errors import ModelFileError

if TYPE_CHECKING:
    from fastjac.training import History, _Run


class Checkpoint(Callback):
    """Write the whole state of training to a file now and then; go on from the file where there is one.

    Training that was stopped, or killed, and started again with the same arguments gives the same parameters and the
    same history, to the bit, as training that was never stopped. The order of rows and dropout are functions of the
    network's seed and of how far training is, so that is all there is to remember of them. Other callbacks are asked
    for their state, too: see ``Callback.state``.

    Args:
        path: the file; it is replaced whole, never half-written.
        every: epochs between two writes.
        every_batches: also write after so many batches within an epoch, which makes training come back to Python after
            every batch.
        resume: go on from the file if it exists; False: begin anew, and overwrite it.

    Raises:
        TypeError, ValueError: values out of range; and from ``fit``, a file of another network or of other arguments.
        ModelFileError: from ``fit``, a file that is damaged.

    >>> Checkpoint("run.safetensors", every=10).every
    10
    """

    comes_last = True

    def __init__(self, path: Any, every: int = 1, every_batches: int | None = None, *, resume: bool = True) -> None:
        self.path = os.fspath(path)
        self.every = _arguments.count("every", every)
        self.every_batches = None if every_batches is None else _arguments.count("every_batches", every_batches)
        self.resume = bool(resume)

    @property
    def wants_batches(self) -> bool:
        return self.every_batches is not None

    # --- called by ``fit`` ----------------------------------------------------------------------------------------

    def attach(self, run: _Run, history: History, others: list[Callback]) -> int:
        """Take hold of a training that begins, and bring it to where the file is; returns the epoch to go on with."""
        self._run, self._history = run, history
        self._epoch = 0
        self._others = [one for one in others if not isinstance(one, Checkpoint)]
        self._fixed = self._arguments_of_fit()
        if not self.resume or not os.path.exists(self.path):
            return 0
        tensors, header = storage.read(self.path)
        return self._restore(tensors, header)

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        if self.every_batches is not None and (batch + 1) % self.every_batches == 0 and batch + 1 < self._run.batches:
            self._write(self._epoch)

    def on_epoch_begin(self, epoch: int) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if (epoch + 1) % self.every == 0 or self.network.stop_training:
            self._write(epoch + 1)

    # --- the file -------------------------------------------------------------------------------------------------

    def _arguments_of_fit(self) -> dict[str, Any]:
        """What must be the same for the bits to be the same."""
        run = self._run
        if type(run).__name__ == "_StreamRun":
            raise ValueError("Checkpoint needs all rows at once: batches from an iterable can't be gone back to")
        labels, targets, weight = run.samples.labels, run.samples.targets, run.samples.weight
        return {
            "samples": len(run.samples.X), "batch_size": run.batch_size, "loss": repr(run.loss),
            "optimizer": type(run.optimizer).__name__, "settings": run.learner.settings.tolist(),
            "l1": run.learner.l1, "l2": run.learner.l2, "shuffle": run.shuffle,
            "data": [
                None if array is None else storage.digest(array) for array in (run.samples.X, labels, targets, weight)
            ],
        }  # fmt: skip

    def _write(self, epoch: int) -> None:
        run = self._run
        tensors = storage.tensors_of(self.network)
        tensors["training.moments"] = run.learner.state
        tensors["training.sums"] = run.sums
        callbacks = []
        for k, callback in enumerate(self._others):
            state = callback.state()
            arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
            tensors |= {f"callback.{k}.{name}": value for name, value in arrays.items()}
            kept = {name: value for name, value in state.items() if name not in arrays}
            callbacks.append({"kind": type(callback).__name__, "state": kept, "arrays": sorted(arrays)})
        header = {
            "network": storage.describe(self.network), "preprocessing": self.network.preprocessing,
            "training": {
                "arguments": self._fixed, "steps": int(run.learner.counters[0]), "epoch": epoch,
                "position": run.position % run.batches, "history": dict(self._history), "callbacks": callbacks,
                "stopped": bool(self.network.stop_training),
            },
        }  # fmt: skip
        storage.write(self.path, storage.to_bytes(tensors, header))

    def _restore(self, tensors: storage.Tensors, header: dict[str, Any]) -> int:
        run, network = self._run, self.network
        saved = header.get("training")
        if not isinstance(saved, dict):
            raise ModelFileError(f"{self.path} is a model, not a checkpoint of a training")
        own = {name: value for name, value in tensors.items() if name[0].isdigit()}
        storage.check_tensors(own, header.get("network"), self.path)
        mine = storage.describe(network)
        for name in ("layers", "dtype", "inputs", "seed"):
            if header["network"][name] != mine[name]:
                raise ValueError(f"{self.path} is a checkpoint of another network: its {name} are"
                                 f" {header['network'][name]!r}, expected {mine[name]!r}")  # fmt: skip
        try:
            for name, value in self._fixed.items():
                if saved["arguments"][name] != value:
                    raise ValueError(f"{self.path} is a checkpoint of a training with {name}="
                                     f"{saved['arguments'][name]!r}, expected {value!r}; remove the file, or use"
                                     " resume=False, to begin anew")  # fmt: skip
            moments, sums = tensors["training.moments"], tensors["training.sums"]
            epoch, position, steps = saved["epoch"], saved["position"], saved["steps"]
            kinds = [one["kind"] for one in saved["callbacks"]]
            good = (
                moments.shape == run.learner.state.shape and moments.dtype == run.learner.state.dtype
                and sums.shape == run.sums.shape and sums.dtype == run.sums.dtype
                and all(type(one) is int and one >= 0 for one in (epoch, position, steps)) and position < run.batches
                and kinds == [type(callback).__name__ for callback in self._others]
            )  # fmt: skip
            if not good:
                raise ModelFileError(f"{self.path} does not fit this training: its state, or its callbacks ({kinds}),"
                                     " are others")  # fmt: skip
            states = [
                one["state"] | {name: tensors[f"callback.{k}.{name}"] for name in one["arrays"]}
                for k, one in enumerate(saved["callbacks"])
            ]
            history = {str(name): [float(x) for x in column] for name, column in saved["history"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(f"{self.path} is not a whole checkpoint: {error!r}") from error
        for name, value in storage.tensors_of(network).items():
            value[...] = own[name]
        run.learner.state[:] = moments
        run.learner.counters[0] = steps
        run.sums[:] = sums
        run.position = position
        network.epochs_trained = header["network"]["epochs_trained"]
        network._training_step = header["network"]["training_step"]
        network.stop_training = bool(saved["stopped"])
        self._history.update(history)
        for callback, state in zip(self._others, states, strict=True):
            callback.restore(state)
        return int(epoch)
