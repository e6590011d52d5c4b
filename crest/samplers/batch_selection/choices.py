"""Which candidates are kept: a new way is a class here and a line in :func:`choice_of`."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from crest.models.head import last_layer_if_any
from crest.samplers.batch_selection.candidates import Scores
from crest.selection.choices import Choice, find_choice
from crest.selection.choosing import choose_minibatch_coresets
from crest.selection.gradients import logit_gradients
from crest.selection.importance import bisected, clamped, limit_of

if TYPE_CHECKING:
    from crest.methods.batch_selection import BatchSelectionParameters

POWER = 2.0  # GradientShare: how much faster than the gradient the chance falls
FLOOR = 0.05  # GradientShare: least chance of a candidate, so that none is forgotten
HISTORY = 4096  # expected norms that the threshold is found by


class Keep(Protocol):
    """Says which candidates are kept."""

    def candidates(self, size: int) -> int:
        """Return how many to draw at once for mini-batches of ``size``."""
        ...

    def keep(
        self, scores: Scores, labels: Tensor, size: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the places of those that are kept, int64 j, and their weights, float32 j.

        ``labels`` are the candidates', int64 k; ``size`` is m.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        ...


@dataclass(frozen=True)
class Hardest:
    """Keeps the m candidates with the largest gradients, of m/share; all weights are 1."""

    share: float

    def candidates(self, size: int) -> int:
        """Return m/share."""
        return round(size / self.share)

    def keep(
        self, scores: Scores, labels: Tensor, size: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Keep the m largest; those of which nothing is known first. In order of their places."""
        norms = torch.where(scores.norms.isnan(), math.inf, scores.norms)
        places = norms.argsort(descending=True, stable=True)[:size].sort().values
        return places, torch.ones(size)

    def state_dict(self) -> dict[str, Any]:
        """There is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to take over."""


class RecentNorms:
    """The norms that were scored last, by which limits are found."""

    def __init__(self) -> None:
        self.values = torch.empty(0)

    def add(self, norms: Tensor) -> None:
        """Take note of more; float32 k."""
        self.values = torch.cat([self.values, norms])[-HISTORY:]

    def state_dict(self) -> dict[str, Any]:
        """Return them."""
        return {"history": self.values.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.values = state["history"].clone()


class GradientShare:
    """Leaves out candidates that together carry a given share of the gradient, and no more.

    A candidate with gradient norm ĝ is kept with the chance

        p = min(1, max(0.05, (ĝ/c)²)),  c such that  Σ (1 − p) ĝ = lost · Σ ĝ

    over what was scored last. Where all have the same gradient (little is learned, or the scores
    tell nothing), ``lost`` of them are left out at random, which is training on fewer candidates
    and nothing else; where few carry most of it, most are. All weights are 1.

    Parameters
    ----------
    lost
        Share of the summed norms that may be left out.
    """

    def __init__(self, lost: float) -> None:
        self._lost = lost
        self._recent = RecentNorms()
        self.state_dict = self._recent.state_dict
        self.load_state_dict = self._recent.load_state_dict

    def candidates(self, size: int) -> int:
        """Return m."""
        return size

    def keep(
        self, scores: Scores, labels: Tensor, size: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Keep each with its chance; those of which nothing is known for certain."""
        known = ~scores.norms.isnan()
        norms = scores.norms[known].clamp_min(0.0)
        self._recent.add(norms)
        chances = torch.ones(len(known))
        chances[known] = self._chances(norms)
        places = (torch.rand(len(chances), generator=generator) < chances).nonzero().flatten()
        return places, torch.ones(len(places))

    def _chances(self, norms: Tensor) -> Tensor:
        """Return the chance of each to be kept; where nothing has a gradient all have the same."""
        if not float(self._recent.values.sum()):
            return torch.full_like(norms, 1.0 - self._lost)
        return chance(norms, threshold(self._recent.values, self._lost))


class Importance:
    """Keeps candidates with chances proportional to their gradients, weighed by one over them.

        p = min(1, max(1/4, ĝ/c)),  c such that the mean of p is ``share``;  w = share / p

    The weighted mean of the gradients of those that are kept is that of all candidates, without
    bias whatever the scores are, and varies less the better they are: what is trained on stands for
    1/share times as many. Where the scores tell nothing, every weight is 1 and it is Random.

    Parameters
    ----------
    share
        Of the candidates that is kept, on average; at least 1/4.

    References
    ----------
    Katharopoulos and Fleuret, Not All Samples Are Created Equal: Deep Learning with Importance
    Sampling, ICML 2018: norms of the logits' gradients as chances.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._recent = RecentNorms()
        self.state_dict = self._recent.state_dict
        self.load_state_dict = self._recent.load_state_dict

    def candidates(self, size: int) -> int:
        """Return m."""
        return size

    def keep(
        self, scores: Scores, labels: Tensor, size: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Keep each with its chance; where nothing is known of any, all of them."""
        known = ~scores.norms.isnan()
        if self._share >= 1.0 or not bool(known.any()):
            return torch.arange(len(known)), torch.ones(len(known))
        norms = torch.where(known, scores.norms, scores.norms[known].mean()).clamp_min(0.0)
        self._recent.add(norms)
        chances, mean = self._chances(norms)
        places = (torch.rand(len(chances), generator=generator) < chances).nonzero().flatten()
        return places, mean / chances[places]

    def _chances(self, norms: Tensor) -> tuple[Tensor, float]:
        """Return the chance of each to be kept, and their mean over what was scored last."""
        if not float(self._recent.values.sum()):
            return torch.full_like(norms, self._share), self._share
        limit = limit_of(self._recent.values, self._share)
        return clamped(norms, limit), float(clamped(self._recent.values, limit).mean())


class StratifiedImportance:
    """As :class:`Importance`, but of m/share candidates exactly m, and of each class its share.

    Systematic sampling: the candidates lie on a line of length m, class by class and at random
    within, each as long as its chance p. Kept is what the points 1 - u, 2 - u, ..., m - u fall on,
    u uniform in [0, 1). So each is kept with its chance, and of each class as many as its chances
    sum to, rounded up or down: neither their number nor what a class weighs is left to chance.

    Parameters
    ----------
    share
        Of the candidates that is kept; at least 1/4.

    References
    ----------
    Madow, On the Theory of Systematic Sampling, II, Annals of Mathematical Statistics 1949: unequal
    chances.
    """

    def __init__(self, share: float) -> None:
        self._share = share

    def candidates(self, size: int) -> int:
        """Return m/share."""
        return round(size / self._share)

    def keep(
        self, scores: Scores, labels: Tensor, size: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Keep m; those of which nothing is known by the mean of the others."""
        count = len(labels)
        if count <= size:
            return torch.arange(count), torch.ones(count)
        chances = self._chances(scores.norms, size / count)
        order = torch.randperm(count, generator=generator)
        order = order[labels[order].argsort(stable=True)]
        ends = chances[order].cumsum(0) + torch.rand(1, generator=generator, dtype=torch.float64)
        ends[-1] = size  # m + u, but for rounding
        kept = ends.floor().diff(prepend=torch.zeros(1, dtype=torch.float64)) > 0
        places = order[kept]
        return places, (size / count / chances[places]).float()

    @staticmethod
    def _chances(norms: Tensor, share: float) -> Tensor:
        """Return the chance of each, float64 k, whose mean is ``share``."""
        known = ~norms.isnan()
        norms = torch.where(known, norms, norms[known].mean()).clamp_min(0.0)
        chances = torch.full((len(norms),), share, dtype=torch.float64)
        if bool(known.any()) and float(norms.sum()):
            chances = clamped(norms.double(), limit_of(norms, share))
        return (chances * (share / chances.mean())).clamp_max(1.0)

    def state_dict(self) -> dict[str, Any]:
        """There is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to take over."""


class Coreset:
    """Keeps a weighted coreset of m of m/share candidates, by the scorer's gradients p − y.

    Parameters
    ----------
    choice
        Of :data:`crest.selection.choices.CHOICES`.
    model
        The network that scored them.
    smoothing
        The label smoothing of the loss.
    """

    def __init__(
        self, choice: Choice, share: float, model: nn.Module, smoothing: float = 0.0
    ) -> None:
        self._smoothing = smoothing
        self._choice = choice
        self._share = share
        self._model = model

    def candidates(self, size: int) -> int:
        """Return m/share."""
        return round(size / self._share)

    def keep(
        self, scores: Scores, labels: Tensor, size: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Choose, see :func:`crest.selection.choosing.choose_minibatch_coresets`."""
        assert scores.outputs is not None, "scored by a forward pass"
        scored = replace(scores.outputs, indices=torch.arange(len(scores.norms)))
        gradients = logit_gradients(scored, last_layer_if_any(self._model), self._smoothing)
        chosen = choose_minibatch_coresets(scored, gradients, 1, size, self._choice, generator)[0]
        return chosen.indices, chosen.weights

    def state_dict(self) -> dict[str, Any]:
        """There is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to take over."""


def choice_of(
    parameters: "BatchSelectionParameters", model: nn.Module, smoothing: float = 0.0
) -> Keep:
    """Return how candidates are kept, as ``batch_selection.keep`` says."""
    if parameters.keep == "hardest":
        return Hardest(parameters.share)
    if parameters.keep == "gradient_share":
        return GradientShare(parameters.lost)
    if parameters.keep == "importance":
        return Importance(parameters.share)
    if parameters.keep == "stratified_importance":
        return StratifiedImportance(parameters.share)
    choice = find_choice(parameters.keep, "batch_selection.keep")
    return Coreset(choice, parameters.share, model, smoothing)


def chance(norms: Tensor, threshold: float) -> Tensor:
    """Return min(1, max(0.05, (ĝ/c)²)) of each; float32 k."""
    return (norms / threshold).pow(POWER).clamp(FLOOR, 1.0)


def threshold(norms: Tensor, lost: float) -> float:
    """Return c, at which the share ``lost`` of the summed norms is left out.

    Parameters
    ----------
    norms
        float32 k, at least 0.
    """
    total = float(norms.double().sum())
    return bisected(
        norms,
        lambda c: float(((1.0 - chance(norms, c)) * norms).double().sum()) < lost * total,
    )
