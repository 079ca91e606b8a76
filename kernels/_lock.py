"""One process compiles, the others wait for the file: a lock that the system drops when its holder dies.

The lock is on a file beside the one that is awaited, and goes when it is released. Waiting has an end: a process may be
stopped while it holds a lock, and a file system may not know locks at all.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from ._private import Folder

if sys.platform == "win32":
    import msvcrt

    def _seize(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _seize(descriptor: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a lock that a forked child does not have


class Lock:
    """On one name in a folder.

    Attributes:
        waited: whether another process had it first.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.waited = False
        self._folder, self._name = folder, f"{name}.lock"
        self._descriptor: int | None = None

    def _try(self) -> bool:
        """Take the lock if it is free. The file locked must be the one that others find under its name."""
        while True:
            descriptor = self._folder.open(self._name, os.O_RDWR | os.O_CREAT)
            try:
                _seize(descriptor)
                there, held = self._folder.status(self._name), os.fstat(descriptor)
                if os.path.samestat(there, held):
                    self._descriptor = descriptor
                    return True
            except FileNotFoundError:
                pass  # its holder released it, and with it the file
            except (BlockingIOError, PermissionError):
                return False
            finally:
                if self._descriptor is None:
                    os.close(descriptor)

    def wait_for(self, awaited: str, seconds: float) -> bool:
        """Until the lock is held, or there is a file of that name; False where neither came in time.

        Raises:
            OSError, UnusableError: there can be no lock here.
        """
        end, pause = time.monotonic() + seconds, 0.01
        while not self._try():
            self.waited = True
            if self._folder.has(awaited):
                return True
            if time.monotonic() > end:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
        return True

    def release(self) -> None:
        """Let others have it; nothing where it is not held."""
        if self._descriptor is not None:
            with suppress(OSError):  # Windows removes no open file: there it stays
                self._folder.remove(self._name)
            os.close(self._descriptor)
            self._descriptor = None
        self._folder.close()
