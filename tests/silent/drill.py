"""The drill: every fault through `isthmus check` and through a plain script; clean runs as well.

``python tests/silent/drill.py [--out docs/drill.md] [--plain]`` prints the table (``make drill``).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import faults_code
import faults_data
import faults_labels
import plain
from clean import CLEAN
from faults import FAULTS, Fault
from worlds import Data

from isthmus.data.checks.finding import CODES, Finding
from isthmus.errors import IsthmusError
from isthmus.run.preflight import check

MODULES = (faults_data, faults_labels, faults_code)  # importing them registers the faults


@dataclass(frozen=True)
class Outcome:
    """What became of one fault.

    Parameters
    ----------
    fault : Fault
    findings : list of Finding
    seconds : float
    plain : str
        What the plain script said: ``named``, ``said otherwise``, ``silent`` or ``no such step``.
    """

    fault: Fault
    findings: list[Finding]
    seconds: float
    plain: str = ""

    @property
    def named(self) -> bool:
        return any(f.code == self.fault.code for f in self.findings)

    @property
    def severity(self) -> str:
        found = [f.severity for f in self.findings if f.code == self.fault.code]
        return found[0] if found else "-"


def inject(fault: Fault, data: Data, *, contrast: bool = False) -> Outcome:
    """One fault."""
    made = fault.make(data)
    start = time.monotonic()
    try:
        findings = made if isinstance(made, list) else check(**made).findings
    except IsthmusError:  # refused, and not by its name
        findings = []
    seconds = time.monotonic() - start
    words = ""
    if contrast:
        words = "no such step"
        if isinstance(made, dict) and takes(made):
            said = plain.run(made)
            words = "silent" if len(said) == 1 and said[0].startswith("accuracy") else "other words"
            words = "named" if plain.named(fault.row, said) else words
    return Outcome(fault, findings, seconds, words)


def takes(world: dict[str, Any]) -> bool:
    """Whether the plain script has the step that is at fault."""
    own = world.get("backbone")
    image = hasattr(own, "module") or (isinstance(own, str) and "weights" in world)
    return "pooling" not in world and (own is None or image)


def rows_named(outcomes: list[Outcome]) -> dict[int, tuple[int, int]]:
    """Row -> (faults named, faults)."""
    found: dict[int, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.fault.row].append(outcome.named)
    return {row: (sum(named), len(named)) for row, named in sorted(found.items())}


def clean_runs(data: Data) -> dict[str, tuple[list[Finding], float, float]]:
    """Name -> (findings, seconds of the checks, seconds in all)."""
    found = {}
    for name, make in CLEAN.items():
        world = make(data)
        start = time.monotonic()
        checked = check(**world)
        found[name] = (
            checked.findings, sum(checked.seconds.values()), time.monotonic() - start,
        )  # fmt: skip
    return found


def table(outcomes: list[Outcome], clean: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = rows_named(outcomes)
    whole = [row for row, (k, n) in rows.items() if k == n]
    hit, every = sum(o.named for o in outcomes), len(outcomes)
    lines = [
        "| # | silent failure | fault | named | severity | plain script |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        for k, o in enumerate([o for o in outcomes if o.fault.row == row]):
            head = f"| {row} | {CODES[f'ISX{row:03d}']} " if not k else "| | "
            mark = "yes" if o.named else "**no**"
            lines.append(
                f"{head}| {o.fault.modality}: {o.fault.words} | {mark} | {o.severity} | {o.plain} |"
            )
    tried = [o for o in outcomes if o.plain not in ("", "no such step")]
    lines += [
        "",
        f"Rows with every fault named: **{len(whole)} of {len(rows)}**; faults named: "
        f"{hit} of {every}.",
    ]
    if tried:
        said = {w: sum(o.plain == w for o in tried) for w in ("named", "other words", "silent")}
        lines.append(
            f"The plain script, on the {len(tried)} faults that it can be given: "
            f"{said['named']} named, {said['other words']} ended or warned in other words, "
            f"{said['silent']} ran through in silence."
        )
    if clean:
        warned = [[f for f in found if f.severity == "warning"] for found, _, _ in clean.values()]
        stopped = sum(any(f.severity == "error" for f in found) for found, _, _ in clean.values())
        lines += [
            "",
            f"Clean runs: {len(clean)}; stopped {stopped}; warnings {sum(map(len, warned))} "
            f"({sum(map(len, warned)) / len(clean):.2f} a run).",
            "",
            "| clean run | seconds of the checks | warnings |",
            "|---|---|---|",
        ]
        for (name, (_, seconds, _)), found in zip(clean.items(), warned):
            words = "; ".join(f"{f.code} {f.title}" for f in found)
            lines.append(f"| {name} | {seconds:.1f} | {words} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", help="Markdown file whose table is replaced")
    parser.add_argument("--plain", action="store_true", help="the plain script as well")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    here = Path(__file__).resolve()
    root = Path(os.environ.get("ISTHMUS_TEST_DATA", here.parents[3] / "shared" / "data"))
    with tempfile.TemporaryDirectory() as scratch:
        data = Data(root, Path(scratch))
        outcomes = []
        for fault in sorted(FAULTS, key=lambda f: f.row):
            outcomes.append(inject(fault, data, contrast=given.plain))
            o = outcomes[-1]
            sys.stderr.write(f"{'named ' if o.named else 'MISSED'} {fault.name} {o.plain}\n")
        text = table(outcomes, clean_runs(data))
    sys.stdout.write(text + "\n")
    if given.out:
        from isthmus import iofs

        path = Path(given.out)
        before = path.read_text().split(MARK)[0] if path.exists() else "# The drill\n\n"
        iofs.write_text(path, f"{before}{MARK}\n\n{text}\n")


MARK = "<!-- table -->"

if __name__ == "__main__":
    main()
