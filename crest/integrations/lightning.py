"""Lightning: a loader over LossBatchSampler that it neither replaces nor begins anew."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from crest.errors import ParameterError
from crest.samplers.loss_batches import LossBatchSampler


class LossLoader:
    """A loader to return from ``train_dataloader``.

    >>> class Module(LightningModule):
    ...     def train_dataloader(self):
    ...         self.sampler = crest.LossBatchSampler(len(data), batch_size=128, steps=10_000)
    ...         return LossLoader(DataLoader(crest.Indexed(data), batch_sampler=self.sampler))
    ...
    ...     def training_step(self, batch, _):
    ...         indices, inputs, targets = batch
    ...         losses = F.cross_entropy(self(inputs), targets, reduction="none")
    ...         self.sampler.update(indices, losses)
    ...         return self.sampler.mean(losses)

    Lightning puts a DistributedSampler of its own under a DataLoader of several processes, and
    begins one anew that is resumed in the middle of an epoch. This is no DataLoader, so that it
    does neither, also with ``use_distributed_sampler`` for others; its state, in Lightning's
    checkpoints, is that of the sampler. Make the sampler in ``train_dataloader``, where the
    processes know of each other, and have ``max_epochs`` times the epoch, or ``max_steps`` times
    ``accumulate_grad_batches``, no more than its steps. A checkpoint within a step, as one by time
    may be, lacks the gradients that the step has added up: it is warned of.

    Parameters
    ----------
    loader
        Its ``batch_sampler`` is a LossBatchSampler.
    accumulated
        Batches of a step: the Trainer's ``accumulate_grad_batches``.

    Raises
    ------
    ParameterError
        If its batch sampler is another, or an epoch or the run would end within a step, which
        Lightning would take too small.
    """

    def __init__(self, loader: DataLoader[Any], accumulated: int = 1) -> None:
        sampler = loader.batch_sampler
        if not isinstance(sampler, LossBatchSampler):
            raise ParameterError(
                f"LossLoader: the loader's batch_sampler is a {type(sampler).__name__}; give it a "
                "crest.LossBatchSampler"
            )
        for name, batches in {"steps": sampler.steps, "epoch_steps": len(sampler)}.items():
            if batches % accumulated:
                raise ParameterError(
                    f"LossLoader: the sampler's {name}: {batches} is no multiple of the "
                    f"{accumulated} batches that a step accumulates"
                )
        self._loader = loader
        self._sampler = sampler
        self._accumulated = accumulated
        self._trained = 0  # batches that were given to the loop

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches that are left of an epoch; nothing is drawn before the first."""
        for batch in self._loader:
            self._trained += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state; of several processes all must call it, as Lightning does."""
        if self._trained % self._accumulated:
            warnings.warn(
                f"LossLoader: a checkpoint within a step of {self._accumulated} batches; resumed "
                "from it, that step lacks the batches before it: save by every_n_train_steps",
                stacklevel=2,
            )
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken."""
        self._sampler.load_state_dict(state)
        self._trained = self._sampler.position
