"""scikit-learn's own tests of its networks, run on ours: its module as it is installed, with only the import changed.

Nothing of it is copied here. A test that reads what is private in scikit-learn's class cannot be run on another; those
are named below, and checked to be so.
"""

import ast
import importlib.util
import pathlib
import types

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import sklearn.neural_network

pytestmark = pytest.mark.filterwarnings("ignore")  # as it expects: it trains briefly, and lets numbers overflow

FILE = pathlib.Path(sklearn.neural_network.__file__).parent / "tests" / "test_mlp.py"
NOT_OURS = {"test_gradient": "calls _loss_grad_lbfgs, the function that scikit-learn's class gives to SciPy"}


class _OurImport(ast.NodeTransformer):
    changed = 0

    def visit_ImportFrom(self, node):
        if node.module == "sklearn.neural_network":
            node.module = "fastjac.estimators"
            self.changed += 1
        return node


def _theirs():
    """Their module with our estimators, and the syntax tree it was made of; nothing where it is not installed."""
    if not FILE.exists():
        return types.ModuleType("none"), ast.Module([], [])
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    transformer = _OurImport()
    tree = ast.fix_missing_locations(transformer.visit(tree))
    assert transformer.changed == 1, "the import of scikit-learn's networks was not found"
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("theirs_with_our_import", None))
    exec(compile(tree, str(FILE), "exec"), vars(module))
    return module, tree


MODULE, TREE = _theirs()
globals().update({n: f for n, f in vars(MODULE).items() if n.startswith("test_") and n not in NOT_OURS})


@pytest.fixture
def global_random_seed():
    """As scikit-learn's own conftest has it where nothing else is asked for."""
    return 42


def test_scikit_learns_tests_are_there():
    if not FILE.exists():
        pytest.skip("the installed scikit-learn has no tests, so that none of them ran on our estimators")
    found = [name for name in globals() if name.startswith("test_") and hasattr(MODULE, name)]
    assert len(found) >= 38  # as many as scikit-learn 1.6 has
    for name in ("MLPClassifier", "MLPRegressor"):
        assert getattr(MODULE, name).__module__.startswith("fastjac.")


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_left_out_calls_what_is_private(name):
    if not FILE.exists():
        pytest.skip("the installed scikit-learn has no tests")
    functions = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}
    calls = {
        node.func.attr
        for node in ast.walk(functions[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert any(attribute.startswith("_") for attribute in calls)
