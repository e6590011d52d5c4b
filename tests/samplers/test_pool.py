"""V, and the learned examples that leave it."""

import pytest
import torch
from torch import Tensor

from crest.inference.forward import ForwardPass
from crest.samplers.pool import Pool

LABELS = torch.arange(8) % 2


def scored(indices: list[int], right: list[float]) -> ForwardPass:
    """Examples whose own class leads by so much: losses of log(1 + exp(−lead))."""
    places, lead = torch.tensor(indices), torch.tensor(right)
    labels = LABELS[places]
    logits = torch.zeros(len(places), 2)
    logits[torch.arange(len(places)), labels] = lead
    return ForwardPass(places, labels, logits, logits[:, :0])


def observe(pool: Pool, seen: ForwardPass, step: int) -> None:
    pool.observe(seen, seen.losses, step)


def members(pool: Pool) -> list[int]:
    return sorted(pool.active.members().tolist())


def test_what_is_under_the_threshold_at_every_sighting_of_a_window_leaves() -> None:
    pool = Pool(LABELS, threshold=0.1, window=5, floor=2)
    observe(pool, scored([0, 1, 2, 3], [9.0, 9.0, 9.0, 0.0]), 0)
    observe(pool, scored([0, 1, 3, 4], [9.0, 0.0, 9.0, 9.0]), 3)
    assert [step for step in range(12) if pool.is_window_over(step)] == [5, 10]
    pool.exclude_learned(5)
    assert members(pool) == [1, 2, 3, 4, 5, 6, 7]
    # The next window knows nothing of this one.
    observe(pool, scored([2, 4], [9.0, 9.0]), 6)
    pool.exclude_learned(10)
    assert members(pool) == [1, 2, 3, 4, 5, 6, 7]


def test_v_does_not_fall_below_the_floor_and_those_with_the_lowest_losses_leave_first() -> None:
    pool = Pool(LABELS, threshold=1.0, window=5, floor=6)
    for step in range(2):
        observe(pool, scored(list(range(8)), [float(8 - place) for place in range(8)]), step)
    pool.exclude_learned(5)
    assert members(pool) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("window", [0, 5])
def test_a_state_goes_on_in_the_middle_of_a_window(window: int) -> None:
    def run(pool: Pool, first: int, last: int) -> Tensor:
        for step in range(first, last):
            if pool.is_window_over(step):
                pool.exclude_learned(step)
            observe(pool, scored([step % 8, (step + 1) % 8], [9.0, 9.0]), step)
        return torch.tensor(members(pool))

    whole, begun, resumed = (Pool(LABELS, 0.1, window, 2) for _ in range(3))
    expected = run(whole, 0, 17)
    run(begun, 0, 8)
    resumed.load_state_dict(begun.state_dict())
    assert torch.equal(run(resumed, 8, 17), expected)
    assert resumed.frame().equals(whole.frame())
    assert len(expected) == (8 if window == 0 else 2)
