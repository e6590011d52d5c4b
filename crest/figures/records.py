"""How the examples of any training fared, of which only the examples are known."""

import polars as pl
from matplotlib.figure import Figure

from crest.analysis.difficulty import seen_by_loss, times_forgotten
from crest.figures.gallery import Picture
from crest.figures.theme import SERIES, blank, from_zero


def record_pictures(difficulty: pl.DataFrame) -> list[Picture]:
    """Draw what there is of the 'difficulty' table: times trained on by loss, times forgotten."""
    pictures = []
    seen, forgotten = seen_by_loss(difficulty), times_forgotten(difficulty)
    if not seen.is_empty():
        pictures.append(
            Picture(
                name="seen_by_loss",
                part="difficulty",
                caption="Mean times an example was trained on, by its mean loss. Each point is "
                "as many examples.",
                alt="Mean times trained on by mean loss: "
                f"{seen['seen'][0]:.1f} at {seen['mean_loss'][0]:.3g}, "
                f"{seen['seen'][-1]:.1f} at {seen['mean_loss'][-1]:.3g}.",
                figure=draw_seen_by_loss(seen),
            )
        )
    if not forgotten.is_empty():
        counts = ", ".join(f"{group}: {count:,}" for group, count in forgotten.rows())
        pictures.append(
            Picture(
                name="times_forgotten",
                part="difficulty",
                caption="How many examples were forgotten how often. Never learned: never "
                "classified rightly, so it could not be forgotten.",
                alt=f"Examples by times forgotten: {counts}.",
                figure=draw_times_forgotten(forgotten),
            )
        )
    return pictures


def draw_seen_by_loss(table: pl.DataFrame) -> Figure:
    """Mean times trained on against mean loss; of :func:`seen_by_loss`."""
    figure, axes = blank("How often an example was trained on", "mean loss", "mean times")
    axes.plot(table["mean_loss"], table["seen"], color=SERIES[0], marker="o", markersize=3)
    from_zero(axes)
    return figure


def draw_times_forgotten(table: pl.DataFrame) -> Figure:
    """Examples by times forgotten; of :func:`times_forgotten`."""
    figure, axes = blank("How often examples were forgotten", "times forgotten", "examples")
    axes.bar(range(len(table)), table["examples"], 0.8, color=SERIES[0])
    axes.set_xticks(range(len(table)), table["group"].to_list(), rotation=45, ha="right")
    axes.grid(visible=False, axis="x")
    return figure
