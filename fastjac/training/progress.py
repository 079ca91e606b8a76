"""The progress of training, drawn by rich where someone can see it."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, Literal, TextIO

Show = Callable[..., None]
ProgressLike = bool | Literal["auto"]

_SECONDS_BETWEEN = 0.1  # between two looks of the bar


def _figures(logs: dict[str, float], rate: str = "", room: int = 1000) -> str:
    """What fits of the figures; those of rows not trained on stay longest."""
    shown = {"rate": rate} if rate else {}
    shown |= {name: f"{name} {value:.4f}" for name, value in logs.items()}
    for name in ("accuracy", "loss", "rate", "val_loss"):
        if len("  ".join(shown.values())) > room and (name == "rate" or f"val_{name}" in logs or name == "val_loss"):
            shown.pop(name, None)
    return "  ".join(shown.values())


def _nothing(epoch: int, logs: dict[str, float], done: int, total: int, epoch_end: bool = False) -> None:
    """Nobody looks."""


def _import_rich() -> None:
    """For the first time; it draws random numbers meanwhile, which are the program's."""
    before = random.getstate()
    try:
        import rich.progress  # noqa: F401
    finally:
        random.setstate(before)


@contextmanager
def bar(progress: ProgressLike, epochs: int) -> Iterator[Show]:
    """A function to call with the state of training: ``show(epoch, logs, done, total, epoch_end=False)``.

    ``done`` of ``total`` rows of the epoch are behind; a total of 0 is not known yet.

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
    if not progress:
        yield _nothing
        return
    try:
        _import_rich()
    except ImportError as error:
        if progress == "auto":
            yield _nothing
            return
        raise ImportError("progress=True needs rich: pip install 'fastjac[cli]'") from error
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    if sys.stderr is None:  # closed
        yield _nothing
        return
    console = Console(file=_Lenient(sys.stderr))  # type: ignore[arg-type]
    drawable = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets"))
    if not drawable:
        yield _nothing if progress == "auto" else _lines(epochs)
        return
    bar_width = 30 if console.width >= 120 else 10
    room = console.width - bar_width - len(f"epoch {epochs}/{epochs}") - 11  # 11: time left, and spaces between
    columns = (
        TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
        BarColumn(bar_width),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=10) as drawn:
        task = drawn.add_task("", total=epochs, epoch=1, figures="")
        began: tuple[float, int] | None = None  # when and where the first look was: compiling is before it
        drawn_at = 0.0
        latest: tuple[float, int, int, dict[str, float]] | None = None

        def draw(share: float, seen: int, epoch: int, logs: dict[str, float]) -> None:
            nonlocal began
            now = time.perf_counter()
            began = began or (now, seen)
            rate = f"{(seen - began[1]) / (now - began[0]):,.0f} samples/s" if seen > began[1] else ""
            drawn.update(task, completed=share, epoch=epoch + 1, figures=_figures(logs, rate, room))

        def show(epoch: int, logs: dict[str, float], done: int, total: int, epoch_end: bool = False) -> None:
            nonlocal drawn_at, latest
            state = epoch + (done / total if total else 0), epoch * total + done, epoch, logs
            latest = state
            if time.perf_counter() - drawn_at >= _SECONDS_BETWEEN:
                draw(*state)
                drawn_at, latest = time.perf_counter(), None

        try:
            yield show
        finally:
            if latest is not None:
                draw(*latest)


def _lines(epochs: int) -> Show:
    def show(epoch: int, logs: dict[str, float], done: int, total: int, epoch_end: bool = False) -> None:
        if epoch_end:
            print(f"epoch {epoch + 1}/{epochs}  {_figures(logs)}", file=_Lenient(sys.stderr), flush=True)

    return show


class _Lenient:
    """A stream whose failures end no training: it may be full, or its reader gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
