"""The sampler's state in the checkpoints of a Trainer of transformers."""

from pathlib import Path
from typing import Any

import torch

from crest.errors import ArtifactError, needs_extra

with needs_extra("transformers"):
    from transformers import TrainerCallback

FILE = "crest_sampler.pt"  # in a checkpoint


class Saving(TrainerCallback):
    """Keeps the state of a trainer's sampler in each checkpoint."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Save what all processes know, on the one that saves."""
        if self._trainer.sampler is None:
            return
        known = self._trainer.sampler.state_dict()  # all processes ask for it
        if args.should_save:
            torch.save(known, Path(args.output_dir, f"checkpoint-{state.global_step}", FILE))


def saved(checkpoint: Path) -> Any:
    """Return the sampler's state that a checkpoint carries.

    Raises
    ------
    ArtifactError
        If it carries none.
    """
    try:
        return torch.load(checkpoint / FILE, weights_only=True)
    except FileNotFoundError:
        raise ArtifactError(
            f"{checkpoint}: no {FILE}, as it was saved without LossSampled or not to its end; "
            "resume from another checkpoint"
        ) from None
