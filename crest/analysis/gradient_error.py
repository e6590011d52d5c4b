"""How far the gradient of a mini-batch is from that of all data, at one model: bias and variance.

With g_S the gradient of a mini-batch of some kind and g that of all data,

    E‖g_S − g‖² = ‖E[g_S] − g‖² + E‖g_S − E[g_S]‖²,

the bias squared, which no averaging removes, and the variance. Everything is measured in eval mode
without augmentation, over all parameters that training moves. In train mode BatchNorm removes much
of what coresets gain (docs/results.md), so this says what is chosen, not what a step is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from crest.inference.evaluator import Evaluator
from crest.inference.folding import FoldingEvaluator
from crest.inference.forward import places_of
from crest.methods.crest import CrestParameters
from crest.regions.active import ActiveSet
from crest.regions.curvature import flatten, trained_parameters
from crest.samplers.rounds import Focus, focus_subset, weighed
from crest.samplers.sizes import subset_size
from crest.selection.choices import find_choice
from crest.selection.choosing import select_minibatch_coresets
from crest.selection.coresets import MiniBatchCoreset
from crest.selection.gradients import find_proxy

# Examples whose activations are held at once.
BLOCK = 128


@dataclass(frozen=True)
class GradientError:
    """What one kind of mini-batch errs by; ``examples`` is how many it is the gradient of.

    ``bias_squared`` and ``variance`` are unbiased estimates, so that either can come out a little
    below 0 where it is small.
    """

    examples: int
    bias_squared: float
    variance: float

    @property
    def mean_square(self) -> float:
        """E‖g_S − g‖²."""
        return self.bias_squared + self.variance


@dataclass(frozen=True)
class GradientErrors:
    """The errors at one model, and ``gradient_square``, ‖g‖².

    ``coreset`` is one mini-batch coreset, ``union`` the mean of all those of a region,
    ``minibatch`` a random mini-batch of m and ``subset`` a random subset of r. Random ones have no
    bias; the estimate of theirs shows how much noise is in the others'.
    """

    gradient_square: float
    coreset: GradientError
    union: GradientError
    minibatch: GradientError
    subset: GradientError


class ErrorMoments:
    """Sums over independent errors e_k = g_k − g that bias and variance follow from.

    The inner product of two different draws' errors is ‖E e‖² in the mean, so that no noise has
    to be taken out: bias² = (‖Σe‖² − Σ‖e‖²) / K(K − 1) for K draws, at least two.
    """

    def __init__(self) -> None:
        self.count = 0
        self._squares = 0.0
        self._total: Tensor | None = None

    def add(self, error: Tensor) -> None:
        """Include a draw."""
        wide = error.double()
        self.count += 1
        self._squares += float(wide.square().sum())
        self._total = wide if self._total is None else self._total + wide

    @property
    def mean_square(self) -> float:
        """E‖e‖²."""
        return self._squares / self.count

    @property
    def bias_squared(self) -> float:
        """‖E e‖²."""
        assert self._total is not None
        pairs = float(self._total.square().sum()) - self._squares
        return pairs / (self.count * (self.count - 1))


def gradient_errors(
    evaluator: Evaluator,
    excluded: Tensor,
    settings: CrestParameters,
    batch_size: int,
    union: int,
    generator: torch.Generator,
    sample: int,
    draws: int,
) -> GradientErrors:
    """Measure the gradients of mini-batch coresets and of random mini-batches at a model.

    Parameters
    ----------
    excluded
        int64: the examples that subsets are not drawn from. They count in g all the same.
    settings
        How coresets are chosen: proxy, choice, subset_size, subset_coresets, and the focus of
        their subsets, by losses at this model.
    batch_size
        m.
    union
        P, the mini-batch coresets of a region.
    generator
        On the CPU.
    sample
        Most examples that g is the mean over. Where that is not all of them, what g errs by
        itself is known from the variance of random mini-batches, and taken out.
    draws
        Random subsets of each kind, at least two.
    """
    evaluator = FoldingEvaluator.of(evaluator)
    examples = len(evaluator.examples)
    size = subset_size(settings, examples, batch_size)
    with evaluator.folded():
        sampled = ActiveSet(examples).draw(min(sample, examples), generator)
        reference = mean_gradient(evaluator, sampled)
        minibatches, subsets = ErrorMoments(), ErrorMoments()
        for _ in range(draws):
            drawn = ActiveSet(examples).draw(size, generator)
            first, whole = _nested_gradients(evaluator, drawn, batch_size)
            minibatches.add(first - reference)
            subsets.add(whole - reference)
        singles, groups = ErrorMoments(), ErrorMoments()
        for coresets in _draw_coresets(
            evaluator, excluded, settings, size, batch_size, generator, draws
        ):
            errors = [
                mean_gradient(evaluator, coreset.indices, coreset.weights) - reference
                for coreset in coresets
            ]
            for error in errors:
                singles.add(error)
            groups.add(torch.stack(errors).mean(0))
    spread = minibatches.mean_square - minibatches.bias_squared
    noise = _mean_variance(spread, batch_size, len(sampled), examples)
    bias = groups.bias_squared
    in_union = max(1.0, union / settings.subset_coresets)  # subsets, whose errors are independent
    return GradientErrors(
        gradient_square=float(reference.double().square().sum()) - noise,
        coreset=GradientError(batch_size, bias - noise, singles.mean_square - bias),
        union=GradientError(
            union * batch_size, bias - noise, (groups.mean_square - bias) / in_union
        ),
        minibatch=_unbiased(minibatches, batch_size, noise),
        subset=_unbiased(subsets, size, noise),
    )


def mean_gradient(evaluator: Evaluator, indices: Tensor, weights: Tensor | None = None) -> Tensor:
    """Gradient of the weighted mean loss over examples, in whatever mode the model is.

    Parameters
    ----------
    indices
        int64, k, on the CPU.
    weights
        float, k, of mean 1; None for all 1.

    Returns
    -------
    Tensor
        One flat float32 vector of the parameters that training moves.
    """
    model, split = evaluator.model, evaluator.examples
    parameters = trained_parameters(model)
    weights = torch.ones(len(indices)) if weights is None else weights
    if split.lengths is not None:  # a block then holds few lengths
        order = split.lengths[indices].argsort(descending=True, stable=True)
        indices, weights = indices[order], weights[order]
    total = torch.zeros(sum(value.numel() for value in parameters), device=parameters[0].device)
    for block, block_weights in zip(indices.split(BLOCK), weights.split(BLOCK), strict=True):
        with evaluator.precision.autocast():
            logits = model(split.inputs(block))
        labels = split.labels[block].to(logits.device)
        losses = F.cross_entropy(
            logits.float(), labels, reduction="none", label_smoothing=evaluator.label_smoothing
        )
        loss = (losses * block_weights.to(losses.device)).sum() / len(indices)
        total += flatten(torch.autograd.grad(loss, parameters, materialize_grads=True))
    return total


def _nested_gradients(
    evaluator: Evaluator, drawn: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the first m of a random subset, and of all of it."""
    first = mean_gradient(evaluator, drawn[:batch_size])
    rest = drawn[batch_size:]
    if not len(rest):
        return first, first
    share = batch_size / len(drawn)
    return first, share * first + (1 - share) * mean_gradient(evaluator, rest)


def _draw_coresets(
    evaluator: Evaluator,
    excluded: Tensor,
    settings: CrestParameters,
    size: int,
    batch_size: int,
    generator: torch.Generator,
    draws: int,
) -> Sequence[list[MiniBatchCoreset]]:
    """Choose the mini-batch coresets of some random subsets of V, a list for each subset."""
    active = ActiveSet(len(evaluator.examples))
    active.exclude(excluded, 0)
    proxy = find_proxy(settings.proxy, smoothing=evaluator.label_smoothing)
    choice = find_choice(settings.choice)
    each = settings.subset_coresets
    chosen = []
    for _ in range(draws):
        subset, chance = _draw_subset(evaluator, active, settings, size, generator)
        coresets = select_minibatch_coresets(
            evaluator, [subset], batch_size, proxy, choice, generator, each=each
        )
        if chance is not None:
            coresets = [
                weighed(coreset, chance[places_of(coreset.indices, subset)]) for coreset in coresets
            ]
        chosen.append(coresets)
    return chosen


def _draw_subset(
    evaluator: Evaluator,
    active: ActiveSet,
    settings: CrestParameters,
    size: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    """Draw V_p as the settings say; with it the chances to weigh by, if they say so too."""
    if settings.focus.exponent == 0.0:
        return active.draw(size, generator), None
    # As many as hold a subset even where all are learned, so that nothing depends on n.
    candidates = active.draw(min(len(active), ceil(size / settings.focus.floor)), generator)
    losses = evaluator.score(candidates).losses.cpu()
    places, chance = focus_subset(losses, size, Focus.of(settings.focus), generator)
    return candidates[places], chance if settings.focus.weights else None


def _unbiased(moments: ErrorMoments, examples: int, noise: float) -> GradientError:
    bias = moments.bias_squared
    return GradientError(examples, bias - noise, moments.mean_square - bias)


def _mean_variance(variance: float, size: int, larger: int, examples: int) -> float:
    """Variance of the mean of ``larger`` of the examples, from that of the mean of ``size``.

    Both are drawn without replacement, so that the mean of all has none.
    """
    if larger == examples:
        return 0.0
    return variance * (size / larger) * (examples - larger) / (examples - size)
