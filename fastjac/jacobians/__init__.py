"""Every Jacobian of the course, and some losses beyond it, as a function from arrays to arrays; see ``ROWS``.

Numerator layout, rows are outputs and columns are inputs; ``layout="denominator"`` gives the transpose where
the two differ. A name says what the Jacobian is of: ``softmax(p)`` is ∂softmax/∂logits. Names in ``_gradient`` or
``_gradients`` give, as the course's lecture 10, what is shaped like the variable itself; names in ``_function``
give the value. float32 stays float32, everything else is float64. Bad input is a ValueError.
"""

import sys
from typing import Any

from ._validate import LAYOUTS, Array
from .affine import (
    AffineJacobians,
    affine,
    affine_bias,
    affine_input,
    affine_neuron,
    affine_weight,
    affine_weight_tensor,
)
from .chain import Chain, chain_rule, network_chain
from .costs import OPERATIONS, Cost, FormCost, cost, costs
from .dense import DenseJacobians, dense, neuron
from .diagonal import Diagonal
from .elementwise import (
    ActivationFunction,
    BinaryJacobians,
    activation_slope,
    activation_value,
    add,
    binary_elementwise,
    elementwise,
    elementwise_diagonal,
    elu,
    gelu,
    identity,
    leaky_relu,
    log_plus_exp,
    multiply,
    relu,
    sigmoid,
    silu,
    softplus,
    subtract,
    tanh,
)
from .layout import to_layout
from .losses import (
    absolute_error,
    absolute_error_slope,
    batch_mean,
    binary_cross_entropy,
    binary_cross_entropy_gradient,
    binary_cross_entropy_slope,
    categorical_cross_entropy_gradient,
    huber,
    huber_slope,
    loss_per_sample,
    loss_per_sample_diagonal,
    mean_squared_error,
    mean_squared_error_gradient,
    poisson,
    poisson_slope,
    quantile,
    quantile_slope,
    squared_error_slope,
)
from .matrices import AffineGradients, MatmulGradients, affine_gradients, bias_gradient, matmul_gradients
from .numerical import jacobian, stack_gradients
from .rows import DOCUMENTS, ROWS, Row
from .samples import SAMPLE_LOSSES, SampleLoss
from .softmax import (
    log_softmax,
    log_softmax_function,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
    softmax_function,
    softmax_gradient,
    softmax_vjp,
)
from .tensors import (
    MatmulJacobians,
    MatrixVectorJacobians,
    contract,
    elementwise_tensor,
    matmul,
    matrix_vector,
)
from .vector_functions import circle, circle_function, sin_cos_tan, sin_cos_tan_function

__all__ = [
    "DOCUMENTS",
    "LAYOUTS",
    "OPERATIONS",
    "ROWS",
    "SAMPLE_LOSSES",
    "ActivationFunction",
    "AffineGradients",
    "AffineJacobians",
    "Array",
    "BinaryJacobians",
    "Chain",
    "Cost",
    "DenseJacobians",
    "Derivative",
    "Diagonal",
    "Explanation",
    "FormCost",
    "MatmulGradients",
    "MatmulJacobians",
    "MatrixVectorJacobians",
    "Operation",
    "Row",
    "SampleLoss",
    "absolute_error",
    "absolute_error_slope",
    "activation_slope",
    "activation_value",
    "add",
    "affine",
    "affine_bias",
    "affine_gradients",
    "affine_input",
    "affine_neuron",
    "affine_weight",
    "affine_weight_tensor",
    "batch_mean",
    "bias_gradient",
    "binary_cross_entropy",
    "binary_cross_entropy_gradient",
    "binary_cross_entropy_slope",
    "binary_elementwise",
    "categorical_cross_entropy_gradient",
    "chain_rule",
    "circle",
    "circle_function",
    "contract",
    "cost",
    "costs",
    "dense",
    "elementwise",
    "elementwise_diagonal",
    "elementwise_tensor",
    "elu",
    "explain",
    "gelu",
    "huber",
    "huber_slope",
    "identity",
    "jacobian",
    "leaky_relu",
    "log_plus_exp",
    "log_softmax",
    "log_softmax_function",
    "loss_per_sample",
    "loss_per_sample_diagonal",
    "matmul",
    "matmul_gradients",
    "matrix_vector",
    "mean_squared_error",
    "mean_squared_error_gradient",
    "multiply",
    "network_chain",
    "neuron",
    "poisson",
    "poisson_slope",
    "quantile",
    "quantile_slope",
    "relu",
    "sigmoid",
    "silu",
    "sin_cos_tan",
    "sin_cos_tan_function",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_gradient",
    "softmax_function",
    "softmax_gradient",
    "softmax_vjp",
    "softplus",
    "squared_error_slope",
    "stack_gradients",
    "subtract",
    "tanh",
    "to_layout",
]

# They look at a network, which stands above: the library's own ``explain`` brings them
_OFFERED = ("Derivative", "Explanation", "Operation", "explain")


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    library = sys.modules[__name__.rpartition(".")[0]]
    return getattr(sys.modules[library.explain.__module__], name)
