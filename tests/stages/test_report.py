"""report on made-up runs: the numbers and the page."""

import json
import logging
import re
import shutil
from dataclasses import replace

import polars as pl
import pytest

from crest import artifacts
from crest.data.files import read_meta, write_meta
from crest.data.origins import with_sources
from crest.errors import ArtifactError
from crest.pipeline import manifest, sheets
from crest.pipeline.paths import Paths
from stages import analyze, report
from tests.stages import synthetic_artifacts as made_up
from tests.stages.synthetic_reports import Page, parameters, write_project


@pytest.fixture
def paths(tmp_path):
    return write_project(tmp_path)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A whole report, with a reused model of another kind and one of full's."""
    paths = write_project(tmp_path_factory.mktemp("project"))
    for model in ("resnet20", "convnet"):
        made_up.write_reuse(paths, model)
    summary = report.run(parameters(["resnet20", "convnet"]), paths)
    return summary, paths.report


@pytest.fixture(scope="module")
def page(reported):
    return Page((reported[1] / "report.html").read_text(encoding="utf-8"))


def test_summary_measures_every_run_of_fulls_model_against_it(reported):
    rows = {(row["method"], row["model"], row["reused"]): row for row in reported[0].to_dicts()}
    crest = rows["crest", "convnet", False]
    assert crest["relative_error"] == pytest.approx(0.2)  # 72 % against 90 %
    assert crest["speedup"] == pytest.approx(2.0)  # 6 s against 3 s
    assert crest["updates"] == 3
    assert crest["seconds_select"] == 0.5
    assert rows["random", "convnet", False]["relative_error"] == pytest.approx(1 / 9)
    assert rows["random", "convnet", False]["seconds_select"] is None
    assert rows["full", "convnet", False]["relative_error"] == 0.0
    assert rows["replay", "resnet20", True]["relative_error"] is None
    assert rows["replay", "resnet20", True]["speedup"] is None
    assert rows["replay", "convnet", True]["speedup"] == pytest.approx(5.0)


def test_the_contents_lead_to_every_section_and_no_name_is_twice(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = {
        attributes["href"].removeprefix("#")
        for tag, attributes in page.elements
        if tag == "a" and attributes["href"].startswith("#")
    }
    assert links <= set(ids)
    sections = {attributes["id"] for tag, attributes in page.elements if tag == "h2"}
    assert sections <= links


def test_the_page_says_when_it_was_made_and_folds_the_settings(page):
    assert re.search(r"Made on\s+\d\d \w+ \d{4}, \d\d:\d\d UTC", page.text)
    assert not [attributes for tag, attributes in page.elements if "open" in attributes]


def test_settings_are_of_the_methods_that_were_run(reported):
    html = (reported[1] / "report.html").read_text(encoding="utf-8")
    assert "parameters.train.lr" in html
    assert "parameters.craig" not in html


def test_classes_have_their_accuracies_and_what_they_are_taken_for(page):
    text = " ".join(page.text.split())
    # Of 100 test examples, whose four classes take turns, the first 72, 80 and 90 are right.
    assert "Class Examples crest random full zero 25 72.0% 80.0% 92.0%" in text
    assert "What crest takes for what" in text
    assert "zero 18 7 · ·" in text


def test_the_first_sentence_says_who_is_ahead_and_whether_chance_would_do(page):
    sentence = (
        "Of crest and random at 20.0% of full training's steps, random is ahead with 80.0%, 8.0 "
        "points above crest: 100 test examples cannot tell that from chance. Full training reached "
        "90.0%."
    )
    assert sentence in " ".join(page.text.split())


def test_what_looks_wrong_and_is_not_is_explained(page):
    text = " ".join(page.text.split())
    assert "Every region ends above τ = 0.05, for what is drawn is the check that ended it" in text
    assert "In all 3 regions of crest: P = 2." in text
    assert "Why these pictures look as they do" in text


def test_equal_examples_are_listed_by_chance_and_it_is_said(paths):
    table = artifacts.read_table(paths.analyze / "difficulty.parquet")
    equal = table.with_columns(selected=pl.lit(2, pl.Int32))
    found = sheets.sheets(equal, read_meta(paths.prepared), paths.prepared).sheets
    notes = {sheet.name: sheet.note for sheet in found}
    assert notes["most_selected"].endswith(
        "Of 40 that are equal where the list ends, chance took 24."
    )
    assert "chance" not in notes["hardest"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("chance", [0.25, None])
def test_a_percentage_is_explained_where_suspects_have_one(paths, chance):
    table = artifacts.read_table(paths.analyze / "difficulty.parquet")
    table = table.with_columns(wrong_label=pl.lit(chance, pl.Float64))
    found = sheets.sheets(table, read_meta(paths.prepared), paths.prepared).sheets
    suspects = next(sheet for sheet in found if sheet.name == "mislabelled")
    assert ("The percentage is how likely" in suspects.note) == (chance is not None)
    assert ("wrong: 25%" in suspects.cards[0].facts) == (chance is not None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("files", "shared", "first"),
    [
        ([("a/rows.parquet", index) for index in range(40)], "Row: of a/rows.parquet", "row 34"),
        ([(f"a/b/{i // 20}.png", None) for i in range(40)], "Files are in a/b/;", "1.png"),
        ([(f"a/{i // 20}/x.csv", i) for i in range(40)], "Files are in a/;", "1/x.csv, row 34"),
    ],
)
def test_cards_name_their_file_below_what_all_share(paths, files, shared, first):
    made_up.write_sources(paths.prepared, files)
    table = with_sources(artifacts.read_table(paths.analyze / "difficulty.parquet"), paths.prepared)
    found = sheets.sheets(table, read_meta(paths.prepared), paths.prepared)
    assert found.sources.startswith(shared)
    assert found.sheets[0].cards[0].source == first


def test_without_sources_cards_name_the_index_alone(page):
    assert "Files are in" not in page.text
    assert "Row: of" not in page.text


def test_an_error_has_its_sign(page):
    assert "+20.00%" in page.text


def test_files_say_what_the_summary_says(reported):
    summary, folder = reported
    assert {path.name for path in folder.iterdir()} == {
        "summary.json",
        "summary.csv",
        "seeds.csv",
        "report.html",
        "manifest.json",
    }
    document = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert set(document) == {"methods", "reuse"}
    assert list(document["methods"]) == ["crest", "random", "full"]
    assert document["methods"]["crest"]["relative_error"] == pytest.approx(0.2)
    assert document["reuse"]["resnet20"]["accuracy"] == 0.6
    assert report.read_summary(Paths(folder.parents[1])).equals(summary)


@pytest.mark.usefixtures("undrawn")
def test_models_in_folders_of_one_name_are_not_measured_against_each_other(paths):
    for method, model in (("full", "/a/bert"), ("random", "/a/bert/."), ("crest", "/b/bert")):
        path = paths.train(method) / artifacts.METRICS
        artifacts.write_json(path, artifacts.read_json(path) | {"model": model})
        made_up.sealed_again(path.parent)
    rows = {row["method"]: row for row in report.run(parameters(), paths).to_dicts()}
    assert {name: row["model"] for name, row in rows.items()} == {
        "crest": "b/bert",
        "random": "a/bert",
        "full": "a/bert",
    }
    assert rows["crest"]["relative_error"] is None
    assert rows["random"]["relative_error"] == pytest.approx(1 / 9)


def test_a_summary_that_is_not_there_names_the_command(tmp_path):
    with pytest.raises(ArtifactError, match=r"cli\.py report"):
        report.read_summary(Paths(tmp_path))


def test_page_refers_to_nothing_outside_itself(reported, page):
    html = (reported[1] / "report.html").read_text(encoding="utf-8")
    assert "http" not in html
    assert "@import" not in html
    assert "script" not in {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert set(re.findall(r"url\((.)", html)) <= {"#"}


def test_page_has_unique_ids_and_no_dangling_references(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        reference = attributes.get("href", "")
        if reference.startswith("#"):
            assert reference[1:] in ids


def test_page_describes_every_picture(page):
    drawn = [attributes for tag, attributes in page.elements if tag == "svg"]
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(drawn) == 14
    assert images
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawn)
    assert all(attributes["alt"] for attributes in images)


def test_page_escapes_what_came_from_data(page):
    assert "<b>one</b>" in page.text
    assert "$two$" in page.text
    assert "<script>" in page.text
    assert "A <report> & more" in page.text
    assert "b" not in {tag for tag, _ in page.elements}


def test_page_says_plainly_that_crest_was_worse(page):
    text = " ".join(page.text.split())
    assert (
        "Against random mini-batches for as many steps, crest is 8.0 points less accurate and "
        "took 2.5 times as long." in text
    )
    assert "crest is 18.0 points less accurate and took 0.5 of the time" in text
    assert "Every method was run once, with seed 0" in text


def test_page_says_what_the_estimate_of_label_noise_took(reported):
    html = (reported[1] / "report.html").read_text(encoding="utf-8")
    heads, rows = html.split("Where the seconds went", 1)[1].split("</thead>", 1)
    assert '<th scope="col">Label noise</th>' in heads
    told = re.findall(r'<td data-[^>]*"Label noise"[^>]*>\s*([^<]*?)\s*</td>', rows)
    assert told == ["0.38", "–", "–", "–", "–"]


def test_page_shows_examples_by_what_happened_to_them(page):
    alts = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert alts[:3] == [
        "Example 34, label $two$, forgotten 6×, right 3 of 6, loss 5.67, EL2N 0.85",
        "Example 27, label three, taken for zero, forgotten 6×, right 3 of 6, loss 4.50, EL2N 0.68",
        "Example 20, label zero, forgotten 6×, right 3 of 6, loss 3.33, EL2N 0.50",
    ]
    never = "taken for zero, never right, right 0 of 6, loss 39.83, EL2N 0.97"
    assert f"Example 39, label three, {never}" in alts
    rest = "right 3 of 6, loss 0.00, EL2N 0.00, selected 1×, out at step 5"
    assert f"Example 0, label zero, forgotten 0×, {rest}" in alts


def test_page_is_for_light_dark_and_telephones(reported):
    html = (reported[1] / "report.html").read_text(encoding="utf-8")
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert "var(--ink" in html
    assert "var(--series-1" in html


def test_text_table_is_aligned(reported):
    lines = report.format_table(reported[0]).splitlines()
    assert lines[0].split() == [
        *["method", "model", "accuracy", "relative", "error", "steps", "seconds", "speed-up"]
    ]
    assert lines[1].split() == ["crest", "convnet", "72.00%", "+20.00%", "12", "3.00", "2.00×"]
    assert lines[4].split() == ["replay", "(reuse)", "resnet20", "60.00%", "–", "12", "1.20", "–"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.usefixtures("undrawn")
def test_a_model_not_reused_yet_is_left_out_and_said(paths, caplog):
    with caplog.at_level(logging.WARNING):
        summary = report.run(parameters(["resnet20"]), paths)
    assert "resnet20" in caplog.text
    assert summary["reused"].to_list() == [False] * 3


@pytest.mark.usefixtures("undrawn")
def test_over_seeds_there_are_means_and_differences(paths, caplog):
    for seed, random, crest in ((1, 0.82, 0.75), (2, 0.84, 0.76)):
        made_up.write_repeat(paths, "random", seed, random)
        made_up.write_repeat(paths, "crest", seed, crest)
    summary = report.run(parameters(seeds=[1, 2]), paths)
    table = report.read_seeds(paths)
    crest = table.row(by_predicate=pl.col("method") == "crest", named=True)
    assert (crest["seeds"], crest["pairs"]) == (3, 3)
    assert crest["difference"] == pytest.approx((-0.08 - 0.07 - 0.08) / 3)
    document = json.loads((paths.report / "summary.json").read_text())
    assert document["seeds"]["random"]["accuracy"] == pytest.approx(0.82)
    text = Page((paths.report / "report.html").read_text(encoding="utf-8")).text
    sentence = "Over 3 seeds, crest is 7.67 ± 0.33 points less accurate than random"
    assert sentence in text
    assert "Every method was run once" not in text
    assert report.verdicts(summary, table, paths)[0].startswith(sentence)
    assert [message for message in caplog.messages if "not there" in message] == [
        f"report: {paths.repeat('full', seed)}: not there, it is left out" for seed in (1, 2)
    ]


def test_without_full_nothing_is_measured_against_it(paths):
    summary = report.run(parameters(methods=["crest", "random"]), paths)
    assert summary["relative_error"].to_list() == [None, None]
    assert summary["speedup"].to_list() == [None, None]
    text = (paths.report / "report.html").read_text(encoding="utf-8")
    assert "Full training was not run" in text


@pytest.mark.usefixtures("undrawn")
def test_steps_at_different_load_have_no_ratio(paths):
    path = paths.train("crest") / artifacts.METRICS
    parts = {"select": 0.5, "train": 2.5}  # and no estimate of label noise
    artifacts.write_json(path, artifacts.read_json(path) | {"seconds": parts})
    made_up.sealed_again(path.parent)
    summary = report.run(parameters(), paths)
    speedups = {row["method"]: row["speedup"] for row in summary.to_dicts()}
    assert speedups == {"full": 1.0, "random": pytest.approx(5.0), "crest": None}
    html = (paths.report / "report.html").read_text(encoding="utf-8")
    text = " ".join(Page(html).text.split())
    assert "its training steps alone took 208 ms each, random's 100 ms." in text
    assert "alone, without choosing, took more than 1.3 times those of full" in text
    assert "Label noise</th>" not in html


@pytest.mark.usefixtures("undrawn")
def test_runs_that_differ_are_told_apart(paths):
    path = paths.train("random") / "run.json"
    values = artifacts.read_json(path)
    values["parameters"]["train"]["seed"] = 7
    values["device"]["name"] = "another machine"
    artifacts.write_json(path, values)
    made_up.sealed_again(path.parent)
    report.run(parameters(), paths)
    text = Page((paths.report / "report.html").read_text(encoding="utf-8")).text
    assert "not all with the same seed" in text
    assert "their seconds cannot be compared" in text
    assert "random: another machine" in " ".join(text.split())


@pytest.mark.usefixtures("undrawn")
def test_colour_images_are_shown(tmp_path):
    paths = write_project(tmp_path)
    for path in paths.prepared.iterdir():
        path.unlink()
    paths.prepared.rmdir()
    made_up.write_prepared(paths.prepared, channels=3)
    report.run(parameters(), paths)
    assert "data:image/png" in (paths.report / "report.html").read_text(encoding="utf-8")


def test_a_summary_that_was_cut_short_is_refused(reported, tmp_path):
    paths = Paths(tmp_path)
    shutil.copytree(reported[1], paths.report)
    path = paths.report / "summary.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(ArtifactError, match=r"summary\.csv: not as it was written: cut short"):
        report.read_summary(paths)


@pytest.mark.usefixtures("undrawn_analysis")
def test_a_model_reused_on_an_earlier_runs_coresets_is_marked(paths, caplog):
    made_up.write_reuse(paths, "resnet20")
    settings = parameters(["resnet20"])
    assert not report.run(settings, paths)["outdated"].any()
    for stage in (paths.train, paths.evaluate):
        manifest.seal(stage("crest"), {"crest": "a new run"}, "abc")
    analyze.run(parameters(), paths)
    with caplog.at_level(logging.WARNING):
        summary = report.run(settings, paths)
    assert "`python cli.py reuse --model resnet20` makes it again" in caplog.text
    assert summary["outdated"].to_list() == [False, False, False, True]
    assert "replay (reuse) (outdated)" in report.format_table(summary)
    text = Page((paths.report / "report.html").read_text(encoding="utf-8")).text
    assert "reuse: resnet20 (outdated)" in text


@pytest.mark.usefixtures("undrawn")
def test_runs_of_other_settings_are_told_apart(paths, caplog):
    path = paths.train("full") / "run.json"
    values = artifacts.read_json(path)
    values["parameters"]["train"]["lr"] = 0.0001
    artifacts.write_json(path, values)
    made_up.sealed_again(path.parent)
    with caplog.at_level(logging.WARNING):
        report.run(parameters(), paths)
    sentence = "The runs differ in train.lr (crest 0.1, random 0.1, full 0.0001)"
    assert sentence in caplog.text
    assert sentence in Page((paths.report / "report.html").read_text(encoding="utf-8")).text


@pytest.mark.usefixtures("undrawn")
def test_weights_that_leave_few_examples_and_choices_that_lead_astray_are_said(paths):
    path = paths.train("crest") / "run.json"
    values = artifacts.read_json(path)
    values["parameters"]["train"]["batch_size"] = 4
    values["parameters"]["crest"] = {"choice": "medoids"}
    artifacts.write_json(path, values)
    made_up.sealed_again(path.parent)
    report.run(parameters(), paths)
    text = Page((paths.report / "report.html").read_text(encoding="utf-8")).text
    assert (
        "By their weights, the 4 examples of a mini-batch of crest are worth 3.5 of equal weight "
        "in the first region and 1.5 in the last (Kish's effective size)." in text
    )
    assert "crest trained on medoids without their weights" in text


@pytest.mark.usefixtures("undrawn_analysis")
def test_control_characters_in_names_do_not_reach_the_page(tmp_path):
    paths = made_up.write_project(tmp_path)
    names = ["zero\x1b[31m", "\u202eone", "\x00", "three"]
    write_meta(paths.prepared, replace(read_meta(paths.prepared), classes=names))
    analyze.run(parameters(), paths)
    report.run(parameters(), paths)
    html = (paths.report / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]", html)
    assert "zero\ufffd[31m" in html
