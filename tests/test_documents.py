"""The documents' figures: what the committed runs give, and nothing else."""

import re
from pathlib import Path

import pytest

from benchmarks.experiments import commands, tables

ROOT = Path(__file__).resolve().parents[1]
RUNS = sorted((ROOT / "docs" / "results").glob("*.jsonl"))
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
HEAD = "| " + " | ".join(tables.COLUMNS) + " |\n"


@pytest.fixture(scope="module")
def given():
    """The tables of all committed runs, by file."""
    return {path.name: tables.markdown(*commands.saved_rows(path)) for path in RUNS}


def printed_lines(text):
    """The lines of the tables of runs, without their heads, and of the notes below each."""
    tails = [tail.split("\n\n")[:2] for tail in text.split(HEAD)[1:]]
    return [line for rows, notes in tails for line in rows.splitlines()[1:] + notes.splitlines()]


def test_every_table_and_its_notes_are_what_the_runs_give(given):
    lines = {line for table in given.values() for line in table.splitlines()}
    printed = printed_lines(RESULTS)
    assert len(printed) > len(RUNS)
    assert [line for line in printed if line not in lines] == []


def test_runs_are_of_the_parameters_that_their_experiments_have(given):
    assert [name for name, text in given.items() if "Of other parameters than" in text] == []


def test_the_readme_has_its_means_from_the_results():
    means = re.findall(r"[+−]?\d+\.\d+ ± \d+\.\d+", (ROOT / "README.md").read_text("utf-8"))
    assert means
    assert [mean for mean in means if mean not in RESULTS] == []
