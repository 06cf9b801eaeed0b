"""Layer 6: the guard: which route may serve, from the evidence, and when the source is declined.

It is given intervals, not labels; it never sees a test set.
"""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.types import Interval, Verdict

BLEND = "blend"  # the automatic choice among the routes
# a route that the time budget left unscored can still serve by rule
USABLE = ("scored", "unscored", "not reached")


@dataclass(frozen=True)
class Standing:
    """One line of the leaderboard before the test set is opened.

    Parameters
    ----------
    route : str
    status, reason : str
        As in `Evidence`.
    score : Interval or None
        Cross-validated score on the labelled target rows.
    over_reference : Interval or None
        Paired difference to target-only on the same rows; None for target-only itself.
    by_hand : bool
        Offered only because the user named it.
    over_chosen : Interval or None
        Routes by hand: paired difference to the route that would serve without them, its level
        raised for their number.
    over_blend : Interval or None
        Paired difference to the blend, its level raised for the number of plain routes that read
        the source.
    expected, estimate : Interval or None
        Automatic choice: expected gain over source-only, estimated accuracy; no label used.
    """

    route: str
    status: str
    reason: str = ""
    score: Interval | None = None
    over_reference: Interval | None = None
    by_hand: bool = False
    over_chosen: Interval | None = None
    over_blend: Interval | None = None
    expected: Interval | None = None
    estimate: Interval | None = None


def decide(standings: list[Standing], *, unit: str = "accuracy") -> Verdict:
    """Choose a route.

    Rules, in order: (1) without labelled target rows only source-only can serve, and nothing can
    be said about it; (2) with too few of them to compare, the blend of all candidates serves by
    rule, and where there is none source and target rows are pooled; (3) otherwise the blend
    serves, unless a plain use of the source beats it by a paired interval that excludes zero;
    without a blend the best cross-validated route does. The source is *declined* when target-only
    is better than what would serve by such an interval, or so much better than every plain route
    while the blend gains nothing. Target-only is a part of the blend,
    weighed by these labels; to switch to it on a difference that may be chance cost 1 to 3 points
    on public tasks (docs/log.md).

    Parameters
    ----------
    unit : str
        Name of the score, for the sentence.

    Returns
    -------
    Verdict
        ``decision`` is the name of the route that serves.

    Raises
    ------
    ValueError
        If no route is applicable.
    """
    usable = {s.route: s for s in standings if s.status in USABLE}
    if not usable:
        reasons = "; ".join(f"{s.route}: {s.reason}" for s in standings)
        raise ValueError(f"no route can run: {reasons}")
    scored = {name: s for name, s in usable.items() if s.score is not None}
    if not scored:
        return _by_rule(usable)
    best = max(scored.values(), key=lambda s: (_value(s), s.route == "target-only"))
    reference = scored.get("target-only")
    if reference is None or len(scored) == 1:
        return Verdict(
            best.route,
            f"{best.route}: {_figure(best.score, unit)} in cross-validation on the labelled "
            "target rows.",
            "It is the only route that could be scored.",
            {"rule": "only route scored"},
        )
    plain = [s for s in scored.values() if s is not reference and s.route != BLEND]
    mixed = scored.get(BLEND)
    if mixed is not None and mixed.over_reference is not None:
        # choosing the single best of many by a few labels is what the guard is there to prevent
        beating = [s for s in plain if s.over_blend is not None and s.over_blend.low > 0]
        if beating:
            found = max(beating, key=_value)
            gap = found.over_blend
            assert gap is not None
            if not _below(found):
                return Verdict(
                    found.route,
                    f"{found.route} serves: it beats the blend by {_points(gap, unit)}.",
                    "The paired interval on the labelled target rows lies above zero.",
                    {"rival": BLEND, "difference": gap.as_dict(), "rule": "plain-beats-blend"},
                )
        rival = mixed
        first = max(plain, key=_value, default=mixed)
        if mixed.over_reference.value <= 0 and _below(first):
            rival = first  # the source misleads, and the blend does no better than without it
    elif plain:
        rival = max(plain, key=_value)
        best = max([*plain, reference], key=lambda s: (_value(s), s is reference))
    else:
        rival = max((s for s in scored.values() if s is not reference), key=_value)
    gap = rival.over_reference
    if gap is None:
        return Verdict(best.route, f"{best.route} has the best score.", "Highest score.", {})
    evidence = {"rival": rival.route, "difference": gap.as_dict()}
    points = _points(gap, unit)
    if gap.high < 0:
        return Verdict(
            "target-only",
            f"Source declined: {rival.route} is worse than target-only by {points}.",
            "The paired interval on the labelled target rows lies below zero.",
            {**evidence, "rule": "declined"},
        )
    if gap.low > 0:
        return Verdict(
            rival.route,
            f"The source helps: {rival.route} beats target-only by {points}.",
            "The paired interval on the labelled target rows lies above zero.",
            {**evidence, "rule": "helps"},
        )
    if rival.route == BLEND:
        return Verdict(
            BLEND,
            f"The blend serves: {points} over target-only, which the evidence does not separate "
            "from zero.",
            "The paired interval on the labelled target rows includes zero, and target-only is a "
            "part of the blend, weighed by these labels.",
            {**evidence, "rule": "blend, not separated"},
        )
    return Verdict(
        best.route,
        f"{best.route} has the higher score, but the evidence does not separate it from "
        f"{'target-only' if best is not reference else rival.route}: "
        f"{rival.route} minus target-only is {points}.",
        "The paired interval on the labelled target rows includes zero.",
        {**evidence, "rule": "not separated"},
    )


def admit(verdict: Verdict, methods: list[Standing], *, unit: str = "accuracy") -> Verdict:
    """Let routes that were named by hand serve, where the evidence or their name allows it.

    (1) With scores, the best method that beats the route of `verdict` by a paired interval above
    zero serves; else `verdict` stands. (2) Without scores `verdict` stands as well, unless the
    user named a single method: it serves because it was asked for, and the sentence says so.

    Parameters
    ----------
    verdict : Verdict
        What `decide` said of the other routes.
    methods : list of Standing
        Every method that was named, those that failed as well.
    """
    # one that the time did not reach has no model; named alone it is fitted all the same
    usable = [s for s in methods if s.status in (USABLE if len(methods) == 1 else USABLE[:2])]
    if not usable:
        return verdict
    other = verdict.decision
    compared = [s for s in usable if s.over_chosen is not None]
    if compared:
        better = [s for s in compared if s.over_chosen is not None and s.over_chosen.low > 0]
        best = max(better or compared, key=_value)
        gap = best.over_chosen
        assert gap is not None
        evidence = {"method": best.route, "over": other, "method_difference": gap.as_dict()}
        of = "" if len(compared) == 1 else f" (level raised for {len(compared)} methods)"
        if better:
            return Verdict(
                best.route,
                f"{best.route}, named by hand, beats {other} by {_points(gap, unit)}.",
                f"The paired interval on the labelled target rows lies above zero{of}.",
                {**verdict.evidence, **evidence, "rule": "method helps"},
            )
        which = best.route if len(compared) == 1 else f"The best method, {best.route},"
        return Verdict(
            other,
            f"{verdict.sentence} {which} is not proven better than {other}: "
            f"{_points(gap, unit)}; {other} serves.",
            f"{verdict.reason} A method named by hand serves where its paired interval lies "
            f"above zero{of}.",
            {**verdict.evidence, **evidence},
        )
    if len(methods) == 1:
        name = usable[0].route
        return Verdict(
            name,
            f"{name} serves because it was chosen by hand; nothing proves that it beats {other}.",
            f"{usable[0].reason[:1].upper()}{usable[0].reason[1:]}. Without --method {other} "
            "would serve.",
            {"rule": "by hand", "instead of": other},
        )
    many = len(usable) > 3
    names = f"{len(usable)} methods" if many else ", ".join(s.route for s in usable)
    return Verdict(
        other,
        f"{other} serves by rule: nothing tells {names} apart from it.",
        f"{verdict.reason} Name one method alone to let it serve unproven.",
        {**verdict.evidence, "rule": "methods unscored"},
    )


def decide_unlabelled(verdict: Verdict, blend: Standing, *, least: float) -> Verdict:
    """Let the automatic choice serve where no target label can speak for or against it.

    The blend serves where other tasks let expect a gain of at least `least`; otherwise it is
    *declined* and what `verdict` named serves.

    Parameters
    ----------
    verdict : Verdict
        What `decide` said of the plain routes.
    blend : Standing
        With its `expected` gain over source-only.
    least : float
    """
    gain = blend.expected
    if gain is None or blend.status not in USABLE:
        return verdict
    points = _points(gain, "accuracy")
    evidence = {"expected_gain": gain.as_dict(), "instead of": verdict.decision}
    if gain.value < least:
        return Verdict(
            verdict.decision,
            f"Adaptation declined: {points} expected over {verdict.decision}.",
            f"What helped on other data sets is not expected to help here: less than "
            f"{100 * least:g} points. {verdict.decision} serves.",
            {**evidence, "rule": "declined without labels"},
        )
    return Verdict(
        blend.route,
        f"Adapt: the blend is expected to gain {points} over {verdict.decision}.",
        "No target label was used: the expectation comes from how its candidates fared on other "
        "data sets that measured alike. Some labelled target rows (--shots) would prove it.",
        {**evidence, "rule": "expected without labels"},
    )


def _by_rule(usable: dict[str, Standing]) -> Verdict:
    for name in (BLEND, "pooled", "target-only", "source-only"):
        if name in usable:
            why = usable[name].reason or "no labelled target rows"
            rest = sorted(set(usable) - {name})
            if rest:
                sentence = f"{name} serves by rule, not by evidence."
            else:
                sentence = f"{name} serves: it is the only applicable route, and nothing scored it."
            return Verdict(name, sentence, f"{why[:1].upper()}{why[1:]}.", {"rule": "by rule"})
    name = sorted(usable)[0]
    return Verdict(name, f"{name} is the only applicable route.", usable[name].reason, {})


def _below(standing: Standing) -> bool:
    gap = standing.over_reference
    return gap is not None and gap.high < 0


def _value(standing: Standing) -> float:
    assert standing.score is not None
    return standing.score.value


def _figure(score: Interval | None, unit: str) -> str:
    if score is None:
        return "no score"
    if unit == "accuracy":
        return f"{score.percent()} accuracy"
    return f"{unit} {score.value:.4g} [{score.low:.4g}, {score.high:.4g}]"


def _points(gap: Interval, unit: str) -> str:
    if unit == "accuracy":
        low, high = 100 * gap.low, 100 * gap.high
        return f"{100 * gap.value:+z.1f} points of accuracy [{low:+z.1f}, {high:+z.1f}]"
    return f"{gap.value:+.4g} {unit} [{gap.low:+.4g}, {gap.high:+.4g}]"
