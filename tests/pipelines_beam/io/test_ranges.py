"""Where files are cut: nothing is lost, nothing is doubled, whatever the cuts."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines_beam.io.ranges import between, equal_ranges, lines_from, record_cuts, sliced

BYTES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\xc3\xa9"])).map(b"".join)
CELLS = st.text(st.sampled_from('ab,"\n'), max_size=6)
RECORDS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=20)


@given(BYTES, st.integers(1, 9))
def test_each_line_is_in_one_range(data: bytes, size: int) -> None:
    ranges = equal_ranges(0, len(data), size)
    parts = [lines_from(io.BytesIO(data), *each) for each in ranges]
    assert b"".join(parts) == data
    assert all(part.endswith(b"\n") for part in parts[:-1] if part and not data.endswith(part))


@given(RECORDS, st.integers(1, 20), st.integers(1, 30))
def test_records_are_cut_where_they_begin(
    records: list[tuple[str, str]], size: int, block: int
) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows(records)
    data = written.getvalue().encode()
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    cuts = record_cuts(blocks, 0, size)
    parts = [data[start:stop] for start, stop in between(cuts)]
    assert b"".join(parts) == data
    found = [row for part in parts for row in csv.reader(io.StringIO(part.decode(), newline=""))]
    assert found == [list(each) for each in records]
    assert all(len(part) >= size for part in parts[:-1])


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.integers(0, 20),
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.integers(1, 7),
)
def test_rows_are_those_of_the_range(
    sizes: list[int], first: int, wanted: list[bool], size: int
) -> None:
    stop = first + sum(sizes)
    schema = pa.schema([("n", pa.int64())])
    batches, at = [], first
    for count in sizes:
        batches.append(pa.record_batch([pa.array(range(at, at + count), pa.int64())], schema))
        at += count
    ranges = [
        each
        for each, is_wanted in zip(equal_ranges(first, stop, size), wanted, strict=False)
        if is_wanted
    ]
    tables = list(sliced(batches, first, ranges, schema))
    assert [table["n"].to_pylist() for table in tables] == [list(range(*each)) for each in ranges]
