"""Batch selection by a small model in a loop of one's own."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crest import Coresets
from crest.errors import ParameterError
from crest.methods import METHODS
from crest.training import optimizers
from crest.training.loop import train
from crest.training.schedules import learning_rate
from tests.tiny import FLOAT32, context, convnet, image_split

STEPS = 20
OPTIONS = {"score_by": "proxy", "keep": "hardest", "share": 0.5}


def narrow() -> nn.Module:
    """A model of too few classes."""
    model = convnet()
    model.linear = nn.Linear(model.linear.in_features, 2)
    return model


def selected(model: nn.Module, **others: Any) -> Coresets:
    split = image_split()
    options: dict[str, Any] = {"seed": 3, "method": "batch_selection", **others}
    return Coresets(model, split.inputs, split.labels, steps=STEPS, batch_size=8, **options)


@pytest.mark.parametrize("options", [OPTIONS, {"score_by": "memory_and_proxy"}])
def test_a_plain_loop_ends_as_the_pipelines_does_bit_for_bit(options: dict[str, Any]) -> None:
    model, split = convnet(), image_split()
    base = context(model, split, steps=STEPS, train={"seed": 3}, batch_selection=options)
    base = replace(base, build_model=lambda name: convnet(seed=9))
    settings = base.settings.train
    chosen = METHODS["batch_selection"].build(base)
    train(model, chosen, split, None, STEPS, settings, FLOAT32)

    own, small = convnet(), convnet(seed=9)
    optimizer = optimizers.build(own, settings)
    coresets = selected(own, scoring_model=small, **options)
    before = small.linear.weight.clone()
    for indices, weights in coresets:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(coresets.steps_taken, STEPS, settings)
        logits = own(split.inputs(indices))
        losses = F.cross_entropy(logits, split.labels[indices], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        coresets.step(logits)
    for one, other in zip(own.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(small.linear.weight, before)  # it is trained, in place


def test_a_proxy_is_asked_for_where_none_is_given() -> None:
    with pytest.raises(ParameterError, match="scoring_model: none was given"):
        selected(convnet(), **OPTIONS)


@pytest.mark.parametrize(
    ("score_by", "model", "message"),
    [
        ("proxy", "small", "must be a module, not a str"),
        ("proxy", nn.Flatten(), "its weights are nowhere, the model's on cpu"),
        ("proxy", nn.Linear(2, 2, device="meta"), "on meta, the model's on cpu"),
        ("memory", nn.Linear(2, 2), "'batch_selection' scores nothing by it"),
        ("proxy", convnet().requires_grad_(False), "all of its weights are frozen"),
        ("proxy", nn.Linear(5, 2), "model, inputs: scoring examples 0 and .* fails"),
        ("proxy", narrow(), "outside the 2 classes"),
    ],
)
def test_a_model_that_nothing_can_be_scored_by_is_refused(score_by, model, message) -> None:
    with pytest.raises(ParameterError, match=f"scoring_model: .*{message}"):
        selected(convnet(), score_by=score_by, scoring_model=model)


def test_the_model_that_is_trained_does_not_score_beside_itself() -> None:
    model = convnet()
    with pytest.raises(ParameterError, match="is the very model that is trained"):
        selected(model, score_by="proxy", scoring_model=model)


def test_a_state_of_another_scoring_model_is_refused() -> None:
    coresets = selected(convnet(), score_by="proxy", scoring_model=convnet())
    state = coresets.state_dict()
    selected(convnet(), score_by="proxy", scoring_model=convnet(4)).load_state_dict(state)
    wider = convnet()
    wider.linear = nn.Linear(wider.linear.in_features, 11)
    for another in (wider, nn.Sequential(convnet())):
        coresets = selected(convnet(), score_by="proxy", scoring_model=another)
        with pytest.raises(ParameterError, match="scoring_model"):
            coresets.load_state_dict(state)
