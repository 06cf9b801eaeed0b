"""Layer 6: do predicted classes follow the clusters of the target rows? (Musgrave et al. 2022)"""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import of_target
from isthmus.select.validate.scenes import once, shuffled_target
from isthmus.types import Array


class ClassAMI(Validator):
    """Adjusted mutual information of predicted classes and k-means clusters of the target rows.

    ``AMI(argmax p, kmeans(Xt, K))``: section 3.3 of Musgrave, Belongie and Lim, *Three new
    validators and a large-scale benchmark ranking for unsupervised domain adaptation*, 2022. The
    candidates share their features here, so the clusters are found once for all of them.

    Parameters
    ----------
    n_init : int, default=4
        Starts of k-means.
    most : int, default=5000
        Rows that k-means sees; the others are given to the nearest centre.

    Notes
    -----
    One predicted class has the value 0. Where clusters are not classes (two-class texts, for
    one: topics), it chooses the candidate that predicts topics.
    """

    name: ClassVar[str] = "class-ami"

    def __init__(self, *, n_init: int = 4, most: int = 5000) -> None:
        self.n_init, self.most = n_init, most

    def score(self, scene: Scene, trial: Trial) -> float:
        from sklearn.metrics import adjusted_mutual_info_score

        codes = of_target(scene, trial).argmax(axis=1)
        found = once(scene, f"clusters {self.n_init} {self.most}", self._clusters)
        if len(np.unique(found)) < 2:
            raise DataError("all target rows are in one cluster", where=self.name)
        return float(adjusted_mutual_info_score(found, codes))

    def _clusters(self, scene: Scene) -> Array:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        rows = shuffled_target(scene)[: self.most]
        X = np.asarray(scene.Xt, dtype=np.float64)
        model = KMeans(
            min(scene.n_classes, len(rows)), n_init=self.n_init, random_state=scene.random_state
        )
        with warnings.catch_warnings():
            # fewer distinct rows than classes: fewer clusters are an answer
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X[rows])
        return np.asarray(model.predict(X))
