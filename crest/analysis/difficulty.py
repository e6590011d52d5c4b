"""How hard each training example is: forgetting scores, and what a method did with hard examples.

An example is forgotten when it is classified wrongly although it was classified rightly the last
time it was seen (Toneva et al., *An Empirical Study of Example Forgetting during Deep Neural
Network Learning*, ICLR 2019, arXiv 1812.05159). Its forgetting score is how often that happened.

EL2N is the norm of a prediction's error, ‖softmax(z) − onehot(y)‖, early in training (Paul, Ganguli
and Dziugaite, *Deep Learning on a Data Diet*, NeurIPS 2021, arXiv 2107.07075). Here it is the mean
over the times an example was trained on within the first tenth of the run's steps
(:data:`crest.samplers.example_tracker.EARLY`), and unknown for an example that was not. They
average over ten runs; this is one.

The class that an example is taken for is the one that most of its wrong classifications name, by
the vote of Boyer and Moore, which keeps one candidate and its lead (*MJRTY*, 1991); of two that are
level the later. Late in training a wrong label is learned by heart, so that what the trained model
says of it tells less.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from crest.analysis.wrong_labels import wrong_probabilities, wrong_share
from crest.artifacts import NEVER

MOST_MISLABELLED = 48  # examples listed whose labels are likeliest wrong
LEAST_PASSES = 1.95  # two, of whole mini-batches, that the share of wrong labels is estimated by


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
    scored = training_pass(scoring)
    mean_loss = pl.when(pl.col("seen") > 0).then(pl.col("loss_sum") / pl.col("seen"))
    losses = scored.select(mean_loss).to_series()
    table = scored.select(
        "index",
        "label",
        "forgotten",
        "seen",
        "correct",
        mean_loss=losses,
        el2n="el2n",
        taken_for="taken_for",
        wrong_label=wrong_probabilities(losses, _wrong_share(scored)),
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


def _wrong_share(scored: pl.DataFrame) -> float | None:
    """Return the share of wrong labels, None where it is not known: of less than two passes too.

    A model that has learned next to nothing takes most labels for wrong.
    """
    passes = scored["seen"].sum() / max(1, len(scored))
    return wrong_share(scored) if passes >= LEAST_PASSES else None


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
    """Mean forgetting score over all visits of a run: each example as often as trained on.

    ``examples`` is the run's 'examples' table. None if nothing it trained on has a score.
    """
    times_by_score = (
        training_pass(examples)
        .select("index", times="seen")
        .join(scores(difficulty), on="index", how="left")
        .filter(pl.col("score").is_not_null(), pl.col("times") > 0)
    )
    if times_by_score.is_empty():
        return None
    times = pl.col("times").cast(pl.Float64)
    return float(times_by_score.select((times * pl.col("score")).sum() / times.sum()).item())


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
    them. Of these scores the mean loss ranks planted wrong labels best in short and in long
    runs (benchmarks/quality/mislabelled.py). Rare classes are learned late and rank high too.
    """
    return difficulty.filter(pl.col("seen") > 0).sort(-pl.col("mean_loss"), "index")


def hardest(difficulty: pl.DataFrame) -> pl.DataFrame:
    """Sort seen examples, hardest first: most often forgotten, then highest mean loss.

    What was never right was never forgotten: :func:`mislabelled` ranks it. None are listed where
    nobody knows what was forgotten.
    """
    return difficulty.filter(pl.col("seen") > 0, pl.col("forgotten").is_not_null()).sort(
        -pl.col("forgotten"), -pl.col("mean_loss"), "index"
    )


def seen_by_loss(difficulty: pl.DataFrame, groups: int = 20) -> pl.DataFrame:
    """How often examples were trained on, by their mean loss.

    Parameters
    ----------
    difficulty
        'difficulty' table.
    groups
        Most groups of examples, all of nearly one size.

    Returns
    -------
    pl.DataFrame
        ``mean_loss`` and ``seen``, means of a group, by rising loss.
    """
    seen = difficulty.filter(pl.col("seen") > 0).sort("mean_loss", "index")
    group = window_of(pl.int_range(pl.len()), pl.len(), groups)
    return (
        seen.group_by(group=group)
        .agg(pl.col("mean_loss", "seen").mean())
        .sort("group")
        .select("mean_loss", "seen")
    )


def times_forgotten(difficulty: pl.DataFrame, most: int = 10) -> pl.DataFrame:
    """How many examples were forgotten how often.

    Returns
    -------
    pl.DataFrame
        ``group``, the times as a name, and ``examples``: from 0 to ``most`` or more, and those that
        never were right. No rows where nobody knows.
    """
    known = difficulty.filter(pl.col("seen") > 0, pl.col("forgotten").is_not_null())
    if known.is_empty():
        return pl.DataFrame(schema={"group": pl.String, "examples": pl.Int64})
    learned = known.filter(pl.col("first_learned") != NEVER)
    times = learned["forgotten"].clip(0, most).value_counts(name="examples")
    found = dict(times.select("forgotten", "examples").rows())
    names = [str(number) for number in range(max(found, default=-1) + 1)]
    rows = [(name, found.get(number, 0)) for number, name in enumerate(names)]
    if most in found:
        rows[most] = (f"≥ {most}", found[most])
    rows.append(("never learned", len(known) - len(learned)))
    return pl.DataFrame(rows, schema={"group": pl.String, "examples": pl.Int64}, orient="row")


@dataclass(frozen=True)
class Group:
    """Examples that something happened to: ``rows``, of 'difficulty', are some of ``count``.

    ``name`` is hardest, mislabelled, most_selected, never_selected or excluded. Where the line
    between those listed and the others falls among ``tied`` equal ones, chance decided for
    ``drawn`` of them; else both are 0.
    """

    name: str
    count: int
    rows: pl.DataFrame
    drawn: int = 0
    tied: int = 0


def notable(
    difficulty: pl.DataFrame, most: int = 24, most_mislabelled: int = MOST_MISLABELLED
) -> list[Group]:
    """Choose the examples worth inspecting.

    Parameters
    ----------
    difficulty
        'difficulty' table.
    most
        Most examples listed of a group; of mislabelled ``most_mislabelled``.

    Returns
    -------
    list[Group]
        hardest and mislabelled: see the functions; most_selected; never_selected: spread evenly
        over the data; excluded: first to be left out as learned. Of equal ones chance, the same
        every time, decides which are listed. A group of none is left out, and where nothing was
        selected so are the last three.
    """
    groups = [
        _head("hardest", hardest(difficulty), most),
        _head("mislabelled", mislabelled(difficulty), most_mislabelled),
    ]
    selected = difficulty.filter(pl.col("selected") > 0)
    if not selected.is_empty():
        left = difficulty.filter(pl.col("excluded_at") != NEVER)
        groups += [
            _first("most_selected", selected, -pl.col("selected"), most),
            _spread("never_selected", difficulty.filter(pl.col("selected") == 0), most),
            _first("excluded", left, pl.col("excluded_at"), most),
        ]
    return [group for group in groups if group.count]


def _head(name: str, rows: pl.DataFrame, most: int) -> Group:
    return Group(name, len(rows), rows.head(most))


def _first(name: str, rows: pl.DataFrame, key: pl.Expr, most: int) -> Group:
    """Take the first by a key of few values, of equal ones some by the same chance every time."""
    chance = pl.Series(np.random.default_rng(0).permutation(len(rows)))
    ordered = rows.with_columns(key=key, chance=chance).sort("key", "chance")
    listed = ordered.head(most).sort("key", "index")
    tied = drawn = 0
    if len(ordered) > most and ordered["key"][most - 1] == ordered["key"][most]:
        edge = pl.col("key") == ordered["key"][most]
        tied, drawn = len(ordered.filter(edge)), len(listed.filter(edge))
    return Group(name, len(rows), listed.select(rows.columns), drawn, tied)


def _spread(name: str, rows: pl.DataFrame, most: int) -> Group:
    count = min(most, len(rows))
    return Group(name, len(rows), rows[[place * len(rows) // count for place in range(count)]])


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
