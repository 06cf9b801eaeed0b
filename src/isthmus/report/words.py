"""Layer 7: the report's languages: gettext catalogues, read from their .po files.

Catalogues of a language: ``report.po`` for the page's own words, and those of sentences that a run
has written (English, with figures in them), by who wrote them: ``run.po``, ``checks.po``,
``data.po``, ``methods.po``. Their messages are patterns: ``{0}`` stands for any text.
"""

from __future__ import annotations

import gettext
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LANGUAGES = ("en", "zh")
SAID = ("run", "checks", "data", "methods")  # catalogues of sentences
TAGS = {"en": "en", "zh": "zh-Hans"}
_FOLDER = Path(__file__).parent / "locale"
_ESCAPE = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def read_po(text: str) -> dict[str, str]:
    """Message -> translation of a .po file; plural forms under ``one\\0many``.

    Raises
    ------
    ValueError
        If a line is none of the format.
    """
    found: dict[str, str] = {}
    entry: dict[str, str] = {}
    key = ""

    def close() -> None:
        if "msgid" not in entry:
            return
        plural = entry.get("msgid_plural")
        name = entry["msgid"] if plural is None else f"{entry['msgid']}\0{plural}"
        forms = [entry[k] for k in sorted(entry) if k.startswith("msgstr")]
        found[name] = "\0".join(forms)

    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r'(?:(msgid|msgid_plural|msgstr(?:\[\d\])?)\s+)?"(.*)"', line)
        if match is None:
            raise ValueError(f"line {number}: {line!r} is none of a .po file")
        if match[1] == "msgid":
            close()
            entry = {}
        key = match[1] or key
        piece = re.sub(r"\\(.)", lambda m: _ESCAPE.get(m[1], m[1]), match[2])
        entry[key] = entry.get(key, "") + piece
    close()
    return found


def compiled(messages: dict[str, str]) -> bytes:
    """The same as the bytes of a .mo file, which the standard library's gettext reads."""
    items = sorted((k.encode(), v.encode()) for k, v in messages.items() if v)
    first = 28 + 16 * len(items)
    ids = b"".join(k + b"\0" for k, _ in items)
    texts = b"".join(v + b"\0" for _, v in items)
    head = struct.pack("<7I", 0x950412DE, 0, len(items), 28, 28 + 8 * len(items), 0, 0)
    tables, at = [b"", b""], [first, first + len(ids)]
    for pair in items:
        for k in (0, 1):
            tables[k] += struct.pack("<2I", len(pair[k]), at[k])
            at[k] += len(pair[k]) + 1
    return head + tables[0] + tables[1] + ids + texts


def catalogue(lang: str, name: str) -> dict[str, str]:
    """Messages of one catalogue; empty for English."""
    path = _FOLDER / lang / f"{name}.po"
    return read_po(path.read_text(encoding="utf-8")) if path.is_file() else {}


@dataclass(frozen=True)
class Words:
    """One language.

    Parameters
    ----------
    lang : {"en", "zh"}
    translations : gettext.NullTranslations
    sentences : list of (pattern, template)
        For what a run has written.
    """

    lang: str
    translations: gettext.NullTranslations
    sentences: list[tuple[re.Pattern[str], str]] = field(default_factory=list)

    @classmethod
    def of(cls, lang: str) -> Words:
        """The words of a language.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        if lang not in TAGS:
            raise KeyError(lang)
        if lang == "en":
            return cls(lang, gettext.NullTranslations())
        words = gettext.GNUTranslations(io.BytesIO(compiled(catalogue(lang, "report"))))
        said = [(k, v) for name in SAID for k, v in catalogue(lang, name).items() if k and v]
        said.sort(key=lambda pair: -len(re.sub(r"\{\d\}", "", pair[0])))  # the closest one first
        return cls(lang, words, [(_pattern(k), v) for k, v in said])

    @property
    def t(self) -> Callable[..., str]:
        """``t("... %(n)s", n=3)``: a message of the page."""

        def translate(message: str, **values: object) -> str:
            text = self.translations.gettext(message)
            return text % values if values else text

        return translate

    def known(self, sentence: str) -> bool:
        """Whether a sentence of a run can be said in this language."""
        return self.lang == "en" or self._said(sentence, 0) is not None

    def said(self, sentence: str) -> str:
        """A sentence of a run in this language; as it is where no pattern fits."""
        if self.lang == "en":
            return sentence
        return self._said(sentence, 0) or sentence

    def _said(self, sentence: str, depth: int) -> str | None:
        pieces = re.split(r"(?<=\.) ", sentence)
        if len(pieces) > 1:  # sentences that are known one by one; a pattern may span them as well
            known = [self._said(piece, depth) for piece in pieces]
            if None not in known:
                return "".join(filter(None, known))
        for pattern, template in self.sentences:
            match = pattern.fullmatch(sentence)
            if match is None:
                continue
            parts = list(match.groups())
            if depth < 3:  # parts may be sentences of their own
                parts = [self._said(part, depth + 1) or part for part in parts]
            return template.format(*parts)
        return None


def _pattern(message: str) -> re.Pattern[str]:
    pieces = re.split(r"\{\d\}", message)
    return re.compile("(.+?)".join(map(re.escape, pieces)), re.DOTALL)
