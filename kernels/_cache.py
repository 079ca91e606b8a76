"""Compiled kernels kept on disk, so that only the first process pays for the compiler.

Numba's own cache trusts its folder, has no checksum, looks at one source file only and keeps two files that
several processes can get out of step. This one replaces it (``install``) and holds to five rules:

- A stale kernel never runs. Files lie in a folder named by a hash of every source file here, the versions and
  the CPU; compiler switches are in the file's name. Sources edited after their import switch the cache off.
- Only the user's own files are read. They are pickles, and unpickling can run anything, so the folder must
  belong to this user and be closed to others (``_private``). The checksum finds damage; it does not keep an owner out.
- One file a function and signature, written aside and renamed: another process sees all of it or nothing.
- Processes that start together compile once: one does, and the others wait for its file (``_lock``).
- It is never in the way. Whatever goes wrong costs a compilation and at most one warning a process; a file that could
  not be read this time is left for the next.
"""

import dataclasses
import functools
import hashlib
import inspect
import os
import pickle
import platform
import re
import secrets
import struct
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import llvmlite
import numba
import numpy as np

from ._interrupts import interrupts_let_through
from ._lock import Lock
from ._private import GUARDED, Folder, UnusableError
from ._target import target

_HERE = os.path.dirname(os.path.realpath(__file__))
_numba: Any = numba.core  # its insides, looked up where their absence is caught
_MAGIC = b"fastjac2"
_FOLDER_NAME = re.compile(r"kernels-[0-9a-f]{32}")
_FILE_NAME = re.compile(r"[\w.]+-[0-9a-f]{32}\.nbi(\.\w+\.tmp|\.lock)?", re.ASCII)
_LEFT = (".tmp", ".lock")  # by processes that were killed
_DAY = 86400.0
_KEPT_DAYS = 30
_patience = 300.0  # seconds to wait for another process that compiles the same; none after it was in vain once

# Numba's switches that change the code produced (the CPU ones are in the folder's name).
_SWITCHES = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "EXTEND_VARIABLE_LIFETIMES",
    "DEBUG_JIT",
    "DEBUG_NRT",
    "NRT_STATS",
    "ENABLE_PROFILING",
    "LLVM_REFPRUNE_PASS",
    "LLVM_REFPRUNE_FLAGS",
    "USING_SVML",
    "DISABLE_INTEL_SVML",
)


class CacheWarning(UserWarning):
    """Kernels could not be compiled or kept as they should be; results are not affected."""


class _DamagedError(Exception):
    """A file is not what was written."""


class _NothingKeptError(UnusableError):
    """Nothing is kept, and that is nothing to warn of."""


class _ReadOnlyError(UnusableError):
    """What is there can be used, and nothing can be added."""


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
    """Where compiled kernels are kept, and how much there is.

    Attributes:
        folder: where; each version (of sources, Numba, processor…) in a folder of its own below.
        version: the name of this version's folder.
        enabled: whether they are kept. A folder that can be read only counts where it has this version's kernels.
        reason: why they, or new ones, are not; empty otherwise.
        files: how many there are, of all versions.
        bytes: how much.
        guarded: whether the folder's owner and mode are checked. They can't be on Windows: see that nobody else can
            write to the folder, for its files can run code.
    """

    folder: str
    version: str
    enabled: bool
    reason: str
    files: int
    bytes: int
    guarded: bool


_statistics = Statistics()
_said = False  # one warning a process
_pruned = False


def statistics() -> Statistics:
    """The counts so far, as a copy."""
    return dataclasses.replace(_statistics)


def warn(problem: str) -> None:
    """The first of the process; later ones would say as much."""
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


def _states() -> dict[str, tuple[int, ...]] | None:
    """What changes when a source is edited, whatever the clocks say; on POSIX that holds a time nobody can set."""
    with suppress(OSError, UnusableError):
        states = [(path, os.stat(path)) for path in _sources()]
        return {path: (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in states}
    return None


_imported = _states()


def _check_sources() -> None:
    """See that the sources are still those that this process imported."""
    _sources()
    if _imported is None or _states() != _imported:
        raise _NothingKeptError("the sources of the kernels were edited after they were imported")


@functools.cache
def _version() -> str:
    """Name of the folder for these sources, versions and CPU."""
    digest = hashlib.sha256()
    for path in _sources():
        with open(path, "rb") as file:
            content = file.read()
        digest.update(f"{os.path.relpath(path, _HERE)}\0{len(content)}\0".encode() + content)
    _check_sources()  # now that they were read
    python = (platform.python_implementation(), sys.version, struct.calcsize("P"))
    versions = (numba.__version__, llvmlite.__version__, np.__version__)
    digest.update(repr((_MAGIC, python, versions, target())).encode())
    return f"kernels-{digest.hexdigest()[:32]}"


def _make(root: str) -> None:
    os.makedirs(os.path.dirname(root), mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(root, 0o700)


def _emptied(folder: Folder, empty: Callable[[Folder], object]) -> Folder:
    """The folder, or, if others can write to it, what they may have put there removed, and an error."""
    if folder.open_to_others:
        with folder:
            empty(folder)
            raise UnusableError(f"{folder.path} can be written by other users")
    return folder


def _open_root() -> Folder:
    """The folder of all versions."""
    return _emptied(Folder(_root()), _remove)


def _open(create: bool = False) -> Folder:
    """The folder of this version.

    Raises:
        FileNotFoundError: there is none.
        UnusableError, OSError: it can't be used.
    """
    version = _version()
    if create:
        try:
            _make(_root())
        except FileNotFoundError as fault:
            raise UnusableError(str(fault)) from fault
    with _open_root() as root:
        if create:
            try:
                root.make(version)
            except FileNotFoundError as fault:  # a folder in which none can be made, as in /proc
                raise UnusableError(f"{fault.strerror}: {root.path}/{version}") from fault
        return _emptied(root.below(version), _remove_files)


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
    function = value if inspect.isfunction(value) else inspect.unwrap(value)  # of a dispatcher, an intrinsic
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


def _seal(key: str, payload: bytes) -> bytes:
    """What stands before the payload in its file."""
    return _MAGIC + hashlib.sha256(key.encode() + payload).digest()


def _unseal(key: str, content: bytes) -> Any:
    """What was written for ``key``, if it is whole."""
    size = len(_MAGIC) + 32
    seal, payload = content[:size], content[size:]
    if seal != _seal(key, payload):
        raise _DamagedError("its checksum is wrong")
    try:
        return pickle.loads(payload)
    except (pickle.UnpicklingError, EOFError) as fault:
        raise _DamagedError(str(fault)) from fault


# --- what Numba calls ---------------------------------------------------------------------------------------


class KernelCache:
    """The object a Numba dispatcher asks for code before it compiles, and hands the code to after.

    ``way`` tells how kernels are compiled in this process, or, asked not to decide, in which ways they may be.
    """

    def __init__(self, function: types.FunctionType, way: Callable[[bool], tuple[str, ...]]) -> None:
        self._function = function
        self._way = way
        self._enabled = True
        # The hash says nothing of a function that lives elsewhere, in a test say: those are counted only.
        self._ours = os.path.realpath(function.__code__.co_filename).startswith(_HERE + os.sep)
        self._begun: dict[object, tuple[float, float]] = {}
        self._locks: dict[object, Lock] = {}
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
        with suppress(OSError, UnusableError), _open() as folder:
            for name in self._used:
                with suppress(OSError):
                    folder.remove(name)

    def load_overload(self, signature: object, target_context: Any) -> Any:
        begun = time.perf_counter()
        target_context.refresh()
        result = None
        if self._enabled and self._ours:
            result = self._load(signature, target_context, self._way(False))
            if result is None and self._wait(signature):
                result = self._load(signature, target_context, self._way(True))
        now = time.perf_counter()
        if result is None:
            _statistics.misses += 1
            self._begun[signature] = (now, _statistics.compile_seconds)
        else:
            _statistics.hits += 1
            _statistics.load_seconds += now - begun
        return result

    def save_overload(self, signature: object, result: Any) -> None:
        now = time.perf_counter()
        begun, already = self._begun.pop(signature, (now, _statistics.compile_seconds))
        _statistics.compiles += 1
        _statistics.compile_seconds = already + now - begun  # what was compiled meanwhile is part of it
        if self._enabled and self._ours:
            self._save(signature, result)

    def release(self, signature: object) -> None:
        """Compiling has come to an end, good or bad."""
        self._begun.pop(signature, None)
        lock = self._locks.pop(signature, None)
        if lock is not None:
            lock.release()

    def _key(self, signature: object, way: str) -> tuple[str, str]:
        """What a compilation depends on besides its folder's name, and the name of its file."""
        if " at 0x" in repr(signature):  # such as a compiled function passed as an argument
            raise _NothingKeptError("the signature is of this process")
        switches = [(name, repr(getattr(numba.config, name, None))) for name in _SWITCHES]
        key = repr((_version(), way, _spell(self._function), repr(signature), switches))
        name = f"{self._label}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.nbi"
        self._used.add(name)
        return key, name

    def _load(self, signature: object, target_context: Any, ways: tuple[str, ...]) -> Any:
        for way in ways:
            name = ""
            try:
                _check_sources()
                with _open() as folder:
                    key, name = self._key(signature, way)
                    try:
                        stored, reduced = _unseal(key, folder.read(name))
                    except (_DamagedError, UnusableError):
                        with suppress(OSError):
                            folder.remove(name)  # any other fault may pass, and the file be good
                        raise
                    if stored != signature:
                        return None
                    result = _numba.compiler.CompileResult._rebuild(target_context, *reduced)
                    with suppress(OSError):
                        if time.time() - folder.status().st_mtime > _DAY:
                            folder.mark()
                return result
            except (FileNotFoundError, _NothingKeptError):
                continue  # not compiled yet
            except Exception as fault:
                if name:
                    path = os.path.join(self.cache_path, name)
                    warn(f"the compiled kernel {path} could not be loaded ({_told(fault)}); it is compiled again.")
                else:
                    warn(self._no_cache(fault))
                return None
        return None

    def _wait(self, signature: object) -> bool:
        """Be the one that compiles, or wait for the one that does: whether there may be a file now."""
        global _patience
        try:
            way = self._way(True)[0]
            _check_sources()
            name = self._key(signature, way)[1]
            folder = _open(create=True)
            self._locks[signature] = lock = Lock(folder, name)
            with interrupts_let_through():
                in_time = lock.wait_for(name, _patience)
            if not in_time:
                _patience = 0.0
                warn(f"another process did not finish compiling {self._label}; it is compiled here as well.")
            kept = folder.has(name)
            if lock.waited and not kept:  # who had it could not keep it, nor will others: let all compile at once
                lock.release()
            return kept
        except Exception:
            return False  # ``_save`` will tell

    def _save(self, signature: object, result: Any) -> None:
        try:
            if result.lifted or result.library.has_dynamic_globals:
                warn(f"{self._label} is compiled in every process: its code holds addresses of this one.")
                return
            _check_sources()
            with _open(create=True) as folder:
                key, name = self._key(signature, self._way(True)[0])
                payload = _numba.serialize.dumps((signature, result._reduce()))
                folder.write(name, _seal(key, payload) + payload)
            _prune()
        except (FileNotFoundError, _NothingKeptError):
            pass  # the folder was there, or was made, and has been cleared this moment
        except Exception as fault:
            warn(self._no_cache(fault))

    def _no_cache(self, fault: Exception) -> str:
        return (
            f"compiled kernels are not kept in {self.cache_path or 'any folder'}: {_told(fault)}. Every process "
            "compiles them again. Set FASTJAC_CACHE_DIR to a folder with space that only you can write."
        )


def _told(fault: Exception) -> str:
    return str(fault) if isinstance(fault, (OSError, UnusableError, _DamagedError)) else repr(fault)


def install(dispatcher: Any, way: Callable[[bool], tuple[str, ...]]) -> None:
    """Put a ``KernelCache`` where the dispatcher has its own, if this Numba calls what it provides."""
    asked = {name for name in dir(getattr(dispatcher, "_cache", None)) if not name.startswith("_")}
    if not {"load_overload", "save_overload"} <= asked <= set(dir(KernelCache)):
        warn(f"compiled kernels are not kept on disk: this fastjac does not know Numba {numba.__version__}.")
        return
    dispatcher._cache = cache = KernelCache(dispatcher.py_func, way)
    usual = dispatcher.compile

    def compile(signature: object) -> Any:
        try:
            return usual(signature)
        finally:
            cache.release(signature)

    dispatcher.compile = compile


# --- upkeep -------------------------------------------------------------------------------------------------


def _versions(root: Folder) -> Iterator[Folder]:
    """The folders of all versions: judged by name, links not followed."""
    names = [entry.name for entry in root.entries() if _FOLDER_NAME.fullmatch(entry.name)]
    for name in names:
        with suppress(OSError, UnusableError), root.below(name) as folder:
            yield folder


def _files(folder: Folder) -> Iterator[tuple[str, os.stat_result]]:
    """The cache's files in the folder of a version."""
    for entry in folder.entries():
        if _FILE_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with suppress(OSError):
                yield entry.name, entry.stat(follow_symlinks=False)


def _remove_files(folder: Folder, unwanted: Callable[[str, os.stat_result], bool] = lambda *_: True) -> tuple[int, int]:
    """Remove files; how many went, and their bytes."""
    count = size = 0
    for name, status in list(_files(folder)):
        if unwanted(name, status):
            with suppress(OSError):
                folder.remove(name)
                count, size = count + 1, size + status.st_size
    return count, size


def _remove(root: Folder, unwanted: Callable[[Folder], bool] = lambda _: True) -> tuple[int, int]:
    """Remove versions; how many files went, and their bytes."""
    count = size = 0
    for folder in _versions(root):
        if unwanted(folder):
            files, length = _remove_files(folder)
            count, size = count + files, size + length
            with suppress(OSError):
                root.remove_folder(os.path.basename(folder.path))  # only if nothing is left in it
    return count, size


def _prune() -> None:
    """Once a process: remove versions long unused and what killed writers left. Users of one recompile."""
    global _pruned
    if _pruned:
        return
    _pruned = True
    limit = time.time() - _KEPT_DAYS * _DAY
    with suppress(OSError, UnusableError), _open_root() as root:
        _remove(root, lambda folder: folder.status().st_mtime < limit)
        with _open() as folder:
            _remove_files(folder, lambda name, status: name.endswith(_LEFT) and status.st_mtime < limit)


def _try_to_write(path: str) -> None:
    """See whether a folder can be made in this one: asking for rights tells nothing of /proc or of a full disk."""
    trial = os.path.join(path, f".fastjac-{secrets.token_hex(8)}")
    try:
        os.mkdir(trial, 0o700)
        os.rmdir(trial)
    except OSError as fault:
        raise _ReadOnlyError(f"{path} cannot be written: {fault.strerror}") from fault


def cache_info() -> CacheInfo:
    """Where compiled kernels are kept, whether they are and if not why, and how much there is."""
    root = version = reason = ""
    count = size = 0
    usable = False
    try:
        root = _root()
        version = _version()
        _check_sources()
        existing = os.path.join(root, version)
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        if len(existing) >= len(root):
            with _open_root() as opened:
                for folder in _versions(opened):
                    sizes = [status.st_size for _, status in _files(folder)]
                    count, size = count + len(sizes), size + sum(sizes)
                    usable = usable or (bool(sizes) and os.path.basename(folder.path) == version)
            with suppress(FileNotFoundError):
                _open().close()
        _try_to_write(existing)
    except (OSError, UnusableError) as fault:
        reason = str(fault)
        usable = usable and isinstance(fault, _ReadOnlyError)
    return CacheInfo(root, version, usable or not reason, reason, count, size, GUARDED)


def clear_cache() -> tuple[int, int]:
    """Remove the compiled kernels of all versions; the count and bytes removed. Nothing else is touched."""
    with suppress(OSError, UnusableError), _open_root() as root:
        return _remove(root)
    return 0, 0
