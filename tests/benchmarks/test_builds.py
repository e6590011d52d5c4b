"""Programs in turns: none runs while another does, and what is compared is round by round."""

import sys
from pathlib import Path

import pytest

from benchmarks import ROOT
from benchmarks.speed.builds import _plain_loop, compare, take_turns
from crest.pipeline.paths import Paths

# Takes steps for ever, and writes the number of each where all do.
PROGRAM = """
from pathlib import Path
from benchmarks.shared.turns import Turns
turns = Turns(3, {go}, {done})
for step in range(10**6):
    with Path("steps").open("a") as file:
        file.write({name!r})
    turns.step()
"""


def test_programs_take_their_steps_in_turns_in_one_order_and_the_other(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def command(name: str):  # type: ignore[no-untyped-def]
        return lambda go, done: [
            *(sys.executable, "-c"),
            PROGRAM.format(go=go, done=done, name=name),
        ]

    taken = take_turns({name: (command(name), tmp_path) for name in "ab"}, 3)
    assert {name: len(turns) for name, turns in taken.items()} == {"a": 3, "b": 3}
    assert all(seconds > 0.0 for turns in taken.values() for seconds, _ in turns)
    assert Path(tmp_path / "steps").read_text() == "bbbaaa" + "aaabbb" + "bbbaaa" + "aaabbb"


def test_a_program_that_ends_early_is_told_of(tmp_path) -> None:
    with pytest.raises(SystemExit, match="ended early, with 3"):
        take_turns({"a": (lambda go, done: [sys.executable, "-c", "exit(3)"], tmp_path)}, 1)


def test_the_loop_by_hand_takes_turns_too(digits: Paths) -> None:
    taken = take_turns({"by hand": (_plain_loop("digits", 2), digits.root)}, 1)
    assert len(taken["by hand"]) == 1


def test_rounds_are_compared_one_with_another() -> None:
    mine, others = [(2.0, 1.0), (3.0, 1.0), (8.0, 1.0)], [(1.0, 1.0), (2.0, 1.0), (2.0, 1.0)]
    found = compare(mine, others)
    assert found["clock"] == {"median": 2.0, "low": 1.75, "high": 3.0, "of_totals": 2.6}
    assert found["processor"] == {"median": 1.0, "low": 1.0, "high": 1.0, "of_totals": 1.0}
