"""How threads in compiled code meet: a barrier, a turn, and a way out when one of them fails.

No threading layer is involved: plain Python threads call a kernel that releases the interpreter and meet here. The
state is 64-bit integers a cache line apart. A wait spins with the processor's pause, and after a while offers the core
to others, so that more threads than cores still move.
"""

import ctypes
import sys

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import inline

ARRIVED, GENERATION, FAILED, TURN = 0, 8, 16, 24
STATE_SIZE = 32
_SPINS = 200  # some 10 µs of pauses before the core is offered


@intrinsic
def _add(typingctx, state, index, value):
    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("add", builder.gep(args[0], [args[1]]), args[2], "seq_cst")

    return types.int64(state, types.intp, types.int64), codegen


@intrinsic
def read(typingctx, state, index):
    """The number as the other threads last wrote it."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(builder.gep(args[0], [args[1]]), "acquire", 8)

    return types.int64(state, types.intp), codegen


@intrinsic
def write(typingctx, state, index, value):
    """Make the number visible to the other threads, after all that was written before."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[2], builder.gep(args[0], [args[1]]), "release", 8)
        return context.get_dummy_value()

    return types.void(state, types.intp, types.int64), codegen


def pause_code(builder):
    """LLVM code that tells the processor that this is a wait. Numba refuses inline assembly."""
    triple = builder.module.triple
    if triple.startswith(("x86_64", "i386", "i686")):
        hint = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, hint, "llvm.x86.sse2.pause"), [])
    elif triple.startswith(("aarch64", "arm64")):
        hint = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
        yield_hint = cgutils.get_or_insert_function(builder.module, hint, "llvm.aarch64.hint")
        builder.call(yield_hint, [ir.Constant(ir.IntType(32), 1)])


def offer_code(builder):
    """LLVM code that lets another thread run: a call of the system, without arguments, that gives an int."""
    name = "SwitchToThread" if "windows" in builder.module.triple else "sched_yield"
    call = ir.FunctionType(ir.IntType(32), [])
    builder.call(cgutils.get_or_insert_function(builder.module, call, name), [])


if sys.platform == "win32":  # so that compiled code finds it, whatever its linker searches
    _switch = ctypes.windll.kernel32.SwitchToThread  # type: ignore[attr-defined,unused-ignore]
    binding.add_symbol("SwitchToThread", ctypes.cast(_switch, ctypes.c_void_p).value)


@intrinsic
def _pause(typingctx):
    def codegen(context, builder, sig, args):
        pause_code(builder)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _offer_core(typingctx):
    def codegen(context, builder, sig, args):
        offer_code(builder)
        return context.get_dummy_value()

    return types.void(), codegen


@inline
def _wait(state, index, value, until_equal):
    """Until ``state[index]`` is (or is no longer) ``value``, or a thread failed."""
    spins = 0
    while (read(state, index) == value) != until_equal and read(state, FAILED) == 0:
        spins += 1
        if spins > _SPINS:
            _offer_core()
        else:
            _pause()


@inline
def barrier(state, threads):
    """Return when all threads have come here (or one has failed)."""
    if threads > 1:
        generation = read(state, GENERATION)
        if _add(state, ARRIVED, 1) == threads - 1:
            write(state, ARRIVED, 0)
            _add(state, GENERATION, 1)
        else:
            _wait(state, GENERATION, generation, False)


@inline
def wait_for_turn(state, number):
    """Return when it is the turn of ``number``; ``pass_turn`` makes it the next one's."""
    _wait(state, TURN, number, True)


@inline
def pass_turn(state, number):
    write(state, TURN, number + 1)
