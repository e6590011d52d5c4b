"""analyze on made-up runs whose tables are known."""

import csv
import logging
from dataclasses import replace

import polars as pl
import pytest

from crest import artifacts
from crest.analysis.runs import ANALYSIS_TABLES, _balance, training_curve
from crest.config import parse
from crest.data.files import read_meta, write_meta
from crest.errors import ArtifactError, ParameterError
from crest.figures import gallery
from crest.pipeline import manifest
from crest.pipeline.analysis_files import read_analysis
from crest.pipeline.paths import Paths
from stages import analyze, report
from tests.stages import synthetic_artifacts as made_up


@pytest.fixture
def paths(tmp_path):
    return made_up.write_project(tmp_path)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Leave out the pictures, which take most of the time."""
    monkeypatch.setattr(analyze, "gallery", lambda *_: [])


def parameters(methods=("crest", "random", "full"), scores_from="full"):
    return parse(
        {"run": {"methods": list(methods)}, "analyze": {"scores_from": scores_from}}, "tests"
    )


def test_writes_every_table_and_picture(paths, monkeypatch):
    monkeypatch.setattr(analyze, "gallery", gallery)
    analyze.run(parameters(), paths)
    names = {path.name for path in paths.analyze.iterdir()}
    assert names == {
        "difficulty.parquet",
        "manifest.json",
        *(f"{name}.csv" for name in ANALYSIS_TABLES),
        "accuracy_by_step.png",
        "accuracy_by_seconds.png",
        "loss_by_step.png",
        "loss_by_seconds.png",
        "drawn_by_difficulty.png",
        "drawn_by_class.png",
        "score_by_window.png",
        "selected_by_score.png",
        "class_balance.png",
        "regions_check_interval.png",
        "regions_rho.png",
        "regions_updates.png",
        "regions_active.png",
        "regions_effective_size.png",
        "mislabelled.csv",
    }
    assert list(paths.analyze.parent.glob(".*")) == []
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths.analyze.glob("*.png"))


def test_difficulty_holds_the_scoring_runs_scores_and_crests_selections(paths):
    analyze.run(parameters(), paths)
    table = artifacts.read_table(paths.analyze / "difficulty.parquet")
    picks = artifacts.read_table(paths.train("crest") / "coresets.parquet")["index"].to_list()
    assert table["forgotten"].to_list() == [0 if i % 20 == 19 else i % 7 for i in range(40)]
    assert table["seen"].to_list() == [6] * 40
    assert table["selected"].to_list() == [picks.count(index) for index in range(40)]
    assert table["trained"].to_list() == [index % 3 for index in range(40)]
    assert table["excluded_at"].to_list() == [5] * 3 + [-1] * 37


def test_tables_read_back_as_they_were_written(paths):
    analyze.run(parameters(), paths)
    analysis = read_analysis(paths.analyze)
    for name, kinds in ANALYSIS_TABLES.items():
        assert dict(getattr(analysis, name).schema) == dict(kinds)
    regions = analysis.regions
    assert regions["updates"].to_list() == [1, 2, 3]
    assert regions["check_interval"].to_list() == [1, 2, 4]
    assert regions["rho"].to_list() == [0.06, 0.07, None]


def test_curves_hold_windows_of_training_and_points_of_validation(paths):
    analyze.run(parameters(), paths)
    curves = read_analysis(paths.analyze).curves
    train = curves.filter(pl.col("method") == "random", pl.col("split") == "train")
    assert train["step"].to_list() == list(range(1, 13))
    assert train["examples"].to_list() == [4 * step for step in range(1, 13)]
    validation = curves.filter(pl.col("method") == "full", pl.col("split") == "validation")
    assert validation.select("step", "examples", "accuracy").rows() == [
        (30, 120, 0.7),
        (60, 240, 0.9),
    ]


def test_training_curve_is_a_mean_over_windows(paths):
    curve = training_curve(analyze.read_run(paths.train("full"), "full"), windows=2)
    assert curve["step"].to_list() == [30, 60]
    assert curve["accuracy"].to_list() == pytest.approx([29 / 2 / 60, 89 / 2 / 60])
    assert curve["seconds"].to_list() == pytest.approx([3.0, 6.0])


def test_scores_are_by_window_for_crest_and_one_mean_for_the_others(paths):
    analyze.run(parameters(), paths)
    scores = read_analysis(paths.analyze).score_by_window
    crest = scores.filter(pl.col("method") == "crest")
    # Every pick is 3 + 7k, modulo 40, so that the scores are known.
    assert crest["mean_over"].unique().to_list() == ["window"]
    assert crest["score"][0] == 3.0  # 3, 10, 17 and 24: each was forgotten three times
    random = scores.filter(pl.col("method") == "random")
    seen = [index % 3 for index in range(40)]
    learned = [index for index in range(40) if index % 20 != 19]
    total = sum(seen[index] for index in learned)
    expected = sum(seen[index] * (index % 7) for index in learned) / total
    assert random["score"].to_list() == pytest.approx([expected, expected])
    assert random["mean_over"].to_list() == ["training", "training"]
    full = scores.filter(pl.col("method") == "full")
    assert full["step"].to_list() == [0, 12]  # as far as crest's, though full took 60


def test_without_crest_it_says_so_and_counts_no_selections(paths, caplog):
    with caplog.at_level(logging.WARNING):
        analyze.run(parameters(["random", "full"]), paths)
    assert "none of random, full selects coresets" in caplog.text
    analysis = read_analysis(paths.analyze)
    assert analysis.difficulty.select("selected", "trained").sum().row(0) == (0, 0)
    assert analysis.regions.is_empty()
    assert analysis.selected_by_score.is_empty()


def test_without_a_validation_split_the_curves_are_of_training(paths):
    for method in ("crest", "random", "full"):
        made_up.write_run(paths.train(method), method, validation=False)
    analyze.run(parameters(), paths)
    assert read_analysis(paths.analyze).curves["split"].unique().to_list() == ["train"]


def test_one_run_alone_is_enough(paths):
    analyze.run(parameters(["crest"], scores_from="crest"), paths)
    assert (paths.analyze / "difficulty.parquet").exists()


def test_scores_from_a_run_that_is_not_there_names_the_key_and_the_runs(paths):
    with pytest.raises(ParameterError, match=r"analyze\.scores_from: 'full'.*crest, random"):
        analyze.run(parameters(["crest", "random"]), paths)


def test_a_missing_run_names_itself_and_the_command(tmp_path):
    paths = Paths(tmp_path)
    made_up.write_prepared(paths.prepared)
    made_up.write_run(paths.train("full"), "full")
    with pytest.raises(ArtifactError, match=r"crest: no such run.*cli\.py train --method crest"):
        analyze.run(parameters(["crest", "full"]), paths)
    assert not paths.analyze.exists()


@pytest.mark.parametrize("name", ["steps", "examples", "validation", "regions", "coresets"])
def test_a_damaged_table_is_one_message_and_leaves_the_earlier_analysis(paths, name):
    analyze.run(parameters(), paths)
    before = (paths.analyze / "curves.csv").read_bytes()
    path = paths.train("crest") / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=f"{name}.parquet"):
        analyze.run(parameters(), paths)
    assert (paths.analyze / "curves.csv").read_bytes() == before
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name}.parquet: no such file"):
        analyze.run(parameters(), paths)


def test_the_run_to_train_again_is_named(paths):
    path = paths.train("random") / "examples.parquet"
    artifacts.write_table(path, artifacts.read_table(path).head(30))
    again = r"make it again with `python cli\.py train --method random`$"
    with pytest.raises(ArtifactError, match=rf"{path}: not as it was written.*{again}"):
        analyze.run(parameters(), paths)
    made_up.sealed_again(path.parent)
    with pytest.raises(ArtifactError, match=rf"random: of 30 examples, prepared are 40; {again}"):
        analyze.run(parameters(), paths)
    manifest.seal(path.parent, {"random": "run of random"}, "other")
    with pytest.raises(ArtifactError, match=rf"^{path.parent}: of other data than .*{again}"):
        analyze.run(parameters(), paths)


def test_all_runs_of_other_data_are_named_at_once(paths):
    for method in ("crest", "full"):
        manifest.seal(paths.train(method), {method: f"run of {method}"}, "other")
    message = (
        f"^{paths.train('crest')}, {paths.train('full')}: of other data than data/prepared holds "
        r"now; make them again with `python cli\.py train --method crest`, `python cli\.py train "
        "--method full`$"
    )
    for stage in (analyze, report):
        with pytest.raises(ArtifactError, match=message):
            stage.run(parameters(), paths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.col("index") + 1000, "index 1003 is not one of 40 examples"),
        (pl.col("region") + 1, "lacks mini-batch 0 of region 0, which step 0 trained on"),
    ],
)
def test_coresets_of_another_run_are_refused(paths, change, message):
    path = paths.train("crest") / "coresets.parquet"
    artifacts.write_table(path, artifacts.read_table(path).with_columns(change))
    with pytest.raises(ArtifactError, match=message):
        analyze.run(parameters(), paths)


def test_a_damaged_analysis_is_one_message(paths):
    analyze.run(parameters(), paths)
    path = paths.analyze / "curves.csv"
    path.write_text("method,step\ncrest,many\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"curves\.csv.*cli\.py analyze"):
        read_analysis(paths.analyze)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"curves\.csv: no such file"):
        read_analysis(paths.analyze)


def write_texts(paths, **columns):
    made_up.turn_into_text(paths.prepared, **columns)
    analyze.run(parameters(), paths)
    return pl.read_csv(
        paths.analyze / "texts.csv", schema_overrides=dict.fromkeys(columns, pl.String)
    )


def test_texts_holds_the_examples_that_the_report_shows(paths):
    table = write_texts(paths, premise=made_up.sentences("one"), claim=made_up.sentences("two"))
    groups = table["group"].unique(maintain_order=True).to_list()
    assert groups == ["hardest", "mislabelled", "most_selected", "never_selected", "excluded"]
    suspects = table.filter(pl.col("group") == "mislabelled")
    assert suspects.row(1, named=True) == {
        "group": "mislabelled", "index": 19, "label": "three", "forgotten": 0, "seen": 6,
        "correct": 0, "mean_loss": 219 / 6, "el2n": 0.475, "taken_for": "zero",
        "wrong_label": pytest.approx(0.866, abs=1e-3), "first_learned": -1,
        "selected": 1, "excluded_at": -1, "premise": "one of example 19",
        "claim": "two of example 19",
    }  # fmt: skip
    assert table.filter(pl.col("group") == "excluded")["index"].to_list() == [0, 1, 2]
    assert len(read_analysis(paths.analyze).difficulty) == made_up.EXAMPLES


def test_texts_read_back_whatever_they_hold(paths, caplog):
    hostile = [
        "",
        " ",
        "=1+1",
        'a "quote"',
        "a,b;c\td",
        "line\r\nline\rline\n",
        "\u202e\x00\U0001f600",
    ]
    texts = [hostile[index % len(hostile)] for index in range(made_up.EXAMPLES)]
    table = write_texts(paths, text=texts)
    assert table["text"].to_list() == [texts[index] for index in table["index"]]
    assert "in the CSVs, texts begin with =, +, - or @" in caplog.text
    with (paths.analyze / "texts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == table["text"].to_list()


def test_text_columns_called_as_the_tables_own_are_kept_apart(paths):
    columns = {"group": made_up.sentences("one"), "group_text": made_up.sentences("two")}
    made_up.turn_into_text(paths.prepared, **columns)
    analyze.run(parameters(), paths)
    row = pl.read_csv(paths.analyze / "texts.csv").row(0, named=True)
    assert row["group"] == "hardest"
    assert row["group_text_"] == "one of example 34"
    assert row["group_text"] == "two of example 34"


def test_texts_that_are_gone_leave_the_earlier_analysis(paths):
    write_texts(paths, text=made_up.sentences("one"))
    before = (paths.analyze / "texts.csv").read_bytes()
    (paths.prepared / "train_texts.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"train_texts\.parquet: no such file.*cli\.py prepare"):
        analyze.run(parameters(), paths)
    assert (paths.analyze / "texts.csv").read_bytes() == before


def test_suspects_are_listed_by_falling_loss_with_the_class_they_are_taken_for(paths):
    analyze.run(parameters(), paths)
    table = pl.read_csv(paths.analyze / "mislabelled.csv")
    assert len(table) == made_up.EXAMPLES
    assert table["mean_loss"].is_sorted(descending=True)
    assert table.row(0, named=True) == {
        "index": 39, "label": "three", "taken_for": "zero", "mean_loss": 239 / 6, "seen": 6,
        "correct": 0, "wrong_label": pytest.approx(0.880, abs=1e-3),
    }  # fmt: skip
    assert table.row(2, named=True)["taken_for"] is None  # 38, which was never taken for another


def test_images_have_no_table_of_texts(paths):
    analyze.run(parameters(), paths)
    assert not (paths.analyze / "texts.csv").exists()


def test_the_balance_of_very_many_classes_takes_the_rare_ones_together(paths):
    run = analyze.read_run(paths.train("crest"), "crest")
    whole = _balance(run, made_up.CLASSES)
    assert set(whole["label"]) == {0, 1, 2, 3}
    few = _balance(run, made_up.CLASSES, most=2)
    assert set(few["label"]) == {-1, 0, 1}
    assert few.filter(pl.col("label") == -1)["name"].unique().to_list() == ["the 2 other classes"]
    for column in ("share", "weighted_share", "data_share"):
        sums = few.group_by("region").agg(pl.col(column).sum())[column]
        assert sums.to_list() == pytest.approx([1.0] * len(sums))


def test_names_that_look_like_formulas_are_kept_and_told(paths, caplog):
    names = ["=cmd()", "a\x1b[31m", "-two", "three"]
    write_meta(paths.prepared, replace(read_meta(paths.prepared), classes=names))
    analyze.run(parameters(), paths)
    assert set(read_analysis(paths.analyze).class_balance["name"]) == set(names)
    assert "in the CSVs, names of classes begin with =, +, - or @ (2 of them)" in caplog.text


def test_tables_say_where_examples_came_from(paths):
    made_up.write_sources(paths.prepared, [("my/rows.csv", 3 * index) for index in range(40)])
    analyze.run(parameters(), paths)
    table = artifacts.read_table(paths.analyze / "difficulty.parquet")
    assert table["row"].to_list() == [3 * index for index in range(40)]
    listed = pl.read_csv(paths.analyze / "mislabelled.csv")
    assert listed.columns[-2:] == ["file", "row"]
    assert listed["row"].equals(3 * listed["index"], check_names=False)


def test_texts_lie_beside_their_rows_whatever_the_text_columns_are_called(paths):
    names = {"file": made_up.sentences("one"), "row": made_up.sentences("two")}
    made_up.turn_into_text(paths.prepared, **names)
    made_up.write_sources(paths.prepared, [(f"{index}.txt", None) for index in range(40)])
    analyze.run(parameters(), paths)
    texts = pl.read_csv(paths.analyze / "texts.csv")
    assert texts.columns[-4:] == ["file", "row", "file_", "row_"]
    assert texts["file"].to_list() == [f"one of example {index}" for index in texts["index"]]
    assert texts["file_"].to_list() == [f"{index}.txt" for index in texts["index"]]
    assert texts["row_"].null_count() == len(texts)
