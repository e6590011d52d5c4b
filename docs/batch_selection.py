"""The picture of docs/batch-selection.md, written beside it: python docs/batch_selection.py.

Drawn of the rows of docs/results/expectations.json, which benchmarks.quality.expectations adds.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROWS = Path(__file__).with_name("results") / "expectations.json"
PICTURE = Path(__file__).with_name("batch-selection.png")
NAMES = {
    "truth": "the norm itself",
    "memory and convnet": "memory and convnet",
    "memory and proxynet": "memory and proxynet",
    "memory": "memory",
    "convnet": "convnet, by the view",
    "proxynet": "proxynet, by the view",
}
COLUMNS = {
    "left_out": "candidates that carry a tenth of the gradient",
    "explained": "variance of the norm explained",
}


def read() -> dict[str, Any]:
    """Return the newest run."""
    return json.loads(ROWS.read_text(encoding="utf-8").splitlines()[-1])


def draw(run: dict[str, Any]) -> None:
    """Draw what was known through training."""
    figure, panels = plt.subplots(1, 2, figsize=(10.5, 3.2))
    steps = [row["step"] for row in run["rows"]]
    for axes, (column, title) in zip(panels, COLUMNS.items(), strict=True):
        for place, (name, label) in enumerate(NAMES.items()):
            if column == "explained" and name == "truth":
                continue
            values = [row[name][column] for row in run["rows"]]
            axes.plot(steps, values, "o-", ms=3, label=label, color="0.4" if not place else None)
        axes.set(xlabel="step", title=title, ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="center right")
    figure.tight_layout(rect=(0, 0, 0.83, 1))
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw(read())
