"""What the quadratic model is over: it follows what is trained, and falls back where it must."""

import copy
import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest.errors import Interrupted, ParameterError, TrainingError
from crest.regions.coverage import Coverage
from crest.regions.curvature import NoCurvatureError
from crest.samplers.crest import Crest
from crest.training.loop import Run, train
from tests.tiny import FLOAT32, context, linear_split

ERROR = NoCurvatureError("an operation of this model has no second derivative (hard)")


class Hard(nn.Module):
    """A network with an operation that cannot be differentiated twice."""

    def __init__(self, operation: Any = F.hardsigmoid) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)
        self.operation = operation

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.operation(self.first(inputs)))


def run(model: nn.Module, steps: int = 12, **crest: object) -> tuple[Run, nn.Module]:
    settings = {"subset_size": 16, "minibatch_factor": 2.0, **crest}
    base = context(model, linear_split(), steps, crest=settings)
    return train(model, Crest(base), base.train, None, steps, base.settings.train, FLOAT32), model


def test_a_model_without_second_derivatives_runs_as_with_last_layer_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    found, model = run(Hard())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no second derivative" in caplog.messages[0]
    assert "last_layer" in caplog.messages[0]
    assert found.record.used == {"crest.quadratic.parameters": "last_layer"}
    caplog.clear()
    expected, other = run(Hard(), quadratic="last_layer")
    assert caplog.messages == []
    assert expected.record.used == {}
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    assert found.record.coresets is not None
    assert expected.record.coresets is not None
    assert found.record.coresets.equals(expected.record.coresets)


def test_curvature_that_becomes_no_number_midway_falls_back_from_there(caplog: Any) -> None:
    class Later(Hard):
        calls = 0

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.first(inputs)
            if torch.is_grad_enabled() and not self.training:
                self.calls += 1
                if self.calls > 2:
                    hidden = hidden + F.normalize(hidden * 0)
            return self.last(hidden)

    done, _ = run(Later(), threshold=1e-9, selection="ahead")
    assert done.record.used == {"crest.quadratic.parameters": "last_layer"}
    assert len(caplog.messages) == 1
    assert done.steps["loss"].is_finite().all()


def test_what_was_asked_for_by_a_pattern_or_by_last_layer_is_never_replaced() -> None:
    with pytest.raises(NoCurvatureError, match=r"set it to last_layer"):
        run(Hard(), quadratic="first.*")
    coverage = Coverage(Hard(), "last_layer")
    with pytest.raises(TrainingError, match="a method without a quadratic model"):
        coverage.fall_back(ERROR, warn=True)


def test_falling_back_to_a_frozen_last_layer_tells_both_reasons() -> None:
    model = Hard()
    model.last.requires_grad_(False)
    with pytest.raises(TrainingError, match=r"second derivative.*last layer is frozen.*greedy"):
        run(model)


def test_layers_frozen_and_unfrozen_midway_end_the_region_and_training_goes_on() -> None:
    model = Hard(torch.tanh)
    base = context(model, linear_split(), 30, crest={"subset_size": 16, "threshold": 1e9})
    method = Crest(base)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(12):
        if step in (4, 8):
            model.first.requires_grad_(step == 8)
        minibatch = method.minibatch(step)
        logits = model(base.train.inputs(minibatch.indices))
        F.cross_entropy(logits, base.train.labels[minibatch.indices]).backward()
        optimizer.step()
        method.update(minibatch, None, 0.0)
        optimizer.zero_grad()
    regions = method.record().regions
    assert regions is not None
    starts = set(regions["start_step"])
    assert {0, 4, 8} <= starts


def test_freezing_everything_midway_is_told() -> None:
    model = Hard(torch.tanh)
    method = Crest(context(model, linear_split(), 30, crest={"subset_size": 16}))
    method.update(method.minibatch(0), None, 0.0)
    model.requires_grad_(False)
    with pytest.raises(ParameterError, match="every parameter of the model is frozen"):
        method.minibatch(1)


@pytest.mark.parametrize("change", ["fall back", "freeze"])
def test_a_state_holds_what_was_covered(change: str) -> None:
    """Saved, loaded into a fresh method, the next steps are those of one that went on."""

    def fresh() -> tuple[nn.Module, Crest]:
        model = Hard(F.hardsigmoid if change == "fall back" else torch.tanh)
        return model, Crest(context(model, linear_split(), 30, crest={"subset_size": 16}))

    def go(model: nn.Module, method: Crest, steps: range) -> list[list[int]]:
        seen = []
        for step in steps:
            minibatch = method.minibatch(step)
            seen.append(minibatch.indices.tolist())
            method.update(minibatch, None, 0.0)
        return seen

    model, method = fresh()
    go(model, method, range(3))
    if change == "freeze":
        model.first.requires_grad_(False)
        go(model, method, range(3, 5))
    state = copy.deepcopy(method.state_dict())
    expected = go(model, method, range(5, 12))
    other, again = fresh()
    if change == "freeze":
        other.first.requires_grad_(False)
    again.load_state_dict(state)
    assert go(other, again, range(5, 12)) == expected
    assert again.record().used == method.record().used


def test_a_state_of_other_frozen_layers_begins_the_model_of_the_loss_anew() -> None:
    model = Hard(torch.tanh)
    method = Crest(context(model, linear_split(), 30, crest={"subset_size": 16}))
    method.update(method.minibatch(0), None, 0.0)
    state = copy.deepcopy(method.state_dict())
    other = Hard(torch.tanh)
    other.first.requires_grad_(False)
    again = Crest(context(other, linear_split(), 30, crest={"subset_size": 16}))
    again.load_state_dict(state)
    assert not other.first.weight.requires_grad
    for step in range(1, 6):
        again.update(again.minibatch(step), None, 0.0)
    assert len(again._quadratic.weights()) == sum(p.numel() for p in other.last.parameters())


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_stopped_while_a_region_opens_nothing_has_happened_nor_fallen_back(calls: int) -> None:
    """Selecting asks once, the estimate of all weights once, that of the last layer twice."""
    settings = {"subset_size": 16, "minibatch_factor": 2.0}
    stopping = [0, 0]  # calls, and at which to stop

    def stop() -> int:
        stopping[0] += 1
        return 15 if stopping[0] == stopping[1] else 0

    def drive(method: Crest) -> list[list[int]]:
        taken = []
        for step in range(6):
            minibatch = method.minibatch(step)
            method.update(minibatch, None, 0.0)
            taken.append(minibatch.indices.tolist())
        return taken

    whole = Crest(context(Hard(), linear_split(), 30, crest=settings))
    base = context(Hard(), linear_split(), 30, crest=settings)
    method = Crest(replace(base, stop=stop))
    stopping[1] = calls
    with pytest.raises(Interrupted):
        method.minibatch(0)
    assert method.record().used == {}
    assert drive(method) == drive(whole)
    assert (
        method.record().used == whole.record().used == {"crest.quadratic.parameters": "last_layer"}
    )
    assert method.record().counts == whole.record().counts
