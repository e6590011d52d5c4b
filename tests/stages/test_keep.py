"""keep: a part of the examples as a file, of an analysis or of what a run recorded."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from crest import artifacts
from crest.data.origins import with_sources
from crest.errors import ArtifactError, ParameterError
from crest.pipeline import manifest
from crest.pipeline.paths import Paths
from stages import keep, mislabelled


def test_a_tenth_of_a_run_is_kept_and_said(runs) -> None:
    found = keep.run([runs.train("full")], runs, "forgotten", 0.1, None)
    assert found.rows.columns[:2] == ["index", "label"]
    assert "forgotten" in found.rows.columns
    assert len(found.rows) == 130
    assert found.summary.startswith(
        "These are the 130 of 1,297 examples forgotten most often, or never right"
    )
    others = keep.run([runs.train("full")], runs, "forgotten", 0.1, None, others=True)
    assert others.summary.startswith("All but the 130 of 1,297")
    both = pl.concat([found.rows["index"], others.rows["index"]])
    assert sorted(both) == list(range(1297))


@pytest.fixture
def ties(tmp_path) -> Path:
    """Ten examples: of forgotten 1 nine, of these two of one mean loss; all right four times."""
    columns = {
        "index": range(10),
        "label": [0] * 10,
        "seen": [4] * 10,
        "first_learned": [1] * 10,
        "forgotten": [3, *[1] * 9],
        "correct": [4] * 10,
        "mean_loss": [0.9, 0.5, 0.5, *[0.1 * step for step in range(7)]],
    }
    kinds = artifacts.TABLES["difficulty"]
    table = pl.DataFrame(columns).select(
        pl.col(name).cast(kind) if name in columns else pl.lit(None, kind).alias(name)
        for name, kind in kinds.items()
    )
    table = table.with_columns(selected=pl.lit(0, pl.Int32), trained=pl.lit(0, pl.Int32))
    table = table.with_columns(excluded_at=pl.lit(artifacts.NEVER, pl.Int32))
    artifacts.write_table(tmp_path / artifacts.DIFFICULTY, table)
    return tmp_path


@pytest.mark.parametrize(
    ("by", "count", "lowest", "said"),
    [
        ("forgotten", 1, False, "forgotten most often, or never right."),
        ("forgotten", 2, False, "; of 9 equal ones where the line falls, 1 by the highest mean lo"),
        (
            "forgotten",
            1,
            True,
            "; of 9 equal ones where the line falls, 1 by the lowest mean loss.",
        ),
        (
            "correct",
            1,
            True,
            "right least often; all are equal in it: 1 by the highest mean loss.",
        ),
        (
            "selected",
            1,
            False,
            "selected most often; all are equal in it: 1 by the highest mean loss.",
        ),
        ("mean_loss", 1, False, "with the highest mean loss."),
        ("mean_loss", 1, True, "with the lowest mean loss."),
    ],
)
def test_it_says_how_equal_ones_were_taken_where_there_were_some(ties, by, count, lowest, said):
    found = keep.run([ties], Paths(ties), by, None, count, lowest=lowest)
    assert said in found.summary
    assert "chance" not in found.summary


def test_it_says_what_chance_has_taken(ties) -> None:
    by_loss = keep.run([ties], Paths(ties), "mean_loss", None, 3)  # 0.9, 0.6 and one of two 0.5
    assert by_loss.summary.endswith(
        "mean loss; of 3 equal ones where the line falls, 1 by chance (--seed 0)."
    )
    forgotten = keep.run([ties], Paths(ties), "forgotten", None, 3)
    assert forgotten.summary.endswith(
        "; of 9 equal ones where the line falls, 2 by the highest mean loss, of 3 equal in that "
        "too 1 by chance (--seed 0)."
    )


def test_names_of_classes_are_of_the_data(runs) -> None:
    found = keep.run([runs.train("full")], runs, "mean_loss", None, 5, prepared=runs.prepared)
    assert set(found.rows["label"]) <= {str(digit) for digit in range(10)}


def test_rows_lead_back_to_their_source(runs) -> None:
    found = keep.run([runs.train("full")], runs, "mean_loss", None, 5, prepared=runs.prepared)
    indices = found.rows.select("index")
    assert found.rows.select("index", "file", "row").equals(with_sources(indices, runs.prepared))
    alone = keep.run([runs.train("full")], runs, "mean_loss", None, 5)
    assert alone.rows.equals(found.rows.drop("file", "row"))


@pytest.mark.parametrize(
    ("share", "count", "message"),
    [
        (None, None, "one of --share 0.1 and --count 500"),
        (0.1, 5, "one of --share 0.1 and --count 500"),
        (None, 5000, "there are 1,297 examples"),
    ],
)
def test_how_many_is_said_once_and_is_there(runs, share, count, message) -> None:
    with pytest.raises(ParameterError, match=message):
        keep.run([runs.train("full")], runs, "mean_loss", share, count)


def test_results_of_other_data_are_refused_by_content_and_not_by_count(runs, tmp_path) -> None:
    source = tmp_path / "full"
    shutil.copytree(runs.train("full"), source)
    sealed = artifacts.read_json(source / artifacts.MANIFEST)
    artifacts.write_json(source / artifacts.MANIFEST, sealed | {"data": "0" * 64})
    message = r"of other data than .*`python cli\.py analyze`"
    for named in (source, source / artifacts.EXAMPLES):
        with pytest.raises(ArtifactError, match=message):
            keep.run([named], runs, "mean_loss", None, 5, prepared=runs.prepared)
        with pytest.raises(ArtifactError, match=message):
            mislabelled.run([named], runs, runs.prepared, None)
    with pytest.raises(ParameterError, match="did you mean"):
        keep.run([source], runs, "mean_los", None, 5, prepared=runs.prepared)


def test_by_inputs_an_analysis_of_other_data_counts_as_none(runs, tmp_path) -> None:
    paths = Paths(tmp_path)
    paths.analyze.mkdir(parents=True)
    table = keep.run([runs.train("full")], runs, "mean_loss", None, 5).rows
    table.write_parquet(paths.analyze / artifacts.DIFFICULTY)
    manifest.seal(paths.analyze, {"full": "0" * 64}, "0" * 64)
    found = mislabelled.run([], paths, runs.prepared, 3, inputs=True)
    assert found.summary.startswith(f"{paths.analyze} is of other data and does not count. ")
    (tmp_path / "none").mkdir()
    alone = mislabelled.run([], Paths(tmp_path / "none"), runs.prepared, 3, inputs=True)
    assert found.rows.equals(alone.rows)


def test_a_table_keeps_its_own_sources(runs) -> None:
    table = pl.DataFrame({"index": [1], "file": ["mine.csv"], "row": [7]})
    assert with_sources(table, runs.prepared).equals(table)
