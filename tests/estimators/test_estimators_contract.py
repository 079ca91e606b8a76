"""scikit-learn's own checks of an estimator, over both estimators and several settings.

Reliability test 36: all pass, and none is expected to fail.
"""

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastjac.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore")  # the checks train for a few epochs, and do not converge

ESTIMATORS = [
    MLPClassifier(),
    MLPRegressor(),
    MLPClassifier(solver="lbfgs", hidden_layer_sizes=(10,)),
    MLPRegressor(solver="lbfgs", hidden_layer_sizes=(10,)),
    MLPClassifier(
        solver="sgd", learning_rate_init=0.05, activation=["tanh", "silu"], hidden_layer_sizes=(16, 8), l1=1e-4
    ),
    MLPRegressor(loss="huber", solver="adamw", clip_norm=1.0, threads=1),
    MLPClassifier(solver="adamw", activation=["gelu"], learning_rate="adaptive", threads=2),
]


CHECKS = parametrize_with_checks(ESTIMATORS).mark
NAMES, CASES = CHECKS.args  # older versions give a generator, where pytest wants a list


@pytest.mark.parametrize(NAMES, list(CASES), **CHECKS.kwargs)
def test_check(estimator, check):
    check(estimator)
