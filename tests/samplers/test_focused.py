"""Focused against rounds dealt by hand, and how often it shows what is learned."""

import pytest
import torch
from torch import Tensor

from crest.errors import OrderError, ParameterError
from crest.regions.active import ActiveSet
from crest.samplers.focused import Focused
from crest.samplers.memory import Memory
from crest.samplers.rounds import Focus, Rounds
from crest.selection.coresets import Outputs
from tests.tiny import CLASSES, CPU, context, image_split

LABELS = image_split().labels


def outputs_for(indices: Tensor, learned: Tensor) -> Outputs:
    """Outputs that are right by a margin of ten where ``learned``, of guessing elsewhere."""
    right = torch.nn.functional.one_hot(LABELS[indices], CLASSES).float()
    return outputs_of(indices, 10.0 * right * learned[indices, None])


def outputs_of(indices: Tensor, logits: Tensor) -> Outputs:
    return Outputs.of(logits, LABELS[indices], torch.ones(len(indices)))


def run(method: Focused, steps: int, learned: Tensor) -> Tensor:
    """Return how often each example was trained on."""
    taken = []
    for step in range(steps):
        minibatch = method.minibatch(step)
        taken.append(minibatch.indices)
        method.update(minibatch, outputs_for(taken[-1], learned), 0.0)
    return torch.bincount(torch.cat(taken), minlength=len(LABELS))


@pytest.mark.parametrize(
    ("draw", "strata"), [("without_replacement", None), ("stratified_without_replacement", LABELS)]
)
def test_minibatches_are_those_of_rounds_drawn_by_hand(draw: str, strata: Tensor | None) -> None:
    settings = {"draw": draw, "focus": 1.0, "focus_floor": 0.1, "focus_until": 1.0}
    base = context(steps=100, focused=settings)
    plain = context()
    method = Focused(base)
    memory = Memory(LABELS, CPU)
    active = ActiveSet(len(LABELS))
    rounds = Rounds(
        active, memory.losses, Focus(1.0, 0.1), plain.generator, remembered=False, strata=strata
    )
    dice = torch.Generator().manual_seed(1)
    for step in range(100):
        found, expected = method.minibatch(step), rounds.take(8)
        assert torch.equal(found.indices, expected)
        assert found.weights.tolist() == [1.0] * 8
        outputs = outputs_of(expected, torch.randn(8, CLASSES, generator=dice))
        method.update(found, outputs, 0.0)
        memory.remember(expected, outputs.logits, outputs.losses)


def test_the_first_round_shows_everything_once() -> None:
    learned = torch.ones(len(LABELS), dtype=torch.bool)
    assert run(Focused(context(method="focused")), len(LABELS) // 8, learned).tolist() == [1] * len(
        LABELS
    )


def test_what_is_learned_comes_as_often_as_the_floor_says() -> None:
    """Half are learned: 1 in 4 rounds of theirs, so that a round has 120 + 30 examples."""
    learned = torch.arange(len(LABELS)) < 120
    counts = run(Focused(context(steps=8000, focused={"focus_until": 1.0})), 8000, learned).float()
    rounds = 8000 * 8 / 150
    assert float(counts[~learned].mean()) == pytest.approx(rounds, rel=0.02)
    assert float(counts[learned].mean()) == pytest.approx(rounds / 4, rel=0.05)


def test_without_a_focus_all_are_drawn_uniformly() -> None:
    learned = torch.arange(len(LABELS)) < 120
    method = Focused(context(focused={"focus": 0.0}))
    assert run(method, 90, learned).tolist() == [3] * len(LABELS)


def test_every_class_has_its_share_of_each_minibatch() -> None:
    """Three classes of 80 in mini-batches of 8: 2 or 3 of each, not 0 to 7 as in random order."""
    method = Focused(context(steps=90, focused={"focus": 0.0}))
    everything = torch.ones(len(LABELS), dtype=torch.bool)
    for step in range(30):
        minibatch = method.minibatch(step)
        counts = LABELS[minibatch.indices].bincount(minlength=CLASSES)
        assert counts.min() >= 2
        assert counts.max() <= 4
        method.update(minibatch, outputs_for(minibatch.indices, everything), 0.0)


def test_after_its_share_of_the_steps_all_are_drawn_uniformly() -> None:
    """Half are learned; the last rounds have all of them, be it that one is still being dealt."""
    learned = torch.arange(len(LABELS)) < 120
    method = Focused(context(steps=2000, focused={"focus_until": 0.5}))
    run(method, 1000, learned)
    left = len(method._rounds._waiting) // 8 + 1
    for step in range(1000, 1000 + left):
        minibatch = method.minibatch(step)
        method.update(minibatch, outputs_for(minibatch.indices, learned), 0.0)
    counts = torch.zeros(len(LABELS), dtype=torch.int64)
    for step in range(1000 + left, 1900):
        minibatch = method.minibatch(step)
        method.update(minibatch, outputs_for(minibatch.indices, learned), 0.0)
        counts[minibatch.indices] += 1
    assert int(counts.max() - counts.min()) <= 2
    assert int(counts.min()) >= (900 - left) * 8 // 240 - 1


def test_a_step_without_logits_is_refused() -> None:
    method = Focused(context(method="focused"))
    minibatch = method.minibatch(0)
    with pytest.raises(OrderError, match=r"without its logits; pass them: step\(logits\)"):
        method.update(minibatch, None, 0.0)


def test_a_minibatch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"train\.batch_size: 241 is more than the 240"):
        Focused(context(method="focused", train={"batch_size": 241}))
