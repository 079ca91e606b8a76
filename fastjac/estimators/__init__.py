"""scikit-learn estimators: ``MLPClassifier`` and ``MLPRegressor`` with the parameters of scikit-learn's own, and more.

Needs scikit-learn 1.6 or newer: ``pip install "fastjac[estimators]"``.
"""

try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError('fastjac.estimators needs scikit-learn: pip install "fastjac[estimators]"') from error

from fastjac.estimators.classifier import MLPClassifier as MLPClassifier
from fastjac.estimators.regressor import MLPRegressor as MLPRegressor
