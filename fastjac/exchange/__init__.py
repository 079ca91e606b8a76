"""Networks to and from other libraries: PyTorch, scikit-learn, ONNX, of which each function needs its own."""

from fastjac.exchange.onnx import to_onnx
from fastjac.exchange.pytorch import from_torch, load_state_dict, state_dict, to_torch
from fastjac.exchange.scikit_learn import from_sklearn

__all__ = ["from_sklearn", "from_torch", "load_state_dict", "state_dict", "to_onnx", "to_torch"]
