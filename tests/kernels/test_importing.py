"""Ctrl-C while Numba is imported: it waits, for what is half imported can't be imported again in that process."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from fastjac.kernels import _importing, _jit

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


class Context:
    """A target of Numba's, whose import is interrupted."""

    def __init__(self):
        self.typing_context = self
        self.whole = 0

    def refresh(self):
        signal.raise_signal(signal.SIGINT)
        self.whole += 1


@pytest.fixture
def handler():
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGINT, before)


def test_what_numba_imports_later_is_imported_whole_too(handler):
    context = Context()
    _importing.refresh(context)
    assert context.whole == 2
    assert handler == [signal.SIGINT]  # a program's own handler is called, too, and once


def test_every_way_to_a_first_compilation_begins_with_it(monkeypatch):
    begun = []
    monkeypatch.setattr(_jit, "_refresh", begun.append)
    assert _jit.transient(lambda z: z + 1)(np.float32(2)) == 3
    assert len(begun) == 1


def test_nothing_is_done_where_python_calls_no_handlers(handler):
    inside = []

    def work():
        with _importing.interrupts_postponed():
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
        with _importing.interrupts_postponed():
            assert signal.getsignal(signal.SIGINT) is not usual
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert signal.getsignal(signal.SIGINT) is usual
    assert not handler
