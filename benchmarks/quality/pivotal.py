"""Spatially balanced designs: pairs one after another, many pairs at once, and groups by halving.

    python -m benchmarks.quality.pivotal [--project FOLDER] [--device cuda]

Of --subsets random subsets of the bundled digits at once, p − y of a convnet after --passes passes,
four disjoint mini-batches each; or of the images of FOLDER, which holds params.yaml and
data/prepared. ``pairs`` is crest.selection.spatially_balanced, the local pivotal
method on the host; ``groups`` crest.selection.spatially_stratified, tensor operations. ``pairs at
once``, which was tried, lets in every round all pairs meet that are each other's nearest, of all
subsets together (the first of the two methods of Grafström, Lundström and Schelin, Biometrics 2012,
in rounds): unbiased as well, since every meeting is. Prints milliseconds of a subset, rounds, and
the variance of a mini-batch's mean over that of a simple random one of the subset, which tells
whether the design is as well spread.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.quality.fidelity import Bench, train_checkpoint
from benchmarks.quality.inclusion import gradients, simple_variance
from crest import config
from crest.devices.precision import resolve_device, resolve_precision
from crest.inference.evaluator import Evaluator
from crest.models.head import last_layer
from crest.pipeline.inputs import prepared_data
from crest.pipeline.paths import Paths
from crest.selection import spatially_balanced, spatially_stratified
from crest.selection.facility_location import pairwise_distances
from crest.selection.gradients import logit_gradients

# Called with vectors, m, the number of mini-batches and a generator.
Samples = Callable[[Tensor, int, int, torch.Generator], Tensor]
EACH = 4  # mini-batches of a subset
SIZES = ((128, 32), (512, 128))  # of a subset and of a mini-batch
SAMPLE = 6000  # examples of a project


def gradients_of(project: Path, passes: int) -> Tensor:
    """Return p − y of some of a project's examples after some passes of a convnet; float64 n×C."""
    overrides = ["train.model=convnet", "train.threads=1", "train.batch_size=128"]
    parameters = config.load(project / "params.yaml", overrides)
    precision = resolve_precision("bf16", resolve_device("cpu"))
    data = prepared_data(parameters, Paths(project), precision.device)
    steps = passes * len(data.train) // parameters.train.batch_size
    # Of a long run, whose rate has not fallen yet.
    state = train_checkpoint(data, precision, parameters, steps, 10 * steps)
    model = Bench(data, precision, state, steps).model(parameters)
    drawn = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    scored = Evaluator(model, data.train, precision).score(drawn)
    return logit_gradients(scored, last_layer(model)).double()


def at_once(distances: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, int]:
    """Draw :data:`EACH` mini-batches of each subset; bool P×EACH×r, and the rounds it took.

    ``distances`` are float32, P×r×r, on any device; draws are the CPU's, so that every device
    chooses the same.
    """
    subsets, count, _ = distances.shape
    device = distances.device
    own = torch.eye(count, dtype=torch.bool, device=device)
    left = torch.ones(subsets, count, dtype=torch.bool, device=device)
    minibatches, rounds = [], 0
    for number in range(EACH):
        whole = count - number * size  # chances are counted in units of 1 / whole
        chances = torch.where(left, size, 0)
        is_open = left if whole > size else torch.zeros_like(left)
        if whole == size:
            chances = torch.where(left, whole, 0)
        near = distances.masked_fill(own | ~is_open[:, None, :], torch.inf)
        while bool((is_open.sum(1) > 1).any()):
            chances, is_open = one_round(near, chances, is_open, whole, generator)
            near = near.masked_fill_(~is_open[:, None, :], torch.inf)
            rounds += 1
        chosen = chances == whole
        minibatches.append(chosen)
        left = left & ~chosen
    return torch.stack(minibatches, 1), rounds


def one_round(
    near: Tensor, chances: Tensor, is_open: Tensor, whole: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Let all pairs meet that are each other's nearest; their chances, and who is undecided."""
    places = torch.arange(chances.shape[1], device=chances.device)
    lowest, nearest = near.min(2)
    met = is_open & lowest.isfinite() & (nearest.gather(1, nearest) == places)
    mine, theirs = chances, chances.gather(1, nearest)
    both = mine + theirs
    settled = torch.where(both < whole, 0, whole)
    # Both of a pair have to read the same draw: that of the one that comes first.
    draws = torch.rand(chances.shape, generator=generator, dtype=torch.float64)
    draws = draws.to(chances.device)
    first = places < nearest
    draw = torch.where(first, draws, draws.gather(1, nearest))
    lead = torch.where(first, theirs, mine)  # the chance of the pair's second
    second_keeps = draw < (lead - settled) / (both - 2 * settled)
    keeps = second_keeps ^ first
    chances = torch.where(met, torch.where(keeps, both - settled, settled), chances)
    return chances, is_open & (chances > 0) & (chances < whole)


def by_pairs(vectors: Tensor, size: int, each: int, generator: torch.Generator) -> Tensor:
    """Draw by the local pivotal method, distances included; int64 P×each×m."""
    distances = pairwise_distances(vectors)
    return spatially_balanced.disjoint_samples(distances, size, each, generator)


def drawn_by(samples: Samples, vectors: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw as the project does; bool P×EACH×r."""
    chosen = samples(vectors, size, EACH, generator)
    shape = (len(vectors), EACH, vectors.shape[1])
    return torch.zeros(shape, dtype=torch.bool).scatter_(2, chosen.cpu(), True)


def drawn_at_once(vectors: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw all pairs at once; bool P×EACH×r."""
    return at_once(pairwise_distances(vectors), size, generator)[0]


def variance(rows: Tensor, chosen: Tensor, size: int) -> float:
    """Return E|mean of a mini-batch − mean of its subset|² over simple random sampling's."""
    means = (chosen.cpu().to(rows.dtype) @ rows) / size
    errors = (means - rows.mean(1, keepdim=True)).square().sum(2).mean()
    plain = torch.tensor([simple_variance(subset, size) for subset in rows]).mean()
    return float(errors / plain)


def measured(draw: Callable[[], Tensor], device: torch.device, repeats: int) -> list[float]:
    """Return the seconds of each repeat, after one to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        draw()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def main() -> None:
    """Draw in each way, and print a line a size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", type=Path, help="instead of the bundled digits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--subsets", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--draws", type=int, default=400, help="of the variances")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    if options.project is None:
        values, _ = gradients(options.passes)
    else:
        values = gradients_of(options.project, options.passes)
    generator = torch.Generator().manual_seed(0)
    for count, size in SIZES:
        for subsets in options.subsets:
            places = torch.stack(
                [torch.randperm(len(values), generator=generator)[:count] for _ in range(subsets)]
            )
            vectors = values[places].float().to(device)
            row: dict[str, object] = {"subset": count, "mini-batch": size, "subsets": subsets}
            groups = spatially_stratified.disjoint_samples
            ways: dict[str, Callable[[], Tensor]] = {
                "pairs": partial(drawn_by, by_pairs, vectors, size, generator),
                "groups": partial(drawn_by, groups, vectors, size, generator),
                "pairs at once": partial(drawn_at_once, vectors, size, generator),
            }
            row["rounds"] = at_once(pairwise_distances(vectors), size, generator)[1]
            for name, draw in ways.items():
                seconds = median(measured(draw, device, options.repeats))
                times = -(-options.draws // (subsets * EACH))
                found = [variance(values[places], draw(), size) for _ in range(times)]
                row[name] = {
                    "ms": round(1e3 * seconds / subsets, 2),
                    "variance": round(sum(found) / len(found), 3),
                }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
