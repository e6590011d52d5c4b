"""A training loop for a GPU as one writes it by hand: the data there, compiled, one fused step."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CROP = 4
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4


class Handwritten:
    """Trains on random mini-batches of images that lie on the device, cropped and flipped there.

    It takes nothing of the library but the network, never waits for the device, and records
    nothing but the sum of the losses.

    Parameters
    ----------
    model
        On its device.
    folder
        Of prepared data.
    compiled
        Whether the loss is compiled, into a graph of its own.
    """

    def __init__(self, model: nn.Module, folder: Path, size: int, compiled: bool) -> None:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.device = next(model.parameters()).device
        images = torch.from_numpy(np.load(folder / "train_images.npy"))
        self.images = images.to(self.device).permute(0, 3, 1, 2)  # channels last in memory
        self.labels = torch.from_numpy(np.load(folder / "train_labels.npy")).to(self.device)
        self.mean = torch.tensor(meta["mean"], device=self.device).view(1, -1, 1, 1)
        self.std = torch.tensor(meta["std"], device=self.device).view(1, -1, 1, 1)
        self.model = model.train()
        self.size = size
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=LEARNING_RATE,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            fused=True,
        )
        self.order = torch.randperm(len(self.labels), device=self.device)
        self.place = 0
        self.loss_sum = torch.zeros((), device=self.device)
        self.compiled = compiled
        self.forward = self.loss
        if compiled:
            self.forward = torch.compile(self.loss, mode="reduce-overhead")

    def step(self) -> None:
        """Take a step."""
        if self.place + self.size > len(self.order):
            self.order = torch.randperm(len(self.labels), device=self.device)
            self.place = 0
        chosen = self.order[self.place : self.place + self.size]
        self.place += self.size
        self.optimizer.zero_grad()
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # what the last step's graph wrote may go
        loss = self.forward(self.augmented(self.images[chosen]), self.labels[chosen])
        loss.backward()
        self.optimizer.step()
        self.loss_sum += loss.detach()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of uint8 images."""
        scaled = images.to(torch.float32, memory_format=torch.channels_last)
        scaled = scaled.div(255).sub(self.mean).div(self.std)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.model(scaled)
        return F.cross_entropy(logits.float(), labels)

    def augmented(self, images: Tensor) -> Tensor:
        """Crop and flip each image on its own."""
        count, _, height, width = images.shape
        padded = F.pad(images, (CROP, CROP, CROP, CROP))
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        top, left = torch.randint(2 * CROP + 1, (2, count), device=self.device)
        cropped = windows[torch.arange(count, device=self.device), :, top, left]
        flip = torch.rand(count, device=self.device) < 0.5
        return torch.where(flip[:, None, None, None], cropped.flip(3), cropped)
