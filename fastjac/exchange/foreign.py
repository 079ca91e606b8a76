"""What every exchange says where it can't go on: a package that is not there, a layer that the other has not."""

from __future__ import annotations

from types import ModuleType

from fastjac.nn.layers import Layer


def needs(package: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f'this needs {package}: pip install "fastjac[{package}]"') from error


def cannot(layer: Layer, k: int, what: str) -> TypeError:
    return TypeError(
        f"layers[{k}] is {type(layer).__name__}, which {what} can't hold: expected Dense, Activation,"
        " Softmax or Dropout"
    )
