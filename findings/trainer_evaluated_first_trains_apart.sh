#!/usr/bin/env bash
# transformers' Trainer on several processes: evaluate() before train(), and each process trains alone.
#
# One would think: a look at the untrained model's loss changes nothing of the training that follows.
# What is: evaluate() before train() prepares the model for evaluation, without
# DistributedDataParallel, and marks it as prepared; train() prepares it again, which then does
# nothing. No gradient is exchanged: after one step the processes' weights differ, without a word,
# and rank 0's are what is saved. With train() first they are equal to the last bit.
# Seen with transformers 5.24.0, accelerate 1.15.0, torch 2.14.1 on CPUs (gloo); in
# transformers/trainer.py evaluation_loop calls accelerator.prepare_model(evaluation_mode=True), in
# accelerate/accelerator.py prepare skips what has _is_accelerate_prepared.
# Here: crest.integrations.transformers refuses to train such a model on several processes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 transformers==5.24.0 accelerate==1.15.0
cd "$folder"
cat > train.py <<'PYTHON'
import json
import sys

import torch
import torch.distributed as dist
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

torch.manual_seed(0)
config = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
    intermediate_size=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)
model = BertForSequenceClassification(config)
data = [{"input_ids": [row, 19 - row], "labels": row % 2} for row in range(16)]
arguments = TrainingArguments(
    "out", max_steps=1, per_device_train_batch_size=4, learning_rate=0.1, use_cpu=True,
    report_to="none", disable_tqdm=True, save_strategy="no", logging_strategy="no",
)
trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data)
if sys.argv[1] == "evaluated":
    trainer.evaluate()
trainer.train()
mine = torch.cat([weight.detach().flatten() for weight in model.parameters()])
every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
dist.all_gather(every, mine)
if dist.get_rank() == 0:
    json.dump(float((every[0] - every[1]).abs().max()), open(f"{sys.argv[1]}.json", "w"))
PYTHON
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
for before in nothing evaluated; do
    "$folder/venv/bin/torchrun" --standalone --nproc-per-node=2 train.py "$before" > log 2>&1 || {
        tail -20 log
        exit 1
    }
    echo "$before before train(): the processes' weights differ by $(cat "$before.json")"
done
"$folder/venv/bin/python" -c '
import json, sys
apart = [json.load(open(f"{name}.json")) for name in ("nothing", "evaluated")]
sys.exit(0 if apart[0] == 0.0 and apart[1] > 0.01 else 1)'
echo "as described: evaluated first, they train apart"
