"""Accelerate: a loop whose batches are drawn by the losses of training, in one process or more.

    pip install "crest-coresets[accelerate]"
    accelerate launch --cpu --num_processes=2 examples/accelerate_loop.py

It is an ordinary loop of Accelerate, with gradient accumulation and two workers; the three lines
of the sampler are marked.
"""

import argparse
import sys

import torch
from plain_pytorch import accuracy, convnet, digits
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from crest import CrestError, Indexed, LossBatchSampler
from crest.integrations.accelerate import prepare_loader

ACCUMULATED = 2  # batches a step


def main() -> None:
    """Train, and say on the first process how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rule", default="focused", help="focused or random")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError:
        sys.exit('error: accelerate is not installed: pip install "crest-coresets[accelerate]"')

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
    torch.manual_seed(0)
    images, labels, test_images, test_labels = digits()
    model = convnet(16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model, optimizer = accelerator.prepare(model, optimizer)

    batches = arguments.steps * ACCUMULATED
    sampler = LossBatchSampler(len(labels), 16, batches, rule=arguments.rule)  # line 1
    data = Indexed(TensorDataset(images, labels))
    loader = DataLoader(data, batch_sampler=sampler, num_workers=arguments.workers)  # line 2
    for indices, inputs, targets in prepare_loader(accelerator, loader):
        with accelerator.accumulate(model):
            losses = F.cross_entropy(model(inputs), targets, reduction="none")
            accelerator.backward(sampler.mean(losses))
            optimizer.step()
            optimizer.zero_grad()
        sampler.update(indices, losses)  # line 3

    if accelerator.is_main_process:
        print(
            f"accuracy: {accuracy(accelerator.unwrap_model(model), test_images, test_labels):.4f}"
        )
    accelerator.end_training()


if __name__ == "__main__":
    try:
        main()
    except CrestError as error:
        sys.exit(f"error: {error}")
