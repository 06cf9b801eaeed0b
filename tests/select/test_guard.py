"""The guard decides from intervals alone; every rule has its sentence."""

from __future__ import annotations

import pytest

from isthmus.select.guard import Standing, decide
from isthmus.types import Interval


def scored(route: str, value: float, gap: tuple[float, float, float] | None = None) -> Standing:
    over = None if gap is None else Interval(*gap)
    return Standing(
        route, "scored", score=Interval(value, value - 0.05, value + 0.05), over_reference=over
    )


TARGET = scored("target-only", 0.80)


def test_a_source_that_hurts_is_declined_and_the_figure_is_named():
    verdict = decide([TARGET, scored("pooled", 0.70, (-0.10, -0.15, -0.05))])
    assert verdict.decision == "target-only"
    assert verdict.evidence["rule"] == "declined"
    assert "-10.0 points" in verdict.sentence and "declined" in verdict.sentence


def test_a_source_that_helps_beyond_its_interval_serves():
    verdict = decide([TARGET, scored("pooled", 0.90, (0.10, 0.02, 0.18))])
    assert verdict.decision == "pooled"
    assert verdict.evidence["rule"] == "helps"


@pytest.mark.parametrize(("value", "served"), [(0.82, "pooled"), (0.78, "target-only")])
def test_an_interval_over_zero_is_said_and_the_higher_score_serves(value, served):
    verdict = decide([TARGET, scored("pooled", value, (value - 0.8, value - 0.9, value - 0.7))])
    assert verdict.decision == served
    assert "does not separate" in verdict.sentence


def test_equal_scores_go_to_target_only():
    assert decide([scored("pooled", 0.8, (0, -0.1, 0.1)), TARGET]).decision == "target-only"


def test_the_best_rival_is_compared_not_the_first():
    verdict = decide(
        [
            TARGET,
            scored("pooled", 0.7, (-0.1, -0.2, -0.05)),
            scored("source-only", 0.9, (0.1, 0.05, 0.2)),
        ]
    )
    assert verdict.decision == "source-only"


def test_without_target_labels_source_only_serves_and_says_that_nothing_is_known():
    verdict = decide(
        [
            Standing("source-only", "unscored", "no labelled target rows"),
            Standing("pooled", "refused", "there are no labelled target rows"),
        ]
    )
    assert verdict.decision == "source-only"
    assert "nothing scored it" in verdict.sentence


def test_one_label_a_class_pools_by_rule():
    names = ("pooled", "source-only", "target-only")
    verdict = decide([Standing(n, "unscored", "too few labelled target rows") for n in names])
    assert verdict.decision == "pooled"
    assert "by rule" in verdict.sentence


def test_a_route_that_time_did_not_reach_may_still_serve():
    assert decide([Standing("target-only", "not reached", "time")]).decision == "target-only"


def test_failed_routes_never_serve():
    with pytest.raises(ValueError, match="singular"):
        decide(
            [Standing("pooled", "failed", "singular"), Standing("target-only", "refused", "none")]
        )
