"""What one `fit` leaves prepared for the next: used where nothing of it has changed, and never when it has."""

import copy
import gc
import os
import pickle
import warnings
import weakref

import numpy as np
import pytest

import fastjac as fj

LOSS = "softmax_cross_entropy"


def rows(count=48, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 6)).astype(dtype), rng.integers(0, 3, count)


def network(seed=0):
    return fj.Sequential([fj.Dense(6, 9, activation="relu"), fj.Dropout(0.2), fj.Dense(9, 3)], seed=seed)


def fit(net, optimizer, X=None, y=None, **more):
    X, y = rows() if X is None else (X, y)
    return net.fit(
        X, y, **{"loss": LOSS, "optimizer": optimizer, "batch_size": 16, "progress": False, "threads": 1} | more
    )


def prepared(net, optimizer):
    return optimizer.state(net).learner


def forgets(net, optimizer):
    """A `fit` that finds nothing prepared, as the first one does."""
    optimizer.state(net).learner = None


def one_hot(y):
    return np.eye(3, dtype=np.float32)[y]


class Looks(fj.Callback):
    """The gradients after each batch."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, batch, logs):
        self.seen.append(self.network.gradients.copy())


def assign(net, optimizer):
    net.parameters = np.linspace(-1, 1, net.parameters.size)


def decay(net, optimizer):
    optimizer.weight_decay = 0.1


def faster(net, optimizer):
    optimizer.learning_rate = 0.1


def clip(net, optimizer):
    optimizer.clip_norm = 1e-3


def scheduled(net, optimizer):
    optimizer.learning_rate = lambda step: 0.1 / (step + 1)


def stepped_by_hand(net, optimizer):
    X, y = rows()
    net.backward(fj.losses.SoftmaxCrossEntropy()(net.forward(X), y)[1])
    optimizer.step(net)


def by_another(net, optimizer):
    fit(net, fj.SGD(0.1, momentum=0.5))


def layer_by_layer(net, optimizer):
    net.path = "unfused"
    fit(net, optimizer)
    net.path = "fused"


def with_another_network(net, optimizer):
    fit(network(seed=7), optimizer)


def nothing(net, optimizer):
    pass


X, Y = rows()
CHANGES = {
    "nothing": (nothing, {}),
    "parameters": (assign, {}),
    "weight_decay": (decay, {}),
    "learning_rate": (faster, {}),
    "clip_norm": (clip, {}),
    "schedule": (scheduled, {}),
    "a step by hand": (stepped_by_hand, {}),
    "another optimizer": (by_another, {}),
    "another path": (layer_by_layer, {}),
    "another network": (with_another_network, {}),
    "l1": (nothing, {"l1": 0.1}),
    "l2": (nothing, {"l2": 0.1}),
    "rows of targets": (nothing, {"X": X, "y": one_hot(Y)}),
    "another loss": (nothing, {"loss": "mean_squared_error", "X": X, "y": one_hot(Y)}),
    "batch size": (nothing, {"batch_size": 7}),
    "all rows at once": (nothing, {"batch_size": 48}),
    "many chunks": (nothing, {"X": np.tile(X, (20, 1)), "y": np.tile(Y, 20), "batch_size": 700}),
    "columns": (nothing, {"X": np.asfortranarray(X), "y": Y}),
    "weights": (nothing, {"sample_weight": np.linspace(0.1, 1, 48)}),
    "callback": (nothing, {"callbacks": [Looks()]}),
    "validation": (nothing, {"validation_data": (X, Y)}),
    "order": (nothing, {"shuffle": False}),
    "stream": (nothing, {"X": [(X, Y), (X[:9], one_hot(Y)[:9])], "y": None}),
    "threads": (nothing, {"threads": 2}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_bits_are_those_of_a_fit_that_finds_nothing_prepared(name):
    change, options = CHANGES[name]
    found = []
    for forgetful in (False, True):
        net, optimizer = network(), fj.Adam(0.01)
        figures = []
        for more in ({}, options, {}):  # there and back
            if more is options:
                change(net, optimizer)
            if forgetful:
                forgets(net, optimizer)
            history = fit(net, optimizer, **more)
            figures.append([history[key] for key in ("loss", "accuracy") if key in history])
        found.append((figures, net.parameters.tobytes(), optimizer.state(net).moments.tobytes(), optimizer.steps))
    assert found[0] == found[1]


def test_a_second_fit_uses_what_the_first_has_prepared():
    net, optimizer = network(), fj.Adam(0.01)
    fit(net, optimizer)
    learner = prepared(net, optimizer)
    tables = learner.tables
    for _ in range(2):
        fit(net, optimizer, *rows(30, seed=3))
        assert prepared(net, optimizer) is learner
        assert learner.tables is tables
    fit(net, optimizer, l2=0.1)
    assert prepared(net, optimizer) is not learner


@pytest.mark.parametrize("name", ["l1", "l2", "another loss", "rows of targets", "callback"])
def test_another_training_is_prepared_anew(name):
    net, optimizer = network(), fj.Adam(0.01)
    fit(net, optimizer)
    learner = prepared(net, optimizer)
    fit(net, optimizer, **CHANGES[name][1])
    assert prepared(net, optimizer) is not learner


@pytest.mark.parametrize("batch_size", [200, 1200], ids=["together", "by rows"])
@pytest.mark.parametrize("threads", [1, 2])
def test_other_numbers_of_threads_in_turn(threads, batch_size, monkeypatch):
    monkeypatch.setattr("fastjac.nn.program.LEAST_WORK_BY_ROWS", 1)
    monkeypatch.setattr("fastjac.nn.program.LEAST_WORK_TOGETHER", 1)
    monkeypatch.setattr("fastjac.support.cores.usable_cores", lambda: 2)
    found = []
    for forgetful in (False, True):
        net, optimizer = network(), fj.Adam(0.01)
        for count in (threads, 3 - threads, threads):
            if forgetful:
                forgets(net, optimizer)
            fit(net, optimizer, *rows(1200), batch_size=batch_size, threads=count)
            assert len(prepared(net, optimizer).tables) == count
        found.append(net.parameters.tobytes())
    assert found[0] == found[1]


def test_the_parameter_of_a_loss_that_is_changed_between_two_fits_counts():
    loss = fj.losses.Huber(delta=1.0)
    found = []
    for forgetful in (False, True):
        net, optimizer = network(), fj.Adam(0.01)
        for delta in (1.0, 0.01):
            loss.delta = delta
            if forgetful:
                forgets(net, optimizer)
            history = fit(net, optimizer, X, one_hot(Y), loss=loss)
        found.append((history["loss"], net.parameters.tobytes()))
    assert found[0] == found[1]


def copied_together(net, optimizer):
    return copy.deepcopy((net, optimizer))


def pickled_together(net, optimizer):
    return pickle.loads(pickle.dumps((net, optimizer)))


def copied_one_by_one(net, optimizer):
    return net.clone(), copy.copy(optimizer)


@pytest.mark.parametrize("copies", [copied_together, pickled_together, copied_one_by_one])
def test_a_copy_has_nothing_prepared_and_goes_on_in_its_own_memory(copies):
    net, optimizer = network(), fj.Adam(0.01)
    fit(net, optimizer)
    other_net, other = copies(net, optimizer)
    assert prepared(net, optimizer) is not None
    assert prepared(other_net, other) is None
    before = net.parameters.copy()
    fit(other_net, other)
    assert (net.parameters == before).all()
    fit(net, optimizer)
    assert (net.parameters == other_net.parameters).all()
    assert prepared(other_net, other) is not prepared(net, optimizer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_goes_on_with_the_same_bits():
    net, optimizer = network(), fj.Adam(0.01)
    fit(net, optimizer)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries' threads in the process of the tests
        child = os.fork()
    if child == 0:
        try:
            fit(net, optimizer)
            os.write(writer, net.parameters.tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    fit(net, optimizer)
    assert found == net.parameters.tobytes()


def test_a_training_that_an_error_has_ended_leaves_nothing_prepared():
    net, optimizer = network(), fj.SGD(1e30)
    with pytest.raises(fj.NonFiniteError):
        fit(net, optimizer, epochs=9)
    assert prepared(net, optimizer) is None
    net.parameters, optimizer.learning_rate = np.zeros(net.parameters.size), 0.1
    assert np.isfinite(fit(net, optimizer)["loss"]).all()


def test_nobody_else_finds_it_while_a_training_has_it():
    net, optimizer = network(), fj.Adam(0.01)
    fit(net, optimizer)
    found = []
    fit(net, optimizer, epochs=2, callbacks=lambda epoch, logs: found.append(prepared(net, optimizer)))
    assert found == [None, None]
    assert prepared(net, optimizer) is not None


def test_it_is_gone_with_its_network_and_with_its_optimizer():
    for first_net in (True, False):
        net, optimizer = network(), fj.Adam(0.01)
        fit(net, optimizer)
        learner = weakref.ref(prepared(net, optimizer))
        if first_net:
            del net
        else:
            del optimizer
        gc.collect()
        assert learner() is None


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"X": np.full((48, 6), np.nan, np.float32), "y": Y}, ValueError),
        ({"X": X[:, :5], "y": Y}, ValueError),
        ({"X": X, "y": Y + 1}, ValueError),
        ({"X": X, "y": Y[:-1]}, ValueError),
        ({"l2": -1.0}, ValueError),
        ({"batch_size": 0}, ValueError),
        ({"epochs": 1.5}, TypeError),
        ({"loss": "nothing"}, ValueError),
        ({"progress": "yes"}, ValueError),
    ],
)
def test_bad_arguments_are_refused_after_a_good_fit_as_before(wrong, error):
    net, optimizer = network(), fj.Adam(0.01)
    fit(net, optimizer)
    before = net.parameters.copy()
    with pytest.raises(error):
        fit(net, optimizer, **wrong)
    assert (net.parameters == before).all()
    assert optimizer.steps == 3
