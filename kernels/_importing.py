"""Numba imported whole: what Ctrl-C leaves of it half imported can't be imported again in the same process.

Numba imports itself in two parts: when it is imported, and when it is first to compile or to load something.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


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
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield  # Python runs handlers in the main thread alone
        return
    asked: list[Any] = []
    try:
        signal.signal(signal.SIGINT, lambda number, frame: asked.append(frame))
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if asked:
            usual(signal.SIGINT, asked[0])


def refresh(context: Any) -> None:
    """``context.refresh()`` of a target, which imports the second part when it is first called."""
    with interrupts_postponed():
        with suppress(AttributeError):  # of Numba's own: it would be imported a little later
            context.typing_context.refresh()
        context.refresh()


with interrupts_postponed():
    import numba.core  # noqa: F401
