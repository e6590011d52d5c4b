"""The fourteen faults of the released code: for each a test that would fail with it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

from crest.config import Parameters
from crest.data.files import ImageMeta
from crest.data.prepared import Prepared
from crest.inference.evaluator import Evaluator
from crest.methods import METHODS
from crest.pipeline.runs import train_model
from crest.regions.active import ActiveSet, LearnedExamples
from crest.regions.curvature import flatten, trained_parameters
from crest.regions.quadratic import QuadraticModel
from crest.samplers.crest import Crest
from crest.samplers.crest.subsets import Subsets
from crest.selection.choices import find_choice
from crest.selection.choosing import select_minibatch_coresets
from crest.selection.gradients import find_proxy
from crest.training import optimizers
from crest.training.loop import Run, train
from crest.training.schedules import learning_rate
from tests.tiny import (
    FLOAT32,
    context,
    convnet,
    image_split,
    linear_model,
    linear_split,
    parameters,
)


def run_crest(**sections: dict[str, object]) -> Run:
    base = context(**sections)
    settings = base.settings.train
    return train(base.model, Crest(base), base.train, None, base.steps, settings, FLOAT32)


def test_01_every_step_uses_one_gradient() -> None:
    """Released: two backward calls without zeroing between them, so CREST's step used 2g."""
    model, plain, split = linear_model(), linear_model(), linear_split()
    base = context(
        model,
        split,
        steps=4,
        train={"momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0, "schedule": "cosine"},
        crest={"subset_size": 8},
    )
    method = Crest(base)
    taken = []
    remember = method.minibatch
    method.minibatch = lambda step: taken.append(remember(step)) or taken[-1]  # type: ignore[method-assign,func-returns-value]
    train(model, method, split, None, 4, base.settings.train, FLOAT32)
    for step, minibatch in enumerate(taken):
        logits = plain(split.features[minibatch.indices])
        losses = F.cross_entropy(logits, split.labels[minibatch.indices], reduction="none")
        gradients = torch.autograd.grad((losses * minibatch.weights).mean(), plain.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
                parameter -= learning_rate(step, 4, base.settings.train) * gradient
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_02_the_displacement_is_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Released: δ summed −lr·g, without momentum or weight decay, with a stale learning rate."""
    base = context(train={"momentum": 0.9, "weight_decay": 0.1}, crest={"threshold": 0.3})
    asked: list[torch.Tensor] = []
    evaluate = QuadraticModel.__call__

    def remember(self: QuadraticModel, weights: torch.Tensor) -> float:
        assert torch.equal(weights, flatten(trained_parameters(base.model)))
        asked.append(weights - self.anchor)
        return evaluate(self, weights)

    monkeypatch.setattr(QuadraticModel, "__call__", remember)
    train(base.model, Crest(base), base.train, None, 30, base.settings.train, FLOAT32)
    assert len(asked) > 5
    assert min(float(displacement.norm()) for displacement in asked) > 0


def test_03_sgd_has_its_momentum() -> None:
    """Released: momentum was never passed on."""
    optimizer = optimizers.build(convnet(), parameters(train={"momentum": 0.8}).train)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.8]


def test_04_a_check_scores_r_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Released: each check evaluated the whole training set."""
    scored: list[int] = []

    score = Subsets.score

    def counting(subsets, indices):  # type: ignore[no-untyped-def]
        scored.append(len(indices))
        return score(subsets, indices)

    monkeypatch.setattr(Subsets, "score", counting)
    done = run_crest()
    assert done.record.regions is not None
    assert scored == [32] * done.record.regions["checks"].sum()


def test_05_the_model_at_its_anchor_is_the_loss_as_the_check_measures_it() -> None:
    """Released: F(0) was a train-mode, weighted, augmented loss, and moved BatchNorm."""
    base = context(train={"augment_crop": 2, "augment_flip": True}, crest={"subset_size": 240})
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    method = Crest(base)
    method.update(method.minibatch(0), None, 0.0)
    region = method._region
    assert region is not None
    assert method._check(region) == pytest.approx(0.0, abs=1e-5)
    for name, value in base.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_06_every_minibatch_trained_on_is_one_coreset() -> None:
    """Released: the coresets were pooled and shuffled."""
    done = run_crest()
    coresets, steps = done.record.coresets, done.steps
    assert coresets is not None
    sizes = coresets.group_by("region", "minibatch").agg(pl.len(), pl.col("weight").sum())
    assert set(sizes["len"]) == {8}
    assert sizes["weight"].to_list() == pytest.approx([8.0] * len(sizes))
    assert steps.join(sizes, on=["region", "minibatch"]).height == 30


def test_07_an_example_in_two_minibatches_has_a_weight_in_each() -> None:
    """Released: weights lay in one array over the data, and the last write won."""
    base = context(crest={"subset_size": 200})
    method = Crest(base)
    method.minibatch(0)
    region = method._region
    assert region is not None
    weights: dict[int, set[float]] = {}
    for coreset in region.coresets:
        assert float(coreset.weights.mean()) == pytest.approx(1.0)
        for index, weight in zip(coreset.indices.tolist(), coreset.weights.tolist(), strict=True):
            weights.setdefault(index, set()).add(weight)
    assert max(len(values) for values in weights.values()) > 1


def test_08_a_minibatch_has_exactly_m_examples_whatever_the_classes() -> None:
    """Released: selection per class picked C·⌈m/C⌉ examples."""
    split = replace_labels(image_split(), torch.arange(240) % 3)
    for size in (2, 7, 8):  # fewer than the classes, and no multiple of them
        coresets = select_minibatch_coresets(
            Evaluator(convnet(), split, FLOAT32),
            [torch.arange(40)],
            size,
            find_proxy("logits"),
            find_choice("facility_location"),
            torch.Generator(),
        )
        assert len(coresets[0].indices.unique()) == size


def test_09_no_step_has_a_learning_rate_of_zero() -> None:
    """Released: the whole first epoch ran at learning rate 0."""
    for schedule in ("steps", "cosine"):
        for steps in (1, 10, 1000):
            settings = parameters(train={"schedule": schedule}).train
            assert min(learning_rate(step, steps, settings) for step in range(steps)) > 0


def test_10_excluding_is_on_and_neither_hasty_nor_capped() -> None:
    """Released: off by default, dropped on a single sighting, stopped at 20% of the data."""
    defaults = Parameters().crest
    assert (defaults.learned.loss, defaults.learned.window) == (0.1, 20)
    window_losses, active = LearnedExamples(0.1), ActiveSet(10)
    window_losses.record(torch.arange(10), torch.zeros(10))
    assert len(window_losses.close_window(active, floor=1)) == 0
    window_losses.record(torch.arange(8).repeat(2), torch.zeros(16))
    assert len(window_losses.close_window(active, floor=1)) == 8


def test_11_numpy_does_not_draw_the_subsets() -> None:
    """Released: numpy drew the random subsets and was never seeded."""
    runs = []
    for seed in (1, 2):
        np.random.seed(seed)
        runs.append(run_crest().record.coresets)
    assert runs[0] is not None
    assert runs[0].equals(runs[1])


def test_12_training_has_no_test_set() -> None:
    """Released: the test set was the validation set of every epoch."""

    class Untouchable:
        """A test split that fails the test when anything of it is asked for."""

        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"training asked for {name} of the test split")

    meta = ImageMeta(1, "image", "tiny", "memory", {}, ["a", "b", "c"], [8, 8, 1], [0.5], [0.5], "")
    data = Prepared(meta, image_split(), image_split(30), Untouchable())  # type: ignore[arg-type]
    settings = parameters(train={"epochs": 1, "budget": 0.3, "validations": 3})
    trained = train_model(settings, data, "crest", FLOAT32, None)
    assert len(trained.run.validation) == 3


def test_13_second_derivatives_are_taken_for_the_quadratic_model_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Released: create_graph on every step, only to read a first-order gradient."""
    graphs = []
    gradient = torch.autograd.grad

    def counting(*arguments, **options):  # type: ignore[no-untyped-def]
        graphs.append(bool(options.get("create_graph")))
        return gradient(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", counting)
    done = run_crest()
    assert done.record.regions is not None
    assert sum(graphs) == done.record.regions["minibatches"].sum()


def replace_labels(split, labels: torch.Tensor):  # type: ignore[no-untyped-def]
    split.labels = labels
    return split


@pytest.mark.parametrize("name", ["full", "random", "crest"])
def test_14_every_method_runs_on_a_cpu_without_warm_up(name: str) -> None:
    """Released: full training, warm-up 0 and machines without a GPU crashed."""
    base = context(train={"warmup": 0.0, "device": "cpu"}, steps=5)
    method = METHODS[name].build(base.of(name))
    settings = base.settings.train
    done = train(base.model, method, base.train, None, 5, settings, FLOAT32)
    assert len(done.steps) == 5


def test_14_a_minority_class_is_no_obstacle() -> None:
    """Released: a class smaller than its share of a mini-batch crashed the selection."""
    labels = torch.zeros(240, dtype=torch.int64)
    labels[0], labels[1:3] = 1, 2
    base = context(split=replace_labels(image_split(), labels), steps=8)
    settings = base.settings.train
    done = train(base.model, Crest(base), base.train, None, 8, settings, FLOAT32)
    assert done.record.coresets is not None
    assert set(done.record.coresets["label"]) <= {0, 1, 2}


def test_14_more_than_fifty_thousand_candidates() -> None:
    """Released: more than 50,000 candidates crashed."""
    split = linear_split(60_000)
    base = context(linear_model(), split, steps=3, crest={"subset_size": 500})
    base = replace(base, batch_size=16)
    settings = base.settings.train
    done = train(base.model, Crest(base), split, None, 3, settings, FLOAT32)
    assert done.record.regions is not None
    assert done.record.regions["active"][0] == 60_000
