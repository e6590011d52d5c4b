"""The tracker against a plain loop, the tables against cases counted by hand."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crest.analysis.difficulty import (
    class_balance,
    difficulty_table,
    hardest,
    mislabelled,
    notable,
    overall_score,
    score_by_window,
    scores,
    seen_by_loss,
    selected_by_score,
    times_forgotten,
)
from crest.artifacts import TABLES, read_table, write_table
from crest.samplers.example_tracker import ExampleTracker, error_norms

COUNT = 6
EARLY_STEPS = 3
sighting = st.tuples(st.integers(0, COUNT - 1), st.booleans(), st.integers(0, 64))
batches = st.lists(st.lists(sighting, max_size=8), max_size=6)


def track(tracker, history, first_step=0):
    for step, batch in enumerate(history, start=first_step):
        indices, correct, losses = (
            (list(column) for column in zip(*batch, strict=True)) if batch else ([],) * 3
        )
        tracker.record(
            torch.tensor(indices, dtype=torch.int64),
            torch.tensor(correct, dtype=torch.bool),
            torch.tensor(losses, dtype=torch.float32) / 64,
            step,
        )
        if step < EARLY_STEPS:
            tracker.record_errors(
                torch.tensor(indices, dtype=torch.int64),
                torch.tensor(losses, dtype=torch.float32) / 32,
            )
    return tracker


def counted_one_by_one(history):
    rows = [[0, 0, 0, -1, 0.0] for _ in range(COUNT)]
    was_right = [False] * COUNT
    for step, batch in enumerate(history):
        for index, right, loss in batch:
            row = rows[index]
            row[0] += 1
            row[1] += right
            row[2] += was_right[index] and not right
            if right and row[3] == -1:
                row[3] = step
            row[4] += loss / 64
            was_right[index] = right
    return rows


def early_means_one_by_one(history):
    seen = [[] for _ in range(COUNT)]
    for batch in history[:EARLY_STEPS]:
        for index, _, loss in batch:
            seen[index].append(loss / 32)
    return [sum(values) / len(values) if values else None for values in seen]


@settings(deadline=None)
@given(batches)
def test_tracker_counts_as_a_plain_loop_does(history):
    frame = track(ExampleTracker(COUNT), history).frame(torch.arange(COUNT), "training")
    columns = ["seen", "correct", "forgotten", "first_learned", "loss_sum"]
    assert [list(row) for row in frame.select(columns).rows()] == counted_one_by_one(history)
    assert frame["el2n"].to_list() == early_means_one_by_one(history)


def test_error_norms_are_those_of_softmax_minus_one_hot():
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0], [math.log(3.0), 0.0]])
    norms = error_norms(logits, torch.tensor([0, 0, 1]))
    assert norms.tolist() == pytest.approx([0.5**0.5, 2**0.5 / 4, 2**0.5 * 3 / 4])


@settings(deadline=None, max_examples=25)
@given(batches, st.integers(0, 6))
def test_tracker_goes_on_from_its_state_as_if_never_stopped(history, stop):
    whole = track(ExampleTracker(COUNT), history).state_dict()
    resumed = ExampleTracker(COUNT)
    resumed.load_state_dict(track(ExampleTracker(COUNT), history[:stop]).state_dict())
    track(resumed, history[stop:], first_step=min(stop, len(history)))
    state = resumed.state_dict()
    assert state.keys() == whole.keys()
    assert all(torch.equal(state[name], whole[name]) for name in whole)


def test_frame_is_a_copy():
    tracker, excluded_at = ExampleTracker(2), torch.tensor([-1, -1], dtype=torch.int32)
    frame = tracker.frame(torch.zeros(2, dtype=torch.int64), "training", excluded_at)
    before = frame.rows()
    track(tracker, [[(0, True, 1)], [(0, False, 2)]])
    excluded_at.fill_(3)
    assert frame.rows() == before


@settings(deadline=None, max_examples=25)
@given(batches)
def test_sightings_counted_at_once_or_one_batch_after_another_are_the_same(history):
    alone, together = ExampleTracker(COUNT), ExampleTracker(COUNT)
    for step, batch in enumerate(history):
        track(alone, [batch], step).state_dict()  # which counts what waits
    entries = [[*entry, step] for step, batch in enumerate(history) for entry in batch]
    indices, correct, losses, steps = torch.tensor(entries, dtype=torch.int64).view(-1, 4).T
    together.record(indices, correct.bool(), losses / 64, steps.int())
    for name in ("seen", "correct", "forgotten", "first_learned", "loss_sum", "was_right"):
        assert torch.equal(alone.state_dict()[name], together.state_dict()[name]), name


@settings(deadline=None, max_examples=25)
@given(batches)
def test_a_tracker_of_no_errors_counts_the_rest_the_same(history):
    plain, without = ExampleTracker(COUNT), ExampleTracker(COUNT, errors=False)
    for step, batch in enumerate(history):
        for index, right, loss in batch:
            for tracker in (plain, without):
                tracker.record(
                    torch.tensor([index]), torch.tensor([right]), torch.tensor([float(loss)]), step
                )
    labels = torch.arange(COUNT)
    found = without.frame(labels, "selection")
    assert found["taken_for"].null_count() == COUNT
    rest = plain.frame(labels, "selection").drop("taken_for")
    assert found.drop("taken_for").equals(rest)


def voted_one_by_one(votes):
    """The candidate of Boyer and Moore, of two that are level the later."""
    taken, lead = [-1] * COUNT, [0] * COUNT
    for index, named in votes:
        if named == taken[index]:
            lead[index] += 1
        elif lead[index] <= 1:
            taken[index], lead[index] = named, 1
        else:
            lead[index] -= 1
    return taken


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, 3)), max_size=40), st.data())
def test_the_class_taken_for_is_voted_for_as_a_plain_loop_does(votes, data):
    whole, parts = ExampleTracker(COUNT), ExampleTracker(COUNT)
    cut = data.draw(st.integers(0, len(votes)))
    for tracker, stretches in ((whole, [votes]), (parts, [votes[:cut], votes[cut:]])):
        for stretch in stretches:
            columns = torch.tensor(stretch, dtype=torch.int64).reshape(-1, 2).T
            tracker.record_wrong(*columns)
        frame = tracker.frame(torch.arange(COUNT), "training")
        assert frame["taken_for"].to_list() == voted_one_by_one(votes)


def test_a_majority_of_wrong_classifications_is_found_whatever_their_order():
    votes = [1, 2, 2, 3, 2, 1, 2, 2]  # five of eight
    for order in range(20):
        torch.manual_seed(order)
        tracker = ExampleTracker(1)
        shuffled = torch.tensor(votes)[torch.randperm(len(votes))]
        tracker.record_wrong(torch.zeros(len(votes), dtype=torch.int64), shuffled)
        assert tracker.frame(torch.tensor([0]), "training")["taken_for"].item() == 2


def test_a_tracker_of_no_errors_refuses_them():
    with pytest.raises(ValueError, match="no errors"):
        ExampleTracker(2, errors=False).record_errors(torch.tensor([0]), torch.ones(1))
    with pytest.raises(ValueError, match="no votes"):
        ExampleTracker(2, errors=False).record_wrong(torch.tensor([0]), torch.tensor([1]))


def test_a_tracker_of_votes_alone_keeps_them_as_one_of_errors_does():
    frames = []
    for tracker in (ExampleTracker(2), ExampleTracker(2, errors=False, votes=True)):
        tracker.record_wrong(torch.tensor([0, 0, 1]), torch.tensor([3, 3, 2]))
        frames.append(tracker.frame(torch.tensor([0, 0]), "training"))
    assert frames[1]["taken_for"].to_list() == [3, 2]
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("state", [{}, ExampleTracker(3).state_dict()])
def test_state_of_something_else_is_refused_whole(state):
    tracker = track(ExampleTracker(2), [[(0, True, 1)]])
    with pytest.raises(ValueError, match="seen"):
        tracker.load_state_dict(state)
    assert tracker.state_dict()["seen"].tolist() == [1, 0]


def test_tracker_refuses_an_index_out_of_range():
    with pytest.raises(IndexError):
        track(ExampleTracker(2), [[(2, True, 1)]])


def test_frame_is_an_examples_table(tmp_path):
    tracker = track(ExampleTracker(3), [[(1, True, 64), (1, False, 32)]])
    frame = tracker.frame(torch.tensor([7, 8, 9]), "selection", torch.tensor([-1, 4, -1]))
    write_table(tmp_path / "examples.parquet", frame)
    read = read_table(tmp_path / "examples.parquet")
    assert read.row(1, named=True) == {
        "pass": "selection", "index": 1, "label": 8, "seen": 2, "correct": 1, "forgotten": 1,
        "first_learned": 0, "loss_sum": 1.5, "el2n": 1.5, "taken_for": -1,
        "label_probability": None, "control_probability": None, "excluded_at": 4,
    }  # fmt: skip


def examples(seen, forgotten, first_learned, excluded_at=None, labels=None, kind="training"):
    count = len(seen)
    values = {
        "pass": [kind] * count,
        "index": list(range(count)),
        "label": labels or [0] * count,
        "seen": seen,
        "correct": [0] * count,
        "forgotten": forgotten,
        "first_learned": first_learned,
        "loss_sum": [0.5 * times for times in seen],
        "el2n": [0.1 * times if times else None for times in seen],
        "taken_for": [index % 2 - 1 for index in range(count)],
        "label_probability": [None] * count,
        "control_probability": [None] * count,
        "excluded_at": excluded_at or [-1] * count,
    }
    return pl.DataFrame(values, schema=dict(TABLES["examples"]))


def picks(minibatches):
    """Coresets from {(region, minibatch): [(index, label, weight), ...]}."""
    rows = [
        (region, minibatch, position, index, label, weight, 0.0)
        for (region, minibatch), chosen in minibatches.items()
        for position, (index, label, weight) in enumerate(chosen)
    ]
    return pl.DataFrame(rows, schema=dict(TABLES["coresets"]), orient="row")


SCORING = examples(seen=[9, 9, 9, 0], forgotten=[0, 4, 0, 0], first_learned=[3, 5, -1, -1])
# As SCORING, but example 2, which is never right, has a high loss too.
ONE_WRONG = SCORING.with_columns(loss_sum=pl.Series([4.5, 4.5, 36.0, 0.0]))
CORESETS = picks({(0, 0): [(0, 0, 1.0), (1, 0, 1.0)], (0, 1): [(1, 0, 1.0), (1, 0, 1.0)]})


def test_difficulty_table_joins_the_scores_with_what_was_done():
    mine = examples([1, 5, 0, 2], [0] * 4, [0] * 4)
    left = [8, -1, -1, -1]
    scored = examples([99] * 4, [9] * 4, [0] * 4, excluded_at=left, kind="selection")
    table = difficulty_table(pl.concat([scored, SCORING]), CORESETS, pl.concat([mine, scored]))
    assert table.schema == TABLES["difficulty"]
    assert table["forgotten"].to_list() == [0, 4, 0, 0]
    assert table["mean_loss"].to_list() == [0.5, 0.5, 0.5, None]
    assert table["el2n"].to_list() == [0.9, 0.9, 0.9, None]
    assert table["selected"].to_list() == [1, 3, 0, 0]
    assert table["trained"].to_list() == [1, 5, 0, 2]
    assert table["excluded_at"].to_list() == [8, -1, -1, -1]


@pytest.mark.parametrize(("once", "known"), [(400, False), (40, False), (5, True), (0, True)])
def test_of_less_than_two_passes_no_label_is_called_wrong(once, known):
    """Two passes of whole mini-batches may leave out some examples once."""
    visits = np.repeat([1, 2], [once, 400 - once])
    generator = np.random.default_rng(0)
    table = examples(visits.tolist(), [0] * 400, [0] * 400).with_columns(
        loss_sum=pl.Series(visits * generator.random(400), dtype=pl.Float64),
        label_probability=pl.Series(generator.random(400) / 2, dtype=pl.Float32),
        control_probability=pl.Series(generator.random(400) / 2, dtype=pl.Float32),
    )
    assert difficulty_table(table)["wrong_label"].is_not_null().any() == known


def test_difficulty_table_without_a_selecting_run_counts_nothing():
    table = difficulty_table(SCORING)
    assert table.schema == TABLES["difficulty"]
    assert table.select("selected", "trained").sum().row(0) == (0, 0)
    assert table["excluded_at"].to_list() == [-1] * 4


def test_score_by_window_follows_the_mini_batches_of_the_steps():
    schema = dict(TABLES["steps"])
    values = [[0, 1, 2, 3], [0] * 4, [0, 0, 1, 0], *[[0] * 4] * 5]
    steps = pl.DataFrame(dict(zip(schema, values, strict=True)), schema=schema)
    windows = score_by_window(difficulty_table(SCORING), steps, CORESETS, windows=2)
    # Mini-batch 0 has the scores 0 and 4, mini-batch 1 has 4 and 4.
    assert windows.rows() == [(2, 2.0), (4, 3.0)]
    every_step = score_by_window(difficulty_table(SCORING), steps, CORESETS, windows=50)
    assert every_step["score"].to_list() == [2.0, 2.0, 4.0, 2.0]


def test_overall_score_weighs_examples_by_how_often_they_were_trained_on():
    table = difficulty_table(SCORING)
    assert overall_score(table, examples([1, 3, 0, 5], [0] * 4, [0] * 4)) == 3.0
    assert overall_score(table, examples([0, 0, 0, 5], [0] * 4, [0] * 4)) is None


def test_what_was_never_right_has_no_score():
    assert scores(difficulty_table(SCORING))["score"].to_list() == [0.0, 4.0, None, None]


def test_selected_by_score_keeps_the_never_learned_apart():
    table = selected_by_score(difficulty_table(SCORING, CORESETS))
    assert table.select("score", "group", "examples", "selected").rows() == [
        (0, "0", 1, 1.0),
        (4, "4", 1, 3.0),
        (None, "never learned", 1, 0.0),
    ]


def test_selected_by_score_groups_wide_ranges():
    scoring = examples([9] * 40, list(range(40)), [0] * 40)
    table = selected_by_score(difficulty_table(scoring), groups=20)
    assert table["group"].to_list()[:2] == ["0–1", "2–3"]
    assert table["examples"].to_list() == [2] * 20


def test_class_balance_compares_picks_and_weights_with_the_data():
    regions = pl.DataFrame(
        {"region": [0, 1], "start_step": [0, 5]},
        schema={"region": pl.Int32, "start_step": pl.Int32},
    )
    coresets = picks(
        {(0, 0): [(0, 0, 0.5), (1, 1, 1.5)], (1, 0): [(0, 0, 1.0)], (1, 1): [(0, 0, 1.0)]}
    )
    labels = pl.DataFrame({"label": [0, 0, 0, 1]})
    balance = class_balance(coresets, regions, labels)
    assert balance.rows() == [
        (0, 0, 0, 0.5, 0.25, 0.75),
        (0, 0, 1, 0.5, 0.75, 0.25),
        (1, 5, 0, 1.0, 1.0, 0.75),
        (1, 5, 1, 0.0, 0.0, 0.25),
    ]
    together = class_balance(coresets, regions, labels, windows=1)
    assert together["share"].to_list() == [0.75, 0.25]


def test_hardest_are_the_most_forgotten_without_the_unseen():
    assert hardest(difficulty_table(ONE_WRONG))["index"].to_list() == [1, 2, 0]
    once = examples(seen=[9, 9, 2], forgotten=[0, 2, 0], first_learned=[3, 5, -1])
    assert hardest(difficulty_table(once))["index"].to_list() == [1, 0, 2]


def test_where_nobody_knows_what_was_forgotten_nothing_is_hardest():
    unknown = SCORING.with_columns(
        pl.lit(None, pl.Int32).alias(name) for name in ("forgotten", "correct", "first_learned")
    )
    table = difficulty_table(unknown)
    assert [group.name for group in notable(table)] == ["mislabelled"]
    assert times_forgotten(table).is_empty()
    assert scores(table)["score"].null_count() == len(table)


def test_times_forgotten_are_counted_and_the_rest_taken_together():
    seen, never = [9] * 8 + [0, 9], [1] * 9 + [-1]
    scoring = examples(seen, [0, 0, 0, 1, 3, 3, 9, 4, 0, 0], never)
    assert times_forgotten(difficulty_table(scoring), most=3).rows() == [
        ("0", 3), ("1", 1), ("2", 0), ("≥ 3", 4), ("never learned", 1),
    ]  # fmt: skip
    few = times_forgotten(difficulty_table(scoring.head(4)), most=3)
    assert few.rows() == [("0", 3), ("1", 1), ("never learned", 0)]


def test_times_seen_are_means_of_groups_of_one_size_by_loss():
    scoring = examples([1, 2, 3, 4, 0], [0] * 5, [1] * 5).with_columns(
        loss_sum=pl.Series([4.0, 6.0, 6.0, 4.0, 0.0])
    )
    found = seen_by_loss(difficulty_table(scoring), groups=2)
    assert found.rows() == [(1.5, 3.5), (3.5, 1.5)]


def test_mislabelled_ranks_whatever_was_seen_by_its_mean_loss():
    """However often it was right, and however near each other all losses are."""
    scoring = examples(
        seen=[9, 9, 9, 2, 0, 9],
        forgotten=[0, 3, 0, 0, 0, 0],
        first_learned=[-1, 40, 5, -1, -1, 1],
    ).with_columns(loss_sum=pl.Series([18.0, 27.0, 18.1, 9.0, 0.0, 17.9]))
    found = mislabelled(difficulty_table(scoring))
    assert found["index"].to_list() == [3, 1, 2, 0, 5]
    assert found["taken_for"].to_list() == [0, 0, -1, -1, 0]


def test_notable_groups_are_ordered_counted_and_cut():
    coresets = picks({(0, 0): [(0, 0, 1.0), (1, 1, 1.0), (0, 0, 1.0)]})
    table = difficulty_table(ONE_WRONG, coresets, SCORING.with_columns(excluded_at=pl.lit(5)))
    groups = {group.name: group for group in notable(table, 1, 2)}
    names = ["hardest", "mislabelled", "most_selected", "never_selected", "excluded"]
    assert list(groups) == names
    assert {name: group.count for name, group in groups.items()} == {
        "hardest": 3,
        "mislabelled": 3,
        "most_selected": 2,
        "never_selected": 2,
        "excluded": 4,
    }
    assert {name: group.rows["index"].to_list() for name, group in groups.items()} == {
        "hardest": [1],
        "mislabelled": [2, 0],
        "most_selected": [0],
        "never_selected": [2],
        "excluded": [1],
    }
    # All four left at one step, and chance takes one; of the selected the first is alone.
    ties = {name: (group.drawn, group.tied) for name, group in groups.items()}
    assert ties["excluded"] == (1, 4)
    assert {ties[name] for name in names if name != "excluded"} == {(0, 0)}


def test_chance_among_equal_examples_is_the_same_every_time_and_favours_none():
    count = 200
    scoring = examples([1] * count, [0] * count, [0] * count)
    coresets = picks({(0, 0): [(index, 0, 1.0) for index in range(count)]})
    table = difficulty_table(scoring, coresets)
    groups = {group.name: group for group in notable(table, most=50)}
    listed = groups["most_selected"].rows["index"].to_list()
    assert (
        listed
        == {g.name: g for g in notable(table, most=50)}["most_selected"].rows["index"].to_list()
    )
    assert listed == sorted(listed)
    assert 80 < sum(listed) / len(listed) < 120
    assert (groups["most_selected"].drawn, groups["most_selected"].tied) == (50, 200)


def test_notable_groups_of_none_are_left_out():
    coresets = picks({(0, 0): [(index, 0, 1.0) for index in range(4)]})
    names = [group.name for group in notable(difficulty_table(ONE_WRONG, coresets))]
    assert names == ["hardest", "mislabelled", "most_selected"]
    learned = SCORING.with_columns(first_learned=pl.lit(1, pl.Int32))
    names = [group.name for group in notable(difficulty_table(learned))]
    assert names == ["hardest", "mislabelled"]
    assert notable(difficulty_table(SCORING).clear()) == []


def test_the_never_selected_are_spread_over_the_data():
    count = 40
    scoring = examples([1] * count, [0] * count, [0] * count)
    coresets = picks({(0, 0): [(0, 0, 1.0), (1, 0, 1.0)]})
    groups = {group.name: group for group in notable(difficulty_table(scoring, coresets), most=4)}
    assert groups["never_selected"].rows["index"].to_list() == [2, 11, 21, 30]
