"""The compiled training step against the layers one by one, to the bit, on both sides of every threshold by size.

``.ci/run`` runs this file compiled for other processors as well: registers of other widths take other tiles and blocks.
"""

import hashlib
import itertools
import re
from contextlib import contextmanager, nullcontext

import numba
import numpy as np
import pytest
from fastjac.kernels import simd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests_support import use_plan

import fastjac as fj
from fastjac.nn import program

WIDTHS = (1, 3, 15, 16, 17, 64, 128, 160, 161, 200, 300, 496, 500, 784)
ROWS = (1, 2, 31, 64, 248, 249, 255, 256, 257, 600)
CLIPPED, KEPT, PENALIZED = {"clip_norm": 1e-3}, {"keep": True}, {"l1": 1e-3, "l2": 1e-2}
MODES = {"plain": {}, "clipped": CLIPPED, "kept": KEPT, "penalized": PENALIZED, "all": CLIPPED | KEPT | PENALIZED}


class Keep(fj.Callback):
    """Looks at the gradients of each batch, so that they are kept."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, batch, logs):
        self.seen.append(self.network.gradients.copy())


def make(inputs, outputs, first, dtype, activation="relu", dropout=0.0):
    """A network whose layer of interest, inputs × outputs, is the first or a later one."""
    if first:
        layers = [fj.Dense(inputs, outputs, activation=activation), fj.Dense(outputs, 2)]
    else:
        layers = [fj.Dense(3, inputs, activation=activation), fj.Dense(inputs, outputs)]
    if dropout:
        layers.insert(1, fj.Dropout(dropout))
    return fj.Sequential(layers, seed=inputs + outputs, dtype=dtype)


@numba.njit
def flush():
    return simd.flush_subnormals()


@numba.njit
def restore(before):
    simd.restore_subnormals(before)


@contextmanager
def subnormals_as_0():
    """As they count in whole networks; in a network that diverges they stand beside numbers that make much of them."""
    before = flush()
    try:
        yield
    finally:
        restore(before)


def step(net, X, y, batch, optimizer, threads=1, whole=True, keep=False, weight=None, shuffle=False, **options):
    """One epoch by one of the two routes: parameters, moments, losses, and the gradients where they are kept."""
    use_plan(whole, net)
    clip = options.pop("clip_norm", None)
    made = optimizer(clip)
    callback = Keep()
    with nullcontext() if whole else subnormals_as_0():
        history = net.fit(
            X,
            y,
            loss="mean_squared_error",
            optimizer=made,
            batch_size=batch,
            shuffle=shuffle,
            threads=threads,
            sample_weight=weight,
            callbacks=[callback] if keep else None,
            progress=False,
            **options,
        )
    return [net.parameters.copy(), made.state(net).moments.copy(), np.array(history["loss"]), *callback.seen]


def same(one, other, what):
    for a, b in zip(one, other, strict=True):
        if not np.array_equal(a, b):
            different = np.flatnonzero(a != b)
            raise AssertionError(f"{what}: {different.size} of {a.size} numbers differ, the first at {different[0]}")


def data(net, rows, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, net.inputs)).astype(net.dtype)
    return X, rng.normal(size=(rows, net.outputs)).astype(net.dtype)


def sgd(clip):
    return fj.SGD(0.5, clip_norm=clip)


def adam(clip):
    return fj.Adam(0.01, clip_norm=clip)


def by_both_routes(inputs, outputs, rows, first, dtype, make_optimizer, setting):
    net = make(inputs, outputs, first, dtype)
    X, y = data(net, rows)
    start = net.parameters.copy()
    results = []
    for whole, threads in ((False, 1), (True, 1), (True, 2), (True, 3)):
        net.parameters[:] = start
        results.append(step(net, X, y, 600, make_optimizer, threads, whole, **setting))
        what = f"{inputs} × {outputs}, first {first}, {dtype}, {setting}, {threads} threads"
        same(results[-1], results[0], what)


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("outputs", WIDTHS)
def test_a_step_has_the_bits_of_the_layers_one_by_one(outputs, rows):
    """Every width comes with every number of rows, and with every other width and every setting for some of them."""
    turn = WIDTHS.index(outputs) + 3 * ROWS.index(rows)
    others = [mode for mode in MODES if mode != "plain"]
    for k, (first, dtype) in enumerate(itertools.product((True, False), ("float32", "float64"))):
        inputs, make_optimizer = WIDTHS[(turn + 5 * k) % len(WIDTHS)], (sgd, adam)[(turn + k) % 2]
        for mode in ("plain", others[(turn + k) % len(others)]):
            by_both_routes(inputs, outputs, rows, first, dtype, make_optimizer, MODES[mode])


@pytest.mark.slow
@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("outputs", WIDTHS)
def test_a_step_has_these_bits_with_every_setting(outputs, rows):
    """All 13,440 of width × rows × first or later layer × type × clipping × kept gradients × penalties × threads; the
    layer's other width and the optimizer take turns. With many rows, most other widths are at most 200.

    ``.ci/run`` runs it for the processors that it names: ``pytest -m slow tests/training/test_training_bits.py -k
    every``.
    """
    narrow = [width for width in WIDTHS if width <= 200]
    every = itertools.product((True, False), ("float32", "float64"), ({}, CLIPPED), ({}, KEPT), ({}, PENALIZED))
    for k, (first, dtype, clip, keep, penalty) in enumerate(every, WIDTHS.index(outputs) + 3 * ROWS.index(rows)):
        others = WIDTHS if rows <= 64 or k % 5 == 0 else narrow
        inputs, make_optimizer = others[3 * k % len(others)], (sgd, adam)[k // 3 % 2]
        by_both_routes(inputs, outputs, rows, first, dtype, make_optimizer, clip | keep | penalty)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rows", [248, 249, 255, 256])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 160), (64, 200), (128, 256), (70, 496), (66, 497), (784, 300)])
def test_a_wide_layers_gradient_is_whole_where_x_is_copied_as_tiles(inputs, outputs, rows, first):
    """In ``learning.learn``, the last tile of X lay under the gradient where 64 is no multiple of a tile's rows."""
    for dtype in ("float32", "float64"):
        net = make(inputs, outputs, first, dtype)
        X, y = data(net, rows)
        expected = step(net, X, y, rows, sgd, whole=False)
        same(step(make(inputs, outputs, first, dtype), X, y, rows, sgd), expected, dtype)


# --- threads ------------------------------------------------------------------------------------------------------

SETTINGS = [
    {},
    {"clip_norm": 1e-3},
    {"l1": 1e-3, "l2": 1e-2},
    {"weight": True},
    {"dropout": 0.3},
    {"keep": True},
    {"clip_norm": 1e-3, "l2": 1e-2, "weight": True, "dropout": 0.3, "keep": True},
]


def train(threads, rows, batch, setting, optimizer=adam, sizes=(41, 37, 25), epochs=2, dtype="float32"):
    setting = dict(setting)
    inputs, hidden, outputs = sizes
    layers = [fj.Dense(inputs, hidden, activation="gelu"), fj.Dense(hidden, outputs)]
    if rate := setting.pop("dropout", 0):
        layers.insert(1, fj.Dropout(rate))
    net = fj.Sequential(layers, seed=1, dtype=dtype)
    X, y = data(net, rows)
    weight = None
    if setting.pop("weight", False):
        weight = np.linspace(0, 1, rows) * (np.arange(rows) % 7 > 0) + 1e-3
    return step(net, X, y, batch, optimizer, threads, weight=weight, shuffle=True, epochs=epochs, **setting)


@pytest.fixture(params=["as shipped", "by rows", "by tiles"])
def ways(request, monkeypatch):
    """How threads share the work: by the rule, each rows of its own, or all together the tiles of each product."""
    request.getfixturevalue("threads_as_asked")
    if request.param != "as shipped":
        answer = request.param == "by rows"
        monkeypatch.setattr(program.Program, "_by_rows", lambda self, batch_size, threads: answer)
    return request.param


@pytest.mark.parametrize("rest", [0, 1, 255, 256, 257])
@pytest.mark.parametrize("batch", [512, 1536])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: "+".join(one) or "plain")
@pytest.mark.usefixtures("ways")
def test_any_number_of_threads_gives_the_same_bits(setting, batch, rest):
    """Whatever is left for the last batch: fewer rows than a chunk are a step like any other. Reliability test 17."""
    expected = train(1, batch + rest, batch, setting)
    for threads in (2, 3, 8):
        same(train(threads, batch + rest, batch, setting), expected, f"{threads} threads")


@pytest.mark.parametrize("rows", [954 + 42, 954 + 256, 954 + 257, 2 * 954])
@pytest.mark.parametrize("threads", [2, None])
def test_no_step_is_dropped_with_the_thresholds_as_shipped(rows, threads, monkeypatch):
    """A short last batch, of one chunk, in a network that is large enough for threads which take rows of their own."""
    monkeypatch.setattr(program, "threads_at_most", lambda asked: 2 if asked is None else asked)
    sizes = (41, 117, 125)
    net = fj.Sequential([fj.Dense(41, 117), fj.Dense(117, 125)], seed=0).program
    assert net.threads_for(954, threads) == 2
    assert net._by_rows(954, 2)
    for optimizer in (sgd, adam):
        expected = train(1, rows, 954, {}, optimizer, sizes)
        same(train(threads, rows, 954, {}, optimizer, sizes), expected, "")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [2, 3])
def test_a_thread_may_still_be_busy_with_a_layers_parameters_while_others_are_two_layers_below(
    dtype, threads, threads_as_asked, monkeypatch
):
    """The first thread alone takes dW of few outputs; meanwhile the others write the gradient of the layer below that
    one's. Their rows are as long, so that they would lie on top of each other."""
    monkeypatch.setattr(program.Program, "_by_rows", lambda self, batch_size, threads: False)
    results = []
    for count in (1, threads):
        net = fj.Sequential([fj.Dense(8, 16), fj.Dense(16, 1024), fj.Dense(1024, 4)], seed=0, dtype=dtype)
        X, y = data(net, 512 * 10)
        results.append(step(net, X, y, 512, adam, count, epochs=2))
    same(*results, f"{threads} threads")


@pytest.mark.slow
@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("number", range(20))
def test_a_hundred_runs_of_a_network_have_one_sum(number):
    """Reliability test 17: 20 networks, 5 epochs, 100 runs each: ``pytest -m slow -k hundred_runs_of_a_network``."""
    rng = np.random.default_rng(number)
    sizes = tuple(int(size) for size in rng.integers(1, 200, 3))
    rows, batch = (int(size) for size in rng.integers(1, 2000, 2))
    setting = SETTINGS[number % len(SETTINGS)]
    found = set()
    for run in range(100):
        got = train((1, 2, 3, 8)[run % 4], rows, batch, setting, (sgd, adam)[number % 2], sizes, epochs=5)
        found.add(hashlib.sha256(b"".join(one.tobytes() for one in got)).hexdigest())
    assert len(found) == 1


# --- a search, slow -----------------------------------------------------------------------------------------------

width = st.one_of(st.sampled_from(WIDTHS), st.integers(1, 260), st.integers(1, 800))
height = st.one_of(st.sampled_from(ROWS), st.integers(1, 300), st.integers(1, 800))


@pytest.mark.slow
@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_shapes_have_the_bits_of_the_layers_one_by_one(mode, dtype):
    """10,000 cases a setting: ``pytest -m slow tests/training/test_training_bits.py``, some minutes each."""

    @settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        inputs=width,
        outputs=width,
        rows=height,
        batch=height,
        first=st.booleans(),
        threads=st.sampled_from((1, 2, 3)),
        optimizer=st.sampled_from((sgd, adam)),
        weighted=st.booleans(),
        shuffle=st.booleans(),
        dropout=st.sampled_from((0.0, 0.3)),
        activation=st.sampled_from(fj.activations.NAMES),
    )
    def search(inputs, outputs, rows, batch, first, threads, optimizer, weighted, shuffle, dropout, activation):
        if inputs * outputs * rows > 30_000_000:  # the largest take long, and what they take the others take too
            rows = max(1, 30_000_000 // (inputs * outputs))
        results = []
        for whole in (False, True):
            net = make(inputs, outputs, first, dtype, activation, dropout)
            X, y = data(net, rows)
            weight = np.linspace(0.1, 1, rows) if weighted else None
            try:
                results.append(
                    step(net, X, y, batch, optimizer, threads, whole, weight=weight, shuffle=shuffle, **MODES[mode])
                )
            except fj.NonFiniteError as error:  # many small batches with a large rate: the same batch is told
                results.append([re.findall(r"in epoch \d+, batch \d+", str(error))])
        same(*results, "the two routes")

    search()
