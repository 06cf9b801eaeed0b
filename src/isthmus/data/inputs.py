"""Layer 1: which columns a model reads: texts, file names, encoded media or plain features."""

from __future__ import annotations

from isthmus.data.options import no_such_column
from isthmus.data.pool import Columns
from isthmus.data.usual import USUAL, canonical
from isthmus.errors import UsageError

_TABLE_FROM = 3  # from this many other features on, a text column is one feature of a table


class Inputs:
    """The inputs among `columns`, by option or by their looks; they leave the pool.

    Parameters
    ----------
    columns : Columns
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def given(self) -> tuple[str, list[str]] | None:
        options = self.columns.options
        for option in ("text", "file", "features"):
            value = options.wanted(option)
            if value is None:
                continue
            names = value if isinstance(value, (list, tuple)) else [value]
            if isinstance(value, str) and value not in self.columns.frame.columns:
                names = [part.strip() for part in value.split(",")]
            columns = []
            for name in names:
                if name not in self.columns.frame.columns:
                    known, where = self.columns.frame.columns, self.columns.sheet.name
                    raise no_such_column(name, known, option, where)
                if name in self.columns.pool:
                    self.columns.pool.remove(name)
                columns.append(name)
            self.columns.note(option, columns if len(columns) > 1 else columns[0], "given")
            return self._modality_of(option, columns), columns
        return None

    def _modality_of(self, option: str, columns: list[str]) -> str:
        given = self.columns.options.modality
        allowed = {"text": ("text",), "file": ("image", "audio"), "features": ("table", "features")}
        if given is not None:
            if given not in allowed[option]:
                raise UsageError(f"--{option} and --modality {given} contradict each other")
            self.columns.note("modality", given, "given")
            return given
        if option == "file":
            if len(columns) > 1:
                raise UsageError("one column names the files", where="--file")
            return self._file_modality(columns[0])
        self.columns.note("modality", allowed[option][0], f"--{option} is given")
        return allowed[option][0]

    def guess(self) -> tuple[str, list[str]]:
        wanted = self.columns.options.modality
        if wanted in (None, "image", "audio") and not self.columns.options.refused("file"):
            found = self._media() or self._files(wanted)
            if found:
                return found
        if wanted in ("image", "audio"):
            raise UsageError(
                f"no column holds {wanted} files",
                where=self.columns.sheet.name,
                remedy="Name it with --file",
            )
        if wanted in (None, "text") and not self.columns.options.refused("text"):
            column = self._texts(wanted)
            if column:
                return "text", [column]
        if wanted == "text":
            raise UsageError(
                "no column holds texts", where=self.columns.sheet.name, remedy="Name it with --text"
            )
        if not self.columns.pool:
            raise UsageError(
                "no column is left for a model to read",
                where=self.columns.sheet.name,
                why="every column was taken for a label, domain, group, id or split",
                remedy="Name the inputs with --features, --text or --file",
            )
        if wanted is None:
            self.columns.note(
                "modality", "table", f"{len(self.columns.pool)} columns of plain features"
            )
        else:
            self.columns.note("modality", wanted, "given")
        self.columns.note("features", list(self.columns.pool), "all columns without another role")
        return wanted or "table", list(self.columns.pool)

    def _media(self) -> tuple[str, list[str]] | None:
        columns = [c for c in self.columns.sheet.media if c in self.columns.pool]
        if not columns:
            return None
        column = columns[0]
        modality = self.columns.sheet.media[column][0]
        self.columns.pool.remove(column)
        self.columns.note("modality", modality, f"column {column!r} holds encoded files")
        self.columns.note("file", column, f"it holds {modality} data")
        return modality, [column]

    def _files(self, wanted: str | None) -> tuple[str, list[str]] | None:
        ranked = []
        for position, column in enumerate(self.columns.pool):
            seen = self.columns.look(column)
            name = canonical(column)
            usual = name in USUAL["file"]
            if seen.kind == "text" and seen.media_share >= (0.5 if usual else 0.9):
                rank = USUAL["file"].index(name) if usual else len(USUAL["file"])
                ranked.append((rank, position, column))
        if not ranked:
            return None
        column = min(ranked)[2]
        self.columns.pool.remove(column)
        share = self.columns.look(column).media_share
        self.columns.note("file", column, f"{100 * share:.0f} % of its values end like media files")
        if wanted is not None:
            self.columns.note("modality", wanted, "given")
            return wanted, [column]
        return self._file_modality(column), [column]

    def _file_modality(self, column: str) -> str:
        suffixes = self.columns.look(column).suffixes
        images = sum(count for (kind, _), count in suffixes.items() if kind == "image")
        sounds = sum(count for (kind, _), count in suffixes.items() if kind == "audio")
        if not images and not sounds:
            raise UsageError(
                f"column {column!r} holds no file names of images or recordings",
                where=self.columns.sheet.name,
                remedy="Say --modality image or --modality audio if they lack a suffix",
            )
        modality = "image" if images >= sounds else "audio"
        shown = max((c, s) for (kind, s), c in suffixes.items() if kind == modality)[1]
        self.columns.note("modality", modality, f"column {column!r} names {shown} files")
        return modality

    def _texts(self, wanted: str | None) -> str | None:
        strings = [c for c in self.columns.pool if self.columns.look(c).kind == "text"]
        named = [c for c in strings if canonical(c) in USUAL["text"]]
        wordy = [c for c in strings if self.columns.look(c).wordy]
        if named:
            column = min(named, key=lambda c: USUAL["text"].index(canonical(c)))
            why = "its name"
        elif wordy or (strings and (wanted == "text" or len(self.columns.pool) == 1)):
            column = max(wordy or strings, key=lambda c: self.columns.look(c).characters)
            why = f"its values are the longest texts ({self.columns.look(column).words:.0f} words)"
        else:
            return None
        others = [c for c in self.columns.pool if c != column and not self.columns.look(c).wordy]
        clear = (column in named and self.columns.look(column).words >= 5) or wanted == "text"
        if not clear and len(others) >= _TABLE_FROM:
            self.columns.sheet.notes.append(
                f"column {column!r} holds texts beside {len(others)} other features: it is read "
                f"as a part of the table; --text {column} reads it alone"
            )
            return None
        self.columns.pool.remove(column)
        self.columns.note(
            "modality", "text", "given" if wanted else f"column {column!r} holds texts"
        )
        self.columns.note("text", column, why)
        return column
