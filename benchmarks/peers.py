"""One library in a process of its own: ``python -m fastjac.benchmarks.peers NAME`` takes a task a line and answers.

Every library trains the same network on the same batches in the same order, with its own best means: Adam, float32,
data already in the library's own arrays. fastjac alone also takes the rows in another order each epoch ("shuffled", as
``fit`` does it), and fits one batch at a time ("one step"). A task is JSON: {"workload", "mode", "repeats"}, and the
answer {"seconds"} of all repeats, or {"loss"} for mode "check": the loss after CHECK_EPOCHS from the first weights.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from fastjac.benchmarks.workloads import RATE, WORKLOADS, Workload
from numpy.typing import DTypeLike

CHECK_EPOCHS = 3
Parameters = list[tuple[np.ndarray, np.ndarray]]


class Peer:
    """A library with one workload loaded. A mode it has no way to do is None."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.X: Any  # in the library's own arrays, where it has some
        self.y: Any
        self.X, self.y = workload.data()
        self.by_hand: Callable[[int], object] | None = None
        self.shuffled: Callable[[int], object] | None = None
        self.one_step: Callable[[int], object] | None = None
        self.build()

    def build(self) -> None:
        raise NotImplementedError

    def train(self, epochs: int) -> None:
        raise NotImplementedError

    def parameters(self) -> Parameters:
        raise NotImplementedError

    def predict(self, X: Any) -> Any:
        raise NotImplementedError

    def own_array(self, X: np.ndarray) -> Any:
        """X as the library likes it."""
        return X

    def batches(self) -> list[slice]:
        size = self.workload.batch
        return [slice(k * size, (k + 1) * size) for k in range(self.workload.batches)]


class Fastjac(Peer):
    """``fit`` with whole epochs compiled; by hand: forward, loss, backward, step from Python."""

    def build(self) -> None:
        import fastjac as fj

        last = len(self.workload.layers) - 1
        self.net = fj.Sequential(
            [
                fj.Dense(i, o, activation=self.workload.activation if k < last else None, weight_init=W)
                for k, ((i, o), W) in enumerate(zip(self.workload.layers, self.workload.weights(), strict=True))
            ],
            seed=0,
        )
        self.adam = fj.Adam(RATE)
        self.loss = fj.MeanSquaredError() if self.workload.regression else fj.SoftmaxCrossEntropy()
        self.threads = None if os.environ["FASTJAC_BENCH_THREADS"] != "1" else 1
        self.by_hand, self.shuffled, self.one_step = self._by_hand, self._shuffled, self._one_step

    def train(self, epochs: int) -> None:
        self._fit(self.X, self.y, epochs, shuffle=False)

    def _shuffled(self, epochs: int) -> None:
        self._fit(self.X, self.y, epochs, shuffle=True)

    def _one_step(self, fits: int) -> None:
        rows = self.batches()[0]
        for _ in range(fits):
            self._fit(self.X[rows], self.y[rows], 1, shuffle=True)

    def _fit(self, X: np.ndarray, y: np.ndarray, epochs: int, shuffle: bool) -> None:
        self.net.fit(
            X,
            y,
            loss=self.loss,
            optimizer=self.adam,
            epochs=epochs,
            batch_size=self.workload.batch,
            shuffle=shuffle,
            progress=False,
            threads=self.threads,
        )

    def _by_hand(self, epochs: int) -> None:
        for _ in range(epochs):
            for rows in self.batches():
                _, d = self.loss(self.net.forward(self.X[rows]), self.y[rows])
                self.net.backward(d)
                self.adam.step(self.net)

    def parameters(self) -> Parameters:
        return [(layer.parameters["weight"], layer.parameters["bias"]) for layer in self.net.layers]

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.net.predict(X, threads=self.threads)


class Torch(Peer):
    """Eager mode with the fused Adam."""

    compiled = False

    def build(self) -> None:
        import torch

        torch.set_num_threads(int(os.environ["FASTJAC_BENCH_THREADS"]))
        activations = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}
        activation = activations[self.workload.activation]
        layers: list[Any] = []
        for (i, o), W in zip(self.workload.layers, self.workload.weights(), strict=True):
            dense = torch.nn.Linear(i, o)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(W.T.copy()))
                dense.bias.zero_()
            layers += [dense, activation()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.adam = torch.optim.Adam(self.net.parameters(), RATE, fused=True)
        loss = torch.nn.MSELoss() if self.workload.regression else torch.nn.CrossEntropyLoss()
        self.of_batch: Any = lambda X, y: loss(self.net(X), y)
        if self.compiled:
            self.of_batch = torch.compile(self.of_batch)
        self.X, self.y = torch.from_numpy(self.X), torch.from_numpy(self.y)
        if not self.compiled:
            self.by_hand = self.train  # there is no other way

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            for rows in self.batches():
                value = self.of_batch(self.X[rows], self.y[rows])
                self.adam.zero_grad()
                value.backward()
                self.adam.step()

    def parameters(self) -> Parameters:
        import torch

        return [
            (layer.weight.detach().numpy().T, layer.bias.detach().numpy())
            for layer in self.net
            if isinstance(layer, torch.nn.Linear)
        ]

    def own_array(self, X: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(X)

    def predict(self, X: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self.net(X)


class TorchCompile(Torch):
    """torch.compile over the network and the loss."""

    compiled = True


class Jax(Peer):
    """One jitted step, called from a Python loop."""

    def build(self) -> None:
        import jax
        import jax.numpy as jnp

        def of_batch(parameters: Any, X: Any, y: Any) -> Any:
            output = network(parameters, X)
            if self.workload.regression:
                return ((output - y) ** 2).mean()
            rows = jax.nn.log_softmax(output)
            return -jnp.take_along_axis(rows, y[:, None], axis=1).mean()

        activation: Any = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[self.workload.activation]

        def network(parameters: Any, X: Any) -> Any:
            for k, (W, b) in enumerate(parameters):
                X = X @ W + b
                if k < len(parameters) - 1:
                    X = activation(X)
            return X

        def step(state: Any, batch: Any) -> Any:
            parameters, m, v, t = state
            gradient = jax.grad(of_batch)(parameters, *batch)
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
            rate, spread = RATE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
            parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * spread + 1e-8), parameters, m, v)
            return parameters, m, v, t

        def epochs(state: Any, X: Any, y: Any, count: Any) -> Any:
            def epoch(_: Any, state: Any) -> Any:
                return jax.lax.scan(lambda s, batch: (step(s, batch), None), state, (X, y))[0]

            return jax.lax.fori_loop(0, count, epoch, state)

        parameters = [(jnp.asarray(W), jnp.zeros(W.shape[1], "f4")) for W in self.workload.weights()]
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        self.state = (parameters, zeros, zeros, jnp.zeros((), "f4"))
        shape = (self.workload.batches, self.workload.batch)
        self.stacked = jnp.asarray(self.X).reshape(*shape, -1), jnp.asarray(self.y).reshape(*shape, *self.y.shape[1:])
        self.in_batches = [(jnp.asarray(self.X[rows]), jnp.asarray(self.y[rows])) for rows in self.batches()]
        self.step: Callable[..., Any] = jax.jit(step)
        self.epochs: Callable[..., Any] = jax.jit(epochs)
        self.network: Callable[..., Any] = jax.jit(network)
        self.wait: Callable[..., Any] = jax.block_until_ready
        self.by_hand = self.train

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            for batch in self.in_batches:
                self.state = self.step(self.state, batch)
        self.wait(self.state)

    def parameters(self) -> Parameters:
        return [(np.asarray(W), np.asarray(b)) for W, b in self.state[0]]

    def own_array(self, X: np.ndarray) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(X)

    def predict(self, X: Any) -> Any:
        return self.wait(self.network(self.state[0], X))


class JaxScan(Jax):
    """All steps in one jitted call, a ``lax.scan`` over the batches of an epoch."""

    def build(self) -> None:
        super().build()
        self.by_hand = None

    def train(self, epochs: int) -> None:
        self.state = self.wait(self.epochs(self.state, *self.stacked, epochs))


class Sklearn(Peer):
    """MLPClassifier or MLPRegressor. Every call of ``train`` is a new ``fit``, as there is no other way."""

    def build(self) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        base = MLPRegressor if self.workload.regression else MLPClassifier

        class FromWeights(base):  # type: ignore[misc,valid-type]
            # called for one layer after the other
            def _init_coef(self, fan_in: int, fan_out: int, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
                W = next(self.first)
                assert W.shape == (fan_in, fan_out)
                return W, np.zeros(fan_out, dtype)

        def estimator(epochs: int) -> Any:
            made = FromWeights(
                hidden_layer_sizes=self.workload.widths[1:-1],
                activation={"sigmoid": "logistic"}.get(self.workload.activation, self.workload.activation),
                alpha=0,
                learning_rate_init=RATE,
                batch_size=self.workload.batch,
                shuffle=False,
                max_iter=epochs,
                tol=0,
                n_iter_no_change=10**9,
            )
            made.first = iter(self.workload.weights())
            return made

        self.estimator = estimator

    def train(self, epochs: int) -> None:
        self.fitted = self.estimator(epochs).fit(self.X, self.y)

    def parameters(self) -> Parameters:
        return list(zip(self.fitted.coefs_, self.fitted.intercepts_, strict=True))

    def predict(self, X: np.ndarray) -> Any:
        return self.fitted.predict(X) if self.workload.regression else self.fitted.predict_proba(X)


PEERS: dict[str, tuple[str, type[Peer]]] = {  # the module each needs, to tell whether it is installed
    "fastjac": ("fastjac", Fastjac),
    "PyTorch": ("torch", Torch),
    "torch.compile": ("torch", TorchCompile),
    "JAX jit": ("jax", Jax),
    "JAX scan": ("jax", JaxScan),
    "scikit-learn": ("sklearn", Sklearn),
}


def _task(peer: Peer, mode: str) -> Callable[[int], object] | None:
    """The mode as a function of how often."""
    if mode == "train":
        return peer.train
    if mode in ("by hand", "shuffled", "one step"):
        return {"by hand": peer.by_hand, "shuffled": peer.shuffled, "one step": peer.one_step}[mode]
    X = peer.own_array(peer.X[:1] if isinstance(peer.X, np.ndarray) else np.asarray(peer.X)[:1])
    if mode != "predict 1":
        X = peer.own_array(np.resize(np.asarray(peer.X), (10_000, peer.workload.widths[0])))

    def predict(count: int) -> None:
        for _ in range(count):
            peer.predict(X)

    return predict


def serve(name: str) -> None:
    """Read tasks, write answers, until the input ends."""
    warnings.simplefilter("ignore")  # scikit-learn's, that it has not converged
    if os.environ["FASTJAC_BENCH_THREADS"] == "1" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    loaded: dict[str, Peer] = {}
    for line in sys.stdin:
        task = json.loads(line)
        workload = WORKLOADS[task["workload"]]
        answer: dict[str, Any] = {}
        try:
            if task["mode"] == "check":
                peer = PEERS[name][1](workload)
                peer.train(CHECK_EPOCHS)
                answer = {"loss": workload.loss(peer.parameters())}
                loaded[workload.name] = peer
            else:
                run = _task(loaded[workload.name], task["mode"])
                if run is not None:
                    begin = time.perf_counter()
                    run(task["repeats"])
                    answer = {"seconds": time.perf_counter() - begin}
        except Exception as error:  # whatever a peer does, the others go on
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        print("ANSWER " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
