"""Layer 7: the page: sections into the template, one file out, with a policy that allows itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import __version__, iofs
from isthmus.errors import UsageError, need
from isthmus.report.folder import Run, load_run
from isthmus.report.parts.answers import calibration, confusion, errors, scatter
from isthmus.report.parts.data import data
from isthmus.report.parts.findings import findings
from isthmus.report.parts.gap import gap
from isthmus.report.parts.labels import labels
from isthmus.report.parts.reproduce import reproduce
from isthmus.report.parts.rests import rests
from isthmus.report.parts.routes import routes
from isthmus.report.parts.training import training
from isthmus.report.parts.verdict import verdict
from isthmus.report.words import LANGUAGES, TAGS, Words

FILE = "report.html"
PAGE = Path(__file__).parent / "page"
MOST_NAMES = 300  # classes that the page's menus list


@dataclass(frozen=True)
class Written:
    """What was written.

    Parameters
    ----------
    file : Path
    bytes : int
    lang : str
    headline : str
        The verdict in a few words.
    rows, media : int
        Rows and excerpts (pictures, clips) in the file.
    sections : tuple of str
        Their ids, in order.
    """

    file: Path
    bytes: int
    lang: str
    headline: str
    rows: int
    media: int
    sections: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "file": str(self.file),
            "bytes": self.bytes,
            "lang": self.lang,
            "headline": self.headline,
            "rows": self.rows,
            "media": self.media,
            "sections": list(self.sections),
        }


def write_report(folder: str | Path, *, out: str | Path | None = None, lang: str = "en") -> Written:
    """Write the report of a run as one HTML file that needs nothing else.

    Parameters
    ----------
    folder : path
        What `isthmus.transfer` left.
    out : path, optional
        The file; by default ``report.html`` in the folder.
    lang : {"en", "zh"}, default="en"

    Returns
    -------
    Written

    Raises
    ------
    UsageError
        If there is no finished run in the folder, or no such language.
    DataError
        If a file of the folder is damaged.
    MissingExtraError
        Without jinja2 (the extra ``report``).
    """
    lang = lang.casefold()
    if lang not in LANGUAGES:
        raise UsageError(
            f"no report in the language {lang!r}", remedy=f"There are: {', '.join(LANGUAGES)}"
        )
    run = load_run(folder)
    page, context = render(run, Words.of(lang))
    file = Path(out) if out is not None else run.folder / FILE
    if file.is_dir():
        file = file / FILE
    raw = page.encode("utf-8", "backslashreplace")
    iofs.write_bytes(file, raw)
    count = 0 if run.facts is None else len(run.facts["rows"]["id"])
    sections = tuple(id_ for id_, _ in context["contents"])
    return Written(
        file, len(raw), lang, context["verdict"]["headline"], count, len(run.media), sections
    )


def render(run: Run, words: Words) -> tuple[str, dict[str, Any]]:
    """The page as text, and what the template was given."""
    context = sections(run, words)
    style, script = (PAGE / "style.css").read_text("utf-8"), (PAGE / "report.js").read_text("utf-8")
    context |= {"style": Safe(style), "script": Safe(script), "policy": policy(style, script)}
    context["payload"] = Safe(_payload(run, words, context))
    environment = template_environment()
    text: str = environment.get_template("report.html.j2").render(context)
    return text, context


def template_environment() -> Any:
    """Jinja2 over the page's templates: everything is escaped that is not made here."""
    jinja2 = need("jinja2", extra="report")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def sections(run: Run, words: Words) -> dict[str, Any]:
    """What the template shows."""
    t = words.t
    facts = run.facts or {}
    made: dict[str, Any] = {
        "t": t,
        "lang": words.lang,
        "tag": TAGS[words.lang],
        "translate": words.said,
        "known": words.known,
        "sentences": _sentences,
        "show": _show,
        "data_uri": run.data_uri,
        "version": __version__,
        "name": run.folder.name,
        "modality": run.results["modality"],
        "wide": "" if run.results["modality"] == "image" else " wide",
        "rows": {"text": None, "values": None, "columns": None, **facts.get("rows", {})},
        "classes": _class_names(run),
        "verdict": verdict(run, words),
        "data": data(run, words),
        "gap": gap(run, words),
        "routes": routes(run, words),
        "confusion": confusion(run, words),
        "errors": errors(run),
        "scatter": scatter(run, words),
        "calibration": calibration(run, words),
        "labels": labels(run, words),
        "rests": rests(run, words),
        "training": training(run, words),
        "findings": findings(run),
        "reproduce": reproduce(run, words),
        "notes": facts.get("notes", []),
    }
    made["title"] = f"{made['verdict']['headline']} · {run.folder.name} · isthmus"
    answers = made["confusion"] or made["errors"] or made["scatter"]
    listed = (
        ("verdict", t("Verdict"), True),
        ("data", t("Data"), True),
        ("gap", t("Gap") if made["gap"] and made["gap"]["measures"] else t("Map"), made["gap"]),
        ("routes", t("Leaderboard"), True),
        ("answers", t("Answers and errors"), answers),
        ("calibration", t("Calibration"), made["calibration"]),
        ("labels", t("More labels"), made["labels"]),
        ("rests", t("What it rests on"), made["rests"]),
        ("training", t("Training"), made["training"]),
        ("findings", t("Checks"), True),
        ("reproduce", t("Reproduce"), True),
    )
    made["contents"] = [(id_, text) for id_, text, there in listed if there]
    return made


def policy(style: str, script: str) -> str:
    """A content security policy that allows this page's own style and script, and no network."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )


def Safe(text: str) -> Any:
    """Text of this package that goes into the page as it is."""
    from markupsafe import Markup

    return Markup(text)


def _payload(run: Run, words: Words, context: dict[str, Any]) -> str:
    """What the script works on, as JSON that cannot end its element."""
    t, facts = words.t, run.facts
    rows: dict[str, Any] = {
        k: [] for k in ("id", "part", "truth", "prediction", "confidence", "right", "scored")
    }
    maps: list[dict[str, Any]] = []
    if facts is not None:
        rows = {k: v for k, v in facts["rows"].items() if k not in ("parts", "map", "label_next")}
        maps = [
            {k: m[k] for k in ("name", "rows", "xy")}
            for m in (context["gap"] or {}).get("maps", [])
        ]
    value = {
        "task": run.results["task"],
        "modality": run.results["modality"],
        "parts": [words.said(p) for p in facts["rows"]["parts"]] if facts else [],
        "rows": rows,
        "scored": ((facts or {}).get("scored") or {}).get("rows"),
        "maps": maps,
        "type": ((facts or {}).get("media") or {}).get("type", ""),
        "media": {i: base64.b64encode(raw).decode() for i, raw in run.media.items()},
        "words": {
            "copied": t("Copied."),
            "copy": t("Copy as CSV"),
            "save": t("Save as CSV"),
            "copyRows": t("Copy these rows as CSV"),
            "saveRows": t("Save these rows as CSV"),
            "sorted": t("Sorted by %(column)s."),
            "sample": t("Sample %(id)s"),
            "truth": t("true"),
            "predicted": t("predicted"),
            "more": t("Show more"),
            "kept": t("This file keeps %(n)s of %(of)s rows."),
            "none": t("No row."),
            "cell": t("True %(truth)s, predicted %(predicted)s"),
            "found": t("%(n)s rows found"),
            "chosen": t("%(n)s rows chosen on the map"),
            "mapRole": t("map of rows"),
        },
    }
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _class_names(run: Run) -> list[str]:
    """Classes for menus: those of training, and those that only the test has."""
    if run.results["task"] != "classification":
        return []
    found = run.results["proof"]["metrics"].get("confusion") or {}
    return list(dict.fromkeys([*run.results["classes"], *found.get("classes", [])]))[:MOST_NAMES]


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sentences(text: str) -> list[str]:
    """Sentences of a text, so that each can be translated by itself."""
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text) if text else []
