"""Where s − y comes from: backpropagation on real digits by explicit Jacobians, by NumPy and by fused kernels.

A trained network of 64-12-10 looks at one digit it gets wrong. The gradient of the loss with respect to the logits is
computed in two steps, through the 10×10 Jacobian of softmax, and in one, by the kernel; then all gradients of a batch
by three paths.

python examples/three_ways.py
"""

import numpy as np

import fastjac as fj
from fastjac import jacobians, kernels


def show(name: str, array: np.ndarray) -> None:
    print(f"{name}, {'×'.join(map(str, array.shape))}")
    for row in np.atleast_2d(array):
        print("  " + " ".join(f"{number:7.3f}" for number in row + 0.0))


def one_digit(net: fj.Sequential, x: np.ndarray, digit: int) -> None:
    logits = net.predict(x)
    s = kernels.softmax(logits)[0]
    y = np.eye(10)[digit]
    print(f"a {digit} that the network takes for a {s.argmax()}\n")
    show("s = softmax(z), what the network believes", s)
    show("y, the truth", y)

    ds_dz = jacobians.softmax(s)
    show("\n∂s/∂z = diag(s) − s·sᵀ (course A6)", ds_dz)
    dJ_ds = jacobians.categorical_cross_entropy_gradient([s], [y])
    show("∂J/∂s = −y/s (course C3)", dJ_ds)
    two_steps = dJ_ds @ ds_dz
    show("∂J/∂z = ∂J/∂s · ∂s/∂z (course A7)", two_steps)
    show("s − y (course E2)", s - y)
    _, fused = kernels.softmax_cross_entropy(logits, [digit])
    show("the fused kernel, which builds no Jacobian", fused)
    print(f"largest difference: Jacobians from s − y {np.abs(two_steps - (s - y)).max():.1e},", end=" ")
    print(f"kernel from s − y {np.abs(fused - (s - y)).max():.1e}\n")


def main() -> None:
    X, y, X_test, y_test = fj.datasets.split(*fj.datasets.digits(), test=0.2, seed=0)
    net = fj.Sequential([fj.Dense(64, 12, activation="relu"), fj.Dense(12, 10)], seed=0, dtype="float64")
    net.fit(X, y, loss="softmax_cross_entropy", epochs=15)

    wrong = np.flatnonzero(net.predict(X_test).argmax(axis=1) != y_test)[:1]
    one_digit(net, X_test[wrong], int(y_test[wrong][0]))

    print(fj.explain(net, X_test[:2], y_test[:2]))
    print()
    print(fj.compare(net, X_test[:8], y_test[:8], loss="softmax_cross_entropy"))
    print()
    print(jacobians.cost("dense_backward", N=8, inputs=64, outputs=12, itemsize=8))


if __name__ == "__main__":
    main()
