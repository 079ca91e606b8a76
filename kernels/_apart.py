"""Functions that kernels call by an address: each is compiled by itself, and not before a program asks for it.

A kernel that chooses among the rows of a table, activations, losses or rules of optimizers, would otherwise hold all of
them, and a program that trains one network with one of each would wait for the others to be compiled: 5 of 12.5 s of a
first fit. So a kernel is handed the address of what a program asked for, and calls that. What few programs need, as
layers of softmax, is called in the same way.

What is called is compiled as any other kernel is (``_jit``), and kept on disk like one. It is called as C calls a
function, by the wrapper that Numba makes for that (its ``cfunc``); arguments are of any types that Numba code has.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.extending import intrinsic

from ._jit import address_for_c, kernel_for_c

Types = Callable[[types.Type], Sequence[types.Type]]
NOTHING = types.void


class Apart:
    """One function, compiled for each type of numbers when its address is first asked for.

    ``takes`` gives the types of its arguments from that of a pointer to numbers; ``gives`` is that of its result.
    """

    def __init__(self, function: Callable[..., Any], takes: Types, gives: types.Type) -> None:
        self.kernel = kernel_for_c(function)
        self._takes, self._gives = takes, gives
        self._addresses: dict[np.dtype, int] = {}

    def address(self, dtype: np.dtype) -> int:
        """Where it begins, for float32 or float64."""
        if dtype not in self._addresses:
            signature = self._gives(*self._takes(types.CPointer(from_dtype(dtype))))
            self._addresses[dtype] = address_for_c(self.kernel, signature)
        return self._addresses[dtype]


EVERY: list[Apart] = []  # that there is


def apart(takes: Types, gives: types.Type = NOTHING) -> Callable[[Callable[..., Any]], Apart]:
    """Make a function an ``Apart``: the decorator of what kernels call by an address."""

    def mark(function: Callable[..., Any]) -> Apart:
        EVERY.append(Apart(function, takes, gives))
        return EVERY[-1]

    return mark


def calling(takes: Types, gives: types.Type = NOTHING) -> Any:
    """What calls an ``Apart`` in compiled code: ``call(address, like, arguments)``, the last a tuple.

    ``like`` is a pointer to the numbers, of which ``takes`` is given the type.
    """

    @intrinsic
    def call(typingctx, address, like, arguments):
        wanted = takes(like)

        def codegen(context, builder, sig, args):
            values = [
                context.cast(builder, builder.extract_value(args[2], k), kind, want)
                for k, (kind, want) in enumerate(zip(sig.args[2], wanted, strict=True))
            ]
            # nothing is a pointer to nothing
            kind = ir.FunctionType(context.get_value_type(gives), [value.type for value in values])
            return builder.call(builder.inttoptr(args[0], ir.PointerType(kind)), values)

        return gives(types.intp, like, arguments), codegen

    return call


class Addresses:
    """The addresses of rows of tables, as kernels take them: by the address of some numbers, which stay where they are.

    ``made_of(code, dtype)`` gives the numbers of a row; they are made when they are first asked for.
    """

    def __init__(self, made_of: Callable[[int, np.dtype], Sequence[int]]) -> None:
        self._made_of = made_of
        self._kept: dict[tuple[int, np.dtype], np.ndarray] = {}

    def __call__(self, code: int, dtype: np.dtype) -> int:
        if (code, dtype) not in self._kept:
            self._kept.setdefault((code, dtype), np.array(self._made_of(code, dtype), np.int64))
        return self._kept[code, dtype].ctypes.data
