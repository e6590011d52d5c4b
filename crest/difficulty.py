"""How hard each training example is: forgetting scores, and what a method did with hard examples.

An example is forgotten when it is classified wrongly although it was classified rightly the last
time it was seen (Toneva et al., *An Empirical Study of Example Forgetting during Deep Neural
Network Learning*, ICLR 2019, arXiv 1812.05159). Its forgetting score is how often that happened.

EL2N is the norm of a prediction's error, ‖softmax(z) − onehot(y)‖, early in training (Paul, Ganguli
and Dziugaite, *Deep Learning on a Data Diet*, NeurIPS 2021, arXiv 2107.07075). Here it is the mean
over the times an example was trained on within the first tenth of the run's steps
(:data:`EARLY`), and unknown for an example that was not. They average over ten runs; this is one.

The class that an example is taken for is the one that most of its wrong classifications name, by
the vote of Boyer and Moore, which keeps one candidate and its lead (*MJRTY*, 1991); of two that are
level the later. Late in training a wrong label is learned by heart, so that what the trained model
says of it tells less.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

NEVER = -1
MOST_MISLABELLED = 48  # examples shown whose labels are likeliest wrong
EARLY = 0.1  # share of a run's steps whose sightings count for EL2N
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
        Whether errors are recorded too, for EL2N, and the classes that examples are taken for.

    Notes
    -----
    k sightings cost O(k log k), whatever n is: they are counted some thousand at once. An index may
    repeat within a batch: each repetition is a sighting of its own, in the order of the batch,
    exactly as if every entry had been recorded alone. The result is deterministic on every device.
    An example takes 25 bytes, and 20 more where errors are recorded.
    """

    def __init__(self, count: int, device: torch.device | str = "cpu", errors: bool = True) -> None:
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
            torch.cat([part.detach().to(device) for part in column]) for column in columns
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
            int64, shape k; in the order of the sightings.
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
        indices, order = indices.detach().to(early.device).sort(stable=True)
        error = errors.detach().to(early.device, torch.float64)[order]
        early.index_add_(0, indices, torch.ones_like(indices, dtype=torch.int32))
        _add(total, indices, error)

    def record_wrong(self, indices: Tensor, classes: Tensor) -> None:
        """Count a vote for each wrong classification of a stretch of training.

        Parameters
        ----------
        indices
            int64, shape k; in the order of the sightings.
        classes
            Integer, shape k: what each was classified as.
        """
        taken, lead = self._counts["taken_for"], self._counts["lead"]
        indices, order = indices.detach().to(taken.device).sort(stable=True)
        classes = classes.detach().to(taken.device, torch.int32)[order]
        places = torch.arange(len(indices), device=taken.device)
        earlier = places - torch.searchsorted(indices, indices)
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


def error_norms(logits: Tensor, labels: Tensor) -> Tensor:
    """‖softmax(z) − onehot(y)‖ of each example: logits float k×C, labels int64 k, norms k."""
    errors = logits.softmax(1)
    errors[torch.arange(len(labels), device=labels.device), labels] -= 1
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


def _add(target: Tensor, indices: Tensor, values: Tensor) -> None:
    """Add in place in a fixed order; which operation has one depends on the device."""
    if target.is_cuda:
        target.index_put_((indices,), values, accumulate=True)
    else:
        target.index_add_(0, indices, values)


def difficulty_table(
    scoring: pl.DataFrame,
    coresets: pl.DataFrame | None = None,
    examples: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return one row for each training example: how hard it was and what the method did with it.

    Parameters
    ----------
    scoring
        'examples' table of the run whose training pass gives the scores.
    coresets
        'coresets' table of the selecting run. None: nothing was selected, all counts are 0.
    examples
        'examples' table of the selecting run; an example may be marked as excluded in either
        pass. None: nothing was trained on or excluded.

    Returns
    -------
    pl.DataFrame
        The 'difficulty' table, in the order of ``scoring``. An example that never was right has
        been forgotten 0 times by the definition; ``first_learned`` of -1 tells it apart.
    """
    table = training_pass(scoring).select(
        "index",
        "label",
        "forgotten",
        "seen",
        "correct",
        mean_loss=pl.when(pl.col("seen") > 0).then(pl.col("loss_sum") / pl.col("seen")),
        el2n="el2n",
        taken_for="taken_for",
        first_learned="first_learned",
    )
    return (
        table.join(_selected(coresets), on="index", how="left", maintain_order="left")
        .join(_trained(examples), on="index", how="left", maintain_order="left")
        .with_columns(
            pl.col("selected", "trained").fill_null(0), pl.col("excluded_at").fill_null(NEVER)
        )
        .select(*table.columns, "selected", "trained", "excluded_at")
    )


def training_pass(examples: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of an 'examples' table that count examples as they were trained on."""
    return examples.filter(pl.col("pass") == "training")


def scores(difficulty: pl.DataFrame) -> pl.DataFrame:
    """Return ``index`` and ``score``, the times forgotten; null where the run never saw it right.

    What was never right could not be forgotten: 0 would count the hardest among the easiest.
    """
    learned = pl.col("first_learned") != NEVER
    return difficulty.select(
        "index", score=pl.when(learned).then(pl.col("forgotten").cast(pl.Float64))
    )


def score_by_window(
    difficulty: pl.DataFrame, steps: pl.DataFrame, coresets: pl.DataFrame, windows: int = 50
) -> pl.DataFrame:
    """Mean forgetting score of the examples that a selecting method trained on, over training.

    Parameters
    ----------
    difficulty
        'difficulty' table.
    steps, coresets
        Tables of the selecting run; a step trains on one mini-batch of ``coresets``.
    windows
        Most windows of steps to average over.

    Returns
    -------
    pl.DataFrame
        ``step`` (steps taken at the end of the window) and ``score``, in order.
    """
    minibatch = ["region", "minibatch"]
    means = (
        coresets.join(scores(difficulty), on="index", how="left")
        .group_by(minibatch)
        .agg(pl.col("score").mean())
    )
    return (
        steps.join(means, on=minibatch, how="left")
        .group_by(window=window_of(pl.int_range(pl.len()), pl.len(), windows))
        .agg(step=pl.col("step").max() + 1, score=pl.col("score").mean())
        .sort("step")
        .select("step", "score")
    )


def overall_score(difficulty: pl.DataFrame, examples: pl.DataFrame) -> float | None:
    """Mean forgetting score over all sightings of a run: each example as often as trained on.

    ``examples`` is the run's 'examples' table. None if nothing it trained on has a score.
    """
    sightings = (
        training_pass(examples)
        .select("index", times="seen")
        .join(scores(difficulty), on="index", how="left")
        .filter(pl.col("score").is_not_null(), pl.col("times") > 0)
    )
    if sightings.is_empty():
        return None
    times = pl.col("times").cast(pl.Float64)
    return float(sightings.select((times * pl.col("score")).sum() / times.sum()).item())


def selected_by_score(difficulty: pl.DataFrame, groups: int = 20) -> pl.DataFrame:
    """How often examples were selected, by how often they were forgotten.

    Parameters
    ----------
    difficulty
        'difficulty' table.
    groups
        Most groups of scores; beyond, neighbouring scores share a group of equal width.

    Returns
    -------
    pl.DataFrame
        ``score`` (lowest of the group), ``group`` (its name), ``examples``, and the means of
        ``selected`` and ``trained`` and the share ``excluded``, by rising score. Examples that
        never were right, whose score says nothing, come last as ``never learned`` with a null
        score; examples that the scoring run never saw are left out.
    """
    seen = difficulty.filter(pl.col("seen") > 0)
    learned = pl.col("first_learned") != NEVER
    highest = seen.filter(learned).select(pl.col("forgotten").max().fill_null(0)).item()
    width = -(-(highest + 1) // groups)
    return (
        seen.group_by(score=pl.when(learned).then(pl.col("forgotten") // width * width))
        .agg(
            examples=pl.len(),
            selected=pl.col("selected").mean(),
            trained=pl.col("trained").mean(),
            excluded=(pl.col("excluded_at") != NEVER).mean(),
        )
        .sort("score", nulls_last=True)
        .select("score", _group_name(width), "examples", "selected", "trained", "excluded")
    )


def class_balance(
    coresets: pl.DataFrame, regions: pl.DataFrame, labels: pl.DataFrame, windows: int = 50
) -> pl.DataFrame:
    """Share of each class among the selected examples, against its share of the data.

    Parameters
    ----------
    coresets, regions
        Tables of the selecting run.
    labels
        A column ``label``, one row for each training example.
    windows
        Most windows of consecutive regions.

    Returns
    -------
    pl.DataFrame
        One row for each window and class: ``region`` and ``step`` (where the window starts),
        ``label``, ``share`` of the picks, ``weighted_share`` of their weights, ``data_share``.
    """
    window = window_of(pl.int_range(pl.len()), pl.len(), windows)
    windowed = regions.sort("region").select("region", step="start_step", window=window)
    starts = windowed.group_by("window").agg(pl.col("region", "step").min())
    shares = labels.group_by("label").agg(data_share=pl.len() / len(labels))
    picks = (
        coresets.join(windowed.select("region", "window"), on="region")
        .group_by("window", "label")
        .agg(share=pl.len().cast(pl.Float64), weighted_share=pl.col("weight").sum())
    )
    per_window = pl.col("share", "weighted_share")
    return (
        starts.join(shares, how="cross")
        .join(picks, on=["window", "label"], how="left")
        .with_columns(per_window.cast(pl.Float64).fill_null(0.0))
        .with_columns(per_window / per_window.sum().over("window"))
        .sort("region", "label")
        .select("region", "step", "label", "share", "weighted_share", "data_share")
    )


def window_of(position: pl.Expr, count: pl.Expr, windows: int) -> pl.Expr:
    """Return the window that each of ``count`` positions falls in, all of nearly one size."""
    return position.cast(pl.Int64) * pl.min_horizontal(count, windows) // count


def mislabelled(difficulty: pl.DataFrame) -> pl.DataFrame:
    """Rank the examples that were seen by how likely their label is wrong: by falling mean loss.

    Networks learn wrong labels last (Arpit et al., *A Closer Look at Memorization in Deep
    Networks*, ICML 2017), so that their losses are the highest over training as a whole. Nothing
    is left out: where a model has learned little, or wrong labels by heart, every threshold hides
    them. Of the scores at hand the mean loss ranks planted wrong labels best in short runs and long
    ones alike (benchmarks/mislabelled.py). Rare classes are learned late and rank high too.
    """
    return difficulty.filter(pl.col("seen") > 0).sort(-pl.col("mean_loss"), "index")


def hardest(difficulty: pl.DataFrame) -> pl.DataFrame:
    """Sort seen examples, hardest first: most often forgotten, then highest mean loss.

    What was never right was never forgotten: :func:`mislabelled` ranks it.
    """
    return difficulty.filter(pl.col("seen") > 0).sort(
        -pl.col("forgotten"), -pl.col("mean_loss"), "index"
    )


@dataclass(frozen=True)
class Group:
    """Examples that something happened to: ``shown``, rows of 'difficulty', are some of ``count``.

    ``name`` is hardest, mislabelled, most_selected, never_selected or excluded.
    """

    name: str
    count: int
    shown: pl.DataFrame


def notable(
    difficulty: pl.DataFrame, most: int = 24, most_mislabelled: int = MOST_MISLABELLED
) -> list[Group]:
    """Choose the examples worth looking at.

    Parameters
    ----------
    difficulty
        'difficulty' table.
    most
        Most examples shown of a group; of mislabelled ``most_mislabelled``.

    Returns
    -------
    list[Group]
        hardest and mislabelled: see the functions; most_selected; never_selected: spread evenly
        over the data; excluded: first to be left out as learned. A group of none is left out, and
        where nothing was selected so are the last three.
    """
    groups = [
        _head("hardest", hardest(difficulty), most),
        _head("mislabelled", mislabelled(difficulty), most_mislabelled),
    ]
    selected = difficulty.filter(pl.col("selected") > 0).sort(-pl.col("selected"), "index")
    if not selected.is_empty():
        left = difficulty.filter(pl.col("excluded_at") != NEVER).sort("excluded_at", "index")
        groups += [
            _head("most_selected", selected, most),
            _spread("never_selected", difficulty.filter(pl.col("selected") == 0), most),
            _head("excluded", left, most),
        ]
    return [group for group in groups if group.count]


def _head(name: str, rows: pl.DataFrame, most: int) -> Group:
    return Group(name, len(rows), rows.head(most))


def _spread(name: str, rows: pl.DataFrame, most: int) -> Group:
    shown = min(most, len(rows))
    return Group(name, len(rows), rows[[place * len(rows) // shown for place in range(shown)]])


def _selected(coresets: pl.DataFrame | None) -> pl.DataFrame:
    if coresets is None:
        return pl.DataFrame(schema={"index": pl.Int64, "selected": pl.Int32})
    return coresets.group_by("index").agg(selected=pl.len().cast(pl.Int32))


def _trained(examples: pl.DataFrame | None) -> pl.DataFrame:
    if examples is None:
        kinds = {"index": pl.Int64, "trained": pl.Int32, "excluded_at": pl.Int32}
        return pl.DataFrame(schema=kinds)
    trained = pl.col("seen").filter(pl.col("pass") == "training").sum()
    return examples.group_by("index").agg(pl.col("excluded_at").max(), trained=trained)


def _group_name(width: int) -> pl.Expr:
    low = pl.col("score")
    name = low.cast(pl.String)
    if width > 1:
        name = name + "–" + (low + width - 1).cast(pl.String)
    return name.fill_null("never learned").alias("group")
