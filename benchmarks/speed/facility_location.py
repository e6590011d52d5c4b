"""Time and memory of the selection kernel, against submodlib-py and apricot-select.

    python -m venv /tmp/rivals && /tmp/rivals/bin/pip install submodlib-py apricot-select
    python -m benchmarks.speed.facility_location --threads 1 --out facility.json \
        --rivals /tmp/rivals/lib/python3.11/site-packages

Each picks m of r examples from every one of P subsets, starting from the same gradients p − y. All
are timed in turns in one process. Ours includes the distances, the picks and the cluster sizes, in
groups of as many subsets as the library takes at once; the rivals' have no cluster sizes and take
one subset after another. What each rival is given, and what it then maximises:

submodlib             gradients; its own similarity exp(−distance/d): other picks than ours
submodlib, C++        the same, the similarities kept in C++: its fastest way from gradients
submodlib, C − d      our similarity C − distance, computed with SciPy within the time
apricot               gradients; its own similarity, C² − distance²: other picks than ours
apricot, C − d        our similarity, as for submodlib

apricot compiles a function with Numba for every subset, which is within its time and most of it.

All use lazy greedy (submodlib's naive greedy takes some 30 times as long). Printed are the median
and the extremes of the repeats, by the clock and by the processor's seconds of all threads, which
say the same on a machine that has nothing else to do, and still say something on one that has.

The objective is ours, in float64, of all subsets together and of the worst one, relative to that of
a float64 greedy that computes every gain afresh. Of two examples that are each other's nearest both
have the same gain: which comes first is left to rounding, and later picks depend on it. 'exact,
reversed' is the same exact greedy with the examples in reverse order: what such ties alone do.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shared import machine
from crest.selection.choosing import SUBSETS_AT_ONCE
from crest.selection.facility_location import (
    cluster_sizes,
    greedy,
    greedy_afresh,
    objective,
    pairwise_distances,
)

OURS = "ours"
EXACT_REVERSED = "exact, reversed"
MIB = 2**20

Picker = Callable[[Tensor], Tensor]  # from gradients P×r×d to picks P×m


@dataclass
class Figure:
    """Seconds of each repeat, for all subsets, and the objective relative to the exact greedy's."""

    name: str
    dimensions: int
    subsets: int
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)  # seconds of all threads
    excess: float = 0.0  # of all subsets together
    worst: float = 0.0  # of one subset, whichever way


@dataclass(frozen=True)
class Memory:
    """Bytes for so many subsets at once: their distances, and the measured peak of everything."""

    subsets: int
    examples: int
    distances: int
    peak: int


def gradients(subsets: int, examples: int, dimensions: int, seed: int = 0) -> Tensor:
    """Return p − y of random logits whose right class leads by a margin, a few by a large one."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, dimensions, (subsets, examples, 1))
    logits = generator.normal(size=(subsets, examples, dimensions))
    margins = generator.gamma(1.5, 2.5, labels.shape)
    onehot = np.arange(dimensions) == labels
    probabilities = torch.from_numpy(logits + margins * onehot).softmax(2)
    return (probabilities - torch.from_numpy(onehot).double()).float()


def ours(features: Tensor, size: int) -> Tensor:
    return torch.cat([ours_at_once(group, size) for group in features.split(SUBSETS_AT_ONCE)])


def ours_at_once(features: Tensor, size: int) -> Tensor:
    distances = pairwise_distances(features)
    picks = greedy(distances, size)
    cluster_sizes(distances, picks)
    return picks


def exact_distances(features: Tensor) -> Tensor:
    wide = features.double()
    return torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")


def exact(features: Tensor, size: int) -> Tensor:
    none = torch.empty(1, 0, dtype=torch.int64)
    found = [greedy_afresh(exact_distances(one[None]), size, none) for one in features]
    return torch.cat(found)


def objectives(features: Tensor, picks: Tensor) -> Tensor:
    pairs = zip(features, picks, strict=True)
    return torch.cat([objective(exact_distances(one[None]), some[None]) for one, some in pairs])


def submodlib(features: Tensor, size: int, in_cpp: bool) -> Tensor:
    from submodlib import FacilityLocationFunction

    def pick(one: np.ndarray) -> list[int]:
        function = FacilityLocationFunction(
            len(one),
            "dense",
            separate_rep=False,
            data=one,
            metric="euclidean",
            create_dense_cpp_kernel_in_python=not in_cpp,
        )
        return [example for example, _ in maximize(function, size)]

    return torch.tensor([pick(one) for one in features.numpy()])


def submodlib_given(features: Tensor, size: int) -> Tensor:
    from submodlib import FacilityLocationFunction

    def pick(one: np.ndarray) -> list[int]:
        function = FacilityLocationFunction(len(one), "dense", False, sijs=similarities(one))
        return [example for example, _ in maximize(function, size)]

    return torch.tensor([pick(one) for one in features.numpy()])


def maximize(function: Any, size: int) -> list[tuple[int, float]]:
    return function.maximize(size, optimizer="LazyGreedy", show_progress=False)


def apricot(features: Tensor, size: int) -> Tensor:
    from apricot import FacilityLocationSelection

    def pick(one: np.ndarray) -> np.ndarray:
        return FacilityLocationSelection(size, metric="euclidean").fit(one).ranking

    return torch.from_numpy(np.stack([pick(one) for one in features.numpy()]))


def apricot_given(features: Tensor, size: int) -> Tensor:
    from apricot import FacilityLocationSelection

    def pick(one: np.ndarray) -> np.ndarray:
        return FacilityLocationSelection(size, metric="precomputed").fit(similarities(one)).ranking

    return torch.from_numpy(np.stack([pick(one) for one in features.numpy()]))


def similarities(one: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    distances = cdist(one, one)
    return distances.max() - distances


def pickers(size: int, rivals: bool) -> dict[str, Picker]:
    found: dict[str, Picker] = {OURS: lambda features: ours(features, size)}
    if rivals:
        found |= {
            "submodlib": lambda features: submodlib(features, size, in_cpp=False),
            "submodlib, C++": lambda features: submodlib(features, size, in_cpp=True),
            "submodlib, C − d": lambda features: submodlib_given(features, size),
            "apricot": lambda features: apricot(features, size),
            "apricot, C − d": lambda features: apricot_given(features, size),
        }
    return found


def compare(features: Tensor, size: int, repeats: int, works: dict[str, Picker]) -> list[Figure]:
    """Time all in turns, after one untimed turn whose picks are judged."""
    subsets, _, dimensions = features.shape
    best = objectives(features, exact(features, size))
    figures = []
    for name, work in works.items():
        figure = Figure(name, dimensions, subsets)
        judge(figure, objectives(features, work(features)), best)
        figures.append(figure)
    for _ in range(repeats):
        for figure in figures:
            started = time.perf_counter(), time.process_time()
            works[figure.name](features)
            figure.seconds.append(time.perf_counter() - started[0])
            figure.processor.append(time.process_time() - started[1])
    reversed_order = features.flip(1)
    ties = Figure(EXACT_REVERSED, dimensions, subsets)
    judge(ties, objectives(reversed_order, exact(reversed_order, size)), best)
    return [*figures, ties]


def judge(figure: Figure, values: Tensor, best: Tensor) -> None:
    figure.excess = float(values.sum() / best.sum() - 1)
    differences = values / best - 1
    figure.worst = float(differences[differences.abs().argmax()])


def report(figures: list[Figure]) -> None:
    """Print milliseconds a subset and multiples of ours, by the clock and by the processor."""
    mine = figures[0]
    for figure in figures:
        line = f"d = {figure.dimensions:3}, P = {figure.subsets:2}  {figure.name:17}"
        if figure.seconds:
            milliseconds = [1000 * seconds / figure.subsets for seconds in figure.seconds]
            clock = ratios(figure.seconds, mine.seconds)
            line += f"{spread(milliseconds)} ms {spread(clock)} x clock"
            line += f"{spread(ratios(figure.processor, mine.processor))} x processor"
        print(f"{line}  objective {figure.excess:+.0e} worst {figure.worst:+.0e}", flush=True)


def ratios(theirs: list[float], mine: list[float]) -> list[float]:
    return [one / other for one, other in zip(theirs, mine, strict=True)]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):7.2f} ({min(values):.2f}–{max(values):.2f})"


def memory(subsets: int, examples: int, size: int) -> Memory:
    """Measure the growth of resident memory while subsets are chosen from all at once."""
    features = gradients(subsets, examples, 10)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    ours_at_once(features, size)
    return Memory(subsets, examples, 4 * subsets * examples**2, resident("VmHWM") - before)


def resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[key].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rivals", type=Path, help="site-packages where they are installed")
    parser.add_argument("--without", nargs="*", default=[], help="rivals to leave out")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--subsets", type=int, nargs="+", default=[5, 50])
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    os.environ["NUMBA_NUM_THREADS"] = str(arguments.threads)
    memory(1, 100, 10)  # what is loaded once
    sizes = [(subsets, examples) for examples in (500, 1000) for subsets in (1, 5, 16)]
    memories = [memory(*one, arguments.size) for one in sizes]
    for one in memories:
        print(
            f"memory: P = {one.subsets:2} at once, r = {one.examples:4}  "
            f"distances {one.distances / MIB:5.1f} MiB  peak {one.peak / MIB:5.1f} MiB"
        )
    if arguments.rivals is not None:
        sys.path.append(str(arguments.rivals))  # what both have comes from our environment
        warnings.simplefilter("ignore")  # of the rivals
    works = pickers(arguments.size, arguments.rivals is not None)
    works = {name: work for name, work in works.items() if name not in arguments.without}
    figures = []
    for dimensions in arguments.dimensions:
        for subsets in arguments.subsets:
            features = gradients(subsets, arguments.examples, dimensions)
            some = compare(features, arguments.size, arguments.repeats, works)
            report(some)
            figures += some
    if arguments.out is not None:
        written = {
            "machine": machine.describe(),
            "examples": arguments.examples,
            "size": arguments.size,
            "figures": [asdict(figure) for figure in figures],
            "memory": [asdict(one) for one in memories],
        }
        arguments.out.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
