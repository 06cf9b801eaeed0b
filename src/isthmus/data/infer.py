"""Layer 1: which column is what. Every guess says why, and has one option of the same name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.columns import to_numbers
from isthmus.data.inputs import Inputs
from isthmus.data.look import distinct
from isthmus.data.options import Options, no_such_column
from isthmus.data.paths import SPLITS
from isthmus.data.pool import Columns
from isthmus.data.sheet import Sheet, base_name, understand
from isthmus.data.threshold import compare, parse
from isthmus.data.usual import USUAL, canonical

if TYPE_CHECKING:
    import pandas as pd

_SMALL = 20


@dataclass
class Roles:
    """Columns by what they are for; `inputs` are what a model reads."""

    modality: str
    inputs: list[str]
    label: list[str] = field(default_factory=list)
    domain: str | None = None
    group: str | None = None
    id: str | None = None
    split: str | None = None
    keep_split: str | None = None


def find_roles(sheet: Sheet, options: Options) -> Roles:
    """Assign a role to the columns of a sheet; what is guessed goes into ``sheet.understood``.

    Raises
    ------
    UsageError
        If an option names a column that does not exist, or no input column is left.
    """
    return _Finder(sheet, options).run()


class _Finder(Columns):
    """One pass over the columns: roles that are given, roles by name, inputs, what is left."""

    # -- roles that an option or a name gives ---------------------------------------------------

    def run(self) -> Roles:
        roles = Roles(modality="", inputs=[])
        roles.label = self._given_label()
        self._given_split(roles)
        for role in ("domain", "group", "id"):
            setattr(roles, role, self._given(role))
        inputs = Inputs(self)
        given_inputs = inputs.given()
        if roles.split is None and not self.options.refused("split"):
            roles.split = self._by_name("split", self._is_split)
        if roles.id is None and not self.options.refused("id"):
            roles.id = self._by_name("id", self._is_id) or self._running_number()
        if self.options.label is None and not roles.label:
            found = self._by_name("label", self._is_label)
            roles.label = [found] if found else []
        if roles.domain is None and not self.options.refused("domain"):
            roles.domain = self._by_name("domain", self._is_domain)
        if roles.group is None and not self.options.refused("group"):
            roles.group = self._by_name("group", self._is_group)
        roles.modality, roles.inputs = given_inputs or inputs.guess()
        if roles.modality in ("text", "image", "audio"):
            self._leftovers(roles)
        else:
            self._twins_of_label(roles)
        if not roles.label and "label" not in self.sheet.understood:
            self._no_label()
        return roles

    def _given(self, role: str) -> str | None:
        if role in self.sheet.given:
            if role not in self.sheet.understood:
                self.note(role, "given beside the data", "given")
            return self.take(self.sheet.given[role], role)
        value = self.options.wanted(role)
        if value is None:
            if self.options.refused(role):
                self.note(role, None, "given: there is none")
            return None
        column = self.take(str(value), role)
        if column is not None:
            self.note(role, column, "given")
        return column

    def _given_label(self) -> list[str]:
        value = self.options.wanted("label")
        made = self._threshold(value)
        if made is not None:
            return [made]
        several = isinstance(value, (list, tuple)) or (
            isinstance(value, str) and "," in value and value not in self.frame.columns
        )
        if "label" in self.sheet.given or not several:
            column = self._given("label")
            return [column] if column else []
        parts = value.split(",") if isinstance(value, str) else value
        names = [str(part).strip() for part in parts if str(part).strip()]
        found = [c for c in (self.take(name, "label") for name in names) if c is not None]
        if found:
            self.note("label", found, "given")
        return found

    def _threshold(self, value: Any) -> str | None:
        """The column that ``--label 'num>0'`` makes; the number itself is then no feature."""
        if not isinstance(value, str) or value in self.frame.columns:
            return None
        asked = parse(value)
        if asked is None or asked[0] not in self.frame.columns:
            return None
        column, sign, limit = asked
        self.take(column, "label")
        name = f"{column}{sign}{limit:g}"
        made = {name: compare(self.frame[column], column, sign, limit)}
        self.frame = self.sheet.frame = self.frame.assign(**made)
        self.note("label", name, "given: a comparison of that column")
        return name

    def _given_split(self, roles: Roles) -> None:
        """``--split`` names a column, or the one split that is wanted."""
        if "split" in self.sheet.given:
            roles.split = self.take(self.sheet.given["split"], "split")
            if "split" not in self.sheet.understood:
                self.note("split", sorted(set(self.frame[roles.split])), "given beside the data")
        value = self.options.wanted("split")
        if value is None:
            return
        if value in self.frame.columns:
            roles.split = self.take(value, "split")
            self.note("split", value, "given")
            return
        roles.keep_split = value
        roles.split = roles.split or self._by_name("split", self._is_split)
        if roles.split is None:
            raise no_such_column(value, self.frame.columns, "split", self.sheet.name)

    def _by_name(self, role: str, fits: Any) -> str | None:
        """The column with the most telling usual name that also looks the part."""
        ranked = []
        for position, column in enumerate(self.pool):
            name = canonical(column)
            if name in USUAL[role] and column not in self.options.inputs:
                ranked.append((USUAL[role].index(name), position, column))
        for _, _, column in sorted(ranked):
            why = fits(column)
            if why:
                self.pool.remove(column)
                self.note(role, column, why)
                return column
        return None

    def _is_split(self, column: str) -> str:
        values = {str(v).strip().lower() for v in self.frame[column].dropna().unique()}
        known = bool(values) and values <= set(SPLITS)
        return f"its values are {', '.join(sorted(values))}" if known else ""

    def _is_id(self, column: str) -> str:
        count = distinct(self.frame[column])
        return "its name, and no value occurs twice" if count == len(self.frame) else ""

    def _running_number(self) -> str | None:
        """The index that a data frame leaves in its CSV, or the first column of nameless ones."""
        if not self.pool or not len(self.frame):
            return None
        first = self.frame.columns[0]
        if first not in self.pool or first in self.options.inputs:
            return None
        if first != "column_1" and not self.headless:
            return None
        if len(self.frame) < 2 or len(self.pool) < 2 or not self._unique_in_each_file(first):
            return None
        seen = self.look(first)
        beside_text = self.headless and any(self.look(c).wordy for c in self.pool if c != first)
        if seen.kind == "number" and not self.sheet.parts:
            numbers = to_numbers(self.frame[first]).to_numpy()
            runs = bool(np.all(np.diff(numbers) == 1))
        elif seen.kind in ("number", "text") and not seen.suffixes:
            runs = seen.spaces == 0 and beside_text
        else:
            runs = False
        if not runs:
            return None
        self.pool.remove(first)
        self.note("id", first, "the first column numbers the rows")
        return first

    def _unique_in_each_file(self, column: str) -> bool:
        start = 0
        for count in self.sheet.parts or [len(self.frame)]:
            if distinct(self.frame[column].iloc[start : start + count]) < count:
                return False
            start += count
        return True

    def _is_label(self, column: str) -> str:
        seen = self.look(column)
        if seen.kind == "empty":
            return "its name (all cells are empty)"
        if canonical(column) not in ("label", "labels", "target", "class", "y") and (
            seen.wordy or seen.kind == "date"
        ):
            return ""
        return "" if column in self.sheet.media else "its name"

    def _is_domain(self, column: str) -> str:
        count, n = distinct(self.frame[column]), len(self.frame)
        # a handful of rows to predict may each come from another site: the name decides there
        fits = (1 <= count <= n // 2 or (count and n < _SMALL)) and not self.look(column).wordy
        return f"its name; {count} values" if fits else ""

    def _is_group(self, column: str) -> str:
        count, n = distinct(self.frame[column]), len(self.frame)
        if count < n or n < 2:
            return f"its name; {count:,} values in {n:,} rows"
        if column in self.pool:
            self.pool.remove(column)
        self.sheet.notes.append(
            f"column {column!r} differs in every row: it groups nothing and is left out"
        )
        return ""

    # -- what is left over ----------------------------------------------------------------------

    def _leftovers(self, roles: Roles) -> None:
        """Beside a text or a file, the only other column is the label; the rest is not read."""
        refused = self.options.refused("label") or "label" in self.sheet.understood
        if not roles.label and not refused:
            fitting = [c for c in self.pool if self._may_be_label(c)]
            if len(fitting) == 1:
                roles.label = fitting
                self.pool.remove(fitting[0])
                self.note("label", fitting[0], "the only other column that can be a label")
        if self.pool:
            self.sheet.understood["unused"] = understand(
                list(self.pool), f"a model of {roles.modality} reads one column", "--features"
            )

    def _may_be_label(self, column: str) -> bool:
        seen = self.look(column)
        if seen.kind in ("number", "truth", "list"):
            return True
        count = distinct(self.frame[column])
        return (
            seen.kind == "text" and not seen.wordy and 2 <= count <= max(20, len(self.frame) // 5)
        )

    def _twins_of_label(self, roles: Roles) -> None:
        """A second spelling of the label among the features would give the answer away."""
        if len(roles.label) != 1 or self.options.wanted("features") is not None:
            return
        label = roles.label[0]
        for column in list(roles.inputs):
            same_name = base_name(column) == base_name(label)
            usual = canonical(column) in USUAL["label"]
            if not (same_name or (usual and _one_to_one(self.frame[column], self.frame[label]))):
                continue
            if len(roles.inputs) == 1:
                break
            roles.inputs.remove(column)
            self.sheet.notes.append(
                f"column {column!r} says the same as the label {label!r} and is left out of the "
                "features"
            )
        self.note("features", list(roles.inputs), "all columns without another role")

    def _no_label(self) -> None:
        left = [c for c in self.frame.columns if c not in self.sheet.media][:20]
        self.note(
            "label", None, f"no column has a usual name of a label; columns: {', '.join(left)}"
        )


def _one_to_one(a: pd.Series, b: pd.Series) -> bool:
    import pandas as pd

    try:
        left, right = pd.factorize(a.astype(str))[0], pd.factorize(b.astype(str))[0]
    except (TypeError, ValueError):
        return False
    pairs = len(np.unique(np.stack([left, right]), axis=1).T)
    return pairs == len(np.unique(left)) == len(np.unique(right)) > 1
