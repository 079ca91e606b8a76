"""Ctrl-C while Numba is imported, or compiles: it waits, for what is half done can crash, or fail in later calls."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from fastjac.kernels import _interrupts, _jit
from fastjac.kernels._lock import Lock
from llvmlite.binding import ModuleRef
from numba.core.typed_passes import NopythonTypeInference

PROGRAM = """
import signal, sys
import numpy as np
import fastjac as fj

signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupts:
    tried = 0

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "numba.core.datamodel.models" and not cls.tried:
            cls.tried += 1
            signal.raise_signal(signal.SIGINT)

def train():
    net = fj.Sequential([fj.Dense(2, 3, activation="relu"), fj.Dense(3, 1)], seed=0)
    return net.fit(np.ones((4, 2)), np.ones(4), loss="mean_squared_error", progress=False)

sys.meta_path.insert(0, Interrupts)
ended = "the end"
try:
    train()
except KeyboardInterrupt:
    ended = "KeyboardInterrupt"
history = train()
print(ended, Interrupts.tried, len(history["loss"]), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_the_next_call_after_an_interrupted_import_trains():
    """It failed with "module 'numba' has no attribute 'core'", or another such thing, until Python was started anew."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["KeyboardInterrupt", "1", "1", "True"], done.stderr


@pytest.fixture
def handler():
    """A program's own, that raises nothing."""
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def default():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=[_jit.kernel, _jit.transient])
def compiled(request):
    return request.param(lambda z: z + 1)


def test_a_compilation_comes_to_its_end(monkeypatch, default, compiled, capsys):
    usual, joined = ModuleRef.link_in, []

    def interrupted(self, other, preserve=False):
        if not joined:
            signal.raise_signal(signal.SIGINT)
        joined.append(usual(self, other, preserve))

    monkeypatch.setattr(ModuleRef, "link_in", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compiled(np.float32(2))
    assert joined and len(compiled.signatures) == 1
    joined.append("no more")
    assert compiled(np.float32(2)) == 3 and joined[-1] == "no more"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capsys.readouterr().err.count("Ctrl-C waits for the end of a compilation") == 1


def test_pressed_again_it_ends_a_compilation_at_once(monkeypatch, default, compiled):
    reached = []

    def typed(self, state):
        signal.raise_signal(signal.SIGINT)
        reached.append("first")
        signal.raise_signal(signal.SIGINT)
        reached.append("second")

    with monkeypatch.context() as patch:
        patch.setattr(NopythonTypeInference, "run_pass", typed)
        with pytest.raises(KeyboardInterrupt):
            compiled(np.float32(2))
    assert reached == ["first"]
    assert compiled(np.float32(2)) == 3


def test_pressed_again_it_waits_where_llvm_is_at_work(monkeypatch, default, compiled):
    usual, joined = ModuleRef.link_in, []

    def interrupted(self, other, preserve=False):
        if not joined:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        joined.append(usual(self, other, preserve))

    monkeypatch.setattr(ModuleRef, "link_in", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compiled(np.float32(2))
    assert joined and len(compiled.signatures) == 1
    assert compiled(np.float32(2)) == 3


def test_a_programs_own_handler_that_raises_nothing_is_called_at_once(monkeypatch, handler, compiled, capsys):
    usual, seen = ModuleRef.link_in, []

    def interrupted(self, other, preserve=False):
        signal.raise_signal(signal.SIGINT)
        seen.append(len(handler))
        usual(self, other, preserve)

    monkeypatch.setattr(ModuleRef, "link_in", interrupted)
    assert compiled(np.float32(2)) == 3
    assert seen == list(range(1, len(seen) + 1))
    assert not capsys.readouterr().err


def test_waiting_for_another_process_is_interrupted_at_once(monkeypatch, default, tmp_path):
    ended = []

    def wait(self, awaited, seconds):
        signal.raise_signal(signal.SIGINT)
        ended.append(awaited)

    monkeypatch.setenv("FASTJAC_CACHE_DIR", str(tmp_path))
    compiled = _jit.kernel(lambda z: z + 1)
    compiled._cache._ours = True  # to be kept on disk
    with monkeypatch.context() as patch:
        patch.setattr(Lock, "wait_for", wait)
        with pytest.raises(KeyboardInterrupt):
            compiled(np.float32(2))
    assert not ended
    assert compiled(np.float32(2)) == 3


def test_what_was_asked_before_a_wait_is_done_when_it_begins(default):
    done = []

    def work():
        with _interrupts.interrupts_postponed():
            signal.raise_signal(signal.SIGINT)
            done.append("first")
            with _interrupts.interrupts_let_through():
                done.append("second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["first"]
    with _interrupts.interrupts_let_through():  # and outside of such a block nothing is done
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_within_a_block_ends_with_the_outer_one(default):
    done = []

    def work():
        with _interrupts.interrupts_postponed():
            with _interrupts.interrupts_postponed():
                signal.raise_signal(signal.SIGINT)
            done.append("inner")
            signal.raise_signal(signal.SIGINT)
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]
    with _interrupts.interrupts_postponed():
        done.append("nothing is left of it")


CRASH = """
import gc, signal
import numpy as np
import fastjac as fj
from llvmlite.binding import linker

signal.signal(signal.SIGINT, signal.default_int_handler)
ffi = linker.ffi
joined = 0

class Functions:
    def __getattr__(self, name):
        return getattr(ffi.lib, name)

    def LLVMPY_LinkModules(self, *modules):
        global joined
        result = ffi.lib.LLVMPY_LinkModules(*modules)
        joined += 1
        if joined == 40:  # as if it had been pressed while LLVM was at it
            signal.raise_signal(signal.SIGINT)
        return result

class Library:
    lib = Functions()

    def __getattr__(self, name):
        return getattr(ffi, name)

linker.ffi = Library()

def train():
    net = fj.Sequential([fj.Dense(2, 3, activation="relu"), fj.Dense(3, 1)], seed=0)
    return net.fit(np.ones((4, 2)), np.ones(4), loss="mean_squared_error", progress=False)

try:
    ended = "interrupted" if train().interrupted else "the end"
except KeyboardInterrupt:
    ended = "KeyboardInterrupt"
gc.collect()
print(ended, joined > 40, len(train()["loss"]))
"""


def test_an_interrupted_compilation_frees_nothing_twice(tmp_path):
    """It was a segmentation fault."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CRASH],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"FASTJAC_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted", "True", "1"]


def test_nothing_is_done_where_python_calls_no_handlers(handler):
    inside = []

    def work():
        with _interrupts.interrupts_postponed():
            inside.append(signal.getsignal(signal.SIGINT))

    usual = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work()
    assert inside == [usual, signal.SIG_IGN]


def test_an_error_within_goes_on_and_the_handler_is_put_back(handler):
    usual = signal.getsignal(signal.SIGINT)

    def work():
        with _interrupts.interrupts_postponed():
            assert signal.getsignal(signal.SIGINT) is not usual
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert signal.getsignal(signal.SIGINT) is usual
    assert not handler


COLLECTING = """
import gc, json, os, sys
from fastjac.kernels import _jit
from numba.core.typed_passes import NopythonTypeInference

usual, here, forked, after = NopythonTypeInference.run_pass, [], [], []

def note(self, state):
    here.append(gc.isenabled())
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(3 if gc.isenabled() else 4)
        forked.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3)
    return usual(self, state)

NopythonTypeInference.run_pass = note
if sys.argv[1] == "False":
    gc.disable()
compiled = _jit.transient(lambda x: x + 1)
assert compiled(2) == 3
after.append(gc.isenabled())
try:
    compiled("text")
except Exception as error:
    assert "Failed in nopython" in str(error)
    after.append(gc.isenabled())
print(json.dumps([here, forked, after]))
"""


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_after_a_compilation_as_it_was_before(collecting):
    """Not in one, where it would take long; also where it fails, and in what was forked meanwhile."""
    command = [sys.executable, "-c", COLLECTING, str(collecting)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    here, forked, after = json.loads(done.stdout)
    assert here == [False, False] and after == [collecting, collecting]
    assert forked == [collecting, collecting] or not hasattr(os, "fork")


COMPILING = """
import json, os, signal, sys
from fastjac.kernels import _jit
from numba.core.typed_passes import NopythonTypeInference

signal.signal(signal.SIGINT, signal.default_int_handler)
usual, here, forked = NopythonTypeInference.run_pass, [], []

def note(self, state):
    here.append(_jit.compiling_for() >= 0)
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(3 if _jit.compiling_for() is None else 4)
        forked.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3)
    if sys.argv[1] == "interrupted":
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
    return usual(self, state)

NopythonTypeInference.run_pass = note
assert _jit.compiling_for() is None
try:
    _jit.transient(lambda x: x + 1)("text" if sys.argv[1] == "an error" else 2)
    ended = "the end"
except KeyboardInterrupt:
    ended = "interrupted"
except Exception as error:
    assert "Failed in nopython" in str(error)
    ended = "an error"
print(json.dumps([here, forked, ended, _jit.compiling_for()]))
"""


@pytest.mark.parametrize("end", ["the end", "an error", "interrupted"])
def test_it_is_known_how_long_a_compilation_has_been_at_work(end):
    done = subprocess.run([sys.executable, "-c", COMPILING, end], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    here, forked, ended, afterwards = json.loads(done.stdout)
    assert here == [True] and ended == end and afterwards is None
    assert forked == [True] or not hasattr(os, "fork")


IMPORTING = """
import gc, json, sys
collecting, freezing = (one == "True" for one in sys.argv[1:])
found = []

class Look:
    def find_spec(self, name, path=None, target=None):
        if name in ("numba", "llvmlite", "fastjac.kernels.checked", "fastjac.kernels.simd"):
            found.append(gc.isenabled())

sys.meta_path.insert(0, Look())
if not collecting:
    gc.disable()
if freezing:
    gc.freeze()
import fastjac.kernels
old = {id(one) for one in gc.get_objects(generation=2)}
is_old = id(fastjac.kernels.__dict__) in old and id(sys.modules["numba"].__dict__) in old
print(json.dumps([found, gc.isenabled(), gc.get_freeze_count() > 0, is_old]))
"""


@pytest.mark.parametrize(("collecting", "freezing"), [(True, False), (False, False), (True, True)])
def test_no_garbage_is_looked_for_while_numba_and_the_kernels_are_imported(collecting, freezing):
    """What is imported counts as old then, unless there is something that would be thawed."""
    command = [sys.executable, "-c", IMPORTING, str(collecting), str(freezing)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found, enabled, frozen, is_old = json.loads(done.stdout)
    assert found == [False] * 4 and enabled == collecting
    assert frozen == freezing
    assert is_old or not collecting or freezing
