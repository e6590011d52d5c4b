"""What goes wrong around a loop of one's own without a word, noticed there."""

import hashlib
import itertools
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from crest.errors import OrderError, ParameterError, TrainingError

# Mini-batches at which a loop is probed for standing within one autocast block.
PROBES = 3
# Steps for which choices are kept to be compared with: processes are never so far apart.
KEPT = 64
# Counts what is compared, the same in every process that builds the same.
_compared = itertools.count()


def warn_of_rounding(model: nn.Module) -> None:
    """Warn of weights to be trained in a format of 16 bits, from which small steps round away."""
    sizes: dict[torch.dtype, int] = {}
    for weight in model.parameters():
        if weight.requires_grad:
            sizes[weight.dtype] = sizes.get(weight.dtype, 0) + weight.numel()
    for dtype in (torch.bfloat16, torch.float16):
        if not sizes.get(dtype):
            continue
        share = sizes[dtype] / sum(sizes.values())
        least = round(2 / torch.finfo(dtype).eps)
        warnings.warn(
            f"model: {share:.0%} of the weights to be trained are {_name(dtype)}, in which a "
            f"change by less than 1/{least} of a weight rounds away: at a learning rate of 2e-5 "
            "most do not change at all. Keep them in float32, model.float(), and compute in "
            f"{_name(dtype)} by torch.autocast",
            stacklevel=5,
        )


def refuse_cleared(model: nn.Module, losses: Tensor | None) -> None:
    """Refuse gradients that are all 0 though a loss of the mini-batch (m) is not.

    Where the losses are not known nor is it whether some was: a warning.

    Raises
    ------
    OrderError
        If they were set to zero before they were read.
    """
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    if not gradients or any(bool(gradient.any()) for gradient in gradients):
        return
    fault = "gradient: the gradients of the step are all 0"
    order = "report the step after the optimiser's and before they are set to zero"
    if losses is None:
        warnings.warn(f"{fault}; if not every loss of it was, {order}", stacklevel=4)
    elif bool(losses.any()):
        raise OrderError(f"{fault}, its losses are not; {order}")


class Weights:
    """Notices weights that are no longer those that were there in the beginning."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._known = [(weight, weight.device) for weight in model.parameters()]

    def check(self) -> None:
        """Compare them.

        Raises
        ------
        OrderError
            If weights were replaced, added or removed, or moved to another device.
        """
        now = list(self._model.parameters())
        if len(now) != len(self._known):
            raise OrderError(self._fault("has other weights than"))
        for weight, (known, device) in zip(now, self._known, strict=True):
            if weight is not known:
                raise OrderError(self._fault("has other weights than"))
            if weight.device != device:
                raise OrderError(self._fault(f"is on {weight.device}, and was on {device}"))

    def _fault(self, what: str) -> str:
        return (
            f"model: {type(self._model).__name__} {what} when Coresets were built; build them once "
            "the model is as it will be trained"
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class Autocast:
    """Notices a loop that stands within one autocast block as a whole.

    Autocast keeps its copies of the weights until the outermost block ends: within one, training
    would go on computing with those that it began with. Where that is so the copies are dropped
    before every mini-batch, and a warning says so once.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._device = device
        # Only float32 is copied.
        self._copied = any(
            weight.requires_grad and weight.dtype == torch.float32 for weight in model.parameters()
        )
        self._probe: Tensor | None = None
        self._probed = 0
        self._whole = False  # whether the loop was found to stand within one block

    def before_minibatch(self) -> None:
        """Compare the copy of a weight of its own, which changes from mini-batch to mini-batch."""
        if not (self._copied and self.casting()):
            return
        if self._probed < PROBES:
            self._probed += 1
            self._compare_copy()
        if self._whole:
            torch.clear_autocast_cache()

    def after_step(self) -> None:
        """Drop copies that the step has left behind."""
        if self._whole and self.casting():
            torch.clear_autocast_cache()

    def casting(self) -> bool:
        """Whether autocast is on here, and keeps copies."""
        return torch.is_autocast_enabled(self._device.type) and torch.is_autocast_cache_enabled()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep copies that are made within a block, without gradients, from the loop's."""
        if not self.casting():
            yield
            return
        torch.set_autocast_cache_enabled(False)
        try:
            yield
        finally:
            torch.set_autocast_cache_enabled(True)

    def _compare_copy(self) -> None:
        if self._probe is None:
            self._probe = torch.zeros(1, 1, device=self._device, requires_grad=True)
        with torch.no_grad():
            self._probe += 1.0
            seen = torch.mm(self._probe, torch.ones_like(self._probe))
        if torch.equal(seen.float(), self._probe.detach()) or self._whole:
            return
        self._whole = True
        warnings.warn(
            "Coresets: the loop stands within one torch.autocast block, which keeps its copies of "
            "the weights until it ends, so that the model would never change; they are dropped "
            "before every mini-batch. Put the forward pass and the loss alone into the block, or "
            "give torch.autocast cache_enabled=False",
            stacklevel=5,
        )


class Ranks:
    """Notices processes of torch.distributed that train together and do not choose the same.

    The first of them to come to a step leaves its choice with the store at which they met, and the
    others compare theirs with it: nobody waits for anybody.

    Parameters
    ----------
    store
        Where they meet; of these processes and this comparison alone.
    settings
        What they are to have the same of.

    Raises
    ------
    ParameterError
        If a setting is another here than in the process that came first.
    """

    def __init__(self, rank: int, store: dist.Store, settings: Mapping[str, object]) -> None:
        self._rank = rank
        self._store = store
        self._lost = False
        self._compare_settings(settings)

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> "Ranks | None":
        """Return what compares the processes, None where there is one alone."""
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return None
        store = dist.distributed_c10d._get_default_store()
        own = dist.PrefixStore(f"crest/own_loop/{next(_compared)}", store)
        return cls(dist.get_rank(), own, settings)

    def compare(self, step: int, indices: Tensor) -> None:
        """Compare the examples of a step.

        Raises
        ------
        TrainingError
            If another process has chosen others.
        """
        mine = hashlib.sha256(indices.numpy().tobytes()).hexdigest()
        found = self._first(str(step), {"rank": self._rank, "chosen": mine})
        if found["rank"] == self._rank:
            self._forget(str(step - KEPT))
        elif found["chosen"] != mine:
            raise TrainingError(
                f"rank {self._rank} has chosen other examples for step {step} than rank "
                f"{found['rank']}: from here on the processes would train apart. They see another "
                "model when they score examples: with BatchNorm each has running statistics of "
                "its own. Choose on rank 0 and broadcast, or broadcast the buffers after every "
                "step: docs/scale.md, 'In your own loop'"
            )

    def _compare_settings(self, settings: Mapping[str, object]) -> None:
        mine = {name: str(value) for name, value in settings.items()}
        found = self._first("settings", {"rank": self._rank, "settings": mine})
        theirs: dict[str, str] = found["settings"]
        for name, value in mine.items():
            if theirs.get(name) != value:
                raise ParameterError(
                    f"{name}: {_short(value)} on rank {self._rank}, {_short(theirs.get(name))} on "
                    f"rank {found['rank']}. Processes that train together choose the same: build "
                    "the same Coresets on all, or on one alone; where each is to choose for "
                    "itself, from its own part of the data, together=False"
                )

    def _first(self, key: str, mine: dict[str, Any]) -> dict[str, Any]:
        """Return what the first process to come here has left under a key."""
        if self._lost:
            return mine
        try:
            found: dict[str, Any] = json.loads(self._store.compare_set(key, "", json.dumps(mine)))
            return found
        # A store that is gone or cannot compare, or what is no JSON: training needs neither.
        except (RuntimeError, ValueError) as error:
            self._lost = True
            warnings.warn(
                f"Coresets: the processes' choices are no longer compared ({error})", stacklevel=6
            )
            return mine

    def _forget(self, key: str) -> None:
        if not self._lost:
            self._store.delete_key(key)


def _short(value: object) -> str:
    """Return a setting as it is printed: of a hash, the start."""
    text = str(value)
    return f"{text[:8]}…" if len(text) == 64 else text
