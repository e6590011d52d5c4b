"""JSON lines and arrays give the values that Python's json gives, or are refused with the row."""

import json
import math

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crest.data import json_objects, utf8
from crest.data.json_rows import JsonRows
from crest.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
LABELS = st.one_of(
    st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=6),
    st.lists(st.floats(allow_infinity=False), min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=1, max_size=6),
    st.lists(TEXTS, min_size=1, max_size=6),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("json") / "train.jsonl"


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(utf8, "PIECE_BYTES", 1)
    monkeypatch.setattr("crest.data.json_rows.AT_ONCE", 2)
    monkeypatch.setattr(utf8, "BLOCK", 5)
    monkeypatch.setattr(json_objects, "BLOCK", 7)


def read(file) -> tuple[list[str], pl.Series]:
    """Texts and labels of a file."""
    labels = JsonRows().labels(str(file), ("text",), "label")
    frames = list(JsonRows().texts(str(file), ("text",), len(labels)))
    texts = pl.concat(frames)["text"].to_list() if frames else []
    return texts, labels


def refusal(file, content: str | bytes) -> str:
    """The message about a file, which is not named."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    return str(caught.value).removeprefix(f"{file}, ")


def line(**values) -> str:
    return json.dumps({"text": "a", "label": 0} | values) + "\n"


def same(found, expected) -> bool:
    """Whether values are equal, of the same type, NaN included."""
    return [(type(value), repr(value)) for value in found] == [
        (type(value), repr(value)) for value in expected
    ]


@pytest.mark.parametrize("form", ["lines", "array", "indented"])
@given(labels=LABELS, others=st.lists(VALUES, min_size=6, max_size=6), ascii=st.booleans())
@settings(max_examples=60, deadline=None)
@example(labels=["\u2028", "\x85"], others=[None] * 6, ascii=False)
def test_values_are_those_of_json(tmp_path_factory, form, labels, others, ascii):
    rows = [
        {"text": repr(other), "other": other, "label": label}
        for label, other in zip(labels, others, strict=False)
    ]
    if form == "lines":
        content = "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in rows)
    else:
        content = json.dumps(rows, ensure_ascii=ascii, indent=1 if form == "indented" else None)
    file = tmp_path_factory.getbasetemp() / "values.json"
    file.write_text(content, encoding="utf-8", newline="")
    found, found_labels = read(file)
    expected = [row["label"] for row in rows]
    if isinstance(expected[0], str):
        expected = pl.Series(expected).str.strip_chars().to_list()
        expected = [label or None for label in expected]
    assert found == [row["text"] for row in rows]
    assert same(found_labels, expected)


ALPHABET = [
    '{"text": "a", "label": 0}',
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    "\r",
    '"',
    ":",
    " ",
    "\\",
    "1",
]


@given(parts=st.lists(st.sampled_from(ALPHABET), max_size=8).map("".join))
@settings(max_examples=200, deadline=None)
@example(parts='{"text": "a", "label": 0},{"text": "b"\n"label": 1}\n')
@example(parts='[{"text": "a", "label": 0},]')
@example(parts='[{"text": "a", "label": 0}] []')
@example(parts="[]")
@example(parts="[")
@example(parts="[ ,")
def test_whatever_it_is_made_of_it_is_read_as_json_or_refused(file, parts):
    def expected():
        try:
            if parts.lstrip(" \t\n\r").startswith("["):
                return json.loads(parts)
            return [json.loads(row) for row in parts.split("\n") if row.strip(" \t\n\r")]
        except json.JSONDecodeError:
            return None

    rows = expected()
    file.write_text(parts, encoding="utf-8", newline="")
    try:
        found, labels = read(file)
    except DataError:
        whole = rows is not None and all(
            isinstance(row, dict) and row.keys() == {"text", "label"} for row in rows
        )
        assert not whole or '"label": 0' not in parts or "more than one" in refusal(file, parts)
    else:
        assert rows is not None
        assert found == [row["text"] for row in rows]
        assert labels.to_list() == [row["label"] for row in rows]


def test_blank_lines_and_a_mark_are_passed_over(file):
    file.write_bytes(("\ufeff\n" + line() + " \t\r\n" + line(label=1) + "\r\n\n").encode())
    texts, labels = read(file)
    assert (texts, labels.to_list()) == (["a", "a"], [0, 1])
    assert JsonRows().at(str(file), 1) == "row 1 (counted from 0), line 4"


@pytest.mark.parametrize("content", ["", "\n \n", "[]", "\n[ \n]\n"])
def test_a_file_without_rows_has_none(file, content):
    file.write_text(content)
    texts, labels = read(file)
    assert (texts, len(labels)) == ([], 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (line() + "{broken\n", "row 1 (counted from 0), line 2: no JSON (Expecting property name"),
        (line() + "\n" + line() + '{"text": "a", "label": }', "row 2 (counted from 0), line 4: no"),
        (
            line().strip() * 2,
            "row 0 (counted from 0), line 1: no JSON (Extra data at character 26)",
        ),
        ("{\n" + line()[1:], "row 0 (counted from 0), line 1: no JSON"),
        (
            '{"text": "a\tb", "label": 0}',
            "row 0 (counted from 0), line 1: no JSON (Invalid control",
        ),
        (line() + "3\n", "row 1 (counted from 0), line 2: a whole number, not an object"),
        (line() + "null\n", "row 1 (counted from 0), line 2: null, not an object"),
        ("[\n" + line() + ",\n\n[]]", "row 1 (counted from 0), line 5: a list, not an object"),
        ("[\n" + line() + line() + "]", "row 1 (counted from 0), line 3: no JSON (Expecting ','"),
        ("[\n" + line() + ",\n" + line(), "row 2 (counted from 0), line 5: no JSON (Expecting ','"),
        ("[" + line() + ", {\n'a'", "row 1 (counted from 0), line 3: no JSON (Expecting property"),
        ("[]]", "row 0 (counted from 0), line 1: no JSON (Extra data after the array)"),
        ('["a", 0]\n["b", 1]\n', "row 0 (counted from 0), line 1: text, not an object"),
        (
            '{"label": ' + "9" * 5000 + "}",
            "row 0 (counted from 0), line 1: no JSON (a number of too",
        ),
        ("[" * 100_000, "row 0 (counted from 0), line 1: no JSON (nested too deeply)"),
        ('{"text":' * 100_000, "row 0 (counted from 0), line 1: no JSON (nested too deeply)"),
    ],
)
@pytest.mark.parametrize("pieces", ["small", "usual"])
def test_what_is_no_json_is_named_with_its_line(file, request, pieces, content, why):
    if pieces == "small":
        request.getfixturevalue("small_pieces")
    assert refusal(file, content).startswith(why)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1, 1, 1.5], "row 2 (counted from 0), line 3: the label is a fraction (1.5), most are a"),
        ([1.5, 2.5, 1], "row 2 (counted from 0), line 3: the label is a whole number (1), most"),
        ([1, "1", 1], 'row 1 (counted from 0), line 2: the label is text ("1"), most are a whole'),
        (["1", "2", 1], "row 2 (counted from 0), line 3: the label is a whole number (1), most"),
        (
            [0, 1.0],
            "row 1 (counted from 0), line 2: the label is a fraction (1.0), as many are a w",
        ),
        ([0, 1, True], "row 2 (counted from 0), line 3: the label is a boolean (true), most are"),
        ([0, 1, math.nan], "row 2 (counted from 0), line 3: the label is NaN; label the row"),
        ([0.0, 1.0, math.inf], "row 2 (counted from 0), line 3: Infinity is beyond 64 bits"),
        ([0, 1, 2**63], "row 2 (counted from 0), line 3: 9223372036854775808 is beyond 64 bits"),
        ([0, 1, -(10**30)], "row 2 (counted from 0), line 3: -1000000000000000000000000000000 is"),
        ([[0], [1]], "row 0 (counted from 0), line 1: [0] is a list, which no class is; set prep"),
        ([{"a": 0}] * 2, 'row 0 (counted from 0), line 1: {"a": 0} is an object, which no class'),
        (["a", "\ud83d"], r'row 1 (counted from 0), line 2: "\ud83d" holds half of a surrogate'),
    ],
)
def test_labels_of_several_types_are_refused(file, small_pieces, values, why):
    content = "".join(line(label=value) for value in values)
    assert refusal(file, content).startswith(f"column 'label', {why}")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (["a", "cat"], '["a", "cat"] is a list, not text; write it in quotes'),
        ({"a": "cat"}, '{"a": "cat"} is an object, not text'),
        (True, "true is a boolean, not text"),
        (1, "1 is a whole number, not text"),
        (math.nan, "NaN is a fraction, not text"),
        ("a \udc00\ud83d", r'"a \udc00\ud83d" holds half of a surrogate pair'),
    ],
)
def test_a_text_that_is_none_is_refused(file, small_pieces, value, why):
    content = line() * 4 + line(text=value)
    assert refusal(file, content).startswith(
        f"column 'text', row 4 (counted from 0), line 5: {why}"
    )


def test_a_pair_of_surrogates_and_nul_are_characters(file):
    file.write_text(r'{"text": "\ud83d\ude00\u0000\n", "label": 0}')
    assert read(file)[0] == ["😀\0\n"]


def test_a_key_must_be_in_every_row_once(file, small_pieces):
    rest = '{"text": "a"}\n'
    assert refusal(file, line() * 3 + rest) == (
        "row 3 (counted from 0), line 4: no column 'label'; its columns: text; set "
        "prepare.label_column, or write it"
    )
    assert refusal(file, line() * 3 + '{"text": "a", "label": 0, "label": 1}') == (
        "row 3 (counted from 0), line 4: more than one 'label'; keep one in each row"
    )
    file.write_text('{"text": "a", "label": 0, "id": 1, "id": 2, "more": {"a": 1, "a": 2}}')
    assert read(file)[1].to_list() == [0]


@pytest.mark.parametrize("name", ["^a$", "*", "^.*$", "^label", "a\nb", "\0", ""])
def test_a_column_may_have_any_name(file, name):
    """Polars takes some for patterns."""
    rows = [{name: " x", "text": "a", "label": 0}, {name: "y ", "text": "b", "label": 1}]
    file.write_text(json.dumps(rows))
    assert JsonRows().labels(str(file), ("text",), name).to_list() == ["x", "y"]
    (frame,) = JsonRows().texts(str(file), (name,), 2)
    assert frame.rows() == [(" x",), ("y ",)]


def test_nulls_are_nulls_wherever_they_are(file, small_pieces):
    for values in ([None, None, None, 1], [1, None, None, None], [None] * 3):
        file.write_text("".join(line(label=value) for value in values))
        assert read(file)[1].to_list() == values


def test_an_endless_object_is_refused(file, small_pieces, monkeypatch):
    monkeypatch.setattr(json_objects, "LONGEST", 1000)
    assert refusal(file, "[" + line() + ", " + '{"text": "' + "a" * 10_000).startswith(
        "row 1 (counted from 0), line 2: no JSON (Unterminated string"
    )
    file.write_text("[" + line(text="a" * 900) + "," * 1 + line(text="b" * 900) + "]")
    assert len(read(file)[0]) == 2
