"""The documents' figures: what the committed runs give, and nothing else."""

import importlib
import re
import sys
from pathlib import Path

import pytest

import crest
from benchmarks.experiments import commands, tables

ROOT = Path(__file__).resolve().parents[1]
RUNS = sorted((ROOT / "docs" / "results").glob("*.jsonl"))
PRINTED = [ROOT / "docs" / "results.md", *sorted((ROOT / "docs" / "results").glob("*.md"))]
RESULTS = "\n\n".join(page.read_text(encoding="utf-8") for page in PRINTED)
FOLD = "<details>\n<summary>Seeds, machines, dates, commits</summary>\n\n"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "findings" / "README.md"]
)
HEAD = "| " + " | ".join(tables.COLUMNS) + " |\n"


@pytest.fixture(scope="module")
def given():
    """The tables of all committed runs, by file."""
    return {path.name: tables.markdown(*commands.saved_rows(path)) for path in RUNS}


def printed_lines(text):
    """The lines of the tables of runs, without their heads, and of the notes below each."""
    tails = [tail.replace(FOLD, "", 1).split("\n\n")[:2] for tail in text.split(HEAD)[1:]]
    return [line for rows, notes in tails for line in rows.splitlines()[1:] + notes.splitlines()]


def test_every_table_and_its_notes_are_what_the_runs_give(given):
    lines = {line for table in given.values() for line in table.splitlines()}
    printed = printed_lines(RESULTS)
    assert len(printed) > len(RUNS)
    assert [line for line in printed if line not in lines] == []


def test_every_table_has_its_notes_folded_below():
    heads, folds = RESULTS.count(HEAD), RESULTS.count(FOLD)
    assert heads == folds > 10
    assert all(tail.split("\n\n", 1)[1].startswith(FOLD) for tail in RESULTS.split(HEAD)[1:])


def test_runs_are_of_the_parameters_that_their_experiments_have(given):
    assert [name for name, text in given.items() if "Of other parameters than" in text] == []


@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_what_people_read_first_has_its_means_from_the_results(page):
    means = re.findall(r"[+−]?\d+\.\d+ ± \d+\.\d+", (ROOT / page).read_text("utf-8"))
    assert means
    assert [mean for mean in means if mean not in RESULTS] == []


def test_no_figure_is_of_a_script_that_was_not_kept():
    told = re.compile(r"(scripts?|rows?|profiles?)[^.]{0,60}not\s+kept", re.IGNORECASE)
    pages = [path for path in PAGES if path.name != "lab-book.md"]  # says so of one that has none
    assert {path.name for path in pages if told.search(path.read_text("utf-8"))} == set()


def test_the_page_of_the_api_has_every_public_name():
    text = (ROOT / "docs" / "api.rst").read_text("utf-8")
    named = set(re.findall(r"^\.\. auto\w+:: crest\.(\w+)$", text, re.MULTILINE))
    assert named == set(crest.__all__)
    adapters = set(re.findall(r"automodule:: crest\.integrations\.(\w+)", text))
    assert adapters == {"accelerate", "lightning", "transformers", "trl"}


def test_the_page_of_examples_has_every_script():
    text = (ROOT / "docs" / "examples.md").read_text("utf-8")
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert set(re.findall(r"\(\.\./examples/([^)]+)\)", text)) == scripts


def test_tables_of_hard_figures_are_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    tables_of = importlib.import_module("hard_figures").tables()
    sys.modules.pop("hard_figures")
    for page, rows in tables_of.items():
        text = (ROOT / "docs" / "hard-figures" / f"{page}.md").read_text(encoding="utf-8")
        assert rows
        assert [row for row in rows if row not in text.splitlines()] == []


def test_the_readme_is_read_in_a_minute():
    assert 90 <= len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def anchors(text):
    """What headings are linked to as, by GitHub's rule for those without code or links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_project_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            broken.append(link)
            continue
        known = anchors(target.read_text("utf-8")) if target.suffix == ".md" else {anchor}
        if anchor and anchor not in known:
            broken.append(link)
    assert broken == []
