"""SelectiveBackprop against its rule written plainly, and on a model that has learned all."""

import bisect

import pytest
import torch
from torch import nn

from crest.errors import ParameterError, TrainingError
from crest.inference.evaluator import Evaluator
from crest.loop_support.state import digest_of
from crest.samplers.passes import Passes
from crest.samplers.selective_backprop import SelectiveBackprop, ranks
from tests.tiny import FLOAT32, Given, LinearSplit, context, convnet, image_split

M, STEPS = 8, 60


def given(power: float = 2.0, history: int = 50, **changes: object) -> Given:
    """48 images: six steps of the first epoch."""
    settings = {"power": power, "history": history}
    return context(convnet(), image_split(6 * M), STEPS, selective_backprop=settings, **changes)


def drift(model: nn.Module, step: int) -> None:
    """Change the model as a step might."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)


def taken(method: SelectiveBackprop, base: Given, steps: range) -> list[list[int]]:
    found = []
    for step in steps:
        minibatch = method.minibatch(step)
        assert minibatch.weights.tolist() == [1.0] * M
        method.update(minibatch, None, 0.0)
        drift(base.model, step)
        found.append(minibatch.indices.tolist())
    return found


def by_hand(base: Given, power: float, size: int) -> tuple[list[list[int]], int]:
    """The mini-batches, and how many examples were scored."""
    evaluator = Evaluator(base.model, base.train, FLOAT32)
    passes = Passes(len(base.train), base.generator)
    kept: list[int] = []
    recent: list[float] = []
    found, drawn, scored = [], 0, 0
    for step in range(STEPS):
        while len(kept) < M:
            candidates = passes.take(M)
            drawn += M
            if drawn <= len(base.train):
                kept += candidates.tolist()
                continue
            losses = evaluator.score(candidates).losses.tolist()
            scored += M
            recent = (recent + losses)[-size:]
            coins = torch.rand(M, generator=base.generator).tolist()
            for index, loss, coin in zip(candidates.tolist(), losses, coins, strict=True):
                smaller = sum(other < loss for other in recent)
                equal = sum(other == loss for other in recent)
                if coin < ((smaller + equal / 2) / len(recent)) ** power:
                    kept.append(index)
        found.append(kept[:M])
        kept = kept[M:]
        drift(base.model, step)
    return found, scored


@pytest.mark.parametrize(("power", "history"), [(1.0, 1024), (2.0, 20), (0.0, 5)])
def test_minibatches_are_those_of_the_rule_written_plainly(power: float, history: int) -> None:
    base = given(power, history)
    method = SelectiveBackprop(base)
    expected, scored = by_hand(given(power, history), power, history)
    assert taken(method, base, range(STEPS)) == expected
    assert method.record().counts == {"examples_scored": scored}
    # A share 1 / (power + 1) is kept, of some hundreds.
    assert scored == pytest.approx((STEPS - 6) * M * (power + 1), rel=0.25)


def test_the_first_epoch_is_kept_whole_and_scores_nothing() -> None:
    base = given()
    method = SelectiveBackprop(base)
    first = taken(method, base, range(6))
    assert sorted(index for batch in first for index in batch) == list(range(6 * M))
    assert method.record().counts == {"examples_scored": 0}
    assert method.record().seconds == {"select": 0.0}
    taken(method, base, range(6, 8))
    assert method.record().seconds["select"] > 0  # type: ignore[index]


def test_a_run_that_is_resumed_is_one_that_never_stopped() -> None:
    whole = given()
    expected = taken(SelectiveBackprop(whole), whole, range(STEPS))
    for stop in (3, 31):  # in the first epoch, and later with some kept for another step
        base = given()
        first, again = SelectiveBackprop(base), SelectiveBackprop(base)
        start = taken(first, base, range(stop))
        state = first.state_dict()
        again.load_state_dict(state)
        assert digest_of(again.state_dict()) == digest_of(state)
        assert start + taken(again, base, range(stop, STEPS)) == expected
        assert again.record().counts["examples_scored"] > 0  # type: ignore[index]


def test_the_rank_of_a_loss_is_the_share_of_those_below_it_and_of_half_its_equals() -> None:
    losses = torch.tensor([0.0, 1.0, 2.0, 2.0, 5.0])
    history = torch.tensor([2.0, 0.0, 2.0, 1.0, 3.0, 0.0, 2.0, 7.0])
    in_order = sorted(history.tolist())
    for loss, rank in zip(losses.tolist(), ranks(losses, history).tolist(), strict=True):
        below, up_to = bisect.bisect_left(in_order, loss), bisect.bisect_right(in_order, loss)
        assert rank == (below + up_to) / 16
    assert ranks(losses, history).tolist() == [2 / 16, 5 / 16, 9 / 16, 9 / 16, 14 / 16]


def certain(scale: float) -> tuple[nn.Module, LinearSplit]:
    """A model whose losses are all 0 where ``scale`` is large, and NaN where it is infinite."""
    labels = torch.arange(3 * M) % 3
    model = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(scale * torch.eye(3))
    return model, LinearSplit(torch.eye(3)[labels], labels)


def test_where_every_loss_is_0_a_half_to_that_power_is_kept() -> None:
    model, split = certain(1e6)
    base = context(model, split, 30, selective_backprop={"power": 2.0})  # type: ignore[arg-type]
    method = SelectiveBackprop(base)
    for step in range(30):
        method.minibatch(step)
    assert method.record().counts["examples_scored"] == pytest.approx(27 * M * 4, rel=0.25)  # type: ignore[index]


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    model, split = certain(float("inf"))
    method = SelectiveBackprop(context(model, split, 30, selective_backprop={}))  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="step 3"):
        for step in range(30):
            method.minibatch(step)


def test_a_minibatch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"train\.batch_size: 49 is more than the 48"):
        SelectiveBackprop(given(train={"batch_size": 49}))
