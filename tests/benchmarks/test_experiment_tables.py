"""Tables and curves of experiments, against figures by hand."""

import math

import pytest

from benchmarks.experiments import (
    commands,
    curves,
    experiment,
    reaching,
    tables,
)
from benchmarks.experiments.rows import Rows
from crest.errors import ParameterError
from tests.benchmarks.short_experiments import (
    CREST,
    RANDOM,
    SHORT,
    made_up,
)

ROWS = [
    *(made_up("random", seed, value) for seed, value in enumerate((0.80, 0.82, 0.87))),
    made_up("crest", 0, 0.81, 12.0, updates=4),
    made_up("crest", 1, 0.86, 16.0, updates=6),
    made_up("crest", 2, 0.88, 15.0, updates=8),
    made_up("crest", 3, 0.85, 15.0, updates=8),
]
FULL = [
    made_up("full", seed, value, 90.0, 1000, overrides={"train.threads": 1})
    for seed, value in enumerate((0.90, 0.92))
]


def cells(rows, **options):
    """The table's cells by run and column."""
    text = tables.markdown(rows, **options)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(split[0], row, strict=True)) for row in split[2:]}


def test_a_table_against_figures_by_hand():
    figures_of = cells([*ROWS, *FULL])
    assert figures_of["crest"] == {
        "run": "crest",
        "accuracy (seeds)": "85.00 ± 2.94 (4)",  # √(26 / 3) points
        "relative error": "6.59%",  # 6 of 91
        "steps": "100",
        "examples": "3,200",
        "seconds": "15",
        "÷ random": "1.50",
        "speed-up over full": "6.00",
        "updates": "6",  # of 4, 6, 8, 8: 6.5, to the even one
        "− random": "+2.00 ± 1.00",  # 1, 4, 1: deviation √3, by √3 seeds
        "− random, equal time": "–",
    }
    assert figures_of["random"]["accuracy (seeds)"] == "83.00 ± 3.61 (3)"  # √13
    assert figures_of["random"]["÷ random"] == "1.00"
    assert figures_of["random"]["− random"] == "–"
    assert figures_of["random"]["updates"] == "–"
    assert figures_of["full"]["÷ random"] == "–"
    assert figures_of["full"]["relative error"] == "0.00%"


def lengths(name, accuracies, **settings):
    """Runs of 100, 200 and 400 steps of 1,000."""
    return [
        made_up(
            f"{name} {steps}",
            0,
            accuracy,
            steps=steps,
            overrides={"train.budget": steps / 1000, **settings},
        )
        for steps, accuracy in zip((100, 200, 400), accuracies, strict=True)
    ]


def test_the_steps_to_the_accuracy_of_random_lie_between_a_runs_lengths():
    rows = [
        *lengths("random", (0.60, 0.70, 0.80)),
        *lengths("crest", (0.62, 0.72, 0.79)),
        *lengths("greedy", (0.40, 0.50, 0.60), **{"greedy.subset_size": 64}),
        *lengths("greedy other", (0.65, 0.65, 0.90), **{"greedy.subset_size": 32})[:1],
        *lengths("sgd", (0.60, 0.70, 0.80), **{"train.horizon": "full"}),
    ]
    found = cells(rows, of_rules=True)
    shares = {name: row["steps to random's accuracy"] for name, row in found.items()}
    assert [shares[f"random {steps}"] for steps in (100, 200, 400)] == ["–"] * 3
    # Four fifths of an octave above 100 steps: 174 of 200; never: more than its 400 of 400.
    assert [shares[f"crest {steps}"] for steps in (100, 200, 400)] == ["<100%", "87%", ">100%"]
    assert [shares[f"greedy {steps}"] for steps in (100, 200, 400)] == ["400%", ">200%", ">100%"]
    assert shares["greedy other 100"] == "–"  # of one length
    assert shares["sgd 200"] == "–"  # no random has its horizon


def test_steps_to_an_accuracy_by_hand():
    points = [(400, 0.8), (100, 0.5), (200, 0.7)]
    assert reaching.steps_to(0.7, points).steps == pytest.approx(200)
    assert reaching.steps_to(0.6, points).steps == pytest.approx(100 * math.sqrt(2))
    assert reaching.steps_to(0.5, points) == reaching.Reached(100, "<")
    assert reaching.steps_to(0.81, points) == reaching.Reached(400, ">")
    dented = [(100, 0.5), (200, 0.4), (400, 0.8), (800, 0.7), (1600, 0.9)]
    assert reaching.steps_to(0.6, dented).steps == pytest.approx(200 * math.sqrt(2))


def test_what_is_scored_is_not_what_is_trained_on():
    rows = [made_up("greedy", seed, 0.8, counts={"examples_scored": 6400}) for seed in (0, 1)]
    figures_of = cells(rows, of_rules=True)["greedy"]
    assert (figures_of["backpropagated"], figures_of["scored"]) == ("3,200", "6,400")
    assert "went forward only" in tables.markdown(rows, of_rules=True)
    assert "went forward only" not in tables.markdown(rows) + tables.markdown(ROWS, of_rules=True)


def test_flop_are_those_of_training_and_choosing_where_rows_know_them():
    flop = {"train": 3_000_000_000_000, "select": 500_000_000_000}
    rows = [made_up("greedy", seed, 0.8, flop=flop) for seed in (0, 1)]
    assert cells(rows, of_rules=True)["greedy"]["TFLOP"] == "3.5"
    assert "| TFLOP |" in tables.markdown(rows, of_rules=True)
    assert "TFLOP" not in tables.markdown(ROWS, of_rules=True) + tables.markdown(rows)


def test_a_run_that_is_named_is_beside_all_others():
    rows = [*ROWS, *lengths("crest other", (0.5, 0.6, 0.7))]
    found = {name: row["− crest"] for name, row in cells(rows, beside="crest").items()}
    assert found["random"] == "−2.00 ± 1.00"
    assert found["crest"] == "–"
    assert found["crest other 100"] == "−31.00"  # another budget
    with pytest.raises(ParameterError, match="--beside: 'other' is not one of random, crest"):
        tables.markdown(rows, beside="other")


def test_seconds_compare_on_one_machine_only():
    slow = {"threads": 1, "cores": 2, "cpu": "slow processor", "python": "3.11"}
    rows = [
        made_up("random", 0, 0.80, 10.0),
        made_up("random", 1, 0.80, 40.0, machine=slow),
        made_up("crest", 0, 0.81, 12.0),
        made_up("crest", 1, 0.81, 44.0, machine=slow),
        made_up("crest", 2, 0.81, 52.0, machine=slow),
        made_up("large", 0, 0.81, 15.0, machine=slow | {"cpu": "a third"}),
    ]
    figures_of = cells(rows)
    assert figures_of["crest"]["seconds"] == "12 / 48"
    assert figures_of["crest"]["÷ random"] == "1.20"  # of 1.2, 1.1 and 1.3
    assert figures_of["crest"]["speed-up over full"] == "8.33\\*"
    assert figures_of["crest"]["− random"] == "+1.00 ± 0.00"
    assert figures_of["large"]["÷ random"] == figures_of["large"]["speed-up over full"] == "–"
    text = tables.markdown(rows)
    assert "given apart, in the machines' order below" in text
    assert text.index("2 runs on 1 of 2 cores of some") < text.index(
        "3 runs on 1 of 2 cores of slow"
    )
    assert "given apart" not in tables.markdown(ROWS)
    with pytest.raises(ParameterError, match="different machines"):
        curves.draw(tables.grouped(rows, None), "seconds")
    curves.draw(tables.grouped(rows, None), "step")


def test_where_full_was_not_run_its_speed_is_computed_and_says_so():
    figures_of = cells(ROWS)
    assert figures_of["crest"]["relative error"] == "–"
    assert figures_of["crest"]["speed-up over full"] == "6.67\\*"  # 1000 steps of 0.1 s over 15 s
    assert "computed: full training was not run" in tables.markdown(ROWS)
    assert "computed" not in tables.markdown([*ROWS, *FULL])


def test_full_training_on_other_threads_is_compared_by_accuracy_and_not_by_seconds():
    two = {"threads": 2, "cores": 2, "cpu": "some processor", "python": "3.11"}
    full = made_up("full", 0, 0.90, 50.0, 1000, overrides={"train.threads": 2}, machine=two)
    figures_of = cells([*ROWS, full])
    assert figures_of["crest"]["relative error"] == "5.56%"  # 5 of 90
    assert figures_of["crest"]["speed-up over full"] == "6.67\\*"
    assert figures_of["full"]["seconds"] == "100 (wall)"
    assert figures_of["full"]["speed-up over full"] == "1.00"
    assert "not run on the same machine and threads" in tables.markdown([*ROWS, full])


def test_a_stated_reference_stands_for_full_training_and_is_marked():
    given = experiment.Experiment("made-up", "Made up.", 0.90, ())
    text = tables.markdown(ROWS, given)
    assert "| 5.56% |" in text  # 5 of 90
    assert "against an accuracy of 90.00% from elsewhere" in text


def test_one_seed_has_no_deviation():
    figures_of = cells([ROWS[0], ROWS[3]])
    assert figures_of["crest"]["accuracy (seeds)"] == "81.00 (1)"
    assert figures_of["crest"]["− random"] == "+1.00"


def test_runs_without_a_common_seed_are_not_compared():
    assert cells([ROWS[0], ROWS[4]])["crest"]["− random"] == "–"


def test_random_is_that_of_the_same_model_data_budget_and_clock():
    other = {"overrides": {"train.budget": 0.2, "train.threads": 1}}
    rows = [
        *ROWS[:3],
        made_up("crest a", 0, 0.7, model="resnet18"),
        made_up("crest b", 0, 0.7, **other),
        made_up("crest c", 0, 0.7, data={"varied": {"repeated": 5}}),
        made_up("crest d", 0, 0.7, device="cuda"),
        made_up("crest e", 0, 0.7),
    ]
    figures_of = cells(rows)
    differences = [figures_of[f"crest {letter}"]["− random"] for letter in "abcde"]
    assert differences == ["–", "–", "–", "−10.00", "−10.00"]
    assert [figures_of[f"crest {letter}"]["÷ random"] for letter in "de"] == ["–", "1.00"]
    assert figures_of["crest d"]["seconds"] == "20 (wall)"


def test_random_in_the_time_of_a_run_is_its_rival():
    given = {"run": "crest", "steps": 150, "seconds": 15.0, "seconds_per_step": 0.1}
    given |= {"clock": "cpu_seconds", "runs": 4}
    rivals = [
        made_up("random in its time", seed, value, 15.0, 150, as_long_as=given)
        for seed, value in ((0, 0.83), (1, 0.86))
    ]
    figures_of = cells([*ROWS, *rivals])
    assert figures_of["crest"]["− random, equal time"] == "−1.00 ± 1.00"
    assert figures_of["crest"]["− random"] == "+2.00 ± 1.00"
    assert figures_of["random in its time"]["− random"] == "+3.50 ± 0.50"
    assert "150 steps fit into 15 processor seconds, the mean of 4 runs" in tables.markdown(
        [*ROWS, *rivals]
    )


def test_the_table_of_an_experiment_is_in_its_order_and_names_what_is_stale(bench, capsys):
    bench(RANDOM + CREST, "--seeds", "0")
    (bench.folder / "short.yaml").write_text(
        SHORT + CREST + RANDOM.replace("}", ", set: {train.lr: 1.0}}")
    )
    capsys.readouterr()
    assert commands.main(["table", str(bench.out)]) == 0
    figures_of = capsys.readouterr().out
    assert figures_of.startswith("ten steps\n")
    assert figures_of.index("| crest |") < figures_of.index("| random |")
    assert "Of other parameters than the experiment has now: random." in figures_of


def test_curves_are_means_over_the_seeds():
    group = tables.Group(tuple(ROWS[:3]))
    across, means, deviations = curves.averaged(group, "cpu_seconds")
    assert across == [5.0, 10.0]
    assert means == pytest.approx([41.5, 83.0])
    assert deviations == pytest.approx([math.sqrt(13) / 2, math.sqrt(13)])


def test_curves_are_drawn_as_two_pictures(tmp_path, capsys):
    rows = Rows(tmp_path / "rows.jsonl")
    for row in ROWS:
        rows.add(row)
    for suffix, head in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        out = tmp_path / f"curve{suffix}"
        assert commands.main(["curves", str(rows.path), "--out", str(out)]) == 0
        for x in ("step", "seconds"):
            assert (tmp_path / f"curve-{x}{suffix}").read_bytes().startswith(head)
    assert commands.main(["curves", str(rows.path), "--out", "curve.jpg"]) == 2
    assert "name it .png or .svg" in capsys.readouterr().err


def test_long_names_leave_room_for_the_curves(tmp_path):
    named = [{**ROWS[0], "name": f"crest with focus and the name {i} of many"} for i in range(6)]
    figure = curves.draw(tables.grouped(named, None), "step")
    curves.write(figure, tmp_path / "curve.png")
    width, height = figure.axes[0].get_position().size
    assert width > 0.7
    assert height > 0.3


def test_the_names_of_the_curves_are_within_the_picture():
    names = ("random", "crest with focus", "focus weighed back", "no focus")
    named = [{**ROWS[0], "name": name} for name in names]
    figure = curves.draw(tables.grouped(named, None), "step")
    figure.canvas.draw()
    assert figure.axes[0].get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_curves_of_different_clocks_do_not_share_a_picture():
    groups = tables.grouped([*ROWS[:3], made_up("wall", 0, 0.5, device="cuda")], None)
    with pytest.raises(ParameterError, match="different clocks"):
        curves.draw(groups, "seconds")
