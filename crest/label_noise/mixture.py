"""The share of noise among labels, and each label's chance to be right, by maximum likelihood."""

from dataclasses import dataclass

import torch
from torch import Tensor

FITTED_TO = 2**13  # examples
ITERATIONS = 100


@dataclass(frozen=True)
class LabelNoise:
    """What is believed of n labels.

    Attributes
    ----------
    share
        η, the share of labels that were drawn at random, whatever the example; by chance some of
        them are right.
    quality
        float32, n: the probability that each label is right.
    predicted
        int64, n: the class that all other examples predict of each.
    """

    share: float
    quality: Tensor
    predicted: Tensor

    @property
    def wrong(self) -> float:
        """The share of labels that are wrong."""
        return float((1.0 - self.quality.double()).mean())


@dataclass(frozen=True)
class _Mixture:
    """p(y | x) = (1 − η)·q_y(x) + η·f_y with q = softmax(t·s + b), f the labels' frequencies."""

    temperature: Tensor  # log t
    biases: Tensor  # C
    noise: Tensor  # log(η / (1 − η))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return q, n×C."""
        return (scores * self.temperature.exp() + self.biases).softmax(1)

    def likelihood(self, scores: Tensor, labels: Tensor, frequencies: Tensor) -> Tensor:
        """Return p(y | x) of each example, n."""
        share = self.noise.sigmoid()
        own = self.probabilities(scores).gather(1, labels[:, None])[:, 0]
        return (1 - share) * own + share * frequencies[labels]


def label_noise(scores: Tensor, labels: Tensor, generator: torch.Generator) -> LabelNoise:
    """Tell noise among labels from classes that are hard to tell apart.

    The true class has, by predictions that did not use the label, the probability
    q(x) = softmax(t·s + b); with the probability η the label is another draw of the labels'
    frequencies f. t, b and η are those of the highest likelihood: where predictions that are sure
    contradict labels no more often than they say, η is 0, however many examples are hard.

    The probability that label y is right is q_y·(1 − η + η·f_y) / p(y | x).

    Parameters
    ----------
    scores
        float, n×C: the higher, the likelier the class, by whatever did not use the example's own
        label, such as :func:`~crest.label_noise.leave_one_out.leave_one_out`.
    labels
        int64, n.
    generator
        Says to which examples the mixture is fitted where there are many.
    """
    scores = scores.double()
    frequencies = torch.bincount(labels, minlength=scores.shape[1]).double() / len(labels)
    rows = torch.randperm(len(labels), generator=generator)[:FITTED_TO]
    mixture = _fitted(scores[rows], labels[rows], frequencies)
    share = float(mixture.noise.sigmoid())
    probabilities = mixture.probabilities(scores)
    own = probabilities.gather(1, labels[:, None])[:, 0]
    right = own * (1 - share + share * frequencies[labels])
    quality = right / mixture.likelihood(scores, labels, frequencies)
    return LabelNoise(share, quality.float().clamp(0.0, 1.0), probabilities.argmax(1))


def _fitted(scores: Tensor, labels: Tensor, frequencies: Tensor) -> _Mixture:
    start = torch.tensor(2.5, dtype=torch.float64), torch.zeros_like(frequencies)
    mixture = _Mixture(*start, torch.tensor(-2.0, dtype=torch.float64))
    values = [mixture.temperature, mixture.biases, mixture.noise]
    for value in values:
        value.requires_grad_()
    optimizer = torch.optim.LBFGS(values, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        likelihood = mixture.likelihood(scores, labels, frequencies)
        # A faint pull to the start, without which η runs to 0 for ever, or b to an empty class.
        pull = sum(
            (value - begun).square().sum() for value, begun in zip(values, begins, strict=True)
        )
        mean = -likelihood.clamp(min=1e-12).log().mean() + 1e-4 * pull / len(labels)
        mean.backward()
        return mean

    begins = [value.detach().clone() for value in values]
    with torch.enable_grad():
        optimizer.step(loss)
    return _Mixture(*(value.detach() for value in values))
