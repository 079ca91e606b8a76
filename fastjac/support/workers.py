"""Threads that run the parts of one compiled call at the same time.

The parts wait for each other in compiled code, where neither Ctrl-C nor an exception reaches them. So none may wait for
one that never comes: threads are started before the first part begins; whatever keeps a part away sets ``FAILED``,
which lets the others go; and nobody leaves ``Workers.run`` while a part is still at work in memory that is used again.
This must hold at every place where the handler of a signal can raise, also a second time. Python runs handlers when a
call returns, when a loop turns and when a function begins: that is why there is no call, and no allocation, where there
is none below.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from fastjac.kernels.threads import FAILED


class _Task:
    """One part of one call, done by one thread."""

    __slots__ = ("done", "ended", "error", "part", "state", "work")

    def __init__(self, work: Callable[[int], object], part: int, state: np.ndarray) -> None:
        self.work, self.part, self.state = work, part, state
        self.error: BaseException | None = None
        self.done = False
        self.ended = threading.Lock()
        self.ended.acquire()


class _Started(threading.Event):
    """What ``Thread.start`` waits for, and without end where the new thread has no memory to come so far."""

    def __init__(self, thread: _Thread) -> None:
        super().__init__()
        self._thread = weakref.ref(thread)

    def wait(self, timeout: float | None = None) -> bool:
        while not super().wait(0.05 if timeout is None else timeout):
            thread = self._thread()
            if timeout is not None or thread is None or thread.gone():
                return self.is_set()
        return True


class _Thread(threading.Thread):
    """A thread whose ``start`` comes back.

    It overrides two private names; should they change, this is a plain ``Thread``.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        # a daemon: at the interpreter's end nobody waits for it but a call of ``Workers.run``
        super().__init__(target=run, name=name, daemon=True)
        self._begun: weakref.ref[Callable[[], None]] | None = None
        self._started = _Started(self)

    @property
    def _bootstrap(self) -> Callable[[], None]:
        """What the system's thread runs: an object that nobody else holds, so that it is gone when the thread is."""
        begin = functools.partial(super()._bootstrap)  # type: ignore[misc]
        self._begun = weakref.ref(begin)
        return begin

    def gone(self) -> bool:
        return self._begun is not None and self._begun() is None

    def start(self) -> None:
        super().start()
        if self.gone() and not self._started.is_set():
            getattr(threading, "_limbo", {}).pop(self, None)
            raise MemoryError("a thread has no memory to begin with")


class _Worker:
    """What a thread and whoever gives it tasks have in common."""

    __slots__ = ("begin", "ready", "task", "thread")

    def __init__(self, number: int) -> None:
        self.task: _Task | None = None
        self.ready, self.begin = threading.Lock(), threading.Lock()
        self.ready.acquire()
        self.begin.acquire()
        self.thread = _Thread(self._serve, f"fastjac-{number}")

    def start(self) -> None:
        self.thread.start()
        while not self.ready.acquire(timeout=0.05):
            if not self.thread.is_alive():
                raise MemoryError("a thread has no memory to begin with")

    def _serve(self) -> None:
        self.ready.release()
        while True:
            self.begin.acquire()
            task, self.task = self.task, None
            if task is None:
                return
            try:
                task.work(task.part)
            except BaseException as error:
                task.state[FAILED] = 1
                task.error = error
            finally:
                task.done = True
                task.ended.release()
            del task  # and all that it holds


def _dismiss(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.task = None
        with suppress(RuntimeError):
            worker.begin.release()


class Workers:
    """Threads beside the calling one, started when they are first needed. For one caller at a time.

    >>> from fastjac.kernels.threads import STATE_SIZE
    >>> found = []
    >>> with Workers() as workers:
    ...     workers.run(3, found.append, np.zeros(STATE_SIZE, np.int64))
    >>> sorted(found)
    [0, 1, 2]
    """

    def __init__(self) -> None:
        self._workers: list[_Worker] = []
        self._process = 0  # that has started them

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        if not self._workers:  # as for most small networks, and asking for the process is a call of the system
            return
        _dismiss(self._workers)
        if self._process == os.getpid():
            for worker in self._workers:
                worker.thread.join()

    def _started(self, count: int) -> list[_Worker]:
        if self._process != os.getpid():  # forked meanwhile: threads do not come along
            self._workers.clear()
            self._process = os.getpid()
        if not self._workers:
            weakref.finalize(self, _dismiss, self._workers).atexit = False  # where ``close`` was kept from it
        while len(self._workers) < count:
            worker = _Worker(len(self._workers) + 1)
            try:
                worker.start()
                self._workers.append(worker)
            except BaseException:
                _dismiss([worker])  # in case it runs
                self._workers[:] = [one for one in self._workers if one is not worker]
                raise
        return self._workers[:count]

    def run(self, parts: int, work: Callable[[int], object], state: np.ndarray) -> None:
        """``work(part)`` for every part, all at once, part 0 in this thread; returns when all of them have ended.

        Args:
            parts: how many.
            work: what to run, with the number of the part.
            state: (kernels.threads.STATE_SIZE,) int64, where the parts meet; set to zeros first.

        Raises:
            RuntimeError, MemoryError: a thread cannot be started; no part was begun.
            BaseException: whatever a part raised, or the handler of a signal meanwhile.
        """
        state[:] = 0  # also for one part, which would take an earlier call's failure for its own
        if parts == 1:
            work(0)
            return
        workers = self._started(parts - 1)
        tasks = [_Task(work, part, state) for part in range(1, parts)]
        late: BaseException | None = None
        begun = k = 0
        try:
            for worker in workers:
                worker.task = tasks[begun]
                begun += 1
                worker.begin.release()
            work(0)
        except BaseException:
            state[FAILED] = 1
            raise
        finally:
            while k < begun:
                try:
                    while k < begun:
                        if not tasks[k].done:
                            tasks[k].ended.acquire()
                        k += tasks[k].done
                except BaseException as error:
                    state[FAILED] = 1
                    late = error
        if late is not None:
            raise late
        for task in tasks:
            if task.error is not None:
                raise task.error
