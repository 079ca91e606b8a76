"""The kernel cache: hit by the next process, never stale, never in the way, never running a planted file.

Every test copies ``_jit.py`` and ``_cache.py`` into a small package of its own, called in child processes.
"""

import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("error")

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
POSIX = os.name == "posix"
ROOT = POSIX and os.geteuid() == 0
posix_only = pytest.mark.skipif(not POSIX, reason="POSIX permissions and links")

HELPERS = """
from ._jit import inline

SCALE = 2.0

@inline
def scaled(x):
    return x * SCALE
"""

ENTRY = """
from ._jit import inline, kernel
from .helpers import scaled

@kernel
def apply(a):
    for i in range(a.size):
        a[i] = scaled(a[i])

@kernel
def twice(a):
    apply(a)
    apply(a)

@kernel
def divide(x, y):
    return x / y

@kernel
def call(f, a):
    f(a)

@inline
def plus_one(x):
    return x + 1.0

@inline
def times_hundred(x):
    return x * 100.0

def make(f):
    @kernel
    def loop(a):
        for i in range(a.size):
            a[i] = f(a[i])
    return loop

plus, hundred = make(plus_one), make(times_hundred)

@kernel
def both(a):
    plus(a)
    hundred(a)
"""

CHILD = """
import dataclasses, json, os, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np
    {before}
    from toykernels import _cache, _jit, entry

    def run(function):
        array = np.ones(3)
        function(array)
        assert array[0] == array[1] == array[2]
        return float(array[0])

    result = None
{body}
print(json.dumps(dict(
    result=result,
    statistics=dataclasses.asdict(_jit.statistics()),
    warnings=[f"{{w.category.__name__}}: {{w.message}}" for w in caught],
)))
"""

# Unpickling one of these leaves a file behind.
POTENT = "class Potent:\n    def __reduce__(self):\n        return (os.mkdir, (target,))\n"

# Drops root's rights once everything Numba imports late is imported (the interpreter may lie in root's home).
NOBODY = "import numba; numba.njit(lambda x: x + 1.0)(np.ones(1)); os.setgid(65534); os.setuid(65534)"


class Toy:
    """A throw-away package around the files under test, and its cache folder."""

    def __init__(self, home):
        self.home = home
        self.cache = home / "cache"
        self.package = home / "toykernels"
        self.package.mkdir()
        for name in (
            "_jit.py",
            "_cache.py",
            "_garbage.py",
            "_interrupts.py",
            "_lock.py",
            "_pipeline.py",
            "_private.py",
            "_target.py",
        ):
            shutil.copy(KERNELS / name, self.package)
        self.write("__init__", "")
        self.write("helpers", HELPERS)
        self.write("entry", ENTRY)

    def write(self, module, text):
        (self.package / f"{module}.py").write_text(text)

    def start(self, body, before="", **environment):
        code = CHILD.format(before=before, body=textwrap.indent(textwrap.dedent(body), "    "))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "FASTJAC_", "XDG_"))}
        settings = {
            "PYTHONPATH": str(self.home),
            "PYTHONDONTWRITEBYTECODE": "1",  # Python takes a file edited twice in a second for unchanged
            "FASTJAC_CACHE_DIR": str(self.cache),
            **environment,
        }
        full = {k: v for k, v in (inherited | settings).items() if v is not None}
        command = [sys.executable, "-c", code]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=full, cwd=self.home, stdout=pipe, stderr=pipe, text=True)

    def finish(self, process):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert errors == ""
        return json.loads(output)

    def run(self, body, before="", **environment):
        return self.finish(self.start(body, before, **environment))

    def apply(self, **environment):
        """Run one kernel in a fresh process and check what holds whatever the state of the cache."""
        answer = self.run("result = run(entry.apply)", **environment)
        assert answer["result"] == 2.0
        counts = answer["statistics"]
        assert counts["hits"] + counts["compiles"] == 1
        return answer

    def files(self, pattern="*/*"):
        return sorted(self.cache.glob(pattern))


@pytest.fixture
def toy():
    home = Path(tempfile.mkdtemp(prefix="fastjac-toy-"))  # not tmp_path, which only its owner can enter
    home.chmod(0o755)
    try:
        yield Toy(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def clean(answer):
    return answer["warnings"] == []


def test_second_process_loads_everything_and_compiles_nothing(toy):
    body = "result = [run(entry.twice), run(entry.apply), entry.divide(1.0, 0.0)]"
    first, second = toy.run(body), toy.run(body)
    assert first["result"] == second["result"] == [4.0, 2.0, float("inf")]
    assert clean(first) and clean(second)
    assert (first["statistics"]["hits"], first["statistics"]["compiles"]) == (0, 3)
    assert (second["statistics"]["hits"], second["statistics"]["compiles"]) == (3, 0)
    assert second["statistics"]["compile_seconds"] == 0.0 < first["statistics"]["compile_seconds"]
    # A kernel that calls another one carries it along.
    alone = toy.run("result = run(entry.twice)")
    assert (alone["statistics"]["hits"], alone["statistics"]["compiles"]) == (1, 0)


@posix_only
def test_files_are_private(toy):
    toy.apply()
    (file,) = toy.files()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent, toy.cache)]
    assert modes == [0o600, 0o700, 0o700]
    assert file.name.startswith("entry.apply-") and file.suffix == ".nbi"


def test_numba_statistics_and_recompile_work(toy):
    toy.apply()
    answer = toy.run(
        """
        run(entry.apply)
        hits = sum(entry.apply.stats.cache_hits.values())
        entry.apply.recompile()
        result = [hits, run(entry.apply), os.path.isdir(entry.apply.stats.cache_path)]
        """
    )
    assert answer["result"] == [1, 2.0, True] and clean(answer)
    assert answer["statistics"]["compiles"] == 1
    assert toy.apply()["statistics"]["hits"] == 1


def test_import_creates_and_changes_nothing(toy):
    before = """
    import numba.extending
    def state():
        config = {k: repr(v) for k, v in vars(numba.config).items() if k.isupper()}
        return config, dict(os.environ), list(warnings.filters)
    was = state()
    """
    body = "result = [was == state(), os.path.exists(os.environ['FASTJAC_CACHE_DIR']), os.listdir('.')]"
    answer = toy.run(body, before=textwrap.indent(textwrap.dedent(before), "    ").strip())
    assert answer["result"] == [True, False, ["toykernels"]] and clean(answer)
    assert answer["statistics"]["misses"] == 0
    # Nor does asking.
    answer = toy.run("i = _jit.cache_info(); result = [i.enabled, i.reason, i.files, _jit.clear_cache()]")
    assert answer["result"] == [True, "", 0, [0, 0]] and not toy.cache.exists()


def test_eight_processes_at_once(toy):
    body = "result = [run(entry.twice), run(entry.apply)]"
    answers = [toy.finish(process) for process in [toy.start(body) for _ in range(8)]]
    assert all(answer["result"] == [4.0, 2.0] and clean(answer) for answer in answers)
    assert sum(answer["statistics"]["compiles"] for answer in answers) == 2  # two kernels, by whoever came first
    assert sorted(file.suffix for file in toy.files()) == [".nbi", ".nbi"]
    after = toy.run(body)
    assert after["statistics"]["compiles"] == 0 and clean(after)


@pytest.mark.parametrize("flips", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_damaged_files_are_found_and_rebuilt(toy, flips):
    """Reliability test 29: truncated, lengthened, zeroed, one bit flipped."""
    toy.apply()
    (file,) = toy.files()
    answer = toy.run(
        f"""
        import random
        from pathlib import Path
        path = {str(file)!r}
        whole = Path(path).read_bytes()
        cuts = (0, 1, 7, 8, 9, 39, 40, 41, len(whole) // 2, len(whole) - 1)
        versions = [whole[:n] for n in cuts] + [whole + b"x", bytes(len(whole))]
        chance = random.Random(0)
        for _ in range({flips}):
            flipped = bytearray(whole)
            flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            versions.append(bytes(flipped))
        for version in versions:
            Path(path).write_bytes(version)
            _cache._said = False
            counts, said = _jit.statistics(), len(caught)
            value = run(_jit.kernel(entry.apply.py_func))  # a function that has loaded nothing yet
            now = _jit.statistics()
            assert (value, now.hits - counts.hits, now.compiles - counts.compiles) == (2.0, 0, 1)
            assert len(caught) == said + 1 and path in str(caught[-1].message)
            assert run(_jit.kernel(entry.apply.py_func)) == 2.0
            assert _jit.statistics().hits == now.hits + 1
        result = len(versions)
        """
    )
    assert answer["result"] == 12 + flips
    assert all(text.startswith("CacheWarning") for text in answer["warnings"])
    assert toy.apply()["statistics"]["hits"] == 1


@pytest.mark.parametrize("content", [b"", b"\x80", None])
def test_damage_costs_a_fresh_process_one_warning(toy, content):
    toy.apply()
    (file,) = toy.files()
    file.write_bytes(file.read_bytes()[:-1] if content is None else content)
    answer = toy.apply()
    assert len(answer["warnings"]) == answer["statistics"]["compiles"] == 1
    answer = toy.apply()
    assert clean(answer) and answer["statistics"]["hits"] == 1


@pytest.mark.parametrize("plant", ["bare", "wrong seal", "another's seal"])
def test_planted_pickle_never_runs(toy, plant):
    """Reliability test 29."""
    toy.apply()
    (file,) = toy.files()
    scope = {"os": os, "target": str(toy.home / "ran")}
    exec(POTENT, scope)
    payload = pickle.dumps(scope["Potent"]())
    pickle.loads(payload)  # it works where it is loaded
    (toy.home / "ran").rmdir()
    whole = file.read_bytes()
    if plant == "bare":
        file.write_bytes(payload)
    elif plant == "wrong seal":
        file.write_bytes(whole[:40] + payload)
    else:  # sealed, but as a file of another name
        toy.run(f"p = {payload!r}; open({str(file)!r}, 'wb').write(_cache._seal('another', p) + p)")
    answer = toy.apply()
    assert not (toy.home / "ran").exists()
    assert len(answer["warnings"]) == answer["statistics"]["compiles"] == 1


# What plants a file that unpickles to more than a kernel, its seal right for its key and place.
PLANT = f"""
{textwrap.indent(POTENT, "    ").strip()}
    target = os.path.join(os.getcwd(), "ran")
    (signature,) = entry.apply.nopython_signatures
    key, name = entry.apply._cache._key(signature.args, "fastjac")
    path = os.path.join(entry.apply._cache.cache_path, name)

    def plant():
        with open(path, "wb") as file:
            payload = pickle.dumps(Potent())
            file.write(_cache._seal(key, payload) + payload)
        _cache._said = False

    def again():
        before = _jit.statistics()
        value = run(_jit.kernel(entry.apply.py_func))  # a function that has loaded nothing yet
        return value, _jit.statistics().compiles - before.compiles
"""


@posix_only
def test_what_others_could_have_planted_never_runs(toy):
    """Reliability test 29. A folder that is closed now may once have been open: files are judged by themselves."""
    answer = toy.run(
        f"""
        import pickle, stat
        run(entry.apply)
        {textwrap.indent(PLANT, "    ").strip()}

        def open_to_all():
            os.chmod(path, 0o666)

        def linked():
            os.link(path, os.path.join(os.getcwd(), "another name"))

        def given_away():
            os.chown(path, 12345, 12345)

        result = []
        for change in (open_to_all, linked, given_away)[: 3 if os.geteuid() == 0 else 2]:
            plant()
            change()
            assert again() == (2.0, 1), change
            assert _cache._said and "could not be loaded" in str(caught[-1].message)
            assert not os.path.exists("ran")
            assert again() == (2.0, 0)  # the compiled one has taken its place
        plant()
        try:
            again()
        finally:
            result = os.path.exists("ran")  # our own would run: the plant is potent, the seal right
        """
    )
    assert answer["result"] is True


@pytest.mark.slow
def test_eight_cold_processes_at_once_twenty_times(toy):
    """Reliability test 29 (``pytest -m slow tests/kernels/test_jit.py -k eight_cold``): some minutes."""
    for _ in range(20):
        test_eight_processes_at_once(toy)
        shutil.rmtree(toy.cache)


def test_a_package_in_a_zip_file_is_compiled_in_every_process(toy):
    """Reliability test 29. Its sources can't be looked at; that is said once, and nothing is kept."""
    shutil.make_archive(str(toy.home / "package"), "zip", toy.home, "toykernels")
    shutil.rmtree(toy.package)
    answer = toy.run("result = [run(entry.twice), run(entry.plus)]", PYTHONPATH=str(toy.home / "package.zip"))
    assert answer["result"] == [4.0, 2.0] and not toy.files()
    (warning,) = answer["warnings"]
    assert "the sources of the kernels are not at" in warning


@posix_only
@pytest.mark.parametrize("which", ["root", "version"])
def test_a_folder_found_open_is_emptied(toy, which):
    answer = toy.run(
        f"""
        run(entry.twice)
        path = entry.apply._cache.cache_path
        path = os.path.dirname(path) if {which!r} == "root" else path
        os.chmod(path, 0o777)
        again = _jit.kernel(entry.apply.py_func)
        result = [run(again), _jit.cache_info().reason]
        os.chmod(path, 0o700)
        result += [run(_jit.kernel(entry.apply.py_func)), _jit.cache_info().files]
        """
    )
    assert "can be written by other users" in answer["result"].pop(1)
    assert answer["result"] == [2.0, 2.0, 1]
    assert answer["statistics"]["hits"] == 0 and answer["statistics"]["compiles"] == 4
    assert len(answer["warnings"]) == 1 and "can be written by other users" in answer["warnings"][0]


@posix_only
def test_the_superusers_folder_can_be_read(toy):
    """As in a container whose image was made by root."""
    if not ROOT:
        pytest.skip("only root can give up its rights")
    toy.apply()
    for path in toy.cache.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    toy.cache.chmod(0o755)
    body = "i = _jit.cache_info(); result = [run(entry.apply), i.enabled, i.reason, i.files]"
    answer = toy.run(body, NOBODY)
    value, enabled, reason, files = answer["result"]
    assert (value, enabled, files) == (2.0, True, 1) and "cannot be written: Permission denied" in reason
    assert answer["statistics"]["hits"] == 1 and clean(answer)


def test_a_file_that_cannot_be_read_this_time_is_kept(toy):
    toy.apply()
    (file,) = toy.files()
    content = file.read_bytes()
    answer = toy.run(
        """
        import errno
        from toykernels import _private

        def fail(*_):
            raise fault

        usual, result = _private.Folder.read, []
        _private.Folder.write = fail
        for fault in (OSError(errno.EMFILE, "Too many open files"), MemoryError(), OSError(errno.EIO, "I/O error")):
            _private.Folder.read, _cache._said = fail, False
            result.append(run(_jit.kernel(entry.apply.py_func)))
        _private.Folder.read = usual
        result.append(run(_jit.kernel(entry.apply.py_func)))
        """
    )
    assert answer["result"] == [2.0] * 4 and file.read_bytes() == content
    assert (answer["statistics"]["hits"], answer["statistics"]["compiles"]) == (1, 3)
    assert len(answer["warnings"]) == 3 and all("could not be loaded" in text for text in answer["warnings"])


def test_an_unfinished_compilation_elsewhere_is_not_waited_for_for_ever(toy):
    answer = toy.run(
        """
        import subprocess
        from toykernels._lock import Lock
        run(entry.twice)  # now the folder is there, and the names are known
        cache = entry.apply._cache
        (signature,) = entry.apply.nopython_signatures
        name = cache._key(signature.args, "fastjac")[1]
        _jit.clear_cache()
        os.mkdir(cache.cache_path, 0o700)
        holder = (
            "import sys; from toykernels._lock import Lock; from toykernels._private import Folder; "
            "print(Lock(Folder(sys.argv[1]), sys.argv[2]).wait_for(sys.argv[2], 0.0), flush=True); "
            "sys.stdin.readline()"
        )
        pipe = subprocess.PIPE
        other = subprocess.Popen([sys.executable, "-c", holder, cache.cache_path, name], stdin=pipe, stdout=pipe)
        assert other.stdout.readline().strip() == b"True"
        _cache._patience = 0.2
        result = [run(_jit.kernel(entry.apply.py_func)), _cache._patience, len(caught)]
        other.communicate()
        """
    )
    assert answer["result"] == [2.0, 0.0, 1]
    assert "another process did not finish compiling entry.apply" in answer["warnings"][0]
    assert [file.suffix for file in toy.files()] == [".nbi", ".lock"] or len(toy.files()) == 1


def test_a_compilation_that_fails_holds_no_lock(toy):
    toy.write("entry", ENTRY + "\n@kernel\ndef bad(a):\n    return a.nothing_of_the_kind\n")
    answer = toy.run(
        """
        import numba
        result = []
        for _ in range(2):
            try:
                run(entry.bad)
            except numba.core.errors.TypingError:
                result.append(sorted(os.listdir(entry.bad._cache.cache_path)))
        result.append(run(entry.apply))
        """
    )
    assert answer["result"] == [[], [], 2.0] and clean(answer)


def test_a_clock_that_is_behind_does_not_matter(toy):
    behind = "import time; usual = time.time; time.time = lambda: usual() - 1e8"
    body = "result = [run(entry.apply), _jit.cache_info().enabled]"
    answer = toy.run(body, behind)
    assert answer["result"] == [2.0, True] and clean(answer)
    answer = toy.run(body, behind)
    assert answer["result"] == [2.0, True] and answer["statistics"]["hits"] == 1 and clean(answer)


def test_a_folder_that_cannot_be_made_is_said(toy):
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc, in which no folder can be made")
    body = "i = _jit.cache_info(); result = [run(entry.twice), i.enabled, i.reason]"
    answer = toy.run(body, FASTJAC_CACHE_DIR="/proc/fj")
    assert answer["result"][:2] == [4.0, False] and "/proc" in answer["result"][2]
    assert len(answer["warnings"]) == 1 and "No such file or directory: '/proc/fj'" in answer["warnings"][0]


# Windows as far as it can be had elsewhere: no owners, no descriptors of folders, locks by another module.
WINDOWS = """
    import types, fcntl, numba, numba.core.caching
    def locking(descriptor, mode, count):
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
    sys.platform = "win32"
"""


@posix_only
def test_windows_says_that_owners_are_not_checked(toy):
    toy.cache.mkdir()
    toy.cache.chmod(0o777)  # means nothing there
    body = "i = _jit.cache_info(); result = [run(entry.twice), i.enabled, i.reason, i.guarded, _jit.clear_cache()]"
    answer = toy.run(body, WINDOWS.strip())
    assert answer["result"][:4] == [4.0, True, "", False] and answer["result"][4][0] == 2 and clean(answer)
    for hits in (0, 1):
        answer = toy.run("result = run(entry.apply)", WINDOWS.strip())
        assert answer["result"] == 2.0 and answer["statistics"]["hits"] == hits and clean(answer)
    assert toy.run("result = _jit.cache_info().guarded")["result"] is True


# --- Numba as it may become ---------------------------------------------------------------------------------------

# Numba's source with another name, as a release of it may have.
RENAMING = """
    import importlib.machinery, re
    class Renaming(importlib.machinery.PathFinder):
        @classmethod
        def find_spec(cls, module, path=None, target=None):
            if not module.startswith("numba"):
                return None
            spec = super().find_spec(module, path)
            if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
                source = spec.loader.get_data(spec.origin).decode()
                changed = re.sub(r"\\b{name}\\b", "new_{name}", source)
                if changed != source:
                    code = compile(changed, spec.origin, "exec", dont_inherit=True)
                    spec.loader.get_code = lambda _: code
            return spec
    sys.meta_path.insert(0, Renaming)
"""
# Numba's module of functions made by C code, gone after Numba itself has taken it
WITHOUT_DYNFUNC = """
    import numba, numba.core.caching
    del numba._dynfunc
    sys.modules["numba._dynfunc"] = None
"""
# what is used of Numba without being documented: to compile, and to keep what was compiled
NAMES = [
    "JITCodeLibrary",
    "_linking_libraries",
    "_ensure_finalized",
    "_raise_if_finalized",
    "_finalize_dynamic_globals",
    "_finalized",
    "_get_module_for_linking",
    "_data_layout",
    "_optimize_functions",
    "NativeLowering",
    "NopythonTypeInference",
    "resolve_function_type",
    "get_abi_sizeof",
    "no_cfunc_wrapper",
    "llvm_cfunc_wrapper_name",
    "PreLowerStripPhis",
    "insert_user_function",
    "no_compile",
    "_dynfunc",
    "CompilerBase",
    "magic_tuple",
    "cpu_target",
    "_defn",
    "_rebuild",
    "_reduce",
    "_cache",
    "has_dynamic_globals",
]
QUICK = ["JITCodeLibrary", "_linking_libraries", "_dynfunc", "magic_tuple", "_rebuild"]


def without(name):
    """What makes a name of Numba disappear, before it is imported."""
    return WITHOUT_DYNFUNC if name == "_dynfunc" else RENAMING.format(name=name)


@pytest.mark.parametrize("name", QUICK)
def test_numba_without_one_of_its_names(toy, name):
    """Compiled by Numba's own pipeline or by ours, kept or not: the results are the same, and one warning says so."""
    before = without(name).strip()
    body = """
    result = [run(entry.twice), run(entry.plus), run(entry.both), entry.divide(1.0, 0.0), _jit.compiled_by()]
    """
    for _ in range(2):
        answer = toy.run(body, before)
        assert answer["result"][:4] == [4.0, 2.0, 200.0, float("inf")]
        assert answer["result"][4] == ("Numba" if name in QUICK[:3] else "fastjac")
        if name == "magic_tuple":
            assert clean(answer)
        elif name == "_rebuild":
            assert len(answer["warnings"]) <= 1
        else:
            (warning,) = answer["warnings"]
            assert "Numba's own way gives the same results" in warning and name in warning
    if name != "_rebuild":
        assert answer["statistics"]["compiles"] == 0 and answer["statistics"]["hits"] == 4


FIT = """
import hashlib, json, sys, warnings
{renaming}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np
    import fastjac as fj
    from fastjac.kernels import _jit
    rng = np.random.default_rng(0)
    X, y = rng.random((300, 20)), rng.integers(0, 3, 300)
    net = fj.Sequential([fj.Dense(20, 33, activation="gelu"), fj.Dense(33, 3)], seed=0, dtype={dtype!r})
    losses = [float(loss) for loss in net.fit(X, y, loss="softmax_cross_entropy", epochs=3)["loss"]]
    bits = hashlib.sha256(net.parameters.tobytes()).hexdigest()
print(json.dumps([losses, bits, _jit.compiled_by(), len(caught)]))
"""


def fit_in_a_new_process(cache, renaming="", dtype="float32", **environment):
    """Losses of a training, a digest of the parameters it led to, whose pipeline compiled, and warnings."""
    code = FIT.format(renaming=textwrap.dedent(renaming), dtype=dtype)
    done = subprocess.run(
        [sys.executable, "-c", code],
        text=True,
        capture_output=True,
        timeout=900,
        check=False,
        env=os.environ | {"FASTJAC_CACHE_DIR": str(cache)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_bits_of_a_seed_are_the_same_in_every_process():
    """Reliability test 19, for three processes that find their kernels compiled."""
    seeds = ("0", "1", "4294967295")
    first, *others = (fit_in_a_new_process(os.environ["FASTJAC_CACHE_DIR"], PYTHONHASHSEED=seed) for seed in seeds)
    assert all(other == first for other in others)


@pytest.mark.slow
def test_the_bits_of_a_seed_are_the_same_in_twenty_processes(tmp_path):
    """Reliability test 19, warm and cold (``pytest -m slow tests/kernels/test_jit.py -k bits_of_a_seed``)."""
    caches = [os.environ["FASTJAC_CACHE_DIR"]] * 17 + [str(tmp_path / str(k)) for k in range(3)]
    results = {json.dumps(fit_in_a_new_process(cache, PYTHONHASHSEED=str(7919 * k))) for k, cache in enumerate(caches)}
    assert len(results) == 1


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["generic", "haswell", "skylake-avx512"])
def test_other_processors_round_a_little_otherwise(tmp_path, processor):
    """Reliability test 19: no promise of equal bits (``pytest -m slow tests/kernels/test_jit.py -k a_little``)."""
    here, *_ = fit_in_a_new_process(os.environ["FASTJAC_CACHE_DIR"])
    there, *_ = fit_in_a_new_process(tmp_path, NUMBA_CPU_NAME=processor)
    assert there == pytest.approx(here, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_training_on_a_numba_without_one_of_its_names(tmp_path, name):
    """All of them, in turn (``pytest -m slow tests/kernels/test_jit.py -k without_one``): a minute each."""
    expected, _, way, warned = fit_in_a_new_process(os.environ["FASTJAC_CACHE_DIR"], dtype="float64")
    assert (way, warned) == ("fastjac", 0)
    losses, _, way, warned = fit_in_a_new_process(tmp_path, without(name), dtype="float64")
    assert losses == pytest.approx(expected, rel=1e-12)
    assert warned <= 1 and (way == "fastjac" or warned == 1)
    assert way == "Numba" or name not in (*QUICK[:3], "NativeLowering", "_ensure_finalized")


@posix_only
@pytest.mark.parametrize("kind", ["symlink", "dangling", "pipe", "folder"])
def test_what_is_not_a_plain_file_is_not_read(toy, kind):
    toy.apply()
    (file,) = toy.files()
    elsewhere = toy.home / "elsewhere"
    content = file.read_bytes()
    file.unlink()
    if kind == "symlink":
        elsewhere.write_bytes(content)
        file.symlink_to(elsewhere)
    elif kind == "dangling":
        file.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    answer = toy.apply()
    assert len(answer["warnings"]) == answer["statistics"]["compiles"] == 1
    if kind != "folder":
        assert file.is_file() and not file.is_symlink()
        assert toy.apply()["statistics"]["hits"] == 1
    assert not elsewhere.exists() or elsewhere.read_bytes() == content


@posix_only
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("read-only parent", "Permission denied"),
        ("a file", "is not a folder"),
        ("below a file", "Not a directory"),
        ("world-writable", "can be written by other users"),
        ("symlink", "is a symbolic link"),
        ("foreign", "belongs to user"),
        ("no home", "Permission denied"),
        ("disk full", "File too large"),
        ("read-only folder", "Permission denied"),
    ],
)
def test_unusable_folder_costs_one_warning(toy, kind, reason):
    """Reliability test 29: a read-only package, no home, another user, a file for a folder, a full disk."""
    folder, before, home = toy.cache, "pass", {}
    owned = toy.cache if kind in ("world-writable", "symlink", "read-only folder") else None
    if kind == "read-only parent":
        (toy.home / "closed").mkdir(mode=0o555)
        folder = toy.home / "closed" / "cache"
    elif kind == "a file":
        folder.write_text("")
    elif kind == "below a file":
        (toy.home / "file").write_text("")
        folder = toy.home / "file" / "cache"
    elif kind == "world-writable":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "symlink":
        (toy.home / "real").mkdir(mode=0o777)
        folder.symlink_to(toy.home / "real")
    elif kind == "foreign":
        if not ROOT:
            pytest.skip("only root can make another user's folder")
        folder.mkdir(mode=0o755)
        os.chown(folder, 12345, 12345)
    elif kind == "no home":
        (toy.home / "closed").mkdir(mode=0o555)
        home = {"HOME": str(toy.home / "closed"), "FASTJAC_CACHE_DIR": None}
        folder = toy.home / "closed"
    elif kind == "read-only folder":
        folder.mkdir(mode=0o500)
    if ROOT and kind != "disk full":
        before = NOBODY
        if owned:
            os.chown(owned, 65534, 65534, follow_symlinks=False)
    if kind == "disk full":
        before = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    environment = {"FASTJAC_CACHE_DIR": str(folder)} | home
    answer = toy.run(
        "result = [run(entry.twice), run(entry.plus), _jit.clear_cache(), _jit.cache_info().reason]",
        before,
        **environment,
    )
    assert answer["result"][:3] == [4.0, 2.0, [0, 0]]
    assert answer["result"][3] or kind == "disk full"
    assert answer["statistics"]["compiles"] == 3
    (warning,) = answer["warnings"]
    assert warning.startswith("CacheWarning") and reason in warning and "FASTJAC_CACHE_DIR" in warning
    assert str(folder) in warning
    if folder.is_dir() and not folder.is_symlink():
        assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_edit_in_another_file_is_seen(toy):
    """Reliability test 30."""
    toy.apply()
    toy.write("helpers", HELPERS.replace("2.0", "3.0"))
    answer = toy.run("result = [run(entry.apply), run(entry.twice)]")
    assert answer["result"] == [3.0, 9.0] and answer["statistics"]["hits"] == 0 and clean(answer)
    toy.write("helpers", HELPERS)
    assert toy.apply()["statistics"]["hits"] == 1


def test_sources_edited_after_import_are_not_mixed_up(toy):
    body = """
    import time
    from pathlib import Path
    time.sleep(0.05)
    path = Path(_jit.__file__).with_name("helpers.py")
    path.write_text(path.read_text().replace("2.0", "3.0"))
    result = [run(entry.apply), _jit.cache_info().enabled]
    """
    answer = toy.run(body)
    assert answer["result"] == [2.0, False] and clean(answer)
    assert toy.files() == []
    assert toy.run("result = run(entry.apply)")["result"] == 3.0


def test_compiler_switches_are_kept_apart(toy):
    toy.apply()
    assert toy.apply(NUMBA_OPT="1")["statistics"]["hits"] == 0
    assert toy.apply(NUMBA_CPU_NAME="generic")["statistics"]["hits"] == 0
    assert toy.apply()["statistics"]["hits"] == 1
    assert len(toy.files()) == 3 and len(toy.files("*")) == 2


def test_jit_disabled(toy):
    """There are no kernels without the compiler, and a sentence says so."""
    body = """
    try:
        run(entry.twice)
    except RuntimeError as error:
        result = [str(error), entry.twice.__name__, _jit.inline(lambda x: x + 1)(1)]
    """
    answer = toy.run(body, NUMBA_DISABLE_JIT="1")
    assert "NUMBA_DISABLE_JIT" in answer["result"][0] and "unset it" in answer["result"][0]
    assert answer["result"][1:] == ["twice", 2] and clean(answer) and not toy.cache.exists()


def test_closures_of_one_factory_are_not_confused(toy):
    for name, value in (("plus", 2.0), ("hundred", 100.0)):
        assert toy.run(f"result = run(entry.{name})")["result"] == value
    # Numba alone gives both the same machine name, and then 3 or 10000 here.
    answer = toy.run("result = [run(entry.plus), run(entry.hundred), run(entry.both)]")
    assert answer["result"] == [2.0, 100.0, 200.0] and clean(answer)
    assert (answer["statistics"]["hits"], answer["statistics"]["compiles"]) == (2, 1)
    answer = toy.run("result = [run(entry.both), run(entry.hundred), run(entry.plus)]")
    assert answer["result"] == [200.0, 100.0, 2.0] and answer["statistics"]["hits"] == 3


def test_capture_without_a_name_is_refused(toy):
    answer = toy.run(
        """
        result = []
        for value in (2.0, (1, "a", np.float32), np.ones(2), entry.apply, np.sqrt, abs, [1], object()):
            captures = (lambda v: lambda: v)(value)
            try:
                _jit.kernel(captures)
                result.append(captures.__qualname__)
            except TypeError:
                result.append(None)
        """
    )
    names = answer["result"]
    assert names[-2:] == [None, None] and len(set(names[:-2])) == 6 and clean(answer)


def test_what_holds_addresses_is_compiled_each_time(toy):
    for _ in range(2):
        answer = toy.run("a = np.ones(3); entry.call(entry.apply, a); result = a.tolist()")
        assert answer["result"] == [2.0, 2.0, 2.0] and clean(answer)
        assert not any("call" in file.name for file in toy.files())
    extra = "\nTABLE = np.arange(1e6)\n@kernel\ndef look(a):\n    a[:] = TABLE[7]\n"
    toy.write("entry", "import numpy as np\n" + ENTRY + extra)
    for _ in range(2):
        answer = toy.run("result = [run(entry.look), run(entry.look)]")
        assert answer["result"] == [7.0, 7.0] and answer["statistics"]["compiles"] == 1
        assert len(answer["warnings"]) == 1 and "entry.look" in answer["warnings"][0]


def test_function_from_elsewhere_is_not_kept(toy):
    (toy.home / "elsewhere.py").write_text("from toykernels._jit import kernel\n@kernel\ndef f(a):\n    a[:] = 5.0\n")
    for _ in range(2):
        answer = toy.run("import elsewhere; result = run(elsewhere.f)")
        assert answer["result"] == 5.0 and answer["statistics"]["compiles"] == 1 and clean(answer)
    assert toy.files() == []


@pytest.mark.parametrize(
    "change",
    [
        "import numba.core.caching as c; c.NullCache.something_new = lambda self: None",
        "import numba.core.dispatcher as d; d.NullCache = lambda: None",
    ],
)
def test_unknown_numba_costs_one_warning(toy, change):
    # The second change leaves Numba itself without a cache object: only decorating is tried.
    body = "result = run(entry.apply)" if "something" in change else "result = 2.0"
    answer = toy.run(body, before=change)
    assert answer["result"] == 2.0 and not toy.cache.exists()
    assert len(answer["warnings"]) == 1 and "does not know Numba" in answer["warnings"][0]


def test_failing_internals_cost_one_warning(toy):
    change = "import numba.core.compiler as c; del c.CompileResult._reduce"
    answer = toy.run("result = [run(entry.twice), run(entry.plus)]", before=change)
    assert answer["result"] == [4.0, 2.0] and len(answer["warnings"]) == 1
    toy.apply()
    change = "import numba.core.compiler as c; del c.CompileResult._rebuild"
    answer = toy.run("result = [run(entry.apply), run(entry.plus)]", before=change)
    assert answer["result"] == [2.0, 2.0] and len(answer["warnings"]) == 1


def plant_strangers(toy):
    """Files and folders near the cache's that are not its own."""
    current = toy.files()[0].parent
    outside = toy.home / "outside"
    outside.mkdir()
    name = toy.files()[0].name
    strangers = [
        toy.cache / "notes.txt",
        toy.cache / name,
        current / "notes.txt",
        current / "a.nbi",
        outside / name,
    ]
    other = toy.cache / ("Kernels-" + "0" * 32)
    other.mkdir()
    strangers.append(other / name)
    for path in strangers:
        path.write_text("mine")
    if POSIX:
        (toy.cache / ("kernels-" + "f" * 32)).symlink_to(outside)
        (current / f"b.c-{'0' * 32}.nbi").symlink_to(outside / name)
    return strangers


def test_clear_removes_only_its_own(toy):
    toy.run("run(entry.twice)")
    toy.write("helpers", HELPERS + "# another version\n")
    toy.run("run(entry.twice)")
    strangers = plant_strangers(toy)
    own = [file for file in toy.files("kernels-*/entry.*") if file.parent.name.count("f") < 32]
    left = own[0].with_name(own[0].name + ".abc_1234.tmp")
    left.write_text("left by a killed process")
    own.append(left)
    size = sum(file.stat().st_size for file in own)
    answer = toy.run("i = _jit.cache_info(); result = [i.files, i.bytes, *_jit.clear_cache()]")
    assert answer["result"] == [5, size, 5, size] and clean(answer)
    assert not any(file.exists() for file in own) and all(path.exists() for path in strangers)
    assert toy.apply()["statistics"]["compiles"] == 1


def test_versions_long_unused_are_pruned(toy):
    now = time.time()

    def version(digit, days):
        folder = toy.cache / ("kernels-" + digit * 32)
        folder.mkdir(parents=True, mode=0o700)
        for name in ("a.b", "a.c"):
            (folder / f"{name}-{'0' * 32}.nbi").write_text("")
        return folder, now - days * 86400

    toy.cache.mkdir(mode=0o700)
    ages = [version("1", 31), version("2", 29), version("3", 31)]
    (ages[2][0] / "stranger").write_text("")
    for folder, moment in ages:
        os.utime(folder, (moment, moment))
    assert clean(toy.apply())
    assert not ages[0][0].exists() and len(list(ages[1][0].iterdir())) == 2
    assert [path.name for path in ages[2][0].iterdir()] == ["stranger"]
    # Loading counts as use.
    current = next(file.parent for file in toy.files("*/entry.*"))
    os.utime(current, (now - 40 * 86400,) * 2)
    assert toy.apply()["statistics"]["hits"] == 1
    assert current.stat().st_mtime > now - 86400


def test_default_folder(toy):
    if not sys.platform.startswith("linux"):
        pytest.skip("Linux paths")
    home = str(toy.home)
    body = "result = _jit.cache_info().folder"
    answers = [
        toy.run(body, FASTJAC_CACHE_DIR=None, HOME=home)["result"],
        toy.run(body, FASTJAC_CACHE_DIR=None, HOME=home, XDG_CACHE_HOME="/x")["result"],
        toy.run(body, FASTJAC_CACHE_DIR=None, HOME=home, XDG_CACHE_HOME="relative")["result"],
        toy.run(body, FASTJAC_CACHE_DIR="relative")["result"],
    ]
    assert answers == [f"{home}/.cache/fastjac", "/x/fastjac", f"{home}/.cache/fastjac", f"{home}/relative"]


def test_cleared_while_in_use(toy):
    """Clearing and filling at once: no errors, whatever the order."""
    body = """
    for _ in range(20):
        run(_jit.kernel(entry.apply.py_func))
        _jit.clear_cache()
    result = 2.0
    """
    answers = [toy.finish(process) for process in [toy.start(body) for _ in range(3)]]
    assert all(answer["result"] == 2.0 and clean(answer) for answer in answers)
