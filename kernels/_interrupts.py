"""What Ctrl-C may not end in the middle: Numba's import, and LLVM's work.

What is half imported can't be imported again in the same process. Numba imports itself in two parts: when it is
imported, and when it is first to compile or to load something. And an object of LLVM's has one owner at a time: between
the call that gives it away and the note that it is gone, which is where Ctrl-C arrives that was pressed in a long call,
it has two, and is freed twice. (One of 33 interrupted compilations crashed.)
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

_MODULES = ("llvmlite.binding", "numba.core.codegen")  # whose functions hold LLVM's objects
_SECONDS = 0.01  # until Ctrl-C is tried again
_Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def _handled(make: Callable[[_Handler], _Handler]) -> Iterator[None]:
    """Another handler of Ctrl-C in the block, made of the usual one; none where Python would call none."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    try:
        signal.signal(signal.SIGINT, make(usual))
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def interrupts_postponed() -> Iterator[None]:
    """Let Ctrl-C do what it does at the end of the block, and not within it.

    >>> ended = False
    >>> try:
    ...     with interrupts_postponed():
    ...         signal.raise_signal(signal.SIGINT)
    ...         ended = True
    ... except KeyboardInterrupt:
    ...     print(ended)
    True
    """
    asked: list[Callable[[], Any]] = []

    def make(usual: _Handler) -> _Handler:
        return lambda number, frame: asked.append(partial(usual, number, frame))

    try:
        with _handled(make):
            yield
    finally:
        if asked:
            asked[0]()


@contextmanager
def interrupts_outside_of_llvm() -> Iterator[None]:
    """Let Ctrl-C do at once what it does, but in functions that hold LLVM's objects: it waits until they have ended."""
    asked: list[Callable[[], Any]] = []

    def make(usual: _Handler) -> _Handler:
        def note(number: int, frame: FrameType | None) -> None:
            if not _in_llvm(frame):
                usual(number, frame)
            elif not _again():
                asked.append(partial(usual, number, frame))

        return note

    try:
        with _handled(make):
            yield
    finally:
        if asked:
            asked[0]()


def _in_llvm(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_MODULES):
            return True
        frame = frame.f_back
    return False


def _again() -> bool:
    """Have Ctrl-C pressed once more, a little later; False where no thread can be started."""
    timer = threading.Timer(_SECONDS, _thread.interrupt_main)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:
        return False
    return True


def refresh(context: Any) -> None:
    """``context.refresh()`` of a target, which imports the second part when it is first called."""
    with interrupts_postponed():
        with suppress(AttributeError):  # of Numba's own: it would be imported a little later
            context.typing_context.refresh()
        context.refresh()


with interrupts_postponed():
    import numba.core  # noqa: F401
