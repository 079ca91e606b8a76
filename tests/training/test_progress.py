"""The progress bar: who sees what."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from fastjac.kernels import _interrupts

import fastjac as fj
from fastjac.training import progress

LOGS = {"loss": 0.5, "accuracy": 0.75, "val_loss": 0.625, "val_accuracy": 0.5}


def fit(**arguments):
    net = fj.Sequential([fj.Dense(2, 2)], seed=0)
    return net.fit(np.zeros((64, 2)), np.zeros(64, int), loss="softmax_cross_entropy", epochs=3, **arguments)


@pytest.fixture
def terminal(monkeypatch):
    """Make rich take the output for a terminal of a width."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def set_width(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("LINES", "30")

    set_width(150)
    return set_width


def last_line(text):
    return text.split("\r")[-1].split("\n")[0]


@pytest.mark.parametrize("asked", ["auto", True])
def test_a_terminal_shows_a_bar_and_its_last_state_is_the_last_epoch(terminal, capsys, asked):
    history = fit(progress=asked, validation_data=(np.ones((4, 2)), np.ones(4, int)))
    shown = capsys.readouterr()
    assert shown.out == ""
    for word in ("epoch 3/3", "samples/s", "0:00:00", f"val_loss {history['val_loss'][-1]:.4f}", "val_accuracy"):
        assert word in last_line(shown.err)


def test_a_training_that_ends_early_shows_where_it_ended(terminal, capsys):
    def stop(epoch, logs):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(callbacks=stop)
    assert "epoch 1/3" in last_line(capsys.readouterr().err)


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120, 200])
def test_nothing_is_cut_where_it_is_narrow(terminal, capsys, width):
    terminal(width)
    with progress.bar(True, 1000) as show:
        show(0, LOGS, 10, 100)
        show(999, LOGS, 100, 100, epoch_end=True)
    line = last_line(capsys.readouterr().err)
    assert "epoch 1000/1000" in line
    assert "val_accuracy 0.5000" in line or width < 60
    assert "…" not in line or width < 60
    assert ("samples/s" in line) == (width >= 100)


def test_elsewhere_auto_is_silent_and_true_prints_a_line_an_epoch(capsys):
    fit()
    assert capsys.readouterr() == ("", "")
    fit(progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split()[:2] for line in shown.err.splitlines()] == [["epoch", f"{k}/3"] for k in (1, 2, 3)]


@pytest.mark.parametrize("asked", [False, 0])
def test_false_is_silent(terminal, capsys, asked):
    fit(progress=asked)
    assert capsys.readouterr() == ("", "")


def test_without_rich_auto_is_silent_and_true_says_what_to_install(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"] + ["rich", "rich.console"]:
        monkeypatch.setitem(sys.modules, name, None)
    fit()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ImportError, match=r"fastjac\[cli\]"):
        fit(progress=True)


def test_many_epochs_in_one_call_are_shown_like_any_others(terminal, capsys, monkeypatch):
    net = fj.Sequential([fj.Dense(2, 2)], seed=0)
    X, y = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2
    history = net.fit(X, y, loss="softmax_cross_entropy", epochs=400, batch_size=3, progress=True)
    line = last_line(capsys.readouterr().err)
    assert "epoch 400/400" in line
    assert f"loss {history['loss'][-1]:.4f}" in line
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.delenv("TTY_COMPATIBLE")
    history = net.fit(X, y, loss="softmax_cross_entropy", epochs=400, batch_size=3, progress=True)
    figures = zip(history["loss"], history["accuracy"], strict=True)
    wanted = [f"epoch {k}/400  loss {a:.4f}  accuracy {b:.4f}" for k, (a, b) in enumerate(figures, 1)]
    assert capsys.readouterr().err.splitlines() == wanted


def test_where_nobody_sees_a_bar_nothing_is_imported_for_it():
    code = """
import sys
import numpy as np
import fastjac as fj
net = fj.Sequential([fj.Dense(2, 2)], seed=0)
net.fit(np.zeros((8, 2)), np.zeros(8, int), loss="softmax_cross_entropy")
assert "rich" not in sys.modules
sys.stderr.close()
net.fit(np.zeros((8, 2)), np.zeros(8, int), loss="softmax_cross_entropy")
sys.stderr = None
net.fit(np.zeros((8, 2)), np.zeros(8, int), loss="softmax_cross_entropy")
assert "rich" not in sys.modules
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, stderr=subprocess.PIPE, env=environment)


def test_the_first_fit_draws_none_of_the_programs_random_numbers():
    """It imports rich, which does."""
    code = """
import random, sys
import numpy as np
import fastjac as fj
random.seed(5)
before = random.getstate()
assert "rich.style" not in sys.modules
fj.Sequential([fj.Dense(2, 2)], seed=0).fit(np.zeros((8, 2)), np.zeros(8, int), loss="softmax_cross_entropy")
assert "rich.style" in sys.modules
assert random.getstate() == before
"""
    environment = os.environ | {"TTY_COMPATIBLE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


@pytest.mark.parametrize("asked", ["yes", None, 2])
def test_other_values_are_refused(asked):
    with pytest.raises(ValueError, match="True, False or 'auto'"):
        fit(progress=asked)
    with pytest.raises(ValueError, match="True, False or 'auto'"), progress.compiling(asked):
        pass


# --- while kernels are compiled ---------------------------------------------------------------------------------------


def test_a_bar_without_figures_says_what_it_waits_for_and_counts_the_seconds(terminal, capsys, monkeypatch):
    waited = iter([*[0.4] * 3, *[7.0] * 1000])
    monkeypatch.setattr(progress, "compiling_for", lambda: next(waited))
    with progress.bar("auto", 3):
        time.sleep(0.5)
    shown = capsys.readouterr().err
    assert "compiling kernels, 0 s" in shown and "compiling kernels, 7 s" in shown
    monkeypatch.setattr(progress, "compiling_for", lambda: None)
    with progress.bar("auto", 3) as show:
        show(0, LOGS, 10, 100)
    shown = capsys.readouterr().err
    assert "compiling" not in shown and "loss 0.5000" in shown


@pytest.mark.parametrize("asked", ["auto", True])
def test_a_line_moves_where_someone_sees_it_and_is_gone_in_the_end(terminal, capsys, asked):
    done = iter(range(1000))
    with progress.compiling(asked, lambda: f", {next(done)} of 1000"):
        time.sleep(0.5)
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = [line for line in shown.err.split("\r") if "compiling kernels, " in line]
    assert len({line.split("compiling")[0] for line in lines}) > 1  # it turns
    assert len({line.split(" of 1000")[0] for line in lines}) > 1  # and counts
    assert shown.err.endswith("\x1b[2K")  # the line was cleared


@pytest.mark.parametrize("asked", ["auto", True, False])
def test_where_nobody_sees_it_no_line_is_written(capsys, asked):
    with progress.compiling(asked, lambda: "never asked"):
        pass
    assert capsys.readouterr() == ("", "")


def test_false_shows_no_line(terminal, capsys):
    with progress.compiling(False):
        time.sleep(0.2)
    assert capsys.readouterr() == ("", "")


def test_without_rich_there_is_no_line(terminal, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"] + ["rich", "rich.console"]:
        monkeypatch.setitem(sys.modules, name, None)
    with progress.compiling("auto"):
        pass
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ImportError, match=r"fastjac\[cli\]"), progress.compiling(True):
        pass


def test_an_error_goes_on_through_the_line(terminal, capsys):
    with pytest.raises(ZeroDivisionError), progress.compiling("auto"):
        raise ZeroDivisionError
    assert capsys.readouterr().err.endswith("\x1b[2K")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_waits_for_a_compilation_below_the_line_as_without_it(terminal, capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = []

    def work():
        with progress.compiling("auto"), _interrupts.compiling():
            time.sleep(0.2)
            signal.raise_signal(signal.SIGINT)
            ended.append("the compilation")

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["the compilation"]
    assert "Ctrl-C waits for the end of a compilation" in capsys.readouterr().err
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("rich"):
            thread.join(10)
            assert not thread.is_alive()
