"""All pictures of an analysis, in the order in which they tell it."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure

from crest.analysis.runs import Analysis
from crest.figures.curves import draw_curve, strong_split
from crest.figures.draws import draw_by_class, draw_by_difficulty
from crest.figures.gradients import (
    draw_dropped_accuracy,
    draw_gradient_error,
    draw_gradient_variance,
)
from crest.figures.regions import draw_regions
from crest.figures.selections import (
    draw_class_balance,
    draw_score_by_window,
    draw_selected_by_score,
)


@dataclass(frozen=True)
class Picture:
    """A figure with what a page needs around it.

    ``name`` is that of its file, ``part`` the section it belongs to (``curves``, ``difficulty``,
    ``gradients`` or ``regions``), ``caption`` how to read it, and ``alt`` what it shows, numbers
    included.
    """

    name: str
    part: str
    caption: str
    alt: str
    figure: Figure


def gallery(analysis: Analysis, threshold: float) -> list[Picture]:
    """Draw everything the analysis has data for; ``threshold`` is crest's τ.

    A method has one colour in all pictures.
    """
    order = analysis.curves["method"].unique(maintain_order=True).to_list()
    return [
        *_curves(analysis.curves, order),
        *_difficulty(analysis, order),
        *_gradients(analysis.gradient_errors),
        *_regions(analysis.regions, threshold, order),
    ]


def _curves(curves: pl.DataFrame, order: Sequence[str]) -> list[Picture]:
    split = strong_split(curves)
    caption = (
        "Means over windows of steps."
        if split == "train"
        else "Strong: validation. Faint: the mini-batches trained on."
    )
    return [
        Picture(
            name=f"{y}_by_{x}",
            part="curves",
            caption=caption,
            alt=f"{split.capitalize()} {y} by {x}. At the end: {_ends(curves, split, y)}.",
            figure=draw_curve(curves, y, x, order),
        )
        for x in ("step", "seconds")
        for y in ("accuracy", "loss")
    ]


def _difficulty(analysis: Analysis, order: Sequence[str]) -> list[Picture]:
    pictures = _draws(analysis.times_drawn, order)
    scores = analysis.score_by_window.drop_nulls("score")
    if not scores.is_empty():
        pictures.append(
            Picture(
                name="score_by_window",
                part="difficulty",
                caption="Mean forgetting score of the examples trained on. Flat: of the whole run, "
                "as which example it saw at which step is not kept.",
                alt=f"Mean forgetting score over training. {_score_ends(scores)}.",
                figure=draw_score_by_window(scores, order),
            )
        )
    if "dropped" in analysis.dropped_accuracy["group"]:
        pictures.append(_dropped(analysis.dropped_accuracy))
    if analysis.selected_by_score.is_empty():
        return pictures
    table = analysis.selected_by_score
    pictures.append(
        Picture(
            name="selected_by_score",
            part="difficulty",
            caption="Mean times an example was picked into a mini-batch coreset. Never learned: "
            "never classified rightly, so it could not be forgotten.",
            alt=f"Mean times selected by times forgotten: {_selected_ends(table)}.",
            figure=draw_selected_by_score(table, order),
        )
    )
    if not analysis.class_balance.is_empty():
        pictures.append(_balance(analysis.class_balance))
    return pictures


def _draws(table: pl.DataFrame, order: Sequence[str]) -> list[Picture]:
    """Draw what every method trained on, with coresets or without."""
    known = table.drop_nulls("relative")
    captions = {
        "difficulty": "How often an example was trained on, over the method's mean. 1: as if "
        "examples were drawn evenly.",
        "class": "The same, by class.",
    }
    drawing = {"difficulty": draw_by_difficulty, "class": draw_by_class}
    return [
        Picture(
            name=f"drawn_by_{by}",
            part="difficulty",
            caption=caption,
            alt=f"Times drawn over the mean, by {by}. {_extremes(known, by)}.",
            figure=drawing[by](known, order),
        )
        for by, caption in captions.items()
        if by in known["by"]
    ]


def _extremes(table: pl.DataFrame, by: str) -> str:
    ends = (
        table.filter(pl.col("by") == by)
        .group_by("method", maintain_order=True)
        .agg(low=pl.col("relative").min(), high=pl.col("relative").max())
    )
    return "; ".join(f"{method} from {low:.2f} to {high:.2f}" for method, low, high in ends.rows())


def _dropped(accuracy: pl.DataFrame) -> Picture:
    last = accuracy.group_by("method", "group", maintain_order=True).last()
    ends = ", ".join(
        f"{method}, {group}: {share:.1%} of {examples:,}"
        for method, group, share, examples in last.select(
            "method", "group", "accuracy", "examples"
        ).rows()
    )
    return Picture(
        name="dropped_accuracy",
        part="difficulty",
        caption="Whether examples that were dropped as learned are still classified rightly, and "
        "those that are still drawn from. In eval mode, without augmentation.",
        alt=f"Accuracy of dropped examples over training. At the end: {ends}.",
        figure=draw_dropped_accuracy(accuracy),
    )


def _gradients(errors: pl.DataFrame) -> list[Picture]:
    if errors.drop_nulls("error").is_empty():  # ‖g‖ is lost in noise at every snapshot
        return []
    drawn = errors.filter(pl.col("method") == errors["method"][0])
    last = {row["group"]: row for row in drawn.iter_rows(named=True)}
    coreset, union = last["mini-batch coreset"], last["union of a region's"]
    random, subset = last["random mini-batch"], last["random subset"]
    sizes = f"m = {random['examples']:,}, r = {subset['examples']:,}"
    return [
        Picture(
            name="gradient_error",
            part="gradients",
            caption="Root mean square distance of a mini-batch's gradient from that of all "
            f"data, over the norm of the latter; {sizes}. Bias: what is left of it however many "
            "coresets are averaged.",
            alt=f"Distance from the full gradient over training. At the end: a coreset "
            f"{_number(coreset['error'])}, the union of a region's {_number(union['error'])}, "
            f"a random mini-batch {_number(random['error'])}, the bias {_number(coreset['bias'])}.",
            figure=draw_gradient_error(drawn),
        ),
        Picture(
            name="gradient_variance",
            part="gradients",
            caption=f"How much one mini-batch's gradient differs from the next; {sizes}.",
            alt=f"Variance of the gradient over training. At the end: a coreset "
            f"{coreset['variance']:.3g}, a random mini-batch {random['variance']:.3g}, a random "
            f"subset {subset['variance']:.3g}.",
            figure=draw_gradient_variance(drawn),
        ),
    ]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _balance(balance: pl.DataFrame) -> Picture:
    ratio = (balance["share"] / balance["data_share"]).to_numpy()
    return Picture(
        name="class_balance",
        part="difficulty",
        caption="Each class's share of the picks, relative to its share of the data, from the "
        "first region to the last. White: as in the data. Red: picked more, blue: picked less.",
        alt="Heat map of class by region: share of the picks over share of the data, "
        f"from {ratio.min():.2f} to {ratio.max():.2f}.",
        figure=draw_class_balance(balance),
    )


def _regions(regions: pl.DataFrame, threshold: float, order: Sequence[str]) -> list[Picture]:
    if regions.is_empty():
        return []
    captions = {
        "rho": f"Each point is a region, at its end: a check above τ = {threshold:g} ends it.",
        "check_interval": "Each point is a region, at the step where it opened.",
        "active": "Examples that selection still draws from, as each region opens.",
        "effective_size": "Kish's effective size of the mini-batches' weights, a mean over each "
        "region's: as many examples of equal weight would vary as much.",
        "minibatches": "Each point is a region, at the step where it opened.",
        "updates": "How many times coresets had been selected anew by that step.",
    }
    if not regions["excluded"].gt(0).any():
        del captions["active"]
    if not _is_weighted(regions):
        del captions["effective_size"]
    return [
        Picture(
            name=f"regions_{column}",
            part="regions",
            caption=caption,
            alt=f"{column.replace('_', ' ')} by region, from {_first(regions, column)} "
            f"to {_last(regions, column)}.",
            figure=draw_regions(regions, column, threshold if column == "rho" else None, order),
        )
        for column, caption in captions.items()
        if varies(regions, column)
    ]


def varies(regions: pl.DataFrame, column: str) -> bool:
    """Whether a column of the table 'regions' has more to show than one value a method."""
    values = regions.drop_nulls(column).group_by("method").agg(pl.col(column).n_unique())
    return bool(values[column].gt(1).any())


def _is_weighted(regions: pl.DataFrame) -> bool:
    """Whether weights differ within a mini-batch: the effective size is then no whole number."""
    sizes = regions["effective_size"].drop_nulls()
    return bool(((sizes - sizes.round()).abs() > 1e-6).any())


def _ends(curves: pl.DataFrame, split: str, y: str) -> str:
    last = curves.filter(pl.col("split") == split).group_by("method", maintain_order=True).last()
    return ", ".join(
        f"{method} {value:.1%}" if y == "accuracy" else f"{method} {value:.3f}"
        for method, value in last.select("method", y).drop_nulls().rows()
    )


def _score_ends(scores: pl.DataFrame) -> str:
    ends = scores.group_by("method", maintain_order=True).agg(
        first=pl.col("score").first(), last=pl.col("score").last()
    )
    return "; ".join(
        f"{method} from {first:.2f} to {last:.2f}" for method, first, last in ends.rows()
    )


def _selected_ends(table: pl.DataFrame) -> str:
    known = table.filter(pl.col("method") == table["method"][0])
    return ", ".join(
        f"{group}: {selected:.1f}" for group, selected in known.select("group", "selected").rows()
    )


def _first(regions: pl.DataFrame, column: str) -> str:
    values = regions[column].drop_nulls()
    return "none" if values.is_empty() else f"{values[0]:g}"


def _last(regions: pl.DataFrame, column: str) -> str:
    values = regions[column].drop_nulls()
    return "none" if values.is_empty() else f"{values[-1]:g}"
