#!/usr/bin/env bash
# A dispatch mode does not see a tensor of the CPU being read.
#
# One would think: a TorchDispatchMode sees everything that happens to tensors, so that one which
# refuses _local_scalar_dense shows on a CPU where a step would wait for a GPU.
# What is: item(), float() and bool() dispatch it; of a tensor of the CPU tolist() and cpu() dispatch
# nothing at all, numpy() and np.asarray() a detach, as if nothing were read. A TorchFunctionMode sees
# them all by name, but not what C++ asks for.
# Seen with torch 2.14.1.
# Here: tests/simulated_device.py uses both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


reads = {
    "item": lambda: one.item(),
    "float": lambda: float(one),
    "bool": lambda: bool(one),
    "tolist": lambda: ones.tolist(),
    "numpy": lambda: ones.numpy(),
    "asarray": lambda: np.asarray(ones),
    "cpu": lambda: ones.cpu(),
}
ones, one = torch.ones(3), torch.tensor(1.0)
number, nothing, detach = ["aten._local_scalar_dense.default"], [], ["aten.detach.default"]
expected = dict.fromkeys(("item", "float", "bool"), number)
expected |= dict.fromkeys(("tolist", "cpu"), nothing) | dict.fromkeys(("numpy", "asarray"), detach)
for name, read in reads.items():
    found = []
    for mode in (Operations, Functions):
        seen: list[str] = []
        with mode():
            read()
        found.append(seen)
    print(f"{name}: a dispatch mode sees {found[0]}, a function mode {found[1]}")
    assert found[0] == expected[name], name
    assert found[1], name
PYTHON
