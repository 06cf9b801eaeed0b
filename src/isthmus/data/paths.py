"""Layer 1: what the parts of a relative path mean: levels of folders, or a pattern of the name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.data.labels import natural_sorted
from isthmus.errors import UsageError

ROLES = ("label", "domain", "split", "group")
SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# names of folders that only hold the files: not a class where such a folder is the only one
_HOLDER_NAMES = """images image imgs img jpegimages photos photo pictures pics files data dataset
audio wav wavs clips recordings sounds samples raw unlabeled unlabelled all"""
_HOLDERS = frozenset(_HOLDER_NAMES.split())
# names of people or sessions: below a class they are groups, not classes
_SUBJECT = re.compile(
    r"(subj(ect)?|user|person|patient|pat|speaker|spk|actor|participant|session|sess|id|case|"
    r"seq(uence)?|video|s|p|u)?[-_ ]?\d+",
    re.IGNORECASE,
)
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|\*")


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern: which roles it fills and whether it reads the path or the bare name.

    Parameters
    ----------
    text : str
        As the user wrote it.
    regex : re.Pattern or None
        None = the option was ``"none"``: the role stays empty.
    roles : frozenset of str
        Roles that the pattern fills.
    """

    text: str
    regex: re.Pattern[str] | None
    roles: frozenset[str]

    def read(self, name: str) -> Mapping[str, str] | None:
        """Fields of one relative path, or None where it does not fit."""
        assert self.regex is not None
        stem = name.rsplit(".", 1)[0]
        if "/" not in self.text:
            stem = stem.rsplit("/", 1)[-1]
        match = self.regex.fullmatch(stem)
        return match.groupdict() if match else None


@dataclass(frozen=True)
class Roles:
    """What each folder level means.

    Parameters
    ----------
    levels : dict of str to int
        Role -> index of the folder level, counted from the root.
    layout : str
        Such as ``split/class/file``.
    why : str
        The evidence for it.
    sources : dict of str to str
        Role -> where its values come from, in words.
    hints : dict
        Name -> (value, why, option) of what was seen and not used.
    """

    levels: dict[str, int]
    layout: str
    why: str
    sources: dict[str, str]
    hints: dict[str, tuple[str, str, str]] = field(default_factory=dict)


def compile_options(
    options: Mapping[str, str | None], suffixes: frozenset[str]
) -> dict[str, Pattern | None]:
    """Options of `read_folder` -> patterns.

    In a pattern ``{name}`` takes one or more characters, but neither ``/`` nor the characters
    that follow or precede it in the pattern, so that ``a_b_c_d`` does not fit three fields by
    accident; ``*`` takes anything but ``/``. A field named twice must hold the same text.

    Raises
    ------
    UsageError
        If a pattern does not hold the field that its option is for.
    """
    return {role: _compile(role, text, suffixes) for role, text in options.items()}


def _compile(role: str, text: str | None, suffixes: frozenset[str]) -> Pattern | None:
    if text is None:
        return None
    if text.lower() == "none":
        return Pattern(text, None, frozenset({role}))
    if f"{{{role}}}" not in text:
        raise UsageError(
            f"--{role} {text!r} does not say where the {role} stands in a file's name",
            why="a folder of files has no columns",
            remedy=f"Write a pattern such as '{{{role}}}_*' (name) or '{{{role}}}/*' (path), "
            f"or none",
        )
    dot = text.rfind(".")
    body = text[:dot] if dot > 0 and text[dot:].lower() in suffixes else text
    pieces: list[str] = []
    fields: set[str] = set()
    at = 0
    marks = list(_FIELD.finditer(body))
    for i, mark in enumerate(marks):
        before = body[at : mark.start()]
        end = marks[i + 1].start() if i + 1 < len(marks) else len(body)
        after = body[mark.end() : end]
        if i and not before:
            raise UsageError(
                f"in --{role} {text!r} two fields touch", remedy="Put a separator between them"
            )
        pieces.append(re.escape(before))
        name = mark.group(1)
        if name is None:
            pieces.append("[^/]*")
        elif name in fields:
            pieces.append(f"(?P={name})")
        else:
            fields.add(name)
            barred = re.escape("".join({*before[-1:], *after[:1]} - {"/"}))
            pieces.append(f"(?P<{name}>[^/{barred}]+)")
        at = mark.end()
    pieces.append(re.escape(body[at:]))
    return Pattern(body, re.compile("".join(pieces)), frozenset(fields & set(ROLES)))


def parents(name: str) -> Iterator[str]:
    """``a/b/c.jpg`` -> ``a/b``, ``a``."""
    at = name.rfind("/")
    while at > 0:
        yield name[:at]
        at = name.rfind("/", 0, at)


def understand(names: Sequence[str], patterns: Mapping[str, Pattern | None]) -> Roles:
    """Infer the meaning of the folder levels from all paths; patterns take precedence."""
    folders = [tuple(name.split("/")[:-1]) for name in names]
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    for parts in folders:
        counts[parts] += 1
    by_pattern = {
        role: next(
            (p for p in (patterns[role], *patterns.values()) if p is not None and role in p.roles),
            None,
        )
        for role in ROLES
    }
    levels, hints, why = _levels(dict(counts), by_pattern)
    sources = {}
    for role in ROLES:
        pattern = by_pattern[role]
        if pattern is not None:
            levels.pop(role, None)
            plain = f"none, as --{role} says" if pattern.regex is None else ""
            sources[role] = plain or f"by the pattern {pattern.text!r}"
        elif role in levels:
            sources[role] = f"names of the folders on level {levels[role] + 1}"
        else:
            sources[role] = "the files lie in no class folders" if role == "label" else ""
    depth = max((len(parts) for parts in counts), default=0)
    named = {level: "class" if role == "label" else role for role, level in levels.items()}
    layout = "/".join([*(named.get(level, "*") for level in range(depth)), "file"])
    return Roles(levels, layout, why, sources, hints)


def _levels(
    counts: dict[tuple[str, ...], int], by_pattern: Mapping[str, Pattern | None]
) -> tuple[dict[str, int], dict[str, tuple[str, str, str]], str]:
    """(role -> level, hints, why); `counts` holds the number of files per folder."""
    levels: dict[str, int] = {}
    hints: dict[str, tuple[str, str, str]] = {}
    why: list[str] = []
    free = list(range(max(map(len, counts))))  # levels whose meaning is open
    inner = {parts: n for parts, n in counts.items() if parts}

    def at(level: int) -> set[str]:
        return {parts[level] for parts in inner if len(parts) > level}

    # 1. a split: every folder of the first or second open level has a split's name
    wrapped = _unwrap(inner, free, why)
    if by_pattern["split"] is None:
        for level in wrapped[:2]:
            below = {p[level] for p in inner if len(p) > level}
            known = {name for name in below if name.lower() in SPLITS}
            if known and known == below:
                levels["split"] = level
                why.append(f"level {level + 1} is {', '.join(sorted(known))}")
                wrapped.remove(level)
                wrapped = _unwrap(inner, wrapped, why)
                break
            if len({SPLITS[name.lower()] for name in known}) > 1:
                others = sorted(below - known)
                hints["splits_not_used"] = (
                    ", ".join(sorted(known)),
                    f"they lie beside {', '.join(others[:3])}, so they were not taken as splits",
                    "--split",
                )
    # 2. of what is left: nothing, class, domain/class or class/anything
    if by_pattern["label"] is not None:
        if wrapped:
            hints["folders_not_used"] = (
                ", ".join(natural_sorted(at(wrapped[0]))[:5]),
                "the label comes from elsewhere, so these folder names were not used",
                "--domain",
            )
        return levels, hints, "; ".join([*why, "the label is not read from the folders"])
    if len(wrapped) == 1 and {name.lower() for name in at(wrapped[0])} <= _HOLDERS:
        why.append(f"folders named {', '.join(sorted(at(wrapped[0])))} just hold the files")
        wrapped = []
    if len(wrapped) >= 2:
        first, second = wrapped[0], wrapped[1]
        shared, total, subjects = _recurring(inner, first, second)
        deep = sum(n for p, n in inner.items() if len(p) > second)
        is_domain = 2 * shared >= total and 2 * deep > sum(inner.values()) and not subjects
        if is_domain and by_pattern["domain"] is None:
            levels["domain"], levels["label"] = first, second
            why.append(f"{shared} of {total} folder names on level {second + 1} recur")
            wrapped = wrapped[2:]
        else:
            levels["label"] = first
            why.append(
                f"the folders on level {second + 1} are named like people or sessions"
                if subjects
                else f"{shared} of {total} folder names on level {second + 1} recur"
            )
            marks = ["*"] * (max(map(len, counts)) + 1)
            marks[second] = "{group}"
            hints["possible_groups"] = (
                "/".join(marks),
                "folders below the classes may be people, sessions or bursts that must not be "
                "divided between training and test",
                "--group",
            )
    elif wrapped:
        levels["label"] = wrapped[0]
        why.append(f"{len(at(wrapped[0]))} folders on level {wrapped[0] + 1}")
    return levels, hints, "; ".join(why) or "no folders"


def _unwrap(inner: Mapping[tuple[str, ...], int], free: list[int], why: list[str]) -> list[int]:
    """Drop open levels that are one folder around everything deeper, such as ``images/``.

    Any name counts on the first open level; on lower ones only the names of mere holders
    (``amazon/images/mug``), because one name there can also be the only class.
    """
    left: list[int] = []
    for place, level in enumerate(free):
        names = {parts[level] for parts in inner if len(parts) > level}
        deeper = free[place + 1] if place + 1 < len(free) else None
        nested = deeper is not None and all(
            len(parts) > deeper for parts in inner if len(parts) > level
        )
        only = next(iter(names)) if len(names) == 1 else ""
        holder = only.lower() in _HOLDERS or (bool(only) and not left)
        if nested and holder and only.lower() not in SPLITS:
            why.append(f"{only!r} is one folder around all below it")
        else:
            left.append(level)
    return left


def _recurring(
    inner: Mapping[tuple[str, ...], int], first: int, second: int
) -> tuple[int, int, bool]:
    """(names on `second` below several names of `first`, all names there, all like subjects)."""
    under: dict[str, set[str]] = defaultdict(set)
    for parts in inner:
        if len(parts) > second:
            under[parts[second]].add(parts[first])
    shared = sum(len(above) > 1 for above in under.values())
    digits = all(name.isdigit() for name in under)  # "0".."9" are as often classes
    return shared, len(under), not digits and all(map(_SUBJECT.fullmatch, under))


def assign(
    names: Sequence[str], roles: Roles, patterns: Mapping[str, Pattern | None]
) -> tuple[dict[str, list[str | None]], list[tuple[str, tuple[str, str]]]]:
    """Values of every role per path, and the paths that do not fit a pattern.

    Returns
    -------
    values : dict of str to list
        Role -> one value or None per path.
    strays : list of (path, (reason, remedy))
    """
    values: dict[str, list[str | None]] = {role: [None] * len(names) for role in ROLES}
    for row, name in enumerate(names):
        parts = name.split("/")[:-1]
        for role, level in roles.levels.items():
            if len(parts) > level:
                part = parts[level]
                values[role][row] = SPLITS[part.lower()] if role == "split" else part
    strays: dict[str, tuple[str, str]] = {}
    # a role's own option comes last, so that it wins over a pattern written for another role
    active = [(role, p) for role, p in patterns.items() if p is not None]
    for role, pattern in active:
        if pattern.regex is None:
            values[role] = [None] * len(names)
            continue
        own = {other for other, p in active if other != role}
        for row, name in enumerate(names):
            fields = pattern.read(name)
            if fields is None:
                strays[name] = (
                    f"the name does not fit the pattern {pattern.text!r}",
                    f"Rename it, or change --{role}",
                )
                continue
            for filled in pattern.roles - own:
                text = fields[filled]
                values[filled][row] = SPLITS.get(text.lower(), text) if filled == "split" else text
    return values, list(strays.items())


def name_hint(
    names: Sequence[str], patterns: Mapping[str, Pattern | None]
) -> tuple[str, str] | None:
    """(pattern, why) where the bare names of a flat folder follow one; it is never applied.

    A part of the name can be a label where it takes from 2 to n / 5 different values.
    """
    if any(patterns.values()) or len(names) < 10 or any("/" in name for name in names):
        return None
    stems = [name.rsplit(".", 1)[0] for name in names]
    for separator in "_-. ":
        rows = [stem.split(separator) for stem in stems]
        count = len(rows[0])
        if count < 2 or any(len(row) != count or not all(row) for row in rows):
            continue
        distinct = [sorted({row[i] for row in rows}) for i in range(count)]
        able = [i for i, d in enumerate(distinct) if 2 <= len(d) <= min(200, len(names) // 5)]
        if not able:
            continue
        words = {able[0]: "{label}"}
        for i in range(count):
            if i == count - 1 and i not in words:
                words[i] = "{take}"
            elif i in able[1:] and "{group}" not in words.values():
                words[i] = "{group}"
        pattern = separator.join(words.get(i, f"{{part{i + 1}}}") for i in range(count))
        shown = "; ".join(
            f"part {i + 1} has {len(d)} values ({', '.join(natural_sorted(d)[:4])}"
            f"{', ...' if len(d) > 4 else ''})"
            for i, d in enumerate(distinct)
        )
        return (
            pattern,
            f"all {len(names):,} names have {count} parts: {shown}; not used unless asked",
        )
    return None
