"""How deep each weight lies, for learning rates by depth."""

from torch import nn

from crest.models.checkpointing import blocks
from crest.models.grafting import head_keys


def rate_factors(
    model: nn.Module, layer_decay: float, head_factor: float
) -> dict[nn.Parameter, float]:
    """Return what each weight's learning rate is of the run's.

    Each level has ``layer_decay`` of the next one's; above the last is the head, of
    ``head_factor``.

    References
    ----------
    Clark, Luong, Le and Manning, ELECTRA, ICLR 2020; the levels of a ViT are timm's.
    """
    if layer_decay == 1.0 and head_factor == 1.0:
        return dict.fromkeys(model.parameters(), 1.0)
    found = levels(model)
    top = max(found.values())
    return {
        weight: head_factor if level == top else layer_decay ** (top - level)
        for weight, level in found.items()
    }


def levels(model: nn.Module) -> dict[nn.Parameter, int]:
    """Return the level of each weight, 0 for what comes before the first block.

    Blocks are those of :func:`crest.models.checkpointing.blocks`, one a level; what follows one,
    such as the last norms, is of its level. A model without blocks has a level for each layer with
    a matrix. The head is the highest.
    """
    within = {
        weight: number
        for number, block in enumerate(blocks(model), start=1)
        for weight in block.parameters()
    }
    head = head_keys(model)
    level, found = 0, {}
    for name, weight in model.named_parameters():
        if name not in head:
            level = within.get(weight, level if within else level + (weight.ndim > 1))
            found[weight] = level
    top = max(found.values(), default=0) + 1
    return {weight: found.get(weight, top) for weight in model.parameters()}
