"""Threads that cannot be started, that raise, that are interrupted: an error or an end, and a network that is whole."""

import functools
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import numpy as np
import pytest
from fastjac.kernels import network as kernels
from fastjac.kernels import training
from fastjac.kernels.threads import FAILED, STATE_SIZE

import fastjac as fj
from fastjac.sequential import _Call
from fastjac.support.workers import Workers

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(700, 20)), RNG.integers(0, 4, 700)


# What a process of its own needs for the same
ALONE = """
import json, os, signal, sys, threading, time, warnings
import numpy as np
import fastjac as fj
from fastjac.support import cores
from fastjac.nn import program
cores.usable_cores = lambda: 64  # as many threads as are asked for
program.LEAST_WORK_TOGETHER = program.LEAST_WORK_BY_ROWS = 0
rng = np.random.default_rng(0)
X, y = rng.normal(size=(700, 20)), rng.integers(0, 4, 700)
def network():
    return fj.Sequential([fj.Dense(20, 30, activation="relu"), fj.Dense(30, 4)], seed=0)
def train(net, threads, **options):
    options = {"epochs": 2, "batch_size": 300, "loss": "softmax_cross_entropy"} | options
    return net.fit(X, y, threads=threads, **options)
"""


def alone(code, *arguments, seconds=120, before=""):
    """A process that prints JSON. The seconds only tell a hang from an end."""
    done = subprocess.run(
        [sys.executable, "-c", before + ALONE + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def network():
    return fj.Sequential([fj.Dense(20, 30, activation="relu"), fj.Dense(30, 4)], seed=0)


def train(net, threads, **options):
    return net.fit(X, Y, threads=threads, **{"epochs": 2, "batch_size": 300, "loss": "softmax_cross_entropy"} | options)


def alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastjac-")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    gc.collect()
    assert not alive()


# --- threads that cannot be started ---------------------------------------------------------------------------------


@pytest.fixture
def failing_start(monkeypatch):
    """Lets the start of the k-th thread from now on fail, as where a process may have no more."""
    usual, left = threading.Thread.start, []

    def start(self):
        if left:
            left[0] -= 1
            if left[0] == 0:
                raise left[1]
        usual(self)

    monkeypatch.setattr(threading.Thread, "start", start)

    def fail(k, error):
        left[:] = [k, error]

    return fail


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
@pytest.mark.parametrize(("threads", "k"), [(t, k) for t in (2, 3, 8) for k in range(1, t)])
def test_a_thread_that_cannot_be_started_ends_fit_and_predict_before_anything_begins(
    threads_as_asked, failing_start, threads, k, error
):
    net, expected = network(), network()
    before = net.parameters.copy()
    failing_start(k, error)
    with pytest.raises(type(error)):
        train(net, threads)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.epochs_trained == 0
    many = np.concatenate([X, X, X])
    assert np.array_equal(net.predict(many, threads=threads), expected.predict(many, threads=1))
    failing_start(k, error)
    with pytest.raises(type(error)):
        net.predict(many, threads=threads)
    history = train(net, threads)
    assert history["loss"] == train(expected, 1)["loss"]
    np.testing.assert_array_equal(net.parameters, expected.parameters)


@pytest.mark.skipif(sys.platform != "linux" or sys.platform == "emscripten", reason="limits of Linux")
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_a_real_limit_of_threads_is_an_error(threads):
    code = """
    import resource
    threads = int(sys.argv[1])
    net = network()
    train(net, threads)
    before = net.parameters.copy()
    if os.getuid() == 0:  # whom limits do not hold
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
    try:
        train(net, threads)
        message = "trained"
    except RuntimeError as error:
        message = str(error)
    print(json.dumps([message, bool(np.array_equal(net.parameters, before)), len(train(net, 1)["loss"])]))
    """
    (message, unchanged, epochs), _ = alone(code, threads)
    assert "start" in message
    assert unchanged
    assert epochs == 2


# --- parts that raise -----------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("threads", "part"), [(t, p) for t in (1, 2, 3, 8) for p in range(t)])
@pytest.mark.parametrize("call", ["train", "predict"])
def test_a_part_that_raises_lets_the_others_go_and_its_error_out(
    threads_as_asked, monkeypatch, call, threads, part, when
):
    home = training if call == "train" else kernels
    net, usual = network(), getattr(home, call)
    many = np.concatenate([X] * 4)
    work = (lambda: train(net, threads)) if call == "train" else (lambda: net.predict(many, threads=threads))
    expected = net.predict(many, threads=1)

    def broken(*given):
        nothing_to_do = given[6] == 0 if call == "train" else len(given[5]) == 0  # the kernel is loaded
        if given[-3] == part and when == "before" and not nothing_to_do:
            raise Broken
        usual(*given)
        if given[-3] == part and when == "after" and not nothing_to_do:
            raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(home, call, broken)
        with pytest.raises(Broken):
            work()
    assert np.isfinite(net.parameters).all()
    if call == "predict":
        np.testing.assert_array_equal(net.predict(many, threads=threads), expected)
    assert len(train(net, threads)["loss"]) == 2


def test_the_first_error_is_raised_and_all_parts_have_ended(threads_as_asked):
    ended, state = [], np.zeros(STATE_SIZE, np.int64)

    def work(part):
        while part != 3 and state[FAILED] == 0:
            time.sleep(0)
        ended.append(part)
        if part == 3:
            raise Broken

    with Workers() as workers:
        for _ in range(20):
            with pytest.raises(Broken):
                workers.run(5, work, state)
            assert sorted(ended) == list(range(5))
            ended.clear()
        assert len(alive()) == 4
        workers.run(5, lambda part: ended.append(part), state)
        assert sorted(ended) == list(range(5))
        assert state[FAILED] == 0


@pytest.mark.parametrize("parts", [1, 3])
def test_the_failure_of_an_earlier_call_is_forgotten(parts):
    state, seen = np.zeros(STATE_SIZE, np.int64), []
    state[FAILED] = 1
    with Workers() as workers:
        workers.run(parts, lambda part: seen.append(int(state[FAILED])), state)
    assert seen == [0] * parts


def test_threads_end_with_workers_that_nobody_closed():
    workers = Workers()
    workers.run(3, lambda part: None, np.zeros(STATE_SIZE, np.int64))
    threads = alive()
    assert len(threads) == 2
    del workers
    gc.collect()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_what_a_call_held_is_let_go(threads_as_asked):
    import weakref

    class Work:
        def __call__(self, part):
            pass

    with Workers() as workers:
        work = Work()
        gone = weakref.ref(work)
        workers.run(3, work, np.zeros(STATE_SIZE, np.int64))
        del work
        end = time.monotonic() + 60  # the threads are about to drop it
        while gone() is not None and time.monotonic() < end:
            time.sleep(0.001)
        assert gone() is None


# --- handlers of signals that raise -----------------------------------------------------------------------------------

EVERYWHERE = """
import dis, faulthandler, random, sys
from fastjac.kernels.threads import FAILED, STATE_SIZE
from fastjac.support.workers import Workers

class Raised(Exception):
    pass

def threads_end():
    end = time.monotonic() + 60
    while [t for t in threading.enumerate() if t.name.startswith("fastjac-")] and time.monotonic() < end:
        time.sleep(0.001)
    return time.monotonic() < end

CHECKED = {"CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME"}
names = {}

class Injection:
    # Raises at the chosen of the places where the interpreter runs handlers of signals: after a call, at the turn of a
    # loop, at the beginning of a function
    def __init__(self, files, chosen):
        self.files, self.chosen, self.count, self.raised, self.last = files, set(chosen), 0, 0, {}

    def __call__(self, frame, event, argument):
        code = frame.f_code
        if not code.co_filename.endswith(self.files):
            return None
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            if code not in names:
                names[code] = {i.offset: i.opname for i in dis.get_instructions(code)}
            before, self.last[id(frame)] = self.last.get(id(frame)), names[code][frame.f_lasti]
            if before is not None and before.startswith(tuple(CHECKED)):
                self.count += 1
                if self.count in self.chosen:
                    self.raised += 1
                    raise Raised
        elif event == "return":
            self.last.pop(id(frame), None)
        return self

    def run(self, call):
        sys.settrace(self)
        try:
            call()
        except Raised:
            pass
        finally:
            sys.settrace(None)
"""


def everywhere(code, *arguments, seconds=300):
    return alone(EVERYWHERE + textwrap.dedent(code), *arguments, seconds=seconds)[0]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="knows where Python 3.11 runs handlers")
def test_an_exception_at_any_place_of_run_waits_for_all_parts():
    found = everywhere("""
    faulthandler.dump_traceback_later(200, exit=True)
    entered, left = [], []
    state = np.zeros(STATE_SIZE, np.int64)
    def work(part):  # as compiled parts do: nobody goes on before all are there, or one has failed
        entered.append(part)
        while len(entered) < 4 and state[FAILED] == 0:
            time.sleep(0)
        time.sleep(0.002 * part)
        left.append(part)
    def once(*chosen):
        entered.clear(), left.clear()
        injection = Injection("workers.py", chosen)
        with Workers() as workers:
            injection.run(lambda: workers.run(4, work, state))
            # whoever has begun has ended, and all of them unless the exception came before
            assert sorted(entered) == sorted(left), (chosen, entered, left)
            assert injection.raised or len(left) == 4, chosen
        assert threads_end(), chosen
        return injection
    assert once().raised == 0
    place = 1
    while once(place).raised:  # until there is none so late: waiting for a thread has more of them when it is slow
        place += 1
    print(json.dumps(place - 1))
    """)
    assert found > 10


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_exception_that_comes_while_run_waits_for_the_others_comes_out_when_they_have_ended():
    """The first part is done by then: nothing else would tell that the call was to be ended."""
    ended, state, done, main = [], np.zeros(STATE_SIZE, np.int64), threading.Event(), threading.get_ident()

    def handler(number, frame):
        raise Broken

    def work(part):
        if part == 0:
            done.set()
            return
        done.wait()
        while part == 1 and sys._current_frames()[main].f_code is not Workers.run.__code__:
            time.sleep(0)
        if part == 1:
            time.sleep(0.02)  # by now the first thread waits
            signal.pthread_kill(main, signal.SIGUSR1)
        while state[FAILED] == 0:
            time.sleep(0)
        ended.append(part)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with Workers() as workers:
            for _ in range(3):
                with pytest.raises(Broken):
                    workers.run(3, work, state)
                assert sorted(ended) == [1, 2]
                ended.clear()
                done.clear()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="knows where Python 3.11 runs handlers")
@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_at_any_place_of_fit_leaves_a_whole_network(threads):
    """The quick form of ``test_exceptions_at_all_places_of_fit``."""
    places, tried = everywhere(PLACES_OF_FIT, threads, 40)
    assert places > 50
    assert tried >= 40


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="knows where Python 3.11 runs handlers")
@pytest.mark.parametrize("threads", [1, 3])
def test_exceptions_at_all_places_of_fit(threads):
    """Every place, and 2,000 pairs: ``pytest -m slow tests/support/test_workers.py -k all_places``."""
    places, tried = everywhere(PLACES_OF_FIT, threads, 0, seconds=3000)
    assert tried == places + 2000


PLACES_OF_FIT = """
faulthandler.dump_traceback_later(2900, exit=True)
threads, some = int(sys.argv[1]), int(sys.argv[2])
files = ("workers.py", "training/loop.py", "training/steps.py", "nn/program.py", "nn/network.py", "sequential.py")
warm, expected = network(), network()
train(warm, threads)
train(expected, threads)
handler = signal.getsignal(signal.SIGINT)
def once(*chosen):
    net = network()
    injection = Injection(files, chosen)
    injection.run(lambda: train(net, threads))
    if len(chosen) < 2:
        # a second exception may come in the way of ending threads, which then end by themselves
        assert threads_end(), chosen
        assert signal.getsignal(signal.SIGINT) is handler, chosen
    signal.signal(signal.SIGINT, handler)
    assert np.isfinite(net.parameters).all(), chosen
    assert net._lock.acquire(timeout=10), chosen
    net._lock.release()
    again = network()
    again.parameters[:] = net.parameters
    again.epochs_trained = net.epochs_trained
    a, b = train(net, threads)["loss"], train(again, 1)["loss"]
    assert a == b and np.array_equal(net.parameters, again.parameters), chosen
    return injection
places = once().count
rng = random.Random(0)
if some:
    chosen = [(k,) for k in rng.sample(range(1, places + 1), min(some, places))]
    chosen += [sorted(rng.sample(range(1, places + 30), 2)) for _ in range(some // 4)]
else:
    chosen = [(k,) for k in range(1, places + 1)]
    for k in rng.choices(range(1, places + 1), k=2000):
        chosen.append((k, k + rng.choice([1, 2, 3, rng.randrange(1, 30)])))
for one in chosen:
    once(*one)
print(json.dumps([places, len(chosen)]))
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_a_handler_that_raises_again_and_again_ends_fit_with_its_error(threads):
    """The usual way to limit a call's time, but that the signal comes every half millisecond."""
    code = """
    threads = int(sys.argv[1])
    class TimeOut(Exception):
        pass
    def handler(number, frame):
        while frame is not None and frame.f_code is not train.__code__:
            frame = frame.f_back
        if frame is not None:
            raise TimeOut
    net = network()
    train(net, threads)
    ended = 0
    signal.signal(signal.SIGALRM, handler)
    rounds, seed = 40, random.Random(0)
    for _ in range(rounds):
        signal.setitimer(signal.ITIMER_REAL, seed.uniform(0.0002, 0.02), 0.0005)
        try:
            train(net, threads, epochs=10**9)
        except TimeOut:
            ended += 1
        except RuntimeError as error:
            # Thread.start waits with a lock of Python's own, which complains where a handler raises within it
            assert str(error) == "release unlocked lock" and isinstance(error.__context__, TimeOut)
            ended += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert np.isfinite(net.parameters).all()
        assert len(train(net, threads)["loss"]) == 2
    print(json.dumps([rounds, ended]))
    """
    (rounds, ended), _ = alone("import random\n" + textwrap.dedent(code), threads, seconds=300)
    assert ended == rounds


def test_a_call_that_ended_untidily_and_is_kept_by_a_circle_stops_no_other():
    """As exceptions make them, whose frames hold them; a call that is still running holds its own, also where it is on
    no stack that can be seen, as a greenlet's."""
    net = fj.Sequential([fj.Dense(2, 1)], seed=0)
    circle = [_Call(None)]
    circle.append(circle)
    net._trained_by["call"] = threading.get_ident(), weakref.ref(circle[0])
    fit = functools.partial(net.fit, np.ones((4, 2)), np.ones(4), loss="mean_squared_error", progress=False)
    with pytest.raises(RuntimeError, match="already being trained"):
        fit()
    gc.disable()
    try:
        del circle
        fit()
    finally:
        gc.enable()
    assert net.epochs_trained == 1


@pytest.mark.parametrize("inside", [True, False])
def test_a_call_that_is_seen_to_run_is_refused_at_once(inside, monkeypatch):
    """Without looking for garbage, which takes long where there are many objects."""
    net = fj.Sequential([fj.Dense(2, 1)], seed=0)
    fit = functools.partial(net.fit, np.ones((4, 2)), np.ones(4), loss="mean_squared_error", progress=False)
    refused = []

    def try_again():
        with pytest.raises(RuntimeError, match="already being trained"):
            fit()
        refused.append(True)

    def on_epoch_end(epoch, logs):
        if inside:
            try_again()
        else:
            thread = threading.Thread(target=try_again)
            thread.start()
            thread.join()

    monkeypatch.setattr(gc, "collect", lambda: pytest.fail("collected"))
    fit(callbacks=[on_epoch_end])
    fit()
    assert refused
    assert net.epochs_trained == 2


# --- the interpreter ends -----------------------------------------------------------------------------------------


ENDS = [
    (threads, kind, ending)
    for ending in ("return", "sys.exit(0)")
    for kind in ("thread", "daemon", "pool")
    for threads in (1, 2, 3, 8)
]
QUICK_ENDS = [
    (1, "thread", "return"),
    (3, "thread", "sys.exit(0)"),
    (1, "pool", "return"),
    (3, "pool", "return"),
    (8, "daemon", "return"),
]


@pytest.mark.parametrize(("threads", "kind", "ending"), QUICK_ENDS)
def test_an_interpreter_that_ends_during_fit_in_a_thread_ends(threads, kind, ending):
    _end_during_fit(threads, kind, ending)


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "kind", "ending"), ENDS)
def test_all_ends_of_an_interpreter_during_fit(threads, kind, ending):
    """``pytest -m slow tests/support/test_workers.py -k all_ends``."""
    _end_during_fit(threads, kind, ending)


def _end_during_fit(threads, kind, ending):
    code = """
    threads, kind, ending = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    begun, net = threading.Event(), network()
    def endless():
        try:
            train(net, threads, epochs=10**9, callbacks=[lambda epoch, logs: begun.set()])
        except BaseException as error:
            print(json.dumps([type(error).__name__, str(error)]), flush=True)
    print(json.dumps(["", ""]), flush=True)
    if kind == "pool":
        from concurrent.futures import ThreadPoolExecutor
        ThreadPoolExecutor(1).submit(endless)
    else:
        threading.Thread(target=endless, daemon=kind == "daemon").start()
    begun.wait()
    if ending != "return":
        exec(ending)
    """
    (name, message), errors = alone(code, threads, kind, ending, seconds=120)
    assert errors == ""
    if kind == "daemon":
        return  # the process was gone, or it was told
    assert name == "RuntimeError"
    assert "interpreter is about to end" in message


def test_a_fit_at_exit_trains():
    code = """
    import atexit
    net = network()
    train(net, 1)
    atexit.register(lambda: print(json.dumps(len(train(net, 1)["loss"]))))
    """
    assert alone(code)[0] == 2


# --- little memory for a thread -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32768, 65536, 262144])
def test_a_first_fit_and_predict_with_threads_of_small_stacks(size):
    code = """
    threading.stack_size(int(sys.argv[1]))
    net = network()
    many = np.concatenate([X] * 4)
    a = net.predict(many, threads=3)
    history = train(net, 3)
    print(json.dumps([len(history["loss"]), bool(np.isfinite(a).all())]))
    """
    assert alone(code, size)[0] == [2, True]


def test_a_part_that_never_begins_leaves_parameters_and_moments_as_they_were(threads_as_asked, monkeypatch):
    """A signal's handler raises as the first part begins: the others have begun, and must change nothing."""
    rows, net, adam = np.random.default_rng(0).normal(size=(512, 64)), network_of(64), fj.Adam()
    options = {"loss": "softmax_cross_entropy", "optimizer": adam, "shuffle": False, "threads": 2}
    labels = np.arange(512) % 10
    net.fit(rows, labels, **options)
    parameters, moments = net.parameters.copy(), adam.state(net).moments.copy()
    usual = Workers.run

    def run(self, parts, work, state):
        def begins(part):
            if part == 0:
                raise TimeoutError
            work(part)

        return usual(self, parts, begins, state)

    monkeypatch.setattr(Workers, "run", run)
    for batch_size in (64, 256, 512):
        with pytest.raises(TimeoutError):
            net.fit(rows, labels, batch_size=batch_size, **options)
        np.testing.assert_array_equal(net.parameters, parameters)
        np.testing.assert_array_equal(adam.state(net).moments, moments)


def network_of(inputs):
    return fj.Sequential([fj.Dense(inputs, 300, activation="relu"), fj.Dense(300, 10)], seed=0)
