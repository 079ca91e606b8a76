"""What makes the estimators fast changes nothing: epochs taken together, checks left out where they say nothing."""

import warnings
from contextlib import suppress

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import sklearn
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from fastjac import estimators
from fastjac.estimators import MLPClassifier, MLPRegressor
from fastjac.estimators._base import _mean_losses
from fastjac.nn.program import Program

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def _classes(rows, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 4))
    return X, (X @ rng.normal(size=(4, 3))).argmax(axis=1)


def _numbers(rows, seed=0):
    X = np.random.default_rng(seed).normal(size=(rows, 4))
    return X, X[:, 0] * X[:, 1]


def _fitted(one):
    """All that a fit leaves, but for objects."""
    kept = {k: v for k, v in vars(one).items() if k.endswith("_") and isinstance(v, int | float | list)}
    kept |= {name: [array.tolist() for array in kept.pop(name)] for name in ("coefs_", "intercepts_")}
    optimizer = one._optimizer.state(one._network)
    rates = one._rate, one._optimizer.learning_rate
    return kept, optimizer.moments.tolist(), int(optimizer.counters[0]), rates, one._no_improvement_count


WAYS = {
    "adam": {},
    "no end": {"tol": 0.0, "n_iter_no_change": np.inf, "max_iter": 70},
    "sgd stops": {"solver": "sgd", "tol": 1e-3, "n_iter_no_change": 3},
    "stops at once": {"tol": 100.0, "n_iter_no_change": 1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-3, "n_iter_no_change": 2, "max_iter": 100},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 40},
    "in order": {"shuffle": False, "tol": 1e-3},
    "dropout and penalties": {"dropout": 0.2, "alpha": 0.1, "l1": 1e-3, "solver": "adamw", "tol": 1e-3},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3},
    "diverges": {"solver": "sgd", "learning_rate_init": 1e3, "max_iter": 40},
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", ["auto", 20])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("way", WAYS)
def test_epochs_taken_together_are_those_one_by_one(way, kind, batch_size, weighted):
    X, y = (_classes if kind == "MLPClassifier" else _numbers)(61)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weighted else None
    found = []
    for callbacks in (None, [lambda epoch, logs: None]):  # a user's are told of each epoch before the next
        settings = {"hidden_layer_sizes": (8,), "random_state": np.random.RandomState(3), "max_iter": 150}
        one = getattr(estimators, kind)(**(settings | WAYS[way]), batch_size=batch_size, callbacks=callbacks)
        with warnings.catch_warnings(record=True) as told, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            for _ in range(2):  # the second draws what the first has left
                with suppress(ValueError):  # weights that are not finite
                    one.fit(X, y, weight)
        found.append((_fitted(one), one.random_state.randint(2**31), [str(w.message) for w in told]))
    np.testing.assert_equal(found[0], found[1])


def test_few_calls_are_made_for_many_short_epochs(monkeypatch):
    calls = []
    train = Program.train
    monkeypatch.setattr(Program, "train", lambda *given: calls.append(1) or train(*given))
    one = MLPClassifier((8,), max_iter=300, tol=0, n_iter_no_change=300, random_state=0).fit(*_classes(40))
    assert one.n_iter_ == 300
    assert len(calls) < 30


def test_training_ends_at_the_epoch_at_which_scikit_learns_does():
    X, y = _classes(100)
    for tol, patience in [(1e-2, 1), (1e-2, 5), (1e-3, 10), (0.5, 3)]:
        settings = {"solver": "sgd", "tol": tol, "n_iter_no_change": patience, "max_iter": 200, "random_state": 1}
        ours, theirs = (module.MLPClassifier((6,), **settings).fit(X, y) for module in (estimators, neural_network))
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.loss_curve_ == pytest.approx(theirs.loss_curve_, rel=1e-9)


# --- checks of rows that are plain --------------------------------------------------------------------------------


def _variants(X, y):
    """Rows and targets that are plain, and others that scikit-learn's checks must see."""
    yield "plain", X, y
    yield "float32", X.astype("f4"), y
    yield "columns in order", np.asfortranarray(X), y
    yield "every second row", X[::2], y[::2]
    yield "the other byte order", X.astype(">f8"), y
    yield "whole numbers", X.astype(int), y
    yield "a list", X.tolist(), y.tolist()
    yield "one row", X[:1], y[:1]
    yield "no rows", X[:0], y[:0]
    yield "a column less", X[:, 1:], y
    yield "one dimension", X[:, 0], y
    yield "a row less", X[1:], y
    third = np.arange(len(X))[:, np.newaxis] == 3
    yield "NaN", np.where(third, np.nan, X), y
    yield "infinite", np.where(third, -np.inf, X), y
    yield "large", np.where(third, 1.5e308, X), y
    yield "y a column", X, y[:, np.newaxis]
    yield "y two columns", X, np.stack([y, y], axis=1)
    yield "y in float32", X, y.astype("f4")
    yield "y in texts", X, y.astype(str)
    yield "y of objects", X, y.astype(object)
    yield "y of one byte", X, y.astype("i1")
    yield "y of truth values", X, y > 0
    yield "y with NaN", X, np.where(np.arange(len(y)) == 2, np.nan, y)
    yield "y of one value", X, np.full_like(y, y[0])
    yield "y with a number more", X, np.where(np.arange(len(y)) == 2, 17, y)
    yield "masked", np.ma.MaskedArray(X, np.zeros(X.shape, bool)), y


def _outcome(one, *arguments, **more):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            one.partial_fit(*arguments, **more)
            error = None
        except Exception as caught:
            error = type(caught), str(caught)
    return error, [(w.category, str(w.message)) for w in told], _fitted(one)


CLASSES = {
    "three": lambda y: y,
    "two": lambda y: y.clip(max=1),
    "far apart": lambda y: y * 1000 - 7,
    "texts": lambda y: np.array(["b", "a", "long"])[y],
    "numbers": lambda y: y.astype(float),
    "truth values": lambda y: y > 0,
    "one": lambda y: y * 0,
}


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("labels", CLASSES)
def test_classes_that_are_plain_are_taken_as_scikit_learns_checks_take_them(labels, solver, monkeypatch):
    X, y = _classes(40)
    y = CLASSES[labels](y)
    variants = list(_variants(X, y)) if labels in ("three", "two") else [("plain", X, y), ("a list", X, y.tolist())]
    taken = []
    for what, rows, target in variants:
        outcomes = []
        for plain in (True, False):
            one = MLPClassifier((5,), solver=solver, random_state=0).partial_fit(X, y, classes=np.unique(y))
            with monkeypatch.context() as patch:
                chosen = MLPClassifier._chosen
                if plain:
                    patch.setattr(MLPClassifier, "_chosen", lambda *given: _noted(taken, what, chosen(*given)))  # noqa: B023
                else:
                    patch.setattr("fastjac.estimators.classifier.is_plain", lambda X, estimator: False)
                outcomes.append(_outcome(one, rows, target))
        np.testing.assert_equal(outcomes[0], outcomes[1], what)
    if labels in ("three", "two"):
        plain = {"plain", "float32", "columns in order", "every second row", "one row", "large"}
        assert set(taken) == plain | {"y of one byte", "y of one value"}
    else:
        assert set(taken) == ({"plain"} if labels in ("far apart", "texts") else set())


def _noted(taken, what, chosen):
    taken.extend([what] * (chosen is not None))
    return chosen


def test_numbers_that_are_plain_are_taken_as_scikit_learns_checks_take_them(monkeypatch):
    X, y = _numbers(40)
    for what, rows, target in _variants(X, y):
        outcomes = []
        for plain in (True, False):
            one = MLPRegressor(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, y)
            with monkeypatch.context() as patch:
                if not plain:
                    patch.setattr("fastjac.estimators.regressor.is_plain", lambda X, estimator: False)
                outcomes.append(_outcome(one, rows, target))
        np.testing.assert_equal(outcomes[0], outcomes[1], what)


def test_names_of_columns_are_asked_for_as_before():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = _classes(30)
    one = MLPClassifier((4,), random_state=0).partial_fit(
        pandas.DataFrame(X, columns=list("abcd")), y, classes=range(3)
    )
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        one.partial_fit(X, y)


def test_classes_may_be_given_again_and_no_others():
    X, y = _classes(30)
    one = MLPClassifier((4,), random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        one.partial_fit(X, y)
    one.partial_fit(X, y, classes=[2, 0, 1])
    for again in ([0, 1, 2], np.arange(3), [2, 1, 0], [0, 1, 2, 2], range(3), None):
        one.partial_fit(X, y, classes=again)
    for other in ([0, 1], [0, 1, 2, 3], ["0", "1", "2"], []):
        with pytest.raises(ValueError, match="classes"):
            one.partial_fit(X, y, classes=other)


def test_scikit_learn_may_be_told_to_assume_that_all_is_finite():
    X, y = _classes(30)
    one = MLPClassifier((4,), random_state=0).partial_fit(X, y, classes=range(3))
    X[3, 1] = np.nan
    with sklearn.config_context(assume_finite=True), pytest.raises(ValueError, match=r"X has shape .* NaN or infinity"):
        one.partial_fit(X, y)


def test_a_convergence_warning_is_still_given():
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        MLPClassifier((4,), max_iter=5, random_state=0).fit(*_classes(30))


# --- random numbers that nobody sees ----------------------------------------------------------------------------------


def _partial_fits(seed, rows, turns=3, **parameters):
    X, y = _classes(rows)
    one = MLPClassifier((5,), random_state=seed, **parameters).partial_fit(X, y, classes=range(3))
    for _ in range(turns):
        one.partial_fit(X, y)
    return one


@pytest.mark.parametrize(
    ("rows", "batch_size", "seen"), [(200, "auto", False), (201, "auto", True), (30, 30, False), (31, 30, True)]
)
def test_partial_fit_of_a_single_batch_begins_no_random_numbers_that_nobody_sees(rows, batch_size, seen, monkeypatch):
    one = _partial_fits(0, rows, turns=0, batch_size=batch_size)
    asked = []
    usual = sklearn.utils.check_random_state
    monkeypatch.setattr("fastjac.estimators._base.check_random_state", lambda seed: asked.append(seed) or usual(seed))
    one.partial_fit(*_classes(rows))
    assert asked == ([0] if seen else [])


@pytest.mark.parametrize(("rows", "batch_size"), [(60, "auto"), (60, 60), (60, 59), (60, 7)])
def test_partial_fit_gives_the_same_whether_random_numbers_begin_anew_from_a_number_or_an_object(rows, batch_size):
    X, y = _classes(rows)
    found = []
    for make in (int, np.random.RandomState):  # the second always draws
        one = MLPClassifier((5,), random_state=make(3), batch_size=batch_size).partial_fit(X, y, classes=range(3))
        for _ in range(3):
            one.set_params(random_state=make(3)).partial_fit(X, y)
        found.append(_fitted(one))
    assert found[0] == found[1]


@pytest.mark.parametrize("own", [True, False], ids=["an object", "NumPy's own"])
def test_random_numbers_that_others_see_are_drawn_as_in_scikit_learn(own):
    X, y = _classes(40)
    left = []
    numpys = sklearn.utils.check_random_state(None)  # that of ``np.random.rand``
    before = numpys.get_state()
    try:
        for kind in (MLPClassifier, neural_network.MLPClassifier):
            numpys.seed(5)
            given = np.random.RandomState(5) if own else None
            one = kind((5,), random_state=given)
            for _ in range(3):
                one.partial_fit(X, y, classes=range(3))
            left.append((given or numpys).randint(2**31, size=4).tolist())
    finally:
        numpys.set_state(before)
    assert left[0] == left[1]


@pytest.mark.parametrize("seed", [-1, 2**32, "zero", 1.5])
def test_a_seed_that_is_none_is_refused_in_partial_fit_too(seed):
    X, y = _classes(40)
    one = MLPClassifier((5,), random_state=0).partial_fit(X, y, classes=range(3))
    before = _fitted(one)
    with pytest.raises(ValueError, match=r"[sS]eed"):
        one.set_params(random_state=seed).partial_fit(X, y)
    assert _fitted(one) == before


@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 3.0)])
def test_the_loss_of_a_single_batch_is_that_of_one_among_others(factors):
    rng = np.random.default_rng(0)
    value, gradient = factors
    sums = rng.normal(size=(50, 1, 4)) * 10.0 ** rng.integers(-300, 300, (50, 1, 1))
    sums[:, :, 2] = rng.integers(0, 3, (50, 1)) * 0.7  # weights, some of them 0
    sums[3, 0, 0], sums[4, 0, 0] = np.inf, np.nan
    # a second batch of no rows, which weighs nothing
    both = np.concatenate([sums, np.zeros_like(sums)], axis=1)
    alone = _mean_losses(sums, np.array([7]), value, gradient)
    np.testing.assert_array_equal(alone, _mean_losses(both, np.array([7, 0]), value, gradient))
    assert all(type(one) is float for one in alone)
