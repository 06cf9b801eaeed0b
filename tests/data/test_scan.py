from __future__ import annotations

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.scan import scan

CELLS = st.text(alphabet='ab ,;"\n\té', max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=8))
def test_scan_agrees_with_the_csv_module(rows):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    data = buffer.getvalue().encode()
    records = scan(data, ",")
    assert records is not None
    assert records.fields.tolist() == [len(row) for row in rows]
    found = [data[s:e].decode() for s, e in zip(records.starts, records.ends)]
    assert [next(csv.reader(io.StringIO(text, newline=""))) for text in found] == rows
    lines = [data[:s].count(b"\n") for s in records.starts]
    assert records.lines.tolist() == lines


def test_quotes_that_are_not_well_formed_are_not_guessed():
    assert scan(b'a,b\n1,5" disk\n', ",") is None
    assert scan(b'a,b\n1,"open\n', ",") is None
    assert scan(b'a,b\n1,"x"y\n', ",") is None
    assert scan(b'a,b\n1,5" disk\n', ",", quoting=False) is not None


def test_no_line_end_at_the_end():
    records = scan(b"a,b\n1,2", ",")
    assert records is not None and records.fields.tolist() == [2, 2]


def test_space_before_a_quote():
    records = scan(b'a, b\n1, "x, y"\n', ",")
    assert records is not None and records.padded and records.fields.tolist() == [2, 2]
