"""The pictures of docs/results/, of the rows there: python docs/results_pictures.py [NAME ...].

Each shows points of test accuracy above random mini-batches under the same schedule and in as many
steps: a run's mean over the seeds with its standard error, and the seeds themselves, faint.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # of benchmarks, which are not installed

from benchmarks.experiments import commands  # noqa: E402
from benchmarks.experiments.tables import Group, Table, grouped  # noqa: E402

RESULTS = Path(__file__).with_name("results")
SAME_STEPS = "points above random mini-batches, same steps (± standard error; faint: seeds)"


@dataclass(frozen=True)
class Lines:
    """Settings one below the other, and in each some runs by what they are called."""

    file: str
    settings: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Prices:
    """Runs by their seconds over random's and by what they gain."""

    file: str
    runs: Mapping[str, str]  # by what they are called


@dataclass(frozen=True)
class Gain:
    """Points above random, of each seed."""

    seeds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.seeds)

    @property
    def error(self) -> float | None:
        """Its standard error, where there are two seeds."""
        return stdev(self.seeds) / sqrt(len(self.seeds)) if len(self.seeds) > 1 else None


def each(runs: Sequence[str], **settings: str) -> dict[str, dict[str, str]]:
    """Return the same runs in settings that end their names."""
    return {title: {run: run + end for run in runs} for title, end in settings.items()}


BUDGETS = {"5% of the steps": " 5%", "10%": " 10%", "20%": " 20%"}
FOCUSED = "focused stratified until 0.85"
GPU = "cifar10-resnet20-h100"
PICTURES: dict[str, tuple[Lines | Prices, ...]] = {
    "cifar10-resnet20": (
        Lines(
            "cifar10-resnet20",
            {
                "5% of the steps": {
                    "focused": f"{FOCUSED} 5%",
                    "crest with the same focus and shares": "crest stratified until 0.85 5%",
                    "greedy (one seed)": "greedy 5%",
                    "craig (one seed)": "craig 5%",
                },
                "5%, cosine": {
                    "focused": f"{FOCUSED} cosine 5%",
                    "crest with the same focus and shares": (
                        "crest stratified until 0.85 cosine 5%"
                    ),
                },
                "10%, cosine": {"focused": f"{FOCUSED} cosine 10%"},
                "20%": {"focused": f"{FOCUSED} 20%"},
            },
        ),
    ),
    "h100": (
        Lines(
            GPU,
            {
                "ResNet-20, 10%": {
                    "focused": f"{FOCUSED} 10%",
                    "classes' shares alone": "stratified 10%",
                    "crest with a focus, plain draws": "crest with focus 10%",
                },
                "ResNet-20, 10%, cosine": {"focused": f"{FOCUSED} cosine 10%"},
            },
        ),
        Lines("cifar10-resnet18-h100", {"ResNet-18, 5%": {"focused": f"{FOCUSED} 5%"}}),
        Lines(
            "cifar10-groupnorm-h100",
            {
                "GroupNorm, 10% (two seeds)": {
                    "focused": f"{FOCUSED} 10%",
                    "classes' shares alone": "stratified 10%",
                }
            },
        ),
    ),
    "focus-cifar10": (
        Lines(
            "focus-cifar10",
            {
                "crest, focus": {"of coresets": "crest with focus"},
                "the focus alone": {"no coresets": "focused alone"},
                "crest, focus weighed back": {"of coresets": "focus weighed back"},
                "crest, no focus": {"of coresets": "no focus"},
            },
        ),
    ),
    "methods-cifar10": (
        Prices(
            "methods-cifar10",
            {
                "focused": FOCUSED,
                "crest, focus": "crest stratified",
                "crest, cheap": "crest cheap",
                "greedy": "greedy",
                "craig": "craig",
                "gradmatch": "gradmatch",
                "crest as published": "crest as published",
                "random in that time": "random at published's time",
            },
        ),
    ),
    "digits": (
        Lines(
            "digits",
            {
                title: {
                    "focused": f"{FOCUSED}{end}",
                    "crest": f"crest{end}",
                    "crest as published": f"crest as published{end}",
                    "greedy": f"greedy{end}",
                }
                for title, end in BUDGETS.items()
            },
        ),
    ),
    "tinyimagenet-resnet18": (
        Lines(
            "tinyimagenet-resnet18",
            {
                "focused": {"classes' shares": f"{FOCUSED} 10%"},
                "stratified": {"classes' shares": "stratified 10%"},
                "crest, focus to the end": {"plain draws": "crest with focus 10%"},
            },
        ),
    ),
    "models-cifar10": (
        Lines(
            "models-cifar10",
            {
                title: {
                    "classes' shares alone": f"stratified{end}",
                    "the focus alone": f"focused alone{end}",
                    "both": f"focused stratified{end}",
                    "crest with a focus": f"crest with focus{end}",
                }
                for title, end in {"GroupNorm": " GroupNorm", "BatchNorm": ""}.items()
            },
        ),
    ),
    "tuning-cifar10": (
        Lines(
            "tuning-cifar10",
            {
                f"rate {end.replace(' decay', ', decay')}": {
                    "crest with a focus": f"crest with focus lr {end}"
                }
                for end in (
                    "0.05 decay 5e-4",
                    "0.1 decay 5e-4",
                    "0.2 decay 5e-4",
                    "0.4 decay 5e-4",
                    "0.2 decay 1e-3",
                )
            },
        ),
    ),
    "difficult-cifar10": (
        Lines(
            "difficult-cifar10",
            {
                title: {
                    "focused": f"{FOCUSED}{end}",
                    "crest with a focus": f"crest with focus{end}",
                    "crest, focus with a ceiling": f"crest with focus and a ceiling{end}",
                }
                for title, end in {
                    "classes 10:1": " 10:1",
                    "20% of the labels shuffled": " 20% wrong",
                    "40% shuffled": " 40% wrong",
                }.items()
            },
        ),
    ),
    "ablations-cifar10": (
        Lines(
            "ablations-cifar10",
            {
                name: {"crest": name}
                for name in (
                    "greedy",
                    "cheap r/m 8",
                    "cheap lr 0.4",
                    "cheap stratified",
                    "cheap without replacement",
                    "with focus",
                    "no focus",
                    "cheap no smoothing",
                    "cheap",
                    "cheap first order",
                    "cheap no excluding",
                )
            },
        ),
    ),
    "reuse-cifar10": (
        Lines(
            "reuse-cifar10",
            {
                "convnet, its own": {
                    "spatially balanced": "crest convnet",
                    "medoids": "crest convnet medoids",
                },
                "convnet, ResNet-20's": {
                    "spatially balanced": "convnet on resnet20's",
                    "medoids": "convnet on resnet20's medoids",
                },
                "ResNet-18, ResNet-20's (one seed)": {
                    "spatially balanced": "resnet18 on resnet20's",
                    "medoids": "resnet18 on resnet20's medoids",
                },
            },
        ),
    ),
    "label-noise-cifar10": (
        Lines(
            "label-noise-cifar10",
            {
                title: {"adaptive": f"adaptive{end}"}
                for title, end in {
                    "36% of the labels wrong": " 40%",
                    "18%": " 20%",
                    "9%": " 10%",
                    "none": " clean",
                    "36%, to a similar class (one seed)": " similar 40%",
                    "classes 10:1": " 10:1",
                    "classes 100:1": " 100:1",
                }.items()
            },
        ),
    ),
    "finetuning-imagenet": (
        Lines(
            "finetuning-imagenet",
            {
                "a fifth shuffled": {"adaptive": "adaptive 2 20%"},
                "random, in adaptive's seconds": {"random": "random 2 20% as long"},
                "right labels": {"adaptive": "adaptive 2"},
            },
        ),
    ),
    "proxy-cifar10": (
        Lines(
            "proxy-cifar10",
            {
                "each class's share": {"shares": "stratified"},
                "that, and importance by memory": {"importance": "memory, classes' shares"},
                "that, and a focus: adaptive": {"focus": "adaptive"},
                "importance by memory": {"importance": "memory"},
                "random, in memory's seconds": {"random": "random in the time of memory"},
                "importance by the model (one seed)": {"importance": "model"},
                "twice as many examples (one seed)": {"random": "twice as many examples"},
            },
        ),
    ),
    "rivals-cifar10": (
        Lines(
            "rivals-cifar10",
            {
                name: {"ours" if name in ("stratified", "focused alone") else "published": name}
                for name in (
                    "focused alone",
                    "stratified",
                    "infobatch",
                    "selective_backprop",
                    "rcap",
                    "epsilon_greedy",
                    "seta",
                    "ucb",
                    "orderdp",
                )
            },
        ),
    ),
}


@cache
def table_of(file: str) -> Table:
    """Return the runs of a file of rows beside each other."""
    rows, experiment = commands.saved_rows(RESULTS / f"{file}.jsonl")
    return Table(grouped(rows, experiment))


def group_of(file: str, name: str) -> Group:
    """Return a run by its name."""
    return next(group for group in table_of(file).groups if group.name == name)


def gain(file: str, name: str) -> Gain:
    """Return what a run has above random with the same schedule and steps, seed by seed."""
    group, table = group_of(file, name), table_of(file)
    against = group if group.time_of is None else group_of(file, group.time_of)
    random = table.random(against)
    assert random is not None, name
    seeds = sorted(group.accuracies.keys() & random.accuracies.keys())
    return Gain(tuple(100 * (group.accuracies[s] - random.accuracies[s]) for s in seeds))


def draw_lines(parts: Sequence[Lines]) -> Figure:
    """Draw settings below each other, the runs of each by colour."""
    settings = [(part.file, title, runs) for part in parts for title, runs in part.settings.items()]
    names = list(dict.fromkeys(name for _, _, runs in settings for name in runs))
    height = 0.9 + sum(0.16 + 0.17 * len(runs) for _, _, runs in settings)
    figure, axes = plt.subplots(figsize=(8.0, height))
    ticks, place = [], 0.0
    for file, _, runs in settings:
        heights = []
        for name, run in runs.items():
            number = names.index(name)
            draw_gain(axes, gain(file, run), -place, f"C{number}")
            heights.append(-place)
            place += 1.0
        ticks.append(fmean(heights))
        place += 0.9
    axes.set_ylim(1.2 - place, 0.7)
    axes.set_yticks(ticks, [title for _, title, _ in settings])
    for number, name in enumerate(names):
        axes.plot([], [], "o", color=f"C{number}", label=name)
    finish(axes, SAME_STEPS)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.axvline(0, color="0.8", zorder=0)
    figure.tight_layout()
    return figure


def draw_gain(axes: plt.Axes, found: Gain, place: float, color: str) -> None:
    """Draw one run: its seeds, its mean and the standard error."""
    axes.plot(found.seeds, [place] * len(found.seeds), "o", color=color, ms=3, alpha=0.35, mew=0)
    error = None if found.error is None else [found.error]
    axes.errorbar([found.mean], [place], xerr=error, fmt="o", color=color, ms=5.5)


def draw_prices(part: Prices) -> Figure:
    """Draw what runs gain against what they take."""
    figure, axes = plt.subplots(figsize=(8.0, 3.4))
    for number, (title, run) in enumerate(part.runs.items()):
        group, found = group_of(part.file, run), gain(part.file, run)
        ratio = table_of(part.file).ratio(group) or seconds_over_random(part.file, group)
        color = "C3" if group.method == "random" else "C0"
        axes.errorbar([ratio], [found.mean], yerr=[found.error or 0.0], fmt="o", color=color, ms=5)
        beside = {"xytext": (0, -26 if number % 2 else 14), "textcoords": "offset points"}
        axes.annotate(title, (ratio, found.mean), **beside, size=8, ha="center")
    axes.axhline(0, color="0.8", zorder=0)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set(xlim=(0.85, 9.5), ylim=(-3, 15))
    axes.minorticks_off()
    finish(axes, "seconds over random's in the same steps")
    axes.set_ylabel("points above random")
    figure.tight_layout()
    return figure


def seconds_over_random(file: str, group: Group) -> float:
    """Return the seconds of random that was given more time, over those of random."""
    (own,), (plain,) = group.seconds.values(), group_of(file, "random").seconds.values()
    return fmean(own) / fmean(plain)


def finish(axes: plt.Axes, title: str) -> None:
    """Name the horizontal axis, and leave out the frame."""
    axes.set_xlabel(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def draw(parts: tuple[Lines | Prices, ...]) -> Figure:
    """Draw one picture."""
    first = parts[0]
    if isinstance(first, Prices):
        return draw_prices(first)
    return draw_lines([part for part in parts if isinstance(part, Lines)])


def main(names: Sequence[str]) -> None:
    """Write the named pictures, or all."""
    for name in names or PICTURES:
        figure = draw(PICTURES[name])
        figure.savefig(RESULTS / f"{name}.png", dpi=90, metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
