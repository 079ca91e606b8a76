"""scikit-learn's callback protocol: an epoch is a task, fitted copies are made when asked for, a callback may stop."""

import warnings

import numpy as np
import pytest

callback_module = pytest.importorskip("sklearn.callback", reason="scikit-learn has no callbacks before 1.9")

from sklearn.datasets import load_iris  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fastjac import estimators  # noqa: E402

X, Y = load_iris(return_X_y=True)
KINDS = {"MLPClassifier": Y, "MLPRegressor": X[:, 3]}


class Recorder:
    """Writes down what it is told; asks for everything there is."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.events = []

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, None))

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata, fitted_estimator):
        assert len(X) == len(y)
        self.events.append(("begin", context.task_name, None))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        score = fitted_estimator.score(X, y, **(metadata or {}))
        self.events.append(("end", context.task_name, score))
        return context.task_name != "fit" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name, None))

    def scores(self):
        return [score for event, name, score in self.events if event == "end" and name != "fit"]


def _fitted(kind, callback, **settings):
    net = getattr(estimators, kind)(hidden_layer_sizes=(8,), random_state=0, **settings)
    net.set_callbacks(*([callback] if callback else []))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return net.fit(X, KINDS[kind])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_a_task_and_the_copy_is_fitted_so_far(kind, solver):
    recorder = Recorder()
    net = _fitted(kind, recorder, solver=solver, max_iter=6)
    plain = _fitted(kind, None, solver=solver, max_iter=6)
    for a, b in zip(net.coefs_, plain.coefs_, strict=True):
        assert np.array_equal(a, b)
    events = recorder.events
    assert [one[:2] for one in events[:2]] == [("setup", "fit"), ("begin", "fit")]
    assert [one[:2] for one in events[-2:]] == [("end", "fit"), ("teardown", "fit")]
    inner = [one[0] for one in events[2:-2]]
    assert inner == ["begin", "end"] * (len(inner) // 2)
    assert len(recorder.scores()) == net.n_iter_ == 6
    for k in (1, 4):
        before = _fitted(kind, None, solver=solver, max_iter=k)
        assert recorder.scores()[k - 1] == pytest.approx(before.score(X, KINDS[kind]), rel=1e-12)
    assert events[-2][2] == net.score(X, KINDS[kind])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_stops_the_fit(solver):
    recorder = Recorder(stop_after=3)
    net = _fitted("MLPClassifier", recorder, solver=solver, max_iter=50)
    assert net.n_iter_ == 3
    wanted = _fitted("MLPClassifier", None, solver=solver, max_iter=3)
    for a, b in zip(net.coefs_, wanted.coefs_, strict=True):
        assert np.array_equal(a, b)


def test_sample_weights_are_metadata():
    recorder = Recorder()
    net = estimators.MLPClassifier((4,), max_iter=2, random_state=0)
    net.set_callbacks(recorder)
    weight = np.linspace(1, 2, len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(X, Y, weight)
    assert recorder.events[-2][2] == net.score(X, Y, weight)


def test_the_scores_of_scikit_learns_monitor():
    monitor = callback_module.ScoringMonitor(scoring="accuracy")
    net = _fitted("MLPClassifier", monitor, max_iter=5)
    data = monitor.get_logs(select="most_recent").data
    accuracies = [row["accuracy"] for row in data if row["task_name"] == "epoch"]
    assert len(accuracies) == 5
    assert accuracies[-1] == net.score(X, Y)


@pytest.mark.parametrize("settings", [{"max_iter": 3}, {"max_fun": 4}, {"tol": 0.2}, {"tol": 100.0}], ids=str)
def test_lbfgs_has_as_many_tasks_as_iterations_however_it_ends(settings):
    monitor = callback_module.ScoringMonitor(scoring="accuracy")
    net = _fitted("MLPClassifier", monitor, solver="lbfgs", **settings)
    rows = [row for row in monitor.get_logs(select="most_recent").data if row["task_name"] == "iteration"]
    assert len(rows) == net.n_iter_
    assert not rows or rows[-1]["accuracy"] == net.score(X, Y)


def test_the_progress_bar_and_meta_estimators(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    pytest.importorskip("rich", reason="rich is not installed")
    pipeline = make_pipeline(StandardScaler(), estimators.MLPClassifier((4,), max_iter=3, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [0.1, 0.2]}, cv=2)
    search.set_callbacks(callback_module.ProgressBar(max_propagation_depth=None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, Y)
    assert "MLPClassifier" in capsys.readouterr().out
    assert search.best_estimator_.named_steps["mlpclassifier"].n_iter_ == 3


def test_a_callback_that_fails_is_torn_down_and_the_error_comes_through():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise ValueError("no more")

    failing = Failing()
    net = estimators.MLPClassifier((4,), max_iter=3, random_state=0)
    net.set_callbacks(failing)
    with pytest.raises(ValueError, match="no more"):
        net.fit(X, Y)
    assert failing.events[-1][0] == "teardown"
    net.set_callbacks()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert net.fit(X, Y).n_iter_ == 3


def test_partial_fit_tells_nobody():
    recorder = Recorder()
    net = estimators.MLPClassifier((4,), random_state=0)
    net.set_callbacks(recorder)
    net.partial_fit(X, Y, classes=[0, 1, 2])
    assert recorder.events == []
