"""A surrogate model: a network of 4-32-16-4 learns the exponential of 2×2 matrices from examples.

The exponential answers "where is a linear system x' = A·x after one second": x(1) = exp(A)·x(0). SciPy computes the
truth. Training goes through a falling learning rate, and the errors are of matrices that the network has not seen.

python examples/matrix_exponential.py
"""

import numpy as np
from scipy.linalg import expm

import fastjac as fj


def matrices(rng: np.random.Generator, count: int) -> np.ndarray:
    """Matrices with entries between -1 and 1."""
    return rng.uniform(-1, 1, (count, 2, 2))


def main() -> None:
    rng = np.random.default_rng(0)
    A, A_test = matrices(rng, 6_000), matrices(rng, 1_000)
    X, X_test = A.reshape(-1, 4), A_test.reshape(-1, 4)
    y, y_test = expm(A).reshape(-1, 4), expm(A_test).reshape(-1, 4)

    net = fj.Sequential(
        [fj.Dense(4, 32, activation="tanh"), fj.Dense(32, 16, activation="tanh"), fj.Dense(16, 4)], seed=0
    )
    net.summary()
    epochs, batch_size = 200, 64
    steps = epochs * -(-len(X) // batch_size)
    history = net.fit(
        X,
        y,
        loss="mean_squared_error",
        optimizer=fj.Adam(fj.cosine_decay(5e-3, steps)),
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(X_test, y_test),
    )
    microseconds = sum(history["seconds"]) / steps * 1e6
    print(f"\n{steps:,} steps, {microseconds:.1f} µs each")

    error = np.abs(net.predict(X_test) - y_test)
    print(f"always the mean:     root mean square error {np.sqrt(((y_test - y.mean(axis=0)) ** 2).mean()):.4f}")
    print(f"the network:         root mean square error {np.sqrt((error**2).mean()):.4f}, largest {error.max():.4f}")

    turn = np.array([[0.0, -0.9], [0.9, 0.0]])
    print("\nexp of a turn by 0.9 radians, by SciPy and by the network")
    for true, guess in zip(expm(turn), net.predict(turn.reshape(1, 4)).reshape(2, 2), strict=True):
        print("  ".join(f"{number:8.4f}" for number in true), "   ", "  ".join(f"{number:8.4f}" for number in guess))

    # what it has not seen it does not know: outside of the training data a network guesses
    far = 2 * matrices(rng, 500)
    error = net.predict(far.reshape(-1, 4)) - expm(far).reshape(-1, 4)
    print(f"\nentries up to 2 instead of 1: root mean square error {np.sqrt((error**2).mean()):.4f}")


if __name__ == "__main__":
    main()
