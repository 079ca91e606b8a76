"""What holds for every kernel: few parameters, files that know nothing of those above them, and how-tos that work."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastjac.kernels import _jit, blocking
from fastjac.kernels.simd import register_bytes

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-kernels-work.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "kernels").glob("*.py"))
MARKS = {"kernel", "inline", "always_inline", "never_inline", "intrinsic"}


def compiled(path):
    """The functions of a file that compiled code is made of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        marks = {one.id for one in getattr(node, "decorator_list", ()) if isinstance(one, ast.Name)}
        if isinstance(node, ast.FunctionDef) and marks & MARKS:
            yield node, marks


def test_no_kernel_has_more_than_eleven_parameters():
    found = [(path.name, node, marks) for path in FILES for node, marks in compiled(path)]
    assert len(found) > 200
    for name, node, marks in found:
        count = len(node.args.args) - ("intrinsic" in marks)  # Numba's own first one
        assert count <= 11, f"{name}: {node.name} has {count} parameters"
        assert not (node.args.vararg or node.args.kwonlyargs or node.args.kwarg), (name, node.name)


def test_every_entry_says_what_it_takes():
    for path in FILES:
        for node, marks in compiled(path):
            if "kernel" in marks:
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def imported(path):
    """The files of the kernels that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else [name.name for name in node.names]


def test_each_file_knows_nothing_of_those_below_it_in_the_table():
    rows = [re.findall(r"`(\w+)`", cell) for cell in re.findall(r"^\| (`.+?) \|", PAGE, re.M)]
    height = {name: k for k, names in enumerate(rows) for name in names}
    assert set(height) == {path.stem for path in FILES if not path.stem.startswith("_")}
    for path in FILES:
        for below in imported(path):
            if path.stem in height and below in height:
                assert height[below] < height[path.stem], f"{path.name} imports {below}"
            elif path.name != "__init__.py":
                assert below.startswith("_"), f"{path.name}, which is below the table, imports {below}"


def power(exponent):
    @_jit.inline
    def raised(x):
        return x**exponent

    return raised


@pytest.mark.parametrize("count", [1, 2, 9])
def test_each_number_calls_its_own_function(count):
    """Two choices bear two names: with one, a kernel that calls both would call one of them twice."""
    choose = _jit.one_of([power(k + 1) for k in range(count)], "x")
    other = _jit.one_of([power(k + 10) for k in range(count)], "x")
    assert choose.__qualname__ != other.__qualname__

    def both(code, x):
        return choose(code, x), other(code, x)

    compiled = _jit.transient(both)
    for code in range(count):
        assert compiled(code, 2.0) == both(code, 2.0) == (2.0 ** (code + 1), 2.0 ** (code + 10))


# --- the how-tos ----------------------------------------------------------------------------------------------------


def blocks(heading):
    """The blocks of code under a heading, with the comment above each."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"(?:<!-- (.+?) -->\n)?```(\w+)\n(.*?)```", section, re.S)


@pytest.fixture
def copy(tmp_path):
    """The library as it is installed, with its kernels within."""
    for name in ("fastjac", "kernels"):
        place = tmp_path / ("fastjac/kernels" if name == "kernels" else name)
        shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(copy, code):
    """Code in a process that has the copy for a library."""
    start = f"""
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, PathFinder]  # no other fastjac
sys.path.insert(0, {str(copy)!r})
import numpy as np
import fastjac
assert fastjac.__file__.startswith({str(copy)!r})
"""
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=600, check=False, cwd=copy
    )


BITS = """
import hashlib
from fastjac import kernels
rng = np.random.default_rng(0)
found = hashlib.sha256()
for n, i, o in ((1, 7, 40), (13, 40, 17), (300, 129, 161), (9, 5, 3)):
    X, W, b, d = (rng.normal(size=s).astype("f4") for s in ((n, i), (i, o), (o,), (n, o)))
    for one in (kernels.dense_forward(X, W, b), *kernels.dense_backward(d, d, X, W)):
        found.update(np.ascontiguousarray(one).tobytes())
"""


def test_a_block_size_is_changed_in_one_line_and_changes_no_bit(copy):
    (_, _, line), (_, _, error) = blocks("How to change a block size")
    path = copy / "fastjac" / "kernels" / "blocking.py"
    before = path.read_text(encoding="utf-8")
    name = line.partition(" = ")[0]
    (old,) = re.findall(rf"^{name} = Blocks\(.*\)\n", before, re.M)
    assert sorted(re.findall(r"\w+=", old)) == sorted(re.findall(r"\w+=", line)) and old != line
    path.write_text(before.replace(old, line), encoding="utf-8")
    changed = run(copy, BITS + "print(kernels.blocking.TILE_ROWS, found.hexdigest())")
    assert changed.returncode == 0, changed.stderr
    scope = {}
    exec("import numpy as np\n" + BITS, scope)
    rows, bits = changed.stdout.split()
    assert bits == scope["found"].hexdigest()
    if blocking.HERE is getattr(blocking, name):
        assert int(rows) == int(re.search(r"tile_rows=(\d+)", line)[1]) != blocking.TILE_ROWS
    # and where it does not fit, the import ends with the page's words
    path.write_text(before.replace(old, line.replace("tile_rows=4", "tile_rows=5")), encoding="utf-8")
    refused = run(copy, "import fastjac.kernels")
    assert refused.returncode != 0 and refused.stderr.strip().endswith(error.strip())


def test_an_activation_is_added_in_one_file(copy):
    (_, _, functions), (_, _, row) = blocks("How to add an activation kernel")
    path = copy / "fastjac" / "kernels" / "activations.py"
    text = path.read_text(encoding="utf-8")
    assert text.count("\nTABLE = (\n") == text.count("\n)\nCODES = {") == 1
    text = text.replace("\nTABLE = (\n", f"\n{functions}TABLE = (\n").replace("\n)\nCODES = {", f"\n{row})\nCODES = {{")
    path.write_text(text, encoding="utf-8")
    done = run(
        copy,
        """
from fastjac import kernels
z = np.linspace(-9, 9, 37).reshape(1, -1)
a = kernels.activation_forward(z, "softsign")
np.testing.assert_allclose(a, z / (1 + abs(z)), rtol=1e-15)
d = kernels.activation_backward(np.ones_like(z), a, "softsign")
np.testing.assert_allclose(d, (1 + abs(z)) ** -2.0, rtol=1e-14)
X, W = np.array([[1.0, 2.0]]), np.array([[1.0], [-3.0]])
np.testing.assert_allclose(kernels.dense_forward(X, W, None, "softsign"), [[-5 / 6]], rtol=1e-15)
""",
    )
    assert done.returncode == 0, done.stderr


def test_the_inner_loop_of_a_tile_is_found_and_stays_in_registers(capsys):
    ((_, language, code),) = blocks("How to look at the assembly of a tile")
    assert language == "python"
    scope = {}
    exec(code, scope)
    loop = capsys.readouterr().out
    assert "sp)" not in loop and "[sp" not in loop, loop
    if register_bytes() >= 32:
        times, rest = divmod(len(re.findall(r"vfmadd\w+ps", loop)), 2 * scope["TILE_ROWS"])
        assert times > 0 and rest == 0, loop  # more than once where LLVM unrolls it
