"""Write docs/rules/: of each rule a card, and its picture.

    python docs/cards.py

Prose is of docs/cards.yaml, cost and options of the code, figures of the rows of docs/results.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # of benchmarks, which are not installed

import rules  # noqa: E402, docs/rules.py

from benchmarks.experiments import experiment  # noqa: E402
from benchmarks.experiments.rows import Rows  # noqa: E402
from benchmarks.experiments.tables import (  # noqa: E402
    DASH,
    Group,
    Table,
    accuracy_cell,
    difference_cell,
    grouped,
    paired,
)
from crest.methods import METHODS  # noqa: E402
from crest.parameters.section import keys_of, value_of  # noqa: E402
from crest.samplers.rules import RULES, Round, build_rule  # noqa: E402
from crest.samplers.rules.focused import FIRST  # noqa: E402
from crest.samplers.rules.rule import drawn_by_chance  # noqa: E402
from crest.samplers.selective_backprop import ranks  # noqa: E402

FOLDER = ROOT / "docs" / "rules"
PROSE: Mapping[str, Mapping[str, str]] = yaml.safe_load(
    (ROOT / "docs" / "cards.yaml").read_text(encoding="utf-8")
)
EXPERIMENTS = ("rivals-cifar10", "rivals-digits", "rivals-schedule", "label-noise-cifar10")
# Cards of methods that are no rule of RULES, by the method's name.
OF_METHODS = {"selective_backprop_fresh": "selective_backprop", "adaptive": "adaptive"}
WIDTH = 100
KEPT = "\N{NO-BREAK SPACE}"  # where no line ends
FLOAT = 4  # bytes
PICTURED = "Share of rounds that an example takes part in, by the rank of its last loss"
DIFFERS = "rules.md#what-they-are-here-and-in-their-papers"
DOUBTED = 0.2  # of adaptive's picture: the chance that a label is right
LEAST_SEEDS = 3
SAME = 1e-9  # a standard error of differences that are equal but for rounding
# Of a two-sided t-test at 95%, by the number of paired seeds; of more that of ten, which is wider.
T_VALUES = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


@dataclass(frozen=True)
class Run:
    """A run of an experiment at all its budgets, and the table it is in."""

    experiment: str
    table: Table
    groups: tuple[Group, ...]

    @property
    def name(self) -> str:
        """What the names of its groups have in common."""
        first, *others = (group.name.replace(",", "").split() for group in self.groups)
        if not others:
            return self.groups[0].name
        return " ".join(word for word in first if all(word in other for other in others))


def pages() -> dict[Path, str]:
    """Return every card by its file."""
    return {FOLDER / f"{name}.md": page(name) for name in PROSE}


def page(name: str) -> str:
    """Return a card."""
    prose = PROSE[name]
    found = [run for run in runs() if card_of(run.groups[0]) == name and belongs(run, name)]
    facts = {
        "Use": usage(name),
        "Cost": cost(name, found),
        "Options": options(name) + ".",
        "For it": prose["helps"],
        "Against it": prose["not"],
        "Measured": verdict(found),
    }
    lines = [f"# {name}", "", *wrapped(prose["does"]), "", f"![{PICTURED}]({name}.png)", ""]
    if note := noted(name):
        lines += [*wrapped(note), ""]
    for title, text in facts.items():
        lines += wrapped(f"- **{title}.** {text}", "  ") if text else []
    lines.append(f"- **Paper.** {paper(prose['paper'])}")
    return "\n".join([*lines, "", *row_table(found)]) + "\n"


def wrapped(text: str, indent: str = "") -> list[str]:
    """Return text in lines, of which none ends within code or the words of a link."""
    whole = re.sub(r"`[^`]+`|\[[^\]]+\]", lambda found: found[0].replace(" ", KEPT), text)
    lines = textwrap.wrap(
        whole, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(KEPT, " ") for line in lines]


def noted(name: str) -> str:
    """Return what there is to say of the picture, such as what is dashed."""
    weighted = name in RULES and build_rule(name, {}).weighted
    dashed = "Dashed: times the weight of its loss. " if weighted else ""
    return (dashed + PROSE[name].get("note", "")).strip()


def usage(name: str) -> str:
    """Return by which words it is asked for."""
    own = name in METHODS and name not in OF_METHODS.values()
    method = OF_METHODS.get(name, name if own else f"by_rule -S by_rule.rule={name}")
    words = f"--method {method}"
    pipeline = f"`{words}` in the [pipeline](../parameters.md)"
    if name not in RULES:
        return " ".join([f"{pipeline}.", *PROSE[name].get("use", "").split()])
    return f'`LossBatchSampler(..., rule="{name}")` in [a loop](../loop.md), {pipeline}.'


def cost(name: str, found: Sequence[Run]) -> str:
    """Return forward passes, and bytes that are remembered."""
    if name == "selective_backprop_fresh":
        scored = [
            group.scored / group.mean("examples_trained") for run in found for group in run.groups
        ]
        measured = f", {extent(scored)} for each that is trained on" if scored else ""
        history = METHODS["selective_backprop"].parameters().history
        return f"A forward pass for every candidate{measured}; {FLOAT * history:,} bytes in all."
    rule = build_rule("focused" if name == "adaptive" else name, {})
    remembered = ["last loss", *rule.columns] if rule.needs_losses else []
    text = "No forward pass"
    if name == "adaptive":
        remembered.append("chance that the label is right")
        text += " of the model, but the estimate before the first step"
    if not remembered:
        return f"{text}; nothing is remembered."
    columns = ", ".join("first loss" if one == FIRST else one for one in remembered)
    text += f"; {FLOAT * len(remembered)} bytes an example ({columns})"
    if rule.weighted:
        text += f", {FLOAT} for the weights of a round's losses"
    return f"{text}."


def extent(values: Sequence[float]) -> str:
    """Return the least and the largest, to one decimal."""
    ends = sorted({f"{min(values):.1f}", f"{max(values):.1f}"}, key=float)
    return " to ".join(ends)


def options(name: str) -> str:
    """Return every option with its default, and what it is."""
    found = method_options(OF_METHODS[name]) if name in OF_METHODS else rule_options(name)
    return "; ".join(f"`{key}={default}`: {text}" for key, default, text in found) or "None"


def method_options(name: str) -> Iterator[tuple[str, Any, str]]:
    """Yield a method's keys, their defaults and descriptions."""
    section = METHODS[name].parameters
    for key, field in keys_of(section).items():
        yield key, value_of(section(), key), str(field.description)


def rule_options(name: str) -> Iterator[tuple[str, Any, str]]:
    """Yield a rule's options, their defaults, and what its docstring says of each."""
    build = RULES[name].build
    lines = (inspect.getdoc(build) or "").splitlines()
    for key, parameter in inspect.signature(build).parameters.items():
        heads = [at for at, line in enumerate(lines) if key in line.split(", ")]
        text = []
        for line in lines[heads[0] + 1 :]:
            if not line.startswith(" "):
                break
            text.append(line.strip())
        yield key, parameter.default, lowered(" ".join(text).rstrip("."))


def lowered(text: str) -> str:
    """Return a sentence as it stands within another."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def paper(text: str) -> str:
    """Return a title that ends in an address as a link, and another to what differs."""
    title, _, link = text.rpartition(", ")
    if not link.startswith("https://"):
        return text
    return f"[{title}]({link}). [What differs here](../{DIFFERS})."


@cache
def runs() -> tuple[Run, ...]:
    """Return the runs of all experiments that have rows, but those in the time of another."""
    found = []
    for name in EXPERIMENTS:
        rows = Rows(ROOT / "docs" / "results" / f"{name}.jsonl").read()
        definition = ROOT / "benchmarks" / "experiments" / "definitions" / f"{name}.yaml"
        table = Table(grouped(rows, experiment.read(definition) if rows else None))
        found += [Run(name, table, groups) for groups in by_run(table.groups)]
    return tuple(found)


def by_run(groups: Sequence[Group]) -> Iterator[tuple[Group, ...]]:
    """Yield the groups that are the same but for the budget."""
    left = [group for group in groups if group.time_of is None and not only_right(group)]
    while left:
        first, *others = left
        same = [group for group in others if group.is_another_length_of(first)]
        yield first, *same
        left = [group for group in others if group not in same]


def only_right(group: Group) -> bool:
    """Whether it is a bound that no rule can have, and so no row of one."""
    return bool(group.rows[0]["data"]["varied"].get("only_right"))


def card_of(group: Group) -> str:
    """Return the card that a run belongs to."""
    if group.method == "by_rule":
        return str(group.rows[0]["overrides"].get("by_rule.rule", "infobatch"))
    cards = {method: card for card, method in OF_METHODS.items()}
    return cards.get(group.method, group.method)


def belongs(run: Run, name: str) -> bool:
    """Whether a card has the run: of random's, those on other data stand beside adaptive alone."""
    return name != "random" or run.experiment in EXPERIMENTS[:3]


def row_table(found: Sequence[Run]) -> list[str]:
    """Return the table of a rule's runs, without columns that are empty, and its commands."""
    if not found:
        return ["No row yet: not measured."]
    cells = [row_cells(run) for run in found]
    columns = [column for column in cells[0] if any(row[column].strip(DASH) for row in cells)]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row[column] for column in columns) + " |" for row in cells]
    note = (
        "Percent ± standard deviation (seeds); points over paired seeds ± standard error. "
        "All rows: `python -m benchmarks.experiments table docs/results/NAME.jsonl`."
    )
    return [*lines, "", *wrapped(note)]


def row_cells(run: Run) -> dict[str, str]:
    """Return a run's cells by their columns, a line of each for a budget."""
    random = [run.table.random(group) for group in run.groups]
    rival = [run.table.random_in_its_time(group) for group in run.groups]
    each = list(zip(run.groups, random, rival, strict=True))
    ratios = [run.table.ratio(group) if group is not other else None for group, other, _ in each]
    definition = f"../../benchmarks/experiments/definitions/{run.experiment}.yaml"
    return {
        "rows": f"[{run.experiment}]({definition})",
        "run": run.name,
        "steps": cell([f"{group.mean('steps'):,.0f}" for group in run.groups]),
        "accuracy (seeds)": cell([accuracy_cell(group) for group in run.groups]),
        "− random": cell([difference_cell(group, other) for group, other, _ in each]),
        "− random, equal time": cell([difference_cell(group, other) for group, _, other in each]),
        "seconds ÷ random": cell([DASH if one is None else f"{one:.2f}" for one in ratios]),
    }


def cell(values: Sequence[str]) -> str:
    """Return values of several budgets; one dash for none of all."""
    return DASH if set(values) == {DASH} else "<br>".join(values)


def verdict(found: Sequence[Run]) -> str:
    """Return at how many runs it is told apart from random, and which."""
    groups = [
        (run, group, other)
        for run in found
        for group in run.groups
        if (other := run.table.random(group)) is not None and other is not group
    ]
    signs = [
        (sign(group, other), f"{group.name}, {run.experiment}") for run, group, other in groups
    ]
    judged = [value for value, _ in signs if value is not None]
    if not groups:
        return ""
    if not judged:
        return f"No run of {LEAST_SEEDS} seeds yet: nothing is told apart from `random`."
    parts = [f"Of {len(judged)} runs of {LEAST_SEEDS} seeds or more"]
    for value, words in ((1, "above `random`"), (-1, "below"), (0, "not told apart")):
        which = [text for one, text in signs if one == value]
        names = f" ({'; '.join(which)})" if which and value else ""
        parts.append(f"{len(which)} {words}{names}")
    return ", ".join(parts) + " (paired t-test at 95%, by chance one in twenty)."


def sign(group: Group, other: Group) -> int | None:
    """Return 1 or −1 where the difference is told from 0, 0 where not, None of too few seeds."""
    seeds = len(group.accuracies.keys() & other.accuracies.keys())
    pair = paired(group, other)
    if seeds < LEAST_SEEDS or pair is None or pair[1] is None:
        return None
    mean, error = pair
    told = error > SAME and abs(mean) > T_VALUES[min(seeds, max(T_VALUES))] * error
    return (1 if mean > 0 else -1) if told else 0


def picture(name: str) -> Figure:
    """Return the picture of a card."""
    figure = Figure(figsize=(4.2, 2.4))
    panel = figure.add_axes((0.13, 0.2, 0.84, 0.68))
    rules.draw_panel(panel, *curves(name))
    panel.set_title(name, fontsize=9)
    panel.set_xlabel("rank of the last loss, lowest to highest", fontsize=8)
    panel.set_ylabel("share of rounds", fontsize=8)
    panel.tick_params(labelsize=8)
    return figure


def curves(name: str) -> rules.Shares:
    """Return the shares of rounds, and what is dashed."""
    losses = rules.skewed_losses()
    if name == "adaptive":
        taken, _ = rules.shares("focused", losses)
        return taken, DOUBTED * taken
    if name != "selective_backprop_fresh":
        return rules.shares(name, losses)
    generator = torch.Generator().manual_seed(1)
    parameters = METHODS["selective_backprop"].parameters()
    recent = losses[torch.randperm(len(losses), generator=generator)[: parameters.history]]
    chances = ranks(losses, recent).pow(parameters.power)
    return rules.averaged(lambda _: Round(drawn_by_chance(chances, generator)), losses)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        picture(path.stem).savefig(path.with_suffix(".png"), dpi=100, metadata={"Software": None})
