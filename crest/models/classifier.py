"""A classifier of any make as the library calls one: inputs in, logits out."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from crest.data.prepared import Inputs
from crest.errors import ParameterError


class Classifier(nn.Module):
    """A classifier that takes a tensor, or a mapping of names as keyword arguments.

    Its parameters and its name are those of the network. Nothing of it is copied. What
    torch.compile made of the network, or of parts of it, is not used: they share their weights,
    and compiled code has no second derivatives. Nor is DistributedDataParallel around it, whose
    forward pass waits for the other processes.

    Parameters
    ----------
    network
        Answers with logits, B×C; with an object or a mapping that has ``logits``; or with a tuple,
        list or mapping in which one tensor can be logits.

    Raises
    ------
    ParameterError
        If the network's weights are not there yet, or no process has them as a whole.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = _unwrapped(network)
        _require_weights(self.network)
        self._place: Any = None  # of the logits, in an output of several tensors

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the logits, B×C.

        Raises
        ------
        ParameterError
            If it is not clear which part of the output they are.
        """
        with _eager():
            output = self._output(inputs)
            if isinstance(output, Tensor):
                return output
            logits = _named_logits(output)
            return self._chosen(output, inputs) if logits is None else logits

    def named_parameters(
        self, *arguments: Any, **options: Any
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the network's own, by the names they have there."""
        return self.network.named_parameters(*arguments, **options)

    def _get_name(self) -> str:
        return self.network._get_name()

    def _output(self, inputs: Inputs) -> Any:
        return self.network(**inputs) if isinstance(inputs, Mapping) else self.network(inputs)

    def _chosen(self, output: Any, inputs: Inputs) -> Tensor:
        """Return the one tensor in an output that can be logits."""
        found = _candidates(output)
        if len(found) == 1:
            return next(iter(found.values()))
        if found and self._place not in found:
            self._place = self._place_of_logits(inputs)
        if self._place not in found:
            raise ParameterError(
                f"train.model: {self._get_name()} answers with {_described(output)}; let it return "
                "the logits alone, or a dict that has them as 'logits'"
            )
        return found[self._place]

    def _place_of_logits(self, inputs: Inputs) -> Any:
        """Return where the one tensor of a linear layer stands in the output; None: nowhere."""
        outputs: list[Tensor] = []
        hooks = [
            module.register_forward_hook(lambda *call: outputs.append(call[2]))
            for module in self.network.modules()
            if isinstance(module, nn.Linear)
        ]
        try:
            found = _candidates(self._output(inputs))
        finally:
            for hook in hooks:
                hook.remove()
        addresses = {output.data_ptr() for output in outputs}
        places = [place for place, value in found.items() if value.data_ptr() in addresses]
        return places[0] if len(places) == 1 else None


def _named_logits(output: Any) -> Tensor | None:
    logits = output.get("logits") if isinstance(output, Mapping) else None
    logits = getattr(output, "logits", logits)
    return logits if isinstance(logits, Tensor) else None


def _candidates(output: Any) -> dict[Any, Tensor]:
    """Return the different tensors of an output that have a row of numbers for each example."""
    items: Any = {}
    if isinstance(output, Mapping):
        items = output.items()
    elif isinstance(output, tuple | list):
        items = enumerate(output)
    found: dict[Any, Tensor] = {}
    for place, value in items:
        can_be = isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()
        if can_be and all(value is not other for other in found.values()):
            found[place] = value
    return found


def _described(output: Any) -> str:
    kind = type(output).__name__
    if not isinstance(output, tuple | list | Mapping):
        return f"a {kind}, which is no tensor"
    items = output.items() if isinstance(output, Mapping) else enumerate(output)
    parts = [
        f"{place}: {tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}"
        for place, value in items
    ]
    return f"a {kind} ({', '.join(parts[:6])}), and which of it are the logits is not clear"


def _unwrapped(network: nn.Module) -> nn.Module:
    """Return the module within what torch.compile or data parallelism made of it."""
    while (inner := _inner(network)) is not None:
        network = inner
    return network


def _inner(network: nn.Module) -> nn.Module | None:
    if isinstance(network, nn.parallel.DistributedDataParallel | nn.DataParallel):
        module: nn.Module = network.module
        return module
    compiler = sys.modules.get("torch._dynamo")  # slow to import, and there if anything is compiled
    if compiler is not None and isinstance(network, compiler.OptimizedModule):
        original: nn.Module = network._orig_mod
        return original
    return None


def _eager() -> AbstractContextManager[object]:
    """Return a context in which nothing that was compiled runs, but what it was made of."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def _require_weights(network: nn.Module) -> None:
    _refuse_sharded(network)
    for name, weight in network.named_parameters():
        if is_lazy(weight):
            raise ParameterError(
                f"train.model: {name} of {network._get_name()} has no size yet, as of a lazy "
                "layer; run one batch through the model first, before its optimiser is built"
            )
        if weight.is_meta:
            raise ParameterError(
                f"train.model: {name} of {network._get_name()} has no values, being on the meta "
                "device; load the model's weights first"
            )


def _refuse_sharded(network: nn.Module) -> None:
    """Refuse weights of which each process has a part: to score is then a step of all of them."""
    sharded = sys.modules.get("torch.distributed.fsdp")  # there if anything is sharded
    tensors = sys.modules.get("torch.distributed.tensor")
    if sharded is not None:
        for name, module in network.named_modules():
            if isinstance(module, sharded.FullyShardedDataParallel):
                raise _sharded(name or "the module", "FullyShardedDataParallel")
    if tensors is not None:
        for name, weight in network.named_parameters():
            if isinstance(weight, tensors.DTensor):
                raise _sharded(name, "a DTensor, as of fully_shard or tensor parallelism")


def _sharded(name: str, kind: str) -> ParameterError:
    return ParameterError(
        f"train.model: {name} is {kind}: no process has all of its weights, which scoring examples "
        "and the quadratic model need. Let one process choose by a copy that is whole, train on "
        "saved coresets, or draw by the losses of training: crest.LossBatchSampler needs no model"
    )
