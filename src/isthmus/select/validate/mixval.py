"""Layer 6: mixed rows as probes (Hu et al. 2023)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Scene, Trial, Validator
from isthmus.select.validate.probabilities import asked, of_target
from isthmus.select.validate.scenes import shuffled_target
from isthmus.types import Array


class MixVal(Validator):
    """Does the mixture of two target rows keep the class of the row that outweighs the other?

    ``x = mix x_i + (1 - mix) x_j``, and the share of such rows that the candidate puts into the
    class it predicts for x_i: once over pairs of one predicted class (intra-cluster, tests
    density) and once over pairs of two (inter-cluster, tests the boundary); the score is the mean
    of both. Hu, Liang, Liew, Xue, Bai and Wang, *Mixed samples as probes for unsupervised model
    selection in domain adaptation*, NeurIPS 2023, section 3. The paper averages the ranks of the
    two over all models; a candidate is looked at alone here, so the shares are averaged.

    Parameters
    ----------
    mix : float, default=0.55
        Share of the first row, above 0.5; as in the paper.
    most : int, default=2000
        Target rows that are mixed; the same for all candidates.

    Notes
    -----
    The classes of a linear candidate are convex: its intra-cluster share is 1, whatever it says.
    Refused where one class only is predicted, or none twice.
    """

    name: ClassVar[str] = "mixval"
    needs: ClassVar[tuple[str, ...]] = ("predict",)

    def __init__(self, *, mix: float = 0.55, most: int = 2000) -> None:
        self.mix, self.most = mix, most

    def score(self, scene: Scene, trial: Trial) -> float:
        if not 0.5 < self.mix < 1:
            raise UsageError(f"mix={self.mix!r}", why="it must lie between 0.5 and 1")
        codes = of_target(scene, trial).argmax(axis=1)
        rows = shuffled_target(scene)[: self.most]
        first, second, inter = pairs(codes, rows)
        if not inter.any() or inter.all():
            why = (
                "one class only is predicted" if not inter.any() else "no class is predicted twice"
            )
            raise DataError("nothing to mix", where=trial.name, why=why)
        assert trial.predict is not None
        X = self.mix * scene.Xt[first] + (1 - self.mix) * scene.Xt[second]
        got = asked(trial.predict, X, scene.n_classes, f"{trial.name}, mixed rows")
        kept = got.argmax(axis=1) == codes[first]
        return float((kept[~inter].mean() + kept[inter].mean()) / 2)


def pairs(codes: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Row positions i and j of the mixtures, and whether their predicted classes differ.

    Parameters
    ----------
    codes : ndarray of shape (n_t,), int
    rows : ndarray of int
        Target rows in random order. Each is mixed with the next one, kept where the classes
        differ, and with the next one of its own class.
    """
    after = np.roll(rows, -1)
    other = codes[rows] != codes[after]
    first, second = [rows[other]], [after[other]]
    for code in np.unique(codes[rows]):
        own = rows[codes[rows] == code]
        if len(own) > 1:
            first.append(own)
            second.append(np.roll(own, -1))
    inter = np.arange(sum(map(len, first))) < int(other.sum())
    return np.concatenate(first), np.concatenate(second), inter
