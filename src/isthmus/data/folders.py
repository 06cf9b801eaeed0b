"""Layer 1: a folder of pictures or recordings -> Samples: what its levels mean, said aloud.

Layouts, by the folders above each file (a wrapper folder around everything is looked through)::

    file                       unlabelled        domain/class/file
    class/file                                   domain/split/class/file
    split/class/file                             split/domain/class/file
    class/anything/file        label is the upper folder

A level is a *split* where every folder on it has a split's name (train, val, test, ...); of two
other levels the upper one is the *domain* where at least half of the names on the lower one
recur below several upper ones. A guess is never silent: it stands in ``understood`` with the
option that overrides it. An option is ``"none"`` or a pattern such as
``"{label}_{group}_{take}"`` (file name without suffix) or ``"{domain}/*/{label}/*"`` (path).
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data import paths
from isthmus.data.audio import AUDIO_SUFFIXES, REFUSED_AUDIO_SUFFIXES
from isthmus.data.images import IMAGE_SUFFIXES, REFUSED_IMAGE_SUFFIXES
from isthmus.data.labels import name_notes, name_of, to_names
from isthmus.data.samples import FileItems, Problem, Samples
from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Modality, Task

_KIND: dict[str, str] = {
    **dict.fromkeys(IMAGE_SUFFIXES | REFUSED_IMAGE_SUFFIXES, "image"),
    **dict.fromkeys(AUDIO_SUFFIXES | REFUSED_AUDIO_SUFFIXES, "audio"),
}
_REFUSED = REFUSED_IMAGE_SUFFIXES | REFUSED_AUDIO_SUFFIXES
_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db", "icon\r"}
_THINGS = {"image": "images", "audio": "recordings"}


@dataclass
class _Found:
    """What lies below a root, as the file system tells it, before anything is interpreted."""

    media: dict[str, list[str]]  # modality -> relative paths of readable files
    bad: dict[str, list[tuple[str, str, str]]]  # modality -> (path, reason, remedy)
    other: list[str]  # files of no media kind
    hidden: int
    folders: list[str]


def read_folder(
    root: str | Path,
    *,
    modality: str | None = None,
    task: str | None = None,
    domain: str | None = None,
    split: str | None = None,
    label: str | None = None,
    group: str | None = None,
) -> Samples:
    """Read a folder of images or of recordings; nothing is decoded yet.

    Parameters
    ----------
    root : path-like
        The folder. Links inside it that lead out of it are set aside, never followed.
    modality : {"image", "audio"}, optional
        Needed where both kinds lie in the folder; by default the kind that is there.
    task : {"classification", "regression"}, optional
        Folder names are classes; with "regression" they are read as numbers.
    domain, split, label, group : str, optional
        ``"none"``, or a pattern (see the module docstring) that holds ``{domain}``, ``{split}``,
        ``{label}`` or ``{group}``. One pattern may fill several of them. Default: by the layout;
        groups are never guessed.

    Returns
    -------
    Samples
        Rows in the order of their relative paths, whatever the file system says. ``labels`` are
        folder names; files above the class level have None.

    Raises
    ------
    DataError
        If there is nothing to read, or both images and recordings and no `modality`.
    UsageError
        If an option is wrong.
    """
    root = Path(root)
    wanted = _check_options(modality, task)
    patterns = paths.compile_options(
        {"domain": domain, "split": split, "label": label, "group": group}, frozenset(_KIND)
    )
    found = _scan(root)
    kind = _choose(found, wanted, root)
    names = sorted(found.media[kind])
    bad = sorted(found.bad[kind])
    roles = paths.understand(names + [path for path, _, _ in bad], patterns)
    fields, strays = paths.assign(names, roles, patterns)
    bad += [(name, *why) for name, why in strays]
    astray = {name for name, _ in strays}
    keep = [i for i, name in enumerate(names) if name not in astray]
    names = [names[i] for i in keep]
    bad_fields, _ = paths.assign([path for path, _, _ in bad], roles, patterns)
    if not names:
        first = bad[0]
        raise DataError(
            f"none of {len(bad)} {_THINGS[kind]} can be used",
            where=str(root),
            why=f"the first: {_printable(first[0])}: {first[1]}",
            remedy=first[2],
        )
    columns = {role: _column([fields[role][i] for i in keep]) for role in paths.ROLES}
    labels, classes = _labels(columns["label"], task, root)
    quarantine = tuple(
        Problem(_printable(path), reason, remedy, label=name_of(_printable(label or "")))
        for (path, reason, remedy), label in zip(bad, bad_fields["label"])
    )
    understood = _describe(found, kind, names, roles, columns, classes, patterns)
    task_found: Task | None = None
    if labels is not None:
        task_found = "regression" if task == "regression" else "classification"
    return Samples(
        items=FileItems(root.absolute(), tuple(names)),
        ids=tuple(names),
        modality="image" if kind == "image" else "audio",
        task=task_found,
        labels=labels,
        classes=classes,
        groups=columns["group"],
        domain=columns["domain"],
        split=columns["split"],
        quarantine=quarantine,
        seen=len(names) + len(quarantine),
        origin=str(root),
        understood=understood,
    )


def _check_options(modality: str | None, task: str | None) -> Modality | None:
    if modality not in (None, "image", "audio"):
        raise UsageError(
            f"modality {modality!r} does not fit a folder of files",
            remedy="Use image or audio; a table or text file is given by its own path",
        )
    if task not in (None, "classification", "regression"):
        raise UsageError(
            f"task {task!r} does not fit a folder of files",
            why="a file lies in one folder only, so it has one label",
            remedy="Give several labels in a table with a file column",
        )
    return "image" if modality == "image" else "audio" if modality == "audio" else None


def _scan(root: Path) -> _Found:
    """Every file below `root`; links are not followed out of it, nor into other folders."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"the folder {what}", where=str(root), remedy="Check the path")
    base = os.path.realpath(root)
    found = _Found({"image": [], "audio": []}, {"image": [], "audio": []}, [], 0, [])
    pending = [""]
    while pending:
        above = pending.pop()
        try:
            with os.scandir(os.path.join(base, above)) as entries:  # noqa: PTH118
                listed = list(entries)
        except OSError as error:
            if not above:
                raise DataError(
                    "the folder cannot be read", where=str(root), why=error.strerror or ""
                ) from None
            for problems in found.bad.values():
                problems.append((above + "/", "the folder cannot be read", "Check its permissions"))
            continue
        for entry in listed:
            name = entry.name
            if name[0] == "." or name.lower() in _SYSTEM:
                found.hidden += 1
                continue
            path = f"{above}/{name}" if above else name
            if entry.is_dir(follow_symlinks=False):
                found.folders.append(path)
                pending.append(path)
                continue
            dot = name.rfind(".")
            suffix = name[dot:].lower() if dot > 0 else ""
            kind = _KIND.get(suffix)
            why = _fault(entry, path, suffix, kind, base)
            if kind is None and why is None:
                found.other.append(path)
            elif why is None:
                found.media[str(kind)].append(path)
            else:
                for which in [kind] if kind else ["image", "audio"]:
                    found.bad[which].append((path, *why))
    return found


def _fault(
    entry: os.DirEntry[str], path: str, suffix: str, kind: str | None, base: str
) -> tuple[str, str] | None:
    """Why this entry is set aside, with the remedy; None where it is in order."""
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not os.path.exists(target):  # noqa: PTH110
            why = ("the link leads nowhere", "Restore what it points to, or remove it")
            return why if kind else None
        folder = os.path.isdir(target)  # noqa: PTH112
        if kind is None and not folder:
            return None
        if target != base and not target.startswith(base.rstrip(os.sep) + os.sep):
            return ("the link leads out of the folder", "Copy what it points to into the folder")
        if folder:
            return (
                "a link to another folder of this data set is not followed",
                "Remove it: the files are read where they lie",
            )
    if kind is None:
        return None
    if not _is_text(path):
        return ("the name is not UTF-8", "Rename it, for example with `convmv -t utf8`")
    try:
        status = entry.stat()
    except OSError as error:
        return (f"the file cannot be read ({error.strerror})", "Check its permissions")
    if not stat.S_ISREG(status.st_mode):
        return ("not a regular file", "Remove it, or copy its content to a file")
    if status.st_size == 0:
        return ("the file is empty", "Restore it from its source, or remove it")
    if suffix in _REFUSED:
        into = "PNG or JPEG" if kind == "image" else "WAV or FLAC"
        return (f"{suffix} files are not read", f"Convert them to {into}")
    return None


def _choose(found: _Found, wanted: str | None, root: Path) -> str:
    counts = {kind: len(names) for kind, names in found.media.items()}
    real_bad = {
        kind: sum(_KIND.get(Path(path).suffix.lower()) == kind for path, _, _ in problems)
        for kind, problems in found.bad.items()
    }
    present = [kind for kind in counts if counts[kind] + real_bad[kind]]
    if wanted is not None:
        present = [kind for kind in present if kind == wanted]
    if len(present) > 1:
        raise DataError(
            f"the folder holds {counts['image']} images and {counts['audio']} recordings",
            where=str(root),
            why="one data set has one kind of item",
            remedy="Say which with --modality image or --modality audio",
        )
    if not present:
        kinds = Counter(Path(name).suffix.lower() or "no suffix" for name in found.other)
        there = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(5))
        others = [f"{counts[k]} {_THINGS[k]}" for k in counts if counts[k] and k != wanted]
        there = ", ".join([*others, *([there] if there else [])])
        raise DataError(
            f"no {_THINGS[wanted] if wanted else 'images or recordings'} in the folder",
            where=str(root),
            why=f"it holds {there}" if there else "it holds no files",
            remedy="Leave --modality out, or give another folder"
            if others
            else "Unpack archives; give a table or text file by its own path",
        )
    return present[0]


def _labels(
    column: Array | None, task: str | None, root: Path
) -> tuple[Array | None, tuple[str, ...]]:
    if column is None:
        return None, ()
    names, classes = to_names(column)
    if task != "regression":
        return names, classes
    try:
        return np.array([np.nan if v is None else float(v) for v in names]), ()
    except ValueError as error:
        raise DataError(
            "the folder names are not numbers",
            where=str(root),
            why=str(error),
            remedy="Leave out --task regression",
        ) from None


def _column(values: list[str | None]) -> Array | None:
    if all(value is None for value in values):
        return None
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _describe(
    found: _Found,
    kind: str,
    names: list[str],
    roles: paths.Roles,
    columns: dict[str, Array | None],
    classes: tuple[str, ...],
    patterns: dict[str, paths.Pattern | None],
) -> dict[str, Any]:
    """Every guess and everything left out, with the option that changes it."""
    suffixes = Counter(Path(name).suffix for name in names)
    listed = ", ".join(f"{count:,} {suffix} files" for suffix, count in suffixes.most_common(4))
    out: dict[str, Any] = {
        "modality": {"value": kind, "why": listed, "option": "--modality"},
        "layout": {"value": roles.layout, "why": roles.why, "option": "--label"},
    }
    for role in paths.ROLES:
        column = columns[role]
        if column is None:
            if role == "label":
                out[role] = {"value": None, "why": roles.sources[role], "option": "--label"}
            continue
        distinct = classes if role == "label" and classes else sorted({*column} - {None})
        shown = ", ".join(map(str, distinct[:12])) + (", ..." if len(distinct) > 12 else "")
        value = f"{len(distinct)} {'classes' if role == 'label' else role + 's'}: {shown}"
        out[role] = {"value": value, "why": roles.sources[role], "option": f"--{role}"}

    def note(key: str, items: list[str], noun: str, text: str) -> None:
        if items:
            shown = ", ".join(map(_printable, items[:5])) + (", ..." if len(items) > 5 else "")
            nouns = noun if len(items) == 1 else noun + "s"
            why = f"{len(items):,} {nouns} {text}: {shown}"
            out[key] = {"value": len(items), "why": why, "option": ""}

    things = _THINGS[kind]
    other = found.other + [n for k, v in found.media.items() if k != kind for n in v]
    note("left_out", sorted(other), "file", f"left out, not {things}")
    if found.hidden:
        why = "hidden or system files left out"
        out["hidden"] = {"value": found.hidden, "why": why, "option": ""}
    used = {part for name in names for part in paths.parents(name)}
    empty = [f for f in sorted(found.folders) if f not in used]
    note("empty_folders", empty, "folder", f"without usable {things}")
    if columns["label"] is not None:
        loose = [name for name, value in zip(names, columns["label"]) if value is None]
        note("loose_files", loose, "file", "without a label, being outside the class folders")
        for i, text in enumerate(name_notes([v for v in columns["label"] if v is not None])):
            out[f"label_names_{i + 1}"] = {"value": "as they are", "why": text, "option": ""}
    for key, (value, why, option) in roles.hints.items():
        out[key] = {"value": value, "why": why, "option": option}
    if hint := paths.name_hint(names, patterns):
        out["name_pattern"] = {"value": hint[0], "why": hint[1], "option": "--label"}
    return out


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
