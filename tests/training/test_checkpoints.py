"""Training that is stopped or killed, and goes on: the same bits as training that was not."""

import gc
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

import fastjac as fj
from fastjac.files import container

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
    arguments = {
        "loss": "softmax_cross_entropy",
        "epochs": 7,
        "batch_size": 20,
        "class_weight": {0: 2.0},
        "validation_data": (X[:30], Y[:30]),
        "progress": False,
    } | more
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


class Betas(fj.Callback):
    """Changes how long Adam remembers, from the third epoch on, in the process that gets there."""

    def __init__(self, adam):
        self.adam = adam

    def on_epoch_begin(self, epoch):
        if epoch >= 2:
            self.adam.beta_1, self.adam.beta_2 = 0.7, 0.99

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_moments_are_taken_up_in_the_units_they_were_written_in(epochs, tmp_path):
    """Adam's are kept divided by 1 - β: where β has changed before the file was written, with the new one."""

    def fit(epochs, *more):
        net, adam = _network(), fj.Adam(0.01)
        net.fit(
            X,
            Y,
            loss="softmax_cross_entropy",
            optimizer=adam,
            batch_size=20,
            epochs=epochs,
            progress=False,
            callbacks=[Betas(adam), *more],
        )
        return net, adam.state(net)

    whole, state = fit(7)
    fit(epochs, fj.Checkpoint(tmp_path / "run"))
    net, other = fit(7, fj.Checkpoint(tmp_path / "run"))
    assert other.units == state.units == (1 - 0.7, 1 - 0.99)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    np.testing.assert_array_equal(other.moments, state.moments)


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


@pytest.mark.parametrize("turn", [1, -1])
def test_of_several_checkpoints_the_furthest_is_gone_on_from(turn, tmp_path):
    """One each epoch and one now and then: their files are at different places, in either order."""

    def checkpoints():
        often = fj.Checkpoint(tmp_path / "latest")
        within = fj.Checkpoint(tmp_path / "within", every=3, every_batches=5)
        return [often, within, fj.Checkpoint(tmp_path / "third", every=3)][::turn]

    whole, wanted = _fit("sgd")
    for stop in ({"epochs": 5}, {"batches": 6}):  # after the fifth epoch, and within the sixth
        with pytest.raises(_Killed):
            _fit("sgd", [*checkpoints(), Stop(**stop)])
    net, history = _fit("sgd", [*checkpoints(), Stop()])
    assert history == wanted
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    assert net.epochs_trained == 7


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


def test_a_learning_rate_or_schedule_other_than_the_checkpoints_is_refused(tmp_path):
    def go(rate, epochs):
        net = _network()
        net.fit(
            X,
            Y,
            loss="softmax_cross_entropy",
            optimizer=fj.Adam(rate),
            epochs=epochs,
            batch_size=20,
            progress=False,
            callbacks=[fj.Checkpoint(path)],
        )
        return net

    def late(steps, to):  # a schedule that is constant, but for what comes after so many steps
        return lambda step: 0.01 if step < steps else to

    for given, others in (
        (0.01, [0.02, np.nextafter(0.01, 1), late(0, 0.01)]),
        (
            late(20, 0.001),
            [0.01, late(20, 0.002), late(19, 0.001), late(21, 0.001), fj.exponential_decay(0.01, 0.5, 9)],
        ),
    ):
        path = tmp_path / "run"
        path.unlink(missing_ok=True)
        go(given, 3)  # 24 steps
        before = path.read_bytes()
        for other in others:
            with pytest.raises(ValueError, match=r"is a checkpoint of a training (with|whose) learning_rate"):
                go(other, 5)
        assert path.read_bytes() == before
        resumed = go(given, 5)
        path.unlink()
        np.testing.assert_array_equal(resumed.parameters, go(given, 5).parameters)
    # what a schedule gives after the steps taken so far is still open
    path.unlink()
    go(late(40, 0.001), 3)
    resumed = go(late(30, 0.002), 5)
    path.unlink()
    np.testing.assert_array_equal(resumed.parameters, go(late(30, 0.002), 5).parameters)


def test_a_schedule_that_knows_only_the_steps_of_this_training(tmp_path):
    rates = np.linspace(0.1, 0.01, 16).tolist()
    for epochs in (1, 2):
        _network().fit(
            X,
            Y,
            loss="softmax_cross_entropy",
            optimizer=fj.SGD(lambda step: rates[step]),
            epochs=epochs,
            batch_size=20,
            progress=False,
            callbacks=[fj.Checkpoint(tmp_path / "run")],
        )


def test_the_rates_of_many_steps_are_compared_at_a_thousand_of_them(tmp_path, monkeypatch):
    from fastjac.training import checkpoints

    monkeypatch.setattr(checkpoints, "_RATES", 5)
    asked = []
    checkpoint = fj.Checkpoint(tmp_path / "run")
    checkpoint._rate = lambda step: asked.append(step) or 0.5
    for steps, wanted in ((0, []), (1, [0]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 4]), (101, [0, 25, 50, 75, 100])):
        asked.clear()
        assert checkpoint._rates(steps).tolist() == [0.5] * len(wanted)
        assert asked == wanted


class Slower(fj.Callback):
    """Sets the learning rate itself, and remembers nothing."""

    def on_epoch_end(self, epoch, logs):
        if epoch in (1, 3):
            self.optimizer.learning_rate /= 4


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("same", [False, True])
def test_a_learning_rate_that_a_callback_has_set_is_taken_up(stop, same, tmp_path):
    def go(epochs, path, optimizer=None):
        net, slower = _network(), Slower()
        slower.optimizer = optimizer or fj.SGD(0.1)
        history = net.fit(
            X,
            Y,
            loss="softmax_cross_entropy",
            optimizer=slower.optimizer,
            epochs=epochs,
            batch_size=20,
            progress=False,
            callbacks=[slower, fj.Checkpoint(path)],
        )
        return net, history["loss"], slower.optimizer

    whole, wanted, _ = go(6, tmp_path / "whole")
    *_, optimizer = go(stop, tmp_path / "run")
    go(5, tmp_path / "run", optimizer if same else None)
    net, history, _ = go(6, tmp_path / "run")
    assert history == wanted
    np.testing.assert_array_equal(net.parameters, whole.parameters)


@pytest.mark.parametrize("before", [0.1, fj.cosine_decay(0.1, 20)])
@pytest.mark.parametrize("after", [0.2, fj.cosine_decay(0.1, 10)])
def test_a_schedule_set_by_a_callback_is_refused_when_it_would_be_written(before, after, tmp_path):
    class Sets(fj.Callback):
        def on_epoch_end(self, epoch, logs):
            optimizer.learning_rate = after

    optimizer, path = fj.SGD(before), tmp_path / "run"
    arguments = {
        "loss": "softmax_cross_entropy",
        "optimizer": optimizer,
        "progress": False,
        "callbacks": [Sets(), fj.Checkpoint(path)],
    }
    if callable(before) or callable(after):
        with pytest.raises(ValueError, match="set learning_rate to a function, or in place of one"):
            _network().fit(X, Y, **arguments)
        assert not path.exists()
    else:
        _network().fit(X, Y, **arguments)
        assert container.read(path)[1]["training"]["learning_rate"] == after


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (None, (X[:30], Y[:30])),
        ((X[:30], Y[:30]), None),
        ((X[:30], Y[:30]), (X[:31], Y[:31])),
        ((X[:30], Y[:30]), (X[:30], Y[:30], np.full(30, 2.0))),
        ((X[:30], Y[:30]), lambda: iter([(X[:30], Y[:30])])),
        (lambda: iter([(X[:30], Y[:30])]), None),
    ],
)
def test_other_validation_data_is_refused_and_the_same_goes_on(first, then, tmp_path):
    path = tmp_path / "run"
    _fit("sgd", [fj.Checkpoint(path)], epochs=2, validation_data=first)
    with pytest.raises(ValueError, match="is a checkpoint of a training with validation"):
        _fit("sgd", [fj.Checkpoint(path)], epochs=4, validation_data=then)
    _, history = _fit("sgd", [fj.Checkpoint(path)], epochs=4, validation_data=first)
    _, wanted = _fit("sgd", epochs=4, validation_data=first)
    assert history == wanted


def test_another_path_is_refused(tmp_path):
    _fit("sgd", [fj.Checkpoint(tmp_path / "run")], epochs=1)
    net = _network()
    net.path = "unfused"
    with pytest.raises(ValueError, match="path='fused', expected 'unfused'"):
        _fit("sgd", [fj.Checkpoint(tmp_path / "run")], net=net)


def test_the_columns_of_the_history_keep_their_order(tmp_path):
    def columns(*callbacks, epochs=2):
        return list(
            _network().fit(
                X,
                Y,
                loss="softmax_cross_entropy",
                epochs=epochs,
                validation_data=(X, Y),
                progress=False,
                callbacks=list(callbacks),
            )
        )

    wanted = columns()
    assert wanted[:2] == ["loss", "accuracy"]
    for epochs in (1, 1, 2):
        assert columns(fj.Checkpoint(tmp_path / "run"), epochs=epochs) == wanted


def test_nothing_of_a_training_stays_with_the_checkpoint(tmp_path):
    checkpoint, rows = fj.Checkpoint(tmp_path / "run"), X.astype("f4")
    enabled = gc.isenabled()
    gc.disable()
    try:
        held = weakref.ref(rows)
        _network().fit(rows, Y, loss="softmax_cross_entropy", epochs=2, progress=False, callbacks=[checkpoint])
        del rows
        assert held() is None  # by counting references alone: there is no cycle
    finally:
        if enabled:
            gc.enable()
    assert checkpoint.path == str(tmp_path / "run")
    again = pickle.loads(pickle.dumps(checkpoint))
    assert (again.path, again.every) == (checkpoint.path, 1)


@pytest.mark.parametrize(
    "settings", [{"patience": 4}, {"min_delta": 0.1}, {"monitor": "loss"}, {"restore_best": False}]
)
def test_early_stopping_with_other_settings_is_refused(settings, tmp_path):
    _fit("sgd", [fj.EarlyStopping(patience=3), fj.Checkpoint(tmp_path / "run")], epochs=1)
    net = _network()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"EarlyStopping can't go on from: .*monitor, patience, min_delta and restore"):
        _fit("sgd", [fj.EarlyStopping(**{"patience": 3} | settings), fj.Checkpoint(tmp_path / "run")], net=net)
    np.testing.assert_array_equal(net.parameters, before)


def test_what_can_not_be_written_is_refused_before_training(tmp_path):
    own = fj.Sequential([fj.Dense(6, 3), fj.Elementwise(lambda z: z * z, lambda z: 2 * z)], seed=0)
    before = own.parameters.copy()
    with pytest.raises(TypeError, match=r"layers\[1\] is Elementwise"):
        _fit("sgd", [fj.Checkpoint(tmp_path / "run")], net=own)
    np.testing.assert_array_equal(own.parameters, before)
    for path, error in ((tmp_path / "nowhere" / "run", FileNotFoundError), (tmp_path, IsADirectoryError)):
        net = _network()
        with pytest.raises(error):
            _fit("sgd", [fj.Checkpoint(path)], net=net)
        assert net.epochs_trained == 0
    with pytest.raises(ValueError, match=r"\.h5 is an ending of Keras"):
        fj.Checkpoint("run.h5")
    assert not list(tmp_path.iterdir())


class Remembers(fj.Callback):
    """Has a state of the test's choice."""

    def __init__(self, state):
        self.kept, self.restored = state, None

    def state(self):
        return self.kept

    def restore(self, state):
        self.restored = state


def test_states_of_callbacks_come_back_as_they_were(tmp_path):
    state = {
        "number": 1.5,
        "text": "ü",
        "nothing": None,
        "list": [1, [2]],
        "of no axis": np.array(3.5),
        "bytes": np.arange(5, dtype="u1"),
        "of no rows": np.empty((0, 3), "f4"),
        "flags": np.array([[True], [False]]),
        "columns": np.arange(6.0).reshape(2, 3).T,
    }
    _fit("sgd", [Remembers(state), fj.Checkpoint(tmp_path / "run")], epochs=1)
    other = Remembers({})
    _fit("sgd", [other, fj.Checkpoint(tmp_path / "run")], epochs=1)
    assert other.restored.keys() == state.keys()
    for name, value in state.items():
        found = other.restored[name]
        if isinstance(value, np.ndarray):
            assert (found.dtype, found.shape, found.tolist()) == (value.dtype, value.shape, value.tolist())
        else:
            assert found == value


@pytest.mark.parametrize(
    "wrong", [{"x": print}, {"x": np.array(["text"])}, {"x": np.array([1j])}, {"x": np.array([None])}]
)
def test_a_state_that_no_file_holds_is_refused_by_its_callback(wrong, tmp_path):
    with pytest.raises(TypeError, match="the state of Remembers can't be put into a checkpoint"):
        _fit("sgd", [Remembers(wrong), fj.Checkpoint(tmp_path / "run")], epochs=1)
    assert not list(tmp_path.iterdir())


# --- hostile checkpoints: right checksums, wrong contents -------------------------------------------------------------


def _changed(data, change):
    """A checkpoint with its JSON and tensors changed, and sealed again."""
    tensors, header = container.from_bytes(data, "good")
    tensors = {name: value.copy() for name, value in tensors.items()}
    change(header, tensors)
    return container.to_bytes(tensors, header)


def _set(*keys):
    *keys, value = keys

    def change(header, tensors):
        place = header
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def _without(*keys):
    def change(header, tensors):
        place = header
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def _tensor(name, value):
    def change(header, tensors):
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value

    return change


EARLY = ("training", "callbacks", 0)
HOSTILE = {
    "a tensor without a name": _tensor("", np.zeros(1)),
    "a history of texts": _set("training", "history", [["loss", ["x", "y"]]]),
    "a history of true": _set("training", "history", [["loss", [True, True]]]),
    "a history that is a number": _set("training", "history", 5),
    "a history with a column too short": _set("training", "history", [["loss", [1.0]]]),
    "a history without losses": _set("training", "history", [["seconds", [1.0, 2.0]]]),
    "a history with a column of another name": _set(
        "training", "history", [["float64", [1.0, 2.0]], ["accuracy", [1.0, 2.0]], ["seconds", [1.0, 2.0]]]
    ),
    "a history with a name that is a number": _set("training", "history", [[5, [1.0, 2.0]]]),
    "a history of triples": _set("training", "history", [["loss", [1.0, 2.0], 3]]),
    "a history with a number beyond floats": _set("training", "history", [["loss", [1.0, 10**400]]]),
    "no history": _without("training", "history"),
    "no best_epoch": _without(*EARLY, "state", "best_epoch"),
    "best_epoch in words": _set(*EARLY, "state", "best_epoch", "two"),
    "best_epoch below 0": _set(*EARLY, "state", "best_epoch", -1),
    "no best_epoch but parameters": _set(*EARLY, "state", "best_epoch", None),
    "best in words": _set(*EARLY, "state", "best", "good"),
    "waited is nothing": _set(*EARLY, "state", "waited", None),
    "a state that is a number": _set(*EARLY, "state", 5),
    "no state": _without(*EARLY, "state"),
    "no kind": _without(*EARLY, "kind"),
    "arrays that are not there": _set(*EARLY, "arrays", ["parameters", "more"]),
    "arrays that are a number": _set(*EARLY, "arrays", 5),
    "no best parameters": _set(*EARLY, "arrays", []),
    "best parameters of another shape": _tensor("callback.0.parameters", np.zeros(7, "f4")),
    "best parameters of another type": _tensor("callback.0.parameters", np.zeros(163, "f8")),
    "callbacks that are a number": _set("training", "callbacks", 5),
    "a callback that is a number": _set("training", "callbacks", [5]),
    "another callback": _set(*EARLY, "kind", "Other"),
    "no callbacks": _set("training", "callbacks", []),
    "a kind that is a list": _set(*EARLY, "kind", []),
    "arguments that are a number": _set("training", "arguments", 5),
    "an argument less": _without("training", "arguments", "data"),
    "learning_rate in words": _set("training", "learning_rate", "fast"),
    "learning_rate below 0": _set("training", "learning_rate", -1.0),
    "learning_rate beyond floats": _set("training", "learning_rate", 10**400),
    "learning_rate that is no number": _set("training", "learning_rate", float("nan")),
    "no learning_rate": _without("training", "learning_rate"),
    "epoch below 0": _set("training", "epoch", -1),
    "epoch true": _set("training", "epoch", True),
    "another epoch than the history's": _set("training", "epoch", 1),
    "position beyond the epoch": _set("training", "position", 8),
    "position a fraction": _set("training", "position", 0.5),
    "steps beyond 64 bits": _set("training", "steps", 2**64),
    "steps in words": _set("training", "steps", "many"),
    "no units": _without("training", "units"),
    "units that are a number": _set("training", "units", 1.0),
    "a unit more": _set("training", "units", [1.0, 1.0]),
    "a unit of 0": _set("training", "units", [0.0]),
    "a unit above 1": _set("training", "units", [1.5]),
    "a unit that is no number": _set("training", "units", [float("nan")]),
    "a unit in words": _set("training", "units", ["1"]),
    "a unit that is true": _set("training", "units", [True]),
    "rates where there is no schedule": _tensor("training.rates", np.zeros(3)),
    "no rates": _tensor("training.rates", None),
    "no moments": _tensor("training.moments", None),
    "moments of another shape": _tensor("training.moments", np.zeros(3, "f4")),
    "moments of another type": _tensor("training.moments", np.zeros(176, "f8")),
    "sums of another shape": _tensor("training.sums", np.zeros((7, 4))),
    "a parameter less": _tensor("0.weight", None),
    "a parameter more": _tensor("9.weight", np.zeros(1, "f4")),
    "no network": _set("network", None),
    "a network in words": _set("network", "large"),
    "epochs_trained below 0": _set("network", "epochs_trained", -1),
    "training that is a list": _set("training", [1]),
    "no format": _without("training", "format"),
    "another format": _set("training", "format", 1),
    "the format of other orders of rows": _set("training", "format", 2),
}


def _early(net=None, **more):
    early = fj.EarlyStopping("loss", patience=9)
    return early, _fit("sgd", [early, fj.Checkpoint(more.pop("path"))], net=net, **more)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "run"
    _early(path=path, epochs=2)
    return path.read_bytes()


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_checkpoint_is_refused_before_anything_is_changed(what, good, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(_changed(good, HOSTILE[what]))
    net, optimizer, early = _network(), OPTIMIZERS["sgd"](), fj.EarlyStopping("loss", patience=9)
    parameters, state = net.parameters.copy(), net.configuration()
    arguments = {
        "loss": "softmax_cross_entropy",
        "epochs": 7,
        "batch_size": 20,
        "class_weight": {0: 2.0},
        "validation_data": (X[:30], Y[:30]),
        "optimizer": optimizer,
        "progress": False,
    }
    with pytest.raises(ValueError, match="run") as caught:
        net.fit(X, Y, callbacks=[early, fj.Checkpoint(path)], **arguments)
    assert type(caught.value) is fj.ModelFileError or "callbacks" in str(caught.value)
    np.testing.assert_array_equal(net.parameters, parameters)
    assert net.configuration() == state
    assert not optimizer.state(net).moments.any()
    assert optimizer.state(net).counters[0] == 0
    assert optimizer.learning_rate == 0.05
    assert early.best_epoch is None


def test_a_checkpoint_of_an_earlier_version_is_refused_with_what_to_do(good, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(_changed(good, HOSTILE["the format of other orders of rows"]))
    with pytest.raises(fj.ModelFileError, match=r"another version of fastjac: let that one end .* resume=False"):
        _early(path=path)
    early = fj.EarlyStopping("loss", patience=9)
    _, history = _fit("sgd", [early, fj.Checkpoint(path, resume=False)], epochs=2)
    assert len(history["loss"]) == 2


def test_the_good_checkpoint_behind_the_hostile_ones_is_taken(good, tmp_path):
    (tmp_path / "run").write_bytes(_changed(good, lambda header, tensors: None))
    early, (net, history) = _early(path=tmp_path / "run", epochs=4)
    assert len(history["loss"]) == net.epochs_trained == 4
    assert early.best_epoch is not None


def test_callbacks_that_were_restored_are_put_back_when_a_later_one_refuses(tmp_path):
    class Refuses(Remembers):
        def restore(self, state):
            self.kept = "half done"
            raise RuntimeError("mine")

    first = {"x": np.arange(3)}
    _fit("sgd", [Remembers(first), Refuses({}), fj.Checkpoint(tmp_path / "run")], epochs=1)
    one, other, net = Remembers({}), Refuses({}), _network()
    before = net.parameters.copy()
    with pytest.raises(fj.ModelFileError, match=r"Refuses can't go on from: RuntimeError\('mine'\)"):
        _fit("sgd", [one, other, fj.Checkpoint(tmp_path / "run")], net=net)
    assert (one.restored, other.kept) == (None, {})
    np.testing.assert_array_equal(net.parameters, before)


_PROGRAM = """
import hashlib, json, sys
import numpy as np
import fastjac as fj

class Says(fj.Callback):
    begun = False
    def on_batch_end(self, batch, logs):
        if not self.begun:
            self.begun = True
            print("trains", flush=True)

rng = np.random.default_rng(0)
X, y = rng.normal(size=(400, 20)), rng.integers(0, 5, 400)
net = fj.Sequential([fj.Dense(20, 64, activation="relu"), fj.Dropout(0.2), fj.Dense(64, 5)], seed=1)
optimizer = fj.Adam(fj.cosine_decay(1e-3, 5000))
callbacks = [Says(), fj.EarlyStopping("loss", patience=10**6)]
if sys.argv[1] != "-":
    callbacks.append(fj.Checkpoint(sys.argv[1], every_batches=3))
history = net.fit(X, y, loss="softmax_cross_entropy", optimizer=optimizer, epochs=int(sys.argv[2]), batch_size=16,
                  validation_data=(X[:50], y[:50]), progress=False, callbacks=callbacks)
state = optimizer.state(net)
print(json.dumps([net.parameters.tolist(), hashlib.sha256(state.moments).hexdigest(), int(state.counters[0]),
                  net.epochs_trained, {name: column for name, column in history.items() if name != "seconds"}]))
"""


def _ended(path, epochs):
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path), str(epochs)],
        check=True,
        capture_output=True,
        text=True,
        timeout=500,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("kills", "epochs"), [(3, 40), pytest.param(100, 700, marks=pytest.mark.slow)])
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_process_killed_at_any_moment_goes_on(kills, epochs, tmp_path):
    """Reliability test 25. With 100 kills: pytest -m slow tests/training/test_checkpoints.py"""
    moments, path = random.Random(7), tmp_path / "run"
    positions = set()
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(path), str(epochs)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "trains\n"  # so that what the last one left was taken up
            time.sleep(moments.uniform(0, 0.2))
            process.kill()
            assert process.wait(60) == -signal.SIGKILL, "training ended before it was killed"
        if path.exists():
            training = container.read(path)[1]["training"]
            positions.add((training["epoch"], training["position"]))
    assert len(positions) > kills / 2
    assert json.loads(_ended(path, epochs)) == json.loads(_ended("-", epochs))
    assert [one.name for one in tmp_path.iterdir()] == ["run"]  # and nothing of the killed
