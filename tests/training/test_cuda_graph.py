"""Steps taken from a CUDA graph are those taken without one. Only a GPU can tell."""

import pytest
import torch
from torch import Tensor, nn

from crest.data.augment import Augmentation
from crest.data.prepared import ImageSplit
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.errors import TrainingError
from crest.models.resnet20 import resnet20
from crest.parameters.sections import TrainParameters
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.training.cuda_graph import WARM_UP, GraphedGradients
from crest.training.step import Stepper

pytestmark = pytest.mark.gpu

M = 16
EXAMPLES = 64
STEPS = WARM_UP + 4


def _split(device: torch.device) -> ImageSplit:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (EXAMPLES, 8, 8, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(3, (EXAMPLES,), generator=generator)
    mean, std = torch.full((3,), 0.45), torch.full((3,), 0.25)
    return ImageSplit(images.to(device), labels, mean, std, device, Augmentation(1, True))


class Taken:
    """A stepper with what it works on."""

    def __init__(
        self,
        graph: bool,
        model: nn.Module | None = None,
        precision: str = "bf16",
        **train: float,
    ) -> None:
        device = torch.device("cuda", torch.cuda.current_device())
        torch.manual_seed(3)
        self.model = (model or resnet20(3, (8, 8, 3), "cifar")).to(device)
        self.model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.stepper = Stepper(
            self.model,
            torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
            _split(device),
            generator_for(0, "augmentation"),
            TrainParameters(batch_size=M, cuda_graph=graph, clip_norm=1.0, **train),
            Precision(precision, device),
        )

    def take(self, number: int, size: int = M) -> Outputs:
        generator = torch.Generator().manual_seed(number)
        indices = torch.randperm(EXAMPLES, generator=generator)[:size]
        weights = torch.rand(size, generator=generator) + 0.5
        return self.stepper.take(MiniBatchCoreset(indices, weights))

    @property
    def captured(self) -> bool:
        gradients = self.stepper._backpropagate
        return isinstance(gradients, GraphedGradients) and gradients.captured


def _same_steps(graphed: Taken, plain: Taken, sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        found, expected = graphed.take(number, size), plain.take(number, size)
        for name in ("loss", "losses", "logits", "labels"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), (number, name)
        weights = zip(graphed.model.parameters(), plain.model.parameters(), strict=True)
        for mine, theirs in weights:
            assert torch.equal(mine.grad, theirs.grad)
    states = (graphed.model.state_dict(), plain.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    "train", [{}, {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}], ids=["plain", "mixed"]
)
def test_steps_of_a_graph_are_those_without_one_bit_for_bit(train):
    graphed, plain = Taken(True, **train), Taken(False, **train)
    _same_steps(graphed, plain, [M] * STEPS)
    assert graphed.captured
    assert not plain.captured


def test_in_float32_too_where_sums_have_one_order(monkeypatch):
    # Else cuDNN adds a weight's gradient up in whatever order its parts are done.
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    graphed, plain = Taken(True, precision="float32"), Taken(False, precision="float32")
    _same_steps(graphed, plain, [M] * STEPS)
    assert graphed.captured


def test_what_a_step_showed_is_not_overwritten_by_the_next():
    taken = Taken(True)
    for number in range(STEPS):
        outputs = taken.take(number)
    before = outputs.logits.clone()
    taken.take(STEPS)
    assert torch.equal(outputs.logits, before)


def test_another_size_goes_without_the_graph():
    graphed, plain = Taken(True), Taken(False)
    _same_steps(graphed, plain, [M] * STEPS + [M - 3, M, M - 3])
    assert graphed.captured


def test_dropout_draws_anew_in_each_step():
    taken = Taken(True, nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 3)))
    for number in range(WARM_UP + 1):
        taken.take(number)
    assert taken.captured
    first, second = taken.take(0), taken.take(0)
    assert not torch.equal(first.logits, second.logits)


class Asking(nn.Module):
    """A model that asks the device for a number, which no graph can."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images.flatten(1))
        return logits * 2 if float(logits.detach().max()) > 0 else logits


def test_a_model_that_cannot_be_captured_is_refused():
    taken = Taken(True, Asking())
    for number in range(WARM_UP):
        taken.take(number)
    with pytest.raises(TrainingError, match=r"train\.cuda_graph: .* cannot be captured .* false"):
        taken.take(WARM_UP)


def test_compiled_steps_are_captured_too():  # last: it compiles, which takes a while
    graphed, plain = Taken(True, compile=True), Taken(False, compile=True)
    _same_steps(graphed, plain, [M] * STEPS)
    assert graphed.captured
    assert not plain.captured
