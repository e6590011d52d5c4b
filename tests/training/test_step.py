"""Steps whose parts do not fit into the memory: as if they had been smaller from the start."""

import logging
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from crest.data.augment import Augmentation
from crest.devices.distributed import Group
from crest.devices.generators import generator_for
from crest.errors import DeviceMemoryError
from crest.parameters.sections import TrainParameters
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.training import step
from crest.training.step import Stepper
from tests.tiny import FLOAT32, convnet, image_split

FULL = "CUDA out of memory. Tried to allocate 20.00 MiB."
M = 12


class Limited(nn.Module):
    """A model with BatchNorm and dropout on a device that holds so many examples of a pass.

    It runs out where everything that a step moves has moved: in the backward pass.
    """

    def __init__(self, holds: int = M) -> None:
        super().__init__()
        self.holds = holds
        self.asked: list[int] = []
        self.dropout = nn.Dropout(0.3)
        self.model = convnet()

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(len(inputs))
        logits = self.model(self.dropout(inputs))
        if len(inputs) > self.holds:
            logits.register_hook(_full)
        return logits


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU taken for a device that can run out of memory, as accelerators alone can."""
    monkeypatch.setattr(step, "can_run_out", lambda device: True)


def _full(gradient: Tensor) -> None:
    raise torch.OutOfMemoryError(FULL)


class Taken:
    """A stepper with what it works on."""

    def __init__(
        self, holds: int = M, parts: int | None = None, group: Group | None = None
    ) -> None:
        torch.manual_seed(3)
        self.model = Limited(holds).train()
        self.stepper = Stepper(
            self.model,
            torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9),
            image_split(36, augmentation=Augmentation(crop=1, flip=True)),
            generator_for(0, "augmentation"),
            TrainParameters(batch_size=M, micro_batches=parts),
            FLOAT32,
            *([] if group is None else [group]),
        )

    def take(self, number: int = 0) -> Outputs:
        weights = torch.rand(36, generator=torch.Generator().manual_seed(1)) + 0.5
        indices = torch.arange(M * number, M * (number + 1))
        return self.stepper.take(MiniBatchCoreset(indices, weights[indices]))

    def same_as(self, other: "Taken") -> bool:
        mine, theirs = self.model.state_dict(), other.model.state_dict()
        return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize(("holds", "parts"), [(11, 2), (6, 2), (5, 4), (3, 4), (2, 12)])
def test_a_step_that_did_not_fit_is_that_of_smaller_parts_bit_for_bit(holds, parts) -> None:
    limited, plain = Taken(holds), Taken(parts=parts)
    for number in range(3):
        found, expected = limited.take(number), plain.take(number)
        assert torch.equal(found.losses, expected.losses)
        assert torch.equal(found.logits, expected.logits)
    assert limited.same_as(plain)
    assert not limited.same_as(Taken(parts=parts))


@pytest.mark.usefixtures("accelerator")
def test_parts_once_halved_stay_so_and_are_told_of_once(caplog) -> None:
    taken = Taken(5)
    with caplog.at_level(logging.WARNING):
        for number in range(2):
            taken.take(number)
    assert taken.model.asked == [12, 6, 3, 3, 3, 3, 3, 3, 3, 3]
    assert caplog.messages == [
        "training: 12 examples at once do not fit into the GPU's memory; from here on 3; "
        "train.micro_batches: 4 sets it from the start"
    ]


@pytest.mark.usefixtures("accelerator")
def test_a_part_that_does_not_fit_after_some_that_did_begins_the_step_again() -> None:
    limited, plain = Taken(parts=2), Taken(parts=2)
    limited.take()
    plain.take()
    plain.stepper.load_state_dict({"size": 3})
    limited.model.holds = 3
    assert torch.equal(limited.take(1).losses, plain.take(1).losses)
    assert limited.same_as(plain)


@pytest.mark.usefixtures("accelerator")
def test_parts_go_on_as_small_as_they_were_halved_to_after_a_stop() -> None:
    first, second = Taken(5), Taken(5)
    first.take()
    second.stepper.load_state_dict(first.stepper.state_dict())
    second.take()
    assert second.model.asked == [3, 3, 3, 3]


@pytest.mark.usefixtures("accelerator")
def test_a_single_example_that_does_not_fit_is_an_error_for_people() -> None:
    with pytest.raises(DeviceMemoryError, match=r"training: a single example .*_checkpointing"):
        Taken(0).take()


@pytest.mark.usefixtures("accelerator")
def test_processes_try_what_fits_and_agree_before_they_exchange(monkeypatch) -> None:
    """This process's parts fit in halves, those of another only in quarters."""
    group = Group(0, 2)
    monkeypatch.setattr(Stepper, "_wrapped", lambda self: self._model)
    monkeypatch.setattr(group, "lowest", lambda value: min(value, 3))
    taken = Taken(M, group=group)
    before = {name: value.clone() for name, value in taken.model.state_dict().items()}
    drawn = torch.get_rng_state()
    taken.stepper._try(MiniBatchCoreset(torch.arange(M), torch.ones(M)))
    assert taken.model.asked == [6]
    assert taken.stepper.state_dict() == {"size": 3}
    assert all(torch.equal(value, before[name]) for name, value in taken.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(parameter.grad is None for parameter in taken.model.parameters())


def test_a_process_that_runs_out_between_exchanges_says_what_to_set(monkeypatch) -> None:
    monkeypatch.setattr(Stepper, "_wrapped", lambda self: self._model)
    monkeypatch.setattr(Limited, "no_sync", lambda model: nullcontext(), raising=False)
    with pytest.raises(DeviceMemoryError, match=r"rank 0: training: 6 .* train.micro_batches: 4"):
        Taken(5, group=Group(0, 2)).take()


@pytest.mark.parametrize("parts", [1, 3])
def test_a_step_is_taken_on_the_views_that_a_method_drew(parts) -> None:
    """Views drawn as the stepper would have drawn them, whole; in parts, each its rows."""
    given, cropped = Taken(parts=parts), []
    data = given.stepper._data

    def keep(indices: Tensor, draws: Tensor) -> Tensor:
        cropped.append(views(indices, draws))
        return cropped[-1]

    views = data.views
    data.views = keep
    indices = torch.arange(M)
    draws = data.draw_views(M, torch.Generator().manual_seed(7))
    before = given.stepper._augmentation.get_state()
    given.stepper.take(MiniBatchCoreset(indices, torch.ones(M), draws=draws))
    assert len(cropped) == parts
    assert torch.equal(torch.cat(cropped), views(indices, draws))
    assert torch.equal(given.stepper._augmentation.get_state(), before) == (parts == 1)
