"""Rounds: nothing twice, everything in turn, chances kept."""

import pytest
import torch
from torch import Tensor

from crest.regions.active import ActiveSet
from crest.samplers.rounds import Focus, Rounds, focus_subset


def rounds_of(losses: Tensor, focus: float = 0.5, floor: float = 0.25, seed: int = 0) -> Rounds:
    generator = torch.Generator().manual_seed(seed)
    return Rounds(ActiveSet(len(losses)), lambda some: losses[some], Focus(focus, floor), generator)


def test_chances_follow_the_formula() -> None:
    losses = torch.tensor([0.0, 0.02, 0.5, 1.48])  # of mean 0.5
    assert Focus(0.5, 0.25).chances(losses).tolist() == pytest.approx([0.25, 0.25, 1.0, 1.0])
    assert Focus(0.5, 0.1).chances(losses).tolist() == pytest.approx([0.1, 0.2, 1.0, 1.0])
    assert Focus(1.0, 0.01).chances(losses).tolist() == pytest.approx([0.01, 0.04, 1.0, 1.0])


def test_without_focus_or_losses_every_chance_is_1() -> None:
    assert (Focus(0.0, 0.25).chances(torch.rand(9)) == 1.0).all()
    assert (Focus(0.5, 0.25).chances(torch.zeros(9)) == 1.0).all()
    assert (Focus(0.5, 0.25).chances(torch.full((9,), torch.nan)) == 1.0).all()


def test_an_example_never_seen_is_in_every_round() -> None:
    losses = torch.tensor([torch.nan, 1.0, 0.0001])
    assert Focus(1.0, 0.1).chances(losses).tolist() == pytest.approx([1.0, 1.0, 0.1])


def test_losses_above_the_ceiling_are_those_of_wrong_labels() -> None:
    losses = torch.tensor([0.0, 0.02, 0.5, 1.48, torch.nan, 0.5])  # of mean 0.5
    found = Focus(0.5, 0.25, ceiling=2.0).chances(losses)
    assert found.tolist() == pytest.approx([0.25, 0.25, 1.0, 0.25, 1.0, 1.0])
    found = Focus(0.5, 0.1, ceiling=3.0).chances(losses)
    assert found.tolist() == pytest.approx([0.1, 0.2, 1.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("count", [1, 7, 32, 100])
def test_without_focus_every_example_comes_once_in_a_round(count: int) -> None:
    rounds = rounds_of(torch.ones(100), focus=0.0)
    drawn = torch.cat([rounds.take(count) for _ in range(300 // count)])
    times = drawn.bincount(minlength=100)
    assert times.max() - times.min() <= 1


@pytest.mark.parametrize("count", [1, 30, 64, 100])
def test_a_batch_never_holds_an_example_twice(count: int) -> None:
    losses = torch.rand(100, generator=torch.Generator().manual_seed(3)) ** 4
    rounds = rounds_of(losses)
    for _ in range(60):
        assert len(rounds.take(count).unique()) == count


def test_a_batch_holds_no_example_twice_where_few_happen_to_take_part() -> None:
    """Eight of 32 take part in the mean, and now and then fewer than the four of a hand."""
    losses = torch.full((32,), 1e-6).index_fill(0, torch.tensor(0), 32.0)
    for seed in range(20):
        rounds = rounds_of(losses, seed=seed)
        for _ in range(200):
            assert len(rounds.take(4).unique()) == 4


def test_examples_come_as_often_as_their_chance() -> None:
    """Of 400 examples, the hard come in every round and the learned in a quarter of them."""
    losses = torch.tensor([1.0, 0.0]).repeat(200)
    drawn = torch.cat([rounds_of(losses, seed=seed).take(100) for seed in range(200)])
    # A round holds 200 hard and 50 ± 6 learned ones, of which a hand of 100 takes the first.
    assert float((drawn % 2 == 1).double().mean()) == pytest.approx(0.2, abs=0.01)


def test_the_chance_an_example_was_drawn_with_is_known() -> None:
    losses = torch.tensor([1.0, 0.0]).repeat(200)
    rounds = rounds_of(losses)
    batch = rounds.take(120)
    assert torch.equal(rounds.chance(batch), torch.where(batch % 2 == 0, 1.0, 0.25))


def test_weights_of_one_over_the_chance_take_the_bias_away() -> None:
    """The mean of x weighed by one over the chance is that of x over all, in many rounds."""
    losses = torch.rand(200, generator=torch.Generator().manual_seed(1)) ** 3
    values = losses.double()
    rounds = rounds_of(losses, floor=0.1, seed=2)
    chance = Focus(0.5, 0.1).chances(losses).double()
    drawn = torch.cat([rounds.take(50) for _ in range(4000)])
    weights = 1.0 / chance[drawn]
    plain, weighed = values[drawn].mean(), (values[drawn] * weights).sum() / weights.sum()
    assert float(weighed) == pytest.approx(float(values.mean()), rel=0.02)
    assert float(plain) > 1.2 * float(values.mean())


def test_what_left_v_is_drawn_no_more() -> None:
    active = ActiveSet(50)
    rounds = Rounds(
        active, lambda some: some.float(), Focus(0.0, 0.25), torch.Generator().manual_seed(0)
    )
    rounds.take(10)
    active.exclude(torch.arange(20), 1)
    assert torch.cat([rounds.take(15) for _ in range(8)]).min() >= 20
    assert len(rounds.take(30).unique()) == 30


def test_stratified_rounds_hold_of_each_class_the_share_that_takes_part() -> None:
    """Of two classes of 200, one is learned: a round has 200 of one and some 50 of the other."""
    losses, labels = torch.tensor([1.0, 0.0]).repeat(200), torch.tensor([0, 1]).repeat(200)
    for seed in range(20):
        dice = torch.Generator().manual_seed(seed)
        focus = Focus(0.5, 0.25)
        rounds = Rounds(ActiveSet(400), lambda some: losses[some], focus, dice, strata=labels)
        batches = [rounds.take(50) for _ in range(4)]
        learned = torch.stack([labels[batch].sum() for batch in batches])
        assert int(learned.max() - learned.min()) <= 2  # a random order: 5 to 15
        assert int(learned.min()) >= 4
        assert len(torch.cat(batches).unique()) == 200


class PlainRounds(Rounds):
    """A round drawn with arrays of int64, and a sort for what is in the hand already."""

    def _start_round(self, batch: Tensor, count: int, uniform: bool) -> None:
        members = self._active.members().long()
        chance = self._focus.chances(self._losses(members))
        if float(chance.sum()) < 2 * count:
            chance = torch.ones_like(chance)
        part = torch.rand(len(members), generator=self._generator) < chance
        if part.sum() < count:
            chance, part = torch.ones_like(chance), torch.ones_like(part)
        members, chance = members[part], chance[part]
        self._chances[members] = chance
        members = members[torch.randperm(len(members), generator=self._generator)]
        near = torch.isin(members, torch.cat([self._waiting, batch]))
        order = near.int().argsort(stable=True)
        self._waiting = torch.cat([self._waiting, members[order]])


@pytest.mark.parametrize("count", [1, 30, 64, 130])
@pytest.mark.parametrize("known", [0.0, 0.5, 1.0])
def test_batches_are_those_of_the_plain_way(count: int, known: float) -> None:
    source = torch.Generator().manual_seed(7)
    losses = torch.rand(200, generator=source) ** 4
    losses[torch.rand(200, generator=source) >= known] = torch.nan
    both = []
    for kind in (Rounds, PlainRounds):
        active, generator = ActiveSet(200), torch.Generator().manual_seed(1)
        rounds = kind(active, lambda some: losses[some], Focus(0.5, 0.25), generator)
        batches = []
        for step in range(30):
            batches.append(rounds.take(count))
            if step == 10:
                active.exclude(torch.arange(0, 60), step)
        both.append((torch.stack(batches), rounds.chance(torch.arange(200)), generator.get_state()))
    assert all(torch.equal(found, expected) for found, expected in zip(*both, strict=True))
    assert both[0][0].dtype == torch.int64


def test_rounds_that_remember_no_chance_draw_the_same() -> None:
    losses = torch.rand(60, generator=torch.Generator().manual_seed(5))
    plain = rounds_of(losses)
    generator = torch.Generator().manual_seed(0)
    other = Rounds(ActiveSet(60), lambda some: losses[some], Focus(0.5, 0.25), generator, False)
    for _ in range(20):
        assert torch.equal(plain.take(17), other.take(17))
    assert other.state_dict()["chances"].nbytes == 0


def test_a_state_stays_as_it_was_when_rounds_go_on() -> None:
    losses = torch.tensor([1.0, 0.0]).repeat(200)
    rounds = rounds_of(losses)
    rounds.take(50)
    state = rounds.state_dict()
    before = {name: values.clone() for name, values in state.items()}
    rounds.take(300)
    assert all(torch.equal(state[name], before[name]) for name in before)


def test_a_loaded_state_goes_on_in_the_middle_of_a_round() -> None:
    losses = torch.rand(60, generator=torch.Generator().manual_seed(5))
    first = rounds_of(losses)
    first.take(17)
    generator = torch.Generator()
    generator.set_state(first._generator.get_state())
    second = Rounds(ActiveSet(60), lambda some: losses[some], Focus(0.5, 0.25), generator)
    second.load_state_dict(first.state_dict())
    for _ in range(9):
        batch = first.take(17)
        assert torch.equal(batch, second.take(17))
        assert torch.equal(first.chance(batch), second.chance(batch))


def test_a_focused_subset_holds_what_takes_part_before_anything_else() -> None:
    losses = torch.tensor([1.0, 0.0]).repeat(200)
    generator = torch.Generator().manual_seed(0)
    places, chance = focus_subset(losses, 100, Focus(0.5, 0.25), generator)
    assert len(places.unique()) == 100
    assert torch.equal(chance, torch.where(places % 2 == 0, 1.0, 0.25))
    draws = torch.cat(
        [focus_subset(losses, 100, Focus(0.5, 0.25), generator)[0] for _ in range(200)]
    )
    assert float((draws % 2 == 1).double().mean()) == pytest.approx(0.2, abs=0.01)
    assert len(focus_subset(losses, 400, Focus(0.5, 0.25), generator)[0].unique()) == 400


def test_likely_wrong_labels_take_part_less_often_also_where_all_do():
    quality = torch.linspace(0.0, 1.0, 400)
    generator = torch.Generator().manual_seed(0)
    rounds = Rounds(
        ActiveSet(400),
        lambda some: torch.ones(len(some)),
        Focus(0.5, 0.25),
        generator,
        quality=lambda: quality,
    )
    for uniform in (False, True):
        drawn = torch.zeros(400)
        for _ in range(400):
            drawn[rounds.take(20, uniform)] += 1
        assert drawn[0] == 0
        often = drawn / drawn[-1]
        assert often[:200].mean() == pytest.approx(0.25, abs=0.04)
        assert often[200:].mean() == pytest.approx(0.75, abs=0.04)
