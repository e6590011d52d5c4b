"""Several processes that train one model together, as torchrun starts them.

Every process draws the same, decides the same and knows the same; only the work on examples is
shared. What each has done of it comes together by one sum, in which every number is one process's
own or is added up in float64, so that the result does not depend on who did what.
"""

import json
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from crest.errors import ParameterError, TrainingError

# Seconds in which the processes that are left say so to each other.
ROLL_CALL = 5.0
# Words of the errors with which gloo and NCCL report that a process does not answer.
CONNECTION_WORDS = ("gloo", "nccl", "connection", "timed out", "socket", "store")


class Group:
    """The processes of a run: this one's rank, and how many there are.

    ``bytes_exchanged`` counts what this process has put into sums; ``signal`` is that of
    :meth:`asked_to_stop`.
    """

    def __init__(self, rank: int = 0, size: int = 1, roll_call: "RollCall | None" = None) -> None:
        self.rank = rank
        self.size = size
        self.bytes_exchanged = 0
        self.signal = 0
        self._roll_call = roll_call

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Return which of ``count`` pieces of work are this process's."""
        return range(self.rank, count, self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Add up a tensor over the processes, in place; every process has the result."""
        if not self.alone:
            self.count(values)
            dist.all_reduce(values)
        return values

    def agree(self, value: float) -> float:
        """Return rank 0's value, on every process."""
        if self.alone:
            return value
        agreed = torch.tensor(value, dtype=torch.float64)
        self.count(agreed)
        dist.broadcast(agreed, 0)
        return float(agreed)

    def asked_to_stop(self, signal_number: int) -> int:
        """Agree on the signal to stop: the highest that any process has received, 0 for none."""
        self.signal = signal_number
        if not self.alone:
            signals = torch.tensor(signal_number)
            dist.all_reduce(signals, dist.ReduceOp.MAX)
            self.signal = int(signals)
        return self.signal

    def wait(self) -> None:
        """Wait until every process is here."""
        self.sum(torch.zeros(1))

    def same(self, value: int) -> bool:
        """Return whether every process has the same value; on every process."""
        spread = torch.tensor([value, -value])
        if not self.alone:
            dist.all_reduce(spread, dist.ReduceOp.MAX)
        return int(spread[0]) == -int(spread[1])

    def gather(self, text: str) -> list[str]:
        """Return the texts of all processes, in the order of their ranks; on every process."""
        if self.alone:
            return [text]
        mine = torch.tensor(list(text.encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(mine)]))
        longest = max(int(length) for length in lengths)
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(texts, F.pad(mine, (0, longest - len(mine))))
        pairs = zip(texts, lengths, strict=True)
        return [bytes(found[: int(length)].tolist()).decode() for found, length in pairs]

    def require_same(self, key: Mapping[str, str]) -> None:
        """Refuse to go on where processes that train together were started otherwise.

        Parameters
        ----------
        key
            What the result depends on, a short text for each thing.

        Raises
        ------
        ParameterError
            On every process, if some have another key; the message names what differs, and where.
        """
        found = [json.loads(text) for text in self.gather(json.dumps(dict(key)))]
        different = [
            name for name in found[0] if any(one.get(name) != found[0][name] for one in found)
        ]
        if different:
            lines = [f"{name}: {_by_rank([one.get(name) for one in found])}" for name in different]
            raise ParameterError(
                "\n".join(lines)
                + "\nThe processes of a run need the same parameters, data and code: "
                "start all the same way"
            )

    def lowest(self, value: int) -> int:
        """Return the lowest of what the processes have; on every process."""
        lowest = torch.tensor(value)
        if not self.alone:
            dist.all_reduce(lowest, dist.ReduceOp.MIN)
        return int(lowest)

    def count(self, values: Tensor) -> None:
        """Count the bytes of a tensor that is exchanged."""
        self.bytes_exchanged += values.numel() * values.element_size()

    @contextmanager
    def reporting_lost(self) -> Iterator[None]:
        """Turn the error of a process that no longer answers into one that names it.

        Raises
        ------
        TrainingError
            In place of the error with which gloo or NCCL reports it.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if self._roll_call is None or not _of_connection(error):
                raise
            raise TrainingError(
                f"rank {self.rank}: {self._roll_call.missing(error)}; the last saved state is "
                "kept: the same command goes on from there"
            ) from None


def _by_rank(values: Sequence[str | None]) -> str:
    """Say which value which ranks have."""
    ranks: dict[str, list[str]] = {}
    for rank, value in enumerate(values):
        printed = "nothing" if value is None else f"{value[:12]}…" if len(value) == 64 else value
        ranks.setdefault(printed, []).append(str(rank))
    return ", ".join(f"{value} on rank {', '.join(some)}" for value, some in ranks.items())


ALONE = Group()


class RollCall:
    """Finds out, once a process does not answer, which one it is.

    Parameters
    ----------
    store
        Where the processes meet, reached by a connection that is used for nothing else.
    """

    def __init__(self, store: dist.Store, rank: int, size: int) -> None:
        self._store = store
        self._rank = rank
        self._others = [other for other in range(size) if other != rank]
        store.set(f"crest/name/{rank}", f"{platform.node()}, process {os.getpid()}")
        names = {other: store.get(f"crest/name/{other}").decode() for other in self._others}
        store.set_timeout(timedelta(seconds=ROLL_CALL))
        self._names = {other: f"rank {other} ({name})" for other, name in names.items()}

    def missing(self, error: Exception) -> str:
        """Say which processes do not answer, and how that was noticed."""
        noticed = str(error).strip().splitlines()[0].rpartition("] ")[2]
        found: list[list[int]] = []

        def call() -> None:
            with suppress(RuntimeError, OSError):
                found.append(self._silent())

        # In a thread: over a link that is cut the store's answer is waited for without end.
        calling = threading.Thread(target=call, daemon=True)
        calling.start()
        calling.join(2 * ROLL_CALL)
        if not found:
            return (
                f"no connection to where the processes meet, the host of rank 0, nor to the others:"
                f" {', '.join(self._names.values())} ({noticed})"
            )
        who = (
            ", ".join(self._names[other] for other in found[0])
            or "a process, but all say they run,"
        )
        return f"{who} no longer answers ({noticed})"

    def _silent(self) -> list[int]:
        """Return the ranks that do not say within a time that they are there."""
        self._store.set(f"crest/here/{self._rank}", "")
        silent, until = self._others, time.monotonic() + ROLL_CALL
        while silent and time.monotonic() < until:
            silent = [other for other in silent if not self._store.check([f"crest/here/{other}"])]
            time.sleep(0.1)
        return silent


def _of_connection(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in text for word in CONNECTION_WORDS)


def started_by_launcher() -> int:
    """Return how many processes a launcher such as torchrun has started for this run.

    Raises
    ------
    ParameterError
        If the environment gives it as anything but a number.
    """
    return _of_environment("WORLD_SIZE", range(1, 2**31)) if "WORLD_SIZE" in os.environ else 1


def local_rank() -> int:
    """Return the number of this process on its machine, which is that of its GPU.

    Raises
    ------
    ParameterError
        If the environment gives it as anything but a number.
    """
    return _of_environment("LOCAL_RANK", range(2**31)) if "LOCAL_RANK" in os.environ else 0


@contextmanager
def joined(timeout: float) -> Iterator[Group]:
    """Join the other processes of a run for the length of a block; alone without a launcher.

    Tensors on the CPU go by gloo, those on GPUs by NCCL.

    Parameters
    ----------
    timeout
        Seconds after which a process that does not answer is taken for lost.

    Raises
    ------
    ParameterError
        If the environment does not say who is to meet where.
    TrainingError
        If the others cannot be reached.
    """
    size = started_by_launcher()
    if size == 1:
        yield ALONE
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    rank = _of_environment("RANK", range(size))
    _of_environment("MASTER_PORT", range(2**16))
    if not os.environ.get("MASTER_ADDR"):
        raise _of_launcher("MASTER_ADDR", "names no host")
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
        call = RollCall(_own_connection(timeout), rank, size)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"rank {rank}: the other processes are not reached: {error}") from None
    yield Group(rank, size, call)
    dist.destroy_process_group()  # not after an error: it would wait for those that are gone


def _own_connection(timeout: float) -> dist.TCPStore:
    host, port = os.environ["MASTER_ADDR"], _of_environment("MASTER_PORT", range(2**16))
    return dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=timeout))


def _of_environment(name: str, allowed: range) -> int:
    """Return a number that a launcher has put into the environment."""
    text = os.environ.get(name)
    if text is None or re.fullmatch(r"[0-9]{1,10}", text) is None or int(text) not in allowed:
        given = "is not set" if text is None else f"is {text!r:.40}"
        raise _of_launcher(name, f"{given}, not a number from {allowed[0]} to {allowed[-1]}")
    return int(text)


def _of_launcher(name: str, fault: str) -> ParameterError:
    others = "" if name == "WORLD_SIZE" else ", or unset WORLD_SIZE to train in one process"
    advice = others or ", or unset it to train in one process"
    return ParameterError(f"{name}: {fault}; start several processes with torchrun{advice}")


def gradient_dtype(device: torch.device) -> torch.dtype:
    """Return the type that gradients are added up in.

    On the CPU float64: 24 bits each, so that the sum is the same, bit for bit, in any order and
    for any number of processes, as good as always. On GPUs, which round otherwise from process to
    process anyway, float32 and half of the traffic.
    """
    return torch.float64 if device.type == "cpu" else torch.float32


def reduce_hook(
    group: Group, before: Callable[[Tensor], Tensor | None], dtype: torch.dtype
) -> Callable[[object, dist.GradBucket], torch.futures.Future[Tensor]]:
    """Return DDP's communication hook that adds gradients up over processes and micro-batches.

    Parameters
    ----------
    before
        Returns what earlier micro-batches of this process add to a parameter's gradient, None for
        nothing.
    dtype
        That of the sum.
    """

    def hook(state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        buffer = bucket.buffer()
        total = buffer.to(dtype, copy=True)
        for parameter, gradient in zip(bucket.parameters(), bucket.gradients(), strict=True):
            if (earlier := before(parameter)) is not None:
                offset = gradient.storage_offset() - buffer.storage_offset()
                # A gradient lies in the bucket as its parameter does in memory.
                total.as_strided(parameter.size(), parameter.stride(), offset).add_(earlier)
        group.count(total)
        work = dist.all_reduce(total, async_op=True)
        return work.get_future().then(lambda done: done.value()[0].to(buffer.dtype))

    return hook
