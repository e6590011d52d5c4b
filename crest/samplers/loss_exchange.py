"""What processes that train together tell each other of their reports."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from crest.data.given import whole_number
from crest.errors import OrderError, ParameterError


class Exchange:
    """Parts of global batches: each process has its own, and all come to know all losses.

    Parameters
    ----------
    num_replicas, rank
        None to ask torch.distributed: those of its default group, or one alone.
    size
        Of a global batch; process r has the r-th of ``num_replicas`` parts as even as can be.

    Raises
    ------
    ParameterError
        If either is no whole number, there is no such rank, or a batch has fewer examples than
        there are processes.
    """

    def __init__(self, num_replicas: int | None, rank: int | None, size: int) -> None:
        there = dist.is_available() and dist.is_initialized()
        self._asked = num_replicas is None
        joined, own = (dist.get_world_size(), dist.get_rank()) if there else (1, 0)
        self.replicas = whole_number(joined if self._asked else num_replicas, "num_replicas", 1)
        self._rank = whole_number(own if rank is None else rank, "rank", 0)
        if self._rank >= self.replicas:
            raise ParameterError(f"rank: {self._rank} is not one of {self.replicas} processes")
        if size < self.replicas:
            raise ParameterError(
                f"batch_size: {size} examples cannot be shared by {self.replicas} processes; it "
                "is that of all processes together"
            )
        self._ends = [rank * size // self.replicas for rank in range(self.replicas + 1)]
        self.ends = (self._ends[self._rank], self._ends[self._rank + 1])  # of this process's part
        self.alone, self.first = self.replicas == 1, self._rank == 0
        self._group: dist.ProcessGroup | None = None

    def require_all(self) -> None:
        """Refuse processes that were joined later: each would take the whole batch for its part.

        Raises
        ------
        OrderError
            If torch.distributed has more or fewer processes than when it was asked.
        """
        there = dist.is_available() and dist.is_initialized()
        if self._asked and there and dist.get_world_size() != self.replicas:
            raise OrderError(
                f"LossBatchSampler: made for {self.replicas} process, before torch.distributed had "
                f"{dist.get_world_size()}; make it afterwards, or give it num_replicas and rank"
            )

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in some process; all call it."""
        if self.alone:
            return flag
        value = torch.tensor([int(flag)])
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=self._connected())
        return bool(value.item())

    def gathered(self, reported: Sequence[Tensor | None]) -> Tensor:
        """Return what was reported of whole batches, k×m, from this process's parts of them.

        All processes call it, with their parts of the same batches.
        """
        parts = [part for part in reported if part is not None]
        if len({part.device for part in parts}) > 1:  # of a saved state, and of a GPU since
            parts = [part.cpu() for part in parts]
        mine = torch.stack(parts).cpu()
        if self.alone:
            return mine
        widths = [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]
        padded = torch.zeros(len(mine), max(widths), dtype=mine.dtype)
        padded[:, : mine.shape[1]] = mine
        found = [torch.empty_like(padded) for _ in widths]
        dist.all_gather(found, padded, group=self._connected())
        return torch.cat([part[:, :width] for part, width in zip(found, widths, strict=True)], 1)

    def _connected(self) -> dist.ProcessGroup:
        """Return a group of its own, so that no exchange of training is waited for."""
        if self._group is None:
            made = dist.new_group(backend="gloo")
            assert isinstance(made, dist.ProcessGroup), "every process is in it"
            self._group = made
        return self._group
