"""Names that do not exist are refused with the nearest one, and what the library has built on can't be changed."""

import copy
import math
import pickle
import re

import numpy as np
import pytest
from tests_support import use_plan

import fastjac as fj
from fastjac.nn import losses, optimizers
from fastjac.paths import PATHS


def network():
    return fj.Sequential([fj.Dense(2, 3, activation="relu"), fj.Dropout(0.1), fj.Softmax()], seed=0)


UNKNOWN = [
    (lambda: fj.Dense(2, 3), "wieght", "weight"),
    (lambda: fj.Dense(2, 3), "trainable", None),
    (lambda: network().layers[0], "wieght", "weight"),
    (lambda: network().layers[0], "trainable", None),
    (lambda: fj.Activation("relu"), "activaton", "activation"),
    (lambda: fj.Dropout(0.1), "p", "rate"),
    (lambda: fj.Dropout(0.1), "Rate", "rate"),
    (fj.Softmax, "axis", None),
    (network, "trainable", None),
    (network, "stop_trainig", "stop_training"),
    (network, "epoch_trained", "epochs_trained"),
    (fj.Adam, "lr", "learning_rate"),
    (fj.Adam, "eps", "epsilon"),
    (fj.Adam, "betas", "beta_1"),
    (fj.SGD, "momentun", "momentum"),
    (fj.AdamW, "weight_deacy", "weight_decay"),
    (fj.Huber, "detla", "delta"),
    (fj.Huber, "kind", None),
    (fj.QuantileLoss, "q", None),
    (fj.MeanSquaredError, "kind", None),
    (fj.MeanSquaredError, "label_code", None),
    (fj.MeanSquaredError, "reduction", None),
    (fj.SoftmaxCrossEntropy, "counts_hits", None),
    (fj.EarlyStopping, "patence", "patience"),
    (lambda: fj.Checkpoint("run.safetensors"), "evry", "every"),
    (lambda: fj.Checkpoint("run.safetensors"), "every_batch", "every_batches"),
]


@pytest.mark.parametrize(("make", "name", "near"), UNKNOWN, ids=range(len(UNKNOWN)))
def test_an_unknown_attribute_is_refused_with_the_nearest_name(make, name, near):
    one = make()
    before = pickle.dumps(vars(one).get("learning_rate"))
    with pytest.raises(AttributeError, match=f"has no attribute {name!r}|property {name!r} .* has no setter") as caught:
        setattr(one, name, 1)
    assert (f"did you mean {near!r}" in str(caught.value)) if near else ("did you mean" not in str(caught.value))
    assert not hasattr(one, name) or name in ("kind", "counts_hits")
    assert pickle.dumps(vars(one).get("learning_rate")) == before


WRONG = [
    (lambda: fj.SGD(0.1, momentum=0.5), "learning_rate", [-3, "x", None, np.nan, 10**400]),
    (lambda: fj.SGD(0.1, momentum=0.5), "momentum", [-3, "x", 1.5, 10**400]),
    (lambda: fj.SGD(0.1, momentum=0.5), "weight_decay", [-3, "x", np.inf]),
    (lambda: fj.SGD(0.1, clip_norm=2.0), "clip_norm", [-3, "x", 0, np.nan]),
    (fj.Adam, "beta_1", [-3, "x", 1]),
    (fj.AdamW, "beta_2", [-3, "x", 1]),
    (fj.AdamW, "epsilon", [-3, "x", None]),
    (fj.Huber, "delta", [-3, "x", 0]),
    (fj.QuantileLoss, "quantile", [-3, "x", 1]),
    (lambda: fj.Dropout(0.1), "rate", [-3, "x", 1]),
    (lambda: fj.Dense(2, 3), "activation", [-3, "x"]),
    (lambda: fj.Activation("tanh"), "activation", [-3, "x"]),
    (fj.EarlyStopping, "monitor", [-3, "x"]),
    (fj.EarlyStopping, "patience", [-3, "x", 1.5]),
    (fj.EarlyStopping, "min_delta", [-3, "x", np.nan]),
    (lambda: fj.Checkpoint("run.safetensors"), "path", [-3, "run.h5"]),
    (lambda: fj.Checkpoint("run.safetensors"), "every", [-3, "x", 0]),
    (lambda: fj.Checkpoint("run.safetensors"), "every_batches", [-3, "x", 0]),
    (network, "epochs_trained", [-3, "x", 1.5]),
    (network, "path", [-3, "x"]),
    (network, "preprocessing", [-3, "x", ["x"]]),
]


@pytest.mark.parametrize(("make", "name", "values"), WRONG, ids=[name for _, name, _ in WRONG])
def test_a_wrong_value_is_refused_when_it_is_assigned(make, name, values):
    """As the constructor does, and what was there stays."""
    one = make()
    before = getattr(one, name)
    for value in values:
        with pytest.raises((TypeError, ValueError), match=name):
            setattr(one, name, value)
        assert getattr(one, name) is before or getattr(one, name) == before


def test_a_right_value_is_taken_with_the_type_that_the_constructor_gives_it():
    adam, loss = fj.Adam(), fj.Huber()
    adam.learning_rate, adam.clip_norm, adam.beta_1, loss.delta = np.float32(0.5), 2, np.float64(0.25), 3
    assert (
        repr(adam) == "Adam(learning_rate=0.5, clip_norm=2.0, beta_1=0.25, beta_2=0.999, epsilon=1e-08,"
        " weight_decay=0.0)"
    )
    adam.clip_norm, adam.learning_rate = None, fj.cosine_decay(0.1, 5)
    assert adam.clip_norm is None and callable(adam.learning_rate)
    for layer in (fj.Dense(2, 3), fj.Activation("tanh")):
        layer.activation = "relu"
        assert layer.activation == fj.relu()

    class OfOnesOwn(fj.Adam):
        pass

    own = OfOnesOwn()
    own.anything = -3
    with pytest.raises(ValueError, match="beta_1 is -3"):
        own.beta_1 = -3


@pytest.mark.parametrize(
    ("call", "name", "near"),
    [
        (lambda: fj.Adam(lr=0.1), "lr", "learning_rate"),
        (lambda: fj.SGD(nestrov=True), "nestrov", "nesterov"),
        (lambda: fj.Dense(2, 3, activaton="relu"), "activaton", "activation"),
        (lambda: fj.Dense(2, 3, use_bias=False), "use_bias", "bias"),
        (lambda: fj.Sequential([fj.Dense(2, 3)], random_state=0), "random_state", "seed"),
        (lambda: fj.Huber(detla=1), "detla", "delta"),
        (lambda: fj.EarlyStopping(restore_best_weights=True), "restore_best_weights", "restore_best"),
        (lambda: fj.Dropout(p=0.1), "p", "rate"),
        (lambda: network().fit([[1, 2]], [0], loss="mse", batchsize=1), "batchsize", "batch_size"),
        (lambda: network().fit([[1, 2]], [0], loss="mse", verbose=1), "verbose", "progress"),
        (lambda: network().evaluate([[1, 2]], [0], "mse", sample_weights=[1]), "sample_weights", "sample_weight"),
        (lambda: fj.check_gradients(network(), [[1, 2]], [0], "mse", entires=3), "entires", "entries"),
        (lambda: fj.compare(network(), [[1, 2]], [0], "mse", repeat=3), "repeat", "repeats"),
        (lambda: network().predict([[1, 2]], n_jobs=2), "n_jobs", "threads"),
        (lambda: network().forward([[1, 2]], trainig=True), "trainig", "training"),
        (lambda: fj.MeanSquaredError()([[1]], [[2]], sample_weights=[1]), "sample_weights", "sample_weight"),
        (lambda: fj.Checkpoint("run.safetensors", evry=2), "evry", "every"),
        (lambda: fj.relu(at_zeros=0), "at_zeros", "at_zero"),
        (lambda: fj.leaky_relu(negativ_slope=0.2), "negativ_slope", "negative_slope"),
        (lambda: fj.elu(alhpa=2), "alhpa", "alpha"),
        (lambda: fj.cosine_decay(0.1, step=3), "step", "steps"),
        (lambda: fj.exponential_decay(0.1, 0.9, step=3), "step", "steps"),
        (lambda: fj.datasets.split([[1]], [0], tset=0.1), "tset", "test"),
    ],
    ids=range(23),
)
def test_an_unknown_keyword_is_refused_with_the_nearest_name(call, name, near):
    with pytest.raises(TypeError, match=rf"got an unexpected keyword argument {name!r}; did you mean {near!r}\?"):
        call()


def test_a_class_of_ones_own_takes_any_attribute():
    class Layer(fj.Layer):
        def __init__(self, width):
            self.width = width

    class MyDense(fj.Dense):
        def __init__(self, *sizes, note, **options):
            super().__init__(*sizes, **options)
            self.note = note

    class Network(fj.Sequential):
        def __init__(self, name):
            super().__init__([MyDense(2, 3, note="first")], seed=0)
            self.name = name

    class Adam(fj.Adam):
        pass

    class Callback(fj.Callback):
        pass

    class Loss(fj.Huber):
        pass

    for one in (Layer(3), MyDense(2, 3, note="n"), Network("net"), Adam(), Callback(), Loss()):
        one.anything = 5
        assert one.anything == 5
        assert copy.copy(one).anything == 5
    net = Network("net")
    assert net.layers[0].note == "first"
    with pytest.raises(AttributeError):  # what kernels believe stays closed, there too
        net.inputs = 1


@pytest.mark.parametrize("name", ["layers", "inputs", "outputs", "dtype", "seed", "dropout_seed", "program"])
def test_what_a_network_is_built_on_can_not_be_assigned(name):
    net = network()
    with pytest.raises(AttributeError, match=name):
        setattr(net, name, getattr(fj.Sequential([fj.Dense(7, 8)], dtype="float64"), name))
    assert isinstance(net.layers, tuple)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (0, "inputs", 1),
        (0, "outputs", 10**6),
        (0, "activation", fj.relu()),
        (0, "has_bias", False),
        (1, "rate", 0.5),
        (0, "parameters", {}),
        (0, "gradients", {}),
        (2, "outputs", 9),
        (1, "place", 9),
        (1, "seed", 9),
        (1, "step", 9),
    ],
)
def test_what_a_layer_of_a_network_is_can_not_be_changed(place, name, value):
    net = network()
    layer = net.layers[place]
    before = getattr(layer, name)
    with pytest.raises(AttributeError, match=f"{name} of a .* that belongs to a network can't be changed"):
        setattr(layer, name, value)
    assert getattr(layer, name) is before
    free = fj.Dropout(0.1)
    free.rate = 0.5  # before there is a network, it may
    assert free.rate == 0.5


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", ["parameters", "gradients"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_assigning_parameters_or_gradients_writes_into_the_vector(whole, name, dtype):
    net = fj.Sequential([fj.Dense(2, 3), fj.Dense(3, 2)], seed=0, dtype=dtype)
    use_plan(whole, net)
    vector = getattr(net, name)
    for value in (vector * 0.5, vector.astype(">f8"), np.arange(17)[::-1], [1] * 17, np.ones(34, "f4")[::2]):
        setattr(net, name, value)
        np.testing.assert_array_equal(getattr(net, name), np.asarray(value, dtype))
        assert np.shares_memory(getattr(net, name), vector)
        layer = net.layers[0]
        np.testing.assert_array_equal(getattr(layer, name)["weight"].ravel(), np.asarray(value, dtype)[:6])
    net.parameters *= 2
    net.parameters = net.parameters * 0.5
    X = np.ones((4, 2), dtype)
    expected = (X @ net.layers[0].weight + net.layers[0].bias) @ net.layers[1].weight + net.layers[1].bias
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-5)
    for wrong, error in (
        (np.zeros(1, "f4"), ValueError),
        (np.zeros((17, 1)), ValueError),
        (None, TypeError),
        (np.zeros(17, complex), TypeError),
        ("text", TypeError),
    ):
        before = vector.copy()
        with pytest.raises(error, match=rf"{name} has .*\(17,\)"):
            setattr(net, name, wrong)
        np.testing.assert_array_equal(vector, before)


def test_an_array_that_was_handed_out_can_be_made_strange_and_nothing_follows():
    net = network()
    X = np.ones((4, 2), np.float32)
    expected = net.predict(X)
    for name in ("parameters", "gradients"):
        handed = getattr(net, name)
        with pytest.raises(ValueError, match="resize"):
            handed.resize(1)
        handed.shape = (3, 3)
        handed = getattr(net, name)
        handed.dtype = np.uint8
        handed = getattr(net, name)
        handed.flags.writeable = False
    np.testing.assert_array_equal(net.predict(X), expected)
    net.fit(X, [0, 1, 2, 0], loss="categorical_cross_entropy")
    d = net.forward(X)
    net.backward(d)
    assert net.parameters.shape == net.gradients.shape == (9,)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("sparse_categorical_crossentropy", "softmax_cross_entropy"),
        ("SparseCategoricalCrossentropy", "softmax_cross_entropy"),
        ("categorical_crossentropy", "softmax_cross_entropy"),
        ("CrossEntropyLoss", "softmax_cross_entropy"),
        ("mse", "mean_squared_error"),
        ("MSELoss", "mean_squared_error"),
        ("mae", "absolute_error"),
        ("L1Loss", "absolute_error"),
        ("bce", "binary_cross_entropy"),
        ("BCEWithLogitsLoss", "binary_cross_entropy"),
        ("BCELoss", "binary_cross_entropy_probabilities"),
        ("binary_crossentropy", "binary_cross_entropy"),
        ("Huber", "huber"),
        ("SmoothL1Loss", "huber"),
        ("pinball", "quantile"),
        ("PoissonNLLLoss", "poisson"),
        ("mean squared error", "mean_squared_error"),
        ("hubber", "huber"),
    ],
)
def test_losses_of_other_libraries_are_known_in_hints(given, near):
    with pytest.raises(ValueError, match=re.escape(f"unknown loss {given!r}; did you mean {near!r}?")):
        losses.get(given)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("Relu", "relu"),
        ("ReLU", "relu"),
        ("LeakyReLU", "leaky_relu"),
        ("swish", "silu"),
        ("linear", "identity"),
        ("logistic", "sigmoid"),
        ("GELU", "gelu"),
        ("tanhh", "tanh"),
        ("softmax", "the layer fastjac.Softmax()"),
    ],
)
def test_activations_of_other_libraries_are_known_in_hints(given, near):
    with pytest.raises(ValueError, match=re.escape(f"unknown activation {given!r}; did you mean {near!r}?")):
        fj.Dense(2, 3, activation=given)


@pytest.mark.parametrize(("given", "near"), [("Adam", "adam"), ("AdamW", "adamw"), ("rmsprop", "adam"), ("SGD", "sgd")])
def test_optimizers_of_other_libraries_are_known_in_hints(given, near):
    with pytest.raises(ValueError, match=re.escape(f"unknown optimizer {given!r}; did you mean {near!r}?")):
        optimizers.get(given)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: fj.Dense(2, 3, weight_init=np.zeros((2, 3))), "inputs", 3),
        (lambda: fj.Dense(2, 3, weight_init=np.zeros((2, 3))), "outputs", 4),
        (lambda: fj.Dense(2, 3), "has_bias", False),
        (lambda: fj.Elementwise(math.sin, math.cos), "f", math.cos),
        (lambda: fj.Elementwise(math.sin, math.cos), "slope", math.sin),
    ],
)
def test_what_the_rest_of_a_layer_was_made_for_can_not_be_changed_even_before_there_is_a_network(make, name, value):
    for layer in (make(), copy.deepcopy(make()), pickle.loads(pickle.dumps(make()))):
        before = getattr(layer, name)
        with pytest.raises(AttributeError, match=f"{name} of a .* can't be changed.*[Mm]ake a new layer"):
            setattr(layer, name, value)
        assert getattr(layer, name) == before


def test_nesterov_without_momentum_is_refused_before_the_first_step_also_when_it_is_assigned():
    net = network()
    before = net.parameters.copy()
    for optimizer, name, value in ((fj.SGD(), "nesterov", True), (fj.SGD(0.1, 0.9, nesterov=True), "momentum", 0)):
        setattr(optimizer, name, value)
        with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
            optimizer.step(net)
        with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
            net.fit(np.ones((2, 2)), [0, 1], loss="categorical_cross_entropy", optimizer=optimizer)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("value", ["unfused", None, np.zeros(2), 10**400])
def test_a_layers_path_is_a_module_of_paths_and_a_networks_to_set(value):
    layer = fj.Dense(3, 2)
    with pytest.raises(TypeError, match=r"path of a layer is .*net\.path = "):
        layer.path = value
    layer.path = PATHS["unfused"]
    net = fj.Sequential([layer], seed=0)
    for one in (value, PATHS["reference"]):
        with pytest.raises(AttributeError, match=r"path of a Dense that belongs to a network .*net\.path = "):
            net.layers[0].path = one
    net.path = "unfused"
    assert net.predict(np.zeros((1, 3))).shape == (1, 2)


def test_parameters_by_name_are_written_into():
    """And stay views of the network's, which trains them."""
    net = network()
    layer, view = net.layers[0], net.layers[0].weight
    layer.parameters["weight"] = np.full((2, 3), 2)
    layer.gradients.update(bias=[1, 2, 3])
    assert layer.weight is view or layer.weight.base is view.base
    assert net.parameters[:6].tolist() == [2.0] * 6 and net.gradients[6:].tolist() == [1, 2, 3]
    for wrong in (np.zeros((3, 2)), "x", np.zeros(6)):
        with pytest.raises((TypeError, ValueError)):
            layer.parameters["weight"] = wrong
    with pytest.raises(ValueError, match=r"unknown parameter 'wieght'; did you mean 'weight'\?"):
        layer.parameters["wieght"] = np.zeros((2, 3))
    for change in (
        lambda p: p.pop("weight"),
        lambda p: p.clear(),
        lambda p: p.popitem(),
        lambda p: p.__delitem__("bias"),
    ):
        with pytest.raises(TypeError, match="can't be taken out"):
            change(layer.parameters)
    assert list(layer.parameters) == ["weight", "bias"] and (net.parameters[:6] == 2).all()
    for other in (copy.deepcopy(layer.parameters), pickle.loads(pickle.dumps(layer.parameters))):
        assert type(other) is dict and (other["weight"] == 2).all()
        assert not np.shares_memory(other["weight"], net.parameters)


def test_what_parameters_are_views_of_cannot_be_resized():
    net = network()
    for view in (net.parameters, net.gradients, net.layers[0].weight, net.layers[0].parameters["bias"]):
        assert view.base is not None
        with pytest.raises(ValueError, match="resize"):
            view.base.resize(1, refcheck=False)


class Watched:
    """In place of a network's lock: what its vector is where the lock is taken and where it is let go."""

    def __init__(self, vector):
        self.vector, self.taken, self.let_go = vector, [], []

    def __enter__(self):
        self.taken.append(self.vector.copy())

    def __exit__(self, *_):
        self.let_go.append(self.vector.copy())


@pytest.mark.parametrize("change", ["step", "step_at", "parameters", "gradients", "early stopping"])
def test_a_network_is_locked_for_each_change(change):
    """A process that is forked meanwhile waits for the lock, and gets no half of a change."""
    net = network()
    net.gradients = np.ones(net.gradients.size)
    early = fj.EarlyStopping("loss")
    early.network = net
    early.on_epoch_end(0, {"loss": 1.0})
    net.parameters[:] += 1
    vector = net.gradients if change == "gradients" else net.parameters
    before, lock = vector.copy(), Watched(vector)
    net._lock = lock
    if change == "step":
        fj.SGD(0.5).step(net)
    elif change == "step_at":
        fj.Adam().step_at(net, 0.5)
    elif change == "early stopping":
        early.on_train_end()
    else:
        setattr(net, change, vector + 1)
    assert not np.array_equal(vector, before)
    np.testing.assert_array_equal(lock.taken[0], before)
    np.testing.assert_array_equal(lock.let_go[-1], vector)
