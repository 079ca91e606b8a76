"""Predict how diabetes progresses, next to scikit-learn's MLPRegressor and to a straight line.

442 patients, 10 measurements each (Efron et al. 2004; the data comes with scikit-learn). So few rows are where a
network has most trouble to beat a linear model: five-fold cross-validation, repeated, tells honestly.

python examples/diabetes.py
"""

import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import RepeatedKFold
from sklearn.neural_network import MLPRegressor

import fastjac as fj

HIDDEN, EPOCHS, BATCH_SIZE, RATE, DECAY = (32, 16), 60, 32, 3e-3, 1.0


def fastjac_network(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    net = fj.Sequential(
        [fj.Dense(10, HIDDEN[0], activation="relu"), fj.Dense(*HIDDEN, activation="relu"), fj.Dense(HIDDEN[1], 1)],
        seed=seed,
    )
    # scikit-learn adds alpha / (2·batch size)·|w|² to half of the squared error: the slope of this, but for biases
    optimizer = fj.Adam(learning_rate=RATE, weight_decay=2 * DECAY / BATCH_SIZE)
    net.fit(X, y, loss="mean_squared_error", optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH_SIZE)
    return net.predict(X_test)[:, 0]


def sklearn_network(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    net = MLPRegressor(
        hidden_layer_sizes=HIDDEN,
        alpha=DECAY,
        batch_size=BATCH_SIZE,
        learning_rate_init=RATE,
        max_iter=EPOCHS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # both train for as many epochs
        return net.fit(X, y).predict(X_test)


def straight_line(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    return Ridge(alpha=10.0).fit(X, y).predict(X_test)


def main() -> None:
    X, y = load_diabetes(return_X_y=True, scaled=False)
    models: dict[str, Callable[..., np.ndarray]] = {
        "fastjac": fastjac_network,
        "scikit-learn MLPRegressor": sklearn_network,
        "ridge regression": straight_line,
    }
    scores: dict[str, list[float]] = {name: [] for name in models}
    seconds = dict.fromkeys(models, 0.0)
    fastjac_network(X[:64] / 100, y[:64] / 100, X[:1] / 100, seed=0)  # compiles or loads the kernels, untimed
    for seed, (train, test) in enumerate(RepeatedKFold(n_splits=5, n_repeats=4, random_state=0).split(X)):
        # scale by the training rows alone: the test rows are to be unseen
        center, spread = X[train].mean(axis=0), X[train].std(axis=0)
        middle, width = y[train].mean(), y[train].std()
        X_train, X_test, y_train = (
            (X[train] - center) / spread,
            (X[test] - center) / spread,
            (y[train] - middle) / width,
        )
        for name, model in models.items():
            begin = time.perf_counter()
            guess = model(X_train, y_train, X_test, seed) * width + middle
            seconds[name] += time.perf_counter() - begin
            scores[name].append(r2_score(y[test], guess))
    print(f"{len(y)} rows; R² over {len(scores['fastjac'])} folds; both networks: {HIDDEN}, Adam, {EPOCHS} epochs\n")
    print(f"{'model':28}{'mean R²':>9}{'spread':>9}{'seconds':>9}")
    for name, values in scores.items():
        print(f"{name:28}{np.mean(values):9.3f}{np.std(values):9.3f}{seconds[name]:9.2f}")


if __name__ == "__main__":
    main()
