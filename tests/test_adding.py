"""To add one thing is to touch the files that CONTRIBUTING.md names: a toy of each, in a copy of the library."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# for each file what is put before which line
ACTIVATION = {
    "kernels/activations.py": [
        (
            "TABLE = (",
            """
            @inline
            def _softsign(z, p):
                return z / (1.0 + where(z < 0.0, -z, z))


            @inline
            def _softsign_slope(z, a, p):
                left = 1.0 - where(a < 0.0, -a, a)
                return left * left


            """,
        ),
        (")\nCODES = {", '    Activation("softsign", _softsign, _softsign_slope),\n'),
    ],
    "fastjac/paths/unfused.py": [
        (
            """    raise ValueError(f"activation is {activation.name!r}, which the unfused path does not know")


@_quiet
def activation_backward""",
            """\
        case "softsign":
            return Z / (1 + np.abs(Z))
""",
        ),
        (
            """    raise ValueError(f"activation is {activation.name!r}, which the unfused path does not know")


@_quiet
def softmax_forward""",
            """\
        case "softsign":
            return dA * np.square(1 - np.abs(A))
""",
        ),
    ],
    "fastjac/jacobians/elementwise.py": [
        (
            "}\n\nDerivative =",
            """\
    "softsign": _Row(lambda z, _: z / (1 + np.abs(z)), lambda z, _: 1 / np.square(1 + np.abs(z)), 0.0),
""",
        )
    ],
}
LOSS = {
    "kernels/losses.py": [
        (
            "# --- sums over the outputs ---",
            """
            @inline
            def _log_cosh(p, y, parameter):
                error = p - y
                size = absolute(error)
                value = size + vectormath.log(1.0 + vectormath.exp(-2.0 * size)) - 0.6931471805599453
                return value, vectormath.tanh(error)


            """,
        ),
        (")\nCODES = {", '    Loss("log_cosh", NUMBERS, _MeanOf(_log_cosh)),\n'),
    ],
    "fastjac/nn/losses.py": [
        (
            "BY_NAME: dict[str, Loss] = {",
            '''
            class LogCosh(Loss, strict=True):
                """Mean over samples and outputs of log cosh(y - ŷ)."""

                name = "log_cosh"


            ''',
        ),
        ("    )\n}\n\n\nLossName", "        LogCosh(),\n"),
    ],
    "fastjac/paths/unfused.py": [
        (
            "LOSSES: dict[",
            """
            @_quiet
            def log_cosh(P: Array, Y: Array, weights: Array | None) -> tuple[float, Array]:
                R = P - Y.astype(P.dtype, copy=False)
                return _mean(np.log(np.cosh(R)).mean(axis=1), np.tanh(R) / P.shape[1], weights)


            """,
        ),
        ("    )\n}\n\n\ndef _mean(", "        log_cosh,\n"),
    ],
    "fastjac/jacobians/samples.py": [
        (
            "SAMPLE_LOSSES = {",
            """
            def log_cosh(p: Array, y: Array) -> tuple[np.floating, Array]:
                return _mean_of(np.log(np.cosh(p - y)), lambda p, y: np.tanh(p - y), p, y)


            """,
        ),
        ("}\n\n\ndef _mean_of(", '    "log_cosh": SampleLoss("F5", "mean(log cosh(y - {}))", log_cosh),\n'),
    ],
    "fastjac/jacobians/rows.py": [
        (
            "    )\n}\n",
            """\
        Row("F5", "Log-cosh loss", r"J_0 = \\ln \\cosh(y - \\hat y)", r"1 \\times N", ("SAMPLE_LOSSES",)),
""",
        )
    ],
}
OPTIMIZER = {
    "kernels/optimizers.py": [
        (
            "# --- the table ---",
            """
            @inline
            def _signum(change, weight, gradient, velocity, unused):
                own = change.own
                gradient = gradient * change.first_factor * change.factor + own.decay * weight
                velocity = velocity * own.momentum + gradient * (1.0 - own.momentum)
                up = where(velocity > 0.0, splat(velocity, 1.0), splat(velocity, 0.0))
                down = where(velocity < 0.0, splat(velocity, 1.0), splat(velocity, 0.0))
                return weight - own.step_size * (up - down), velocity, unused


            """,
        ),
        (
            ")\nCODES = {",
            '    Rule("signum", {"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}, 1, _sgd_numbers, _signum),\n',
        ),
    ],
    "fastjac/nn/optimizers.py": [
        (
            "BY_NAME: dict[str, ",
            '''
            class Signum(Optimizer, strict=True):
                """The sign of a running mean of gradients."""

                rule = rules.CODES["signum"]
                momentum: float
                weight_decay: float

                def __init__(
                    self, learning_rate: Rate = 0.001, momentum: float = 0.9, weight_decay: float = 0.0, *,
                    clip_norm: float | None = None,
                ) -> None:
                    super().__init__(learning_rate, clip_norm)
                    self.momentum = momentum
                    self.weight_decay = weight_decay


            ''',
        ),
        (', "adamw": AdamW}', ', "signum": Signum'),
    ],
}
LAYER = {
    "kernels/plan.py": [("\n# Columns of ``Plan.operations``.", "SCALE = 4\n")],
    "kernels/network.py": [
        ("    SOFTMAX,\n", "    SCALE,\n"),
        (
            "        elif masks.on:\n",
            """\
        elif kind == SCALE:
            for r in range(first, last):
                _multiply(rows_from(given, r, 0).at, advance(w, row[WEIGHT]), rows_from(value, r, 0).at, o)
""",
        ),
        (
            "@inline\ndef backward_block(",
            """
            @inline
            def _scale_backward(x, w, d, n, offset, o, to, team):
                g = advance(to.g, offset)
                begin, end = share_of(team, o)
                for j in range(begin, end, lanes(g)):
                    tail = least(lanes(g), end - j)
                    total = load_head(d.at, j, tail) * load_head(x.at, j, tail)
                    for r in range(1, n):
                        below = load_head(rows_from(d, r, 0).at, j, tail)
                        total = total + below * load_head(advance(x.at, r * x.row), j, tail)
                    if to.add != SET:
                        total = load_head(g, j, tail) + total
                    store_head(g, j, total, tail)
                barrier(team.sync, team.parts)
                first, last = share_of(team, n)
                for r in range(first, last):
                    line = rows_from(d, r, 0).at
                    _multiply(line, advance(w, offset), line, o)
                if to.fused:
                    barrier(team.sync, team.parts)  # nobody needs the factors any more
                    state, here = advance(to.state, offset + begin), advance(w, offset + begin)
                    optimizers.update(to.change, here, advance(g, begin), state, to.apart, end - begin)


            """,
        ),
        (
            "            elif kind == DROPOUT and dropout:\n",
            """\
            elif kind == SCALE:
                _scale_backward(_input(plan, memory, op, x), w, d, n, row[WEIGHT], o, to, team)
""",
        ),
    ],
    "fastjac/nn/layers.py": [
        (
            "# What the compiled plan and the files know",
            '''
            class Scale(Layer, strict=True):
                """A = X ⊙ s, one learnt factor a column."""

                start: float

                _used: ClassVar = ("_X",)
                _checks: ClassVar = {"start": arguments.real}

                def __init__(self, start: float = 1.0) -> None:
                    self._prepare()
                    self.start = start
                    self._X: np.ndarray | None = None

                def config(self) -> dict[str, Any]:
                    return {"start": self.start}

                @classmethod
                def from_config(cls, config: dict[str, Any], what: str) -> Scale:
                    start: Any = config.get("start")
                    expect(is_real(start) and start >= 0, f"the start of {what} is {str(start)[:40]!r}")
                    return cls(float(start))

                def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
                    return {"scale": (self.inputs,)}

                def initialize(self, rng: np.random.Generator) -> None:
                    self.parameters["scale"][...] = self.start

                def forward(self, X: np.ndarray, training: bool) -> np.ndarray:
                    self._X = X
                    return self.path.scale_forward(X, self.parameters["scale"])

                def backward(self, dA: np.ndarray) -> np.ndarray:
                    dX, ds = self.path.scale_backward(dA, self._X, self.parameters["scale"])
                    self.gradients["scale"][...] = ds
                    return dX

                def operation(self, offsets: dict[str, int]) -> Operation:
                    return Operation(kinds.SCALE, self.inputs, self.outputs, weight=offsets["scale"])


            ''',
        ),
        (")}\n\n\ndef _activation_of(", ", Scale"),
    ],
    "fastjac/paths/reference.py": [
        (
            "@_quiet\ndef dropout_forward(",
            """
            @_quiet
            def scale_forward(X: Array, s: Array) -> Array:
                A = np.empty_like(X)
                for i, x in enumerate(X):
                    A[i] = Diagonal(s) @ x
                return A


            @_quiet
            def scale_backward(dA: Array, X: Array, s: Array) -> tuple[Array, Array]:
                dX, ds = np.empty_like(X), np.zeros_like(s)
                for i, x in enumerate(X):
                    dX[i] = dA[i] @ Diagonal(s)
                    ds += dA[i] @ Diagonal(x)
                return dX, ds


            """,
        )
    ],
    "fastjac/paths/unfused.py": [
        (
            "@_quiet\ndef dropout_forward(",
            """
            @_quiet
            def scale_forward(X: Array, s: Array) -> Array:
                return X * s


            @_quiet
            def scale_backward(dA: Array, X: Array, s: Array) -> tuple[Array, Array]:
                return dA * s, (dA * X).sum(axis=0)


            """,
        )
    ],
    "fastjac/paths/fused.py": [
        (
            "def dropout_forward(",
            """
            def scale_forward(X: Array, s: Array) -> Array:
                with np.errstate(over="ignore", invalid="ignore"):
                    return X * s


            def scale_backward(dA: Array, X: Array, s: Array) -> tuple[Array, Array]:
                with np.errstate(over="ignore", invalid="ignore"):
                    return dA * s, (dA * X).sum(axis=0)


            """,
        )
    ],
}
TOYS = {"an activation": ACTIVATION, "a loss": LOSS, "an optimizer": OPTIMIZER, "a layer kind": LAYER}


def add(root, edits):
    """Put lines in front of others, in a copy."""
    for file, changes in edits.items():
        path = root / file
        text = path.read_text(encoding="utf-8")
        for before, new in changes:
            assert text.count(before) == 1, (file, before)
            new = textwrap.dedent(new).lstrip("\n") if new.startswith("\n") else new
            text = text.replace(before, new + before)
        path.write_text(text, encoding="utf-8")


def copy_of(root, folder):
    """The library as it is installed, with its kernels within."""
    for name in ("fastjac", "kernels"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def named_in_contributing():
    """What is said to be touched, by what is added."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (an? [a-z ]+) \| (.+?) \|$", text, re.M)
    return {name: re.findall(r"`([a-z_/]+\.py)`", files) for name, files in rows}


@pytest.mark.parametrize("name", TOYS)
def test_contributing_names_the_files_that_a_toy_touches(name):
    assert sorted(named_in_contributing()[name]) == sorted(TOYS[name])
    for files in named_in_contributing().values():
        for file in files:
            assert (ROOT / file).is_file(), file


USES = """
import contextlib, io, sys, tempfile, warnings
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, PathFinder]  # no other fastjac
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastjac as fj
from fastjac import exchange
from fastjac.estimators import MLPRegressor
from fastjac.nn import program

assert fj.__file__.startswith(sys.argv[1])
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(60, 5)), rng.normal(size=(60, 3))

def network(dtype):
    layers = [fj.layers.Scale(1.5), fj.Dense(5, 9, activation="softsign"), fj.layers.Scale(), fj.Dense(9, 7)]
    layers += [fj.Activation("softsign"), fj.layers.Scale(0.5), fj.Dense(7, 3)]
    return fj.Sequential(layers, seed=0, dtype=dtype)

near = 1e-12
compared = fj.compare(network("float64"), X, Y, "log_cosh", repeats=1)
assert max(max(one.differences.values()) for one in compared.results.values()) < near, compared
trained = {}
for path in ("fused", "unfused", "reference"):
    net = network("float64")
    net.path = path
    history = net.fit(X, Y, loss="log_cosh", optimizer="signum", epochs=3, batch_size=16)
    assert history["loss"][-1] < history["loss"][0]
    trained[path] = net.parameters
layers = network("float64")
layers._program = None  # none for the whole
layers.fit(X, Y, loss="log_cosh", optimizer=fj.optimizers.get("signum"), epochs=3, batch_size=16)
assert np.array_equal(layers.parameters, trained["fused"])
by_hand, one = network("float64"), fj.optimizers.BY_NAME["signum"](0.01, momentum=0.0)
by_hand.backward(fj.losses.LogCosh()(by_hand.forward(X), Y)[1])
wanted = by_hand.parameters - 0.01 * np.sign(by_hand.gradients)
one.step(by_hand)
assert np.abs(by_hand.parameters - wanted).max() < 1e-15
for path in trained:
    assert np.abs(trained[path] - trained["reference"]).max() < 100 * near, path
assert network("float64").program.operations[:, 0].tolist().count(4) == 3  # in the plan

program.LEAST_WORK_BY_ROWS = program.LEAST_WORK_TOGETHER = 0  # threads, however small the steps
more_X, more_Y = rng.normal(size=(1100, 5)), rng.normal(size=(1100, 3))
for clip_norm, batch_size, threads in ((None, 1100, 1), (None, 100, 2), (None, 1100, 2), (0.1, 100, 1), (0.1, 100, 2)):
    found = []
    for whole in (True, False):
        net = network("float64")
        if not whole:
            net._program = None
        sgd = fj.SGD(0.05, momentum=0.9, clip_norm=clip_norm)
        settings = {"batch_size": batch_size, "threads": threads, "l2": 0.01}
        net.fit(more_X, more_Y, loss="log_cosh", optimizer=sgd, epochs=2, **settings)
        found.append(net.parameters)
    assert np.abs(found[0] - found[1]).max() < near, (clip_norm, batch_size, threads)

net = network("float64")
assert fj.check_gradients(net, X, Y, fj.losses.LogCosh()).passed
explained = fj.explain(net, X[:3], Y[:3], "log_cosh")
assert explained.apart == () and explained.gradients["scale1"].shape == (5,)  # that of a layer kind by differences
table = io.StringIO()
with contextlib.redirect_stdout(table):
    net.summary()
assert table.getvalue().count("Scale") == 3
softsign = fj.Sequential([fj.Dense(5, 4, activation="softsign"), fj.Dense(4, 3)], seed=0, dtype="float64")
assert max(fj.explain(softsign, X[:3], Y[:3], "log_cosh").differences.values()) < near

alike = fj.Sequential([fj.Dense(5, 6, activation="softsign"), fj.Dense(6, 1)], seed=0, dtype="float64")
settings = {"activation": "softsign", "solver": "signum", "learning_rate_init": 0.01, "momentum": 0.5, "alpha": 0.0}
estimator = MLPRegressor(hidden_layer_sizes=(6,), **settings, batch_size=16, shuffle=False, max_iter=3, random_state=0)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has not converged
    weights, biases = zip(*((layer.weight, layer.bias) for layer in alike.layers))
    estimator.fit(X, Y[:, 0], coefs_init=weights, intercepts_init=biases)
signum = fj.optimizers.Signum(0.01, momentum=0.5)
alike.fit(X, Y[:, 0], loss="mean_squared_error", optimizer=signum, epochs=3, batch_size=16, shuffle=False)
assert estimator.network_.layers[0].activation.name == "softsign"
assert np.array_equal(estimator.network_.parameters, alike.parameters)

with tempfile.TemporaryDirectory() as folder:
    net.save(f"{folder}/net")
    loaded = fj.load(f"{folder}/net")
assert np.array_equal(loaded.predict(X), net.predict(X)) and loaded.layers[0].start == 1.5

for call, package in ((exchange.to_torch, "torch"), (exchange.to_onnx, "onnx")):
    for refused, name in ((net, "layers[0] is Scale"), (softsign, "softsign")):
        try:
            __import__(package)
            call(refused)
        except ImportError:
            pass
        except TypeError as error:
            assert name in str(error)
        else:
            raise AssertionError(package)

sys.argv = ["fastjac", "train", "digits", "--hidden", "8", "--activation", "softsign", "--epochs", "1",
            "--optimizer", "signum", "--dtype", "float64"]
from fastjac.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def test_a_toy_of_each_trains_on_every_path_in_the_estimators_and_from_the_command_line(tmp_path):
    root = copy_of(ROOT, tmp_path / "copy")
    for toy in TOYS.values():
        add(root, toy)
    (root / "kernels").rename(root / "fastjac" / "kernels")
    done = subprocess.run(
        [sys.executable, "-c", USES, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        cwd=tmp_path,
        env=os.environ | {"NUMBA_OPT": "0", "FASTJAC_CACHE_DIR": str(tmp_path / "cache")},  # sooner compiled
    )
    assert done.returncode == 0, done.stderr
