"""One optimiser step: a mini-batch in one piece, or in micro-batches that processes share."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from crest.data.prepared import Inputs, Split
from crest.data.views.alternating import AlternatingFlips
from crest.devices.distributed import ALONE, Group, gradient_dtype, reduce_hook
from crest.devices.out_of_memory import Halving
from crest.devices.precision import Precision
from crest.devices.transfer import on_device
from crest.errors import DeviceMemoryError, ParameterError
from crest.inference.forward import evaluating
from crest.parameters.sections import TrainParameters
from crest.selection.coresets import MiniBatchCoreset, Outputs
from crest.training.buffers import Begun, Buffers
from crest.training.clipping import clipped
from crest.training.compiling import CompiledLosses, naming_compile, part_sizes
from crest.training.cuda_graph import Gradients, GraphedGradients
from crest.training.expecting import expect_views, part_seeds
from crest.training.losses import ComputeLosses, Losses
from crest.training.mixing import Mixing, Targets, mix

ADVICE = "set train.activation_checkpointing, or use a smaller model or smaller examples"
# Largest part of a mini-batch to begin with: any.
UNLIMITED = 2**31
# Steps before which processes try whether their parts fit: before the second there is the
# optimiser's memory too.
TRIALS = 2


class Stepper:
    """Takes optimiser steps on weighted mean losses.

    A mini-batch goes through the model whole, or in ``train.micro_batches`` parts whose gradients
    are added up before the step. Each part is normalised by itself where the model has BatchNorm,
    and the running statistics move by the mean of what the parts ask for; it has draws of its own
    for augmentation and dropout. So the step depends on the number of parts, and on the CPU, bit
    for bit, on nothing else: not on how many processes share them.

    Where a part does not fit into the GPU, the step begins again with parts of half the size, and
    so do all later ones. Processes find out together, before they exchange anything.

    Mixup and cutmix mix the examples of a part. What a step knows of an example is then of the
    mixed input of which it is the larger part, and its loss the cross-entropy with its own label
    alone, as it is without label smoothing too.

    Parameters
    ----------
    model
        On its device; called in whatever mode it is.
    augmentation
        Generator that augmentation and mixing are drawn from.
    group
        The processes that share the parts; each of them has the model.
    flips
        Where flips alternate, what knows those of each example.

    Raises
    ------
    ParameterError
        If there are fewer parts than processes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        data: Split,
        augmentation: torch.Generator,
        parameters: TrainParameters,
        precision: Precision,
        group: Group = ALONE,
        flips: AlternatingFlips | None = None,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._data = data
        self._augmentation = augmentation
        self._flips = flips
        self._mixing = Mixing.of(parameters)
        self._descends_plainly = self._mixing is None and parameters.label_smoothing == 0.0
        self._clip_norm = parameters.clip_norm
        self._precision = precision
        self._group = group
        self._least_parts = micro_batches(parameters, group)
        self._halving = _halving(UNLIMITED, parameters.batch_size)
        self._batch_size = parameters.batch_size
        self._can_run_out = can_run_out(precision.device)
        self._trials = TRIALS if self._can_run_out and not group.alone else 0
        self._trained = [weight for every in optimizer.param_groups for weight in every["params"]]
        self._earlier: dict[nn.Parameter, Tensor] = {}  # gradients of this step's earlier parts
        self._upcoming: Tensor | None = None
        self._buffers = Buffers(model)
        self._parallel = None if group.alone else self._wrapped()
        self._compiles = parameters.compile
        smoothing = parameters.label_smoothing
        self._plain_losses = Losses(model, precision, smoothing)
        self._losses: ComputeLosses = Losses(self._parallel or model, precision, smoothing)
        if parameters.compile:
            sizes = part_sizes(parameters.batch_size, self._least_parts, self._can_run_out)
            self._losses = CompiledLosses(self._losses, sizes)
        self._backpropagate: Gradients = self._plainly
        if _can_be_captured(parameters, precision.device, self._least_parts):
            self._backpropagate = GraphedGradients(self._plainly, model)

    def take(self, minibatch: MiniBatchCoreset, upcoming: Tensor | None = None) -> Outputs:
        """Take one step.

        Parameters
        ----------
        upcoming
            Indices of the next mini-batch, int64, if they are known and its views are to be drawn.

        Raises
        ------
        DeviceMemoryError
            If a single example does not fit into the GPU, or if, of several processes, one runs out
            of memory after the first steps.
        """
        self._upcoming = upcoming
        self._forget_gradients()  # first: the forward pass has their memory
        if self._trials:
            self._try(minibatch)
        with naming_compile() if self._compiles else nullcontext():
            outputs = self._compute(minibatch)
        with clipped(self._trained, self._clip_norm):
            self._optimizer.step()
        if self._flips is not None:
            self._flips.advance(minibatch.indices, minibatch.draws)
        return outputs

    def state_dict(self) -> dict[str, int]:
        """Return what later steps need to go on exactly: the size that parts were halved to."""
        return {"size": self._halving.size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._halving = _halving(state["size"], self._batch_size)

    def _compute(self, minibatch: MiniBatchCoreset) -> Outputs:
        """Put the gradients of the weighted mean loss into ``.grad``."""
        if not self._group.alone:
            return self._together(minibatch)
        if self._can_run_out:
            return self._fitting(minibatch)
        examples = len(minibatch.indices)
        return self._gradients(minibatch, self._parts(examples, self._halving.size))

    def _fitting(self, minibatch: MiniBatchCoreset) -> Outputs:
        """Compute gradients in parts that fit."""
        begun = Begun(self._buffers, self._augmentation, self._precision.device)

        def attempt(size: int) -> Outputs:
            try:
                return self._gradients(minibatch, self._parts(len(minibatch.indices), size))
            except torch.OutOfMemoryError:
                begun.restore()
                self._forget_gradients()
                raise

        return self._halving.run(attempt, self._largest(len(minibatch.indices)))

    def _together(self, minibatch: MiniBatchCoreset) -> Outputs:
        """Compute gradients with other processes, which cannot begin again within an exchange."""
        examples = len(minibatch.indices)
        size = min(self._halving.size, self._largest(examples))
        parts = self._parts(examples, size)
        try:
            return self._gradients(minibatch, parts)
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"rank {self._group.rank}: training: {size} examples at once do not fit into the "
                f"GPU's memory any more ({str(error).strip()}); {_setting(parts * 2)}"
            ) from None

    def _try(self, minibatch: MiniBatchCoreset) -> None:
        """Find parts that fit into every process's GPU; nothing is exchanged or changed."""
        self._trials -= 1
        examples = len(minibatch.indices)
        begun = Begun(self._buffers, self._augmentation, self._precision.device)

        def attempt(size: int) -> int:
            part = torch.arange(examples).tensor_split(self._parts(examples, size))[0]
            weights = on_device(minibatch.weights[part], self._precision.device)
            try:
                labels = self._labels(minibatch.indices[part])
                losses = self._plain_losses
                self._backward(losses, minibatch, part, labels, weights, (0, 0), _nothing)
            finally:
                begun.restore()
                self._forget_gradients()
            return size

        largest = self._largest(examples)
        size = self._group.lowest(self._halving.run(attempt, largest))
        if size < largest:
            self._halving = _halving(size, self._batch_size)

    def _largest(self, examples: int) -> int:
        """Return how many examples the largest part has where nothing was halved."""
        return -(-examples // self._least_parts)

    def _parts(self, examples: int, size: int) -> int:
        """Return how many parts a mini-batch has whose largest is to have no more than ``size``."""
        return max(self._least_parts, -(-examples // size))

    def _forget_gradients(self) -> None:
        for weight in self._trained:
            weight.grad = None
        self._earlier = {}

    def _gradients(self, minibatch: MiniBatchCoreset, parts: int) -> Outputs:
        return self._whole(minibatch) if parts == 1 else self._in_parts(minibatch, parts)

    def _whole(self, minibatch: MiniBatchCoreset) -> Outputs:
        inputs = self._views(minibatch.indices, minibatch.draws, self._augmentation)
        labels = self._labels(minibatch.indices)
        weights = on_device(minibatch.weights, self._precision.device)
        inputs, targets = self._mixed(inputs, labels, weights, self._augmentation)
        self._expect_next()  # when all of this step is drawn
        if isinstance(inputs, Tensor):
            return Outputs(*self._backpropagate(inputs, *targets.tensors), labels)
        # Texts, which are of other lengths in each mini-batch.
        return Outputs(*self._plainly(inputs, *targets.tensors), labels)

    def _plainly(self, inputs: Inputs, *targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Put the gradients of the weighted mean loss into ``.grad``; loss, losses and logits."""
        descended, losses, logits = self._losses(inputs, *targets)
        loss = descended.mean()
        loss.backward()
        return loss.detach(), losses.detach(), logits.detach()

    def _mixed(
        self, inputs: Inputs, labels: Tensor, weights: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Targets]:
        """Mix inputs where that is asked for."""
        if self._mixing is None:
            return inputs, Targets(labels, weights)
        assert isinstance(inputs, Tensor), "texts are refused where parameters are read"
        count, _, height, width = inputs.shape
        drawn = self._mixing.draw(count, height, width, generator)
        return mix(inputs, labels, weights, drawn)

    def _in_parts(self, minibatch: MiniBatchCoreset, count: int) -> Outputs:
        """Add up the gradients of all parts, wherever they are computed."""
        indices, labels = minibatch.indices, self._labels(minibatch.indices)
        weights = on_device(minibatch.weights, self._precision.device)
        parts = torch.arange(len(indices)).tensor_split(count)
        seeds = part_seeds(len(parts), self._augmentation)
        mine = self._group.share(len(parts))
        self._buffers.begin()
        outputs_of_parts: dict[int, Tensor] = {}
        for number in mine:
            part, last = parts[number], number == mine[-1]
            self._buffers.rewind()
            expect_next = self._expect_next if last else _nothing
            there = on_device(part, weights.device)
            with self._synchronising(last):
                outputs_of_parts[number] = self._backward(
                    self._losses,
                    minibatch,
                    part,
                    labels[there],
                    weights[there],
                    seeds[number],
                    expect_next,
                )
            self._buffers.include()
            if not last or self._group.alone:
                self._set_aside()
        self._finish_gradients()
        gathered = self._gathered(outputs_of_parts, parts)
        if self._descends_plainly:
            return Outputs.of(gathered, labels, weights)
        logits = gathered[:, :-1].contiguous()
        losses = F.cross_entropy(logits, labels, reduction="none")
        return Outputs(gathered[:, -1].mean(), losses, logits, labels)

    def _backward(
        self,
        losses: ComputeLosses,
        minibatch: MiniBatchCoreset,
        part: Tensor,
        labels: Tensor,
        weights: Tensor,
        seeds: Sequence[int],
        drawn: Callable[[], None],
    ) -> Tensor:
        """Add a part's share of the weighted mean loss to the gradients; returns its logits.

        With a column for what is descended, where logits, labels and weights do not tell it.
        ``drawn`` is called when its views are made.
        """
        augmentation, dropout = seeds
        torch.manual_seed(dropout)  # the loop puts the global generator back
        draws = None if minibatch.draws is None else minibatch.draws[part]
        generator = torch.Generator().manual_seed(augmentation)
        inputs = self._views(minibatch.indices[part], draws, generator)
        inputs, targets = self._mixed(inputs, labels, weights, generator)
        drawn()
        descended, _, logits = losses(inputs, *targets.tensors)
        (descended.sum() / len(minibatch.indices)).backward()
        if self._descends_plainly:
            return logits.detach()
        return torch.cat([logits.detach(), descended.detach()[:, None]], 1)

    def _set_aside(self) -> None:
        """Take the gradients of a part, so that the next starts from none."""
        dtype = gradient_dtype(self._precision.device)
        for parameter in self._model.parameters():
            if parameter.grad is None:
                continue
            gradient, earlier = parameter.grad.to(dtype), self._earlier.get(parameter)
            self._earlier[parameter] = gradient if earlier is None else earlier.add_(gradient)
            parameter.grad = None

    def _finish_gradients(self) -> None:
        """Put the sum of all parts where the optimiser looks, if it is not there already."""
        if self._group.alone:
            for parameter, total in self._earlier.items():
                parameter.grad = total.to(parameter.dtype)
        self._earlier = {}

    def _gathered(self, outputs_of_parts: dict[int, Tensor], parts: Sequence[Tensor]) -> Tensor:
        """Return the rows of the whole mini-batch, and finish the buffers, in one exchange."""
        some = next(iter(outputs_of_parts.values()))
        outputs = some.new_zeros(sum(map(len, parts)), some.shape[1])
        for number, rows in outputs_of_parts.items():
            outputs[on_device(parts[number], outputs.device)] = rows
        # float64 holds a float32 exactly.
        together = torch.cat([outputs.double().flatten(), self._buffers.total])
        self._group.sum(together)
        self._buffers.finish(together[outputs.numel() :], len(parts))
        return together[: outputs.numel()].view_as(outputs).float()

    def _synchronising(self, last: bool) -> AbstractContextManager[object]:
        """Let DDP exchange gradients at the last of this process's parts only."""
        if self._parallel is None or last:
            return nullcontext()
        return self._parallel.no_sync()

    def _wrapped(self) -> DistributedDataParallel:
        device = self._precision.device
        # A convolution of one channel has two layouts that are the same, which DDP tells apart.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        with warnings.catch_warnings():
            # Its successor is not there yet in the oldest PyTorch that will do.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            model = DistributedDataParallel(
                self._model,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,
                find_unused_parameters=self._leaves_some_out(),
            )
        dtype = gradient_dtype(device)
        model.register_comm_hook(None, reduce_hook(self._group, self._earlier_of, dtype))
        return model

    def _earlier_of(self, parameter: Tensor) -> Tensor | None:
        assert isinstance(parameter, nn.Parameter)
        return self._earlier.get(parameter)

    def _leaves_some_out(self) -> bool:
        """Whether the loss depends on some parameters only, which DDP has to look for then."""
        some = torch.arange(min(2, len(self._data)))
        trained = [weight for weight in self._model.parameters() if weight.requires_grad]
        with evaluating(self._model), self._precision.autocast():
            logits = self._model(self._data.inputs(some))
        gradients = torch.autograd.grad(logits.float().sum(), trained, allow_unused=True)
        return any(gradient is None for gradient in gradients)

    def _views(self, indices: Tensor, draws: Tensor | None, generator: torch.Generator) -> Inputs:
        """Return what is trained on: views that were drawn by the method, or are drawn now."""
        if draws is None:
            draws = self._data.draw_views(len(indices), generator)
            if self._flips is not None:
                draws = self._flips.put(indices, draws)
        return self._data.views(indices, draws)

    def _expect_next(self) -> None:
        """Let the next views be made while this step is computed."""
        if self._upcoming is not None:
            parts = self._parts(len(self._upcoming), self._halving.size)
            expect_views(self._data, self._upcoming, self._augmentation, parts, self._group)

    def _labels(self, indices: Tensor) -> Tensor:
        return on_device(self._data.labels[indices], self._precision.device)


def _nothing() -> None:
    """Do nothing."""


def micro_batches(parameters: TrainParameters, group: Group) -> int:
    """Return how many parts a mini-batch has: one for each process where nothing is set.

    Raises
    ------
    ParameterError
        If there are fewer than processes, or more than examples.
    """
    count = parameters.micro_batches or group.size
    if count < group.size:
        raise ParameterError(
            f"train.micro_batches: {count} leaves some of the {group.size} processes without work; "
            "set it to their number or a multiple of it"
        )
    if count > parameters.batch_size:
        raise ParameterError(
            f"train.micro_batches: {count} parts of the {parameters.batch_size} examples of "
            "train.batch_size; use fewer parts, or processes"
        )
    return count


def _can_be_captured(parameters: TrainParameters, device: torch.device, parts: int) -> bool:
    """Return whether a step is the same work each time, by one process alone."""
    if device.type != "cuda" or parts > 1:
        return False
    return parameters.cuda_graph and not parameters.activation_checkpointing


def can_run_out(device: torch.device) -> bool:
    """Return whether running out of memory there is an error to go on from, as on a GPU."""
    return device.type != "cpu"


def _halving(size: int, batch_size: int) -> Halving:
    return Halving(size, "training", lambda size: _setting(-(-batch_size // size)), ADVICE)


def _setting(parts: int) -> str:
    return f"train.micro_batches: {parts}"
