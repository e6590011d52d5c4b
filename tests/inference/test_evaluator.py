"""Scoring examples: a plain forward pass that moves nothing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import crest.inference.evaluator as scoring
from crest.data.augment import Augmentation
from crest.devices.out_of_memory import Halving
from crest.devices.precision import Precision
from crest.errors import DeviceMemoryError
from crest.inference.evaluator import Evaluator
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
    scored = Evaluator(model, split, FLOAT32).score(INDICES)
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
    scored = Evaluator(model, split, FLOAT32).score(INDICES)
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
    scored = Evaluator(model, split, FLOAT32).score(indices, batch_size=8)
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
    Evaluator(linear_model(), split, FLOAT32).score(torch.arange(60))
    assert [len(batch) for batch in split.batches] == [32, 28]


def test_scoring_has_no_augmentation() -> None:
    model = convnet()
    plain = Evaluator(model, image_split(40), FLOAT32).score(INDICES)
    augmented = image_split(40, augmentation=Augmentation(crop=2, flip=True))
    assert torch.equal(Evaluator(model, augmented, FLOAT32).score(INDICES).logits, plain.logits)


def test_scoring_moves_nothing_and_keeps_no_graph() -> None:
    model, split = convnet().train(), image_split(40)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    scored = Evaluator(model, split, FLOAT32).score(INDICES)
    assert not scored.logits.requires_grad
    assert not scored.features.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


@pytest.mark.parametrize(("batch_size", "sizes"), [(2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_examples_pass_in_batches_of_the_size_asked_for(batch_size, sizes) -> None:
    model, split = Counting(), linear_split(60)
    whole = Evaluator(model.linear, split, FLOAT32).score(INDICES)
    scored = Evaluator(model, split, FLOAT32).score(INDICES, batch_size)
    assert model.sizes == sizes
    torch.testing.assert_close(scored.logits, whole.logits)


def test_without_a_size_batches_are_those_that_suit_the_device(monkeypatch) -> None:
    monkeypatch.setattr(scoring, "BATCH_SIZES", {"cpu": 3})
    model = Counting()
    Evaluator(model, linear_split(60), FLOAT32).score(INDICES)
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
    scored = Evaluator(model, split, precision).score(indices)
    assert model.sizes == [20, 10, 5] + [2] * 10
    assert model.training
    plain = Evaluator(model.linear, split, FLOAT32).score(indices, batch_size=2)
    for name in ("indices", "labels", "logits", "features"):
        assert torch.equal(getattr(scored, name), getattr(plain, name))
    assert caplog.messages == [
        "scoring examples: 20 examples at once do not fit into the GPU's memory; from here on 2"
    ]


def test_halved_batches_are_remembered_by_the_precision_and_by_a_halving(caplog) -> None:
    model, split = SmallDevice(), linear_split(60)
    for precision, halving in (
        (Precision("float32", CPU), None),
        (FLOAT32, Halving(5, "work")),
    ):
        caplog.clear()
        evaluator = Evaluator(model, split, precision)
        evaluator.score(INDICES, halving)
        model.sizes.clear()
        evaluator.score(INDICES, halving)
        assert model.sizes == [2, 2, 1]
        assert len(caplog.messages) == 1
    Evaluator(model, split, FLOAT32).score(INDICES[:1])
    assert model.sizes[-1] == 1


def test_a_single_example_that_does_not_fit_is_an_error_for_people() -> None:
    class Full(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear_model()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(DeviceMemoryError, match="scoring examples: a single example"):
        Evaluator(Full(), linear_split(60), Precision("float32", CPU)).score(INDICES)


def test_results_are_float32_though_computed_in_bf16() -> None:
    model, split = convnet(), image_split(40)
    exact = Evaluator(model, split, FLOAT32).score(INDICES)
    rough = Evaluator(model, split, Precision("bf16", CPU)).score(INDICES)
    assert rough.logits.dtype == rough.features.dtype == rough.losses.dtype == torch.float32
    torch.testing.assert_close(rough.logits, exact.logits, rtol=0.05, atol=0.05)
    assert not torch.equal(rough.logits, exact.logits)


def test_views_that_were_drawn_are_scored_as_they_are_trained_on() -> None:
    model = convnet()
    split = image_split(40, augmentation=Augmentation(crop=1, flip=True))
    draws = split.draw_views(len(INDICES), torch.Generator().manual_seed(0))
    scored = Evaluator(model, split, FLOAT32).score(INDICES, batch_size=2, draws=draws)
    with torch.no_grad():
        logits = model.eval()(split.views(INDICES, draws))
    torch.testing.assert_close(scored.logits, logits)
    assert not torch.allclose(logits, model(split.inputs(INDICES)))


def test_a_models_own_embeddings_are_of_eval_mode_and_in_the_order_asked_for():
    class Sentences(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def sentence_embeddings(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.dropout(2 * inputs)

    split = linear_split()
    split.lengths = torch.arange(len(split)) % 7
    model = Sentences().train()
    found = Evaluator(model, split, FLOAT32).embed(INDICES)
    assert found.equal(2 * split.inputs(INDICES))
    assert model.training


def test_without_they_are_the_last_layers_inputs():
    split, model = linear_split(), linear_model()
    evaluator = Evaluator(model, split, FLOAT32)
    assert evaluator.embed(INDICES).equal(evaluator.score(INDICES).features)
