"""Evaluation against a plain pass over every example."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crest.devices.precision import Precision
from crest.inference import evaluation
from crest.inference.evaluation import Evaluation, evaluate
from crest.inference.evaluator import Evaluator
from tests.tiny import CPU, FLOAT32, convnet, image_split


def plain(model, split):
    with torch.no_grad():
        return model.eval()(split.inputs(torch.arange(len(split))))


def test_predictions_are_those_of_a_plain_pass() -> None:
    model, split = convnet(), image_split(50)
    evaluation = evaluate(Evaluator(model, split, FLOAT32))
    logits = plain(model, split)
    assert torch.equal(evaluation.labels, split.labels)
    assert torch.equal(evaluation.predictions, logits.argmax(1))
    torch.testing.assert_close(evaluation.confidences, logits.softmax(1).max(1).values)
    losses = F.cross_entropy(logits, split.labels, reduction="none")
    torch.testing.assert_close(evaluation.losses, losses)


def test_accuracy_is_a_share_and_loss_a_mean() -> None:
    values = torch.tensor([2.0, 1.0, 4.0, 1.0])
    evaluation = Evaluation(torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 1, 0]), values, values)
    assert (evaluation.accuracy, evaluation.loss) == (0.75, 2.0)


def test_sums_do_not_lose_examples_of_a_large_split() -> None:
    """In float32 the mean of 20 million ones and zeros is not exact."""
    labels = torch.zeros(20_000_000, dtype=torch.uint8)
    predictions = labels.clone()
    predictions[:3] = 1
    evaluation = Evaluation(labels, predictions, torch.empty(0), torch.full((4,), 0.1))
    assert evaluation.accuracy == 1 - 3 / 20_000_000


@pytest.mark.parametrize(
    ("block", "batch_size"), [(7, None), (1, 1), (50, 3), (49, 49), (100, 1000)]
)
def test_the_blocks_and_batches_it_goes_in_change_nothing(monkeypatch, block, batch_size) -> None:
    model, split = convnet(), image_split(50)
    whole = evaluate(Evaluator(model, split, FLOAT32))
    monkeypatch.setattr(evaluation, "BLOCK", block)
    parts = evaluate(Evaluator(model, split, FLOAT32), batch_size)
    assert torch.equal(parts.labels, whole.labels)
    assert torch.equal(parts.predictions, whole.predictions)
    torch.testing.assert_close(parts.losses, whole.losses)


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [
        (8, "evaluation: 8 examples at once .* from here on 4; evaluate.batch_size: 4 sets it"),
        (None, "scoring examples: 20 examples at once .* from here on 5$"),
    ],
)
def test_where_memory_runs_out_batches_are_halved_once_for_all_blocks(
    monkeypatch, caplog, batch_size, message
) -> None:
    model, split = convnet(), image_split(50)
    whole = evaluate(Evaluator(model, split, FLOAT32))

    def refuse(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > 7:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(evaluation, "BLOCK", 20)
    model.register_forward_pre_hook(refuse)
    parts = evaluate(Evaluator(model, split, Precision("float32", CPU)), batch_size)
    assert torch.equal(parts.predictions, whole.predictions)
    torch.testing.assert_close(parts.losses, whole.losses)
    (message_given,) = caplog.messages
    assert re.match(message, message_given)


def test_the_model_is_left_as_it_was() -> None:
    model, split = convnet().train(), image_split(50)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(Evaluator(model, split, FLOAT32))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_it_returns_is_float32_in_any_precision() -> None:
    evaluation = evaluate(Evaluator(convnet(), image_split(20), Precision("bf16", CPU)))
    assert evaluation.losses.dtype == evaluation.confidences.dtype == torch.float32
    assert evaluation.predictions.dtype == evaluation.labels.dtype == torch.int64
