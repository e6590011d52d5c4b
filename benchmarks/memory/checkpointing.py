"""What activation checkpointing saves in memory and costs in time, on the CPU.

    python -m benchmarks.memory.checkpointing --out checkpointing.json

Each model takes the same training steps with and without (train.activation_checkpointing). Memory
is what PyTorch's allocator counts, to the byte: what the forward pass leaves behind for the
backward pass, and the peak of a step above the weights, gradients and optimiser's state included.
Time is processor time on one thread, in turns. A Hessian-vector product in train mode shows what
checkpointing would do for the curvature, which is taken in eval mode and so without it.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from benchmarks.shared import machine
from crest.data.prepared import Inputs
from crest.models import build, text
from crest.models.checkpointing import checkpoint_activations

CLASSES = 10
TOKENS = 64
WORDS = 30_000


@dataclass(frozen=True)
class Case:
    """A model and a mini-batch of it; ``side`` is that of its images, None for text."""

    model: str
    examples: int
    side: int | None
    stem: str = "cifar"


CASES = (
    Case("resnet20", 128, 32),
    Case("resnet18", 128, 32),
    Case("resnet50", 64, 64, "imagenet"),
    Case("encoder", 32, None),
)


@dataclass(frozen=True)
class Cost:
    """MiB kept for the backward pass, MiB at the peak of a step and of a Hessian-vector product."""

    kept: float
    peak: float
    product_peak: float


def encoder() -> nn.Module:
    """Return a classifier of MiniLM's size: 6 layers of 384 units, its weights random."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    config.num_labels = CLASSES
    return text.TextClassifier(BertForSequenceClassification(config))


def made(case: Case) -> tuple[nn.Module, Inputs, Tensor]:
    """Return a model, a mini-batch and its labels."""
    torch.manual_seed(0)
    labels = torch.arange(case.examples) % CLASSES
    if case.side is None:
        tokens = torch.randint(WORDS, (case.examples, TOKENS))
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return encoder().train(), inputs, labels
    shape = (case.side, case.side, 3)
    model = build(case.model, classes=CLASSES, image_shape=shape, stem=case.stem, seed=0)
    images = torch.randn(case.examples, 3, case.side, case.side)
    return model.train(), images.contiguous(memory_format=torch.channels_last), labels


def allocations(work: Callable[[], object]) -> tuple[float, float]:
    """Return the MiB that work holds at its peak, and when it ends, its answer included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        answer = work()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        trace.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    del answer
    return peak / 2**20, held / 2**20


def step(
    model: nn.Module, inputs: Inputs, labels: Tensor, optimizer: torch.optim.Optimizer
) -> None:
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(model(inputs), labels).backward()
    optimizer.step()


def product(model: nn.Module, inputs: Inputs, labels: Tensor) -> tuple[Tensor, ...]:
    parameters = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        loss = F.cross_entropy(model(inputs), labels)
        first = torch.autograd.grad(loss, parameters, create_graph=True)
        signs = [torch.ones_like(value) for value in parameters]
        return torch.autograd.grad(first, parameters, signs, materialize_grads=True)


def cost(model: nn.Module, inputs: Inputs, labels: Tensor) -> Cost:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    optimizer.zero_grad(set_to_none=True)
    _, kept = allocations(lambda: F.cross_entropy(model(inputs), labels))
    peak, _ = allocations(lambda: step(model, inputs, labels, optimizer))
    optimizer.zero_grad(set_to_none=True)
    product_peak, _ = allocations(lambda: product(model, inputs, labels))
    return Cost(kept, peak, product_peak)


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def times(
    plain: nn.Module, other: nn.Module, rest: tuple[Inputs, Tensor], turns: int
) -> list[float]:
    """Return how many times as long a step takes with checkpointing, in each turn but the first."""
    works = []
    for model in (plain, other):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        works.append(lambda model=model, optimizer=optimizer: step(model, *rest, optimizer))
    ratios = []
    for _ in range(turns + 1):
        before, after = (seconds(work) for work in works)
        ratios.append(after / before)
    return ratios[1:]


def measure(case: Case, turns: int) -> dict[str, object]:
    plain, inputs, labels = made(case)
    other = checkpoint_activations(copy.deepcopy(plain))
    costs = [cost(model, inputs, labels) for model in (plain, other)]
    ratios = times(plain, other, (inputs, labels), turns)
    return {
        **asdict(case),
        "plain": asdict(costs[0]),
        "checkpointed": asdict(costs[1]),
        "time": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
    }


def line(row: dict) -> str:
    plain, other, ratio = row["plain"], row["checkpointed"], row["time"]
    parts = [f"{row['model']:9} {row['examples']:4}"]
    parts += [
        f"{plain[name]:7.0f} {other[name]:7.0f} {other[name] / plain[name]:5.2f}"
        for name in ("kept", "peak", "product_peak")
    ]
    parts.append(f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})")
    return "  ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[case.model for case in CASES])
    parser.add_argument("--turns", type=int, default=5, help="after the first, which warms up")
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "model      m     MiB kept, with, ratio  MiB at peak, with, ratio  "
        "of a product, with, ratio  time with / without"
    )
    rows = []
    for case in CASES:
        if case.model in arguments.models:
            rows.append(measure(case, arguments.turns))
            print(line(rows[-1]), flush=True)
    if arguments.out is not None:
        result = {"machine": machine.describe(), "cases": rows}
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
