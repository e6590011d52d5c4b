"""Algorithm 1, part by part, on a tiny case."""

from dataclasses import replace

import polars as pl
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from crest.errors import ParameterError
from crest.inference.evaluator import Evaluator
from crest.inference.forward import evaluating
from crest.regions.curvature import flatten, trained_parameters
from crest.regions.loss import LossFilter
from crest.samplers.crest import Crest
from crest.selection.coresets import Outputs
from tests.tiny import FLOAT32, context, convnet, image_split


def drive(method: Crest, steps: int, move: float = 0.0) -> list:
    """Take steps that move the weights by ``move`` instead of training."""
    taken = []
    for step in range(steps):
        taken.append(method.minibatch(step))
        with torch.no_grad():
            for parameter in trained_parameters(method._context.model):
                parameter += move
        method.update(taken[-1], None, 0.5)
    return taken


FOCUSED = {
    "selection": "on_demand",
    "outputs": "remembered",
    "draw": "without_replacement",
    "focus": 1.0,
    "focus_floor": 0.1,
    "threshold": 1e9,
    "interval_factor": 4.0,
    "subset_coresets": 4,
    "choice": "spatially_balanced",
    "learned_window": 0,
}


# A check looks at V_r as it is; with these there is one check, and training says the rest.
UNCHECKED = FOCUSED | {"threshold": 1e-9, "interval_factor": 1000.0}


def drive_focused(method: Crest, steps: int) -> list:
    """Take steps that move nothing, of which training saw losses of 0 and 3, by the index."""
    labels, taken = method._context.train.labels, []
    for step in range(steps):
        taken.append(method.minibatch(step))
        indices = taken[-1].indices
        logits = torch.zeros(len(indices), 3)
        right = torch.where(indices % 2 == 0, 50.0, -50.0)
        logits[torch.arange(len(indices)), labels[indices]] = right
        outputs = Outputs.of(logits, labels[indices], taken[-1].weights)
        method.update(taken[-1], outputs, 0.5)
    return taken


def regions(method: Crest) -> pl.DataFrame:
    table = method.record().regions
    assert table is not None
    return table


def test_the_first_region_checks_after_one_step_and_selects_b() -> None:
    method = Crest(context())
    drive(method, 1)
    row = regions(method).row(0, named=True)
    assert (row["check_interval"], row["minibatches"], row["start_step"]) == (1, 5, 0)


def test_an_exact_model_never_ends_its_region() -> None:
    """Without movement F stays L(w_l), and only sampling parts it from L_r."""
    method = Crest(context(crest={"threshold": 10.0}))
    drive(method, 12)
    table = regions(method)
    assert len(table) == 1
    # The check after the last step would come before a 13th.
    assert table["checks"].to_list() == [11]


def test_a_wrong_model_ends_its_region_at_every_check() -> None:
    method = Crest(context(crest={"threshold": 1e-9}))
    drive(method, 6, move=0.01)
    table = regions(method)
    lengths = (table["end_step"] - table["start_step"]).to_list()
    intervals = table["check_interval"].to_list()
    assert lengths[:-1] == intervals[:-1]
    assert table["end_step"][-1] == 6
    assert table["rho"][:-1].min() > 1e-9


def test_regions_cover_all_steps() -> None:
    method = Crest(context(crest={"threshold": 0.02, "interval_factor": 2.0}))
    taken = drive(method, 20, move=0.003)
    table = regions(method)
    assert table["start_step"].to_list() == [0, *table["end_step"].to_list()[:-1]]
    for step, coreset in enumerate(taken):
        row = table.row(coreset.region, named=True)
        assert row["start_step"] <= step < row["end_step"]
        assert coreset.number < row["minibatches"]


def test_interval_and_count_follow_the_curvature() -> None:
    method = Crest(context(crest={"threshold": 1e-9, "interval_factor": 3.0}, steps=40))
    drive(method, 40, move=0.01)
    table = regions(method)
    norms = table["curvature_norm"].to_list()
    for number in range(1, len(table)):
        expected = round(3.0 * norms[0] / norms[number - 1])
        left = 40 - table["start_step"][number]
        assert table["check_interval"][number] == max(1, min(left, expected))
    assert (table["minibatches"] == 5 * table["check_interval"]).all()


def test_loss_at_the_anchor_is_the_mean_loss_of_the_data() -> None:
    """F_l(0) = L(w_l): all of V is scored here, so there is no sampling error."""
    split = image_split(60)
    model = convnet()
    method = Crest(context(model, split, crest={"subset_size": 60}))
    drive(method, 1)
    expected = Evaluator(model, split, FLOAT32).score(torch.arange(60)).losses.double().mean()
    assert regions(method)["loss_start"][0] == pytest.approx(float(expected), rel=1e-5)


def test_of_smoothed_labels_all_of_the_model_is_and_losses_of_examples_are_not() -> None:
    """A small step changes the measured loss by what the model's g predicts."""
    split, model = image_split(60), convnet()
    base = replace(
        context(model, split, crest={"subset_size": 60, "threshold": 1e9}), label_smoothing=0.3
    )
    method = Crest(base)
    first = drive(method, 1, move=1e-3)[0]
    region = method._region
    assert region is not None
    every = torch.arange(60)
    with torch.no_grad():
        for parameter in trained_parameters(model):
            parameter -= 1e-3
    before = Evaluator(model, split, FLOAT32).score(every)
    assert region.model.loss == pytest.approx(float(before.smoothed_losses(0.3).mean()), rel=1e-5)
    torch.testing.assert_close(first.losses, before.losses[first.indices])
    union = [(coreset.indices, coreset.weights) for coreset in region.coresets]
    with evaluating(model):
        total = sum(
            (
                F.cross_entropy(
                    model(split.inputs(indices)),
                    split.labels[indices],
                    reduction="none",
                    label_smoothing=0.3,
                )
                * weights
            ).mean()
            for indices, weights in union
        )
        expected = flatten(torch.autograd.grad(total / len(union), trained_parameters(model)))
    torch.testing.assert_close(region.model.gradient, expected, rtol=1e-3, atol=1e-5)


def test_the_displacement_is_that_of_the_weights() -> None:
    method = Crest(context(crest={"threshold": 1e9}))
    drive(method, 3, move=0.01)
    region = method._region
    assert region is not None
    weights = flatten(trained_parameters(method._context.model))
    torch.testing.assert_close(weights - region.model.anchor, torch.full_like(weights, 0.03))


def test_of_the_first_order_only_the_hessian_term_of_the_prediction_is_gone() -> None:
    """The same region, g and T1 in both: what ρ compares differs by ½ δ·(h ⊙ δ)."""
    errors = []
    for order in (1, 2):
        method = Crest(context(crest={"threshold": 1e9, "order": order}))
        drive(method, 1, move=0.01)
        region = method._region
        assert region is not None
        weights = flatten(trained_parameters(method._context.model))
        moved = weights - region.model.anchor
        predicted = region.model.loss + float(region.model.gradient @ moved)
        if order == 2:
            predicted += 0.5 * float(region.model.curvature @ moved.square())
        assert float(region.model.curvature.norm()) > 0
        drawn = method._pool.active.draw
        seen: list[Tensor] = []

        def keep(count: int, generator: torch.Generator, drawn=drawn, seen=seen) -> Tensor:
            seen.append(drawn(count, generator))
            return seen[-1]

        method._pool.active.draw = keep  # type: ignore[method-assign]
        method.minibatch(1)
        model, split = method._context.model, method._context.train
        loss = float(Evaluator(model, split, FLOAT32).score(seen[0]).losses.double().mean())
        assert region.rho == pytest.approx(abs(predicted - loss) / loss, rel=1e-4)
        errors.append(region.rho)
    assert errors[0] != errors[1]


@pytest.mark.parametrize(
    ("draw", "allowed"),
    [("stratified", [10, 11]), ("stratified_without_replacement", [9, 10, 11, 12])],
)
@pytest.mark.parametrize("selection", ["ahead", "on_demand"])
def test_stratified_every_subset_has_each_class_its_share(
    selection: str, draw: str, allowed: list[int]
) -> None:
    """Three classes of 80 in subsets of 32, dealt out whole: 10 or 11 of each.

    Of rounds one more or less, where one ends within a subset.
    """
    settings = {"draw": draw, "choice": "spatially_balanced", "subset_coresets": 4}
    method = Crest(context(crest={**settings, "selection": selection, "threshold": 1e-9}))
    drive(method, 20, move=0.01)
    table = method.record().coresets
    assert table is not None
    whole = table.with_columns(subset=pl.col("minibatch") // 4)
    counts = whole.group_by("region", "subset", "label").len()
    full = counts.filter(pl.col("len").sum().over("region", "subset") == 32)["len"]
    assert len(full) > 12
    assert full.is_in(allowed).all()


def test_every_selected_coreset_is_saved_and_every_step_trains_on_one() -> None:
    method = Crest(context(crest={"threshold": 0.02}))
    taken = drive(method, 15, move=0.004)
    record = method.record()
    assert record.coresets is not None
    assert record.regions is not None
    counts = record.coresets.group_by("region").len().sort("region")["len"]
    assert counts.to_list() == [8 * minibatches for minibatches in record.regions["minibatches"]]
    for coreset in taken:
        rows = record.coresets.filter(region=coreset.region, minibatch=coreset.number)
        assert rows["index"].to_list() == coreset.indices.tolist()
        assert rows["weight"].to_list() == coreset.weights.tolist()
        assert rows["weight"].mean() == pytest.approx(1.0)


def test_learned_examples_are_no_longer_scored() -> None:
    model, split = convnet(), image_split()
    train_until_learned(model, split)
    method = Crest(
        context(model, split, crest={"threshold": 1e-9, "learned_window": 4, "learned_floor": 60})
    )
    drive(method, 12)
    record = method.record()
    assert record.regions is not None
    assert record.scored is not None
    assert record.regions["active"][0] == 240
    assert record.regions["excluded"][-1] > 0
    dropped = record.scored.filter(pl.col("excluded_at") >= 0)
    assert len(dropped) == record.regions["excluded"][-1]
    late = record.coresets.join(record.regions, on="region")  # type: ignore[union-attr]
    after = late.join(dropped, on="index").filter(pl.col("start_step") >= pl.col("excluded_at"))
    assert after.is_empty()


def test_excluding_can_be_switched_off() -> None:
    model, split = convnet(), image_split()
    train_until_learned(model, split)
    method = Crest(context(model, split, crest={"threshold": 1e-9, "learned_window": 0}))
    drive(method, 12)
    assert regions(method)["excluded"].max() == 0
    assert (
        len(method.state_dict()["pool"]["learned"]["seen"]) == 0
    )  # nothing is watched that no window ends


def train_until_learned(model: torch.nn.Module, split) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    indices = torch.arange(len(split))
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(split.inputs(indices)), split.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_seconds_are_kept_by_part() -> None:
    method = Crest(context())
    drive(method, 4)
    table = regions(method)
    assert table["seconds_train"].sum() == pytest.approx(2.0)
    assert table["seconds_select"].min() > 0
    assert table["seconds_model"].min() > 0
    assert method.record().seconds is not None


def test_on_demand_each_step_has_a_coreset_of_its_own() -> None:
    method = Crest(
        context(crest={"threshold": 0.02, "selection": "on_demand", "subset_coresets": 2})
    )
    taken = drive(method, 15, move=0.004)
    assert len({(coreset.region, coreset.number) for coreset in taken}) == 15
    record = method.record()
    assert record.regions is not None
    assert record.coresets is not None
    lengths = record.regions["end_step"] - record.regions["start_step"]
    # Two for each subset: one that the region no longer needed at most.
    assert (record.regions["minibatches"] - lengths).is_in([0, 1]).all()
    for coreset in taken:
        rows = record.coresets.filter(region=coreset.region, minibatch=coreset.number)
        assert rows["index"].to_list() == coreset.indices.tolist()


def test_on_demand_the_examples_of_a_check_are_selected_from() -> None:
    """Checked at every step, nothing is scored but for the checks, after the first subset."""
    method = Crest(context(crest={"threshold": 1e9, "selection": "on_demand"}))
    drive(method, 6)
    record = method.record()
    assert record.counts is not None
    assert record.regions is not None
    assert record.regions["checks"].to_list() == [5]
    assert record.counts["examples_scored"] == 6 * 32


def test_on_demand_all_that_is_scored_is_selected_from_before_more_is() -> None:
    method = Crest(
        context(
            crest={
                "threshold": 1e9,
                "selection": "on_demand",
                "subset_coresets": 3,
                "interval_factor": 3.0,
            }
        )
    )
    drive(method, 10)
    record = method.record()
    assert record.counts is not None
    # Checks fall on the ends of subsets, T1 = 3, and each look serves the next three steps.
    assert record.regions is not None
    assert record.regions["check_interval"].to_list() == [3]
    assert record.counts["examples_scored"] == 4 * 32
    assert record.regions["minibatches"].to_list() == [12]


def test_curvature_is_estimated_no_more_often_than_asked_for() -> None:
    method = Crest(
        context(
            crest={"threshold": 1e-9, "curvature_interval": 5, "curvature_minibatches": 2},
            steps=20,
        )
    )
    drive(method, 20, move=0.01)
    record = method.record()
    assert record.regions is not None
    assert record.counts is not None
    norms = record.regions["curvature_norm"]
    assert len(record.regions) > 10
    assert norms.n_unique() == 4
    assert record.counts["hessian_vector_products"] == 4 * 2


def test_on_demand_as_many_coresets_are_selected_as_the_curvature_takes() -> None:
    settings = {"selection": "on_demand", "subset_coresets": 2, "curvature_minibatches": 5}
    method = Crest(
        context(crest={**settings, "threshold": 1e-9, "curvature_interval": 4}, steps=20)
    )
    drive(method, 12, move=0.01)
    record = method.record()
    assert record.regions is not None
    assert record.counts is not None
    # Every check ends its region, after the two steps that one subset serves.
    assert record.regions["check_interval"].to_list() == [2] * 6
    assert record.regions["minibatches"].to_list() == [6, 2, 6, 2, 6, 2]
    assert record.counts["hessian_vector_products"] == 3 * 5
    assert record.counts["examples_scored"] == 32 * (3 + 1 + 3 + 1 + 3 + 1)


def test_by_default_every_minibatch_of_every_region_is_in_the_curvature() -> None:
    method = Crest(context(crest={"threshold": 1e-9}))
    drive(method, 6, move=0.01)
    record = method.record()
    assert record.regions is not None
    assert record.counts is not None
    selected = record.regions["minibatches"].sum()
    assert record.counts["hessian_vector_products"] == selected
    scored = 32 * (selected + record.regions["checks"].sum())
    assert record.counts["examples_scored"] == scored


def test_the_gradient_of_training_is_the_average_of_the_steps() -> None:
    settings = {"threshold": 1e-9, "gradient": "training", "gradient_smoothing": 0.5}
    method = Crest(context(crest=settings))
    parameters = trained_parameters(method._context.model)
    minibatch = method.minibatch(0)
    region = method._region
    assert region is not None
    start = region.model.gradient
    for step in (1, 2):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, float(step))
        with torch.no_grad():
            for parameter in parameters:
                parameter += 0.01
        method.update(minibatch, None, 0.1)
        minibatch = method.minibatch(step)
    assert method._region is not None
    assert method._region.number == 2
    expected = (0.125 * start + 0.25 * 1.0 + 0.5 * 2.0) / (1 - 0.5**3)
    torch.testing.assert_close(method._region.model.gradient, expected)


@pytest.mark.parametrize("selection", ["ahead", "on_demand"])
def test_a_filtered_loss_takes_in_all_scored_where_a_region_opens_once(selection: str) -> None:
    settings = {"threshold": 1e-9, "selection": selection, "learned_window": 0}
    method = Crest(context(crest={**settings, "region_loss": "filtered"}))
    seen: list[tuple[int, Tensor]] = []
    split, draw = method._context.train, method._subsets.draw

    def drawn() -> Tensor:
        subset = draw()
        seen.append(
            (len(seen), Evaluator(method._context.model, split, FLOAT32).score(subset).losses)
        )
        return subset

    method._subsets.draw = drawn  # type: ignore[method-assign]
    drive(method, 4, move=0.003)
    losses = [values for _, values in seen]
    expected, opened = LossFilter(), []
    per_region = 5 if selection == "ahead" else 1
    # The first region opens with looks of its own; later ones after a check, with or without more.
    expected = expected.observe(torch.cat(losses[:per_region]))
    opened.append(expected.loss)
    rest = losses[per_region:]
    more = 5 if selection == "ahead" else 0
    while rest:
        expected = expected.check(rest[0])
        if more:
            expected = expected.observe(torch.cat(rest[1 : 1 + more]))
        opened.append(expected.loss)
        rest = rest[1 + more :]
    assert regions(method)["loss_start"].to_list() == pytest.approx(opened, rel=1e-4)


def test_spatially_balanced_each_subset_is_partitioned() -> None:
    settings = {"choice": "spatially_balanced", "selection": "on_demand", "subset_coresets": 4}
    method = Crest(context(crest={**settings, "threshold": 1e9, "interval_factor": 4.0}))
    taken = drive(method, 8, move=0.001)
    for subset in (taken[:4], taken[4:]):
        drawn = torch.cat([coreset.indices for coreset in subset])
        assert len(drawn.unique()) == 32
        assert all((coreset.weights == 1.0).all() for coreset in subset)
    assert method.record().counts == {"examples_scored": 2 * 32, "hessian_vector_products": 4}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, r"crest\.subset_size: 7 is 7 of 240 examples, less than train\.batch_size \(8\)"),
        (0.01, r"crest\.subset_size: 0\.01 is 2 of 240 examples, less than"),
        (241, r"crest\.subset_size: 241 is 241 of 240 examples; make it smaller"),
    ],
)
def test_a_subset_that_does_not_fit_is_refused(value: float, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Crest(context(crest={"subset_size": value}))


def test_only_what_is_not_remembered_is_scored() -> None:
    """240 examples are scored in the first round; afterwards only V_r, 32 a check."""
    method = Crest(context(crest=FOCUSED, steps=90))
    drive_focused(method, 90)
    counts, table = method.record().counts, regions(method)
    assert counts is not None
    # A check remembers its V_r too, which then need no look of their own.
    assert 32 * table["checks"].sum() < counts["examples_scored"]
    assert counts["examples_scored"] <= 240 + 32 * table["checks"].sum()


def test_subsets_cover_v_without_replacement() -> None:
    settings = {**FOCUSED, "focus": 0.0}
    taken = drive_focused(Crest(context(crest=settings, steps=60)), 60)
    times = torch.cat([coreset.indices for coreset in taken]).bincount(minlength=240)
    assert times.tolist() == [2] * 240


def test_learned_examples_come_less_often() -> None:
    taken = drive_focused(Crest(context(crest=UNCHECKED, steps=150)), 150)
    later = torch.cat([coreset.indices for coreset in taken[60:]])
    learned, hard = int((later % 2 == 0).sum()), int((later % 2 == 1).sum())
    assert 0.05 < learned / hard < 0.2  # a tenth, drawn at random
    assert all((coreset.weights == 1.0).all() for coreset in taken)


def test_after_its_share_of_the_steps_the_focus_ends() -> None:
    """Of 240 in mini-batches of 8, rounds of all take 30 steps, each with every example once."""
    settings = {**UNCHECKED, "focus_until": 0.4}
    taken = drive_focused(Crest(context(crest=settings, steps=240)), 240)
    before = torch.cat([coreset.indices for coreset in taken[60:96]])
    assert int((before % 2 == 0).sum()) < 0.25 * int((before % 2 == 1).sum())
    # The round that was being dealt holds at most 240, so that its last is gone by step 126.
    after = torch.cat([coreset.indices for coreset in taken[126:]]).bincount(minlength=240)
    assert int(after.max() - after.min()) <= 2
    assert int(after.min()) >= (240 - 126) // 30 - 1


def test_focus_weights_are_one_over_the_chance_with_mean_1() -> None:
    method = Crest(context(crest={**UNCHECKED, "focus_weights": True}, steps=150))
    taken = drive_focused(method, 150)
    mixed = 0
    for step, coreset in enumerate(taken[60:], 60):
        learned = coreset.indices % 2 == 0
        assert float(coreset.weights.mean()) == pytest.approx(1.0)
        # What only the check of step 4 has seen has the loss that the model shows there.
        trained = torch.cat([earlier.indices for earlier in taken[4:step]])
        if not torch.isin(coreset.indices, trained).all():
            continue
        if learned.any() and not learned.all():
            mixed += 1
            ratio = coreset.weights[learned].mean() / coreset.weights[~learned].mean()
            assert float(ratio) == pytest.approx(10.0, rel=1e-4)
    assert mixed > 10


def test_where_subsets_are_focused_a_region_opens_at_the_loss_of_all_of_v() -> None:
    """L(w_l) is the mean over the last check's V_r, not over what training should see more of."""
    method = Crest(context(crest={**FOCUSED, "threshold": 1e-9}, steps=40))
    split, draw, checked = method._context.train, method._subsets.draw, []

    def drawn() -> Tensor:
        subset = draw()
        checked.append(
            float(Evaluator(method._context.model, split, FLOAT32).score(subset).losses.mean())
        )
        return subset

    method._subsets.draw = drawn  # type: ignore[method-assign]
    drive_focused(method, 40)
    opened = regions(method)["loss_start"].to_list()
    assert len(opened) > 3
    # A check that finds an error of exactly 0 ends nothing; each region opens at the last one.
    assert all(any(loss == pytest.approx(one, rel=1e-4) for one in checked) for loss in opened[1:])


def test_rounds_and_focus_work_with_fresh_outputs() -> None:
    settings = {
        "draw": "without_replacement",
        "focus": 1.0,
        "focus_floor": 0.1,
        "learned_window": 0,
    }
    method = Crest(context(crest=settings, steps=60))
    drive_focused(method, 60)
    table = method.record().coresets
    assert table is not None
    assert len(table) == 8 * regions(method)["minibatches"].sum()
