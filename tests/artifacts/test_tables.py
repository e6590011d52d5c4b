"""Files under their final name are whole, and what they hold is checked."""

import errno
import json
import os
from contextlib import suppress
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from crest import artifacts
from crest.artifacts import (
    TABLES,
    read_json,
    read_table,
    write_json,
    write_table,
)
from crest.errors import ArtifactError


def example(name: str, rows: int = 3) -> pl.DataFrame:
    """Rows of a table, the numbers all different."""
    columns = TABLES[name].items()
    return pl.DataFrame(
        {
            column: pl.Series([10 * place + row for row in range(rows)]).cast(kind)
            for place, (column, kind) in enumerate(columns)
        }
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_comes_back_as_it_was_written(tmp_path, name) -> None:
    path = tmp_path / f"{name}.parquet"
    write_table(path, example(name))
    found = read_table(path)
    assert found.equals(example(name))
    assert dict(found.schema) == dict(TABLES[name])
    assert names(tmp_path) == [path.name]


def test_a_table_says_what_it_is_and_in_which_version(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    write_table(path, example("steps"))
    metadata = pl.read_parquet_metadata(path)
    assert metadata["crest_table"] == "steps"
    assert metadata["crest_schema"] == str(artifacts.SCHEMA_VERSION)


def test_a_table_may_be_called_something_else(tmp_path) -> None:
    path = tmp_path / "deep" / "mine.parquet"
    write_table(path, example("coresets"), "coresets")
    assert read_table(path, "coresets").equals(example("coresets"))


def test_columns_beside_those_of_the_schema_come_last(tmp_path) -> None:
    frame = example("validation").with_columns(more=pl.lit(0.5, dtype=pl.Float64), none=pl.lit(1))
    write_table(tmp_path / "validation.parquet", frame, more={"more": pl.Float32})
    found = read_table(tmp_path / "validation.parquet")
    assert found.columns == [*TABLES["validation"], "more"]
    assert found["more"].dtype == pl.Float32


def test_columns_are_put_in_order_and_made_as_narrow_as_the_schema(tmp_path) -> None:
    wide = example("validation").select(pl.col("*").exclude("step"), pl.col("step").cast(pl.Int64))
    write_table(tmp_path / "validation.parquet", wide)
    assert read_table(tmp_path / "validation.parquet").equals(example("validation"))


def test_nulls_and_no_rows_at_all_are_kept(tmp_path) -> None:
    path = tmp_path / "regions.parquet"
    unchecked = example("regions").with_columns(rho=pl.lit(None, dtype=pl.Float64))
    for frame in (unchecked, unchecked.clear()):
        write_table(path, frame)
        assert read_table(path).equals(frame)


def test_a_folder_with_the_marks_of_a_pattern_is_a_folder(tmp_path) -> None:
    path = tmp_path / "run[1]*" / "steps.parquet"
    write_table(path, example("steps"))
    assert read_table(path).equals(example("steps"))


@pytest.mark.parametrize(
    "wrong",
    [
        example("steps").drop("lr"),
        example("steps").with_columns(step=pl.lit("first")),
        example("steps").with_columns(step=pl.lit(2**40)),
        example("steps").with_columns(lr=pl.lit([1.0])),
    ],
)
def test_a_frame_that_is_no_such_table_is_our_fault_and_leaves_the_file(tmp_path, wrong) -> None:
    path = tmp_path / "steps.parquet"
    write_table(path, example("steps"))
    with pytest.raises(pl.exceptions.PolarsError):
        write_table(path, wrong)
    assert read_table(path).equals(example("steps"))
    assert names(tmp_path) == [path.name]


def tamper(path: Path, frame: pl.DataFrame, **metadata: str) -> None:
    marks = {"crest_table": "steps", "crest_schema": str(artifacts.SCHEMA_VERSION)}
    frame.write_parquet(path, metadata=marks | metadata)


def refusal(path: Path, table: str | None = None) -> str:
    with pytest.raises(ArtifactError) as caught:
        read_table(path, table)
    found = str(caught.value)
    assert found.startswith(f"{path}: ")
    assert "\n" not in found
    return found.removeprefix(f"{path}: ")


def test_a_table_without_a_column_is_refused(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    tamper(path, example("steps").drop("lr"))
    assert refusal(path).startswith("column 'lr' is missing; it has ['step', 'region'")


@pytest.mark.parametrize(
    ("value", "kind"), [(1, "Int32"), ("1", "String"), (date(2024, 1, 1), "Date"), (None, "Null")]
)
def test_a_table_with_a_column_of_another_type_is_refused(tmp_path, value, kind) -> None:
    path = tmp_path / "steps.parquet"
    tamper(path, example("steps").with_columns(lr=pl.lit(value)))
    assert refusal(path) == f"column 'lr' is {kind}, it must be Float64; make it again"


def test_another_table_is_refused(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    write_table(path, example("regions"), "regions")
    assert refusal(path).startswith("holds a 'regions' table where a 'steps' table is needed; ")
    assert refusal(path, "coresets").startswith("holds a 'regions' table where a 'coresets'")


def test_another_version_is_refused(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    tamper(path, example("steps"), crest_schema=str(artifacts.SCHEMA_VERSION + 1))
    assert refusal(path).startswith(f"schema version {artifacts.SCHEMA_VERSION + 1}, this code")


def test_a_table_whose_columns_have_changed_is_refused_and_the_others_are_not(tmp_path) -> None:
    path = tmp_path / "examples.parquet"
    tamper(path, example("examples").drop("el2n"), crest_table="examples", crest_schema="1")
    assert refusal(path).startswith("schema version 1, this code reads version 4; make it again")
    tamper(tmp_path / "steps.parquet", example("steps"), crest_schema="1")
    assert read_table(tmp_path / "steps.parquet").equals(example("steps"))


def test_somebody_elses_parquet_is_refused(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    example("steps").write_parquet(path)
    assert refusal(path).startswith("not written by this project (no schema version inside)")


def test_a_truncated_table_is_refused_wherever_it_ends(tmp_path) -> None:
    path = tmp_path / "validation.parquet"
    write_table(path, example("validation"))
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        assert refusal(path).startswith("not a whole Parquet file (")


def test_what_is_no_parquet_is_refused(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    path.write_text("step,region\n1,2\n" * 10)
    assert refusal(path).endswith("; make it again")


def test_damage_that_polars_panics_over_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "steps.parquet"
    write_table(path, example("steps"))

    def panic(*_: object, **__: object) -> None:
        raise pl.exceptions.PanicException("Thrift out of range\nmore")

    monkeypatch.setattr(pl, "read_parquet", panic)
    assert refusal(path) == "not a whole Parquet file (Thrift out of range); make it again"


def test_a_missing_table_says_who_writes_it(tmp_path) -> None:
    for path in (tmp_path / "steps.parquet", tmp_path):
        assert refusal(path, "steps") == "no such file; it is written by the stage before this one"


def test_json_comes_back_as_it_was_written(tmp_path) -> None:
    values = {"accuracy": 0.1 + 0.2, "name": "τ", "none": None, "many": [1, {"a": True}]}
    write_json(tmp_path / "metrics.json", values)
    assert read_json(tmp_path / "metrics.json") == values
    assert names(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {1}, b"x"])
def test_what_json_has_no_word_for_is_refused_and_leaves_the_file(tmp_path, value) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"loss": 1.0})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"loss": value})
    assert json.loads(path.read_text()) == {"loss": 1.0}
    assert names(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"loss": ', "damaged JSON ("),
        (b"", "damaged JSON ("),
        (b"\xff\xfe", "damaged JSON ("),
        (b"[1]", "must hold a JSON object"),
        (b"null", "must hold a JSON object"),
    ],
)
def test_damaged_json_is_refused(tmp_path, content, expected) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


def test_missing_json_says_who_writes_it(tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"metrics\.json: no such file; it is written by"):
        read_json(tmp_path / "metrics.json")
    with pytest.raises(ArtifactError, match="cannot be read: Is a directory; name a file"):
        read_json(tmp_path)


def test_a_disk_that_fills_up_under_a_table_is_said_plainly(tmp_path, monkeypatch) -> None:
    path = tmp_path / "steps.parquet"
    write_table(path, example("steps"))
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(ArtifactError, match=r"steps\.parquet: cannot be written: .*No space left"):
        write_table(path, example("steps", 5))
    assert read_table(path).equals(example("steps"))
    assert names(tmp_path) == ["steps.parquet"]


@pytest.mark.parametrize("read", [lambda path: read_table(path, "steps"), read_json])
def test_what_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch, read) -> None:
    path = tmp_path / "file"
    path.touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ArtifactError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: cannot be read: Permission denied; make it readable"


def test_a_pipe_is_no_table_and_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "steps.parquet")
    assert refusal(tmp_path / "steps.parquet").startswith("no such file")


def test_a_table_without_a_checksum_is_one_of_an_earlier_version(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    tamper(path, example("steps"))
    assert read_table(path).equals(example("steps"))


def test_no_bit_of_a_table_changes_unnoticed(tmp_path) -> None:
    path = tmp_path / "steps.parquet"
    write_table(path, example("steps"))
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 97):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with suppress(ArtifactError):
            # Not refused: a bit of the checksum's name.
            assert read_table(path).equals(example("steps")), bit
