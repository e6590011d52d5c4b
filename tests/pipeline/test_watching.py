"""What a run says of itself where nobody sits at a terminal."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from crest.pipeline.watching import APART, Lines, in_words, watched
from crest.training.loop import Point

POINT = Point(300, 1200, 65.0, 0.18034, 1.23456, 0.6127, 9600, 1.5, 0.5813)


def test_a_point_in_words_says_how_far_how_well_and_how_long() -> None:
    assert in_words(POINT) == (
        "step 300 of 1,200, loss 1.235, accuracy 61.3%, validation loss 1.500, accuracy 58.1%, "
        "lr 0.18, 0:01:05, 0:03:15 left"
    )
    alone = replace(POINT, validation_loss=None, validation_accuracy=None)
    assert "validation" not in in_words(alone)


def written(times: list[float], steps: list[int]) -> list[int]:
    """The steps of the lines that are said, of points at some times."""
    clock, lines = iter([0.0, *times]), []
    report = Lines("train", lines.append, lambda: next(clock))
    for step in steps:
        report(replace(POINT, step=step, steps=100))
    return [int(re.search(r"step (\d+)", line)[1]) for line in lines]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1, 2, 3, 4], []),  # a run of seconds
        ([APART, APART + 1, 3 * APART, 3 * APART + 1], [25, 75, 100]),
        ([1, 2, APART + 3, APART + 4], [75, 100]),
        ([1, 2, 3, APART], [100]),
    ],
)
def test_lines_are_some_seconds_apart_and_the_end_is_said_after_others(times, expected) -> None:
    assert written(times, [25, 50, 75, 100]) == expected


def test_off_a_terminal_lines_go_to_stderr(capsys, monkeypatch) -> None:
    monkeypatch.setattr("crest.pipeline.watching.APART", 0.0)
    with watched("train focused", 1200) as watcher:
        watcher.advance(300)
        watcher.report(POINT)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d train focused: step 300 of .* left\n", err)
    with watched("train focused", 1200, visible=False) as watcher:
        watcher.report(POINT)
    assert capsys.readouterr().err == ""


def test_at_a_terminal_there_is_a_bar(capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with watched("train focused", 1200) as watcher:
        watcher.advance(300)
        watcher.report(POINT)
    err = capsys.readouterr().err
    assert "300/1200" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)
    assert "loss 1.235, validation 58.1%" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_line_that_cannot_be_written_stops_no_run(monkeypatch) -> None:
    monkeypatch.setattr("crest.pipeline.watching.APART", 0.0)
    full = Path("/dev/full").open("w")  # noqa: SIM115, closing it raises
    monkeypatch.setattr("sys.stderr", full)
    with watched("train", 1200) as watcher:
        watcher.report(POINT)
        watcher.report(POINT)
    with suppress(OSError):
        full.close()
