"""Warnings that name the line of the user's which they are about."""

from __future__ import annotations

import os
import sys
import warnings

import joblib  # type: ignore[import-untyped,unused-ignore]
import sklearn

import fastjac

_BETWEEN = (fastjac, sklearn, joblib)  # whose wrappers, pipelines and searches lie between us and the user
_FOLDERS = tuple(os.path.dirname(os.path.abspath(str(module.__file__))) + os.sep for module in _BETWEEN)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the innermost line of code that is none of theirs."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_FOLDERS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
