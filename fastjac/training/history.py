"""``History``: what each epoch of a training gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastjac.training.callbacks import Logs


class History(dict[str, list[float]]):
    """What each epoch gave: loss, accuracy, val_loss, val_accuracy, seconds; one number an epoch in each list.

    Attributes:
        interrupted: whether Ctrl-C ended training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = False

    def add(self, logs: Logs) -> None:
        """One more epoch."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)

    def extend(self, columns: Mapping[str, Iterable[float]]) -> None:
        """Some more epochs: of each figure a number for each."""
        for name, values in columns.items():
            self.setdefault(name, []).extend(values)

    def __reduce__(self) -> tuple[object, ...]:
        return _history_from, (dict(self), self.interrupted)


def _history_from(columns: dict[str, list[float]], interrupted: bool) -> History:
    history = History()
    history.update(columns)
    history.interrupted = interrupted
    return history
