from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.delimited import parse
from isthmus.data.usual import is_usual
from isthmus.errors import DataError, UsageError


def table(text, *, suffix=".csv", **options):
    raw = text if isinstance(text, bytes) else text.encode()
    return parse(raw, name="t.csv", suffix=suffix, is_role=is_usual, **options)


def value(sheet, key):
    return sheet.understood[key]["value"]


CELLS = st.text(alphabet='ab ,;"\n\té', min_size=1, max_size=6).filter(lambda c: c.strip())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=2, max_size=6))
def test_what_the_csv_module_writes_is_read_back(rows):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows([("text", "b", "label"), *rows])
    raw = buffer.getvalue().encode()
    sheet = table(raw, delimiter=",", header=True, as_text=lambda names: names)
    assert [tuple(row) for row in sheet.frame.to_numpy().tolist()] == rows
    assert not sheet.problems
    # the line that an editor shows: line ends before the row starts
    wrote, starts = io.StringIO(), []
    writer = csv.writer(wrote, lineterminator="\r\n")
    writer.writerow(("text", "b", "label"))
    for row in rows:
        starts.append(wrote.getvalue().count("\n") + 1)
        writer.writerow(row)
    assert sheet.places == [f"t.csv:{line}" for line in starts]


@pytest.mark.parametrize(
    ("sign", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")]
)
def test_delimiters_are_recognised(sign, name):
    text = "\n".join(sign.join(row) for row in (["id", "label", "age"], ["a", "x", "1"] * 1))
    sheet = table(text)
    assert value(sheet, "delimiter") == name
    assert sheet.frame.to_numpy().tolist() == [["a", "x", 1]]


def test_semicolons_with_decimal_commas():
    sheet = table("label;size\na;1,5\nb;2,25\n")
    assert value(sheet, "delimiter") == "semicolon"
    assert sheet.frame["size"].tolist() == ["1,5", "2,25"]


def test_commas_in_quotes_do_not_count():
    sheet = table('text;label\n"a, b, c";1\n"d, e, f";2\n')
    assert value(sheet, "delimiter") == "semicolon"


def test_given_delimiter():
    assert table("a-b\n1-2\n", delimiter="-").frame.to_numpy().tolist() == [[1, 2]]
    assert value(table("a\tb\n1\t2\n", delimiter="tab"), "delimiter") == "tab"
    with pytest.raises(UsageError, match="delimiter"):
        table("a", delimiter="::")


def test_bom_crlf_quotes_newlines_and_blank_lines():
    raw = b'\xef\xbb\xbftext,label\r\n"two\r\nlines",1\r\n\r\n"say ""hi""",2\r\nplain,3\r\n'
    sheet = table(raw)
    assert sheet.frame.columns.tolist() == ["text", "label"]
    assert sheet.frame["text"].tolist() == ["two\nlines", 'say "hi"', "plain"]
    assert sheet.places == ["t.csv:2", "t.csv:5", "t.csv:6"]
    assert any("1 blank lines" in note for note in sheet.notes)
    assert sheet.seen == 3


def test_old_mac_line_ends():
    assert table("text,label\rone,1\rtwo,2\r").frame["text"].tolist() == ["one", "two"]


def test_utf16_and_cp1252():
    text = "text,label\ncafé crème,1\n"
    for codec in ("utf-16", "cp1252"):
        assert table(text.encode(codec)).frame["text"].tolist() == ["café crème"]


def test_ragged_rows_are_set_aside_with_their_line():
    sheet = table("a,b,label\n1,2,x\n1,2\n1,2,x,4\n3,4,y\n")
    assert sheet.frame.to_numpy().tolist() == [[1, 2, "x"], [3, 4, "y"]]
    assert [p.where for p in sheet.problems] == ["t.csv:3", "t.csv:4"]
    assert "2 fields, expected 3" in sheet.problems[0].reason
    assert "4 fields, expected 3" in sheet.problems[1].reason
    assert sheet.seen == 4 and sheet.places == ["t.csv:2", "t.csv:5"]


def test_a_quote_that_is_never_closed_costs_one_row():
    rows = [f"word {i},{i}" for i in range(50)]
    rows[20] = '"open,20'
    sheet = table("text,label\n" + "\n".join(rows) + "\n")
    assert len(sheet.frame) == 49
    assert [p.where for p in sheet.problems] == ["t.csv:22"]
    assert "not closed" in sheet.problems[0].reason


def test_two_stray_quotes_do_not_swallow_the_rows_between():
    rows = [f"word {i},{i}" for i in range(50)]
    rows[20], rows[30] = '"open,20', 'la"te,30'
    sheet = table("text,label\n" + "\n".join(rows) + "\n")
    assert [p.where for p in sheet.problems] == ["t.csv:22"]
    assert sheet.frame["text"].tolist()[20] == "word 21"
    assert 'la"te' in sheet.frame["text"].tolist()


def test_two_stray_quotes_that_spoil_the_number_of_fields():
    rows = [f"word {i},{i}" for i in range(50)]
    rows[20], rows[30] = '"open,20', 'late",30,'
    sheet = table("text,label\n" + "\n".join(rows) + "\n")
    assert [p.where for p in sheet.problems] == ["t.csv:22", "t.csv:32"]
    assert len(sheet.frame) == 48


def test_a_quoted_cell_of_lines_that_look_like_rows_is_pointed_out():
    rows = [f"word {i},{i}" for i in range(50)]
    rows[20], rows[30] = '"open,20', 'late",30'  # well-formed CSV, and most likely a mistake
    sheet = table("text,label\n" + "\n".join(rows) + "\n")
    assert len(sheet.frame) == 40 and not sheet.problems
    assert "t.csv:22: a quoted cell holds 9 lines that look like rows" in sheet.notes[-1]


def test_inch_marks_are_text():
    sheet = table('text,label\n5" disk,1\n3" disk drive,2\n')
    assert sheet.frame["text"].tolist() == ['5" disk', '3" disk drive']
    assert sheet.frame["label"].tolist() == ["1", "2"] or sheet.frame["label"].tolist() == [1, 2]


def test_tab_files_keep_their_quotes_unless_quoting_was_needed():
    sheet = table('1\t0.5\t"I love it"\n2\t0.1\tso "so" la\n', suffix=".txt")
    assert sheet.frame.iloc[:, 2].tolist() == ['"I love it"', 'so "so" la']
    sheet = table('text\tlabel\n"a\tb"\t1\n"c"\t2\n', suffix=".tsv")
    assert sheet.frame["text"].tolist() == ["a\tb", "c"]


def test_undecodable_lines_are_set_aside():
    lines = [f"é{i},{i}".encode() for i in range(10)]
    lines[4] = b"bad \xff\xfe,4"
    sheet = table(b"text,label\n" + b"\n".join(lines))
    assert len(sheet.frame) == 9
    assert sheet.problems[0].where == "t.csv:6" and "not utf-8" in sheet.problems[0].reason


def test_nul_bytes_are_set_aside():
    lines = [f"some text number {i},{i}" for i in range(40)]
    lines[3] = "a\0b,3"
    sheet = table("text,label\n" + "\n".join(lines))
    assert [p.where for p in sheet.problems] == ["t.csv:5"]


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ("text,label\na,b\n", ".csv", True),  # a usual name
        ("foo,bar\nx,1\ny,2\n", ".csv", True),  # words over numbers
        ("foo,bar\nx,y\nz,w\n", ".csv", True),  # csv: usually
        ("foo\tbar\nx\ty\n", ".txt", False),  # txt: usually not
        ("1,a\n2,b\n", ".csv", False),  # numbers
        ("0,1,2\n5.5,6,7\n", ".csv", True),  # pandas' default names
        (",0,1,2\n0,5.5,6,7\n", ".csv", True),  # with its index
        ("just one sentence here\nand another one\n", ".txt", False),
    ],
)
def test_headers(text, suffix, expected):
    sheet = table(text, suffix=suffix)
    assert (value(sheet, "header") == "yes") is expected


def test_given_header():
    sheet = table("a,b\nc,d\n", header=False)
    assert sheet.frame.columns.tolist() == ["column_1", "column_2"] and len(sheet.frame) == 2
    assert len(table("1,2\n3,4\n", header=True).frame) == 1


def test_duplicate_and_empty_column_names():
    sheet = table("a,a,,label\n1,2,3,x\n")
    assert sheet.frame.columns.tolist() == ["a", "a (2)", "column_3", "label"]
    assert any("'a' occurs again" in note for note in sheet.notes)


def test_row_names_as_r_writes_them():
    sheet = table("a,label\nr1,1,x\nr2,2,y\n")
    assert sheet.frame.columns.tolist() == ["row name", "a", "label"]
    assert sheet.frame["a"].tolist() == [1, 2]


def test_trailing_delimiters():
    sheet = table("a,label\n1,x,\n2,y,\n")
    assert sheet.frame["label"].tolist() == ["x", "y"]


def test_leading_zeros_of_named_columns_survive():
    sheet = table("label,a\n007,1\n010,2\n", as_text=lambda names: ["label"])
    assert sheet.frame["label"].tolist() == ["007", "010"]


def test_numbers_are_read_exactly():
    numbers = [0.1, 1 / 3, 2.2250738585072014e-308, 123456789.12345679]
    sheet = table("a,label\n" + "".join(f"{x!r},x\n" for x in numbers))
    assert sheet.frame["a"].tolist() == numbers


@pytest.mark.parametrize("text", ["", "\n\n", "   \n"])
def test_empty_files(text):
    with pytest.raises(DataError, match="empty"):
        table(text)


def test_header_without_rows():
    with pytest.raises(DataError, match="no rows"):
        table("text,label\n")


def test_space_after_the_delimiter():
    sheet = table('text, label\n"a, b", "x, y"\n')
    assert sheet.frame.to_numpy().tolist() == [["a, b", "x, y"]]
