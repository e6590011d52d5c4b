"""Drawing from V is uniform, and learned examples leave it as the paper says."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crest.regions.active import ActiveSet, LearnedExamples

# 99.9% point of chi-square with 49 degrees of freedom.
CHI_SQUARE_49 = 85.4


def chi_square(counts: torch.Tensor) -> float:
    expected = counts.double().mean()
    return float(((counts - expected) ** 2 / expected).sum())


def count_draws(active: ActiveSet, size: int, draws: int, examples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([active.draw(size, generator) for _ in range(draws)])
    return torch.bincount(drawn, minlength=examples)


def test_draws_are_uniform() -> None:
    for size in (5, 20, 40):  # few, many, most of V
        counts = count_draws(ActiveSet(50), size, 2000, 50)
        # Without replacement the statistic is smaller than chi-square by (1 − size/50).
        assert chi_square(counts) < CHI_SQUARE_49
        assert counts.min() > 0


def test_every_position_of_a_draw_is_uniform() -> None:
    generator = torch.Generator().manual_seed(1)
    active = ActiveSet(50)
    draws = torch.stack([active.draw(10, generator) for _ in range(3000)])
    for position in (0, 4, 9):
        counts = torch.bincount(draws[:, position], minlength=50)
        assert chi_square(counts) < CHI_SQUARE_49


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    excluded=st.sets(st.integers(0, 29), max_size=25),
    share=st.floats(0.01, 1.0),
)
def test_draws_are_distinct_members(seed: int, excluded: set[int], share: float) -> None:
    active = ActiveSet(30)
    active.exclude(torch.tensor(sorted(excluded), dtype=torch.int64), step=3)
    assert len(active) == 30 - len(excluded)
    drawn = active.draw(max(1, int(share * len(active))), torch.Generator().manual_seed(seed))
    values = drawn.tolist()
    assert len(set(values)) == len(values)
    assert not set(values) & excluded
    assert [index in active for index in range(30)] == [i not in excluded for i in range(30)]


def test_draws_stay_uniform_after_excluding() -> None:
    active = ActiveSet(80)
    active.exclude(torch.arange(0, 60, 2), step=1)
    counts = count_draws(active, 10, 2000, 80)
    assert counts[:60:2].sum() == 0
    assert chi_square(counts[counts > 0]) < CHI_SQUARE_49


def test_state_continues_the_same_draws() -> None:
    active = ActiveSet(40)
    active.exclude(torch.tensor([3, 9]), step=5)
    again = ActiveSet(40)
    again.load_state(active.state())
    again.exclude(torch.tensor([7]), step=6)
    active.exclude(torch.tensor([7]), step=6)
    first = active.draw(10, torch.Generator().manual_seed(0))
    assert torch.equal(first, again.draw(10, torch.Generator().manual_seed(0)))
    assert torch.equal(active.excluded_at, again.excluded_at)


def close(watched: LearnedExamples, active: ActiveSet, floor: int = 1) -> list[int]:
    return sorted(watched.close_window(active, floor).tolist())


def test_learned_means_every_loss_of_the_window_below_the_threshold() -> None:
    watched, active = LearnedExamples(6, threshold=0.1), ActiveSet(6)
    watched.watch(torch.tensor([0, 1, 2, 2]), torch.tensor([0.01, 0.01, 0.05, 0.5]))
    watched.watch(torch.tensor([0, 1]), torch.tensor([0.09, 0.2]))
    assert close(watched, active) == [0]


def test_a_single_sighting_or_none_is_not_enough() -> None:
    watched, active = LearnedExamples(4, threshold=0.1), ActiveSet(4)
    watched.watch(torch.tensor([0, 1, 1]), torch.tensor([0.01, 0.01, 0.01]))
    assert close(watched, active) == [1]


def test_windows_do_not_overlap() -> None:
    watched, active = LearnedExamples(4, threshold=0.1), ActiveSet(4)
    watched.watch(torch.tensor([0]), torch.tensor([0.01]))
    assert close(watched, active) == []
    watched.watch(torch.tensor([0]), torch.tensor([0.01]))
    assert close(watched, active) == []
    watched.watch(torch.tensor([0, 0]), torch.tensor([0.01, 0.01]))
    assert close(watched, active) == [0]


def test_the_floor_keeps_the_hardest() -> None:
    watched, active = LearnedExamples(5, threshold=0.1), ActiveSet(5)
    losses = torch.tensor([0.05, 0.01, 0.03, 0.02, 0.04])
    for _ in range(2):
        watched.watch(torch.arange(5), losses)
    assert close(watched, active, floor=3) == [1, 3]


def test_examples_that_left_do_not_leave_again() -> None:
    watched, active = LearnedExamples(3, threshold=0.1), ActiveSet(3)
    active.exclude(torch.tensor([0]), step=1)
    watched.watch(torch.tensor([0, 0, 1, 1]), torch.full((4,), 0.01))
    assert close(watched, active) == [1]


def test_a_loss_that_is_not_a_number_is_not_learned() -> None:
    watched, active = LearnedExamples(2, threshold=0.1), ActiveSet(2)
    watched.watch(torch.tensor([0, 0]), torch.tensor([0.01, float("nan")]))
    assert close(watched, active) == []
