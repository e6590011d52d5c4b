"""An open region, and how it is saved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from crest.regions.quadratic import QuadraticModel
from crest.selection.coresets import MiniBatchCoreset

# Fields that are numbers, or a dictionary of them.
_PLAIN_FIELDS = (
    "number",
    "start_step",
    "interval",
    "active",
    "steps",
    "checks",
    "used",
    "rho",
    "seconds",
)


@dataclass
class Region:
    """What was selected for a region, its model of the loss, and how it goes.

    ``used`` counts the coresets that were trained on in turn, where they are.
    """

    number: int
    start_step: int
    interval: int
    coresets: list[MiniBatchCoreset]
    model: QuadraticModel
    active: int
    steps: int = 0
    checks: int = 0
    used: int = 0
    rho: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def check_due(self) -> bool:
        """Whether T1 steps went by since it opened or was last checked."""
        return self.steps >= (self.checks + 1) * self.interval

    def is_checked_at(self, step: int) -> bool:
        """Whether a check comes before the mini-batch of a step, if none is drawn ahead."""
        return step - self.start_step >= (self.checks + 1) * self.interval

    def spend(self, part: str, seconds: float) -> None:
        """Add to the time of one part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def row(self, end_step: int, examples: int) -> dict[str, object]:
        """Return the region as a row of the 'regions' table, of ``examples`` in all."""
        model = self.model
        norms = {
            "gradient_norm": float(model.gradient.norm()),
            "curvature_norm": float(model.curvature.norm()),
        }
        row = region_row(
            self.number,
            (self.start_step, end_step),
            self.interval,
            len(self.coresets),
            model.loss,
            (self.active, examples),
            self.seconds,
        )
        return {**row, **norms, "checks": self.checks, "rho": self.rho}


def region_row(
    number: int,
    steps: tuple[int, int],
    interval: int,
    minibatches: int,
    loss: float,
    active: tuple[int, int],
    seconds: Mapping[str, float],
) -> dict[str, object]:
    """Return a row of the 'regions' table, without what only a quadratic model has.

    ``steps`` are its first and the first after it, ``active`` how many examples of how many were
    chosen from, ``seconds`` those of each part.
    """
    return {
        "region": number,
        "start_step": steps[0],
        "end_step": steps[1],
        "check_interval": interval,
        "minibatches": minibatches,
        "checks": 0,
        "rho": None,
        "loss_start": loss,
        "gradient_norm": None,
        "curvature_norm": None,
        "effective_size": None,  # known when all coresets are
        "active": active[0],
        "excluded": active[1] - active[0],
        **{
            f"seconds_{part}": seconds.get(part, 0.0)
            for part in ("select", "model", "check", "train")
        },
    }


def region_state(region: Region) -> dict[str, Any]:
    """Return an open region as a tree for the saved state."""
    coresets = region.coresets
    return {
        **{name: getattr(region, name) for name in _PLAIN_FIELDS},
        "model": dict(vars(region.model)),
        "indices": torch.stack([coreset.indices for coreset in coresets]),
        "weights": torch.stack([coreset.weights for coreset in coresets]),
    }


def load_region(state: dict[str, Any], device: torch.device) -> Region:
    """Return the region of a saved state; losses at selection are in the rows already."""
    rows = zip(state["indices"], state["weights"], strict=True)
    model: dict[str, Any] = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in state["model"].items()
    }
    return Region(
        **{name: state[name] for name in _PLAIN_FIELDS},
        model=QuadraticModel(**model),
        coresets=[
            MiniBatchCoreset(indices, weights, None, state["number"], number)
            for number, (indices, weights) in enumerate(rows)
        ],
    )
