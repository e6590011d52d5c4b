#!/usr/bin/env bash
# Making an optimizer imports torch's compiler, whether or not anything is compiled.
#
# One would think: torch.optim.SGD(parameters, lr=0.1) costs nothing to make; torch._dynamo is imported
# by those who call torch.compile.
# What is: adding a group of parameters goes through a decorator that keeps the compiler away from it,
# and it imports torch._dynamo, some hundred modules more, the first time: seconds in each process,
# also in one that trains for a second.
# Seen with torch 2.14.1.
# Here: tests fork their processes from one that has imported it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys
import time

import torch

parameter = torch.nn.Parameter(torch.zeros(1))
assert "torch._dynamo" not in sys.modules
known, started = len(sys.modules), time.process_time()
torch.optim.SGD([parameter], lr=0.1)
seconds, more = time.process_time() - started, len(sys.modules) - known
print(f"torch {torch.__version__}: an optimizer imported {more} modules in {seconds:.1f} s")
assert "torch._dynamo" in sys.modules
assert more > 100, more
PYTHON
