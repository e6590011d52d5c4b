"""Passes deal out every number once before any comes again."""

import torch

from crest.samplers.passes import Passes


def passes(count: int = 10) -> Passes:
    return Passes(count, torch.Generator().manual_seed(0))


def test_every_pass_holds_every_number_once_whatever_the_counts() -> None:
    endless = passes()
    drawn = torch.cat([endless.take(count) for count in (3, 4, 9, 0, 4)])
    for one in drawn.split(10):
        assert one.sort().values.tolist() == list(range(10))
    assert not torch.equal(*drawn.split(10))


def test_a_draw_may_be_larger_than_a_pass() -> None:
    assert torch.bincount(passes().take(25)).sort().values.tolist() == [2] * 5 + [3] * 5


def test_a_pass_is_the_permutation_that_is_drawn_in_int64() -> None:
    generator = torch.Generator().manual_seed(0)
    expected = torch.cat([torch.randperm(1000, generator=generator) for _ in range(2)])
    endless = passes(1000)
    drawn = torch.cat([endless.take(count) for count in (300, 900, 800)])
    assert drawn.dtype == torch.int64
    assert torch.equal(drawn, expected)


def test_a_saved_pass_goes_on_where_it_was() -> None:
    first, second = passes(), passes()
    first.take(7)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.take(3), second.take(3))
