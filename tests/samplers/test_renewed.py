"""Training on a coreset that is renewed: how it is dealt, when it is renewed, what is kept."""

from dataclasses import replace

import pytest
import torch

from crest.errors import Interrupted, ParameterError, TrainingError
from crest.inference.evaluator import Evaluator
from crest.methods import METHODS
from crest.samplers.renewed import Coreset, Observe, Renewed, in_groups
from crest.selection.gradients import find_proxy
from tests.tiny import FLOAT32, context, image_split

RENEWED = ["craig", "gradmatch", "glister"]


class Chosen:
    """Chooses 20 random examples, weighted 1 to 20 in turn, and remembers them."""

    def __init__(self, base) -> None:
        self.generator = base.generator
        self.coresets: list[Coreset] = []

    def __call__(self, observe: Observe) -> Coreset:
        observe(torch.arange(240))
        indices = torch.randperm(240, generator=self.generator)[:20]
        weights = torch.arange(1.0, 21.0) / 10.5
        self.coresets.append(Coreset(indices, weights))
        return self.coresets[-1]


def drive(method, steps: int, first: int = 0) -> list:
    taken = []
    for step in range(first, first + steps):
        taken.append(method.minibatch(step))
        method.update(taken[-1], None, 0.5)
    return taken


def test_a_coreset_is_drawn_without_replacement_and_renewed_after_its_passes() -> None:
    base = context(train={"batch_size": 4})
    choose = Chosen(base)
    method = Renewed(base, choose, 20, 2, 240)
    taken = drive(method, 25)
    assert len(choose.coresets) == 3
    for number, coreset in enumerate(choose.coresets):
        some = taken[10 * number : 10 * number + 10]
        weight_of = dict(zip(coreset.indices.tolist(), coreset.weights.tolist(), strict=True))
        drawn = torch.cat([minibatch.indices for minibatch in some])
        for one in drawn.split(20):
            assert one.sort().values.tolist() == sorted(weight_of) or len(some) < 10
        assert len(drawn[:20].unique()) == 20
        weights = torch.cat([minibatch.weights for minibatch in some]).tolist()
        assert weights == [weight_of[index] for index in drawn.tolist()]
        assert [minibatch.region for minibatch in some] == [number] * len(some)
        assert [minibatch.number for minibatch in some] == list(range(len(some)))


def test_the_tables_hold_what_was_trained_on() -> None:
    base = context(train={"batch_size": 4})
    taken = drive(method := Renewed(base, Chosen(base), 20, 1, 200), 12)
    record = method.record()
    assert record.coresets is not None
    assert record.regions is not None
    assert record.scored is not None
    assert record.seconds is not None
    assert record.counts == {"examples_scored": 3 * 240}
    assert record.regions["start_step"].to_list() == [0, 5, 10]
    assert record.regions["end_step"].to_list() == [5, 10, 12]
    assert record.regions["minibatches"].to_list() == [5, 5, 2]
    assert record.regions["active"].to_list() == [200] * 3
    assert record.regions["excluded"].to_list() == [40] * 3
    assert record.regions["seconds_train"].to_list() == [2.5, 2.5, 1.0]
    assert record.seconds["select"] == pytest.approx(record.regions["seconds_select"].sum())
    assert record.scored["seen"].to_list() == [3] * 240
    losses = Evaluator(base.model, base.train, FLOAT32).score(torch.arange(240)).losses
    assert record.regions["loss_start"][0] == pytest.approx(float(losses.mean()), rel=1e-5)
    for minibatch in taken:
        rows = record.coresets.filter(region=minibatch.region, minibatch=minibatch.number)
        assert rows["index"].to_list() == minibatch.indices.tolist()
        assert rows["weight"].to_list() == minibatch.weights.tolist()
        torch.testing.assert_close(torch.tensor(rows["loss"]), losses[minibatch.indices])


@pytest.mark.parametrize("name", RENEWED)
def test_a_stop_while_choosing_changes_nothing(name: str) -> None:
    """Stopped wherever it asks, it goes on to the same mini-batches."""
    whole = drive(METHODS[name].build(context().of(name)), 8)
    asked = 0
    while asked < 100:
        calls = iter([0] * asked + [15])
        base = replace(context(), stop=lambda calls=calls: next(calls, 0))
        method = METHODS[name].build(base.of(name))
        try:
            drive(method, 8)
        except Interrupted:
            pass
        else:
            break
        again = METHODS[name].build(context().of(name))
        state = method.state_dict()
        period = state["period"]
        done = 0 if period is None else period["start_step"] + period["drawn"]
        again.load_state_dict(state)
        for found, expected in zip(drive(again, 8 - done, done), whole[done:], strict=True):
            assert torch.equal(found.indices, expected.indices)
            assert torch.equal(found.weights, expected.weights)
        asked += 1
    assert 3 <= asked < 100


def test_what_is_chosen_in_groups_is_chosen_within_classes_by_their_shares() -> None:
    split = image_split(100)
    split.labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    base = context(split=split)
    seen = []

    def first(gradients, size):
        seen.append((len(gradients), size))
        return torch.arange(size), torch.full((size,), len(gradients) / size)

    choose = in_groups(base, first, find_proxy("logits"), 20, True, 25)
    coreset = choose(lambda indices: Evaluator(base.model, split, FLOAT32).score(indices))
    assert [count for count, _ in seen] == [20, 20, 20, 15, 15, 10]
    assert [share for _, share in seen] == [4, 4, 4, 3, 3, 2]
    assert torch.bincount(split.labels[coreset.indices]).tolist() == [12, 6, 2]
    assert coreset.weights.tolist() == pytest.approx([1.0] * 20)


@pytest.mark.parametrize("name", RENEWED)
def test_a_model_whose_losses_are_no_numbers_is_told_so(name: str) -> None:
    base = context()
    method = METHODS[name].build(base.of(name))
    with torch.no_grad():
        next(base.model.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"is nan at step 0, .*weights"):
        method.minibatch(0)


@pytest.mark.parametrize("name", RENEWED)
def test_a_coreset_smaller_than_a_minibatch_is_refused_by_its_own_key(name: str) -> None:
    message = rf"{name}\.coreset_size: 7 is 7 of \d+ examples, less than train\.batch_size \(8\)"
    with pytest.raises(ParameterError, match=message):
        METHODS[name].build(context(**{name: {"coreset_size": 7}}))
