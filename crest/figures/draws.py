"""What each method trained on: how often it drew examples, by class and by difficulty."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from crest.figures.theme import blank, from_zero, legend, plain, styles_of

NAMED_CLASSES = 12  # whose names fit below the axis


def draw_by_difficulty(table: pl.DataFrame, order: Sequence[str] = ()) -> Figure:
    """Times drawn over the mean of all examples, by tenths of the mean loss; 'times_drawn'."""
    figure, axes = blank(
        "Drawn, by difficulty", "tenth by mean loss, easiest first", "times / mean"
    )
    rows = table.filter(pl.col("by") == "difficulty")
    for method, style in styles_of(rows["method"], order).items():
        line = rows.filter(pl.col("method") == method)
        axes.plot(line["place"] + 1, line["relative"], label=method, markersize=3.5, **style)
    from_zero(axes)
    axes.set_xticks([place + 1 for place in rows["place"].unique().sort()])
    legend(axes)
    return figure


def draw_by_class(table: pl.DataFrame, order: Sequence[str] = ()) -> Figure:
    """Times drawn over the mean of all examples, by class; 'times_drawn'."""
    figure, axes = blank("Drawn, by class", "class", "times / mean")
    rows = table.filter(pl.col("by") == "class")
    for method, style in styles_of(rows["method"], order).items():
        line = rows.filter(pl.col("method") == method)
        marks = style | {"linestyle": ""}
        axes.plot(line["place"], line["relative"], label=method, markersize=4, alpha=0.8, **marks)
    from_zero(axes)
    names = rows.select("place", "name").unique().sort("place")
    if len(names) <= NAMED_CLASSES:
        short = max(names["name"].str.len_chars()) <= 2
        axes.set_xticks(
            names["place"].to_list(),
            [plain(name) for name in names["name"]],
            rotation=0 if short else 45,
            ha="center" if short else "right",
        )
    legend(axes)
    return figure
