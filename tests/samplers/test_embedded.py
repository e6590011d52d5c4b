"""What a pretrained model makes of examples, by which label noise is found."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from crest.devices.precision import Precision
from crest.errors import Interrupted, ParameterError
from crest.inference.evaluator import Evaluator
from crest.label_noise import quality_of
from crest.methods.adaptive import AdaptiveParameters, build
from crest.samplers import embedded as module
from crest.samplers.base import Context
from crest.samplers.embedded import Embedded
from tests.tiny import context

CPU = torch.device("cpu")
N, M, SIDE = 1200, 30, 4


class Parity:
    """Examples whose class is that of a product of signs: nothing linear tells it."""

    def __init__(self, noisy: bool = True) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(N, SIDE, generator=generator)
        self.true = (self.features[:, 0] * self.features[:, 1] > 0).long()
        wrong = torch.randperm(N, generator=generator)[: N // 5 if noisy else 0]
        self.labels = self.true.clone()
        self.labels[wrong] = 1 - self.labels[wrong]
        self.lengths = None

    def __len__(self) -> int:
        return N

    def inputs(self, indices: Tensor) -> Tensor:
        return self.features[indices]


class Products(nn.Module):
    """A network that has learned to multiply; counts what goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(SIDE, 2)
        self.rows = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.rows += len(inputs)
        return self.head(inputs * inputs.roll(-1, 1))


def given(data: Parity, model: nn.Module, pretrained: bool = True) -> Context:
    return replace(
        context(steps=200),
        train=data,
        model=model,
        batch_size=M,
        parameters=AdaptiveParameters(),
        pretrained=pretrained,
    )


def embedded(data: Parity, model: nn.Module, pause=lambda: None) -> Embedded:
    return Embedded(Evaluator(model, data, Precision("float32", CPU)), "key", pause)


def expected(data: Parity) -> Tensor:
    return data.features * data.features.roll(-1, 1)


def test_they_are_the_last_layers_inputs_each_computed_once():
    data, model = Parity(), Products()
    asked = embedded(data, model)
    for some in ([3, 1], [1, 5, 3, 8], [8]):
        assert asked(torch.tensor(some)).equal(expected(data)[some])
    assert asked.scored == model.rows == 4


def test_what_there_is_no_room_for_is_computed_again(monkeypatch):
    monkeypatch.setattr(module, "KEPT_EXAMPLES", 3)
    data, model = Parity(), Products()
    asked = embedded(data, model)
    for some in ([0, 1], [2, 3, 4], [4, 0, 3, 2]):
        assert asked(torch.tensor(some)).equal(expected(data)[some])
    assert asked.scored == 2 + 3 + 2  # 3 and 4 once more


@pytest.mark.parametrize("pretrained", [True, False])
def test_noise_is_found_by_what_a_pretrained_model_tells(pretrained):
    data = Parity()
    method = build(given(data, Products(), pretrained))
    batches = [method.minibatch(0)]  # the first round rests on it
    quality = method.state_dict()["quality"]
    scored = method.record().counts
    assert batches
    if not pretrained:
        assert not len(quality["found"])
        assert scored is None
        return
    wrong = data.labels != data.true
    assert quality["found"][wrong].mean() < 0.4 < 0.8 < quality["found"][~wrong].mean()
    assert scored == {"examples_scored": N}


def test_it_is_taken_together_with_the_inputs():
    """Where each of both tells half of the truth, neither alone finds all that both do."""
    data, model = Parity(), Products()
    generator = torch.Generator().manual_seed(1)
    data.true = (expected(data)[:, 0] + data.features[:, 2] > 0).long()
    wrong = torch.zeros(N, dtype=torch.bool)
    wrong[torch.randperm(N, generator=generator)[: N // 5]] = True
    data.labels = torch.where(wrong, 1 - data.true, data.true)

    def gap(asked: Embedded | None) -> float:
        quality = quality_of(data, 2, torch.Generator().manual_seed(3), asked)
        assert quality is not None
        return float(quality[~wrong].mean() - quality[wrong].mean())

    assert gap(embedded(data, model)) > gap(None) + 0.1


def test_inputs_of_another_kind_leave_it_alone():
    data = Parity()
    data.features = data.features[:, None]  # n×1×4: neither features nor images

    class Flat(Products):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs.squeeze(1))

    quality = quality_of(data, 2, torch.Generator().manual_seed(3), embedded(data, Flat()))
    assert quality is not None
    assert quality[data.labels != data.true].mean() < 0.2
    assert quality_of(data, 2, torch.Generator().manual_seed(3)) is None


def test_of_clean_labels_all_are_believed():
    data = Parity(noisy=False)
    method = build(given(data, Products()))
    method.minibatch(0)
    assert not len(method.state_dict()["quality"]["found"])


def test_a_resumed_run_asks_the_model_no_more():
    data, model = Parity(), Products()
    first = build(given(data, model))
    first.minibatch(0)
    state = first.state_dict()
    again = build(given(data, fresh := Products()))
    again.load_state_dict(state)
    again.minibatch(1)
    assert fresh.rows == 0
    assert again.record().counts == first.record().counts


def test_a_number_that_is_not_finite_is_refused_by_its_row():
    data = Parity()
    data.features[7] = torch.inf
    with pytest.raises(ParameterError, match=r"key: .* example 7 is not finite in float32"):
        embedded(data, Products())(torch.arange(20))


def test_it_stops_when_the_run_is_to_stop():
    def stop() -> None:
        raise Interrupted(15)

    with pytest.raises(Interrupted):
        embedded(Parity(), Products(), stop)(torch.arange(3))
