"""Scoring examples: a plain forward pass that moves nothing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import crest.inference.forward as scoring
from crest.data.augment import Augmentation
from crest.devices.out_of_memory import Halving
from crest.devices.precision import Precision
from crest.errors import DeviceMemoryError
from crest.inference.forward import evaluating, forward, joined, places_of
from crest.models.head import last_layer
from tests.tiny import (
    CPU,
    FLOAT32,
    LinearSplit,
    convnet,
    image_split,
    linear_model,
    linear_split,
)

INDICES = torch.tensor([5, 0, 17, 5, 39])


class Counting(nn.Module):
    """A model that remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = linear_model()
        self.sizes: list[int] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(inputs))
        return self.linear(inputs)


def test_scoring_is_a_plain_forward_pass_in_the_order_asked_for() -> None:
    model, split = convnet(), image_split(40)
    scored = forward(model, split, INDICES, FLOAT32)
    with torch.no_grad():
        logits = model.eval()(split.inputs(INDICES))
    torch.testing.assert_close(scored.logits, logits)
    assert torch.equal(scored.indices, INDICES)
    assert torch.equal(scored.labels, split.labels[INDICES])
    losses = F.cross_entropy(logits, scored.labels, reduction="none")
    torch.testing.assert_close(scored.losses, losses)
    assert torch.equal(scored.correct, logits.argmax(1) == scored.labels)


def test_the_features_are_what_the_last_layer_gets() -> None:
    model, split = convnet(), image_split(40)
    scored = forward(model, split, INDICES, FLOAT32)
    torch.testing.assert_close(last_layer(model)(scored.features), scored.logits)


class RaggedSplit(LinearSplit):
    """Feature vectors that are said to differ in length; each batch that was made is kept."""

    def __init__(self, examples: int) -> None:
        plain = linear_split(examples)
        generator = torch.Generator().manual_seed(2)
        lengths = torch.randint(1, 9, (examples,), generator=generator)
        super().__init__(plain.features, plain.labels, lengths)
        self.batches: list[torch.Tensor] = []

    def inputs(self, indices: torch.Tensor) -> torch.Tensor:
        self.batches.append(indices)
        return super().inputs(indices)


def test_ragged_examples_are_scored_by_length_and_returned_in_the_order_asked_for() -> None:
    model, split = linear_model(), RaggedSplit(60)
    indices = torch.randperm(60, generator=torch.Generator().manual_seed(3))[:50]
    scored = forward(model, split, indices, FLOAT32, batch_size=8)
    assert split.lengths is not None
    lengths = split.lengths[torch.cat(split.batches)].tolist()
    assert lengths == sorted(lengths, reverse=True)
    assert [len(batch) for batch in split.batches] == [8] * 6 + [2]
    assert torch.equal(scored.indices, indices)
    assert torch.equal(scored.labels, split.labels[indices])
    with torch.no_grad():
        torch.testing.assert_close(scored.logits, model(split.features[indices]))
    assert torch.equal(scored.features, split.features[indices])


def test_ragged_examples_go_in_smaller_batches_on_a_cpu() -> None:
    split = RaggedSplit(60)
    forward(linear_model(), split, torch.arange(60), FLOAT32)
    assert [len(batch) for batch in split.batches] == [32, 28]


def test_scoring_has_no_augmentation() -> None:
    model = convnet()
    plain = forward(model, image_split(40), INDICES, FLOAT32)
    augmented = image_split(40, augmentation=Augmentation(crop=2, flip=True))
    assert torch.equal(forward(model, augmented, INDICES, FLOAT32).logits, plain.logits)


def test_scoring_moves_nothing_and_keeps_no_graph() -> None:
    model, split = convnet().train(), image_split(40)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    scored = forward(model, split, INDICES, FLOAT32)
    assert not scored.logits.requires_grad
    assert not scored.features.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


@pytest.mark.parametrize(("batch_size", "sizes"), [(2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_examples_pass_in_batches_of_the_size_asked_for(batch_size, sizes) -> None:
    model, split = Counting(), linear_split(60)
    whole = forward(model.linear, split, INDICES, FLOAT32)
    scored = forward(model, split, INDICES, FLOAT32, batch_size)
    assert model.sizes == sizes
    torch.testing.assert_close(scored.logits, whole.logits)


def test_without_a_size_batches_are_those_that_suit_the_device(monkeypatch) -> None:
    monkeypatch.setattr(scoring, "BATCH_SIZES", {"cpu": 3})
    model = Counting()
    forward(model, linear_split(60), INDICES, FLOAT32)
    assert model.sizes == [3, 2]
    assert scoring.BATCH_SIZE > 3


class SmallDevice(Counting):
    """A model on a device that holds three examples."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits = super().forward(inputs)
        if len(inputs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return logits


@pytest.mark.parametrize("make", [linear_split, RaggedSplit])
def test_where_memory_runs_out_batches_are_halved_and_the_answer_is_the_same(make, caplog) -> None:
    model, split, indices = SmallDevice().train(), make(60), torch.arange(50, 30, -1)
    precision = Precision("float32", CPU)
    scored = forward(model, split, indices, precision)
    assert model.sizes == [20, 10, 5] + [2] * 10
    assert model.training
    plain = forward(model.linear, split, indices, FLOAT32, batch_size=2)
    for name in ("indices", "labels", "logits", "features"):
        assert torch.equal(getattr(scored, name), getattr(plain, name))
    assert caplog.messages == [
        "scoring examples: 20 examples at once do not fit into the GPU's memory; from here on 2"
    ]


def test_halved_batches_are_remembered_by_the_precision_and_by_a_halving(caplog) -> None:
    model, split = SmallDevice(), linear_split(60)
    for remembering in (
        {"precision": Precision("float32", CPU)},
        {"precision": FLOAT32, "batch_size": Halving(5, "work")},
    ):
        caplog.clear()
        forward(model, split, INDICES, **remembering)
        model.sizes.clear()
        forward(model, split, INDICES, **remembering)
        assert model.sizes == [2, 2, 1]
        assert len(caplog.messages) == 1
    forward(model, split, INDICES[:1], FLOAT32)
    assert model.sizes[-1] == 1


def test_a_single_example_that_does_not_fit_is_an_error_for_people() -> None:
    class Full(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear_model()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(DeviceMemoryError, match="scoring examples: a single example"):
        forward(Full(), linear_split(60), INDICES, Precision("float32", CPU))


def test_results_are_float32_though_computed_in_bf16() -> None:
    model, split = convnet(), image_split(40)
    exact = forward(model, split, INDICES, FLOAT32)
    rough = forward(model, split, INDICES, Precision("bf16", CPU))
    assert rough.logits.dtype == rough.features.dtype == rough.losses.dtype == torch.float32
    torch.testing.assert_close(rough.logits, exact.logits, rtol=0.05, atol=0.05)
    assert not torch.equal(rough.logits, exact.logits)


def test_each_part_of_a_model_goes_back_to_the_mode_it_was_in() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout()))
    model[1].eval()
    before = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ValueError, match="within"), evaluating(model):
        raise ValueError("within")
    assert [module.training for module in model.modules()] == before


def test_places_are_where_the_indices_stand() -> None:
    within = torch.tensor([7, 3, 9, 0])
    assert places_of(torch.tensor([0, 7, 9]), within).tolist() == [3, 0, 2]


def test_a_joined_pass_has_the_new_logits_of_some_and_the_old_of_the_rest() -> None:
    split = linear_split()
    known = forward(linear_model(seed=0), split, torch.tensor([7, 3, 9, 0]), FLOAT32)
    scored = forward(linear_model(seed=1), split, torch.tensor([9, 7]), FLOAT32)
    both = joined(known, scored)
    expected = torch.stack([scored.logits[1], known.logits[1], scored.logits[0], known.logits[3]])
    assert torch.equal(both.logits, expected)
    assert torch.equal(both.indices, known.indices)
