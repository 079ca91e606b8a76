"""Compiled kernels kept on disk, so that only the first process pays for the compiler.

Numba's own cache trusts its folder, has no checksum, looks at one source file only and keeps two files that
several processes can get out of step. This one replaces it (``install``) and holds to four rules:

- A stale kernel never runs. Files lie in a folder named by a hash of every source file here, the versions and
  the CPU; compiler switches are in the file's name. Sources edited after their import switch the cache off.
- Only the user's own files are read. They are pickles, and unpickling can run anything, so the folder must
  belong to this user and be closed to others. The checksum finds damage; it does not keep an owner out.
- One file a function and signature, written aside and renamed: another process sees all of it or nothing.
- It is never in the way. Whatever goes wrong costs a compilation and at most one warning a process.
"""

import dataclasses
import functools
import hashlib
import inspect
import os
import pickle
import platform
import re
import stat
import struct
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import llvmlite
import numba
import numpy as np

_HERE = os.path.dirname(os.path.realpath(__file__))
_IMPORTED = time.time()
_numba: Any = numba.core  # its insides, looked up where their absence is caught
_MAGIC = b"fastjac1"
_FOLDER_NAME = re.compile(r"kernels-[0-9a-f]{32}")
_FILE_NAME = re.compile(r"[\w.]+-[0-9a-f]{32}\.nbi(\.\w+\.tmp)?", re.ASCII)
_DAY = 86400.0
_KEPT_DAYS = 30

# Numba's switches that change the code produced (the CPU ones are in the folder's name).
_SWITCHES = (
    "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "EXTEND_VARIABLE_LIFETIMES",
    "DEBUG_JIT", "DEBUG_NRT", "NRT_STATS", "ENABLE_PROFILING", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS",
    "USING_SVML", "DISABLE_INTEL_SVML",
)  # fmt: skip


class CacheWarning(UserWarning):
    """The cache could not be used as it should; results are not affected."""


class UnusableError(Exception):
    """Why a folder or file is not used."""


@dataclasses.dataclass
class Statistics:
    """What this process loaded and compiled. A kernel that another one calls counts by itself."""

    hits: int = 0
    misses: int = 0
    compiles: int = 0
    load_seconds: float = 0.0
    compile_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class CacheInfo:
    """Where compiled kernels are kept, and how much there is (``files`` and ``bytes`` count all versions)."""

    folder: str
    version: str
    enabled: bool
    reason: str
    files: int
    bytes: int


_statistics = Statistics()
_said = False  # one warning a process
_pruned = False


def statistics() -> Statistics:
    """The counts so far, as a copy."""
    return dataclasses.replace(_statistics)


def _warn(problem: str) -> None:
    global _said
    if not _said:
        _said = True
        warnings.warn(problem, CacheWarning, stacklevel=3)


# --- the folder ---------------------------------------------------------------------------------------------


def _root() -> str:
    chosen = os.environ.get("FASTJAC_CACHE_DIR", "")
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise UnusableError("this user has no home folder")
    return os.path.join(base, "fastjac")


def _sources() -> list[str]:
    found = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(_HERE)
        for name in names
        if name.endswith(".py") and not name.startswith(".")
    ]
    if os.path.join(_HERE, "_cache.py") not in found:
        raise UnusableError(f"the sources of the kernels are not at {_HERE}")
    return sorted(found)


def _edited() -> bool:
    """Whether a source may no longer be what this process imported. On POSIX the time that nobody can set."""
    states = map(os.stat, _sources())
    return any((s.st_ctime if os.name == "posix" else s.st_mtime) > _IMPORTED for s in states)


@functools.cache
def _version() -> str:
    """Name of the folder for these sources, versions and CPU."""
    digest = hashlib.sha256()
    for path in _sources():
        with open(path, "rb") as file:
            content = file.read()
        digest.update(f"{os.path.relpath(path, _HERE)}\0{len(content)}\0".encode() + content)
    machine = _numba.registry.cpu_target.target_context.codegen().magic_tuple()
    python = (platform.python_implementation(), sys.version, struct.calcsize("P"))
    versions = (numba.__version__, llvmlite.__version__, np.__version__)
    digest.update(repr((_MAGIC, python, versions, machine)).encode())
    return f"kernels-{digest.hexdigest()[:32]}"


def _check(folder: str) -> None:
    """Refuse a folder into which anyone else could put a file."""
    status = os.lstat(folder)
    if stat.S_ISLNK(status.st_mode):
        raise UnusableError(f"{folder} is a symbolic link")
    if not stat.S_ISDIR(status.st_mode):
        raise UnusableError(f"{folder} is not a folder")
    if sys.platform != "win32":
        if status.st_uid != os.geteuid():
            raise UnusableError(f"{folder} belongs to user {status.st_uid}, not to {os.geteuid()}")
        if status.st_mode & 0o022:
            raise UnusableError(f"{folder} can be written by other users")


def _folder(create: bool) -> str:
    root = _root()
    if create:
        os.makedirs(os.path.dirname(root), mode=0o700, exist_ok=True)
    for folder in (root, os.path.join(root, _version())):
        if create:
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        _check(folder)
    return folder


# --- names that are the same in every process ---------------------------------------------------------------


def _spell(value: Any) -> str:
    """A text for a captured value: equal in every process, different if the compiled code would be."""
    if isinstance(value, (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, tuple):
        return f"{type(value).__qualname__}({', '.join(map(_spell, value))})"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {value.dtype} {value.shape} {value.flags.f_contiguous} {value.tobytes().hex()}"
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, type):
        return f"class {value.__module__}.{value.__qualname__}"
    if isinstance(value, numba.types.Type) and " at 0x" not in repr(value):
        return f"type {value!r}"
    function = getattr(value, "py_func", getattr(value, "_defn", value))  # in a dispatcher, an intrinsic
    if inspect.isfunction(function):
        cells = [_spell(cell.cell_contents) for cell in function.__closure__ or ()]
        line = function.__code__.co_firstlineno
        return f"{type(value).__name__} {function.__module__}.{function.__qualname__}:{line}{cells}"
    if inspect.isbuiltin(value) or isinstance(value, np.ufunc):
        return f"builtin {getattr(value, '__module__', '')}.{value.__name__}"
    raise TypeError(
        f"a kernel captures {value!r}, which has no name that another process could know it by; "
        "let it capture numbers, strings, types and functions, or pass the value as an argument"
    )


def name_apart(function: types.FunctionType | Any) -> None:
    """Give closures of one factory different names.

    Numba names machine code by qualified name, argument types and a count that starts again in every process.
    Two closures saved by two processes can so bear one name, and a kernel that then calls both was seen to
    run one of them twice.
    """
    if function.__closure__:
        mark = hashlib.sha256(_spell(function).encode()).hexdigest()[:12]
        function.__qualname__ = f"{function.__qualname__}_{mark}"


# --- one file -----------------------------------------------------------------------------------------------


def _read(path: str, key: str) -> bytes:
    """The payload of a file, if it is whole and was written for ``key``."""
    windows = getattr(os, "O_BINARY", 0)
    posix = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_RDONLY | windows | posix)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnusableError("it is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            head, seal, payload = file.read(len(_MAGIC)), file.read(32), file.read()
    finally:
        os.close(descriptor)
    if head != _MAGIC or seal != hashlib.sha256(key.encode() + payload).digest():
        raise UnusableError("its checksum is wrong")
    return payload


def _write(path: str, key: str, payload: bytes) -> None:
    folder, name = os.path.split(path)
    descriptor, aside = tempfile.mkstemp(prefix=f"{name}.", suffix=".tmp", dir=folder)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(key.encode() + payload).digest() + payload)
        os.replace(aside, path)
    except BaseException as fault:
        with suppress(OSError):
            os.unlink(aside)
        if not (sys.platform == "win32" and isinstance(fault, PermissionError) and os.path.exists(path)):
            raise  # Windows refuses to replace a file that another process is reading: then that one serves


# --- what Numba calls ---------------------------------------------------------------------------------------


class KernelCache:
    """The object a Numba dispatcher asks for code before it compiles, and hands the code to after."""

    def __init__(self, function: types.FunctionType) -> None:
        self._function = function
        self._enabled = True
        # The hash says nothing of a function that lives elsewhere, in a test say: those are counted only.
        self._ours = os.path.realpath(function.__code__.co_filename).startswith(_HERE + os.sep)
        self._begun: dict[Any, tuple[float, float]] = {}
        self._used: set[str] = set()
        plain = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._label = re.sub(r"[^\w.]", "_", plain, flags=re.ASCII)[:80]

    @property
    def cache_path(self) -> str:
        try:
            return os.path.join(_root(), _version())
        except Exception:
            return ""

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        for path in self._used:
            with suppress(OSError):
                os.unlink(path)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        begun = time.perf_counter()
        target_context.refresh()
        result = self._load(signature, target_context) if self._enabled and self._ours else None
        now = time.perf_counter()
        if result is None:
            _statistics.misses += 1
            self._begun[signature] = (now, _statistics.compile_seconds)
        else:
            _statistics.hits += 1
            _statistics.load_seconds += now - begun
        return result

    def save_overload(self, signature: Any, result: Any) -> None:
        now = time.perf_counter()
        begun, already = self._begun.pop(signature, (now, _statistics.compile_seconds))
        _statistics.compiles += 1
        _statistics.compile_seconds = already + now - begun  # what was compiled meanwhile is part of it
        if self._enabled and self._ours:
            self._save(signature, result)

    def _place(self, signature: Any, create: bool) -> tuple[str, str] | None:
        """Path and key, or None if this signature cannot be known to another process."""
        if _edited() or " at 0x" in repr(signature):  # such as a compiled function passed as an argument
            return None
        folder = _folder(create)
        switches = [(name, repr(getattr(numba.config, name, None))) for name in _SWITCHES]
        key = repr((os.path.basename(folder), _spell(self._function), repr(signature), switches))
        name = f"{self._label}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.nbi"
        path = os.path.join(folder, name)
        self._used.add(path)
        return path, key

    def _load(self, signature: Any, target_context: Any) -> Any:
        try:
            place = self._place(signature, create=False)
        except FileNotFoundError:
            return None  # no folder yet
        except Exception as fault:
            _warn(self._no_cache(fault))
            return None
        if place is None:
            return None
        try:
            stored, reduced = pickle.loads(_read(*place))
            if stored != signature:
                return None
            result = _numba.compiler.CompileResult._rebuild(target_context, *reduced)
            _mark_used(os.path.dirname(place[0]))
            return result
        except FileNotFoundError:
            return None
        except Exception as fault:
            with suppress(OSError):
                os.unlink(place[0])
            _warn(f"the compiled kernel {place[0]} could not be loaded ({fault}); it is compiled again.")
            return None

    def _save(self, signature: Any, result: Any) -> None:
        try:
            if result.lifted or result.library.has_dynamic_globals:
                _warn(f"{self._label} is compiled in every process: its code holds addresses of this one.")
                return
            place = self._place(signature, create=True)
            if place is None:
                return
            payload = _numba.serialize.dumps((signature, result._reduce()))
            _write(*place, payload)
            _prune(os.path.dirname(place[0]))
        except FileNotFoundError:
            pass  # the folder was there, or was made, and has been cleared this moment
        except Exception as fault:
            _warn(self._no_cache(fault))

    def _no_cache(self, fault: Exception) -> str:
        reason = fault if isinstance(fault, (OSError, UnusableError)) else repr(fault)
        return (
            f"compiled kernels are not kept in {self.cache_path or 'any folder'}: {reason}. Every process "
            "compiles them again. Set FASTJAC_CACHE_DIR to a folder with space that only you can write."
        )


def install(dispatcher: Any) -> None:
    """Put a ``KernelCache`` where the dispatcher has its own, if this Numba calls what it provides."""
    asked = {name for name in dir(getattr(dispatcher, "_cache", None)) if not name.startswith("_")}
    if {"load_overload", "save_overload"} <= asked <= set(dir(KernelCache)):
        dispatcher._cache = KernelCache(dispatcher.py_func)
    else:
        _warn(f"compiled kernels are not kept on disk: this fastjac does not know Numba {numba.__version__}.")


# --- upkeep -------------------------------------------------------------------------------------------------


def _files(root: str) -> Iterator[os.DirEntry[str]]:
    """The cache's files, of all versions: judged by name, links not followed."""
    with os.scandir(root) as folders:
        for folder in folders:
            if _FOLDER_NAME.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False):
                with suppress(OSError), os.scandir(folder.path) as files:
                    for file in files:
                        if _FILE_NAME.fullmatch(file.name) and file.is_file(follow_symlinks=False):
                            yield file


def _mark_used(folder: str) -> None:
    with suppress(OSError):
        if time.time() - os.stat(folder).st_mtime > _DAY:
            os.utime(folder)


def _remove(files: list[os.DirEntry[str]]) -> tuple[int, int]:
    count = size = 0
    for file in files:
        with suppress(OSError):
            length = file.stat(follow_symlinks=False).st_size
            os.unlink(file.path)
            count, size = count + 1, size + length
    for folder in {os.path.dirname(file.path) for file in files}:
        with suppress(OSError):
            os.rmdir(folder)  # only if nothing is left in it
    return count, size


def _prune(current: str) -> None:
    """Once a process: remove versions long unused and what killed writers left. Users of one recompile."""
    global _pruned
    if _pruned:
        return
    _pruned = True
    limit = time.time() - _KEPT_DAYS * _DAY

    def stale(file: os.DirEntry[str]) -> bool:
        folder = os.path.dirname(file.path)
        if folder == current:
            return file.name.endswith(".tmp") and file.stat(follow_symlinks=False).st_mtime < limit
        return os.stat(folder).st_mtime < limit

    with suppress(OSError):
        _remove(list(filter(stale, _files(os.path.dirname(current)))))


def cache_info() -> CacheInfo:
    """Where compiled kernels are kept, whether they are and if not why, and how much there is."""
    root = version = reason = ""
    files = []
    try:
        root = _root()
        version = _version()
        if _edited():
            raise UnusableError("the sources of the kernels were edited after they were imported")
        existing = os.path.join(root, version)
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        if len(existing) >= len(root):
            _check(root)
            _check(existing)
            files = [file.stat(follow_symlinks=False).st_size for file in _files(root)]
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UnusableError(f"{existing} cannot be written")
    except (OSError, UnusableError) as fault:
        reason = str(fault)
    return CacheInfo(root, version, not reason, reason, len(files), sum(files))


def clear_cache() -> tuple[int, int]:
    """Remove the compiled kernels of all versions; the count and bytes removed. Nothing else is touched."""
    with suppress(OSError, UnusableError):
        _check(_root())
        return _remove(list(_files(_root())))
    return 0, 0
