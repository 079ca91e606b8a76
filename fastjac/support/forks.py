"""What a forked process gets of networks that other threads were using: whole ones, that nobody holds any more.

Only the thread that forks lives on in the new process. A lock that another one held would never be let go there, and
parameters would be those of half a step.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

_LONGEST = 1.0  # seconds to wait for others to come to the end of what they are doing


class Call(Protocol):
    """A call of ``fit``."""

    def is_on_the_stack_of(self, thread: int) -> bool: ...


Callers = dict[str, tuple[int, Callable[[], Call | None]]]  # "call": the thread that trains a network, and its call


class Shared(Protocol):
    """What is known here of a network."""

    _lock: threading.RLock
    _trained_by: Callers


_known: dict[int, weakref.ref[Shared]] = {}
_held: dict[int, list[threading.RLock]] = {}  # locks, by the thread that is about to fork


def keep_whole(network: Shared) -> None:
    """From now on look after a network's ``_lock``, held for each change, and ``_trained_by``, who is in ``fit``."""
    key = id(network)
    _known[key] = weakref.ref(network, lambda _: _known.pop(key, None))


def _alive() -> list[Shared]:
    return [network for reference in list(_known.values()) if (network := reference()) is not None]


def _before() -> None:
    held = _held[threading.get_ident()] = []
    end = time.monotonic() + _LONGEST
    for network in _alive():
        # not for ever: a thread that holds one network may be waiting for another
        if network._lock.acquire(timeout=max(0.0, end - time.monotonic())):
            held.append(network._lock)


def _after_in_parent() -> None:
    for lock in _held.pop(threading.get_ident(), []):
        lock.release()


def _after_in_child() -> None:
    _held.clear()
    for network in _alive():
        network._lock = threading.RLock()
        thread, _ = network._trained_by.get("call", (None, None))
        if thread != threading.get_ident():
            network._trained_by.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
