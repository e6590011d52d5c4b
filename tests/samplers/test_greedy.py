"""Greedy against the selection functions called by hand."""

import polars as pl
import pytest
import torch

from crest.errors import ParameterError, TrainingError
from crest.inference.evaluator import Evaluator
from crest.models.head import last_layer
from crest.samplers.crest import Crest
from crest.samplers.greedy import Greedy
from crest.selection.choices import find_choice
from crest.selection.choosing import choose_minibatch_coresets
from crest.selection.gradients import find_proxy
from crest.training.loop import train
from tests.tiny import FLOAT32, context, convnet, image_split


@pytest.mark.parametrize("choice", ["facility_location", "spatially_balanced"])
@pytest.mark.parametrize("proxy", ["logits", "last_input"])
def test_every_step_has_the_coreset_of_a_subset_of_its_own(proxy: str, choice: str) -> None:
    base = context(greedy={"proxy": proxy, "choice": choice, "learned_window": 0})
    plain = context()
    method = Greedy(base)
    for step in range(4):
        found = method.minibatch(step)
        method.update(found, None, 0.5)
        subset = method._pool.active.draw(32, plain.generator)
        scored = Evaluator(plain.model, plain.train, FLOAT32).score(subset)
        gradients = find_proxy(proxy)(scored, last_layer(plain.model))
        seed = int(torch.randint(2**62, (1,), generator=plain.generator))
        drawing = torch.Generator().manual_seed(seed)
        (expected,) = choose_minibatch_coresets(
            scored, gradients, 1, 8, find_choice(choice), drawing
        )
        assert torch.equal(found.indices, expected.indices)
        assert torch.equal(found.weights, expected.weights)


def test_the_tables_hold_a_region_for_each_step() -> None:
    method = Greedy(context(method="greedy"))
    taken = []
    for step in range(5):
        taken.append(method.minibatch(step))
        method.update(taken[-1], None, 0.5)
    record = method.record()
    assert record.regions is not None
    assert record.coresets is not None
    assert record.counts == {"examples_scored": 5 * 32}
    assert record.regions["start_step"].to_list() == [0, 1, 2, 3, 4]
    assert record.regions["end_step"].to_list() == [1, 2, 3, 4, 5]
    assert record.regions["seconds_train"].to_list() == [0.5] * 5
    assert record.regions["rho"].null_count() == record.regions["gradient_norm"].null_count() == 5
    for step, coreset in enumerate(taken):
        rows = record.coresets.filter(region=step, minibatch=0)
        assert rows["index"].to_list() == coreset.indices.tolist()
        assert rows["weight"].to_list() == coreset.weights.tolist()


def test_learned_examples_are_excluded() -> None:
    """With every loss below α, whatever was seen twice in a window leaves, down to the floor."""
    settings = {"learned_loss": 100.0, "learned_window": 4, "learned_floor": 40}
    method = Greedy(context(convnet(), image_split(60), greedy=settings))
    for step in range(12):
        method.update(method.minibatch(step), None, 0.0)
    record = method.record()
    assert record.regions is not None
    assert record.scored is not None
    assert record.regions["active"][0] == 60
    assert record.regions["active"][-1] == 40
    dropped = record.scored.filter(pl.col("excluded_at") >= 0)
    assert len(dropped) == 20
    late = record.coresets.join(dropped, on="index")  # type: ignore[union-attr]
    assert late.filter(pl.col("region") >= pl.col("excluded_at")).is_empty()


def test_a_loss_that_is_no_number_ends_the_run_by_name() -> None:
    base = context(method="greedy", train={"lr": 1e20})
    with pytest.raises(TrainingError, match=r"train\.lr"):
        train(base.model, Greedy(base), base.train, None, 30, base.settings.train, base.precision)


def test_a_subset_that_does_not_fit_is_refused_by_its_own_key() -> None:
    with pytest.raises(ParameterError, match=r"greedy\.subset_size: 7 is 7 of 240 examples, less"):
        Greedy(context(greedy={"subset_size": 7}))
    with pytest.raises(ParameterError, match=r"greedy\.proxy: 'x' is not one of"):
        Greedy(context(greedy={"proxy": "x"}))
    with pytest.raises(ParameterError, match=r"greedy\.choice: 'x' is not one of"):
        Greedy(context(greedy={"choice": "x"}))


def test_medoids_without_weights_are_warned_of_where_training_starts(caplog) -> None:
    for choice in ("facility_location", "spatially_balanced"):
        Greedy(context(greedy={"choice": choice}))
    assert not caplog.records
    Greedy(context(greedy={"choice": "medoids"}))
    Crest(context(crest={"choice": "medoids"}))
    keys = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert keys == ["greedy.choice", "crest.choice"]
    assert "medoids without their weights" in caplog.text


def test_regions_say_what_their_mini_batches_are_worth() -> None:
    worth = {}
    for choice in ("facility_location", "medoids"):
        method = Greedy(context(greedy={"choice": choice}))
        chosen = [method.minibatch(step) for step in range(3)]
        regions = method.record().regions
        assert regions is not None
        worth[choice] = regions["effective_size"].to_list()
        by_hand = [float(one.weights.sum() ** 2 / (one.weights**2).sum()) for one in chosen]
        assert worth[choice] == pytest.approx(by_hand)
    assert worth["medoids"] == [8.0] * 3
    assert max(worth["facility_location"]) < 8
