"""Texts from Parquet, CSV and JSON lines: the same rows whatever they come in."""

import gzip
import io
import json

import polars as pl
import pytest

from crest.data.datasets import open_source
from crest.data.text import SUFFIXES
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters

ROWS = {
    "text": ["a dog runs", 'the "big" cat, small', "two\nlines", "a man", "no", "a ball"],
    "label": [0, 1, 0, 2, 1, 2],
}


def write_parquet(frame: pl.DataFrame, folder, split: str) -> None:
    frame.write_parquet(folder / f"{split}-00000-of-00001.parquet")


def write_csv(frame: pl.DataFrame, folder, split: str) -> None:
    frame.write_csv(folder / f"{split}.csv")


def write_lines(frame: pl.DataFrame, folder, split: str) -> None:
    frame.write_ndjson(folder / f"{split}.jsonl")


WRITERS = {"parquet": write_parquet, "csv": write_csv, "jsonl": write_lines}


@pytest.fixture
def write(tmp_path):
    """A function that writes train and test in one format, and returns the parameters."""

    def written(form="csv", train=None, test=None, **parameters):
        for split, change in (("train", train), ("test", test)):
            WRITERS[form](pl.DataFrame(ROWS | (change or {})), tmp_path, split)
        return PrepareParameters(dataset="text", source=str(tmp_path), **parameters)

    return written


def rows(reader) -> list:
    texts = pl.concat(list(reader.texts()))
    return list(zip(*(texts[name] for name in texts.columns), reader.labels(), strict=True))


@pytest.mark.parametrize("form", WRITERS)
def test_rows_are_the_same_in_every_format(write, form):
    source = open_source(write(form))
    assert rows(source.train) == list(zip(*ROWS.values(), strict=True))
    assert len(source.train) == len(source.test) == 6
    assert source.train.dropped == 0


@pytest.mark.parametrize("form", WRITERS)
def test_columns_may_have_any_name_and_be_two(write, form):
    columns = {"question": ROWS["text"], "answer": ROWS["text"][::-1], "kind": list("abcabc")}
    source = open_source(
        write(
            form,
            columns,
            columns,
            text_columns=("question", "answer"),
            label_column="kind",
        )
    )
    assert rows(source.test) == list(zip(*columns.values(), strict=True))


def test_labels_of_a_csv_are_numbers_only_where_all_are(write):
    assert open_source(write()).train.labels().dtype == pl.Int64
    mixed = {"label": ["1", "2", "x", "1", "2", "x"]}
    assert open_source(write(train=mixed, test=mixed)).train.labels().dtype == pl.String


def test_fractions_for_labels_are_refused_in_a_csv_too(write):
    whole = write(train={"label": [0.0, 1.0, 0.0, 2.0, 1.0, 2.0]})
    assert open_source(whole).train.labels().to_list() == [0, 1, 0, 2, 1, 2]
    parameters = write(train={"label": [0.0, 1.5, 0.0, 2.0, 1.0, 2.0]})
    with pytest.raises(DataError, match=r"train.csv, column 'label', row 1 .*1.5 \(Float64\)"):
        open_source(parameters)


def test_a_quoted_cell_without_text_is_one_without_text(tmp_path, write):
    parameters = write()
    (tmp_path / "train.csv").write_text('text,label\na,0\n"",1\n')
    with pytest.raises(DataError, match=r"train.csv, column 'text', row 1 .*: there is no text"):
        rows(open_source(parameters).train)


def test_two_columns_of_one_name_are_refused_in_a_csv(tmp_path, write):
    parameters = write()
    (tmp_path / "train.csv").write_text("text,text,label\na,b,0\nb,c,1\n")
    with pytest.raises(DataError, match=r"train.csv: more than one column 'text'; rename or drop"):
        open_source(parameters)


def test_a_word_among_many_numbers_is_a_slip_and_named(write):
    labels = {"text": ["a"] * 20, "label": [*"01" * 9, "l", "1"]}
    with pytest.raises(DataError, match=r"train\.csv, column 'label', row 18 .* 'l' is no num"):
        open_source(write(train=labels))


def test_shards_are_read_in_their_order(tmp_path, write):
    parameters = write()
    (tmp_path / "train.csv").unlink()
    for number in range(3):
        pl.DataFrame({"text": [f"text {number}"] * 2, "label": [0, 1]}).write_csv(
            tmp_path / f"train-{number:05}-of-00003.csv"
        )
    reader = open_source(parameters).train
    assert [text for text, _ in rows(reader)] == [f"text {place // 2}" for place in range(6)]
    assert reader.label_at(3).endswith(
        "train-00001-of-00003.csv, column 'label', row 1 (counted from 0), line 3"
    )


@pytest.fixture
def snli(tmp_path):
    def written(labels, **changes):
        count = len(labels)
        frame = {
            "premise": [f"premise {place}" for place in range(count)],
            "hypothesis": [f"hypothesis {place}" for place in range(count)],
            "label": labels,
        }
        for split in ("train", "test"):
            write_parquet(pl.DataFrame(frame | changes), tmp_path, split)
        return open_source(PrepareParameters(dataset="snli", source=str(tmp_path)))

    return written


def test_snli_leaves_out_pairs_without_a_label_and_counts_them(snli):
    reader = snli([-1, 0, 1, -1, -1, 2]).train
    assert rows(reader) == [
        (f"premise {place}", f"hypothesis {place}", label)
        for place, label in ((1, 0), (2, 1), (5, 2))
    ]
    assert (len(reader), reader.dropped) == (3, 3)
    assert reader.label_at(2).endswith("row 5 (counted from 0)")


def test_a_row_is_named_as_the_file_counts_it(snli):
    reader = snli([-1, 0, 1, 2], premise=["a", "b", "c", None]).train
    with pytest.raises(DataError, match=r"column 'premise', row 3 \(counted from 0\): there is no"):
        list(reader.texts())


def test_ones_own_negative_label_is_no_missing_one(write):
    from crest.data.labels import encode_labels

    source = open_source(write(train={"label": [0, 1, 2, -1, 1, 2]}))
    with pytest.raises(DataError, match=r"row 3 .*the label is negative"):
        encode_labels(source)


def test_long_files_are_read_in_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("crest.data.parquet.SLICES", (7, 3))
    count = 40
    frame = {"text": [str(place) for place in range(count)], "label": [0, 1] * (count // 2)}
    for split in ("train", "test"):
        write_parquet(pl.DataFrame(frame), tmp_path, split)
    reader = open_source(PrepareParameters(dataset="text", source=str(tmp_path))).train
    assert [len(batch) for batch in reader.texts()] == [7] * 5 + [5]
    assert [text for text, _ in rows(reader)] == frame["text"]


@pytest.mark.parametrize(
    ("form", "change", "expected"),
    [
        ("csv", {"text": ["a", None, "c", "d", "e", "f"]}, r"train\.csv, column 'text', row 1 "),
        ("jsonl", {"text": ["a", "b", None, "d", "e", "f"]}, r"row 2 .*there is no text"),
        ("parquet", {"text": [1, 2, 3, 4, 5, 6]}, "holds Int64, not texts; set prepare.text_col"),
        ("jsonl", {"text": [1, 2, 3, 4, 5, 6]}, r"row 0 .*, line 1: 1 is a whole number, not text"),
    ],
)
def test_a_text_that_cannot_be_used_is_named(write, form, change, expected):
    parameters = write(form, train=change)
    with pytest.raises(DataError, match=expected):
        list(open_source(parameters).train.texts())


def test_a_missing_column_is_named_with_those_there(write):
    for key, column in (("text_columns", ("body",)), ("label_column", "class")):
        with pytest.raises(DataError, match=rf"its columns: text, label; set prepare\.{key}"):
            open_source(write(**{key: column}))


def test_one_format_at_a_time(tmp_path, write):
    write("jsonl", {"label": [1, 1, 0, 2, 1, 2]})
    with pytest.raises(DataError, match=r"train in several formats \(.*csv, .*jsonl\); keep one"):
        open_source(write("csv"))
    (tmp_path / "train.jsonl").write_text("{")
    with pytest.raises(DataError, match="train in several formats"):
        open_source(write("csv"))


def test_the_same_rows_in_several_formats_are_read_once(tmp_path, write):
    for form in WRITERS:
        parameters = write(form)
    source = open_source(parameters)
    assert rows(source.train) == list(zip(*ROWS.values(), strict=True))
    assert f"train: {tmp_path}/train.csv, {tmp_path}/train.jsonl left out: the same rows" in (
        source.notes
    )


def test_a_format_without_the_columns_is_left_out(tmp_path, write):
    parameters = write("csv")
    pl.DataFrame({"image": [b"a"], "label": [0]}).write_parquet(tmp_path / "train.parquet")
    source = open_source(parameters)
    assert len(source.train) == 6
    assert source.notes == (f"train: {tmp_path}/train.parquet left out: no columns text, label",)
    with pytest.raises(DataError, match=r"no column 'body'|several formats"):
        open_source(parameters.model_copy(update={"text_columns": ("body",)}))


def test_a_missing_split_is_named_with_every_format(tmp_path, write):
    parameters = write(test_split="test")
    (tmp_path / "test.csv").unlink()
    with pytest.raises(
        DataError, match=r"test\.csv or test\.tsv or test\.json.*there: train\.csv; set prep"
    ):
        open_source(parameters)


def test_lines_that_are_no_json_are_refused(tmp_path, write):
    parameters = write("jsonl")
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": "a", "label": 0}) + "\n{broken\n")
    with pytest.raises(DataError, match=r"train\.jsonl, row 1 .*, line 2: no JSON"):
        open_source(parameters)


# The same rows in every format, and in two that hold them compressed.
ODD = [("a", "x "), (None, "y"), ("b", None), ("", "x"), (" \t", "y"), ("c", ""), ("d", " ")]


def form_of(form: str, rows: list) -> bytes:
    frame = pl.DataFrame(rows, schema={"text": pl.String, "label": pl.String}, orient="row")
    match form.removesuffix(".gz"):
        case "parquet":
            frame.write_parquet(stream := io.BytesIO())
            return stream.getvalue()
        case "csv":
            content = frame.write_csv()
        case "tsv":
            content = frame.write_csv(separator="\t")
        case "json":
            content = json.dumps(frame.to_dicts(), indent=1)
        case _:
            content = frame.write_ndjson()
    return gzip.compress(content.encode()) if form.endswith(".gz") else content.encode()


@pytest.mark.parametrize("form", SUFFIXES)
def test_null_nothing_and_blanks_mean_the_same_in_every_format(tmp_path, form):
    for split in ("train", "test"):
        (tmp_path / f"{split}.{form}").write_bytes(form_of(form, ODD))
    reader = open_source(PrepareParameters(dataset="text", source=str(tmp_path))).train
    assert reader.labels().to_list() == ["x", "y", None, "x", "y", None, None]
    for row in (1, 3, 4):
        for split in ("train", "test"):
            content = form_of(form, [("a", "x"), ODD[row], ("b", "y")])
            (tmp_path / f"{split}.{form}").write_bytes(content)
        reader = open_source(PrepareParameters(dataset="text", source=str(tmp_path))).train
        with pytest.raises(DataError, match=r"column 'text', row 1 .*: there is no text"):
            rows(reader)


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_shard_without_rows_is_passed_over(tmp_path, form):
    content = form_of(form, [("a", "x"), ("b", "y")])
    for split, shards in (("train", [[], content, []]), ("test", [content])):
        for number, shard in enumerate(shards):
            name = f"{split}-{number:05}-of-{len(shards):05}.{form}"
            (tmp_path / name).write_bytes(shard or form_of(form, []))
    reader = open_source(PrepareParameters(dataset="text", source=str(tmp_path))).train
    assert rows(reader) == [("a", "x"), ("b", "y")]
    assert reader.label_at(1).startswith(f"{tmp_path}/train-00001-of-00003.{form}, column")


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_split_without_rows_is_refused(tmp_path, form):
    for split in ("train", "test"):
        (tmp_path / f"{split}.{form}").write_bytes(form_of(form, []))
    with pytest.raises(DataError, match=r"no labelled rows; the split needs at least one"):
        open_source(PrepareParameters(dataset="text", source=str(tmp_path)))


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("name", ["a?", "*", "[ab]", "{a,b}", "a b%20", "é\n"])
def test_a_folder_of_any_name_is_read_and_no_other(tmp_path, form, name):
    """What looks like a pattern is none."""
    for folder, text in ((name, "mine"), ("ab", "other"), ("a", "other"), ("b", "other")):
        (tmp_path / folder).mkdir()
        for split in ("train", "test"):
            content = form_of(form, [(text, "x"), (text, "y")])
            (tmp_path / folder / f"{split}.{form}").write_bytes(content)
    source = open_source(PrepareParameters(dataset="text", source=str(tmp_path / name)))
    assert rows(source.train) == rows(source.test) == [("mine", "x"), ("mine", "y")]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("name", ["^label$", "*", "^.*$"])
def test_columns_are_taken_by_their_exact_names(tmp_path, form, name):
    texts = ["one", "two", "three", "four"]
    columns = {"text": ["x"] * 4, "label": [9] * 4, name: [0, 1, 0, 1], f"{name}$": texts}
    for split in ("train", "test"):
        WRITERS[form](pl.DataFrame(columns), tmp_path, split)
    source = open_source(
        PrepareParameters(
            dataset="text", source=str(tmp_path), label_column=name, text_columns=[f"{name}$"]
        )
    )
    assert rows(source.train) == list(zip(texts, [0, 1, 0, 1], strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0, 1], ["a", "b"]),
        ([0, 1], ["0", "1"]),
        ([True, False], ["true", "false"]),
    ],
)
def test_shards_of_several_types_are_refused(tmp_path, one, other):
    for number, labels in enumerate((one, other)):
        frame = pl.DataFrame({"text": ["a", "b"], "label": labels})
        frame.write_ndjson(tmp_path / f"train-{number:05}-of-00002.jsonl")
    frame.write_ndjson(tmp_path / "test.jsonl")
    with pytest.raises(DataError, match=r"train-00001.*jsonl, .*: labels are .*; use one type"):
        open_source(PrepareParameters(dataset="text", source=str(tmp_path)))


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, write):
    reader = open_source(write()).train
    with (tmp_path / "train.csv").open("a") as file:
        file.write("one more,0\n")
    with pytest.raises(DataError, match=r"train\.csv: changed while it was read; start again"):
        rows(reader)


@pytest.mark.parametrize(
    "key", [{"image_column": "img"}, {"image_size": 32}, {"workers": 2}], ids=str
)
def test_what_only_images_have_is_refused(write, key):
    with pytest.raises(ParameterError, match=r"text is text data; leave it null"):
        open_source(write(**key))


@pytest.mark.parametrize("key", [{"tokenizer": "bert"}, {"text_columns": ("a",)}], ids=str)
def test_what_only_text_has_is_refused_for_images(key):
    with pytest.raises(ParameterError, match=r"digits is image data; leave it null"):
        open_source(PrepareParameters(**key))


def test_real_pairs(samples):
    source = open_source(PrepareParameters(dataset="snli", source=str(samples / "snli")))
    assert (len(source.train), len(source.test)) == (9842, 9824)
    first = next(source.train.texts())
    assert first.columns == ["premise", "hypothesis"]
    assert sorted(source.train.labels().unique()) == [0, 1, 2]
