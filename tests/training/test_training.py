"""`fit`: the compiled epoch and the layers one by one, histories, weights, Ctrl-C, and what it leaves alone."""

import collections
import json
import os
import pickle
import random as python_random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from fastjac.kernels.losses import AMOUNTS, NUMBERS
from tests_support import use_plan

import fastjac as fj
from fastjac.nn.losses import BY_NAME
from fastjac.nn.program import Program
from fastjac.training import interrupt


def problem(loss, samples, inputs=6, outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, inputs))
    if BY_NAME[loss].kind == NUMBERS:
        return X, rng.normal(size=(samples, outputs))
    if BY_NAME[loss].kind == AMOUNTS:
        return X / 4, rng.poisson(0.5, (samples, outputs))  # so that e^z stays moderate at the rates tried here
    if loss.startswith("binary"):
        return X, (rng.random((samples, outputs)) > 0.5) * 1.0
    return X, rng.integers(0, outputs, samples)


def network(loss="softmax_cross_entropy", *, hidden=(9,), activation="relu", dropout=0.0, seed=0, dtype="float32"):
    layers, width = [], 6
    for h in hidden:
        layers.append(fj.Dense(width, h, activation=activation))
        if dropout:
            layers.append(fj.Dropout(dropout))
        width = h
    layers.append(fj.Dense(width, 3))
    if loss == "categorical_cross_entropy":
        layers.append(fj.Softmax())
    if loss == "binary_cross_entropy_probabilities":
        layers.append(fj.Activation("sigmoid"))
    return fj.Sequential(layers, seed=seed, dtype=dtype)


def same_histories(one, other):
    assert set(one) == set(other)
    for name in set(one) - {"seconds"}:
        assert one[name] == other[name], name


# --- the two routes -----------------------------------------------------------------------------------------------

OPTIMIZERS = [
    lambda: fj.SGD(0.05),
    lambda: fj.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    lambda: fj.Adam(0.01),
    lambda: fj.AdamW(0.01, clip_norm=0.5),
    lambda: fj.Adam(fj.exponential_decay(0.02, 0.5, 7), clip_norm=0.1),
    lambda: fj.SGD(fj.cosine_decay(0.1, 12, warmup=3), momentum=0.5, clip_norm=1.0),
]


def configurations():
    number = 0
    for loss in BY_NAME:
        for make in OPTIMIZERS:
            for samples, batch in ((53, 16), (53, 200), (1, 4), (600, 257), (300, 256)):
                number += 1
                if samples < 100 or number % 3 == 0:
                    yield number, loss, make, samples, batch


@pytest.mark.parametrize(("number", "loss", "make", "samples", "batch"), list(configurations()))
def test_the_compiled_epoch_and_the_layers_one_by_one_give_the_same_bits(number, loss, make, samples, batch):
    X, y = problem(loss, samples)
    rng = np.random.default_rng(number)
    options = {"epochs": 3, "batch_size": batch, "shuffle": number % 4 != 0}
    if number % 2 == 0:
        options["sample_weight"] = rng.random(samples) * (rng.random(samples) > 0.3)
        options["sample_weight"][0] = 1.0
    if y.ndim == 1 and number % 3 == 0:
        options["class_weight"] = "balanced" if number % 2 else {0: 2.0, 2: 0.5}
    if number % 5 == 0:
        options["validation_data"] = X[:20], y[:20]
    results = []
    for whole in (True, False):
        net = network(
            loss,
            hidden=(9, 17)[: 1 + number % 2],
            activation=["relu", "gelu", "tanh", "elu", "silu"][number % 5],
            dropout=0.3 * (number % 3 == 1),
            dtype=["float32", "float64"][number % 2],
        )
        use_plan(whole, net)
        assert (net.program is not None) is whole
        optimizer = make()
        history = net.fit(X, y, loss=loss, optimizer=optimizer, **options)
        results.append((net, history, optimizer.state(net)))
    (one, history, state), (other, other_history, other_state) = results
    assert np.isfinite(one.parameters).all()
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(state.moments, other_state.moments)
    assert state.counters[0] == other_state.counters[0] == 3 * -(-samples // batch)
    same_histories(history, other_history)


@pytest.mark.parametrize("samples", [255, 256, 257, 511, 512, 513])
@pytest.mark.parametrize("batch", [255, 256, 257, 512, 600])
def test_the_two_routes_agree_at_the_borders_of_chunks(samples, batch):
    X, y = problem("softmax_cross_entropy", samples)
    parameters = []
    for whole in (True, False):
        net = network(activation="silu", dropout=0.2)
        use_plan(whole, net)
        net.fit(X, y, loss="softmax_cross_entropy", epochs=2, batch_size=batch)
        parameters.append(net.parameters)
    np.testing.assert_array_equal(*parameters)


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("samples", [90, 700])
@pytest.mark.parametrize("hidden", [(9,), (70, 33)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_do_not_depend_on_the_number_of_threads(samples, hidden, dtype):
    X, y = problem("softmax_cross_entropy", samples)
    results = []
    for threads in (1, 2, 3, None):
        net = network(hidden=hidden, dropout=0.2, dtype=dtype)
        weight = np.linspace(0, 1, samples)
        history = net.fit(
            X,
            y,
            loss="softmax_cross_entropy",
            epochs=2,
            batch_size=600,
            threads=threads,
            sample_weight=weight,
            optimizer=fj.Adam(0.01, clip_norm=0.5),
        )
        results.append((net.parameters, history))
    for parameters, history in results[1:]:
        np.testing.assert_array_equal(parameters, results[0][0])
        same_histories(history, results[0][1])


REGRESSION = [fj.MeanSquaredError(), fj.MeanAbsoluteError(), fj.Huber(0.5), fj.QuantileLoss(0.8), fj.Poisson()]


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("loss", REGRESSION, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_of_regression_falls_to_the_same_bits_on_any_number_of_threads(loss, dtype):
    X, y = problem(loss.name, 700)
    y = y + (X[:, :3] > 0) * 3.0
    weight = np.linspace(0, 1, 700) * (np.arange(700) % 5 > 0)
    results = []
    for threads in (1, 2):
        net = network(dtype=dtype)
        before = net.evaluate(X, y, loss, sample_weight=weight)["loss"]
        history = net.fit(
            X, y, loss=loss, epochs=15, batch_size=600, threads=threads, sample_weight=weight, optimizer=fj.Adam(0.03)
        )
        assert net.evaluate(X, y, loss, sample_weight=weight)["loss"] < 0.8 * before
        results.append((net.parameters, history))
    np.testing.assert_array_equal(results[1][0], results[0][0])
    same_histories(results[1][1], results[0][1])


def test_a_losss_own_number_changes_what_is_learnt_but_a_sample_without_weight_does_not():
    X, y = problem("huber", 60)
    weight = (np.arange(60) % 3 > 0) * 1.0
    for one, other in ((fj.Huber(0.1), fj.Huber(2.0)), (fj.QuantileLoss(0.1), fj.QuantileLoss(0.9))):
        learnt = []
        for loss, add in ((one, 0.0), (one, 1e6), (other, 0.0)):
            net = network()
            net.fit(X, y + add * (weight == 0)[:, None], loss=loss, epochs=2, sample_weight=weight)
            learnt.append(net.parameters)
        np.testing.assert_array_equal(learnt[1], learnt[0])
        assert not np.array_equal(learnt[2], learnt[0])


@pytest.mark.parametrize("loss", list(BY_NAME))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("whole", [True, False])
def test_the_loop_by_hand_is_what_fit_does_to_the_bit(loss, dtype, whole):
    X, y = problem(loss, 50)
    by_fit, by_hand = network(loss, dropout=0.2, dtype=dtype), network(loss, dropout=0.2, dtype=dtype)
    use_plan(whole, by_fit, by_hand)
    history = by_fit.fit(X, y, loss=loss, optimizer=fj.Adam(0.01), epochs=1, batch_size=16, shuffle=False)
    optimizer, loss_fn, total = fj.Adam(0.01), fj.losses.get(loss), 0.0
    for first in range(0, 50, 16):
        rows = slice(first, first + 16)
        output = by_hand.forward(X[rows])
        value, d = loss_fn(output, y[rows])
        by_hand.backward(d)
        optimizer.step(by_hand)
        total += value * len(output)
    np.testing.assert_array_equal(by_hand.parameters, by_fit.parameters)
    assert history["loss"][0] == pytest.approx(total / 50, rel=1e-12)


@pytest.mark.parametrize("path", ["unfused", "reference"])
@pytest.mark.parametrize("loss", list(BY_NAME))
def test_the_other_paths_learn_the_same(path, loss):
    X, y = problem(loss, 20)
    nets = [network(loss, dtype="float64", activation="tanh") for _ in range(2)]
    nets[1].path = path
    histories = [net.fit(X, y, loss=loss, epochs=2, batch_size=8, optimizer=fj.SGD(0.1)) for net in nets]
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-9, atol=1e-12)
    assert histories[1]["loss"] == pytest.approx(histories[0]["loss"], rel=1e-10)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    ("dtype", "epochs", "batch", "rtol", "atol"),
    [
        ("float64", 1, 64, 1e-9, 1e-11),
        ("float32", 1, 64, 1.3e-6, 1e-5),
        ("float64", 3, 16, 1e-9, 1e-11),
        ("float64", 25, 16, 1e-7, 1e-10),
    ],
)
def test_steps_are_those_of_pytorch(kind, dtype, epochs, batch, rtol, atol):
    """Reliability test 11: one step in both types, 12, and 100."""
    torch = pytest.importorskip("torch")
    X, y = problem("softmax_cross_entropy", 64)
    X = X.astype(dtype)
    net = network(hidden=(9, 11), dtype=dtype, activation="gelu")
    leaves = [torch.tensor(a.copy(), requires_grad=True) for layer in net.layers for a in layer.parameters.values()]
    ours, peer = {
        "sgd": (fj.SGD(0.01, momentum=0.9), torch.optim.SGD(leaves, lr=0.01, momentum=0.9)),
        "adam": (fj.Adam(0.01), torch.optim.Adam(leaves, lr=0.01)),
        "adamw": (fj.AdamW(0.01, weight_decay=0.1), torch.optim.AdamW(leaves, lr=0.01, weight_decay=0.1)),
    }[kind]
    for _ in range(epochs):
        for first in range(0, 64, batch):
            A = torch.tensor(X[first : first + batch])
            for k in range(3):
                A = A @ leaves[2 * k] + leaves[2 * k + 1]
                A = torch.nn.functional.gelu(A) if k < 2 else A
            peer.zero_grad()
            torch.nn.functional.cross_entropy(A, torch.tensor(y[first : first + batch])).backward()
            peer.step()
    net.fit(X, y, loss="softmax_cross_entropy", optimizer=ours, epochs=epochs, batch_size=batch, shuffle=False)
    expected = np.concatenate([leaf.detach().numpy().ravel() for leaf in leaves])
    np.testing.assert_allclose(net.parameters, expected, rtol=rtol, atol=atol)


# --- seeds, order, going on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_a_seed_repeats_a_training_to_the_bit(whole):
    X, y = problem("softmax_cross_entropy", 70)
    results = []
    for seed in (1, 1, 2):
        net = network(dropout=0.3, seed=seed)
        use_plan(whole, net)
        results.append((net.fit(X, y, loss="softmax_cross_entropy", epochs=3), net.parameters))
    np.testing.assert_array_equal(results[0][1], results[1][1])
    same_histories(results[0][0], results[1][0])
    assert not np.array_equal(results[0][1], results[2][1])


@pytest.mark.parametrize("whole", [True, False])
def test_a_second_fit_goes_on_where_the_first_ended(whole):
    X, y = problem("softmax_cross_entropy", 70)
    once, twice = network(dropout=0.3), network(dropout=0.3)
    use_plan(whole, once, twice)
    one, two = fj.Adam(0.01), fj.Adam(0.01)
    history = once.fit(X, y, loss="softmax_cross_entropy", optimizer=one, epochs=5)
    first = twice.fit(X, y, loss="softmax_cross_entropy", optimizer=two, epochs=2)
    second = twice.fit(X, y, loss="softmax_cross_entropy", optimizer=two, epochs=3)
    np.testing.assert_array_equal(once.parameters, twice.parameters)
    assert history["loss"] == first["loss"] + second["loss"]
    assert once.epochs_trained == twice.epochs_trained == 5


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_dropout_goes_on_by_the_steps_of_the_network_whatever_the_optimizer(whole, threads):
    X, y = problem("softmax_cross_entropy", 70)
    once, often, named = (network(dropout=0.3) for _ in range(3))
    for net in (once, often, named):
        use_plan(whole, net)
    options = {"loss": "softmax_cross_entropy", "batch_size": 16, "threads": threads}
    # gradient descent remembers nothing but its steps, so that a new object each time is one for ever
    history = once.fit(X, y, optimizer=fj.SGD(0.1), epochs=4, **options)
    losses = [often.fit(X, y, optimizer=fj.SGD(0.1), **options)["loss"][0] for _ in range(4)]
    assert losses == history["loss"]
    np.testing.assert_array_equal(often.parameters, once.parameters)
    assert once._training_step == often._training_step == 4 * 5
    # nothing is learnt at a rate of 0: the same rows, other masks, other losses
    still = {"optimizer": fj.SGD(0.0), "shuffle": False}
    losses = [named.fit(X, y, **options, **still | {"optimizer": fj.SGD(0.0)})["loss"][0] for _ in range(4)]
    assert len(set(losses)) == 4
    # and by hand the masks follow on those of fit
    twin = pickle.loads(pickle.dumps(named))
    use_plan(whole, twin)
    history = named.fit(X[:16], y[:16], **options, **still)
    value, _ = fj.SoftmaxCrossEntropy()(twin.forward(X[:16]), y[:16])
    assert value == pytest.approx(history["loss"][0], rel=1e-12)
    assert named._training_step == twin._training_step == 4 * 5 + 1


@pytest.mark.parametrize("whole", [True, False])
def test_settings_of_an_optimizer_that_a_callback_changes_count_from_the_next_step(whole):
    X, y = problem("softmax_cross_entropy", 64)
    changes = [
        ("momentum", 0.5),
        ("weight_decay", 0.1),
        ("clip_norm", 0.05),
        ("nesterov", True),
        ("learning_rate", 0.3),
    ]
    by_callback, by_hand = (network(), network())
    use_plan(whole, by_callback, by_hand)
    optimizer = fj.SGD(0.1)

    class Change(fj.Callback):
        def on_batch_end(self, batch, logs):
            if batch < len(changes):
                setattr(optimizer, *changes[batch])

    by_callback.fit(
        X, y, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=8, shuffle=False, callbacks=Change()
    )
    other, loss = fj.SGD(0.1), fj.SoftmaxCrossEntropy()
    for k in range(8):
        _, d = loss(by_hand.forward(X[8 * k : 8 * k + 8]), y[8 * k : 8 * k + 8])
        by_hand.backward(d)
        other.step(by_hand)
        if k < len(changes):
            setattr(other, *changes[k])
    np.testing.assert_array_equal(by_callback.parameters, by_hand.parameters)


@pytest.mark.parametrize("whole", [True, False])
def test_settings_that_a_callback_changes_after_an_epoch_count_in_the_next_one(whole):
    X, y = problem("softmax_cross_entropy", 16)
    by_callback, by_hand = network(), network()
    use_plan(whole, by_callback, by_hand)
    optimizer, other, loss = fj.SGD(0.1), fj.SGD(0.1), fj.SoftmaxCrossEntropy()
    changes = [("momentum", 0.5), ("weight_decay", 0.1), ("clip_norm", 0.05), ("learning_rate", 0.3)]

    def change(epoch, logs):
        if epoch < len(changes):
            setattr(optimizer, *changes[epoch])

    by_callback.fit(
        X,
        y,
        loss="softmax_cross_entropy",
        optimizer=optimizer,
        epochs=6,
        batch_size=16,
        shuffle=False,
        callbacks=change,
    )
    for epoch in range(6):
        _, d = loss(by_hand.forward(X), y)
        by_hand.backward(d)
        other.step(by_hand)
        if epoch < len(changes):
            setattr(other, *changes[epoch])
    np.testing.assert_array_equal(by_callback.parameters, by_hand.parameters)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-7), ("float32", 2e-3)])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_hundred_steps_are_those_of_pytorch(dtype, rtol, kind):
    """Reliability test 11, with ReLU's slope at zero as PyTorch has it; float32 to what a hundred steps leave."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 6)).astype(dtype), rng.integers(0, 3, 200)
    relu = fj.relu(at_zero=0)
    net = fj.Sequential(
        [fj.Dense(6, 16, activation=relu), fj.Dense(16, 12, activation="tanh"), fj.Dense(12, 3)], seed=0, dtype=dtype
    )
    leaves = [torch.tensor(a.copy(), requires_grad=True) for layer in net.layers for a in layer.parameters.values()]
    peer = getattr(torch.optim, kind)(leaves, lr=0.01)
    exactly_zero = 0

    def theirs(rows):
        nonlocal exactly_zero
        Z = torch.tensor(X[rows]) @ leaves[0] + leaves[1]
        exactly_zero += int((Z == 0).sum())
        A = torch.tanh(torch.relu(Z) @ leaves[2] + leaves[3])
        return torch.nn.functional.cross_entropy(A @ leaves[4] + leaves[5], torch.tensor(y[rows]))

    def flat():
        return np.concatenate([leaf.detach().numpy().ravel() for leaf in leaves])

    # one gradient
    value, d = fj.SoftmaxCrossEntropy()(net.forward(X), y)
    net.backward(d)
    loss = theirs(slice(None))
    loss.backward()
    exact = np.concatenate([leaf.grad.numpy().ravel() for leaf in leaves])
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 1.3e-6, "atol": 1e-5}
    assert value == pytest.approx(loss.item(), rel=tolerance["rtol"] * 10)
    np.testing.assert_allclose(net.gradients, exact, **tolerance)
    # a hundred steps
    for step in range(100):
        rows = slice(step % 10 * 20, step % 10 * 20 + 20)
        peer.zero_grad()
        theirs(rows).backward()
        peer.step()
    net.fit(
        X, y, loss="softmax_cross_entropy", optimizer=getattr(fj, kind)(0.01), epochs=10, batch_size=20, shuffle=False
    )
    np.testing.assert_allclose(net.parameters, flat(), rtol=rtol, atol=rtol / 10)
    print(f"pre-activations that were exactly 0: {exactly_zero}")


def test_every_epoch_has_an_order_of_its_own_and_every_row_comes_once():
    seen = []

    class Spy(fj.Layer):
        def forward(self, X, training):
            seen.append(X[:, 0].copy())
            return X

        def backward(self, dA):
            return dA

    X = np.arange(50.0).reshape(50, 1)
    for shuffle in (True, False):
        net = fj.Sequential([Spy(), fj.Dense(1, 1)], seed=0)
        seen.clear()
        net.fit(X, X, loss="mean_squared_error", optimizer=fj.SGD(0.0), epochs=2, batch_size=8, shuffle=shuffle)
        orders = np.concatenate(seen).reshape(2, 50)
        assert [len(batch) for batch in seen] == [8, 8, 8, 8, 8, 8, 2] * 2
        np.testing.assert_array_equal(np.sort(orders, axis=1), [np.arange(50)] * 2)
        if shuffle:
            assert not np.array_equal(*orders)
            assert not np.array_equal(orders[0], np.arange(50))
        else:
            np.testing.assert_array_equal(orders[0], np.arange(50))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("batch_size", [50, 10_000])
def test_a_single_batch_is_not_shuffled(batch_size, whole, monkeypatch):
    """It has all rows, in whatever order."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    found, seen = [], []
    train = Program.train

    def spy(self, learner, batches, *more):
        seen.append(batches.order)
        return train(self, learner, batches, *more)

    monkeypatch.setattr(Program, "train", spy)
    for shuffle in (True, False):
        net = fj.Sequential([fj.Dense(3, 9, activation="tanh"), fj.Dropout(0.2), fj.Dense(9, 2)], seed=0)
        use_plan(whole, net)
        history = net.fit(X, y, loss="softmax_cross_entropy", epochs=3, batch_size=batch_size, shuffle=shuffle)
        found.append((history["loss"], net.parameters.tolist()))
    assert found[0] == found[1]
    assert seen == ([None] * len(seen))
    assert bool(seen) == whole
    seen.clear()
    net.fit(X, y, loss="softmax_cross_entropy", epochs=1, batch_size=49)
    assert all(order.shape == (50,) for order in seen)
    assert bool(seen) == whole


def test_the_order_of_an_epoch_goes_by_the_seed_and_its_number():
    """So that a second ``fit``, a copy and a network of the same seed go on where the first has ended."""
    X = np.arange(70.0).reshape(35, 2)
    options = {"loss": "mean_squared_error", "optimizer": fj.SGD(1e-4), "batch_size": 8}

    def network(seed):
        return fj.Sequential([fj.Dense(2, 1)], seed=seed)

    at_once, in_two, other = network(2**200), network(2**200), network(2**200 + 1)
    other.parameters = at_once.parameters
    at_once.fit(X, X[:, 0], epochs=5, **options)
    in_two.fit(X, X[:, 0], epochs=2, **options)
    in_two = in_two.clone()
    in_two.fit(X, X[:, 0], epochs=3, **options)
    other.fit(X, X[:, 0], epochs=5, **options)
    np.testing.assert_array_equal(at_once.parameters, in_two.parameters)
    assert not np.array_equal(at_once.parameters, other.parameters)


# --- the history --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("loss", list(BY_NAME))
def test_the_history_has_a_number_an_epoch_in_each_column(loss, whole):
    X, y = problem(loss, 40)
    net = network(loss)
    use_plan(whole, net)
    history = net.fit(X, y, loss=loss, epochs=3, validation_data=(X[:10], y[:10]))
    columns = (
        ["loss", "val_loss", "seconds"]
        if BY_NAME[loss].kind in (NUMBERS, AMOUNTS)
        else ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    )
    assert set(history) == set(columns)
    for values in history.values():
        assert len(values) == 3
        assert all(type(value) is float for value in values)
    expected = net.evaluate(X[:10], y[:10], loss)
    assert history["val_loss"][-1] == expected["loss"]
    assert set(net.fit(X, y, loss=loss)) == set(columns) - {"val_loss", "val_accuracy"}


@pytest.mark.parametrize("loss", list(BY_NAME))
def test_loss_and_accuracy_of_an_epoch_are_weighted_means_over_its_batches(loss):
    X, y = problem(loss, 40)
    weight = np.random.default_rng(3).random(40)
    net = network(loss, dtype="float64")
    expected = net.evaluate(X, y, loss, sample_weight=weight)
    history = net.fit(X, y, loss=loss, optimizer=fj.SGD(0.0), batch_size=7, sample_weight=weight)
    for name, value in expected.items():
        assert history[name][0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("optimizer", [fj.SGD, fj.Adam, fj.AdamW])
@pytest.mark.parametrize("whole", [True, False])
def test_a_learning_rate_of_0_changes_no_bit(optimizer, whole):
    X, y = problem("softmax_cross_entropy", 40)
    net = network()
    use_plan(whole, net)
    before = net.parameters.copy()
    net.fit(X, y, loss="softmax_cross_entropy", optimizer=optimizer(0.0), epochs=2)
    np.testing.assert_array_equal(net.parameters.view(np.int32), before.view(np.int32))


@pytest.mark.parametrize("whole", [True, False])
def test_a_schedule_is_asked_for_every_step_once_and_in_order(whole):
    X, y = problem("softmax_cross_entropy", 40)
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.01

    net = network()
    use_plan(whole, net)
    net.fit(X, y, loss="softmax_cross_entropy", optimizer=fj.SGD(schedule), epochs=30, batch_size=8)
    assert asked == list(range(150))


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_a_weight_of_0_is_absence_and_of_2_is_presence_twice(whole):
    X, y = problem("softmax_cross_entropy", 30)
    weight = np.array([0.0, 1.0, 2.0, 3.0, 1.0] * 6)  # whose sum is not the number of rows
    weighted, repeated = network(dtype="float64"), network(dtype="float64")
    use_plan(whole, weighted, repeated)
    options = {"loss": "softmax_cross_entropy", "optimizer": "sgd", "epochs": 4, "batch_size": 60, "shuffle": False}
    weighted.fit(X, y, sample_weight=weight, **options)
    rows = np.repeat(np.arange(30), weight.astype(int))
    repeated.fit(X[rows], y[rows], **options)
    np.testing.assert_allclose(weighted.parameters, repeated.parameters, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("whole", [True, False])
def test_class_weights_multiply_sample_weights_and_balanced_makes_classes_weigh_the_same(whole):
    X, _ = problem("softmax_cross_entropy", 30)
    y = np.array([0] * 20 + [1] * 10)
    counts = np.array([20, 10])
    own = np.linspace(0.5, 1.5, 30)
    # with a penalty, which is divided by the sum of weights, what all of them are multiplied by shows too
    options = {"loss": "softmax_cross_entropy", "epochs": 2, "batch_size": 8, "l2": 0.1}
    for given, factors in (("balanced", 30 / (2 * counts)), ({1: 3.0}, np.array([1.0, 3.0]))):
        nets = [network(), network()]
        for net in nets:
            use_plan(whole, net)
        nets[0].fit(X, y, class_weight=given, sample_weight=own, **options)
        nets[1].fit(X, y, sample_weight=factors[y] * own, **options)
        np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_class_weights_may_be_any_mapping():
    X, y = problem("softmax_cross_entropy", 30)
    nets = [network(), network()]
    for net, given in zip(nets, ({1: 3.0}, MappingProxyType({1: 3.0})), strict=True):
        net.fit(X, y, loss="softmax_cross_entropy", class_weight=given)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("whole", [True, False])
def test_a_batch_without_weight_changes_nothing_in_plain_sgd(whole):
    X, y = problem("softmax_cross_entropy", 16)
    net, other = network(), network()
    use_plan(whole, net, other)
    weight = np.array([1.0] * 8 + [0.0] * 8)
    options = {"loss": "softmax_cross_entropy", "optimizer": "sgd", "batch_size": 8, "shuffle": False}
    history = net.fit(X, y, sample_weight=weight, **options)
    half = other.fit(X[:8], y[:8], **options)
    np.testing.assert_array_equal(net.parameters, other.parameters)
    assert history["loss"] == half["loss"]


# --- input --------------------------------------------------------------------------------------------------------


def test_input_of_any_type_and_stride_gives_the_bits_of_its_plain_copy(tmp_path):
    X, y = problem("softmax_cross_entropy", 60)
    X = np.round(X * 8).astype(np.float32)
    net = network()
    net.fit(X, y, loss="softmax_cross_entropy", epochs=2)
    expected = net.parameters
    np.save(tmp_path / "X.npy", X)
    wide = np.zeros((120, 18), np.float32)
    wide[::2, ::3] = X
    variants = {
        "float64": X.astype(float),
        "int": X.astype(np.int16),
        "half": X.astype("f2"),
        "swapped": X.astype(">f4"),
        "fortran": np.asfortranarray(X),
        "strided": wide[::2, ::3],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "list": X.tolist(),
        "read-only memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
    }
    for shuffle in (True, False):
        reference = network()
        reference.fit(X, y, loss="softmax_cross_entropy", epochs=2, shuffle=shuffle)
        for name, variant in variants.items():
            net = network()
            net.fit(variant, y.astype("u1"), loss="softmax_cross_entropy", epochs=2, shuffle=shuffle)
            np.testing.assert_array_equal(net.parameters, reference.parameters, err_msg=name)
        if shuffle:
            np.testing.assert_array_equal(reference.parameters, expected)


@pytest.mark.parametrize("whole", [True, False])
def test_arguments_are_not_changed(whole):
    X, y = problem("softmax_cross_entropy", 40)
    X, weight, soft = X.astype(np.float32), np.linspace(0.1, 1, 40), np.full((40, 3), 1 / 3, np.float32)
    for array in (X, y, weight, soft):
        array.setflags(write=False)
    copies = [a.copy() for a in (X, y, weight, soft)]
    for targets in (y, soft):
        net = fj.Sequential([fj.Activation("relu"), fj.Dropout(0.2), fj.Dense(6, 3)], seed=0)
        use_plan(whole, net)
        net.fit(
            X,
            targets,
            loss="softmax_cross_entropy",
            sample_weight=weight,
            epochs=2,
            validation_data=(X, targets, weight),
        )
    for array, copied in zip((X, y, weight, soft), copies, strict=True):
        np.testing.assert_array_equal(array, copied)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples_and_one_class(samples):
    X, _ = problem("softmax_cross_entropy", samples)
    net = fj.Sequential([fj.Dense(6, 1)], seed=0)
    history = net.fit(X, np.zeros(samples, int), loss="softmax_cross_entropy", epochs=2, batch_size=2)
    assert history["loss"] == [0.0, 0.0]
    assert history["accuracy"] == [1.0, 1.0]


@pytest.mark.usefixtures("threads_as_asked")
def test_global_state_is_as_before():
    """Reliability test 34, of what Python and NumPy keep."""
    X, y = problem("softmax_cross_entropy", 700)
    before_random, before_python = np.random.get_state()[1].copy(), python_random.getstate()  # noqa: NPY002
    errors, filters, handler = np.geterr(), list(warnings.filters), signal.getsignal(signal.SIGINT)
    threads, environment, folder = threading.active_count(), dict(os.environ), Path.cwd()
    np.seterr(all="raise")
    raising = np.geterr()
    try:
        net = network(hidden=(40,), dropout=0.1)
        net.fit(X * 1e4, y, loss="softmax_cross_entropy", epochs=2, batch_size=600, threads=2)
        net.path = "unfused"
        net.fit(X, y, loss="softmax_cross_entropy", optimizer=fj.SGD(1e-6))
        net.evaluate(X, y, "softmax_cross_entropy")
        assert np.geterr() == raising
    finally:
        np.seterr(**errors)
    np.testing.assert_array_equal(np.random.get_state()[1], before_random)  # noqa: NPY002
    assert python_random.getstate() == before_python
    assert list(warnings.filters) == filters
    assert signal.getsignal(signal.SIGINT) is handler
    assert threading.active_count() == threads
    assert dict(os.environ) == environment
    assert Path.cwd() == folder


# --- losses that are not finite -----------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_infinite_gradients_under_dropout_are_an_error_and_no_warning(whole):
    """∞ · 0 is NaN, of which NumPy would warn where compiled code says nothing."""
    net = fj.Sequential([fj.Dense(4, 3), fj.Dropout(0.5), fj.Dense(3, 1)], seed=0)
    use_plan(whole, net)
    net.parameters[:] = 1e20
    X = np.full((8, 4), 1e18)
    with pytest.raises(fj.NonFiniteError, match="in epoch 0, batch 0"):
        net.fit(X, np.ones(8), loss="mean_squared_error", optimizer=fj.SGD(1.0), progress=False)


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_loss_that_is_not_finite_stops_with_the_layers_name_and_the_last_good_parameters(whole, threads):
    """Reliability test 35, with the two after it: a huge row, too large a rate, targets that are not finite."""
    X, y = problem("mean_squared_error", 64)
    X[40] *= 1e30  # in batch 5 of 8

    def make():
        net = fj.Sequential([fj.Dense(6, 9), fj.Activation("relu"), fj.Dense(9, 3)], seed=0)
        net.parameters[:] *= 1e5
        use_plan(whole, net)
        return net

    options = {"loss": "mean_squared_error", "optimizer": fj.SGD(0.0, momentum=0.5), "batch_size": 8, "shuffle": False}
    net, good = make(), make()
    with pytest.raises(fj.NonFiniteError, match=r"epoch 0, batch 5; .* come from layers\[2\] \(Dense\)") as caught:
        net.fit(X, y, threads=threads, **options)
    assert isinstance(caught.value, ArithmeticError)
    good.fit(X[:40], y[:40], **options)
    np.testing.assert_array_equal(net.parameters, good.parameters)
    assert options["optimizer"].state(net).counters[0] == 5
    assert net.epochs_trained == 0
    # the network can be trained on
    net.fit(X[:40], y[:40], **options)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("whole", [True, False])
def test_a_rate_that_is_too_large_ends_in_an_error_not_in_nan(whole):
    X, y = problem("mean_squared_error", 64)
    net = network("mean_squared_error")
    use_plan(whole, net)
    with pytest.raises(fj.NonFiniteError, match="smaller learning rate"):
        net.fit(100 * X, y, loss="mean_squared_error", optimizer=fj.SGD(1e4), epochs=200)
    assert not np.isnan(net.parameters).any()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("dtype", "rate"), [("float32", 100.0), ("float64", 800.0)])
def test_a_poisson_rate_that_overflows_ends_in_an_error(whole, dtype, rate):
    net = fj.Sequential([fj.Dense(1, 1)], seed=0, dtype=dtype)
    net.parameters[:] = rate, 0.0
    use_plan(whole, net)
    with pytest.raises(fj.NonFiniteError, match=r"epoch 0, batch 1; .* come from the loss itself"):
        net.fit([[0.0], [1.0]], [1.0, 1.0], loss="poisson", batch_size=1, shuffle=False, optimizer=fj.SGD(0.0))
    np.testing.assert_array_equal(net.parameters, [rate, 0.0])


@pytest.mark.parametrize("loss", REGRESSION, ids=repr)
def test_targets_that_are_not_finite_are_refused_before_anything_changes(loss):
    X, y = problem(loss.name, 20)
    net = network()
    before = net.parameters.copy()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"y has shape .* entries that are NaN or infinity"):
            net.fit(X, np.where(np.arange(60).reshape(20, 3) == 7, bad, y), loss=loss)
    np.testing.assert_array_equal(net.parameters, before)


# --- two at once --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("threads_as_asked")
def test_two_threads_may_not_train_one_network_but_may_train_two():
    X, y = problem("softmax_cross_entropy", 600)
    net, begun, go_on = network(), threading.Event(), threading.Event()

    class Waits(fj.Callback):
        def on_epoch_begin(self, epoch):
            begun.set()
            assert go_on.wait(20)

    thread = threading.Thread(target=lambda: net.fit(X, y, loss="softmax_cross_entropy", callbacks=[Waits()]))
    thread.start()
    assert begun.wait(20)
    try:
        with pytest.raises(RuntimeError, match="already being trained"):
            net.fit(X, y, loss="softmax_cross_entropy")
        net.predict(X)
    finally:
        go_on.set()
        thread.join()
    expected = network()
    expected.fit(X, y, loss="softmax_cross_entropy", epochs=20)
    nets = [network() for _ in range(4)]
    threads = [
        threading.Thread(target=lambda net=net: net.fit(X, y, loss="softmax_cross_entropy", epochs=20, threads=2))
        for net in nets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net in nets:
        np.testing.assert_array_equal(net.parameters, expected.parameters)


# --- Ctrl-C -------------------------------------------------------------------------------------------------------

CHILD = """
import faulthandler, json, os, signal, sys, threading, time, warnings
faulthandler.dump_traceback_later(100, exit=True)  # where it hangs, if it does
import numpy as np
import fastjac as fj
from fastjac.nn import program

program.LEAST_WORK_TOGETHER = program.LEAST_WORK_BY_ROWS = 0  # take all threads, though one would be faster
delay, whole, threads, path = float(sys.argv[1]), sys.argv[2] == "whole", int(sys.argv[3]), sys.argv[4]
rng = np.random.default_rng(0)
X, y = rng.normal(size=(3000, 20)).astype(np.float32), rng.integers(0, 4, 3000)

def make():
    net = fj.Sequential([fj.Dense(20, 50, activation="relu"), fj.Dropout(0.1), fj.Dense(50, 4)], seed=0)
    net.path = path
    if not whole:
        net._program = None  # layer by layer
    return net

warm = make()
warm.fit(X[:200], y[:200], loss="softmax_cross_entropy", batch_size=32, threads=threads)
net, optimizer = make(), fj.Adam(1e-3)

def interrupt():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGINT)

options = {"loss": "softmax_cross_entropy", "epochs": 10**6, "batch_size": 32}
history = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    while history is None:
        try:
            threading.Thread(target=interrupt).start()
            history = net.fit(X, y, optimizer=optimizer, threads=threads, **options)
        except KeyboardInterrupt:  # before it looked at its arguments, as on a busy machine it may
            assert not optimizer.state(net).counters[0]
parameters, steps = net.parameters.copy(), int(optimizer.state(net).counters[0])

class Stops(fj.Callback):
    def on_train_begin(self):
        self.left = steps % 94
    def on_batch_end(self, batch, logs):
        self.left -= 1
        self.network.stop_training = self.left <= 0

# exactly as many steps: the whole epochs, and what is left one by one. Ctrl-C may have come before the first of them.
# With one thread: several would wait for one another as long as others have the cores
options["threads"] = 1
again, adam = make(), fj.Adam(1e-3)
if steps // 94:
    again.fit(X, y, optimizer=adam, **options | {"epochs": steps // 94})
if steps % 94:
    again.fit(X, y, optimizer=adam, callbacks=[Stops()], **options)
handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
longer = net.fit(X[:64], y[:64], loss="softmax_cross_entropy", optimizer=optimizer, epochs=2, threads=1)
print(json.dumps({
    "interrupted": history.interrupted, "epochs": len(history.get("loss", [])),
    "steps": steps, "warnings": [str(w.message) for w in caught], "finite": bool(np.isfinite(net.parameters).all()),
    "handler": handler, "longer": len(longer["loss"]), "type": type(history).__name__, "trained": net.epochs_trained,
    "equal": bool(np.array_equal(parameters, again.parameters)),
}))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("delay", [0.01, 0.13, 0.37])
@pytest.mark.parametrize(
    ("route", "threads", "path"),
    [("whole", 1, "fused"), ("whole", 2, "fused"), ("layers", 1, "fused"), ("layers", 1, "unfused")],
)
def test_ctrl_c_returns_with_the_network_as_after_the_last_batch(delay, route, threads, path):
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(delay), route, str(threads), path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["interrupted"] is True
    assert result["type"] == "History"
    assert result["finite"]
    assert result["equal"], "not the parameters after a whole number of steps"
    assert result["epochs"] == result["steps"] // 94
    assert result["trained"] == result["epochs"] + 2
    assert len(result["warnings"]) == 1
    assert f"interrupted after {result['epochs']} whole epochs" in result["warnings"][0]
    assert result["handler"]
    assert result["longer"] == 2


OFTEN = """
import json, os, signal, sys, threading, time, warnings
import numpy as np
import fastjac as fj
from fastjac.support import cores
from fastjac.nn import program
warnings.simplefilter("ignore")
cores.usable_cores = lambda: 64  # as many threads as are asked for
program.LEAST_WORK_TOGETHER = program.LEAST_WORK_BY_ROWS = 0
times, threads = int(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(int(sys.argv[3]))
X, y = rng.normal(size=(3000, 20)).astype("f4"), rng.integers(0, 4, 3000)
options = {"loss": "softmax_cross_entropy", "epochs": 10**9, "batch_size": 600}

def make():
    return fj.Sequential([fj.Dense(20, 50, activation="relu"), fj.Dropout(0.1), fj.Dense(50, 4)], seed=0)

class Stops(fj.Callback):
    def __init__(self, steps):
        self.left = steps
    def on_batch_end(self, batch, logs):
        self.left -= 1
        self.network.stop_training = self.left <= 0

make().fit(X, y, **options | {"epochs": 1}, threads=threads)
equal, waits = 0, []
for k in range(times):
    net, optimizer, sent = make(), fj.Adam(), []
    def interrupt(delay):
        time.sleep(delay)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=interrupt, args=(rng.uniform(0.002, 0.15),))
    try:
        thread.start()
        interrupted = net.fit(X, y, optimizer=optimizer, threads=threads, **options).interrupted
    except KeyboardInterrupt:  # before it looked at its arguments
        interrupted = not net.epochs_trained
    waits.append(time.perf_counter() - sent[0])
    thread.join()
    assert interrupted
    steps = int(optimizer.state(net).counters[0])
    again, other = make(), fj.Adam()
    if steps:
        again.fit(X, y, optimizer=other, callbacks=[Stops(steps)], threads=1, **options)
    assert int(other.state(again).counters[0]) == steps
    assert np.isfinite(net.parameters).all() and np.array_equal(net.parameters, again.parameters)
    for one, its in ((net, optimizer), (again, other)):  # and both go on alike
        one.epochs_trained = 0
        one.fit(X, y, optimizer=its, threads=1, **options | {"epochs": 2})
    equal += np.array_equal(net.parameters, again.parameters)
print(max(waits), file=sys.stderr)
print(json.dumps(int(equal)))
"""


def _interrupted_often(times, threads, seconds):
    run = subprocess.run(
        [sys.executable, "-c", OFTEN, str(times), str(threads), "0"],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    print("longest wait, in seconds:", run.stderr)
    assert json.loads(run.stdout) == times


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("threads", [1, 3])
def test_ctrl_c_at_random_times_leaves_whole_steps_from_which_training_goes_on(threads):
    """Reliability test 23, a few times."""
    _interrupted_often(8, threads, 300)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("threads", [1, 3])
def test_ctrl_c_at_200_random_times(threads):
    """Reliability test 23, 200 times; ``-s`` shows the longest wait: ``pytest -m slow -k 200_random -s``."""
    _interrupted_often(200, threads, 3000)


COMPILES = """
import hashlib, os, signal, sys, threading, time, warnings
import numpy as np
import fastjac as fj
warnings.simplefilter("ignore")
wait = float(sys.argv[1])
X = np.random.default_rng(0).normal(size=(300, 20)).astype("f4")
y = np.arange(300) % 4

def train():
    net = fj.Sequential([fj.Dense(20, 30, activation="relu"), fj.Dense(30, 4)], seed=0)
    history = net.fit(X, y, loss="softmax_cross_entropy", epochs=3)
    return "interrupted" if history.interrupted else hashlib.sha256(net.parameters).hexdigest()

if wait:
    sender = threading.Timer(wait, lambda: os.kill(os.getpid(), signal.SIGINT))
    sender.start()
    try:
        ended = train()
    except KeyboardInterrupt:
        ended = "KeyboardInterrupt"
    try:
        sender.join()  # the first call may have come to its end before
        time.sleep(0.01)
    except KeyboardInterrupt:
        ended = "late"
    print(ended)
print(train())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_at_50_random_times_of_the_first_compilation(tmp_path):
    """Reliability test 23: the next call of fit compiles what is missing, and has the bits of any other.

    ``pytest -m slow tests/training/test_training.py -k first_compilation -s`` takes some twenty minutes and shows how
    the calls ended.
    """

    def run(wait, folder):
        done = subprocess.run(
            [sys.executable, "-c", COMPILES, str(wait)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=os.environ | {"FASTJAC_CACHE_DIR": str(tmp_path / folder)},
        )
        assert done.returncode == 0, f"interrupted after {wait} seconds:\n{done.stderr}"
        return done.stdout.split()

    begin = time.perf_counter()
    (bits,) = run(0, "whole")
    whole = time.perf_counter() - begin
    rng = np.random.default_rng()
    ends = collections.Counter()
    for k in range(50):
        wait = rng.uniform(0.05, 0.9 * whole)
        ended, after = run(wait, str(k))
        assert after == bits, f"interrupted after {wait} seconds ({ended}), the next call differs"
        ends["the end" if ended == bits else ended] += 1
        shutil.rmtree(tmp_path / str(k))
    print(f"\nfirst call: {whole:.1f} s; interrupted at 50 times: {dict(ends)}")
    assert ends["KeyboardInterrupt"] + ends["interrupted"] >= 25, ends


def test_a_programs_own_handler_of_ctrl_c_is_left_alone():
    seen = []
    held = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        X, y = problem("softmax_cross_entropy", 100)

        class Interrupts(fj.Callback):
            def on_epoch_end(self, epoch, logs):
                signal.raise_signal(signal.SIGINT)

        history = network().fit(X, y, loss="softmax_cross_entropy", epochs=3, callbacks=[Interrupts()])
        assert len(history["loss"]) == 3
        assert history.interrupted is False
        assert seen == [signal.SIGINT] * 3
    finally:
        signal.signal(signal.SIGINT, held)


@pytest.fixture
def pythons_own_ctrl_c():
    """Ctrl-C as a program has it that says nothing of it, whatever the test runner does with it."""
    held = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, held)


def test_ctrl_c_as_soon_as_its_handler_is_set_leaves_pythons_own_behind(monkeypatch, pythons_own_ctrl_c):
    usual = interrupt._signal

    def set_and_press(number, handler):
        before = usual(number, handler)
        if handler is not signal.default_int_handler:
            signal.raise_signal(number)
        return before

    X, y = problem("softmax_cross_entropy", 32)
    with monkeypatch.context() as patch:
        patch.setattr("fastjac.training.interrupt._signal", set_and_press)
        with pytest.warns(RuntimeWarning, match="interrupted after 0 whole epochs"):
            assert network().fit(X, y, loss="softmax_cross_entropy").interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_within_a_callback_ends_after_it_and_train_end_is_called(pythons_own_ctrl_c):
    X, y = problem("softmax_cross_entropy", 100)
    ended = []

    class Interrupts(fj.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

        def on_train_end(self):
            ended.append(True)

    with pytest.warns(RuntimeWarning, match="interrupted after 2 whole epochs"):
        history = network().fit(X, y, loss="softmax_cross_entropy", epochs=30, callbacks=[Interrupts()])
    assert len(history["loss"]) == 2
    assert history.interrupted
    assert ended == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- real data ----------------------------------------------------------------------------------------------------


def digits():
    try:
        from fastjac.data.datasets import digits as ours
    except ImportError:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        return X / 16, y
    return ours()


def test_digits_are_told_apart():
    X, y = digits()
    order = np.random.default_rng(0).permutation(len(X))
    held, rest = order[:360], order[360:]
    layers = [fj.Dense(64, 128, activation="relu"), fj.Dense(128, 64, activation="relu"), fj.Dense(64, 10)]
    net = fj.Sequential(layers, seed=0)
    net.fit(X[rest], y[rest], loss="softmax_cross_entropy", optimizer=fj.Adam(1e-3), epochs=30, batch_size=32)
    assert net.evaluate(X[held], y[held], "softmax_cross_entropy")["accuracy"] >= 0.97


@pytest.mark.slow
@pytest.mark.skipif("FASTJAC_MNIST" not in os.environ, reason="FASTJAC_MNIST names no folder of IDX files")
def test_mnist_is_told_apart():
    from fastjac.data.datasets import read_idx

    folder = Path(os.environ["FASTJAC_MNIST"])
    files = {part: next(iter(sorted(folder.glob(f"*{part}*")))) for part in ("images", "labels")}
    X = read_idx(files["images"]).reshape(-1, 784).astype(np.float32) / 255
    y = read_idx(files["labels"]).astype(int)
    net = fj.Sequential([fj.Dense(784, 128, activation="relu"), fj.Dense(128, 10)], seed=0)
    net.fit(X[:-2000], y[:-2000], loss="softmax_cross_entropy", optimizer=fj.Adam(1e-3), epochs=20, batch_size=64)
    assert net.evaluate(X[-2000:], y[-2000:], "softmax_cross_entropy")["accuracy"] >= 0.95


def test_progress_prints_a_line_an_epoch_where_there_is_no_terminal(capsys):
    pytest.importorskip("rich")
    X, y = problem("softmax_cross_entropy", 40)
    network().fit(X, y, loss="softmax_cross_entropy", epochs=3, progress=False)
    assert capsys.readouterr() == ("", "")
    network().fit(X, y, loss="softmax_cross_entropy", epochs=3, progress=True)
    text = "".join(capsys.readouterr())
    assert text.count("loss") >= 3


def test_a_small_fit_has_nothing_to_wait_for(monkeypatch):
    """It costs what its steps cost: no pause, no thread."""

    def refuse(*arguments, **options):
        raise AssertionError("something to wait for")

    X, y = problem("softmax_cross_entropy", 32)
    net = network()
    net.fit(X, y, loss="softmax_cross_entropy")  # which may load kernels
    monkeypatch.setattr(time, "sleep", refuse)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    history = net.fit(X, y, loss="softmax_cross_entropy", threads=1, progress=False)
    assert len(history["loss"]) == 1


# --- epochs too short to come back to Python for each -----------------------------------------------------------------


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rows", "batch_size"), [(40, 40), (41, 10), (30, 7)])
def test_epochs_in_one_call_are_those_one_by_one(rows, batch_size, threads, shuffle):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)
    weight = rng.uniform(0.5, 2, rows)

    def trained(callbacks):
        net = fj.Sequential([fj.Dense(5, 8, activation="tanh"), fj.Dropout(0.1), fj.Dense(8, 3)], seed=3)
        histories = [
            net.fit(
                X,
                y,
                loss="softmax_cross_entropy",
                optimizer=optimizer,
                epochs=epochs,
                batch_size=batch_size,
                shuffle=shuffle,
                sample_weight=weight,
                threads=threads,
                callbacks=callbacks,
                l2=1e-3,
            )
            for optimizer in [fj.Adam(fj.exponential_decay(0.01, 0.9, 20))]
            for epochs in (60, 1, 7)
        ]
        return net, histories

    calls = []
    one, of_one = trained([lambda epoch, logs: calls.append(epoch)])
    several, of_several = trained(None)
    assert len(calls) == 68
    assert np.array_equal(one.parameters, several.parameters)
    assert one.epochs_trained == several.epochs_trained == 68
    for a, b in zip(of_one, of_several, strict=True):
        assert a["loss"] == b["loss"]
        assert a["accuracy"] == b["accuracy"]
        assert len(b["seconds"]) == len(b["loss"])


def test_few_calls_are_made_for_many_short_epochs(monkeypatch):
    calls = []
    train = Program.train
    monkeypatch.setattr(Program, "train", lambda *given: calls.append(1) or train(*given))
    net = fj.Sequential([fj.Dense(2, 1)], seed=0)
    net.fit(np.ones((4, 2)), np.ones((4, 1)), loss="mean_squared_error", epochs=500)
    assert len(calls) < 50


def test_a_loss_that_breaks_in_a_later_epoch_leaves_the_network_before_that_batch():
    X = np.linspace(1, 2, 12).reshape(12, 1)

    def trained(callbacks):
        net = fj.Sequential([fj.Dense(1, 1)], seed=0, dtype="float64")
        with pytest.raises(fj.NonFiniteError) as caught:
            net.fit(
                X,
                3 * X,
                loss="mean_squared_error",
                optimizer=fj.SGD(2.0),
                epochs=10_000,
                batch_size=5,
                callbacks=callbacks,
            )
        return net, str(caught.value)

    several, message = trained(None)
    one, same_message = trained([lambda epoch, logs: None])
    assert message == same_message
    assert several.epochs_trained == one.epochs_trained > 1
    assert np.array_equal(several.parameters, one.parameters)
    assert np.isfinite(several.parameters).all()


def test_a_last_step_that_is_too_large_is_told_with_its_epoch():
    X = np.linspace(1, 2, 12).reshape(12, 1)

    def trained(callbacks):
        net = fj.Sequential([fj.Dense(1, 1)], seed=0)
        rate = fj.SGD(lambda step: 1e300 if step == 60 * 3 - 1 else 1e-3)
        with pytest.raises(fj.NonFiniteError, match="the parameters are not finite after epoch 59") as caught:
            net.fit(X, 3 * X, loss="mean_squared_error", optimizer=rate, epochs=60, batch_size=5, callbacks=callbacks)
        assert net.epochs_trained == 59
        return str(caught.value)

    assert trained(None) == trained([lambda epoch, logs: None])


def test_a_loss_that_breaks_in_a_later_epoch_is_told_by_the_rows_of_that_batch():
    """After a step that is too large, rows of one sign leave numbers and those of the other may not."""

    def message(seed, callbacks):
        rng = np.random.default_rng(seed)
        X, y = np.repeat([[1.0], [-1.0]], 4, axis=0), rng.normal(size=(8, 1))
        net = fj.Sequential([fj.Dense(1, 4, activation="relu"), fj.Dense(4, 1)], seed=seed, dtype="float64")
        rate = fj.SGD(lambda step: 1e200 * (step == 8 * 30 + 3))
        try:
            net.fit(X, y, loss="huber", optimizer=rate, epochs=60, batch_size=1, callbacks=callbacks)
        except fj.NonFiniteError as error:
            return str(error)
        return "nothing"

    told = [message(seed, None) for seed in range(40)]
    assert told == [message(seed, [lambda epoch, logs: None]) for seed in range(40)]
    assert sum("in epoch 30, " in one and "come from layers[1] (Dense)" in one for one in told) >= 3
