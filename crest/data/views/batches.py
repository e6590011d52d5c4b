"""Batches of views: in memory that is used again, and of large images on the CPU in threads."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from crest.data.augment import LARGE, Augmentation
from crest.data.batch_memory import BatchMemory
from crest.devices.worker_threads import Threads, usable_cores

# :func:`crest.data.views.making.make_views`, or what it ends with.
Make = Callable[[Tensor, Tensor, Augmentation, Tensor, Tensor, Tensor | None], Tensor]


class ViewBatches:
    """Makes batches of views, of which ``shape`` is H, W and C.

    Of large images on the CPU in as many threads as PyTorch's operations use. Left to themselves,
    operations on one image after another would each be shared out, and wait for all threads. In
    which part of a batch an image is, its view does not depend on.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._height, self._width, self._channels = shape
        self._memory = BatchMemory()
        self._threads: Threads | None = None

    def make(
        self,
        make: Make,
        images: Callable[[slice], Tensor],
        draws: Tensor,
        augmentation: Augmentation,
        mean: Tensor,
        std: Tensor,
    ) -> Tensor:
        """Make views of the images that ``images`` returns, some of the batch at a time.

        Parameters and result are otherwise those of :func:`crest.data.views.making.make_views`.
        """
        count = len(draws)
        if not is_on_host(mean):
            return make(images(slice(count)), draws, augmentation, mean, std, None)
        channels = max(self._channels, len(mean))
        out = self._memory.empty(count, self._height, self._width, channels)

        def make_part(rows: slice) -> None:
            make(images(rows), draws[rows], augmentation, mean, std, out[rows])

        # What is in inference mode is so in its own thread alone.
        small = self._height * self._width < LARGE or torch.is_inference_mode_enabled()
        threads = 1 if small else min(torch.get_num_threads(), usable_cores())
        parts = min(threads, count)
        if parts < 2:
            make_part(slice(count))
            return out.permute(0, 3, 1, 2)
        self._threads = self._threads or Threads(threads)
        ends = [count * part // parts for part in range(parts + 1)]
        list(self._threads.pool().map(make_part, map(slice, ends, ends[1:])))
        return out.permute(0, 3, 1, 2)


def is_on_host(values: Tensor) -> bool:
    """Whether views made with those are on the CPU, whose memory is used again."""
    return values.device.type == "cpu"
