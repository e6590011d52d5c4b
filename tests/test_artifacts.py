"""Files under their final name are whole, and what they hold is checked."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from crest import artifacts
from crest.artifacts import (
    TABLES,
    read_json,
    read_table,
    replacing,
    replacing_folder,
    write_json,
    write_table,
)
from crest.errors import ArtifactError

FAILURES = [ValueError("a fault"), KeyboardInterrupt(), SystemExit(1), MemoryError()]


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


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that differs from the usual one and from that of temporary files."""
    earlier = os.umask(0o027)
    yield
    os.umask(earlier)


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
    assert refusal(path).startswith("schema version 1, this code reads version 2; make it again")
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

    monkeypatch.setattr(artifacts.pl, "read_parquet", panic)
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
    with pytest.raises(ArtifactError, match="damaged JSON"):
        read_json(tmp_path)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_file_stays_when_its_replacement_fails(tmp_path, failure) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with pytest.raises(type(failure)), replacing(path) as temporary:
        temporary.write_text("half of the ne")
        assert temporary.parent == tmp_path
        raise failure
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_folder_stays_when_its_replacement_fails(tmp_path, failure) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "earlier").touch()
    with pytest.raises(type(failure)), replacing_folder(folder) as temporary:
        (temporary / "new").mkdir()
        raise failure
    assert names(folder) == ["earlier"]
    assert names(tmp_path) == ["run"]


def test_a_file_is_the_earlier_one_until_the_block_ends(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "earlier"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def test_a_folder_is_replaced_whole(tmp_path) -> None:
    folder = tmp_path / "deep" / "run"
    for name in ("one", "two"):
        with replacing_folder(folder) as temporary:
            assert names(temporary) == []
            (temporary / name).touch()
        assert names(folder) == [name]
    assert names(folder.parent) == ["run"]


def test_a_folder_that_cannot_be_put_in_place_gives_way_to_the_earlier_one(
    tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "earlier").touch()
    rename = Path.rename

    def refuse_the_new_one(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            full_disk()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with (
        pytest.raises(ArtifactError, match=r"run: cannot be written: .*No space left"),
        replacing_folder(folder) as temporary,
    ):
        (temporary / "new").touch()
    assert names(folder) == ["earlier"]
    assert names(tmp_path) == ["run"]


def test_a_file_in_the_place_of_a_folder_is_refused_before_any_work(tmp_path) -> None:
    path = tmp_path / "run"
    path.write_text("mine")
    with (
        pytest.raises(ArtifactError, match="run: a file where a folder is to be; move it away"),
        replacing_folder(path),
    ):
        pytest.fail("the block has run")
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("replace", [replacing, replacing_folder])
def test_a_file_in_the_place_of_the_folder_above_is_refused(tmp_path, replace) -> None:
    (tmp_path / "artifacts").write_text("mine")
    with (
        pytest.raises(ArtifactError, match=r"artifacts/x: cannot be written: .*File exists"),
        replace(tmp_path / "artifacts" / "x"),
    ):
        pytest.fail("the block has run")
    assert (tmp_path / "artifacts").read_text() == "mine"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(ArtifactError, match=r"metrics\.json: cannot be written: .*directory"):
        write_json(tmp_path / "metrics.json", {})
    assert names(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied")])
def test_a_folder_that_is_not_ours_to_write_is_said_plainly(tmp_path, monkeypatch, error) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(artifacts.tempfile, "mkstemp", refuse)
    monkeypatch.setattr(artifacts.tempfile, "mkdtemp", refuse)
    expected = "x: cannot be written: Permission denied; make its folder writable"
    for replace in (replacing, replacing_folder):
        with pytest.raises(ArtifactError, match=expected), replace(tmp_path / "x"):
            pytest.fail("the block has run")


def test_a_disk_that_fills_up_is_said_plainly(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with (
        pytest.raises(ArtifactError, match=r"file: cannot be written: .*No space left"),
        replacing(path) as temporary,
    ):
        temporary.write_text("half")
        full_disk()
    monkeypatch.setattr(artifacts.os, "fsync", full_disk)
    with pytest.raises(ArtifactError, match=r"file: cannot be written: .*No space left"):
        write_json(path, {})
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_under_a_table_is_said_plainly(tmp_path, monkeypatch) -> None:
    path = tmp_path / "steps.parquet"
    write_table(path, example("steps"))
    write = pl.DataFrame.write_parquet
    monkeypatch.setattr(
        pl.DataFrame, "write_parquet", lambda self, _, **options: write(self, "/dev/full")
    )
    with pytest.raises(ArtifactError, match=r"steps\.parquet: cannot be written: .*No space left"):
        write_table(path, example("steps", 5))
    assert read_table(path).equals(example("steps"))
    assert names(tmp_path) == ["steps.parquet"]


def test_a_link_is_followed(tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "run").mkdir(parents=True)
    (elsewhere / "file").touch()
    for name in ("run", "file"):
        (tmp_path / name).symlink_to(elsewhere / name)
    with replacing_folder(tmp_path / "run") as temporary:
        (temporary / "new").touch()
    write_json(tmp_path / "file", {})
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "file").is_symlink()
    assert names(elsewhere / "run") == ["new"]
    assert read_json(elsewhere / "file") == {}
    assert names(elsewhere) == ["file", "run"]


def test_permissions_are_those_of_any_new_file_and_folder(tmp_path, umask) -> None:
    write_json(tmp_path / "metrics.json", {})
    with replacing_folder(tmp_path / "run") as folder:
        write_table(folder / "steps.parquet", example("steps"))
    assert mode(tmp_path / "metrics.json") == 0o640
    assert mode(tmp_path / "run") == 0o750
    assert mode(tmp_path / "run" / "steps.parquet") == 0o640


def test_an_earlier_folder_that_cannot_be_removed_is_no_failure(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    remove = shutil.rmtree

    def refuse(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(errno.EACCES, "Permission denied")
        remove(path, ignore_errors=True)

    monkeypatch.setattr(artifacts.shutil, "rmtree", refuse)
    with replacing_folder(folder) as temporary:
        (temporary / "new").touch()
    assert names(folder) == ["new"]


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    dead = ended_process()
    folder = tmp_path / f".out.{dead}.abc.partial"
    folder.mkdir()
    (folder / "half").write_text("half")
    (tmp_path / f".out.{dead}.xyz.partial").write_text("half")
    mine = tmp_path / f".out.{os.getpid()}.abc.partial"
    mine.write_text("being written")
    others = tmp_path / f".other.{dead}.abc.partial"
    others.write_text("of another target")
    with replacing_folder(tmp_path / "out") as partial:
        (partial / "file").write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([mine, others, tmp_path / "out"])


def test_killed_between_two_renames_the_earlier_folder_comes_back(tmp_path: Path) -> None:
    earlier = tmp_path / f".out.{ended_process()}.abc.earlier"
    earlier.mkdir()
    (earlier / "file").write_text("earlier")
    with pytest.raises(ValueError, match="fault"), replacing_folder(tmp_path / "out"):
        raise ValueError("fault")
    assert (tmp_path / "out" / "file").read_text() == "earlier"
