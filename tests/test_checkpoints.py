"""Training that is stopped or killed, and goes on: the same bits as training that was not."""

import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

import fastjac as fj

pytest.importorskip("safetensors", reason="safetensors is not installed")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(150, 6)), RNG.integers(0, 3, 150)


def _network():
    layers = [fj.Dense(6, 16, activation="relu"), fj.Dropout(0.3), fj.Dense(16, 3)]
    return fj.Sequential(layers, seed=4)


OPTIMIZERS = {
    "sgd": lambda: fj.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: fj.Adam(fj.cosine_decay(0.01, 60)),
    "adamw": lambda: fj.AdamW(0.01, weight_decay=0.1, clip_norm=0.5),
}


class Stop(fj.Callback):
    """Ends the process's training, as a kill would, after some epochs or batches."""

    def __init__(self, epochs=None, batches=None):
        self.left, self.epochs = batches, epochs

    def on_batch_end(self, batch, logs):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise _Killed

    def on_epoch_begin(self, epoch):
        if epoch == self.epochs:
            raise _Killed


class _Killed(Exception):
    pass


def _fit(optimizer, callbacks=(), net=None, **more):
    net = net or _network()
    arguments = {"loss": "softmax_cross_entropy", "epochs": 7, "batch_size": 20, "class_weight": {0: 2.0},
                 "validation_data": (X[:30], Y[:30]), "progress": False} | more  # fmt: skip
    history = net.fit(X, Y, optimizer=OPTIMIZERS[optimizer](), callbacks=list(callbacks), **arguments)
    return net, {name: column for name, column in history.items() if name != "seconds"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [{"epochs": 3}, {"batches": 19}, {"batches": 0}, {"batches": 31}])
def test_going_on_gives_the_bits_of_never_having_stopped(optimizer, stop, tmp_path):
    whole, wanted = _fit(optimizer)
    path = tmp_path / "run"
    every = {"every_batches": 3} if "batches" in stop else {}

    class Dead(Stop):  # a kind of its own is not in the callbacks of the second process
        def state(self):
            return {}

    with pytest.raises(_Killed):
        _fit(optimizer, [fj.Checkpoint(path, **every), Dead(**stop)])

    class Dead(Stop):
        def state(self):
            return {}

    net, history = _fit(optimizer, [fj.Checkpoint(path, **every), Dead()])
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    assert history == wanted
    assert net.epochs_trained == whole.epochs_trained == 7


def test_early_stopping_is_taken_up_too(tmp_path):
    def early():
        return fj.EarlyStopping(patience=3, min_delta=0.02)

    whole, wanted = _fit("adam", [early()], epochs=60)
    path = tmp_path / "run"
    _fit("adam", [early(), fj.Checkpoint(path)], epochs=2)
    net, history = _fit("adam", [fj.Checkpoint(path), early()], epochs=60)
    assert history == wanted
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    again, same = _fit("adam", [fj.Checkpoint(path), early()], epochs=60)  # which had ended
    assert same == wanted
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_more_epochs_go_on_where_fewer_ended(tmp_path):
    path = tmp_path / "run"
    _fit("sgd", [fj.Checkpoint(path, every=2)], epochs=4)
    net, history = _fit("sgd", [fj.Checkpoint(path, every=2)], epochs=7)
    whole, wanted = _fit("sgd")
    assert history == wanted
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    anew, _ = _fit("sgd", [fj.Checkpoint(path, resume=False)], epochs=1)
    assert anew.epochs_trained == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 10}, "batch_size=20, expected 10"),
        ({"class_weight": None}, "data="),
        ({"shuffle": False}, "shuffle=True"),
        ({"l2": 1.0}, "l2=0.0"),
        ({"net": fj.Sequential([fj.Dense(6, 3)], seed=4)}, "another network: its layers"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(changes, message, tmp_path):
    path = tmp_path / "run"
    _fit("sgd", [fj.Checkpoint(path)], epochs=1)
    with pytest.raises(ValueError, match=message):
        _fit("sgd", [fj.Checkpoint(path)], **changes)
    with pytest.raises(ValueError, match="optimizer="):
        _fit("adam", [fj.Checkpoint(path)])


def test_a_model_is_no_checkpoint_and_a_damaged_one_is_found(tmp_path):
    path = tmp_path / "run"
    _network().save(path)
    with pytest.raises(fj.ModelFileError, match="not a checkpoint"):
        _fit("sgd", [fj.Checkpoint(path)])
    _fit("sgd", [fj.Checkpoint(path, resume=False)], epochs=1)
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)
    net = _network()
    before = net.parameters.copy()
    with pytest.raises(fj.ModelFileError, match="damaged"):
        _fit("sgd", [fj.Checkpoint(path)], net=net)
    np.testing.assert_array_equal(net.parameters, before)


_PROGRAM = """
import json, sys
import numpy as np
import fastjac as fj
rng = np.random.default_rng(0)
X, y = rng.normal(size=(4000, 20)), rng.integers(0, 5, 4000)
net = fj.Sequential([fj.Dense(20, 64, activation="relu"), fj.Dropout(0.2), fj.Dense(64, 5)], seed=1)
print("begins", flush=True)
history = net.fit(X, y, loss="softmax_cross_entropy", optimizer=fj.Adam(1e-3), epochs=40, batch_size=16, progress=False,
                  callbacks=[fj.Checkpoint(sys.argv[1], every_batches=40)] if len(sys.argv) > 1 else None)
print(json.dumps([net.parameters.tolist(), history["loss"]]))
"""


def _killed_until_done(path, kills):
    """Start the program, kill it at a random moment, start it again; the last one may end. Returns what it prints."""
    moments = random.Random(7)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(path)], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        process.communicate()
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path)], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_process_killed_at_any_moment_goes_on(kills, tmp_path):
    undisturbed = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True).stdout
    printed = _killed_until_done(tmp_path / "run", kills)
    assert json.loads(printed.splitlines()[1]) == json.loads(undisturbed.splitlines()[1])
    assert [one.name for one in tmp_path.iterdir() if not one.name.startswith(".")] == ["run"]
