"""Callbacks: what is called when, early stopping, and ending a training."""

import math

import numpy as np
import pytest
from tests_support import use_plan

import fastjac as fj

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 4)), RNG.integers(0, 3, 50)


def network(seed=0):
    return fj.Sequential([fj.Dense(4, 8, activation="tanh"), fj.Dense(8, 3)], seed=seed)


def fit(net, **options):
    return net.fit(X, Y, **{"loss": "softmax_cross_entropy", "epochs": 3, "batch_size": 20} | options)


class Recorder(fj.Callback):
    def __init__(self):
        self.seen = []

    def on_train_begin(self):
        self.seen.append("train begin")

    def on_epoch_begin(self, epoch):
        self.seen.append(f"epoch {epoch} begin")

    def on_batch_end(self, batch, logs):
        assert set(logs) == {"loss", "accuracy"}
        self.seen.append(f"batch {batch}")

    def on_epoch_end(self, epoch, logs):
        self.logs = logs
        self.seen.append(f"epoch {epoch} end")

    def on_train_end(self):
        self.seen.append("train end")


@pytest.mark.parametrize("whole", [True, False])
def test_the_order_of_calls(whole):
    net, recorder = network(), Recorder()
    use_plan(whole, net)
    fit(net, epochs=2, callbacks=[recorder])
    assert recorder.network is net
    assert recorder.seen == [
        "train begin",
        "epoch 0 begin",
        "batch 0",
        "batch 1",
        "batch 2",
        "epoch 0 end",
        "epoch 1 begin",
        "batch 0",
        "batch 1",
        "batch 2",
        "epoch 1 end",
        "train end",
    ]


@pytest.mark.parametrize("whole", [True, False])
def test_logs_are_what_the_history_keeps(whole):
    net, recorder, seen = network(), Recorder(), []
    use_plan(whole, net)
    history = fit(net, callbacks=[recorder, lambda epoch, logs: seen.append((epoch, logs))], validation_data=(X, Y))
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    for epoch, logs in seen:
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert logs[name] == history[name][epoch]
    assert recorder.logs["loss"] == history["loss"][-1]


@pytest.mark.parametrize("whole", [True, False])
def test_callbacks_change_nothing(whole):
    plain, watched = network(), network()
    use_plan(whole, watched)
    one, other = fit(plain), fit(watched, callbacks=[Recorder()])
    np.testing.assert_array_equal(plain.parameters, watched.parameters)
    assert one["loss"] == other["loss"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_batchs_logs_are_of_this_batch(whole):
    values = []

    class Losses(fj.Callback):
        def on_batch_end(self, batch, logs):
            values.append(logs["loss"])

    net = network()
    use_plan(whole, net)
    first = net.evaluate(X[:20], Y[:20], "softmax_cross_entropy")["loss"]
    history = fit(net, epochs=1, shuffle=False, callbacks=[Losses()])
    assert values[0] == pytest.approx(first, rel=1e-6)
    assert history["loss"][0] == pytest.approx(np.average(values, weights=[20, 20, 10]), rel=1e-6)


@pytest.mark.parametrize("whole", [True, False])
def test_stop_training_after_a_batch_or_an_epoch(whole):
    class AfterBatch(fj.Callback):
        def on_batch_end(self, batch, logs):
            if batch == 1:
                self.network.stop_training = True

    class AfterEpoch(fj.Callback):
        def on_epoch_end(self, epoch, logs):
            self.network.stop_training = epoch == 1

    class AtBeginning(fj.Callback):
        def on_train_begin(self):
            self.network.stop_training = True

    net = network()
    use_plan(whole, net)
    optimizer = fj.Adam()
    history = fit(net, callbacks=[AfterBatch()], optimizer=optimizer)
    assert optimizer.state(net).counters[0] == 2
    assert net.epochs_trained == 0
    assert not history
    assert history.interrupted is False
    history = fit(net, callbacks=AfterEpoch(), epochs=9)
    assert len(history["loss"]) == 2
    assert net.stop_training
    assert len(fit(net)["loss"]) == 3  # the next fit begins anew
    assert len(fit(net, callbacks=[AtBeginning()]).get("loss", [])) <= 1


@pytest.mark.parametrize("whole", [True, False])
def test_early_stopping_waits_and_puts_the_best_parameters_back(whole):
    net = network()
    use_plan(whole, net)
    values = iter([3.0, 2.0, 2.5, 2.0, 2.1, 1.0])
    kept = []

    class Scripted(fj.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            kept.append(self.network.parameters.copy())
            super().on_epoch_end(epoch, {"val_loss": next(values)})

    stopping = Scripted(patience=3)
    history = fit(net, epochs=10, callbacks=[stopping])
    assert len(history["loss"]) == 5
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (2.0, 1, 4)
    np.testing.assert_array_equal(net.parameters, kept[1])
    assert not np.array_equal(kept[1], kept[4])


@pytest.mark.parametrize(
    ("options", "figures", "epochs", "best"),
    [
        ({"patience": 0}, [3, 2, 2, 1], 3, 1),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.8, 2.6, 2.4, 0], 3, 0),
        ({"patience": 2, "monitor": "accuracy"}, [0.1, 0.3, 0.2, 0.25, 0.9], 4, 1),
        ({"patience": 2, "monitor": "val_accuracy", "min_delta": 0.1}, [0.1, 0.15, 0.19, 0.9], 3, 0),
        ({"patience": 9}, [3, 2, 4, 5], 4, 1),
        ({"patience": 2}, [math.nan, 3, 2, 4, 5], 5, 2),
    ],
)
def test_early_stopping_by_its_settings(options, figures, epochs, best):
    stopping = fj.EarlyStopping(**options)
    stopping.network = network()
    stopping.on_train_begin()
    for epoch, figure in enumerate(figures):
        stopping.network.stop_training = False
        stopping.on_epoch_end(epoch, {stopping.monitor: figure})
        if stopping.network.stop_training:
            break
    assert epoch + 1 == epochs
    assert stopping.best_epoch == best


def test_early_stopping_without_restoring_leaves_the_last_parameters():
    net = network()
    last = []

    class Scripted(fj.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            last[:] = [self.network.parameters.copy()]
            super().on_epoch_end(epoch, {"loss": float(epoch)})

    fit(net, epochs=5, callbacks=[Scripted("loss", patience=1, restore_best=False)])
    np.testing.assert_array_equal(net.parameters, last[0])


def test_early_stopping_restores_the_best_also_when_training_ends_by_itself_or_by_an_error():
    class Breaks(fj.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                raise KeyError("mine")

    for extra in ([], [Breaks()]):
        net, kept = network(), []

        class Scripted(fj.EarlyStopping):
            def on_epoch_end(self, epoch, logs, kept=kept):
                kept.append(self.network.parameters.copy())
                super().on_epoch_end(epoch, {"val_loss": [2.0, 1.0, 3.0][epoch]})

        if extra:
            with pytest.raises(KeyError, match="mine"):
                fit(net, callbacks=[Scripted(patience=5), *extra])
        else:
            fit(net, callbacks=[Scripted(patience=5)])
        np.testing.assert_array_equal(net.parameters, kept[1])
        fit(net)  # nothing is left locked


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fj.EarlyStopping("val_los"), ValueError, "monitor is 'val_los', expected val_loss, loss"),
        (lambda: fj.EarlyStopping(patience=-1), ValueError, "patience is -1, expected at least 0"),
        (lambda: fj.EarlyStopping(patience=1.5), TypeError, "patience is 1.5"),
        (lambda: fj.EarlyStopping(min_delta=-1), ValueError, "min_delta is -1.0"),
    ],
)
def test_early_stopping_refuses_bad_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_validation_is_evaluated_without_dropout_and_changes_nothing():
    def make():
        return fj.Sequential([fj.Dense(4, 8), fj.Dropout(0.5), fj.Dense(8, 3)], seed=0)

    plain, watched = make(), make()
    fit(plain)
    weight = np.random.default_rng(2).random(50)
    history = fit(watched, validation_data=(X, Y, weight))
    np.testing.assert_array_equal(plain.parameters, watched.parameters)
    result = watched.evaluate(X, Y, "softmax_cross_entropy", sample_weight=weight)
    assert history["val_loss"][-1] == result["loss"]
    assert history["val_accuracy"][-1] == result["accuracy"]


@pytest.mark.parametrize("where", ["on_train_begin", "on_train_end", "on_epoch_end"])
def test_a_callback_that_raises_keeps_no_other_from_its_end(where):
    """Those whose training began are told that it ended, in their order."""
    ended = []

    class Open(fj.Callback):
        def __init__(self, name):
            self.name = name

        def on_train_end(self):
            ended.append(self.name)
            if where == "on_train_end":
                raise ValueError(f"the end of {self.name}")

    class Bad(fj.Callback):
        def on_train_begin(self):
            if where == "on_train_begin":
                raise ValueError("the beginning")

        def on_epoch_end(self, epoch, logs):
            if where == "on_epoch_end":
                raise ValueError("an epoch")

    early = fj.EarlyStopping("loss")
    with pytest.raises(ValueError, match="the beginning" if where == "on_train_begin" else "the end of|an epoch"):
        fit(network(), epochs=2, callbacks=[Open("first"), Open("second"), Bad(), early, Open("last")])
    assert ended == (["first", "second"] if where == "on_train_begin" else ["first", "second", "last"])
    assert early._parameters is None


def test_the_best_parameters_are_put_back_though_another_callback_raises_at_the_end():
    class Bad(fj.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 0:
                self.first = self.network.parameters.copy()
            logs["loss"] = epoch

        def on_train_end(self):
            raise ValueError("the end")

    class Worse(fj.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            super().on_epoch_end(epoch, {"loss": float(epoch)})

    net, bad = network(), Bad()
    with pytest.raises(ValueError, match="the end"):
        fit(net, epochs=4, callbacks=[bad, Worse("loss")])
    np.testing.assert_array_equal(net.parameters, bad.first)
