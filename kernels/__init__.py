"""Compiled kernels on plain arrays: fused forward and backward passes, element-wise functions, losses.

What is exported here checks its arguments; the compiled functions behind it, in the other files, do not.
"""

from ._garbage import importing as _importing

with _importing():
    from . import _interrupts as _interrupts  # the first that imports Numba
    from .checked import absolute_error as absolute_error
from .checked import activation_backward as activation_backward
from .checked import activation_forward as activation_forward
from .checked import binary_cross_entropy as binary_cross_entropy
from .checked import binary_cross_entropy_probabilities as binary_cross_entropy_probabilities
from .checked import categorical_cross_entropy as categorical_cross_entropy
from .checked import dense_backward as dense_backward
from .checked import dense_forward as dense_forward
from .checked import dropout_mask as dropout_mask
from .checked import huber as huber
from .checked import mean_squared_error as mean_squared_error
from .checked import poisson as poisson
from .checked import quantile as quantile
from .checked import softmax as softmax
from .checked import softmax_backward as softmax_backward
from .checked import softmax_cross_entropy as softmax_cross_entropy
