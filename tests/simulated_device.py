"""A device that exists only in the books: tensors of the CPU of which the host must ask nothing.

On a CPU a tensor is read by the host wherever code likes. Here every storage is on the host or on
the device; what is computed from the device's is the device's, and :meth:`SimulatedDevice.within`
refuses what would make the host wait for a GPU, or what a GPU would refuse. Two modes are needed:
a dispatch mode sees what C++ calls, such as the number that a comparison in an optimizer asks for;
``cpu()``, ``tolist()`` and ``numpy()`` of a CPU tensor dispatch nothing, and only a function mode
sees them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU = torch.device("cpu")  # what the device calls itself; "cpu", as a string, is the host

# What a number or a shape depends on that only the device knows.
ASKING = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
# Methods of Tensor that read it.
READING = {
    "__array__",
    "__bool__",
    "__contains__",
    "__float__",
    "__format__",
    "__index__",
    "__int__",
    "__repr__",
    "cpu",
    "item",
    "numpy",
    "tolist",
}
FROM_THE_HOST = {"as_tensor", "from_numpy", "tensor"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class WaitError(AssertionError):
    """The host would wait for the device, or the device would refuse."""


class SimulatedDevice:
    """Knows which tensors are the device's; those of its storages are kept, so none comes again."""

    def __init__(self) -> None:
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._waits = self._mixes = True  # whether they are let through

    def put(self, tensor: Tensor) -> Tensor:
        """Say that a tensor is the device's."""
        storage = tensor.untyped_storage()
        self._storages[storage._cdata] = storage
        return tensor

    def fetched(self, tensor: Tensor) -> Tensor:
        """Return a copy on the host of one of the device's tensors."""
        copy = tensor.clone()
        self._storages.pop(copy.untyped_storage()._cdata, None)
        return copy

    def has(self, value: object) -> bool:
        """Whether it is one of the device's tensors."""
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._storages

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow what becomes of the device's tensors."""
        with _Functions(self), _Operations(self):
            yield

    @contextmanager
    def within(self, waits: bool = False) -> Iterator[None]:
        """Refuse, in a block within :meth:`watching`, what a GPU would, and what it is waited for.

        ``waits``: the second is let through.
        """
        before = self._waits, self._mixes
        self._waits, self._mixes = waits, False
        try:
            yield
        finally:
            self._waits, self._mixes = before

    def refuse(self, what: str, mixes: bool = False) -> None:
        """Raise, unless that is let through; ``mixes``: of tensors of both sides."""
        if not (self._mixes if mixes else self._waits):
            raise WaitError(what)


class _Functions(TorchFunctionMode):
    """Sees functions as they are called in Python."""

    def __init__(self, device: SimulatedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in READING and self._device.has(args[0]):
            self._device.refuse(f"Tensor.{name} of a tensor of the device")
        if name == "cpu" and self._device.has(args[0]):
            return self._device.fetched(args[0])
        if name == "to":
            return self._to(func, args, kwargs)
        if name == "copy_":
            self._copying(args, kwargs)
        counted = any(self._device.has(value) for value in args[1:])
        if name == "repeat_interleave" and counted and kwargs.get("output_size") is None:
            self._device.refuse("repeat_interleave without output_size")
        result = func(*args, **kwargs)
        if kwargs.get("device") == CPU and isinstance(kwargs["device"], torch.device):
            if name in FROM_THE_HOST:
                self._device.refuse(f"torch.{name} onto the device: a copy that blocks")
            self._device.put(result)
        return result

    def _to(self, func, args, kwargs):
        """Tell copies from and to the host apart, which on a CPU copy nothing."""
        tensor = args[0]
        places = [*args[1:], kwargs.get("device"), kwargs.get("other")]
        if self._device.has(tensor):
            if "cpu" in [place for place in places if isinstance(place, str)]:
                self._device.refuse("Tensor.to the host of a tensor of the device")
                return self._device.fetched(func(*args, **kwargs))
            return func(*args, **kwargs)
        onto = any(isinstance(place, torch.device) or self._device.has(place) for place in places)
        result = func(*args, **kwargs)
        if not onto:
            return result
        if not kwargs.get("non_blocking"):
            self._device.refuse("Tensor.to the device without non_blocking")
        return self._device.put(result.clone() if result is tensor else result)

    def _copying(self, args, kwargs):
        target, source = args[:2]
        blocks = not (kwargs.get("non_blocking") or any(args[2:]))
        if blocks and self._device.has(target) and not self._device.has(source):
            self._device.refuse("copy_ from the host without non_blocking")


class _Operations(TorchDispatchMode):
    """Sees what functions become, also those that C++ calls."""

    def __init__(self, device: SimulatedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        if not any(map(self._device.has, tensors)):
            return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if name in ASKING:
            self._device.refuse(f"{name} of a tensor of the device")
        if name in INDEXING:
            self._indexing(name, args)
        elif name == "copy_":
            if not self._device.has(args[0]):
                self._device.refuse("copy_ to the host")
        elif strangers := [t for t in tensors if t.ndim and not self._device.has(t)]:
            shape = tuple(strangers[0].shape)
            self._device.refuse(f"{name} of both: of the host's a {shape}", mixes=True)
        result = func(*args, **kwargs)
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._device.put(value)
        return result

    def _indexing(self, name, args):
        """Refuse masks, whose rows have to be counted, and indices that have to be copied."""
        if not self._device.has(args[0]):
            self._device.refuse(f"{name} of a tensor of the host by the device's", mixes=True)
        for index in args[1]:
            if index is None:
                continue
            if index.dtype in (torch.bool, torch.uint8):
                self._device.refuse(f"{name} by a mask")
            elif not self._device.has(index):
                self._device.refuse(f"{name} by indices of the host")
