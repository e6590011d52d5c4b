"""Lightning: a module whose batches are drawn by the losses of training.

    pip install "crest-coresets[lightning]"
    python examples/lightning_by_losses.py
    torchrun --nproc-per-node=2 examples/lightning_by_losses.py --processes 2

The sampler's three lines are marked. A checkpoint of Lightning carries the sampler, in the middle
of an epoch too.
"""

import argparse
import sys
from typing import Any

import torch
from plain_pytorch import accuracy, convnet, digits
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from crest import CrestError, Indexed, LossBatchSampler
from crest.integrations.lightning import LossLoader

try:
    from pytorch_lightning import LightningModule, Trainer, seed_everything
    from pytorch_lightning.callbacks import ModelCheckpoint
except ModuleNotFoundError:
    sys.exit('error: Lightning is not installed: pip install "crest-coresets[lightning]"')


class Digits(LightningModule):
    """A small network that learns the digits."""

    def __init__(self, images: Tensor, labels: Tensor, steps: int, rule: str) -> None:
        super().__init__()
        self.network = convnet(16)
        self.data = Indexed(TensorDataset(images, labels))
        self.steps, self.rule = steps, rule

    def train_dataloader(self) -> LossLoader:
        """Return the loader; the processes know of each other here."""
        self.sampler = LossBatchSampler(len(self.data), 32, self.steps, rule=self.rule)  # line 1
        return LossLoader(DataLoader(self.data, batch_sampler=self.sampler))  # line 2

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Return the loss of a batch."""
        indices, inputs, targets = batch
        losses = F.cross_entropy(self.network(inputs), targets, reduction="none")
        self.sampler.update(indices, losses)  # line 3
        return self.sampler.mean(losses)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.SGD(self.network.parameters(), lr=0.05, momentum=0.9)


def main() -> None:
    """Train, and say how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rule", default="focused", help="focused or random")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", help="of checkpoints; without it, none is kept")
    parser.add_argument("--resume", metavar="CHECKPOINT", help="where to go on")
    arguments = parser.parse_args()

    seed_everything(0, verbose=False)
    images, labels, test_images, test_labels = digits()
    module = Digits(images, labels, arguments.steps, arguments.rule)
    kept = ModelCheckpoint(arguments.folder, "{step}", every_n_train_steps=20, save_top_k=-1)
    trainer = Trainer(
        accelerator="cpu",
        devices=arguments.processes,
        max_steps=arguments.steps,
        callbacks=[kept] if arguments.folder else [],
        enable_checkpointing=bool(arguments.folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    trainer.fit(module, ckpt_path=arguments.resume)
    if trainer.is_global_zero:
        print(f"accuracy: {accuracy(module.network, test_images, test_labels):.4f}")


if __name__ == "__main__":
    try:
        main()
    except CrestError as error:
        sys.exit(f"error: {error}")
