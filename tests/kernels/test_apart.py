"""What kernels call by an address: compiled when it is asked for and not before, kept on disk, and called rightly."""

import ctypes
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from fastjac.kernels import _apart, _jit, activations, losses, optimizers
from fastjac.kernels.activations import CODES, TABLE
from fastjac.kernels.blocking import CHUNK, NARROW_LOSS
from numba import types

import fastjac as fj
from fastjac.nn.program import Learner, Program

USE = """
import json, sys
import numpy as np
from fastjac.kernels import _apart, _jit
import fastjac as fj
rng = np.random.default_rng(0)
X, y = rng.normal(size=(64, 8)).astype("float32"), rng.integers(0, 3, 64)
net = fj.Sequential([fj.Dense(8, 32, activation="relu"), fj.Dense(32, 3)], seed=0, dtype="float32")
loss = net.fit(X, y, loss="softmax_cross_entropy", epochs=2, batch_size=32, progress=False)["loss"]
before = len([one for one in _apart.EVERY if one.kernel.signatures])
net.fit(X, np.eye(3)[y], loss="mean_squared_error", optimizer="sgd", batch_size=32, progress=False)
used = sorted(one.kernel.py_func.__qualname__.partition(".")[0] for one in _apart.EVERY if one.kernel.signatures)
print(json.dumps([before, used, _jit.statistics().compiles, _jit.statistics().hits, len(_apart.EVERY), list(loss)]))
"""


def in_a_new_process(code, cache, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | {"FASTJAC_CACHE_DIR": str(cache)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_what_is_asked_for_is_compiled_and_later_processes_load_it(tmp_path):
    before, used, compiled, hits, every, first = in_a_new_process(USE, tmp_path)
    # relu and its slope, a loss, a rule; then another loss and another rule
    assert before == 4 and used == ["_forward_loop", "_loop", "_loop", "_narrow", "_slope_loop", "_wide"]
    assert (compiled, hits) == (8, 0) and every > 30
    again = in_a_new_process(USE, tmp_path)
    assert again == [before, used, 0, compiled, every, first]


def scaled(pointer):
    return types.float64, pointer, types.intp


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("promised", [False, True])
def test_a_call_by_address(dtype, promised, monkeypatch):
    """Found as this Numba keeps it, or as every Numba promises it."""

    @_apart.apart(scaled, types.float64)
    def sum_scaled(factor, numbers, count):
        total = 0.0
        for k in range(count):
            total += factor * numbers[k]
        return total

    _apart.EVERY.pop()
    if promised:
        asked = sum_scaled.kernel

        class Other:
            py_func = staticmethod(asked.py_func)

            def compile(self, signature):
                return asked.compile(signature)

        sum_scaled.kernel = Other()
    address = sum_scaled.address(np.dtype(dtype))
    assert sum_scaled.address(np.dtype(dtype)) == address
    given = np.array([1.0, 2.0, 4.0], dtype)
    from_c = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_void_p, ctypes.c_int64)(address)
    assert from_c(0.5, given.ctypes.data, 3) == 3.5

    call = _apart.calling(scaled, types.float64)
    from fastjac.kernels.simd import address as pointer_to

    @_jit.transient
    def calls(at, array, factor):
        return call(at, pointer_to(array), (factor, pointer_to(array), 2))

    assert calls(address, given, 0.5) == 1.5


@pytest.mark.parametrize("name", CODES)
def test_each_activation_has_an_address_of_its_own_for_each_type(name):
    code = CODES[name]
    found = [activations.compiled(code, dtype) for dtype in (np.float32, "float32", np.float64)]
    assert found[0] == found[1] != found[2]
    assert activations.compiled_or_none(code, np.float32) == (0 if name == "identity" else found[0])
    others = {activations.compiled(other, np.float32) for other in range(len(TABLE)) if other != code}
    assert found[0] not in others


def test_a_loss_of_few_columns_is_another_where_it_has_one():
    for code, row in enumerate(losses.TABLE):
        few, many = (losses.compiled(code, columns, np.float32) for columns in (NARROW_LOSS, NARROW_LOSS + 1))
        assert (few != many) == (row.narrow is not None)


def test_compiled_kernels_are_refused_where_numba_compiles_nothing():
    code = """
import json
import fastjac as fj
from fastjac.kernels import activations
try:
    activations.compiled(1, "float32")
except RuntimeError as error:
    print(json.dumps(str(error)))
"""
    assert "NUMBA_DISABLE_JIT" in in_a_new_process(code, "", NUMBA_DISABLE_JIT="1")


@pytest.mark.parametrize(
    ("settings", "rows", "unfused"),
    [
        ({}, CHUNK, False),
        ({}, CHUNK + 1, True),
        ({"optimizer": fj.Adam(clip_norm=1.0)}, 8, True),
        ({"l1": 0.1}, 8, True),
        ({"l2": 0.1}, 8, True),
        ({"optimizer": "sgd"}, 8, False),
    ],
)
def test_what_keeps_its_gradient_is_compiled_for_steps_that_do(settings, rows, unfused, monkeypatch):
    """Python and the kernel come to one decision; without it a kernel would call what is not there."""
    asked = []
    usual = Program._make_ready_unfused
    monkeypatch.setattr(Program, "_make_ready_unfused", lambda self: (asked.append(self), usual(self)))
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(rows, 5)), rng.integers(0, 2, rows)
    net = fj.Sequential([fj.Dense(5, 4), fj.Dense(4, 2)], seed=0)
    net.fit(X, y, loss="softmax_cross_entropy", batch_size=rows, epochs=2, progress=False, **settings)
    assert bool(asked) == unfused
    assert bool(net.program._unfused.all()) == unfused


def test_a_learner_that_keeps_gradients_is_not_fused():
    settings = np.zeros(optimizers.SETTINGS)
    nothing = np.zeros(0)
    learner = Learner(nothing, nothing, nothing, settings, 0, 0, 0.0, 0)
    assert not learner.unfused(1)
    learner.keep_gradients = True
    assert learner.unfused(1)
