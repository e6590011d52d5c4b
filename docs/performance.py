"""The picture of docs/performance.md: where a step's time goes. python docs/performance.py.

Draws docs/performance.json, which `python -m benchmarks.speed.step_parts` writes.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROWS = Path(__file__).with_suffix(".json")
PICTURE = Path(__file__).with_suffix(".png")
# In the order of a step; what choosing adds last.
COLORS = {
    "views": "#a6cee3",
    "forward": "#6baed6",
    "backward": "#2171b5",
    "optimiser": "#08306b",
    "rest": "0.75",
    "choosing": "#fdae6b",
    "scoring": "#e6550d",
    "curvature": "#8c2d04",
}
TITLES = {"choosing": "drawing, choosing", "rest": "the loop"}


def by_project() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each project, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(ROWS.read_text(encoding="utf-8"))["rows"]:
        found.setdefault(row["project"], []).append(row)
    return found


def draw() -> None:
    """Draw a bar for each method, in steps of random mini-batches."""
    projects = by_project()
    figure, every = plt.subplots(
        len(projects), sharex=True, figsize=(8.5, 1.3 * len(projects) + 0.9), squeeze=False
    )
    for (name, rows), axes in zip(projects.items(), every[:, 0], strict=True):
        unit = sum(rows[0]["ms"].values())
        for place, row in enumerate(reversed(rows)):
            left = 0.0
            for part, color in COLORS.items():
                width = row["ms"].get(part, 0.0) / unit
                label = TITLES.get(part, part) if place == 0 else None
                axes.barh(place, width, left=left, color=color, label=label)
                left += width
            axes.text(left + 0.01, place, f"{left:.2f}", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [row["method"] for row in reversed(rows)])
        axes.set_title(f"{name}: random {unit:.3g} ms a step", fontsize=9, loc="left")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
    every[-1, 0].set(xlabel="processor time, in steps of random mini-batches")
    handles, labels = every[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="lower center", frameon=False, fontsize=7)
    figure.tight_layout(rect=(0.0, 0.05, 1.0, 1.0))
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw()
