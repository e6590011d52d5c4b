"""Steps of a small model with train.compile, the last of them by a process of its own.

    python -m tests.training.compiled_run STATE

goes on from a state to STEPS, and writes there what came of it. The test imports it too.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from crest.data.augment import Augmentation
from crest.devices.generators import generator_for
from crest.parameters.sections import TrainParameters
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.training.step import Stepper
from tests.tiny import CLASSES, FLOAT32, image_split

M = 16
STEPS, STOPPED_AFTER = 6, 3


def network() -> nn.Module:
    """Everything that a step moves beside weights: running statistics, and draws."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(8, CLASSES),
    )


class Steps:
    """A stepper with what it works on."""

    def __init__(self, model: nn.Module | None = None, **train: object):
        self.model = (model or network()).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.augmentation = generator_for(0, "augmentation")
        self.stepper = Stepper(
            self.model,
            self.optimizer,
            image_split(64, augmentation=Augmentation(crop=1, flip=True)),
            self.augmentation,
            TrainParameters.model_validate({"batch_size": M, "compile": True, **train}),
            FLOAT32,
        )

    def take(self, number: int, size: int = M) -> Outputs:
        """Take a step on examples that its number draws."""
        generator = torch.Generator().manual_seed(number)
        indices = torch.randperm(64, generator=generator)[:size]
        return self.stepper.take(
            MiniBatchCoreset(indices, torch.rand(size, generator=generator) + 0.5)
        )

    def state_dict(self) -> dict[str, object]:
        """Everything that later steps depend on."""
        return {
            "model": {name: value.clone() for name, value in self.model.state_dict().items()},
            "momentum": [
                self.optimizer.state[weight]["momentum_buffer"].clone()
                for weight in self.model.parameters()
                if weight in self.optimizer.state
            ],
            "augmentation": self.augmentation.get_state(),
            "dropout": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["model"])
        for weight, momentum in zip(self.model.parameters(), state["momentum"], strict=True):
            self.optimizer.state[weight]["momentum_buffer"] = momentum
        self.augmentation.set_state(state["augmentation"])
        torch.set_rng_state(state["dropout"])


def rest(state: dict) -> tuple[list[Tensor], dict[str, object]]:
    """Take the steps after a state; what each showed, and the state then."""
    steps = Steps()
    steps.load_state_dict(state)
    losses = [steps.take(number).losses for number in range(STOPPED_AFTER, STEPS)]
    return losses, steps.state_dict()


if __name__ == "__main__":
    torch.set_num_threads(1)
    file = Path(sys.argv[1])
    torch.save(rest(torch.load(file, weights_only=True)), file)
