"""The share of noise and each label's chance, against labels drawn by a mixture that is known."""

import pytest
import torch
from torch import Tensor

from crest.label_noise.mixture import LEAST_EVIDENCE, _Loss, label_noise

COUNT = 6000


def drawn(share: float, prior: Tensor, spread: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw scores, true classes and labels; and return the chance that each label is right."""
    generator = torch.Generator().manual_seed(0)
    scores = spread * torch.randn(COUNT, len(prior), generator=generator).double()
    own = (scores + prior.log()).softmax(1)
    true = own.multinomial(1, generator=generator)[:, 0]
    frequencies = torch.bincount(true, minlength=len(prior)).double() / COUNT
    noisy = torch.rand(COUNT, generator=generator) < share
    random = frequencies.multinomial(COUNT, replacement=True, generator=generator)
    labels = torch.where(noisy, random, true)
    of_label = own.gather(1, labels[:, None])[:, 0]
    chance = frequencies[labels]
    right = of_label * (1 - share + share * chance)
    return scores / 7.0, true, labels, right / ((1 - share) * of_label + share * chance)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("prior", [(0.25, 0.25, 0.25, 0.25), (0.6, 0.3, 0.08, 0.02)])
def test_share_and_chances_are_those_that_the_labels_were_drawn_by(share, prior):
    scores, true, labels, right = drawn(share, torch.tensor(prior).double(), spread=4.0)
    noise = label_noise(scores, labels, torch.Generator().manual_seed(1))
    assert noise.share == pytest.approx(share, abs=0.03)
    assert noise.wrong == pytest.approx(float((labels != true).double().mean()), abs=0.03)
    assert (noise.quality - right).abs().mean() < 0.03
    assert noise.quality.dtype == torch.float32
    assert 0.0 <= noise.quality.min() <= noise.quality.max() <= 1.0


def test_classes_that_are_hard_to_tell_apart_are_no_noise():
    scores, true, labels, _ = drawn(0.0, torch.full((4,), 0.25).double(), spread=1.0)
    noise = label_noise(scores, labels, torch.Generator().manual_seed(1))
    assert (noise.predicted == true).double().mean() < 0.6
    assert noise.share < 0.05


def test_where_predictions_are_never_sure_labels_are_believed():
    scores, _, labels, _ = drawn(0.3, torch.full((4,), 0.25).double(), spread=0.3)
    noise = label_noise(scores, labels, torch.Generator().manual_seed(1))
    assert noise.evidence < LEAST_EVIDENCE
    assert noise.share == 0.0
    assert noise.quality.eq(1.0).all()
    suspects = noise.suspects()
    assert suspects.sort().values.equal(torch.arange(COUNT))
    assert noise.label_probability[suspects].diff().min() >= 0  # an order there is


def test_suspects_are_in_the_order_of_their_qualities():
    scores, true, labels, _ = drawn(0.3, torch.full((4,), 0.25).double(), spread=4.0)
    noise = label_noise(scores, labels, torch.Generator().manual_seed(1))
    assert noise.quality[noise.suspects()].diff().min() >= 0
    first = noise.suspects()[: int((labels != true).sum())]
    assert (labels != true)[first].double().mean() > 0.8


def test_the_evidence_is_the_gain_in_likelihood_of_labels_that_were_seen():
    few, many = (
        label_noise(scores[:count], labels[:count], torch.Generator().manual_seed(1)).evidence
        for count in (1000, 4000)
        for scores, _, labels, _ in [drawn(0.3, torch.full((4,), 0.25).double(), spread=4.0)]
    )
    assert many == pytest.approx(4 * few, rel=0.25)
    assert few > LEAST_EVIDENCE


def test_where_scores_tell_nothing_no_label_is_suspected():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (500,), generator=generator)
    noise = label_noise(torch.zeros(500, 3), labels, generator)
    assert noise.quality.std() < 0.01


def test_a_class_of_which_there_is_no_example():
    scores, _, labels, _ = drawn(0.1, torch.full((4,), 0.25).double(), spread=4.0)
    with_empty = torch.cat([scores, torch.zeros(COUNT, 1)], 1)
    noise = label_noise(with_empty, labels, torch.Generator().manual_seed(1))
    assert noise.share == pytest.approx(0.1, abs=0.03)
    assert bool(noise.quality.isfinite().all())


@pytest.mark.parametrize(("classes", "count"), [(30, 1000), (100, 3000)])
def test_of_many_classes_noise_is_not_learned_by_heart(classes, count):
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(0, classes, (count,), generator=generator)
    scores = torch.randn(count, classes, generator=generator) / 10
    scores[torch.arange(count), true] += 1.0
    labels = true.clone()
    some = torch.randperm(count, generator=generator)[: count // 5]
    labels[some] = torch.randint(0, classes, (len(some),), generator=generator)
    noise = label_noise(scores, labels, generator)
    wrong = float((labels != true).double().mean())
    assert noise.wrong == pytest.approx(wrong, abs=0.04)
    assert noise.evidence > LEAST_EVIDENCE


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("count", [50, 400])  # too few for W, and enough
def test_the_gradient_is_that_of_the_likelihood(noisy, count):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(count, 4, generator=generator).double() / 7
    labels = torch.randint(0, 4, (count,), generator=generator)
    frequencies = torch.bincount(labels, minlength=4).double() / count
    loss = _Loss.of(scores, labels, frequencies, noisy)
    assert len(loss.begin) == 1 + 4 + (16 if count == 400 else 0) + noisy
    away = torch.rand(len(loss.begin), generator=generator).double() / 4
    values = (loss.begin + away).requires_grad_()
    likelihood = loss.mixture(values).likelihood(scores, labels, frequencies)
    pulled = (loss.pulls * (values - loss.begin).square()).sum() / count
    expected = pulled - likelihood.log().mean()
    expected.backward()
    found, gradient = loss(values.detach())
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(gradient, values.grad)
