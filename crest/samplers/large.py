"""Large: Random with larger mini-batches, at the same number of steps.

The rival of any method whose steps cost more than Random's: the same time spent on examples.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from crest.samplers.base import Context
from crest.samplers.random import Random, check_fits

if TYPE_CHECKING:
    from crest.methods.large import LargeParameters


def large(context: "Context[LargeParameters]") -> Random:
    """Return Random with mini-batches of round(factor · m).

    Raises
    ------
    ParameterError
        If the mini-batch is larger than the training set.
    """
    factor = context.parameters.factor
    size = max(1, round(factor * context.batch_size))
    check_fits(size, len(context.train), f"large.factor: {factor:g} times train.batch_size")
    return Random(replace(context, batch_size=size))
