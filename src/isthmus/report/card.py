"""Layer 7: the model card: ``README.md`` beside the model, with Hugging Face's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isthmus import iofs
from isthmus.report import numbers
from isthmus.report.folder import Run, load_run

CARD = "README.md"
MARK = "<!-- made by isthmus: this card is written anew with every run; rename it to keep edits -->"
PIPELINES = {
    ("image", "classification"): "image-classification",
    ("image", "multilabel"): "image-classification",
    ("image", "regression"): "image-feature-extraction",
    ("text", "classification"): "text-classification",
    ("text", "multilabel"): "text-classification",
    ("text", "regression"): "text-classification",
    ("audio", "classification"): "audio-classification",
    ("audio", "multilabel"): "audio-classification",
    ("table", "classification"): "tabular-classification",
    ("table", "multilabel"): "tabular-classification",
    ("table", "regression"): "tabular-regression",
    ("features", "classification"): "tabular-classification",
    ("features", "regression"): "tabular-regression",
}
UNITS = {"micro F1": "f1", "mean absolute error": "mae"}
EXAMPLES = 2
MOST_CLASSES = 20


def write_card(folder: str | Path) -> Path | None:
    """Write the model card of a run; one that a person has edited stays as it is.

    Parameters
    ----------
    folder : path
        What `isthmus.transfer` left.

    Returns
    -------
    Path or None
        The card, or None where there is one without this library's mark.

    Raises
    ------
    UsageError, DataError
        As `load_run`.
    """
    run = load_run(folder)
    path = run.folder / CARD
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return None
    iofs.write_text(path, card(run))
    return path


def card(run: Run) -> str:
    """The card's text: YAML front matter, then Markdown."""
    results = run.results
    name, kind = results["chosen"], results["modality"]
    lines = ["---", *_metadata(run), "---", "", MARK, "", f"# {run.folder.name}", ""]
    lines += [
        f"{'An' if kind[0] in 'aeiou' else 'A'} {kind} {results['task']} model made by "
        f"isthmus {results['isthmus']}: a head on features of "
        f"`{results['backbone']['name']}`, carried over by the route **{name}**.",
        "",
        f"> {results['verdict']['sentence']}",
        "",
        "## How good it is",
        "",
        results["proof"]["outcome"],
        "",
        results["proof"]["protocol"],
        "",
        *_scores(run),
        "## Labels",
        "",
        *_labels(run),
        "## Intended use",
        "",
        f"Predicting rows of the kind it was made for: {results['modality']} data like "
        f"{_origins(run)}. Load it with:",
        "",
        "```python",
        "import isthmus",
        "",
        f'model = isthmus.load("{run.folder.name}")',
        'print(model.predict("new_data/"))',
        "```",
        "",
        "## Limits",
        "",
        *[f"- {line}" for line in _limits(run)],
        "",
        "## Training data",
        "",
        *_data(run),
        "",
        "## Licences",
        "",
        *_licences(run),
        "",
        "## Reproduce",
        "",
        f"Seed {results['settings'].get('seed', 0)}; backbone fingerprint "
        f"`{results['backbone']['fingerprint'][:16]}`. All figures: `results.json`; the report: "
        "`isthmus report .`",
        "",
    ]
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _metadata(run: Run) -> list[str]:
    """YAML; every text is a JSON string, which YAML reads as the same text."""
    results = run.results
    pipeline = PIPELINES.get((results["modality"], results["task"]))
    lines = ["library_name: isthmus"]
    # that of the model as a whole is its maker's choice; those of its parts stand below
    lines.append("license: unknown")
    if pipeline:
        lines.append(f"pipeline_tag: {pipeline}")
    tags = ["transfer-learning", "domain-adaptation", results["modality"], results["chosen"]]
    lines += ["tags:", *[f"- {json.dumps(tag, ensure_ascii=False)}" for tag in tags]]
    lines += ["metrics:", f"- {_unit(results['proof']['metric'])}"]
    score = results["proof"]["headline"].get(results["chosen"])
    if score and score.get("value") is not None and pipeline:
        lines += [
            "model-index:",
            f"- name: {json.dumps(run.folder.name, ensure_ascii=False)}",
            "  results:",
            "  - task:",
            f"      type: {pipeline}",
            "    dataset:",
            f"      name: {json.dumps(_origins(run), ensure_ascii=False)}",
            "      type: custom",
            "    metrics:",
            f"    - type: {_unit(results['proof']['metric'])}",
            f"      value: {score['value']:.6g}",
            f"      name: {json.dumps(results['proof']['column'], ensure_ascii=False)}",
        ]
    return lines


def _unit(metric: str) -> str:
    return UNITS.get(metric, metric.replace(" ", "_"))


def _scores(run: Run) -> list[str]:
    proof = run.results["proof"]
    if not proof["headline"]:
        return []
    lines = [f"| route | {proof['column']} |", "|---|---|"]
    for name, score in proof["headline"].items():
        mark = " (serves)" if name == run.results["chosen"] else ""
        lines.append(f"| {name}{mark} | {numbers.figure(score, proof['metric']) or '-'} |")
    return [*lines, ""]


def _labels(run: Run) -> list[str]:
    classes = run.results["classes"]
    if not classes:
        return ["A number; see the training data for its range.", ""]
    examples: dict[str, list[str]] = {}
    if run.facts is not None:
        rows = run.facts["rows"]
        for i, truth in enumerate(rows["truth"]):
            if truth is not None and rows["part"][i] < 2:  # rows that trained
                text = rows["text"][i] if "text" in rows else rows["id"][i]
                found = examples.setdefault(str(truth), [])
                if len(found) < EXAMPLES:
                    found.append(_cell(text))
    lines = ["| label | examples |", "|---|---|"]
    for name in classes[:MOST_CLASSES]:
        lines.append(f"| `{_cell(name)}` | {'; '.join(examples.get(name, [])) or '-'} |")
    if len(classes) > MOST_CLASSES:
        lines.append(f"| ... | {len(classes) - MOST_CLASSES} more in `manifest.json` |")
    return [*lines, ""]


def _cell(text: Any) -> str:
    """Text that neither ends a table's cell nor becomes markup."""
    plain = " ".join(str(text).split())[:80]
    for sign in ("\\", "|", "<", ">", "[", "]", "`", "*", "_"):
        plain = plain.replace(sign, f"\\{sign}" if sign != "`" else "'")
    return plain


def _origins(run: Run) -> str:
    origins = dict.fromkeys(e["origin"] for e in run.results["data"].values() if e["origin"])
    return ", ".join(origins) or "the training data"


def _limits(run: Run) -> list[str]:
    results = run.results
    proof = results["proof"]
    lines = []
    if proof["kind"] == "none":
        lines.append("Its accuracy was not measured: there were no labels to measure it on.")
    elif proof["kind"] == "cv-source":
        lines.append("The target has no labels: its accuracy there is unknown.")
    else:
        lines.append(f"Measured on {proof['rows']} rows; the interval says how sure that is.")
    lines.append("Data that differ from the target it was made for may be predicted worse.")
    if results["task"] == "classification":
        lines.append(f"It knows {len(results['classes'])} classes and gives one of them always.")
    for entry in results.get("findings", []):
        if entry["severity"] != "info":
            mark = " (an error that was overridden)" if entry.get("overridden") else ""
            lines.append(f"{entry['code']}{mark}: {entry['title']}. {entry['remedy']}")
    return list(dict.fromkeys(lines))


def _data(run: Run) -> list[str]:
    lines = ["| part | rows | from |", "|---|---|---|"]
    for role, entry in run.results["data"].items():
        lines.append(f"| {role} | {entry['rows']:,} | {_cell(entry['origin'])} |")
    return lines


def _licences(run: Run) -> list[str]:
    name = run.results["backbone"]["name"]
    licence = (run.facts or {}).get("licence")
    if run.results["modality"] in ("table", "features"):
        weights = "- Weights: no pretrained weights are used."
    elif licence:
        weights = f"- Weights of `{name}`: {licence}."
    else:
        weights = f"- Weights of `{name}`: not stated by their package; look it up before sharing."
    return [
        weights,
        "- Data: not known to isthmus. State the licence of your data here before you share the "
        "model; the folder holds excerpts of them (`examples/`, `report_data.*`).",
    ]
