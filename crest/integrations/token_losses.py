"""Losses of single examples, as a Trainer of transformers has them for the whole batch."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from crest.errors import ParameterError, needs_extra

with needs_extra("transformers"):
    from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

IGNORED = -100  # a label that is not trained on


def example_losses(
    outputs: Any, labels: Any, config: Any, shifted: bool, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return each example's sum of losses and number of items; both of length n.

    An item is a token, an example or, of several labels at once, a label. Cross-entropy; binary
    cross-entropy where an example has several labels; the squared error for a single output.

    Parameters
    ----------
    outputs
        With ``logits``, n×…×classes.
    labels
        n×…, -100 for what is not trained on.
    config
        Of the model.
    shifted
        Whether the logits are of the next token.
    smoothing
        Of labels, ε.

    Raises
    ------
    ParameterError
        If these are none of such outputs and labels.
    """
    logits = getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor) or not isinstance(labels, Tensor):
        raise _unknown("no logits and labels")
    logits = logits.float()
    if shifted:
        logits, labels = logits[:, :-1], labels[:, 1:]
    problem = getattr(config, "problem_type", None)
    together = logits.numel() == labels.numel()
    if together and (problem == "regression" or logits.shape[-1] == 1):
        losses = (logits.reshape(labels.shape) - labels) ** 2
    elif together and (problem == "multi_label_classification" or labels.is_floating_point()):
        losses = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    elif labels.shape == logits.shape[:-1] and not labels.is_floating_point():
        losses = F.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), reduction="none", ignore_index=IGNORED,
            label_smoothing=smoothing,
        ).view(labels.shape)  # fmt: skip
    else:
        raise _unknown(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}")
    rows = len(labels)
    return losses.reshape(rows, -1).sum(1), (labels != IGNORED).reshape(rows, -1).sum(1)


def outcomes(outputs: Any, labels: Any) -> tuple[Tensor, ...]:
    """Return whether each example was classified rightly and as what, both of length n.

    Nothing where an example has not one label of several classes.
    """
    logits = getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor) or not isinstance(labels, Tensor):
        return ()
    if labels.dim() != 1 or labels.is_floating_point() or logits.dim() != 2 or len(logits[0]) < 2:
        return ()
    predictions = logits.detach().argmax(1)
    return predictions == labels, predictions


def require_one_mean(args: Any) -> None:
    """Refuse what keeps a step from being that of the mean over all processes' items."""
    if args.n_gpu > 1:
        raise ParameterError("LossSampled: DataParallel; start a process a GPU, with torchrun")
    if args.world_size > 1 and not args.average_tokens_across_devices:
        raise ParameterError("LossSampled: average_tokens_across_devices must stay True")


def is_causal(model: Any) -> bool:
    """Whether the logits of a position are those of the next one's label.

    GPT2LMHeadModel is by its name, as it has no ``loss_type``.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's
    if type(base).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return True
    shifted = LOSS_MAPPING.get(getattr(base, "loss_type", None) or "") is ForCausalLMLoss
    return shifted and not getattr(base.config, "is_encoder_decoder", False)


def learned(labels: Any) -> Any:
    """Return the labels of a causal model with none at the first place, which nothing predicts.

    A Trainer counts it otherwise: up to transformers 5.7 of all models, in 5.24 of GPT-2.
    """
    if not isinstance(labels, Tensor) or labels.dim() < 2:
        return labels
    return torch.cat([torch.full_like(labels[:, :1], IGNORED), labels[:, 1:]], 1)


def _unknown(what: str) -> ParameterError:
    return ParameterError(
        f"LossSampled: {what}: say how the losses of examples are had, LossSampled(losses=...)"
    )
