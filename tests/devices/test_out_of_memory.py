"""Halving where memory runs out: the results are those of work that never ran out."""

import logging
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest.devices.out_of_memory import Halving
from crest.errors import CrestError, DeviceMemoryError
from tests.tiny import linear_model, linear_split

FULL = "CUDA out of memory. Tried to allocate 20.00 MiB."


class Small:
    """A device that holds so many examples; keeps the sizes of what it was asked to do."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.asked: list[int] = []

    def __call__(self, size: int) -> int:
        self.asked.append(size)
        if size > self.holds:
            raise torch.OutOfMemoryError(FULL)
        return size

    def doubled(self, examples: Tensor) -> Tensor:
        self(len(examples))
        return 2 * examples


@pytest.mark.parametrize(
    ("size", "holds", "asked"),
    [(8, 8, [8]), (8, 7, [8, 4]), (8, 1, [8, 4, 2, 1]), (7, 3, [7, 3]), (1, 1, [1])],
)
def test_a_size_is_halved_until_the_work_fits(size, holds, asked) -> None:
    device = Small(holds)
    halving = Halving(size, "work")
    assert halving.run(device) == asked[-1] == halving.size
    assert device.asked == asked


def test_a_lowered_size_is_remembered_and_told_of_once(caplog) -> None:
    device, halving = Small(2), Halving(16, "training", "train.batch: {}".format)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            halving.run(device)
    assert device.asked == [16, 8, 4, 2, 2, 2]
    assert caplog.messages == [
        "training: 16 examples at once do not fit into the GPU's memory; from here on 2; "
        "train.batch: 2 sets it from the start"
    ]


def test_work_that_fits_is_not_spoken_of(caplog) -> None:
    Halving(4, "work").run(Small(4))
    assert not caplog.messages


def test_a_parameter_is_named_only_where_there_is_one(caplog) -> None:
    Halving(4, "looking").run(Small(2))
    (message,) = caplog.messages
    assert message.endswith("from here on 2")


def test_a_size_above_the_examples_there_are_is_halved_from_them() -> None:
    device, halving = Small(30), Halving(1000, "work")
    assert halving.run(device, examples=50) == 25
    assert device.asked == [50, 25]
    halving = Halving(1000, "work")
    halving.run(device, examples=30)
    assert halving.size == 1000


@pytest.mark.parametrize("holds", [1, 2, 3, 9, 10, 11])
def test_pieces_are_in_order_and_done_once(holds) -> None:
    device, examples = Small(holds), torch.arange(23)
    parts = Halving(10, "work").over(examples, device.doubled)
    assert torch.equal(torch.cat(parts), 2 * examples)
    done = [size for size in device.asked if size <= holds]
    assert sum(done) == 23
    assert len(set(done[:-1])) == 1


def test_pieces_before_the_one_that_was_too_much_are_kept() -> None:
    device, seen = Small(9), []

    def work(examples: Tensor) -> Tensor:
        device(len(examples) * (1 + int(examples.max() > 15)))  # the later ones are larger
        seen.append(examples)
        return examples

    Halving(8, "work").over(torch.arange(24), work)
    assert [len(piece) for piece in seen] == [8, 8, 4, 4]
    assert torch.equal(torch.cat(seen), torch.arange(24))


def test_a_single_example_that_is_too_much_is_an_error_for_people() -> None:
    with pytest.raises(DeviceMemoryError) as caught:
        Halving(6, "scoring examples", advice="buy a larger one").run(Small(0))
    assert isinstance(caught.value, CrestError)
    assert str(caught.value) == (
        f"scoring examples: a single example does not fit into the GPU's memory ({FULL}); "
        "buy a larger one"
    )


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), MemoryError("host")]
)
def test_other_errors_are_not_taken_for_it(error) -> None:
    def work(size: int) -> None:
        raise error

    halving = Halving(8, "work")
    with pytest.raises(type(error)) as caught:
        halving.run(work)
    assert caught.value is error
    assert halving.size == 8


def test_what_failed_is_let_go_of_before_the_next_try(monkeypatch) -> None:
    held: list[weakref.ref[Tensor]] = []
    events: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append("freed"))

    def work(size: int) -> None:
        assert all(reference() is None for reference in held)
        events.append(str(size))
        activations = torch.empty(size)
        cycle = [activations]
        cycle.append(cycle)  # type: ignore[arg-type]
        held.append(weakref.ref(activations))
        if size > 1:
            raise torch.OutOfMemoryError(FULL)

    Halving(4, "work").run(work)
    assert events == ["4", "freed", "2", "freed", "1"]


class Limited(nn.Module):
    """A linear model on a device that holds so many examples."""

    def __init__(self, holds: int) -> None:
        super().__init__()
        self.linear = linear_model()
        self.device = Small(holds)

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.linear(inputs)
        self.device(len(inputs))
        return logits


def test_a_training_step_in_micro_batches_that_ran_out_has_the_gradient_of_one_that_did_not() -> (
    None
):
    split = linear_split(32)

    def step(model: Limited, size: int) -> list[Tensor]:
        model.zero_grad()
        for some in torch.arange(32).split(size):
            losses = F.cross_entropy(model(split.features[some]), split.labels[some])
            (losses * len(some) / 32).backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    limited = Limited(5)
    found = Halving(32, "training").run(lambda size: step(limited, size))
    expected = step(Limited(32), 4)
    assert limited.device.asked == [32, 16, 8] + [4] * 8
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
