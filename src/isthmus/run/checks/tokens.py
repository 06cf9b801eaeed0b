"""Layer 8: ISX019: texts that the tokenizer cuts off or does not know."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.errors import IsthmusError
from isthmus.run.checks.view import ModelView

LOOKED = 200
UNKNOWN, CUT = 0.05, 0.1
CHOPPED = 3.0  # tokens a word, beyond which the vocabulary is one of another language


def find(view: ModelView) -> Iterable[Finding]:
    """Unknown tokens, cut texts and tokens a word, in each part."""
    tokenize = getattr(view.backbone, "tokenize", None)
    if view.modality != "text" or tokenize is None:
        return
    for role, part in view.raw.parts():
        unknown, cut, chopped, looked, first = 0, 0, 0, 0, ""
        tokens = words = 0
        for row in view.raw.chosen(part, LOOKED):
            text = str(part.items[int(row)])
            try:
                found = tokenize(text)
            except IsthmusError:
                continue
            looked += 1
            tokens += len(found.ids)
            words += max(len(text.split()), 1)
            unknown += found.unknown
            cut += found.truncated
            lost = found.unknown > 0.2 * len(found.ids) or found.truncated
            first = first or (part.ids[int(row)] if lost else "")
            chopped += not found.truncated and len(found.ids) > CHOPPED * len(text.split()) + 8
        if not looked:
            continue
        rates = {
            "unknown": unknown / max(tokens, 1),
            "cut": cut / looked,
            "tokens_a_word": tokens / words,
        }
        name = str(view.backbone.name)
        if rates["unknown"] >= UNKNOWN:
            yield _finding(
                f"{100 * rates['unknown']:.0f} % of the tokens of the {role} texts are unknown",
                f"the vocabulary of {name} does not hold them",
                "Use a backbone of the language and script of the texts",
                part.origin,
                first,
                rates,
            )
        elif chopped >= 0.5 * looked:
            yield _finding(
                f"the {role} texts fall into {rates['tokens_a_word']:.1f} tokens a word",
                f"{name} knows them by letters only: another language, or another vocabulary",
                "Use a backbone of the language of the texts",
                part.origin,
                first,
                rates,
            )
        if rates["cut"] >= CUT:
            limit = np.asarray(view.backbone.recipe.get("max_tokens", 0)).item()
            yield _finding(
                f"{100 * rates['cut']:.0f} % of the {role} texts are cut off",
                f"{name} reads the first {limit} tokens only",
                "Split long texts, or use a backbone with a longer limit",
                part.origin,
                first,
                rates,
            )


def _finding(
    title: str, evidence: str, remedy: str, where: str, row: str, figures: dict[str, float]
) -> Finding:
    rows = (row,) if row else ()
    return Finding("ISX019", "warning", title, evidence, where, remedy, rows, dict(figures))
