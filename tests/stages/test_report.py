"""report on made-up runs: the numbers, the page, and what it refuses."""

import json
import logging
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from crest import artifacts
from crest.config import parse
from crest.data.files import read_meta, write_meta
from crest.data.origins import with_sources
from crest.data.verifying import file_hash
from crest.errors import ArtifactError
from crest.pipeline import manifest, sheets
from crest.pipeline.paths import Paths
from stages import analyze, report
from tests.stages import synthetic_artifacts as made_up


def parameters(models=(), **run):
    values = {
        "run": run,
        "reuse": {"models": list(models)},
        "report": {"title": "A <report> & more"},
    }
    return parse(values, "tests")


def write_project(root):
    paths = made_up.write_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyze, "gallery", lambda *_: [])
        analyze.run(parameters(), paths)
    return paths


@pytest.fixture
def paths(tmp_path):
    return write_project(tmp_path)


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr("crest.pipeline.page.gallery", lambda *_: [])


@pytest.fixture
def undrawn_analysis(undrawn, monkeypatch):
    monkeypatch.setattr(analyze, "gallery", lambda *_: [])


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A whole report, with a reused model of another kind and one of full's."""
    paths = write_project(tmp_path_factory.mktemp("project"))
    for model in ("resnet20", "convnet"):
        made_up.write_reuse(paths, model)
    summary = report.run(parameters(["resnet20", "convnet"]), paths)
    return summary, paths.report


class Page(HTMLParser):
    """Elements, attributes and text of a page; the terms and passages of its lists on their own."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.text = ""
        self.lists = {"dt": [], "dd": []}
        self.into = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in self.lists:
            self.into = self.lists[tag]
            self.into.append("")

    def handle_endtag(self, tag):
        if tag in self.lists:
            self.into = None

    def handle_data(self, data):
        self.text += data
        if self.into is not None:
            self.into[-1] += data


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


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("train/crest", r"cli\.py train --method crest"),
        ("evaluate/crest", r"cli\.py evaluate --method crest"),
        ("analyze", r"cli\.py analyze"),
    ],
)
def test_a_missing_input_names_the_command_and_leaves_the_earlier_report(paths, folder, message):
    report.run(parameters(), paths)
    before = (paths.report / "report.html").read_bytes()
    (paths.root / "artifacts" / folder).rename(paths.root / "moved")
    with pytest.raises(ArtifactError, match=message):
        report.run(parameters(), paths)
    assert (paths.report / "report.html").read_bytes() == before


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": None}, "'accuracy' must be a number"),
        ({"accuracy": True}, "'accuracy' must be a number"),
        ({"loss": "low"}, "'loss' must be a number, it is 'low'"),
    ],
)
def test_damaged_metrics_are_one_message(paths, changes, message):
    path = paths.evaluate("crest") / "metrics.json"
    artifacts.write_json(path, artifacts.read_json(path) | changes)
    with pytest.raises(ArtifactError, match=message):
        report.run(parameters(), paths)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged JSON"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn")
def test_a_run_or_an_analysis_of_other_data_is_refused(paths):
    for folder in (paths.train("random"), paths.evaluate("crest"), paths.analyze):
        found = manifest.read(folder, "again")
        manifest.seal(folder, found.runs, "other")
        with pytest.raises(ArtifactError, match=f"{folder}: of other data than data/prepared"):
            report.run(parameters(), paths)
        manifest.seal(folder, found.runs, found.data)
    path = paths.analyze / "difficulty.parquet"
    artifacts.write_table(path, artifacts.read_table(path).head(5))
    made_up.sealed_again(paths.analyze)
    with pytest.raises(ArtifactError, match="of 5 examples, prepared are 40"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn_analysis")
def test_a_run_trained_anew_is_never_beside_the_evaluation_of_an_earlier_one(paths):
    manifest.seal(paths.train("crest"), {"crest": "a new run"}, "abc")
    with pytest.raises(
        ArtifactError,
        match=r"evaluate/crest: of another run than .*train/crest holds now; .*evaluate --method",
    ):
        report.run(parameters(), paths)
    manifest.seal(paths.evaluate("crest"), {"crest": "a new run"}, "abc")
    with pytest.raises(
        ArtifactError,
        match=r"artifacts/analyze: of another run than .*train/crest holds now; .*cli\.py analyze",
    ):
        report.run(parameters(), paths)
    analyze.run(parameters(), paths)
    assert len(report.run(parameters(), paths)) == 3


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("train/crest", "metrics.json"),
        ("train/crest", "run.json"),
        ("evaluate/crest", "metrics.json"),
    ],
)
def test_a_file_of_another_method_is_refused(paths, folder, name):
    theirs = paths.root / "artifacts" / folder.replace("crest", "random") / name
    ours = paths.root / "artifacts" / folder / name
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(ArtifactError, match=f"{folder}/{name}: not as it was written"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn")
def test_folders_that_changed_places_are_refused(paths):
    for stage in (paths.train, paths.evaluate):
        crest, random, aside = stage("crest"), stage("random"), paths.root / "aside"
        for old, new in ((crest, aside), (random, crest), (aside, random)):
            old.rename(new)
        with pytest.raises(ArtifactError, match="crest: of random, not of crest; make it"):
            report.run(parameters(), paths)
        for old, new in ((random, aside), (crest, random), (aside, crest)):
            old.rename(new)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("folder", ["train/crest", "evaluate/crest", "analyze"])
def test_results_that_do_not_say_which_run_they_are_of_are_refused(paths, folder):
    (paths.root / "artifacts" / folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"manifest\.json: no such file, .* cli\.py"):
        report.run(parameters(), paths)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["curves", "class_balance", "selected_by_score"])
def test_tables_of_the_analysis_that_were_cut_short_are_refused(paths, name):
    path = paths.analyze / f"{name}.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-3]) + "\n")
    with pytest.raises(ArtifactError, match=rf"{name}\.csv: not as it was written: cut short"):
        report.run(parameters(), paths)


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
def test_a_reused_model_under_another_name_is_refused(paths):
    made_up.write_reuse(paths, "resnet20")
    paths.reuse("resnet20").rename(paths.reuse("resnet18"))
    with pytest.raises(ArtifactError, match=r"resnet18: holds 'resnet20', not resnet18; .*reuse"):
        report.run(parameters(["resnet18"]), paths)


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


HOSTILE = {
    19: "<script>alert(1)</script>&\"'",
    39: "</dd></article><img src=x onerror=alert(1)> {{ 7 * 7 }} {% raw %} &lt; <!-- ]]>",
    34: "\u202eright to left\u202c\u0000\u0007\x1b[31m\r\nnext line \U0001f469\u200d\U0001f52c",
    6: "",
    13: "x" * 1000,
    20: "y" * 400,
}


def text_project(root, **columns):
    """A report of text; its training examples are those of ``columns``."""
    paths = made_up.write_project(root)
    made_up.turn_into_text(paths.prepared, **columns)
    analyze.run(parameters(), paths)
    return paths


def sentences(name, other=None):
    texts = made_up.sentences(name)
    for index, text in (other or {}).items():
        texts[index] = text
    return texts


def read_page(paths):
    report.run(parameters(), paths)
    return Page((paths.report / "report.html").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("undrawn_analysis")
def test_text_is_shown_as_labelled_lines(tmp_path):
    columns = {"premise": sentences("premise"), "a <b>claim</b>": sentences("claim")}
    page = read_page(text_project(tmp_path, **columns))
    assert "img" not in {tag for tag, _ in page.elements}
    assert page.lists["dt"][:2] == ["premise", "a <b>claim</b>"]
    assert page.lists["dd"][:4] == [
        "premise of example 34", "claim of example 34", "premise of example 27",
        "claim of example 27",
    ]  # fmt: skip
    text = " ".join(page.text.split())
    for title in (
        "Hardest",
        "Likely mislabelled",
        "Most selected",
        "Never selected",
        "Excluded early",
    ):
        assert title in text
    said = "taken for zero, never right, right 0 of 6, loss 36.50, EL2N 0.47, selected 1× premise"
    assert f"three #19 {said}" in text
    assert "The number is the example's row in the prepared training set." in text


@pytest.mark.usefixtures("undrawn_analysis")
def test_text_stays_text_whatever_it_holds(tmp_path):
    plain = read_page(text_project(tmp_path / "plain", text=sentences("text")))
    page = read_page(text_project(tmp_path / "hostile", text=sentences("text", HOSTILE)))
    kinds = [tag for tag, _ in page.elements if tag != "span"]
    assert kinds == [tag for tag, _ in plain.elements if tag != "span"]
    assert HOSTILE[19] in page.lists["dd"]
    assert HOSTILE[39] in page.lists["dd"]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    html = (tmp_path / "hostile/artifacts/report/report.html").read_text(encoding="utf-8")
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", html)
    assert "\ufffd\ufffd\ufffd[31m" in html
    assert "\U0001f469\u200d\U0001f52c" in html
    definitions = [attributes for tag, attributes in page.elements if tag == "dd"]
    assert definitions
    assert all(attributes == {"dir": "auto"} for attributes in definitions)


@pytest.mark.usefixtures("undrawn_analysis")
def test_long_texts_are_cut_and_empty_ones_said(tmp_path):
    page = read_page(text_project(tmp_path, text=sentences("text", HOSTILE)))
    assert "x" * 400 + "… (1,000 characters in all)" in page.lists["dd"]
    assert "x" * 401 not in page.text
    assert "y" * 400 in page.lists["dd"]
    assert "empty" in page.lists["dd"]


@pytest.mark.usefixtures("undrawn_analysis")
def test_a_page_of_long_texts_stays_small(tmp_path):
    paths = text_project(tmp_path, text=["&" * 100_000] * made_up.EXAMPLES)
    report.run(parameters(), paths)
    assert (paths.report / "report.html").stat().st_size < 500_000


@pytest.mark.usefixtures("undrawn_analysis")
@pytest.mark.parametrize("columns", [["row"], ["index", "label"]])
def test_text_columns_may_be_called_anything(tmp_path, columns):
    page = read_page(text_project(tmp_path, **{name: sentences(name) for name in columns}))
    assert page.lists["dt"][: len(columns)] == columns
    assert page.lists["dd"][0] == f"{columns[0]} of example 34"


def damage_texts(path, how):
    if how == "absent":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "with another bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    elif how == "of other data":
        pl.DataFrame({"text": ["one"]}).write_parquet(path)
    elif how == "without its column":
        pl.DataFrame({"texts": sentences("text")}).write_parquet(path)
    elif how == "of another type":
        pl.DataFrame({"text": range(made_up.EXAMPLES)}).write_parquet(path)
    else:
        pl.DataFrame({"text": [None, *sentences("text")[1:]]}).write_parquet(path)


@pytest.mark.usefixtures("undrawn_analysis")
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("absent", "no such file"),
        ("cut off", "damaged"),
        ("with another bit", "other than when it was written"),
        ("of other data", r"1 rows, meta\.json says 40"),
        ("without its column", "column 'text' is missing"),
        ("of another type", "column 'text' is Int64, it must be String"),
        ("with a null", "row 0 lacks a text"),
    ],
)
def test_damaged_texts_are_one_message_and_leave_the_earlier_report(tmp_path, how, message):
    paths = text_project(tmp_path, text=sentences("text"))
    report.run(parameters(), paths)
    before = (paths.report / "report.html").read_bytes()
    path = paths.prepared / "train_texts.parquet"
    damage_texts(path, how)
    if how.startswith(("of", "without", "with a null")):  # and described as what it is now
        meta = read_meta(paths.prepared)
        hashes = {"train": file_hash(path), "test": meta.text_hashes["test"]}
        write_meta(paths.prepared, replace(meta, text_hashes=hashes))
    with pytest.raises(ArtifactError, match=rf"train_texts.*{message}.*cli\.py prepare"):
        report.run(parameters(), paths)
    assert (paths.report / "report.html").read_bytes() == before


def test_images_that_are_gone_are_one_message(paths, undrawn):
    (paths.prepared / "train_images.npy").unlink()
    with pytest.raises(ArtifactError, match="train_images"):
        report.run(parameters(), paths)
    np.save(paths.prepared / "train_images.npy", np.zeros((3, 8, 8, 1), np.uint8))
    with pytest.raises(ArtifactError, match="train_images"):
        report.run(parameters(), paths)
