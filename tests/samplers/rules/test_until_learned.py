"""A rule that ends once examples are learned."""

import pytest
import torch

from crest.errors import ParameterError
from crest.samplers.loss_history import LossHistory
from crest.samplers.loss_rounds import LossRounds
from crest.samplers.rules import Observed, build_rule
from crest.samplers.rules.until_learned import until_learned
from tests.samplers.rules.rounds import generator

N, CLASSES = 3000, 3
LABELS = torch.arange(N) % CLASSES
FOCUSED = build_rule("focused", {})
RULE = until_learned(FOCUSED, 0.1)
FIRST = torch.rand(N, generator=generator(1)) + 1.5


def after(share: float) -> Observed:
    """Return what is known after the mean loss has fallen to a share of the first."""
    history = LossHistory(N, RULE)
    for losses in (FIRST, share * FIRST):
        history.remember(torch.arange(N)[None], losses[None])
    return history.observed(0.5, 2, LABELS)


@pytest.mark.parametrize("share", [0.9, 0.3, 0.11])
def test_it_is_the_rule_until_losses_are_a_tenth_of_the_first(share) -> None:
    expected, drawn = (rule.draw(after(share), generator()) for rule in (FOCUSED, RULE))
    if expected is None:
        assert drawn is None
        return
    assert drawn.members.equal(expected.members)
    assert drawn.stratified


def classes_of_batches(share: float) -> torch.Tensor:
    """Return how many examples of each class batches of 30 of a round have, 100×3."""
    rounds = LossRounds(N, RULE, generator(2), LABELS)
    rounds.begin(after(share), 30)
    order, start = rounds.take(30)
    assert start == 0
    assert order.indices.sort().values.equal(torch.arange(N, dtype=torch.int32))
    batches = LABELS[order.indices.long()].reshape(100, 30)
    return torch.stack([batches.eq(label).sum(1) for label in range(CLASSES)], 1)


def test_from_there_on_rounds_have_all_examples_and_batches_any_classes() -> None:
    assert classes_of_batches(0.6).eq(10).all()
    plain = classes_of_batches(0.09)
    # Without replacement a class's count in a batch has the hypergeometric variance, nearly 20/3.
    assert 5.0 < plain.double().var(0).mean() < 9.0


def test_where_nothing_is_known_the_rule_is_there() -> None:
    assert RULE.draw(LossHistory(N, RULE).observed(0.0, 0, LABELS), generator()) is None


def test_labels_that_are_not_believed_stay_out_of_plain_rounds_too() -> None:
    rounds = LossRounds(N, RULE, generator(2), LABELS)
    rounds.begin(after(0.05), 30, LABELS.ne(0).float())
    order, _ = rounds.take(30)
    assert len(order.indices) == 2 * N // CLASSES
    assert LABELS[order.indices.long()].ne(0).all()


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterError, match="share: must be a number from 0 to 1"):
        until_learned(FOCUSED, 2.0)
