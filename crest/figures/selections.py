"""Which examples were selected: how hard they were, how often, and of which classes."""

from collections.abc import Sequence

import polars as pl
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from crest.figures.theme import GRID, INK, blank, from_zero, legend, plain, styles_of

RATIOS = (0.25, 0.35, 0.5, 0.7, 0.9, 1.1, 1.4, 2.0, 2.8, 4.0)
NAMED_CLASSES = 30


def draw_score_by_window(scores: pl.DataFrame, order: Sequence[str] = ()) -> Figure:
    """Mean forgetting score of the examples trained on, over training; 'score_by_window'."""
    figure, axes = blank("Score of what is trained on", "training steps", "mean score")
    for method, style in styles_of(scores["method"], order).items():
        rows = scores.filter(pl.col("method") == method)
        flat = rows["mean_over"][0] == "training"
        line_style = style | ({"marker": ""} if flat else {"markersize": 3})
        axes.plot(rows["step"], rows["score"], label=method, **line_style)
    from_zero(axes)
    legend(axes)
    return figure


def draw_selected_by_score(table: pl.DataFrame, order: Sequence[str] = ()) -> Figure:
    """Mean times selected against the forgetting score; 'selected_by_score'."""
    figure, axes = blank("Selected, by times forgotten", "times forgotten", "mean times selected")
    groups = table.sort("score", nulls_last=True)["group"].unique(maintain_order=True).to_list()
    found = styles_of(table["method"], order)
    methods = list(found)
    width = 0.8 / len(methods)
    for number, (method, style) in enumerate(found.items()):
        rows = table.filter(pl.col("method") == method)
        places = [
            groups.index(group) + width * (number - (len(methods) - 1) / 2)
            for group in rows["group"]
        ]
        axes.bar(places, rows["selected"], width, label=method, color=style["color"])
    crowded = len(groups) > 5
    axes.set_xticks(
        range(len(groups)),
        groups,
        rotation=45 if crowded else 0,
        ha="right" if crowded else "center",
    )
    axes.grid(visible=False, axis="x")
    if len(methods) > 1:
        legend(axes)
    return figure


def draw_class_balance(balance: pl.DataFrame) -> Figure:
    """Each class's share of the picks over its share of the data, by region; 'class_balance'.

    Of the first method in the table. Shares beyond the scale take the colour of its end.
    """
    rows = balance.filter(pl.col("method") == balance["method"][0])
    grid = rows.with_columns(ratio=pl.col("share") / pl.col("data_share")).pivot(
        "region", index=["label", "name"], values="ratio"
    )
    figure, axes = blank("Class balance of selections", "region", "class")
    axes.grid(visible=False)
    ratios = grid.drop("label", "name").to_numpy().clip(RATIOS[0], RATIOS[-1])
    colours = colormaps["RdBu_r"].resampled(len(RATIOS) - 1)
    norm = BoundaryNorm(RATIOS, colours.N)
    image = axes.imshow(ratios, aspect="auto", interpolation="nearest", cmap=colours, norm=norm)
    regions = rows["region"].unique(maintain_order=True).to_list()
    ticks = range(0, len(regions), max(1, len(regions) // 6))
    axes.set_xticks(ticks, [str(regions[place]) for place in ticks])
    if len(grid) <= NAMED_CLASSES:
        names = [plain(name or "") for name in grid["name"]]
        axes.set_yticks(range(len(names)), names, fontsize=9 if len(names) <= 12 else 6)
    bar = figure.colorbar(image, ax=axes, ticks=[0.25, 0.5, 1, 2, 4])
    bar.set_label("share of the picks / of the data", color=INK)
    bar.ax.set_yticklabels(["≤ ¼", "½", "1", "2", "≥ 4"])
    bar.ax.tick_params(color=GRID, labelcolor=INK)
    bar.outline.set_visible(False)
    return figure
