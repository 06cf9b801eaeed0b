"""Class relationship: a source classifier's classes translated to other classes of the target."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.black_box import fitted, logs
from isthmus.adapt.fitted_forms import Translated, class_scores
from isthmus.adapt.sides import deal, quiet_fit, sides, softmax, two_classes
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble

WHO = "ClassRelationship"
PENALTIES = tuple(10.0**i for i in range(-2, 5))  # C; the paper's grid has twice as many
DEFAULT_C = 10.0


class ClassRelationship(ClassifierMixin, BaseEstimator):
    """The learned relationship p(source class | target class), and predictions through it.

    Where source and target have different sets of classes, a source classifier still says
    something of target rows. A few labelled target rows teach what: ``p(y_t | x) = sum_s p(y_t |
    y_s) p(y_s | x)`` (You, Kou, Long and Wang, *Co-Tuning for transfer learning*, NeurIPS 2020:
    the relationship of section 4.1, learned in its "reverse" and its "direct" form on calibrated
    source probabilities; the network is not tuned here).

    Parameters
    ----------
    estimator : classifier, optional
        Fitted to the source rows; with `predict_proba`. Default: logistic regression on
        standardised features.
    source : fitted classifier, optional
        With `predict_proba` and `classes_`; then no source row is read, and none need be there.
        (`clone` forgets the fit of an estimator that is not wrapped in scikit-learn's
        `FrozenEstimator`.)
    how : {"reverse", "direct"}, default="reverse"
        "reverse" learns p(y_t | y_s) by logistic regression on the source probabilities and turns
        it with Bayes' rule; "direct" averages the source probabilities of each target class.
    temperature : "cv" or float, default="cv"
        Calibration of the source probabilities: by the likelihood of a fifth of the source rows
        held out; 1 where `source` is given.
    C : "cv" or float, default="cv"
        Penalty of "reverse", by held-out log-loss over labelled target rows.
    cv : int, default=5
    random_state : int, default=0
        Seed of the folds; they depend on the values, not on the order of the rows.

    Attributes
    ----------
    classes_ : ndarray of shape (K_t,)
        Of the labelled target rows.
    source_classes_ : ndarray of shape (K_s,)
    relationship_ : ndarray of shape (K_t, K_s)
        p(y_s | y_t), rows sum to 1.
    translation_ : ndarray of shape (K_s, K_t)
        p(y_t | y_s), rows sum to 1.
    source_ : classifier
    temperature_, C_ : float
    troubles_ : tuple of Trouble
    info_ : dict
    """

    family: ClassVar[str] = "relation"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    numpy_only = "the estimators are scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        source: Any = None,
        how: str = "reverse",
        temperature: str | float = "cv",
        C: str | float = "cv",
        cv: int = 5,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.source, self.how = estimator, source, how
        self.temperature, self.C, self.cv, self.random_state = temperature, C, cv, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> ClassRelationship:
        """Fit on stacked domains; source and target labels may be of different sets.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, the source or the labelled target rows have
            one class, or none is labelled.
        UsageError
            If a parameter cannot be used.
        """
        self._check_parameters()
        given = self.source is not None
        rows = sides(X, y, sample_domain, target_labeled, who=WHO, source_needed=not given)
        self.classes_, codes = two_classes(rows.yt, WHO, "labelled target")
        self.troubles_: tuple[Trouble, ...] = ()
        if given:
            self.source_, self.source_classes_ = self.source, np.asarray(self.source.classes_)
            self.temperature_ = 1.0 if self.temperature == "cv" else float(self.temperature)
            told = f"given; {len(rows.Xs)} source rows not read"
        else:
            self.source_classes_, place = two_classes(rows.ys, WHO)
            self.temperature_ = self._calibrate(rows.Xs, place)
            self.source_, fine = fitted(self.estimator, rows.Xs, rows.ys)
            if not fine:
                stopped = "the source classifier stopped at max_iter"
                self.troubles_ += (Trouble("not-converged", stopped, "Scale the features"),)
            told = f"fitted on {len(rows.Xs)} source rows"
        every = self.source_proba(rows.Xt)
        P = every[rows.labeled]
        # the labelled rows may be drawn class by class, all target rows are not
        marginal = every.mean(axis=0)
        self.C_ = self._choose(P, codes, rows.Xl) if self.how == "reverse" else float("nan")
        self.translation_, self.relationship_ = self._learn(P, codes, marginal, self.C_)
        seen = P.sum(axis=0)
        unseen = [
            str(c)
            for c, p, m in zip(self.source_classes_, seen, marginal)
            if p < 0.5 < m * len(every)
        ]
        if unseen:
            reason = f"no labelled target row looks like {', '.join(unseen[:3])}, others do"
            self.troubles_ += (Trouble("unseen-class", reason, "Label some of the rows that do"),)
        self.info_ = {"source": told, "labeled": len(codes), "how": self.how}
        self.n_features_in_ = rows.Xt.shape[1]
        return self

    def _check_parameters(self) -> None:
        if self.how not in ("reverse", "direct"):
            raise UsageError(f"how={self.how!r}", remedy='Use "reverse" or "direct"')
        for name in ("temperature", "C"):
            value = getattr(self, name)
            if value != "cv" and (isinstance(value, str) or not 0 < value < np.inf):
                raise UsageError(f"{name}={value!r}", remedy='Use "cv" or a positive number')
        if self.source is not None and not (
            hasattr(self.source, "predict_proba") and hasattr(self.source, "classes_")
        ):
            raise UsageError(
                f"{type(self.source).__name__} is not fitted or has no predict_proba",
                where="source",
                remedy="Give a fitted classifier, or an unfitted one as estimator",
            )

    def source_proba(self, X: Any) -> Array:
        """(n, K_s) calibrated probabilities of the source's classes."""
        z = logs(self.source_, np.asarray(X))
        return softmax(z / self.temperature_)

    def _calibrate(self, Xs: Array, codes: Array) -> float:
        """Temperature under which held-out source labels are most probable."""
        if self.temperature != "cv":
            return float(self.temperature)
        out = deal(Xs, codes, 5, self.random_state) == 0
        # classes that the other rows lack cannot be scored
        out &= np.isin(codes, codes[~out])
        if not out.any() or len(np.unique(codes[~out])) < 2:
            return 1.0
        model, _ = fitted(self.estimator, Xs[~out], codes[~out])
        z = logs(model, Xs[out])
        place = np.searchsorted(model.classes_, codes[out])

        def loss(log_t: float) -> float:
            p = softmax(z / np.exp(log_t))
            return -float(np.log(np.maximum(p[np.arange(len(p)), place], 1e-300)).mean())

        found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
        return float(np.exp(found.x))

    def _choose(self, P: Array, codes: Array, Xl: Array) -> float:
        """C by held-out log-loss of the whole prediction."""
        if self.C != "cv":
            return float(self.C)
        folds = max(2, min(self.cv, len(codes)))
        pairs = []
        for repeat in range(3):
            fold = deal(Xl, codes, folds, self.random_state + repeat)
            for f in range(folds):
                train = fold != f
                test = ~train & np.isin(codes, codes[train])
                if test.any() and len(np.unique(codes[train])) > 1:
                    pairs.append((train, test))
        if not pairs:
            return DEFAULT_C
        K = len(self.classes_)
        losses = []
        for C in PENALTIES:
            total = 0.0
            for train, test in pairs:
                p = P[test] @ forward(P[train], codes[train], K, C)
                at = p[np.arange(len(p)), codes[test]]
                total -= float(np.log(np.maximum(at, 1e-12)).sum())
            losses.append(total)
        return PENALTIES[int(np.argmin(losses))]

    def _learn(self, P: Array, codes: Array, marginal: Array, C: float) -> tuple[Array, Array]:
        """(K_s, K_t) p(y_t | y_s) and (K_t, K_s) p(y_s | y_t)."""
        K = len(self.classes_)
        if self.how == "reverse":
            translation = forward(P, codes, K, C)
            joint = (translation * marginal[:, None]).T
            return translation, joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        hot = np.eye(K)[codes]
        # a row's worth of the marginal: a class with two labels does not exclude the others
        relationship = (hot.T @ P + marginal) / (hot.sum(axis=0)[:, None] + 1)
        joint = relationship * hot.mean(axis=0)[:, None]
        return (joint / np.maximum(joint.sum(axis=0), 1e-300)).T, relationship

    def served(self) -> Translated:
        """The linear source classifier and the translation, as a value."""
        check_is_fitted(self)
        coef, level = class_scores(self.source_, np.asarray(self.source_.classes_))
        return Translated(coef, level, float(self.temperature_), self.translation_)

    def predict_proba(self, X: Any) -> Array:
        """(n, K_t) probabilities of the target's classes."""
        check_is_fitted(self)
        return np.asarray(self.source_proba(X) @ self.translation_)

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def forward(P: Array, codes: Array, K: int, C: float) -> Array:
    """(K_s, K) p(y_t | y_s): logistic regression on source probabilities, asked at their corners.

    Without an intercept, as in the authors' code. Classes that `codes` lack have probability 0.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, fit_intercept=False, max_iter=1000)
    quiet_fit(model, P, codes)
    out = np.zeros((P.shape[1], K))
    out[:, model.classes_] = model.predict_proba(np.eye(P.shape[1]))
    return out
