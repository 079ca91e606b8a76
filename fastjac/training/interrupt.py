"""What may end a training from outside: Ctrl-C, and an interpreter that comes to its end."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

# The interpreter's own functions: those of ``signal``, which are made of them, look for each handler among the names of
# an enumeration first, which takes longer than a small step
_own = sys.modules.get("_signal", signal)
_getsignal, _signal = _own.getsignal, _own.signal


class Interruption:
    """Make Ctrl-C set a flag instead of raising wherever Python happens to be.

    It raises at once before the first steps have been taken, when there is nothing to keep in order, and the second
    time. Only where Ctrl-C would raise KeyboardInterrupt in this thread; a program's own handler is left alone.

    Attributes:
        asked: whether Ctrl-C was pressed.
        begun: whether training has begun: until then, kernels may be compiling.
    """

    asked = False
    begun = False
    _is_set = False

    def __enter__(self) -> Interruption:
        main = threading.current_thread() is threading.main_thread()
        if main and _getsignal(signal.SIGINT) is signal.default_int_handler:
            self._is_set = True
            try:
                _signal(signal.SIGINT, self._note)
            except BaseException:  # which it may raise as soon as it is set
                self.__exit__()
                raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_set:
            _signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.begun:
            raise KeyboardInterrupt


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
