"""A backbone that stays as it is, under a head that is trained."""

from torch import nn

from crest.errors import ParameterError
from crest.models.grafting import head_keys


def freeze_backbone(model: nn.Module) -> nn.Module:
    """Let nothing of a model be trained but its head.

    What asks which parameters are trained, by ``requires_grad``, asks about the head alone from
    then on: the optimiser, the quadratic model, the processes that exchange gradients. It is meant
    to be trained in eval mode: running statistics stay, and dropout is off.

    Parameters
    ----------
    model
        Run before, so that its head is known; changed in place and returned.

    Raises
    ------
    ParameterError
        If the model has no last layer.
    """
    head = head_keys(model)
    if not head:
        raise ParameterError(
            f"train.freeze: {model._get_name()} has no last layer to be trained alone; set it to "
            "none"
        )
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in head)
    return model
