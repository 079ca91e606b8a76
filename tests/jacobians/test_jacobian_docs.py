"""The docstrings run, say what they must, and the page made of them is the committed one."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastjac import jacobians

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(m.name for m in pkgutil.iter_modules(jacobians.__path__, "fastjac.jacobians."))
FUNCTIONS = [name for name in jacobians.__all__ if inspect.isfunction(getattr(jacobians, name))]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_documents_its_row_its_errors_and_an_example(name):
    text = inspect.getdoc(getattr(jacobians, name))
    assert ">>> " in text
    assert re.search(r"^Raises:\n    (TypeError, )?ValueError: \S", text, re.MULTILINE)
    if name not in ("cost", "costs", "explain"):
        assert re.search(r"Course rows? [A-E]\d|Beyond the course, row F\d", text)


def test_every_function_of_a_row_names_that_row_and_every_public_function_has_a_row():
    in_rows = set()
    for row in jacobians.ROWS.values():
        for name in row.functions:
            in_rows.add(name)
            assert re.search(rf"\b{row.id}\b", inspect.getdoc(getattr(jacobians, name))), (row.id, name)
    assert set(FUNCTIONS) - in_rows <= {"cost", "costs", "explain"}


def test_the_slips_of_the_slides_are_noted():
    assert "slide prints" in jacobians.sin_cos_tan.__doc__ and "slip" in jacobians.sin_cos_tan.__doc__
    assert "slide prints a1·b2" in jacobians.Diagonal.__doc__


def test_the_course_page_is_up_to_date():
    result = subprocess.run(
        [sys.executable, ROOT / "docs" / "build_course.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_course_page_has_every_row_with_its_formula_function_shape_and_test():
    page = (ROOT / "docs" / "course.md").read_text(encoding="utf-8")
    for row in jacobians.ROWS.values():
        section = page.split(f"### {row.id} ", 1)[1].split("\n### ", 1)[0]
        assert row.formula in section and row.shape in section and f"test_{row.id}_" in section
        for name in row.functions:
            assert f"jacobians.{name}" in section


def test_jacobians_and_the_slow_paths_import_numpy_alone():
    package = ROOT / "fastjac"
    paths = [
        *package.glob("jacobians/*.py"),
        package / "paths" / "reference.py",
        package / "paths" / "unfused.py",
    ]
    assert len(paths) > 10
    imported = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                imported.add("." * node.level + (node.module or ""))
    outside = {name for name in imported if not name.startswith(".")}
    assert outside <= {
        "numpy",
        "numpy.typing",
        "importlib",
        "math",
        "sys",
        "numbers",
        "typing",
        "collections.abc",
        "dataclasses",
        "__future__",
    }
    assert {name for name in imported if name.startswith("..")} <= {
        "..jacobians",
        "..jacobians.elementwise",
        "..jacobians.samples",
    }
