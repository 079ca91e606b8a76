"""Docstrings have one form, Google's: "Args:", "Returns:", "Raises:", and the names in them are those of the code.

What the pages in docs/reference show is public and has the form in full; anything else has it as far as it goes.
"""

import ast
import inspect
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "fastjac").rglob("*.py"), *(ROOT / "kernels").glob("*.py")])
TITLES = ["Args", "Attributes", "Returns", "Raises", "Warns", "Example"]
EXAMPLE = re.compile(r"^ *>>> .*(\n *\S.*)*", re.MULTILINE)
ITEM = re.compile(r"([\w.]+(?:, [\w.]+)*): \S")
COLUMN = re.compile(r" *[a-z]\w*(, \w+)* {2,}\S", re.IGNORECASE)
SENTENCE = re.compile(r"(.*[.;])? *Returns\b(?!:)|.*\bRaises [A-Z]")
# "::: fastjac.name" and its options, as mkdocs takes them
ENTRY = re.compile(r"^::: ([\w.]+)\n((?: .*\n|\n(?= ))*)", re.MULTILINE)
FILTER = re.compile(r'^ *- "!(.*)"$', re.MULTILINE)
MEMBER = re.compile(r"^ *- (\w+)$", re.MULTILINE)


# --- what is public -----------------------------------------------------------------------------------------------


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def file_of(module):
    """Where a module is; None: there is no such module."""
    place = ROOT.joinpath(*re.sub(r"^fastjac\.kernels\b", "kernels", module).split("."))
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def imported(path):
    """What a file has from others of the library: name -> its name there."""
    froms = [one for one in ast.walk(parsed(path)) if isinstance(one, ast.ImportFrom)]
    modules = [f"fastjac.{path.parent.name}.{one.module}" if one.level else one.module for one in froms]
    return {
        alias.asname or alias.name: f"{module}.{alias.name}"
        for one, module in zip(froms, modules, strict=True)
        for alias in one.names
        if module.startswith("fastjac.") or module == "fastjac"
    }


def definition(name):
    """The file in which "fastjac.…" is defined, and its name there; of a module, None for that."""
    if file_of(name):
        return file_of(name), None
    module, _, own = name.rpartition(".")
    path = file_of(module)
    return definition(imported(path)[own]) if own in imported(path) else (path, own)


def names_of(node):
    """Of the classes and functions in a class or module."""
    return [one.name for one in node.body if isinstance(one, ast.ClassDef | ast.FunctionDef)]


def class_in(path, name):
    return next((one for one in parsed(path).body if isinstance(one, ast.ClassDef) and one.name == name), None)


def bases_of(path, name):
    """The files and names of a class's bases within the library, from the nearest on."""
    for base in map(ast.unparse, class_in(path, name).bases):
        found = definition(imported(path)[base]) if base in imported(path) else (path, base)
        if class_in(*found):
            yield found
            yield from bases_of(*found)


def entries():
    """What the reference shows: names as it writes them, options, and patterns of what is hidden."""
    hidden = FILTER.findall((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for name, options in ENTRY.findall(page.read_text(encoding="utf-8")):
            yield name, options, FILTER.findall(options) or hidden


def public():
    """What the reference shows: file -> names, of a method "Class.method"."""
    found = defaultdict(set)
    for name, options, hidden in entries():
        path, own = definition(name)
        if own is not None:
            members = [(path, own)]
        elif "members: false" in options:
            members = []
        else:  # those of a list, or all; a package shows what it gets from its modules
            here = imported(path) if path.name == "__init__.py" else dict.fromkeys(names_of(parsed(path)))
            listed = MEMBER.findall(options) or without(hidden, here)
            members = [definition(here[one]) if here[one] else (path, one) for one in listed]
        for file, one in members:
            found[file].add(one)
            kinds = [] if class_in(file, one) is None or (own and "members: false" in options) else [(file, one)]
            if kinds and "inherited_members: true" in options:
                kinds += bases_of(file, one)
            for where, kind in kinds:
                found[where] |= {f"{kind}.{method}" for method in without(hidden, names_of(class_in(where, kind)))}
    return found


def without(hidden, names):
    return [one for one in names if not any(re.search(pattern, one) for pattern in hidden)]


PUBLIC = public()


def test_the_reference_pages_tell_what_is_public():
    def names(place):
        return PUBLIC[ROOT / place]

    assert {"Sequential", "Sequential.fit", "load"} <= names("fastjac/sequential.py")  # by fastjac/__init__.py
    assert {"Network.forward", "Network.predict"} <= names("fastjac/nn/network.py")  # inherited
    assert not {"Network", "Network.forward_layers", "Network._allocate"} & names("fastjac/nn/network.py")
    assert {"dense_forward", "huber"} <= names("kernels/checked.py")  # by kernels/__init__.py
    assert not {"loss_sums", "penalize"} & names("kernels/checked.py")
    assert names("fastjac/training/history.py") == {"History"}  # without its members
    assert {"Layer.backward", "Dense"} <= names("fastjac/nn/layers.py")
    for path in (ROOT / "fastjac" / "jacobians").glob("[!_]*.py"):
        assert names(path), path
    for path, found in PUBLIC.items():
        assert found <= {name for name, _ in classes_and_functions(parsed(path))}, path


# --- the form -----------------------------------------------------------------------------------------------------


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


def method_of(node, name):
    return next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == name), None)


def parameters_of(node, bases=()):
    """Of a function, or of a class's ``__init__``, its own or that of the nearest base that has one."""
    if isinstance(node, ast.ClassDef):
        found = [init for one in (node, *bases) if (init := method_of(one, "__init__"))]
        return parameters_of(found[0]) if found else []
    given = node.args
    places = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [one.arg for one in places if one is not None and one.arg not in ("self", "cls")]


def fields_of(node):
    """The public annotations of a class, but no ClassVar: the fields of a dataclass, and what any other declares."""
    declared = [one for one in node.body if isinstance(one, ast.AnnAssign) and not one.target.id.startswith("_")]
    return [one.target.id for one in declared if not ast.unparse(one.annotation).startswith("ClassVar")]


def attributes_of(node):
    """What objects of a class have: its fields, properties, and what its methods assign to self."""
    stored = [one for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)]
    return {*fields_of(node), *names_of(node), *(one.attr for one in stored if ast.unparse(one.value) == "self")}


def raises(node):
    """Whether a function, or a class's own ``__init__``, has a raise in it."""
    if isinstance(node, ast.ClassDef):
        return any(raises(init) for init in [method_of(node, "__init__")] if init)
    return any(isinstance(one, ast.Raise) for one in ast.walk(node))


def faults(node, whole=True, method=False, bases=(), elsewhere=()):
    """What is wrong with the docstring of a function or class.

    Args:
        node: of the syntax tree.
        whole: whether it must have the form in full.
        method: whether it is a method.
        bases: of a class, the nodes of its bases.
        elsewhere: parameters that need not be described here.
    """
    text = ast.get_docstring(node)
    if text is None:
        if whole and not method:  # a method without one is not on the page: a base or the class itself tells of it
            yield "no docstring"
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
    described, parameters = named.get("Args", []), parameters_of(node, bases)
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
    # scikit-learn's own parameters are described there, and an estimator's docstring says so
    expected = [name for name in parameters if name in described or name not in elsewhere]
    if described != expected:
        yield f"Args: {described}, expected {expected}"
    if isinstance(node, ast.ClassDef):
        # a parameter that is kept under its own name has been described in Args, and need not be once more
        given, fields = named.get("Attributes", []), [one for one in fields_of(node) if one not in described]
        there = attributes_of(node).union(*map(attributes_of, bases))
        yield from (f"Attributes: there is no {name}" for name in given if name not in there)
        if [name for name in given if name in fields] != fields:
            yield f"Attributes: {given}, expected {fields}, in this order"
    elif parameters or not method:  # others, and so properties, may say in their first line what they give
        gives = node.returns is None or ast.unparse(node.returns) not in ("None", "NoReturn")
        if gives and "Returns" not in titles:
            yield "no Returns"
    if "Raises" not in titles and raises(node):
        yield "no Raises"


def classes_and_functions(tree):
    """Each with its name; of a method, "Class.method"."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{name}", one) for name, one in classes_and_functions(node))


def parameters_in_scikit_learn(name):
    """Of its own estimator of this name."""
    return list(inspect.signature(getattr(pytest.importorskip("sklearn.neural_network"), name)).parameters)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_of_one_form_and_name_what_is_there(path):
    found = []
    for name, node in classes_and_functions(parsed(path)):
        whole = name in PUBLIC[path]
        bases = [class_in(*base) for base in bases_of(path, name)] if class_in(path, name) else ()
        elsewhere = parameters_in_scikit_learn(name) if name in ("MLPClassifier", "MLPRegressor") else ()
        wrong = faults(node, whole, "." in name, bases, elsewhere)
        found += [f"line {node.lineno}, {name}: {fault}" for fault in wrong]
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


CLASS = '''
class Place:
    """Where something is.

    Args:
        x: metres.

    Attributes:
        length: metres.
        far: whether it is more than one.

    Raises:
        ValueError: x is no number.
    """

    x: float
    length: float
    far: bool
    _kept: int
    known: ClassVar[int]

    def __init__(self, x):
        raise ValueError
'''


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", None),
        ("    Args:\n        x: metres.\n\n", "", r"Args: \[\], expected \['x'\]"),
        ("        length: metres.\n", "", r"Attributes: \['far'\], expected \['length', 'far'\]"),
        ("    far: bool", "    near: bool", "Attributes: there is no far"),
        ("    length: float\n    far: bool", "    far: bool\n    length: float", r"Attributes: .* in this order"),
        ("    Raises:\n        ValueError: x is no number.\n", "", "no Raises"),
        ("    Args:\n        x: metres.\n", "    Warns:\n        UserWarning: no.\n", "sections in another order"),
        ('    """Where', '    x = """Where', "no docstring"),
    ],
)
def test_what_is_wrong_with_the_docstring_of_a_class_is_found(old, new, fault):
    assert old in CLASS
    found = list(faults(ast.parse(CLASS.replace(old, new, 1) if old else CLASS).body[0]))
    assert any(re.match(fault, one) for one in found) if fault else not found, found


def test_parameters_are_described_where_they_are_inherited_but_not_where_another_library_has_them():
    place, other = ast.parse(CLASS + CLASS.replace("__init__", "move")).body
    assert parameters_of(other, [place]) == ["x"]
    without = ast.parse(NEW_FORM.replace("        by: what it is multiplied by.\n", "")).body[0]
    assert list(faults(without)) and not list(faults(without, elsewhere=["by"]))


def test_the_form_that_the_jacobians_had_is_found():
    node = ast.parse(OLD_FORM).body[0]
    found = list(faults(node))
    assert sum(one.startswith("a column") for one in found) == 2 and any(one.startswith("a sentence") for one in found)
    assert any(one.startswith("a column") for one in faults(node, whole=False))
