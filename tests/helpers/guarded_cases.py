"""Random calls of every kernel in guarded memory, as a program: ``guarded_cases.py seed first last only [broken]``.

``only``: the number of the one array to guard; -1 for none, -2 for all. With GUARDED_AS=64x32 in the environment,
kernels are made of vectors of 64 bytes, of which there are 32; then FASTJAC_CACHE_DIR must be a folder for that alone.

Prints what it is about to do before it does it, so that the last line names the kernel and the shape that a signal came
from. Every case also runs in ordinary memory, and must give the same bits: then nothing that was read was unwritten.
"""

import collections
import faulthandler
import sys

import guarded
import numpy as np
from fastjac.kernels import blocking, checked, dense, gemm, network, optimizers, simd
from fastjac.kernels import learning as fused
from fastjac.kernels import training as steps
from fastjac.kernels._jit import kernel
from fastjac.kernels.activations import CODES, TABLE, Slope
from fastjac.kernels.arrays import address_of, strides
from fastjac.kernels.counting import blocks, padded_row
from fastjac.kernels.matrix import Function, Matrix, Rows, Sizes, Team, matrix_at
from fastjac.kernels.simd import address, advance, get, integers_at, put
from fastjac.kernels.tile import SET

import fastjac as fj
import fastjac.nn.network
import fastjac.nn.optimizers
import fastjac.training.steps
from fastjac.nn import program
from fastjac.support.workers import Workers

# around the widths of tiles, of vectors in both types, of panels and of chunks
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 70, 95, 96, 97)
LARGE = (113, 127, 128, 129, 144, 159, 160, 161, 193, 200, 256, 300, 321, 400, 496, 500, 784)
ROWS = (1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 128, 129)
MANY = (248, 249, 255, 256, 257, 511, 512, 513, 600, 1023, 1025, 1300)
MOST_WORK = 3_000_000  # multiply-adds of a product: a few milliseconds
DTYPES = ("float32", "float64")
LOSSES = {
    "softmax_cross_entropy": "classes",
    "binary_cross_entropy": "bits",
    "binary_cross_entropy_probabilities": "bits",
    "categorical_cross_entropy": "classes",
    "mean_squared_error": "numbers",
    "absolute_error": "numbers",
    "huber": "numbers",
    "quantile": "numbers",
    "poisson": "amounts",
}


def size(rng, large=0.2):
    return int(rng.choice(LARGE if rng.random() < large else SIZES))


def shape(rng, large=0.2, most=MOST_WORK, many=MANY):
    """Rows, inputs and outputs of a product that does not take long."""
    while True:
        n = int(rng.choice(many if rng.random() < 0.25 else ROWS))
        i, o = size(rng, large), size(rng, large)
        if n * i * o <= most:
            return n, i, o


class Ordinary:
    """As ``guarded.Memory``, without guards."""

    def array(self, shape, dtype, values=None, name=None):
        array = np.full(shape, 0, dtype)
        if values is not None:
            array[...] = values
        return array

    def copy(self, values, name=None):
        return np.array(values, order="C")

    def strided(self, values, rng, name=None):
        rng.integers(5)
        return np.array(values, order="C")


# --- the public kernels -------------------------------------------------------------------------------------------
# A case is a generator: it first yields what it is, then takes memory and a random generator for the arrays' strides,
# and gives the arrays that must have been written in full.


def dense_layer(rng):
    n, i, o = shape(rng)
    dtype, name = rng.choice(DTYPES), str(rng.choice(list(CODES)))
    bias, kept, to_input = rng.random() < 0.8, TABLE[CODES[name]].needs_input, rng.random() < 0.7
    X, W, b, dA = (rng.normal(size=s).astype(dtype) for s in ((n, i), (i, o), (o,), (n, o)))
    yield f"dense_forward, dense_backward {(n, i, o)} {dtype} {name} bias {bias} input_gradient {to_input}"

    def run(memory, rng):
        given = memory.strided(X, rng, "X"), memory.copy(W, "W")
        A, Z = (memory.array((n, o), dtype, name=name) for name in ("out", "z_out"))
        kernels_b = memory.copy(b, "b") if bias else None
        fj.kernels.dense_forward(*given, kernels_b, name, out=A, z_out=Z if kept else None)
        dX, dW, db = (memory.array(s, dtype, name=w) for s, w in (((n, i), "dX"), ((i, o), "dW"), ((o,), "db")))
        fj.kernels.dense_backward(
            memory.strided(dA, rng, "dA"),
            A,
            *given,
            name,
            Z=Z if kept else None,
            input_gradient=to_input,
            dX=dX if to_input else None,
            dW=dW,
            db=db,
        )
        return [A, dW, db] + [Z] * kept + [dX] * to_input

    yield run


def element_wise(rng):
    n, _, o = shape(rng)
    dtype, name = rng.choice(DTYPES), str(rng.choice(list(CODES)))
    Z, d = (rng.normal(size=(n, o)).astype(dtype) for _ in range(2))
    yield f"activation_forward, activation_backward, softmax, softmax_backward {(n, o)} {dtype} {name}"

    def run(memory, rng):
        given = memory.copy(Z, "Z")
        A, dZ, S, dS = (memory.array((n, o), dtype, name=w) for w in ("A", "dZ", "S", "dS"))
        fj.kernels.activation_forward(given, name, out=A)
        fj.kernels.activation_backward(memory.copy(d, "dA"), A, name, Z=given, out=dZ)
        fj.kernels.softmax(given, out=S)
        fj.kernels.softmax_backward(memory.copy(d, "dS"), S, out=dS)
        return A, dZ, S, dS

    yield run


def dropout(rng):
    n, _, o = shape(rng)
    dtype, rate = rng.choice(DTYPES), float(rng.choice([0.0, 0.3, 0.9]))
    yield f"dropout_mask {(n, o)} {dtype}"
    yield lambda memory, rng: [fj.kernels.dropout_mask((n, o), rate, seed=n, step=o, place=3, dtype=dtype)]


def loss(rng):
    n, _, k = shape(rng, large=0.05)
    dtype, name = rng.choice(DTYPES), str(rng.choice(list(LOSSES)))
    kind, rows, weighted = LOSSES[name], rng.random() < 0.5, rng.random() < 0.5
    Z = rng.normal(size=(n, k))
    if name in ("binary_cross_entropy_probabilities", "categorical_cross_entropy"):
        Z = rng.random((n, k))
    y = {
        "classes": lambda: rng.integers(0, k, n),
        "bits": lambda: rng.random((n, k)),
        "numbers": lambda: rng.normal(size=(n, k)),
        "amounts": lambda: rng.poisson(1.0, (n, k)).astype(float),
    }[kind]()
    if kind == "classes" and rows:
        y = rng.dirichlet(np.ones(k), n)
    Z, y = Z.astype(dtype), y.astype(dtype) if y.ndim == 2 else y
    weights = np.where(rng.random(n) < 0.2, 0.0, rng.random(n)) if weighted else None
    if weighted:
        weights[0] = 1.0
    yield f"{name} {(n, k)} {dtype} targets {y.shape} weighted {weighted}"

    def run(memory, rng):
        d = memory.array((n, k), dtype, name="out")
        weight = None if weights is None else memory.copy(weights, "sample_weight")
        value, _ = getattr(fj.kernels, name)(memory.copy(Z, "Z"), memory.copy(y, "y"), sample_weight=weight, out=d)
        return d, np.array([value])

    yield run


def optimizer(rng):
    count = int(rng.choice([size(rng), size(rng) * size(rng)]))
    rule, dtype = int(rng.integers(len(optimizers.TABLE))), rng.choice(DTYPES)
    clip, momentum = float(rng.choice([0.0, 0.1])), float(rng.choice([0.0, 0.9]))
    settings = np.zeros(optimizers.SETTINGS)
    settings[[optimizers.MOMENTUM, optimizers.BETA_2, optimizers.EPSILON]] = momentum, 0.999, 1e-8
    settings[optimizers.CLIP_NORM], settings[optimizers.WEIGHT_DECAY] = clip, float(rng.choice([0.0, 0.01]))
    w, g = (rng.normal(size=count).astype(dtype) for _ in range(2))
    yield f"optimizer_update ({count},) {dtype} rule {rule} momentum {momentum} clip {clip}"

    def run(memory, rng):
        parameters = memory.copy(w, "parameters")
        # the second moments end with the last number: nothing needs the rest of their cache line
        states = optimizers.TABLE[rule].states - 1
        moments = memory.array(states * optimizers.padded_count(count) + count, dtype, 0, "moments")
        given = memory.copy(g, "gradients"), moments, 0.1, memory.copy(settings, "settings")
        checked.penalize(parameters, given[0], 0.1, 0.2)
        checked.optimizer_update(optimizers.compiled(rule, dtype), parameters, *given, 1)
        return [parameters]

    yield run


# --- the products, with each thread's share -----------------------------------------------------------------------
# On whole numbers, whose sums are exact: where a part of the scratch memory lies under another, the result is wrong.


@kernel
def _forward(x, w, b, has_bias, a, sizes, buffer, part, parts):
    at, to = address(w), Rows(address(a), sizes.outputs)
    team, layer = Team(part, parts, integers_at(0)), dense.Layer(at, address(b), has_bias)
    dense.forward(matrix_at(x, at), layer, to, to, sizes, Function(0, 0.0), address(buffer), team)


@kernel
def _backward_input(dz, w, dx, sizes, zeros, buffer, part, parts):
    above, to = Rows(address(dz), dz.shape[1]), Rows(address(dx), sizes.inputs)
    team, nothing = Team(part, parts, integers_at(0)), Slope(Function(0, 0.0), to, to)
    dense.backward_input(above, address(w), to, sizes, nothing, address(zeros), address(buffer), team)


@kernel
def _backward_parameters(x, dz, dw, db, sizes, zeros, buffer, part, parts):
    above, to = Rows(address(dz), dz.shape[1]), dense.Layer(address(dw), address(db), 1)
    given, team = matrix_at(x, address(dw)), Team(part, parts, integers_at(0))
    dense.backward_parameters(given, sizes.inputs, above, to, sizes, SET, address(zeros), address(buffer), team)


SGD = optimizers.CODES["sgd"]


@kernel
def _learn(x, dz, w, rule, settings, state, sizes, zeros, buffer, part, parts):
    at, team = address(w), Team(part, parts, integers_at(0))
    change = optimizers.change_of(rule, settings, 1.0, 1, 1.0, 0.0, 0.0)
    layer, above = dense.Layer(at, advance(at, sizes.inputs * sizes.outputs), 1), Rows(address(dz), dz.shape[1])
    given, to = matrix_at(x, at), address(state)
    fused.learn(given, sizes.inputs, above, layer, change, to, 0, sizes, address(zeros), address(buffer), team)


def _integers(rng, *shapes):
    return [rng.integers(-3, 4, s).astype(float) for s in shapes]


def products(rng):
    n, i, o = shape(rng, large=0.4)
    dtype, parts = rng.choice(DTYPES), int(rng.choice([1, 1, 2, 3]))
    X, W, b, dZ = _integers(rng, (n, i), (i, o), (o,), (n, o))
    bias = rng.random() < 0.7
    yield f"dense.forward, backward_input, backward_parameters {(n, i, o)} {dtype} parts {parts} bias {bias}"

    def run(memory, rng):
        x, w = memory.strided(X.astype(dtype), rng, "X"), memory.copy(W.astype(dtype), "W")
        zeros = memory.array(blocking.ZEROS, dtype, 0, "zeros")
        given = memory.copy(b.astype(dtype), "b") if bias else zeros
        a, dx, dw, db = (
            memory.array(s, dtype, name=w) for s, w in (((n, o), "A"), ((n, i), "dX"), ((i, o), "dW"), ((o,), "db"))
        )
        dz, matrix, sizes = _padded(memory, dZ.astype(dtype)), Matrix(address_of(x), *strides(x)), Sizes(n, i, o)
        for part in range(parts):
            panel = memory.array(blocking.PANEL, dtype, name="panel")
            _forward(matrix, w, given, int(bias), a, sizes, panel, part, parts)
            _backward_input(dz, w, dx, sizes, zeros, panel, part, parts)
            _backward_parameters(matrix, dz, dw, db, sizes, zeros, panel, part, parts)
        _exact(a, X @ W + b * bias, "A")
        _exact(dx, dZ @ W.T, "dX")
        _exact(dw, X.T @ dZ, "dW")
        _exact(db, dZ.sum(0), "db")
        return a, dx, dw, db

    yield run


def learning(rng):
    # a chunk that is full, or nearly: only then are the parts of the buffer full
    n, i, o = shape(rng, 0.6, 8 * MOST_WORK, (248, 249, 250, 255, 256))
    dtype, parts = rng.choice(DTYPES), int(rng.choice([1, 1, 2, 3]))
    X, W, dZ = _integers(rng, (n, i), (i + 1, o), (n, o))
    yield f"learning.learn {(n, i, o)} {dtype} parts {parts}"

    def run(memory, rng):
        x, w = memory.strided(X.astype(dtype), rng, "X"), memory.copy(W.astype(dtype).ravel(), "W and b")
        zeros, settings = (
            memory.array(blocking.ZEROS, dtype, 0, "zeros"),
            memory.array(optimizers.SETTINGS, "float64", 0),
        )
        dz, state = _padded(memory, dZ.astype(dtype)), memory.array(0, dtype, name="state")
        matrix, sizes = Matrix(address_of(x), *strides(x)), Sizes(n, i, o)
        for part in range(parts):
            buffer = memory.array(fused.learn_memory(o), dtype, name="buffer")
            _learn(matrix, dz, w, optimizers.compiled(SGD, dtype), settings, state, sizes, zeros, buffer, part, parts)
        _exact(w.reshape(i + 1, o), W - np.vstack([X.T @ dZ, dZ.sum(0)]), "W and b")
        return [w]

    yield run


def _padded(memory, dZ):
    """dZ as the network keeps it: rows with padding, which is never written."""
    padded = memory.array((len(dZ), padded_row(dZ.shape[1])), dZ.dtype, name="dZ")
    padded[:, : dZ.shape[1]] = dZ
    return padded


def _exact(found, wanted, name):
    wrong = found != wanted
    places = np.unique(np.argwhere(wrong)[:, 0])
    assert not wrong.any(), f"{name} is wrong in {wrong.sum()} of {wrong.size} places, at {places}"


# --- packing ------------------------------------------------------------------------------------------------------


@kernel
def _pack(x, tiles, turned, copied, rows, columns, target_row):
    to, copy = address(tiles), Rows(address(copied), target_row)
    given = matrix_at(x, to)
    gemm.pack_tiles(given, to, rows, columns)
    gemm.copy_rows(given, copy, rows, columns)
    gemm.pack_transposed(copy, Rows(address(turned), rows), rows, columns)


def packing(rng):
    n, _, k = shape(rng)
    dtype = rng.choice(DTYPES)
    A = rng.normal(size=(n, k)).astype(dtype)
    beside = int(rng.integers(0, 9))
    yield f"pack_tiles, pack_transposed, copy_rows {(n, k)} {dtype} {beside} numbers between rows"

    def run(memory, rng):
        x = memory.strided(A, rng, "A")
        tiles = memory.array(blocks(n, blocking.TILE_ROWS) * blocking.TILE_ROWS * k, dtype, name="tiles")
        turned = memory.array((k, n), dtype, name="turned")
        copied = memory.array((n - 1) * (k + beside) + k, dtype, name="copied")
        _pack(Matrix(address_of(x), *strides(x)), tiles, turned, copied, n, k, k + beside)
        np.testing.assert_array_equal(turned, A.T)
        whole = n // blocking.TILE_ROWS
        by_tile = A[: whole * blocking.TILE_ROWS].reshape(whole, blocking.TILE_ROWS, k).transpose(0, 2, 1)
        np.testing.assert_array_equal(tiles[: by_tile.size], by_tile.ravel())
        return [turned]

    yield run


# --- whole networks -----------------------------------------------------------------------------------------------


def _layers(rng):
    width = size(rng, 0.15)
    layers, inputs = [], width
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.random()
        if kind < 0.15:
            layers.append(("Dropout", 0.25))
        elif kind < 0.3:
            layers.append(("Activation", str(rng.choice(list(CODES)))))
        elif kind < 0.35:
            layers.append(("Softmax",))
        outputs = size(rng, 0.15)
        layers.append(("Dense", width, outputs, str(rng.choice(list(CODES))), bool(rng.random() < 0.8)))
        width = outputs
    return inputs, layers, width


def _network(inputs, layers, dtype):
    made = []
    for kind, *numbers in layers:
        if kind == "Dense":
            made.append(fj.Dense(*numbers[:2], activation=numbers[2], bias=numbers[3]))
        else:
            made.append(getattr(fj, kind)(*numbers))
    net = fj.Sequential(made, inputs=inputs, seed=1, dtype=dtype)
    net.program._zeros[...] = 0  # the only part of its scratch memory whose numbers are promised
    return net


def passes(rng):
    inputs, layers, outputs = _layers(rng)
    n, dtype, threads = (
        int(rng.choice(MANY if rng.random() < 0.3 else ROWS)),
        rng.choice(DTYPES),
        int(rng.integers(1, 4)),
    )
    X, d = rng.normal(size=(n, inputs)).astype(dtype), rng.normal(size=(n, outputs)).astype(dtype)
    yield f"predict, forward, backward {n} rows {dtype} threads {threads} {inputs} {layers}"

    def run(memory, rng):
        net = _network(inputs, layers, dtype)
        x, given = memory.strided(X, rng, "X"), memory.strided(d, rng, "d")
        whole = x if layers[0][0] == "Dense" else memory.copy(X, "X")  # other layers take rows without gaps
        results = [net.program.predict(net.parameters, x, threads)]
        results.append(net.program.forward(net.parameters, whole, True, 5, 7))
        results.append(net.program.backward(net.parameters, whole, given, net.gradients, True))
        return [*results, net.gradients]

    yield run


def training(rng):
    inputs, layers, outputs = _layers(rng)
    n = int(rng.choice(MANY if rng.random() < 0.4 else ROWS))
    batch = min(n, int(rng.choice([n, size(rng, 0.3), 256, 600, 1024])))
    batches = -(-n // batch)
    batches_a_run = min(2 * batches, 5)
    dtype, threads = rng.choice(DTYPES), int(rng.choice([1, 1, 2, 3]))
    loss = str(rng.choice([name for name in LOSSES if "entropy" not in name or name.endswith("cross_entropy")]))
    loss = loss if loss != "categorical_cross_entropy" else "softmax_cross_entropy"
    kind, rows = LOSSES[loss], rng.random() < 0.4
    y = rng.integers(0, outputs, n) if kind == "classes" else rng.random((n, outputs)).astype(dtype)
    if kind == "classes" and rows:
        y = rng.dirichlet(np.ones(outputs), n).astype(dtype)
    weighted, shuffled, keep = rng.random() < 0.3, rng.random() < 0.5, rng.random() < 0.3
    weights = rng.random(n) if weighted else None
    X = rng.normal(size=(n, inputs)).astype(dtype)
    rule, clip, penalty = int(rng.integers(3)), float(rng.choice([0, 0, 0.5])), float(rng.choice([0, 0, 0.01]))
    yield (
        f"train {n} rows, batches of {batch} {dtype} threads {threads} {loss} targets {y.shape} weighted {weighted}"
        f" shuffled {shuffled} keep {keep} rule {rule} clip {clip} penalty {penalty} {inputs} {layers}"
    )

    def run(memory, rng):
        net = _network(inputs, layers, dtype)
        chosen = fj.losses.get(loss)
        maker = [fj.SGD(1e-3, momentum=0.5), fj.Adam(1e-3), fj.AdamW(1e-3)][rule]
        maker.clip_norm = clip or None
        labels, targets = (memory.copy(y, "labels"), None) if y.ndim == 1 else (None, memory.copy(y, "targets"))
        weight = memory.copy(weights, "weights") if weighted else None
        order = None
        if shuffled:
            order = memory.copy(np.stack([np.random.default_rng(k).permutation(n) for k in range(2)]), "order")
        state = maker.state(net)
        learner = program.Learner(
            net.parameters,
            net.gradients,
            state.moments,
            memory.copy(maker.settings(), "settings"),
            maker.rule,
            chosen.code(labels),
            chosen.parameter,
            3,
            state.counters,
            penalty,
            penalty,
            keep_gradients=keep,
        )
        batches = program.Batches(memory.strided(X, rng, "X"), labels, targets, weight, order, batch)
        rates = memory.array(batches_a_run, "float64", 1e-3, "rates")
        with Workers() as workers:
            sums = net.program.train(learner, batches, 0, rates, threads, workers)
        assert len(sums) == batches_a_run, "not finite"
        return net.parameters, sums, state.moments

    yield run


def shuffling(rng):
    rows, count, seed = int(rng.choice([*SIZES, *MANY])), int(rng.choice([1, 2, 5])), int(rng.integers(2**62))
    yield f"shuffle {rows} rows, {count} epochs, seed {seed}"

    def run(memory, rng):
        return [fastjac.training.steps.shuffled(seed, rows)(3, count)]

    yield run


# --- what a broken kernel does ------------------------------------------------------------------------------------


@kernel
def _broken(array, read, write):
    at = address(array)
    value = get(at, read)
    if write != 0:
        put(at, write, value)
    return value


@kernel
def _indexed(array, index):
    return array[index]


def broken(kind):
    """A case that does what none may do, to see that it is found."""

    def case(rng):
        yield f"broken kernel, {kind}"

        def run(memory, rng):
            if isinstance(memory, Ordinary):
                return [np.ones(48, "float32")]
            memory.array(8, "float32", 0, "neighbour")
            array = memory.array(48, "float32", None if kind == "unwritten" else 1, "victim")
            if kind == "index":
                _indexed(array, 48)
                return [array]
            far = 5_000 + 50_000 * int(rng.integers(2))  # more than a page
            at_the_end = array.__array_interface__["data"][0] % guarded.PAGE
            beside = -1 if at_the_end else 48
            places = {"read": (-far, 0), "write": (0, 48 + far), "beside": (0, beside), "unwritten": (0, 0)}
            _broken(array, *places[kind])
            return [array]

        yield run

    return case


BROKEN = {kind: broken(kind) for kind in ("read", "write", "beside", "unwritten", "index")}
CASES = {
    dense_layer: 0.2,
    element_wise: 0.08,
    dropout: 0.02,
    loss: 0.1,
    optimizer: 0.05,
    products: 0.15,
    learning: 0.15,
    packing: 0.05,
    passes: 0.08,
    training: 0.1,
    shuffling: 0.02,
}

# --- running them -------------------------------------------------------------------------------------------------

taken = collections.Counter()


def _replaced():
    entries = [
        *((network, name) for name in ("predict", "forward", "backward")),
        (steps, "train"),
        *(
            (checked, name)
            for name in (
                "_dense_forward",
                "_dense_backward",
                "_activation_forward",
                "_activation_backward",
                "_softmax",
                "_softmax_backward",
                "_dropout_mask",
                "_loss",
                "optimizer_update",
                "penalize",
            )
        ),
    ]
    return [
        *(
            (module, "np", guarded.guarded_numpy)
            for module in (checked, program, fastjac.nn.optimizers, fastjac.training.steps)
        ),
        (checked, "aligned", guarded.guarded_numbers),
        (program, "aligned", guarded.guarded_numbers),
        (fastjac.nn.network, "aligned", guarded.guarded_zeros),
        (fastjac.nn.optimizers, "aligned", guarded.guarded_zeros),
        (checked, "labels", guarded.guarded_result),
        (checked, "address_of", guarded.guarded_address),
        (program, "address_of", guarded.guarded_address),
        (fastjac.training.steps, "address_of", guarded.guarded_address),
        (checked, "_ZEROS", lambda memory, old: {d: memory.array(blocking.ZEROS, d, 0, "_ZEROS") for d in old}),
        *((module, name, guarded.guarded_kernel) for module, name in entries),
    ]


def one_case(seed, case, only=None, kind=None):
    rng = np.random.default_rng([seed, case])
    chosen = kind or rng.choice(list(CASES), p=list(CASES.values()))
    steps = chosen(rng)
    print("case", seed, case, next(steps), flush=True)
    run = next(steps)
    expected = run(Ordinary(), np.random.default_rng(case))
    memory = guarded.Memory(np.random.default_rng(case), only)
    with guarded.guarding(memory, _replaced()):
        found = run(memory, np.random.default_rng(case))
    memory.check()
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert guarded.unwritten(one) == 0, f"{guarded.unwritten(one)} numbers of result {k} were not written"
        assert one.tobytes() == other.tobytes(), f"result {k} depends on the memory it is computed in"
    taken[chosen.__name__] += 1


def main(seed, first, last, only, kind=None):
    faulthandler.enable()
    print(
        f"registers: {simd.registers()} of {simd.register_bytes()} bytes, tiles of {blocking.TILE_ROWS} rows",
        flush=True,
    )
    for case in range(first, last):
        try:
            one_case(seed, case, None if only == -2 else only, BROKEN.get(kind))
        except BaseException as error:
            print("failed:", repr(error), flush=True)
            raise
    print("done", dict(taken), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]), *sys.argv[5:])
