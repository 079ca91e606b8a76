"""The roof of a training step: the least time that one thread could need for it, from what ``roof.py`` has measured.

README.md here has the definition in words, with what it leaves out. Nothing of it is measured on fastjac's own kernels:
what is slow there does not lower the roof.
"""

from __future__ import annotations

from typing import NamedTuple

from fastjac.benchmarks.roof import Roof, at_size
from fastjac.benchmarks.workloads import Workload


class Operations(NamedTuple):
    """What a register of numbers takes of an element-wise formula, counted: multiplications (with or without an
    addition), and those in place of its one division, where that takes longer.

    Additions alone, comparisons, shifts and estimates of inverses are not counted: on some processors, units of their
    own do them meanwhile.
    """

    multiplications: int
    instead: int = 4  # an estimate of the inverse, its correction by two, a product


# Adam: m and v two, its square, √v by an estimate and its correction four, the step one; the moments kept divided by
# 1 - β₁ and 1 - β₂, which saves four. tanh and sigmoid: e^x as 2^n times a polynomial of degree 4 in the rest.
ADAM = Operations(8)
FUNCTIONS = {"relu": Operations(0, 0), "tanh": Operations(10), "sigmoid": Operations(10)}

CHUNK = 256  # rows: no more need to be on their way through the layers at once
LAYER_CYCLES = 400  # see ``_fixed``

PARTS = ("products", "optimizer", "functions", "slopes", "gather", "loss", "fixed")


def parts(workload: Workload, roof: Roof, shuffled: bool) -> dict[str, float]:
    """Seconds of each part of a step; their sum is the roof.

    Args:
        workload: the network, its batch and its data.
        roof: what the machine can do.
        shuffled: whether rows are taken in another order every epoch.
    """
    alive = _chunk_bytes(workload)
    row = workload.widths[0] * 4 + _target_bytes(workload)
    data = workload.batch * workload.batches * row
    hidden = workload.batch * sum(workload.widths[1:-1])
    outputs = workload.batch * workload.widths[-1]
    gathers = shuffled and workload.batches > 1
    return {
        "products": _products(workload, roof),
        "optimizer": _optimizer(workload.parameters, roof),
        "functions": arithmetic(FUNCTIONS[workload.activation], hidden, roof),
        "slopes": 3 * 4 * hidden / at_size(roof.bandwidths, alive).in_place,
        "gather": 2 * workload.batch * row / at_size(roof.bandwidths, data).copy if gathers else 0.0,
        "loss": (2 * 4 * outputs + workload.batch * _target_bytes(workload)) / at_size(roof.bandwidths, alive).copy,
        "fixed": _fixed(workload, roof),
    }


def registers(columns: int, roof: Roof) -> float:
    """Multiply-adds of a row of so many columns, where one of half a register costs what was measured."""
    whole, rest = divmod(columns, roof.lanes)
    if rest == 0:
        return whole
    return whole + (roof.half_cost if 2 * rest <= roof.lanes else 1.0)


def product(m: int, k: int, n: int, roof: Roof) -> float:
    """Multiply-adds of registers in a product of m×k and k×n numbers: along the columns, or dot products for one."""
    return m * registers(k, roof) if n == 1 else m * k * registers(n, roof)


def _products(workload: Workload, roof: Roof) -> float:
    count, n = 0.0, workload.batch
    for depth, (i, o) in enumerate(workload.layers):
        count += product(n, i, o, roof)  # forward
        count += min(product(i, n, o, roof), product(o, n, i, roof))  # dW, or its transpose
        if depth > 0:
            count += product(n, o, i, roof)  # dX; nobody needs that of the data
    return count * roof.multiply_add_seconds


def arithmetic(operations: Operations, numbers: int, roof: Roof) -> float:
    """Seconds of a formula on so many numbers: divider and multiplier side by side, or the multiplier alone."""
    most = operations.multiplications * roof.multiply_add_seconds
    divided = max(most, roof.division_seconds if operations.instead else 0.0)
    return min(divided, most + operations.instead * roof.multiply_add_seconds) * numbers / roof.lanes


def _optimizer(parameters: int, roof: Roof) -> float:
    """The parameters and their two moments are read and written; their gradient has never left the core."""
    size = 3 * 4 * parameters
    return max(arithmetic(ADAM, parameters, roof), 2 * size / at_size(roof.bandwidths, size).in_place)


def _fixed(workload: Workload, roof: Roof) -> float:
    """What does not depend on sizes, by estimate: three products, a function, a slope, the sums of db and two updates
    are eight loops a layer, and each takes some 50 cycles to fill its units, to empty them and to leave it.
    """
    return LAYER_CYCLES * len(workload.layers) / roof.clock


def _chunk_bytes(workload: Workload) -> int:
    """Bytes of the values of all layers and their gradients that are needed at once."""
    return min(workload.batch, CHUNK) * sum(workload.widths[1:]) * 2 * 4


def _target_bytes(workload: Workload) -> int:
    """Bytes of what a row is to give: numbers, or one label."""
    return 4 * workload.widths[-1] if workload.regression else 8
