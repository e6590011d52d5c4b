"""How deep each weight lies, for learning rates by depth."""

from torch import nn

from crest.models.checkpointing import blocks
from crest.models.grafting import head_keys


def rate_factors(
    model: nn.Module, layer_decay: float, head_factor: float
) -> dict[nn.Parameter, float]:
    """Return what each weight's learning rate is of the run's.

    That of what follows the last block is 1; each level below has ``layer_decay`` of the next
    one's. The head's is ``head_factor``.

    References
    ----------
    Clark, Luong, Le and Manning, ELECTRA, ICLR 2020; Bao, Dong, Piao and Wei, BEiT, ICLR 2022,
    whose levels these are, and timm's.
    """
    if layer_decay == 1.0 and head_factor == 1.0:
        return dict.fromkeys(model.parameters(), 1.0)
    found = levels(model)
    deepest = max(found.values())
    head = head_keys(model)
    names = {weight: name for name, weight in model.named_parameters()}
    return {
        weight: head_factor if names[weight] in head else layer_decay ** (deepest - level)
        for weight, level in found.items()
    }


def levels(model: nn.Module) -> dict[nn.Parameter, int]:
    """Return the level of each weight, 0 for what comes before the first block.

    Blocks are those of :func:`crest.models.checkpointing.blocks`, one a level; what the model has
    between two is of the one before, and what it has after the last is one level more. A model
    without blocks has a level for each layer with a matrix.
    """
    within = {
        weight: number
        for number, block in enumerate(blocks(model), start=1)
        for weight in block.parameters()
    }
    level, found = 0, {}
    for weight in model.parameters():
        if weight in within:
            level = within[weight]
        elif not within:
            level += weight.ndim > 1
        elif level >= max(within.values()):
            level = max(within.values()) + 1
        found[weight] = level
    return found
