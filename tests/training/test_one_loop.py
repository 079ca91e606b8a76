"""``Sequential.fit``, streams and the estimators run through one loop: the same assertions over all of them."""

import os
import signal
import subprocess
import sys
import textwrap
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

import fastjac as fj
from fastjac.estimators import MLPClassifier, MLPRegressor
from fastjac.training.loop import Loop

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(90, 4)), RNG.integers(0, 3, 90)
BATCHES = 3  # of 40, 40 and 10 rows


class Face:
    """One way to train: the same five steps and words for each."""

    def __init__(self, name):
        self.name = name
        self.model = None

    def train(self, callbacks=(), epochs=3, progress=False):
        """Losses of the epochs, and the parameters."""
        options = {"callbacks": list(callbacks), "progress": progress}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations")
            if self.name in ("Sequential", "layers", "stream"):
                self.model = net = fj.Sequential([fj.Dense(4, 8, activation="tanh"), fj.Dense(8, 3)], seed=0)
                if self.name == "layers":
                    net.path = "unfused"
                data = (X, Y) if self.name != "stream" else ([(X[k : k + 40], Y[k : k + 40]) for k in (0, 40, 80)],)
                history = net.fit(*data, loss="softmax_cross_entropy", epochs=epochs, batch_size=40, **options)
                return history["loss"] if history else [], net.parameters
            kind, target = (MLPRegressor, X[:, 0]) if self.name == "MLPRegressor" else (MLPClassifier, Y)
            more = {"early_stopping": True, "validation_fraction": 0.1} if self.name == "early stopping" else {}
            more |= {"learning_rate": "adaptive", "solver": "sgd"} if self.name == "adaptive" else {}
            more |= {"tol": 1.0, "n_iter_no_change": 1} if self.name == "adaptive" else {}
            self.model = kind(
                hidden_layer_sizes=(8,), random_state=0, batch_size=40, max_iter=epochs, **more, **options
            )
            self.model.fit(X, target)
            return self.model.loss_curve_, self.model.network_.parameters


SEQUENTIAL = ["Sequential", "layers", "stream"]
ESTIMATORS = ["MLPClassifier", "MLPRegressor", "early stopping", "adaptive"]


@pytest.fixture(params=SEQUENTIAL + ESTIMATORS)
def face(request):
    return Face(request.param)


@pytest.fixture(params=[name for name in SEQUENTIAL + ESTIMATORS if name != "stream"])
def going_back(request):
    """Those whose batches can be had again, as a checkpoint needs."""
    return Face(request.param)


class Told(fj.Callback):
    """Writes down what it is told."""

    def __init__(self, told):
        self.told = told

    def on_train_begin(self):
        self.told.append("train begin")

    def on_epoch_begin(self, epoch):
        self.told.append(f"epoch {epoch} begin")

    def on_batch_end(self, batch, logs):
        assert np.isfinite(logs["loss"])
        self.told.append(f"batch {batch}")

    def on_epoch_end(self, epoch, logs):
        assert np.isfinite(logs["loss"])
        self.told.append(f"epoch {epoch} end")

    def on_train_end(self):
        self.told.append("train end")


def test_all_of_them_run_the_one_loop(face, monkeypatch):
    ran, usual = [], Loop.run
    monkeypatch.setattr(Loop, "run", lambda self, progress: (ran.append(self), usual(self, progress))[1])
    face.train()
    assert [type(one) for one in ran] == [Loop]


def test_callbacks_are_called_in_the_same_order(face):
    told = []
    face.train([Told(told)], epochs=2)
    epochs = [[f"epoch {k} begin", *(f"batch {b}" for b in range(BATCHES)), f"epoch {k} end"] for k in range(2)]
    assert told == ["train begin", *epochs[0], *epochs[1], "train end"]


def test_callbacks_change_nothing(face):
    losses, parameters = face.train()
    watched, same = face.train([Told([]), lambda epoch, logs: None])
    assert losses == watched
    np.testing.assert_array_equal(parameters, same)


@pytest.mark.parametrize("where", ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"])
def test_an_error_of_a_callback_comes_out_and_the_others_are_told_of_the_end(face, where):
    class Failing(fj.Callback):
        pass

    def fail(self, *anything):
        raise KeyError(where)

    setattr(Failing, where, fail)
    first, last = [], []
    with pytest.raises(KeyError, match=where):
        face.train([Told(first), Failing(), Told(last)])
    assert first[0] == "train begin" and first[-1] == "train end"
    assert last == [] if where == "on_train_begin" else last[-1] == "train end"
    assert len(face.train()[0]) == 3  # it can be trained again


@pytest.mark.parametrize("batch", [0, 1, BATCHES - 1])
def test_stop_training_ends_it_after_the_batch_at_hand(face, batch):
    class Stop(fj.Callback):
        def on_batch_end(self, b, logs):
            self.network.stop_training = b == batch

    told = []
    losses, _ = face.train([Stop(), Told(told)])
    assert told[-2:] == [f"batch {batch}" if batch < BATCHES - 1 else "epoch 0 end", "train end"]
    assert len(losses) == (batch == BATCHES - 1)


def test_stop_training_ends_it_after_the_epoch_at_hand(face):
    class Stop(fj.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                self.network.stop_training = True

    losses, parameters = face.train([Stop()], epochs=5)
    assert len(losses) == 2
    np.testing.assert_array_equal(parameters, face.train(epochs=2)[1])


def test_early_stopping_goes_back_to_the_best_parameters(face):
    class Worse(fj.Callback):
        """Makes every epoch from the third on look worse than those before."""

        def on_epoch_end(self, epoch, logs):
            self.seen = [*getattr(self, "seen", []), self.network.parameters.copy()]

    watching, stopping = Worse(), fj.EarlyStopping(monitor="loss", patience=1, min_delta=1e9)
    losses, parameters = face.train([watching, stopping], epochs=9)
    assert len(losses) == 2 and (stopping.best_epoch, stopping.stopped_epoch) == (0, 1)
    if face.name != "early stopping":  # which has a best of its own
        np.testing.assert_array_equal(parameters, watching.seen[0])


# --- checkpoints --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


class Kill(fj.Callback):
    """Ends training as no callback should, at a batch counted from the beginning."""

    def __init__(self, at):
        self.at, self.count = at, 0

    def on_batch_end(self, batch, logs):
        self.count += 1
        if self.count == self.at:
            raise Killed


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 7, 11])
def test_a_killed_training_goes_on_to_the_bit(going_back, at, tmp_path):
    path = tmp_path / "run.safetensors"
    losses, parameters = going_back.train(epochs=5)
    curves = {k: v for k, v in vars(going_back.model).items() if k.endswith("_") and isinstance(v, int | float | list)}
    with pytest.raises(Killed):
        going_back.train([Kill(at), fj.Checkpoint(path, every_batches=1)], epochs=5)
    assert path.exists() == (at > 1)
    again, same = going_back.train([Kill(0), fj.Checkpoint(path, every_batches=1)], epochs=5)
    assert again == losses
    np.testing.assert_array_equal(parameters, same)
    for name, value in curves.items():
        if name not in ("coefs_", "intercepts_"):
            assert vars(going_back.model)[name] == value, name
    if going_back.name in ESTIMATORS:  # and its random numbers, as the next fit would draw them
        once = going_back.model._random_state.get_state()
        going_back.train(epochs=5)
        np.testing.assert_array_equal(going_back.model._random_state.get_state()[1], once[1])


def test_a_finished_training_is_not_repeated(going_back, tmp_path):
    path = tmp_path / "run.safetensors"
    losses, parameters = going_back.train([fj.Checkpoint(path)])
    again, same = going_back.train([fj.Checkpoint(path)])
    assert again == losses
    np.testing.assert_array_equal(parameters, same)


def test_a_checkpoint_of_other_arguments_is_refused_before_anything_is_changed(going_back, tmp_path):
    path = tmp_path / "run.safetensors"
    going_back.train([fj.Checkpoint(path)])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is a checkpoint of a training with"):
        going_back.train([fj.Checkpoint(path), lambda epoch, logs: None])
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["order", "random_position", "loss_curve_", "n_iter_", "rate"])
def test_a_checkpoint_with_a_state_that_no_estimator_has_is_refused(damage, tmp_path):
    from fastjac.files import container

    path = tmp_path / "run.safetensors"
    face = Face("MLPClassifier")
    face.train([fj.Checkpoint(path)], epochs=2)
    tensors, header = container.read(path)
    header.pop("version")
    if damage == "order":
        tensors["callback.0.order"] = np.zeros_like(tensors["callback.0.order"])
    else:
        for one in header["training"]["callbacks"]:
            if damage in one["state"]:
                one["state"][damage] = "x"
    container.write(path, container.to_bytes(tensors, header))
    with pytest.raises(fj.ModelFileError, match="has a state that"):
        face.train([fj.Checkpoint(path)], epochs=4)


@pytest.mark.parametrize(
    ("settings", "call", "words"),
    [
        ({}, "partial_fit", "which goes on with fit and not with partial_fit"),
        ({"solver": "lbfgs"}, "fit", "nothing can go on from the middle of 'lbfgs'"),
        ({"random_state": None}, "fit", "random_state is None: expected a whole number"),
    ],
)
def test_where_a_checkpoint_has_nothing_to_go_on_from_it_is_refused(settings, call, words, tmp_path):
    checkpoint = fj.Checkpoint(tmp_path / "run.safetensors")
    model = MLPClassifier((4,), **{"random_state": 0, "callbacks": [checkpoint]} | settings)
    with pytest.raises(ValueError, match=words):
        getattr(model, call)(X, Y, **({"classes": [0, 1, 2]} if call == "partial_fit" else {}))
    assert not hasattr(model, "coefs_") and not (tmp_path / "run.safetensors").exists()


@pytest.mark.parametrize("warm", [False, True])
def test_an_estimator_whose_checkpoint_refuses_is_as_before(warm, tmp_path):
    path = tmp_path / "run.safetensors"
    face = Face("MLPClassifier")
    face.train([fj.Checkpoint(path)], epochs=2)
    other = MLPClassifier((8,), random_state=0, batch_size=40, max_iter=4, alpha=0.5, callbacks=[fj.Checkpoint(path)])
    with pytest.raises(ValueError, match="is a checkpoint of a training with"):
        other.fit(X, Y)
    assert not hasattr(other, "coefs_") and "_begun" not in vars(other)
    fitted = MLPClassifier((8,), random_state=1, batch_size=40, max_iter=2, warm_start=warm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(X, Y)
    before, curve = fitted.network_.parameters.copy(), list(fitted.loss_curve_)
    fitted.set_params(callbacks=[fj.Checkpoint(path)], alpha=0.7)
    with pytest.raises(ValueError, match="is a checkpoint of a"):
        fitted.fit(X, Y, coefs_init=[np.ones_like(one) for one in fitted.coefs_])
    np.testing.assert_array_equal(fitted.network_.parameters, before)
    assert fitted.loss_curve_ == curve and fitted.coefs_[0].base is not None


def test_streams_have_none_to_go_on_from(tmp_path):
    with pytest.raises(ValueError, match="Checkpoint needs all rows at once"):
        Face("stream").train([fj.Checkpoint(tmp_path / "run.safetensors")])


# --- progress and Ctrl-C ------------------------------------------------------------------------------------------


def test_progress_shows_every_epoch_and_what_is_within(face, monkeypatch):
    shown = []

    @contextmanager
    def bar(progress, epochs):
        assert (progress, epochs) == (True, 2)
        yield lambda epoch, logs, done, total, epoch_end=False: shown.append((epoch, set(logs), done, epoch_end))

    monkeypatch.setattr("fastjac.training.loop.bar", bar)
    face.train([Told([])], epochs=2, progress=True)
    assert [one[0] for one in shown] == [0] * BATCHES + [1] * BATCHES
    assert [one[3] for one in shown] == ([False] * (BATCHES - 1) + [True]) * 2
    assert all("loss" in one[1] for one in shown)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_it_after_the_batch_at_hand_with_a_warning(face):
    class Press(fj.Callback):
        def on_batch_end(self, batch, logs):
            if batch == 1:
                signal.raise_signal(signal.SIGINT)

    told = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.warns(Warning, match="interrupted"):
            losses, parameters = face.train([Told(told), Press()])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert told[-2:] == ["batch 1", "train end"] and len(losses) == 0
    assert np.isfinite(parameters).all()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["Sequential", "MLPClassifier"])
def test_ctrl_c_from_outside_ends_a_process_that_trains(name):
    code = f"""
    import os, signal, threading, time, warnings
    import numpy as np
    import fastjac as fj
    from fastjac.estimators import MLPClassifier
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(900, 4)), rng.integers(0, 3, 900)
    def press(epoch, logs):
        if epoch == 3:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if {name!r} == "Sequential":
            net = fj.Sequential([fj.Dense(4, 3)], seed=0)
            history = net.fit(X, y, loss="softmax_cross_entropy", epochs=10**8, callbacks=press)
            assert history.interrupted
        else:
            MLPClassifier((5,), max_iter=10**8, tol=0, n_iter_no_change=10**8, callbacks=[press]).fit(X, y)
    assert any("interrupted" in str(one.message) for one in caught)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
