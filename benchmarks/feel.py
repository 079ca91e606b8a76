"""What a user feels: imports, the first fit, memory, and the time of whole processes, each in a process of its own."""
# ruff: noqa: E501 - the snippets are other programs

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

# Each snippet is another program; the last number that it prints is taken.
_DIGITS = """
import fastjac as fj
X, y = fj.datasets.digits()
X, y, X_test, y_test = fj.datasets.split(X, y, test=0.2, seed=0)
net = fj.Sequential([fj.Dense(64, 128, activation="relu"), fj.Dense(128, 64, activation="relu"), fj.Dense(64, 10)], seed=0)
for epoch in range(100):
    net.fit(X, y, loss="softmax_cross_entropy", optimizer=adam if epoch else (adam := fj.Adam(1e-3)), batch_size=64)
    if net.evaluate(X_test, y_test, loss="softmax_cross_entropy")["accuracy"] >= 0.97:
        break
assert epoch < 99
"""

_DIGITS_TORCH = """
import numpy as np, torch
from sklearn.datasets import load_digits
data = load_digits()
order = torch.from_numpy(np.random.default_rng(0).permutation(len(data.target)))
X, y = torch.from_numpy((data.data / 16).astype("float32"))[order], torch.from_numpy(data.target)[order]
X, X_test, y, y_test = X[360:], X[:360], y[360:], y[:360]
torch.manual_seed(0)
L = torch.nn.Linear
net = torch.nn.Sequential(L(64, 128), torch.nn.ReLU(), L(128, 64), torch.nn.ReLU(), L(64, 10))
adam, loss_fn = torch.optim.Adam(net.parameters(), 1e-3, fused=True), torch.nn.CrossEntropyLoss()
for epoch in range(100):
    order = torch.randperm(len(X))
    for rows in order.split(64):
        loss = loss_fn(net(X[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        if (net(X_test).argmax(1) == y_test).float().mean() >= 0.97:
            break
assert epoch < 99
"""

_DIGITS_SKLEARN = """
import warnings; warnings.simplefilter("ignore")
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split((X / 16).astype("float32"), y, test_size=0.2, random_state=0)
net = MLPClassifier((128, 64), batch_size=64, max_iter=1, warm_start=True, random_state=0)
for epoch in range(100):
    if net.fit(X, y).score(X_test, y_test) >= 0.97:
        break
assert epoch < 99
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

# A fit that asks for eight threads and has one core, over one that asks for one thread.
_ONE_CORE = """
import os, statistics, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
import fastjac as fj
rng = np.random.default_rng(0)
X, y = rng.normal(size=(8192, 300)).astype("f4"), rng.integers(0, 10, 8192)
def seconds(threads):
    net = fj.Sequential([fj.Dense(300, 300, activation="relu"), fj.Dense(300, 10)], seed=0)
    begin = time.perf_counter()
    net.fit(X, y, loss="softmax_cross_entropy", batch_size=1024, epochs=3, threads=threads, progress=False)
    return time.perf_counter() - begin
seconds(1), seconds(8)
print(statistics.median(seconds(8) / seconds(1) for _ in range(9)))
"""

# The largest resident size while training `medium`, above the one after imports, in bytes.
_MEMORY = """
import os, sys
os.environ["FASTJAC_BENCH_THREADS"] = "1"
from fastjac.benchmarks.peers import PEERS
from fastjac.benchmarks.workloads import WORKLOADS
def status(name):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines[name].split()[0]) * 1024
{imports}
before = status("VmRSS")
peer = PEERS["{peer}"][1](WORKLOADS["medium"])
peer.train(20)
print(status("VmHWM") - before)
"""
# what a first use imports later is an import, too
_IMPORTS = {
    "fastjac": "import fastjac; peer = PEERS['fastjac'][1](WORKLOADS['tiny']); peer.train(1); del peer",
    "PyTorch": "import torch; peer = PEERS['PyTorch'][1](WORKLOADS['tiny']); peer.train(1); del peer",
    "scikit-learn": "import sklearn.neural_network; peer = PEERS['scikit-learn'][1](WORKLOADS['tiny']); peer.train(1); del peer",
}


@dataclass
class Feeling:
    """One thing that is felt, for each library."""

    name: str
    unit: str
    target: str
    values: dict[str, list[float]]


def _run(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tempfile.gettempdir(),
        env=inherited | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | environment,
    )
    return done.stdout


def _printed(code: str, **environment: str) -> float:
    return float(_run(code, **environment).split()[-1])


def _whole(code: str) -> float:
    begin = time.perf_counter()
    _run(code)
    return time.perf_counter() - begin


def _interleaved(tasks: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    for task in tasks.values():
        task()  # fills caches, of compiled kernels and of files
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            found[name].append(task())
    return found


def measure(rounds: int, say: Callable[[str], None]) -> list[Feeling]:
    """All of them. Peers that are not installed are left out."""
    torch, sklearn = find_spec("torch") is not None, find_spec("sklearn") is not None
    say("imports")
    imports: dict[str, Callable[[], float]] = {
        "fastjac": lambda: _whole("from fastjac import Sequential"),  # what is named only is not imported yet
        "numba": lambda: _whole("import numba"),
    }
    if torch:
        imports["PyTorch"] = lambda: _whole("import torch")
    if sklearn:
        imports["scikit-learn"] = lambda: _whole("import sklearn.neural_network")
    feelings = [Feeling("import", "s", "≤ 1.3 × numba", _interleaved(imports, rounds))]
    say("first fit")
    with tempfile.TemporaryDirectory() as folder:
        cold = [_printed(_FIRST_FIT, FASTJAC_CACHE_DIR=os.path.join(folder, str(k))) for k in range(min(rounds, 3))]
    warm = _interleaved({"fastjac": lambda: _printed(_FIRST_FIT)}, rounds)
    feelings += [
        Feeling("first fit, empty cache", "s", "≤ 6 s", {"fastjac": cold}),
        Feeling("first fit, warm cache", "s", "", warm),
    ]
    say("digits to 0.97")
    digits: dict[str, Callable[[], float]] = {"fastjac": lambda: _whole(_DIGITS)}
    if torch and sklearn:
        digits["PyTorch"] = lambda: _whole(_DIGITS_TORCH)
    if sklearn:
        digits["scikit-learn"] = lambda: _whole(_DIGITS_SKLEARN)
    feelings.append(Feeling("digits to 0.97, whole process", "s", "", _interleaved(digits, rounds)))
    if hasattr(os, "sched_setaffinity"):
        say("eight threads on one core")
        ratios = [_printed(_ONE_CORE) for _ in range(rounds)]
        feelings.append(Feeling("fit, threads=8 on one core ÷ threads=1", "×", "≤ 1.3", {"fastjac": ratios}))
    if sys.platform == "linux":
        say("memory")
        names = ["fastjac", *(["PyTorch"] if torch else []), *(["scikit-learn"] if sklearn else [])]
        memory = {
            name: (lambda code: lambda: _printed(code) / 2**20)(_MEMORY.format(imports=_IMPORTS[name], peer=name))
            for name in names
        }
        feelings.append(
            Feeling("memory of training medium", "MiB", "≤ half of PyTorch's", _interleaved(memory, min(rounds, 3)))
        )
    return feelings


def middle(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)
