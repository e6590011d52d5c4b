"""The share of noise among labels, and each label's chance to be right, by maximum likelihood."""

from dataclasses import dataclass

import torch
from torch import Tensor

FITTED_TO = 2**13  # examples; fewer of many classes, as long as they are LEAST_FITTED_TO
LEAST_FITTED_TO = 2**11
ITERATIONS = 100
ROWS_A_NUMBER = 10  # examples for each of W's numbers: of fewer it would learn noise by heart
PULL = 1e-4  # to the start, without which η runs to 0 for ever, or b to an empty class
LEAST_EVIDENCE = 10.0  # nats
MIXING_PULL = 10.0  # of W to 0, as of a prior, for some hundred examples


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
    evidence
        By how much noise raises the log-likelihood of the labels, in nats. Below 10 there may as
        well be none, and all labels are believed: ``share`` is 0 and ``quality`` 1.
    """

    share: float
    quality: Tensor
    predicted: Tensor
    evidence: float

    @property
    def wrong(self) -> float:
        """The share of labels that are wrong."""
        return float((1.0 - self.quality.double()).mean())


@dataclass(frozen=True)
class _Mixture:
    """p(y | x) = (1 − η)·q_y(x) + η·f_y, q = softmax(t·(I + W)·s + b), f the frequencies of y."""

    temperature: Tensor  # log t
    biases: Tensor  # b, C
    mixing: Tensor | None  # W, C×C; None for 0
    noise: Tensor  # log(η / (1 − η))

    @property
    def share(self) -> Tensor:
        """η, a scalar."""
        return self.noise.sigmoid()

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return q, n×C."""
        mixed = scores if self.mixing is None else scores + scores @ self.mixing.T
        return (mixed * self.temperature.exp() + self.biases).softmax(1)

    def likelihood(self, scores: Tensor, labels: Tensor, frequencies: Tensor) -> Tensor:
        """Return p(y | x) of each example, n."""
        own = self.probabilities(scores).gather(1, labels[:, None])[:, 0]
        return (1 - self.share) * own + self.share * frequencies[labels]


def label_noise(scores: Tensor, labels: Tensor, generator: torch.Generator) -> LabelNoise:
    """Tell noise among labels from classes that are hard to tell apart.

    The true class has, by predictions s that did not use the label, the probability
    q(x) = softmax(t·(I + W)·s + b); with the probability η the label is another draw of the labels'
    frequencies f. t, W, b and η are those of the highest likelihood: where predictions that are
    sure contradict labels no more often than they say, η is 0, however many examples are hard.
    Where predictions are never sure, any η is nearly as likely as 0, and it is 0 that is taken.

    The probability that label y is right is q_y·(1 − η + η·f_y) / p(y | x).

    A chance of each class to be named as each other one would explain what W does, and the other
    way round: what is often confused for a certain class is not called noise.

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
    most = min(FITTED_TO, max(LEAST_FITTED_TO, 2**21 // scores.shape[1]))
    rows = torch.randperm(len(labels), generator=generator)[:most]
    some = scores[rows], labels[rows], frequencies
    without, mixture = (_fitted(*some, noisy) for noisy in (False, True))
    evidence = float((mixture.likelihood(*some) / without.likelihood(*some)).log().sum())
    if evidence < LEAST_EVIDENCE:
        mixture = without
    share = float(mixture.share)
    probabilities = mixture.probabilities(scores)
    own = probabilities.gather(1, labels[:, None])[:, 0]
    right = own * (1 - share + share * frequencies[labels])
    quality = right / mixture.likelihood(scores, labels, frequencies)
    quality = quality.clamp(0.0, 1.0) if share else torch.ones_like(quality)
    return LabelNoise(share, quality.float(), probabilities.argmax(1), evidence)


def _fitted(scores: Tensor, labels: Tensor, frequencies: Tensor, noisy: bool) -> _Mixture:
    """Return the mixture of the highest likelihood, with noise or without."""
    classes = len(frequencies)
    exact = torch.float64
    mixes = classes**2 * ROWS_A_NUMBER <= len(labels)
    mixture = _Mixture(
        torch.tensor(2.5, dtype=exact),
        torch.zeros(classes, dtype=exact),
        torch.zeros(classes, classes, dtype=exact) if mixes else None,
        torch.tensor(-2.0 if noisy else -torch.inf, dtype=exact),
    )
    values = [mixture.temperature, mixture.biases]
    if noisy:
        values.append(mixture.noise)
    begins = [value.clone() for value in values]
    if mixture.mixing is not None:
        values.append(mixture.mixing)
    for value in values:
        value.requires_grad_()
    optimizer = torch.optim.LBFGS(values, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        likelihood = mixture.likelihood(scores, labels, frequencies)
        pull = sum(
            PULL * (now - begun).square().sum() for now, begun in zip(values, begins, strict=False)
        )
        if mixture.mixing is not None:
            pull = pull + MIXING_PULL * mixture.mixing.square().sum()
        mean = -likelihood.clamp(min=1e-12).log().mean() + pull / len(labels)
        mean.backward()
        return mean

    with torch.enable_grad():
        optimizer.step(loss)
    return _Mixture(
        mixture.temperature.detach(),
        mixture.biases.detach(),
        None if mixture.mixing is None else mixture.mixing.detach(),
        mixture.noise.detach(),
    )
