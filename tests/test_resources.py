"""Memory that is not there, memory that is not given back, and state that belongs to the whole process or thread."""

import gc
import json
import os
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress

import numpy as np
import pytest
from fastjac.kernels._jit import statistics
from tests_support import use_plan

import fastjac as fj

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(600, 12)), RNG.integers(0, 3, 600)


def network(hidden=20, seed=0):
    return fj.Sequential([fj.Dense(12, hidden, activation="relu"), fj.Dropout(0.1), fj.Dense(hidden, 3)], seed=seed)


def train(net, **options):
    return net.fit(X, Y, **{"loss": "softmax_cross_entropy", "epochs": 2, "batch_size": 200} | options)


def alone(code, *arguments, seconds=300, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


# --- allocations that fail --------------------------------------------------------------------------------------------

ALLOCATE = (
    "empty",
    "zeros",
    "ones",
    "full",
    "empty_like",
    "zeros_like",
    "array",
    "ascontiguousarray",
    "concatenate",
    "stack",
    "arange",
    "copy",
)


class Allocations:
    """Counts what the library asks NumPy for, and lets the k-th time fail."""

    def __init__(self, monkeypatch):
        self.count, self.fails_at = 0, 0
        for name in ALLOCATE:
            monkeypatch.setattr(np, name, self._guarded(getattr(np, name)))

    def _guarded(self, function):
        def guarded(*given, **named):
            if sys._getframe(1).f_globals.get("__name__", "").startswith("fastjac"):
                self.count += 1
                if self.count == self.fails_at:
                    raise MemoryError("no more memory")
            return function(*given, **named)

        return guarded

    def run(self, call, k):
        self.count, self.fails_at, self.failed = 0, k, False
        try:
            return call()
        except MemoryError as error:
            self.failed = str(error) == "no more memory"
            raise
        finally:
            self.fails_at = 0


@pytest.mark.parametrize("what", ["fit", "fit by layers", "fit on 3 threads", "predict", "evaluate", "load"])
def test_each_allocation_that_fails_is_a_memory_error_and_nothing_is_lost(
    monkeypatch, tmp_path, threads_as_asked, what
):
    """Reliability test 32, with NumPy's allocations: the k-th fails, for every k."""
    path = tmp_path / "model.safetensors"

    def make():
        net = network()
        use_plan(what != "fit by layers", net)
        return net

    make().save(path)
    written, expected = path.read_bytes(), network().predict(X)

    def call(net):
        if what.startswith("fit"):
            train(net, threads=3 if "3" in what else 1)
        elif what == "predict":
            net.predict(X)
        elif what == "evaluate":
            net.evaluate(X, Y, "softmax_cross_entropy")
        else:
            fj.load(path)

    call(make())
    with monkeypatch.context() as patch:
        allocations = Allocations(patch)
        net = make()
        allocations.run(lambda: call(net), 0)
        count, trained = allocations.count, net.parameters.copy()
        assert count >= 1
        for k in range(1, count + 1):
            net = make()
            before = net.parameters.copy()
            with suppress(MemoryError):
                allocations.run(lambda net=net: call(net), k)
            if allocations.count < k:  # how often `fit` comes back to Python depends on how long steps take
                assert what.startswith("fit")
                continue
            assert allocations.failed
            assert np.isfinite(net.parameters).all()
            if not what.startswith("fit"):
                np.testing.assert_array_equal(net.parameters, before)
            assert path.read_bytes() == written
            assert os.listdir(tmp_path) == [path.name]
            if net.epochs_trained == 0 and np.array_equal(net.parameters, before):
                again = make()
                call(net), call(again)  # as if nothing had been
                np.testing.assert_array_equal(net.parameters, again.parameters)
            else:
                call(net)
                assert np.isfinite(net.parameters).all()
    assert what.startswith("fit") != np.array_equal(trained, network().parameters)
    np.testing.assert_array_equal(network().predict(X), expected)


LIMITED = """
import gc, json, os, resource, sys, tempfile
import numpy as np
import fastjac as fj
from fastjac.support import cores
from fastjac.nn import program
cores.usable_cores = lambda: 64
program.LEAST_WORK_TOGETHER = program.LEAST_WORK_BY_ROWS = 0
steps, threads = int(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
X, y = rng.normal(size=(2000, 30)).astype("f4"), rng.integers(0, 5, 2000)

def make():
    return fj.Sequential([fj.Dense(30, 900, activation="relu"), fj.Dense(900, 5)], seed=0)

def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

def everything(net, path):
    net.fit(X, y, loss="softmax_cross_entropy", batch_size=2000, threads=threads)
    net.predict(X, threads=threads)
    net.save(path)
    return fj.load(path).predict(X[:10])

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.safetensors")
    everything(make(), path)  # loads what is loaded once: kernels, above all
    make().save(path)
    fine = failed = 0
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    for k in range(steps):
        net = make()
        before = net.parameters.copy()
        error = None
        gc.collect()
        limit = used() + int((k / steps) ** 3 * 40 * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        try:
            everything(net, path)
        except (MemoryError, RuntimeError) as caught:  # the second where a thread cannot be started
            error = caught
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        if isinstance(error, RuntimeError):
            assert "thread" in str(error), error
        fine, failed = fine + (error is None), failed + (error is not None)
        del error
        assert np.isfinite(net.parameters).all()
        assert fj.load(path).predict(X[:10]).shape == (10, 5)
        assert net.fit(X, y, loss="softmax_cross_entropy", batch_size=2000)["loss"]
        assert os.listdir(folder) == ["model.safetensors"]
    print(json.dumps([fine, failed]))
"""


# glibc keeps no memory that a later allocation could be served from, and threads have no heaps of their own
GIVES_BACK = {
    "MALLOC_MMAP_THRESHOLD_": "32768",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_TOP_PAD_": "0",
    "MALLOC_ARENA_MAX": "1",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as on Linux")
@pytest.mark.parametrize("threads", [1, 3])
def test_too_little_memory_is_an_error_once_kernels_are_loaded(threads):
    """Reliability test 32, with a real limit of memory."""
    fine, failed = alone(LIMITED, 12, threads, **GIVES_BACK)
    assert fine + failed == 12
    assert failed >= 4 and fine >= 1


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as on Linux")
@pytest.mark.parametrize("threads", [1, 3])
def test_many_limits_of_memory(threads):
    """Reliability test 32, 200 limits: ``pytest -m slow tests/test_resources.py -k many_limits``."""
    fine, failed = alone(LIMITED, 200, threads, seconds=3000, **GIVES_BACK)
    assert fine >= 20
    assert failed >= 50


# --- memory that is not given back ----------------------------------------------------------------------------------

LEAKS = """
import gc, json, resource, sys
import numpy as np
import fastjac as fj
from fastjac.kernels._jit import statistics
fits, architectures = int(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
X, y = rng.normal(size=(64, 10)).astype("f4"), rng.integers(0, 3, 64)

def fit(hidden, activation="relu"):
    net = fj.Sequential([fj.Dense(10, hidden, activation=activation), fj.Dense(hidden, 3)], seed=0)
    net.fit(X, y, loss="softmax_cross_entropy", progress=False)

def used():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

for k in range(300):
    fit(16)
compiles, before = statistics().compiles, used()
for k in range(fits):
    fit(16)
grown = used() - before
for k in range(architectures):
    fit(1 + k, ["relu", "tanh", "gelu", "sigmoid"][k % 4])
print(json.dumps([grown, statistics().compiles - compiles]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
def test_fits_give_their_memory_back_and_no_architecture_compiles_anything():
    """Reliability test 33, in small: 1,000 fits, 200 architectures."""
    grown, compiled = alone(LEAKS, 1000, 200)
    assert grown < 2**20
    assert compiled == 0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
def test_ten_thousand_fits_give_their_memory_back():
    """Reliability test 33: ``pytest -m slow tests/test_resources.py -k ten_thousand``."""
    grown, compiled = alone(LEAKS, 10_000, 200, seconds=3000)
    assert grown < 2**20
    assert compiled == 0


# --- state of the thread --------------------------------------------------------------------------------------------


def subnormals_kept():
    """Whether this thread counts with numbers below the least normal one; other code may want them."""
    with np.errstate(all="ignore"):
        tiny = np.full(64, 1e-40, np.float32)
        return bool(((tiny * np.float32(0.5)) > 0).all() and ((tiny + tiny) > 0).all())


@pytest.mark.parametrize("threads", [1, 3])
def test_subnormal_numbers_count_after_fit_and_predict_in_every_thread(threads_as_asked, threads):
    """Reliability test 34, the bits of the processor; see also ``test_global_state_is_as_before``."""
    found = []

    def work():
        found.append(subnormals_kept())
        net = network()
        train(net, threads=threads)
        found.append(subnormals_kept())
        net.predict(np.concatenate([X, X]), threads=threads)
        net.forward(X)
        net.backward(np.ones((600, 3)))
        found.append(subnormals_kept())

    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True] * 6


def test_nothing_is_compiled_for_another_network_of_the_same_type():
    train(network())
    gc.collect()
    before = statistics().compiles
    for hidden in (1, 2, 50, 300):
        train(network(hidden))
    assert statistics().compiles == before
