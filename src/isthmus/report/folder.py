"""Layer 7: the folder of a run as values; a missing part is None, a damaged one is refused."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus import iofs
from isthmus.errors import DataError, UsageError, near_path
from isthmus.types import Array

RESULTS, RUN, MANIFEST = "results.json", "run.json", "manifest.json"
PREDICTIONS, LABEL_NEXT, CURVE = "predictions.csv", "label_next.csv", "learning_curve.csv"
FACTS, TENSORS = "report_data.json", "report_data.safetensors"
SCHEMA = 1
MOST_STEPS = 2000  # lines of a metric log that are drawn


@dataclass(frozen=True)
class Run:
    """What `isthmus transfer` left in its folder.

    Parameters
    ----------
    folder : Path
    results, times, manifest : dict
        ``results.json``, ``run.json`` and the model's ``manifest.json``.
    facts : dict or None
        ``report_data.json``: rows, map, media. Folders of older versions lack it.
    components : ndarray of shape (n, c) or None
        Principal components of the rows in `facts`.
    media : dict of int to bytes
        Picture or clip of a row.
    predictions, label_next, curve : list of dict
        Rows of the CSV files.
    logs : dict of str to list of dict
        Metric logs (``*.jsonl``) by name, one dict a step.
    digests : dict of str to str
        SHA-256 of the files that the report rests on.
    """

    folder: Path
    results: dict[str, Any]
    times: dict[str, Any]
    manifest: dict[str, Any]
    facts: dict[str, Any] | None = None
    components: Array | None = None
    media: dict[int, bytes] = field(default_factory=dict)
    predictions: list[dict[str, str]] = field(default_factory=list)
    label_next: list[dict[str, str]] = field(default_factory=list)
    curve: list[dict[str, str]] = field(default_factory=list)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def data_uri(self, row: int) -> str | None:
        """The row's picture or clip for an ``img`` or ``audio`` element."""
        raw = self.media.get(row)
        if raw is None or not self.facts:
            return None
        return f"data:{self.facts['media']['type']};base64,{base64.b64encode(raw).decode()}"


def load_run(folder: str | Path) -> Run:
    """Read what a run left.

    Raises
    ------
    UsageError
        If there is no such folder, or no finished run in it.
    DataError
        If a file of it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(
            "this is a file, not a folder" if folder.exists() else "there is no such folder",
            where=str(folder),
            remedy=("" if folder.exists() else near_path(folder))
            + "Name the folder that isthmus transfer --out wrote",
        )
    if not (folder / RESULTS).is_file():
        running = (folder / RUN).is_file()
        raise UsageError(
            "the run in this folder is not finished" if running else "no run lies in this folder",
            where=str(folder),
            why=f"{RESULTS} is missing",
            remedy="Run isthmus transfer --out DIR first (the same command again resumes)",
        )
    results = _json(folder, RESULTS)
    if not {"proof", "routes", "verdict"} <= set(results):
        raise UsageError(
            "this is no run of isthmus transfer",
            where=str(folder),
            why=f"{RESULTS} holds no verdict",
            remedy="Name the folder that isthmus transfer --out wrote",
        )
    facts = _json(folder, FACTS) if (folder / FACTS).is_file() else None
    components: Array | None = None
    media: dict[int, bytes] = {}
    if facts is not None:
        if facts.get("schema") != SCHEMA:
            raise DataError(
                f"written by another version (schema {facts.get('schema')!r})",
                where=str(folder / FACTS),
                remedy="Run isthmus transfer again",
            )
        components, media = _tensors(folder, facts)
    return Run(
        folder,
        results,
        _json(folder, RUN) if (folder / RUN).is_file() else {},
        _json(folder, MANIFEST) if (folder / MANIFEST).is_file() else {},
        facts,
        components,
        media,
        _csv(folder, PREDICTIONS),
        _csv(folder, LABEL_NEXT),
        _csv(folder, CURVE),
        {path.stem: _log(path) for path in sorted(folder.glob("*.jsonl"))},
        {
            name: iofs.sha256_bytes((folder / name).read_bytes())
            for name in (RESULTS, PREDICTIONS, MANIFEST)
            if (folder / name).is_file()
        },
    )


def _json(folder: Path, name: str) -> dict[str, Any]:
    found = iofs.read_json(folder / name)
    if not isinstance(found, dict):
        raise DataError("no JSON object", where=str(folder / name))
    return found


def _tensors(folder: Path, facts: dict[str, Any]) -> tuple[Array, dict[int, bytes]]:
    path = folder / TENSORS
    if not path.is_file():
        raise DataError("the file is missing", where=str(path), remedy="Run isthmus transfer again")
    tensors = iofs.tensors_from_bytes(path.read_bytes(), path)
    components = tensors["components"].astype("float64")
    media: dict[int, bytes] = {}
    blob, at = tensors["media"].tobytes(), 0
    listed = facts.get("media") or {"rows": [], "sizes": []}
    for row, size in zip(listed["rows"], listed["sizes"], strict=True):
        media[int(row)] = blob[at : at + size]
        at += size
    if at != len(blob) or len(components) != len(facts["rows"]["id"]):
        raise DataError(
            "the report's data do not fit together",
            where=str(path),
            remedy="Run isthmus transfer again",
        )
    return components, media


def _csv(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / name
    if not path.is_file():
        return []
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def _log(path: Path) -> list[dict[str, Any]]:
    """Steps of a metric log; a last line that was cut off by a kill is left out."""
    steps = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            steps.append(entry)
    stride = max(1, -(-len(steps) // MOST_STEPS))
    return steps[::stride]
