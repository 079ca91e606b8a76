"""Warnings that name the line of the user's which they are about."""

from __future__ import annotations

import os
import sys
import warnings

import sklearn

import fastjac

_NOT_THE_USERS = tuple(os.path.dirname(os.path.abspath(str(one.__file__))) + os.sep for one in (fastjac, sklearn))


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the innermost line outside of fastjac and scikit-learn, whose decorators and searches lie between."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level - 1)
