"""Drawing from V is uniform, and learned examples leave it as the paper says."""

import pytest
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
    again.load_state_dict(active.state_dict())
    again.exclude(torch.tensor([7]), step=6)
    active.exclude(torch.tensor([7]), step=6)
    first = active.draw(10, torch.Generator().manual_seed(0))
    assert torch.equal(first, again.draw(10, torch.Generator().manual_seed(0)))
    assert torch.equal(active.excluded_at, again.excluded_at)


def close(window_losses: LearnedExamples, active: ActiveSet, floor: int = 1) -> list[int]:
    return sorted(window_losses.close_window(active, floor).tolist())


def test_learned_means_every_loss_of_the_window_below_the_threshold() -> None:
    window_losses, active = LearnedExamples(threshold=0.1), ActiveSet(6)
    window_losses.record(torch.tensor([0, 1, 2, 2]), torch.tensor([0.01, 0.01, 0.05, 0.5]))
    window_losses.record(torch.tensor([0, 1]), torch.tensor([0.09, 0.2]))
    assert close(window_losses, active) == [0]


def test_a_single_sighting_or_none_is_not_enough() -> None:
    window_losses, active = LearnedExamples(threshold=0.1), ActiveSet(4)
    window_losses.record(torch.tensor([0, 1, 1]), torch.tensor([0.01, 0.01, 0.01]))
    assert close(window_losses, active) == [1]


def test_windows_do_not_overlap() -> None:
    window_losses, active = LearnedExamples(threshold=0.1), ActiveSet(4)
    window_losses.record(torch.tensor([0]), torch.tensor([0.01]))
    assert close(window_losses, active) == []
    window_losses.record(torch.tensor([0]), torch.tensor([0.01]))
    assert close(window_losses, active) == []
    window_losses.record(torch.tensor([0, 0]), torch.tensor([0.01, 0.01]))
    assert close(window_losses, active) == [0]


def test_the_floor_keeps_the_hardest() -> None:
    window_losses, active = LearnedExamples(threshold=0.1), ActiveSet(5)
    losses = torch.tensor([0.05, 0.01, 0.03, 0.02, 0.04])
    for _ in range(2):
        window_losses.record(torch.arange(5), losses)
    assert close(window_losses, active, floor=3) == [1, 3]


def test_examples_that_left_do_not_leave_again() -> None:
    window_losses, active = LearnedExamples(threshold=0.1), ActiveSet(3)
    active.exclude(torch.tensor([0]), step=1)
    window_losses.record(torch.tensor([0, 0, 1, 1]), torch.full((4,), 0.01))
    assert close(window_losses, active) == [1]


class WatchedArrays:
    """The plain way: an array of n for the highest losses and one for the sightings."""

    def __init__(self, count: int, threshold: float) -> None:
        self.threshold = threshold
        self.highest = [-float("inf")] * count
        self.times_seen = [0] * count

    def record(self, indices: list[int], losses: list[float]) -> None:
        for index, loss in zip(indices, losses, strict=True):
            self.highest[index] = max(self.highest[index], loss)
            self.times_seen[index] += 1

    def close_window(self, active: ActiveSet, floor: int) -> list[int]:
        learned = [
            index
            for index in range(active.total)
            if self.times_seen[index] > 1 and self.highest[index] < self.threshold
        ]
        order = sorted(
            (index for index in learned if index in active), key=self.highest.__getitem__
        )
        self.__init__(active.total, self.threshold)
        return order[: max(0, len(active) - floor)]


# float32 and a comparison of Python's floats agree on these.
LOSSES = st.sampled_from([0.0, 0.03125, 0.0625, 0.125, 2.0])
LOOKS = st.lists(st.tuples(st.integers(0, 11), LOSSES), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    windows=st.lists(st.lists(LOOKS, max_size=5), min_size=1, max_size=4),
    merge_at=st.sampled_from([1, 4, 2**16]),
    floor=st.integers(0, 12),
)
def test_what_is_learned_is_what_arrays_of_n_say(windows, merge_at: int, floor: int) -> None:
    plain, window_losses = WatchedArrays(12, 0.1), LearnedExamples(threshold=0.1)
    active, again = ActiveSet(12), ActiveSet(12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crest.regions.active.MERGE_AT", merge_at)
        for step, window in enumerate(windows):
            for batch in window:
                indices, losses = [index for index, _ in batch], [loss for _, loss in batch]
                plain.record(indices, losses)
                window_losses.record(torch.tensor(indices, dtype=torch.int64), torch.tensor(losses))
            expected = plain.close_window(active, floor)
            found = window_losses.close_window(again, floor)
            assert found.tolist() == expected
            active.exclude(torch.tensor(expected, dtype=torch.int64), step)
            again.exclude(found, step)


def test_a_window_goes_on_from_its_state() -> None:
    window_losses, resumed, active = LearnedExamples(0.1), LearnedExamples(0.1), ActiveSet(5)
    window_losses.record(torch.tensor([4, 2]), torch.tensor([0.05, 0.01]))
    resumed.load_state_dict(window_losses.state_dict())
    for one in (window_losses, resumed):
        one.record(torch.tensor([2, 4, 3]), torch.tensor([0.02, 0.01, 0.03]))
        assert one.close_window(active, 1).tolist() == [2, 4]


def test_what_is_recorded_takes_memory_by_what_was_seen() -> None:
    window_losses = LearnedExamples(0.1)
    for _ in range(400):
        window_losses.record(torch.arange(1000), torch.rand(1000))
    kept = sum(values.nbytes for values in window_losses.state_dict().values())
    assert kept == 1000 * (8 + 4 + 4)


def test_indices_are_int64_whatever_they_are_kept_as() -> None:
    active = ActiveSet(10)
    assert active.members().dtype == torch.int32
    for count in (2, 9):
        assert active.draw(count, torch.Generator()).dtype == torch.int64


def test_a_loss_that_is_not_a_number_is_not_learned() -> None:
    window_losses, active = LearnedExamples(threshold=0.1), ActiveSet(2)
    window_losses.record(torch.tensor([0, 0]), torch.tensor([0.01, float("nan")]))
    assert close(window_losses, active) == []
