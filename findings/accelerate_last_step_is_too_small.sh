#!/usr/bin/env bash
# Accelerate divides a step by gradient_accumulation_steps, also where fewer batches were left for it.
#
# One would think: where an epoch's end cuts a step short, it is that of the mean of its batches.
# What is: backward() divides every loss by gradient_accumulation_steps; accumulate() takes a step at
# the loader's end. Five batches of equal gradients, four a step: the second step is a quarter of the
# first.
# Seen with accelerate 1.15.0, torch 2.14.1.
# Here: crest.integrations.accelerate refuses a sampler whose epochs are no multiple of a step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
model = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.zeros_(model.weight)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
loader = DataLoader(torch.ones(5, 1), batch_size=1)  # the gradient of each batch is 1
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
steps = []
for inputs in loader:
    with accelerator.accumulate(model):
        accelerator.backward(-model(inputs).mean())
        before = model.weight.item()
        optimizer.step()
        optimizer.zero_grad()
        if accelerator.sync_gradients:
            steps.append(model.weight.item() - before)
print(f"steps of 4 batches and of 1 left over, all with gradient 1: {steps}")
sys.exit(0 if steps == [1.0, 0.25] else 1)
PYTHON
echo "as described: the last step is a quarter of the first"
