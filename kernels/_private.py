"""A folder into which nobody else can put a file, and the files in it.

What is read from here is unpickled, and a pickle can run anything. So a folder is opened once, what was opened is
checked, and its files are reached through it and not by their path, which could lead elsewhere a moment later. Each
file is checked as well: a folder that is closed now may once have been open.

Elsewhere than on POSIX, owner and mode say nothing of the kind, and nothing is checked (``GUARDED``).
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress

GUARDED = sys.platform != "win32"


class UnusableError(Exception):
    """Why a folder or file is not used."""


def _foreign(status: os.stat_result) -> str:
    """Whom something belongs to, if not to this user or to the superuser, who can do anything anyway."""
    if sys.platform == "win32":
        return ""
    user = os.geteuid()
    return f"belongs to user {status.st_uid}, not to {user}" if status.st_uid not in (user, 0) else ""


class Folder:
    """An open folder. Its files are called by their names alone.

    Attributes:
        path: where it was when it was opened.
        open_to_others: whether others could put files into it.
    """

    def __init__(self, path: str, name: str = "", above: Folder | None = None) -> None:
        """Open ``path``, or ``name`` in the folder ``above``.

        Raises:
            UnusableError: it is no folder, or another user's.
            OSError: it can't be opened.
        """
        self.path = os.path.join(path, name) if name else path
        self.open_to_others = False
        self._descriptor: int | None = None
        path, where = above._at(name) if above else (path, {})
        status = os.lstat(path, **where)
        if stat.S_ISLNK(status.st_mode):
            raise UnusableError(f"{self.path} is a symbolic link")
        if not stat.S_ISDIR(status.st_mode):
            raise UnusableError(f"{self.path} is not a folder")
        if sys.platform != "win32":
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, **where)
            status = os.fstat(self._descriptor)
            self.open_to_others = status.st_mode & 0o022 != 0
            if reason := _foreign(status):
                self.close()
                raise UnusableError(f"{self.path} {reason}")

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _at(self, name: str) -> tuple[str, dict[str, int]]:
        """A file, as the functions of ``os`` take it."""
        if self._descriptor is None:
            return os.path.join(self.path, name), {}
        return name, {"dir_fd": self._descriptor}

    def make(self, name: str) -> None:
        """Make a folder in this one, unless there is one."""
        path, where = self._at(name)
        with suppress(FileExistsError):
            os.mkdir(path, 0o700, **where)

    def below(self, name: str) -> Folder:
        return Folder(self.path, name, self)

    def status(self, name: str = "") -> os.stat_result:
        """Of a file, links not followed, or of the folder."""
        if name:
            path, where = self._at(name)
            return os.lstat(path, **where)
        return os.stat(self.path if self._descriptor is None else self._descriptor)

    def mark(self) -> None:
        """Say that the folder was used just now."""
        os.utime(self.path if self._descriptor is None else self._descriptor)

    def has(self, name: str) -> bool:
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def open(self, name: str, flags: int) -> int:
        """The descriptor of a regular file, which only this user could have written.

        Raises:
            UnusableError: it is something else.
        """
        path, where = self._at(name)
        flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(path, flags, 0o600, **where)
        except OSError:
            if self.has(name) and stat.S_ISLNK(self.status(name).st_mode):
                raise UnusableError("it is a symbolic link") from None
            raise
        try:
            status = os.fstat(descriptor)
            reason = ""
            if not stat.S_ISREG(status.st_mode):
                reason = "is not a regular file"
            elif GUARDED and status.st_mode & 0o022:
                reason = "can be written by other users"
            elif GUARDED:
                reason = _foreign(status) or ("has another name as well" if status.st_nlink > 1 else "")
            if reason:
                raise UnusableError(f"it {reason}")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str) -> bytes:
        with open(self.open(name, os.O_RDONLY), "rb") as file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Write a file aside and rename it: whoever reads sees all of it or nothing."""
        aside = f"{name}.{secrets.token_hex(8)}.tmp"
        descriptor = self.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            (source, where), (target, _) = self._at(aside), self._at(name)
            both = {"src_dir_fd": self._descriptor, "dst_dir_fd": self._descriptor} if where else {}
            os.replace(source, target, **both)
        except BaseException as fault:
            with suppress(OSError):
                self.remove(aside)
            if not (sys.platform == "win32" and isinstance(fault, PermissionError) and self.has(name)):
                raise  # Windows refuses to replace a file that another process is reading: then that one serves

    def remove(self, name: str) -> None:
        path, where = self._at(name)
        os.unlink(path, **where)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder in this one."""
        path, where = self._at(name)
        os.rmdir(path, **where)

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """What is in the folder. The entries' own paths mean nothing: take their names."""
        with os.scandir(self.path if self._descriptor is None else self._descriptor) as entries:
            yield from entries
