"""How this library's functions are compiled: the options and the cache, in one place.

``kernel`` marks an entry function, called from Python: compiled when first called with new types, then kept
on disk (see ``_cache``). ``inline`` and ``always_inline`` mark helpers that kernels call: they stay Python functions.

What a kernel captures, or reads from its module, must follow from the sources, the versions and the CPU
alone: those are what the cache goes by. A value from the environment must be an argument.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.extending import register_jitable

from ._cache import CacheInfo, CacheWarning, Statistics, cache_info, clear_cache, statistics
from ._cache import install as _install
from ._cache import name_apart as _name_apart
from ._pipeline import HelperCompiler, KernelCompiler

__all__ = [
    "CacheInfo",
    "CacheWarning",
    "Statistics",
    "always_inline",
    "cache_info",
    "clear_cache",
    "inline",
    "kernel",
    "statistics",
    "transient",
]

Function = TypeVar("Function", bound=Callable[..., Any])

# "numpy" keeps a test for zero out of every division. Nobody checks bounds here: what calls a kernel does.
_ANYWHERE: dict[str, Any] = {"error_model": "numpy", "boundscheck": False}
_ENTRY: dict[str, Any] = {**_ANYWHERE, "nogil": True, "fastmath": False}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry function when it is first called, or load what an earlier process compiled."""
    _name_apart(function)
    compiled = njit(pipeline_class=KernelCompiler, **_ENTRY)(function)
    if compiled is not function:  # it is, under NUMBA_DISABLE_JIT
        _install(compiled)
    return compiled


def inline(function: Function) -> Function:
    """Let kernels call ``function``. Its options are given, or its first caller's would hold for all."""
    return _helper(function)


def always_inline(function: Function) -> Function:
    """As ``inline``, and put into each of its callers, however long it is: for what is called very often."""
    return _helper(function, forceinline=True)


def _helper(function: Function, **options: Any) -> Function:
    _name_apart(function)
    marked: Function = register_jitable(pipeline_class=HelperCompiler, **options, **_ANYWHERE)(function)
    return marked


def transient(function: Callable[..., Any]) -> Any:
    """Compile a function that lives as long as the process, such as a user's: Numba's own way, without the cache."""
    return njit(**_ENTRY)(function)
