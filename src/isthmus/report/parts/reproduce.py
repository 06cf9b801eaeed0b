"""Layer 7: what it takes to get the same numbers again."""

from __future__ import annotations

import shlex
from typing import Any

from isthmus.report import numbers
from isthmus.report.folder import Run
from isthmus.report.parts.table import table
from isthmus.report.words import Words

NAMES = {"label_set": "classes"}  # options whose name is not the argument's
DEFAULTS = (("seed", "0"), ("label_set", "auto"))
FLAGS = {
    "allow_license": "--allow-license",
    "no_cache": "--no-cache",
    "against_scratch": "--against-scratch",
}


def command(run: Run) -> str:
    """The call as a command line; empty for folders that do not hold it."""
    call = (run.facts or {}).get("call")
    if not call:
        return ""
    words = [f"isthmus {run.results['settings'].get('command', 'transfer')}"]
    for key, value in call.items():
        if key in FLAGS:
            words.append(FLAGS[key])
        elif key == "header":
            words.append("--header" if value == "True" else "--no-header")
        elif isinstance(value, list):  # an option that is repeated
            words += [f"--{key} {shlex.quote(v)}" for v in value]
        elif (key, value) not in DEFAULTS:
            words.append(f"--{NAMES.get(key, key).replace('_', '-')} {shlex.quote(value)}")
    return " \\\n  ".join([*words, f"--out {shlex.quote(run.folder.name)}"])


def reproduce(run: Run, words: Words) -> dict[str, Any]:
    """Command, seed, versions, digests, time, energy."""
    t, results = words.t, run.results
    seconds = run.times.get("seconds")
    facts = [
        [t("seed"), str(results["settings"].get("seed", 0))],
        [t("backbone"), results["backbone"]["name"]],
        [t("fingerprint of the backbone"), results["backbone"]["fingerprint"]],
        *([[t("digest of the call"), run.times["call"]]] if run.times.get("call") else []),
        *[[t("SHA-256 of %(file)s", file=name), digest] for name, digest in run.digests.items()],
    ]
    made: dict[str, Any] = {
        "command": command(run),
        "facts": table(
            "digests", t("Seeds and digests"), [(t("what"), False), (t("value"), False)], facts
        ),
        "versions": table(
            "versions",
            t("Versions"),
            [(t("library"), False), (t("version"), False)],
            list(map(list, run.manifest.get("libraries", {"isthmus": results["isthmus"]}).items())),
        ),
        "time": "",
        "energy": "",
    }
    if seconds is not None:
        made["time"] = numbers.seconds(seconds)
        made["energy"] = t(
            "about %(wh)s Wh, if the machine drew %(watts)s W for that time (an assumption: "
            "no meter was read)",
            wh=f"{numbers.watt_hours(seconds):.2g}",
            watts=f"{numbers.WATTS:.0f}",
        )
    return made
