"""Accelerate: a loader over LossBatchSampler, each process's part of whose batches is its own."""

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from crest.errors import OrderError, ParameterError, needs_extra
from crest.samplers.loss_batches import LossBatchSampler

if TYPE_CHECKING:
    from accelerate import Accelerator


def prepare_loader(accelerator: "Accelerator", loader: DataLoader[Any]) -> Any:
    """Prepare a loader over a :class:`~crest.LossBatchSampler`, as ``accelerator.prepare`` would.

    >>> accelerator = Accelerator()
    >>> sampler = crest.LossBatchSampler(len(data), batch_size=128, steps=10_000)
    >>> loader = prepare_loader(accelerator, DataLoader(crest.Indexed(data), batch_sampler=sampler))
    >>> for indices, inputs, targets in loader:
    ...     with accelerator.accumulate(model):
    ...         losses = F.cross_entropy(model(inputs), targets, reduction="none")
    ...         accelerator.backward(sampler.mean(losses))
    ...         ...
    ...     sampler.update(indices, losses)

    ``accelerator.prepare`` itself would give each process every other batch of what is its part
    already. The sampler is registered, so that ``save_state`` and ``load_state`` carry it, in the
    middle of an epoch too: go on with the loader as it is, ``skip_first_batches`` would skip twice.
    Within a step ``save_state`` is refused: no state holds the gradients that it has added up.
    Accelerate draws a batch ahead: the sampler's lag must cover num_workers × prefetch_factor + 2.

    Parameters
    ----------
    accelerator
        It must be made before the sampler, which asks it for the processes.
    loader
        Its ``batch_sampler`` is a LossBatchSampler.

    Raises
    ------
    ParameterError
        If its batch sampler is another, or an epoch or the run would end within the gradient
        accumulation of a step, which Accelerate would take too small.
    MissingPackageError
        If Accelerate is not installed.
    """
    sampler = loader.batch_sampler
    if not isinstance(sampler, LossBatchSampler):
        raise ParameterError(
            f"prepare_loader: the loader's batch_sampler is a {type(sampler).__name__}; give it a "
            "crest.LossBatchSampler"
        )
    accumulated = accelerator.gradient_accumulation_steps
    for name, batches in {"steps": sampler.steps, "epoch_steps": len(sampler)}.items():
        if batches % accumulated:
            raise ParameterError(
                f"prepare_loader: the sampler's {name}: {batches} is no multiple of the "
                f"{accumulated} batches that a step accumulates (gradient_accumulation_steps)"
            )
    prepared = own_parts(accelerator, loader)
    accelerator.register_save_state_pre_hook(lambda *_: _require_whole_steps(accelerator))
    accelerator.register_for_checkpointing(sampler)
    return prepared


def _require_whole_steps(accelerator: "Accelerator") -> None:
    """Refuse a state that would lose the batches which a step has already added up."""
    if not accelerator.sync_gradients:
        raise OrderError(
            f"save_state: within a step of {accelerator.gradient_accumulation_steps} batches; no "
            "state holds their gradients: save where accelerator.sync_gradients is True"
        )


def require_unprepared(model: Any, processes: int) -> None:
    """Refuse a model that was evaluated before training, which DDP then does not wrap.

    Evaluation prepares it without DDP, and what is prepared is not prepared again: each process
    would train alone.

    Raises
    ------
    OrderError
        If it was, and several processes are to train it together.
    """
    if processes > 1 and getattr(model, "_is_accelerate_prepared", False):
        raise OrderError(
            "train: the model was evaluated before it is trained, so that the processes would "
            "train apart; evaluate after training, or by a Trainer of its own"
        )


def own_parts(accelerator: "Accelerator", loader: DataLoader[Any]) -> Any:
    """Prepare a loader whose batches are this process's parts already, of a LossBatchSampler."""
    with needs_extra("accelerate"):
        from accelerate.data_loader import prepare_data_loader
    prepared = prepare_data_loader(
        loader,
        accelerator.device,
        num_processes=1,
        process_index=0,
        put_on_device=accelerator.device_placement,
        dispatch_batches=False,
        non_blocking=accelerator.non_blocking,
    )
    prepared._is_accelerate_prepared = True
    accelerator.prepare(prepared)  # which only enters it in its list
    return prepared
