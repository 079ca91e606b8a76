"""Training on batches from outside and on data larger than memory: the same bits, bounded memory, clear errors."""

import json
import subprocess
import sys
import textwrap
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from tests_support import use_plan

import fastjac as fj
from fastjac.nn.losses import BY_NAME
from fastjac.nn.program import CHUNK, Program

ROWS, INPUTS, OUTPUTS = 203, 6, 3


def problem(loss="softmax_cross_entropy", rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, INPUTS)).astype(np.float32)
    if BY_NAME[loss].kind == BY_NAME["softmax_cross_entropy"].kind:
        return X, rng.integers(0, OUTPUTS, rows)
    return X, rng.random((rows, OUTPUTS))


def network(loss="softmax_cross_entropy", dropout=0.0, **options):
    layers = [fj.Dense(INPUTS, 8, activation="tanh"), fj.Dropout(dropout), fj.Dense(8, OUTPUTS)]
    if BY_NAME[loss].probabilities:
        layers.append(fj.Activation("sigmoid") if "binary" in loss else fj.Softmax())
    return fj.Sequential(layers, seed=0, **options)


def cut(size, *arrays):
    return [tuple(array[k : k + size] for array in arrays) for k in range(0, len(arrays[0]), size)]


def same_bits(one, other, histories=()):
    np.testing.assert_array_equal(one.parameters, other.parameters)
    for first, second in zip(histories[::2], histories[1::2], strict=True):
        assert set(first) == set(second)
        for name in set(first) - {"seconds"}:
            assert first[name] == second[name], name


class Loader:
    """Begins again whenever it is gone through, as PyTorch's DataLoader."""

    def __init__(self, batches):
        self.batches, self.passes = batches, 0

    def __iter__(self):
        self.passes += 1
        for batch in self.batches:
            yield list(batch)


FORMS = {
    "list": lambda batches: batches,
    "tuple": tuple,
    "loader": Loader,
    "function": lambda batches: lambda: iter(batches),
    "generator function": lambda batches: lambda: (batch for batch in batches),
}


# --- the same bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", list(BY_NAME))
def test_batches_train_as_the_array_does_without_shuffling(form, loss):
    X, y = problem(loss)
    one, other = network(loss), network(loss)
    options = {"loss": loss, "epochs": 3, "optimizer": "adam", "validation_data": problem(loss, 50, seed=1)}
    h1 = one.fit(X, y, batch_size=32, shuffle=False, **options)
    h2 = other.fit(FORMS[form](cut(32, X, y)), **options)
    same_bits(one, other, (h1, h2))
    assert one.epochs_trained == other.epochs_trained == 3


@pytest.mark.usefixtures("threads_as_asked")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("path", ["fused", "unfused"])
@pytest.mark.parametrize("threads", [1, 2])
def test_with_weights_dropout_schedules_threads_and_paths(dtype, path, threads):
    X, y = problem(rows=700)
    weight = np.random.default_rng(2).random(700) + 0.01
    nets = [network(dropout=0.3, dtype=dtype), network(dropout=0.3, dtype=dtype)]
    histories = []
    for net, streamed in zip(nets, (False, True), strict=True):
        net.path = path
        data = (cut(256, X, y, weight),) if streamed else (X, y)
        more = {} if streamed else {"batch_size": 256, "shuffle": False, "sample_weight": weight}
        histories.append(
            net.fit(
                *data,
                loss="softmax_cross_entropy",
                epochs=2,
                threads=threads,
                optimizer=fj.AdamW(fj.cosine_decay(0.01, 6), clip_norm=0.5),
                class_weight={0: 2.0, 1: 0.5},
                **more,
            )
        )
    same_bits(*nets, histories)


def test_batches_may_have_any_size_and_each_is_a_step():
    X, y = problem()
    edges = [0, 1, 90, 93, ROWS]
    batches = [(X[a:b], y[a:b]) for a, b in pairwise(edges)]
    net, by_hand = network(), network()
    optimizer, optimizer_by_hand = fj.SGD(0.1), fj.SGD(0.1)
    history = net.fit(batches, loss="softmax_cross_entropy", optimizer=optimizer)
    losses, loss = [], fj.SoftmaxCrossEntropy()
    for X_part, y_part in batches:
        value, d = loss(by_hand.forward(X_part), y_part)
        by_hand.backward(d)
        optimizer_by_hand.step(by_hand)
        losses.append(value * len(X_part))
    np.testing.assert_allclose(net.parameters, by_hand.parameters, rtol=1e-5, atol=1e-6)
    assert optimizer.state(net).counters[0] == 4
    assert history["loss"][0] == pytest.approx(sum(losses) / ROWS, rel=1e-6)


def test_a_later_batch_of_more_chunks_has_room_for_their_sums(threads_as_asked, monkeypatch):
    """Where threads take chunks of rows alone, and leave each chunk's loss for the first to add."""
    room, train = [], Program.train

    def noted(self, learner, batches, *given):
        result = train(self, learner, batches, *given)
        room.append((learner.chunk_sums.size, 2 * -(-len(batches.X) // CHUNK)))
        return result

    monkeypatch.setattr(Program, "train", noted)
    monkeypatch.setattr(Program, "_by_rows", lambda self, batch_size, threads: True)
    X, y = problem(rows=2000)
    batches = [(X[:rows], y[:rows]) for rows in (257, 513, 2000, 300, 1)]
    nets, histories = [network(), network()], []
    for net, threads in zip(nets, (1, 2), strict=True):
        histories.append(net.fit(batches, loss="softmax_cross_entropy", threads=threads))
        assert len(room) == 5 and all(size >= needed for size, needed in room), room
        room.clear()
    same_bits(*nets, histories)


def test_a_buffer_that_is_written_over_for_each_batch_is_read_in_time():
    X, y = problem()
    net, other = network(), network()

    def batches():
        buffer_X, buffer_y = np.empty((32, INPUTS), np.float32), np.empty(32, np.int64)
        for X_part, y_part in cut(32, X, y):
            buffer_X[: len(X_part)], buffer_y[: len(X_part)] = X_part, y_part
            yield buffer_X[: len(X_part)], buffer_y[: len(X_part)]

    net.fit(batches, loss="softmax_cross_entropy", epochs=2)
    other.fit(X, y, loss="softmax_cross_entropy", epochs=2, batch_size=32, shuffle=False)
    same_bits(net, other)


@pytest.mark.parametrize("route", ["whole", "by layers", "unfused", "reference"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "categorical_cross_entropy"])
@pytest.mark.parametrize("threads", [1, 2])
def test_targets_may_change_kind_from_batch_to_batch(route, loss, threads):
    X, y = problem(loss, rows=300)
    soft = np.random.default_rng(3).dirichlet(np.ones(OUTPUTS), 300)
    kinds = [y[:64], np.eye(OUTPUTS)[y[64:128]], soft[128:200], y[200:264], soft[264:]]
    edges = np.cumsum([0, *map(len, kinds)])
    batches = [(X[a:b], kind) for (a, b), kind in zip(pairwise(edges), kinds, strict=True)]
    rows = np.concatenate([kind if kind.ndim == 2 else np.eye(OUTPUTS)[kind] for kind in kinds])
    plain = [(X[a:b], rows[a:b]) for a, b in pairwise(edges)]
    for order in (batches, batches[::-1]):
        nets, histories = [network(loss) for _ in range(2)], []
        for net, data in zip(nets, (order, plain if order is batches else plain[::-1]), strict=True):
            use_plan(route != "by layers", net)
            net.path = "fused" if route in ("whole", "by layers") else route
            histories.append(
                net.fit(
                    data,
                    loss=loss,
                    epochs=3,
                    optimizer=fj.SGD(0.5),
                    threads=threads,
                    validation_data=lambda: iter(batches),
                )
            )
        np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-5, atol=1e-6)
        for name in ("loss", "accuracy", "val_loss"):
            np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)


def test_one_buffer_may_serve_the_streams_of_training_of_validation_and_of_a_callback():
    X, y = problem()
    X_val, y_val = problem(rows=64, seed=1)
    buffers = np.empty((32, INPUTS), np.float32), np.empty((32, OUTPUTS)), np.empty(32)

    def through(X, y):
        def batches():
            for X_part, y_part in cut(32, X, np.eye(OUTPUTS)[y]):
                count = len(X_part)
                buffers[0][:count], buffers[1][:count], buffers[2][:count] = X_part, y_part, 1 + X_part[:, 0] ** 2
                yield tuple(one[:count] for one in buffers)

        return batches

    class Watch(fj.Callback):
        def __init__(self, data):
            self.data = data

        def on_batch_end(self, batch, logs):
            self.network.evaluate(self.data, None, "softmax_cross_entropy")

    net, other = network(), network()
    options = {"loss": "softmax_cross_entropy", "epochs": 2}
    h1 = net.fit(
        through(X, y), validation_data=through(X_val, y_val), callbacks=Watch(through(X_val, y_val)), **options
    )
    weight, weight_val = (1 + one[:, 0] ** 2 for one in (X, X_val))
    Y, Y_val = np.eye(OUTPUTS)[y], np.eye(OUTPUTS)[y_val]
    h2 = other.fit(
        X,
        Y,
        sample_weight=weight,
        batch_size=32,
        shuffle=False,
        validation_data=lambda: iter(cut(32, X_val, Y_val, weight_val)),
        **options,
    )
    same_bits(net, other, (h1, h2))


def test_a_dataloader_of_pytorch():
    torch = pytest.importorskip("torch")
    X, y = problem()
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    net, other = network(), network()
    net.fit(torch.utils.data.DataLoader(data, batch_size=50), loss="softmax_cross_entropy", epochs=2)
    other.fit(X, y, loss="softmax_cross_entropy", epochs=2, batch_size=50, shuffle=False)
    same_bits(net, other)


# --- around it ----------------------------------------------------------------------------------------------------


def test_callbacks_and_early_stopping_are_called_as_usual():
    X, y = problem()
    seen = []

    class Note(fj.Callback):
        def on_epoch_begin(self, epoch):
            seen.append(("begin", epoch))

        def on_batch_end(self, batch, logs):
            seen.append(("batch", batch))
            self.network.stop_training = len(seen) >= 9

        def on_epoch_end(self, epoch, logs):
            seen.append(("end", epoch))

    net = network()
    history = net.fit(cut(70, X, y), loss="softmax_cross_entropy", epochs=5, callbacks=Note())
    epoch = [("batch", 0), ("batch", 1), ("batch", 2)]
    assert seen == [("begin", 0), *epoch, ("end", 0), ("begin", 1), *epoch, ("end", 1)]
    assert len(history["loss"]) == 2
    stopping = fj.EarlyStopping(monitor="loss", patience=1, min_delta=1e9)
    assert len(net.fit(cut(70, X, y), loss="softmax_cross_entropy", epochs=9, callbacks=stopping)["loss"]) == 2


def test_validation_data_may_come_in_batches_too():
    X, y = problem()
    weight = np.random.default_rng(0).random(ROWS)
    net = network()
    loader = Loader(cut(40, X, y, weight))
    history = net.fit(X, y, loss="softmax_cross_entropy", epochs=2, validation_data=loader)
    whole = net.evaluate(X, y, "softmax_cross_entropy", sample_weight=weight)
    assert history["val_loss"][-1] == pytest.approx(whole["loss"], rel=1e-6)
    assert history["val_accuracy"][-1] == pytest.approx(whole["accuracy"], rel=1e-6)
    assert loader.passes == 2
    assert net.evaluate(loader, None, "softmax_cross_entropy") == pytest.approx(whole)


def test_the_iterable_is_gone_through_once_an_epoch():
    loader = Loader(cut(50, *problem()))
    network().fit(loader, loss="softmax_cross_entropy", epochs=3)
    assert loader.passes == 3


def test_progress_counts_rows_of_streams_of_unknown_length(monkeypatch):
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def bar(asked, epochs):
        yield lambda epoch, logs, done, total, epoch_end=False: seen.append((epoch, done, total, epoch_end))

    monkeypatch.setattr("fastjac.training.loop.bar", bar)
    batches = cut(70, *problem())
    network().fit(lambda: iter(batches), loss="softmax_cross_entropy", epochs=2)
    first = [(0, 70, 0, False), (0, 140, 0, False), (0, 203, 203, True)]
    assert seen == [*first, (1, 70, 203, False), (1, 140, 203, False), (1, 203, 203, True)]
    seen.clear()
    network().fit(batches, loss="softmax_cross_entropy")
    assert seen == [(0, 70, 210, False), (0, 140, 210, False), (0, 203, 203, True)]


def test_the_bar_draws_a_stream_of_unknown_length(monkeypatch, capsys):
    for name, value in {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm", "COLUMNS": "150"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    batches = cut(70, *problem())
    history = network().fit(lambda: iter(batches), loss="softmax_cross_entropy", epochs=2)
    assert f"loss {history['loss'][-1]:.4f}" in capsys.readouterr().err


# --- errors -------------------------------------------------------------------------------------------------------


def generator(batches):
    yield from batches


GOOD = cut(50, *problem())


@pytest.mark.parametrize(
    ("make", "options", "kind", "words"),
    [
        (lambda: generator(GOOD), {"epochs": 2}, TypeError, "generator, which can be gone through once.* 2 epochs"),
        (lambda: iter(GOOD), {"epochs": 3}, TypeError, "gone through once"),
        (lambda: [], {}, ValueError, "X is empty"),
        (lambda: lambda: iter(()), {}, ValueError, "X is empty"),
        (lambda: 5, {}, TypeError, "X is a int, expected an iterable of batches"),
        (lambda: lambda: 5, {}, TypeError, "a function that gave int"),
        (lambda: problem()[0], {}, TypeError, "X is a ndarray and comes without y"),
        (lambda: {"X": 1}, {}, TypeError, "X is a dict and comes without y"),
        (problem, {}, TypeError, r"batch 0 of X is a ndarray, expected \(X, y\)"),
        (lambda: [problem()[:1]], {}, TypeError, "batch 0 of X is a tuple of 1"),
        (lambda: [(*problem(), None, None)], {}, TypeError, "batch 0 of X is a tuple of 4"),
        (lambda: [(np.zeros((4, 5)), np.zeros(4, int))], {}, ValueError, r"batch 0 of X: X has shape \(4, 5\)"),
        (lambda: [(np.zeros((0, 6)), np.zeros(0, int))], {}, ValueError, r"batch 0 of X: X has shape \(0, 6\)"),
        (lambda: [(np.full((4, 6), np.nan), np.zeros(4, int))], {}, ValueError, "batch 0 of X: X .* NaN"),
        (lambda: [(np.zeros((4, 6)), np.full(4, 3))], {}, ValueError, "batch 0 of X: y .* class index 3"),
        (lambda: [(np.zeros((2, 6)), [0, 1], [1, -1])], {}, ValueError, "batch 0 of X: sample_weight .* negative"),
        (lambda: GOOD, {"sample_weight": np.ones(203)}, ValueError, "sample_weight does not go with batches"),
        (lambda: GOOD, {"class_weight": "balanced"}, ValueError, "class_weight is 'balanced', which needs all"),
        (lambda: GOOD, {"class_weight": {7: 1}}, ValueError, "class 7"),
        (lambda: GOOD, {"validation_data": iter(GOOD), "epochs": 2}, TypeError, "validation_data is a list_iterator"),
        (lambda: GOOD, {"validation_data": (1, 2, 3, 4)}, TypeError, "validation_data must be"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_changed(make, options, kind, words):
    net = network()
    before = net.parameters.copy()
    with pytest.raises(kind, match=words):
        net.fit(make(), loss="softmax_cross_entropy", **options)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.epochs_trained == 0


def test_a_generator_does_for_one_epoch():
    net, other = network(), network()
    net.fit(generator(GOOD), loss="softmax_cross_entropy")
    other.fit(GOOD, loss="softmax_cross_entropy")
    same_bits(net, other)


def test_a_function_that_gives_the_same_iterator_again_is_found_out():
    batches = iter(GOOD)
    net = network()
    with pytest.raises(ValueError, match="X gave no more batches"):
        net.fit(lambda: batches, loss="softmax_cross_entropy", epochs=2)
    assert net.epochs_trained == 1


def test_a_later_batch_that_is_wrong_is_named_and_ends_training_there():
    net, other = network(), network()
    with pytest.raises(ValueError, match=r"batch 2 of X: X has shape \(3, 2\)"):
        net.fit([*GOOD[:2], (np.zeros((3, 2)), [0, 1, 2])], loss="softmax_cross_entropy")
    other.fit(GOOD[:2], loss="softmax_cross_entropy")
    same_bits(net, other)


def test_an_error_inside_the_iterable_comes_through():
    def broken():
        yield GOOD[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        network().fit(broken, loss="softmax_cross_entropy")


def test_the_batch_whose_loss_is_not_finite_is_named():
    net = fj.Sequential([fj.Dense(INPUTS, 1)], seed=0)
    good, bad = np.zeros((4, INPUTS)), np.full((4, INPUTS), 3e38)
    with pytest.raises(fj.NonFiniteError, match="epoch 0, batch 2"):
        net.fit([(good, np.zeros(4)), (good, np.zeros(4)), (bad, np.zeros(4))], loss="mean_squared_error")


# --- memory -------------------------------------------------------------------------------------------------------


def test_a_mapped_file_is_trained_on_without_a_copy(tmp_path):
    rows, width = 400_000, 128  # 195 MiB
    path = tmp_path / "X.npy"
    X = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    rng = np.random.default_rng(0)
    for k in range(0, rows, 50_000):
        X[k : k + 50_000] = rng.standard_normal((50_000, width), np.float32)
    y = rng.integers(0, 3, rows)
    X.flush()
    del X
    mapped = np.load(path, mmap_mode="r")
    assert mapped.nbytes > 190 * 2**20
    net = fj.Sequential([fj.Dense(width, 3)], seed=0)
    net.fit(mapped[:64], y[:64], loss="softmax_cross_entropy")
    for shuffle in (False, True):
        tracemalloc.start()
        net.fit(mapped, y, loss="softmax_cross_entropy", batch_size=1024, shuffle=shuffle, progress=False)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 16 * 2**20  # of which the shuffled order of the rows is 3


def in_a_process(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_a_parquet_file_is_streamed_in_less_memory_than_it_fills(tmp_path):
    pytest.importorskip("pyarrow")
    result = in_a_process(f"""
        import json, resource
        import numpy as np, pyarrow as pa, pyarrow.parquet as pq
        import fastjac as fj

        rng = np.random.default_rng(0)
        names = [f"x{{k}}" for k in range(40)]

        def write(path, groups, rows):
            with pq.ParquetWriter(path, pa.schema([*((n, pa.float64()) for n in names), ("y", pa.float64())])) as file:
                for _ in range(groups):
                    X = rng.standard_normal((rows, 40))
                    columns = dict(zip(names, X.T)) | {{"y": X[:, 0] - X[:, 1] + 0.1}}
                    file.write_table(pa.table(columns))

        def train(path):
            batches = fj.tables.stream(path, target="y", batch_size=512, impute=True)
            net = fj.Sequential([fj.Dense(batches.inputs, 1)], seed=0)
            history = net.fit(batches, loss="mean_squared_error", epochs=2, optimizer=fj.Adam(0.01), progress=False)
            return batches.rows, history["loss"]

        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        train((write({str(tmp_path / "small")!r}, 4, 20_000), {str(tmp_path / "small")!r})[1])
        before = peak()
        path = {str(tmp_path / "large")!r}
        write(path, 32, 20_000)
        rows, losses = train(path)
        print(json.dumps({{"grown": peak() - before, "whole": rows * 41 * 8 / 2**20, "losses": losses}}))
    """)
    assert result["whole"] > 195
    assert result["grown"] < result["whole"] / 5
    assert result["losses"][1] < result["losses"][0]
