"""How this library's functions are compiled: the options and the cache, in one place.

``kernel`` marks an entry function, called from Python: compiled when first called with new types, then kept
on disk (see ``_cache``). ``inline`` and ``always_inline`` mark helpers that kernels call: they stay Python functions.

What a kernel captures, or reads from its module, must follow from the sources, the versions and the CPU
alone: those are what the cache goes by. A value from the environment must be an argument.

Kernels are compiled in one of two ways, which give the same results: by a pipeline of our own (``_pipeline``), several
times as fast, or by Numba's. Ours is made of names that a release of Numba may change. So before a process compiles for
the first time it compiles and runs a kernel that is there for this alone (``_trial``); a process that finds everything
in the cache does not.
"""

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numba import njit
from numba.extending import overload, register_jitable

from ._cache import CacheInfo, CacheWarning, Statistics, cache_info, clear_cache, statistics
from ._cache import install as _install
from ._cache import name_apart as _name_apart
from ._cache import warn as _warn
from ._garbage import without_collections as _without_collections
from ._interrupts import compiling as _compiling

__all__ = [
    "CacheInfo",
    "CacheWarning",
    "Statistics",
    "address_for_c",
    "always_inline",
    "by_types",
    "cache_info",
    "clear_cache",
    "compiled_by",
    "compiling_for",
    "inline",
    "kernel",
    "kernel_for_c",
    "kernels",
    "never_inline",
    "one_of",
    "statistics",
    "transient",
]

Function = TypeVar("Function", bound=Callable[..., Any])

# "numpy" keeps a test for zero out of every division. Nobody checks bounds here: what calls a kernel does.
_ANYWHERE: dict[str, Any] = {"error_model": "numpy", "boundscheck": False}
_ENTRY: dict[str, Any] = {**_ANYWHERE, "nogil": True, "fastmath": False}

OURS, NUMBAS = "fastjac", "Numba"  # whose pipeline compiles
_way = ""  # which of them, once that is known
_trouble: Exception | None = None

try:
    from ._pipeline import CKernelCompiler, HelperCompiler, KernelCompiler
except Exception as _fault:  # whatever a name that is no longer there leads to
    _way, _trouble = NUMBAS, _fault
    _FOR_KERNELS: dict[str, Any] = {}
    _FOR_C: dict[str, Any] = {}
    _FOR_HELPERS: dict[str, Any] = {}
else:
    KernelCompiler.wanted = staticmethod(lambda: compiled_by() == OURS)
    _FOR_KERNELS, _FOR_C = {"pipeline_class": KernelCompiler}, {"pipeline_class": CKernelCompiler}
    _FOR_HELPERS = {"pipeline_class": HelperCompiler}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry function when it is first called, or load what an earlier process compiled."""
    return _entry(function, _FOR_KERNELS)


def kernel_for_c(function: Callable[..., Any]) -> Any:
    """As ``kernel``, of what kernels call by its address (``address_for_c``), and Python need not."""
    return _entry(function, _FOR_C)


def _entry(function: Callable[..., Any], pipeline: dict[str, Any]) -> Any:
    _name_apart(function)
    compiled = njit(**pipeline, **_ENTRY)(function)
    if compiled is function:  # Numba is told to compile nothing
        return _refuser(function)
    _install(compiled, _ways)
    _kernels.append(compiled)
    return _uninterrupted(compiled)


_kernels: list[Any] = []


def kernels() -> dict[str, int]:
    """By its name, for how many combinations of types each kernel has been compiled or loaded in this process."""
    return {f"{one.py_func.__module__}.{one.py_func.__qualname__}": len(one.signatures) for one in _kernels}


_kept_for_c: list[Any] = []


def address_for_c(compiled: Any, signature: Any) -> int:
    """Where a kernel begins that is called as a function of C, compiled for a signature or loaded from the cache."""
    compile = getattr(compiled, "compile", compiled)  # a refuser refuses
    compile(signature)
    try:
        result = compiled.overloads[signature.args]
        return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))
    except (AttributeError, KeyError):  # names that no release promises; what is promised knows no cache of ours
        _kept_for_c.append(numba.cfunc(signature, **_ANYWHERE)(compiled.py_func))
        return int(_kept_for_c[-1].address)


def _refuser(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError(
            "fastjac's kernels are machine code, and NUMBA_DISABLE_JIT keeps Numba from compiling them: unset it "
            "before the import. Without kernels there are fastjac.jacobians and, in networks, `forward`, `backward` "
            'and `predict` with net.path = "unfused" or "reference".'
        )

    return refuse


def inline(function: Function) -> Function:
    """Let kernels call ``function``. Its options are given, or its first caller's would hold for all."""
    return _helper(function)


def always_inline(function: Function) -> Function:
    """As ``inline``, and put into each of its callers, however long it is: for what is called very often."""
    return _helper(function, forceinline=True)


def never_inline(function: Function) -> Function:
    """As ``inline``, and never put into its callers: for what is long. (By Numba's pipeline, LLVM decides.)"""
    function.keep_apart = True  # type: ignore[attr-defined]
    return _helper(function)


def one_of(functions: Sequence[Callable[..., Any]], parameters: str) -> Any:
    """Let kernels call the function of a number: a helper of ``code`` and these parameters, with which it calls it.

    An if-chain in one function, for which Numba has no notation: hence its text. With a function for every link, each
    calling the next, compiling took a tenth longer.

    >>> choose = one_of([lambda x, y: x + y, lambda x, y: x - y], "x, y")
    >>> choose(1, 5, 3)
    2
    """
    names = [f"function_{k}" for k in range(len(functions))]
    lines = [f"def make({', '.join(names)}):", f"    def choose(code, {parameters}):"]
    for k, name in enumerate(names[:-1]):
        lines += [f"        if code == {k}:", f"            return {name}({parameters})"]
    lines += [f"        return {names[-1]}({parameters})", "    return choose"]
    scope: dict[str, Any] = {"__name__": __name__}
    exec(compile("\n".join(lines), "<one_of>", "exec"), scope)
    return inline(scope["make"](*functions))


def by_types(choose: Callable[..., Any]) -> Any:
    """Let kernels call one of some helpers with the same parameters: ``choose``, called with the types of the
    arguments, gives the one for them. What it does not choose is not compiled.

    >>> @by_types
    ... def middle(a, b):
    ...     return (lambda a, b: (a + b) // 2) if a == b == numba.types.int64 else (lambda a, b: 0.5 * (a + b))
    """

    def helper(*_: Any) -> Any:
        raise TypeError(f"{choose.__name__} is for compiled callers")

    functools.update_wrapper(helper, choose)
    _name_apart(helper)
    options: Any = {**_FOR_HELPERS, **_ANYWHERE}
    overload(helper, jit_options=options, strict=False)(choose)
    return helper


def _helper(function: Function, **options: Any) -> Function:
    _name_apart(function)
    marked: Function = register_jitable(**_FOR_HELPERS, **options, **_ANYWHERE)(function)
    return marked


def transient(function: Callable[..., Any]) -> Any:
    """Compile a function that lives as long as the process, such as a user's: Numba's own way, without the cache."""
    compiled = njit(**_ENTRY)(function)
    return compiled if compiled is function else _uninterrupted(compiled)


def _uninterrupted(dispatcher: Any) -> Any:
    """The same, and Ctrl-C and the collector of garbage wait for the end of what it compiles."""
    usual = dispatcher.compile

    def compile(signature: Any) -> Any:
        with _compiling(), _without_collections():
            begun = time.monotonic()
            try:
                _begun.append(begun)
                return usual(signature)
            finally:
                if begun in _begun:  # not where Ctrl-C came first
                    _begun.remove(begun)

    dispatcher.compile = compile
    return dispatcher


_begun: list[float] = []  # when each compilation began that has not ended, in any thread


def compiling_for() -> float | None:
    """Seconds since the first of the compilations at hand began; None where there is none. Any thread may ask."""
    begun = min(_begun.copy(), default=None)
    return None if begun is None else time.monotonic() - begun


if hasattr(os, "register_at_fork"):  # a compilation in another thread does not go on in the child
    os.register_at_fork(after_in_child=_begun.clear)


# --- which way ----------------------------------------------------------------------------------------------


def _ways(decide: bool) -> tuple[str, ...]:
    """The way in which this process compiles; before that is known, and not to be decided, all that there are."""
    if decide:
        return (compiled_by(),)
    return (_way,) if _way else (OURS, NUMBAS)


def compiled_by() -> str:
    """Whose pipeline compiles in this process, "fastjac" or "Numba": found out when this is first asked, and said."""
    global _way, _trouble
    if not _way:
        _way = OURS  # for the trial
        try:
            _trial()
        except Exception as fault:
            _way, _trouble = NUMBAS, fault
    if _trouble is not None:
        _warn(
            f"this fastjac does not know Numba {numba.__version__} well enough to compile quickly "
            f"({type(_trouble).__name__}: {_trouble}). Numba's own way gives the same results and takes longer, once."
        )
        _trouble = None
    return _way


class _Pair(NamedTuple):
    first: Any
    second: Any


def _trial() -> None:
    """Compile and run two kernels with helpers in common, two deep, one of them a closure."""

    @inline
    def below(x):
        return 3.0 * x + 1.0 if x > 0.5 else x

    def raised(power):
        @always_inline
        def above(x):
            product = 1.0
            for _ in range(power):
                product *= below(x)
            return _Pair(product, below(product))

        return above

    square, cube = raised(2), raised(3)

    def one(array):
        for k in range(array.size):
            array[k] = square(array[k]).second - cube(array[k]).first

    def two(array):
        array[0] = below(array[1]) + cube(array[0]).second

    for function in (one, two):
        expected, found = np.array([0.25, 2.0]), np.array([0.25, 2.0])
        function(expected)
        njit(**_FOR_KERNELS, **_ENTRY)(function)(found)
        if not np.allclose(found, expected, rtol=1e-12):
            raise ArithmeticError(f"a trial gave {found}, expected {expected}")
