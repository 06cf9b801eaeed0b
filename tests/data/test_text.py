from __future__ import annotations

import pickle

import pytest

from isthmus.data.text import decode
from isthmus.errors import DataError, UsageError

WORDS = "größe,naïve,café\nzwölf,Ärger,“quoted”\n"


@pytest.mark.parametrize(
    ("codec", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_recognised(codec, found):
    decoded = decode(WORDS.encode(codec))
    assert decoded.data.decode() == WORDS
    assert decoded.encoding == found
    assert not len(decoded.bad_lines)


def test_latin1_where_cp1252_has_no_such_character():
    raw = "é\x81\n".encode("latin-1")
    decoded = decode(raw)
    assert decoded.encoding == "latin-1" and decoded.data.decode() == "é\x81\n"


def test_broken_lines_of_a_utf8_file_are_pointed_out():
    raw = "é\nö\nü\n".encode() + b"bad \xff\n" + "ß\n".encode()
    decoded = decode(raw)
    assert decoded.encoding == "utf-8" and decoded.bad_lines.tolist() == [3]
    assert "4 lines hold valid UTF-8, 1 do not" in decoded.why


def test_lines_with_nul_are_pointed_out():
    lines = ["plain text of some length"] * 50
    lines[7] = "a\0b"
    assert decode("\n".join(lines).encode()).bad_lines.tolist() == [7]


def test_a_given_encoding_wins_and_reports_what_it_cannot_decode():
    assert decode("日本語\n".encode("shift-jis"), "shift-jis").data.decode() == "日本語\n"
    decoded = decode(b"ok\n\xff\xff\nok\n", "utf-8")
    assert decoded.bad_lines.tolist() == [1]
    with pytest.raises(DataError, match="cannot be decoded as ascii"):
        decode("é".encode(), "ascii")


def test_cut_off_utf16_is_reported_by_line():
    raw = "abc\ndéf\n".encode("utf-16") + b"\x41"
    decoded = decode(raw)
    assert decoded.bad_lines.tolist() == [2]


@pytest.mark.parametrize("name", ["utf-9", "base64", ""])
def test_unknown_encodings_are_refused(name):
    with pytest.raises(UsageError, match="encoding"):
        decode(b"abc", name)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"PK\x03\x04rest", "zip"),
        (b"\x1f\x8brest", "gzip"),
        (b"PAR1rest", "Parquet"),
        (b"SQLite format 3\0", "SQLite"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"%PDF-1.7", "PDF"),
        (bytes(range(256)) * 8, "NUL"),
    ],
)
def test_what_is_not_text_is_refused_by_name(raw, kind):
    with pytest.raises(DataError, match=kind):
        decode(raw, where="x.csv")
