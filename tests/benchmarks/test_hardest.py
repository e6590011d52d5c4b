"""The hardest half of a loader's batches."""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.gpu.hardest import HardestHalf


@dataclass
class Loader:
    """Three batches of eight, again and again."""

    images: Tensor = field(default_factory=lambda: torch.randn(24, 3, 32, 32))
    labels: Tensor = field(default_factory=lambda: torch.arange(24) % 10)
    batch_size: int = 8
    epoch: int = 0

    def __len__(self) -> int:
        return 3

    def __iter__(self):
        self.epoch += 1
        yield from zip(self.images.split(8), self.labels.split(8), strict=True)


def test_of_each_batch_the_half_with_the_highest_losses_is_yielded() -> None:
    torch.manual_seed(0)
    loader = Loader()
    chosen = HardestHalf(loader, epochs=2)
    pairs = zip(chosen, Loader(loader.images, loader.labels), strict=True)
    for (images, labels), (all_images, all_labels) in pairs:
        assert images.shape == (4, 3, 32, 32)
        places = [int((all_images == one).flatten(1).all(1).nonzero()) for one in images]
        assert torch.equal(all_labels[places], labels)
    assert loader.epoch == 1
    chosen.epoch = 0
    assert (loader.epoch, len(chosen), chosen.batch_size) == (0, 3, 8)


def test_the_proxy_learns_from_every_fourth_batch_and_its_losses_decide() -> None:
    torch.manual_seed(0)
    loader = Loader()
    chosen = HardestHalf(loader, epochs=4)
    weights = [chosen._proxy.linear.weight.detach().clone()]
    for _ in range(2):
        for _ in chosen:
            weights.append(chosen._proxy.linear.weight.detach().clone())
    moved = [not torch.equal(*pair) for pair in pairwise(weights)]
    assert moved == [True, False, False, False, True, False]
    images, labels = loader.images[:8], loader.labels[:8]
    with torch.no_grad():
        logits = chosen._proxy(images)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    kept, _ = next(iter(chosen))
    hardest = losses.topk(4).indices
    assert torch.equal(kept, images[hardest])
