"""Hashes of trained networks: equal before and after a change that may change no bit.

python -m fastjac.benchmarks.bits                 print the hash of each network
python -m fastjac.benchmarks.bits --record FILE   keep them
python -m fastjac.benchmarks.bits --compare FILE  exit 1, and name the networks, where one is another

Each activation, loss, optimizer and layer, in both types and with batches of 1 to 600 rows, is trained with one, two
and three threads, which must agree; then some estimators, where there is scikit-learn. Bits belong to a processor and
to versions of NumPy and Numba: compare on one machine, with ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import ArrayLike

import fastjac as fj
from fastjac.nn import activations, losses
from fastjac.nn.feed import Batches
from fastjac.nn.optimizers import Optimizer
from fastjac.support.atomic import atomic_file

BATCHES = (1, 7, 32, 64, 255, 256, 257, 600)
WIDTHS = ((5, 7, 3), (20, 33, 4), (64, 160, 17, 5), (100, 161, 10), (41, 300, 64, 6), (784, 128, 10))
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: fj.SGD(0.05),
    "momentum": lambda: fj.SGD(0.05, momentum=0.9),
    "nesterov": lambda: fj.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda: fj.Adam(1e-3),
    "adamw": lambda: fj.AdamW(1e-3, weight_decay=0.05),
    "adam, clipped": lambda: fj.Adam(fj.exponential_decay(1e-2, 0.9, 10), clip_norm=0.1),
    "sgd, clipped": lambda: fj.SGD(fj.cosine_decay(0.1, 30), clip_norm=0.01),
}
LAYERS: dict[str, Callable[[], fj.Layer]] = {
    "activation": lambda: fj.Activation("silu"),
    "softmax": fj.Softmax,
    "dropout": lambda: fj.Dropout(0.3),
    "elementwise": lambda: fj.Elementwise(_bend, _slope, name="bend"),
}
TASKS = {  # what a loss learns: classes, bits, probabilities of bits, counts or numbers
    "softmax_cross_entropy": "classes",
    "categorical_cross_entropy": "classes",
    "binary_cross_entropy": "bits",
    "binary_cross_entropy_probabilities": "bits",
    "poisson": "counts",
}


def _bend(z: float) -> float:
    return z / (1 + abs(z))


def _slope(z: float) -> float:
    return 1 / (1 + abs(z)) ** 2


@dataclass(frozen=True)
class Case:
    """A network, and how it is trained."""

    name: str
    widths: tuple[int, ...]
    batch: int
    dtype: str
    activation: str = "relu"
    loss: str = "softmax_cross_entropy"
    optimizer: str = "adam"
    between: str | None = None  # a layer behind the first dense one
    first: str | None = None  # a layer before it
    bias: bool = True
    path: str = "fused"
    penalty: bool = False
    weighted: bool = False
    stream: bool = False  # batches from outside

    def network(self) -> fj.Sequential:
        inputs, *hidden, outputs = self.widths
        layers: list[fj.Layer] = [] if self.first is None else [LAYERS[self.first]()]
        for k, width in enumerate(hidden):
            layers.append(fj.Dense(inputs, width, activation=self.activation, bias=self.bias))
            if self.between is not None and k == 0:
                layers.append(LAYERS[self.between]())
            inputs = width
        layers.append(fj.Dense(inputs, outputs, activation="sigmoid" if "probabilities" in self.loss else None))
        if self.loss == "categorical_cross_entropy":
            layers.append(fj.Softmax())
        net = fj.Sequential(layers, inputs=self.widths[0], seed=len(self.name), dtype=self.dtype)
        net.path = self.path
        return net

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """One and a half batches and a row, at least 9 rows."""
        rows = max(9, self.batch * 3 // 2 + 1)
        rng = np.random.default_rng(rows)
        X = (rng.integers(-999, 1000, (rows, self.widths[0])) / 500).astype(self.dtype)
        outputs = self.widths[-1]
        task = TASKS.get(self.loss, "numbers")
        if task == "classes":
            return X, rng.integers(0, outputs, rows)
        y = rng.integers({"bits": 0, "counts": 0}.get(task, -9), {"bits": 2}.get(task, 10), (rows, outputs))
        return X, y.astype(self.dtype)

    def hash(self, threads: int) -> str:
        """Of what training leaves: parameters, moments, figures, and a prediction."""
        net, optimizer = self.network(), OPTIMIZERS[self.optimizer]()
        X, y = self.data()
        settings: dict[str, Any] = {"l1": 1e-4, "l2": 1e-3} if self.penalty else {}
        if self.weighted:
            settings["sample_weight"] = np.arange(len(X)) % 5 / 4
        given: tuple[ArrayLike | Batches, ArrayLike | None]
        if self.stream:
            parts = range(0, len(X), self.batch)
            given = [(X[k : k + self.batch], y[k : k + self.batch]) for k in parts], None
        else:
            given, settings["batch_size"] = (X, y), self.batch
        history = net.fit(
            *given,
            loss=losses.BY_NAME[self.loss],
            optimizer=optimizer,
            epochs=3,
            threads=threads,
            progress=False,
            **settings,
        )
        return _hash(net.parameters, optimizer.state(net).moments, _figures(history), net.predict(X, threads=threads))


def _figures(history: fj.History) -> np.ndarray:
    return np.array([history[name] for name in sorted(history) if name != "seconds"])


def _hash(*arrays: ArrayLike) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in arrays)).hexdigest()


def cases() -> Iterator[Case]:
    """Every activation, loss, optimizer and layer, with sizes, types and settings in turn."""
    turn = 0

    def case(name: str, **settings: Any) -> Case:
        nonlocal turn
        turn += 1
        usual = {
            "widths": WIDTHS[turn % len(WIDTHS)],
            "batch": BATCHES[turn * 3 % len(BATCHES)],
            "dtype": ("float32", "float64")[turn % 2],
            "optimizer": list(OPTIMIZERS)[turn % len(OPTIMIZERS)],
        }
        settings = usual | settings
        size, batch = "-".join(map(str, settings["widths"])), settings["batch"]
        return Case(f"{name}; {size}, {batch} rows, {settings['dtype']}, {settings['optimizer']}", **settings)

    for name in activations.NAMES:
        for dtype in ("float32", "float64"):
            yield case(name, activation=name, dtype=dtype)
    for name in losses.BY_NAME:
        yield case(name, loss=name, optimizer="adam", activation="tanh")
        yield case(f"{name}, weighted", loss=name, weighted=True, optimizer="nesterov")
    for name in OPTIMIZERS:
        for dtype in ("float32", "float64"):
            yield case("each optimizer", optimizer=name, dtype=dtype, activation="gelu")
    for name in LAYERS:
        yield case(f"{name} between", between=name)
        yield case(f"{name} first", first=name)
    for batch in BATCHES:
        yield case("each batch size", batch=batch, widths=(784, 128, 10), penalty=True)
    yield case("no bias", bias=False)
    yield case("stream", stream=True)
    yield case("stream, layer by layer", stream=True, between="elementwise")
    yield case("large enough for threads", widths=(784, 300, 10), batch=600, dtype="float32")
    yield case("large enough for threads by rows", widths=(41, 117, 125), batch=2000, dtype="float32")
    for path in ("unfused", "reference"):
        yield case(path, path=path, widths=(5, 7, 3), batch=32)


def hashes() -> dict[str, str]:
    """By name; RuntimeError where the number of threads changes a bit."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in cases():
            by_threads = {threads: case.hash(threads) for threads in (1, 2, 3)}
            if len(set(by_threads.values())) > 1:
                raise RuntimeError(f"{case.name}: another number of threads gives other bits: {by_threads}")
            if case.name in found:
                raise RuntimeError(f"two cases are called {case.name!r}")
            found[case.name] = by_threads[1]
    return found


def estimator_hashes() -> dict[str, str]:
    """Of estimators with each solver and rule to stop; nothing without scikit-learn."""
    try:
        from fastjac.estimators import MLPClassifier, MLPRegressor
    except ImportError:
        return {}
    usual: dict[str, Any] = {"hidden_layer_sizes": (20, 9), "max_iter": 12, "random_state": 0, "progress": False}
    settings: list[dict[str, Any]] = [
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 2},
        {"solver": "sgd", "learning_rate": "invscaling", "early_stopping": True, "nesterovs_momentum": False},
        {"solver": "adam", "early_stopping": True, "tol": 0.2, "n_iter_no_change": 3},
        {"solver": "adam", "dropout": 0.2, "l1": 1e-4, "clip_norm": 0.5},
        {"solver": "adamw", "batch_size": 7, "shuffle": False},
        {"solver": "lbfgs", "alpha": 0.1},
    ]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 6)), rng.integers(0, 3, 150)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what has not converged
        for kind in (MLPClassifier, MLPRegressor):
            for one in settings:
                model = kind(**usual, **one).fit(X, y)
                if one["solver"] != "lbfgs" and "early_stopping" not in one:
                    model.partial_fit(X, y)
                given = ", ".join(f"{name}={value}" for name, value in one.items())
                arrays = *model.coefs_, *model.intercepts_, model.loss_, model.n_iter_
                found[f"{kind.__name__}; {given}"] = _hash(*arrays)
    return found


@click.command()
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Write the hashes to this file.")
@click.option("--compare", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="With those of a file.")
def main(record: Path | None, compare: Path | None) -> None:
    """Train small networks of every kind and hash their bits."""
    found = hashes() | estimator_hashes()
    if record is not None:
        with atomic_file(record) as file:
            file.write(json.dumps(found, indent=1).encode())
    if compare is None:
        for name, value in found.items():
            click.echo(f"{value[:16]}  {name}")
    else:
        known = json.loads(compare.read_text(encoding="utf-8"))
        others = [name for name in found if known.get(name) != found[name]] + sorted(known.keys() - found.keys())
        click.echo(f"{len(found)} networks, {len(others)} with other bits" + "".join(f"\n  {one}" for one in others))
        sys.exit(bool(others))
    whole = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    click.echo(f"{len(found)} networks: {whole}")


if __name__ == "__main__":
    main()
