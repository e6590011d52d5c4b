"""How the regions of a selecting run went."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from crest.figures.theme import INK, blank, from_zero, legend, logarithmic, styles_of

TITLES = {
    "check_interval": ("Steps between checks, T1", "T1"),
    "minibatches": ("Coresets per region, P", "P"),
    "rho": ("Error of the model, ρ", "ρ at the last check"),
    "updates": ("Coreset updates", "regions opened"),
    "effective_size": ("What a mini-batch is worth", "examples of equal weight"),
    "active": ("Examples not yet learned", "examples in V"),
}


def draw_regions(
    regions: pl.DataFrame,
    column: str,
    threshold: float | None = None,
    order: Sequence[str] = (),
) -> Figure:
    """Draw one column of the table 'regions'; each point is a region.

    ``threshold`` draws a line at that height, named τ.
    """
    title, y_label = TITLES[column]
    when = "end_step" if column == "rho" else "start_step"
    figure, axes = blank(title, "training steps", y_label)
    methods = styles_of(regions["method"], order)
    for method, style in methods.items():
        rows = regions.filter(pl.col("method") == method, pl.col(column).is_not_null())
        size = 4 if len(rows) <= 60 else 2
        axes.plot(rows[when], rows[column], label=method, markersize=size, linewidth=1, **style)
    if threshold is not None:
        axes.axhline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="τ")
    if column == "rho" and regions["rho"].drop_nulls().gt(0).any():
        logarithmic(axes, "y")
    else:
        from_zero(axes)
    if len(methods) > 1 or threshold is not None:
        legend(axes)
    return figure
