"""ByRule against rounds that are drawn by hand with its rule, and what it asks of its loop."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from crest.errors import OrderError
from crest.samplers.base import Context
from crest.samplers.by_rule import ByRule
from crest.samplers.loss_history import LossHistory
from crest.samplers.loss_rounds import LossRounds
from crest.samplers.rules import build_rule
from crest.selection.coresets import MiniBatchCoreset, Outputs
from tests.tiny import CLASSES, context, image_split

LABELS = image_split().labels
M, STEPS = 8, 120


def base() -> Context:
    return context(steps=STEPS)


def outputs(minibatch: MiniBatchCoreset, step: int) -> Outputs:
    """Outputs of a step, as if at random."""
    logits = torch.randn(M, CLASSES, generator=torch.Generator().manual_seed(step))
    return Outputs.of(logits, LABELS[minibatch.indices], minibatch.weights)


def train(method: ByRule, steps: range) -> list[tuple[list[int], list[float]]]:
    """Take steps; returns the indices and weights of each."""
    found = []
    for step in steps:
        minibatch = method.minibatch(step)
        method.update(minibatch, outputs(minibatch, step), 0.0)
        found.append((minibatch.indices.tolist(), minibatch.weights.tolist()))
    return found


def by_hand(name: str, strata: Tensor | None) -> list[tuple[list[int], list[float]]]:
    """Return what a rule says if every loss counts at once."""
    rule = build_rule(name, {})
    history = LossHistory(len(LABELS), rule)
    rounds = LossRounds(len(LABELS), rule, base().generator, strata)
    found = []
    for step in range(STEPS):
        if not rounds.holds(M):
            rounds.begin(history.observed(step / STEPS, rounds.begun, LABELS), M)
        order, start = rounds.take(M)
        one = MiniBatchCoreset(
            order.indices[start : start + M].long(), order.weights_of(start, start + M)
        )
        history.remember(one.indices[None], outputs(one, step).losses[None])
        found.append((one.indices.tolist(), one.weights.tolist()))
    return found


@pytest.mark.parametrize(("name", "stratified"), [("infobatch", False), ("ucb", True)])
def test_minibatches_are_those_of_rounds_drawn_by_hand(name: str, stratified: bool) -> None:
    method = ByRule(base(), name, build_rule(name, {}), stratified)
    expected = by_hand(name, LABELS if stratified else None)
    assert train(method, range(STEPS)) == expected
    assert (name == "infobatch") == any(weight != 1.0 for _, row in expected for weight in row)


def test_a_run_that_is_resumed_within_a_weighted_round_is_one_that_never_stopped() -> None:
    def made() -> ByRule:
        return ByRule(base(), "infobatch", build_rule("infobatch", {"until": 1.0}), False)

    first, again = made(), made()
    start = train(first, range(47))
    again.load_state_dict(first.state_dict())
    rest = train(again, range(47, STEPS))
    assert start + rest == train(made(), range(STEPS))
    assert {weight for _, row in rest[:2] for weight in row} == {1.0, 2.0}


def test_losses_that_a_scaler_skipped_are_left_out() -> None:
    method = ByRule(replace(base(), may_skip=True), "ucb", build_rule("ucb", {}), False)
    minibatch = method.minibatch(0)
    logits = torch.zeros(M, CLASSES)
    logits[0] = torch.inf
    method.update(minibatch, Outputs.of(logits, LABELS[minibatch.indices], torch.ones(M)), 0.0)
    known = ~method.state_dict()["history"]["losses"].isnan()
    assert sorted(known.nonzero().flatten().tolist()) == sorted(minibatch.indices[1:].tolist())


def test_a_step_without_its_logits_is_refused() -> None:
    method = ByRule(base(), "ucb", build_rule("ucb", {}), False)
    with pytest.raises(OrderError, match=r"ucb: the losses .* pass them: step\(logits\)"):
        method.update(method.minibatch(0), None, 0.0)
