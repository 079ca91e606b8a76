"""Calls one after the other, interrupted, pickled, copied, on data that makes training stand still or diverge."""

import copy
import io
import multiprocessing
import pickle
import signal
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
import scipy.special
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastjac as fj
from fastjac import estimators
from fastjac.estimators import MLPClassifier, MLPRegressor, _formulas, _lbfgs

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # scikit-learn 1.6 gives SciPy an option that is going away
    pytest.mark.filterwarnings("ignore:scipy.optimize. The .disp. and .iprint. options:DeprecationWarning"),
]


def _pair(name, hidden, **settings):
    return [getattr(module, name)(hidden_layer_sizes=hidden, **settings) for module in (neural_network, estimators)]


def _assert_same(theirs, ours, rtol=1e-9):
    for name in ("n_iter_", "t_", "best_loss_", "best_validation_score_", "loss_", "loss_curve_", "validation_scores_"):
        wanted = getattr(theirs, name, None)
        if wanted is None:
            assert getattr(ours, name, None) is None
        else:
            np.testing.assert_allclose(getattr(ours, name), wanted, rtol=rtol, err_msg=name)
    for mine, other in zip([*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True):
        np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol * np.abs(other).max())


# --- data that is not scaled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize(("load", "hidden"), [(load_breast_cancer, (4,)), (load_wine, (8,)), (load_digits, (5, 5))])
def test_unscaled_data_stand_still_where_scikit_learns_do(load, hidden, solver):
    X, y = load(return_X_y=True)
    theirs, ours = _pair("MLPClassifier", hidden, max_iter=20, random_state=0, solver=solver)
    with np.errstate(all="ignore"):
        theirs.fit(X, y)
    _assert_same(theirs, ours.fit(X, y))


def test_no_row_loses_more_than_scikit_learn_lets_it():
    X, y = load_breast_cancer(return_X_y=True)
    net = MLPClassifier((4,), max_iter=200, random_state=0).fit(X, y)
    assert net.loss_curve_[0] == pytest.approx(13.429, abs=1e-3)
    assert net.n_iter_ == 12
    assert max(net.loss_curve_) < -np.log(np.finfo(float).eps) + 0.1  # and the penalty


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("rate", [0.1, 1.0, 1e3])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_diverging_training_goes_on_as_in_scikit_learn(name, rate, early_stopping):
    X, y = load_iris(return_X_y=True)
    outcomes = []
    for net in _pair(
        name,
        (20,),
        activation="identity",
        solver="sgd",
        learning_rate_init=rate,
        max_iter=20,
        early_stopping=early_stopping,
        random_state=0,
    ):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                error = net.fit(1e2 * X, y) and None
            except ValueError as one:
                error = str(one)
        finite = np.isfinite(net.loss_curve_)
        outcomes.append([error, net.n_iter_, list(finite), np.isnan(net.validation_scores_ or 0.0).tolist()])
        outcomes[-1].append(None if error else net.predict(X))
    assert outcomes[0][:-1] == outcomes[1][:-1]
    if outcomes[0][0] is None:
        np.testing.assert_allclose(outcomes[1][-1], outcomes[0][-1], rtol=1e-9)


def test_finite_weights_are_returned_though_a_loss_was_infinite():
    X = np.array([[1.0], [2.0], [3.0], [4.0]])
    for net in _pair(
        "MLPRegressor", (2,), activation="identity", solver="sgd", learning_rate_init=1e-170, max_iter=2, random_state=1
    ):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            net.fit(X, 1e160 * X.ravel())  # whose squares overflow
        assert net.loss_curve_ == [np.inf, np.inf]
        assert net.n_iter_ == 2


@pytest.mark.skipif("loss" not in neural_network.MLPRegressor().get_params(), reason="scikit-learn has no Poisson loss")
def test_a_count_of_0_at_a_rate_of_0_has_no_loss_as_in_scikit_learn():
    X, y = np.array([[1e4], [2e4], [3e4], [-1.0]]), [0.0, 0.0, 0.0, 1.0]
    for net in _pair(
        "MLPRegressor",
        (2,),
        loss="poisson",
        activation="identity",
        solver="sgd",
        max_iter=6,
        learning_rate_init=1e-12,
        n_iter_no_change=1,
        random_state=1,
    ):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            net.fit(X, y)
        assert np.isnan(net.loss_curve_).all()
        assert net.n_iter_ == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_of_counts_is_the_formula_wherever_the_rate_becomes_0(dtype):
    """On both sides of the normal numbers' end, and of that of all numbers."""
    ends = (-87.3, -103.9, -104.1) if dtype == "float32" else (-708.3, -745.1, -745.2)
    tiny = np.finfo(dtype).tiny  # a rate below it may count as 0
    for z in (*ends, -1000.0, -1.0, 0.0, 5.0):
        rate = np.exp(np.array(z, dtype))
        for y in (0.0, 2.5):
            if y > 0 and 0 < rate < tiny:
                continue  # a quotient by these has few digits
            with np.errstate(all="ignore"):
                wanted = scipy.special.xlogy(y, y / rate) - y + rate
            got, _ = _formulas.PoissonDeviance()(np.array([[z]], dtype), np.array([[y]]))
            close = 1e-5 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(got, wanted, rtol=close, atol=tiny, err_msg=f"{z} {y}")


# --- Ctrl-C --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_ctrl_c_ends_training_after_an_epoch_that_is_too_short_to_be_cut(name):
    X, y = load_iris(return_X_y=True)

    def press(epoch, logs):
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)

    settings = {"hidden_layer_sizes": (4,), "random_state": 0, "tol": 0, "n_iter_no_change": 1000}
    net = getattr(estimators, name)(**settings, max_iter=1000, callbacks=press)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        assert net.fit(X, y) is net
    assert net.n_iter_ == len(net.loss_curve_) == 4
    # what it is then is what four epochs give
    four = getattr(neural_network, name)(**settings, max_iter=4).fit(X, y)
    _assert_same(four, net)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_first_step_and_twice():
    X, y = load_iris(return_X_y=True)

    class Presses(fj.Callback):
        def __init__(self, *when):
            self.when = when

        def on_epoch_begin(self, epoch):
            if "begin" in self.when:
                signal.raise_signal(signal.SIGINT)

        def on_epoch_end(self, epoch, logs):
            for _ in range(self.when.count(epoch)):
                signal.raise_signal(signal.SIGINT)

        def on_train_end(self):
            self.ended = True

    for when, epochs in [(("begin",), 0), ((1, 1), 2)]:
        presses = Presses(*when)
        net = MLPClassifier((4,), random_state=0, early_stopping=True, callbacks=[presses])
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            net.fit(X, y)
        assert net.n_iter_ == len(net.loss_curve_) == epochs
        assert presses.ended
        assert net.predict(X).shape == y.shape


PROGRAM = """
import sys, warnings
from sklearn.datasets import load_digits
from fastjac.estimators import MLPClassifier
X, y = load_digits(return_X_y=True)
net = MLPClassifier((8,), max_iter=10**6, tol=0, n_iter_no_change=10**6, random_state=0, verbose=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    net.fit(X[:200], y[:200])
print("ended", 20 < net.n_iter_ < 10**6, *[one.message for one in caught])
"""


def test_a_real_ctrl_c_ends_a_fit_of_short_epochs():
    process = subprocess.Popen([sys.executable, "-u", "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(30):
            assert process.stdout.readline().startswith("Iteration")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=120)  # a limit that tells a hang from an end
    finally:
        process.kill()
        process.wait()
    assert rest.splitlines()[-1] == "ended True Training interrupted by user."
    assert process.returncode == 0


# --- pickles and copies ----------------------------------------------------------------------------------------------


COPIES = {
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "joblib": lambda net: joblib.load(_dumped(net)),
}


def _dumped(net):
    stream = io.BytesIO()
    joblib.dump(net, stream)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"solver": "adamw", "dropout": 0.2}], ids=str)
def test_partial_fit_of_a_copy_goes_on_to_the_bit(settings, way):
    X, y = load_digits(return_X_y=True)
    net = MLPClassifier((12,), random_state=0, **settings)
    for _ in range(3):
        net.partial_fit(X[:300], y[:300], classes=range(10))
    again = COPIES[way](net)
    if way == "copy":  # shares its arrays, as with scikit-learn: so another one goes on for comparison
        net = copy.deepcopy(net)
    for one in (net, again):
        for _ in range(3):
            one.partial_fit(X[300:600], y[300:600])
    for mine, other in zip(again.coefs_, net.coefs_, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert again.loss_curve_ == net.loss_curve_


def test_a_pickle_between_partial_fits_changes_nothing_as_in_scikit_learn():
    X, y = load_iris(return_X_y=True)
    theirs, ours = _pair("MLPClassifier", (10,), random_state=0, learning_rate_init=0.01)
    for _ in range(6):
        theirs.partial_fit(X, y, classes=[0, 1, 2])
        ours = pickle.loads(pickle.dumps(ours.partial_fit(X, y, classes=[0, 1, 2])))
    _assert_same(theirs, ours)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"learning_rate": "constant"}, {"learning_rate": "invscaling"}),
        ({"learning_rate": "invscaling"}, {"learning_rate": "constant"}),
        ({"learning_rate": "invscaling"}, {"power_t": 0.1, "learning_rate_init": 0.5}),
        ({"learning_rate": "constant"}, {"learning_rate_init": 0.5, "momentum": 0.1, "nesterovs_momentum": False}),
        ({"learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1}, {"learning_rate": "constant"}),
        ({"learning_rate": "constant", "tol": 10.0, "n_iter_no_change": 1}, {"learning_rate": "adaptive"}),
        ({"learning_rate": "adaptive", "tol": 0.0}, {"tol": 10.0, "n_iter_no_change": 1}),
        ({"learning_rate": "invscaling"}, {"solver": "adam"}),
        ({"solver": "adam", "learning_rate": "invscaling"}, {"solver": "sgd"}),
        ({"solver": "adam", "learning_rate": "adaptive"}, {"solver": "sgd", "tol": 10.0, "n_iter_no_change": 1}),
        ({"solver": "adam"}, {"learning_rate_init": 0.5, "beta_1": 0.5, "epsilon": 0.1}),
        ({}, {"alpha": 3.0, "batch_size": 10, "shuffle": False}),
    ],
    ids=str,
)
def test_partial_fit_goes_on_with_the_settings_that_scikit_learns_goes_on_with(before, after):
    X, y = load_iris(return_X_y=True)
    settings = {"solver": "sgd", "learning_rate_init": 0.05, "random_state": 0, **before}
    theirs, ours = _pair("MLPClassifier", (5,), **settings)
    for net in (theirs, ours):
        for _ in range(3):
            net.partial_fit(X, y, classes=[0, 1, 2])
        net.set_params(**after)
        for _ in range(5):
            net.partial_fit(X, y)
    _assert_same(theirs, ours)
    for net in (theirs, ours):  # a fit begins with the settings of now
        net.set_params(max_iter=5).fit(X, y)
    _assert_same(theirs, ours)


def test_meta_estimators_that_copy_between_partial_fits():
    X, Y = make_regression(120, 4, n_targets=2, random_state=0)
    scores = []
    for net in _pair("MLPRegressor", (10,), random_state=0, learning_rate_init=0.01):
        both = MultiOutputRegressor(net, n_jobs=2)
        for _ in range(8):
            both.partial_fit(X, Y / 100)
        scores.append(both.score(X, Y / 100))
    assert scores[1] == pytest.approx(scores[0], rel=1e-9)


# JAX, where another test has imported it, warns of any fork
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:os.fork")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_a_fitted_model_travels(name, dtype):
    """Reliability test 31: round trips under fork and spawn to the bit; no more in a pickle than its numbers."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(dtype)
    net = getattr(estimators, name)(hidden_layer_sizes=(300,), max_iter=2, random_state=0).fit(X, y)
    method = "predict_proba" if name == "MLPClassifier" else "predict"
    wanted = getattr(net, method)(X)
    for way, copied in COPIES.items():
        np.testing.assert_array_equal(getattr(copied(net), method)(X), wanted, err_msg=way)
    for start in ("fork", "spawn"):
        with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:
            np.testing.assert_array_equal(pool.submit(getattr(net, method), X).result(), wanted)
    size = net.network_.parameters.nbytes
    # Adam's two moments go with it, so that partial_fit goes on
    assert len(pickle.dumps(net)) <= 1.1 * 3 * size
    plain = clone(net).set_params(solver="lbfgs").fit(X, y)
    assert len(pickle.dumps(plain)) <= 1.1 * plain.network_.parameters.nbytes


# --- partial_fit, weights, activation --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_partial_fit_counts_its_own_epoch(name):
    X, y = load_iris(return_X_y=True)
    for net in _pair(name, (4,), random_state=0, max_iter=3):
        net.fit(X, y)
        assert (net.n_iter_, net.t_) == (3, 450)
        for k in range(1, 4):
            net.partial_fit(X, y)
            assert (net.n_iter_, net.t_, len(net.loss_curve_)) == (1, 450 + 150 * k, 3 + k)


def test_weights_are_lists_whose_items_can_be_replaced():
    X, y = load_iris(return_X_y=True)
    theirs, ours = _pair("MLPClassifier", (5, 4), random_state=0, max_iter=3, solver="sgd")
    W = np.random.default_rng(0).normal(size=(5, 4))
    for net in (theirs, ours):
        net.fit(X, y)
        assert type(net.coefs_) is type(net.intercepts_) is list
        assert "coefs_" in vars(net)
        assert "intercepts_" in vars(net)
        net.coefs_[1] = W.copy()
        net.intercepts_[0][:] = 0.5
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)
    np.testing.assert_array_equal(ours.coefs_[1], W)
    for net in (theirs, ours):
        net.partial_fit(X, y)
        net.coefs_ = [2 * one for one in net.coefs_]
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    _assert_same(theirs, ours)
    again = pickle.loads(pickle.dumps(ours))
    ours.coefs_[0] = np.zeros_like(ours.coefs_[0])
    unseen = pickle.loads(pickle.dumps(ours))  # before anything has looked at it
    np.testing.assert_array_equal(unseen.predict_proba(X), ours.predict_proba(X))
    assert not np.array_equal(again.predict_proba(X), ours.predict_proba(X))


def test_weights_may_change_places():
    X, y = load_iris(return_X_y=True)
    theirs, ours = _pair("MLPClassifier", (5, 5, 5), random_state=0, max_iter=3, activation="tanh")
    for net in (theirs, ours):
        net.fit(X, y)
        net.coefs_[1], net.coefs_[2] = net.coefs_[2], net.coefs_[1]
        net.intercepts_ = tuple(net.intercepts_)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)
    ours.coefs_ = tuple(ours.coefs_)
    assert ours.set_params(solver="lbfgs", warm_start=True).fit(X.astype("f4"), y).coefs_[0].dtype == np.float64


def test_a_list_of_weights_that_is_kept_stays_the_estimators():
    X, y = load_iris(return_X_y=True)
    W = np.random.default_rng(0).normal(size=(4, 5))
    results = []
    for net in _pair("MLPClassifier", (5, 4), random_state=0, max_iter=3, learning_rate_init=0.1):
        net.fit(X, y)
        given = []
        kept, biases = net.coefs_, net.intercepts_
        net.coefs_[0] = W.copy()
        given.append(net.predict_proba(X))
        kept[1] = np.ones((5, 4))
        biases[0] = np.full(5, 0.5)
        given.append(net.predict_proba(X))
        kept[2][:] = 0.25
        given.append(net.predict_proba(X))
        net.partial_fit(X, y)
        assert net.coefs_ is kept
        given.extend(one.copy() for one in kept)
        net.set_params(solver="lbfgs", warm_start=True).fit(X.astype("f4"), y)
        assert net.coefs_ is kept
        own = [one.copy() for one in kept]
        net.coefs_ = own  # assigned as a whole, it is the estimator's from then on
        net.predict(X)
        own[2] = np.zeros((4, 3))
        given.append(net.predict_proba(X))
        net.set_params(warm_start=False).fit(X, y)  # a new network has new lists
        assert net.coefs_ is not own
        np.testing.assert_array_equal(own[2], 0)
        results.append(given)
    for mine, other in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-7)


def test_weights_of_other_shapes_make_another_network():
    X, y = load_iris(return_X_y=True)
    theirs, ours = _pair("MLPClassifier", (5,), random_state=0, max_iter=3)
    for net in (theirs, ours):
        net.fit(X, y)
        net.coefs_[0] = np.ascontiguousarray(net.coefs_[0][:, :3])  # two units less
        net.coefs_[1] = net.coefs_[1][:3]
        net.intercepts_[0] = net.intercepts_[0][:3]
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)
    assert [layer.outputs for layer in ours.network_.layers] == [3, 3]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("coefs_", [np.zeros((4, 5))], r"coefs_ has 1 arrays and intercepts_ has 2"),
        ("coefs_", [np.zeros((4, 5)), np.zeros((4, 3))], r"coefs_\[1\] has shape \(4, 3\), expected \(5, units\)"),
        ("coefs_", [0, 0], r"coefs_\[0\] has shape \(\), expected \(inputs, units\)"),
        ("coefs_", [np.full((4, 5), "x"), np.zeros((5, 3))], r"coefs_\[0\] or intercepts_\[0\] is no array of numbers"),
        ("intercepts_", [np.zeros(5), np.zeros(4)], r"intercepts_\[1\] has shape \(4,\), expected \(3,\)"),
    ],
)
def test_weights_that_fit_nothing_are_refused_when_they_are_used(name, values, message):
    X, y = load_iris(return_X_y=True)
    net = MLPClassifier((5,), random_state=0, max_iter=3).fit(X, y)
    setattr(net, name, values)
    for use in (lambda: net.predict(X), lambda: net.partial_fit(X, y), lambda: net.network_):
        with pytest.raises(ValueError, match=message):
            use()


def test_weights_before_any_fit():
    net = MLPRegressor(hidden_layer_sizes=(2,), activation="identity")
    net.coefs_, net.intercepts_ = [np.ones((3, 2)), np.ones((2, 1))], [np.zeros(2), np.ones(1)]
    net.n_features_in_, net.n_outputs_, net.out_activation_ = 3, 1, "identity"
    np.testing.assert_array_equal(net.predict([[1.0, 2.0, 3.0]]), [13.0])


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_activation_may_change_after_fit(solver):
    X, y = load_iris(return_X_y=True)
    theirs, ours = _pair("MLPClassifier", (6, 4), random_state=0, max_iter=5, solver=solver)
    for net in (theirs, ours):
        net.fit(X, y).set_params(activation="tanh")
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    for net in (theirs, ours):
        net.partial_fit(X, y).set_params(activation="logistic", warm_start=True).fit(X, y)
    _assert_same(theirs, ours)
    with pytest.raises(ValueError, match="activation has 'step'"):
        ours.set_params(activation="step").predict(X)


def test_dropout_may_change_between_partial_fits():
    X, y = load_digits(return_X_y=True)
    net = MLPClassifier((30,), random_state=0).partial_fit(X, y, classes=range(10))
    before = net.coefs_[0].copy()
    moments = net._optimizer.state(net.network_).moments.copy()
    net.set_params(dropout=0.5)
    np.testing.assert_array_equal(net.coefs_[0], before)
    assert [type(layer).__name__ for layer in net.network_.layers] == ["Dense", "Dropout", "Dense"]
    np.testing.assert_array_equal(net._optimizer.state(net.network_).moments, moments)


# --- what has an effect, and what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_clip_norm_may_change_between_partial_fits(kind):
    X, y = load_iris(return_X_y=True)
    net = kind(
        hidden_layer_sizes=(4,), solver="sgd", momentum=0, learning_rate_init=0.1, batch_size=150, random_state=0
    )
    net.partial_fit(X, y, **({"classes": [0, 1, 2]} if kind is MLPClassifier else {}))
    lengths = []
    for clip_norm in (1e-3, 1e-2, None):  # each call is one step
        before = net.network_.parameters.copy()
        net.set_params(clip_norm=clip_norm).partial_fit(X, y)
        lengths.append(np.linalg.norm(net.network_.parameters - before))
    np.testing.assert_allclose(lengths[:2], [0.1 * 1e-3, 0.1 * 1e-2], rtol=1e-6)
    assert lengths[2] > 2 * lengths[1]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_are_told_of_the_end_also_after_an_error(solver):
    X, y = load_iris(return_X_y=True)
    told = []

    class Failing(fj.Callback):
        def on_train_begin(self):
            told.append("begin")

        def on_epoch_end(self, epoch, logs):
            told.append(epoch)
            if epoch == 1:
                raise RuntimeError("no more")

        def on_train_end(self):
            told.append("end")

    best = fj.EarlyStopping(monitor="loss", patience=100)
    net = MLPClassifier((4,), solver=solver, random_state=0, callbacks=[Failing(), best])
    with pytest.raises(RuntimeError, match="no more"):
        net.fit(X, y)
    assert told == ["begin", 0, 1, "end"]
    assert best._parameters is None  # which it has put back
    assert net.set_params(callbacks=None).fit(X, y).n_iter_ > 2


@pytest.mark.parametrize("settings", [{"max_iter": 3}, {"max_fun": 4}, {"tol": 0.2}, {"tol": 100.0}], ids=str)
def test_what_lbfgs_begins_it_ends_for_callbacks(settings):
    X, y = load_iris(return_X_y=True)
    told = []

    class Telling(fj.Callback):
        def on_epoch_begin(self, epoch):
            told.append(("begin", epoch, self.network.parameters.copy()))

        def on_epoch_end(self, epoch, logs):
            told.append(("end", epoch, self.network.parameters.copy()))

    net = MLPClassifier((4,), solver="lbfgs", random_state=0, callbacks=[Telling()], **settings).fit(X, y)
    assert [one[:2] for one in told] == [(what, k) for k in range(net.n_iter_) for what in ("begin", "end")]
    for end, begin in zip(told[1::2], told[2::2], strict=False):
        np.testing.assert_array_equal(end[2], begin[2])


def test_lbfgs_has_callbacks_progress_and_a_validation_set(capsys):
    X, y = load_iris(return_X_y=True)
    seen = []

    class Stop(fj.Callback):
        def on_epoch_begin(self, epoch):
            seen.append(epoch)

        def on_epoch_end(self, epoch, logs):
            seen.append(logs)
            self.network.stop_training = epoch == 4

    settings = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "random_state": 0, "max_iter": 20}
    net = MLPClassifier(**settings, callbacks=[Stop()], progress=True, verbose=True)
    net.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    assert net.n_iter_ == 5
    assert seen[0::2] == [0, 1, 2, 3, 4]
    assert [logs["val_loss"] for logs in seen[1::2]] == net.validation_loss_curve_
    assert seen[-1]["loss"] == net.loss_
    out, err = capsys.readouterr()
    assert out.count("Iteration") == 5
    assert "loss" in err
    by_hand = -np.log(net.predict_proba(X[1::2])[np.arange(75), y[1::2]]).mean()
    assert net.validation_loss_curve_[-1] == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "settings", "validated", "message"),
    [
        (MLPClassifier, {"solver": "lbfgs", "clip_norm": 1.0}, False, "clip_norm must be None"),
        (MLPClassifier, {"solver": "lbfgs", "early_stopping": True}, True, "early_stopping is for the solvers"),
        (MLPClassifier, {"solver": "adam", "weight_decay": 0.1}, False, "weight_decay is 0.1, but only solver='adamw'"),
        (MLPClassifier, {"early_stopping_metric": "loss"}, False, "early_stopping is False"),
        (MLPRegressor, {"delta": 2.0}, False, "delta is 2.0, but only loss='huber'"),
        (MLPRegressor, {"quantile": 0.9, "loss": "huber"}, False, "quantile is 0.9, but only loss='quantile'"),
    ],
)
def test_what_would_have_no_effect_is_refused(kind, settings, validated, message):
    X, y = load_iris(return_X_y=True)
    net = kind(**settings)
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, **({"X_val": X, "y_val": y} if validated else {}))
    assert not hasattr(net, "coefs_")


@pytest.mark.parametrize(("load", "seed"), [(load_breast_cancer, 0), (load_wine, 1)])
def test_lbfgs_computes_in_float32_where_scikit_learn_does(load, seed):
    X, y = load(return_X_y=True)
    theirs, ours = _pair("MLPClassifier", (8,), solver="lbfgs", max_iter=5, random_state=seed, warm_start=True)
    for _ in range(2):  # the second begins with what SciPy gave, which is float64
        for net in (theirs, ours):
            net.fit(X.astype("f4"), y)
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-5)  # not as high as it can be in float64
        assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float64
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3)


def test_lbfgs_says_that_it_does_not_stop_early():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(UserWarning, match="early_stopping has no effect with solver='lbfgs'"):
        net = MLPClassifier((3,), solver="lbfgs", early_stopping=True, max_iter=5, random_state=0).fit(X, y)
    assert net.loss_ == MLPClassifier((3,), solver="lbfgs", max_iter=5, random_state=0).fit(X, y).loss_


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_lbfgs_takes_rows_by_blocks(weighted, monkeypatch):
    X, y = load_digits(return_X_y=True)
    weight = np.where(np.arange(len(X)) < 50, 0.0, 1.5) if weighted else None  # whole blocks without weight
    losses = []
    for block in (7, 100, 10**6):
        monkeypatch.setattr(_lbfgs, "_BLOCK", block)
        net = MLPClassifier((10,), solver="lbfgs", max_iter=6, random_state=0).fit(X, y, sample_weight=weight)
        losses.append(net.loss_)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-9)


def test_lbfgs_keeps_the_values_of_a_block_only():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40_000, 4))
    net = MLPRegressor(hidden_layer_sizes=(100,), solver="lbfgs", max_iter=2, random_state=0)
    tracemalloc.start()
    try:
        net.fit(X, X[:, 0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40_000 * 100 * 8 / 2  # half of what the hidden values alone of all rows would take


# --- warnings and texts -----------------------------------------------------------------------------------------------


def test_warnings_name_the_line_of_the_user():
    X, y = load_iris(return_X_y=True)
    net = MLPClassifier((3,), max_iter=1, batch_size=1000, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), net), {"mlpclassifier__alpha": [1e-3]}, cv=2)
    slow = clone(net).set_params(solver="lbfgs", early_stopping=True)
    for one in (net, make_pipeline(StandardScaler(), net), search, slow):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one.fit(X, y)
        assert len(caught) >= 2
        assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.partial_fit(X, y)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("learning_rate", ["constant", "adaptive"])
def test_what_is_printed_is_what_scikit_learn_prints(learning_rate, capsys):
    X, y = load_iris(return_X_y=True)
    texts = []
    for net in _pair(
        "MLPClassifier",
        (3,),
        solver="sgd",
        learning_rate=learning_rate,
        tol=1.0,
        n_iter_no_change=1,
        verbose=True,
        random_state=0,
        max_iter=40,
    ):
        net.fit(X, y)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert ("Learning rate too small. Stopping." in texts[0]) == (learning_rate == "adaptive")


# --- what stays otherwise than in scikit-learn: see docs/guides/from-scikit-learn.md ----------------------------------


def test_the_loss_of_a_classifier_has_scikit_learns_name():
    assert MLPClassifier().loss == neural_network.MLPClassifier().loss == "log_loss"
    assert "loss" not in MLPClassifier().get_params()


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_partial_fit_is_for_stochastic_solvers(kind):
    assert not hasattr(kind(solver="lbfgs"), "partial_fit")
    assert hasattr(kind(solver="sgd"), "partial_fit")


def test_a_batch_without_weight_changes_nothing_but_what_momentum_does():
    X, y = load_iris(return_X_y=True)
    weight = np.repeat([1.0, 0.0], 75)
    net = MLPRegressor(
        hidden_layer_sizes=(4,),
        solver="sgd",
        momentum=0,
        batch_size=75,
        shuffle=False,
        max_iter=1,
        alpha=0,
        random_state=0,
    )
    alone = clone(net).fit(X[:75], y[:75])
    np.testing.assert_array_equal(net.fit(X, y, sample_weight=weight).coefs_[0], alone.coefs_[0])


def test_partial_fit_refuses_another_loss_and_a_fit_takes_it():
    X, y = load_iris(return_X_y=True)
    net = MLPRegressor(
        "squared_error",
        (4,),
        solver="sgd",
        momentum=0,
        alpha=0,
        max_iter=1,
        batch_size=150,
        warm_start=True,
        random_state=0,
    ).partial_fit(X, y)
    before = net.network_.parameters.copy()
    net.set_params(loss="absolute_error")
    with pytest.raises(ValueError, match="loss is 'absolute_error', but the solver that partial_fit goes on with"):
        net.partial_fit(X, y)
    np.testing.assert_array_equal(net.network_.parameters, before)
    of_loss = fj.MeanAbsoluteError()
    core = copy.deepcopy(net.network_)
    core.fit(X, y, loss=of_loss, optimizer=fj.SGD(0.001), epochs=1, batch_size=150, shuffle=False, progress=False)
    net.fit(X, y)
    np.testing.assert_allclose(net.network_.parameters, core.parameters, rtol=1e-9)
    core.fit(X, y, loss=of_loss, optimizer=fj.SGD(0.001), epochs=1, batch_size=150, shuffle=False, progress=False)
    net.partial_fit(X, y)
    np.testing.assert_allclose(net.network_.parameters, core.parameters, rtol=1e-9)


def test_what_is_refused_that_scikit_learn_takes():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="sample_weight"):
        MLPClassifier().fit(X, y, sample_weight=np.linspace(-1, 1, len(y)))
    with pytest.raises(ValueError, match="y has"):
        MLPRegressor("poisson").fit(X, y - 1.0)
    net = MLPClassifier((4,), warm_start=True, max_iter=2, random_state=0).fit(X, y)
    before = net.coefs_[0].copy()
    with pytest.raises(ValueError, match=r"hidden_layer_sizes is \(5,\), but the network to go on with has"):
        net.set_params(hidden_layer_sizes=(5,)).fit(X, y)
    np.testing.assert_array_equal(net.coefs_[0], before)
    regressor = MLPRegressor(hidden_layer_sizes=(4,), warm_start=True, max_iter=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="the network to go on with ends in 'identity'"):
        regressor.set_params(loss="poisson").fit(X, y)
    with pytest.raises(ValueError, match="y has 2 columns, expected 1"):
        regressor.set_params(loss="squared_error").fit(X, np.stack([y, y], 1))


REFUSED = {
    "too few validation columns": (lambda X, y: {"X_val": X[:, :2], "y_val": y}, "features"),
    "an unknown validation class": (lambda X, y: {"X_val": X, "y_val": y + 1}, "classes not in"),
    "too few sample weights": (lambda X, y: {"sample_weight": np.ones(3)}, "sample_weight"),
    "negative sample weights": (lambda X, y: {"sample_weight": -np.ones(len(y))}, "sample_weight"),
    "negative validation weights": (
        lambda X, y: {"X_val": X, "y_val": y, "sample_weight_val": -np.ones(len(y))},
        "sample_weight",
    ),
    "start weights of another shape": (lambda X, y: {"coefs_init": [np.zeros((2, 2))]}, "coefs_init has arrays"),
    "start weights that are no numbers": (
        lambda X, y: {"intercepts_init": [np.full(4, "x"), np.zeros(3)]},
        "could not convert string",
    ),
    "fewer columns": (lambda X, y: {"X": X[:, :2], "X_val": X, "y_val": y}, "features"),
}


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("settings", [{}, {"warm_start": True}, {"solver": "lbfgs"}], ids=str)
def test_a_fit_that_is_refused_leaves_what_was_fitted_before(settings, why):
    X, y = load_iris(return_X_y=True)
    net = MLPClassifier((4,), learning_rate_init=0.05, max_iter=20, random_state=0, **settings)
    more, message = REFUSED[why]
    refused = {"X": X, "y": y, **more(X, y)}
    with pytest.raises(ValueError, match=message):
        net.fit(**refused)
    with pytest.raises(NotFittedError):
        net.predict(X)
    assert sorted(vars(net)) == sorted(net.get_params())
    net.fit(X.astype("f4"), y)
    before, attributes = net.predict_proba(X), dict(vars(net))
    coefs = [one.copy() for one in net.coefs_]
    with pytest.raises(ValueError, match=message):
        net.fit(**refused)
    assert vars(net).keys() == attributes.keys()
    for name, value in attributes.items():
        assert vars(net)[name] is value or name in ("coefs_", "intercepts_", "_made_of"), name
    for now, then in zip(net.coefs_, coefs, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(net.predict_proba(X), before)


def test_a_fit_refused_for_its_targets_or_settings_leaves_what_was_fitted_before():
    X, y = load_iris(return_X_y=True)
    net = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, y)
    before = net.predict_proba(X)
    for settings, targets, message in [
        ({"early_stopping": True, "validation_fraction": 0.001}, y + 1, "validation set is too small"),
        ({"early_stopping": True, "validation_fraction": 0.1}, np.arange(150) == 0, "least populated class"),
        ({"early_stopping": False, "class_weight": "balanced"}, np.stack([y > 0, y > 1], 1), "not for multilabel"),
    ]:
        with pytest.raises(ValueError, match=message):
            net.set_params(**settings).fit(X, targets)
        np.testing.assert_array_equal(net.classes_, [0, 1, 2])
        np.testing.assert_array_equal(net.predict_proba(X), before)
    counts = MLPRegressor("poisson", (4,), max_iter=2, random_state=0).fit(X, y)
    before = counts.predict(X)
    with pytest.raises(ValueError, match="y has"):
        counts.partial_fit(X, y - 1.0)
    with pytest.raises(ValueError, match="y has"):
        counts.fit(X[:, :3], y - 1.0)
    np.testing.assert_array_equal(counts.predict(X), before)


def test_what_is_taken_that_scikit_learn_refuses():
    X, y = load_iris(return_X_y=True)
    net = MLPClassifier((4,), warm_start=True, random_state=0, max_iter=2).fit(X, y)
    net.partial_fit(X[:60], y[:60])  # a batch that lacks a class
    assert net.t_ == 2 * 150 + 60


def test_types_of_networks_and_predictions():
    X, y = load_iris(return_X_y=True)
    single = X.astype("f4")
    theirs, ours = _pair("MLPRegressor", (4,), solver="lbfgs", max_iter=5, random_state=0)
    assert ours.fit(single, y).coefs_[0].dtype == theirs.fit(single, y).coefs_[0].dtype == np.float64
    np.testing.assert_allclose(ours.predict(single), theirs.predict(single), rtol=1e-5)
    net = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(single, y)
    assert net.predict(X).dtype == net.predict(single).dtype == np.float32  # the type of the network
    net.set_params(solver="lbfgs", warm_start=True).fit(single, y)
    assert net.predict(X).dtype == net.coefs_[0].dtype == np.float64


@pytest.mark.parametrize("logit", [5.0, 36.0, 37.0, 40.0, 800.0])
def test_probabilities_near_0_and_1_are_rounded_as_scikit_learns(logit):
    X, y = np.array([[-1.0], [1.0]] * 5), [0, 1] * 5
    theirs, ours = _pair("MLPClassifier", (1,), activation="identity", max_iter=1, random_state=0)
    for net in (theirs, ours):
        net.fit(X, y)
        net.coefs_ = [np.ones((1, 1)), np.full((1, 1), logit)]
        net.intercepts_ = [np.zeros(1), np.zeros(1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_array_equal(ours.predict_log_proba(X), theirs.predict_log_proba(X))
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


def test_texts_are_numbers_to_predict_as_little_as_in_scikit_learn():
    X, y = load_iris(return_X_y=True)
    for net in _pair("MLPClassifier", (4,), max_iter=1, random_state=0):
        net.fit(X, y)
        with pytest.raises(ValueError, match="dtype='numeric' is not compatible with arrays of bytes/strings"):
            net.predict([["1", "2", "3", "4"]])
