"""Batch selection against its rules written plainly, and resumed."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crest.data.augment import Augmentation
from crest.data.encoded import EncodedSplit
from crest.data.prepared import ImageSplit
from crest.data.views.resizing import resized
from crest.errors import OrderError, ParameterError
from crest.inference.evaluator import Evaluator
from crest.loop_support.state import digest_of
from crest.samplers.batch_selection import BatchSelection
from crest.samplers.example_tracker import error_norms
from crest.samplers.passes import Passes
from crest.selection.coresets import MiniBatchCoreset, Outputs
from tests.tiny import FLOAT32, Given, context, convnet, image_split

M, STEPS, COUNT = 8, 40, 48
ONES = torch.ones(M)


def given(**options: Any) -> Given:
    split = image_split(COUNT, augmentation=Augmentation(crop=1, flip=True))
    found = context(convnet(), split, STEPS, batch_selection=options)
    return Given(**{**vars(found), "build_model": lambda name: convnet(seed=len(name))})


def taken(method: BatchSelection, base: Given, steps: range) -> list[MiniBatchCoreset]:
    found = []
    for step in steps:
        found.append(method.minibatch(step))
        drift(base.model, step)
        method.update(found[-1], outputs_of(base, found[-1]), 0.0)
    return found


def drift(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)


def outputs_of(base: Given, minibatch: MiniBatchCoreset) -> Outputs:
    assert minibatch.draws is not None
    with torch.no_grad():
        logits = base.model(base.train.views(minibatch.indices, minibatch.draws))
    return Outputs.of(logits, base.train.labels[minibatch.indices], minibatch.weights)


def rows(minibatches: list[MiniBatchCoreset]) -> list[tuple[list[int], list[float], Any]]:
    return [
        (
            one.indices.tolist(),
            one.weights.tolist(),
            None if one.draws is None else one.draws.tolist(),
        )
        for one in minibatches
    ]


def test_the_hardest_half_by_the_model_is_that_of_the_rule_written_plainly() -> None:
    options = {
        "score_by": "model",
        "keep": "hardest",
        "share": 0.5,
    }
    base, plain = given(**options), given(**options)
    found = taken(BatchSelection(base), base, range(STEPS))
    passes, evaluator = Passes(COUNT, plain.generator), Evaluator(plain.model, plain.train, FLOAT32)
    for step, minibatch in enumerate(found):
        indices = passes.take(2 * M)
        draws = plain.train.draw_views(2 * M, plain.generator)
        scored = evaluator.score(indices, draws=draws)
        norms = error_norms(scored.logits, scored.labels)
        chosen = norms.argsort(descending=True)[:M].sort().values
        assert minibatch.indices.tolist() == indices[chosen].tolist()
        assert minibatch.draws is not None
        assert torch.equal(minibatch.draws, draws[chosen])
        drift(plain.model, step)
        outputs_of(plain, minibatch)


@pytest.mark.parametrize("start", [0.0, 0.5])
@pytest.mark.parametrize(
    ("score_by", "keep"),
    [
        ("memory", "gradient_share"),
        ("memory", "importance"),
        ("memory", "stratified_importance"),
        ("memory_and_proxy", "gradient_share"),
        ("proxy", "hardest"),
        ("proxy", "spatially_balanced"),
        ("model", "gradient_share"),
    ],
)
def test_a_run_that_is_resumed_is_one_that_never_stopped(score_by, keep, start) -> None:
    options = {"score_by": score_by, "keep": keep, "start": start, "lost": 0.3}
    if keep == "stratified_importance":
        options["draw"] = "stratified_without_replacement"
    whole = given(**options)
    expected = rows(taken(BatchSelection(whole), whole, range(STEPS)))
    for stop in (5, 27):
        base = given(**options)
        first, again = BatchSelection(base), BatchSelection(base)
        begun = rows(taken(first, base, range(stop)))
        state = first.state_dict()
        again.load_state_dict(state)
        assert digest_of(again.state_dict()) == digest_of(state)
        assert begun + rows(taken(again, base, range(stop, STEPS))) == expected


@pytest.mark.parametrize("score_by", ["memory", "memory_and_proxy", "proxy", "model"])
def test_before_the_start_all_candidates_are_trained_on(score_by) -> None:
    base = given(score_by=score_by, start=1.0)
    method = BatchSelection(base)
    found = taken(method, base, range(STEPS))
    each = torch.cat([one.indices for one in found]).bincount(minlength=COUNT)
    assert int(each.max() - each.min()) <= 1  # whole passes, and the part of another
    assert method.record().counts["candidates"] == STEPS * M  # type: ignore[index]


def test_by_memory_those_that_were_learned_come_less_often() -> None:
    """Half of the examples have no gradient left; nothing else is told of them."""
    base = given(keep="gradient_share", lost=0.02)
    method = BatchSelection(base)
    learned = torch.arange(COUNT) < COUNT // 2
    counts = torch.zeros(COUNT)
    for step in range(STEPS):
        minibatch = method.minibatch(step)
        labels = base.train.labels[minibatch.indices]
        sure = torch.nn.functional.one_hot(labels, 10).float() * 30
        logits = torch.where(learned[minibatch.indices, None], sure, torch.zeros(M, 10))
        if step >= STEPS // 2:
            counts += minibatch.indices.bincount(minlength=COUNT)
        method.update(minibatch, Outputs.of(logits, labels, ONES), 0.0)
    assert counts[learned].sum() < 0.3 * counts[~learned].sum()
    assert method.record().counts == {
        "candidates": method.record().counts["candidates"],  # type: ignore[index]
        "examples_scored": 0,
        "flop_select": 0,
    }


def test_a_step_that_a_scaler_skipped_is_not_learned_from() -> None:
    base = given()
    method = BatchSelection(base)
    minibatch = method.minibatch(0)
    labels = base.train.labels[minibatch.indices]
    before = digest_of(method.state_dict()["scorer"])
    method.update(minibatch, Outputs.of(torch.full((M, 10), torch.nan), labels, ONES), 0.0)
    assert digest_of(method.state_dict()["scorer"]) == before


def test_a_loop_that_does_not_give_its_logits_is_told_to() -> None:
    method = BatchSelection(given())
    with pytest.raises(OrderError, match=r"pass them: step\(logits\)"):
        method.update(method.minibatch(0), None, 0.0)


def test_more_candidates_than_examples_are_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"share: 0\.1 asks for 80 candidates of 48 .* raise it"
    ):
        BatchSelection(given(score_by="model", keep="hardest", share=0.1))


def test_a_coreset_needs_somebody_who_scores() -> None:
    with pytest.raises(ParameterError, match=r"batch_selection\.keep.*needs batch_selection"):
        given(keep="facility_location")


def test_a_proxy_needs_somebody_who_builds_it() -> None:
    found = context(convnet(), image_split(COUNT), STEPS, batch_selection={"score_by": "proxy"})
    with pytest.raises(ParameterError, match="scoring_model: none was given"):
        BatchSelection(found)


def test_importance_is_not_asked_for_less_than_it_can_keep() -> None:
    with pytest.raises(ParameterError, match=r"batch_selection\.share.*at least 0\.25"):
        given(share=0.1)


class Expected(ImageSplit):
    """A split that notes what it is told to expect, and of what it makes views."""

    expected: set[tuple[int, ...]]
    made: set[tuple[int, ...]]

    def expect(self, indices: Tensor, draws: Tensor | None) -> None:
        assert draws is not None
        self.expected = keys(indices, draws)

    def views(self, indices: Tensor, draws: Tensor) -> Tensor:
        self.made = self.made | keys(indices, draws)
        return super().views(indices, draws)


def keys(indices: Tensor, draws: Tensor) -> set[tuple[int, ...]]:
    return {tuple(row) for row in torch.cat([indices[:, None], draws], 1).tolist()}


@pytest.mark.parametrize(
    "options",
    [{"score_by": "model", "keep": "hardest", "start": 0.2}, {"score_by": "memory"}],
)
def test_what_is_trained_on_and_what_is_scored_next_is_expected(options: dict[str, Any]) -> None:
    base, other = given(**options), given(**options)
    split = base.train
    split.__class__ = Expected
    split.expected = set()
    method, plain = BatchSelection(base), BatchSelection(other)
    for step in range(20):
        expected, split.made = split.expected, set()
        minibatch = method.minibatch(step)
        assert split.made <= expected or step == 0
        assert keys(minibatch.indices, minibatch.draws) <= split.expected
        assert rows([minibatch]) == rows([plain.minibatch(step)])
        method.update(minibatch, outputs_of(base, minibatch), 0.0)
        plain.update(minibatch, outputs_of(other, minibatch), 0.0)


class Files:
    """Images as files would be: each crop of one takes a decoding, which is counted."""

    shape = (COUNT, 8, 8, 1)

    def __init__(self) -> None:
        self._images = image_split(COUNT)._images
        self.decoded = 0

    def __getitem__(self, index: int) -> Any:
        return self._images[index].numpy()

    def sizes(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        sides = torch.full_like(indices, 8)
        return sides, sides

    def cropped(self, index: int, box: Sequence[int], size: tuple[int, int]) -> Tensor:
        self.decoded += 1
        top, left, height, width = box
        return resized(self._images[index, top : top + height, left : left + width], size)


def given_files(**options: Any) -> tuple[Given, Files]:
    files, plain = Files(), image_split(COUNT)
    crops = Augmentation(flip=True, scale=(0.1, 1.0))
    split = EncodedSplit(files, plain.labels, plain._mean, plain._std, plain._device, crops, 1)  # type: ignore[arg-type]
    found = given(**options)
    return Given(**{**vars(found), "train": split}), files


@pytest.mark.parametrize(
    "options",
    [
        {"score_by": "model", "keep": "hardest"},
        {"score_by": "model", "keep": "gradient_share", "lost": 0.3},
        {"score_by": "proxy", "keep": "hardest", "start": 0.1},
    ],
)
def test_an_image_is_decoded_once_for_the_score_and_the_step(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, files = given_files(**options)
    method = BatchSelection(base)
    found = rows(taken(method, base, range(14)))
    candidates = method.record().counts["candidates"]  # type: ignore[index]
    foreseen = 2 * M  # for a step that did not come
    assert files.decoded <= candidates + foreseen

    other, _ = given_files(**options)
    first = rows(taken(interrupted := BatchSelection(other), other, range(5)))
    resumed = BatchSelection(other)
    resumed.load_state_dict(interrupted.state_dict())
    assert first + rows(taken(resumed, other, range(5, 14))) == found

    monkeypatch.setattr(EncodedSplit, "keep", lambda *arguments: None)
    forgetful, files = given_files(**options)
    assert rows(taken(BatchSelection(forgetful), forgetful, range(14))) == found
    assert files.decoded > candidates + foreseen + M
