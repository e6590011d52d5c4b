"""How likely each label of a run is right: when it is looked for, and what is drawn by it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from crest.label_noise import estimate, noise_of, quality_of
from crest.methods.adaptive import AdaptiveParameters, build
from crest.samplers.base import Context
from crest.samplers.label_quality import LEAST_PASSES, LabelQuality
from crest.selection.coresets import MiniBatchCoreset, Outputs
from tests.tiny import context

CLASSES, N, M = 3, 600, 30


class Blobs:
    """Features of three classes far apart, a fifth of the labels shuffled."""

    def __init__(self, noisy: bool = True, dims: int = 1) -> None:
        generator = torch.Generator().manual_seed(0)
        self.true = torch.arange(N) % CLASSES
        centres = 4 * torch.eye(CLASSES, 8)
        features = centres[self.true] + torch.randn(N, 8, generator=generator)
        self.features = features.reshape(N, *[1] * (dims - 1), 8)
        self.labels = self.true.clone()
        some = torch.randperm(N, generator=generator)[: N // 5 if noisy else 0]
        self.labels[some] = self.labels[some.roll(7)]
        self.lengths = None
        self.asked = 0
        self.rows: set[int] = set()

    def __len__(self) -> int:
        return N

    def inputs(self, indices: Tensor) -> Tensor:
        self.asked += len(indices)
        self.rows.update(indices.tolist())
        return self.features[indices]

    augmented = inputs


def base(data: Blobs, passes: float = 20.0) -> Context:
    steps = round(passes * N / M)
    found = context(steps=steps)
    return replace(found, train=data, batch_size=M, parameters=AdaptiveParameters())


def train(method, steps: range, data: Blobs) -> list[list[int]]:
    found = []
    for step in steps:
        minibatch: MiniBatchCoreset = method.minibatch(step)
        labels = data.labels[minibatch.indices]
        logits = torch.randn(M, CLASSES, generator=torch.Generator().manual_seed(step))
        method.update(minibatch, Outputs.of(logits, labels, minibatch.weights), 0.0)
        found.append(minibatch.indices.tolist())
    return found


def test_wrong_labels_are_drawn_seldom_and_right_ones_in_nearly_every_round():
    data = Blobs()
    given = base(data)
    wrong = data.labels != data.true
    batches = torch.tensor(train(build(given), range(given.steps), data))
    drawn = batches.flatten().bincount(minlength=N)
    assert 50 < int(wrong.sum()) < 100
    assert drawn[wrong].double().mean() < 0.1 * drawn[~wrong].double().mean()


def test_of_clean_labels_the_minibatches_are_those_of_a_method_that_never_asked():
    data = Blobs(noisy=False)
    given = base(data)
    asked = train(build(given), range(given.steps), data)
    assert data.asked > N
    never = replace(given, generator=base(data).generator)
    parameters = AdaptiveParameters(label_noise=False)
    assert asked == train(build(replace(never, parameters=parameters)), range(given.steps), data)


def test_a_resumed_run_goes_on_with_what_was_found_and_asks_no_more():
    data = Blobs()
    first = build(base(data))
    start = train(first, range(33), data)
    state = first.state_dict()
    rest = train(first, range(33, 400), data)
    data.asked = 0
    again = build(base(data))
    again.load_state_dict(state)
    assert train(again, range(33, 400), data) == rest
    assert data.asked == 0
    assert start
    assert again.record().seconds == first.record().seconds


def test_in_fewer_passes_it_is_not_looked_for():
    data = Blobs()
    given = base(data, LEAST_PASSES - 0.1)
    assert LabelQuality(given, "adaptive.label_noise", wanted=True).values is None
    assert data.asked == 0


def test_two_passes_of_whole_minibatches_are_two():
    """Of 600 examples two passes are 1,200, of mini-batches of 32 the nearest is 37: 1,184."""
    data = Blobs()
    given = replace(base(data), batch_size=32)
    for steps, asks in ((37, True), (36, False)):
        data.asked = 0
        LabelQuality(replace(given, steps=steps), "adaptive.label_noise", wanted=True).find()
        assert (data.asked > 0) == asks


def test_inputs_of_another_kind_are_said_to_be_believed():
    data = Blobs(dims=2)  # n×1×8: neither features nor images
    given = base(data)
    method = build(given)
    train(method, range(3), data)
    assert method.record().used == {"adaptive.label_noise": "false"}
    known = build(base(linear_blobs := Blobs()))
    train(known, range(3), linear_blobs)
    assert known.record().used is None


def test_one_process_finds_what_all_draw_by():
    class Second:
        """The second of two processes; the first found 0.25 for all."""

        first = False

        def sum(self, values: Tensor) -> Tensor:
            assert not values.any()
            return values + 0.25

    data = Blobs()
    quality = LabelQuality(replace(base(data), group=Second()), "key", wanted=True)
    assert quality.values is not None
    assert quality.values.eq(0.25).all()
    assert data.asked == 0


@pytest.mark.parametrize("wanted", [True, False])
def test_it_is_found_when_it_is_wanted(wanted):
    assert (LabelQuality(base(Blobs()), "key", wanted).values is not None) == wanted


@pytest.mark.parametrize("noisy", [False, True])
def test_all_are_examined_only_where_a_pilot_sample_shows_noise(noisy, monkeypatch):
    monkeypatch.setattr(estimate, "PILOT", 200)
    data = Blobs(noisy)
    quality = quality_of(data, CLASSES, torch.Generator().manual_seed(3))
    if not noisy:
        assert quality.equal(torch.ones(N))
        assert len(data.rows) <= 201  # the first tells the kind
        return
    assert len(data.rows) == N
    all_of = noise_of(data, CLASSES, torch.Generator().manual_seed(3))
    assert quality.equal(all_of.quality)
