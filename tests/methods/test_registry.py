"""METHODS: whatever is in it can be trained with."""

import inspect
from dataclasses import replace

import pytest
import torch

from crest.config import Parameters
from crest.loop_support.state import digest_of
from crest.methods import METHODS
from crest.samplers.base import Method, Record
from crest.samplers.saved import SavedCoresets
from crest.selection.coresets import MiniBatchCoreset, Outputs
from tests.tiny import CLASSES, Given, context

SELECTING = {
    "crest",
    "greedy",
    "craig",
    "gradmatch",
    "glister",
}  # methods with coresets of their own


def saved_context() -> Given:
    """A context with everything that any method may need."""
    minibatch = MiniBatchCoreset(torch.arange(8), torch.ones(8), None, 0, 0)
    return replace(context(steps=6), saved=SavedCoresets(((minibatch,),)))


def test_the_methods_are_those_of_the_contract() -> None:
    assert {"full", "random", "crest", "replay"} <= METHODS.keys()


def test_only_full_takes_all_steps() -> None:
    assert [name for name, spec in METHODS.items() if spec.takes_all_steps] == ["full"]


def test_only_sgd_has_the_schedule_of_full_training() -> None:
    assert [name for name, spec in METHODS.items() if spec.schedule_of_full] == ["sgd"]


def test_every_method_has_a_section_of_parameters() -> None:
    for name, spec in METHODS.items():
        assert type(Parameters().of_method(name)) is spec.parameters


@pytest.mark.parametrize("name", METHODS)
def test_a_method_does_all_that_the_loop_asks(name) -> None:
    method = METHODS[name].build(saved_context().of(name))
    for asked, expected in inspect.getmembers(Method, inspect.isfunction):
        if not asked.startswith("_"):
            found = inspect.signature(getattr(type(method), asked))
            assert list(found.parameters) == list(inspect.signature(expected).parameters), asked


@pytest.mark.parametrize("name", METHODS)
def test_a_method_yields_minibatches_of_the_size_asked_for_and_a_record(name) -> None:
    base = saved_context()
    method = METHODS[name].build(base.of(name))
    for step in range(base.steps):
        minibatch = method.minibatch(step)
        size = base.batch_size * (2 if name == "large" else 1)
        assert minibatch.indices.shape == minibatch.weights.shape == (size,)
        assert minibatch.indices.dtype == torch.int64
        assert minibatch.weights.dtype == torch.float32
        if name not in {"craig", "gradmatch"}:  # whose weights have mean 1 over the whole coreset
            assert float(minibatch.weights.mean()) == pytest.approx(1.0)
        assert 0 <= int(minibatch.indices.min()) <= int(minibatch.indices.max()) < len(base.train)
        labels = base.train.labels[minibatch.indices]
        outputs = Outputs.of(torch.zeros(size, CLASSES), labels, minibatch.weights)
        method.update(minibatch, outputs, 0.001)
    before = digest_of(method.state_dict())
    record = method.record()
    assert digest_of(method.state_dict()) == before
    assert isinstance(record, Record)
    assert (record.coresets is None) == (record.regions is None) == (name not in SELECTING)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_draws_from_its_own_generator_alone(name) -> None:
    before = torch.get_rng_state()
    taken = []
    for _ in range(2):
        method = METHODS[name].build(saved_context().of(name))
        taken.append([method.minibatch(0).indices, method.minibatch(1).indices])
    assert all(torch.equal(*pair) for pair in zip(*taken, strict=True))
    assert torch.equal(before, torch.get_rng_state())
