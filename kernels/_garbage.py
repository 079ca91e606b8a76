"""When nobody looks for garbage: while much is made that stays, by Numba's import and by its compiling."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_paused = False


@contextmanager
def without_collections() -> Iterator[None]:
    """What is made within lives until its end: looking through it again and again is for nothing.

    Of a compilation it took 7 % of the time, 1.7 of 23.5 s; it needs a third more memory without (350 MB in all, and
    265). Where nobody collects anyhow, nothing is changed.
    """
    global _paused
    if not gc.isenabled():
        yield
        return
    try:
        _paused = True
        gc.disable()
        yield
    finally:
        gc.enable()
        _paused = False


@contextmanager
def importing() -> Iterator[None]:
    """The same for what stays for ever: it then counts as old, as it would after some looks at it.

    Numba and the kernels took 285 ms with those looks, also where they came at the end, and 250 without.
    """
    with without_collections():
        yield
        if _paused and gc.get_freeze_count() == 0:  # what a program has frozen would not stay so
            gc.freeze()
            gc.unfreeze()


def _collect_again() -> None:
    global _paused
    if _paused:
        gc.enable()
        _paused = False


if hasattr(os, "register_at_fork"):  # the child of a fork in another thread: what it would end is not in it
    os.register_at_fork(after_in_child=_collect_again)
