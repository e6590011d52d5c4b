"""A training step's gradients as one CUDA graph, so that small models do not wait for the host.

A network such as ResNet-20 is some hundred small kernels, which a GPU runs faster than the host
launches them one by one. Captured once, they are launched together, and do the same to the same
memory.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crest.errors import TrainingError

# Steps that are taken as ever before one is captured: in them libraries load, choose and allocate.
WARM_UP = 3

# From inputs, and what they are trained towards (labels and weights, and those of examples mixed
# in), to the loss, the losses and the logits; leaves gradients behind.
Gradients = Callable[..., tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class _Captured:
    """A graph and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    taken: tuple[Tensor, ...]
    outputs: tuple[Tensor, Tensor, Tensor]
    gradients: tuple[Tensor | None, ...]


class GraphedGradients:
    """Computes gradients like a function of inputs and targets, from its graph if it can.

    The first steps run as they are; then one is captured, and what has its shapes is replayed.
    Anything else runs as it is.

    Parameters
    ----------
    compute
        The function; called with ``.grad`` of all parameters None. It must do the same to the same
        memory each time, whatever the numbers are.
    model
        On a CUDA device; its parameters and buffers stay where they are in memory.
    """

    def __init__(self, compute: Gradients, model: nn.Module) -> None:
        self._compute = compute
        self._parameters = tuple(model.parameters())
        # Nothing but steps runs on it: capturing cannot begin on the usual one.
        self._stream = torch.cuda.Stream(self._parameters[0].device)
        self._left = WARM_UP
        self._captured: _Captured | None = None

    @property
    def captured(self) -> bool:
        """Whether there is a graph yet."""
        return self._captured is not None

    def __call__(self, *taken: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the losses and the logits of a mini-batch; gradients are in ``.grad``.

        Raises
        ------
        TrainingError
            If the function cannot be captured, such as when a model asks the device for a number
            on the way.
        """
        if self._left:
            self._left -= 1
            return self._plain(taken)
        if self._captured is None:
            self._captured = self._capture(taken)
        if not _same_layout(self._captured.taken, taken):
            return self._plain(taken)
        return self._replay(self._captured, taken)

    def _plain(self, taken: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        with self._aside():
            return self._compute(*taken)

    def _capture(self, taken: tuple[Tensor, ...]) -> _Captured:
        """Capture a mini-batch's step without taking it."""
        # Laid out as they come, which convolutions go by.
        static = tuple(tensor.clone() for tensor in taken)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                outputs = self._compute(*static)
        except RuntimeError as error:
            # Not to go on from: PyTorch 2.11 leaves its generators as if it were still capturing.
            # Ending the capture raises too; what came first says more.
            reason = str(error.__context__ or error).strip().partition("\n")[0]
            raise TrainingError(
                f"train.cuda_graph: a step of this model cannot be captured ({reason}); set it to "
                "false"
            ) from error
        captured = _Captured(
            graph, static, outputs, tuple(weight.grad for weight in self._parameters)
        )
        for parameter in self._parameters:
            parameter.grad = None
        return captured

    def _replay(
        self, captured: _Captured, taken: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        for static, tensor in zip(captured.taken, taken, strict=True):
            static.copy_(tensor)
        captured.graph.replay()
        for parameter, gradient in zip(self._parameters, captured.gradients, strict=True):
            parameter.grad = gradient
        # The next replay writes over them, and the recorder keeps them until it has many.
        loss, losses, logits = captured.outputs
        return loss.clone(), losses.clone(), logits.clone()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Run a block on the stream of the capture, between what comes before and after it."""
        usual = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            yield
        usual.wait_stream(self._stream)


def _same_layout(captured: tuple[Tensor, ...], taken: tuple[Tensor, ...]) -> bool:
    return all(
        first.shape == second.shape and first.dtype == second.dtype
        for first, second in zip(captured, taken, strict=True)
    )
