#!/usr/bin/env bash
# Accelerate's save_state within gradient accumulation: the step that follows is of the rest only.
#
# One would think: save_state after any batch, load_state, and training goes on as if never stopped.
# What is: the state says how many batches the step has added up, not what: gradients are in no file.
# Resumed, the next step is taken as soon as its last batch is through, of the batches after the stop
# only, without a word. Four batches, two a step, saved after the third: that one is never learned.
# Seen with accelerate 1.15.0, torch 2.14.1 (accelerate/checkpointing.py saves accelerator.step).
# Here: crest.integrations.accelerate refuses to save where accelerator.sync_gradients is False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys
import tempfile

import torch
from accelerate import Accelerator

INPUTS = torch.tensor([[1.0], [2.0], [4.0], [8.0]])  # a batch each; the gradient of each is itself
ACCUMULATED = 2


def start():
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return accelerator, *accelerator.prepare(model, optimizer)


def train(accelerator, model, optimizer, batches):
    for inputs in batches:
        with accelerator.accumulate(model):
            accelerator.backward(-model(inputs).mean())
            optimizer.step()
            optimizer.zero_grad()
    return model.weight.item()


whole = train(*start(), INPUTS)
with tempfile.TemporaryDirectory() as folder:
    begun = start()
    train(*begun, INPUTS[:3])
    begun[0].save_state(folder)
    resumed = start()
    resumed[0].load_state(folder)
    weight = train(*resumed, INPUTS[3:])
print(f"weight without a stop: {whole}; saved after batch 3, resumed at batch 4: {weight}")
sys.exit(0 if (whole, weight) == (7.5, 5.5) else 1)
PYTHON
echo "as described: the batch before the stop is lost"
