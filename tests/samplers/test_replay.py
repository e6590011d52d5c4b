"""Replay follows the saved sequence, and stretches it in proportion."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from crest.errors import ParameterError
from crest.samplers.replay import Replay
from crest.samplers.saved import SavedCoresets
from crest.selection.coresets import MiniBatchCoreset
from tests.tiny import context

REGIONS = tuple(
    tuple(
        MiniBatchCoreset(
            torch.tensor([10 * region + 2 * number, 10 * region + 2 * number + 1]),
            torch.tensor([0.5 + 0.25 * number, 1.5 - 0.25 * number]),
            None,
            region,
            number,
        )
        for number in range(3)
    )
    for region in range(2)
)
SEQUENCE = ((0, 2), (0, 0), (0, 1), (1, 1))


def method(steps: int, sequence: tuple | None = SEQUENCE, size: int = 2) -> Replay:
    saved = SavedCoresets(REGIONS, sequence)
    return Replay(replace(context(steps=steps), saved=saved, batch_size=size))


def replay(steps: int, sequence: tuple | None = SEQUENCE) -> list[tuple[int, int]]:
    replaying = method(steps, sequence)
    taken = [replaying.minibatch(step) for step in range(steps)]
    return [(coreset.region, coreset.number) for coreset in taken]


def rows(minibatch: MiniBatchCoreset) -> list[tuple[int, float]]:
    """Examples and their weights, sorted."""
    return sorted(zip(minibatch.indices.tolist(), minibatch.weights.tolist(), strict=True))


def saved_rows(region: int, *numbers: int) -> list[tuple[int, float]]:
    return sorted(row for number in numbers for row in rows(REGIONS[region][number]))


def test_as_many_steps_repeat_the_run() -> None:
    assert replay(4) == list(SEQUENCE)


def test_more_and_fewer_steps_keep_the_shares_of_the_regions() -> None:
    assert [region for region, _ in replay(8)] == [0] * 6 + [1] * 2
    assert [region for region, _ in replay(2)] == [0, 0]
    assert {number for _, number in replay(60)} == {0, 1, 2}


def test_without_saved_steps_regions_last_equally_long() -> None:
    assert [region for region, _ in replay(6, None)] == [0, 0, 0, 1, 1, 1]


def test_larger_minibatches_are_whole_ones_of_the_region_put_together() -> None:
    replaying = method(steps=40, size=4)
    pairs = {(0, 1), (0, 2), (1, 2)}
    met = set()
    for step in range(40):
        drawn = replaying.minibatch(step)
        region = 0 if step < 30 else 1
        assert (drawn.region, drawn.number) == (region, -1)
        found = [pair for pair in pairs if rows(drawn) == saved_rows(region, *pair)]
        assert len(found) == 1
        met.add(found[0])
    assert met == pairs


def test_a_region_that_holds_less_gives_all_of_it() -> None:
    replaying = method(steps=4, size=100)
    assert rows(replaying.minibatch(0)) == saved_rows(0, 0, 1, 2)
    assert rows(replaying.minibatch(3)) == saved_rows(1, 0, 1, 2)


def test_smaller_minibatches_are_a_part_of_one_and_average_to_the_region() -> None:
    steps = 6000
    replaying = method(steps, sequence=None, size=1)
    drawn = [replaying.minibatch(step) for step in range(steps // 2)]
    assert {len(minibatch.indices) for minibatch in drawn} == {1}
    seen = Counter(row for minibatch in drawn for row in rows(minibatch))
    assert set(seen) == set(saved_rows(0, 0, 1, 2))
    for count in seen.values():
        assert abs(count / len(drawn) - 1 / 6) < 0.03


def test_odd_sizes_are_filled_from_one_more_minibatch() -> None:
    replaying = method(steps=40, size=3)
    for step in range(40):
        drawn = rows(replaying.minibatch(step))
        assert len(set(drawn)) == 3
        assert set(drawn) < set(saved_rows(0 if step < 30 else 1, 0, 1, 2))


def test_dealing_goes_on_where_it_stopped() -> None:
    whole = method(steps=20, size=3)
    expected = [rows(whole.minibatch(step)) for step in range(20)]
    first, second = method(steps=20, size=3), method(steps=20, size=3)
    start = [rows(first.minibatch(step)) for step in range(8)]
    second.load_state_dict(first.state_dict())
    assert start + [rows(second.minibatch(step)) for step in range(8, 20)] == expected


def test_without_coresets_it_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"replay\.coresets"):
        Replay(context())
