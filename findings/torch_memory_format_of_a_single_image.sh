#!/usr/bin/env bash
# A batch of one image counts as channels-last by one rule and as channels-first by another.
#
# One would think: an H×W×C image given as permute(2, 0, 1)[None] lies channels last in memory, and
# contiguous(memory_format=torch.channels_last) makes sure of it.
# What is: is_contiguous() ignores the stride of the batch's one example, so that contiguous() does
# nothing; operations that choose their memory format by the strides do not ignore it, and find
# channels first, which interpolate() then returns: uint8 images are resized at a third of the speed.
# With the axis added before the permutation, [None].permute(0, 3, 1, 2), all agree.
# Seen with torch 2.14.1.
# Here: crest.data.views.resizing adds the axis first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 numpy
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys

import torch
from torch.nn.functional import interpolate

pixels = torch.zeros(300, 360, 3, dtype=torch.uint8)
after = pixels.permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
before = pixels[None].permute(0, 3, 1, 2)
claimed = [image.is_contiguous(memory_format=torch.channels_last) for image in (after, before)]
strides = [
    interpolate(image, (224, 224), mode="bilinear", antialias=True).stride()
    for image in (after, before)
]
print(f"channels last, it says: {claimed}; strides of the resized images: {strides}")
sys.exit(0 if claimed == [True, True] and [each[1] for each in strides] == [224 * 224, 1] else 1)
PYTHON
echo "as described: the first comes back channels first"
