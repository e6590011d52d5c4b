"""Replay follows the saved sequence, and stretches it alike."""

import pytest
import torch

from crest.errors import ParameterError
from crest.methods.replay import Replay
from crest.selection.coresets import MiniBatchCoreset
from crest.selection.saved import SavedCoresets
from tests.tiny import context

REGIONS = tuple(
    tuple(
        MiniBatchCoreset(torch.tensor([region, number]), torch.ones(2), None, region, number)
        for number in range(3)
    )
    for region in range(2)
)
SEQUENCE = ((0, 2), (0, 0), (0, 1), (1, 1))


def replay(steps: int, sequence: tuple | None = SEQUENCE) -> list[tuple[int, int]]:
    base = context(steps=steps)
    saved = SavedCoresets(REGIONS, sequence)
    method = Replay(type(base)(**{**vars(base), "saved": saved}))
    taken = [method.minibatch(step) for step in range(steps)]
    return [(coreset.region, coreset.number) for coreset in taken]


def test_as_many_steps_repeat_the_run() -> None:
    assert replay(4) == list(SEQUENCE)


def test_more_and_fewer_steps_keep_the_shares_of_the_regions() -> None:
    assert [region for region, _ in replay(8)] == [0] * 6 + [1] * 2
    assert [region for region, _ in replay(2)] == [0, 0]
    assert {number for _, number in replay(60)} == {0, 1, 2}


def test_without_saved_steps_regions_last_equally_long() -> None:
    assert [region for region, _ in replay(6, None)] == [0, 0, 0, 1, 1, 1]


def test_without_coresets_it_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"replay\.coresets"):
        Replay(context())
