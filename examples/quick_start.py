"""Wrong labels are found, and drawn less often: the bundled digits, some seconds on one core.

pip install "crest-coresets[images]"
python examples/quick_start.py --picture accuracy.png
"""

import argparse
from statistics import fmean, stdev

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import crest

SEEDS = (0, 1, 2)
POINTS = 10  # of the picture


def train(images: Tensor, labels: Tensor, test: tuple[Tensor, Tensor], steps: int, **how) -> list:
    """Train a small network, and return its test accuracies along the way."""
    torch.manual_seed(how["seed"])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sampler = crest.LossBatchSampler(len(labels), batch_size=32, steps=steps, **how)
    accuracies = []
    for step, indices in enumerate(sampler, 1):
        losses = F.cross_entropy(model(images[indices]), labels[indices], reduction="none")
        optimizer.zero_grad()
        sampler.mean(losses).backward()
        optimizer.step()
        schedule.step()
        sampler.update(indices, losses.detach())
        if step % (steps // POINTS) == 0:
            with torch.no_grad():
                right = model(test[0]).argmax(1) == test[1]
            accuracies.append(100 * right.float().mean().item())
    return accuracies


def main() -> None:
    """Make labels wrong, and train with and without knowing of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", help="where to draw the accuracies by step")
    parser.add_argument("--wrong", type=int, default=520, help="labels of the 1,300 made wrong")
    parser.add_argument("--steps", type=int, default=240)
    arguments = parser.parse_args()
    steps, count = arguments.steps, arguments.wrong

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    test = images[1300:], labels[1300:]
    images, labels = images[:1300], labels[:1300].clone()
    wrong = torch.randperm(1300, generator=torch.Generator().manual_seed(0))[:count]
    labels[wrong] = (labels[wrong] + torch.arange(count) % 9 + 1) % 10

    noise = crest.estimate_label_noise(images, labels)
    suspects = noise.suspects()[:count]
    found = torch.isin(suspects, wrong).float().mean()
    print(f"wrong labels, estimated: {noise.wrong:.0%} ({count / 1300:.0%} are)")
    print(f"of the {count} most suspect, wrong: {found:.0%}")

    ways = {
        "random": {"rule": "random"},
        "by losses and label quality": {"groups": labels, "label_quality": noise.quality},
    }
    curves = {
        name: [train(images, labels, test, steps, seed=seed, **how) for seed in SEEDS]
        for name, how in ways.items()
    }
    for name, runs in curves.items():
        last = [run[-1] for run in runs]
        print(f"{name}: {fmean(last):.1f} ± {stdev(last):.1f}% right, {len(SEEDS)} seeds")
    if arguments.picture:
        draw(curves, steps, arguments.picture)


def draw(curves: dict[str, list], steps: int, picture: str) -> None:
    """Draw the mean accuracy by step, with a band from the lowest seed to the highest."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    places = [steps * point // POINTS for point in range(1, POINTS + 1)]
    figure, axes = plt.subplots(figsize=(6.0, 3.0))
    for name, runs in curves.items():
        points = list(zip(*runs, strict=True))
        axes.plot(places, [fmean(point) for point in points], label=name)
        axes.fill_between(places, [min(p) for p in points], [max(p) for p in points], alpha=0.2)
    axes.set(xlabel="step", ylabel="test accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
