"""What a user feels: a training step, a whole training process, the import, the first fit. See README.md here."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec

import click

from fastjac import report

# ruff: noqa: E501 - the snippets are other programs
# Each snippet runs in a process of its own and prints one number: seconds.
_DATA = """
import numpy as np, time
rng = np.random.default_rng(0)
X = rng.normal(size=(6400, 8)).astype("float32"); y = rng.integers(0, 3, 6400)
"""

_FIT = (
    _DATA
    + """
import fastjac as fj
net = fj.Sequential([fj.Dense(8, 32, activation="relu"), fj.Dense(32, 32, activation="relu"), fj.Dense(32, 3)], seed=0)
run = lambda epochs: net.fit(X, y, loss="softmax_cross_entropy", optimizer=adam, epochs=epochs, batch_size=32, threads=1)
adam = fj.Adam(1e-3)
run(5)
print(sorted(run(25)["seconds"])[12] / 200)
"""
)

_BY_HAND = (
    _DATA
    + """
import fastjac as fj
net = fj.Sequential([fj.Dense(8, 32, activation="relu"), fj.Dense(32, 32, activation="relu"), fj.Dense(32, 3)], seed=0)
adam, loss_fn = fj.Adam(1e-3), fj.SoftmaxCrossEntropy()
def epoch():
    begin = time.perf_counter()
    for k in range(0, 6400, 32):
        loss, d = loss_fn(net.forward(X[k:k + 32]), y[k:k + 32])
        net.backward(d)
        adam.step(net)
    return (time.perf_counter() - begin) / 200
print(sorted(epoch() for _ in range(25))[12])
"""
)

_TORCH = (
    _DATA
    + """
import torch
torch.set_num_threads(1)
net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU(),
                          torch.nn.Linear(32, 3))
adam = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
loss_fn = torch.nn.CrossEntropyLoss()
X, y = torch.from_numpy(X), torch.from_numpy(y)
def epoch():
    begin = time.perf_counter()
    for k in range(0, 6400, 32):
        loss = loss_fn(net(X[k:k + 32]), y[k:k + 32])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return (time.perf_counter() - begin) / 200
print(sorted(epoch() for _ in range(10))[5])
"""
)

_DIGITS = """
import fastjac as fj
X, y = fj.datasets.digits()
net = fj.Sequential([fj.Dense(64, 128, activation="relu"), fj.Dense(128, 64, activation="relu"), fj.Dense(64, 10)], seed=0)
net.fit(X, y, loss="softmax_cross_entropy", epochs=10, batch_size=64)
"""

_DIGITS_SKLEARN = """
import warnings; warnings.simplefilter("ignore")
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
data = load_digits()
MLPClassifier((128, 64), batch_size=64, max_iter=10, random_state=0).fit((data.data / 16).astype("float32"), data.target)
"""

_FIRST_FIT = """
import time
import fastjac as fj
X, y = fj.datasets.digits()
net = fj.Sequential([fj.Dense(64, 128, activation="relu"), fj.Dense(128, 64, activation="relu"), fj.Dense(64, 10)], seed=0)
begin = time.perf_counter()
net.fit(X, y, loss="softmax_cross_entropy", epochs=1, batch_size=64, validation_data=(X[:100], y[:100]))
print(time.perf_counter() - begin)
"""


def _printed(code: str, **environment: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tempfile.gettempdir(),
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def _whole(code: str) -> float:
    """Seconds of a whole process."""
    timed = f"import subprocess, sys, time; b = time.perf_counter(); subprocess.run([sys.executable, '-c', {code!r}], check=True); print(time.perf_counter() - b)"
    return _printed(timed)


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of every measurement in every round, rounds interleaved."""
    tasks = {
        "step of 8-32-32-3, batch 32, in fit": lambda: _printed(_FIT),
        "the same by hand: forward, loss, backward, step": lambda: _printed(_BY_HAND),
        "digits, 10 epochs, whole process": lambda: _whole(_DIGITS),
        "import fastjac": lambda: _whole("import fastjac"),
        "import numba": lambda: _whole("import numba"),
    }
    if find_spec("torch"):
        tasks["the same step, PyTorch eager, fused Adam"] = lambda: _printed(_TORCH)
    if find_spec("sklearn"):
        tasks["digits, 10 epochs, whole process, scikit-learn"] = lambda: _whole(_DIGITS_SKLEARN)
    for task in tasks.values():
        task()  # fills caches, of compiled kernels and of files
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            found[name].append(task())
    with tempfile.TemporaryDirectory() as folder:
        first = [_printed(_FIRST_FIT, FASTJAC_CACHE_DIR=os.path.join(folder, str(k))) for k in range(min(rounds, 3))]
    return found | {"first fit, empty cache": first}


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="How often to measure each.")
@click.option("--json", "as_json", is_flag=True, help="Print numbers instead of a table.")
def main(rounds: int, as_json: bool) -> None:
    """Measure what a user feels, and the same with PyTorch and scikit-learn where they are installed."""
    found = measure(rounds)
    if as_json:
        click.echo(json.dumps({"machine": platform.processor() or platform.machine(), "seconds": found}, indent=1))
        return
    rows = [
        [name, f"{statistics.median(s) * 1e6:,.1f}", f"{min(s) * 1e6:,.1f}", f"{max(s) * 1e6:,.1f}"]
        for name, s in found.items()
    ]
    click.echo(report.table(f"{rounds} rounds, µs", ["", "Median", "Least", "Most"], rows))


if __name__ == "__main__":
    main()
