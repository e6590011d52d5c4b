#!/usr/bin/env bash
# An image one folder deeper than the others takes the labels from all of them.
#
# One would think: imagefolder labels each image by its class's folder, at any depth, or leaves
# out (or refuses) what does not fit.
# What is: where images lie at two depths, as after somebody sorted one class further, there is no
# label column at all any more, for no image. Nothing is said; a training that asks for the label
# gets a KeyError far from the cause, one that does not trains without.
# Seen with datasets 5.2.0 (datasets/packaged_modules/folder_based_builder: labels are inferred
# only if all files lie at the same depth).
# Here: images of a class are read at any depth below its folder (crest/data/folder.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq datasets==5.2.0 pillow==13.0.0
cd "$folder"
HF_HOME="$folder" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - <<'PYTHON'
from pathlib import Path

from datasets import load_dataset
from PIL import Image


def columns(cache):
    return load_dataset("imagefolder", data_dir="images", cache_dir=cache, split="train").column_names


for name in ("ant", "bee", "cow"):
    Path("images", name).mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(Path("images", name, "1.png"))
before = columns("before")
Path("images/bee/queens").mkdir()
Image.new("RGB", (4, 4)).save("images/bee/queens/2.png")
after = columns("after")
print("columns:", before, "and with one image deeper:", after)
assert before == ["image", "label"] and after == ["image"]
PYTHON
echo "as described: one image at another depth, and no image has a label"
