#!/usr/bin/env bash
# transformers' Trainer under torchrun without a GPU: each process trains a model of its own.
#
# One would think: torchrun starts two processes, the Trainer joins them, on CPUs too (gloo).
# What is: unless use_cpu=True is said, the Trainer on a machine without an accelerator sees one
# process only. Both train on all data and write to the same folder, without a word: an epoch of 16
# examples, 4 a process, has 4 steps. With use_cpu=True there are two processes and 2 steps.
# Seen with transformers 5.24.0, accelerate 1.15.0, torch 2.14.1.
# Here: the examples say use_cpu=True where there is no GPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 transformers==5.24.0 accelerate==1.15.0
cd "$folder"
cat > train.py <<'PYTHON'
import json
import os
import sys

from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

config = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
)
data = [{"input_ids": [row, 19 - row], "labels": row % 2} for row in range(16)]
options = json.loads(sys.argv[1])
arguments = TrainingArguments(
    f"out{os.environ['RANK']}", num_train_epochs=1, per_device_train_batch_size=4, report_to="none",
    disable_tqdm=True, save_strategy="no", logging_strategy="no", **options,
)
trainer = Trainer(BertForSequenceClassification(config), arguments, train_dataset=data)
trainer.train()
if os.environ["RANK"] == "0":
    with open("seen", "w") as seen:
        seen.write(f"{arguments.world_size} processes, {trainer.state.global_step} steps")
PYTHON
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=""
for options in '{}' '{"use_cpu": true}'; do
    "$folder/venv/bin/python" -m torch.distributed.run --standalone --nproc-per-node=2 \
        train.py "$options" > log 2>&1 || { tail -20 log; exit 1; }
    echo "$options: $(cat seen)"
    mv seen "seen$options"
done
[ "$(cat 'seen{}')" = "1 processes, 4 steps" ]
[ "$(cat 'seen{"use_cpu": true}')" = "2 processes, 2 steps" ]
echo "as described: they train alone unless use_cpu=True is said"
