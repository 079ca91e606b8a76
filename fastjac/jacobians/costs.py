"""What each form of an operation costs: the explicit Jacobian, the formula without it, the fused kernel.

Bytes are those on the way to the results, neither the arguments nor the results:

- explicit: the dense Jacobians of all N samples (``paths/reference`` holds those of one sample at a time).
- unfused: the temporaries of ``paths/unfused`` where there are most at once; an activation's slopes count as one array
  (NumPy may do with less for arrays above 256 KiB, where it reuses temporaries).
- fused: what the kernel needs beside its results, for up to 256 samples, which is how many it takes at a time; rows are
  padded by up to two cache lines, and a loss has some kilobytes of scratch memory.

Multiplications are those of a gradient with a local derivative: in a vector–Jacobian product, every entry of
the Jacobian once. The forms do alike, and it is left out: exp, log and the slopes themselves, the factor 1/N,
the value of a loss.
"""

from __future__ import annotations

from typing import NamedTuple

from ._validate import check_count


class Formula:
    """A polynomial of named counts, which prints as it is computed.

    Args:
        terms: the factor of each product of names: 2·N·inputs² is {("N", "inputs", "inputs"): 2}.

    >>> N, inputs = Formula.symbol("N"), Formula.symbol("inputs")
    >>> formula = 2 * N * inputs * inputs + N
    >>> str(formula), formula(N=10, inputs=3)
    ('2·N·inputs² + N', 190)
    """

    def __init__(self, terms: dict[tuple[str, ...], int]) -> None:
        self.terms = {names: factor for names, factor in terms.items() if factor}

    @classmethod
    def symbol(cls, name: str) -> Formula:
        return cls({(name,): 1})

    def __add__(self, other: Formula) -> Formula:
        terms = dict(self.terms)
        for names, factor in other.terms.items():
            terms[names] = terms.get(names, 0) + factor
        return Formula(terms)

    def __mul__(self, other: Formula | int) -> Formula:
        if isinstance(other, int):
            return Formula({names: factor * other for names, factor in self.terms.items()})
        product = Formula({})
        for names, factor in self.terms.items():
            product += Formula({names + others: factor * f for others, f in other.terms.items()})
        return product

    __rmul__ = __mul__

    def __call__(self, **counts: int) -> int:
        total = 0
        for names, factor in self.terms.items():
            for name in names:
                factor *= counts[name]
            total += factor
        return total

    def __str__(self) -> str:
        return " + ".join(self._term(names, factor) for names, factor in self.terms.items()) or "0"

    @staticmethod
    def _term(names: tuple[str, ...], factor: int) -> str:
        powers = {name: names.count(name) for name in names}
        words = [name + {1: "", 2: "²", 3: "³"}[power] for name, power in powers.items()]
        return "·".join(([str(factor)] if factor != 1 else []) + words)


class Form(NamedTuple):
    """One way to compute an operation.

    Attributes:
        numbers: how many it makes on the way, as a formula of samples, inputs and outputs.
        multiplies: how often it multiplies, likewise.
    """

    numbers: Formula
    multiplies: Formula


class Forms(NamedTuple):
    """The three ways to compute an operation.

    Attributes:
        explicit: with the Jacobians as arrays.
        unfused: by its formula, a NumPy expression at a time.
        fused: by one compiled kernel.
    """

    explicit: Form
    unfused: Form
    fused: Form


N, I, O = map(Formula.symbol, ("N", "inputs", "outputs"))
NOTHING = Formula({})
PANEL = Formula({(): 12288})  # so many numbers of one factor at a time, in the order a product reads them

# ∂z/∂w_j is outputs×inputs and there are as many j as outputs (A4); ∂a/∂z and ∂z/∂b are outputs×outputs.
_DENSE = N * O * O + N * O * I + N * O * O * I + N * O * O

_OPERATIONS = {
    # Forward there is no Jacobian to build; fused, Z never exists apart from A.
    "dense_forward": Forms(
        explicit=Form(N * O, N * I * O),
        unfused=Form(N * O, N * I * O),  # Z
        fused=Form(PANEL, N * I * O),
    ),
    "dense_backward": Forms(
        explicit=Form(_DENSE, _DENSE),
        unfused=Form(N * O, N * O + 2 * N * I * O),  # dZ
        fused=Form(N * O + PANEL, N * O + 2 * N * I * O),  # dZ, which both products read
    ),
    "activation_backward": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(N * O, N * O),
        fused=Form(NOTHING, N * O),
    ),
    "softmax_backward": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(N * O, 2 * N * O),
        fused=Form(NOTHING, 2 * N * O),
    ),
    "dropout_backward": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(NOTHING, N * O),
        fused=Form(NOTHING, N * O),
    ),
    "softmax_cross_entropy": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(4 * N * O, N * O),
        fused=Form(NOTHING, N * O),
    ),
    "binary_cross_entropy": Forms(
        explicit=Form(2 * N * O * O, 2 * N * O * O),  # of softplus(z) and of softplus(−z)
        unfused=Form(6 * N * O, NOTHING),
        fused=Form(NOTHING, NOTHING),
    ),
    "mean_squared_error": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(2 * N * O, N * O),
        fused=Form(NOTHING, N * O),
    ),
    # Their slopes are signs, cuts and exponentials: with 1/N left out nothing is multiplied.
    "absolute_error": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(2 * N * O, NOTHING),
        fused=Form(NOTHING, NOTHING),
    ),
    "huber": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(4 * N * O, NOTHING),
        fused=Form(NOTHING, NOTHING),
    ),
    "quantile": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(4 * N * O, NOTHING),
        fused=Form(NOTHING, NOTHING),
    ),
    "poisson": Forms(
        explicit=Form(N * O * O, N * O * O),
        unfused=Form(4 * N * O, NOTHING),
        fused=Form(NOTHING, NOTHING),
    ),
}

OPERATIONS = tuple(_OPERATIONS)


class FormCost(NamedTuple):
    """One form in numbers, each beside its formula.

    Attributes:
        bytes: what it makes on the way takes so many.
        bytes_formula: the same of N, inputs, outputs and itemsize.
        multiplies: how many multiplications.
        multiplies_formula: the same of N, inputs and outputs.
    """

    bytes: int
    bytes_formula: str
    multiplies: int
    multiplies_formula: str


class Cost(NamedTuple):
    """One operation in its three forms. ``print(cost)`` shows a table.

    Attributes:
        operation: one of ``OPERATIONS``.
        explicit: the Jacobians as arrays, dense, one a sample.
        unfused: the formula, a NumPy expression at a time.
        fused: one compiled kernel.
    """

    operation: str
    explicit: FormCost
    unfused: FormCost
    fused: FormCost

    def __str__(self) -> str:
        lines = [f"{self.operation:<10} {'bytes':>15} {'multiplies':>15}  formulas"]
        for name in ("explicit", "unfused", "fused"):
            form: FormCost = getattr(self, name)
            lines.append(
                f"  {name:<8} {form.bytes:>15,} {form.multiplies:>15,}  {form.bytes_formula}; {form.multiplies_formula}"
            )
        return "\n".join(lines)


def cost(operation: str, N: int, inputs: int, outputs: int, itemsize: int = 4) -> Cost:
    """Bytes and multiplications of an operation on a mini-batch, in its three forms.

    Args:
        operation: one of ``OPERATIONS``.
        N, inputs, outputs, itemsize: samples, inputs, outputs (for softmax and losses, classes), bytes a number.

    Returns:
        A ``Cost``: for the explicit Jacobians (dense, one a sample), the unfused formula and the fused kernel the
        numbers and their formulas.

    Raises:
        ValueError: the operation is not known or a count is below 0.

    >>> print(cost("activation_backward", N=64, inputs=64, outputs=128))
    activation_backward           bytes      multiplies  formulas
      explicit       4,194,304       1,048,576  itemsize·(N·outputs²); N·outputs²
      unfused           32,768           8,192  itemsize·(N·outputs); N·outputs
      fused                  0           8,192  0; N·outputs
    """
    if operation not in _OPERATIONS:
        raise ValueError(f"operation is {operation!r}, expected one of {', '.join(map(repr, OPERATIONS))}")
    for name, count in (("N", N), ("inputs", inputs), ("outputs", outputs), ("itemsize", itemsize)):
        check_count(name, count)
    counts = {"N": N, "inputs": inputs, "outputs": outputs}

    def in_numbers(form: Form) -> FormCost:
        text = str(form.numbers)
        return FormCost(
            bytes=itemsize * form.numbers(**counts),
            bytes_formula=text if text == "0" else f"itemsize·({text})",
            multiplies=form.multiplies(**counts),
            multiplies_formula=str(form.multiplies),
        )

    return Cost(operation, *map(in_numbers, _OPERATIONS[operation]))


def costs(N: int, inputs: int, outputs: int, itemsize: int = 4) -> list[Cost]:
    """``cost`` of every operation.

    Args:
        N, inputs, outputs, itemsize: as for ``cost``.

    Returns:
        A ``Cost`` for each of ``OPERATIONS``.

    Raises:
        ValueError: a count is below 0.

    >>> [c.operation for c in costs(64, 64, 128)][:3]
    ['dense_forward', 'dense_backward', 'activation_backward']
    """
    return [cost(operation, N, inputs, outputs, itemsize) for operation in OPERATIONS]
