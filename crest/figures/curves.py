"""Accuracy and loss over training, by step and by second."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from crest.figures.theme import blank, legend, logarithmic, styles_of

X_LABELS = {"step": "training steps", "seconds": "seconds of training"}
Y_LABELS = {"accuracy": "accuracy, %", "loss": "loss"}


def draw_curve(curves: pl.DataFrame, y: str, x: str, order: Sequence[str] = ()) -> Figure:
    """Draw one measure of all methods.

    Parameters
    ----------
    curves
        Table 'curves'; the validation split is drawn strong, training faint behind it.
    y
        ``accuracy`` or ``loss``.
    x
        ``step`` or ``seconds``; logarithmic, as full training takes many times the budget.
    order
        All methods of the pictures beside it, so that each has its colour in all.
    """
    split = strong_split(curves)
    title = f"{y.capitalize()} by {'step' if x == 'step' else 'second'}"
    figure, axes = blank(title, X_LABELS[x], f"{split} {Y_LABELS[y]}")
    for method, style in styles_of(curves["method"], order).items():
        points = curves.filter(pl.col("method") == method, pl.col(x) > 0)
        strong = points.filter(pl.col("split") == split)
        axes.plot(strong[x], _scaled(strong, y), label=method, markersize=3.5, **style)
        if split != "train":
            faint = points.filter(pl.col("split") == "train")
            axes.plot(faint[x], _scaled(faint, y), color=style["color"], alpha=0.35, linewidth=1)
    logarithmic(axes, "x")
    legend(axes)
    return figure


def strong_split(curves: pl.DataFrame) -> str:
    """Return the split that the curves show first: validation where there is one."""
    return "validation" if "validation" in curves["split"] else "train"


def _scaled(points: pl.DataFrame, y: str) -> pl.Series:
    return points[y] * 100 if y == "accuracy" else points[y]
