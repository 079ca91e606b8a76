"""Docstrings have one form, Google's: "Args:", "Returns:", "Raises:", and the names in them are those of the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "fastjac").rglob("*.py"), *(ROOT / "kernels").glob("*.py")])
# where everything public is described in full, with every parameter
WHOLE = [
    *(ROOT / "fastjac" / "jacobians").glob("[!_]*.py"),
    *(ROOT / "fastjac" / "inspection" / f"{name}.py" for name in ("checks", "comparison", "explain")),
]

TITLES = ["Attributes", "Args", "Returns", "Raises", "Warns", "Example"]
EXAMPLE = re.compile(r"^ *>>> .*(\n *\S.*)*", re.MULTILINE)
ITEM = re.compile(r"([\w.]+(?:, [\w.]+)*): \S")
COLUMN = re.compile(r" *[a-z]\w*(, \w+)* {2,}\S", re.IGNORECASE)
SENTENCE = re.compile(r" *Returns\b(?!:)|.*\bRaises [A-Z]")


def sections(text):
    """(title, lines without their indentation) one after the other; the title of what is in no section is None."""
    found = [(None, [])]
    for line in EXAMPLE.sub("", text).split("\n"):
        if line.endswith(":") and line[:-1] in TITLES:
            found.append((line[:-1], []))
        elif line and not line.startswith("    ") and found[-1][0]:
            found.append((None, [line]))
        else:
            found[-1][1].append(line[4:] if found[-1][0] else line)
    return found


def parameters_of(node):
    """Of a function, or of a class's own ``__init__``."""
    if isinstance(node, ast.ClassDef):
        node = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        return [] if node is None else parameters_of(node)
    given = node.args
    places = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [one.arg for one in places if one is not None and one.arg not in ("self", "cls")]


def faults(node, whole=True, method=False):
    """What is wrong with the docstring of a function or class."""
    text = ast.get_docstring(node)
    if text is None:
        return
    found = sections(text)
    titles = [title for title, _ in found if title]
    if len(titles) != len(set(titles)):
        yield f"a section twice: {titles}"
    named = {}
    for title, lines in found:
        if title is None:
            yield from (f"a column, not a section: {line!r}" for line in lines if COLUMN.match(line))
        elif title != "Example" and not "".join(lines).strip():
            yield f"{title} is empty"
        elif title in ("Attributes", "Args", "Raises"):
            items = [line for line in lines if line and not line.startswith(" ")]  # one may go on further in
            yield from (f"{title}: no name, colon and text: {line!r}" for line in items if not ITEM.match(line))
            named[title] = [name for line in items if ITEM.match(line) for name in ITEM.match(line)[1].split(", ")]
    described, parameters = named.get("Args", []), parameters_of(node)
    if parameters or isinstance(node, ast.FunctionDef):
        yield from (f"Args: {name} is no parameter" for name in described if name not in parameters)
        yield from (f"Args: {name} twice" for name in set(described) if described.count(name) > 1)
    if not whole:
        return

    if titles != sorted(titles, key=TITLES.index):
        yield f"sections in another order than {TITLES}: {titles}"
    for title, lines in found:
        if title is None:
            yield from (f"a sentence, not a section: {line!r}" for line in lines if SENTENCE.match(line))
    if isinstance(node, ast.ClassDef):
        fields = [one.target.id for one in node.body if isinstance(one, ast.AnnAssign)]
        if "Attributes" in named and named["Attributes"] != fields:
            yield f"Attributes: {named['Attributes']}, expected {fields}"
    if described != parameters:
        yield f"Args: {described}, expected {parameters}"
    if isinstance(node, ast.FunctionDef):
        gives = node.returns is None or ast.unparse(node.returns) != "None"
        if gives and not method and "Returns" not in titles:
            yield "no Returns"
        if "Raises" not in titles and any(isinstance(one, ast.Raise) for one in ast.walk(node)):
            yield "no Raises"


def classes_and_functions(tree, public):
    """Each with whether it is a method; if so asked, only those whose names begin with a letter."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not (public and node.name.startswith("_")):
            yield node, isinstance(tree, ast.ClassDef)
            if isinstance(node, ast.ClassDef):
                yield from classes_and_functions(node, public)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_of_one_form_and_name_what_is_there(path):
    whole = path in WHOLE
    found = [
        f"line {node.lineno}, {node.name}: {fault}"
        for node, method in classes_and_functions(ast.parse(path.read_text(encoding="utf-8")), public=whole)
        for fault in faults(node, whole, method)
    ]
    assert not found, "\n".join(found)


OLD_FORM = '''
def scale(x, by=2.0):
    """y = by·x.

    x           (n,), a vector
    by          what it is multiplied by
    Returns (n,). Raises ValueError if x is no vector.

    >>> scale([1.0])
    array([2.])
    """
'''
NEW_FORM = '''
def scale(x, by=2.0):
    """y = by·x.

    Args:
        x: (n,), a vector
            of numbers.
        by: what it is multiplied by.

    Returns:
        (n,).

        - y: (n,).

    Raises:
        TypeError, ValueError: x is no vector.

    >>> scale([1.0])
    array([2.])
    """
    raise ValueError
'''


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", None),
        ("x: (n,)", "X: (n,)", "Args: X is no parameter"),
        ("        by: what it is multiplied by.\n", "", r"Args: \['x'\], expected \['x', 'by'\]"),
        ("(x, by=2.0)", "(by, x)", r"Args: \['x', 'by'\], expected \['by', 'x'\]"),
        ("        by: ", "        x: ", "Args: x twice"),
        ("        by: what", "        what", "Args: no name, colon and text: 'what it"),
        ("    Returns:\n        (n,).\n\n        - y: (n,).\n\n", "", "no Returns"),
        ("        (n,).\n\n        - y: (n,).\n", "", "Returns is empty"),
        ("    Raises:\n        TypeError, ValueError: x is no vector.\n\n", "", "no Raises"),
        ("    Raises:", "    Args:", "a section twice"),
        ("    >>> scale", "    Raises ValueError if x is no vector.\n\n    >>> scale", "a sentence"),
        ("    Args:\n", "    n           a count\n\n    Args:\n", "a column, not a section: 'n           a count'"),
        ("    Returns:", "    Raises:\n        TypeError: no.\n\n    Returns:", "sections in another order"),
    ],
)
def test_what_is_wrong_with_a_docstring_is_found(old, new, fault):
    assert old in NEW_FORM
    found = list(faults(ast.parse(NEW_FORM.replace(old, new, 1) if old else NEW_FORM).body[0]))
    assert any(re.match(fault, one) for one in found) if fault else not found, found


def test_the_form_that_the_jacobians_had_is_found():
    node = ast.parse(OLD_FORM).body[0]
    found = list(faults(node))
    assert sum(one.startswith("a column") for one in found) == 2 and any(one.startswith("a sentence") for one in found)
    assert any(one.startswith("a column") for one in faults(node, whole=False))
