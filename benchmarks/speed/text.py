r"""What scoring texts and estimating their curvature cost, each way against another, in turns.

    python cli.py prepare -S prepare.dataset=snli -S prepare.source=FOLDER \
        -S prepare.tokenizer=MODEL
    python -m benchmarks.speed.text --model MODEL --threads 1 --out text.json

The same examples go through the same model in every turn: scored sorted by length or as they come,
in batches of 32 or of 250; one Hessian-vector product of a mini-batch over all parameters, over the
last encoder layer's and over the last layer's. The first turn warms up and is left out.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.shared import machine
from crest.data.files import TextMeta
from crest.data.prepared import Split, load
from crest.devices.precision import Precision, resolve_device, resolve_precision
from crest.inference.evaluator import Evaluator
from crest.models import spec_for
from crest.parameters.sections import TrainParameters
from crest.regions.curvature import covered_parameters, estimate_curvature
from crest.selection.coresets import uniform

EXAMPLES = 500
# What is compared with what: the first took so many times the second.
RATIOS = {
    "scored as they come ÷ sorted by length, batches of 32": ("as they come", "sorted, 32"),
    "scored in batches of 250 ÷ of 32, both sorted": ("sorted, 250", "sorted, 32"),
    "curvature of all parameters ÷ of the last layer": ("full", "last_layer"),
    "curvature of the last layer ÷ scoring 32": ("last_layer", "32 examples"),
}


class AsTheyCome:
    """A split that does not say how long its examples are."""

    lengths = None

    def __init__(self, split: Split) -> None:
        self.labels = split.labels
        self.inputs = split.inputs
        self.draw_views = split.draw_views
        self.views = split.views

    def __len__(self) -> int:
        return len(self.labels)


def works(
    model: nn.Module, split: Split, precision: Precision
) -> dict[str, Callable[[Tensor], object]]:
    """Return what is timed, each a function of the examples' indices."""
    plain = AsTheyCome(split)
    generator = torch.Generator().manual_seed(0)

    def curvature(quadratic: str) -> Callable[[Tensor], object]:
        covered = covered_parameters(model, quadratic)
        return lambda indices: estimate_curvature(
            Evaluator(model, split, precision),
            [uniform(indices[:32])],
            generator,
            parameters=covered,
        )

    return {
        "sorted, 32": lambda indices: Evaluator(model, split, precision).score(indices, 32),
        "sorted, 250": lambda indices: Evaluator(model, split, precision).score(indices, 250),
        "as they come": lambda indices: Evaluator(model, plain, precision).score(indices, 32),
        "32 examples": lambda indices: Evaluator(model, split, precision).score(indices[:32], 32),
        "full": curvature("full"),
        "last_layer": curvature("last_layer"),
    }


def measure(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each work in each turn, the first left out."""
    device = resolve_device(arguments.device)
    precision = resolve_precision(arguments.precision, device)
    data = load(arguments.data, device)
    if not isinstance(data.meta, TextMeta):
        raise SystemExit(f"{arguments.data}: holds images; prepare text first")
    settings = TrainParameters(model=arguments.model)
    model = spec_for(settings, data.meta).fresh(seed=0).to(device)
    draw = torch.Generator().manual_seed(0)
    timed = works(model, data.train, precision)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(arguments.turns + 1):
        indices = torch.randperm(len(data.train), generator=draw)[:EXAMPLES]
        for name, work in timed.items():
            started = time.perf_counter()
            work(indices)
            seconds[name].append(time.perf_counter() - started)
    return {name: values[1:] for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/prepared"))
    parser.add_argument("--model", required=True, help="name or folder of a model of transformers")
    parser.add_argument("--precision", choices=("auto", "bf16", "float32"), default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=10, help="that count")
    parser.add_argument("--threads", type=int, help="of torch; default: what torch takes")
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    seconds = measure(arguments)
    found = {}
    for name, (first, second) in RATIOS.items():
        ratios = [a / b for a, b in zip(seconds[first], seconds[second], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        found[name] = [low, middle, high]
        print(f"{name}: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")
    if arguments.out is not None:
        record = {"machine": machine.describe(), "ratios": found, "seconds": seconds}
        arguments.out.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
