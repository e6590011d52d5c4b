"""Subsets of V, and what is known of their examples."""

import pytest
import torch

from crest.inference.evaluator import Evaluator
from crest.regions.active import ActiveSet
from crest.samplers.crest.subsets import Subsets
from crest.selection.coresets import Outputs
from tests.tiny import CLASSES, FLOAT32, context

R = 32


def subsets_of(**crest: object) -> Subsets:
    base = context(crest=crest)
    active = ActiveSet(len(base.train))
    return Subsets(base, base.parameters, base.evaluator, active, R)


@pytest.mark.parametrize(
    "draw", ["independent", "stratified", "without_replacement", "stratified_without_replacement"]
)
def test_subsets_are_r_different_examples(draw: str) -> None:
    subsets = subsets_of(draw=draw, selection="on_demand", outputs="remembered")
    for step in range(20):
        for drawn in (subsets.draw(), subsets.take(step)):
            assert drawn.dtype == torch.int64
            assert len(drawn.unique()) == R
            subsets.remember(subsets.score(drawn))


def test_remembered_outputs_are_those_of_training_and_only_others_are_scored() -> None:
    subsets = subsets_of(selection="on_demand", outputs="remembered")
    base = context()
    known, unknown = torch.arange(0, 20), torch.arange(100, 112)
    logits = torch.arange(20.0 * CLASSES).view(20, CLASSES)
    labels = base.train.labels[known]
    subsets.remember_step(known, Outputs.of(logits, labels, torch.ones(20)))
    subset = torch.cat([unknown[:5], known, unknown[5:]])
    found, passes = subsets.outputs_of(subset)
    assert torch.equal(found.indices, subset)
    assert torch.equal(found.logits[5:25], logits)
    expected = Evaluator(base.model, base.train, FLOAT32).score(unknown).logits
    torch.testing.assert_close(torch.cat([found.logits[:5], found.logits[25:]]), expected)
    assert [scored.indices.tolist() for scored in passes] == [unknown.tolist()]
    assert subsets.examples_scored == 12


def test_rewound_a_round_goes_on_where_it_was() -> None:
    subsets = subsets_of(draw="without_replacement")
    subsets.take(0)
    position, generator = subsets.position(), subsets._generator.get_state()
    first = [subsets.take(step) for step in range(1, 12)]
    subsets.score(first[0])
    subsets.rewind(position)
    subsets._generator.set_state(generator)
    assert subsets.examples_scored == 0
    again = [subsets.take(step) for step in range(1, 12)]
    assert [drawn.tolist() for drawn in again] == [drawn.tolist() for drawn in first]
