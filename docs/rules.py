"""Draw docs/rules.png: how often each rule draws an example, by the rank of its loss.

    python docs/rules.py

Losses of 20,000 examples are drawn from a squared uniform distribution, as of a model that has
learned most; a rule draws 60 rounds of them. Solid: the share of rounds that an example takes part
in. Dashed: that share times the weight of its loss. ``focused`` is drawn without its onset, as once
training has taken enough of the losses away.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from crest.samplers.loss_history import LossHistory
from crest.samplers.rules import RULES, Round, build_rule

Shares = tuple[Tensor, Tensor]  # float32, BINS each

PICTURE = Path(__file__).with_suffix(".png")
EXAMPLES, ROUNDS, BINS = 20_000, 60, 50
OPTIONS: dict[str, dict[str, None]] = {"focused": {"onset": None}}
DRAWN = [name for name in RULES if name != "stratified"]  # which is random's picture


def skewed_losses() -> Tensor:
    """Return the losses that are drawn from."""
    return torch.rand(EXAMPLES, generator=torch.Generator().manual_seed(0)).square()


def shares(name: str, losses: Tensor) -> Shares:
    """Return the shares of a rule, as :func:`averaged` has them."""
    rule, generator = build_rule(name, OPTIONS.get(name, {})), torch.Generator().manual_seed(1)
    history = LossHistory(EXAMPLES, rule)
    history.remember(torch.arange(EXAMPLES).unsqueeze(0), losses.unsqueeze(0))
    groups = torch.arange(EXAMPLES) % 10
    return averaged(
        lambda number: rule.draw(history.observed(0.5, number, groups), generator), losses
    )


def averaged(draw_round: Callable[[int], Round | None], losses: Tensor) -> Shares:
    """Return the mean share of rounds, and that times the weight, of each bin of ranks."""
    taken, counted = torch.zeros(EXAMPLES), torch.zeros(EXAMPLES)
    for number in range(1, ROUNDS + 1):
        drawn = draw_round(number)
        members = torch.arange(EXAMPLES) if drawn is None else drawn.members.long()
        taken[members] += 1
        weighted = drawn is not None and drawn.weights is not None
        counted[members] += drawn.weights if weighted else 1.0
    order = losses.argsort()
    taken, counted = (of[order].view(BINS, -1).mean(1) / ROUNDS for of in (taken, counted))
    return taken, counted


def draw_panel(panel: Axes, taken: Tensor, dashed: Tensor) -> None:
    """Draw two shares by the rank of the loss."""
    ranks = (torch.arange(BINS) + 0.5) / BINS
    panel.plot(ranks, dashed, "--", color="0.6", linewidth=1)
    panel.plot(ranks, taken, color="tab:blue")
    panel.set_ylim(0, 1.15)
    panel.grid(alpha=0.3)


def draw() -> Figure:
    """Return the picture, a panel a rule."""
    losses = skewed_losses()
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots(2, -(-len(DRAWN) // 2), sharex=True, sharey=True)
    for panel, name in zip(axes.flat, DRAWN, strict=False):
        draw_panel(panel, *shares(name, losses))
        panel.set_title(name, fontsize=9)
    for panel in axes.flat[len(DRAWN) :]:
        panel.axis("off")
    figure.supxlabel("rank of the last loss, lowest to highest", fontsize=9)
    figure.supylabel("share of rounds (dashed: times the weight)", fontsize=9)
    return figure


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=110)
