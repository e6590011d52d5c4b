"""The picture of the README, written to docs/headline.png: python docs/headline.py.

Points of test accuracy above random mini-batches in as many steps, of the rows of docs/results.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # of benchmarks, which are not installed

from benchmarks.experiments import commands  # noqa: E402
from benchmarks.experiments.tables import Group, grouped, paired  # noqa: E402

RESULTS = Path(__file__).with_name("results")
PICTURE = Path(__file__).with_name("headline.png")


@dataclass(frozen=True)
class Line:
    """A line of the picture: what is trained on, and the names of runs in a file of rows."""

    title: str
    file: str
    random: str
    runs: dict[str, str]


LABELS = "label-noise-cifar10.jsonl"
LINES = (
    Line(
        "36% of the labels wrong",
        LABELS,
        "random 40%",
        {"adaptive": "adaptive 40%", "only right": "only right 40%"},
    ),
    Line(
        "18% wrong",
        LABELS,
        "random 20%",
        {"adaptive": "adaptive 20%", "only right": "only right 20%"},
    ),
    Line(
        "9% wrong",
        LABELS,
        "random 10%",
        {"adaptive": "adaptive 10%", "only right": "only right 10%"},
    ),
    Line("classes 10:1", LABELS, "random 10:1", {"adaptive": "adaptive 10:1"}),
    Line("classes 100:1", LABELS, "random 100:1", {"adaptive": "adaptive 100:1"}),
    Line("clean, 10,000 images", LABELS, "random clean", {"adaptive": "adaptive clean"}),
)
STYLES = {
    "adaptive": ("o", "C0", "adaptive (the method to take)"),
    "only right": ("|", "0.35", "random on the right labels alone, which nobody knows"),
}


OFFSETS = {"adaptive": 0.12, "only right": -0.12}


def groups_of(file: str) -> dict[str, Group]:
    """Return the runs of a file of rows by name."""
    rows, experiment = commands.saved_rows(RESULTS / file)
    return {group.name: group for group in grouped(rows, experiment)}


def draw() -> None:
    """Draw differences with their standard errors."""
    figure, axes = plt.subplots(figsize=(8.5, 2.9))
    labelled: set[str] = set()
    for place, line in enumerate(reversed(LINES)):
        groups = groups_of(line.file)
        for kind, name in line.runs.items():
            pair = paired(groups[name], groups[line.random])
            assert pair is not None, name
            mean, error = 100 * pair[0], 100 * (pair[1] or 0.0)
            height = place + OFFSETS[kind]
            marker, color, title = STYLES[kind]
            axes.errorbar(
                mean,
                height,
                xerr=error,
                fmt=marker,
                color=color,
                ms=9 if marker == "|" else 6,
                mew=2.5 if marker == "|" else 1,
                capsize=0,
                label=title if kind not in labelled else None,
            )
            labelled.add(kind)
    axes.axvline(0, color="0.8", zorder=0)
    axes.set_yticks(range(len(LINES)), [line.title for line in reversed(LINES)])
    axes.set(xlabel="points above random mini-batches, same steps (± standard error, three seeds)")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw()
