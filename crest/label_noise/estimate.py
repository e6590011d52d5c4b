"""Label noise of a split, or of anybody's tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from crest.data.given import whole_number
from crest.data.pairs import pair_features
from crest.data.prepared import Inputs, Split
from crest.devices.generators import generator_for
from crest.errors import ParameterError
from crest.label_noise.bags import bags
from crest.label_noise.leave_one_out import LEARNED_FROM, Describe, leave_one_out
from crest.label_noise.mixture import LabelNoise, label_noise
from crest.label_noise.patches import FILTERS, Patches

NAME = "estimate_label_noise"
TOKENS = ("input_ids", "attention_mask", "token_type_ids")
FILTERS_FROM = 2048  # examples that filters are drawn from
PILOT = 2048  # examples by which it is decided whether all are examined
PILOT_FILTERS = 32  # half of those for all, a quarter of the operations
KEPT_EXAMPLES = LEARNED_FROM + PILOT + 1  # that features are asked for again of; 1 tells the kind


def estimate_label_noise(
    inputs: Tensor | tuple[Tensor, Tensor], labels: Tensor, seed: int = 0
) -> LabelNoise:
    """Say how many labels are wrong, and how likely each is right; without any training.

    >>> noise = crest.estimate_label_noise(images, labels)
    >>> print(f"{noise.wrong:.1%} of the labels are wrong")
    >>> suspects = noise.suspects()[:100]  # likeliest wrong first

    Parameters
    ----------
    inputs
        n×C×H×W, images of whatever scale; or n×d, features such as a pretrained network's, which
        tell more than simple ones of the images. Of pairs, such as of two sentences, a tuple of the
        features of the first and of the second.
    labels
        n integers of 0 to C − 1.
    seed
        Of the features that are drawn.

    Raises
    ------
    ParameterError
        If they are none of those.

    Notes
    -----
    Noise is taken to be drawn from all labels alike: where one class is often named as a certain
    other one, it is not found. It is judged by what the features can tell.
    """
    inputs, labels = _of_pairs(inputs), _tensor(labels, "labels")
    if inputs.dim() not in (2, 4) or inputs.is_complex() or not inputs.numel():
        one = ": inputs[:, None] where images have no channel" if inputs.dim() == 3 else ""
        raise ParameterError(
            f"{NAME}: inputs: of shape {tuple(inputs.shape)}; give features, n×d, or images, "
            f"n×C×H×W{one}"
        )
    if inputs.dim() == 2 and not inputs.is_floating_point() and inputs.dtype != torch.uint8:
        raise ParameterError(
            f"{NAME}: inputs: {inputs.dtype}; features are floats, and numbers of tokens are none"
        )
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
        raise ParameterError(f"{NAME}: labels: must be n integers, not {_kind(labels)}")
    if len(labels) != len(inputs) or len(labels) < 2:
        raise ParameterError(
            f"{NAME}: {len(inputs)} inputs and {len(labels)} labels; give one for each, two at "
            "least"
        )
    labels = labels.cpu().long()
    if int(labels.min()) < 0:
        raise ParameterError(f"{NAME}: labels: row {int(labels.argmin())} is {int(labels.min())}")
    numbers, classes = labels.unique(return_inverse=True)  # however far apart
    generator = generator_for(whole_number(seed, f"{NAME}: seed", 0), "label noise")
    describe = _describe(
        lambda indices: inputs.detach()[indices.to(inputs.device)], len(inputs), generator
    )
    noise = _estimate(describe, classes, len(numbers), generator)
    return replace(noise, predicted=numbers[noise.predicted])


def _of_pairs(inputs: Any) -> Tensor:
    """Return inputs as a tensor, of pairs the features of both together."""
    if not isinstance(inputs, tuple):
        return _tensor(inputs, "inputs")
    parts = [_tensor(part, "inputs") for part in inputs]
    shapes = {tuple(part.shape) for part in parts}
    floating = all(part.is_floating_point() for part in parts)
    if len(parts) != 2 or len(shapes) > 1 or parts[0].dim() != 2 or not floating:
        found = ", ".join(_kind(part) for part in parts)
        raise ParameterError(
            f"{NAME}: inputs: a tuple is of pairs, the features of the first and of the second, "
            f"floats of n×d each; these are {found or 'none'}"
        )
    return pair_features(*(part.detach().float() for part in parts))


def _tensor(values: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{NAME}: {name}: no tensor or array of numbers: {error}") from None


def noise_of(
    split: Split, classes: int, generator: torch.Generator, embedded: Describe | None = None
) -> LabelNoise | None:
    """Return the label noise of a split; None of what is neither images, features nor tokens.

    Draws are of the generator, on the CPU. ``embedded`` returns what a pretrained model makes of
    the examples at some indices, float32 k×d; it is taken together with images and features, and
    alone of inputs of another kind and of tokens, whose bags add little to it.
    """
    describe = _described(split, torch.arange(len(split)), generator, FILTERS, embedded)
    return None if describe is None else _estimate(describe, split.labels, classes, generator)


def quality_of(
    split: Split, classes: int, generator: torch.Generator, embedded: Describe | None = None
) -> Tensor | None:
    """Return :func:`noise_of`'s quality of each label, for little where there is no noise.

    A pilot sample is examined first, by fewer filters. Where it shows no noise, by the same
    evidence as of all, every label is believed and no other example examined.

    Returns
    -------
    Tensor | None
        float32, n, 1 each where all labels are believed; None as of :func:`noise_of`.
    """
    apart = generator_for(generator.initial_seed(), "pilot")
    pilot = pilot_noise(split, classes, apart, embedded)
    if pilot is None:
        return None
    if not pilot.share:
        return torch.ones(len(split), dtype=torch.float32)
    noise = noise_of(split, classes, generator, embedded)
    return None if noise is None else noise.quality


def pilot_noise(
    split: Split, classes: int, generator: torch.Generator, embedded: Describe | None = None
) -> LabelNoise | None:
    """Return the label noise of some examples of a split, as :func:`noise_of`."""
    rows = torch.randperm(len(split), generator=generator)[:PILOT].sort().values
    describe = _described(split, rows, generator, PILOT_FILTERS, embedded)
    return None if describe is None else _estimate(describe, split.labels[rows], classes, generator)


def _described(
    split: Split,
    rows: Tensor,
    generator: torch.Generator,
    filters: int,
    embedded: Describe | None,
) -> Describe | None:
    """Return what describes those rows of a split, numbered from 0; None where nothing does."""
    described: list[Describe] = []
    first = split.inputs(torch.zeros(1, dtype=torch.int64))
    if _is_known(first) and not (isinstance(first, dict) and embedded is not None):
        described.append(
            _describe(lambda indices: split.inputs(rows[indices]), len(rows), generator, filters)
        )
    if embedded is not None:
        described.append(lambda indices: embedded(rows[indices]))
    if len(described) < 2:
        return described[0] if described else None

    def together(indices: Tensor) -> Tensor:
        first, *others = (describe(indices) for describe in described)
        return torch.cat([first, *(other.to(first.device) for other in others)], dim=1)

    return together


def _is_known(inputs: Inputs) -> bool:
    if isinstance(inputs, dict):
        names = [name for name in TOKENS if name in inputs]
        shapes = {tuple(inputs[name].shape) for name in names}
        return names[:2] == list(TOKENS[:2]) and len(shapes) == 1 and inputs[names[0]].dim() == 2
    if inputs.dim() == 4:
        return not inputs.is_complex() and bool(inputs.numel())
    return inputs.dim() == 2 and inputs.is_floating_point()


def _estimate(
    describe: Describe, labels: Tensor, classes: int, generator: torch.Generator
) -> LabelNoise:
    with torch.inference_mode(False), torch.no_grad(), _float32():
        scores = leave_one_out(describe, labels.clone(), classes, generator)
        return label_noise(scores, labels.clone(), generator)


@contextmanager
def _float32() -> Iterator[None]:
    """Leave autocast aside, on whatever device."""
    with torch.autocast("cpu", enabled=False):
        if not torch.cuda.is_available():
            yield
            return
        with torch.autocast("cuda", enabled=False):
            yield


def _describe(
    inputs: Any, count: int, generator: torch.Generator, filters: int = FILTERS
) -> Describe:
    """Return what describes n examples by their kind, tried on one."""
    first: Inputs = inputs(torch.zeros(1, dtype=torch.int64))
    if isinstance(first, dict):
        return lambda indices: bags(inputs(indices))
    if first.dim() == 2:
        return lambda indices: inputs(indices).float()
    some = torch.randperm(count, generator=generator)[:FILTERS_FROM]
    patches = Patches.of(inputs(some), generator, filters)
    return lambda indices: patches.features(inputs(indices))


def _kind(values: Tensor) -> str:
    return f"{values.dtype} of shape {tuple(values.shape)}"
