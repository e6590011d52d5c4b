"""A model on a set of examples, as everything that selects, checks and measures evaluates it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from crest.data.prepared import Expecting, Split
from crest.devices.distributed import ALONE, Group
from crest.devices.out_of_memory import Halving
from crest.devices.precision import Precision
from crest.devices.transfer import on_device
from crest.inference.forward import ForwardPass, evaluating
from crest.models.head import classes_of, features_and_logits, last_layer

# Examples per forward pass: a GPU wants many, a CPU as many as stay in its caches. On two cores
# resnet20 scores 4,400 examples a second in batches of 250 and at 1,600 in batches of 2,500.
BATCH_SIZES = {"cpu": 250}
BATCH_SIZE = 2000
# The same of examples that differ in length, which the longest of a batch fills up: sorted, a
# batch holds few lengths. On one core a 6-layer encoder scores 1.6 times as many sentence pairs
# sorted as unsorted, and at 1.7 times as many in batches of 32 as of 250 (benchmarks.speed.text).
RAGGED_BATCH_SIZES = {"cpu": 32}
RAGGED_BATCH_SIZE = 256

WHAT = "scoring examples"  # in messages


@dataclass(frozen=True)
class Evaluator:
    """Evaluates a model on examples in eval mode, and changes nothing of it.

    ``examples`` is the split that indices are of; ``group`` the processes that share the work and
    all have the result. ``label_smoothing`` is that of the loss whose derivatives are wanted;
    losses of single examples are without.
    """

    model: nn.Module
    examples: Split
    precision: Precision
    group: Group = ALONE
    label_smoothing: float = 0.0

    @property
    def alone(self) -> "Evaluator":
        """The same, sharing no work."""
        return replace(self, group=ALONE)

    def score(
        self,
        indices: Tensor,
        batch_size: int | Halving | None = None,
        features: bool = True,
        draws: Tensor | None = None,
    ) -> ForwardPass:
        """Score examples by one forward pass, without augmentation.

        Examples that differ in length go through the model in the order of their lengths, the
        longest first; the result is in the order of ``indices``.

        Parameters
        ----------
        indices
            int64, k, at least one, on the CPU.
        batch_size
            Examples per forward pass; None for what suits the device. Where that is too many for
            the GPU's memory it is halved: of a number or None for as long as ``precision`` is kept.
        features
            Whether the last layer's inputs are wanted; without, they may be empty.
        draws
            Of the views that are scored instead, a row an example
            (:meth:`crest.data.prepared.Split.draw_views`).

        Raises
        ------
        DeviceMemoryError
            If the GPU's memory is too small for a single example.
        """
        model, split, precision, group = self.model, self.examples, self.precision, self.group
        order = _by_length(split, indices)
        places = torch.arange(len(indices)) if order is None else order

        def outputs_of(batch: Tensor) -> tuple[Tensor, Tensor]:
            some = indices[batch]
            inputs = split.inputs(some) if draws is None else split.views(some, draws[batch])
            some_features, some_logits = features_and_logits(model, inputs)
            return some_features.float(), some_logits.float()

        halving = _halving(split, precision, batch_size)
        size = _size_of_share(halving.size, precision.device, len(indices), group)
        # Alone all at once, which is the same batches one after another.
        batches = (places,) if group.alone else places.split(size)
        mine = group.share(len(batches))
        if isinstance(split, Expecting):
            order_of_mine = torch.cat([batches[number] for number in mine] or [places[:0]])
            wanted = None if draws is None else draws[order_of_mine]
            split.expect(indices[order_of_mine], wanted)
        # Not in inference mode: what a model keeps for later passes, training then goes through.
        with torch.no_grad(), evaluating(model), precision.autocast():
            parts = {number: halving.over(batches[number], outputs_of) for number in mine}
        scored = {number: _together(part) for number, part in parts.items()}
        if group.alone:
            all_features, all_logits = scored[0]
        else:
            all_features, all_logits = _gathered(model, scored, len(indices), size, group, features)
        if order is not None:
            place = on_device(order.argsort(), all_logits.device)
            all_features, all_logits = all_features[place], all_logits[place]
        labels = on_device(split.labels[indices], all_logits.device)
        return ForwardPass(indices, labels, all_logits, all_features)

    def embed(self, indices: Tensor) -> Tensor:
        """Return what the model makes of k examples before its last layer, float32 k×d.

        Of texts :meth:`crest.models.text.TextClassifier.sentence_embeddings`, of others the last
        layer's inputs; views and processes as in :meth:`score`, without sharing.

        Raises
        ------
        DeviceMemoryError
            If the GPU's memory is too small for a single example.
        """
        model, split = self.model, self.examples
        of_sentences = getattr(model, "sentence_embeddings", None)
        if of_sentences is None:
            return self.alone.score(indices).features
        order = _by_length(split, indices)
        places = torch.arange(len(indices)) if order is None else order
        halving = _halving(split, self.precision, None)
        with torch.no_grad(), evaluating(model), self.precision.autocast():
            parts = halving.over(
                places, lambda batch: of_sentences(split.inputs(indices[batch])).float()
            )
        found = torch.cat(parts)
        return found[on_device(places.argsort(), found.device)]


def _gathered(
    model: nn.Module,
    scored: dict[int, tuple[Tensor, Tensor]],
    count: int,
    size: int,
    group: Group,
    features: bool,
) -> tuple[Tensor, Tensor]:
    """Return features and logits of all batches, of which this process has seen some."""
    device = next(model.parameters()).device
    widths = (last_layer(model).in_features if features else 0, classes_of(model))
    both = torch.zeros(count, sum(widths), device=device)
    for number, columns in scored.items():
        rows = both[number * size : (number + 1) * size]
        rows.copy_(torch.cat(columns if features else columns[1:], 1))
    all_features, all_logits = group.sum(both).split(widths, 1)
    return all_features.contiguous(), all_logits.contiguous()


def _by_length(split: Split, indices: Tensor) -> Tensor | None:
    """Return the order from the longest example to the shortest; None where all have one length."""
    if split.lengths is None:
        return None
    return split.lengths[indices].argsort(descending=True, stable=True)


def _together(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    if len(parts) == 1:
        return parts[0]
    features, logits = zip(*parts, strict=True)
    if len({part.shape[1] for part in features}) > 1:  # the model has no last layer after all
        features = tuple(part[:, :0] for part in features)
    return torch.cat(features), torch.cat(logits)


def _halving(split: Split, precision: Precision, batch_size: int | Halving | None) -> Halving:
    if isinstance(batch_size, Halving):
        return batch_size
    return precision.halving(batch_size or _batch_size(split, precision.device), WHAT)


def _batch_size(split: Split, device: torch.device) -> int:
    if split.lengths is None:
        return BATCH_SIZES.get(device.type, BATCH_SIZE)
    return RAGGED_BATCH_SIZES.get(device.type, RAGGED_BATCH_SIZE)


def _size_of_share(size: int, device: torch.device, count: int, group: Group) -> int:
    """Return the size of the batches that processes share.

    On the CPU, where results are to be the same for any number of processes, it does not depend on
    it; a GPU's batches are so large that they are cut where there would be none for some.
    """
    return size if device.type == "cpu" else min(size, -(-count // group.size))
