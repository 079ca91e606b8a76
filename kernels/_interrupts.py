"""What Ctrl-C may not end in the middle: Numba's import, and its compiling.

What is half imported can't be imported again in the same process; Numba imports itself in two parts: when it is
imported, and when it is first to compile or to load something. Its compiling was not made for it either: of 50
interrupted compilations one crashed, and after another none came to its end any more. The crash: an object of LLVM's
has one owner at a time, but two between the call that gives it away and the note that it is gone; Ctrl-C arrives there
when it was pressed in that call.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import Any

_LLVM = ("llvmlite.binding", "numba.core.codegen")  # whose functions hold LLVM's objects
_SECONDS = 0.01  # until Ctrl-C is tried again
_Handler = Callable[[int, FrameType | None], Any]


class _Postponed:
    """Ctrl-C, while it does not do what it usually does."""

    def __init__(self, usual: _Handler, says: str, again: bool) -> None:
        self.usual, self.says, self.again = usual, says, again
        self.asked: FrameType | None = None
        self.waits = False  # for another process: then it does it

    def __call__(self, number: int, frame: FrameType | None) -> None:
        pressed_again = self.again and self.asked is not None
        if self.waits or (pressed_again and not _in_llvm(frame)):
            self.asked = None
            self.usual(number, frame)
        elif pressed_again:
            timer = threading.Timer(_SECONDS, self._press_again)
            timer.daemon = True
            with suppress(RuntimeError):  # where no thread can be started, it is done at the end
                timer.start()
        elif self.asked is None:
            self.asked = frame
            if self.says:
                with suppress(Exception):  # standard error may be closed, or be written to at this moment
                    print(self.says, file=sys.stderr, flush=True)

    def _press_again(self) -> None:
        if self.asked is not None:  # not done meanwhile
            _thread.interrupt_main()

    def catch_up(self) -> None:
        frame, self.asked = self.asked, None
        if frame is not None:
            self.usual(signal.SIGINT, frame)


_now: _Postponed | None = None


@contextmanager
def interrupts_postponed(says: str = "", again: bool = False) -> Iterator[None]:
    """Let Ctrl-C do what it does at the end of the block, and not within it.

    Args:
        says: what to tell who has pressed it.
        again: pressed again, it does it at once, but waits for the end of functions that hold LLVM's objects.

    >>> ended = False
    >>> try:
    ...     with interrupts_postponed():
    ...         signal.raise_signal(signal.SIGINT)
    ...         ended = True
    ... except KeyboardInterrupt:
    ...     print(ended)
    True
    """
    global _now
    usual = signal.getsignal(signal.SIGINT)
    # Python runs handlers in the main thread alone
    if _now is not None or threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    mine = _Postponed(usual, says, again)
    try:
        _now = mine
        signal.signal(signal.SIGINT, mine)
        yield
    finally:
        _now = None
        signal.signal(signal.SIGINT, usual)
        mine.catch_up()


@contextmanager
def interrupts_let_through() -> Iterator[None]:
    """For a wait within such a block: Ctrl-C does at once what it does, now and if it was pressed before."""
    mine = _now
    if mine is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        mine.waits = True
        mine.catch_up()
        yield
    finally:
        mine.waits = False


def compiling() -> AbstractContextManager[None]:
    """For a compilation: Ctrl-C waits for its end. Numba's registries, for one, are read by generators that never yield
    again once they were interrupted."""
    return interrupts_postponed("fastjac: Ctrl-C waits for the end of a compilation; again, it does not", again=True)


def _in_llvm(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_LLVM):
            return True
        frame = frame.f_back
    return False


def refresh(context: Any) -> None:
    """``context.refresh()`` of a target, which imports the second part when it is first called."""
    with interrupts_postponed():
        with suppress(AttributeError):  # of Numba's own: it would be imported a little later
            context.typing_context.refresh()
        context.refresh()


with interrupts_postponed():
    import numba.core  # noqa: F401
