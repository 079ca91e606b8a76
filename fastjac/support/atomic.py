"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_ENDING = ".part"
_HOUR = 3600.0
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
_NO_SUCH_FLUSH = (errno.EINVAL, errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOTSUP)


def destination(path: str | os.PathLike[str]) -> str:
    """The file that a path names, its links resolved. To be asked before long work whose result is written there.

    Raises:
        OSError: there is no folder to put it in, or what is there is no regular file but, say, a folder or a device; or
            it is a file that this process or another writes to as a stream: ``/dev/stdout``, or what that leads to.
    """
    given = os.fsdecode(path)
    resolved = os.path.realpath(given)
    try:
        status = os.stat(given)
    except FileNotFoundError:  # or a link to what does not exist yet
        folder = os.path.dirname(resolved)
        if not given or not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder} to write it to", given) from None
        if not os.path.basename(given):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given) from None
        return resolved
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given)
    # /dev/stdout, for one, leads to a pipe, or to a file whose name may be gone
    if not stat.S_ISREG(status.st_mode) or not (os.path.exists(resolved) and os.path.samefile(given, resolved)):
        raise OSError(errno.EINVAL, "this is not a regular file, expected one or none", given)
    if _is_a_stream(status) or _through_a_handle(given):
        raise OSError(errno.EINVAL, "this file is open as a stream, and would be replaced, expected another", given)
    return resolved


def _is_a_stream(status: os.stat_result) -> bool:
    """Whether a file is this process's standard input, output or error, such as a log that others write to."""
    for handle in range(3):
        with contextlib.suppress(OSError):  # closed
            if os.path.samestat(os.fstat(handle), status):
                return True
    return False


def _through_a_handle(path: str) -> bool:
    """Whether a path leads through a name that the system gives an open file: /dev/stderr, /dev/fd/5, /proc/7/fd/1."""
    while os.path.islink(path):
        folder = os.path.realpath(os.path.dirname(path))
        if folder == "/dev" or folder.startswith("/proc/"):
            return True
        path = os.path.join(folder, os.readlink(path))
    return False


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write to. It appears at ``path`` when the block ends without an error, whole or not at all.

    It is written beside ``path``, flushed to the disk, and renamed: a crash at any moment leaves what was there before
    or all of the new file, and so does an error, which leaves nothing else behind. What a killed process left of an
    earlier try is removed. A file that was there gives the new one its mode; a link is followed, not replaced.

    Raises:
        OSError: it can't be written, or ``destination`` refuses it. What was there stands, but for one case: the error
            comes from flushing the folder, after the new file took its place.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(f"{folder}/numbers.csv") as file:
    ...         _ = file.write(b"a,b")
    ...     os.listdir(folder)
    ['numbers.csv']
    """
    final = destination(path)
    prefix = _prefix(final)
    _remove_leftovers(prefix)
    mode = stat.S_IMODE(os.stat(final).st_mode) if os.path.exists(final) else None
    aside: str | None = None
    try:
        handle, aside = _create(prefix, 0o666 if mode is None else 0o600)
        try:
            # whoever writes may close the file, as some libraries do; the handle stays
            with open(handle, "wb", closefd=False) as file:
                yield file
            os.fsync(handle)
            if mode is not None:
                os.chmod(aside, mode & 0o777)
            if sys.platform != "win32":  # while we hold the lock that says that we are alive
                os.replace(aside, final)
        finally:
            os.close(handle)
        if sys.platform == "win32":  # which renames no open file
            _replace_in_use(aside, final)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _NAMELESS and error.filename is None:
            error.filename = os.fsdecode(path)
        if aside is not None:
            with contextlib.suppress(OSError):
                os.unlink(aside)
        raise
    _flush_folder(os.path.dirname(final))


def _replace_in_use(aside: str, final: str, pauses: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)) -> None:
    """``os.replace``, tried again where Windows refuses it for a moment because another process reads the file."""
    for pause in pauses:
        try:
            return os.replace(aside, final)
        except PermissionError:
            time.sleep(pause)
    os.replace(aside, final)


def _flush_folder(folder: str) -> None:
    """The new name, too, must be on the disk; but there are file systems that can't, and folders that can't be read."""
    if hasattr(os, "O_DIRECTORY"):
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            if error.errno not in _NO_SUCH_FLUSH:
                raise


# --- the file aside, and those of killed processes --------------------------------------------------------------------
#
# A writer holds a lock on its file until it is renamed, and the system lets go of it when the process ends, however it
# ends: a file aside that can be locked has no writer. Its name says on which computer it was made, because locks on a
# file system that several share need not be seen by all.


def _prefix(final: str) -> str:
    folder, name = os.path.split(final)
    marks = (hashlib.sha256(os.fsencode(one)).hexdigest() for one in (name, platform.node()))
    return os.path.join(folder, f".fastjac-{next(marks)[:16]}-{next(marks)[:8]}-")


def _create(prefix: str, mode: int) -> tuple[int, str]:
    """A new file, locked: its handle and its path. Of the mode, the system takes away what the umask says."""
    while True:
        path = f"{prefix}{secrets.token_hex(8)}{_ENDING}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        handle = os.open(path, flags, mode)
        try:
            if not _lock(handle) or os.fstat(handle).st_nlink:
                return handle, path
        except BlockingIOError:
            pass
        os.close(handle)  # taken for left over, in the moment before it was locked
        with contextlib.suppress(OSError):
            os.unlink(path)


def _lock(handle: int) -> bool:
    """Lock a file; False where the file system has no locks, so that nothing on it is ever taken for left over.

    Raises:
        BlockingIOError: another has it locked.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _remove_leftovers(prefix: str) -> None:
    folder, start = os.path.split(prefix)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(start) and entry.name.endswith(_ENDING):
                with contextlib.suppress(OSError):
                    _remove_if_left(entry.path)


def _remove_if_left(path: str) -> None:
    if fcntl is None:  # no process writes for an hour
        if time.time() - os.lstat(path).st_mtime > _HOUR:
            os.unlink(path)
        return
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
            os.unlink(path)
    finally:
        os.close(handle)
