"""How each example fared: how often it was right, was forgotten, its losses and errors.

The definitions are those of :mod:`crest.analysis.difficulty`.
"""

from collections.abc import Mapping

import polars as pl
import torch
from torch import Tensor

from crest.artifacts import NEVER
from crest.devices.transfer import on_device

EARLY = 0.1  # share of a run's steps whose visits count for EL2N
FIRST_VISITS = 4  # of an example, at which its probabilities count
COUNTED_AT_ONCE = 2**12  # sightings
_UNLEARNED = torch.iinfo(torch.int32).max


class ExampleTracker:
    """Per-example counts of one pass over the data, kept up to date batch by batch.

    Parameters
    ----------
    count
        Number of examples, n.
    device
        Where the counts live; batches are moved there. Nothing is synchronised with the host.
    errors
        Whether errors are recorded too, for EL2N, and probabilities, for wrong labels.
    votes
        Whether the classes that examples are taken for are; None: as errors.

    Notes
    -----
    k sightings cost O(k log k), whatever n is: they are counted some thousand at once. An index may
    repeat within a batch: each repetition is a sighting of its own, in the order of the batch,
    exactly as if every entry had been recorded alone. The result is deterministic on every device.
    An example takes 25 bytes, 24 more where errors are recorded, and 8 more with votes.
    """

    def __init__(
        self,
        count: int,
        device: torch.device | str = "cpu",
        errors: bool = True,
        votes: bool | None = None,
    ) -> None:
        def zeros(kind: torch.dtype) -> Tensor:
            return torch.zeros(count, dtype=kind, device=device)

        self._counts = {
            "seen": zeros(torch.int32),
            "correct": zeros(torch.int32),
            "forgotten": zeros(torch.int32),
            "first_learned": zeros(torch.int32).fill_(_UNLEARNED),
            "loss_sum": zeros(torch.float64),
            "was_right": zeros(torch.bool),
        }
        if errors:
            self._counts |= {
                "early": zeros(torch.int32),
                "error_sum": zeros(torch.float64),
                "visits": zeros(torch.int32),
                "label_probability": zeros(torch.float32),
                "control_probability": zeros(torch.float32),
            }
        if errors if votes is None else votes:
            self._counts |= {
                "taken_for": zeros(torch.int32).fill_(NEVER),
                "lead": zeros(torch.int32),
            }
        self._waiting: list[tuple[Tensor, Tensor, Tensor, int | Tensor]] = []
        self._waiting_count = 0

    def record(self, indices: Tensor, correct: Tensor, losses: Tensor, step: int | Tensor) -> None:
        """Count one sighting for each entry of a batch.

        The tensors are kept for a while; they must not be written to.

        Parameters
        ----------
        indices
            int64, shape k; rows of the training set.
        correct
            bool, shape k; whether each was classified rightly.
        losses
            floating, shape k.
        step
            Training step of the sightings, or int32, shape k, of each; steps never decrease.
        """
        self._waiting.append((indices, correct, losses, step))
        self._waiting_count += len(indices)
        if self._waiting_count >= COUNTED_AT_ONCE:
            self._count_waiting()

    def _count_waiting(self) -> None:
        """Count the sightings that wait, as if each came alone."""
        if not self._waiting_count:
            return
        waiting, self._waiting, self._waiting_count = self._waiting, [], 0
        counts = self._counts
        device = counts["seen"].device
        columns = zip(*((*batch[:3], _of_each(batch)) for batch in waiting), strict=True)
        indices, correct, losses, steps = (
            torch.cat([on_device(part.detach(), device) for part in column]) for column in columns
        )
        indices, order = indices.sort(stable=True)
        right, loss, step = correct[order], losses[order].double(), steps[order]

        previous = torch.where(_repeats(indices), right.roll(1), counts["was_right"][indices])
        counts["seen"].index_add_(0, indices, torch.ones_like(indices, dtype=torch.int32))
        counts["correct"].index_add_(0, indices, right.int())
        counts["forgotten"].index_add_(0, indices, (previous & ~right).int())
        learned = torch.where(right, step, _UNLEARNED)
        counts["first_learned"].scatter_reduce_(0, indices, learned, "amin")
        _add(counts["loss_sum"], indices, loss)
        # Every repetition writes the same value, the last one's, so the order of writing is moot.
        last = torch.searchsorted(indices, indices, right=True) - 1
        counts["was_right"][indices] = right[last]

    def record_errors(self, indices: Tensor, errors: Tensor) -> None:
        """Count the errors of sightings for EL2N.

        Parameters
        ----------
        indices
            int64, shape k; in the order of the visits.
        errors
            floating, shape k: of :func:`error_norms`.

        Raises
        ------
        ValueError
            If the tracker is not one of errors.
        """
        if "early" not in self._counts:
            raise ValueError("this tracker records no errors")
        early, total = self._counts["early"], self._counts["error_sum"]
        indices, order = on_device(indices.detach(), early.device).sort(stable=True)
        error = errors.detach().to(early.device, torch.float64)[order]
        early.index_add_(0, indices, torch.ones_like(indices, dtype=torch.int32))
        _add(total, indices, error)

    def record_probabilities(self, indices: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count what the first visits of examples gave to their labels and to their controls.

        Parameters
        ----------
        indices
            int64, shape k; in the order of the visits. Later visits are passed over.
        logits
            floating, shape k×C, on any device.
        labels
            int64, shape k.

        Raises
        ------
        ValueError
            If the tracker is not one of errors.
        """
        if "visits" not in self._counts:
            raise ValueError("this tracker records no probabilities")
        visits = self._counts["visits"]
        indices = on_device(indices.detach(), visits.device)
        places = (visits[indices] < FIRST_VISITS).nonzero().flatten()
        indices, order = indices[places].sort(stable=True)
        first = visits[indices] + _earlier(indices) < FIRST_VISITS
        indices, places = indices[first], places[order][first]
        if not len(indices):
            return
        there = places.to(logits.device)
        own = labels.to(logits.device)[there]
        others = control_classes(indices.to(logits.device), own, logits.shape[1])
        found = logits.detach()[there].float().softmax(1).gather(1, torch.stack([own, others], 1))
        found = found.to(visits.device)
        visits.index_add_(0, indices, torch.ones_like(indices, dtype=torch.int32))
        _add(self._counts["label_probability"], indices, found[:, 0])
        _add(self._counts["control_probability"], indices, found[:, 1])

    def record_wrong(self, indices: Tensor, classes: Tensor) -> None:
        """Count a vote for each wrong classification of a stretch of training.

        Parameters
        ----------
        indices
            int64, shape k; in the order of the visits.
        classes
            Integer, shape k: what each was classified as.

        Raises
        ------
        ValueError
            If the tracker is not one of votes.
        """
        if "taken_for" not in self._counts:
            raise ValueError("this tracker records no votes")
        taken, lead = self._counts["taken_for"], self._counts["lead"]
        indices, order = on_device(indices.detach(), taken.device).sort(stable=True)
        classes = classes.detach().to(taken.device, torch.int32)[order]
        earlier = _earlier(indices)
        turns = int(earlier.max()) + 1 if len(indices) else 0
        for turn in range(turns):  # those of one example one after the other
            now = earlier == turn
            index, named = indices[now], classes[now]
            candidate, ahead = taken[index], lead[index]
            agrees, beaten = named == candidate, ahead <= 1
            taken[index] = torch.where(agrees | ~beaten, candidate, named)
            lead[index] = torch.where(agrees, ahead + 1, torch.where(beaten, 1, ahead - 1))

    def frame(
        self, labels: Tensor, pass_name: str, excluded_at: Tensor | None = None
    ) -> pl.DataFrame:
        """Return the counts as rows of the 'examples' table, one for each example in order.

        Parameters
        ----------
        labels
            int64, shape n.
        pass_name
            ``"training"`` or ``"selection"``.
        excluded_at
            Integer, shape n; step at which an example left V, -1 for never. None: none did.
        """
        counts = self.state_dict()
        first = counts["first_learned"]
        # Polars takes arrays without copying them.
        kept = {name: counts[name].clone() for name in ("seen", "correct", "forgotten", "loss_sum")}
        if excluded_at is None:
            excluded_at = torch.full_like(first, NEVER)
        return pl.DataFrame(
            {
                "pass": pl.repeat(pass_name, len(first), eager=True),
                "index": pl.int_range(len(first), eager=True),
                "label": labels.cpu().numpy(),
                "seen": kept["seen"].numpy(),
                "correct": kept["correct"].numpy(),
                "forgotten": kept["forgotten"].numpy(),
                "first_learned": torch.where(first == _UNLEARNED, NEVER, first).numpy(),
                "loss_sum": kept["loss_sum"].numpy(),
                "el2n": self._el2n(counts),
                "taken_for": self._taken_for(counts),
                "label_probability": self._first_mean(counts, "label_probability"),
                "control_probability": self._first_mean(counts, "control_probability"),
                "excluded_at": excluded_at.cpu().to(torch.int32, copy=True).numpy(),
            }
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything the tracker knows, on the CPU; no copy of what is there already."""
        self._count_waiting()
        return {name: values.cpu() for name, values in self._counts.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`state_dict` returned.

        Raises
        ------
        ValueError
            If it lacks a count, or is of another number of examples.
        """
        for name, values in self._counts.items():
            if name not in state or state[name].shape != values.shape:
                raise ValueError(f"tracker state: '{name}' must have shape {tuple(values.shape)}")
        self._waiting, self._waiting_count = [], 0
        for name, values in self._counts.items():
            values.copy_(state[name])

    def _taken_for(self, counts: Mapping[str, Tensor]) -> pl.Series:
        length = len(counts["seen"])
        if "taken_for" not in counts:
            return pl.repeat(None, length, dtype=pl.Int32, eager=True)
        return pl.Series(counts["taken_for"].clone().numpy())

    def _el2n(self, counts: Mapping[str, Tensor]) -> pl.Series:
        if "early" not in counts:
            length = len(counts["seen"])
            return pl.repeat(None, length, dtype=pl.Float64, eager=True)
        return _means(counts["error_sum"], counts["early"])

    def _first_mean(self, counts: Mapping[str, Tensor], name: str) -> pl.Series:
        if name not in counts:
            length = len(counts["seen"])
            return pl.repeat(None, length, dtype=pl.Float64, eager=True)
        return _means(counts[name].double(), counts["visits"])


def control_classes(indices: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return another class than the label for each example, always the same one; k int64.

    Drawn evenly over the other classes by a hash of the example's row and its label, so that
    nothing has to be kept. Of a single class there is no other, and it is the label's own.
    """
    if classes < 2:
        return labels
    mixed = (indices + labels * 40503 + 1) % 2**32
    for _ in range(2):  # a common hash of 32 bits, whose products fit into 64
        mixed = (mixed ^ (mixed >> 16)) * 0x45D9F3B % 2**32
    return (labels + 1 + (mixed ^ (mixed >> 16)) % (classes - 1)) % classes


def error_norms(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """‖softmax(z) − onehot(y)‖ of each example: logits float k×C, labels int64 k, norms k.

    With label smoothing ε: of softmax(z) − (1 − ε) onehot(y) − ε/C.
    """
    errors = logits.softmax(1)
    errors[torch.arange(len(labels), device=labels.device), labels] -= 1.0 - smoothing
    if smoothing:
        errors -= smoothing / logits.shape[1]
    return errors.norm(dim=1)


def _means(sums: Tensor, counts: Tensor) -> pl.Series:
    """Return sums over counts, null where nothing was counted."""
    table = pl.DataFrame({"sum": sums.numpy(), "count": counts.numpy()})
    return table.select(pl.when(pl.col("count") > 0).then(pl.col("sum") / pl.col("count")))["sum"]


def _of_each(batch: tuple[Tensor, Tensor, Tensor, int | Tensor]) -> Tensor:
    """Return the step of each sighting of a batch, int32."""
    indices, _, _, step = batch
    if isinstance(step, Tensor):
        return step
    return torch.full((len(indices),), step, dtype=torch.int32)


def _repeats(ordered: Tensor) -> Tensor:
    """Whether each entry of a sorted tensor equals the one before it."""
    return torch.cat([torch.zeros_like(ordered[:1], dtype=torch.bool), ordered[1:] == ordered[:-1]])


def _earlier(ordered: Tensor) -> Tensor:
    """Return how often each entry of a sorted tensor stands before itself."""
    places = torch.arange(len(ordered), device=ordered.device)
    return places - torch.searchsorted(ordered, ordered)


def _add(target: Tensor, indices: Tensor, values: Tensor) -> None:
    """Add in place in a fixed order; which operation has one depends on the device."""
    if target.is_cuda:
        target.index_put_((indices,), values, accumulate=True)
    else:
        target.index_add_(0, indices, values)
