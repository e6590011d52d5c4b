"""The pictures of docs/hard-figures, written beside their pages: python docs/hard_figures.py.

Drawn of the files of docs/results that the commands of the pages write.
"""

import json
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).with_name("results")
PICTURES = Path(__file__).with_name("hard-figures")
SCORES = ("forgetting", "EL2N", "margin", "mean loss", "last loss")
RUNS = "staleness.json"
DATA = {"digits": "digits", "cifar10-resnet20-economical": "CIFAR-10", "snli-minilm": "SNLI"}


def read(name: str) -> Any:
    """Return a file of results; of several runs, a line each."""
    text = (RESULTS / name).read_text(encoding="utf-8")
    if name == RUNS:
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def plain(axes: Axes, **settings: Any) -> None:
    """Set titles and labels, and take away what frames the panel."""
    axes.set(**settings)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, name: str) -> None:
    """Write a picture, the same bytes for the same data."""
    figure.savefig(PICTURES / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def staleness() -> None:
    """Draw rank correlations with the losses of the moment, by pass."""
    runs = read(RUNS)
    there = {
        preset: title for preset, title in DATA.items() if any(r["preset"] == preset for r in runs)
    }
    figure, panels = plt.subplots(1, len(there), figsize=(10.5, 3.2), sharey=True)
    for axes, (preset, title) in zip(panels, there.items(), strict=True):
        own = [run["rows"] for run in runs if run["preset"] == preset]
        passes = [row["pass"] for row in own[0]]
        remembered = [
            mean(rows[at]["remembered"]["rank_correlation"] for rows in own)
            for at in range(len(passes))
        ]
        axes.plot(passes, remembered, "o-", ms=3, color="0.3", label="as training saw them")
        for length in (1, 2, 5, 10):
            points = [
                (row["pass"], mean(r[at]["rounds"][str(length)]["rank_correlation"] for r in own))
                for at, row in enumerate(own[0])
                if str(length) in row["rounds"] and row["pass"] > length
            ]
            if points:
                label = f"of {length} {'pass' if length == 1 else 'passes'} ago"
                axes.plot(*zip(*points, strict=True), ".-", ms=3, lw=1, label=label)
        plain(axes, title=title, xlabel="pass")
    panels[0].set(ylabel="rank correlation", ylim=(0, 1))
    panels[1].legend(frameon=False, fontsize=8, loc="lower right")
    figure.tight_layout()
    save(figure, "staleness")


def effective_size() -> None:
    """Draw effective sizes by tenth of training."""
    rows = read("effective-size.json")["rows"]
    figure, axes = plt.subplots(figsize=(7.5, 3.2))
    for name in dict.fromkeys(row["setting"] for row in rows):
        own = [row["tenths"] for row in rows if row["setting"] == name]
        values = [mean(tenths[at]["effective"] for tenths in own) for at in range(len(own[0]))]
        axes.plot(range(1, 11), values, "o-", ms=3, label=name)
    plain(axes, xlabel="tenth of training", ylabel="effective share", ylim=(0, 1.05))
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=8, loc="center right")
    figure.tight_layout(rect=(0, 0, 0.64, 1))
    save(figure, "effective-size")


def agreement() -> None:
    """Draw the coefficients of each two scores, clean and with wrong labels."""
    rows = read("agreement.json")["rows"]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure, panels = plt.subplots(1, len(cases), figsize=(11.5, 3.4))
    for axes, case in zip(panels, cases, strict=True):
        own = [row for row in rows if row["case"] == case]
        values = [
            [
                mean(
                    row["again"][one] if one == other else row["between"][f"{one} / {other}"]
                    for row in own
                )
                for other in SCORES
            ]
            for one in SCORES
        ]
        axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu")
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                color = "white" if abs(value) > 0.7 else "black"
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
        axes.set_title(
            case.replace("none", "all labels right").replace("20%", "a fifth wrong"), fontsize=9
        )
        axes.set_xticks(range(len(SCORES)), SCORES, rotation=45, ha="right", fontsize=7)
        axes.set_yticks(range(len(SCORES)), SCORES if axes is panels[0] else [], fontsize=7)
    figure.tight_layout()
    save(figure, "agreement")


def variance() -> None:
    """Draw simulated variances beside those of theory."""
    rows = read("inclusion.json")["variance"]
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    figure, panels = plt.subplots(1, len(sizes), figsize=(9, 3.2), sharey=True)
    for axes, size in zip(panels, sizes, strict=True):
        own = [row for row in rows if row["size"] == size]
        passes = [str(row["passes"]) for row in own]
        for name in own[0]["designs"]:
            found = [row["designs"][name] for row in own]
            errors = [2 * one["error"] for one in found]
            line = axes.errorbar(
                passes, [one["simulated"] for one in found], errors, fmt="o", ms=4, label=name
            )
            if found[0]["theory"] is not None:
                color = line[0].get_color()
                theory = [one["theory"] for one in found]
                axes.plot(passes, theory, "--", lw=1, color=color, label=f"{name}, theory")
        plain(axes, title=f"mini-batches of {size}", xlabel="passes trained", ylim=(0, 1.15))
    panels[0].set_ylabel("variance ÷ simple random's")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="center right"
    )
    figure.tight_layout(rect=(0, 0, 0.76, 1))
    save(figure, "variance")


def inclusion() -> None:
    """Draw how improbable each design's deviations are."""
    found = read("inclusion.json")["inclusion"]
    figure, axes = plt.subplots(figsize=(7.5, 2.4))
    names = list(found)[::-1]
    values = [
        found[name].get("probability_of_chi_square", found[name]["probability_of_greatest"])
        for name in names
    ]
    axes.barh(
        names,
        [max(value, 1e-12) for value in values],
        color=["tab:red" if value < 0.01 else "tab:blue" for value in values],
    )
    axes.axvline(0.01, color="0.5", lw=1, ls=":")
    axes.tick_params(labelsize=8)
    plain(axes, xscale="log", xlabel="probability of deviations as large, were the chances right")
    figure.tight_layout()
    save(figure, "inclusion")


def tables() -> dict[str, list[str]]:
    """Return the rows of the pages' tables, as they stand there."""
    return {
        "staleness": staleness_rows(),
        "inclusion": inclusion_rows(),
        "variance": variance_rows(),
        "agreement": agreement_rows(),
    }


def staleness_rows() -> list[str]:
    """Return what was remembered at some passes, means over seeds."""
    lines = []
    for preset, title in DATA.items():
        own = [run["rows"] for run in read(RUNS) if run["preset"] == preset]
        if not own:
            continue
        for at in (1, 3, 5, 10, 20):
            if at > len(own[0]):
                continue
            rows = [run[at - 1] for run in own]
            cells = [
                mean(found(row)[what] for row in rows)
                for found in (lambda row: row["remembered"], lambda row: row["rounds"]["1"])
                for what in ("rank_correlation", "gained")
            ]
            numbers = " | ".join(f"{cell:.2f}".replace("-", "−") for cell in cells)
            lines.append(f"| {title} | {at} | {numbers} |")
    return lines


def inclusion_rows() -> list[str]:
    """Return what deviations each design has, and how probable they are."""
    lines = []
    for name, found in read("inclusion.json")["inclusion"].items():
        by = found.get("probability_of_chi_square", found["probability_of_greatest"])
        probability = f"{by:.2f}" if by >= 0.01 else f"{by:.4f}"
        cells = f"{found['examples']:,} | {found['mean_z2']:.3f} | {found['greatest_z']:.2f}"
        lines.append(f"| {name} | {cells} | {probability} |")
    return lines


def variance_rows() -> list[str]:
    """Return simulated variances and those of theory."""
    lines = []
    for row in read("inclusion.json")["variance"]:
        plain, shares, balanced = row["designs"].values()
        cells = [
            f"{one['simulated']:.3f} ± {one['error']:.3f}" for one in (plain, shares, balanced)
        ]
        cells.insert(2, f"{shares['theory']:.3f}")
        lines.append(f"| {row['passes']} | {row['size']} | {' | '.join(cells)} |")
    return lines


def agreement_rows() -> list[str]:
    """Return the average precision of each score at finding wrong labels."""
    rows = read("agreement.json")["rows"]
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows if row["precision"]):
        own = [row for row in rows if row["case"] == case]
        cells = [f"{mean(row['precision'][name] for row in own):.2f}" for name in SCORES]
        lines.append(f"| {case} | {mean(row['wrong'] for row in own):.2f} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    for draw in (staleness, effective_size, agreement, variance, inclusion):
        draw()
