"""Other threads and processes: several fits at once, fork after a fit, and what the compiler was allowed to do."""

import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastjac as fj


def _trained(seed, threads=1):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(600, 10)), rng.integers(0, 3, 600)
    net = fj.Sequential(
        [fj.Dense(10, 16 + seed, activation="tanh"), fj.Dropout(0.1), fj.Dense(16 + seed, 3)], seed=seed
    )
    net.fit(X, y, loss="softmax_cross_entropy", epochs=20, batch_size=64, threads=threads)
    return net.parameters


@pytest.mark.usefixtures("threads_as_asked")
def test_several_networks_train_at_once_as_one_after_the_other(threads_as_asked):
    alone = [_trained(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(_trained, range(8), [1, 2] * 4))
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_trains_as_its_parent_does():
    code = """
    import json, os, warnings
    import numpy as np
    import fastjac as fj
    warnings.simplefilter("ignore", DeprecationWarning)  # that there may be threads: there are none any more
    X, y = fj.datasets.digits()

    def trained():
        net = fj.Sequential([fj.Dense(64, 512, activation="relu"), fj.Dense(512, 10)], seed=0)
        net.fit(X, y, loss="softmax_cross_entropy", epochs=2, batch_size=512, threads=2)
        return net.parameters.astype(float).sum()

    before = trained()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(trained()).encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps([status, before, json.loads(os.read(reader, 100)), trained()]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=True
    )
    status, before, in_the_child, after = json.loads(done.stdout)
    assert status == 0
    assert before == in_the_child == after


def _within(value, expected, deviation):
    return abs(value - expected) < 5 * deviation


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_masks_are_as_independent_draws(rate):
    shape = (1000, 400)
    count = shape[0] * shape[1]
    masks = [
        fj.kernels.dropout_mask(shape, rate, seed=seed, step=step, place=place, dtype="float32") > 0
        for seed, step, place in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    keep, variance = 1 - rate, rate * (1 - rate)
    for mask in masks:
        assert _within(mask.mean(), keep, np.sqrt(variance / count))
        for axis in (0, 1):  # the spread of the counts of rows and of columns is that of independent draws
            each, groups = shape[axis], shape[1 - axis]
            spread = mask.sum(axis=axis).var(ddof=1) / (each * variance)
            assert _within(spread, 1, np.sqrt(2 / (groups - 1)))
        for shift in ((0, 1), (1, 0), (1, 1), (0, 16)):  # neighbours in a row, in a column, in a register
            other = np.roll(mask, shift, (0, 1))
            assert _within(np.mean((mask - keep) * (other - keep)), 0, variance / np.sqrt(count))
    for k, one in enumerate(masks):
        for other in masks[:k]:
            assert _within(np.mean((one - keep) * (other - keep)), 0, variance / np.sqrt(count))
    kept = fj.kernels.dropout_mask(shape, rate, seed=0, step=0, place=0, dtype="float32")
    np.testing.assert_allclose(kept[masks[0]], 1 / keep, rtol=1e-6)


# --- forks ------------------------------------------------------------------------------------------------------------

# What a child does in the tests below: predicts with the network it got, trains it, and trains a new one.
CHILD_WORK = """
import hashlib, os, sys, threading, time, warnings
import numpy as np
import fastjac as fj
from fastjac.support import cores
from fastjac.nn import program
cores.usable_cores = lambda: 64  # as many threads as are asked for
program.LEAST_WORK_TOGETHER = program.LEAST_WORK_BY_ROWS = 0
rng = np.random.default_rng(0)
X, y = rng.normal(size=(700, 20)), rng.integers(0, 4, 700)

def network(seed=0):
    return fj.Sequential([fj.Dense(20, 30, activation="relu"), fj.Dense(30, 4)], seed=seed)

def train(net, threads=2, **options):
    options = {"loss": "softmax_cross_entropy", "epochs": 2, "batch_size": 300} | options
    return net.fit(X, y, threads=threads, **options)

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

def work(net=None):
    if net is None:
        net = network()
        train(net)
    output = net.predict(np.concatenate([X, X]), threads=2)
    train(net)
    new = network(1)
    train(new, 3)
    return digest(output, net.parameters, new.parameters)
"""


def _run_alone(code, *arguments, seconds=300, folder=None):
    """Lines that a process printed. The seconds only tell a hang from an end."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


FORKS_WHILE_TRAINING = (
    CHILD_WORK
    + """
forks, threads, route = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
net, steps, stop = network(), set(), threading.Event()
if route == "layers":
    net._program = None
row = X[:5].astype("f4")

class Notes(fj.Callback):  # what every whole step predicts
    def on_batch_end(self, batch, logs):
        steps.add(digest(net.predict(row)))
        if stop.is_set():
            net.stop_training = True

train(network(), threads)
train(net, threads)
steps.add(digest(net.predict(row)))
trainer = threading.Thread(target=train, args=(net, threads), kwargs={"epochs": 10**9, "callbacks": [Notes()]})
trainer.start()
seen = []
for k in range(forks):
    time.sleep(rng.uniform(0, 0.01))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            found = digest(net.predict(row))
            history = train(net)
            ok = np.isfinite(net.parameters).all() and len(history["loss"]) == 2
            os.write(writer, f"{found} {ok}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    seen.append(os.read(reader, 1000).decode().split())
    os.close(reader)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
trainer.join()
assert all(found in steps for found, _ in seen), "a child got a network in the middle of a step"
print(len(seen), sum(ok == "True" for _, ok in seen))
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(("threads", "route"), [(1, "whole"), (3, "whole"), (1, "layers")])
def test_a_child_forked_while_another_thread_trains_predicts_as_after_a_whole_step_and_trains(threads, route):
    assert _run_alone(FORKS_WHILE_TRAINING, 8, threads, route) == ["8", "8"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(("threads", "route"), [(1, "whole"), (3, "whole"), (1, "layers")])
def test_many_children_forked_while_another_thread_trains(threads, route):
    """200 forks: ``pytest -m slow tests/support/test_processes.py -k many_children``."""
    assert _run_alone(FORKS_WHILE_TRAINING, 200, threads, route, seconds=3000) == ["200", "200"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_within_fit_goes_on_training_in_both_processes_which_refuse_a_second_fit():
    code = (
        CHILD_WORK
        + """
net, child, refused = network(), [], []
class Forks(fj.Callback):
    def on_epoch_end(self, epoch, logs):
        if epoch == 1:
            child.append(os.fork())
            try:
                train(net, 1)
            except RuntimeError as error:
                refused.append("already being trained" in str(error))
train(net, 3, epochs=4, callbacks=[Forks()])
expected = network()
train(expected, 1, epochs=4)
equal = np.array_equal(net.parameters, expected.parameters) and refused == [True]
if child[0] == 0:
    os._exit(0 if equal else 1)
print(os.waitpid(child[0], 0)[1], equal)
"""
    )
    assert _run_alone(code) == ["0", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_does_not_wait_for_ever_for_a_lock_that_is_not_let_go():
    code = (
        CHILD_WORK
        + """
net, other = network(), network(1)
held, done = threading.Event(), threading.Event()
def hold():
    with net._lock:
        held.set()
        done.wait()
holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    os._exit(0 if net.predict(X).shape == other.predict(X).shape == (700, 4) else 1)
print(os.waitpid(child, 0)[1], other.predict(X).shape[1])
done.set()
holder.join()
"""
    )
    assert _run_alone(code) == ["0", "4"]


POOLS = """
import sys
from work import *

def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    net = network()
    train(net)
    expected = work(__import__("copy").deepcopy(net))
    if kind == "os.fork":
        found = []
        for _ in range(count):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(writer, work(net).encode())
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            found.append(os.read(reader, 100).decode())
            os.close(reader), os.close(writer)
    elif kind == "loky":
        from joblib import Parallel, delayed
        found = Parallel(2, "loky", batch_size=1)(delayed(work)(net) for _ in range(count))
    else:
        import multiprocessing
        with multiprocessing.get_context(kind).Pool(2, maxtasksperchild=10 if kind != "fork" else 1) as pool:
            found = pool.map(work, [net] * count, 1)
    print(len(found), sum(one == expected for one in found))

if __name__ == "__main__":
    main()
"""
KINDS = ["os.fork", "fork", "forkserver", "spawn", "loky"]


def _pools(folder, kind, count, seconds):
    if kind in ("os.fork", "fork", "forkserver") and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    (folder / "work.py").write_text(CHILD_WORK)
    (folder / "main.py").write_text(POOLS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "main.py", kind, str(count)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(count)] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_of_any_kind_predicts_and_trains_to_the_same_bits(tmp_path, kind):
    """Reliability test 22, a few of each."""
    _pools(tmp_path, kind, 4, 300)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_200_processes_of_any_kind(tmp_path, kind):
    """Reliability test 22, 200 of each: ``pytest -m slow tests/support/test_processes.py -k 200_processes``."""
    _pools(tmp_path, kind, 200, 3000)


# --- threads of the user's --------------------------------------------------------------------------------------------

FITS_AT_ONCE = (
    CHILD_WORK
    + """
from concurrent.futures import ThreadPoolExecutor
count, rounds = int(sys.argv[1]), int(sys.argv[2])
def one(seed, threads=1):
    net = network(seed)
    train(net, threads)
    return digest(net.parameters)
alone = [one(seed) for seed in range(count)]
equal = 0
with ThreadPoolExecutor(count) as pool:
    for k in range(rounds):
        equal += list(pool.map(one, range(count), [1 + (k + j) % 3 for j in range(count)])) == alone
print(equal)
"""
)


@pytest.mark.parametrize("count", [2, 8])
def test_fits_at_once_give_the_bits_of_one_after_the_other(count):
    """Reliability test 20, a few rounds."""
    assert _run_alone(FITS_AT_ONCE, count, 5) == ["5"]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 8])
def test_100_rounds_of_fits_at_once(count):
    """Reliability test 20, 100 rounds: ``pytest -m slow tests/support/test_processes.py -k 100_rounds``."""
    assert _run_alone(FITS_AT_ONCE, count, 100, seconds=3000) == ["100"]


@pytest.mark.parametrize("threads", [1, 3])
def test_predictions_during_fit_are_those_after_a_whole_step_and_a_second_fit_is_refused(threads):
    """Reliability test 21."""
    code = (
        CHILD_WORK
        + """
net, whole, seen, refused, tries, stop = network(), set(), set(), 0, 0, threading.Event()
row = X[:5].astype("f4")
class Notes(fj.Callback):
    def on_train_begin(self):
        begun.set()
    def on_batch_end(self, batch, logs):
        whole.add(digest(net.predict(row)))
        net.stop_training = stop.is_set()
begun = threading.Event()
whole.add(digest(net.predict(row)))
trainer = threading.Thread(target=train, args=(net, int(sys.argv[1])), kwargs={"epochs": 10**9, "callbacks": [Notes()]})
trainer.start()
begun.wait()
while tries < 300 or len(seen) < 20:
    seen.add(digest(net.predict(row)))
    tries += 1
    try:
        train(net, 1)
    except RuntimeError as error:
        refused += "already being trained" in str(error)
stop.set()
trainer.join()
assert seen <= whole, "a prediction came from the middle of a step"
print(refused == tries)
"""
    )
    assert _run_alone(code, threads) == ["True"]


# --- sub-interpreters -------------------------------------------------------------------------------------------------


def test_a_sub_interpreter_is_refused():
    code = """
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    program = '''if True:
        import sys
        sys.path[:] = {path}
        try:
            import fastjac
        except ImportError as error:
            print("refused:" if "sub-interpreter" in str(error) else error, flush=True)
    '''.replace("{path}", repr(sys.path))
    kinds = [False] if sys.version_info < (3, 12) else [False, True]
    for apart in kinds:
        if sys.version_info < (3, 13):
            one = interpreters.create(isolated=apart)
        else:
            one = interpreters.create("isolated" if apart else "legacy")
        interpreters.run_string(one, program)
    import fastjac
    print(len(kinds), fastjac.Dense(2, 3).outputs)
    """
    *refused, kinds, outputs = _run_alone(code)
    assert refused == ["refused:"] * int(kinds)
    assert outputs == "3"
