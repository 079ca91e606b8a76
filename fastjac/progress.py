"""The progress of training, drawn by rich where someone can see it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Show = Callable[..., None]

_SECONDS_BETWEEN = 0.1  # between two looks of the bar


def _figures(logs: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in logs.items())


def _nothing(epoch: int, logs: dict[str, float], done: int, total: int, epoch_end: bool = False) -> None:
    """Nobody looks."""


@contextmanager
def bar(progress: Any, epochs: int) -> Iterator[Show]:
    """A function to call with the state of training: ``show(epoch, logs, done, total, epoch_end=False)``.

    Args:
        progress: "auto" draws a bar where the output is a terminal or a notebook and rich is installed, and nothing
            elsewhere. True draws it there too, and prints a line an epoch elsewhere. False shows nothing.
        epochs: how many there will be.

    Raises:
        ValueError: ``progress`` is something else.
        ImportError: ``progress`` is True and rich is not installed.
    """
    if progress not in ("auto", True, False):
        raise ValueError(f"progress is {progress!r}, expected True, False or 'auto'")
    if progress is False:
        yield _nothing
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError as error:
        if progress == "auto":
            yield _nothing
            return
        raise ImportError("progress=True needs rich: pip install 'fastjac[cli]'") from error
    console = Console(file=sys.stderr)
    if not (console.is_terminal or console.is_jupyter):
        yield _lines(epochs) if progress is True else _nothing
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}  {task.fields[figures]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=10) as drawn:
        task = drawn.add_task("", total=epochs, epoch=1, rate="", figures="")
        begin, last = time.perf_counter(), 0.0

        def show(epoch: int, logs: dict[str, float], done: int, total: int, epoch_end: bool = False) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last < _SECONDS_BETWEEN and not (epoch_end and epoch + 1 == epochs):
                return
            last = now
            share = epoch + done / total
            rate = f"{share * total / (now - begin):,.0f} samples/s"
            drawn.update(task, completed=share, epoch=epoch + 1, rate=rate, figures=_figures(logs))

        yield show


def _lines(epochs: int) -> Show:
    def show(epoch: int, logs: dict[str, float], done: int, total: int, epoch_end: bool = False) -> None:
        if epoch_end:
            print(f"epoch {epoch + 1}/{epochs}  {_figures(logs)}", file=sys.stderr, flush=True)

    return show
