"""Weights & Biases: a run in the project that WANDB_PROJECT names, else ``crest``.

WANDB_MODE=offline keeps it in files until ``wandb sync``.
"""

import os
from collections.abc import Mapping

from crest.errors import needs_extra
from crest.pipeline.trackers.base import Session

with needs_extra("wandb"):
    import wandb


class WandB:
    """A run of Weights & Biases."""

    def __init__(self, session: Session, run: str | None) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "crest",
            name=session.name,
            config=dict(session.settings),
            dir=session.folder,
            id=run,
            resume=None if run is None else "allow",
        )
        self.run = str(self._run.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add all values at a step."""
        self._run.log(dict(values), step=step)

    def finish(self, step: int, values: Mapping[str, float]) -> None:
        """Put the values of the whole run into its summary."""
        self._run.summary.update(dict(values))
        self._run.finish()

    def stop(self) -> None:
        """End the run as one that failed; it can go on."""
        self._run.finish(exit_code=1)


def start(session: Session, run: str | None) -> WandB:
    """Begin a run, or go on with the one that there is."""
    return WandB(session, run)
