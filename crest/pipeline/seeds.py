"""Seeds beside train.seed. Nothing here takes the time to import torch."""

from collections.abc import Sequence

from crest.config import Parameters
from crest.errors import ParameterError


def check_seeds(parameters: Parameters, seeds: Sequence[int]) -> None:
    """Refuse a further seed that is train.seed, whose run there is anyway."""
    if parameters.train.seed in seeds:
        raise ParameterError(
            f"--seed, run.seeds: {parameters.train.seed} is train.seed, which train itself runs; "
            "leave it out"
        )
