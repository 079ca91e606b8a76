"""RELIABILITY.md names the tests of each of its promises: those whose docstring, or whose file's, says which it is.

``python tests/test_reliability.py`` writes the names into the table again.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = TESTS / "RELIABILITY.md"
PROMISES = 36
MARK = re.compile(
    r"\breliability\s+(?:test\s+(\d+)|tests\s+(\d+(?:,\s+\d+)*(?:,?\s+and\s+\d+)?))", re.IGNORECASE
)  # one test, or tests 1, 2 and 3
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.*) \|$", re.MULTILINE)
NOT_HAD = "Not had: "


def numbers(text):
    """The numbers that a docstring says it is the test of."""
    return {int(one) for found in MARK.findall(text or "") for one in re.findall(r"\d+", " ".join(found))}


def is_slow(node):
    """Whether a test, or all of a file, is marked as slow."""
    marks = getattr(node, "decorator_list", [])
    marks += [
        one.value
        for one in getattr(node, "body", [])
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "pytestmark"
    ]
    return any(re.search(r"\bmark\.slow\b", ast.unparse(mark)) for mark in marks)


def marked_in(path, tree):
    """(number, file, name, slow) of each test that says so; the name is None where a whole file does."""
    name = path.relative_to(TESTS).as_posix()
    for number in numbers(ast.get_docstring(tree)):
        yield number, name, None, is_slow(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test"):
            for number in numbers(ast.get_docstring(node)):
                yield number, name, node.name, is_slow(node) or is_slow(tree)


@functools.cache
def collected():
    """{number: what the table's last column says}."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path.name == Path(__file__).name:
            continue
        for number, file, name, slow in marked_in(path, ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(number, {}).setdefault(file, []).append((name, slow))
    texts = {}
    for number, files in found.items():
        parts = []
        for file, names in files.items():
            whole = [slow for name, slow in names if name is None]
            shown = [f"`{name}`" + (" (slow)" if slow else "") for name, slow in names if name is not None]
            what = f"all of `{file}`" + (" (slow)" if whole and whole[0] else "") if whole else f"`{file}`"
            parts.append(what + (": " + ", ".join(shown) if shown else ""))
        texts[number] = "; ".join(parts)
    return texts


def rows():
    return {int(number): shown for number, _, shown in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def test_marks_are_found():
    assert numbers("Reliability test 26: full disk") == {26}
    assert numbers("as wanted (reliability tests 2, 3 and 10).") == {2, 3, 10}
    assert numbers("reliability\n    tests 1, and 4: x") == {1, 4}
    assert numbers("Reliability test 20, 100 runs of it, and tests 7 to 9.") == {20}
    assert numbers("no such thing") == numbers(None) == set()
    source = (
        '"""All (reliability test 7)."""\n@pytest.mark.slow\ndef test_a():\n    "Reliability test 8."\n'
        'def helper():\n    "Reliability test 9."\n'
    )
    assert list(marked_in(TESTS / "test_x.py", ast.parse(source))) == [
        (7, "test_x.py", None, False),
        (8, "test_x.py", "test_a", True),
    ]


@pytest.mark.parametrize("number", range(1, PROMISES + 1))
def test_every_promise_has_its_tests_or_a_reason(number):
    shown = rows()[number]
    if shown.startswith(NOT_HAD):
        assert number not in collected(), f"it has tests now; python {Path(__file__).name} names them"
        assert len(shown) > len(NOT_HAD) + 20
    else:
        assert number in collected(), f"no docstring under tests/ says 'reliability test {number}'"
        assert shown == collected()[number], f"python tests/{Path(__file__).name} writes the table again"


def test_no_test_keeps_a_promise_that_nobody_made():
    assert sorted(rows()) == list(range(1, PROMISES + 1))
    assert set(collected()) <= set(rows())


def write():
    """Put the names of the tests into the table; reasons why there are none stay where there are none."""
    texts = collected()

    def row(match):
        number = int(match[1])
        return f"| {number} | {match[2]} | {texts.get(number, match[3])} |"

    PAGE.write_text(ROW.sub(row, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
