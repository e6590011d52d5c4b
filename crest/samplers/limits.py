"""What choosing asks for, held against the data and the machine before it is begun."""

from typing import TYPE_CHECKING

import torch

from crest.devices.limits import require_memory, require_passes
from crest.regions.interval import minibatch_count

if TYPE_CHECKING:
    from crest.methods.crest import CrestParameters

# Arrays of a float32 for each pair that are there at once while distances are compared.
DISTANCES = 3
MINIBATCHES = "mini-batches"


def require_room_for_crest(
    parameters: "CrestParameters", examples: int, batch_size: int, size: int
) -> None:
    """Refuse what a first region would take without an end; ``size`` is r.

    Raises
    ------
    ParameterError
        As :func:`require_passes` does.
    """
    each = examples_of_each(parameters, batch_size, size)
    count = minibatch_count(parameters.minibatch_factor, 1)
    used = parameters.curvature.minibatches
    if parameters.selection == "ahead":
        require_passes("crest.minibatch_factor", count, each, examples, MINIBATCHES)
        used = min(count, used or count)
    elif used is not None:
        require_passes("crest.curvature.minibatches", used, each, examples, MINIBATCHES)
    of_draw = (used or 1) * batch_size
    draws = parameters.curvature.hutchinson_draws
    require_passes("crest.curvature.hutchinson_draws", draws, of_draw, examples, "draws")


def examples_of_each(parameters: "CrestParameters", batch_size: int, size: int) -> int:
    """Return how many examples are scored for a coreset, or are in it; r is ``size``."""
    return max(batch_size, -(-size // parameters.subset_coresets))


def require_room_for_distances(key: str, size: int, device: torch.device) -> None:
    """Refuse candidates whose distances from each other memory cannot hold.

    Raises
    ------
    ParameterError
        As :func:`require_memory` does.
    """
    if device.type == "cpu":
        require_memory(key, DISTANCES * 4 * size**2, f"the distances between {size} examples")
