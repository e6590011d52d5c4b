"""The picture of the README, written to docs/headline.png: python docs/headline.py.

Test accuracy by the steps and by the seconds that a run is given, of the rows of
docs/results/budgets-cifar10.jsonl; every point is a run of its own, with a schedule of its length.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # of benchmarks, which are not installed

from benchmarks.experiments import commands  # noqa: E402
from benchmarks.experiments.tables import Group, grouped  # noqa: E402

RESULTS = Path(__file__).with_name("results")
PICTURE = Path(__file__).with_name("headline.png")
ROWS = RESULTS / "budgets-cifar10.jsonl"
BUDGETS = ("2.5%", "5%", "10%", "20%")
METHODS = {
    "random": ("0.45", "random mini-batches"),
    "crest": ("C1", "crest"),
    "adaptive": ("C0", "adaptive, the method to take"),
}
LABELS = {"": "a fifth of the labels shuffled", "clean ": "all labels right"}
Length = Callable[[Group], float]


def steps(group: Group) -> float:
    """Return the steps of a run."""
    return group.mean("steps")


def seconds(group: Group) -> float:
    """Return the seconds of a run on one core, the mean over the seeds."""
    return group.mean("cpu_seconds")


def runs_of(groups: dict[str, Group], method: str, labels: str) -> list[Group]:
    """Return the runs of a method by rising budget."""
    names = (f"{method} {labels}{budget}" for budget in BUDGETS)
    return [groups[name] for name in names if name in groups]


def band(group: Group) -> tuple[float, float]:
    """Return mean and deviation of the accuracy over the seeds, in percent."""
    values = [100 * value for value in group.accuracies.values()]
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


def draw_panel(axes: Axes, groups: dict[str, Group], labels: str, length: Length) -> None:
    """Draw a line a method, with a band over the seeds, and full training as a level."""
    full = groups.get(f"full {labels}".strip())
    if full is not None:
        level = band(full)[0]
        times = f"{steps(full):,.0f} steps" if length is steps else f"{seconds(full):,.0f} s"
        axes.axhline(level, color="0.2", lw=1, ls=(0, (4, 3)))
        text = f"full training, {times}"
        axes.annotate(text, (0.02, level), xycoords=("axes fraction", "data"), va="top", size=8)
    for method, (color, title) in METHODS.items():
        runs = runs_of(groups, method, labels)
        if not runs:
            continue
        means, deviations = zip(*map(band, runs), strict=True)
        at = [length(run) for run in runs]
        axes.plot(at, means, "o-", color=color, ms=4, lw=1.8, label=title)
        low = [mean - deviation for mean, deviation in zip(means, deviations, strict=True)]
        high = [mean + deviation for mean, deviation in zip(means, deviations, strict=True)]
        axes.fill_between(at, low, high, color=color, alpha=0.18, lw=0)
    axes.set_xscale("log")
    axes.margins(y=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")


def draw() -> None:
    """Draw accuracy by steps for both kinds of labels, and by seconds for the wrong ones."""
    rows, experiment = commands.saved_rows(ROWS)
    groups = {group.name: group for group in grouped(rows, experiment)}
    panels: list[tuple[str, Length]] = [("", steps), ("", seconds), ("clean ", steps)]
    panels = [panel for panel in panels if runs_of(groups, "random", panel[0])]
    figure, row = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.3), sharey=True)
    for axes, (labels, length) in zip(row, panels, strict=True):
        draw_panel(axes, groups, labels, length)
        wide = length is steps
        axes.set_xlabel(
            "steps of 128 examples" if wide else "seconds on one core, choosing included"
        )
        at = [length(run) for run in runs_of(groups, "random", labels)]
        axes.set_xticks(at, [f"{place:,.0f}" for place in at])
        axes.minorticks_off()
        axes.set_title(LABELS[labels], size=10)
    row[0].set_ylabel("test accuracy, %")
    row[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw()
