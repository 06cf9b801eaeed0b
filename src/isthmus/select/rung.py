"""Layer 6: the rung above the closed-form candidates: small networks trained on the features.

They cost seconds where a closed-form candidate costs milliseconds, so they are asked for: by the
diagnosis together with a time budget that leaves room, or by hand (``deep``). Either way the
output says in words why they were tried or not.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isthmus.discrepancy.a_distance import a_distance
from isthmus.errors import DataError
from isthmus.fit.aligned import AlignedMLP
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench
from isthmus.select.candidates import Build, Candidate, one_by_one
from isthmus.select.descriptors import TASK, Surroundings, row
from isthmus.select.prior import ChoicePrior
from isthmus.select.routes.base import Labelled
from isthmus.select.trials import CUT_SHORT, Weighed
from isthmus.types import Array

LEAST = 200  # rows a side: below, a network learns less than a linear model
PROBE = 20  # steps of the trial that says how long a training takes
SHARE = 0.5  # of the time that is left: what comes after the choice needs some too


def network(method: str | None) -> Build:
    """A network on the rows of the bench, trained with a method of `isthmus.align`."""

    def build(bench: Bench, known: Labelled | None) -> FeatureModel:
        seed = bench.new_model().random_state
        return bench.fitted(AlignedMLP(method, random_state=seed), known)

    return one_by_one(build)


# the one that its evidence was most often right about comes first: the time may end
NETWORKS: tuple[Candidate, ...] = (
    Candidate("shot", "network", network("shot"), 3),
    Candidate("mcc", "network", network("mcc"), 3),
    Candidate("dann", "network", network("dann"), 3),
    Candidate("mlp", "network", network(None), 3),  # source rows alone: the others' reference
)


@dataclass(frozen=True)
class Rung:
    """Whether the networks take part.

    Parameters
    ----------
    tried : bool
    why : str
        In words, for a person.
    """

    tried: bool
    why: str

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return {"tried": self.tried, "why": self.why}


def asked_for(
    bench: Bench,
    *,
    deep: bool | None,
    left: float | None,
    fits: int = 1,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Rung:
    """Whether the networks are worth their time here.

    Parameters
    ----------
    deep : bool or None
        True: whatever the diagnosis and the time say; False: never; None: by the rules below.
    left : float or None
        Seconds of the budget that are left; None: there is no budget.
    fits : int, default=1
        How often each network is fitted (folds of the evidence, and once on all rows).

    Notes
    -----
    The rules, cheap ones first: there is a budget; torch is installed; both sides have `LEAST`
    rows; the interval of the domain AUC lies above one half, that is, there is a shift to align;
    a short training says that half of the time that is left is enough for all of them.
    """
    if deep is False:
        return Rung(False, "not tried: turned off")
    if importlib.util.find_spec("torch") is None:
        return Rung(False, "not tried: torch is not installed (pip install 'isthmus[deep]')")
    if deep:
        return Rung(True, "tried: asked for")
    if left is None:
        return Rung(False, "not tried: there is no time budget (--time, or --deep)")
    n, m = len(bench.space.Xs), len(bench.space.Xt)
    if min(n, m) < LEAST:
        rows = f"{n:,} source and {m:,} target rows"
        return Rung(False, f"not tried: {rows}, and networks need {LEAST} a side")
    try:
        auc = a_distance(bench.space.Xs, bench.space.Xt, random_state=seed, max_rows=1000).auc
    except DataError as error:
        return Rung(False, f"not tried: the domains could not be compared ({error.what})")
    figure = f"domain AUC {auc.value:.2f} [{auc.low:.2f}, {auc.high:.2f}]"
    if auc.low <= 0.5:
        return Rung(False, f"not tried: the domains are not told apart ({figure})")
    spent = len(NETWORKS) * fits * seconds(bench, clock)
    room = SHARE * left
    if spent > room:
        return Rung(
            False, f"not tried: about {spent:.0f} s of training, and {room:.0f} s are to spare"
        )
    return Rung(True, f"tried: the domains differ ({figure}) and the time allows it")


def reached(rung: Rung, failed: Mapping[str, str]) -> Rung:
    """What became of networks that were to be tried; `failed`: why a candidate has no answer."""
    if rung.tried and all(failed.get(one.name) == CUT_SHORT for one in NETWORKS):
        return Rung(False, "not tried: the time budget ended before the first of them")
    return rung


def seconds(bench: Bench, clock: Callable[[], float] = time.monotonic) -> float:
    """About how long one network trains on the rows of a bench, from a few steps of DANN."""
    import torch  # noqa: F401  (importing it is no part of a training)

    bench.fitted(AlignedMLP("dann", steps=2))
    start = clock()
    bench.fitted(AlignedMLP("dann", steps=PROBE))
    return (clock() - start) * AlignedMLP().count(len(bench.space.Xs)) / PROBE


def joined(
    found: Weighed,
    around: Surroundings,
    proba: Mapping[str, Array],
    prior: ChoicePrior,
    *,
    least: float,
) -> Weighed:
    """The candidates with the networks among them, weighed together.

    Parameters
    ----------
    found : Weighed
        The closed-form candidates.
    proba : mapping of str to ndarray of shape (n_t, K)
        Of both kinds.
    least : float
        Weights below become 0.

    Notes
    -----
    No table was learned with the networks among its candidates, so nothing is known of a network
    by its name. What the trees read of a candidate is for the most part not its name but what can
    be seen of its answers without a label: how sure and how balanced they are, how often near
    rows and the other candidates agree. So a network gets the expectation of a candidate without
    a name that answers like this, and enters the blend by the same formula as the others, its
    downside held against it. The consensus that all are compared with stays that of the
    closed-form candidates: networks are alike and would vouch for one another, and the rows of
    the others stay what the table was learned on.
    """
    names = [one.name for one in NETWORKS if one.name in proba]
    if not names:
        return found
    consensus = np.mean([proba[name] for name in found.order], axis=0)
    task = dict(zip(TASK, found.rows[0].tolist(), strict=False))
    answers = [proba[name] for name in names]
    rows = nameless(around, answers, consensus, proba["source-only"], task, prior)
    order = [*found.order, *names]
    whole = np.concatenate([found.rows, rows])
    gain, downside = prior.expected(whole, order)
    weights = prior.weights(gain, downside)
    weights = np.where(weights >= least, weights, 0.0)
    return replace(
        found,
        order=order,
        rows=whole,
        gain=gain,
        downside=downside,
        weights=weights / weights.sum(),
    )


def nameless(
    around: Surroundings,
    answers: Sequence[Array],
    consensus: Array,
    source: Array,
    task: Mapping[str, float],
    prior: ChoicePrior,
) -> Array:
    """Descriptors of answers by candidates that the learned table has no name for.

    Parameters
    ----------
    answers : sequence of ndarray of shape (n_t, K)
    consensus, source : ndarray of shape (n_t, K)
        What they are compared with: the named candidates' mean, and source-only.
    task : mapping of str to float
        `TASK` descriptors of the pair.

    Returns
    -------
    ndarray of shape (len(answers), len(prior.columns))
    """
    base = around.own(source, consensus, source)
    marks = [False] * len(prior.candidates)
    return np.array([row(task, around.own(one, consensus, source), base, marks) for one in answers])
