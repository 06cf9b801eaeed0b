"""Layer 9: `isthmus evaluate DIR DATA`: a saved model against labelled data, with intervals."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import emit, format_option, reading_options
from isthmus.types import Interval

# figure -> (words, whether it is a share)
WORDS = {
    "accuracy": ("accuracy", True),
    "balanced_accuracy": ("balanced accuracy", True),
    "f1_macro": ("F1, macro", True),
    "f1_weighted": ("F1, weighted", True),
    "f1_micro": ("F1, micro", True),
    "subset_accuracy": ("all labels right", True),
    "hamming_loss": ("wrong labels", True),
    "roc_auc": ("ROC-AUC", True),
    "log_loss": ("log-loss", False),
    "ece": ("calibration error", True),
    "mae": ("mean absolute error", False),
    "rmse": ("RMSE", False),
    "r2": ("R2", False),
}


@click.command(name="evaluate")
@click.argument("folder", metavar="DIR")
@click.argument("data", metavar="DATA")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@format_option
def command(folder: str, data: str, seed: int, no_cache: bool, fmt: str, **reading: Any) -> None:
    """Score the model in DIR on the labelled DATA. Every figure has a 95 % interval."""
    from isthmus.cli.progress import bars
    from isthmus.evaluate.metrics import as_json
    from isthmus.serve.predictor import load

    store = None
    if not no_cache:
        from isthmus.backbone import Store

        store = Store()
    options = {name: value for name, value in reading.items() if value is not None}
    predictor = load(folder, store=store)
    with bars(enabled=fmt == "text") as progress:
        found = predictor.evaluate(
            data,
            random_state=seed,
            progress=lambda done, total: progress.update("evaluate", done, total),
            **options,
        )
    emit(as_json(found), fmt, lambda: _text(found))


def _text(found: dict[str, Any]) -> str:
    rows = found["rows"]
    lines = [f"{rows['scored']:,} of {rows['seen']:,} rows scored"]
    for name, unit in (("unlabelled", "without a label"), ("bad", "could not be read")):
        if rows[name]:
            lines[0] += f", {rows[name]:,} {unit}"
    shown = [name for name in WORDS if isinstance(found.get(name), Interval)]
    width = max((len(WORDS[name][0]) for name in shown), default=0)
    for name in shown:
        words, share = WORDS[name]
        lines.append(f"  {words:<{width}}  {_figure(found[name], share)}")
    per_class = found.get("per_class") or {}
    if per_class:
        lines.append("recall of each class")
        widest = max(len(name) for name in per_class)
        for name, figures in per_class.items():
            lines.append(
                f"  {name:<{widest}}  {_figure(figures['recall'], True)}, "
                f"{int(found['support'][name]):,} rows"
            )
    lines.extend(f"note: {note}" for note in found["notes"])
    lines.extend(f"not read: {p['where']}: {p['reason']}" for p in found["problems"][:10])
    return "\n".join(lines)


def _figure(value: Interval, share: bool) -> str:
    if value.value != value.value:
        return f"not measured ({value.how})"
    if share:
        return value.percent()
    return f"{value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"
