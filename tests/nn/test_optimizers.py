"""Optimizers against their formulas and against PyTorch, their state, schedules, and what they refuse."""

import copy
import gc
import io
import math
import pickle

import numpy as np
import pytest
from tests_support import use_plan

import fastjac as fj
from fastjac.nn import optimizers


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


def by_formula(
    kind,
    w,
    gradients,
    learning_rate,
    momentum=0.0,
    nesterov=False,
    weight_decay=None,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
):
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


# --- the units in which moments are kept --------------------------------------------------------------------------


def moments_of(optimizer, net):
    """m and v as in the formula."""
    state = optimizer.state(net)
    parts = np.split(state.moments, 2)
    return [part[: net.parameters.size] * unit for part, unit in zip(parts, state.units, strict=True)]


def adam_by_formula(w, steps):
    """w, m and v after some steps, each with a gradient, β₁ and β₂ of its own."""
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, (g, beta_1, beta_2) in enumerate(steps, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        w = w - 0.01 * (m / (1 - beta_1**t)) / (np.sqrt(v / (1 - beta_2**t)) + 1e-8)
    return w, m, v


BETAS = [(0.9, 0.999), (0.9, 0.999), (0.5, 0.999), (0.5, 0.9), (0.0, 0.0), (0.9, 0.5), (0.99, 0.9999), (0.9, 0.999)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_moments_are_those_of_the_formula_where_betas_change_between_steps(dtype, tolerance):
    net, adam = quadratic(dtype), fj.Adam(0.01)
    start = net.parameters.astype(float)
    gradients = np.random.default_rng(1).normal(size=(len(BETAS), 37)).astype(dtype)
    for k, (g, betas) in enumerate(zip(gradients, BETAS, strict=True), start=1):
        net.gradients[:] = g
        adam.beta_1, adam.beta_2 = betas
        adam.step(net)
        steps = [(g.astype(float), *betas) for g, betas in zip(gradients[:k], BETAS, strict=False)]
        w, m, v = adam_by_formula(start, steps)
        np.testing.assert_allclose(net.parameters, w, rtol=0, atol=tolerance)
        for found, wanted in zip(moments_of(adam, net), (m, v), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("path", ["fused", "reference"])
@pytest.mark.parametrize("how", ["by a callback", "between fits", "in a copy"])
def test_betas_may_change_as_training_goes_on(how, path):
    """As in a loop by hand, whose moments are in the formula's terms above."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(32, 4)), rng.normal(size=(32, 2))
    first, second = (0.9, 0.999), (0.6, 0.95)

    def network():
        net = fj.Sequential([fj.Dense(4, 8, activation="tanh"), fj.Dense(8, 2)], seed=0, dtype="float64")
        net.path = path
        return net

    wanted, adam = network(), fj.Adam(0.01)
    for betas in (first, first, second, second):
        adam.beta_1, adam.beta_2 = betas
        wanted.backward(fj.MeanSquaredError()(wanted.forward(X), y)[1])
        adam.step(wanted)

    net, other = network(), fj.Adam(0.01)
    settings = {"loss": "mean_squared_error", "batch_size": 32, "shuffle": False, "progress": False}

    def change(epoch, logs):
        if epoch == 1:
            other.beta_1, other.beta_2 = second

    if how == "by a callback":
        net.fit(X, y, optimizer=other, epochs=4, callbacks=change, **settings)
    else:
        net.fit(X, y, optimizer=other, epochs=2, **settings)
        if how == "in a copy":
            net, other = pickle.loads(pickle.dumps((net, other)))
        other.beta_1, other.beta_2 = second
        net.fit(X, y, optimizer=other, epochs=2, **settings)
    np.testing.assert_allclose(net.parameters, wanted.parameters, rtol=0, atol=1e-14)
    for found, by_hand in zip(moments_of(other, net), moments_of(adam, wanted), strict=True):
        np.testing.assert_allclose(found, by_hand, rtol=1e-10, atol=1e-16)


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


def test_two_copies_of_a_network_share_no_state_of_a_copied_optimizer():
    net, optimizer = classifier(), fj.Adam()
    train(net, optimizer)
    other, first, second = (copy.deepcopy(one) for one in (optimizer, net, net))
    train(first, other)
    moments = other.state(first).moments.copy()
    train(second, other)
    np.testing.assert_array_equal(other.state(first).moments, moments)
    assert other.state(first).counters[0] == 10
    assert other.state(second).counters[0] == 5  # only one of them goes on; the other begins anew


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


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf, None, "slow", [0.1], [0.1, 0.2], np.full(3, 0.1)])
def test_a_schedule_that_gives_nonsense_is_refused_and_nothing_changes(value):
    net, optimizer = quadratic(), fj.SGD(lambda step: 0.1 if step < 1 else value)
    net.gradients[:] = 1
    optimizer.step(net)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"learning_rate gave .* for step 1, expected a finite number ≥ 0"):
        optimizer.step(net)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("value", [[0.1], [0.1, 0.2], "0.x", (0.1, 0.2, 0.3, 0.4)])
def test_a_schedule_that_gives_lists_is_refused_by_fit(value):
    """The first numbers of the lists would be the rates of other steps."""
    net, optimizer = fj.Sequential([fj.Dense(2, 1)], seed=0), fj.SGD(lambda step: value)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"learning_rate gave .* for step 0, expected a finite number ≥ 0"):
        net.fit(np.ones((8, 2)), np.ones(8), loss="mean_squared_error", optimizer=optimizer, batch_size=2)
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
    net.parameters[:3] = [0.0, -0.0, np.finfo(np.float32).tiny]
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
        (lambda: fj.SGD(0.1, momentum=1.5), ValueError, r"momentum is 1.5, expected a finite number in \[0, 1\]"),
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


# --- numbers at the ends of their range ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", ["overflow", "underflow", "usual"])
def test_the_norm_is_right_where_squares_leave_the_range_of_their_type(dtype, power):
    """A norm of 1e20 in float32 was infinite, and the clipped step 0, though the gradient was to be scaled down."""
    scale = {"float32": {"overflow": 1e20, "underflow": 1e-25}, "float64": {"overflow": 1e160, "underflow": 1e-180}}
    factor = scale[dtype].get(power, 1.0)
    for size in (1, 15, 16, 17, 1000, 1025):
        net = fj.Sequential([fj.Dense(size, 1, bias=False)], seed=0, dtype=dtype)
        net.parameters[:] = 0
        shape = np.random.default_rng(size).normal(size=size)
        net.gradients[:] = shape * factor
        limit = factor * 1e-2
        assert fj.SGD(1.0, clip_norm=limit).step_at(net, 1.0)
        expected = -shape / np.linalg.norm(shape) * limit
        np.testing.assert_allclose(net.parameters, expected, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("threads_as_asked")
def test_an_infinite_gradient_that_is_to_be_clipped_is_told_before_the_step(whole, threads):
    """The loss is finite, (1e19)², and its gradient 2e19·1e20 is not."""
    X, y = np.array([[0.0], [0.0], [1e20], [0.0]]), np.zeros((4, 1))
    net = fj.Sequential([fj.Dense(1, 1)], seed=0)
    use_plan(whole, net)
    net.parameters[:] = 0.05, 1.0
    optimizer = fj.SGD(1e-3, clip_norm=1.0)
    with pytest.raises(fj.NonFiniteError, match=r"the gradient is not finite in epoch 0, batch 1, though the loss is"):
        net.fit(X, y, loss="mean_squared_error", optimizer=optimizer, batch_size=2, shuffle=False, threads=threads)
    assert np.isfinite(net.parameters).all()
    assert optimizer.state(net).counters[0] == 1
    before = net.parameters.copy()
    _, d = fj.losses.get("mean_squared_error")(net.forward(X[2:]), y[2:])
    net.backward(d)
    with pytest.raises(fj.NonFiniteError, match="nothing was changed"):
        optimizer.step(net)
    np.testing.assert_array_equal(net.parameters, before)
    assert optimizer.state(net).counters[0] == 1


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_step_beyond_the_range_of_numbers_is_told_in_its_epoch_and_by_what_it_is(whole, epochs):
    """As above without clipping: the parameters become infinite by a batch whose loss is finite."""
    for rows, words in (
        ([0.0, 1e20], r"parameters are not finite after epoch 0"),
        ([1e20, 0.0], r"parameters are not finite either: the batch before had a finite loss"),
    ):
        net = fj.Sequential([fj.Dense(1, 1)], seed=0)
        use_plan(whole, net)
        net.parameters[:] = 0.05, 1.0
        with pytest.raises(fj.NonFiniteError, match=words):
            net.fit(
                np.array(rows)[:, None],
                np.zeros((2, 1)),
                loss="mean_squared_error",
                optimizer=fj.SGD(1e-3),
                batch_size=1,
                shuffle=False,
                epochs=epochs,
            )


@pytest.mark.parametrize("epsilon", [0.0, 1e-30, 1e-16, 1e-8])
@pytest.mark.parametrize("size", [1e-5, 1e-12, 1e-17, 1e-19, 1e-25, 1e-38])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_never_takes_a_huge_step_for_a_tiny_gradient(epsilon, size, dtype):
    """The mean square of a gradient of 1e-19 is 0 in float32, and 1e-19 over an epsilon of 1e-30 was a step of 1e11."""
    net = fj.Sequential([fj.Dense(17, 1, bias=False)], seed=0, dtype=dtype)
    net.parameters[:] = 0
    optimizer = fj.Adam(1.0, epsilon=epsilon)
    for _ in range(3):
        net.gradients[:] = size
        before = net.parameters.copy()
        optimizer.step(net)
        step = np.abs(net.parameters - before)
        assert (step <= 1.01 * size / (size + epsilon)).all()
        if dtype == "float64" or size >= 1e-12:  # where the mean square is a normal number, it is Adam's
            np.testing.assert_allclose(step, size / (size + epsilon), rtol=2e-5)


@pytest.mark.parametrize("size", [2e-20, 1e-19, 2.1e-19, 2.4e-19, 3e-19, 5e-19, 1e-18, 1e-17, 1e-15, 1e-13])
def test_nor_in_the_long_run(size):
    """Where a mean square is no more than some multiples of what is kept of it, it stays too small for good."""
    net = fj.Sequential([fj.Dense(17, 1, bias=False)], seed=0)
    optimizer = fj.Adam(1.0, epsilon=0)
    net.gradients[:] = size
    for step in range(5000):
        net.parameters[:] = 0
        optimizer.step(net)
        assert np.abs(net.parameters).max() <= 1.01, step


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("epsilon", [1e30, 1e37, 3e38, 1e300])
def test_an_epsilon_near_the_largest_numbers_stops_adam(epsilon, dtype):
    """Divided by what √v is kept in, it is one that float32 does not have."""
    net, adam = quadratic(dtype), fj.Adam(0.1, epsilon=epsilon)
    before = net.parameters.copy()
    for _ in range(3):
        net.gradients[:] = 1
        adam.step(net)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("make", [lambda: fj.SGD(0.1), lambda: fj.SGD(0.1, momentum=0.9), lambda: fj.Adam(0.1)])
def test_numbers_below_the_normal_ones_count_as_0_in_a_loop_by_hand_as_in_fit(make):
    tiny = float(np.finfo(np.float32).tiny)
    rng = np.random.default_rng(0)
    X = rng.choice([0.0, tiny / 8, tiny / 2, tiny, 1.0, -tiny / 4], size=(64, 5))
    y = rng.choice([0.0, tiny / 2, 1.0], size=(64, 3))
    results = []
    for by_hand in (False, True):
        net = fj.Sequential([fj.Dense(5, 9, activation="relu"), fj.Dense(9, 3)], seed=0)
        net.parameters[::7] = tiny / 4
        optimizer = make()
        if by_hand:
            loss = fj.losses.get("mean_squared_error")
            for first in range(0, 64, 16):
                rows = slice(first, first + 16)
                net.backward(loss(net.forward(X[rows]), y[rows])[1])
                optimizer.step(net)
        else:
            net.fit(X, y, loss="mean_squared_error", optimizer=optimizer, batch_size=16, shuffle=False)
        results.append((net.parameters, net.predict(X)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_a_gradient_that_passes_below_the_normal_numbers_on_its_way_down_is_0_by_hand_as_in_fit():
    """What it is multiplied by further down would make it a normal number again."""
    X, y, results = [[1e15]], [[1e-20]], []
    for by_hand in (False, True):
        net, optimizer = fj.Sequential([fj.Dense(1, 1), fj.Dense(1, 1)], seed=0), fj.SGD(1.0)
        net.parameters[:] = 0
        net.layers[1].weight[:] = 1e-25
        if by_hand:
            net.backward(fj.MeanSquaredError()(net.forward(X), y)[1])
            optimizer.step(net)
        else:
            net.fit(X, y, loss="mean_squared_error", optimizer=optimizer)
        results.append(net.parameters)
    assert results[0].any()
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("often", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "large"), [("float32", 1e25), ("float32", 3e38), ("float64", 1e200), ("float64", 1.7e308)]
)
def test_a_gradient_whose_square_overflows_moves_adam_no_more(dtype, large, often):
    """As in PyTorch and by the formula: m / √inf is 0, now and in all steps to come. The sum of gradients that is kept
    for m may overflow as well, to both sides."""
    net = fj.Sequential([fj.Dense(19, 3)], dtype=dtype, seed=0)
    adam = fj.Adam(0.1)
    start = net.parameters.copy()
    for k in range(12):
        net.gradients[:] = 1
        if k < often or k > 9:
            net.gradients[7] = large if k < 9 else -large
        adam.step(net)
    assert net.parameters[7] == start[7]
    assert (np.delete(net.parameters - start, 7) < -0.1).all()


@pytest.mark.parametrize(
    "make", [lambda limit: fj.SGD(1.0, clip_norm=limit), lambda limit: fj.AdamW(1.0, clip_norm=limit)]
)
@pytest.mark.parametrize("limit", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("size", [1e30, 1e35, 1e37, 1e38, 3e38])
def test_a_gradient_near_the_largest_numbers_is_clipped_to_the_limit(make, limit, size):
    """The factor is then below what float32 holds, the clipped gradient is not."""
    net = fj.Sequential([fj.Dense(2, 2, bias=False, weight_init=np.zeros((2, 2)))], seed=0)
    net.gradients[:] = [size, -size, size, -size]
    optimizer = make(limit)
    optimizer.step(net)
    if isinstance(optimizer, fj.SGD):
        np.testing.assert_allclose(net.parameters, [-limit / 2, limit / 2] * 2, rtol=1e-6)
    else:
        assert (np.sign(net.parameters) == [-1, 1, -1, 1]).all()
        m, _ = moments_of(optimizer, net)
        np.testing.assert_allclose(m, np.array([limit / 2, -limit / 2] * 2) * 0.1, rtol=1e-5)


@pytest.mark.parametrize("make", [fj.Huber, lambda: fj.QuantileLoss(0.5)])
def test_a_losss_number_that_a_callback_changes_counts_from_the_next_step_on(make):
    def losses(loss, change):
        def between(epoch, logs):
            if change is not None and epoch == 1:
                name = "delta" if isinstance(loss, fj.Huber) else "quantile"
                setattr(loss, name, change)

        net = fj.Sequential([fj.Dense(1, 1, weight_init=np.zeros((1, 1)))], seed=0, dtype="float64")
        X, y = np.ones((4, 1)), np.full(4, 5.0)
        return net.fit(X, y, loss=loss, optimizer=fj.SGD(1e-9), epochs=4, validation_data=(X, y), callbacks=between)

    history = losses(make(), 0.25)
    assert history["loss"][:2] == pytest.approx(losses(make(), None)["loss"][:2])
    np.testing.assert_allclose(history["loss"][2:], history["val_loss"][2:], rtol=1e-6)
    assert abs(history["loss"][2] - history["loss"][1]) > 0.5


def test_an_optimizer_that_training_would_not_call_is_refused():
    class Signed(fj.SGD):
        def step_at(self, network, rate):
            network.parameters -= rate * np.sign(network.gradients)
            return True

    class Loud(fj.Adam):
        def step(self, network):
            super().step(network)

    class Scaled(fj.SGD):
        """Only its settings are its own."""

        def settings(self):
            return super().settings()

    net = fj.Sequential([fj.Dense(2, 1)], seed=0)
    X, y = np.zeros((3, 2)), np.zeros(3)
    for optimizer, name in ((Signed(), "step_at"), (Loud(), "step")):
        with pytest.raises(TypeError, match=rf"{type(optimizer).__name__} has a {name} of its own"):
            net.fit(X, y, loss="huber", optimizer=optimizer)
    with pytest.raises(TypeError, match="Optimizer is a base of optimizers"):
        net.fit(X, y, loss="huber", optimizer=fj.optimizers.Optimizer(0.1, None))
    assert net.fit(X, y, loss="huber", optimizer=Scaled(), progress=False)["loss"]
