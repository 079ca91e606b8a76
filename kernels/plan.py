"""What a network is to compute, and from what: tables that Python writes and compiled code reads.

A table is an array of whole numbers, passed by its address: the fields of one of the classes below, in order. Each
class says once what its fields are, and both the writer (``Table``) and the reader (``reader``) are made of that. (As
tuples of arrays they cost a fifth of a small step: their references are counted, at every turn, by atomic operations;
and some microseconds at every call from Python.)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from .arrays import address_of
from .bfloat16 import WORD

# Kinds of operation
DENSE, ACTIVATION, SOFTMAX, DROPOUT = 0, 1, 2, 3

# Columns of ``Plan.operations``. Offsets count numbers: WEIGHT and BIAS into the flat parameters; VALUE and KEPT (what
# the slope needs besides the value, or a mask; -1 for none) into one row's share of the scratch memory.
KIND, INPUTS, OUTPUTS, STRIDE, CODE, WEIGHT, BIAS, VALUE, KEPT = range(9)
COLUMNS = 9

# Where ``Learning.numbers`` has what
L1, L2, LOSS_PARAMETER, GOES_ON = range(4)

# Where training counts: optimizer steps ever, finished steps of this call, what was not finite, if anything; and how
# many more steps the network has been trained than this optimizer has taken: dropout goes by the network's steps
STEP, DONE, NOT_FINITE, AHEAD = range(4)
COUNTERS = 4
THE_LOSS, THE_GRADIENT = 1, 2


# What a field is. Python writes an array, or an address, 0 for none; compiled code reads a pointer to …


class Numbers:
    """… numbers of the network's type."""


class Doubles:
    """… float64."""


class Integers:
    """… int64."""


class Operands:
    """… what products read: numbers of the network's type, or words (``bfloat16``)."""


class Parameters:
    """The network's parameters: the pointer that a reader is given, and no field of the table."""


# Where ``Plan.unfused`` has what
BACKWARD_PARAMETERS, UPDATE, PENALTY = range(3)


class Plan(NamedTuple):
    """What to compute."""

    operations: Integers  # (length, COLUMNS)
    length: int
    parameters: Doubles  # (length,): the activation's parameter or the dropout rate
    gathered: int  # one row's offsets in the scratch memory: of the gathered X,
    targets: int  # the gathered targets,
    gradient: int  # and three gradients,
    width: int  # each so wide
    unfused: Integers  # addresses: what only steps need that keep their gradient, in the order below


class Memory(NamedTuple):
    """Where to compute it. Threads share all of it, or ``zeros`` and ``sync``; ``panel`` is always a thread's own."""

    scratch: Numbers  # (capacity · units,)
    panel: Operands  # (learning.learn_memory, or rounded.words_memory, of the widest,): what products keep in the cache
    zeros: Numbers  # one tile row of zeros
    scales: Numbers  # (capacity,) each row's share of the mean
    labels: Integers  # (capacity,)
    row_sums: Doubles  # (2, capacity): losses and hits of the rows
    sync: Integers  # (threads.STATE_SIZE,): where threads meet
    capacity: int


class Data(NamedTuple):
    """What to learn from. Addresses and strides: any layout of X is one compilation. 0 for what there is none of."""

    x: int  # X (samples, inputs), with its strides in numbers
    x_row: int
    x_column: int
    labels: int  # (samples,) int64
    targets: int  # (samples, outputs), contiguous
    weights: int  # (samples,) float64
    order: int  # (epochs, samples) int64: which sample comes when
    samples: int
    batch_size: int
    gather: int  # copy the rows of a chunk together first: they are shuffled, or the first operation is not dense


class Given(NamedTuple):
    """A user's matrix of another kind than kernels take as it is: writable, its rows one after the other.

    (Three numbers in a named tuple would do, but it takes Numba a microsecond to look at one that comes from Python.)
    """

    at: int  # its address; 0 where the array itself is handed over
    row: int  # strides, in numbers
    column: int


class Learning(NamedTuple):
    """What changes while learning, and how."""

    parameters: Parameters  # (size,)
    gradients: Numbers  # (size,)
    partial: Numbers  # (size,) this thread's gradient of one chunk
    work: Numbers  # (blocking.LOSS_WORK,) this thread's scratch memory for the loss
    state: Numbers  # of the optimizer
    rates: Doubles  # (steps,): the learning rate of each step of this call
    settings: Doubles  # (optimizers.SETTINGS,)
    numbers: Doubles  # (4,): l1, l2, the loss's parameter, and 1 to go on after a loss that is not finite
    counters: Integers  # (COUNTERS,): STEP, DONE, NOT_FINITE, AHEAD
    results: Doubles  # (steps, 4): weighted loss, weighted hits, sum of weights, penalty on weights of each step
    chunk_sums: Doubles  # (chunks of a batch, 2)
    size: int
    rule: int
    loss: int
    seed: int
    keep_gradients: int  # leave each step's in ``gradients``


def _names(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a table, in order."""
    return tuple(name for name, what in kind.__annotations__.items() if what is not Parameters)


class Table:
    """One of the classes above as compiled code takes it. Whoever makes it keeps the arrays alive.

    Attributes:
        address: the address of the table.

    >>> order = np.arange(3)
    >>> table = Table(Data, x=0, x_row=2, x_column=1, labels=None, targets=None, weights=None, order=order, samples=3,
    ...               batch_size=2, gather=1)
    >>> table["batch_size"] = 3
    """

    def __init__(self, kind: type[Any], **fields: Any) -> None:
        self._index = index = _INDEX[kind]
        if list(fields) != list(index):
            if fields.keys() != index.keys():
                wrong = sorted(fields.keys() ^ index.keys())
                raise TypeError(f"{kind.__name__} has the fields {', '.join(index)}; missing or unknown: {wrong}")
            fields = {name: fields[name] for name in index}
        # most are whole numbers or nothing, and a table is made for each fit
        numbers = [0 if one is None else one if type(one) is int else _number(one) for one in fields.values()]
        self._fields = np.array(numbers, np.int64)
        self.address = address_of(self._fields)

    def __setitem__(self, field: str, value: Any) -> None:
        self._fields[self._index[field]] = _number(value)


_INDEX = {kind: {name: k for k, name in enumerate(_names(kind))} for kind in (Plan, Memory, Data, Given, Learning)}


def _number(value: Any) -> int:
    return address_of(value) if isinstance(value, np.ndarray) else 0 if value is None else value


_INTEGERS, _DOUBLES = types.CPointer(types.int64), types.CPointer(types.float64)


def table_type(kind: Any, numbers: types.Type, rounded: bool = False) -> Any:
    """The type of a table that compiled code has read, from that of a pointer to the network's numbers."""
    read_as = {Numbers: numbers, Doubles: _DOUBLES, Integers: _INTEGERS, int: types.int64, Parameters: numbers}
    read_as[Operands] = types.CPointer(WORD) if rounded else numbers
    return types.BaseTuple.from_types([read_as[what] for what in kind.__annotations__.values()], kind)


def reader(kind: Any, rounded: bool = False) -> Callable[..., Any]:
    """A compiled function from the address of a table, and the pointer to the parameters, to what it says.

    One piece of code for all fields: a function for each would be compiled for each. ``rounded``: operands are words.
    """
    index = _INDEX[kind]

    @intrinsic
    def read(typingctx, address, parameters):
        def codegen(context, builder, sig, args):
            table = builder.inttoptr(args[0], context.get_value_type(_INTEGERS))
            values = []
            for name, numba_type in zip(kind._fields, sig.return_type, strict=True):
                if name in index:
                    value = builder.load(builder.gep(table, [context.get_constant(types.intp, index[name])]))
                    if numba_type != types.int64:
                        value = builder.inttoptr(value, context.get_value_type(numba_type))
                else:  # the parameters themselves
                    value = args[1]
                values.append(value)
            return context.make_tuple(builder, sig.return_type, values)

        return table_type(kind, parameters, rounded)(types.intp, parameters), codegen

    reading: Callable[..., Any] = read
    return reading
