"""Views are foreseen exactly, and nothing depends on it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from crest.data.augment import Augmentation
from crest.data.prepared import Expecting, Split
from crest.methods import METHODS
from crest.samplers.base import Foreseeing, Method
from crest.samplers.saved import SavedCoresets
from crest.selection.coresets import MiniBatchCoreset
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


SAVED = SavedCoresets(
    tuple(
        tuple(
            MiniBatchCoreset(torch.arange(8) + 8 * (4 * region + number), torch.ones(8), region)
            for number in range(4)
        )
        for region in range(3)
    )
)


class Foretold:
    """A method of which is noted for each step but the first whether it was foreseen."""

    def __init__(self, method: Method, generator: torch.Generator) -> None:
        self._method = method
        self._generator = generator
        self._said: Tensor | None = None
        self.foreseen: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def upcoming(self) -> Tensor | None:
        assert isinstance(self._method, Foreseeing)
        before = self._generator.get_state()
        self._said = self._method.upcoming()
        assert torch.equal(self._generator.get_state(), before)
        return self._said

    def minibatch(self, step: int) -> MiniBatchCoreset:
        found = self._method.minibatch(step)
        if self._said is not None:
            assert torch.equal(self._said, found.indices)
        if step:
            self.foreseen.append(self._said is not None)
        return found


@pytest.mark.parametrize(
    ("name", "section", "least"),
    [
        ("random", {}, 56),  # of 59: but where an epoch begins
        ("stratified", {}, 59),
        ("focused", {}, 50),
        ("craig", {}, 40),
        ("adaptive", {}, 40),
        ("selective_backprop", {}, 29),  # of the first epoch
        ("replay", {}, 59),
        ("replay of another size", {}, 59),
        ("crest", {"threshold": 9.0, "interval_factor": 4.0}, 30),
        ("crest", {"threshold": 9.0, "selection": "on_demand", "interval_factor": 8.0,
                   "subset_coresets": 4, "choice": "spatially_balanced"}, 30),
    ],
)  # fmt: skip
def test_what_methods_foresee_comes_next_and_nothing_is_drawn(
    name: str, section: dict[str, object], least: int
) -> None:
    name, _, other_size = name.partition(" of ")
    split = Noting(image_split(augmentation=AUGMENTATION))
    sections = {name: section, "train": {"batch_size": 6}} if other_size else {name: section}
    given = replace(context(split=split, steps=60, method=name, **sections), saved=SAVED)  # type: ignore[arg-type]
    method = Foretold(METHODS[name].build(given), given.generator)
    train(given.model, method, split, None, 60, given.settings.train, FLOAT32)
    assert len(method.foreseen) == 59
    assert sum(method.foreseen) >= least
    if name == "crest":
        assert not all(method.foreseen)
