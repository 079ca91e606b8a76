"""fastjac: fast training of small neural networks on a CPU, and every Jacobian to see.

See ``Sequential`` for networks, ``fastjac.kernels`` for kernels on plain arrays, ``fastjac.jacobians`` for the course.
What is named here is imported when it is first used, so that ``import fastjac`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from fastjac import _interpreter

_interpreter.check()

__version__ = "0.2.0"  # the one place: the package's metadata and the command line read it here

_MODULES = (
    "activations", "callbacks", "checks", "comparison", "datasets", "jacobians", "kernels", "layers", "losses",
    "optimizers", "paths", "preprocessing", "tables",
)  # fmt: skip
_PLACES = {
    name: module
    for module, names in {
        "activations": "elu leaky_relu relu",
        "callbacks": "Callback EarlyStopping",
        "checkpoints": "Checkpoint",
        "checks": "check_gradients",
        "comparison": "compare",
        "errors": "ModelFileError NonFiniteError",
        "layers": "Activation Dense Dropout Elementwise Layer Softmax",
        "losses": "BinaryCrossEntropy CategoricalCrossEntropy Huber MeanAbsoluteError MeanSquaredError Poisson"
                  " QuantileLoss SoftmaxCrossEntropy",
        "network": "Sequential load",
        "optimizers": "SGD Adam AdamW cosine_decay exponential_decay",
        "preprocessing": "Preprocessing",
        "training": "History",
        "warming": "warm_up",
    }.items()
    for name in names.split()
}  # fmt: skip

if TYPE_CHECKING:  # the same names for type checkers, editors and the reference
    from fastjac import activations as activations
    from fastjac import callbacks as callbacks
    from fastjac import checks as checks
    from fastjac import comparison as comparison
    from fastjac import datasets as datasets
    from fastjac import jacobians as jacobians
    from fastjac import kernels as kernels
    from fastjac import layers as layers
    from fastjac import losses as losses
    from fastjac import optimizers as optimizers
    from fastjac import paths as paths
    from fastjac import preprocessing as preprocessing
    from fastjac import tables as tables
    from fastjac.activations import elu as elu
    from fastjac.activations import leaky_relu as leaky_relu
    from fastjac.activations import relu as relu
    from fastjac.callbacks import Callback as Callback
    from fastjac.callbacks import EarlyStopping as EarlyStopping
    from fastjac.checkpoints import Checkpoint as Checkpoint
    from fastjac.checks import check_gradients as check_gradients
    from fastjac.comparison import compare as compare
    from fastjac.errors import ModelFileError as ModelFileError
    from fastjac.errors import NonFiniteError as NonFiniteError
    from fastjac.layers import Activation as Activation
    from fastjac.layers import Dense as Dense
    from fastjac.layers import Dropout as Dropout
    from fastjac.layers import Elementwise as Elementwise
    from fastjac.layers import Layer as Layer
    from fastjac.layers import Softmax as Softmax
    from fastjac.losses import BinaryCrossEntropy as BinaryCrossEntropy
    from fastjac.losses import CategoricalCrossEntropy as CategoricalCrossEntropy
    from fastjac.losses import Huber as Huber
    from fastjac.losses import MeanAbsoluteError as MeanAbsoluteError
    from fastjac.losses import MeanSquaredError as MeanSquaredError
    from fastjac.losses import Poisson as Poisson
    from fastjac.losses import QuantileLoss as QuantileLoss
    from fastjac.losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
    from fastjac.network import Sequential as Sequential
    from fastjac.network import load as load
    from fastjac.optimizers import SGD as SGD
    from fastjac.optimizers import Adam as Adam
    from fastjac.optimizers import AdamW as AdamW
    from fastjac.optimizers import cosine_decay as cosine_decay
    from fastjac.optimizers import exponential_decay as exponential_decay
    from fastjac.preprocessing import Preprocessing as Preprocessing
    from fastjac.training import History as History
    from fastjac.warming import warm_up as warm_up
else:  # of which checkers need not know: they would take any name for one
    __all__ = ["__version__", *_MODULES, *_PLACES]

    def __getattr__(name: str) -> Any:
        """A public name, imported now and kept."""
        if name in _MODULES:
            return importlib.import_module(f"fastjac.{name}")  # which puts it into this module
        if name not in _PLACES:
            message = f"module 'fastjac' has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[__name__])
        value = globals()[name] = getattr(importlib.import_module(f"fastjac.{_PLACES[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES, *_PLACES})
