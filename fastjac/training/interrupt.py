"""What may end a training from outside: Ctrl-C, and an interpreter that comes to its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# The interpreter's own functions: those of ``signal`` look for each handler among the names of an enumeration first,
# which takes longer than a small step
_getsignal = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
_signal = getattr(signal.signal, "__wrapped__", signal.signal)


class Interruption:
    """Whether Ctrl-C was pressed, and whether training has begun: until then, kernels may be compiling."""

    asked = False
    begun = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Make Ctrl-C set a flag instead of raising wherever Python happens to be.

    It raises at once before the first steps have been taken, when there is nothing to keep in order, and the second
    time. Only where Ctrl-C would raise KeyboardInterrupt in this thread; a program's own handler is left alone.
    """
    state = Interruption()
    main = threading.current_thread() is threading.main_thread()
    if not main or _getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield state
        return

    def note(number: int, frame: FrameType | None) -> None:
        again, state.asked = state.asked, True
        if again or not state.begun:
            raise KeyboardInterrupt

    try:
        _signal(signal.SIGINT, note)  # here, because ``note`` may raise as soon as it is set
        yield state
    finally:
        _signal(signal.SIGINT, signal.default_int_handler)


def check_that_python_goes_on() -> None:
    """Raise RuntimeError in another thread when the main one has come to its end, where it waits for this one."""
    main = threading.main_thread()
    # the second is set earlier, before executors are waited for; nothing public says so
    ending = not main.is_alive() or getattr(threading, "_SHUTTING_DOWN", False)
    if ending and threading.current_thread() is not main:
        raise RuntimeError(
            "the interpreter is about to end: training was stopped after the last whole batch. Wait for the thread"
            " that trains (join) before the main thread ends"
        )
