"""Views are foreseen exactly, and nothing depends on it."""

import pytest
import torch
from torch import Tensor

from crest.data.augment import Augmentation
from crest.data.prepared import Expecting, Split
from crest.methods import METHODS
from crest.samplers.base import Foreseeing
from crest.training.loop import train
from tests.tiny import FLOAT32, context, convnet, image_split

STEPS = 6
AUGMENTATION = Augmentation(crop=1, flip=True)


class Noting:
    """A split that notes what it expects, and of what is asked for what it did not expect."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self.labels, self.lengths = split.labels, split.lengths
        self._expected: set[tuple[int, ...]] = set()
        self.foreseen: list[bool] = []

    def __len__(self) -> int:
        return len(self._split)

    def inputs(self, indices: Tensor) -> object:
        return self._split.inputs(indices)

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        return self._split.draw_views(count, generator)

    def views(self, indices: Tensor, draws: Tensor) -> object:
        self.foreseen.append(_keys(indices, draws) <= self._expected)
        return self._split.views(indices, draws)

    def expect(self, indices: Tensor, draws: Tensor | None) -> None:
        self._expected = set() if draws is None else _keys(indices, draws)


def _keys(indices: Tensor, draws: Tensor) -> set[tuple[int, ...]]:
    rows = torch.cat([indices[:, None], draws], 1).tolist()
    return {tuple(row) for row in rows}


def trained(split: Split, **parameters: object) -> Tensor:
    given = context(split=split, steps=STEPS, train={"seed": 3, **parameters}, method="random")  # type: ignore[arg-type]
    model = convnet()
    method = METHODS["random"].build(given)
    train(model, method, split, None, STEPS, given.settings.train, FLOAT32)
    return torch.cat([weight.flatten() for weight in model.parameters()])


@pytest.mark.parametrize(
    "parameters", [{}, {"micro_batches": 3}, {"mixup": 0.5}, {"mixup": 0.5, "micro_batches": 2}]
)
def test_the_views_of_every_step_but_the_first_are_foreseen(parameters: dict[str, object]) -> None:
    split = image_split(augmentation=AUGMENTATION)
    noting = Noting(split)
    assert isinstance(noting, Expecting)
    assert torch.equal(trained(noting, **parameters), trained(split, **parameters))
    parts = parameters.get("micro_batches", 1)
    assert noting.foreseen == [False] * parts + [True] * (STEPS - 1) * parts


@pytest.mark.parametrize("name", ["random", "focused", "craig"])
def test_what_methods_foresee_comes_next_and_nothing_is_drawn(name: str) -> None:
    given = context(steps=90, method=name)
    method = METHODS[name].build(given)
    assert isinstance(method, Foreseeing)
    foreseen = 0
    for step in range(80):
        state = given.generator.get_state()
        upcoming = method.upcoming()
        assert torch.equal(given.generator.get_state(), state)
        found = method.minibatch(step)
        if upcoming is not None:
            foreseen += 1
            assert torch.equal(upcoming, found.indices)
    assert foreseen > 40
