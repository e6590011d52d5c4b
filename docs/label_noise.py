"""The picture of docs/label-noise.md, written beside it: python docs/label_noise.py CIFAR10.

CIFAR10 is a folder as `prepare` takes it, such as of CIFAR-10's images in folders of classes.
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from crest.config import parse
from crest.data.prepared import load
from crest.label_noise import LabelNoise, noise_of
from stages import prepare

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
SHOWN = 0.4
EXAMPLES = 10_000
PICTURE = Path(__file__).with_name("label-noise.png")


class Relabelled:
    """Some examples of a split, a share of their labels shuffled."""

    def __init__(self, split: object, share: float) -> None:
        generator = torch.Generator().manual_seed(0)
        count = min(EXAMPLES, len(split.labels))
        self.rows = torch.randperm(len(split.labels), generator=generator)[:count].sort().values
        self.true = split.labels[self.rows]
        some = torch.randperm(count, generator=generator)[: round(share * count)]
        self.labels = self.true.clone()
        self.labels[some] = self.true[some[torch.randperm(len(some), generator=generator)]]
        self.lengths = None
        self._split = split

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the images at some indices."""
        return self._split.inputs(self.rows[indices])

    @property
    def wrong(self) -> torch.Tensor:
        """Whose label is wrong, bool n."""
        return self.labels != self.true

    def noise(self) -> LabelNoise:
        """Estimate it."""
        found = noise_of(self, int(self.true.max()) + 1, torch.Generator().manual_seed(0))
        assert found is not None
        return found


def prepared(settings: dict[str, object], folder: Path) -> object:
    """Prepare data in a folder, and return the training split."""
    prepare.run(parse({"prepare": settings}, "picture").prepare, folder)
    return load(folder, torch.device("cpu")).train


def draw(splits: dict[str, object]) -> None:
    """Draw the picture of some splits."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    for name, split in splits.items():
        tried = [Relabelled(split, share) for share in SHARES]
        planted = [float(one.wrong.double().mean()) for one in tried]
        left.plot(planted, [one.noise().wrong for one in tried], "o-", label=name)
    left.plot([0, 0.6], [0, 0.6], color="0.8", zorder=0)
    left.set(xlabel="share wrong, planted", ylabel="share wrong, estimated")
    left.legend(frameon=False)
    one = Relabelled(splits["CIFAR-10"], SHOWN)
    quality, bins = one.noise().quality, torch.linspace(0, 1, 26).tolist()
    for wrong, name in ((False, "right"), (True, "wrong")):
        right.hist(quality[one.wrong == wrong].tolist(), bins, alpha=0.6, label=f"{name} labels")
    right.set(xlabel="probability that the label is right", ylabel="examples")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


def main() -> None:
    """Take the folder of CIFAR-10, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cifar10", type=Path)
    given = {"dataset": "cifar10", "source": str(parser.parse_args().cifar10), "validation": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        draw(
            {
                "digits": prepared({"validation": 0.0}, Path(folder) / "digits"),
                "CIFAR-10": prepared(given, Path(folder) / "cifar10"),
            }
        )


if __name__ == "__main__":
    main()
