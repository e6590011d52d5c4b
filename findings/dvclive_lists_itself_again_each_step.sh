#!/usr/bin/env bash
# DVCLive: a dvc.yaml within the folder of curves grows by the same entries at every step.
#
# One would think: Live(dir="curves", dvcyaml="curves/dvc.yaml") keeps all of a run in one folder, and
# its dvc.yaml lists the metrics and the plots once, as a dvc.yaml elsewhere does.
# What is: before it lists them anew, DVCLive drops entries that contain the path of its folder as
# seen from dvc.yaml. Seen from within that is "./", which no entry contains: after five steps
# metrics.json is listed five times, and once more at the end.
# Seen with dvclive 3.49.1 (dvclive/dvc.py: update_dvcyaml), dvc 3.67.1.
# Here: crest/pipeline/trackers/dvclive.py has it write dvclive/dvc.yaml, a folder above.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq dvclive==3.49.1 dvc==3.67.1
export DVC_NO_ANALYTICS=1
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys
from pathlib import Path

from dvclive import Live


def entries(place: str) -> int:
    """How often dvc.yaml lists the metrics after five steps."""
    with Live(dir="runs/curves", dvcyaml=place, save_dvc_exp=False) as live:
        for step in range(5):
            live.log_metric("loss", 1.0 / (step + 1))
            live.next_step()
    return sum("metrics.json" in line for line in Path(place).read_text().splitlines())


within, above = entries("runs/curves/dvc.yaml"), entries("runs/dvc.yaml")
print(f"metrics listed {within} times by a dvc.yaml within the folder, {above} by one above it")
sys.exit(0 if (within, above) == (6, 1) else 1)
PYTHON
