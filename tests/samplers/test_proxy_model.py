"""A proxy against a loop written plainly."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crest.data.augment import Augmentation
from crest.errors import TrainingError
from crest.inference.evaluator import Evaluator
from crest.inference.flops import count_flops
from crest.loop_support.state import digest_of
from crest.parameters.shared import ProxyModelParameters
from crest.samplers.proxy_model import ProxyModel, one_cycle
from tests.tiny import FLOAT32, Given, context, convnet, image_split

BATCHES = 7
SETTINGS = ProxyModelParameters(interval=3, lr=0.2)


def given() -> Given:
    split = image_split(40, augmentation=Augmentation(crop=1, flip=True))
    found = context(convnet(), split, 30, batch_selection={})
    return replace(found, build_model=lambda name: convnet(seed=3))


def batches(base: Given) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(BATCHES):
        indices = torch.randperm(40, generator=generator)[:10]
        found.append((indices, base.train.draw_views(10, generator)))
    return found


def test_it_scores_each_batch_and_then_trains_on_every_kth_as_a_plain_loop() -> None:
    base, plain = given(), convnet(seed=3)
    proxy = ProxyModel(base, SETTINGS)
    optimizer = torch.optim.SGD(
        plain.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    evaluator = Evaluator(plain, base.train, FLOAT32)
    for number, (indices, draws) in enumerate(batches(base)):
        found = proxy.score(indices, draws, number / 30)
        expected = evaluator.score(indices, draws=draws)
        torch.testing.assert_close(found.logits, expected.logits)
        if number % 3 == 0:
            optimizer.param_groups[0]["lr"] = 0.2 * one_cycle(number / 30)
            optimizer.zero_grad()
            logits = plain.train()(base.train.views(indices, draws))
            F.cross_entropy(logits, base.train.labels[indices]).backward()
            optimizer.step()
    for one, other in zip(proxy.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_its_flop_are_those_of_what_it_scored_and_trained_on() -> None:
    base = given()
    proxy = ProxyModel(base, SETTINGS)
    for number, (indices, draws) in enumerate(batches(base)):
        proxy.score(indices, draws, number / 30)
    each = count_flops(proxy.model, base.train)
    assert proxy.scored == 70
    assert each is not None
    assert proxy.flops == 70 * each.forward + 30 * each.step  # of batches 0, 3 and 6


@pytest.mark.parametrize("stop", [2, 4])
def test_one_that_is_resumed_is_one_that_never_stopped(stop) -> None:
    base = given()
    whole = [one.logits for one in scored(ProxyModel(base, SETTINGS), base, range(BATCHES))]
    first, again = ProxyModel(base, SETTINGS), ProxyModel(base, SETTINGS)
    begun = [one.logits for one in scored(first, base, range(stop))]
    state = first.state_dict()
    digest = digest_of(state)
    scored(first, base, range(stop, BATCHES))
    assert digest_of(state) == digest  # what was saved does not move with the model
    again.load_state_dict(state)
    rest = [one.logits for one in scored(again, base, range(stop, BATCHES))]
    assert all(torch.equal(*pair) for pair in zip(begun + rest, whole, strict=True))


def test_dropout_is_the_same_whatever_others_draw_and_leaves_their_draws() -> None:
    def model(name: str) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.5), convnet(seed=3))

    base = replace(given(), build_model=model)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append([one.logits for one in scored(ProxyModel(base, SETTINGS), base, range(5))])
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_proxy_that_diverges_is_named() -> None:
    base = given()
    proxy = ProxyModel(base, ProxyModelParameters(interval=1, lr=1e9))
    with pytest.raises(
        TrainingError, match=r"scores candidates is nan: lower batch_selection\.prox"
    ):
        scored(proxy, base, range(BATCHES))


def scored(proxy, base, numbers):
    some = batches(base)
    return [proxy.score(*some[number], number / 30) for number in numbers]


def test_its_rate_rises_and_falls_as_a_cosine() -> None:
    assert one_cycle(0.0) == pytest.approx(0.01, abs=1e-3)
    assert one_cycle(0.1) == 1.0
    assert one_cycle(0.55) == pytest.approx(0.5)
    assert one_cycle(1.0) == pytest.approx(0.0)
