"""The last outputs of each example: from when it was last trained on or scored."""

import math
from typing import Any

import torch
from torch import Tensor

from crest.devices.transfer import on_device
from crest.inference.forward import ForwardPass

LARGEST = torch.finfo(torch.float16).max


class Memory:
    """Keeps the last loss of each of n examples, and its logits, at no forward pass of its own.

    Losses take 4·n bytes on ``device``, NaN for never seen; logits, in half precision, 2·n·C more;
    which are known for sure, n on the host.

    Parameters
    ----------
    labels
        int64, n.
    kept
        Logits kept of each, to be recalled: C, or 0 for the losses alone.
    may_skip
        Whether what is not finite is left out, as of a step that a gradient scaler skipped.
    """

    def __init__(
        self, labels: Tensor, device: torch.device, kept: int = 0, may_skip: bool = False
    ) -> None:
        self._labels = labels
        self._kept = kept
        self._may_skip = may_skip
        self._logits = torch.zeros(len(labels), self._kept, dtype=torch.float16, device=device)
        self._losses = torch.full((len(labels),), torch.nan, device=device)
        self._known = torch.zeros(len(labels), dtype=torch.bool)  # as far as the host has read

    def remember(self, indices: Tensor, logits: Tensor, losses: Tensor) -> None:
        """Take note of examples.

        Parameters
        ----------
        indices
            int64, k, all different, on the CPU.
        logits, losses
            float32, k×C and k, detached and on the device.
        """
        places = on_device(indices, self._losses.device)
        # A GPU would have to be waited for to know.
        some = self._may_skip and (logits.is_cuda or not math.isfinite(float(logits.sum())))
        finite = logits.isfinite().all(1) if some else None
        if finite is not None:
            losses = torch.where(finite, losses, self._losses[places])
        self._losses.index_copy_(0, places, losses)
        if not self._kept:
            return
        kept = logits.clamp(-LARGEST, LARGEST).half()
        if finite is not None:
            kept = torch.where(finite[:, None], kept, self._logits[places])
        self._logits.index_copy_(0, places, kept)

    def unknown(self, indices: Tensor) -> Tensor:
        """Return those of the indices that were never seen; int64.

        Once all of them were found to be known no device is asked again.
        """
        if bool(self._known[indices].all()):
            return indices[:0]
        return indices[self.losses(indices).isnan()]

    def losses(self, indices: Tensor) -> Tensor:
        """Return the last loss of each example, NaN of one never seen; float32 k, on the CPU."""
        losses = self._losses[on_device(indices, self._losses.device)].cpu()
        self._known[indices] = ~losses.isnan()
        return losses

    def recall(self, indices: Tensor) -> ForwardPass:
        """Return the last outputs of examples as a forward pass, without features.

        Only where logits are kept.
        """
        assert self._kept, "logits are kept only to be recalled"
        logits = self._logits[on_device(indices, self._logits.device)].float()
        labels = on_device(self._labels[indices], logits.device)
        return ForwardPass(indices, labels, logits, logits[:, :0])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later :meth:`load_state_dict` needs."""
        return {"logits": self._logits, "losses": self._losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self._logits.copy_(state["logits"])
        self._losses.copy_(state["losses"])
        self._known.zero_()
