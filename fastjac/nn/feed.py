"""Samples that come in batches from an iterable, for data larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from fastjac.kernels.arrays import ArrayLike

Checked = TypeVar("Checked")

_Batch = Sequence[ArrayLike | None]  # (X, y) or (X, y, sample_weight)
Batches = Iterable[_Batch] | Callable[[], Iterable[_Batch]]


class Feed(Generic[Checked]):
    """An iterable of batches, every one checked as it comes; the first at once, before anything is trained.

    Args:
        batches: an iterable of (X, y) or (X, y, sample_weight), or a function that returns an iterator of them.
        check: a function of (X, y, sample_weight, words to begin a message with) that gives what is yielded.
        passes: how often it will be gone through.
        name: what it is called in messages.
        own: what makes a checked batch one that no other shares memory with, for the one that is kept until the first
            pass begins: a generator may write every batch to the same memory, and so may another.

    Raises:
        TypeError: not iterable, an iterator that can't be gone through that often, or no batch inside.
        ValueError: nothing in it.

    >>> feed = Feed([("X", "y"), ("more X", "more y")], lambda X, y, weight, where: X, 1, "batches")
    >>> list(feed)
    ['X', 'more X']
    """

    def __init__(
        self,
        batches: object,
        check: Callable[[object, object, object, str], Checked],
        passes: int,
        name: str,
        own: Callable[[Checked], Checked] = lambda batch: batch,
    ) -> None:
        self.name = name
        self._batches: Any = batches  # which is asked what it is
        self._check = check
        if isinstance(batches, str | bytes | dict) or hasattr(batches, "__array__"):
            raise TypeError(
                f"{self.name} is a {type(batches).__name__} and comes without y, expected y, or an iterable"
                " of batches (X, y)"
            )
        iterator = self._start()
        if passes > 1 and iterator is batches:
            raise TypeError(
                f"{self.name} is a {type(batches).__name__}, which can be gone through once, and there are {passes}"
                " epochs; give a list, an object whose __iter__ begins again, or a function that returns an iterator"
            )
        self._number = 0
        first = self._next(iterator)
        if first is None:
            raise ValueError(f"{self.name} is empty, expected at least one batch (X, y)")
        self.first: Checked = own(first)
        self._opened: Iterator[object] | None = iterator

    def _start(self) -> Iterator[object]:
        batches = self._batches
        if callable(batches) and not hasattr(batches, "__iter__"):
            batches = batches()
        try:
            return iter(batches)
        except TypeError as error:
            given = "a function that gave" if batches is not self._batches else "a"
            raise TypeError(
                f"{self.name} is {given} {type(batches).__name__}, expected an iterable of batches (X, y),"
                " or a function that returns one"
            ) from error

    def _next(self, iterator: Iterator[object]) -> Checked | None:
        for item in iterator:
            where = f"batch {self._number} of {self.name}"
            self._number += 1
            if not isinstance(item, tuple | list) or len(item) not in (2, 3):
                seen = f"a {type(item).__name__}" + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
                raise TypeError(f"{where} is {seen}, expected (X, y) or (X, y, sample_weight)")
            return self._check(item[0], item[1], item[2] if len(item) == 3 else None, f"{where}: ")
        return None

    def __len__(self) -> int:
        """How many batches there are, where the iterable tells; else 0."""
        try:
            return len(self._batches)
        except TypeError:
            return 0

    def __iter__(self) -> Iterator[Checked]:
        """All batches from the first on. The one that was looked at is not asked for again the first time."""
        iterator, self._opened = self._opened, None
        batch: Checked | None
        if iterator is not None:
            batch = self.first
        else:
            self._number = 0
            iterator = self._start()
            batch = self._next(iterator)
            if batch is None:
                raise ValueError(f"{self.name} gave no more batches: it must begin again whenever it is gone through")
        while batch is not None:
            yield batch
            batch = self._next(iterator)
