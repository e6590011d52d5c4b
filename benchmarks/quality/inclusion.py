"""Whether rounds and choices draw each example as often as they promise, and err as theory says.

    python -m benchmarks.quality.inclusion --out FILE

Inclusion. Examples have skewed losses (lognormal, σ = 1.5) and ten classes, of which each is half
as large again as the next. Every design draws --draws times, and how often each example was drawn
is held against its chance: z = (drawn − expected) / standard deviation. Under independent draws
the sum of all z² is chi-square with a degree of freedom an example; it prints the probability of
one as large. Designs of a fixed size draw no examples independently, so that for them it prints the
greatest |z| and the probability of one as large among so many (Bonferroni). The control is a round
in which one example in a hundred is drawn a tenth less often; it has to be found.

Variance. A convnet is trained on the bundled digits for --passes passes; each example's value is
its last layer's gradient p − y. Of mini-batches of --size out of one round it prints E|mean of the
batch − mean of all|² by simulation, over what simple random sampling without replacement has, and
what theory expects:

plain round    (1 − m/n) S²/m, S² the variance of all
class shares   (1 − m/n) Σ_c (n_c/n) S_c²/m, for shares of each class that are not rounded (Cochran,
               Sampling Techniques, 5.3), and what rounding adds: Var(k_c) of the count of a class,
               rounded up or down, times the square of its mean's distance
spatially balanced   no formula is known; simulation alone
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from benchmarks.shared.machine import describe
from crest.models.convnet import ConvNet
from crest.regions.active import ActiveSet
from crest.samplers.rounds import Focus, Rounds
from crest.samplers.rules.rule import drawn_by_chance
from crest.selection.shares import stratified_subset
from crest.selection.spatially_balanced import disjoint_samples

EXAMPLES, CLASSES = 2000, 10
FOCUS = Focus(exponent=1.0, floor=0.1)


def skewed(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return losses, float32 n, and classes, int64 n."""
    losses = torch.randn(EXAMPLES, generator=generator).mul(1.5).exp()
    sizes = torch.tensor([1.5**-number for number in range(CLASSES)])
    labels = torch.multinomial(sizes, EXAMPLES, replacement=True, generator=generator)
    return losses, labels


def rounds_of(
    losses: Tensor, labels: Tensor | None, generator: torch.Generator
) -> Callable[[], Tensor]:
    """Return what draws the members of one round."""

    def draw() -> Tensor:
        rounds = Rounds(
            ActiveSet(len(losses)), losses.__getitem__, FOCUS, generator, False, strata=labels
        )
        first = rounds.take(1)
        return torch.cat([first, rounds.take(len(rounds.state_dict()["waiting"]))])

    return draw


def designs(generator: torch.Generator) -> dict[str, tuple[Callable[[], Tensor], Tensor, bool]]:
    """Return what draws, the chance of each example, and whether draws are independent."""
    losses, labels = skewed(generator)
    chances = FOCUS.chances(losses)
    count = EXAMPLES // 10
    points = torch.randn(EXAMPLES // 5, 8, generator=generator)
    fewer = torch.full((len(points),), 1 / 8)
    everybody = torch.arange(EXAMPLES)
    slightly = torch.where(everybody % 100 == 0, 0.9 * chances, chances)
    return {
        "round, by losses": (rounds_of(losses, None, generator), chances, True),
        "round, by losses, class shares": (rounds_of(losses, labels, generator), chances, True),
        "control: one in a hundred a tenth less often": (
            lambda: drawn_by_chance(slightly, generator).long(),
            chances,
            True,
        ),
        "subset, class shares": (
            lambda: stratified_subset(everybody, labels, count, generator),
            torch.full((EXAMPLES,), count / EXAMPLES),
            False,
        ),
        "spatially balanced mini-batch": (
            lambda: spatially_balanced(points, len(points) // 8, generator),
            fewer,
            False,
        ),
    }


def spatially_balanced(rows: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return the places of a spatially balanced sample of the rows, float32 k×D."""
    return disjoint_samples(torch.cdist(rows, rows)[None], size, 1, generator).flatten()


def counted(draw: Callable[[], Tensor], examples: int, draws: int) -> Tensor:
    """Return how often each example was drawn; float64."""
    counts = torch.zeros(examples, dtype=torch.float64)
    for _ in range(draws):
        counts += torch.bincount(draw(), minlength=examples)
    return counts


def inclusion(
    draw: Callable[[], Tensor], chances: Tensor, independent: bool, draws: int
) -> dict[str, Any]:
    """Return how far counts are off, and how probable that is."""
    counts = counted(draw, len(chances), draws)
    chances = chances.double()
    some = chances < 1
    always = bool((counts[~some] == draws).all())
    expected = draws * chances[some]
    z = (counts[some] - expected) / (expected * (1 - chances[some])).sqrt()
    greatest = float(z.abs().max())
    found: dict[str, Any] = {
        "examples": int(some.sum()),
        "chances": [float(chances.min()), float(chances.max())],
        "always_when_1": always,
        "greatest_z": greatest,
        "probability_of_greatest": min(1.0, len(z) * math.erfc(greatest / math.sqrt(2))),
        "mean_z2": float(z.square().mean()),
    }
    if independent:
        found["probability_of_chi_square"] = chi_square_tail(float(z.square().sum()), len(z))
    return found


def chi_square_tail(value: float, freedom: int) -> float:
    """Return the probability of a chi-square as large."""
    half = torch.tensor([freedom / 2, value / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def gradients(passes: int) -> tuple[Tensor, Tensor]:
    """Return p − y of digits after some passes, float64 n×C, and the classes."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    torch.manual_seed(0)
    model = ConvNet(CLASSES, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(passes):
        for batch in torch.randperm(len(labels), generator=generator).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    model.eval()
    with torch.inference_mode():
        probabilities = model(images).double().softmax(1)
    return probabilities - F.one_hot(labels, CLASSES), labels


def simple_variance(values: Tensor, size: int) -> float:
    """Return E|mean of a batch − mean|² of simple random sampling without replacement."""
    spread = (values - values.mean(0)).square().sum() / (len(values) - 1)
    return float((1 - size / len(values)) * spread / size)


def stratified_variance(values: Tensor, labels: Tensor, size: int) -> tuple[float, float]:
    """Return what theory expects of class shares: without rounding, and what rounding adds."""
    count = len(values)
    mean = values.mean(0)
    exact = rounding = 0.0
    for label in labels.unique():
        own = values[labels == label]
        share = len(own) / count
        spread = float((own - own.mean(0)).square().sum() / max(1, len(own) - 1))
        exact += (1 - size / count) * share * spread / size
        rest = size * share % 1
        rounding += rest * (1 - rest) / size**2 * float((own.mean(0) - mean).square().sum())
    return exact, rounding


def batches_of_rounds(
    labels: Tensor | None, count: int, size: int, generator: torch.Generator
) -> Callable[[], list[Tensor]]:
    """Return what gives the whole mini-batches of one round in which all take part."""

    def draw() -> list[Tensor]:
        rounds = Rounds(
            ActiveSet(count),
            torch.ones(count).__getitem__,
            Focus(0.0, 1.0),
            generator,
            False,
            labels,
        )
        return [rounds.take(size) for _ in range(count // size)]

    return draw


def simulated(draw: Callable[[], list[Tensor]], values: Tensor, rounds: int) -> tuple[float, float]:
    """Return the mean of |mean of a batch − mean|² and its standard error, over rounds."""
    mean = values.mean(0)
    means = torch.tensor(
        [
            float(
                torch.stack(
                    [(values[batch].mean(0) - mean).square().sum() for batch in draw()]
                ).mean()
            )
            for _ in range(rounds)
        ],
        dtype=torch.float64,
    )
    return float(means.mean()), float(means.std() / math.sqrt(rounds))


def variance(passes: int, size: int, rounds: int, generator: torch.Generator) -> dict[str, Any]:
    """Return what designs err, simulated and expected, over simple random sampling."""
    values, labels = gradients(passes)
    count = len(values)
    plain = simple_variance(values, size)
    exact, rounding = stratified_variance(values, labels, size)
    subset = min(512, count)

    def balanced() -> list[Tensor]:
        rows = torch.randperm(count, generator=generator)[:subset]
        chosen = spatially_balanced(values[rows].float(), size, generator)
        return [rows[chosen]]

    designs = {
        "plain round": (batches_of_rounds(None, count, size, generator), plain),
        "class shares": (batches_of_rounds(labels, count, size, generator), exact + rounding),
        f"spatially balanced of {subset}": (balanced, None),
    }
    found = {}
    for name, (draw, theory) in designs.items():
        times = rounds if theory is not None else rounds * 10
        mean, error = simulated(draw, values, times)
        found[name] = {
            "simulated": mean / plain,
            "error": error / plain,
            "theory": None if theory is None else theory / plain,
        }
    found["class shares"]["theory_without_rounding"] = exact / plain
    return {"passes": passes, "size": size, "examples": count, "designs": found}


def main() -> None:
    """Draw, print, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--passes", type=int, nargs="+", default=[0, 1, 3, 10])
    parser.add_argument("--size", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    drawn = {}
    for name, (draw, chances, independent) in designs(generator).items():
        drawn[name] = inclusion(draw, chances, independent, options.draws)
        print(name, json.dumps(drawn[name]), flush=True)
    errors = []
    for passes in options.passes:
        for size in options.size:
            errors.append(variance(passes, size, options.rounds, generator))
            print(json.dumps(errors[-1]), flush=True)
    result = {"machine": describe(), "draws": options.draws, "inclusion": drawn, "variance": errors}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
