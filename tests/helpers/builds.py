"""Other builds of the library, for tests: with registers that this machine has not, or with a trace of every branch.

    python tests/helpers/builds.py --registers 32 --bytes 64 -- tests/training/test_training_bits.py -q

compiles the kernels as for a machine with 32 registers of 64 bytes: the tiles, panels and blocks of AVX-512, run on
any machine, for LLVM takes a wide register apart where there is none. Nothing of such a build is kept on disk.

With ``trace``, every test of an ``if``, a ``while`` or a conditional expression in compiled functions and in some
Python files notes which side it took, without a change of any source: the syntax tree is changed as it is imported.
"""

import argparse
import ast
import importlib.abc
import importlib.util
import sys

import numpy as np

COMPILED = (
    "activations",
    "checked",
    "dense",
    "dots",
    "gemm",
    "learning",
    "losses",
    "network",
    "optimizers",
    "tile",
    "training",
)  # of kernels
PYTHON = {  # and of the library the functions that decide how training runs, not those that check arguments
    "fastjac.nn.program": None,
    "fastjac.training.loop": {"run", "fit", "_epoch"},
    "fastjac.training.steps": {
        "epoch",
        "epochs_at_once",
        "epochs",
        "steps",
        "_next_orders",
        "_take",
        "_by_layers",
        "_rows_of",
    },
}
MARKS = {"kernel", "inline", "always_inline", "never_inline", "apart"}


class Trace:
    """Which sides of which decisions were taken: names like ``training._train: apart``."""

    def __init__(self, most=4096):
        self.names = []
        self.sides = np.zeros((most, 2), np.uint8)

    def number_of(self, name):
        same = sum(one.partition(" (")[0] == name for one in self.names)
        self.names.append(f"{name} ({same + 1})" if same else name)
        return len(self.names) - 1

    def take(self):
        """What was taken since it was last asked: by name, whether the test was false, and whether it was true."""
        taken = {name: [bool(one) for one in sides] for name, sides in zip(self.names, self.sides, strict=False)}
        self.sides[:] = 0
        return taken


class _Instrument(ast.NodeTransformer):
    """Wraps the test of each decision into a call that notes its outcome."""

    def __init__(self, module, trace, chosen):
        self.module, self.trace, self.chosen = module, trace, chosen
        self.functions = []
        self.marked = 0

    def visit_FunctionDef(self, node):
        marked = self.chosen(node)
        self.functions.append(node.name)
        self.marked += marked
        node.body = [self.visit(statement) for statement in node.body]  # not the decorators and the arguments
        self.marked -= marked
        self.functions.pop()
        return node

    def _noting(self, node):
        self.generic_visit(node)
        if self.marked:
            name = f"{self.module}.{'.'.join(self.functions)}: {ast.unparse(node.test)}"
            number = ast.Constant(self.trace.number_of(name))
            node.test = ast.Call(ast.Name("_note", ast.Load()), [node.test, number], [])
        return node

    visit_If = visit_While = visit_IfExp = _noting


def _is_compiled(function):
    return any(getattr(getattr(d, "func", d), "id", "") in MARKS for d in function.decorator_list)


def _compiled_note(trace):
    """An intrinsic that stores the outcome at a fixed address, and gives it back."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    start = trace.sides.ctypes.data

    @intrinsic
    def note(typingctx, outcome, number):
        def codegen(context, builder, sig, args):
            taken = context.cast(builder, args[0], sig.args[0], types.boolean)
            wide = ir.IntType(64)
            side = builder.zext(taken, wide)
            place = builder.add(builder.mul(args[1], ir.Constant(wide, 2)), side)
            place = builder.add(place, ir.Constant(wide, start))
            builder.store(ir.Constant(ir.IntType(8), 1), builder.inttoptr(place, ir.PointerType(ir.IntType(8))))
            return taken

        return types.boolean(outcome, types.int64), codegen

    # helpers are called from Python, too, where Numba refuses what it means to compile
    note.__class__ = type("Note", (type(note),), {"__call__": staticmethod(_note_of(trace))})
    return note


def _note_of(trace):
    def note(outcome, number):
        trace.sides[number, int(bool(outcome))] = 1
        return outcome

    return note


class _Loader(importlib.abc.Loader):
    """The usual loader, with the source or what came of it changed."""

    def __init__(self, usual, change_tree, after):
        self.usual, self.change_tree, self.after = usual, change_tree, after

    def create_module(self, spec):
        return self.usual.create_module(spec)

    def exec_module(self, module):
        if self.change_tree is None:
            self.usual.exec_module(module)
        else:
            path = self.usual.get_filename(module.__name__)
            tree = self.change_tree(ast.parse(self.usual.get_data(path)), module)
            exec(compile(ast.fix_missing_locations(tree), path, "exec"), vars(module))
        if self.after is not None:
            self.after(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, trees, after):
        self.trees, self.after = trees, after

    def find_spec(self, name, path, target=None):
        if name not in self.trees and name not in self.after:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                spec.loader = _Loader(spec.loader, self.trees.get(name), self.after.get(name))
                return spec
        return None


def install(registers=None, register_bytes=None, trace=None):
    """Before fastjac is imported: what it will be made of."""
    assert "fastjac" not in sys.modules
    trees, after = {}, {}

    def without_cache(module):  # what is compiled here is for this process alone
        module._install = lambda *_: None

    after["fastjac.kernels._jit"] = without_cache
    if registers is not None:

        def as_elsewhere(module):
            module.registers = lambda: registers
            module.register_bytes = lambda: register_bytes
            if register_bytes != 64:  # its instructions are for whole registers of that size
                module.has_avx512 = lambda: False

        after["fastjac.kernels.simd"] = as_elsewhere
    if trace is not None:
        note = None

        def compiled(tree, module):
            nonlocal note
            note = note or _compiled_note(trace)
            vars(module)["_note"] = note
            return _Instrument(module.__name__.removeprefix("fastjac.kernels."), trace, _is_compiled).visit(tree)

        def python(tree, module):
            vars(module)["_note"] = _note_of(trace)
            names = PYTHON[module.__name__]
            wanted = (lambda node: True) if names is None else (lambda node: node.name in names)
            return _Instrument(module.__name__.removeprefix("fastjac."), trace, wanted).visit(tree)

        trees |= {f"fastjac.kernels.{name}": compiled for name in COMPILED}
        trees |= dict.fromkeys(PYTHON, python)
    sys.meta_path.insert(0, _Finder(trees, after))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--registers", type=int, choices=(16, 32))
    options.add_argument("--bytes", type=int, choices=(16, 32, 64))
    options.add_argument("arguments", nargs="*", help="for pytest, after --")
    chosen = options.parse_args()
    install(chosen.registers, chosen.bytes)
    import pytest

    sys.exit(pytest.main(chosen.arguments))
