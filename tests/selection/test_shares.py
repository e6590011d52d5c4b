"""Shares: exact sums, and right on average."""

import torch

from crest.selection.shares import proportional

SIZES = torch.tensor([1, 2, 97, 40, 60])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shares_are_rounded_and_sum_up() -> None:
    for total in (0, 1, 7, 33, 199, 200):
        shares = proportional(SIZES, total, generator(total))
        exact = SIZES * total / 200
        assert int(shares.sum()) == total
        assert (shares >= exact.floor()).all()
        assert (shares <= exact.ceil()).all()


def test_shares_are_right_on_average() -> None:
    """The mean over 4,000 draws lies within four of its standard deviations of the truth."""
    draws = 4000
    dice = generator()
    found = torch.stack([proportional(SIZES, 33, dice) for _ in range(draws)]).double().mean(0)
    exact = SIZES.double() * 33 / 200
    fraction = exact - exact.floor()
    spread = (fraction * (1 - fraction) / draws).sqrt()
    assert ((found - exact).abs() <= 4 * spread).all()


def test_equal_groups_whose_number_divides_the_total_share_alike() -> None:
    assert proportional(torch.full((4,), 10), 8, generator()).tolist() == [2] * 4
