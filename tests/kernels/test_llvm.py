"""What the compiler made of the kernels: no leave to reorder or to forget NaN, nothing raised, nothing allocated."""

import ast
import collections
import importlib
import pkgutil
import re
from pathlib import Path

import fastjac.kernels
import numpy as np
import pytest
from fastjac.kernels._apart import EVERY
from fastjac.kernels._jit import kernel

import fastjac as fj

SOURCES = Path(__file__).resolve().parents[2] / "kernels"
NAME = r'@("[^"]+"|[\w.$]+)'


def call_every_kernel(dtype):
    kernels = fj.kernels
    X, b = np.ones((3, 4), dtype), np.ones(4, dtype)
    W = np.ones((4, 4), dtype)
    A = kernels.dense_forward(X, W, b)
    kernels.dense_backward(A, A, X, W)
    kernels.activation_backward(A, kernels.activation_forward(X, "relu"), "relu")
    kernels.softmax_backward(X, kernels.softmax(X))
    kernels.dropout_mask((3, 4), 0.5, seed=0, step=0, place=0, dtype=dtype)
    kernels.mean_squared_error(X, X)
    net = fj.Sequential([fj.Dense(4, 4)], dtype=dtype, seed=0)
    net.backward(net.forward(X))
    net.predict(X)
    fj.SGD().step(net)
    net.fit(X, X, loss="mean_squared_error", batch_size=2)  # which shuffles
    net.path = "unfused"
    net.fit(X, X, loss="mean_squared_error", l2=1.0)
    for one in EVERY:
        one.address(np.dtype(dtype))


def all_kernels():
    """The name and the compiled function of everything that Python calls."""
    found = {}
    for one in pkgutil.iter_modules(fastjac.kernels.__path__):
        module = importlib.import_module(f"fastjac.kernels.{one.name}")
        for name, value in vars(module).items():
            if hasattr(value, "overloads") and value.__module__ == module.__name__:
                found[f"{one.name}.{name}"] = value
    return found


@pytest.fixture(scope="module")
def modules():
    """The optimised code of every kernel in both types: a name for each, and its functions' names and texts.

    Without what Numba puts around a kernel for the call from Python.
    """
    call_every_kernel("float32")
    call_every_kernel("float64")
    result = {}
    apart = {f"apart.{one.kernel.__qualname__}": one.kernel for one in EVERY}
    for name, compiled in (all_kernels() | apart).items():
        for types, overload in compiled.overloads.items():
            # a kernel from the cache has its code in the form that others would link
            text = str(overload.library._get_module_for_linking())
            functions = dict(re.findall(rf"^define [^\n]*?{NAME}\((.*?)^}}", text, re.MULTILINE | re.DOTALL))
            own = {f: body for f, body in functions.items() if not f.strip('"').startswith(("_ZN7cpython", "cfunc."))}
            result[name, str(types)] = own
    return result


def test_every_kernel_is_read(modules):
    sources = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES.glob("*.py")]
    marked = {
        node.name
        for tree in sources
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any(getattr(d, "id", "") == "kernel" for d in node.decorator_list)
    }
    read = collections.Counter(name.partition(".")[2] for name, _ in modules if not name.startswith("apart."))
    assert set(read) == marked
    assert {name for name, types in read.items() if types < 2} == {"shuffle"}  # all others in both types
    assert len(marked) >= 12
    apart = collections.Counter(name for name, _ in modules if name.startswith("apart."))
    assert len(apart) == len(EVERY) >= 31 and set(apart.values()) == {2}


def test_the_compiler_is_given_no_leave_to_reorder_or_to_forget_nan(modules):
    """Reliability test 14: no ``nnan``, ``ninf`` or ``fast`` anywhere, and none of the milder flags either."""
    flags = re.compile(r"\b(fast|nnan|ninf|nsz|arcp|contract|afn|reassoc)\b(?! *=)")
    operations = 0
    for place, functions in modules.items():
        for name, body in functions.items():
            for line in body.splitlines():
                operations += bool(
                    re.search(r"= (?:tail call |call )?.*\b(f(add|sub|mul|div|neg|cmp)|fmuladd)\b", line)
                )
                words = re.sub(r'[%@]("[^"]*"|[\w.$]+)|!.*', "", line)  # without names
                assert not flags.search(words), (place, name, line)
    assert operations > 10_000


def test_kernels_raise_nothing_and_allocate_nothing(modules):
    """Reliability test 15: all that a kernel calls is itself, the processor, and the system to let others run.

    Numba counts references to arrays that it is handed; nothing of that makes one.
    """
    allowed = re.compile(r"llvm\.|sched_yield$|pow$|sqrt$|NRT_(inc|dec)ref$|NRT_MemInfo_call_dtor$|NRT_Free$")
    for place, functions in modules.items():
        for name, body in functions.items():
            for called in re.findall(rf"\b(?:call|invoke)\b[^\n@]*{NAME}\(", body):
                assert called in functions or allowed.match(called.strip('"')), (place, name, called)


# Whole-number divisions by what is not known when compiling. Reliability test 15 wants none; these stay, each by a
# number that is never 0, a few of them for a whole product or a step: inner loops have none.
DIVISORS = {
    ("checked.py", "_dropout_mask", "columns"): "not called for a mask without entries",
    ("counting.py", "blocks", "size"): "a tile, a panel, a chunk, a batch or a capacity",
    ("counting.py", "share", "parts"): "threads, divided by where there are two or more",
    ("dense.py", "forward", "width"): "the columns of a tile",
    ("dense.py", "strip", "down"): "tiles under each other, of which one is asked for",
    ("learning.py", "learn_rows", "o"): "a layer has an output",
    ("training.py", "_train", "batches"): "there are samples",
}


def marked_functions():
    for path in sorted(SOURCES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            marks = {getattr(one, "id", "") for one in getattr(node, "decorator_list", ())}
            if isinstance(node, ast.FunctionDef) and marks & {"kernel", "inline", "always_inline"}:
                yield path.name, node


def test_kernels_divide_whole_numbers_by_constants_or_by_what_is_never_zero():
    """Reliability test 15, but for the divisions that are listed."""
    constant = re.compile(r"\d+|(\w+\.)?[A-Z_]+|lanes\([\w.]+\)")  # numbers, names in capitals, a vector's lanes
    found = set()
    for file, function in marked_functions():
        for node in ast.walk(function):
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.FloorDiv | ast.Mod):
                divisor = ast.unparse(node.right if isinstance(node, ast.BinOp) else node.value)
                if not constant.fullmatch(divisor):
                    found.add((file, function.name, divisor))
    assert found == set(DIVISORS)


def test_kernels_call_numpy_for_nothing_that_makes_an_array():
    """Reliability test 15."""
    count = 0
    for file, function in marked_functions():
        count += 1
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and getattr(getattr(node.func, "value", None), "id", "") == "np":
                assert node.func.attr == "isfinite", (file, function.name, ast.unparse(node))
            assert not isinstance(node, ast.Raise | ast.Assert | ast.Try), (file, function.name)
    assert count > 100


def test_a_division_by_zero_would_not_raise():
    @kernel
    def divide(a, b):
        return a // b, a % b, a / b

    assert divide(7, 0)[:2] == (0, 0)
    assert divide(7, 0)[2] == np.inf
