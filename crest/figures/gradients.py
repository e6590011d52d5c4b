"""What models at several snapshots of a run show: gradient errors, and examples dropped."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crest.figures.theme import INK, blank, from_zero, legend, logarithmic, styles

# How a legend names the groups of the table 'gradient_errors', in the order of their colours.
NAMES = {
    "mini-batch coreset": "a coreset (m)",
    "random mini-batch": "random (m)",
    "random subset": "random (r)",
    "union of a region's": "a region's all",
}


def draw_gradient_error(errors: pl.DataFrame) -> Figure:
    """Root mean square distance from the gradient of all data, and bias; 'gradient_errors'."""
    figure, axes = blank("Distance from the full gradient", "training steps", "distance / norm")
    drawn = ("mini-batch coreset", "union of a region's", "random mini-batch")
    _draw_groups(axes, errors.drop_nulls("error"), "error", drawn)
    coreset = errors.filter(pl.col("group") == "mini-batch coreset").drop_nulls("bias")
    axes.plot(
        coreset["step"], coreset["bias"], color=INK, linestyle=(0, (2, 2)), label="coresets' bias"
    )
    from_zero(axes)
    legend(axes)
    return figure


def draw_gradient_variance(errors: pl.DataFrame) -> Figure:
    """Variance of the gradient of one mini-batch, on a logarithmic axis; 'gradient_errors'."""
    figure, axes = blank("Variance of the gradient", "training steps", "variance")
    drawn = ("mini-batch coreset", "random mini-batch", "random subset")
    _draw_groups(axes, errors.filter(pl.col("variance") > 0), "variance", drawn)
    logarithmic(axes, "y")
    legend(axes)
    return figure


def draw_dropped_accuracy(accuracy: pl.DataFrame) -> Figure:
    """Accuracy of the examples dropped so far, against the rest; 'dropped_accuracy'."""
    figure, axes = blank("Examples dropped as learned", "training steps", "accuracy, %")
    methods = accuracy["method"].unique(maintain_order=True).to_list()
    lines = accuracy.with_columns(
        line=pl.col("group") if len(methods) == 1 else pl.format("{}, {}", "method", "group")
    )
    names = lines["line"].unique(maintain_order=True).sort().to_list()
    for name, style in styles(names).items():
        rows = lines.filter(pl.col("line") == name)
        axes.plot(rows["step"], rows["accuracy"] * 100, label=name, markersize=4, **style)
    axes.set_xlim(left=0)
    legend(axes)
    return figure


def _draw_groups(axes: Axes, errors: pl.DataFrame, column: str, drawn: tuple[str, ...]) -> None:
    for group, style in styles(list(NAMES)).items():
        rows = errors.filter(pl.col("group") == group)
        if group in drawn:
            axes.plot(rows["step"], rows[column], label=NAMES[group], markersize=4, **style)
    axes.set_xlim(left=0)
