"""The guard decides from intervals alone; every rule has its sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.select.guard import Standing, admit, decide
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


def test_the_blend_gives_way_to_evidence_and_not_to_chance():
    blend = scored("blend", 0.78, (-0.02, -0.08, 0.04))
    good, bad = (
        scored("pooled", 0.79, (-0.01, -0.06, 0.04)),
        scored("pooled", 0.6, (-0.2, -0.3, -0.1)),
    )
    assert decide([TARGET, blend, good]).decision == "blend"
    assert decide([TARGET, scored("blend", 0.7, (-0.1, -0.15, -0.05)), good]).decision != "blend"
    verdict = decide([TARGET, blend, bad])  # a source that lies, and nothing gained
    assert verdict.decision == "target-only" and "declined: pooled" in verdict.sentence
    assert decide([TARGET, scored("blend", 0.85, (0.05, -0.01, 0.1)), bad]).decision == "blend"


def test_a_plain_route_that_beats_the_blend_serves():
    blend = scored("blend", 0.7, (0.2, 0.1, 0.3))
    alone, low = scored("target-only", 0.5), (0.4, 0.3, 0.5)
    clear = replace(scored("source-only", 0.9, low), over_blend=Interval(0.2, 0.1, 0.3))
    verdict = decide([alone, blend, clear])
    assert verdict.decision == "source-only"
    assert "beats the blend by +20.0 points of accuracy [+10.0, +30.0]" in verdict.sentence
    unclear = replace(clear, over_blend=Interval(0.2, -0.01, 0.3))
    assert decide([alone, blend, unclear]).decision == "blend"
    # not where target-only beats that route in turn
    worse = replace(clear, over_reference=Interval(-0.1, -0.2, -0.05))
    assert decide([TARGET, blend, worse]).decision != "source-only"


def test_one_label_a_class_pools_by_rule():
    names = ("pooled", "source-only", "target-only")
    verdict = decide([Standing(n, "unscored", "too few labelled target rows") for n in names])
    assert verdict.decision == "pooled"
    assert "by rule" in verdict.sentence
    names += ("blend",)
    verdict = decide([Standing(n, "unscored", "too few labelled target rows") for n in names])
    assert verdict.decision == "blend" and "by rule, not by evidence" in verdict.sentence


def test_a_route_that_time_did_not_reach_may_still_serve():
    assert decide([Standing("target-only", "not reached", "time")]).decision == "target-only"


def test_failed_routes_never_serve():
    with pytest.raises(ValueError, match="singular"):
        decide(
            [Standing("pooled", "failed", "singular"), Standing("target-only", "refused", "none")]
        )


# -- methods named by hand ---------------------------------------------------------------------


def method(route, value=None, gap=None, status="scored", reason=""):
    """A method's line: its score, and its difference to the route that would serve."""
    if value is None:
        return Standing(route, status, reason, by_hand=True)
    over = None if gap is None else Interval(*gap)
    score = Interval(value, value - 0.05, value + 0.05)
    return Standing(route, status, reason, score, by_hand=True, over_chosen=over)


def without_labels():
    return decide([Standing("source-only", "unscored", "no labelled target rows")])


def with_labels():
    return decide([TARGET, scored("pooled", 0.90, (0.10, 0.02, 0.18))])


def test_one_method_without_labels_serves_and_the_sentence_says_by_hand():
    verdict = admit(without_labels(), [method("coral", status="unscored", reason="no labels")])
    assert verdict.decision == "coral"
    assert "chosen by hand" in verdict.sentence and "nothing proves" in verdict.sentence
    assert verdict.evidence == {"rule": "by hand", "instead of": "source-only"}


def test_several_methods_without_labels_leave_source_only():
    verdict = admit(without_labels(), [method(n, status="unscored") for n in ("coral", "kmm")])
    assert verdict.decision == "source-only"
    assert "coral, kmm apart from it" in verdict.sentence and "Name one method" in verdict.reason
    verdict = admit(without_labels(), [method(n, status="unscored") for n in "abcd"])
    assert "4 methods apart from it" in verdict.sentence


def test_of_two_named_the_one_that_did_not_fail_was_still_not_named_alone():
    failed = method("kmm", status="failed", reason="singular")
    verdict = admit(without_labels(), [method("coral", status="unscored"), failed])
    assert verdict.decision == "source-only"


def test_a_method_that_beats_the_chosen_route_serves():
    verdict = admit(with_labels(), [method("coral", 0.95, (0.05, 0.01, 0.09))])
    assert verdict.decision == "coral" and verdict.evidence["rule"] == "method helps"
    assert "beats pooled by +5.0 points" in verdict.sentence


@pytest.mark.parametrize("gap", [(0.05, -0.01, 0.11), (-0.05, -0.09, -0.01), (0.0, 0.0, 0.0)])
def test_a_method_that_is_not_proven_better_does_not_serve_even_alone(gap):
    verdict = admit(with_labels(), [method("coral", 0.9 + gap[0], gap)])
    assert verdict.decision == "pooled"
    assert "coral is not proven better than pooled" in verdict.sentence
    assert verdict.sentence.startswith(with_labels().sentence)


def test_the_best_of_the_proven_methods_serves_not_the_best_of_all():
    verdict = admit(
        with_labels(),
        [
            method("kmm", 0.97, (0.07, -0.01, 0.15)),
            method("coral", 0.94, (0.04, 0.01, 0.07)),
            method("ulsif", 0.93, (0.03, 0.01, 0.05)),
            method("kliep", status="failed", reason="x"),
        ],
    )
    assert verdict.decision == "coral" and "level raised for 3 methods" in verdict.reason


def test_without_methods_or_with_failed_ones_alone_nothing_changes():
    assert admit(with_labels(), []) == with_labels()
    failed = [method("coral", status="failed", reason="x")]
    assert admit(with_labels(), failed) == with_labels()
