"""The penalty on weights, l1·Σ|w| + l2/2·Σw² over the batch's sum of weights: in kernels and layer by layer."""

from itertools import pairwise

import numpy as np
import pytest
from tests_support import use_plan

import fastjac as fj


def _network(dtype="float64"):
    layers = [fj.Dense(6, 9, activation="tanh"), fj.Dense(9, 4)]
    return fj.Sequential(layers, seed=3, dtype=dtype)


def _data(samples=40):
    rng = np.random.default_rng(1)
    return rng.normal(size=(samples, 6)), rng.integers(0, 4, samples), rng.uniform(0.2, 2, samples)


def _torch_losses(net, X, y, weight, l1, l2, epochs, batch, clip=None):
    """The same training in PyTorch: the loss of each epoch, and the parameters."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layers = []
    for dense in net.layers:
        linear = torch.nn.Linear(dense.inputs, dense.outputs, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(dense.weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(dense.bias.copy()))
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    tX, ty, tw = torch.from_numpy(X), torch.from_numpy(y), torch.from_numpy(weight)
    history = []
    for _ in range(epochs):
        total = weights = 0.0
        for first in range(0, len(X), batch):
            rows = slice(first, first + batch)
            losses = torch.nn.functional.cross_entropy(model(tX[rows]), ty[rows], reduction="none")
            penalty = sum(l1 * m.weight.abs().sum() + l2 / 2 * m.weight.square().sum() for m in model[::2])
            value = ((tw[rows] * losses).sum() + penalty) / tw[rows].sum()
            sgd.zero_grad()
            value.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            sgd.step()
            total += value.item() * float(tw[rows].sum())
            weights += float(tw[rows].sum())
        history.append(total / weights)
    return history, [m.weight.detach().numpy().T for m in model[::2]]


@pytest.mark.parametrize("whole", [True, False], ids=["compiled", "by layers"])
@pytest.mark.parametrize("batch", [7, 40], ids=["batches", "full"])
@pytest.mark.parametrize("clip", [None, 0.1], ids=["", "clipped"])
@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.7), (0.2, 0.4)])
def test_training_with_a_penalty_is_pytorchs(l1, l2, clip, batch, whole):
    X, y, weight = _data()
    net = _network()
    use_plan(whole, net)
    wanted, weights = _torch_losses(net, X, y, weight, l1, l2, 4, batch, clip)
    history = net.fit(
        X,
        y,
        loss="softmax_cross_entropy",
        optimizer=fj.SGD(0.1, momentum=0.9, clip_norm=clip),
        epochs=4,
        batch_size=batch,
        sample_weight=weight,
        shuffle=False,
        l1=l1,
        l2=l2,
        progress=False,
    )
    # float64 in another order of additions: a few units of 1e-16 a step, carried along
    # with clipping, PyTorch divides by the norm + 1e-6
    np.testing.assert_allclose(history["loss"], wanted, rtol=1e-4 if clip else 1e-11)
    for dense, W in zip(net.layers, weights, strict=True):
        np.testing.assert_allclose(dense.weight, W, rtol=1e-3 if clip else 1e-9, atol=1e-12)


@pytest.mark.usefixtures("threads_as_asked")
def test_a_large_batch_is_penalized_once_and_threads_change_no_bit():
    X, y, _ = _data(1500)  # six chunks
    ended = []
    for threads in (1, 2, 3):
        net = _network("float32")
        history = net.fit(
            X,
            y,
            loss="softmax_cross_entropy",
            epochs=3,
            batch_size=1500,
            l1=0.5,
            l2=2.0,
            threads=threads,
            progress=False,
        )
        ended.append((history["loss"], net.parameters.copy()))
    for (loss, parameters), (other_loss, other) in pairwise(ended):
        assert loss == other_loss
        np.testing.assert_array_equal(parameters, other)
    net = _network("float32")
    use_plan(False, net)
    by_layers = net.fit(X, y, loss="softmax_cross_entropy", epochs=3, batch_size=1500, l1=0.5, l2=2.0, progress=False)
    np.testing.assert_allclose(ended[0][0], by_layers["loss"], rtol=1e-5)  # float32


@pytest.mark.parametrize(("name", "value"), [("l1", -1.0), ("l2", float("nan")), ("l2", "much")])
def test_a_penalty_that_is_no_number_is_refused(name, value):
    X, y, _ = _data()
    net = _network()
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match=rf"{name} is"):
        net.fit(X, y, loss="softmax_cross_entropy", progress=False, **{name: value})
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(("penalty", "expected"), [({"l1": 1e-30}, 1e-30 * 2e20), ({"l2": 1e-38}, 0.5e-38 * 2e40)])
def test_the_penalty_of_weights_whose_squares_overflow(penalty, expected):
    net = fj.Sequential([fj.Dense(2, 1, bias=False, weight_init=1e20)], seed=0)
    history = net.fit(np.zeros((1, 2)), np.zeros(1), loss="mean_squared_error", optimizer=fj.SGD(1e-30), **penalty)
    assert history["loss"] == pytest.approx([expected], rel=1e-6)
