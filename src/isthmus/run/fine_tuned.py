"""Layer 8: what came of `isthmus finetune`, as a value and as the command prints it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.evaluate.intervals import wilson
from isthmus.run import from_scratch
from isthmus.run.extract import Extracted
from isthmus.run.network_rows import TrainingRows
from isthmus.run.record import Result
from isthmus.run.text import figure, warnings
from isthmus.types import Array


@dataclass(frozen=True)
class FineTuned:
    """What came of `finetune`.

    Parameters
    ----------
    classifier : FineTunedClassifier
    result : Result
        The same run as `isthmus.transfer` would tell it: model, proof, predictions.
    ids : tuple of str
        Of the target rows, in the order of `predicted` and `proba`.
    predicted : ndarray of shape (n,), object
    proba : ndarray of shape (n, n_classes)
        Columns as ``results["classes"]``.
    """

    classifier: Any
    result: Result
    ids: tuple[str, ...]
    predicted: Array
    proba: Array

    @property
    def results(self) -> dict[str, Any]:
        """JSON-ready; with an output folder it is ``results.json``."""
        return self.result.results

    def text(self) -> str:
        """What the command prints."""
        r = self.results
        stopped = r["epochs_done"] < r["epochs"]
        epochs = f"{r['epochs_done']} of {r['epochs']}" if stopped else str(r["epochs"])
        lines = [
            f"{r['method']} with {r['strategy']}, {epochs} epochs on {r['trained_on']}: "
            f"{r['rows']['source']} source rows, {r['rows']['labelled']} labelled and "
            f"{r['rows']['target']} unlabelled target rows"
        ]
        accuracy = r["score"].get("accuracy")
        if accuracy is not None:
            lines.append(f"accuracy on the target: {figure(accuracy, 'accuracy')}")
        lines += [*from_scratch.in_words(r), r["proof"]["outcome"], *warnings(r)]
        lines += [f"note: {note}" for note in r["notes"]]
        return "\n".join(lines)


def between(classifier: Any) -> dict[str, float]:
    """What the source's network was worth before the third of three steps, with its interval."""
    found: dict[str, float] = dict(classifier.between_)
    if found:
        found["low"], found["high"] = wilson(found["accuracy"], found["rows"])
    return found


def novel_rows(classifier: Any, rows: TrainingRows) -> str:
    """How many target rows a method (OSBP) takes for no class of the source; "" where none asks."""
    if not any(hasattr(objective, "unknown") for objective in classifier.objectives_):
        return ""
    novel = classifier.novelty(rows.X[rows.sample_domain < 0]) > 0.5
    return (
        f"{classifier.method} takes {int(novel.sum())} of {len(novel)} target rows for none of the "
        "source's classes; they are answered with one all the same "
        "(isthmus transfer --classes open answers unknown)."
    )


def epochs_done(log: Sequence[Mapping[str, Any]]) -> int:
    """Epochs of the last stage: fewer than asked for where early stopping ended it."""
    return sum(line.get("stage") == log[-1].get("stage") for line in log) if log else 0


def row_counts(features: Extracted, taught: Extracted) -> dict[str, int]:
    """Rows that a training read: source, labelled target, target without a label; and test rows.

    `taught` is without the validation rows.
    """
    labelled = set() if features.labelled is None else set(features.labelled.samples.ids)
    parts = {"source": taught.source, "labelled": taught.labelled, "test": taught.test}
    counts = {role: 0 if part is None else len(part.X) for role, part in parts.items()}
    return counts | {"target": sum(i not in labelled for i in taught.target.samples.ids)}


def asked(call: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """What differs from the defaults of a function, as its command line takes it."""
    usual = inspect.signature(function).parameters
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in call.items()
        if name not in usual or str(value) != str(usual[name].default)
    }
