"""The whole chain, from the loss back to every parameter, with every Jacobian on the way kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._validate import Array, as_array, as_vector, check_length
from .affine import affine_bias, affine_input, affine_weight_tensor
from .dense import dense
from .elementwise import ActivationFunction
from .losses import LOG_FLOOR, categorical_cross_entropy_gradient
from .softmax import softmax, softmax_function
from .tensors import contract

Layer = tuple[ArrayLike, ArrayLike, str | ActivationFunction]


def chain_rule(*factors: ArrayLike) -> Array:
    """∂J/∂w = ∂J/∂p · ∂p/∂z · ∂z/∂w: the product of Jacobians in numerator layout. Course row E3.

    Args:
        factors: Jacobians from the loss inwards; the last axis of each is as long as the first of the next.

    Returns:
        Their product, taken from the left: while ∂J/∂p is a row, every step is a vector–Jacobian product.

    Raises:
        ValueError: there is no factor, or two neighbours do not fit.

    >>> chain_rule([[1.0, 2.0]], [[1.0, 0.0], [0.0, 3.0]], [[1.0], [1.0]])
    array([[7.]])
    """
    if not factors:
        raise ValueError("factors is empty, expected at least one Jacobian")
    product = as_array("factor 0", factors[0])
    for i, value in enumerate(factors[1:], start=1):
        factor = as_array(f"factor {i}", value)
        if product.ndim == 0 or factor.ndim == 0 or product.shape[-1] != factor.shape[0]:
            raise ValueError(
                f"factor {i} has shape {factor.shape}, expected it to fit the product before it, {product.shape}"
            )
        product = contract(product, factor, axes=1)
    return product


@dataclass(frozen=True, repr=False)
class Chain:
    """A network's chain for one sample, as ``network_chain`` builds it. Course row E3.

    ``print(chain)`` shows all of them with their shapes.

    Attributes:
        loss: J.
        values: "x", "z1", "a1", "z2", …, "p": what the forward pass computed.
        jacobians: "dJ/dp", "dp/da2", "da2/dz2", "dz2/dW2", "dz2/db2", "dz2/da1", … "dz1/dx": one operation each.
        gradients: "p", "a2", "z2", "W2", "b2", … "x": ∂J/∂ of each, shaped like it; products of the Jacobians.
    """

    loss: float
    values: dict[str, Array]
    jacobians: dict[str, Array]
    gradients: dict[str, Array]

    def __repr__(self) -> str:
        return f"Chain(loss={self.loss:.6g}, {len(self.jacobians)} Jacobians; print it to see their shapes)"

    def __str__(self) -> str:
        lines = [f"J = {self.loss:.6g}"]
        for title, arrays in (
            ("values", self.values),
            ("jacobians", self.jacobians),
            ("gradients", self.gradients),
        ):
            lines += [
                f"{title}:",
                *(f"  {name:<8} {'×'.join(map(str, a.shape))}" for name, a in arrays.items()),
            ]
        return "\n".join(lines)


def network_chain(x: ArrayLike, y: ArrayLike, layers: Sequence[Layer]) -> Chain:
    """Dense layers, softmax and cross-entropy for a sample: a product of explicit Jacobians. Course row E3.

    The chain goes through p, and divides by it (as 1e-12 where it is less), so that it is wrong where p of the target
    is that small: of the logits (0, 40, 0) and the class 0 it makes −4.2e-6, and the derivative is −1. The Jacobian
    ``softmax_cross_entropy``, which does not divide, gives −1.

    Args:
        x: (m,).
        y: (K,) one-hot or soft target.
        layers: (W, b, activation) of every layer; W (inputs, outputs), the last with K outputs.

    Returns:
        A ``Chain``: J = −Σ y_k ln p_k with p = softmax(a_last), every value, Jacobian and gradient by name.

    Raises:
        ValueError: there is no layer or the shapes do not fit.

    >>> c = network_chain([1.0, 2.0], [1.0, 0.0], [(np.zeros((2, 2)), np.zeros(2), "identity")])
    >>> c.gradients["W1"]
    array([[-0.5,  0.5],
           [-1. ,  1. ]])
    >>> c.jacobians["dz1/dW1"].shape
    (2, 2, 2)
    """
    if not layers:
        raise ValueError("layers is empty, expected at least one (W, b, activation)")
    x, y = as_vector("x", x), as_vector("y", y)

    values, jacobians = {"x": x}, {}
    a, a_name = x, "x"
    for number, (W, b, activation) in enumerate(layers, start=1):
        layer = dense(a, W, b, activation)
        jacobians[f"dz{number}/d{a_name}"] = affine_input(W)
        jacobians[f"dz{number}/dW{number}"] = affine_weight_tensor(a, len(layer.z))
        jacobians[f"dz{number}/db{number}"] = affine_bias(len(layer.z), layer.z.dtype.name)
        jacobians[f"da{number}/dz{number}"] = layer.da_dz
        a, a_name = layer.a, f"a{number}"
        values[f"z{number}"], values[a_name] = layer.z, a
    check_length("y", y, len(a), f"the last layer has {len(a)} outputs")
    p = softmax_function(a)
    values["p"] = p
    jacobians[f"dp/d{a_name}"] = softmax(p)
    jacobians["dJ/dp"] = categorical_cross_entropy_gradient([p], [y])
    with np.errstate(divide="ignore"):
        log_p = np.maximum(np.log(p), LOG_FLOOR)

    # Backwards: the last operation's Jacobian is the first factor.
    jacobians = dict(reversed(jacobians.items()))
    rows = {"J": np.ones((1, 1), dtype=p.dtype)}
    for name, J in jacobians.items():
        output, given = name.split("/d")
        rows[given] = chain_rule(rows[output.removeprefix("d")], J)
    gradients = {name: row[0] for name, row in rows.items() if name != "J"}
    return Chain(float(-(y * log_p).sum()), values, jacobians, gradients)
