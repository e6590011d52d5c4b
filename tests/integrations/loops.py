"""A small regression and the plain loop over it, which the trainers are held against."""

import math

import torch
from torch import Tensor, nn

from crest import LossBatchSampler

COUNT, WIDTH = 150, 4
INPUTS = torch.randn(COUNT, WIDTH, generator=torch.Generator().manual_seed(5))
TARGETS = INPUTS.sum(1).sin()


def network() -> nn.Module:
    made = nn.Linear(WIDTH, 1)
    with torch.no_grad():
        made.weight.fill_(0.1)
        made.bias.fill_(0.0)
    return made


def losses_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return (model(inputs).squeeze(1) - targets) ** 2


def plain_loop(
    sampler: LossBatchSampler, accumulated: int = 1, mixed: bool = False
) -> tuple[list[list[int]], Tensor]:
    """The batches and the weights of a loop in one process, whose steps are those of the mean."""
    model, batches = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(math.ceil(sampler.steps / len(sampler))):
        for batch in sampler:
            batches.append(batch)
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                losses = losses_of(model, INPUTS[batch], TARGETS[batch])
            (losses.mean() / accumulated).backward()
            if len(batches) % accumulated == 0:
                optimizer.step()
                optimizer.zero_grad()
            sampler.update(batch, losses)
    return batches, nn.utils.parameters_to_vector(model.parameters()).detach()


def close(weights: Tensor, expected: Tensor, mixed: bool) -> None:
    """Hold weights against those of the plain loop; an example lost changes them by 1e-2."""
    tolerance = 1e-3 if mixed else 1e-5  # a process's gradient is rounded to bfloat16
    torch.testing.assert_close(weights, expected, atol=tolerance, rtol=tolerance)
