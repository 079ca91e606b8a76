"""The estimators beside scikit-learn's own: the same curves and weights; and what they have beyond them."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse
import sklearn
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import has_fit_parameter

import fastjac as fj
from fastjac import estimators
from fastjac.estimators import MLPClassifier, MLPRegressor, _base

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # scikit-learn 1.6 gives SciPy an option that is going away
    pytest.mark.filterwarnings("ignore:scipy.optimize. The .disp. and .iprint. options:DeprecationWarning"),
]


def _digits(count=400):
    X, y = load_digits(return_X_y=True)
    return X[:count] / 16, y[:count]


def _multilabel():
    return make_multilabel_classification(150, random_state=0)


def _regression(outputs=1):
    X, y = make_regression(150, 5, n_targets=outputs, random_state=0)
    return X, y / y.std()


def _counts():
    X, _ = _regression()
    return X, np.random.default_rng(0).poisson(np.exp(0.3 * X[:, 0])).astype(float)


# scikit-learn's own have both from 1.7 on
WEIGHTED = [False, True] if has_fit_parameter(neural_network.MLPClassifier(), "sample_weight") else [False]
HAS_POISSON = "loss" in neural_network.MLPRegressor().get_params()
WEIGHT = np.random.default_rng(0).uniform(0.1, 2, 400)
PROBLEMS = {
    "classes": ("MLPClassifier", _digits, {}),
    "two classes": ("MLPClassifier", lambda: (_digits()[0], np.array(["odd", "even"])[_digits()[1] % 2]), {}),
    "labels": ("MLPClassifier", _multilabel, {}),
    "numbers": ("MLPRegressor", _regression, {}),
    "rows of numbers": ("MLPRegressor", lambda: _regression(3), {}),
    "counts": ("MLPRegressor", _counts, {"loss": "poisson"}),
}
if not HAS_POISSON:
    del PROBLEMS["counts"]
SETTINGS = {
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "unshuffled": {"solver": "sgd", "learning_rate_init": 0.01, "shuffle": False, "batch_size": 33},
    "plain": {"solver": "sgd", "momentum": 0.0, "hidden_layer_sizes": (9, 7)},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "activation": "tanh"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "activation": "logistic"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2, "max_iter": 15},
    "penalty": {"solver": "sgd", "alpha": 2.0, "activation": "identity"},
    "early": {"solver": "sgd", "early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.2},
}


def _both(problem, weighted=False, **settings):
    name, data, own = PROBLEMS[problem]
    X, y = data()
    weight = WEIGHT[: len(X)] if weighted else None
    settings = {"max_iter": 6, "random_state": 5, "hidden_layer_sizes": (12,)} | own | settings
    theirs = getattr(neural_network, name)(**settings).fit(X, y, **({"sample_weight": weight} if weighted else {}))
    return X, theirs, getattr(estimators, name)(**settings).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("weighted", WEIGHTED, ids=["", "weighted"][: len(WEIGHTED)])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_sgd_is_scikit_learns_to_rounding(problem, setting, weighted):
    if (problem, setting) == ("two classes", "early") and parse_version(sklearn.__version__) < parse_version("1.9"):
        pytest.skip("scikit-learn's own early stopping fails with labels that are texts before 1.9")
    X, theirs, ours = _both(problem, weighted, **SETTINGS[setting])
    # float64; sums in another order are a few units of 1e-16 apart at every step, and training spreads them
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-11)
    for mine, other in zip([*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-12)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_", "best_loss_", "best_validation_score_"):
        wanted = getattr(theirs, name)
        assert getattr(ours, name) == (wanted if wanted is None else pytest.approx(wanted, rel=1e-9)), name
    if theirs.validation_scores_ is None:
        assert ours.validation_scores_ is None
    else:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-9)
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-8)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-8, atol=1e-12)
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-3, 1.0])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_adam_is_scikit_learns_with_its_epsilon(problem, epsilon):
    _, theirs, ours = _both(problem, solver="adam", max_iter=20, epsilon=epsilon)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    for mine, other in zip([*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-9 * np.abs(other).max())


@pytest.mark.parametrize("weighted", WEIGHTED, ids=["", "weighted"][: len(WEIGHTED)])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_lbfgs_is_scikit_learns(problem, weighted):
    X, theirs, ours = _both(problem, weighted, solver="lbfgs", max_iter=12)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-7)
    assert ours.n_iter_ == theirs.n_iter_
    assert not hasattr(ours, "loss_curve_")
    mine, other = ours.predict(X), theirs.predict(X)
    if hasattr(ours, "classes_"):
        assert (mine == other).mean() > 0.99
    else:
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", ["auto", 100, 99, 7])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_random_numbers_are_drawn_as_scikit_learn_draws_them(method, batch_size, shuffle):
    """Also for the shuffle of a single batch, which is not made: what is drawn later is the same."""
    X, y = _digits(100)
    drawn = []
    for module in (estimators, neural_network):
        random = np.random.RandomState(3)
        one = module.MLPClassifier((6,), random_state=random, max_iter=4, batch_size=batch_size, shuffle=shuffle)
        for _ in range(2):
            getattr(one, method)(X, y, **({"classes": range(10)} if method == "partial_fit" else {}))
        drawn.append((one.random_state.randint(2**31, size=20).tolist(), one.loss_curve_))
    assert drawn[0][0] == drawn[1][0]
    assert drawn[0][1] == pytest.approx(drawn[1][1], rel=1e-9)


def test_float32_stays_float32_and_close_to_scikit_learns():
    X, y = _digits()
    settings = {"solver": "sgd", "max_iter": 5, "random_state": 0, "learning_rate_init": 0.01}
    ours = MLPClassifier(**settings).fit(X.astype("f4"), y)
    theirs = neural_network.MLPClassifier(**settings).fit(X.astype("f4"), y)
    assert ours.coefs_[0].dtype == ours.predict_proba(X.astype("f4")).dtype == np.float32
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_sparse_rows_are_the_same_rows(kind):
    X, y = _digits()
    net = MLPClassifier(max_iter=3, random_state=0)
    dense, sparse = net.fit(X, y).predict_proba(X), net.fit(kind(X), y).predict_proba(kind(X))
    np.testing.assert_array_equal(dense, sparse)
    np.testing.assert_array_equal(net.input_gradient(kind(X[:3])), net.input_gradient(X[:3]))


def test_more_sparse_rows_than_are_made_dense_at_a_time_are_all_predicted(monkeypatch):
    X, y = _digits()
    net = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    expected = net.predict_proba(X)
    for block in (7, 100, 399, 400):
        monkeypatch.setattr(_base, "_BLOCK", block)
        np.testing.assert_array_equal(net.predict_proba(scipy.sparse.csr_matrix(X)), expected)


@pytest.mark.parametrize(("name", "rate"), [("MLPClassifier", 0.05), ("MLPRegressor", 0.002)])
def test_a_warm_start_without_a_better_score_keeps_the_last_weights_as_scikit_learn_does(name, rate):
    X, y = _digits()
    found = []
    for module in (neural_network, estimators):
        net = getattr(module, name)(
            solver="sgd",
            random_state=3,
            warm_start=True,
            early_stopping=True,
            max_iter=30,
            hidden_layer_sizes=(12,),
            learning_rate_init=rate,
        ).fit(X, y)
        best = net.best_validation_score_
        net.set_params(max_iter=2).fit(X, y[::-1])  # targets of other rows
        assert net.best_validation_score_ == best
        found.append([*net.coefs_, *net.intercepts_])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_partial_fit_and_warm_start_go_on_as_in_scikit_learn(name):
    X, y = _digits()
    curves = []
    for module in (neural_network, estimators):
        net = getattr(module, name)(solver="sgd", random_state=3, learning_rate_init=0.001)
        more = {"classes": np.unique(y)} if name == "MLPClassifier" else {}
        for _ in range(3):
            net.partial_fit(X[:200], y[:200], **more)
            net.partial_fit(X[200:], y[200:])
        warm = (
            getattr(module, name)(solver="sgd", random_state=3, warm_start=True, max_iter=2, learning_rate_init=0.001)
            .fit(X, y)
            .fit(X, y)
        )
        curves.append([*net.loss_curve_, *warm.loss_curve_, net.t_, warm.t_])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-10)


@pytest.mark.parametrize(
    ("settings", "fit", "error", "message"),
    [
        ({"hidden_layer_sizes": (3, -1)}, {}, ValueError, "hidden_layer_sizes must be > 0"),
        ({"activation": ["relu"], "hidden_layer_sizes": (3, 4)}, {}, ValueError, "1 names for 2 hidden layers"),
        ({"activation": ["step"], "hidden_layer_sizes": (3,)}, {}, ValueError, "activation has 'step'"),
        ({"solver": "newton"}, {}, ValueError, "'solver' parameter of MLPClassifier must be"),
        ({"solver": "lbfgs", "dropout": 0.5}, {}, ValueError, "dropout must be 0"),
        ({}, {"X_val": np.zeros((2, 64))}, ValueError, "X_val and y_val must be given together"),
        ({}, {"sample_weight_val": np.ones(2)}, ValueError, "sample_weight_val is given"),
        ({}, {"coefs_init": [np.zeros((2, 2))]}, ValueError, "coefs_init has arrays of shapes"),
        ({"early_stopping": True, "validation_fraction": 0.001}, {}, ValueError, "test_size|validation set"),
    ],
)
def test_what_does_not_fit_is_refused(settings, fit, error, message):
    X, y = _digits()
    with pytest.raises(error, match=message):
        MLPClassifier(**settings).fit(X, y, **fit)


def test_partial_fit_is_for_stochastic_solvers_and_known_classes():
    X, y = _digits()
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="early_stopping=True"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=range(10))
    net = MLPClassifier().partial_fit(X[y < 5], y[y < 5], classes=range(5))
    with pytest.raises(ValueError, match="classes not in"):
        net.partial_fit(X, y)


def test_huge_numbers_end_with_scikit_learns_error():
    X, y = _regression()
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver="sgd", learning_rate_init=1e3, max_iter=50).fit(X * 1e3, y)


def test_too_few_epochs_give_scikit_learns_warning():
    X, y = _digits(100)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
        MLPClassifier(max_iter=2, solver="lbfgs").fit(X, y)
    with pytest.warns(UserWarning, match="going to be clipped"):
        MLPClassifier(max_iter=2, batch_size=1000).fit(X, y)


# --- beyond scikit-learn ------------------------------------------------------------------------------------------


def test_class_weight_is_sample_weight_by_class():
    X, y = _digits()
    settings = {"max_iter": 4, "random_state": 0, "solver": "sgd"}
    by_class = MLPClassifier(**settings, class_weight={0: 3.0, 7: 0.5}).fit(X, y)
    by_row = MLPClassifier(**settings).fit(X, y, sample_weight=np.where(y == 0, 3.0, np.where(y == 7, 0.5, 1.0)))
    np.testing.assert_array_equal(by_class.coefs_[0], by_row.coefs_[0])
    few = np.flatnonzero((y != 1) | (np.arange(len(y)) % 8 == 0))  # class 1 is rare
    plain = MLPClassifier(max_iter=15, random_state=0).fit(X[few], y[few])
    balanced = MLPClassifier(max_iter=15, random_state=0, class_weight="balanced").fit(X[few], y[few])
    ones = X[y == 1]
    assert balanced.predict_proba(ones)[:, 1].mean() > plain.predict_proba(ones)[:, 1].mean()
    with pytest.raises(ValueError, match="multilabel"):
        MLPClassifier(class_weight="balanced").fit(*_multilabel())


@pytest.mark.parametrize(
    ("loss", "more"), [("absolute_error", {}), ("huber", {"delta": 0.3}), ("quantile", {"quantile": 0.8})]
)
def test_losses_for_regression_are_the_cores(loss, more):
    X, y = _regression(2)
    net = MLPRegressor(
        loss, (10,), alpha=0, solver="sgd", shuffle=False, batch_size=50, max_iter=4, random_state=0, momentum=0, **more
    )
    start = clone(net).set_params(max_iter=1, learning_rate_init=1e-300).fit(X, y)
    core = fj.Sequential([fj.Dense(5, 10, activation="relu"), fj.Dense(10, 2)], dtype="float64")
    core.parameters[:] = start.network_.parameters
    chosen = {"absolute_error": fj.MeanAbsoluteError(), "huber": fj.Huber(0.3), "quantile": fj.QuantileLoss(0.8)}[loss]
    history = core.fit(
        X, y, loss=chosen, optimizer=fj.SGD(0.001), epochs=4, batch_size=50, shuffle=False, progress=False
    )
    np.testing.assert_allclose(net.fit(X, y).loss_curve_, history["loss"], rtol=1e-12)


def test_a_quantile_is_learnt():
    rng = np.random.default_rng(0)
    X = np.zeros((2000, 1))
    y = rng.normal(size=2000)
    net = MLPRegressor(
        "quantile",
        (4,),
        quantile=0.9,
        max_iter=300,
        tol=0,
        n_iter_no_change=300,
        alpha=0,
        learning_rate_init=0.01,
        random_state=0,
    ).fit(X, y)
    best = mean_pinball_loss(y, np.full(2000, np.quantile(y, 0.9)), alpha=0.9)
    assert mean_pinball_loss(y, net.predict(X), alpha=0.9) < best * 1.02


def test_a_validation_set_of_ones_own():
    X, y = _digits(800)
    X, X_val, y, y_val = train_test_split(X, y, test_size=0.25, random_state=0)
    net = MLPClassifier(max_iter=20, random_state=0).fit(X, y, X_val=X_val, y_val=y_val)
    assert len(net.validation_loss_curve_) == len(net.loss_curve_) == 20
    proba = net.predict_proba(X_val)
    by_hand = -np.log(proba[np.arange(len(y_val)), y_val]).mean()
    assert net.validation_loss_curve_[-1] == pytest.approx(by_hand, rel=1e-9)
    stopped = {}
    for metric in (None, "loss", "neg_log_loss", "balanced_accuracy"):
        early = MLPClassifier(
            max_iter=300,
            random_state=0,
            early_stopping=True,
            early_stopping_metric=metric,
            n_iter_no_change=3,
            tol=1e-3,
        )
        early.fit(X, y, X_val=X_val, y_val=y_val)
        stopped[metric] = early.n_iter_
        assert early.n_iter_ < 300
        assert early.best_validation_score_ == max(early.validation_scores_)
    assert stopped["loss"] == stopped["neg_log_loss"]  # the same thing twice
    assert early.score(X_val, y_val) > 0.9


@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0, 1: 0.1}])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weights_count_in_given_validation_rows_as_in_training(class_weight, solver):
    X, y = _digits()
    y = (y == 0).astype(int)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    weight = compute_sample_weight(class_weight, y_train)
    factors = {label: weight[y_train == label][0] for label in (0, 1)}
    weight_val = np.array([factors[label] for label in y_val])
    settings = {"hidden_layer_sizes": (5,), "solver": solver, "max_iter": 5, "random_state": 0}
    given = MLPClassifier(**settings, class_weight=class_weight).fit(X_train, y_train, X_val=X_val, y_val=y_val)
    by_hand = MLPClassifier(**settings).fit(
        X_train, y_train, weight, X_val=X_val, y_val=y_val, sample_weight_val=weight_val
    )
    np.testing.assert_allclose(given.validation_loss_curve_, by_hand.validation_loss_curve_, rtol=1e-12)
    if solver == "adam":
        early = {"early_stopping": True, "early_stopping_metric": "loss"}
        once = MLPClassifier(**settings, **early, class_weight=class_weight)
        once.fit(X_train, y_train, X_val=X_val, y_val=y_val, sample_weight_val=np.full(len(y_val), 2.0))
        np.testing.assert_allclose(once.validation_loss_curve_, by_hand.validation_loss_curve_, rtol=1e-12)


def test_partial_fit_keeps_scores_of_a_validation_set():
    X, y = _digits()
    net = MLPClassifier(early_stopping=True, random_state=0, learning_rate_init=0.01)
    for _ in range(5):
        net.partial_fit(X[:300], y[:300], classes=range(10), X_val=X[300:], y_val=y[300:])
    assert len(net.validation_scores_) == len(net.validation_loss_curve_) == 5
    assert net.best_validation_score_ == max(net.validation_scores_)


def test_start_weights_and_weights_that_are_written_count():
    X, y = _regression()
    first = MLPRegressor(max_iter=2, random_state=0).fit(X, y)
    again = MLPRegressor(max_iter=1, random_state=9, solver="sgd", learning_rate_init=1e-300)
    again.fit(X, y, coefs_init=first.coefs_, intercepts_init=first.intercepts_)
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    first.coefs_[-1][:] = 0
    first.intercepts_ = [np.zeros(100), np.ones(1)]
    np.testing.assert_array_equal(first.predict(X), np.ones(len(X)))


def test_hidden_activations_and_input_gradient():
    X, y = _regression(2)
    net = MLPRegressor(hidden_layer_sizes=(7, 4), activation=["tanh", "silu"], max_iter=3, random_state=0).fit(X, y)
    first = np.tanh(X @ net.coefs_[0] + net.intercepts_[0])
    np.testing.assert_allclose(net.hidden_activations(X, 0), first, rtol=1e-12)
    Z = first @ net.coefs_[1] + net.intercepts_[1]
    np.testing.assert_allclose(net.hidden_activations(X), Z / (1 + np.exp(-Z)), rtol=1e-10, atol=1e-14)
    step = 1e-6
    for j in range(5):
        change = np.zeros(5)
        change[j] = step
        slope = (net.predict(X + change)[:, 1] - net.predict(X - change)[:, 1]) / (2 * step)
        np.testing.assert_allclose(net.input_gradient(X, 1)[:, j], slope, rtol=1e-5, atol=1e-7)  # differences
    with pytest.raises(ValueError, match="layer is 2"):
        net.hidden_activations(X, 2)
    with pytest.raises(ValueError, match="output is 2"):
        net.input_gradient(X, 2)


@pytest.mark.usefixtures("threads_as_asked")
def test_dropout_l1_adamw_clipping_threads_and_callbacks():
    X, y = _digits()
    seen = []
    settings = {"max_iter": 4, "random_state": 0, "hidden_layer_sizes": (30,)}
    net = MLPClassifier(
        **settings,
        dropout=0.3,
        l1=1e-3,
        solver="adamw",
        clip_norm=1.0,
        threads=2,
        progress=False,
        callbacks=[lambda epoch, logs: seen.append((epoch, logs["loss"]))],
    )
    net.fit(X, y)
    assert seen == list(enumerate(net.loss_curve_))
    one = clone(net).set_params(threads=1, callbacks=None).fit(X, y)
    np.testing.assert_array_equal(one.coefs_[0], net.coefs_[0])
    assert not np.array_equal(MLPClassifier(**settings, solver="adamw").fit(X, y).coefs_[0], net.coefs_[0])
    sparse = MLPClassifier(max_iter=40, random_state=0, l1=30.0).fit(X, y)
    assert np.abs(sparse.coefs_[0]).mean() < np.abs(net.coefs_[0]).mean() / 2

    class Stop(fj.Callback):
        def on_epoch_end(self, epoch, logs):
            self.network.stop_training = epoch == 1

    assert MLPClassifier(**settings, callbacks=[Stop()]).fit(X, y).n_iter_ == 2


def test_a_row_twice_is_a_row_of_weight_two():
    X, y = _digits(60)
    settings = {"max_iter": 5, "random_state": 0, "solver": "sgd", "shuffle": False, "batch_size": 120, "alpha": 0.5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a batch larger than 60
        weighted = MLPClassifier(**settings).fit(X, y, sample_weight=np.full(60, 2.0))
    twice = MLPClassifier(**settings).fit(np.concatenate([X, X]), np.concatenate([y, y]))
    np.testing.assert_allclose(weighted.coefs_[0], twice.coefs_[0], rtol=1e-9, atol=1e-13)


def test_clones_pickles_pipelines_searches_and_memory_maps(tmp_path):
    X, y = _digits()
    net = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    again.fit(X, y)
    np.testing.assert_array_equal(again.coefs_[0], net.coefs_[0])
    assert clone(net).get_params() == net.get_params()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(clone(net).fit(mapped, y).coefs_[0], net.coefs_[0])
    longer = clone(net).set_params(max_iter=20, learning_rate_init=0.01)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), longer), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2, n_jobs=2
    ).fit(X, y)
    assert search.best_score_ > 0.5


def test_feature_names_are_kept_and_checked():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(load_diabetes().data[:60], columns=load_diabetes().feature_names)
    net = MLPRegressor(max_iter=2, random_state=0, early_stopping=True, early_stopping_metric="r2")
    net.fit(frame, load_diabetes().target[:60])
    np.testing.assert_array_equal(net.feature_names_in_, frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        net.predict(frame.rename(columns={"age": "years"}))


def test_every_parameter_of_scikit_learns_is_there_with_its_default():
    import inspect

    for name in ("MLPClassifier", "MLPRegressor"):
        theirs = inspect.signature(getattr(neural_network, name)).parameters
        ours = inspect.signature(getattr(estimators, name)).parameters
        if not HAS_POISSON:
            ours = {parameter: ours[parameter] for parameter in ours if parameter != "loss"}
        for parameter, described in theirs.items():
            assert ours[parameter].default == described.default
            assert ours[parameter].kind == described.kind
        assert list(ours)[: len(theirs)] == list(theirs)


@pytest.mark.skipif(len(WEIGHTED) == 1, reason="scikit-learn's own have no sample weights before 1.7")
def test_metadata_is_routed_through_a_search():
    X, y = _digits(120)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        found = []
        for module in (neural_network, estimators):
            net = module.MLPClassifier(hidden_layer_sizes=(8,), solver="sgd", max_iter=5, random_state=0)
            net.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            scaler = StandardScaler().set_fit_request(sample_weight=False)
            search = GridSearchCV(make_pipeline(scaler, net), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2)
            found.append(search.fit(X, y, sample_weight=weight).cv_results_["mean_test_score"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    with sklearn.config_context(enable_metadata_routing=True):
        net = MLPClassifier(max_iter=2, early_stopping=True).set_fit_request(X_val=True, y_val=True)
        search = GridSearchCV(net, {"alpha": [1e-4, 1.0]}, cv=2).fit(X, y, X_val=X[:20], y_val=y[:20])
    assert len(search.best_estimator_.validation_loss_curve_) == 2
