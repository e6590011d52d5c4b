"""What the quadratic model is over, as long as that can be had and stays the same."""

import logging
from typing import Any

from torch import nn

from crest.errors import ParameterError, TrainingError
from crest.regions.curvature import NoCurvatureError, covered_parameters

FALL_BACK = "last_layer"

logger = logging.getLogger(__name__)


class Coverage:
    """The parameters that crest.quadratic.parameters names, of those that are trained at the time.

    Parameters
    ----------
    quadratic
        As of :func:`covered_parameters`. ``full`` becomes ``last_layer`` for a model without
        second derivatives.

    Attributes
    ----------
    quadratic
        What it is by now.
    parameters
        What is covered, in the model's order.
    """

    def __init__(self, model: nn.Module, quadratic: str) -> None:
        self._model = model
        self.asked = self.quadratic = quadratic
        self._cover()

    @property
    def changed(self) -> bool:
        """Whether other parameters are trained now than when the covered ones were found."""
        return [parameter.requires_grad for parameter in self._all] != self._trained

    def renew(self) -> None:
        """Cover what is trained now.

        Raises
        ------
        ParameterError
            If nothing of what is to be covered is.
        """
        self._cover()

    def fall_back(self, error: NoCurvatureError, warn: bool) -> None:
        """Cover the last layer from here on, and say so if it is to ``warn``.

        Raises
        ------
        TrainingError
            If it was not all of the model that was covered, or it has no last layer that is
            trained.
        """
        if self.quadratic == FALL_BACK:
            raise TrainingError(
                f"crest.quadratic.parameters: {FALL_BACK}: {error.reason}; use a method without a "
                "quadratic model, such as greedy"
            ) from None
        if self.quadratic != "full":
            raise error
        self.quadratic = FALL_BACK
        try:
            self._cover()
        except ParameterError as other:
            raise TrainingError(
                f"crest.quadratic.parameters: {error.reason}, and {FALL_BACK} cannot be used "
                f"either ({other}); set it to a pattern of the parameters after that operation, or "
                "use a method without a quadratic model, such as greedy"
            ) from None
        if warn:
            logger.warning(
                "crest.quadratic.parameters: %s: the quadratic model is over the last layer "
                "alone, as with crest.quadratic.parameters: %s",
                error.reason,
                FALL_BACK,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        return {"quadratic": self.quadratic, "trained": list(self._trained)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state; where other parameters are trained by now, it has changed."""
        now = [parameter.requires_grad for parameter in self._all]
        self.quadratic = state["quadratic"]
        _require(self._all, state["trained"])
        try:
            self._cover()
        finally:
            _require(self._all, now)

    def _cover(self) -> None:
        self._all = list(self._model.parameters())
        self._trained = [parameter.requires_grad for parameter in self._all]
        self.parameters = covered_parameters(self._model, self.quadratic)


def _require(parameters: list[nn.Parameter], flags: list[bool]) -> None:
    for parameter, flag in zip(parameters, flags, strict=True):
        parameter.requires_grad_(flag)
