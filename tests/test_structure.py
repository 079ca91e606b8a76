"""How the house is built: who imports whom, what an import costs, and how often anything is compiled."""

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KERNELS = sorted((ROOT / "kernels").glob("*.py"))
LIBRARY = sorted((ROOT / "fastjac").rglob("*.py"))
DECORATORS = {"njit", "jit", "vectorize", "guvectorize", "stencil", "cfunc", "register_jitable", "overload", "prange"}


def imports(path):
    """What a file imports, as absolute names: module, or module and name; for type checkers, too."""
    package = ["fastjac", "kernels"] if path.parent.name == "kernels" else list(path.relative_to(ROOT).parent.parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.update(f"{module}.{name.name}" for name in node.names)
    return found


def within(names, *packages):
    return {name for name in names if any(name == p or name.startswith(p + ".") for p in packages)}


def run(code, **environment):
    """A new process that prints JSON."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
        cwd=environment.get("PWD", ROOT.parent),
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


# --- who imports whom ---------------------------------------------------------------------------------------------


def test_there_is_something_to_look_at():
    assert len(KERNELS) > 10
    assert len(LIBRARY) > 20
    assert "fastjac.kernels.activations.CODES" in imports(ROOT / "fastjac" / "paths" / "fused.py")


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_kernels_import_nothing_of_the_library(path):
    own = {f"fastjac.kernels.{other.stem}" for other in KERNELS}
    for name in within(imports(path), "fastjac", "kernels"):
        assert name.startswith("fastjac.kernels."), name
        assert any(name == one or name.startswith(one + ".") for one in own), name
    outside = {name.split(".")[0] for name in imports(path)} - {"fastjac"} - set(sys.stdlib_module_names)
    assert outside <= {"numpy", "numba", "llvmlite"}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_imports_kernels_as_a_top_level_package(path):
    assert not within(imports(path), "kernels")


def test_the_slow_paths_and_the_course_import_no_kernels():
    slow = [
        *(ROOT / "fastjac" / "jacobians").glob("*.py"),
        *(ROOT / "fastjac" / "paths" / n for n in ("reference.py", "unfused.py")),
    ]
    for path in slow:
        names = imports(path)
        assert not within(names, "fastjac.kernels", "numba", "llvmlite"), path.name
        assert within(names, "fastjac") == within(names, "fastjac.jacobians"), path.name


# from the ground up: a file imports from its own package or from a storey below, for type checkers, too
STOREYS = [
    {"jacobians", "kernels"},
    {"support"},
    {"paths", "files"},
    {"nn"},
    {"training", "data"},
    {"inspection"},
    {"sequential"},
    {"exchange"},
    {"__init__"},
    {"cli", "estimators", "benchmarks"},
    {"__main__"},
]
HEIGHT = {one: k for k, storey in enumerate(STOREYS) for one in storey}


def part(name):
    """What a reader sees of a module in the root of the library: its first name."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in HEIGHT else "__init__"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    name = path.relative_to(ROOT / "fastjac").parts[0].removesuffix(".py")
    assert name in HEIGHT, f"STOREYS has no {name}: say what it may import"
    if name == "__init__":
        return  # the public names, from wherever they are: of type checkers and of ``__getattr__``
    for imported in within(imports(path), "fastjac"):
        below = part(imported)
        assert below == name or HEIGHT[below] < HEIGHT[name], f"{path.name} imports {imported}"


def modules():
    """Each module's file, by its absolute name."""
    names = {}
    for path in [*LIBRARY, *KERNELS]:
        base = ROOT / "fastjac" if path.is_relative_to(ROOT / "fastjac") else ROOT
        parts = [*path.relative_to(base).with_suffix("").parts]
        names[".".join(["fastjac", *(parts[:-1] if parts[-1] == "__init__" else parts)])] = path
    return names


def test_no_files_import_each_other_in_a_circle():
    files = modules()
    arrows = {}
    for name, path in files.items():
        wanted = imports(path) if name != "fastjac" else set()
        arrows[name] = {one for one in (_module(found, files) for found in wanted) if one not in (None, name)}
    arrows = {name: {one for one in found if not name.startswith(one + ".")} for name, found in arrows.items()}
    assert sum(map(len, arrows.values())) > 200
    while arrows:
        free = [name for name, found in arrows.items() if not found & arrows.keys()]
        assert free, f"a circle among {sorted(arrows)}"
        for name in free:
            del arrows[name]


def _module(name, files):
    """The file that an imported name comes from: the module, or the one it is in."""
    while name and name not in files:
        name = name.rpartition(".")[0]
    return name or None


def test_the_root_has_few_doors():
    entries = {path.name.removesuffix(".py") for path in (ROOT / "fastjac").iterdir() if path.suffix in ("", ".py")}
    doors = {one for one in entries if not one.startswith("_") and one != "py.typed"}
    assert doors <= set(HEIGHT) and len(doors) <= 12, sorted(doors)


def test_only_one_file_imports_numbas_decorators():
    for path in [*KERNELS, *LIBRARY]:
        names = within(imports(path), "numba")
        used = {name.split(".")[-1] for name in names} & DECORATORS
        assert not used or path.name == "_jit.py", (path.name, used)
        if path.parent.name != "kernels":
            assert not names or path.name == "inspection.py", (path.name, names)  # which prints Numba's version
        if path.name not in ("_jit.py", "_cache.py", "_pipeline.py"):
            assert "numba" not in names or path.name == "inspection.py", path.name


def test_kernels_do_not_raise_assert_or_allocate():
    """Compiled functions return a status; what they need is handed in."""
    for path in KERNELS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            marks = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
            if not marks & {"kernel", "inline"}:
                continue
            for inner in ast.walk(node):
                assert not isinstance(inner, ast.Raise | ast.Assert), (path.name, node.name)
                if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                    assert inner.func.attr not in ("empty", "zeros", "ones", "full", "copy"), (path.name, node.name)


CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "thread_time", "time"}


def timed_assertions(source):
    """Lines that assert that something took less than some time: they fail on a machine with other things to do."""

    def clocks(node):
        return any(
            isinstance(one, ast.Call)
            and isinstance(one.func, ast.Attribute | ast.Name)
            and (one.func.attr if isinstance(one.func, ast.Attribute) else one.func.id) in CLOCKS
            for one in ast.walk(node)
        )

    tree = ast.parse(source)
    timed = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and clocks(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assert):
            continue
        for one in ast.walk(node.test):
            if isinstance(one, ast.Compare) and isinstance(one.ops[0], ast.Lt | ast.LtE):
                limit = one.comparators[0]
                if isinstance(limit, ast.Constant) and isinstance(limit.value, int | float) and limit.value >= 60:
                    continue  # which only tells an end from a hang
                names = {inner.id for inner in ast.walk(one) if isinstance(inner, ast.Name)}
                keys = {inner.value for inner in ast.walk(one.left) if isinstance(inner, ast.Constant)}
                if clocks(one) or names & timed or keys & {"seconds", "elapsed", "took"}:
                    yield node.lineno


def test_no_test_asserts_how_long_something_takes():
    assert list(timed_assertions("assert result['seconds'] < 0.5")) == [1]
    assert list(timed_assertions("t = time.monotonic()\nassert time.monotonic() - t < 2")) == [2]
    assert list(timed_assertions("t = perf_counter() - a\nassert t <= 2 and ok")) == [2]
    assert list(timed_assertions("t = time.time()\nassert time.time() - t < 60.0")) == []
    assert list(timed_assertions("assert len(history['seconds']) < 3 or a < b")) == [1]  # where in doubt
    assert list(timed_assertions("t = time.time()\nassert a == 2 and b < c\nwhile time.time() < t: pass")) == []
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for line in timed_assertions(path.read_text(encoding="utf-8"))
    }
    assert found == set()


# --- imports ------------------------------------------------------------------------------------------------------


def test_an_import_compiles_nothing_makes_no_folder_and_brings_no_extras(tmp_path):
    cache = tmp_path / "cache"
    result = run(
        """
        import json, sys, threading
        before = threading.active_count()
        import fastjac
        library = [m for m in sys.modules if m.split(".")[0] in ("numpy", "numba") or m.startswith("fastjac.")
                   and m not in ("fastjac.support", "fastjac.support.interpreter")]
        for name in dir(fastjac):
            getattr(fastjac, name)
        from fastjac.kernels import _jit
        print(json.dumps({
            "at once": library,
            "compiles": _jit.statistics().compiles, "hits": _jit.statistics().hits,
            "top": "kernels" in sys.modules, "threads": threading.active_count() - before,
            "extras": [m for m in ("torch", "sklearn", "rich", "click", "matplotlib", "pandas", "hypothesis",
                                   "pytest", "jax", "tqdm") if m in sys.modules],
        }))
        """,
        FASTJAC_CACHE_DIR=str(cache),
    )
    assert result == {"at once": [], "compiles": 0, "hits": 0, "top": False, "threads": 0, "extras": []}
    assert not cache.exists()


def test_kernels_can_not_be_imported_from_the_top_of_an_installation(tmp_path):
    assert (
        run(
            """
        import importlib.util, json
        import fastjac.kernels
        spec = importlib.util.find_spec("kernels")
        ours = spec is not None and spec.origin is not None and spec.origin == fastjac.kernels.__file__
        print(json.dumps(ours))
        """,
            PWD=str(tmp_path),
            PYTHONPATH="",
        )
        is False
    )


def test_a_program_may_have_a_package_of_its_own_called_kernels(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("mine = True\n")
    assert run(
        """
        import json, sys
        sys.path.insert(0, ".")
        import kernels, fastjac.kernels
        print(json.dumps([kernels.mine, kernels is fastjac.kernels]))
        """,
        PWD=str(tmp_path),
    ) == [True, False]


def test_type_checkers_see_the_names_that_are_imported_when_used():
    import fastjac

    tree = ast.parse((ROOT / "fastjac" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {name.asname: node.module for node in block.body for name in node.names}
    wanted = {name: f"fastjac.{module}".rpartition(".")[0] for name, module in fastjac._MODULES.items()}
    wanted |= {name: f"fastjac.{module}" for name, module in fastjac._PLACES.items()}
    assert seen == wanted
    everything = {}
    exec("from fastjac import *", everything)
    assert set(wanted) <= set(everything)
    assert everything["Sequential"] is fastjac.Sequential and set(wanted) <= set(dir(fastjac))


def test_a_name_that_is_not_there_is_refused_as_by_any_module():
    import fastjac

    with pytest.raises(AttributeError, match="module 'fastjac' has no attribute 'Sequental'") as refused:
        fastjac.Sequental  # noqa: B018
    assert (refused.value.name, refused.value.obj) == ("Sequental", fastjac)  # of which Python makes its suggestion
    with pytest.raises(ImportError, match="Sequental"):
        exec("from fastjac import Sequental")


def test_every_public_name_is_documented_and_comes_from_the_library():
    import fastjac

    imported_by_the_file = {"annotations", "importlib", "sys", "TYPE_CHECKING", "Any"}
    names = [name for name in dir(fastjac) if not name.startswith("_") and name not in imported_by_the_file]
    assert {
        "Sequential",
        "Dense",
        "Adam",
        "EarlyStopping",
        "compare",
        "check_gradients",
        "jacobians",
        "kernels",
    } <= set(names)
    for name in names:
        assert getattr(fastjac, name).__doc__, name
    assert Path(fastjac.__file__).with_name("py.typed").is_file()


# --- compilation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_compilation_serves_every_architecture(dtype):
    result = run(
        f"""
        import json
        import numpy as np
        import fastjac as fj
        from fastjac.nn.activations import NAMES
        from fastjac.kernels import _apart, _jit
        from fastjac.kernels.losses import LABELS

        rng = np.random.default_rng(0)
        dtype = "{dtype}"

        def everything(net, X, y, loss, optimizer, batch_size, threads, weight):
            net.fit(X, y, loss=loss, optimizer=optimizer, batch_size=batch_size, threads=threads, sample_weight=weight)
            net.predict(X, threads=threads)
            net.evaluate(X, y, loss)
            value, d = fj.losses.get(loss)(net.forward(X), y)
            net.backward(d)
            fj.optimizers.get(optimizer).step(net)

        def count():
            s = _jit.statistics()
            return s.compiles + s.hits

        everything(
            fj.Sequential([fj.Dense(3, 4), fj.Dense(4, 2)], seed=0, dtype=dtype), rng.normal(size=(9, 3)),
            rng.integers(0, 2, 9), "softmax_cross_entropy", "sgd", 4, 1, None,
        )
        for one in _apart.EVERY:  # activations, losses, rules and layers that the first network has not
            one.address(np.dtype(dtype))
        first, loaded = count(), []
        losses = [loss for name, loss in fj.losses.BY_NAME.items() if name != "binary_cross_entropy_probabilities"]
        losses += [fj.Huber(0.25), fj.QuantileLoss(0.9), fj.Huber(3), fj.QuantileLoss(np.float32(0.125))]
        for k in range(12):
            loss = losses[k]
            inputs, outputs, rows = 1 + 7 * k, 1 + (5 * k) % 11, 3 + 60 * k
            layers, width = [], inputs
            for j in range(k % 5):
                layers.append(fj.Dense(width, 3 + 9 * j + k, activation=NAMES[(k + j) % len(NAMES)], bias=bool(j % 2)))
                width = layers[-1].outputs
            if k % 3 == 0:
                layers.insert(0, fj.Dropout(0.1))
            if k % 4 == 1:
                layers.append(fj.Activation("gelu"))
            layers.append(fj.Dense(width, outputs))
            if loss.probabilities:
                layers.append(fj.Softmax())
            net = fj.Sequential(layers, inputs=inputs, seed=k, dtype=dtype)
            X = rng.normal(size=(rows, inputs))
            if k % 2:
                X = np.asfortranarray(X).astype(dtype)
            y = rng.random((rows, outputs)) if loss.kind != LABELS else rng.integers(0, outputs, rows)
            optimizer = [fj.SGD(0.01, momentum=0.5), fj.Adam(clip_norm=1.0), fj.AdamW(fj.cosine_decay(0.1, 9))][k % 3]
            weight = None if k % 2 else rng.random(rows) + 0.1
            everything(net, X, y, loss, optimizer, [1, 7, 64, 1000][k % 4], 1 + k % 3, weight)
            loaded.append(count() - first)
        print(json.dumps([first, loaded]))
        """
    )
    first, loaded = result
    assert 0 < first < 60
    assert loaded == [0] * 12
