"""CREST in a loop of several processes: rank 0 chooses, each trains on its share of the mini-batch.

    torchrun --standalone --nproc-per-node=2 examples/several_processes.py

The network is DistributedDataParallel's. BatchNorm's running statistics are each process's own
between two steps, so that each would choose otherwise: one chooses, and broadcasts.
"""

import argparse
import os
import sys
from collections.abc import Iterator

import torch
import torch.distributed as dist
from plain_pytorch import accuracy, convnet, digits
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from crest import Coresets, economical

SIZE = 32  # of a mini-batch, over all processes


def chosen_on_rank_0(coresets: Coresets | None, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rank 0's mini-batches, on every rank; the others have no Coresets."""
    minibatches = None if coresets is None else iter(coresets)
    for _ in range(steps):
        indices, weights = torch.empty(SIZE, dtype=torch.int64), torch.empty(SIZE)
        if minibatches is not None:
            indices, weights = next(minibatches)
        dist.broadcast(indices, 0)
        dist.broadcast(weights, 0)
        yield indices, weights


def of_all(logits: Tensor, processes: int) -> Tensor:
    """Return the logits of the whole mini-batch: the processes' shares, one behind the other."""
    shares = [torch.empty_like(logits) for _ in range(processes)]
    dist.all_gather(shares, logits.detach().contiguous())
    return torch.cat(shares)


def main() -> None:
    """Train together, and say on rank 0 how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--save", metavar="FOLDER", help="where to keep what was chosen")
    arguments = parser.parse_args()
    if "RANK" not in os.environ:
        sys.exit("error: start it with torchrun, as the first lines of the file say")
    dist.init_process_group("gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    if SIZE % processes:
        sys.exit(f"error: {processes} processes do not share {SIZE} examples evenly")

    torch.manual_seed(0)
    images, labels, test_images, test_labels = digits()
    model = convnet(16)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    coresets = None
    if rank == 0:
        coresets = Coresets(
            model,
            lambda indices: images[indices],
            labels,
            steps=arguments.steps,
            batch_size=SIZE,
            **economical(SIZE),
        )
    for indices, weights in chosen_on_rank_0(coresets, arguments.steps):
        own, own_weights = indices.chunk(processes)[rank], weights.chunk(processes)[rank]
        logits = parallel(images[own])
        losses = F.cross_entropy(logits, labels[own], reduction="none")
        optimizer.zero_grad()
        # Gradients are averaged over the processes: of equal shares the mean is that of all.
        (losses * own_weights).mean().backward()
        optimizer.step()
        all_logits = of_all(logits, processes)
        if coresets is not None:
            coresets.step(all_logits)

    if coresets is not None:
        if arguments.save:
            coresets.save(arguments.save)
        print(f"accuracy: {accuracy(model, test_images, test_labels):.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
