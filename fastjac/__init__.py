"""fastjac: fast training of small neural networks on a CPU, and every Jacobian to see.

See ``Sequential`` for networks, ``fastjac.kernels`` for kernels on plain arrays, ``fastjac.jacobians`` for the course.
What is named here is imported when it is first used, so that ``import fastjac`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from fastjac.support import interpreter

interpreter.check()

__version__ = "0.2.0"  # the one place: the package's metadata and the command line read it here

_MODULES = {
    name: f"{package}.{name}" if package else name
    for package, names in {
        "": "exchange jacobians kernels paths",
        "data": "datasets preprocessing tables",
        "inspection": "checks comparison plots",
        "nn": "activations layers losses optimizers",
        "training": "callbacks",
    }.items()
    for name in names.split()
}
_PLACES = {
    name: module
    for module, names in {
        "data.preprocessing": "Preprocessing",
        "inspection.checks": "check_gradients",
        "inspection.comparison": "compare",
        "inspection.explain": "explain",
        "kernels.bfloat16": "has_bfloat16",
        "nn.activations": "elu leaky_relu relu",
        "nn.layers": "Activation Dense Dropout Elementwise Layer Softmax",
        "nn.losses": "BinaryCrossEntropy CategoricalCrossEntropy Huber MeanAbsoluteError MeanSquaredError Poisson"
        " QuantileLoss SoftmaxCrossEntropy",
        "nn.optimizers": "SGD Adam AdamW cosine_decay exponential_decay",
        "nn.predictor": "Predictor",
        "sequential": "Sequential load",
        "support.errors": "ModelFileError NonFiniteError",
        "training.callbacks": "Callback EarlyStopping",
        "training.checkpoints": "Checkpoint",
        "training.history": "History",
        "training.warming": "warm_up",
    }.items()
    for name in names.split()
}

if TYPE_CHECKING:  # the same names for type checkers, editors and the reference
    from fastjac import exchange as exchange
    from fastjac import jacobians as jacobians
    from fastjac import kernels as kernels
    from fastjac import paths as paths
    from fastjac.data import datasets as datasets
    from fastjac.data import preprocessing as preprocessing
    from fastjac.data import tables as tables
    from fastjac.data.preprocessing import Preprocessing as Preprocessing
    from fastjac.inspection import checks as checks
    from fastjac.inspection import comparison as comparison
    from fastjac.inspection import plots as plots
    from fastjac.inspection.checks import check_gradients as check_gradients
    from fastjac.inspection.comparison import compare as compare
    from fastjac.inspection.explain import explain as explain
    from fastjac.kernels.bfloat16 import has_bfloat16 as has_bfloat16
    from fastjac.nn import activations as activations
    from fastjac.nn import layers as layers
    from fastjac.nn import losses as losses
    from fastjac.nn import optimizers as optimizers
    from fastjac.nn.activations import elu as elu
    from fastjac.nn.activations import leaky_relu as leaky_relu
    from fastjac.nn.activations import relu as relu
    from fastjac.nn.layers import Activation as Activation
    from fastjac.nn.layers import Dense as Dense
    from fastjac.nn.layers import Dropout as Dropout
    from fastjac.nn.layers import Elementwise as Elementwise
    from fastjac.nn.layers import Layer as Layer
    from fastjac.nn.layers import Softmax as Softmax
    from fastjac.nn.losses import BinaryCrossEntropy as BinaryCrossEntropy
    from fastjac.nn.losses import CategoricalCrossEntropy as CategoricalCrossEntropy
    from fastjac.nn.losses import Huber as Huber
    from fastjac.nn.losses import MeanAbsoluteError as MeanAbsoluteError
    from fastjac.nn.losses import MeanSquaredError as MeanSquaredError
    from fastjac.nn.losses import Poisson as Poisson
    from fastjac.nn.losses import QuantileLoss as QuantileLoss
    from fastjac.nn.losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
    from fastjac.nn.optimizers import SGD as SGD
    from fastjac.nn.optimizers import Adam as Adam
    from fastjac.nn.optimizers import AdamW as AdamW
    from fastjac.nn.optimizers import cosine_decay as cosine_decay
    from fastjac.nn.optimizers import exponential_decay as exponential_decay
    from fastjac.nn.predictor import Predictor as Predictor
    from fastjac.sequential import Sequential as Sequential
    from fastjac.sequential import load as load
    from fastjac.support.errors import ModelFileError as ModelFileError
    from fastjac.support.errors import NonFiniteError as NonFiniteError
    from fastjac.training import callbacks as callbacks
    from fastjac.training.callbacks import Callback as Callback
    from fastjac.training.callbacks import EarlyStopping as EarlyStopping
    from fastjac.training.checkpoints import Checkpoint as Checkpoint
    from fastjac.training.history import History as History
    from fastjac.training.warming import warm_up as warm_up
else:  # of which checkers need not know: they would take any name for one
    __all__ = ["__version__", *_MODULES, *_PLACES]

    def __getattr__(name: str) -> Any:
        """A public name, imported now and kept."""
        if name in _MODULES:
            value = globals()[name] = importlib.import_module(f"fastjac.{_MODULES[name]}")
            return value
        if name not in _PLACES:
            message = f"module 'fastjac' has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[__name__])
        value = globals()[name] = getattr(importlib.import_module(f"fastjac.{_PLACES[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES, *_PLACES})
