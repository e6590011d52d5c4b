"""Whether what a sampler recorded of a loop of one's own ranks wrong labels.

    python -m benchmarks.quality.records --seeds 5

Flips 10% of the labels of all bundled digits, drawn evenly over the other classes, trains a network
of two layers in a plain loop with LossBatchSampler, and ranks by mean loss. Precision is that among
the first k, k being the number of wrong labels; named is the share of those found whose true class
is the one that they are taken for. Means over the seeds, and the least.
"""

import argparse
import statistics

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from crest import LossBatchSampler
from crest.analysis.difficulty import difficulty_table, mislabelled

BATCH, SHARE = 64, 0.1
PASSES = (5, 10, 30)


def measured(rule: str, seed: int, passes: int) -> tuple[float, float]:
    """Return precision and how often the class is named, of one training."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 16
    true = torch.tensor(digits.target)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.randperm(len(true), generator=generator)[: round(SHARE * len(true))]
    labels = true.clone()
    labels[wrong] = (true[wrong] + torch.randint(1, 10, wrong.shape, generator=generator)) % 10
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    steps = passes * len(true) // BATCH
    sampler = LossBatchSampler(len(true), BATCH, steps, rule=rule, seed=seed, record=True)
    for indices in sampler:
        logits, targets = model(images[indices]), labels[indices]
        losses = F.cross_entropy(logits, targets, reduction="none")
        optimizer.zero_grad()
        sampler.mean(losses).backward()
        optimizer.step()
        classes = logits.argmax(1)
        sampler.update(indices, losses, classes == targets, classes)
    first = mislabelled(difficulty_table(sampler.examples(labels))).head(len(wrong))
    index, taken_for = first["index"].to_torch(), torch.tensor(first["taken_for"].to_list())
    found = torch.isin(index, wrong)
    named = taken_for[found] == true[index[found]]
    return float(found.double().mean()), float(named.double().mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    print("| passes | rule | precision | least | named |\n|---|---|---|---|---|")
    for passes in PASSES:
        for rule in ("random", "focused"):
            runs = [measured(rule, seed, passes) for seed in range(arguments.seeds)]
            precision, named = zip(*runs, strict=True)
            means = f"{statistics.mean(precision):.3f} | {min(precision):.3f}"
            print(f"| {passes} | {rule} | {means} | {statistics.mean(named):.3f} |")


if __name__ == "__main__":
    main()
