"""The share of noise among labels, and each label's chance to be right, by maximum likelihood."""

from dataclasses import dataclass

import torch
from torch import Tensor

FITTED_TO = 2**13  # examples; fewer of many classes, as long as they are LEAST_FITTED_TO
LEAST_FITTED_TO = 2**11
ITERATIONS = 100
TOLERANCE = 1e-5  # nats an example, of an iteration's gain
ROWS_A_NUMBER = 10  # examples for each of W's numbers: of fewer it would learn noise by heart
PULL = 1e-4  # to the start, without which η runs to 0 for ever, or b to an empty class
LEAST_EVIDENCE = 10.0  # nats
LEAST = 1e-12  # likelihood of a label
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
    label_probability
        float32, n: the probability that all other examples give the label.
    evidence
        By how much noise raises the log-likelihood of the labels, in nats. Below 10 there may as
        well be none, and all labels are believed: ``share`` is 0 and ``quality`` 1.
    log_likelihood
        Of a label, by what all others predict, in nats, in the mean: the higher, the more the
        inputs tell of the labels. By it features can be compared.
    """

    share: float
    quality: Tensor
    predicted: Tensor
    label_probability: Tensor
    evidence: float
    log_likelihood: float

    @property
    def wrong(self) -> float:
        """The share of labels that are wrong."""
        return float((1.0 - self.quality.double()).mean())

    def suspects(self) -> Tensor:
        """Return all n examples, int64, by how likely their labels are wrong, likeliest first.

        Where all are believed it is an order alone: by what all other examples give the label.
        """
        order = self.label_probability.argsort(stable=True)
        return order[self.quality[order].argsort(stable=True)]


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
    log_likelihood = float(mixture.likelihood(*some).log().mean())
    predicted = probabilities.argmax(1)
    return LabelNoise(share, quality.float(), predicted, own.float(), evidence, log_likelihood)


def _fitted(scores: Tensor, labels: Tensor, frequencies: Tensor, noisy: bool) -> _Mixture:
    """Return the mixture of the highest likelihood, with noise or without."""
    loss = _Loss.of(scores, labels, frequencies, noisy)
    values = loss.begin.clone()
    optimizer = torch.optim.LBFGS(
        [values],
        max_iter=ITERATIONS,
        tolerance_change=TOLERANCE,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        found, values.grad = loss(values)
        return found

    optimizer.step(closure)
    return loss.mixture(values)


@dataclass(frozen=True)
class _Loss:
    """Mean negative log-likelihood of a mixture, and its pull, with their gradient in closed form.

    A mixture is a vector here: log t, b, W row by row if there is one, and with noise the logit of
    η. Scores have an example a column: a softmax over rows of few classes is several times slower.
    """

    columns: Tensor  # scores, float64 C×n
    labels: Tensor  # int64 1×n
    chances: Tensor  # f of each label, n
    begin: Tensor
    pulls: Tensor  # of each number to where it begins
    noisy: bool

    @classmethod
    def of(cls, scores: Tensor, labels: Tensor, frequencies: Tensor, noisy: bool) -> "_Loss":
        """Return that of n examples' scores, n×C, and labels, n."""
        classes = len(frequencies)
        mixes = classes**2 * ROWS_A_NUMBER <= len(labels)
        counts = torch.tensor([1, classes, mixes * classes**2, noisy])
        begin, pulls = (
            scores.new_tensor(numbers).repeat_interleave(counts)
            for numbers in ([2.5, 0.0, 0.0, -2.0], [PULL, PULL, MIXING_PULL, PULL])
        )
        columns = scores.T.contiguous()
        return cls(columns, labels[None], frequencies[labels], begin, pulls, noisy)

    def mixture(self, values: Tensor) -> _Mixture:
        """Return the mixture that a vector stands for."""
        classes = len(self.columns)
        mixing = values[1 + classes : len(values) - self.noisy]
        return _Mixture(
            values[0],
            values[1 : 1 + classes],
            mixing.reshape(classes, classes) if len(mixing) else None,
            values[-1] if self.noisy else values.new_tensor(-torch.inf),
        )

    def __call__(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, a scalar, and its gradient."""
        mixture, away = self.mixture(values), values - self.begin
        share, temperature = mixture.share, mixture.temperature.exp()
        mixed = self.columns
        if mixture.mixing is not None:
            mixed = torch.addmm(mixed, mixture.mixing, mixed)
        probabilities = (mixed * temperature + mixture.biases[:, None]).softmax(0)
        own = probabilities.gather(0, self.labels)[0]
        likelihood = (1 - share) * own + share * self.chances
        loss = (self.pulls * away.square()).sum() - likelihood.clamp(min=LEAST).log().sum()

        inverse = torch.where(likelihood > LEAST, 1 / likelihood, 0.0)
        right = (1 - share) * own * inverse
        slopes = (probabilities * right).scatter_add_(0, self.labels, -right[None])  # by the logits
        parts = [((slopes * mixed).sum() * temperature)[None], slopes.sum(1)]
        if mixture.mixing is not None:
            parts.append((temperature * slopes @ self.columns.T).flatten())
        if self.noisy:
            by_share = ((own - self.chances) * inverse).sum()
            parts.append((by_share * share * (1 - share))[None])
        gradient = torch.cat(parts) + 2 * self.pulls * away
        return loss / len(own), gradient / len(own)
