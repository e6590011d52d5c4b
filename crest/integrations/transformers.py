"""The Trainer of transformers, its batches drawn by the losses of training."""

from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from crest.errors import ParameterError, needs_extra
from crest.integrations.accelerate import own_parts, require_unprepared
from crest.integrations.checkpoints import Saving, saved
from crest.integrations.rows import INDEX, LENGTHS, Batches, Collate, Rows
from crest.integrations.token_losses import example_losses, is_causal, outcomes, require_one_mean
from crest.samplers.loss_batches import LossBatchSampler

with needs_extra("transformers"):
    from transformers.trainer_utils import get_last_checkpoint

_Base: Any = object  # any Trainer, which is put behind it
KEPT = (
    "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context",
    "prefetch_factor", "persistent_workers", "in_order",
)  # fmt: skip
TRAINERS = ("count", "batch_size", "steps", "epoch_steps", "num_replicas", "rank")  # its to say


def _is_trainer(kind: type) -> bool:
    """Whether a class trains by itself, and is not one that is put before a Trainer."""
    trains = hasattr(kind, "training_step") and hasattr(kind, "get_train_dataloader")
    return trains and not issubclass(kind, LossSampled)


class LossSampled(_Base):
    """Put before a Trainer, it draws the batches by the losses of training.

    >>> class FocusedTrainer(LossSampled, Trainer):
    ...     pass
    >>> trainer = FocusedTrainer(model, args, train_dataset=data, sampling={"rule": "focused"})
    >>> trainer.train(resume_from_checkpoint=True)

    An epoch has as many whole steps as the data set has, and a step is that of the mean over all
    items of its batches, of all processes and of all that gradient accumulation adds up: labels
    that are not −100, tokens or examples. Checkpoints carry the sampler (``trainer.sampler``).

    Parameters
    ----------
    sampling
        Arguments of :class:`~crest.LossBatchSampler`: groups, rule, lag, seed (else ``data_seed``
        or ``seed``), record (of classes with what was right, and taken for what) and options. The
        lag must cover what is drawn ahead: num_workers × prefetch_factor +
        gradient_accumulation_steps + 1.
    losses
        ``losses(outputs, labels)``: one for each example, where cross-entropy, the mean squared
        error and binary cross-entropy of the model's logits are not what is trained; a step is
        then that of the mean over examples.

    Raises
    ------
    ParameterError
        If the Trainer is set to something that cannot be had with it.
    """

    compute_loss_func: Any  # the Trainer's

    def __init_subclass__(cls, **others: Any) -> None:
        """Refuse a Trainer put before this class: its methods would hide those here, silently."""
        super().__init_subclass__(**others)
        place = cls.__mro__.index(LossSampled)
        trainers = [base for base in cls.__mro__[1:place] if _is_trainer(base)]
        if trainers and not any(map(_is_trainer, cls.__mro__[place + 1 :])):
            raise ParameterError(
                f"LossSampled: {cls.__name__} has {trainers[0].__name__} before LossSampled, and "
                f"would draw no batch by losses; write class {cls.__name__}(LossSampled, "
                f"{trainers[0].__name__})"
            )

    def __init__(
        self,
        *arguments: Any,
        sampling: Mapping[str, Any] | None = None,
        losses: Callable[[Any, Any], Tensor] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(*arguments, **others)
        self.sampler: Any = None  # of the loader that was asked for last
        self._sampling = dict(sampling or {})
        for name in TRAINERS:
            if name in self._sampling:
                raise ParameterError(
                    f"LossSampled: sampling: {name}: it follows from the Trainer's arguments and "
                    "data; leave it out"
                )
        self._losses = losses
        self._causal = is_causal(self.accelerator.unwrap_model(self.model))
        self._resumed_from: str | None = None
        self._indices: Tensor | None = None  # of the batch that is trained on
        self._set_loss()
        self.add_callback(Saving(self))

    def _set_loss(self) -> None:
        """Take the Trainer's own way to a loss, by which it counts the items of all batches."""
        config = self.model.config
        if self.compute_loss_func is not None:
            raise ParameterError("LossSampled: compute_loss_func: give losses= in its place")
        if getattr(config, "output_router_logits", False):
            raise ParameterError("LossSampled: output_router_logits: the loss of routers is lost")
        require_one_mean(self.args)
        self.compute_loss_func = self._mean_of_all

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the Trainer's own loader with other batches."""
        loader, args = super().get_train_dataloader(), self.args
        accumulated, size = args.gradient_accumulation_steps, loader.total_batch_size
        steps = len(loader.dataset) // (size * accumulated)  # of an epoch, whole ones
        if not steps:
            raise ParameterError(
                f"LossSampled: {len(loader.dataset)} examples are fewer than the "
                f"{size * accumulated} of a step"
            )
        wanted = args.max_steps if args.max_steps > 0 else ceil(args.num_train_epochs * steps)
        seed = args.seed if args.data_seed is None else args.data_seed
        self.sampler = sampler = LossBatchSampler(
            len(loader.dataset), size, wanted * accumulated,
            **{"epoch_steps": steps * accumulated, "seed": seed} | self._sampling,
        )  # fmt: skip
        skipped = 0
        if self._resumed_from is not None:
            sampler.load_state_dict(saved(Path(self._resumed_from)))
            skipped = 0 if args.ignore_data_skip else sampler.position % (steps * accumulated)
        drawn = DataLoader(
            Rows(loader.dataset),
            batch_sampler=Batches(sampler, skipped),
            collate_fn=Collate(loader.collate_fn, self._causal and self._losses is None),
            **{name: getattr(loader, name) for name in KEPT},
        )
        return own_parts(self.accelerator, drawn)

    def train(self, resume_from_checkpoint: Any = None, *arguments: Any, **others: Any) -> Any:
        """Train as the Trainer does, also from a checkpoint; evaluate only afterwards."""
        require_unprepared(self.model, self.args.world_size)
        if resume_from_checkpoint is True:
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir) or True
        found = isinstance(resume_from_checkpoint, str | Path)
        self._resumed_from = resume_from_checkpoint if found else None
        return super().train(resume_from_checkpoint, *arguments, **others)

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **others: Any) -> Any:
        """Return the Trainer's loss, the model being given the batch without its indices."""
        self._indices = inputs.pop(INDEX, None)
        inputs.pop(LENGTHS, None)
        return super().compute_loss(model, inputs, *arguments, **others)

    def _mean_of_all(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Tensor:
        """Return the loss of a batch as a part of the step's, and report those of its examples."""
        if self._losses is None:
            sums, items = example_losses(
                outputs, labels, self.model.config, self._causal, self.args.label_smoothing_factor,
            )  # fmt: skip
            self._report(sums / items.clamp(min=1), *self._outcomes(outputs, labels))
            return self._weighed(sums).sum() / (
                items.sum() if num_items_in_batch is None else num_items_in_batch
            )
        losses = self._losses(outputs, labels)
        self._report(losses, *self._outcomes(outputs, labels))
        scaled = 1 if num_items_in_batch is None else self.accelerator.num_processes  # by Trainer
        if self._indices is None:
            return losses.mean() / scaled
        return self.sampler.mean(losses, self._indices) / (
            self.args.gradient_accumulation_steps * scaled
        )

    def _weighed(self, losses: Tensor) -> Tensor:
        """Return losses by the weights of a rule that has some."""
        if self._indices is None or not self.sampler.weighted:
            return losses
        return losses * self.sampler.weights(self._indices).to(losses.device)

    def _outcomes(self, outputs: Any, labels: Any) -> tuple[Tensor, ...]:
        recorded = self.sampler is not None and self.sampler.records
        return outcomes(outputs, labels) if recorded else ()

    def _report(self, losses: Tensor, *outcome: Tensor) -> None:
        if self._indices is not None:
            self.sampler.update(self._indices, losses, *outcome)
