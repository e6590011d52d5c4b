"""CREST where the formulas have nothing to divide by, or nothing is left to learn."""

from dataclasses import replace

import polars as pl
import pytest
import torch
from torch import nn

from crest.regions.active import ActiveSet
from crest.regions.quadratic import relative_error
from crest.samplers.crest import Crest
from crest.training.loop import Run, train
from tests.tiny import (
    CLASSES,
    FLOAT32,
    LinearSplit,
    context,
    convnet,
    image_split,
    linear_model,
    linear_split,
)


def train_with(method_context, steps: int) -> Run:
    """Train for real, by the loop that every method goes through."""
    method = Crest(method_context)
    settings = method_context.settings.train
    return train(method_context.model, method, method_context.train, None, steps, settings, FLOAT32)


def regions(run: Run) -> pl.DataFrame:
    table = run.record.regions
    assert table is not None
    return table


def coresets(run: Run) -> pl.DataFrame:
    table = run.record.coresets
    assert table is not None
    return table


class Constant(nn.Module):
    """A last layer whose logits are too far apart for the loss, its gradient and its curvature."""

    def __init__(self, split: LinearSplit) -> None:
        super().__init__()
        self.linear = nn.Linear(split.features.shape[1], CLASSES)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()
            self.linear.weight[:, :CLASSES] = 1e4 * torch.eye(CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs)


def saturated() -> tuple[nn.Module, LinearSplit]:
    """A linear model that is certain and right: losses, gradient and curvature are exactly 0."""
    split = linear_split()
    split.features[:, :CLASSES] = nn.functional.one_hot(split.labels, CLASSES).float()
    return Constant(split), split


def test_a_saturated_model_has_no_loss_and_no_curvature_at_all() -> None:
    model, split = saturated()
    losses = nn.functional.cross_entropy(model(split.features), split.labels, reduction="none")
    assert losses.eq(0).all()


def test_without_curvature_a_region_lasts_to_the_end_of_training() -> None:
    """‖H‖ = 0: the second region would wait h·‖H_0‖/0 steps; T1 is what is left."""
    model, split = saturated()
    settings = {"subset_size": 16, "threshold": 1e-9, "learned_window": 0}
    base = context(model, split, steps=12, train={"weight_decay": 0.0}, crest=settings)
    method = Crest(base)
    taken = []
    for step in range(12):
        minibatch = method.minibatch(step)
        taken.append(minibatch.region)
        if step == 0:
            # A loss that F did not foresee ends the first region at its first check.
            with torch.no_grad():
                split.labels.copy_((split.labels + 1) % CLASSES)
        method.update(minibatch, None, 0.0)
    table = method.record().regions
    assert table is not None
    assert table["curvature_norm"].to_list() == [0.0, 0.0]
    assert table["check_interval"].to_list() == [1, 11]
    assert table["minibatches"].to_list() == [5, 55]
    assert taken == [0] + [1] * 11


def test_with_a_loss_of_zero_training_goes_on_and_rho_is_defined() -> None:
    model, split = saturated()
    settings = {"subset_size": 16, "learned_window": 0}
    train_settings = {"weight_decay": 0.0, "optimizer": "sgd"}
    run = train_with(context(model, split, 10, crest=settings, train=train_settings), 10)
    assert run.steps["loss"].to_list() == [0.0] * 10
    table = regions(run)
    assert len(table) == 1
    assert table["rho"].to_list() == [0.0]
    assert table["checks"].to_list() == [9]


@pytest.mark.parametrize(
    ("predicted", "measured", "rho"),
    [(0.0, 0.0, 0.0), (0.5, 0.0, float("inf")), (-0.5, 0.0, float("inf")), (0.0, 0.5, 1.0)],
)
def test_rho_of_a_loss_of_zero_is_exact_or_infinitely_wrong(predicted, measured, rho) -> None:
    assert relative_error(predicted, measured) == rho


def test_an_infinite_rho_ends_the_region_and_is_kept() -> None:
    """The loss falls to exactly 0 while F, which is wrong, says otherwise."""
    model, split = saturated()
    with torch.no_grad():
        model.linear.weight.mul_(1e-4)
    settings = {"subset_size": 16, "threshold": 1e3, "learned_window": 0}
    method = Crest(context(model, split, steps=4, crest=settings))
    for step in range(3):
        minibatch = method.minibatch(step)
        with torch.no_grad():
            model.linear.weight[:, :CLASSES] = 1e4 * torch.eye(CLASSES)
        method.update(minibatch, None, 0.0)
    table = method.record().regions
    assert table is not None
    assert table["rho"].to_list() == [float("inf"), 0.0]


def test_when_all_is_learned_v_stays_at_the_floor_and_training_goes_on() -> None:
    settings = {
        "subset_size": 16,
        "threshold": 1e-9,
        "learned_loss": 100.0,
        "learned_window": 2,
        "learned_floor": 20,
        "minibatch_factor": 20.0,
    }
    split = image_split(60)
    run = train_with(context(convnet(), split, 40, crest=settings), 40)
    table = regions(run)
    assert len(run.steps) == 40
    assert table["active"][0] == 60
    assert table["active"].min() == 20
    assert table["active"][-1] == 20
    assert (table["active"] + table["excluded"] == 60).all()


def test_v_never_falls_below_a_subset_and_is_then_the_subset() -> None:
    """A floor of 1 is raised to r: V_p is then V itself, and every selection is from all of it."""
    settings = {
        "subset_size": 16,
        "threshold": 1e-9,
        "learned_loss": 100.0,
        "learned_window": 2,
        "learned_floor": 1,
        "minibatch_factor": 20.0,
    }
    run = train_with(context(convnet(), image_split(60), 40, crest=settings), 40)
    table = regions(run)
    assert table["active"][-1] == 16
    last = coresets(run).filter(pl.col("region") == table["region"][-1])
    assert last["index"].n_unique() <= 16
    assert run.steps["loss"].is_finite().all()


def test_all_of_v_can_be_drawn() -> None:
    active = ActiveSet(30)
    active.exclude(torch.arange(14), 0)
    drawn = active.draw(16, torch.Generator().manual_seed(0))
    assert sorted(drawn.tolist()) == list(range(14, 30))


def test_a_subset_of_all_examples_leaves_nothing_to_exclude() -> None:
    settings = {"subset_size": 60, "threshold": 1e-9, "learned_loss": 100.0, "learned_window": 2}
    run = train_with(context(convnet(), image_split(60), 12, crest=settings), 12)
    assert regions(run)["excluded"].to_list() == [0] * len(regions(run))


def test_when_a_class_is_gone_from_v_training_goes_on_with_the_others() -> None:
    base = context(convnet(), image_split(60), 12, crest={"subset_size": 16, "threshold": 1e-9})
    method = Crest(base)
    gone = torch.nonzero(base.train.labels == 0).flatten()
    method._pool.active.exclude(gone, 0)
    run = train(base.model, method, base.train, None, 12, base.settings.train, FLOAT32)
    assert len(run.steps) == 12
    assert run.steps["loss"].is_finite().all()
    assert set(coresets(run)["label"]) == {1, 2}
    assert set(regions(run)["active"]) == {40}


def test_a_class_that_learning_empties_is_never_selected_again() -> None:
    """Class 0 is learned at once, by its loss; the floor of a subset keeps the rest."""
    split = linear_split(60)
    split.features.zero_()
    split.features[torch.arange(60), split.labels] = 1.0
    model = linear_model()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
        model.weight[0, 0] = 50.0
    settings = {
        "subset_size": 30,
        "threshold": 1e-9,
        "learned_window": 3,
        "learned_floor": 30,
        "minibatch_factor": 10.0,
    }
    small = {"lr": 1e-6, "weight_decay": 0.0}
    run = train_with(replace(context(model, split, 12, crest=settings, train=small)), 12)
    table = regions(run)
    assert table["excluded"][-1] == 20
    late = table.filter(pl.col("excluded") == 20)["region"]
    assert set(coresets(run).filter(pl.col("region").is_in(late.implode()))["label"]) == {1, 2}
