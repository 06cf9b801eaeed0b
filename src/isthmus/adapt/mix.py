"""MIX: the trees of SER and STRUT in one forest."""

from __future__ import annotations

from functools import partial
from typing import Any

from isthmus.adapt.ser import expand_and_reduce
from isthmus.adapt.strut import transfer_structure
from isthmus.adapt.transfer_trees import TransferForest


class MIX(TransferForest):
    """The union of the forests of `SER` and `STRUT`, both from the same source trees.

    Class shares are averaged over all of them (Segev, Harel, Mannor, Crammer and El-Yaniv, *Learn
    on source, refine on target: a model transfer learning framework with random forests*, IEEE
    TPAMI 2017, section 3.3; the paper counts votes).

    Parameters
    ----------
    forest : classifier, optional
        A scikit-learn tree or forest of trees. Default: a random forest of 50 trees, each on at
        most 10,000 source rows.
    adapt_prior : bool, default=True
        As in `STRUT`.
    keep_unreached : {"none", "minority", "all"}, default="all"
        As in `SER` and `STRUT`.
    random_state : int, default=0
        Of forest and expansions.

    Attributes
    ----------
    classes_ : ndarray
    trees_ : list of Tree
        First those of SER, then those of STRUT.
    source_trees_ : list of Tree
    troubles_ : tuple of Trouble

    Notes
    -----
    NumPy only.
    """

    def __init__(
        self,
        forest: Any = None,
        *,
        adapt_prior: bool = True,
        keep_unreached: str = "all",
        random_state: int = 0,
    ) -> None:
        self.forest, self.adapt_prior = forest, adapt_prior
        self.keep_unreached, self.random_state = keep_unreached, random_state

    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None) -> MIX:
        """Fit on source rows and on target rows whose label may be used; as `SER.fit`."""
        refine = partial(transfer_structure, adapt_prior=self.adapt_prior)
        self._fit(X, y, sample_domain, target_labeled, [expand_and_reduce, refine])
        return self
