"""Choosing: a weighted mini-batch from each random subset."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from crest.devices.distributed import Group
from crest.inference.evaluator import BATCH_SIZES, Evaluator
from crest.inference.forward import ForwardPass
from crest.models.head import classes_of, last_layer_if_any
from crest.selection.choices import Choice
from crest.selection.coresets import NO_REGION, MiniBatchCoreset
from crest.selection.gradients import GradientProxy

# Subsets scored and chosen from together: bounds the memory of their distances (4·r² bytes each)
# and the time until a run that is to stop does. On the CPU as many as one forward pass takes,
# so that it does not matter how many processes share them.
SUBSETS_AT_ONCE = 16


def select_minibatch_coresets(
    evaluator: Evaluator,
    subsets: Sequence[Tensor],
    size: int,
    proxy: GradientProxy,
    choice: Choice,
    generator: torch.Generator,
    region: int = NO_REGION,
    observe: Callable[[ForwardPass], None] | None = None,
    each: int = 1,
) -> list[MiniBatchCoreset]:
    """Choose mini-batch coresets from each random subset V_p: one of them in the paper (Eq. 11).

    Parameters
    ----------
    evaluator
        Its processes choose from the same subsets, each from some; all of them return everything,
        and what they observe is without features.
    subsets
        P index tensors, int64, all of r different examples.
    size
        m, at most r.
    generator
        On the CPU, for choices that draw.
    region
        Number of the region they are chosen for.
    observe
        Called with every forward pass.
    each
        Mini-batch coresets of a subset, as :func:`choose_minibatch_coresets` chooses them.

    Returns
    -------
    list
        P·each mini-batch coresets of exactly m different examples, those of a subset together.
    """
    group, alone = evaluator.group, evaluator.alone
    at_once = _subsets_at_once(len(subsets[0]), evaluator.precision.device)
    parts = [subsets[start : start + at_once] for start in range(0, len(subsets), at_once)]
    seeds = torch.randint(2**62, (len(parts),), generator=generator).tolist()
    passes: dict[int, ForwardPass] = {}
    chosen: dict[int, list[MiniBatchCoreset]] = {}
    for number in group.share(len(parts)):
        some = parts[number]
        scored = alone.score(torch.cat(list(some)))
        gradients = proxy(scored, last_layer_if_any(evaluator.model))
        drawing = torch.Generator().manual_seed(seeds[number])
        chosen[number] = choose_minibatch_coresets(
            scored, gradients, len(some), size, choice, drawing, each
        )
        if observe is not None and group.alone:
            observe(scored)
        passes[number] = scored.without_features()
    if not group.alone:
        passes = _gathered_passes(passes, parts, evaluator)
        chosen = _all_coresets(chosen, parts, size, each, group)
        for number in sorted(passes):
            if observe is not None:
                observe(passes[number])
    coresets = [coreset for number in sorted(chosen) for coreset in chosen[number]]
    return [
        replace(coreset, region=region, number=number) for number, coreset in enumerate(coresets)
    ]


def _subsets_at_once(examples: int, device: torch.device) -> int:
    if device.type == "cpu":
        return max(1, BATCH_SIZES["cpu"] // examples)
    return SUBSETS_AT_ONCE


def _gathered_passes(
    passes: dict[int, ForwardPass],
    parts: Sequence[Sequence[Tensor]],
    evaluator: Evaluator,
) -> dict[int, ForwardPass]:
    """Return every process's forward passes, without features."""
    labels, device = evaluator.examples.labels, evaluator.precision.device
    classes = classes_of(evaluator.model)
    indices = [torch.cat(list(some)) for some in parts]
    logits = [torch.zeros(len(rows), classes, device=device) for rows in indices]
    for number, scored in passes.items():
        logits[number] = scored.logits
    rows = evaluator.group.sum(torch.cat(logits)).split([len(part) for part in logits])
    none = torch.zeros(1, 0, device=device)
    return {
        number: ForwardPass(some, labels[some].to(device), rows[number], none.expand(len(some), 0))
        for number, some in enumerate(indices)
    }


def _all_coresets(
    chosen: dict[int, list[MiniBatchCoreset]],
    parts: Sequence[Sequence[Tensor]],
    size: int,
    each: int,
    group: Group,
) -> dict[int, list[MiniBatchCoreset]]:
    """Return every process's coresets: their indices, weights and losses."""
    counts = [len(some) * each for some in parts]
    indices = torch.zeros(sum(counts), size, dtype=torch.int64)
    values = torch.zeros(sum(counts), 2, size)
    places = torch.arange(sum(counts)).split(counts)
    for number, coresets in chosen.items():
        for place, coreset in zip(places[number].tolist(), coresets, strict=True):
            assert coreset.losses is not None, "chosen by a forward pass"
            indices[place] = coreset.indices
            values[place] = torch.stack([coreset.weights, coreset.losses])
    group.sum(indices)
    group.sum(values)
    return {
        number: [
            MiniBatchCoreset(indices[place], values[place, 0], values[place, 1])
            for place in some.tolist()
        ]
        for number, some in enumerate(places)
    }


def choose_minibatch_coresets(
    scored: ForwardPass,
    gradients: Tensor,
    subsets: int,
    size: int,
    choice: Choice,
    generator: torch.Generator,
    each: int = 1,
) -> list[MiniBatchCoreset]:
    """Choose mini-batch coresets in each of the subsets that were scored together.

    Parameters
    ----------
    gradients
        float32, (subsets·r)×d, of the examples in ``scored``.
    each
        Mini-batch coresets of a subset, which share no example; ``each``·m is at most r.

    Returns
    -------
    list
        subsets·each mini-batch coresets, those of a subset together.
    """
    examples = len(gradients) // subsets
    # In one sum; whoever is given the outputs finds out which are not finite.
    finite = gradients.sum(dtype=torch.float64).isfinite()
    gradients = torch.where(finite, gradients, 0.0)
    chosen = choice(gradients.view(subsets, examples, -1), size, each, generator)
    picks = chosen.picks.flatten(1)
    losses = scored.losses.view(subsets, examples).gather(1, picks)
    # For the first of these the host waits until all is computed, and for nothing before.
    indices = scored.indices.view(subsets, examples).gather(1, picks.cpu())
    rows = (values.reshape(-1, size) for values in (indices, chosen.weights.cpu(), losses.cpu()))
    return [MiniBatchCoreset(*row) for row in zip(*rows, strict=True)]
