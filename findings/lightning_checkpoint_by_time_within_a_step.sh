#!/usr/bin/env bash
# Lightning's checkpoints by time, under gradient accumulation, lose the batches of the step begun.
#
# One would think: a checkpoint of ModelCheckpoint(train_time_interval=...) is of a whole step, or
# holds what a step begun has added up; a loader with a state of its own then goes on exactly.
# What is: it is saved after whichever batch the time is up, gradients are not in it, and the loops go
# on within the step. Four batches, two a step, time up at the third: resumed, the second step is of
# the fourth alone, without a word.
# Seen with pytorch-lightning 2.6.6, torch 2.14.1.
# Here: crest.integrations.lightning warns of a checkpoint within a step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 pytorch-lightning==2.6.6
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import datetime
import sys
import time

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

INPUTS = torch.tensor([[1.0], [2.0], [4.0], [8.0]])  # a batch each; the gradient of each is itself


class Module(LightningModule):
    def __init__(self, waits):
        super().__init__()
        self.model, self.waits, self.batches = torch.nn.Linear(1, 1, bias=False), waits, []
        torch.nn.init.zeros_(self.model.weight)

    def training_step(self, inputs, number):
        self.batches.append(inputs.item())
        if number == 2 and self.waits:
            time.sleep(3)
        return -self.model(inputs).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def train_dataloader(self):
        return Stateful()


class Stateful:
    """A loader that goes on where it was left."""

    def __init__(self):
        self.given = 0

    def __len__(self):
        return len(INPUTS)

    def __iter__(self):
        while self.given < len(INPUTS):
            self.given += 1
            yield INPUTS[self.given - 1 : self.given]
        self.given = 0

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.given = state["given"]


def trained(waits, resumed_from=None):
    module = Module(waits)
    saving = ModelCheckpoint(
        "saved", "saved", train_time_interval=datetime.timedelta(seconds=2), save_top_k=-1
    )
    Trainer(
        accelerator="cpu", max_epochs=1, accumulate_grad_batches=2, callbacks=[saving],
        logger=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, ckpt_path=resumed_from)
    return module.batches, module.model.weight.item()


whole, weight = trained(True)
rest, resumed = trained(False, "saved/saved.ckpt")
print(f"whole: {whole} weight {weight}; resumed: {rest} weight {resumed}")
sys.exit(0 if (weight, resumed, rest) == (7.5, 5.5, [8.0]) else 1)
PYTHON
echo "as described: the batch before the checkpoint is lost"
