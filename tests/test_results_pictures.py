"""The pictures of docs/results/: what they show is of the rows, and a page shows each."""

import importlib
import re
import sys
from pathlib import Path
from statistics import fmean

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = [ROOT / "docs" / "results.md", *RESULTS.glob("*.md")]
MOST_BYTES = 40_000


@pytest.fixture(scope="module")
def pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        yield importlib.import_module("results_pictures")
        sys.modules.pop("results_pictures", None)


def runs_of(part):
    if hasattr(part, "runs"):
        return [(part.file, run) for run in part.runs.values()]
    return [(part.file, run) for runs in part.settings.values() for run in runs.values()]


def test_every_run_of_a_picture_is_in_the_rows(pictures):
    wanted = [
        run for parts in pictures.PICTURES.values() for part in parts for run in runs_of(part)
    ]
    gains = {run: pictures.gain(*run) for run in wanted}
    assert all(gain.seeds for gain in gains.values())


def test_a_gain_is_what_the_table_prints(pictures):
    found = pictures.gain("cifar10-resnet20", "focused stratified until 0.85 5%")
    assert f"{found.mean:+.2f} ± {found.error:.2f}" == "+1.51 ± 0.15"
    later = pictures.gain("methods-cifar10", "random at published's time")
    assert f"{later.mean:+.2f} ± {later.error:.2f}" == "+12.85 ± 0.67"
    one = pictures.gain("tuning-cifar10", "crest with focus lr 0.1 decay 5e-4")
    assert (len(one.seeds), one.error, round(one.mean, 2)) == (1, None, 2.17)


def test_seconds_of_random_in_another_runs_time_are_over_plain_randoms(pictures):
    group = pictures.group_of("methods-cifar10", "random at published's time")
    plain = pictures.group_of("methods-cifar10", "random")
    own = [row["cpu_seconds"] for row in group.rows]
    assert pictures.seconds_over_random("methods-cifar10", group) == pytest.approx(
        fmean(own) / fmean(row["cpu_seconds"] for row in plain.rows)
    )


def test_every_picture_is_small_and_shown_on_a_page(pictures):
    shown = {
        Path(link).name
        for page in PAGES
        for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text("utf-8"))
    }
    kept = {f"{name}.png" for name in pictures.PICTURES}
    assert kept <= shown
    assert {name: (RESULTS / name).stat().st_size <= MOST_BYTES for name in kept} == dict.fromkeys(
        kept, True
    )


def test_a_picture_is_drawn(pictures, tmp_path):
    figure = pictures.draw(pictures.PICTURES["tinyimagenet-resnet18"])
    figure.savefig(tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
