"""Layer 9: `isthmus doctor`: is this machine fit, and what is there to install?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isthmus.cli.common import emit, format_option, human_size

_NEED = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)\s*(?:>=\s*(?P<least>[0-9][0-9a-z.]*))?[^;]*"
    r"(?:;.*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"].*)?"
)
NOT_FOR_USERS = ("all", "dev", "docs")
LEAST_DISK = 1 << 30  # of features, networks and results a run may leave this much


@click.command(name="doctor")
@format_option
@click.pass_context
def command(ctx: click.Context, fmt: str) -> None:
    """Check Python, libraries, extras, weights, GPU, disk and cache; say what to install.

    Nothing is fetched and nothing is changed. The exit code is 1 where something is broken; an
    extra that is not installed is no fault.
    """
    found = examine()
    emit(found, fmt, lambda: _text(found))
    if not found["ok"]:
        ctx.exit(1)


def examine() -> dict[str, Any]:
    """Everything that `isthmus doctor` prints, JSON-ready.

    Returns
    -------
    dict
        ``ok``; ``python``, ``libraries``, ``extras``, ``weights``, ``gpu``, ``memory``, ``disk``,
        ``cache``; ``advice``: commands and changes, the most urgent first.
    """
    meta = importlib.metadata.metadata("isthmus")
    needs = requirements()
    libraries = [_library(name, least) for name, least, extra in needs if not extra]
    found: dict[str, Any] = {
        "isthmus": importlib.metadata.version("isthmus"),
        "python": _python(str(meta["Requires-Python"] or "")),
        "platform": platform.platform(),
        "libraries": libraries,
        "extras": _extras(needs),
        "weights": [_weights(name, check) for name, check in _default_weights().items()],
        "gpu": _gpu(),
        "memory": _memory(),
        "disk": _disk(),
        "cache": _cache(),
    }
    found["advice"] = _advice(found)
    found["ok"] = (
        found["python"]["ok"]
        and all(library["ok"] for library in libraries)
        and all(w["state"] != "damaged" for w in found["weights"])
        and found["cache"]["writable"]
    )
    return found


def requirements(lines: list[str] | None = None) -> list[tuple[str, str, str]]:
    """(library, least version or "", extra or "") of each requirement of the installed package.

    >>> requirements(["numpy>=1.26", "torch>=2.5; extra == 'image'", "POT; extra == 'transport'"])
    [('numpy', '1.26', ''), ('torch', '2.5', 'image'), ('POT', '', 'transport')]
    """
    found = []
    for line in importlib.metadata.requires("isthmus") or [] if lines is None else lines:
        match = _NEED.fullmatch(line.strip())
        if match is not None:
            found.append((match["name"], match["least"] or "", match["extra"] or ""))
    return found


def _older(version: str, least: str) -> bool:
    """Whether a version lies below a bound; only the numbers count.

    >>> _older("1.9", "1.26"), _older("2.15.0+cu130", "2.5"), _older("3.0rc1", "3")
    (True, False, False)
    """

    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", re.split(r"[+a-z]", text)[0])]

    return numbers(version) < numbers(least)


def _library(name: str, least: str) -> dict[str, Any]:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"name": name, "version": None, "least": least, "ok": False}
    return {"name": name, "version": version, "least": least, "ok": not _older(version, least)}


def _python(wanted: str) -> dict[str, Any]:
    version = platform.python_version()
    least = wanted.removeprefix(">=")
    return {
        "version": version,
        "least": least,
        "executable": sys.executable,
        "ok": not _older(version, least),
    }


def _extras(needs: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Each extra: what is missing or too old, and the line that installs it."""
    found = []
    for extra in sorted({extra for _, _, extra in needs} - {"", *NOT_FOR_USERS}):
        parts = [_library(name, least) for name, least, belongs in needs if belongs == extra]
        found.append(
            {
                "name": extra,
                "complete": all(part["ok"] for part in parts),
                "missing": [part["name"] for part in parts if part["version"] is None],
                "too_old": [
                    part["name"] for part in parts if part["version"] is not None and not part["ok"]
                ],
                "install": f"pip install 'isthmus[{extra}]'",
            }
        )
    return found


def _default_weights() -> dict[str, Callable[[], object]]:
    """Default backbone -> a call that raises where its pinned files are missing or altered."""

    def image() -> object:
        from isthmus.backbone.timm import default_file

        return default_file()

    def text() -> object:
        from isthmus.backbone import minilm

        folder = minilm.folder()
        minilm.checked(folder, "tokenizer.json", minilm.TOKENIZER)
        return minilm.prebuilt(folder).weights()

    def audio() -> object:
        from isthmus.backbone import wakeword

        return wakeword.networks()

    return {"image": image, "text": text, "audio": audio}


def _weights(modality: str, check: Callable[[], object]) -> dict[str, Any]:
    """Whether the default backbone of a modality works offline, its digests compared."""
    from isthmus.backbone.load import DEFAULTS
    from isthmus.errors import BackboneError, MissingExtraError

    entry = {"modality": modality, "backbone": DEFAULTS[modality], "state": "ready", "why": ""}
    try:
        check()
    except MissingExtraError as error:
        return entry | {"state": "missing", "why": error.what}
    except BackboneError as error:
        missing = "not installed" in error.what
        return entry | {"state": "missing" if missing else "damaged", "why": str(error)}
    return entry


def _gpu() -> dict[str, Any]:
    """The driver's word first: torch is asked only where there is one, for it is slow to load."""
    cards = Path("/proc/driver/nvidia/gpus")
    names = []
    for file in sorted(cards.glob("*/information")) if cards.is_dir() else []:
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("Model:"):
                names.append(line.partition(":")[2].strip())
    used = False
    if names:
        from isthmus.backbone.runtime import resolve_device

        used = resolve_device() != "cpu"
    return {"cards": names, "used": used}


def _memory() -> dict[str, Any]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return {
            "total": page * os.sysconf("SC_PHYS_PAGES"),
            "free": page * os.sysconf("SC_AVPHYS_PAGES"),
        }
    except (ValueError, OSError, AttributeError):  # not on this system
        return {"total": None, "free": None}


def _disk() -> list[dict[str, Any]]:
    """Free space where results and features go."""
    from isthmus.backbone.store import cache_root

    found = []
    for use, path in (("results", Path.cwd()), ("cache", cache_root())):
        there = next(p for p in (path, *path.parents) if p.exists())
        free = shutil.disk_usage(there).free
        found.append({"for": use, "path": str(path), "free": free, "ok": free >= LEAST_DISK})
    return found


def _cache() -> dict[str, Any]:
    """Size and state of the feature store, and whether a file can be written there."""
    from isthmus import iofs
    from isthmus.backbone import upkeep
    from isthmus.backbone.store import cache_root

    probe, why = cache_root() / ".doctor", ""
    try:
        iofs.write_text(probe, "a word")
        iofs.remove([probe])
    except OSError as error:
        why = error.strerror or str(error)
    found: dict[str, Any] = {"root": str(cache_root()), "bytes": 0, "damaged": {"files": 0}}
    if not why:
        found = upkeep.info()
    return {
        "root": found["root"],
        "bytes": found["bytes"],
        "damaged": found["damaged"]["files"],
        "writable": not why,
        "why": why,
    }


def _advice(found: dict[str, Any]) -> list[str]:
    said = []
    if not found["python"]["ok"]:
        said.append(f"Install Python {found['python']['least']} or newer")
    bad = [library["name"] for library in found["libraries"] if not library["ok"]]
    if bad:
        said.append(f"Missing or too old: {', '.join(bad)}: pip install --upgrade isthmus")
    if not found["cache"]["writable"]:
        said.append(
            f"The cache {found['cache']['root']} cannot be written ({found['cache']['why']}): set "
            "ISTHMUS_CACHE to a folder that can"
        )
    for entry in found["weights"]:
        if entry["state"] == "damaged":
            said.append(entry["why"])
    for extra in found["extras"]:
        if extra["missing"] or extra["too_old"]:
            what = ", ".join(extra["missing"] + extra["too_old"])
            said.append(f"For {extra['name']} ({what}): {extra['install']}")
    for disk in found["disk"]:
        if not disk["ok"]:
            said.append(f"Only {human_size(disk['free'])} are free for {disk['for']}")
    if found["cache"]["damaged"]:
        said.append("Delete damaged files of the cache: isthmus cache prune")
    if found["gpu"]["cards"] and not found["gpu"]["used"]:
        said.append(
            "There is a GPU that torch does not see: install torch with CUDA (https://pytorch.org)"
        )
    return said


def _text(found: dict[str, Any]) -> str:
    def line(ok: bool | None, what: str, words: str) -> str:
        return f"{ {True: 'ok', False: 'BAD', None: '-'}[ok]:<4}{what:<11}{words}"

    python, gpu, memory, cache = (found[k] for k in ("python", "gpu", "memory", "cache"))
    lines = [f"isthmus {found['isthmus']} on {found['platform']}"]
    lines.append(line(python["ok"], "Python", f"{python['version']} ({python['executable']})"))
    bad = [part for part in found["libraries"] if not part["ok"]]
    lines.append(line(not bad, "libraries", _listed(found["libraries"])))
    for extra in found["extras"]:
        lacks = ", ".join(extra["missing"] + extra["too_old"])
        words = "complete" if extra["complete"] else f"lacks {lacks}: {extra['install']}"
        lines.append(line(True if extra["complete"] else None, extra["name"], words))
    for entry in found["weights"]:
        ok = {"ready": True, "missing": None, "damaged": False}[entry["state"]]
        words = f"{entry['backbone']}, offline, digests checked" if ok else entry["why"]
        lines.append(line(ok, f"{entry['modality']} net", words))
    if gpu["cards"]:
        words = ", ".join(gpu["cards"]) + ("" if gpu["used"] else ", not used")
    else:
        words = "none: networks run on the CPU"
    lines.append(line(True if gpu["used"] else None, "GPU", words))
    if memory["total"]:
        words = f"{human_size(memory['free'])} free of {human_size(memory['total'])}"
        lines.append(line(True, "memory", words))
    for disk in found["disk"]:
        words = f"{human_size(disk['free'])} free for {disk['for']} ({disk['path']})"
        lines.append(line(True if disk["ok"] else None, "disk", words))
    words = f"{human_size(cache['bytes'])} in {cache['root']}"
    lines.append(line(cache["writable"], "cache", words if cache["writable"] else cache["why"]))
    if found["advice"]:
        lines += ["", "What to do", *(f"  {said}" for said in found["advice"])]
    else:
        lines += ["", "All is well."]
    return "\n".join(lines)


def _listed(libraries: list[dict[str, Any]]) -> str:
    shown = []
    for part in libraries:
        least = f" (needs {part['least']})" if not part["ok"] else ""
        shown.append(f"{part['name']} {part['version'] or 'missing'}{least}")
    return ", ".join(shown)
