"""Layer 1: folders that hold tables: alone, or beside the media files that they describe."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from isthmus.data.frames import to_samples
from isthmus.data.look import look, media_kind
from isthmus.data.named import add_beside
from isthmus.data.options import Options
from isthmus.data.paths import SPLITS
from isthmus.data.samples import FileItems, Samples
from isthmus.data.sheet import Sheet, understand
from isthmus.data.tables import TABLE_SUFFIXES, combine, read_file
from isthmus.data.usual import USUAL, canonical
from isthmus.errors import DataError, IsthmusError

_PROSE = ("readme", "license", "licence", "notice", "changelog", "citation", "attribution")
_TRIED = 50  # file names of a table that are looked for before it counts as describing a folder


def read_table_folder(root: Path, options: Options) -> Samples | None:
    """Samples if tables say what the folder holds; None if the folder's layout does.

    Tables alone: one is read, several with the same columns are put below each other, their names
    being the splits (``train.csv``, ``test.csv``) or else the domains. Tables beside media: the
    ones whose file column names files that exist.
    """
    tables = _tables(root)
    if not tables or _wants_layout(options):
        return None
    if _holds_media(root):
        tables = [t for t in tables if t.suffix.lower() != ".txt"]
        sheets = [s for s in (_describing(t, root, options) for t in tables) if s is not None]
        if not sheets:
            return None
        sheet = _together(sheets, root, options)
        sheet.understood["layout"] = understand(
            ", ".join(s.name for s in sheets), "the table names files of this folder", "--label"
        )
        samples = to_samples(add_beside(sheet, {}, options), options)
        return _note_unlisted(samples, root)
    plain = [t for t in tables if t.suffix.lower() != ".txt"] or tables
    sheets = [read_file(table, options) for table in plain]
    return to_samples(add_beside(_together(sheets, root, options), {}, options), options)


def _tables(root: Path) -> list[Path]:
    """Table files directly in a folder, by name; prose such as README.txt is none."""
    found = []
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or path.stem.lower().startswith(_PROSE):
            continue
        inside = path.is_file() and path.resolve().is_relative_to(root.resolve())
        if inside and path.suffix.lower() in TABLE_SUFFIXES:
            found.append(path)
    return found


def _wants_layout(options: Options) -> bool:
    """A pattern such as {label}_* asks for the names of the files, not for a table."""
    values = (options.label, options.domain, options.group, options.split)
    return any(isinstance(v, str) and "{" in v for v in values)


def _holds_media(root: Path) -> bool:
    return any(True for _ in _media(root))


def _media(root: Path) -> Iterable[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and media_kind(Path(name).suffix.lower()):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _describing(table: Path, root: Path, options: Options) -> Sheet | None:
    """The table's sheet if one of its columns names files of the folder."""
    try:
        sheet = read_file(table, options)
    except IsthmusError:
        if options.wanted("file") is not None:
            raise
        return None  # read_folder lists it among the files that it leaves out
    named = options.wanted("file")
    for column in [named] if named in sheet.frame.columns else list(sheet.frame.columns):
        seen = look(sheet.frame[column])
        usual = canonical(column) in USUAL["file"]
        if seen.kind != "text" or seen.media_share < (0.5 if usual or column == named else 0.9):
            continue
        base = Path(options.root) if options.root is not None else root
        names = [str(v).strip() for v in sheet.frame[column].head(_TRIED).tolist() if v is not None]
        if any((base / name.replace("\\", "/")).is_file() for name in names):
            return sheet
    return None


def _together(sheets: list[Sheet], root: Path, options: Options) -> Sheet:
    if len(sheets) == 1:
        return sheets[0]
    stems = [Path(sheet.name).stem for sheet in sheets]
    short = _without_common_end(stems)
    splits = all(stem.lower() in SPLITS for stem in short)
    role = "split" if splits else "domain"
    sheet = combine(sheets, role, short, str(root))
    if getattr(options, role) is not None and not (splits and options.split in SPLITS):
        column = sheet.given.pop(role)
        sheet.frame = sheet.frame.drop(columns=column)
    return sheet


def _without_common_end(stems: list[str]) -> list[str]:
    """``tweets_GroundTruth, films_GroundTruth`` -> ``tweets, films``.

    >>> _without_common_end(["tweets_GroundTruth", "films_GroundTruth"])
    ['tweets', 'films']
    """
    for separator in "_-. ":
        parts = [stem.rpartition(separator) for stem in stems]
        if all(head for head, _, _ in parts) and len({tail for _, _, tail in parts}) == 1:
            heads = [head for head, _, _ in parts]
            if len(set(heads)) == len(heads):
                return heads
    return stems


def _note_unlisted(samples: Samples, root: Path) -> Samples:
    """Count the media files that the table does not name."""
    if not isinstance(samples.items, FileItems):
        raise DataError("the table names no files", where=str(root))
    listed = {os.path.normpath(samples.items.root / name) for name in samples.items.names}
    listed |= {os.path.normpath(root / p.where) for p in samples.quarantine}
    unlisted = [n for n in _media(root) if os.path.normpath(root.resolve() / n) not in listed]
    if unlisted:
        samples.understood.setdefault("notes", []).append(
            f"{len(unlisted):,} media files are not named in the table and left out, "
            f"first {unlisted[0]!r}"
        )
    return samples
