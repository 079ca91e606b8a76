"""The progress of training, drawn by rich where someone can see it."""

from __future__ import annotations

import builtins
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TextIO

from fastjac.kernels._jit import compiling_for

if TYPE_CHECKING:
    from rich.console import Console

Logs = dict[str, float]
Columns = dict[str, list[float]]
ProgressLike = bool | Literal["auto"]

_SECONDS_BETWEEN = 0.1  # between two looks of the bar


def _figures(logs: Logs, rate: str = "", room: int = 1000) -> str:
    """What fits of the figures; those of rows not trained on stay longest."""
    shown = {"rate": rate} if rate else {}
    shown |= {name: f"{name} {value:.4f}" for name, value in logs.items()}
    for name in ("accuracy", "loss", "rate", "val_loss"):
        if len("  ".join(shown.values())) > room and (name == "rate" or f"val_{name}" in logs or name == "val_loss"):
            shown.pop(name, None)
    return "  ".join(shown.values())


class Show:
    """Called with the state of training; this one is for nobody to see."""

    def __call__(self, epoch: int, logs: Logs, done: int, total: int, epoch_end: bool = False) -> None:
        """``done`` of ``total`` rows of an epoch are behind, with these figures so far; a total of 0 is not known."""

    def epochs(self, first: int, columns: Columns, rows: int) -> None:
        """Some epochs of so many rows have ended at once; of each figure a number for each."""


def _import_rich() -> None:
    """For the first time; it draws random numbers meanwhile, which are the program's."""
    before = random.getstate()
    try:
        import rich.progress  # noqa: F401
    finally:
        random.setstate(before)


def _check(progress: object) -> None:
    if progress not in ("auto", True, False):
        raise ValueError(f"progress is {progress!r}, expected True, False or 'auto'")


def bar(progress: ProgressLike, epochs: int) -> AbstractContextManager[Show]:
    """What to call with the state of training.

    Args:
        progress: "auto" draws a bar where the output is a terminal or a notebook and rich is installed, and nothing
            elsewhere. True draws it there too, and prints a line an epoch elsewhere. False shows nothing.
        epochs: how many there will be.

    Raises:
        ValueError: ``progress`` is something else.
        ImportError: ``progress`` is True and rich is not installed.
    """
    _check(progress)
    if not progress or (progress == "auto" and not _may_be_seen()):
        return nullcontext(Show())
    return _shown(progress, epochs)


def _console(progress: ProgressLike) -> Console | None:
    """rich's console, where it is installed and there is something to write to; else None."""
    try:
        _import_rich()
    except ImportError as error:
        if progress == "auto":
            return None
        raise ImportError("progress=True needs rich: pip install 'fastjac[cli]'") from error
    from rich.console import Console

    return None if sys.stderr is None else Console(file=_Lenient(sys.stderr))  # type: ignore[arg-type]


def _is_drawable(console: Console) -> bool:
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


@contextmanager
def compiling(progress: ProgressLike, how_far: Callable[[], str] = str) -> Iterator[None]:
    """A line that moves while kernels are compiled within, where someone can see it, and is gone afterwards.

    Args:
        progress: as for ``bar``; elsewhere nothing is shown, whatever it is.
        how_far: what to say of it beside the seconds.

    Raises:
        ValueError, ImportError: as ``bar``.
    """
    _check(progress)
    console = _console(progress) if progress is True or (progress and _may_be_seen()) else None
    if console is None or not _is_drawable(console):
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Words(TextColumn):
        def render(self, task: Any) -> Text:
            return Text(f"compiling kernels{how_far()}")

    columns = SpinnerColumn(), Words(""), TimeElapsedColumn()
    # what others print goes where it always goes: a handler of Ctrl-C, for one, waits for no lock of rich's
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False, refresh_per_second=10
    ) as drawn:
        drawn.add_task("", total=None)
        yield


@contextmanager
def _shown(progress: ProgressLike, epochs: int) -> Iterator[Show]:
    """What to call where rich decides who sees it."""
    console = _console(progress)
    if console is None:
        yield Show()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    if not _is_drawable(console):
        yield Show() if progress == "auto" else _Lines(epochs)
        return

    class Figures(TextColumn):
        """And before there are any, what training waits for."""

        def render(self, task: Any) -> Text:
            seconds = compiling_for()
            return super().render(task) if seconds is None else Text(f"compiling kernels, {seconds:.0f} s")

    bar_width = 30 if console.width >= 120 else 10
    room = console.width - bar_width - len(f"epoch {epochs}/{epochs}") - 11  # 11: time left, and spaces between
    columns = (
        TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
        BarColumn(bar_width),
        TimeRemainingColumn(),
        Figures("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=10) as drawn:
        task = drawn.add_task("", total=epochs, epoch=1, figures="")
        show = _Bar(lambda **state: drawn.update(task, **state), room)
        try:
            yield show
        finally:
            show.draw()


def _may_be_seen() -> bool:
    """Whether rich need be asked: False where it would say that nobody sees a bar, which takes it long."""
    asked = any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"))
    with suppress(AttributeError, ValueError, OSError):
        asked = asked or sys.stderr.isatty()
    return asked or hasattr(builtins, "get_ipython")  # a notebook's


class _Bar(Show):
    """What a bar shows: the latest state, ten times a second and at the end."""

    def __init__(self, update: Callable[..., None], room: int) -> None:
        self._update, self._room = update, room
        self._began: tuple[float, int] | None = None  # when and where the first look was: compiling is before it
        self._drawn_at = 0.0
        self._latest: tuple[int, Logs, int, int] | None = None

    def __call__(self, epoch: int, logs: Logs, done: int, total: int, epoch_end: bool = False) -> None:
        self._latest = epoch, logs, done, total
        if time.perf_counter() - self._drawn_at >= _SECONDS_BETWEEN:
            self.draw()

    def epochs(self, first: int, columns: Columns, rows: int) -> None:
        last = {name: column[-1] for name, column in columns.items()}
        self(first + len(columns["loss"]) - 1, last, rows, rows, epoch_end=True)

    def draw(self) -> None:
        """Show what has not been shown."""
        if self._latest is None:
            return
        epoch, logs, done, total = self._latest
        seen, now = epoch * total + done, time.perf_counter()
        began = self._began = self._began or (now, seen)
        rate = f"{(seen - began[1]) / (now - began[0]):,.0f} samples/s" if seen > began[1] else ""
        figures = _figures(logs, rate, self._room)
        self._update(completed=epoch + (done / total if total else 0), epoch=epoch + 1, figures=figures)
        self._latest, self._drawn_at = None, time.perf_counter()


class _Lines(Show):
    """A line for each epoch that has ended."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def __call__(self, epoch: int, logs: Logs, done: int, total: int, epoch_end: bool = False) -> None:
        if epoch_end:
            line = f"epoch {epoch + 1}/{self._epochs}  {_figures(logs)}"
            print(line, file=_Lenient(sys.stderr), flush=True)

    def epochs(self, first: int, columns: Columns, rows: int) -> None:
        for k, figures in enumerate(zip(*columns.values(), strict=True)):
            self(first + k, dict(zip(columns, figures, strict=True)), rows, rows, epoch_end=True)


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
