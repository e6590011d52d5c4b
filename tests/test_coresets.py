"""Coresets in a loop of one's own: what the pipeline's loop would train on, in five lines."""

import copy
import io
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest import Coresets, artifacts, economical
from crest.data.prepared import Prepared
from crest.errors import ArtifactError, OrderError, ParameterError, TrainingError
from crest.loop_support.option_types import CrestOptions, Options
from crest.methods import METHODS
from crest.methods.crest import CrestParameters
from crest.parameters.section import flat, options_of
from crest.pipeline.saved_coresets import read_coresets as read_in_stage
from crest.presets import presets
from crest.samplers.saved import SavedCoresets, read_coresets
from crest.selection.coresets import MiniBatchCoreset
from crest.training import optimizers
from crest.training.loop import train
from crest.training.schedules import learning_rate
from tests.tiny import (
    CLASSES,
    FLOAT32,
    context,
    convnet,
    image_meta,
    image_split,
    linear_model,
    linear_split,
)

STEPS = 12
TIMELESS = pl.exclude("^seconds.*$")
DEFAULTS = flat(CrestParameters())
# What the cheap preset sets, at the size of these tests.
CHEAP = {
    "choice": "spatially_balanced",
    "selection": "on_demand",
    "subset_coresets": 2,
    "curvature_interval": 3,
    "gradient": "training",
    "region_loss": "filtered",
}
# And the focused one's, which remembers the logits of each step.
ECONOMICAL = CHEAP | {"outputs": "remembered", "draw": "without_replacement", "focus": 0.5}


ARGUMENTS = ("steps", "batch_size", "seed", "precision", "lengths", "saved", "together", "focused")


def coresets_of(model: nn.Module, method: str = "crest", **others: object) -> Coresets:
    """Coresets of the images of tests.tiny; whatever is no argument of its own is crest's."""
    split = image_split()
    arguments: dict = {"steps": STEPS, "batch_size": 8}
    arguments |= {name: value for name, value in others.items() if name in ARGUMENTS}
    crest: dict = {name: value for name, value in others.items() if name not in ARGUMENTS}
    crest = {"subset_size": 32} | crest
    return Coresets(model, split.inputs, split.labels, method=method, crest=crest, **arguments)


class Loop:
    """A plain loop: SGD with momentum on the images of tests.tiny."""

    def __init__(self, method: str = "crest", seed: int = 0, **options: object) -> None:
        self.model = convnet(seed)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.coresets = coresets_of(self.model, method, **options)
        self.taken: list[tuple[Tensor, Tensor]] = []

    def run(self, steps: int = STEPS) -> "Loop":
        split = image_split()
        while self.coresets.steps_taken < steps:
            indices, weights = next(iter(self.coresets))
            logits = self.model(split.inputs(indices))
            losses = F.cross_entropy(logits, split.labels[indices], reduction="none")
            self.optimizer.zero_grad()
            (losses * weights).mean().backward()
            self.optimizer.step()
            self.coresets.step(logits)
            self.taken.append((indices, weights))
        return self


def equal(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize("method", ["crest", "random", "focused"])
@pytest.mark.parametrize("options", [{}, CHEAP, ECONOMICAL], ids=["published", "cheap", "focused"])
def test_a_plain_loop_ends_as_the_pipelines_does_bit_for_bit(method: str, options: dict) -> None:
    model, split = convnet(), image_split()
    section = {"subset_size": 32, **options}
    base = context(model, split, steps=STEPS, train={"seed": 3}, crest=section)
    settings = base.settings.train
    chosen = METHODS[method].build(base.of(method))
    expected = train(model, chosen, split, None, STEPS, settings, FLOAT32)

    own = convnet()
    optimizer = optimizers.build(own, settings)
    coresets = coresets_of(own, method, seed=3, **options)
    for indices, weights in coresets:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(coresets.steps_taken, STEPS, settings)
        logits = own(split.inputs(indices))
        losses = F.cross_entropy(logits, split.labels[indices], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        coresets.step(logits)

    assert torch.equal(weights_of(own), weights_of(model))
    tables = coresets.tables()
    known = ["step", "region", "minibatch", "examples"]
    assert tables["steps"].select(known).equals(expected.steps.select(known))
    if method == "crest":
        assert tables["coresets"].equals(expected.record.coresets)
        assert tables["regions"].select(TIMELESS).equals(expected.record.regions.select(TIMELESS))
        assert tables["examples"].equals(expected.record.scored)
    else:
        assert tables.keys() == {"steps"}


@pytest.mark.parametrize("method", ["crest", "random", "focused"])
def test_indices_are_on_the_cpu_and_weights_have_mean_1(method: str) -> None:
    loop = Loop(method).run()
    assert len(loop.coresets) == len(loop.taken) == STEPS
    for indices, weights in loop.taken:
        assert (indices.dtype, indices.device.type, indices.shape) == (torch.int64, "cpu", (8,))
        assert (weights.dtype, weights.shape) == (torch.float32, (8,))
        assert float(weights.mean()) == pytest.approx(1.0)
    assert list(loop.coresets) == []
    drawn = any(float(weights.std()) > 0 for _, weights in loop.taken)
    assert drawn == (method == "crest")


@pytest.mark.parametrize("part", [1, 3, 8])
def test_gradients_of_the_parts_of_a_mini_batch_add_up_to_its_own(part: int) -> None:
    """As examples/gradient_accumulation.py takes them, where examples are normalised alone."""
    split = linear_split()

    def taken(size: int) -> list[Tensor]:
        model = linear_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        options: dict = {"steps": 10, "batch_size": 8, **economical(8)}
        found = []
        for indices, weights in (
            coresets := Coresets(model, split.inputs, split.labels, **options)
        ):
            optimizer.zero_grad()
            logits_of_parts = []
            for some, theirs in zip(indices.split(size), weights.split(size), strict=True):
                logits_of_parts.append(model(split.inputs(some)))
                losses = F.cross_entropy(logits_of_parts[-1], split.labels[some], reduction="none")
                ((losses * theirs).sum() / 8).backward()
            optimizer.step()
            coresets.step(torch.cat(logits_of_parts))
            found.append(indices)
        return [*found, weights_of(model)]

    *chosen, weights = taken(part)
    *expected, whole = taken(8)
    assert all(torch.equal(*pair) for pair in zip(chosen, expected, strict=True))
    torch.testing.assert_close(weights, whole)


def test_what_the_loop_does_to_a_minibatch_stays_in_the_loop() -> None:
    spoiled, plain = coresets_of(convnet()), coresets_of(convnet())
    for (indices, weights), (expected, ones) in zip(spoiled, plain, strict=True):
        assert torch.equal(indices, expected)
        assert torch.equal(weights, ones)
        indices.zero_()
        weights.mul_(2.0)
        spoiled.step()
        plain.step()


def test_a_step_that_was_not_reported_is_asked_for() -> None:
    coresets = coresets_of(convnet())
    with pytest.raises(OrderError, match=r"^step: no mini-batch was taken"):
        coresets.step()
    with pytest.raises(OrderError, match="tables: no step was taken yet"):
        coresets.tables()
    next(iter(coresets))
    with pytest.raises(OrderError, match=r"next mini-batch: .* not reported; call step\(\)"):
        next(iter(coresets))
    for call in (coresets.state_dict, coresets.tables):
        with pytest.raises(OrderError, match="not reported"):
            call()
    coresets.step()
    next(iter(coresets))


def test_a_forgotten_last_step_is_asked_for_too() -> None:
    coresets = coresets_of(convnet(), "random", steps=1)
    with pytest.raises(OrderError, match="not reported"):
        list(coresets)


def test_gradients_that_were_cleared_too_early_are_asked_for() -> None:
    model = convnet()
    coresets = coresets_of(model, gradient="training")
    next(iter(coresets))
    with pytest.raises(OrderError, match=r"^gradient: .* before the gradients are set to zero"):
        coresets.step()


@pytest.mark.parametrize("method", ["crest", "random", "focused"])
@pytest.mark.parametrize("options", [{}, CHEAP, ECONOMICAL], ids=["published", "cheap", "focused"])
def test_a_loop_that_stopped_goes_on_bit_for_bit(method: str, options: dict) -> None:
    whole = Loop(method, **options).run()
    first = Loop(method, **options).run(5)
    file = io.BytesIO()
    parts = (first.model, first.optimizer, first.coresets)
    torch.save([part.state_dict() for part in parts], file)
    first.run()  # the state is a copy: what comes later is not in it

    second = Loop(method, seed=9, **options)
    states = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    for part, state in zip((second.model, second.optimizer, second.coresets), states, strict=True):
        part.load_state_dict(state)
    assert second.coresets.steps_taken == 5
    second.run()
    assert equal(second.taken, whole.taken[5:])
    assert torch.equal(weights_of(second.model), weights_of(whole.model))
    for name, table in whole.coresets.tables().items():
        assert table.select(TIMELESS).equals(second.coresets.tables()[name].select(TIMELESS)), name


@pytest.mark.parametrize("options", [{}, CHEAP, ECONOMICAL], ids=["published", "cheap", "focused"])
def test_a_state_that_is_kept_in_memory_does_not_move_on(options: dict) -> None:
    loop = Loop(**options).run(5)
    others = copy.deepcopy([loop.model.state_dict(), loop.optimizer.state_dict()])
    kept = loop.coresets.state_dict()
    first = loop.run().taken[5:]
    for _ in range(2):  # nor does it when it is loaded
        again = Loop(**options)
        again.coresets.load_state_dict(kept)
        for part, state in zip((again.model, again.optimizer), copy.deepcopy(others), strict=True):
            part.load_state_dict(state)
        assert equal(again.run().taken, first)
        again.coresets.tables()


def test_the_state_of_other_arguments_is_refused_by_their_names() -> None:
    state = coresets_of(convnet()).state_dict()
    other = coresets_of(convnet(), threshold=0.5, seed=1)
    with pytest.raises(ParameterError, match="other seed, threshold; load it into"):
        other.load_state_dict(state)
    with pytest.raises(ParameterError, match="other method"):
        other.load_state_dict({})


@pytest.mark.parametrize("options", [{}, CHEAP, ECONOMICAL], ids=["published", "cheap", "focused"])
def test_reading_the_tables_changes_nothing(options: dict) -> None:
    watched, plain = Loop(**options), Loop(**options).run()
    for step in range(STEPS):
        watched.run(step + 1)
        tables = watched.coresets.tables()
        assert tables["regions"]["end_step"].max() == len(tables["steps"]) == step + 1
    assert equal(watched.taken, plain.taken)
    assert tables["coresets"].equals(plain.coresets.tables()["coresets"])


def test_saved_coresets_replay_the_loop(tmp_path) -> None:
    loop = Loop().run()
    loop.coresets.save(tmp_path / "saved")
    loop.coresets.save(tmp_path / "saved")  # in place of itself
    for name, table in loop.coresets.tables().items():
        assert artifacts.read_table(tmp_path / "saved" / f"{name}.parquet").equals(table)
    saved = read_coresets(tmp_path / "saved", image_split().labels)
    assert equal(list(saved.minibatches()), loop.taken)
    again = Loop("replay", saved=saved).run()
    assert equal(again.taken, loop.taken)
    assert torch.equal(weights_of(again.model), weights_of(loop.model))


def test_the_pipeline_reads_what_was_saved(tmp_path) -> None:
    loop = Loop().run()
    loop.coresets.save(tmp_path / "saved")
    data = Prepared(image_meta(), image_split(), None, image_split())
    assert equal(list(read_in_stage(tmp_path / "saved", data, 8).minibatches()), loop.taken)
    alone = read_in_stage(tmp_path / "saved" / "coresets.parquet", data, 8)
    assert alone.sequence is None
    assert len(alone.regions) == loop.coresets.tables()["regions"].height


def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"holds thesis\.tex"):
        Loop().run(1).coresets.save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert len(list(tmp_path.iterdir())) == 1


def test_replay_without_saved_coresets_says_what_to_give() -> None:
    with pytest.raises(ParameterError, match="what read_coresets returned, as saved"):
        coresets_of(convnet(), "replay")


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )
    model.train()
    model[1].eval()  # as who freezes BatchNorm does
    model[0].bias.requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    coresets = coresets_of(model, quadratic="last_layer", threshold=1e-9, steps=6)
    for _ in coresets:
        coresets.step()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [value.requires_grad for value in model.parameters()] == [True, False, *[True] * 4]
    assert torch.equal(model[5].weight.grad, torch.ones_like(model[5].weight))
    assert model[0].weight.grad is None
    assert not any(vars(module)["_forward_hooks"] for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


class Answer:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Named(nn.Module):
    """Takes keywords and answers with an object, as transformers' classifiers do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = linear_model()

    def forward(self, features: Tensor, scale: Tensor) -> Answer:
        return Answer(self.linear(features * scale))


def test_keywords_and_an_answer_with_logits_are_the_same_as_a_plain_model() -> None:
    split = linear_split()

    def named(indices: Tensor) -> dict[str, Tensor]:
        return {"features": split.features[indices], "scale": torch.ones(len(indices), 1)}

    settings = {"steps": 6, "batch_size": 4, "subset_size": 12}
    plain = Coresets(linear_model(), split.inputs, split.labels, **settings)
    model = Named()
    # By the name it has in the user's model.
    keyed = Coresets(model, named, split.labels, quadratic="linear.*", **settings)
    for (indices, weights), (expected, same) in zip(plain, keyed, strict=True):
        assert torch.equal(indices, expected)
        assert torch.equal(weights, same)
        plain.step()
        keyed.step()


def tiny_bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(vocab_size=20, intermediate_size=16, num_labels=2, **sizes)
        return BertForSequenceClassification(config)


@pytest.mark.parametrize("quadratic", ["last_layer", "full"])
def test_a_classifier_of_transformers_learns(quadratic: str) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, 20, (120, 6), generator=generator)
    lengths = torch.randint(3, 7, (120,), generator=generator)
    labels = (tokens[:, 0] > 10).long()
    mask = (torch.arange(6) < lengths[:, None]).long()

    def inputs(indices: Tensor) -> dict[str, Tensor]:
        longest = int(lengths[indices].max())
        return {
            "input_ids": (tokens * mask)[indices, :longest],
            "attention_mask": mask[indices, :longest],
        }

    model = tiny_bert()
    coresets = Coresets(
        model,
        inputs,
        labels,
        steps=40,
        batch_size=8,
        subset_size=24,
        quadratic=quadratic,
        lengths=lengths,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for indices, weights in coresets:
        losses = F.cross_entropy(model(**inputs(indices)).logits, labels[indices], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        coresets.step()
    model.eval()
    found = model(**inputs(torch.arange(120))).logits.argmax(1)
    assert float((found == labels).double().mean()) > 0.9


def test_a_model_that_answers_with_probabilities_is_refused_by_its_own_name() -> None:
    class Softmaxed(nn.Sequential):
        pass

    split = linear_split()
    with pytest.raises(ParameterError, match=r"^model: Softmaxed answers with probabilities"):
        Coresets(
            Softmaxed(linear_model(), nn.Softmax(1)),
            split.inputs,
            split.labels,
            steps=1,
            batch_size=4,
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset_sise": 5}, "subset_sise: 'crest' has no such option; did you mean 'subset_size'"),
        ({"threshold": "low"}, "Coresets: threshold: must be a number"),
        ({"subset_size": 4}, "subset_size: 4 is 4 of 240 examples, less than batch_size"),
        ({"proxy": "none"}, "^proxy: 'none' is not one of"),
        ({"quadratic": "x*"}, "^quadratic: 'x"),
        ({"batch_size": 0}, "batch_size"),
        ({"steps": 0}, "steps: 0 is not from 1 to"),
        ({"steps": 2.0}, "steps: must be a whole number"),
        ({"precision": "half"}, "precision: must be"),
        ({"steps": True}, "steps: must be a whole number"),
        ({"batch_size": 8.0}, r"batch_size: must be a whole number from 1 up, not 8\.0"),
        ({"seed": -1}, "seed: -1 is not from 0 to"),
        ({"seed": 2**63}, "seed: 9223372036854775808 is not from 0 to"),
        ({"method": "crst"}, "method: 'crst' is not one of full, random, crest"),
        ({"method": ["crest"]}, r"method: \['crest'\] is not one of"),
        ({"saved": 1}, "saved: 'crest' does not use saved coresets, replay does"),
        (
            {"method": "replay", "saved": "folder"},
            "saved: must be what read_coresets returned, not",
        ),
        ({"lengths": [1, 2]}, "lengths: 2 for 240 labels"),
    ],
)
def test_bad_arguments_are_named(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        coresets_of(convnet(), **options)
    assert "crest." not in str(caught.value)
    assert "train." not in str(caught.value)


def test_labels_outside_the_models_classes_are_refused_with_their_row() -> None:
    split = image_split()
    with pytest.raises(ParameterError, match="labels: row 2: 3 is outside the 3 classes"):
        Coresets(convnet(), split.inputs, split.labels + 1, steps=1, batch_size=8)


def test_inputs_that_are_no_function_are_refused() -> None:
    split = linear_split()
    with pytest.raises(ParameterError, match=r"inputs: must be a function of .* not a Tensor"):
        Coresets(linear_model(), split.features, split.labels, steps=1, batch_size=4)


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ParameterError, match="model: Identity has no parameters"):
        coresets_of(nn.Identity())


def test_a_loss_that_is_no_number_says_what_to_do_in_a_loop() -> None:
    model = convnet()
    coresets = coresets_of(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(TrainingError, match="is nan at step 0, before any") as caught:
        next(iter(coresets))
    assert "weights hold NaN" in str(caught.value)
    assert "--fresh" not in str(caught.value)


def test_bf16_is_of_scoring_alone() -> None:
    model, split, kinds = linear_model(), linear_split(), []
    model.register_forward_hook(lambda *call: kinds.append(call[2].dtype))
    for precision, expected in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        kinds.clear()
        coresets = Coresets(
            model,
            split.inputs,
            split.labels,
            steps=1,
            batch_size=4,
            subset_size=12,
            precision=precision,
        )
        indices, weights = next(iter(coresets))
        assert set(kinds) == {expected}
        assert weights.dtype == torch.float32
        assert model(split.inputs(indices)).dtype == torch.float32


def test_every_parameter_of_a_method_is_an_argument() -> None:
    assert get_type_hints(CrestOptions).keys() == DEFAULTS.keys()
    sections = {name: spec.parameters for name, spec in METHODS.items() if name != "replay"}
    names = {name for section in sections.values() for name in options_of(section)}
    assert get_type_hints(Options).keys() == names | sections.keys()
    assert not names & METHODS.keys()


def test_keys_of_groups_may_stand_in_their_groups() -> None:
    """As in params.yaml; flat and nested options are the same parameters."""
    learned = {"learned_loss": 0.2, "learned_window": 7}
    flat_settings = own("crest", subset_size=64, **learned)._settings
    assert (flat_settings["learned_loss"], flat_settings["learned_window"]) == (0.2, 7)
    nested_settings = own(
        "crest", subset_size=64, crest={"learned": {"loss": 0.2, "window": 7}}
    )._settings
    assert nested_settings == flat_settings
    group = own("crest", subset_size=64, learned={"loss": 0.2, "window": 7})
    assert group._settings == flat_settings


def own(method: str, **options: object) -> Coresets:
    split = image_split()
    return Coresets(
        convnet(), split.inputs, split.labels, steps=4, batch_size=8, method=method, **options
    )


def indices_of(coresets: Coresets) -> list[list[int]]:
    found = []
    for indices, _ in coresets:
        found.append(indices.tolist())
        coresets.step(torch.zeros(len(indices), CLASSES))
    return found


def test_a_method_takes_its_own_options_and_they_change_what_it_does() -> None:
    assert own("focused", focus=5.0)._settings["focus"] == 5.0
    assert own("focused")._settings["focus"] == 0.5
    assert own("crest", subset_size=np.int64(40), threshold=np.float32(0.5)).steps_taken == 0
    assert len(indices_of(own("large", factor=3.0))[0]) == 24
    # Whatever it is set to here, for another method it does not count.
    sections = {"crest": {"subset_size": 64}, "focused": {"focus": 2.0}, "large": {"factor": 3.0}}
    assert indices_of(own("random", **sections)) == indices_of(own("random"))
    assert own("focused", **sections)._settings["focus"] == 2.0
    assert indices_of(own("crest", **sections)) == indices_of(own("crest", subset_size=64))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "random",
            {"focus": 5.0},
            r"^focus: 'random' does not use it, crest and focused do\. .*none",
        ),
        ("focused", {"subset_size": 32}, r"crest and greedy do\. It has draw, focus, .*crest=\{"),
        (
            "craig",
            {"coreset_sizes": 0.5},
            "'craig' has no such option; did you mean 'coreset_size'",
        ),
        ("crest", {"looks": "fresh"}, "looks: is called 'outputs' now"),
        ("glister", {"rounds": 3}, "rounds: is called 'gradient_updates' now"),
        ("crest", {"choice": "balanced"}, "choice: 'balanced' is called 'spatially_balanced' now"),
        ("crest", {"learned_floor": 0}, "learned_floor: a count is at least 1"),
        ("crest", {"focus": 0.5}, "focus: above 0 needs draw: without_replacement or"),
        ("full", {"fokus": 5.0}, r"fokus: 'full' has no such option\. It has none"),
        ("replay", {"coresets": "x"}, "'replay' has no such option.*saved coresets go in as saved"),
        (
            "random",
            {"crest": {"fokus": 1.0}},
            "fokus: 'crest' has no such option; did you mean 'foc",
        ),
        ("random", {"crest": {"threshold": "low"}}, "crest.threshold: must be a number"),
        (
            "random",
            {"crest": 5},
            r"crest: must hold that method's options .* crest=\{\.\.\.\}, not 5",
        ),
        ("crest", {"crest": {"focus": 0.0}, "focus": 0.0}, "focus: given by itself and in crest"),
        ("random", {"train": {"lr": 0.1}}, "train: 'random' has no such option"),
        ("focused", {"focus": "much"}, "Coresets: focus: must be a number"),
        (
            "craig",
            {"coreset_size": 2},
            "^coreset_size: 2 is 2 of 240 examples, less than batch_size",
        ),
    ],
)
def test_an_option_that_the_method_does_not_use_is_refused(method, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        own(method, **options)


def test_a_method_of_the_registry_is_served_by_name(monkeypatch) -> None:
    """A new one is a line in METHODS, here too."""
    base = METHODS["random"]
    monkeypatch.setattr("crest.coresets.METHODS", {**METHODS, "other": replace(base)})
    assert equal(Loop("other").run().taken, Loop("random").run().taken)


SELECTING: dict = {
    "crest": {"subset_size": 12},
    "greedy": {"subset_size": 12},
    "craig": {"coreset_size": 12},
    "gradmatch": {"coreset_size": 12},
    "glister": {"coreset_size": 12, "gradient_updates": 3},
}


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"replay"}))
@pytest.mark.parametrize("steps", [1, 7])
def test_what_is_saved_can_be_read_back_or_is_not_saved(method, steps, tmp_path) -> None:
    """Of a run that was not finished too, and of examples that are all the same."""
    split = linear_split()
    for features in (split.features, torch.ones_like(split.features)):
        model, taken = linear_model(), []
        gather = features.__getitem__
        options: dict = {"steps": 9, "batch_size": 4, **SELECTING}
        coresets = Coresets(model, gather, split.labels, method=method, **options)
        for indices, weights in coresets:
            coresets.step(model(gather(indices)))
            taken.append((indices, weights))
            if coresets.steps_taken == steps:
                break
        folder = tmp_path / "saved"
        if method in SELECTING:
            coresets.save(folder)
            assert equal(list(read_coresets(folder, split.labels).minibatches()), taken)
        else:
            with pytest.raises(ArtifactError, match=f"'{method}' keeps no coresets, so that noth"):
                coresets.save(folder)
            assert not folder.exists()


def test_saved_coresets_of_other_data_are_refused() -> None:
    far = MiniBatchCoreset(torch.tensor([1, 240]), torch.ones(2), None, 0, 0)
    with pytest.raises(ParameterError, match="saved: example 240 is not among the 240 labels"):
        Loop("replay", saved=SavedCoresets(((far,),)))


def test_saved_coresets_of_memory_can_be_replayed() -> None:
    one = next(iter(coresets_of(convnet())))
    saved = SavedCoresets(((MiniBatchCoreset(*one, None, 0, 0),),))
    assert equal(Loop("replay", saved=saved, steps=3).run(3).taken, [one] * 3)


def test_a_focused_step_without_its_logits_is_refused() -> None:
    coresets = coresets_of(convnet(), **ECONOMICAL)
    next(iter(coresets))
    with pytest.raises(OrderError, match=r"outputs, focus: .* pass them: step\(logits\)"):
        coresets.step()


def test_focused_is_the_preset_at_any_size() -> None:
    section = flat(CrestParameters(**presets()["cifar10-resnet20-economical"]["crest"]))
    differing = {key: value for key, value in section.items() if value != DEFAULTS[key]}
    assert economical(128) == differing
    assert economical(8) == differing | {"subset_size": 32}
    assert Loop(**economical(8)).run().coresets.steps_taken == STEPS
