#!/usr/bin/env bash
# FLOP of attention and of recurrent layers are left out, by the mode the model happens to be in.
#
# One would think: FlopCounterMode counts the products of a model, whichever kernels PyTorch takes.
# What is: on a CPU the products between queries, keys and values are not counted, as the fused kernel
# has no formula; without gradients and in eval mode a TransformerEncoderLayer counts nothing at all;
# an LSTM never counts anything. Nothing is said of it, so that a forward pass looks thousands of times
# cheaper than the step.
# With the kernel for attention set to plain products, and the fast path of layers off, all is counted.
# Seen with torch 2.14.1.
# Here: crest/inference/flops.py does so, and says nothing of recurrent layers rather than 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def counted(model, inputs):
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return counter.get_total_flops()


length, width, inner = 3, 8, 16
layer = nn.TransformerEncoderLayer(width, 2, inner, batch_first=True).eval()
tokens = torch.randn(1, length, width)
linear = 2 * length * (4 * width * width + 2 * width * inner)
attention = 2 * 2 * length * length * width

with torch.no_grad():
    fast = counted(layer, tokens)
slow = counted(layer, tokens)
torch.backends.mha.set_fastpath_enabled(False)
with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
    plain = counted(layer, tokens)
recurrent = counted(nn.LSTM(4, 8), torch.randn(5, 1, 4))
print(f"encoder layer: {fast} without gradients, {slow} with, {plain} by plain products; LSTM: {recurrent}")
assert fast == 0
assert slow == linear
assert plain == linear + attention
assert recurrent == 0
PYTHON
