"""Write docs/methods/: of each method that is no rule a card, and its picture.

    python docs/method_cards.py

Prose is of docs/methods.yaml, figures of the rows of docs/results. docs/cards.py writes those of
rules.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import yaml
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # of benchmarks, which are not installed

import cards  # noqa: E402, docs/cards.py

from benchmarks.experiments import commands  # noqa: E402
from benchmarks.experiments.tables import Group, Table, grouped, paired  # noqa: E402

FOLDER = ROOT / "docs" / "methods"
PROSE: Mapping[str, Mapping[str, str]] = yaml.safe_load(
    (ROOT / "docs" / "methods.yaml").read_text(encoding="utf-8")
)
EXPERIMENTS = ("cifar10-resnet20", "methods-cifar10", "digits", "proxy-cifar10")
REUSED = "reuse-cifar10"  # whose runs of other methods are what replay is compared with
PICTURED = "Points above random mini-batches, same steps, with standard errors"


def pages() -> dict[Path, str]:
    """Return every card by its file."""
    return {FOLDER / f"{name}.md": page(name) for name in PROSE}


def page(name: str) -> str:
    """Return a card."""
    prose, found = PROSE[name], runs_of(name)
    facts = {
        "Use": f"`--method {name}` in the [pipeline](../parameters.md#{name}).",
        "Cost": prose["cost"],
        "For it": prose["helps"],
        "Against it": prose["not"],
        "Measured": cards.verdict(found),
        "Paper": paper(prose["paper"]),
    }
    lines = [f"# {name}", "", *cards.wrapped(prose["does"]), ""]
    if compared(found):
        lines += [f"![{PICTURED}]({name}.png)", ""]
    for title, text in facts.items():
        lines += cards.wrapped(f"- **{title}.** {text}", "  ") if text else []
    return "\n".join([*lines, "", *cards.row_table(found)]) + "\n"


def paper(text: str) -> str:
    """Return a title that ends in an address as a link."""
    title, _, link = text.rpartition(", ")
    return f"[{title}]({link})." if link.startswith("https://") else text


@cache
def tables() -> Mapping[str, Table]:
    """Return the runs of each experiment beside each other."""
    rows = {
        name: commands.saved_rows(ROOT / "docs" / "results" / f"{name}.jsonl")
        for name in (*EXPERIMENTS, REUSED)
    }
    return {name: Table(grouped(*found)) for name, found in rows.items()}


def runs_of(name: str) -> list[cards.Run]:
    """Return a method's runs at all their budgets."""
    if name == "replay":  # of one length, told apart by whose coresets they are
        table = tables()[REUSED]
        return [cards.Run(REUSED, table, (g,)) for g in table.groups if g.method == name]
    return [
        cards.Run(experiment, tables()[experiment], groups)
        for experiment in EXPERIMENTS
        for groups in cards.by_run(tables()[experiment].groups)
        if groups[0].method == name
    ]


def compared(found: Sequence[cards.Run]) -> list[tuple[str, float, float | None]]:
    """Return of every run that has a random its name, and what it gains, in points."""
    gains = []
    for run in found:
        for group in run.groups:
            other = run.table.random(group)
            pair = None if other is None else paired(group, other)
            if pair is not None:
                mean, error = pair
                title = f"{title_of(group)}, {run.experiment}"
                gains.append((title, 100 * mean, None if error is None else 100 * error))
    return gains


def title_of(group: Group) -> str:
    """Return a run's name, and how few seeds it has where that is one."""
    return group.name + (" (one seed)" if len(group.accuracies) == 1 else "")


def picture(name: str) -> Figure:
    """Return the picture of a card: its runs, one below the other."""
    gains = compared(runs_of(name))
    figure = Figure(figsize=(7.0, 0.8 + 0.22 * len(gains)))
    axes = figure.add_subplot()
    for place, (_, mean, error) in enumerate(gains):
        axes.errorbar([mean], [-place], xerr=None if error is None else [error], fmt="oC0", ms=4)
    axes.axvline(0, color="0.8", zorder=0)
    axes.set_yticks([-place for place in range(len(gains))], [title for title, _, _ in gains])
    axes.set_ylim(0.6 - len(gains), 0.6)
    axes.set_xlabel("points above random, same steps (± standard error)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    """Write the cards and their pictures."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        if compared(runs_of(path.stem)):
            figure = picture(path.stem)
            figure.savefig(path.with_suffix(".png"), dpi=75, metadata={"Software": None})


if __name__ == "__main__":
    main()
