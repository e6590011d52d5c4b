"""What a batch sampler records of each example: against a plain count, and the pipeline's own."""

from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import crest
from crest.artifacts import NEVER, TABLES, read_table
from crest.errors import OrderError, ParameterError
from crest.samplers.example_tracker import ExampleTracker
from tests.samplers.test_loss_batches import (
    GROUPS,
    LOSSES,
    N,
    losses_of,
    outcomes_of,
    sampler,
    trained,
)

COUNTED = ["seen", "correct", "forgotten", "first_learned", "loss_sum", "taken_for", "last_loss"]


def counted_one_by_one(batches):
    """The definitions, an example at a time; taken_for by the vote of Boyer and Moore."""
    rows = [[0, 0, 0, NEVER, 0.0, NEVER, None] for _ in range(N)]
    was_right, lead = [False] * N, [0] * N
    for step, batch in enumerate(batches):
        losses = losses_of(torch.tensor(batch), step).tolist()
        rights, classes = (values.tolist() for values in outcomes_of(torch.tensor(batch), step))
        for index, loss, right, named in zip(batch, losses, rights, classes, strict=True):
            row = rows[index]
            row[0] += 1
            row[1] += right
            row[2] += was_right[index] and not right
            if right and row[3] == NEVER:
                row[3] = step
            row[4] += loss
            row[6] = loss
            was_right[index] = right
            if right:
                continue
            if row[5] == named:
                lead[index] += 1
            elif lead[index] <= 1:
                row[5], lead[index] = named, 1
            else:
                lead[index] -= 1
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("options", [{}, {"rule": "random"}, {"groups": GROUPS}])
def test_records_are_those_of_a_plain_count(options) -> None:
    made = sampler(record=True, **options)
    batches = trained(made)
    assert batches == trained(sampler(**options))  # which recording does not change
    table = made.examples(GROUPS)
    assert table.columns == [*TABLES["examples"], "last_loss"]
    assert table.select(COUNTED).rows() == counted_one_by_one(batches)
    assert table["label"].to_list() == GROUPS.tolist()
    assert table["index"].to_list() == list(range(N))
    assert set(table["excluded_at"]) == {NEVER}
    assert table["el2n"].null_count() == N


@pytest.mark.parametrize("stop", [0, 1, 20, 47])
def test_records_can_be_asked_for_at_any_time_and_change_nothing(stop) -> None:
    made = sampler(record=True)
    batches = trained(made, stop)
    assert made.examples().select(COUNTED[0], COUNTED[4], COUNTED[6]).rows() == [
        (row[0], row[4], row[6]) for row in counted_one_by_one(batches)
    ]
    batches += trained(made, first=stop)
    assert batches == trained(sampler())
    assert made.examples().select(COUNTED).rows() == counted_one_by_one(batches)


def test_records_are_those_of_the_pipelines_tracker() -> None:
    made, tracker = sampler(record=True), ExampleTracker(N)
    for step, batch in enumerate(made):
        indices = torch.tensor(batch)
        losses, (correct, classes) = losses_of(indices, step), outcomes_of(indices, step)
        made.update(batch, losses, correct, classes)
        tracker.record(indices, correct, losses, step)
        tracker.record_wrong(indices[~correct], classes[~correct])
    assert made.examples(GROUPS).drop("last_loss").equals(tracker.frame(GROUPS, "training"))


@pytest.mark.parametrize("stop", [1, 13, 40])
def test_records_of_a_resumed_run_are_the_same_bits(stop, tmp_path) -> None:
    whole, begun, resumed = (sampler(record=True) for _ in range(3))
    trained(whole)
    trained(begun, stop)
    torch.save(begun.state_dict(), tmp_path / "state.pt")
    trained(begun, 5, first=stop)  # which nobody keeps
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    trained(resumed, first=stop)
    assert resumed.examples(GROUPS).equals(whole.examples(GROUPS))


def test_records_are_the_same_for_any_number_of_workers_and_parts_and_orders() -> None:
    made, data = sampler(record=True), crest.Indexed(TensorDataset(LOSSES))
    for step, (indices, _) in enumerate(DataLoader(data, batch_sampler=made, num_workers=2)):
        parts = (indices[:10], indices[10:]) if step % 2 else (indices.flip(0),)
        for part in parts:
            made.update(part, losses_of(part, step), *outcomes_of(part, step))
    plain = sampler(record=True)
    trained(plain)
    assert made.examples().equals(plain.examples())


def test_what_was_not_reported_is_unknown_and_no_zero(tmp_path) -> None:
    made = sampler(record=True)
    for step, batch in enumerate(made):
        made.update(batch, losses_of(torch.tensor(batch), step))
    made.save(tmp_path / "run")
    table = read_table(tmp_path / "run" / "examples.parquet")
    assert table.equals(made.examples())
    assert table.schema == made.examples().schema
    for name in ("label", "correct", "forgotten", "first_learned", "taken_for", "el2n"):
        assert table[name].null_count() == N, name
    assert table["seen"].sum() == 60 * 16
    unnamed = sampler(record=True)
    for step, batch in enumerate(unnamed):
        unnamed.update(batch, LOSSES[batch], outcomes_of(torch.tensor(batch), step)[0])
    table = unnamed.examples()
    assert table["taken_for"].null_count() == N
    assert table["forgotten"].null_count() == 0


def test_an_output_that_names_no_class_is_wrong_and_no_vote() -> None:
    made = sampler(record=True)
    batch = next(iter(made))
    correct = torch.arange(16) == 0
    made.update(batch, LOSSES[batch], correct, [5, *[-1] * 15])
    table = made.examples()[batch]
    assert table["correct"].to_list() == [1, *[0] * 15]
    assert set(table["taken_for"]) == {NEVER}


def test_losses_that_got_lost_with_a_loaders_state_are_not_counted() -> None:
    made = sampler(record=True)
    trained(made, 20)
    list(islice(made, 3))
    state = made.state_dict()
    again = sampler(record=True)
    again.load_state_dict(state)
    again._resume_after(23)  # a loader's state says that three more were trained on
    trained(again, first=23)
    assert again.examples()["seen"].sum() == (60 - 3) * 16


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "losses, where the reports before have losses and correct: what was"),
        ((torch.zeros(16),), r"correct: torch.float32; give truth values"),
        (([True] * 15,), "correct: 15 for 16 indices"),
        ((None, [1] * 16), "predictions without correct"),
        (([True] * 16, [0] * 16), "losses, correct and predictions, where the reports before"),
    ],
)
def test_reports_unlike_those_before_are_refused(more, message) -> None:
    made = sampler(record=True)
    batches = iter(made)
    one, two = next(batches), next(batches)
    made.update(one, LOSSES[one], [True] * 16)
    with pytest.raises(ParameterError, match=message):
        made.update(two, LOSSES[two], *more)
    made.update(two, LOSSES[two], [False] * 16)
    assert made.examples()["correct"].sum() == 16


def test_predictions_that_are_no_classes_are_refused() -> None:
    made = sampler(record=True)
    batch = next(iter(made))
    with pytest.raises(ParameterError, match=r"predictions: torch.float32; give numbers of class"):
        made.update(batch, LOSSES[batch], [True] * 16, torch.zeros(16))


def test_without_records_none_are_returned_and_correct_is_ignored() -> None:
    made = sampler()
    batch = next(iter(made))
    made.update(batch, LOSSES[batch], [True] * 16)
    with pytest.raises(OrderError, match="nothing was recorded; make it with record=True"):
        made.examples()
    with pytest.raises(ParameterError, match="other record"):
        sampler(record=True).load_state_dict(made.state_dict())
    with pytest.raises(ParameterError, match="other record"):
        sampler().load_state_dict(sampler(record=True).state_dict())


def test_labels_and_parts_that_cannot_be_are_refused() -> None:
    made = sampler(record=True)
    batch = next(iter(made))
    with pytest.raises(ParameterError, match="labels: 3 for 203 examples"):
        made.examples([0, 1, 2])
    made.update(batch[:4], LOSSES[batch[:4]])
    with pytest.raises(OrderError, match="batch 0 was reported in part"):
        made.examples()
