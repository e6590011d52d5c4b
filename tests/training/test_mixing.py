"""Mixed mini-batches, smoothed labels and alternating flips: what a step descends and knows."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from crest.data.augment import Augmentation
from crest.data.views.alternating import AlternatingFlips
from crest.devices.generators import generator_for
from crest.parameters.sections import TrainParameters
from crest.selection.coresets import MiniBatchCoreset
from crest.training.mixing import Mix, Mixing, mix
from crest.training.step import Stepper
from tests.tiny import FLOAT32, convnet, image_split

M = 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    inputs = torch.randn(M, 1, 8, 10, generator=generator(seed))
    inputs = inputs.to(memory_format=torch.channels_last)
    return inputs, torch.arange(M) % 3, torch.rand(M, generator=generator(seed)) + 0.5


@pytest.mark.parametrize("mixing", [Mixing(0.2, 0.0), Mixing(0.0, 1.0), Mixing(0.4, 1.0)])
def test_all_are_mixed_with_another_and_each_label_counts_its_weight(mixing):
    inputs, labels, weights = batch()
    for seed in range(20):
        drawn = mixing.draw(M, 8, 10, generator(seed))
        assert sorted(drawn.partners.tolist()) == list(range(M))
        assert (drawn.partners != torch.arange(M)).all()
        assert 0.5 <= drawn.share <= 1.0
        mixed, targets = mix(inputs, labels, weights, drawn)
        assert mixed.is_contiguous(memory_format=torch.channels_last)
        counted = targets.weights.clone()
        counted[drawn.partners] += targets.other_weights
        torch.testing.assert_close(counted, weights)
        assert torch.equal(targets.other_labels, labels[drawn.partners])


def test_mixup_is_torchvisions_given_the_same_share_and_partners():
    """Its partner is the one before; of it the larger share is the own."""
    inputs, labels, weights = batch()
    partners = torch.arange(M).roll(1)
    mixed, targets = mix(inputs, labels, weights, Mix(partners, 0.7))
    theirs = v2.MixUp(num_classes=3)
    theirs._dist = type("", (), {"sample": lambda *_: torch.tensor(0.7)})()
    expected, soft = theirs(inputs, labels)
    torch.testing.assert_close(mixed, expected)
    shares = 0.7 * F.one_hot(labels, 3) + 0.3 * F.one_hot(targets.other_labels, 3)
    torch.testing.assert_close(soft, shares)


@pytest.mark.parametrize("boxed", [False, True])
def test_cutmix_takes_the_box_of_one_and_the_rest_of_the_other(boxed):
    inputs, labels, weights = batch()
    partners, box = torch.arange(M).roll(3), (1, 5, 2, 10)
    within = 32 / 80
    drawn = Mix(partners, within if boxed else 1 - within, box, boxed)
    mixed, targets = mix(inputs, labels, weights, drawn)
    own = torch.zeros(8, 10, dtype=torch.bool)
    own[1:5, 2:10] = True
    own = own if boxed else ~own
    assert torch.equal(mixed, torch.where(own, inputs, inputs[partners]))
    torch.testing.assert_close(targets.weights, weights * own.float().mean())


def test_boxes_and_shares_are_distributed_as_torchvisions():
    """Its λ is the share of the pixels outside the box; ours the larger of the two parts."""
    count, (height, width) = 3000, (8, 10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = v2.CutMix(alpha=1.0, num_classes=3)
        inputs = [torch.zeros(1, 3, height, width)]
        found = [theirs.make_params(inputs)["lam_adjusted"] for _ in range(count)]
    expected = torch.tensor([max(share, 1 - share) for share in found])
    source, mixing = generator(), Mixing(0.0, 1.0)
    drawn = [mixing.draw(2, height, width, source) for _ in range(count)]
    shares = torch.tensor([each.share for each in drawn])
    assert shares.mean() == pytest.approx(float(expected.mean()), abs=0.01)
    assert shares.std() == pytest.approx(float(expected.std()), abs=0.01)
    both = Counter(Mixing(1.0, 1.0).draw(2, 8, 10, source).box is None for _ in range(1000))
    assert both[True] == pytest.approx(500, abs=60)


class Taken:
    """A stepper with what it works on."""

    def __init__(self, flips: AlternatingFlips | None = None, **train: object) -> None:
        torch.manual_seed(0)
        self.model = convnet().train()
        self.flips = flips
        flip = "alternating" if flips else False
        self.data = image_split(36, augmentation=Augmentation(flip=flip))
        settings = TrainParameters(batch_size=M, lr=0.1, **train)
        self.stepper = Stepper(
            self.model,
            torch.optim.SGD(self.model.parameters(), lr=0.1),
            self.data,
            generator_for(0, "augmentation"),
            settings,
            FLOAT32,
            flips=flips,
        )


def gradients(model: nn.Module) -> list[Tensor]:
    return [weight.grad.clone() for weight in model.parameters()]


@pytest.mark.parametrize(
    "train",
    [{"label_smoothing": 0.1}, {"mixup": 0.4}, {"cutmix": 1.0, "label_smoothing": 0.2}],
    ids=str,
)
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_descends_the_soft_cross_entropy_of_mixed_inputs(train, parts):
    """The loss by PyTorch's own cross-entropy with probabilities as targets."""
    taken, plain = Taken(micro_batches=parts, **train), convnet().train()
    torch.manual_seed(0)
    plain.load_state_dict(taken.model.state_dict())
    indices, weights = torch.arange(M) + 3, batch()[2]
    outputs = taken.stepper.take(MiniBatchCoreset(indices, weights))
    mixing, source = Mixing.of(TrainParameters(**train)), generator_for(0, "augmentation")
    smoothing = train.get("label_smoothing", 0.0)
    seeds = torch.randint(2**62, (parts, 2), generator=source).tolist() if parts > 1 else None
    total, logits = torch.zeros(()), []
    for number, part in enumerate(torch.arange(M).tensor_split(parts)):
        inputs, labels = taken.data.inputs(indices[part]), taken.data.labels[indices[part]]
        soft = F.one_hot(labels, 3) * weights[part, None]
        if mixing is not None:
            own = generator(seeds[number][0]) if seeds else source
            drawn = mixing.draw(len(part), 8, 8, own)
            inputs, _ = mix(inputs, labels, weights[part], drawn)
            soft = drawn.share * soft + (1 - drawn.share) * soft[drawn.partners]
        # Of targets that do not sum to 1 each is smoothed by its sum.
        soft = (1 - smoothing) * soft + smoothing / 3 * soft.sum(1, keepdim=True)
        logits.append(plain(inputs))
        total = total + F.cross_entropy(logits[-1], soft, reduction="sum") / M
    total.backward()
    for found, expected in zip(gradients(taken.model), gradients(plain), strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(outputs.loss, total.detach())
    torch.testing.assert_close(outputs.logits, torch.cat(logits).detach())
    own_losses = F.cross_entropy(outputs.logits, taken.data.labels[indices], reduction="none")
    torch.testing.assert_close(outputs.losses, own_losses)


def test_without_any_of_it_the_plain_loss_is_descended():
    taken, weights = Taken(), batch()[2]
    outputs = taken.stepper.take(MiniBatchCoreset(torch.arange(M), weights))
    assert torch.equal(outputs.loss, (outputs.losses * weights).mean())


@pytest.mark.parametrize("parts", [1, 2])
def test_an_example_is_flipped_every_other_time_that_it_is_trained_on(parts):
    flips = AlternatingFlips(36, generator())
    first = flips.put(torch.arange(36), torch.zeros(36, 3, dtype=torch.int64))[:, 0]
    assert 5 < int(first.sum()) < 31
    taken = Taken(flips, micro_batches=parts)
    seen: dict[int, list[int]] = {}
    views = taken.data.views

    def keep(indices: Tensor, draws: Tensor) -> Tensor:
        for index, flipped in zip(indices.tolist(), draws[:, 0].tolist(), strict=True):
            seen.setdefault(index, []).append(flipped)
        return views(indices, draws)

    taken.data.views = keep
    source = generator(5)
    for _ in range(12):
        indices = torch.randperm(20, generator=source)[:M]
        taken.stepper.take(MiniBatchCoreset(indices, torch.ones(M)))
    assert len({len(found) for found in seen.values()}) > 1
    for index, found in seen.items():
        assert found == [(int(first[index]) + visit) % 2 for visit in range(len(found))]


def test_views_that_a_method_drew_are_taken_as_they_are_and_counted():
    flips = AlternatingFlips(36, generator())
    taken = Taken(flips)
    indices = torch.arange(M)
    draws = flips.put(indices, taken.data.draw_views(M, generator()))
    taken.stepper.take(MiniBatchCoreset(indices, torch.ones(M), draws=draws))
    assert torch.equal(flips.put(indices, draws)[:, 0], 1 - draws[:, 0])
