"""What type checkers tell a user: nothing where a program is right, and an error in each line that is wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import fastjac as fj
from fastjac.nn import losses, optimizers

ROOT = Path(__file__).resolve().parents[1]

RIGHT = """
from typing_extensions import assert_type

import numpy as np
from numpy.typing import NDArray

import fastjac as fj
from fastjac.estimators import MLPClassifier, MLPRegressor


class Stop(fj.Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.network.stop_training = True
        if epoch > 1000:
            assert self.network.evaluate(np.zeros((1, 4)), [0], "softmax_cross_entropy")["loss"] < logs["loss"]
            self.network.save("best.safetensors")


def use() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    net = fj.Sequential([fj.Dense(4, 5, activation="relu"), fj.Dense(5, 3)], seed=0, dtype="float64")
    weight = net.layers[0].weight
    assert weight.shape == (4, 5) and net.layers[0].weight_gradient.shape == (4, 5)
    net.layers[0].weight = np.zeros((4, 5))
    bias = net.layers[0].bias
    assert bias is not None and bias.shape == (5,)
    assert_type(net.fit(X, y, loss="softmax_cross_entropy"), fj.History)
    net.fit(X, y, loss=fj.SoftmaxCrossEntropy(), optimizer=fj.SGD(0.1), epochs=2, callbacks=[Stop()])
    net.fit(X, y, loss=fj.SoftmaxCrossEntropy, optimizer="sgd")
    net.fit(X, y.astype(float)[:, None] * np.ones((1, 3)), loss="mean_squared_error", optimizer=fj.AdamW)
    output: NDArray[np.float64] = net.predict(X)
    value, slope = fj.SoftmaxCrossEntropy()(output, y)
    assert_type(value, float)
    dX = net.backward(fj.losses.get("softmax_cross_entropy")(net.forward(X), y)[1])
    assert dX.shape == X.shape and slope.shape == output.shape
    fj.Adam(fj.cosine_decay(0.1, 10)).step(net)
    assert_type(net.evaluate(X, y, "softmax_cross_entropy"), dict[str, float])
    net.parameters = net.parameters * 0.5
    fj.check_gradients(net, X, y, loss="softmax_cross_entropy")
    print(fj.compare(net, X, y, loss=fj.SoftmaxCrossEntropy()))
    assert fj.explain(net, X[:2], y[:2]).jacobians["dz1/dX"].ndim == 3
    assert_type(net.clone("float32"), fj.Sequential)
    copied = MLPClassifier((4,), max_iter=300, tol=1e-2, random_state=0).fit(X, y)
    assert_type(copied, MLPClassifier)
    assert_type(copied.partial_fit(X, y), MLPClassifier)
    probabilities = copied.predict_proba(X)
    assert probabilities.shape == (30, 3)
    regressor = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=500, tol=1e-1)
    assert_type(regressor.fit(X, X[:, 0]), MLPRegressor)
    assert fj.kernels.softmax(X).shape == (30, 4) and fj.jacobians.softmax([0.5, 0.5]).shape == (2, 2)
    print(fj.datasets.digits()[0].shape, fj.activations.get("relu"), fj.__version__)
"""

WRONG = """
import numpy as np

import fastjac as fj
from fastjac.estimators import MLPClassifier

X, y = np.zeros((3, 4)), np.zeros(3, int)
net = fj.Sequential([fj.Dense(4, 3)])
net.fit(X, y, loss=3)  # wrong
net.fit(X, y, loss="softmax_crossentropy")  # wrong
net.fit(X, y, loss="huber", optimizer="adm")  # wrong
net.fit(X, y, loss="huber", optimizer=0.1)  # wrong
net.fit(X, y, loss="huber", epoch=3)  # wrong
net.fit(X, y)  # wrong
net.evaluate(X, y, 3)  # wrong
net.layers[0].wieght  # wrong
net.layers[0].weight.shap  # wrong
fj.Sequental([])  # wrong
fj.Dense("4", 3)  # wrong
fj.Dense(4, 3, activaton="relu")  # wrong
fj.Sequential([fj.Dense(4, 3)], sed=0)  # wrong
fj.Adam(learning_rate="fast")  # wrong
net.layers[0].bias.shape  # wrong
MLPClassifier(hidden=3)  # wrong
MLPClassifier().fit(X)  # wrong
MLPClassifier().fit(X, y, sample_wieght=None)  # wrong
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder with both, and beside them the library as it is installed: an editable one is hidden from checkers."""
    folder = tmp_path_factory.mktemp("types")
    rubbish = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fastjac", folder / "library" / "fastjac", ignore=rubbish)
    shutil.copytree(ROOT / "kernels", folder / "library" / "fastjac" / "kernels", ignore=rubbish)
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text(WRONG)
    return folder


def wrong_lines():
    return {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}


def assert_found(output, says):
    """The checker found fault with every wrong line, with no other, and with nothing of the right program."""
    found = [line for line in output.splitlines() if says in line]
    assert not [line for line in found if "right.py" in line], output
    lines = {int(line.split("wrong.py:")[1].split(":")[0]) for line in found if "wrong.py" in line}
    assert lines == wrong_lines(), (sorted(lines ^ wrong_lines()), output)


def test_the_right_program_runs():
    names = {"__name__": "right"}
    exec(compile(RIGHT, "right.py", "exec"), names)
    names["use"]()


def test_mypy_tells_right_from_wrong(programs):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            "--config-file=",
            "--cache-dir",
            str(programs / "cache"),
            "right.py",
            "wrong.py",
        ],
        cwd=programs,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "MYPYPATH": str(programs / "library")},
    )
    assert_found(done.stdout + done.stderr, ": error:")


@pytest.mark.slow  # pytest -m slow tests/test_types.py; the program needs Node.js and fetches itself on first use
def test_pyright_tells_right_from_wrong(programs):
    pytest.importorskip("pyright", reason="pyright is not installed")
    (programs / "pyrightconfig.json").write_text('{"extraPaths": ["library"], "ignore": ["library"]}')
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "right.py", "wrong.py"],
        cwd=programs,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert_found(done.stdout, " - error:")


def test_names_that_type_checkers_know_are_those_that_are_taken():
    assert get_args(losses.LossName) == tuple(losses.BY_NAME)
    assert get_args(optimizers.OptimizerName) == tuple(optimizers.BY_NAME)


def test_a_layer_without_weights_has_none_for_all_that_checkers_think():
    for name in ("weight", "bias", "weight_gradient", "bias_gradient"):
        assert not hasattr(fj.Activation("relu"), name)
        assert name not in vars(fj.Layer)
