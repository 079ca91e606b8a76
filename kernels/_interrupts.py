"""What Ctrl-C may not end in the middle: Numba's import, and its compiling.

What is half imported can't be imported again in the same process. Compiling was not made for it either: of 50
interrupted compilations one crashed, and after another none came to its end any more. The crash: an object of LLVM's
has one owner at a time, but two between the call that gives it away and the note that it is gone; Ctrl-C arrives there
when it was pressed in that call. The other: Numba reads its registries by generators, and one that was interrupted
yields nothing more.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType

_LLVM = ("llvmlite.binding", "numba.core.codegen")  # whose functions hold LLVM's objects


class _Handler:
    """Calls the usual handler of Ctrl-C at once, but keeps what that raises."""

    def __init__(self, usual: Callable[[int, FrameType | None], object], says: str, again: bool) -> None:
        self.usual, self.says, self.again = usual, says, again
        self.raised: BaseException | None = None
        self.waits = False  # for another process: nothing is kept then

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.usual(number, frame)
        except BaseException as error:
            pressed_again = self.again and self.raised is not None and not _in_llvm(frame)
            if self.waits or pressed_again:
                self.raised = None
                raise
            if self.raised is None:
                self.raised = error
                if self.says:
                    with suppress(Exception):  # standard error may be closed, or be written to at this moment
                        print(self.says, file=sys.stderr, flush=True)

    def raise_what_was_kept(self) -> None:
        error, self.raised = self.raised, None
        if error is not None:
            raise error


_now: _Handler | None = None


@contextmanager
def interrupts_postponed(says: str = "", again: bool = False) -> Iterator[None]:
    """Let what Ctrl-C raises be raised at the end of the block, and not within it.

    Args:
        says: what to tell who has pressed it.
        again: whether it is raised at once when it is pressed again, but in functions that hold LLVM's objects.

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
    mine = _Handler(usual, says, again)
    try:
        _now = mine
        signal.signal(signal.SIGINT, mine)
        yield
    finally:
        _now = None
        signal.signal(signal.SIGINT, usual)
        mine.raise_what_was_kept()


@contextmanager
def interrupts_let_through() -> Iterator[None]:
    """For a wait within such a block: Ctrl-C is as usual there, and what was kept is raised when it begins."""
    mine = _now
    if mine is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        mine.waits = True
        mine.raise_what_was_kept()
        yield
    finally:
        mine.waits = False


def compiling() -> AbstractContextManager[None]:
    """For a compilation: Ctrl-C waits for its end, and says so; pressed again, it does not."""
    return interrupts_postponed("fastjac: Ctrl-C waits for the end of a compilation; again, it does not", again=True)


def _in_llvm(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_LLVM):
            return True
        frame = frame.f_back
    return False


with interrupts_postponed():
    import numba.core  # noqa: F401
