"""Which loss of a mixed example is worth remembering.

    python -m benchmarks.quality.mixed_losses --data FOLDER/data/prepared --examples 10000

A convnet trains on random mini-batches of the first images, of whose labels a share is drawn anew,
with mixup, cutmix or smoothed labels. Each visit of an example gives it a loss, by each of these:

- mixed: that of the mixed target, which is descended;
- excess: the same less the target's entropy, which no network gets below;
- own: cross-entropy with the own label alone;
- own, scaled: -log(p_y / the own label's share of the target).

It prints, after a half of the passes and after all: the rank correlation of the loss at the last
visit with the loss of the unmixed examples in eval mode, of the same weights (``now``: visits
without steps) and of the weights that the last pass of training ended with (``last``); and of the
mean over all visits, the share of wrong labels among as many examples of the largest (``wrong``).
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest.data.augment import Augmentation
from crest.data.prepared import Split, load
from crest.inference.forward import evaluating
from crest.models import build
from crest.training.mixing import Mixing, Targets, mix

BATCH, PEAK = 64, 0.2
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """What is trained with; ``each``: every example has a share of its own."""

    name: str
    mixing: Mixing | None = None
    smoothing: float = 0.0
    each: bool = False


SETTINGS = (
    Setting("plain"),
    Setting("smoothing 0.1", smoothing=0.1),
    Setting("mixup 0.2", Mixing(0.2, 0.0)),
    Setting("mixup 1", Mixing(1.0, 0.0)),
    Setting("mixup 1, a share an example", Mixing(1.0, 0.0), each=True),
    Setting("cutmix 1", Mixing(0.0, 1.0)),
)


def mixed_batch(
    setting: Setting, inputs: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Targets]:
    """Return inputs and targets as the setting has them."""
    count, _, height, width = inputs.shape
    weights = torch.ones(count)
    if setting.mixing is None:
        return inputs, Targets(labels, weights, labels, torch.zeros(count))
    drawn = setting.mixing.draw(count, height, width, generator)
    if not setting.each:
        return mix(inputs, labels, weights, drawn)
    shares = torch.tensor(
        [setting.mixing.draw(2, height, width, generator).share for _ in range(count)]
    )
    there = shares[:, None, None, None]
    mixed = inputs * there + inputs[drawn.partners] * (1 - there)
    return mixed, Targets(labels, shares, labels[drawn.partners], 1 - shares)


def losses_of(logits: Tensor, targets: Targets, smoothing: float) -> dict[str, Tensor]:
    """Return each kind of loss; the first is descended."""
    assert targets.other_labels is not None
    assert targets.other_weights is not None
    own = F.cross_entropy(logits, targets.labels, reduction="none")
    both = (
        F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing) * weights
        for labels, weights in (
            (targets.labels, targets.weights),
            (targets.other_labels, targets.other_weights),
        )
    )
    same = targets.labels == targets.other_labels
    share = torch.where(same, 1.0, targets.weights)
    entropy = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))
    mixed = sum(both, torch.zeros_like(own))
    return {
        "mixed": mixed,
        "excess": mixed - entropy,
        "own": own,
        "own, scaled": (own + share.log()).clamp(min=0.0),
    }


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return Spearman's."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])


class Measured:
    """A training that is measured on the way."""

    def __init__(
        self, setting: Setting, data: Split, labels: Tensor, wrong: Tensor, model: nn.Module
    ) -> None:
        self._setting = setting
        self._data = data
        self._labels = labels
        self._wrong = wrong
        self._model = model
        self._generator = torch.Generator().manual_seed(1)
        self._optimizer = torch.optim.SGD(
            model.parameters(), lr=PEAK, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        self._sums: dict[str, Tensor] = {}

    def one_pass(self, rates: Tensor | None) -> dict[str, Tensor]:
        """Visit all examples, taking steps of these rates or none; returns losses by their kind."""
        found: dict[str, Tensor] = {}
        count = len(self._labels)
        self._model.train()
        for step, batch in enumerate(torch.randperm(count, generator=self._generator).split(BATCH)):
            draws = self._data.draw_views(len(batch), self._generator)
            inputs = self._data.views(batch, draws)
            assert isinstance(inputs, Tensor)
            labels = self._labels[batch]
            inputs, targets = mixed_batch(self._setting, inputs, labels, self._generator)
            with torch.set_grad_enabled(rates is not None):
                losses = losses_of(self._model(inputs), targets, self._setting.smoothing)
            for name, values in losses.items():
                found.setdefault(name, torch.zeros(count))[batch] = values.detach()
            if rates is not None:
                self._optimizer.param_groups[0]["lr"] = float(rates[step])
                self._optimizer.zero_grad()
                losses["mixed"].mean().backward()
                self._optimizer.step()
        return found

    def clean(self) -> Tensor:
        """Return the loss of every example as it is, in eval mode."""
        with torch.no_grad(), evaluating(self._model):
            parts = [
                F.cross_entropy(
                    self._model(self._data.inputs(some)), self._labels[some], reduction="none"
                )
                for some in torch.arange(len(self._labels)).split(500)
            ]
        return torch.cat(parts)

    def rows(self, passes: int) -> Iterator[str]:
        """Train, and yield rows of the table."""
        steps = -(-len(self._labels) // BATCH)
        rates = PEAK * torch.sin(torch.linspace(0.2, torch.pi, passes * steps + 1))[:-1]
        for number in range(passes):
            last = self.one_pass(rates[number * steps : (number + 1) * steps])
            for name, losses in last.items():
                self._sums[name] = self._sums.get(name, torch.zeros(len(losses))) + losses
            if number + 1 not in (passes // 2, passes):
                continue
            clean = self.clean()
            held = {name: value.clone() for name, value in self._model.state_dict().items()}
            now = self.one_pass(None)
            self._model.load_state_dict(held)
            for name in last:
                first = self._sums[name].argsort(descending=True)[: int(self._wrong.sum())]
                figures = (
                    rank_correlation(now[name], clean),
                    rank_correlation(last[name], clean),
                    float(self._wrong[first].double().mean()),
                )
                cells = " | ".join(f"{figure:.3f}" for figure in figures)
                yield f"| {self._setting.name} | {number + 1} | {name} | {cells} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared images")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--passes", type=int, default=16)
    parser.add_argument("--wrong", type=float, default=0.1, help="share of the labels drawn anew")
    parser.add_argument("--crop", type=int, default=2)
    arguments = parser.parse_args()
    prepared = load(arguments.data, CPU, Augmentation(arguments.crop, flip=True))
    labels = prepared.train.labels[: arguments.examples].clone()
    classes = len(prepared.meta.classes)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(len(labels), generator=generator)[: round(arguments.wrong * len(labels))]
    labels[drawn] += torch.randint(1, classes, drawn.shape, generator=generator)
    labels %= classes
    wrong = labels != prepared.train.labels[: len(labels)]
    print("| trained with | passes | loss | now | last | wrong |\n|---|---|---|---|---|---|")
    for setting in SETTINGS:
        first = prepared.train.inputs(torch.tensor([0]))
        assert isinstance(first, Tensor)
        shape = first.shape
        image = (*shape[2:], shape[1])
        model = build("convnet", classes=classes, image_shape=image, stem="cifar", seed=0)
        for row in Measured(setting, prepared.train, labels, wrong, model).rows(arguments.passes):
            print(row, flush=True)


if __name__ == "__main__":
    main()
