"""Checkpoints: a training that can be killed at any moment and goes on as if nothing had been."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from fastjac.files import container
from fastjac.nn import description
from fastjac.nn.batch import Batch
from fastjac.support import arguments, atomic
from fastjac.support.errors import ModelFileError
from fastjac.training.callbacks import Callback, Found, Logs
from fastjac.training.loop import Loop

_FORMAT = 3  # of what a checkpoint has besides a model, and of what is drawn from a seed as training goes on
_RATES = 1000  # steps whose learning rates are compared, where there are more


class Checkpoint(Callback, strict=True):
    """Write the whole state of training to a file now and then; go on from the file where there is one.

    Training that was stopped, or killed, and started again with the same arguments gives the same parameters and the
    same history, to the bit, as training that was never stopped. The order of rows and dropout are functions of the
    network's seed and of how far training is, so that is all there is to remember of them. Other callbacks are asked
    for their state, too: see ``Callback.state``. Only ``epochs``, ``threads`` and ``progress`` may be others.

    Of several checkpoints with a file each, training goes on from the one that is furthest.

    A learning rate that a callback has set is taken up as well. Of a schedule, the rates of the steps taken so far must
    be those that it gives now (of a thousand steps, evenly spread over them, where there are more).

    Args:
        path: the file; it is replaced whole, never half-written. A link is followed.
        every: epochs between two writes, at least 1.
        every_batches: also write after so many batches within an epoch, which makes training come back to Python after
            every batch; None: only after epochs.
        resume: go on from the file if it exists; False: begin anew, and overwrite it.

    Raises:
        TypeError, ValueError: values out of range, or a path that ends as files of another kind do, such as .h5.
            From ``fit``, before anything is changed: a file of another network or of other arguments; layers of your
            own, which no file can hold.
        ModelFileError: from ``fit``, a file that is damaged; nothing is changed.
        OSError: from ``fit``, at its beginning or when it writes: the file can't be read or written.

    >>> Checkpoint("run.safetensors", every=10).every
    10
    """

    path: str
    every: int
    every_batches: int | None
    resume: bool

    _checks: ClassVar = {
        "path": lambda name, value: container.check_ending(value),
        "every": arguments.count,
        "every_batches": lambda name, value: None if value is None else arguments.count(name, value),
        "resume": lambda name, value: bool(value),
    }

    comes_last = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        every_batches: int | None = None,
        *,
        resume: bool = True,
    ) -> None:
        self.path = container.check_ending(path)
        self.every = every
        self.every_batches = every_batches
        self.resume = resume

    @property
    def wants_batches(self) -> bool:
        return self.every_batches is not None

    # --- called by ``fit`` ----------------------------------------------------------------------------------------

    def attach(self, loop: Loop) -> Found | None:
        """Take hold of a training that begins; returns how far the file is, checked, and what brings training there."""
        run, others = loop.steps, loop.callbacks
        if not run.goes_back:
            raise ValueError("Checkpoint needs all rows at once: batches from an iterable can't be gone back to")
        self.network.configuration()  # which refuses now what could not be written later
        atomic.destination(self.path)
        self._run, self._history, self._validation, self._figures = run, loop.history, loop.validation, loop.figures
        self._epoch = 0
        self._others = [one for one in others if not isinstance(one, Checkpoint)]
        self._rate = run.optimizer.learning_rate
        self._fixed = self._arguments_of_fit()
        if not self.resume or not os.path.exists(self.path):
            return None
        return self._checked(*container.read(self.path), [one for one in others if isinstance(one, Checkpoint)])

    def on_train_end(self) -> None:
        """Let go of the training: it has this callback in its list, and would stay in memory with all its rows."""
        for name in ("_run", "_history", "_validation", "_figures", "_others", "_fixed", "_rate"):
            vars(self).pop(name, None)

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        if self.every_batches is not None and (batch + 1) % self.every_batches == 0 and batch + 1 < self._run.batches:
            self._write(self._epoch)

    def on_epoch_begin(self, epoch: int) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if (epoch + 1) % self.every == 0 or self.network.stop_training:
            self._write(epoch + 1)

    # --- the file -------------------------------------------------------------------------------------------------

    def _arguments_of_fit(self) -> dict[str, object]:
        """What must be the same for the bits to be the same."""
        run = self._run
        held_out = None if self._validation is None else self._validation.samples
        return {
            "samples": len(run.samples.X),
            "batch_size": run.batch_size,
            "loss": repr(run.loss),
            "optimizer": type(run.optimizer).__name__,
            "settings": run.learner.settings.tolist(),
            "learning_rate": "a schedule" if callable(self._rate) else self._rate,
            "l1": run.learner.l1,
            "l2": run.learner.l2,
            "shuffle": run.orders is not None,
            "path": self.network.path,
            "data": _digests(run.samples),
            "validation": self._validation is not None,
            "validation_data": None if held_out is None else _digests(held_out),
        }

    def _rates(self, steps: int) -> np.ndarray:
        """What the schedule gives for the steps so far, or for some of them; nothing where there is no schedule."""
        if not callable(self._rate) or steps == 0:
            return np.empty(0)
        chosen = np.unique(np.linspace(0, steps - 1, min(steps, _RATES)).astype(np.int64))
        return np.array([self._rate(int(step)) for step in chosen], np.float64)

    def _rate_now(self) -> float | None:
        rate = self._run.optimizer.learning_rate
        if rate is not self._rate and (callable(rate) or callable(self._rate)):
            raise ValueError(
                "a callback has set learning_rate to a function, or in place of one, which a checkpoint"
                " can't hold: expected numbers, or one function from the beginning"
            )
        return None if callable(rate) else rate

    def _write(self, epoch: int) -> None:
        run = self._run
        steps = int(run.learner.counters[0])
        tensors = self.network.tensors()
        tensors["training.moments"] = run.learner.state
        tensors["training.sums"] = run.sums
        tensors["training.rates"] = self._rates(steps)
        callbacks = []
        for k, callback in enumerate(self._others):
            state = callback.state()
            arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
            kept = {name: value for name, value in state.items() if name not in arrays}
            _check_state(callback, arrays, kept)
            tensors |= {f"callback.{k}.{name}": value for name, value in arrays.items()}
            callbacks.append({"kind": type(callback).__name__, "state": kept, "arrays": sorted(arrays)})
        header = {
            "network": self.network.configuration(),
            "preprocessing": self.network.preprocessing,
            "training": {
                "format": _FORMAT,
                "arguments": self._fixed,
                "learning_rate": self._rate_now(),
                "steps": steps,
                "units": run.optimizer.state(self.network).units,  # of the moments
                "epoch": epoch,
                "position": run.position % run.batches,
                "callbacks": callbacks,
                "history": list(self._history.items()),
                "stopped": bool(self.network.stop_training),
            },
        }
        container.write(self.path, container.to_bytes(tensors, header))

    def _checked(self, tensors: container.Tensors, header: dict[str, Any], checkpoints: list[Checkpoint]) -> Found:
        """How far a file is, all of it checked but what the callbacks check, and what goes on from it."""
        run, network = self._run, self.network
        saved = header.get("training")
        if not isinstance(saved, dict):
            raise ModelFileError(f"{self.path} is a model, not a checkpoint of a training")
        if saved.get("format") != _FORMAT:
            raise ModelFileError(
                f"{self.path} is a checkpoint of another version of fastjac: let that one end the"
                " training, or begin anew with resume=False"
            )
        own = {name: value for name, value in tensors.items() if name[:1].isdigit()}
        description.check_tensors(own, header.get("network"), self.path)
        mine = network.configuration()
        for name in ("layers", "dtype", "products", "inputs", "seed"):
            if header["network"].get(name) != mine.get(name):
                raise ValueError(
                    f"{self.path} is a checkpoint of another network: its {name} are"
                    f" {header['network'].get(name)!r}, expected {mine.get(name)!r}"
                )
        try:
            self._check_arguments(saved["arguments"], saved["learning_rate"])
            epoch, position, steps = (_count(saved[name], name) for name in ("epoch", "position", "steps"))
            units = _units(saved["units"], len(run.optimizer.state(network).units))
            moments, sums, rates = (tensors[f"training.{name}"] for name in ("moments", "sums", "rates"))
            for name, found, wanted in (("moments", moments, run.learner.state), ("sums", sums, run.sums)):
                if found.shape != wanted.shape or found.dtype != wanted.dtype:
                    raise ValueError(f"its {name} are {found.dtype} of shape {found.shape}")
            if position >= run.batches:
                raise ValueError(f"it is at batch {position} of {run.batches}")
            history = _history(saved["history"], epoch, self._columns())
            kinds = [one["kind"] for one in saved["callbacks"]]
            keys = [
                {name: f"callback.{k}.{name}" for name in one["arrays"]} for k, one in enumerate(saved["callbacks"])
            ]
            states = [
                dict(one["state"]) | {name: tensors[key] for name, key in own_keys.items()}
                for one, own_keys in zip(saved["callbacks"], keys, strict=True)
            ]
            used = {*own, "training.moments", "training.sums", "training.rates"}.union(*(one.values() for one in keys))
            if tensors.keys() != used:
                raise ValueError(
                    f"it has tensors that nothing takes: {', '.join(sorted(tensors.keys() - used))[:200]!r}"
                )
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ModelFileError(f"{self.path} is not a whole checkpoint: {error!r}") from error
        except _OtherArgumentsError:
            raise
        except ValueError as error:
            raise ModelFileError(f"{self.path} is not a whole checkpoint: {error}") from error
        self._check_rates(rates, steps)
        if kinds != [type(callback).__name__ for callback in self._others]:
            raise _OtherArgumentsError(
                f"{self.path} is a checkpoint of a training with the callbacks {kinds}, expected"
                f" {[type(callback).__name__ for callback in self._others]}"
            )

        def go_on() -> None:
            self._restore_callbacks(states)
            with network._lock:
                for name, value in network.tensors().items():
                    value[...] = own[name]
            run.learner.state[:] = moments
            run.optimizer.state(network).units = units
            run.learner.counters[0] = steps
            run.sums[:] = sums
            run.position = position
            if not callable(self._rate):
                run.optimizer.learning_rate = saved["learning_rate"]
                for one in checkpoints:  # those of other files, too, write what this training began with
                    one._fixed["learning_rate"] = saved["arguments"]["learning_rate"]
            network.epochs_trained = header["network"]["epochs_trained"]
            network._training_step = header["network"]["training_step"]
            network.stop_training = saved.get("stopped") is True
            self._history.update(history)

        return (epoch, position), go_on

    def _columns(self) -> list[str]:
        """What a history of this training has."""
        figures = list(self._figures(np.ones((1, 4))))
        held_out = [f"val_{name}" for name in figures] if self._validation is not None else []
        return [*figures, *held_out, "seconds"]

    def _check_arguments(self, arguments: dict[str, Any], rate_now: object) -> None:
        for name, value in self._fixed.items():
            known = [arguments[name]]
            if name == "learning_rate" and container.is_real(arguments[name]):
                if not container.is_real(rate_now) or rate_now < 0:
                    raise ValueError(f"its learning_rate is {str(rate_now)[:40]}")
                known.append(rate_now)  # an optimizer that went through that training has this one
            if value not in known:
                raise _OtherArgumentsError(
                    f"{self.path} is a checkpoint of a training with {name}={arguments[name]!r}, expected {value!r};"
                    " remove the file, or use resume=False, to begin anew"
                )

    def _check_rates(self, rates: np.ndarray, steps: int) -> None:
        wanted = self._rates(steps)
        if rates.shape != wanted.shape:
            raise ModelFileError(f"{self.path} is not a whole checkpoint: it has learning rates of {rates.shape} steps")
        # not to the bit: a schedule may use functions that two computers round differently
        wrong = ~(np.abs(rates - wanted) <= 1e-9 * np.abs(wanted))
        if wrong.any():
            k = int(np.argmax(wrong))
            raise _OtherArgumentsError(
                f"{self.path} is a checkpoint of a training whose learning_rate was {rates[k]} where the schedule of"
                f" now gives {wanted[k]}; remove the file, or use resume=False, to begin anew"
            )

    def _restore_callbacks(self, states: list[dict[str, Any]]) -> None:
        before = [dict(vars(callback)) for callback in self._others]
        try:
            for callback, state in zip(self._others, states, strict=True):
                callback.restore(state)
        except Exception as error:
            for one, attributes in zip(self._others, before, strict=True):
                vars(one).clear()
                vars(one).update(attributes)
            raise ModelFileError(
                f"{self.path} has a state that {type(callback).__name__} can't go on from: {error!r}"
            ) from error


class _OtherArgumentsError(ValueError):
    """A whole checkpoint, but of a training with other arguments."""


def _digests(samples: Batch) -> list[str | None]:
    arrays = (samples.X, samples.labels, samples.targets, samples.weight)
    return [None if array is None else container.digest(array) for array in arrays]


def _check_state(callback: Callback, arrays: dict[str, np.ndarray], kept: Mapping[str, object]) -> None:
    kinds = {array.dtype.kind for array in arrays.values()}
    try:
        json.dumps(kept)
        if not kinds <= set("biuf"):
            raise TypeError(f"arrays of the kinds {', '.join(sorted(kinds))}")
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"the state of {type(callback).__name__} can't be put into a checkpoint, expected numbers, texts and arrays"
            f" of numbers by name: {error}"
        ) from error


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"its {name} is {str(value)[:40]!r}")
    return value


def _units(value: object, count: int) -> tuple[float, ...]:
    if type(value) is not list or len(value) != count:
        raise ValueError(f"its units are {str(value)[:40]!r}, expected {count} numbers")
    if not all(type(one) is float and 0 < one <= 1 for one in value):
        raise ValueError(f"its units are {str(value)[:80]!r}, expected numbers in (0, 1]")
    return tuple(value)


def _history(columns: Iterable[tuple[object, object]], epochs: int, expected: list[str]) -> dict[str, list[float]]:
    """The history's columns in their order, from pairs of a name and a list."""
    history = {}
    for name, column in columns:
        if type(name) is not str or type(column) is not list or len(column) != epochs:
            raise ValueError(f"the column {str(name)[:40]!r} of its history does not have {epochs} numbers")
        if any(type(one) not in (int, float) for one in column):
            raise ValueError(f"the column {name[:40]!r} of its history has something else than numbers")
        history[name] = [float(one) for one in column]
    if epochs and sorted(history) != sorted(expected):
        raise ValueError(f"the columns of its history are {[name[:40] for name in history]}, expected {expected}")
    return history
