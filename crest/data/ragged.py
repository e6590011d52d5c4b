"""Prepared text: token numbers mapped into memory, padded to the longest of a batch."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from crest.data.augment import nothing_drawn
from crest.data.files import TextMeta, damaged
from crest.data.opening import check_labels, fits, open_tensor


class TextSplit:
    """A split of texts, mapped on the CPU or held on the device.

    Parameters
    ----------
    tokens
        int32, the token numbers of all examples one after another.
    offsets
        int64, N+1: where each example begins, and the end.
    second_starts
        int32, N: where in the example the second text begins.
    labels
        int64, N, on the CPU.
    check
        Called with tokens that were gathered on the CPU; raises if they are none. Tokens that stay
        mapped are not read before.
    """

    def __init__(
        self,
        tokens: Tensor,
        offsets: Tensor,
        second_starts: Tensor,
        labels: Tensor,
        pad_token: int,
        token_types: bool,
        device: torch.device,
        check: Callable[[Tensor], None],
    ) -> None:
        self.labels = labels
        self.lengths = offsets.diff()
        self._tokens = tokens
        self._offsets = offsets.to(tokens.device)
        self._second_starts = second_starts.to(tokens.device)
        self._pad_token = pad_token
        self._token_types = token_types
        self._device = device
        self._check = check

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self, indices: Tensor) -> dict[str, Tensor]:
        """int64, k×longest: ``input_ids``, ``attention_mask``, and ``token_type_ids`` if known."""
        longest = int(self.lengths[indices].max()) if len(indices) else 0
        indices = indices.to(self._tokens.device)
        starts = self._offsets[indices, None]
        lengths = self._offsets[indices + 1, None] - starts
        place = torch.arange(longest, device=self._tokens.device)
        filled = place < lengths
        tokens = self._tokens[torch.where(filled, starts + place, 0)]
        if len(indices) and not tokens.is_cuda:
            self._check(tokens)
        inputs = {
            "input_ids": torch.where(filled, tokens.long(), self._pad_token),
            "attention_mask": filled.long(),
        }
        if self._token_types:
            is_second = place >= self._second_starts[indices, None]
            inputs["token_type_ids"] = (filled & is_second).long()
        return {name: value.to(self._device, non_blocking=True) for name, value in inputs.items()}

    def draw_views(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw nothing."""
        return nothing_drawn(count)

    def views(self, indices: Tensor, draws: Tensor) -> dict[str, Tensor]:
        """As :meth:`inputs`: text is trained on as it is."""
        return self.inputs(indices)


def open_split(folder: Path, name: str, meta: TextMeta, device: torch.device) -> TextSplit:
    """Open a split of prepared text.

    Raises
    ------
    ArtifactError
        If a file is absent, damaged, or disagrees with meta.json; from what is returned, if tokens
        asked for are outside the vocabulary.
    """
    arrays = {
        part: open_tensor(folder, name, part)
        for part in ("tokens", "offsets", "second_starts", "labels")
    }
    _agree(folder, name, meta, arrays)
    tokens = arrays["tokens"]
    if fits(tokens, device):
        _check_tokens(folder, name, meta, tokens)
        tokens = tokens.to(device)
    return TextSplit(
        tokens,
        arrays["offsets"],
        arrays["second_starts"],
        arrays["labels"],
        meta.pad_token_id,
        meta.token_types,
        device,
        lambda some: _check_tokens(folder, name, meta, some),
    )


def _agree(folder: Path, name: str, meta: TextMeta, arrays: dict[str, Tensor]) -> None:
    size = meta.sizes[name]
    check_labels(folder, name, arrays["labels"], size, len(meta.classes))
    tokens, offsets, second_starts = (
        arrays[part] for part in ("tokens", "offsets", "second_starts")
    )
    expected = {"tokens": torch.int32, "offsets": torch.int64, "second_starts": torch.int32}
    shapes = {"tokens": [tokens.numel()], "offsets": [size + 1], "second_starts": [size]}
    for part, dtype in expected.items():
        found = arrays[part]
        if found.dtype != dtype or list(found.shape) != shapes[part]:
            raise damaged(
                folder / f"{name}_{part}.npy",
                f"{found.dtype} {list(found.shape)}, meta.json says {shapes[part]} of {dtype}",
            )
    lengths = offsets.diff()
    ends = (int(offsets[0]), int(offsets[-1])) == (0, len(tokens))
    if not ends or lengths.min() < 1 or lengths.max() > meta.max_length:
        raise damaged(folder / f"{name}_offsets.npy", "not where examples begin")
    if second_starts.min() < 0 or bool((second_starts > lengths).any()):
        raise damaged(folder / f"{name}_second_starts.npy", "places outside their examples")


def _check_tokens(folder: Path, name: str, meta: TextMeta, tokens: Tensor) -> None:
    if tokens.min() < 0 or tokens.max() >= meta.vocabulary_size:
        raise damaged(folder / f"{name}_tokens.npy", f"tokens outside {meta.vocabulary_size}")
