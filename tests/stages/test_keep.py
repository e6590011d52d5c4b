"""keep: a part of the examples as a file, of an analysis or of what a run recorded."""

import polars as pl
import pytest

from crest.data.origins import with_sources
from crest.errors import ParameterError
from stages import keep


def test_a_tenth_of_a_run_is_kept_and_said(runs) -> None:
    found = keep.run([runs.train("full")], runs, "forgotten", 0.1, None)
    assert found.rows.columns[:2] == ["index", "label"]
    assert "forgotten" in found.rows.columns
    assert len(found.rows) == 130
    assert found.summary.startswith(
        "These are the 130 of 1,297 examples with the highest forgotten"
    )
    others = keep.run([runs.train("full")], runs, "forgotten", 0.1, None, others=True)
    assert others.summary.startswith("All but the 130 of 1,297")
    both = pl.concat([found.rows["index"], others.rows["index"]])
    assert sorted(both) == list(range(1297))


def test_ties_are_said(runs) -> None:
    found = keep.run([runs.train("full")], runs, "forgotten", None, 1000)
    assert "equal where the line falls" in found.summary
    assert found.summary.endswith("by chance (--seed 0)")


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
