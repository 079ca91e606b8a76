"""Small runs that take each side of the decisions which training and prediction make by size: see test_branches.py.

    python tests/helpers/branch_cases.py [--registers 32 --bytes 64]

prints, for each case, what was taken, as JSON.
"""

import argparse
import itertools
import json
import sys
import warnings

import builds

CASES = {}


def case(function):
    """A case, by its name in words."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--registers", type=int)
    options.add_argument("--bytes", type=int)
    chosen = options.parse_args()
    trace = builds.Trace()
    builds.install(chosen.registers, chosen.bytes, trace)
    warnings.simplefilter("error")
    found = {}
    import fastjac

    fastjac.Sequential, fastjac.kernels.dense_forward  # noqa: B018  all that decides is imported, and its names known
    trace.take()
    for name, function in CASES.items():
        try:
            function()
        except Exception as error:
            raise RuntimeError(f"the case {name!r} fails") from error
        found[name] = trace.take()
    json.dump(found, sys.stdout)


def network(*widths, activation="relu", bias=True, dropout=0.0, last=None, dtype="float32"):
    import fastjac as fj

    layers = []
    for k, (i, o) in enumerate(itertools.pairwise(widths)):
        inner = k < len(widths) - 2
        layers.append(fj.Dense(i, o, activation=activation if inner else None, bias=bias))
        if inner and dropout:
            layers.append(fj.Dropout(dropout))
    if last is not None:
        layers.append(last)
    return fj.Sequential(layers, seed=0, dtype=dtype)


def fit(net, rows, batch=10_000, loss="mean_squared_error", threads=1, share=None, **options):
    """Train on noise; with more threads than one, ``share`` says how they share the work."""
    import numpy as np

    import fastjac as fj
    from fastjac.nn import program

    rng = np.random.default_rng(0)
    X = options.pop("X", None)
    X = rng.normal(size=(rows, net.inputs)).astype(net.dtype) if X is None else X
    kind = fj.losses.get(loss).kind
    y = options.pop("y", None)
    if y is None:
        y = rng.integers(0, net.outputs, rows) if kind == 0 else rng.random((rows, net.outputs)).astype(net.dtype)
    usual = program.Program._by_rows, program.threads_at_most, program.LEAST_WORK_BY_ROWS, program.LEAST_WORK_TOGETHER
    if threads > 1:
        program.threads_at_most = lambda asked: asked
        program.LEAST_WORK_BY_ROWS = program.LEAST_WORK_TOGETHER = 0
        program.Program._by_rows = lambda self, batch_size, threads: share == "rows"
    try:
        options = {"optimizer": fj.SGD(1e-3), "shuffle": False, "progress": False} | options
        return net.fit(X, y, loss=loss, batch_size=batch, threads=threads, **options)
    finally:
        (program.Program._by_rows, program.threads_at_most, program.LEAST_WORK_BY_ROWS, program.LEAST_WORK_TOGETHER) = (
            usual
        )


def numbers(*shape):
    import numpy as np

    return np.random.default_rng(1).normal(size=shape).astype("f4")


# --- layers: how wide, how many rows ------------------------------------------------------------------------------


@case
def few_rows():
    fit(network(5, 7, 3), 5)


@case
def rows_of_every_remainder():
    for rows in range(1, 34):
        fit(network(3, 40, 17), rows)
    for rows in range(1, 34):
        network(40, 5, bias=False).predict(numbers(rows, 40))
        network(40, 13, bias=False).predict(numbers(rows, 40))


@case
def one_row():
    network(30, 300, 70, 20).predict(numbers(1, 30))


@case
def one_row_without_bias():
    network(30, 70, bias=False).predict(numbers(1, 30))


@case
def few_outputs():
    """dW as its transpose, where X's rows are whole vectors."""
    fit(network(64, 3), 40)
    fit(network(64, 3), 600)


@case
def few_outputs_of_odd_inputs():
    fit(network(33, 3), 40)
    fit(network(33, 3), 600)


@case
def one_output():
    """Dot products; and the gradient of a column is a row."""
    fit(network(40, 1), 9)
    fit(network(64, 1), 600)
    fit(network(9, 40, 1), 40, shuffle=True)


@case
def one_output_of_columns_of_x_apart():
    fit(network(40, 1), 9, X=numbers(40, 9).T)
    fit(network(600, 1), 9, X=numbers(600, 9).T)


@case
def one_unit_inside():
    fit(network(9, 1, 3, activation="tanh"), 40)


@case
def wide():
    """More columns than are read where they are; fewer than X's are copied for."""
    fit(network(20, 140, 20), 40)


@case
def wide_with_copied_columns():
    fit(network(70, 200, 20), 40)


@case
def as_wide_as_to_copy_columns():
    for width in (128, 129, 159, 160):
        fit(network(10, width), 9)


@case
def enormous():
    """A layer of which one row of tiles is all that ``learn`` takes at a time."""
    fit(network(9, 9000), 3)


@case
def wide_in_chunks():
    fit(network(20, 200, 20), 600)


@case
def deep():
    """More of k than one panel; and so many rows that only a part of k is read for all columns."""
    network(1200, 70, 9).predict(numbers(300, 1200))
    fit(network(1200, 70, 1200), 300)


@case
def whole_vectors():
    """Columns without a remainder, one tile wide and more."""
    fit(network(64, 16), 16)
    fit(network(64, 96, 64), 16)
    fit(network(600, 384, 64), 30)


@case
def columns_of_every_remainder():
    for columns in range(1, 60):
        fit(network(columns, columns), 9)


# --- batches ------------------------------------------------------------------------------------------------------


@case
def one_chunk():
    fit(network(9, 20, 5), 256)


@case
def two_chunks():
    fit(network(9, 20, 5), 257)


@case
def a_short_last_batch():
    fit(network(9, 20, 5), 600, 512)


@case
def rows_shared_by_threads():
    fit(network(9, 20, 5), 1100, 1024, threads=2, share="rows")


@case
def tiles_shared_by_threads():
    fit(network(9, 20, 5), 1100, 1024, threads=2, share="tiles")
    fit(network(64, 3), 40, threads=2, share="tiles")


@case
def many_columns_shared_by_threads():
    fit(network(30, 1300), 20, threads=2, share="tiles")
    fit(network(30, 200), 20, threads=2, share="tiles")


@case
def shuffled():
    fit(network(9, 20, 5), 70, 32, shuffle=True, epochs=2)
    fit(network(9, 20, 5), 70, 32, loss="softmax_cross_entropy", shuffle=True)


@case
def in_order():
    fit(network(9, 20, 5), 70, 32)
    fit(network(9, 20, 5), 70, 32, loss="softmax_cross_entropy")


@case
def columns_of_x_apart():
    fit(network(64, 3), 40, X=numbers(64, 40).T)
    fit(network(64, 200), 40, X=numbers(64, 40).T)


@case
def columns_of_x_apart_and_shuffled():
    fit(network(20, 3), 40, 16, X=numbers(20, 40).T, shuffle=True)


@case
def a_first_layer_that_is_not_dense():
    import fastjac as fj

    layers = [fj.Dropout(0.2), fj.Activation("tanh"), fj.Dense(8, 3), fj.Activation("gelu")]
    net = fj.Sequential(layers, seed=0, inputs=8)
    fit(net, 20, X=numbers(8, 20).T)
    net.backward(net.forward(numbers(4, 8)))
    net.predict(numbers(4, 8))


@case
def an_activation_alone():
    import fastjac as fj

    net = fj.Sequential([fj.Activation("gelu")], inputs=4)
    net.backward(net.forward(numbers(9, 4)))


@case
def read_only_and_strided():
    net, X = network(6, 4), numbers(9, 6)
    X.setflags(write=False)
    for one in (X, numbers(6, 9).T):
        net.predict(one)
        net.backward(net.forward(one))


# --- what is learnt -----------------------------------------------------------------------------------------------


@case
def each_loss():
    import fastjac as fj
    from fastjac.nn.losses import BY_NAME

    last = {
        "categorical_cross_entropy": fj.Softmax,
        "binary_cross_entropy_probabilities": lambda: fj.Activation("sigmoid"),
    }
    for name in BY_NAME:
        for outputs in (1, 3, 40):
            for rows in (1, 30):
                fit(network(5, outputs, last=last.get(name, lambda: None)()), rows, loss=name)
    for name in ("softmax_cross_entropy", "categorical_cross_entropy"):
        soft = numbers(30, 3) ** 2
        fit(network(5, 3, last=last.get(name, lambda: None)()), 30, loss=name, y=soft / soft.sum(1, keepdims=True))


@case
def samples_without_weight():
    import numpy as np

    weight = np.r_[np.zeros(10), np.ones(30)]
    for loss in ("softmax_cross_entropy", "mean_squared_error", "huber"):
        for outputs in (3, 40):
            fit(network(5, outputs), 40, 10, loss=loss, sample_weight=weight, l2=0.1)


@case
def with_a_bias():
    fit(network(5, 3), 9)


@case
def without_a_bias():
    fit(network(5, 6, 3, bias=False), 9)
    fit(network(5, 6, 3, bias=False), 300)


@case
def every_activation():
    import fastjac as fj

    for name in fj.activations.NAMES:
        net = network(5, 40, 20, activation=name, dropout=0.2, last=fj.Activation(name))
        fit(net, 9)
        net.predict(numbers(3, 5))
        net.backward(net.forward(numbers(3, 5)))


@case
def relu_with_slope_0_at_0():
    import fastjac as fj

    fit(network(5, 7, 3, activation=fj.relu(at_zero=0)), 9)


@case
def a_softmax_inside():
    import fastjac as fj

    layers = [fj.Dense(5, 7), fj.Softmax(), fj.Dense(7, 3), fj.Softmax(), fj.Activation("tanh")]
    fit(fj.Sequential(layers, seed=0), 9)


@case
def every_optimizer():
    import fastjac as fj

    makes = [
        fj.SGD(0.01),
        fj.SGD(0.01, momentum=0.9),
        fj.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
        fj.Adam(),
        fj.Adam(weight_decay=0.1),
        fj.AdamW(),
    ]
    for optimizer in makes:
        fit(network(5, 40, 3), 9, optimizer=optimizer)
        fit(network(5, 40, 3), 300, optimizer=optimizer)


@case
def penalties():
    import fastjac as fj

    for rows in (9, 300):
        fit(network(5, 3, last=fj.Activation("tanh")), rows, l1=0.1, l2=0.1)


@case
def clipping():
    import fastjac as fj

    for limit in (1e-3, 1e3):
        fit(network(5, 40, 3), 9, optimizer=fj.Adam(clip_norm=limit))
        fit(network(5, 40, 3), 9, optimizer=fj.Adam(clip_norm=limit), threads=2, share="tiles")


@case
def clipping_at_the_ends_of_the_range():
    import numpy as np

    import fastjac as fj

    for size in (1e25, 1e-25):
        net = network(5, 3)
        net.gradients[:] = size
        fj.SGD(0.1, clip_norm=size).step(net)
    net = network(5, 3)
    net.gradients[:] = np.inf
    try:
        fj.SGD(0.1, clip_norm=1.0).step(net)
    except fj.NonFiniteError:
        return
    raise AssertionError("an infinite gradient was clipped")


@case
def an_infinite_gradient():
    import numpy as np

    import fastjac as fj

    X, y = np.array([[0.0], [1e20]]), np.zeros((2, 1))
    for threads in (1, 2):
        net = network(1, 1)
        net.parameters[:] = 0.05, 1.0
        optimizer = fj.SGD(1e-3, clip_norm=1.0)
        _diverges(net, 2, 1, X=X, y=y, optimizer=optimizer, threads=threads, share="tiles")


@case
def a_loss_that_is_not_finite():
    import fastjac as fj

    for rows, batch, epochs, threads in ((12, 1, 1, 1), (12, 12, 50, 1), (600, 300, 9, 1), (12, 1, 1, 2)):
        for shuffle in (False, True):
            options = {"optimizer": fj.SGD(1e15), "epochs": epochs, "shuffle": shuffle, "share": "tiles"}
            _diverges(network(2, 2), rows, batch, threads=threads, **options)


def _diverges(net, *arguments, **options):
    import fastjac as fj

    try:
        fit(net, *arguments, **options)
    except fj.NonFiniteError:
        return
    raise AssertionError("what should have become infinite did not")


@case
def a_step_far_on():
    import fastjac as fj

    net, optimizer = network(4, 3), fj.Adam()
    optimizer.state(net).counters[0] = 1 << 17
    fit(net, 12, optimizer=optimizer)


@case
def a_part_that_fails():
    """Another thread raises: this one must not wait for it, nor go on."""
    from fastjac.nn import program

    usual = program.training.train

    def fails(*arguments):
        if arguments[-3] == 1:
            raise MemoryError("as if")
        usual(*arguments)

    program.training.train = fails
    try:
        fit(network(9, 20, 5), 40, threads=2, share="tiles")
    except MemoryError:
        return
    finally:
        program.training.train = usual
    raise AssertionError("the error was lost")


@case
def gradients_near_the_largest_numbers():
    import fastjac as fj

    net = network(2, 2)
    net.gradients[:] = 3e38
    fj.SGD(1.0, clip_norm=1.0).step(net)


@case
def penalties_of_huge_weights():
    import numpy as np

    net = network(3, 2)
    net.parameters[:6] = 1e20
    fit(net, 4, l2=1e-38, X=np.zeros((4, 3), "f4"))
    fit(network(3, 2), 4, l1=0.1)


# --- how training comes back to Python ----------------------------------------------------------------------------


@case
def many_short_epochs():
    fit(network(3, 2), 8, epochs=200, shuffle=True)
    fit(network(3, 2), 8, epochs=200)


@case
def callbacks_of_batches():
    import fastjac as fj

    class Stops(fj.Callback):
        def on_batch_end(self, batch, logs):
            self.network.stop_training = batch == 1

    fit(network(3, 2), 80, 16, callbacks=[Stops()])
    fit(network(3, 2), 16, 16, callbacks=[Stops()], shuffle=True)


@case
def callbacks_of_epochs():
    fit(network(3, 2), 8, epochs=3, callbacks=[lambda epoch, logs: None])


@case
def validation():
    fit(network(3, 2), 8, validation_data=(numbers(4, 3), numbers(4, 2)))


@case
def long_epochs():
    """More steps than Python waits for at once."""
    fit(network(50, 300, 10), 60_000, 32)


@case
def layer_by_layer():
    import numpy as np

    import fastjac as fj

    for path in ("unfused", "reference"):
        for loss in ("softmax_cross_entropy", "mean_squared_error"):
            for weight in (None, np.ones(12), np.r_[np.zeros(6), np.ones(6)]):
                net = network(3, 2)
                net.path = path
                fit(net, 12, 6, loss=loss, shuffle=weight is None, sample_weight=weight, epochs=2)
    for optimizer in (fj.SGD(1e19), fj.SGD(1e-3, clip_norm=1.0)):
        net = network(1, 1)
        net.path = "unfused"
        net.parameters[:] = 0.05, 1.0
        _diverges(net, 3, 1, X=np.array([[0.0], [1e20], [0.0]]), y=np.zeros((3, 1)), optimizer=optimizer)


@case
def streams():
    import numpy as np

    import fastjac as fj

    data = [(numbers(40, 3), numbers(40, 2)), (numbers(7, 3), numbers(7, 2))]
    network(3, 2).fit(data, loss="mean_squared_error", epochs=2, progress=False)
    net = network(3, 2)
    net.path = "unfused"
    net.fit(data, loss="mean_squared_error", progress=False)

    class Looks(fj.Callback):
        def on_batch_end(self, batch, logs):
            pass

    kinds = [(numbers(4, 3), np.arange(4) % 2), (numbers(4, 3), np.eye(2)[[0, 1, 1, 0]])]
    for callbacks in (None, [Looks()]):
        network(3, 2).fit(kinds, loss="softmax_cross_entropy", callbacks=callbacks, progress=False)
    for refused in ({"sample_weight": [1.0]}, {"class_weight": "balanced"}):
        try:
            net.fit(data, loss="mean_squared_error", **refused)
        except ValueError:
            continue
        raise AssertionError(f"{refused} was taken with batches")


@case
def resumed_within_an_epoch():
    import signal
    import tempfile
    from pathlib import Path

    import fastjac as fj

    class Presses(fj.Callback):
        def __init__(self, batch):
            self.batch = batch

        def on_batch_end(self, batch, logs):
            if batch == self.batch:
                signal.raise_signal(signal.SIGINT)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for batch in (3, 99):
            checkpoint = fj.Checkpoint(Path(folder) / "run.safetensors", every_batches=2)
            fit(network(3, 2), 80, 16, callbacks=[checkpoint, Presses(batch)])


@case
def as_scikit_learn_computes():
    import numpy as np

    from fastjac.estimators import MLPClassifier, MLPRegressor

    warnings.simplefilter("ignore")  # it has not converged
    for classes in (2, 3, 50):
        MLPClassifier((5,), max_iter=2, random_state=0).fit(numbers(100, 3), np.arange(100) % classes)
    MLPRegressor("poisson", (5,), max_iter=2, random_state=0).fit(numbers(30, 3), np.arange(30) % 3)
    warnings.simplefilter("error")


@case
def interrupted():
    """Ctrl-C between two calls of compiled code."""
    import signal

    import fastjac as fj

    class Presses(fj.Callback):
        def on_batch_end(self, batch, logs):
            signal.raise_signal(signal.SIGINT)

    warnings.simplefilter("ignore", RuntimeWarning)
    fit(network(3, 2), 80, 16, callbacks=[Presses()])
    warnings.simplefilter("error")


# --- predictions --------------------------------------------------------------------------------------------------


@case
def predictions_of_one_thread():
    net = network(4, 3)
    net.predict(numbers(700, 4))
    net.predict(numbers(700, 4))


@case
def predictions_of_two_threads():
    from fastjac.nn import program

    net = network(4, 3)
    program.threads_at_most, usual = (lambda asked: asked), program.threads_at_most
    program.LEAST_WORK_BY_ROWS, least = 0, program.LEAST_WORK_BY_ROWS
    net.predict(numbers(2000, 4), threads=2)
    net.predict(numbers(200, 4), threads=2)
    program.threads_at_most, program.LEAST_WORK_BY_ROWS = usual, least


@case
def batches_by_hand_that_grow_and_shrink():
    net = network(4, 3)
    for rows in (3, 300, 7):
        net.backward(net.forward(numbers(rows, 4)))


@case
def thresholds_of_threads_as_shipped():
    """Too little work; enough for threads that take rows of their own, and for such as meet after each product."""
    from fastjac.nn import program

    usual = program.threads_at_most
    program.threads_at_most = lambda asked: asked
    for widths, rows in (((8, 32, 3), 32), ((41, 117, 125), 954), ((784, 128, 10), 40), ((784, 128, 10), 64)):
        network(*widths).program.threads_for(rows, 2)
    program.threads_at_most = usual


# --- kernels on plain arrays --------------------------------------------------------------------------------------


@case
def kernels_on_arrays():
    import numpy as np

    from fastjac import kernels

    X, W, b, d = numbers(9, 6), numbers(6, 5), numbers(5), numbers(9, 5)
    for one in (b, None):
        kernels.dense_forward(X, W, one, "gelu", z_out=np.empty((9, 5), "f4"))
    kernels.dense_backward(d, d, X, W)
    kernels.dense_backward(d, d, X, W, input_gradient=False)
    kernels.dense_backward(numbers(600, 5), numbers(600, 5), numbers(600, 6), W)
    for weights in (None, np.ones(9), np.r_[np.zeros(3), np.ones(6)]):
        kernels.softmax_cross_entropy(d, np.arange(9) % 5, sample_weight=weights)
        kernels.mean_squared_error(d, d + 1, sample_weight=weights)
        kernels.mean_squared_error(d[:, :1], d[:, :1] + 1, sample_weight=weights)
    kernels.activation_backward(d, kernels.activation_forward(d, "relu"), "relu")
    kernels.softmax_backward(d, kernels.softmax(d))


@case
def kernels_on_arrays_of_odd_strides():
    from fastjac import kernels

    kernels.dense_backward(numbers(5, 9).T, numbers(9, 5), numbers(6, 9).T, numbers(5, 6).T)


if __name__ == "__main__":
    main()
