"""TRL's SFTTrainer, its batches drawn by the losses of each row's own tokens."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from crest.errors import ParameterError, needs_extra
from crest.integrations.rows import LENGTHS
from crest.integrations.token_losses import require_one_mean
from crest.integrations.transformers import LossSampled

with needs_extra("trl"):
    from trl import SFTTrainer

ROW = "crest_row"  # of the row's number in the data set that was given


class LossSampledSFT(LossSampled, SFTTrainer):
    """An SFTTrainer that draws its batches by the losses of training, packed or not.

    >>> trainer = LossSampledSFT(model, args, train_dataset=data, sampling={"rule": "focused"})
    >>> trainer.train()

    The step is TRL's own: that of the mean over all tokens trained on, of all processes and of all
    that accumulation adds up. The sampler is given, of each row, the mean negative log-likelihood
    of its own tokens; a packed row is one.

    Attributes
    ----------
    rows
        Of each row that is trained on, which it was in ``train_dataset``: TRL drops rows that are
        cut to nothing, and may shuffle. None where rows are packed. ``sampling``'s groups are of
        ``train_dataset``.
    dropped
        Rows of ``train_dataset`` that are not trained on.

    Raises
    ------
    ParameterError
        If the data set has no rows by number, groups are given for rows that are packed, or losses
        of one's own.
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *arguments: Any,
        train_dataset: Any,
        sampling: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        if not hasattr(train_dataset, "add_column") or not hasattr(train_dataset, "__len__"):
            raise ParameterError("LossSampledSFT: train_dataset: give it a datasets.Dataset")
        count = len(train_dataset)
        numbered = train_dataset.add_column(ROW, list(range(count)))
        super().__init__(
            model, args, *arguments, train_dataset=numbered, sampling=sampling, **others
        )
        self.rows: list[int] | None = None
        self.dropped: list[int] | None = None
        if ROW in self.train_dataset.column_names:
            self.rows = list(self.train_dataset[ROW])
            self.dropped = sorted(set(range(count)) - set(self.rows))
        groups = self._sampling.get("groups")
        if groups is not None:
            if self.rows is None:
                raise ParameterError("LossSampledSFT: groups: rows are packed, which have no group")
            self._sampling["groups"] = [int(groups[row]) for row in self.rows]

    def _set_loss(self) -> None:
        """Leave the loss TRL's, which counts all tokens of a step, and only read its parts."""
        if self._losses is not None or self.compute_loss_func is not None:
            raise ParameterError("LossSampledSFT: losses: those of tokens are TRL's own")
        require_one_mean(self.args)

    def get_train_dataloader(self) -> Any:
        """Return TRL's own loader with other batches."""
        loader = super().get_train_dataloader()
        if self.sampler.weighted:
            raise ParameterError(
                "LossSampledSFT: rule: the step is TRL's own, whose losses cannot be weighed; "
                "choose another rule, or infobatch with weights=False"
            )
        return loader

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **others: Any) -> Any:
        """Return TRL's loss, and report the losses of rows that are trained on."""
        lengths = inputs.pop(LENGTHS, None)
        found: list[Tensor] = []

        def keep(module: Any, given: Any, outputs: Any) -> None:
            if getattr(outputs, "log_probs", None) is not None:
                known = outputs.log_probs.detach().float()
                found.append(torch.stack([known, outputs.label_mask.float()]))

        handle = model.register_forward_hook(keep)
        try:
            loss = super().compute_loss(model, inputs, *arguments, **others)
        finally:
            handle.remove()
        if lengths is not None:
            self._report(_of_rows(found[-1], lengths.tolist()))
        return loss


def _of_rows(tokens: Tensor, lengths: list[int]) -> Tensor:
    """Return the mean loss of each row, from log-probabilities and which count: 2×b×(t−1)."""
    if tokens.shape[1] != len(lengths):  # without padding: one row behind the other
        parts = torch.nn.functional.pad(tokens[:, 0], (1, 0)).split(
            [*lengths, tokens.shape[2] + 1 - sum(lengths)], 1
        )
        sums = torch.stack([part.sum(1) for part in parts[:-1]], 1)
    else:
        sums = tokens.sum(2)
    return -sums[0] / sums[1].clamp(min=1)
