#!/usr/bin/env bash
# torchvision's weights are unpickled, and a file that is in the cache already is not checked.
#
# One would think: since torch 2.6 loads with weights_only=True, torchvision's weights are tensors
# and nothing else; and the hash in a file's name, with check_hash=True, is held against the file.
# What is: torch.hub.load_state_dict_from_url passes weights_only=False on, whatever torch.load's
# default is, so that whatever lies under that name in the cache is run when a model is built; the
# hash is looked at while a file is downloaded, and never of one that is there.
# Seen with torch 2.14.1, torchvision 0.29.1 (torch/hub.py, torchvision/models/_api.py).
# Here: crest/models/starting.py checks the hash each time, and reads with weights_only=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install -qq torch==2.14.1 torchvision==0.29.1
  PYTHON="$folder/venv/bin/python"
fi
cd "$folder"
TORCH_HOME="$folder" "$PYTHON" - <<'PYTHON'
import pickle
from pathlib import Path

import torch
import torchvision


class Code:
    def __reduce__(self):
        return (print, ("code of a file in the cache runs",))


weights = torchvision.models.ResNet18_Weights.DEFAULT
path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
path.parent.mkdir(parents=True)
torch.save({"x": Code()}, path)
found = weights.get_state_dict(progress=False, check_hash=True)
assert found == {"x": None}, found
try:
    torch.load(path, weights_only=True)
except pickle.UnpicklingError:
    print("torch.load with weights_only=True refuses it")
PYTHON
echo "as described: the cache is unpickled, and its hash is not checked"
