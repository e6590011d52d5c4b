"""All pictures of an analysis, in the order in which they tell it."""

from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure

from crest.analysis.runs import Analysis
from crest.figures.curves import draw_curve, strong_split
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
    """Draw everything the analysis has data for; ``threshold`` is crest's τ."""
    return [
        *_curves(analysis.curves),
        *_difficulty(analysis),
        *_gradients(analysis.gradient_errors),
        *_regions(analysis.regions, threshold),
    ]


def _curves(curves: pl.DataFrame) -> list[Picture]:
    split = strong_split(curves)
    caption = (
        "Means over windows of training steps."
        if split == "train"
        else ("Strong: on the validation split. Faint: on the mini-batches trained on.")
    )
    return [
        Picture(
            name=f"{y}_by_{x}",
            part="curves",
            caption=f"{caption} The horizontal axis is logarithmic.",
            alt=f"{split.capitalize()} {y} by {x}. At the end: {_ends(curves, split, y)}.",
            figure=draw_curve(curves, y, x),
        )
        for x in ("step", "seconds")
        for y in ("accuracy", "loss")
    ]


def _difficulty(analysis: Analysis) -> list[Picture]:
    pictures = []
    scores = analysis.score_by_window.drop_nulls("score")
    if not scores.is_empty():
        pictures.append(
            Picture(
                name="score_by_window",
                part="difficulty",
                caption="Mean forgetting score of the examples trained on; what was never learned "
                "has no score. (mean): one overall mean for the run, as which example it saw at "
                "which step is not kept.",
                alt=f"Mean forgetting score over training. {_score_ends(scores)}.",
                figure=draw_score_by_window(scores),
            )
        )
    if analysis.selected_by_score.is_empty():
        return pictures
    table = analysis.selected_by_score
    pictures.append(
        Picture(
            name="selected_by_score",
            part="difficulty",
            caption="Mean times an example was picked into a mini-batch coreset, by how often it "
            "was forgotten. Never learned: never classified rightly, so it could not be forgotten.",
            alt=f"Mean times selected by times forgotten: {_selected_ends(table)}.",
            figure=draw_selected_by_score(table),
        )
    )
    if not analysis.class_balance.is_empty():
        pictures.append(_balance(analysis.class_balance))
    if "dropped" in analysis.dropped_accuracy["group"]:
        pictures.append(_dropped(analysis.dropped_accuracy))
    return pictures


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
        caption="Training examples that left the choice as learned by that step, whether the "
        "model still classifies them rightly though it is no longer trained on them, and those "
        "that are still drawn from. In eval mode, without augmentation.",
        alt=f"Accuracy of dropped examples over training. At the end: {ends}.",
        figure=draw_dropped_accuracy(accuracy),
    )


def _gradients(errors: pl.DataFrame) -> list[Picture]:
    if errors.is_empty():
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
            f"data, dropped examples included, over the norm of the latter; {sizes}. Bias: what is "
            "left of it however many coresets are averaged; random mini-batches have none.",
            alt=f"Distance from the full gradient over training. At the end: a coreset "
            f"{_number(coreset['error'])}, the union of a region's {_number(union['error'])}, "
            f"a random mini-batch {_number(random['error'])}, the bias {_number(coreset['bias'])}.",
            figure=draw_gradient_error(drawn),
        ),
        Picture(
            name="gradient_variance",
            part="gradients",
            caption=f"How much one mini-batch's gradient differs from the next; {sizes}. The "
            "vertical axis is logarithmic.",
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


def _regions(regions: pl.DataFrame, threshold: float) -> list[Picture]:
    if regions.is_empty():
        return []
    captions = {
        "check_interval": "Each point is a region, at the step where it opened.",
        "minibatches": "Each point is a region, at the step where it opened.",
        "rho": f"Above τ = {threshold:g} a region ends. Each point is a region, at its end.",
        "updates": "How many times coresets had been selected anew by that step.",
        "effective_size": "Kish's effective size of the mini-batches' weights, a mean over each "
        "region's: as many examples of equal weight would vary as much. All m of a mini-batch "
        "count where the weights are the same.",
        "active": "Examples that selection still draws from, at the opening of each region.",
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
            figure=draw_regions(regions, column, threshold if column == "rho" else None),
        )
        for column, caption in captions.items()
    ]


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
