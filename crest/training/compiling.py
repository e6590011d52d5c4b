"""A training step's forward and backward pass through torch.compile.

Operations between convolutions and products, such as BatchNorm with its ReLU, become single loops
of generated code. It takes a minute or more before the first step, and rounds otherwise than
PyTorch's own operations; what is generated depends on the machine, its compiler and PyTorch alone,
so that a run repeats and goes on there bit for bit.
"""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import Tensor

from crest.devices.distributed import Group
from crest.errors import CrestError, ParameterError, TrainingError
from crest.parameters.sections import TrainParameters
from crest.training.losses import ComputeLosses

KEY = "train.compile"
OFF = "set it to false"


def require_compilable(parameters: TrainParameters, group: Group, text: bool) -> None:
    """Refuse what a compiled step does not go with.

    Raises
    ------
    ParameterError
        For texts, several processes, activations that are computed again, or without a compiler.
    """
    if not parameters.compile:
        return
    if text:
        raise ParameterError(
            f"{KEY}: the prepared data are text, whose every other length is compiled anew; {OFF}"
        )
    if parameters.activation_checkpointing:
        raise ParameterError(
            f"{KEY}, train.activation_checkpointing: what is compiled keeps the activations it "
            "chooses; set one of the two to false"
        )
    if not group.alone:
        raise ParameterError(
            f"{KEY}: a step that {group.size} processes share is not compiled; {OFF}, or train in "
            "one process"
        )
    compiler_version()


def compiler_version() -> str:
    """Return what the C++ compiler that PyTorch takes says of its version.

    Raises
    ------
    ParameterError
        If there is none.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        command = get_cpp_compiler()
    except (InvalidCxxCompiler, OSError):
        raise ParameterError(
            f"{KEY}: there is no C++ compiler here, which torch.compile needs; install one (the "
            f"package g++, or name yours in the variable CXX), or {OFF}"
        ) from None
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].strip() or command


def part_sizes(examples: int, least_parts: int, halved: bool) -> frozenset[int]:
    """Return how many examples a full mini-batch's parts have, undivided or ``least_parts``.

    ``halved``: or as many more as there may be where memory runs out.
    """
    sizes: set[int] = set()
    largest = -(-examples // least_parts)
    while largest:
        parts = max(least_parts, -(-examples // largest))
        sizes |= {examples // parts, -(-examples // parts)}
        largest = largest // 2 if halved else 0
    return frozenset(sizes)


class CompiledLosses:
    """Computes losses like a function of inputs and targets, compiled with its derivatives.

    Whether a mini-batch is compiled depends on its size alone, and each size is compiled for
    itself: a run that goes on in another process comes to the same code, whatever mini-batches
    came before. Others, such as the last of a round, run as they are.

    Parameters
    ----------
    compute
        The function; it must not decide in Python by numbers that it computes.
    sizes
        Of the mini-batches that are compiled.
    """

    def __init__(self, compute: ComputeLosses, sizes: frozenset[int]) -> None:
        self._compute = compute
        self._sizes = sizes
        self._compiled: ComputeLosses = torch.compile(
            _with_own_cache(compute), fullgraph=True, dynamic=False, options=_options()
        )

    def __call__(self, inputs: Tensor, *targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the function does.

        What fails to compile raises within :func:`naming_compile`.
        """
        compute = self._compiled if len(inputs) in self._sizes else self._compute
        return compute(inputs, *targets)


def _with_own_cache(compute: ComputeLosses) -> ComputeLosses:
    """Return a function of its own: PyTorch counts what it compiles by a function's code."""

    def losses(inputs: Tensor, *targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return compute(inputs, *targets)

    assert isinstance(losses, FunctionType)
    code = losses.__code__.replace()
    return FunctionType(code, losses.__globals__, losses.__name__, None, losses.__closure__)


def _options() -> dict[str, str | int | bool | Callable[..., object]]:
    """Return the options by which the same code is generated each time, with the same draws."""
    wanted = {
        "cpp.threads": torch.get_num_threads(),  # else not in every version's key of its cache
        "deterministic": True,  # chooses nothing by timing it
        "fallback_random": True,  # draws of dropout are those of a step that is not compiled
    }
    known = torch._inductor.list_options()
    return {name: value for name, value in wanted.items() if name in known}


@contextmanager
def naming_compile() -> Iterator[None]:
    """Say of what fails to compile within a block which parameter asked for it.

    Raises
    ------
    TrainingError
        With the reason and what to do.
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    try:
        yield
    except (
        TorchDynamoException,
        FailOnRecompileLimitHit,
        CppCompileError,
        InvalidCxxCompiler,
    ) as error:
        chain = _chain(error)
        for cause in chain:  # a signal, or memory that runs out, while it compiles
            if isinstance(cause, CrestError | torch.OutOfMemoryError):
                raise cause from None
        raise TrainingError(
            f"{KEY}: a step of this model cannot be compiled ({_reason(chain)}); {OFF}"
        ) from error


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and what it came from, the last first."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _reason(chain: Sequence[BaseException]) -> str:
    """Return the line that says most: the compiler's own error, or the first of the last cause."""
    lines = [line.strip() for error in chain for line in str(error).splitlines()]
    for line in lines:
        if "error: " in line:
            return line
    return next((line for line in lines if line), type(chain[0]).__name__)
