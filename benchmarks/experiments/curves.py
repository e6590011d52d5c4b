"""The curves of an experiment: accuracy by step and by second, a picture each."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.experiments.tables import Group, place, timing
from crest.errors import ParameterError
from crest.figures.theme import PAPER, SERIES, blank, legend, logarithmic, plain, png, styles

KINDS = {
    "validation": "validation accuracy, %",
    "train": "accuracy on what was trained on, %",
}
LEGEND_WIDTH = 72  # characters
LINE_WIDTH = 8  # of the line before a name, and the gap after it


def draw(groups: Sequence[Group], x: str) -> Figure:
    """Draw the mean over the seeds of each run, and a deviation around it.

    Parameters
    ----------
    x
        ``step`` or ``seconds``, those of the clock that the tables compare.

    Raises
    ------
    ParameterError
        If the curves are of different splits, their seconds of different clocks or machines, or
        they are too many to be told apart.
    """
    rows = [row for group in groups for row in group.rows]
    kind = _only({row["curve_split"] for row in rows}, "splits")
    clock = _only({timing(row) for row in rows}, "clocks")
    if x == "seconds":
        _only({place(row) for row in rows}, "machines")
    if len(groups) > len(SERIES):
        raise ParameterError(f"--only: {len(groups)} runs in a picture; name at most {len(SERIES)}")
    seconds = "processor seconds" if clock == "cpu_seconds" else "seconds"
    label = "training steps" if x == "step" else f"{seconds} of choosing and training"
    title = f"Accuracy by {'step' if x == 'step' else 'second'}"
    figure, axes = blank(title, label, KINDS[kind], (4.6, 3.2))
    for group, style in zip(groups, styles([g.name for g in groups]).values(), strict=True):
        across, means, deviations = averaged(group, x if x == "step" else clock)
        axes.plot(across, means, label=plain(group.name), markersize=3, **style)
        low = [mean - deviation for mean, deviation in zip(means, deviations, strict=True)]
        high = [mean + deviation for mean, deviation in zip(means, deviations, strict=True)]
        axes.fill_between(across, low, high, color=style["color"], alpha=0.15, linewidth=0)
    if _lengths_differ(groups):
        logarithmic(axes, "x")
    legend(axes, columns=_columns([g.name for g in groups]))
    return figure


def averaged(group: Group, x: str) -> tuple[list[float], list[float], list[float]]:
    """Return, point by point over the seeds: mean of x, mean of accuracy in percent, deviation."""
    points = list(zip(*(row["curve"] for row in group.rows), strict=True))
    values = [[100 * point["accuracy"] for point in part] for part in points]
    across = [fmean(point[x] for point in part) for part in points]
    return across, [fmean(v) for v in values], [stdev(v) if len(v) > 1 else 0.0 for v in values]


def write(figure: Figure, path: Path) -> None:
    """Write a picture as its name ends, .png or .svg."""
    if path.suffix == ".png":
        path.write_bytes(png(figure, 160))
        return
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "crest"}):
        figure.savefig(path, format="svg", facecolor=PAPER, metadata={"Date": None})


def _lengths_differ(groups: Sequence[Group]) -> bool:
    """Tell whether the shortest run would be lost beside the longest."""
    steps = [row["steps"] for group in groups for row in group.rows]
    return max(steps) > 4 * min(steps)


def _columns(names: Sequence[str]) -> int:
    """Return how many names of a legend go into a line."""
    return max(1, min(4, LEGEND_WIDTH // (LINE_WIDTH + max(len(name) for name in names))))


def _only(values: set[Any], what: str) -> Any:
    if len(values) != 1:
        raise ParameterError(f"curves of different {what} in one picture; name runs with --only")
    return values.pop()
