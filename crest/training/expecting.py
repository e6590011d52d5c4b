"""What the next step will train on, told to examples that take time to make.

Draws come from a copy of the generator that the step will draw from, so that nothing depends on
whether they are foreseen: a step that turns out another way makes its views itself.
"""

import torch
from torch import Tensor

from crest.data.prepared import Expecting, Split
from crest.devices.distributed import Group
from crest.devices.generators import copy_of


def expect_views(
    data: Split, indices: Tensor, generator: torch.Generator, parts: int, group: Group
) -> None:
    """Let the views of a mini-batch be made that the next step will draw.

    Parameters
    ----------
    indices
        int64, m: what the step will train on.
    generator
        As the step will find it; it stays as it is.
    parts, group
        How many parts it will have, of which this process makes its own.
    """
    if not isinstance(data, Expecting):
        return
    copy = copy_of(generator)
    if parts == 1:
        data.expect(indices, data.draw_views(len(indices), copy))
        return
    pieces = indices.tensor_split(parts)
    seeds = part_seeds(parts, copy)
    mine = group.share(parts)
    draws = [
        data.draw_views(len(pieces[number]), torch.Generator().manual_seed(seeds[number][0]))
        for number in mine
    ]
    data.expect(torch.cat([pieces[number] for number in mine]), torch.cat(draws))


def part_seeds(parts: int, generator: torch.Generator) -> list[list[int]]:
    """Draw for each part of a mini-batch the seeds of its augmentation and its dropout."""
    seeds: list[list[int]] = torch.randint(2**62, (parts, 2), generator=generator).tolist()
    return seeds
