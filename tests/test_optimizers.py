"""Optimizers against their formulas and against PyTorch, their state, schedules, and what they refuse."""

import copy
import gc
import io
import math
import pickle

import numpy as np
import pytest

import fastjac as fj
from fastjac import optimizers


def quadratic(dtype="float64", size=37):
    """A network that is nothing but a vector of parameters."""
    net = fj.Sequential([fj.Dense(1, size, bias=False)], seed=0, dtype=dtype)
    net.parameters[:] = np.random.default_rng(0).normal(size=size)
    return net


SETTINGS = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
    ("Adam", {"learning_rate": 0.01}),
    ("Adam", {"learning_rate": 0.01, "weight_decay": 0.1}),
    ("Adam", {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adam", {"learning_rate": 0.01, "beta_1": 0.0, "beta_2": 0.0}),
    ("AdamW", {"learning_rate": 0.01}),
    ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.3}),
]


def by_formula(kind, w, gradients, learning_rate, momentum=0.0, nesterov=False, weight_decay=None, beta_1=0.9,
               beta_2=0.999, epsilon=1e-8):  # fmt: skip
    decay = {"AdamW": 0.01}.get(kind, 0.0) if weight_decay is None else weight_decay
    w, v, m = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        if kind == "AdamW":
            w = w - learning_rate * decay * w
        else:
            g = g + decay * w
        if kind == "SGD":
            v = momentum * v + g
            w = w - learning_rate * (g + momentum * v if nesterov else v)
        else:
            m = beta_1 * m + (1 - beta_1) * g
            v = beta_2 * v + (1 - beta_2) * g * g
            w = w - learning_rate * (m / (1 - beta_1**t)) / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
    return w


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("size", [1, 7, 16, 37, 300])
def test_steps_are_those_of_the_formula(kind, settings, dtype, tolerance, size):
    net = quadratic(dtype, size)
    start = net.parameters.copy()
    gradients = np.random.default_rng(1).normal(size=(8, size)).astype(dtype)
    optimizer = getattr(fj, kind)(**settings)
    for g in gradients:
        net.gradients[:] = g
        optimizer.step(net)
        np.testing.assert_array_equal(net.gradients, g)
    expected = by_formula(kind, start.astype(float), gradients.astype(float), **settings)
    np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_steps_are_those_of_pytorch(kind, settings):
    torch = pytest.importorskip("torch")
    net = quadratic()
    leaf = torch.tensor(net.parameters.copy(), requires_grad=True)
    theirs = {k: v for k, v in settings.items() if not k.startswith(("beta", "eps", "learning"))}
    if "beta_1" in settings:
        theirs["betas"] = settings["beta_1"], settings["beta_2"]
    if "epsilon" in settings:
        theirs["eps"] = settings["epsilon"]
    peer = getattr(torch.optim, kind)([leaf], lr=settings["learning_rate"], **theirs)
    optimizer = getattr(fj, kind)(**settings)
    for g in np.random.default_rng(1).normal(size=(8, 37)):
        net.gradients[:] = g
        optimizer.step(net)
        leaf.grad = torch.tensor(g)
        peer.step()
    np.testing.assert_allclose(net.parameters, leaf.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [0.5, 3.0])
def test_a_gradient_longer_than_clip_norm_is_scaled_down(dtype, length):
    net = quadratic(dtype)
    start = net.parameters.copy()
    g = np.random.default_rng(1).normal(size=37)
    net.gradients[:] = g * length / np.linalg.norm(g)
    fj.SGD(1.0, clip_norm=1.0).step(net)
    moved = start - net.parameters
    assert np.linalg.norm(moved) == pytest.approx(min(length, 1.0), rel=1e-5)
    np.testing.assert_allclose(moved / np.linalg.norm(moved), g / np.linalg.norm(g), atol=1e-5)


def test_state_belongs_to_a_network_and_goes_with_it():
    optimizer = fj.Adam(0.1)
    first, second, alone = quadratic(), quadratic(), quadratic()
    for net in (first, first, second):
        net.gradients[:] = 1
        optimizer.step(net)
    own = fj.Adam(0.1)
    alone.gradients[:] = 1
    own.step(alone)
    np.testing.assert_array_equal(second.parameters, alone.parameters)
    assert optimizer.state(first).counters[0] == 2
    assert optimizer.state(second).counters[0] == 1
    assert len(optimizer._states) == 2
    del first, net
    gc.collect()
    assert len(optimizer._states) == 1


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "old pickle": lambda one: pickle.loads(pickle.dumps(one, 2)),
}


def classifier(dtype="float32", seed=0):
    layers = [fj.Dense(6, 9, activation="silu"), fj.Dropout(0.2), fj.Dense(9, 3)]
    return fj.Sequential(layers, seed=seed, dtype=dtype)


def train(net, optimizer, epochs=1, shift=0):
    rng = np.random.default_rng(7 + shift)
    X, y = rng.normal(size=(70, 6)), rng.integers(0, 3, 70)
    return net.fit(X, y, loss="softmax_cross_entropy", optimizer=optimizer, epochs=epochs, batch_size=16)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_a_copy_of_a_network_and_its_optimizer_goes_on_to_the_same_bits(how, together, kind, settings):
    net, optimizer = classifier(), getattr(fj, kind)(**settings)
    train(net, optimizer, 2)
    if together and how != "copy":
        held = COPIES[how]({"optimizer": optimizer, "network": net})
        twin, other = held["network"], held["optimizer"]
    else:
        other, twin = COPIES[how](optimizer), COPIES[how](net)
    assert other.steps == optimizer.steps == 10
    moments = optimizer.state(net).moments.copy()
    train(twin, other, 2, 1)
    np.testing.assert_array_equal(optimizer.state(net).moments, moments)  # a copy has memory of its own
    train(net, optimizer, 2, 1)
    np.testing.assert_array_equal(twin.parameters, net.parameters)
    np.testing.assert_array_equal(other.state(twin).moments, optimizer.state(net).moments)
    assert other.steps == optimizer.steps == 20
    # and it was the moments that did it: an optimizer made anew goes elsewhere
    if kind == "Adam" and len(settings) == 1:
        begun_anew = classifier()
        train(begun_anew, getattr(fj, kind)(**settings), 2)
        train(begun_anew, getattr(fj, kind)(**settings), 2, 1)
        assert not np.array_equal(begun_anew.parameters, net.parameters)


def test_a_copy_of_a_copy_that_was_never_used_remembers_too():
    net, optimizer = classifier(), fj.Adam()
    train(net, optimizer)
    twin, other = pickle.loads(pickle.dumps((net, copy.deepcopy(pickle.loads(pickle.dumps(optimizer))))))
    assert other.state(twin).moments.ctypes.data % 64 == 0
    for one, its in ((net, optimizer), (twin, other)):
        train(one, its, 1, 1)
    np.testing.assert_array_equal(twin.parameters, net.parameters)


def test_a_copied_optimizer_begins_anew_with_another_network_or_type():
    net, optimizer = classifier(), fj.Adam()
    train(net, optimizer)
    other = copy.deepcopy(optimizer)
    for stranger in (classifier(), classifier("float64")):
        assert other.state(stranger).counters[0] == 0
        assert not other.state(stranger).moments.any()
    assert other.state(net).counters[0] == 5  # a copy of the optimizer alone knows the network itself


def test_an_optimizer_with_a_schedule_can_be_pickled():
    for schedule in (fj.cosine_decay(0.1, 30, warmup=3), fj.exponential_decay(0.1, 0.5, 10)):
        net, optimizer = classifier(), fj.AdamW(schedule)
        train(net, optimizer)
        twin, other = pickle.loads(pickle.dumps((net, optimizer)))
        for one, its in ((net, optimizer), (twin, other)):
            train(one, its, 1, 1)
        np.testing.assert_array_equal(twin.parameters, net.parameters)


def test_steps_are_those_taken_with_the_network_used_last():
    optimizer = fj.SGD(0.1)
    assert optimizer.steps == 0
    first, second = classifier(), classifier(seed=1)
    train(first, optimizer, 2)
    assert optimizer.steps == 10
    second.gradients[:] = 0
    optimizer.step(second)
    assert optimizer.steps == 1
    train(first, optimizer)
    assert optimizer.steps == 15
    assert "steps" not in repr(optimizer)


def test_an_optimizer_without_its_network_is_small():
    net, optimizer = classifier(), fj.Adam()
    train(net, optimizer)
    file = io.BytesIO()
    pickle.dump(optimizer, file)
    moments = optimizer.state(net).moments.nbytes
    assert moments <= len(file.getvalue()) < moments + 2000
    del net
    gc.collect()
    assert len(pickle.dumps(optimizer)) < 2000


def test_a_schedule_is_asked_for_every_step_from_0_on():
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1 / (1 + step)

    net, optimizer = quadratic(), fj.SGD(schedule)
    start = net.parameters.copy()
    net.gradients[:] = 1
    for _ in range(4):
        optimizer.step(net)
    assert asked == [0, 1, 2, 3]
    np.testing.assert_allclose(start - net.parameters, 0.1 * (1 + 1 / 2 + 1 / 3 + 1 / 4), rtol=1e-12)


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf])
def test_a_schedule_that_gives_nonsense_is_refused_and_nothing_changes(value):
    net, optimizer = quadratic(), fj.SGD(lambda step: 0.1 if step < 1 else value)
    net.gradients[:] = 1
    optimizer.step(net)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"learning_rate gave .* for step 1, expected a finite number ≥ 0"):
        optimizer.step(net)
    np.testing.assert_array_equal(net.parameters, before)


def test_schedules():
    decay = fj.exponential_decay(0.5, 0.1, 10)
    assert [decay(0), decay(10), decay(20)] == pytest.approx([0.5, 0.05, 0.005])
    cosine = fj.cosine_decay(1.0, 110, end=0.2, warmup=10)
    assert cosine(0) == pytest.approx(0.1)
    assert cosine(9) == cosine(10) == 1.0
    assert cosine(60) == pytest.approx(0.6)
    assert cosine(110) == cosine(10**6) == pytest.approx(0.2)


@pytest.mark.parametrize("learning_rate", [0.0, lambda step: 0.0])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_a_learning_rate_of_0_leaves_the_bits(kind, learning_rate):
    net = quadratic("float32")
    net.parameters[:3] = [0.0, -0.0, 1e-40]
    before = net.parameters.view(np.int32).copy()
    net.gradients[:] = 1
    getattr(fj, kind)(learning_rate).step(net)
    np.testing.assert_array_equal(net.parameters.view(np.int32), before)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fj.SGD(-0.1), ValueError, "learning_rate is -0.1, expected a finite number in"),
        (lambda: fj.SGD(math.nan), ValueError, "learning_rate is nan"),
        (lambda: fj.Adam("fast"), TypeError, "learning_rate is 'fast'"),
        (lambda: fj.SGD(0.1, momentum=1.0), ValueError, r"momentum is 1.0, expected a finite number in \[0, 1\)"),
        (lambda: fj.SGD(0.1, nesterov=True), ValueError, "nesterov needs a momentum above 0; momentum is 0"),
        (lambda: fj.SGD(0.1, weight_decay=-1), ValueError, "weight_decay is -1.0"),
        (lambda: fj.Adam(beta_1=1), ValueError, "beta_1 is 1.0"),
        (lambda: fj.Adam(beta_2=-0.1), ValueError, "beta_2 is -0.1"),
        (lambda: fj.Adam(epsilon=-1e-8), ValueError, "epsilon is -1e-08"),
        (lambda: fj.Adam(clip_norm=0), ValueError, "clip_norm is 0, expected a positive number"),
        (lambda: fj.AdamW(weight_decay=math.inf), ValueError, "weight_decay is inf"),
        (lambda: fj.exponential_decay(0.1, 0.5, 0), ValueError, "steps is 0"),
        (lambda: fj.cosine_decay(0.1, 5, warmup=5), ValueError, "steps is 5, expected at least 6"),
        (lambda: optimizers.get("adamw2"), ValueError, "unknown optimizer 'adamw2'; did you mean 'adamw'"),
        (lambda: optimizers.get(0.1), TypeError, "optimizer is 0.1, expected a name"),
    ],
)
def test_settings_out_of_range_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_optimizers_are_found_by_name_class_or_object_and_show_their_settings():
    assert isinstance(optimizers.get("adam"), fj.Adam)
    assert isinstance(optimizers.get(fj.AdamW), fj.AdamW)
    mine = fj.SGD(0.2)
    assert optimizers.get(mine) is mine
    assert "momentum=0.9" in repr(fj.SGD(0.1, momentum=0.9))


def test_step_refuses_what_is_no_network():
    with pytest.raises(TypeError, match="network"):
        fj.Adam().step(np.zeros(3))
