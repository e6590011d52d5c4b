"""The loop against plain SGD, and the same run twice."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crest.data.augment import Augmentation
from crest.errors import TrainingError
from crest.methods import METHODS
from crest.samplers.base import Context, Record
from crest.samplers.replay import Replay
from crest.samplers.saved import from_tables
from crest.selection.coresets import MiniBatchCoreset, Outputs, uniform
from crest.training.loop import Run, train
from crest.training.schedules import learning_rate
from tests.tiny import FLOAT32, context, convnet, image_split, linear_model, linear_split

AUGMENTED = Augmentation(crop=1, flip=True)


class Fixed:
    """A method that always yields the same mini-batch."""

    def __init__(self, minibatch: MiniBatchCoreset) -> None:
        self._minibatch = minibatch
        self.updates: list[tuple[MiniBatchCoreset, Outputs]] = []

    def minibatch(self, step: int) -> MiniBatchCoreset:
        return self._minibatch

    def update(self, minibatch: MiniBatchCoreset, outputs: Outputs | None, seconds: float) -> None:
        assert outputs is not None
        self.updates.append((minibatch, outputs))

    def record(self) -> Record:
        return Record()


def run(name: str, base: Context, validation=None) -> Run:
    settings = base.settings.train
    method = METHODS[name].build(base.of(name))
    return train(base.model, method, base.train, validation, base.steps, settings, FLOAT32)


def train_fresh(name: str, seed: int = 0, **sections: dict[str, object]) -> tuple[Run, nn.Module]:
    model = convnet(seed)
    train_section = {"seed": seed, **sections.pop("train", {})}
    base = context(model, image_split(augmentation=AUGMENTED), train=train_section, **sections)
    return run(name, base), model


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def test_one_step_with_unit_weights_is_one_plain_sgd_step() -> None:
    model, plain, split = linear_model(), linear_model(), linear_split()
    base = context(model, split, steps=1, train={"weight_decay": 0.01, "warmup": 0.0})
    settings = base.settings.train
    indices = torch.arange(8)
    train(model, Fixed(uniform(indices)), split, None, 1, settings, FLOAT32)

    F.cross_entropy(plain(split.features[indices]), split.labels[indices]).backward()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter -= settings.lr * (parameter.grad + settings.weight_decay * parameter)
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_weights_multiply_the_losses() -> None:
    model, plain, split = linear_model(), linear_model(), linear_split()
    importance = torch.tensor([2.0, 0.0, 1.0, 1.0])
    indices = torch.arange(4)
    base = context(model, split, steps=1, train={"weight_decay": 0.0, "warmup": 0.0})
    method = Fixed(MiniBatchCoreset(indices, importance))
    done = train(model, method, split, None, 1, base.settings.train, FLOAT32)

    losses = F.cross_entropy(
        plain(split.features[indices]), split.labels[indices], reduction="none"
    )
    loss = (importance * losses).sum() / 4
    loss.backward()
    assert done.steps["loss"][0] == pytest.approx(loss.item(), rel=1e-6)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter -= base.settings.train.lr * parameter.grad
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_crest_step_with_unit_weights_is_a_random_step() -> None:
    """The loop cannot tell methods apart: the same examples and weights move the model the same."""
    split = image_split()
    moved = []
    for minibatch in (
        uniform(torch.arange(8)),
        MiniBatchCoreset(torch.arange(8), torch.ones(8), torch.rand(8), region=4, number=2),
    ):
        model = convnet()
        base = context(model, split, steps=3)
        train(model, Fixed(minibatch), split, None, 3, base.settings.train, FLOAT32)
        moved.append(weights(model))
    assert torch.equal(*moved)


@pytest.mark.parametrize("name", ["random", "crest"])
def test_one_seed_one_result_two_seeds_two(name: str) -> None:
    first, model = train_fresh(name)
    second, same = train_fresh(name)
    other, different = train_fresh(name, seed=1)
    timeless = [column for column in first.steps.columns if column != "seconds"]
    assert torch.equal(weights(model), weights(same))
    assert first.steps.select(timeless).equals(second.steps.select(timeless))
    assert not torch.equal(weights(model), weights(different))
    assert not first.steps["loss"].equals(other.steps["loss"])
    if name == "crest":
        assert first.record.coresets is not None
        assert first.record.coresets.equals(second.record.coresets)


def test_replaying_a_run_gives_its_weights_bit_for_bit() -> None:
    original, model = train_fresh("crest")
    again, split = convnet(), image_split(augmentation=AUGMENTED)
    saved = from_tables(original.record.coresets, original.steps, split.labels, "memory")
    base = context(again, split, train={"seed": 0})
    method = Replay(replace(base, saved=saved))
    done = train(again, method, split, None, base.steps, base.settings.train, FLOAT32)
    assert torch.equal(weights(model), weights(again))
    assert done.steps["loss"].equals(original.steps["loss"])


def test_every_method_takes_exactly_the_same_steps() -> None:
    for name in ("random", "crest"):
        done, _ = train_fresh(name)
        assert done.steps["step"].to_list() == list(range(30))
        assert done.examples == 30 * 8
        assert done.steps["examples"][-1] == 240


def test_the_schedule_is_followed_and_never_zero() -> None:
    done, _ = train_fresh("random")
    settings = context().settings.train
    expected = [learning_rate(step, 30, settings) for step in range(30)]
    assert done.steps["lr"].to_list() == expected
    assert min(expected) > 0


def test_a_longer_schedule_is_cut_off() -> None:
    """The steps of a run that takes a part of them are the first of the whole run, bit for bit."""
    tables = []
    for steps in (12, 30):
        base = context(convnet(), image_split(augmentation=AUGMENTED), steps=steps)
        settings = base.settings.train
        method = METHODS["sgd"].build(base.of("sgd"))
        done = train(
            base.model, method, base.train, None, steps, settings, FLOAT32, schedule_steps=30
        )
        tables.append(done.steps.drop("seconds"))
    assert tables[0].equals(tables[1].head(12))
    assert tables[0]["lr"].to_list() == [learning_rate(step, 30, settings) for step in range(12)]


def test_training_learns() -> None:
    model, split = convnet(), image_split()
    held_out = image_split(60, seed=9)
    base = context(model, split, steps=80, train={"validations": 4})
    done = run("random", base, held_out)
    assert done.validation["step"].to_list() == [20, 40, 60, 80]
    assert done.validation["accuracy"][-1] > 0.9
    assert done.steps["loss"].tail(10).median() < 0.1 * done.steps["loss"].head(10).median()


def test_validation_changes_nothing() -> None:
    models = []
    for validation in (None, image_split(60, seed=9)):
        model = convnet()
        run("crest", context(model, image_split(augmentation=AUGMENTED)), validation)
        models.append(weights(model))
    assert torch.equal(*models)


@pytest.mark.parametrize("validated", [True, False])
def test_whoever_watches_is_told_how_the_run_stands_and_changes_nothing(validated: bool) -> None:
    validation = image_split(60, seed=9) if validated else None
    models, points = [], []
    for report in (None, points.append):
        model = convnet()
        base = context(model, image_split(augmentation=AUGMENTED), train={"validations": 4})
        settings, method = base.settings.train, METHODS["random"].build(base.of("random"))
        done = train(
            *(model, method, base.train, validation, base.steps, settings, FLOAT32),
            report=report,
        )
        models.append(weights(model))
    assert torch.equal(*models)
    assert [point.step for point in points] == [8, 15, 22, 30]
    begin = 0
    for point in points:
        rows = done.steps[begin : point.step]
        assert point.loss == pytest.approx(rows["loss"].mean())
        assert point.accuracy == pytest.approx(rows["accuracy"].mean())
        assert point.learning_rate == rows["lr"][-1]
        assert point.steps == 30
        begin = point.step
    assert [point.validation_accuracy for point in points] == (
        done.validation["accuracy"].to_list() if validated else [None] * 4
    )


def test_the_method_is_told_of_every_step_what_it_knew() -> None:
    chosen = MiniBatchCoreset(torch.arange(8), torch.linspace(0.5, 1.5, 8))
    method, base = Fixed(chosen), context(steps=5)
    first = base.model(base.train.inputs(chosen.indices)).detach()
    done = train(base.model, method, base.train, None, 5, base.settings.train, FLOAT32)
    minibatches, outputs = zip(*method.updates, strict=True)
    assert all(minibatch is chosen for minibatch in minibatches)
    torch.testing.assert_close(outputs[0].logits, first)
    for step, known in enumerate(outputs):
        assert torch.equal(known.labels, base.train.labels[:8])
        losses = F.cross_entropy(known.logits, known.labels, reduction="none")
        assert torch.equal(known.losses, losses)
        assert float(known.loss) == done.steps["loss"][step]
        torch.testing.assert_close(known.loss, (losses * chosen.weights).mean())


def test_a_loss_that_is_not_a_number_stops_the_run() -> None:
    model, split = convnet(), image_split()
    base = context(model, split, steps=5)
    broken = Fixed(MiniBatchCoreset(torch.arange(8), torch.full((8,), float("nan"))))
    with pytest.raises(TrainingError, match="is nan at step 0, before any"):
        train(model, broken, split, None, 5, base.settings.train, FLOAT32)


def test_the_examples_table_counts_what_was_trained_on() -> None:
    done, _ = train_fresh("random")
    assert done.examples_table["seen"].to_list() == [1] * 240
    assert set(done.examples_table["pass"]) == {"training"}


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    train_fresh("crest")
    assert torch.equal(before, torch.get_rng_state())
