import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crest.errors import ParameterError
from crest.parameters.sections import TrainParameters
from crest.training.schedules import SCHEDULES, budget_steps, learning_rate, total_steps


def rates(steps: int, **changes) -> list[float]:
    parameters = TrainParameters(**{"lr": 0.1, "warmup": 0.0, **changes})
    return [learning_rate(step, steps, parameters) for step in range(steps)]


def test_steps_drop_at_exactly_60_and_85_percent():
    assert rates(100, schedule="steps") == pytest.approx([0.1] * 60 + [0.01] * 25 + [0.001] * 15)


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 35, 55, 1000, 7800])
def test_drops_fall_on_the_first_step_at_or_past_the_share(steps):
    actual = rates(steps, lr=1.0, schedule="steps")
    first, second = (-(-share * steps // 100) for share in (60, 85))
    expected = [1.0] * first + [0.1] * (second - first) + [0.01] * (steps - second)
    assert actual == pytest.approx(expected)


def test_linear_falls_evenly_from_the_peak_to_just_above_0():
    actual = rates(50, schedule="linear", warmup=0.2)
    assert actual[10:] == pytest.approx([0.1 * (50 - step) / 40 for step in range(10, 50)])
    assert actual[-1] > 0


def test_cosine_is_the_closed_form():
    expected = [0.05 * (1 + math.cos(math.pi * step / 50)) for step in range(50)]
    assert rates(50, schedule="cosine") == pytest.approx(expected)


def test_cosine_starts_at_the_peak_after_the_warm_up_and_falls_ever_after():
    actual = rates(50, schedule="cosine", warmup=0.2)
    assert actual[10] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in pairwise(actual[10:]))
    assert actual[30] == pytest.approx(0.05)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_climbs_in_equal_steps_from_the_first(schedule):
    actual = rates(200, schedule=schedule, warmup=0.1)
    assert actual[:20] == pytest.approx([0.1 * (step + 1) / 20 for step in range(20)])
    assert actual[20] == pytest.approx(0.1)


def test_a_short_run_with_a_rounded_away_warm_up_starts_at_the_peak():
    assert rates(4, warmup=0.1)[0] == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_warm_up_as_long_as_the_run(schedule):
    assert rates(3, schedule=schedule, warmup=0.99) == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])


@given(
    steps=st.integers(1, 10**9),
    share=st.floats(0, 1, exclude_max=True),
    lr=st.floats(1e-6, 10),
    warmup=st.floats(0, 1, exclude_max=True),
    schedule=st.sampled_from(sorted(SCHEDULES)),
)
def test_a_rate_is_never_zero_and_never_above_the_peak(steps, share, lr, warmup, schedule):
    parameters = TrainParameters(lr=lr, warmup=warmup, schedule=schedule)
    for step in {0, min(int(share * steps), steps - 1), steps - 1}:
        assert 0 < learning_rate(step, steps, parameters) <= lr


@pytest.mark.parametrize("step", [-1, 10])
def test_a_step_outside_the_run_is_a_bug(step):
    with pytest.raises(ValueError, match="is not one of 10 steps"):
        learning_rate(step, 10, TrainParameters())


def test_an_unknown_schedule_is_named():
    parameters = TrainParameters.model_construct(schedule="exponential", warmup=0.0, lr=0.1)
    with pytest.raises(ParameterError, match=r"train\.schedule: 'exponential' is not one of"):
        learning_rate(0, 10, parameters)


@pytest.mark.parametrize(
    ("epochs", "examples", "batch_size", "steps"),
    [(200, 50_000, 128, 78_125), (60, 1617, 32, 3032), (0.5, 100, 10, 5), (1, 10, 10, 1)],
)
def test_full_training_counts_examples_through_the_epochs(epochs, examples, batch_size, steps):
    assert total_steps(epochs, examples, batch_size) == steps


def test_a_mini_batch_larger_than_the_data():
    with pytest.raises(ParameterError, match=r"train\.batch_size: a mini-batch of 128 is larger"):
        total_steps(10, 100, 128)


def test_epochs_too_short_for_a_step():
    with pytest.raises(ParameterError, match=r"train\.epochs: 0\.01 epochs of 100 examples"):
        total_steps(0.01, 100, 10)


@pytest.mark.parametrize(
    ("budget", "full", "steps"), [(0.1, 78_125, 7812), (1.0, 37, 37), (0.001, 10, 1)]
)
def test_budget(budget, full, steps):
    assert budget_steps(budget, full) == steps
