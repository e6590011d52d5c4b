"""Shares: exact sums, and right on average."""

import torch

from crest.selection.shares import proportional, stratified_order, stratified_subset

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


def test_equal_groups_whose_number_divides_the_total_share_equally() -> None:
    assert proportional(torch.full((4,), 10), 8, generator()).tolist() == [2] * 4


LABELS = torch.tensor([0] * 20 + [1] * 7 + [2] * 3).repeat(2)
MEMBERS = torch.arange(30) * 2  # every other example: classes of 20, 7 and 3


def test_a_stratified_subset_has_each_class_its_share() -> None:
    """Of 12 of 30 members the classes have exactly 8, 2.8 and 1.2."""
    dice = generator()
    for _ in range(50):
        subset = stratified_subset(MEMBERS, LABELS, 12, dice)
        assert len(subset.unique()) == 12
        assert torch.isin(subset, MEMBERS).all()
        counts = LABELS[subset].bincount(minlength=3)
        exact = LABELS[MEMBERS].bincount() * 12 / 30
        assert (counts >= exact.floor()).all()
        assert (counts <= exact.ceil()).all()


def test_every_member_is_in_a_stratified_subset_equally_often() -> None:
    """Over 4,000 draws of 12 of 30 each lies within four deviations of its 1,600."""
    dice = generator()
    draws = torch.cat([stratified_subset(MEMBERS, LABELS, 12, dice) for _ in range(4000)])
    times = draws.bincount(minlength=len(LABELS))[MEMBERS].double()
    assert ((times - 1600).abs() <= 4 * (4000 * 0.4 * 0.6) ** 0.5).all()


def test_a_stratified_subset_comes_in_random_order() -> None:
    subset = stratified_subset(MEMBERS, LABELS, 30, generator())
    assert subset.sort().values.tolist() == MEMBERS.tolist()
    assert LABELS[subset].diff().abs().sum() > 2


def test_every_stretch_of_a_stratified_order_has_each_class_its_share() -> None:
    """A stretch of length L has L·k/30 of a class of k, less than two too few or too many."""
    dice = generator()
    for _ in range(50):
        order = stratified_order(MEMBERS, LABELS, dice)
        assert order.sort().values.equal(MEMBERS)
        counts = torch.nn.functional.one_hot(LABELS[order]).cumsum(0)
        for length in (3, 7, 15):
            found = counts[length:] - counts[:-length]
            # Each of three classes is rounded by less than one, and so is what is L for all.
            exact = LABELS[MEMBERS].bincount() * length / 30
            assert float((found - exact).abs().max()) < 2.0


def test_a_member_of_a_stratified_order_comes_anywhere_equally_often() -> None:
    """Over 4,000 orders each is among the first six of 30 within four deviations of 800 times."""
    dice = generator()
    first = torch.cat([stratified_order(MEMBERS, LABELS, dice)[:6] for _ in range(4000)])
    times = first.bincount(minlength=len(LABELS))[MEMBERS].double()
    assert ((times - 800).abs() <= 4 * (4000 * 0.2 * 0.8) ** 0.5).all()


def test_a_stratified_order_of_nothing_is_nothing() -> None:
    assert len(stratified_order(MEMBERS[:0], LABELS, generator())) == 0
