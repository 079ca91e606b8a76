"""``fj.warm_up`` and ``fastjac info --warm-up`` leave nothing to compile."""

import contextlib
import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fastjac.kernels._apart import EVERY
from fastjac.kernels._jit import cache_info

import fastjac as fj
from fastjac.training import warming

KERNELS = Path(fj.kernels.__file__).parent
ALL = 29 + 2 * len(EVERY)


def entries():
    """Every entry function among the kernels, as Numba's dispatcher."""
    found = {}
    for path in KERNELS.glob("*.py"):
        module = importlib.import_module(f"fastjac.kernels.{path.stem}")
        for name, value in vars(module).items():
            if hasattr(value, "nopython_signatures"):
                found[value.py_func.__module__, name] = value
    return found


def test_every_kernel_is_compiled_for_both_types():
    done = fj.warm_up()
    found = entries()
    assert len(found) >= 13
    for name, dispatcher in found.items():
        assert dispatcher.signatures, name
        if name == ("fastjac.kernels.random", "shuffle"):  # of no numbers but whole ones
            continue
        for number in ("float32", "float64"):
            taken = {str(kind.dtype) for one in dispatcher.signatures for kind in one if hasattr(kind, "dtype")}
            assert number in taken, (name, dispatcher.signatures)
    assert done.cache.enabled and done.seconds > 0
    assert str(done).startswith(f"{done.compiled} kernels compiled and {done.loaded} loaded in ")
    again = fj.warm_up()
    assert (again.compiled, again.loaded) == (0, 0)
    have, of, all_there_are = warming._how_far().removeprefix(", ").split()
    assert have == all_there_are and of == "of"


USE = """
import json
import numpy as np
import fastjac as fj
from fastjac.kernels import _jit

rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    X = rng.normal(size=(70, 5))
    net = fj.Sequential([fj.Dense(5, 20, activation="gelu"), fj.Dropout(0.2), fj.Dense(20, 3), fj.Softmax()],
                        seed=0, dtype=dtype)
    y = rng.integers(0, 3, 70)
    net.fit(X, y, loss="categorical_cross_entropy", optimizer=fj.Adam(clip_norm=1.0), epochs=2, l2=0.1,
            sample_weight=rng.random(70), validation_data=(X[::-1], y))
    net.fit(np.asfortranarray(X, dtype=dtype), np.eye(3)[y], loss="categorical_cross_entropy", optimizer="sgd")
    net.predict(X[::2])
    net.evaluate(X, y, loss="categorical_cross_entropy")
    net.backward(net.forward(X.astype(dtype)[:, ::-1]))
    fj.SGD(momentum=0.9).step(net)
    net.path = "unfused"
    net.fit(X, y, loss="categorical_cross_entropy")
    fj.kernels.dense_backward(X[:, :3], X[:, :3], X, np.ones((5, 3)), "relu")
print(json.dumps(_jit.statistics().compiles))
"""


def test_what_follows_compiles_nothing():
    fj.warm_up()
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == 0


def test_by_command():
    fj.warm_up()
    command = [sys.executable, "-m", "fastjac", "info", "--warm-up"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and done.stdout.startswith(f"0 kernels compiled and {ALL} loaded in "), done
    assert done.stderr == "compiling all kernels, which takes up to a minute the first time\n"
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(done.stdout)
    assert (report["warmed_up"]["compiled"], report["warmed_up"]["loaded"]) == (0, ALL)
    assert report["cache"]["enabled"] and report["cache"]["guarded"] is (os.name == "posix")


def test_other_values_of_progress_are_refused():
    with pytest.raises(ValueError, match="True, False or 'auto'"):
        fj.warm_up(progress="yes")


def on_a_terminal(*arguments):
    """What a command writes to its standard output, and what a terminal, its standard error, shows meanwhile."""
    master, slave = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-m", "fastjac", *arguments], stdout=subprocess.PIPE, stderr=slave, env=environment
    ) as running:
        os.close(slave)
        shown = []

        def read():
            with contextlib.suppress(OSError):  # the other end is closed
                while part := os.read(master, 4096):
                    shown.append(part)

        reader = threading.Thread(target=read)
        reader.start()
        out = running.communicate(timeout=300)[0]
        reader.join(60)
    os.close(master)
    assert running.returncode == 0, shown
    return out.decode(), b"".join(shown).decode()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="terminals of POSIX")
def test_a_terminal_sees_that_kernels_are_compiled_and_how_many():
    fj.warm_up()
    out, shown = on_a_terminal("info", "--warm-up")
    found = re.search(r"compiling kernels, (\d+) of \1 ", shown)
    assert found and "compiling kernels," not in out
    assert f"{found[1]} loaded" in out
    out, shown = on_a_terminal("train", "digits", "--epochs", "1")
    assert "compiling kernels" in shown and "compiling" not in out
    out, shown = on_a_terminal("train", "digits", "--epochs", "1", "--no-progress")
    assert "compiling" not in shown


def test_by_command_where_nothing_can_be_kept(tmp_path):
    """The build of an image must not go on as if all were well."""
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "fastjac", "info", "--warm-up"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"FASTJAC_CACHE_DIR": str(tmp_path / "file")},
    )
    assert done.returncode == 1 and "can't be kept" in done.stderr and "is not a folder" in done.stderr
    assert "compiling" not in done.stderr


@pytest.mark.parametrize(
    ("compiled", "enabled", "reason", "lost"),
    [
        (0, True, "", False),
        (3, True, "", False),
        (0, True, "it can only be read", False),
        (3, True, "it can only be read", True),
        (0, False, "no folder", True),
        (3, False, "no folder", True),
    ],
)
def test_it_says_kept_where_a_later_process_will_compile_nothing(compiled, enabled, reason, lost):
    """A folder that can only be read serves what is in it, and keeps nothing new."""
    cache = dataclasses.replace(cache_info(), enabled=enabled, reason=reason)
    done = warming.WarmUp(compiled, 26, 1.0, cache)
    assert done.lost is lost
    assert (f"not kept: {reason}" in str(done)) is lost and (f"kept in {cache.folder}" in str(done)) is not lost


@pytest.mark.parametrize("path", ["unfused", "reference"])
def test_without_the_compiler_the_course_and_the_slow_paths_run(path):
    """Kernels say in a sentence what they lack."""
    code = f"""
import numpy as np
import fastjac as fj

fj.jacobians.softmax([0.25, 0.75])
net = fj.Sequential([fj.Dense(4, 3, activation="relu"), fj.Dense(3, 2)], seed=0)
X = np.linspace(-1, 1, 24).reshape(6, 4)
try:
    net.predict(X)
    print("no error")
except RuntimeError as error:
    print(error)
net.path = {path!r}
print(net.predict(X).shape, net.backward(net.forward(X)).shape)
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    sentence, shapes = done.stdout.splitlines()
    assert "NUMBA_DISABLE_JIT" in sentence and "unset it" in sentence
    assert shapes == "(6, 2) (6, 4)"
