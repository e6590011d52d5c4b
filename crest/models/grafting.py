"""Weights of another training in a model whose head may be fresh."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from crest.errors import ParameterError
from crest.models.head import last_module

KEY = "train.weights"


def head_keys(model: nn.Module) -> frozenset[str]:
    """Return the names of the weights that a change of classes makes anew.

    Of a model of transformers what is not its body, of any other its last layer. Empty where a
    model has no last layer; it must have been run before (:mod:`crest.models.head`).
    """
    if (network := _of_transformers(model)) is not None:
        prefix, part = network
        body = f"{prefix}{part.base_model_prefix}."
        return frozenset(key for key in model.state_dict() if not key.startswith(body))
    module = last_module(model)
    return frozenset(
        name
        for name, weight in model.named_parameters(remove_duplicate=False)
        if module is not None and any(weight is one for one in module.parameters())
    )


def _of_transformers(model: nn.Module) -> tuple[str, nn.Module] | None:
    """Return a classifier of transformers with a body of its own, and the prefix of its names."""
    for prefix, part in (("", model), ("network.", getattr(model, "network", None))):
        if not isinstance(part, nn.Module):
            continue
        body = getattr(part, "base_model_prefix", "")
        if body and isinstance(getattr(part, body, None), nn.Module):
            return prefix, part
    return None


def graft(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    what: str,
    keep_head: bool,
    spare: Collection[str] = (),
) -> bool:
    """Copy weights into a model; all of them but those of its head must be there and fit.

    Parameters
    ----------
    model
        Changed in place, once all was found to fit; what is not copied into the head stays as it
        was drawn.
    what
        Where the tensors are from, for messages.
    keep_head
        Whether the head of the tensors is taken too, where it has the same shape.
    spare
        Beginnings of names that the model may lack, such as those of auxiliary classifiers.

    Returns
    -------
    bool
        Whether the head was taken.

    Raises
    ------
    ParameterError
        If a weight is missing, has another shape or no number, or the model has none of its name.
    """
    head, targets = head_keys(model), model.state_dict()
    if not head:
        raise ParameterError(
            f"{KEY}: {model._get_name()} has no last layer that could be made anew for these "
            "classes; set it to random, or use another model"
        )
    _require_fit(model, tensors, what, head, targets, spare)
    takes_head = keep_head and all(
        key in tensors and tensors[key].shape == targets[key].shape for key in head
    )
    with torch.no_grad():
        for key, target in targets.items():
            if key in tensors and (takes_head or key not in head):
                target.copy_(tensors[key])
    return takes_head


def _require_fit(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    what: str,
    head: frozenset[str],
    targets: Mapping[str, Tensor],
    spare: Collection[str],
) -> None:
    body = [key for key in targets if key not in head]
    problems = [
        *(f"{key} is not in it" for key in body if key not in tensors and not _counts(key)),
        *(
            f"{key} is {_shape(tensors[key])} there and {_shape(targets[key])} in the model"
            for key in body
            if key in tensors and tensors[key].shape != targets[key].shape
        ),
        *(
            f"the model has no {key}"
            for key in tensors
            if key not in targets and not key.startswith(tuple(spare))
        ),
        *(
            f"{key} holds whole numbers, as of quantised weights"
            for key in body
            if key in tensors
            and targets[key].is_floating_point()
            and not tensors[key].is_floating_point()
        ),
    ]
    if problems:
        more = f" and {len(problems) - 2} more" if len(problems) > 2 else ""
        raise ParameterError(
            f"{KEY}: {what} is of another model than this {model._get_name()}: "
            f"{'; '.join(problems[:2])}{more}; name weights of the same architecture"
        )
    for key, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ParameterError(
                f"{KEY}: {what}: its weight {key} is not all finite numbers; use one of a training "
                "that did not diverge"
            )


def _counts(key: str) -> bool:
    """Whether it is BatchNorm's count of batches, which older files lack."""
    return key.endswith("num_batches_tracked")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
