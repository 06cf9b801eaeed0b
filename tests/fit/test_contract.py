"""Every head and the processor keep scikit-learn's contract."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

from isthmus.fit import (
    FeatureProcessor,
    KNNHead,
    LogisticHead,
    MultiLabelHead,
    NearestMeanHead,
    RidgeHead,
    RidgeRegressorHead,
)


class YesNo(MultiLabelHead):
    """The contract's checks only know one column of classes: here it becomes a boolean column."""

    def fit(self, X, y, sample_weight=None, groups=None):
        if y is not None:
            y = np.asarray(y)
            y = y.reshape(len(y), -1) == y.max()
        return super().fit(X, y, sample_weight=sample_weight, groups=groups)


ESTIMATORS = [
    FeatureProcessor(),
    FeatureProcessor(pca=0.9, whiten=True, l2=True),
    LogisticHead(tol=1e-9),
    LogisticHead(C=0.5, class_weight="balanced", tol=1e-9),
    RidgeHead(),
    RidgeRegressorHead(),
    NearestMeanHead(),
    NearestMeanHead(metric="cosine", shrinkage="auto", priors="data"),
    KNNHead(),
    KNNHead(3, metric="euclidean", class_weight="balanced"),
    YesNo(LogisticHead(C=1.0, tol=1e-9)),
    YesNo(RidgeHead()),
    YesNo(KNNHead(3)),
]


def cases():
    for estimator in ESTIMATORS:
        for each, check in estimator_checks_generator(estimator, legacy=True):
            name = getattr(check, "func", check).__name__
            yield pytest.param(each, check, id=f"{estimator}-{name}".replace("\n", ""))


@pytest.mark.parametrize(("estimator", "check"), list(cases()))
@pytest.mark.filterwarnings("default")
def test_scikit_learn_contract(estimator, check):
    check(clone(estimator))
