"""What a pretrained model makes of examples before it is trained further."""

from collections.abc import Callable

import torch
from torch import Tensor

from crest.errors import ParameterError
from crest.inference.evaluator import Evaluator
from crest.label_noise import KEPT_EXAMPLES


class Embedded:
    """What a model makes of examples before its last layer; each goes through it once.

    Kept are those of as many as an estimate of label noise asks for again.

    Parameters
    ----------
    evaluator
        The model, on the examples; it has a last layer.
    key
        The parameter by which they are asked for, in messages.
    pause
        Called before each forward pass; raises where the run is to stop.

    Attributes
    ----------
    scored
        How many examples went through the model.
    """

    def __init__(self, evaluator: Evaluator, key: str, pause: Callable[[], None]) -> None:
        self.scored = 0
        self._evaluator = evaluator
        self._key = key
        self._pause = pause
        self._places = torch.full((len(evaluator.examples),), -1)  # in what is kept
        self._kept = torch.empty(0, 0)
        self._count = 0

    def __call__(self, indices: Tensor) -> Tensor:
        """Return those of k examples, float32 k×d on the CPU.

        Raises
        ------
        ParameterError
            If one is not finite.
        """
        places = self._places[indices]
        missing = places < 0
        if not bool(missing.any()):
            return self._kept[places]
        computed = self._computed(indices[missing])
        if not self._count:
            room = min(len(self._places), KEPT_EXAMPLES)
            self._kept = computed.new_empty(room, computed.shape[1])
        found = computed.new_empty(len(indices), computed.shape[1])
        found[missing] = computed
        found[~missing] = self._kept[places[~missing]]
        self._keep(indices[missing], computed)
        return found

    def _computed(self, indices: Tensor) -> Tensor:
        self._pause()
        self.scored += len(indices)
        features = self._evaluator.embed(indices).float().cpu()
        broken = ~features.isfinite().all(1)
        if bool(broken.any()):
            row = int(indices[broken][0])
            raise ParameterError(
                f"{self._key}: what the model makes of example {row} is not finite in "
                f"{self._evaluator.precision.name}; set train.precision to float32, or "
                f"{self._key} to false"
            )
        return features

    def _keep(self, indices: Tensor, features: Tensor) -> None:
        some = indices[: len(self._kept) - self._count]
        end = self._count + len(some)
        self._kept[self._count : end] = features[: len(some)]
        self._places[some] = torch.arange(self._count, end)
        self._count = end
