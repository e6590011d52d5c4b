"""The recorder: a row for each step, whenever the results are fetched."""

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from torch import Tensor
from torch.nn import functional as F

from crest.artifacts import TABLES
from crest.errors import TrainingError
from crest.samplers.example_tracker import FIRST_VISITS, control_classes, error_norms
from crest.selection.coresets import MiniBatchCoreset, Outputs, uniform
from crest.training.recorder import FLUSH_EVERY, Recorder, spaced_steps

LOSSES = torch.tensor([1.0, 0.0, 3.0, 0.0])
CORRECT = torch.tensor([True, False, True, True])
MARGINS = torch.tensor([1.0, 2.0, 3.0, 4.0])


LABELS = torch.zeros(4, dtype=torch.int64)


def take(
    recorder: Recorder,
    step: int,
    loss: float = 0.5,
    minibatch: MiniBatchCoreset | None = None,
    correct: Tensor = CORRECT,
) -> None:
    chosen = minibatch or uniform(torch.arange(4))
    outputs = Outputs(torch.tensor(loss), LOSSES, logits_of(correct, step), LABELS)
    recorder.step(step, chosen, 0.1 / (step + 1), outputs, float(step))


def logits_of(correct: Tensor, step: int) -> Tensor:
    """Class 0, which is right, or class 2, by a margin that the step narrows."""
    return F.one_hot(torch.where(correct, 0, 2), 3) * MARGINS[:, None] / (step + 1)


def test_a_step_is_a_row() -> None:
    recorder = Recorder(10, 20)
    indices = torch.arange(4)
    take(recorder, 0, 0.25, MiniBatchCoreset(indices, torch.ones(4), None, region=2, number=7))
    take(recorder, 1, 0.75)
    expected = {
        "step": [0, 1],
        "region": [2, -1],
        "minibatch": [7, -1],
        "lr": [0.1, 0.05],
        "loss": [0.25, 0.75],
        "accuracy": [0.75, 0.75],
        "examples": [4, 8],
        "seconds": [0.0, 1.0],
    }
    assert recorder.steps().equals(pl.DataFrame(expected, schema=dict(TABLES["steps"])))
    assert recorder.examples == 8


@pytest.mark.parametrize("steps", [0, 1, FLUSH_EVERY - 1, FLUSH_EVERY, 2 * FLUSH_EVERY + 3])
def test_no_step_is_lost_whenever_results_are_fetched(steps) -> None:
    recorder = Recorder(10, 20)
    for step in range(steps):
        take(recorder, step, loss=step / 4)
    table = recorder.steps()
    assert table["loss"].to_list() == [step / 4 for step in range(steps)]
    assert dict(table.schema) == dict(TABLES["steps"])
    assert recorder.steps().equals(table)


def test_examples_are_followed_in_the_order_of_the_steps() -> None:
    """Right, wrong, right: forgotten once, learned at step 0."""
    recorder = Recorder(5, 20)
    for step in range(3):
        take(recorder, step, correct=torch.full((4,), step != 1))
    found = recorder.tracker
    recorder.flush()
    rows = found.frame(torch.zeros(5, dtype=torch.int64), "training")
    assert rows["seen"].to_list() == [3, 3, 3, 3, 0]
    assert rows["forgotten"].to_list() == [1, 1, 1, 1, 0]
    assert rows["first_learned"].to_list() == [0, 0, 0, 0, -1]
    assert rows["loss_sum"].to_list() == [3.0, 0.0, 9.0, 0.0, 0.0]
    assert rows["taken_for"].to_list() == [2, 2, 2, 2, -1]


def test_el2n_is_the_mean_error_within_the_first_tenth_of_the_steps() -> None:
    recorder = Recorder(5, 20)
    for step in range(3):  # of which 0 and 1 are early
        take(recorder, step)
    recorder.flush()
    rows = recorder.tracker.frame(torch.zeros(5, dtype=torch.int64), "training")
    first, second = (error_norms(logits_of(CORRECT, step), LABELS).double() for step in (0, 1))
    assert rows["el2n"].to_list() == [*((first + second) / 2).tolist(), None]


def test_results_that_take_much_memory_do_not_wait_for_64_steps(monkeypatch) -> None:
    monkeypatch.setattr("crest.training.recorder.FLUSH_AT", 30)
    recorder = Recorder(10, 20)
    waited = []
    for step in range(6):
        take(recorder, step)  # 12 numbers
        waited.append(len(recorder._waiting))
    assert waited == [1, 2, 0, 1, 2, 0]
    assert recorder.steps()["loss"].to_list() == [0.5] * 6


@pytest.mark.parametrize(
    ("loss", "name"), [(float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf")]
)
def test_a_loss_that_is_no_number_names_its_step_and_what_to_do(loss, name) -> None:
    recorder = Recorder(10, 20)
    take(recorder, 0)
    take(recorder, 1, loss, MiniBatchCoreset(torch.arange(4), torch.ones(4), None, 3, 0))
    expected = rf"loss became {name} at step 1 \(region 3\); lower train\.lr or set train\.prec"
    with pytest.raises(TrainingError, match=expected):
        recorder.steps()


def test_a_loss_that_is_no_number_is_found_before_the_run_ends() -> None:
    recorder = Recorder(10, 20)
    take(recorder, 0, float("nan"))
    with pytest.raises(TrainingError):
        for step in range(1, FLUSH_EVERY):
            take(recorder, step)


@pytest.mark.parametrize(
    ("steps", "count", "points"),
    [
        (10, 0, set()),
        (10, 1, {10}),
        (10, 2, {5, 10}),
        (10, 10, set(range(1, 11))),
        (3, 20, {1, 2, 3}),
        (1, 1, {1}),
    ],
)
def test_points_are_evenly_spaced(steps, count, points) -> None:
    assert spaced_steps(steps, count) == points


@given(st.integers(1, 5000), st.integers(1, 100))
def test_there_are_as_many_points_as_asked_for_or_steps_and_the_last_is_one(steps, count) -> None:
    points = sorted(spaced_steps(steps, count))
    assert points[-1] == steps
    assert points[0] >= 1
    assert len(points) == min(steps, count)
    gaps = [after - before for before, after in zip([0, *points], points, strict=False)]
    assert max(gaps) - min(gaps) <= 1 + (count > steps)


def test_only_first_visits_count_as_probabilities_of_labels_and_controls() -> None:
    """Of softmaxes by hand, an example after the other; one is there twice in a batch."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([2, 0, 1])
    controls = control_classes(torch.arange(3), labels, 4)
    recorder, found = Recorder(3, 20), {0: [], 1: [], 2: []}
    for step in range(FIRST_VISITS):
        indices = torch.tensor([0, 1, 0])
        logits = torch.randn(3, 4, generator=generator)
        outputs = Outputs(torch.tensor(0.5), torch.ones(3), logits, labels[indices])
        recorder.step(step, uniform(indices), 0.1, outputs, float(step))
        if step % 2:  # counted together or apart
            recorder.flush()
        for row, index in enumerate(indices.tolist()):
            given = logits[row].softmax(0)
            found[index].append((given[labels[index]].item(), given[controls[index]].item()))
    table = recorder.tracker.frame(labels, "training")
    for column, name in enumerate(("label_probability", "control_probability")):
        for index in (0, 1):
            first = [pair[column] for pair in found[index][:FIRST_VISITS]]
            assert table[name][index] == pytest.approx(sum(first) / len(first), rel=1e-6)
        assert table[name][2] is None


def test_controls_are_other_classes_drawn_evenly_and_always_the_same() -> None:
    labels = torch.arange(40_000) % 10
    controls = control_classes(torch.arange(40_000), labels, 10)
    pairs = torch.bincount(labels * 10 + controls, minlength=100).view(10, 10)
    assert pairs.diagonal().sum() == 0
    drawn = pairs[~torch.eye(10, dtype=torch.bool)].double()
    expected = 40_000 / 90
    assert ((drawn - expected) ** 2 / expected).sum() < 130  # chi squared of 80 degrees: 1 in 3,000
    assert control_classes(torch.tensor([7]), labels[[7]], 10) == controls[7]
    assert control_classes(torch.tensor([7]), torch.tensor([0]), 1) == 0


@pytest.mark.gpu
def test_a_gpu_counts_as_a_processor_does() -> None:
    generator = torch.Generator().manual_seed(0)
    recorders = {place: Recorder(50, 40, place) for place in ("cpu", "cuda")}
    for step in range(40):
        indices = torch.randint(50, (16,), generator=generator)
        logits = torch.randn(16, 5, generator=generator)
        labels = indices % 5
        losses = F.cross_entropy(logits, labels, reduction="none")
        for place, recorder in recorders.items():
            values = (losses.mean(), losses, logits, labels)
            outputs = Outputs(*(value.to(place) for value in values))
            recorder.step(step, uniform(indices), 0.1, outputs, 0.0)
    steps = [recorders[place].steps() for place in ("cuda", "cpu")]  # fetched
    found, expected = (
        recorders[place].tracker.frame(torch.arange(50) % 5, "training")
        for place in ("cuda", "cpu")
    )
    assert_frame_equal(found, expected, abs_tol=1e-6)
    assert steps[0].equals(steps[1])
