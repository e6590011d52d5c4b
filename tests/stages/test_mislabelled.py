"""mislabelled: whose labels are likely wrong, of whatever training left behind."""

import re

import polars as pl
import pytest
import torch

from crest import LossBatchSampler, artifacts
from crest.analysis.difficulty import MOST_MISLABELLED, difficulty_table
from crest.analysis.suspects import ORDER
from crest.data.prepared import load
from crest.errors import ArtifactError, ParameterError
from crest.pipeline.paths import Paths
from crest.pipeline.recorded import check_format, write_rows
from stages import mislabelled, prepare
from tests.stages import synthetic_artifacts as made_up
from tests.tiny import digits_parameters as parameters

NOT_KNOWN = (
    "How many labels are wrong is not known, of losses alone or of less than two passes: what is "
    "listed is an order, likeliest first."
)
SUSPECTS = [39, 19]  # of the synthetic runs, whose labels are never given more than controls are


@pytest.fixture
def paths(tmp_path) -> Paths:
    return made_up.write_project(tmp_path)


def saved(folder, times: int, count: int = 40):
    """Records of losses alone, an eighth of the index, so many times."""
    made = LossBatchSampler(count, count, times, record=True, lag=1)
    for batch in made:
        made.update(batch, torch.tensor(batch) / 8)
    made.save(folder, list(range(count)))
    return folder


def test_it_lists_those_that_are_more_likely_wrong_than_right(paths) -> None:
    found = mislabelled.run([paths.train("full")], paths, None, None)
    assert found.rows["index"].to_list() == SUSPECTS
    assert found.rows["wrong_label"].to_list() == pytest.approx([0.880, 0.866], abs=1e-3)
    assert found.rows["label"].to_list() == ["3", "3"]
    assert found.summary.startswith(
        "Of 40 labels about 2 (5.0%) are wrong by estimate, 2 more like"
    )
    named = mislabelled.run([paths.train("full")], paths, paths.prepared, 3).rows
    assert len(named) == 3
    assert named["label"][0] == "three"


def test_the_last_analysis_is_the_default(paths) -> None:
    examples = artifacts.read_table(paths.train("full") / artifacts.EXAMPLES)
    paths.analyze.mkdir(parents=True)
    artifacts.write_table(paths.analyze / artifacts.DIFFICULTY, difficulty_table(examples))
    found = mislabelled.run([], paths, None, None)
    assert found.rows["index"].to_list() == SUSPECTS
    assert found.rows["label"].to_list() == ["three", "three"]


@pytest.mark.parametrize(
    ("chance", "listed", "said"),
    [(0.1, 4, "up to about 4 (10.0%) may be wrong by estimate"), (0.0, 40, "none is wrong by")],
)
def test_where_none_is_more_likely_wrong_than_right_an_order_is_listed(paths, chance, listed, said):
    examples = artifacts.read_table(paths.train("full") / artifacts.EXAMPLES)
    table = difficulty_table(examples).with_columns(wrong_label=pl.lit(chance, pl.Float64))
    paths.analyze.mkdir(parents=True)
    artifacts.write_table(paths.analyze / artifacts.DIFFICULTY, table)
    found = mislabelled.run([], paths, None, None)
    by_loss = table.filter(pl.col("seen") > 0).sort("mean_loss", descending=True)
    assert found.rows["index"].to_list() == by_loss["index"].head(listed).to_list()
    assert said in found.summary
    assert ORDER in found.summary


def test_of_losses_alone_there_is_an_order_and_no_number(paths, tmp_path) -> None:
    found = mislabelled.run([saved(tmp_path / "mine", 2, 60)], paths, None, None)
    assert found.rows["index"].to_list() == list(range(59, 59 - MOST_MISLABELLED, -1))
    assert found.rows["wrong_label"].null_count() == MOST_MISLABELLED
    assert found.summary == NOT_KNOWN


def test_runs_on_the_same_data_count_together(paths, tmp_path) -> None:
    one, two = saved(tmp_path / "one", 2), saved(tmp_path / "two", 3)
    rows = mislabelled.run([one, two], paths, None, 1).rows
    assert rows.select("index", "mean_loss", "seen", "correct").row(0) == (39, 39 / 8, 5, None)
    with pytest.raises(ArtifactError, match="other examples or labels than"):
        mislabelled.run([one, paths.train("full")], paths, None, None)


def test_files_are_written_as_they_are_named(paths, tmp_path) -> None:
    found = mislabelled.run([paths.train("full")], paths, None, 5)
    for name, read in (("a.csv", pl.read_csv), ("a.parquet", pl.read_parquet)):
        write_rows(found.rows, tmp_path / name)
        assert read(tmp_path / name)["index"].to_list() == found.rows["index"].to_list()
    with pytest.raises(ParameterError, match=r"name a file \.csv or \.parquet"):
        check_format("mislabelled", tmp_path / "a.txt")


def test_what_is_not_there_or_of_other_data_is_refused(paths, tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"neither difficulty\.parquet nor examples\.parquet"):
        mislabelled.run([], paths, None, None)
    other = saved(tmp_path / "other", 1, 41)
    with pytest.raises(ArtifactError, match="40 examples in its training split, and 41 in"):
        mislabelled.run([other], paths, paths.prepared, None)


@pytest.fixture(scope="module")
def shuffled_digits(tmp_path_factory):
    """Prepared digits, a fifth of whose labels are shuffled; and which labels are wrong."""
    folder = tmp_path_factory.mktemp("digits") / "data" / "prepared"
    prepare.run(parameters().prepare, folder)
    data = load(folder, torch.device("cpu"))
    labels = data.train.labels
    some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    changed = labels.clone()
    changed[some[: len(some) // 5]] = labels[some[: len(some) // 5].roll(1)]
    wrong = set((changed != labels).nonzero().flatten().tolist())
    return folder, changed, wrong


def test_inputs_alone_find_wrong_labels_before_any_training(shuffled_digits, tmp_path, monkeypatch):
    folder, labels, wrong = shuffled_digits

    def changed(*arguments):
        data = load(*arguments)
        data.train.labels = labels
        return data

    monkeypatch.setattr("crest.data.prepared.load", changed)
    found = mislabelled.run([], Paths(tmp_path), folder, None, inputs=True)
    rows = set(found.rows["index"])
    assert len(rows & wrong) > 0.9 * max(len(rows), len(wrong))
    assert found.rows["mean_loss"].null_count() == len(found.rows)
    assert not (found.rows["label"] == found.rows["taken_for"]).any()
    said = re.search(r"about ([0-9,]+) \(", found.summary)
    assert said is not None
    assert int(said[1]) == pytest.approx(len(wrong), rel=0.05)


def test_inputs_count_beside_runs_and_of_clean_data_change_nothing(paths, tmp_path):
    made = saved(tmp_path / "runs", 2, 1297)
    folder = tmp_path / "digits"
    prepare.run(parameters().prepare, folder)
    examples = artifacts.read_table(made / artifacts.EXAMPLES)
    labels = load(folder, torch.device("cpu")).train.labels
    artifacts.write_table(
        made / artifacts.EXAMPLES, examples.with_columns(label=pl.Series(labels.numpy()))
    )
    found = mislabelled.run([made], paths, folder, 5, inputs=True)
    assert found.rows["index"].to_list() == [1296, 1295, 1294, 1293, 1292]  # by their losses
    assert found.rows["wrong_label"].null_count() == 5
    assert found.summary == f"{mislabelled.NONE_BY_INPUTS}{NOT_KNOWN}"
    alone = mislabelled.run([], Paths(tmp_path / "untrained"), folder, None, inputs=True)
    assert alone.summary.startswith("Of 1,297 labels none is wrong")
    assert ORDER in alone.summary
    assert len(alone.rows) == MOST_MISLABELLED
    assert (alone.rows["label"] != alone.rows["taken_for"]).all()
    assert set(alone.rows["wrong_label"]) == {0.0}
    other = examples.with_columns(label=pl.Series(labels.roll(7).numpy()))
    artifacts.write_table(made / artifacts.EXAMPLES, other)
    with pytest.raises(ArtifactError, match="other labels than the table has"):
        mislabelled.run([made], paths, folder, 5, inputs=True)


def test_inputs_of_runs_need_their_data(paths, tmp_path):
    with pytest.raises(ParameterError, match="--inputs needs --prepared"):
        mislabelled.run([saved(tmp_path / "mine", 2)], paths, None, None, inputs=True)


def test_texts_stand_beside_their_labels_under_their_own_names(paths):
    claims = made_up.sentences("claim")
    claims[39] = "=1+1"
    made_up.turn_into_text(paths.prepared, label=made_up.sentences("label"), claim=claims)
    found = mislabelled.run([paths.train("full")], paths, paths.prepared, None)
    assert found.rows["index"].to_list() == SUSPECTS
    assert found.rows["label_"].to_list() == ["label of example 39", "label of example 19"]
    assert found.rows["claim"].to_list() == ["=1+1", "claim of example 19"]
    assert found.summary.endswith("formulas: import the column as text.")
    without = mislabelled.run([paths.train("full")], paths, None, None)
    assert without.rows.columns == found.rows.columns[: len(without.rows.columns)]
    assert "formulas" not in without.summary
