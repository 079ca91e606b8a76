"""``fastjac.estimators`` beside scikit-learn's own: the time of a whole ``fit``, or of many a ``partial_fit``, and the
score on held-out rows.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

# Another program: libraries in turns on the same data, the same number of epochs, one fit before the clock runs.
_PROGRAM = """
import json, sys, time, warnings
import numpy as np
from sklearn import datasets, neural_network
from sklearn.model_selection import train_test_split
from fastjac import estimators
warnings.simplefilter("ignore")
task, rounds = sys.argv[1], int(sys.argv[2])
if task in ("digits", "partial"):
    X, y = datasets.load_digits(return_X_y=True)
    X, kind, hidden, epochs = X / 16, "MLPClassifier", (128, 64), 50
elif task == "classes":
    X, y = datasets.make_classification(10_000, 20, n_informative=10, n_classes=3, random_state=0)
    kind, hidden, epochs = "MLPClassifier", (100,), 20
else:
    X = np.random.default_rng(0).uniform(size=(20_000, 8))
    y = 2 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 4 * (X[:, 2] - 0.5) ** 2 + 2 * X[:, 3] + X[:, 4]  # Friedman 1991, / 5
    y += np.random.default_rng(1).normal(scale=0.2, size=len(y))
    kind, hidden, epochs = "MLPRegressor", (64, 64), 20
X, y = X.astype(sys.argv[3]), y.astype(sys.argv[3]) if kind == "MLPRegressor" else y
X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
found = {"fastjac": [], "scikit-learn": []}
scores = {name: [] for name in found}
def learn(one):
    if task != "partial":
        one.fit(X, y)
        return
    for turn in range(90):
        rows = slice(turn % 20 * 64, (turn % 20 + 1) * 64)
        one.partial_fit(X[rows], y[rows], classes=None if turn else np.unique(y))

for k in range(-1, rounds):
    for name, module in (("fastjac", estimators), ("scikit-learn", neural_network)):
        settings = {"threads": 1} if module is estimators else {}
        one = getattr(module, kind)(
            hidden_layer_sizes=hidden, max_iter=epochs if k >= 0 else 1, tol=0,
            n_iter_no_change=epochs, random_state=max(k, 0),
            **settings,
        )
        begin = time.perf_counter()
        learn(one)
        if k >= 0:
            found[name].append(time.perf_counter() - begin)
            scores[name].append(one.score(X_test, y_test))
            assert task == "partial" or one.n_iter_ == epochs
print(json.dumps([found, scores]))
"""

TASKS = {
    "digits": ("digits, 64-128-64-10, 50 epochs", 3.0),
    "classes": ("10,000 × 20, (100,), 20 epochs", 3.0),
    "regression": ("20,000 × 8, (64, 64), 20 epochs", 3.0),
    "partial": ("digits, 90 × partial_fit of 64 rows", 4.0),
}  # and how many times faster than scikit-learn's each is to be


@dataclass
class Fit:
    """One task: seconds and scores of both libraries, a number a round."""

    name: str
    dtype: str
    seconds: dict[str, list[float]]
    scores: dict[str, list[float]]
    target: float

    @property
    def ratio(self) -> float:
        """scikit-learn's median time over fastjac's."""
        return statistics.median(self.seconds["scikit-learn"]) / statistics.median(self.seconds["fastjac"])


def measure(rounds: int, say: Callable[[str], None]) -> list[Fit]:
    """All tasks in float64, as scikit-learn's users have it, and in float32; nothing without scikit-learn."""
    if find_spec("sklearn") is None:
        return []
    fits = []
    one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    for task, (name, target) in TASKS.items():
        for dtype in ("float64", "float32"):
            say(f"fit: {name}, {dtype}")
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, task, str(rounds), dtype],
                capture_output=True,
                text=True,
                check=True,
                cwd=tempfile.gettempdir(),
                env=os.environ | one_thread,
            )
            seconds, scores = json.loads(done.stdout)
            fits.append(Fit(name, dtype, seconds, scores, target))
    return fits
