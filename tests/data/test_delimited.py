"""CSV and TSV are read as Python's csv reads them where it is strict, or refused with the row."""

import csv
import gzip
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crest.data import utf8
from crest.data.delimited import Delimited
from crest.errors import DataError
from tests.data.random_csv import COLUMNS, LETTERS, MARKS, compare, draw, ours

PARTS = st.lists(st.sampled_from(MARKS + LETTERS), max_size=12).map("".join)
CELLS = st.lists(st.tuples(PARTS, PARTS), max_size=5)


def written(rows, **options) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, **options).writerows([COLUMNS, *rows])
    return stream.getvalue().encode()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("csv") / "train.csv"


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(utf8, "PIECE_BYTES", 1)
    monkeypatch.setattr("crest.data.delimited.AT_ONCE", 2)
    monkeypatch.setattr(utf8, "BLOCK", 3)


@given(parts=PARTS)
@settings(max_examples=150, deadline=None)
@example(parts='"it is 5\\" long",0\na dog,1\n"a 7\\" wide",0\nno,1\n')
@example(parts='"a 5" cat",0\na dog,1\n"the 7" ball",0\nno,1\n')
@example(parts='"the "big" cat",0\na dog,1\n')
@example(parts='a 5" cat,0\na dog,1\nno,0\n')
@example(parts='"a,0\nb,1\n')
@example(parts='a,0\r\r\nb,1\r"\r\n",2')
def test_whatever_follows_a_header_is_never_read_otherwise(file, parts):
    compare(file, b"text,label\n" + parts.encode())
    compare(file, b"text\tlabel\n" + parts.replace(",", "\t").encode(), "\t")


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_a_file_that_was_tampered_with_is_never_read_otherwise(file, seed):
    compare(file, draw(np.random.default_rng(seed)))


@given(rows=CELLS, end=st.sampled_from(["\n", "\r\n", "\r"]))
@settings(max_examples=100, deadline=None)
def test_what_csv_writes_is_read_as_it_was(file, rows, end):
    data = written(rows, lineterminator=end, quoting=csv.QUOTE_ALL)
    assert ours(file, data) == rows
    compare(file, written(rows, lineterminator=end))  # where csv leaves some line breaks bare


def test_rows_are_the_same_however_small_the_pieces(small_pieces, file):
    random = np.random.default_rng(1)
    outcomes = [compare(file, draw(random)) for _ in range(150)]
    assert min(outcomes.count("read"), outcomes.count("refused")) > 30


LONG = 'text,label\na,0\n"b\n\nb",1\n\n'


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ('"c"c,0\n', "row 2 (counted from 0), line 7: a cell goes on"),
        ('c,0\n"d', "row 3 (counted from 0), line 8: the quote that opens a cell is never closed"),
        ('"c\nc\nc"x,1\n', "row 2 (counted from 0), lines 7 to 9: a cell goes on"),
        ("c,0,1\n", "row 2 (counted from 0), line 7: 3 cells, the header has 2; put texts that"),
        ("c\n", "row 2 (counted from 0), line 7: 1 cells, the header has 2"),
        ('"c\nc,1\n', "row 2 (counted from 0), lines 7 to 8: the quote"),
    ],
)
@pytest.mark.usefixtures("small_pieces")
def test_a_row_that_is_refused_is_named_with_its_lines(file, rest, place):
    error = ours(file, (LONG + rest).encode())
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{file}, {place}")


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_the_advice_for_quotes_leads_on(file, delimiter):
    """Quotes written twice, where they were escaped by backslashes or not at all."""
    header = delimiter.join(COLUMNS) + "\n"
    for cell, escaped in (('the \\"big\\" cat', '\\"'), ('the "big" cat', '"')):
        broken = f'{header}"{cell}"{delimiter}0\n'
        error = ours(file, broken.encode(), delimiter)
        assert "write quotes within it twice" in str(error)
        mended = f'{header}"{cell.replace(escaped, chr(34) * 2)}"{delimiter}0\n'
        assert ours(file, mended.encode(), delimiter) == [('the "big" cat', "0")]


def test_the_advice_for_a_row_of_too_many_cells_leads_on(file):
    assert "put texts that hold commas" in str(ours(file, b"text,label\na, b,0\n"))
    assert ours(file, b'text,label\n"a, b",0\n') == [("a, b", "0")]


def test_the_advice_for_another_delimiter_leads_on(tmp_path):
    tabs = b"text\tlabel\na, b\t0\n"
    assert "divided by tabs, not commas: let its name end in .tsv" in str(
        ours(tmp_path / "train.csv", tabs)
    )
    assert ours(tmp_path / "train.tsv", tabs, "\t") == [("a, b", "0")]
    commas = b"text,label\na,0\n"
    assert "divided by commas, not tabs: let its name end in .csv" in str(
        ours(tmp_path / "train.tsv", commas, "\t")
    )


def test_the_advice_for_a_missing_header_leads_on(file):
    rows = b"a,0\nb,1\n"
    assert str(ours(file, rows)).endswith("or, if it has no header, write one: text,label")
    assert ours(file, b"text,label\n" + rows) == [("a", "0"), ("b", "1")]


def test_the_advice_for_the_line_that_excel_takes_leads_on(file):
    rows = b"text,label\na,0\n"
    assert str(ours(file, b"sep=,\n" + rows)).endswith(
        "remove the first line, which only Excel knows"
    )
    assert ours(file, rows) == [("a", "0")]


def test_names_in_the_header_may_have_white_space_around_them(file):
    assert ours(file, b"text , label\na,0\n") == [("a", "0")]
    error = ours(file, b"text,label ,label\na,0,1\n")
    assert error == [("a", "1")]  # the one that is so exactly
    assert "more than one column 'label'" in str(ours(file, b"text,label ,\tlabel\na,0,1\n"))


def test_lines_of_white_space_are_passed_over(file):
    assert ours(file, b"\n \ntext,label\n\n  \t\na,0\r\n\r\n\nb,1\n\n") == [("a", "0"), ("b", "1")]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"text,label\n", b"text,label"])
def test_a_file_without_rows_has_none(file, data):
    assert ours(file, data) == []
    assert len(Delimited().labels(str(file), ("text",), "label")) == 0


def labels(file, *values):
    rows = "".join(f"a,{value}\n" for value in values)
    file.write_text(f"text,label\n{rows}", encoding="utf-8")
    return Delimited().labels(str(file), ("text",), "label")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0", "1"], pl.Series("label", [0, 1])),
        ([" 0", "1 ", "\u00a01"], pl.Series("label", [0, 1, 1])),
        (["0.0", "1e0"], pl.Series("label", [0.0, 1.0])),
        (["0", "", " "], pl.Series("label", [0, None, None])),
        (["pos ", " neg", "pos"], pl.Series("label", ["pos", "neg", "pos"])),
        (["true", "false"], pl.Series("label", ["true", "false"])),
        (["1", "2", "x", "x"], pl.Series("label", ["1", "2", "x", "x"])),
        (["\u0663", "\u0664"], pl.Series("label", ["\u0663", "\u0664"])),
        (["none", "some"], pl.Series("label", ["none", "some"])),
        (["-", "?"], pl.Series("label", ["-", "?"])),
    ],
)
def test_labels_are_numbers_where_all_are(file, values, expected):
    found = labels(file, *values)
    assert found.dtype == expected.dtype
    assert found.to_list() == expected.to_list()


@pytest.mark.parametrize("name", ["^a$", "*", "^.*$", "^label", "a\nb", "\0"])
def test_a_column_may_have_any_name(file, name):
    """Polars takes some for patterns."""
    file.write_bytes(f'"{name}",text,label\n 0,a,7\n1 ,b,8\n'.encode())
    assert Delimited().labels(str(file), ("text",), name).to_list() == [0, 1]
    (frame,) = Delimited().texts(str(file), (name,), 2)
    assert frame.rows() == [(" 0",), ("1 ",)]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["0", "1"] * 9 + ["l"], r"row 18 .*, line 20: the label 'l' is no number"),
        (["0", "NaN", "1"], r"row 1 .*'NaN' is no number"),
        (["0", r"\N", "1"], r"row 1 .*is no number"),
        (["0.0", "null", "1.0"], r"row 1 .*'null' is no number"),
        (["1", "01"], r"row 0 .*'1' stands for a number written in several ways \(01, 1\)"),
        (["1", "2", "1.0"], r"row 0 .*several ways"),
        (["0", str(2**63)], r"row 1 .*beyond 64 bits"),
        (["0", "1e999"], r"row 1 .*beyond 64 bits"),
    ],
)
def test_a_label_that_is_changed_by_being_a_number_is_refused(file, values, why):
    with pytest.raises(DataError, match=why):
        labels(file, *values)


def test_a_cell_of_any_length_is_read_and_an_endless_one_is_not(file, monkeypatch):
    before = csv.field_size_limit()
    text = "long " * 100_000
    assert ours(file, f"text,label\n{text},0\n".encode()) == [(text, "0")]
    assert csv.field_size_limit() == before
    monkeypatch.setattr("crest.data.delimited.LONGEST", 1000)
    error = ours(file, b'text,label\nb,1\n"a,0\n' + b"b,1\n" * 1000)
    assert f"{file}, row 1 (counted from 0), lines 3 to " in str(error)
    assert "is a closing quote missing?" in str(error)


def test_gzipped_is_the_same(tmp_path):
    file = tmp_path / "train.csv.gz"
    data = written([('a "b"\n', "0"), ("é", "1")])
    assert ours(file, gzip.compress(data)) == [('a "b"\n', "0"), ("é", "1")]


def test_white_space_before_a_quoted_label_is_refused_with_its_row(tmp_path):
    """Csv takes the quotes for a part of the cell: a class of its own, seen by nobody."""
    file = tmp_path / "train.csv"
    file.write_text('text,label\na dog,pos\na cat, "pos"\nan ox,neg\n')
    with pytest.raises(DataError, match=r"row 1 .*white space before its quote"):
        Delimited().labels(str(file), ("text",), "label")
