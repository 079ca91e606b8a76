"""Refuses an interpreter in which compiled kernels would hang: any but the first of a process."""

from __future__ import annotations

import _thread


def in_the_main_interpreter() -> bool:
    """Whether this is the interpreter that the process began with."""
    if hasattr(_thread, "_is_main_interpreter"):  # from Python 3.13 on
        return bool(_thread._is_main_interpreter())
    try:
        import ctypes

        function = ctypes.PYFUNCTYPE(ctypes.c_void_p)
        names = ("PyInterpreterState_Get", "PyInterpreterState_Main")
        current, main = (function((name, ctypes.pythonapi)) for name in names)
        return bool(current() == main())
    except ImportError:  # one that is kept apart from the others has no ctypes
        return False
    except AttributeError:  # another Python, that does not say
        return True


def check() -> None:
    """Raise ImportError in any other."""
    if not in_the_main_interpreter():
        raise ImportError(
            "fastjac can't be used in a sub-interpreter: Numba's compiled code knows only the main one, and calls from"
            " another wait for ever. Import it in the main interpreter (for mod_wsgi: WSGIApplicationGroup %{GLOBAL}),"
            " or in processes"
        )
