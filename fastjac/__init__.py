"""fastjac: fast training of small neural networks on a CPU, and every Jacobian to see.

See ``Sequential`` for networks, ``fastjac.kernels`` for kernels on plain arrays, ``fastjac.jacobians`` for the course.
"""

from fastjac import datasets as datasets
from fastjac import jacobians as jacobians
from fastjac import kernels as kernels
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

__version__ = "0.1.0"
