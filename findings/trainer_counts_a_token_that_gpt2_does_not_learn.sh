#!/usr/bin/env bash
# transformers' Trainer divides a step of GPT-2 by one token a row too many.
#
# One would think: num_items_in_batch, by which the loss of accumulated batches is divided, counts
# the labels that are learned: of a causal language model those from the second position on.
# What is: the Trainer looks at the model's loss_type to know whether labels are shifted; GPT-2's is
# None, so that the first label of each row, which no output is for, is counted. With rows of 8
# tokens each step is 7/8 of what it should be, with rows of 2 half of it; Llama's is right.
# Seen with transformers 5.24.0, accelerate 1.15.0, torch 2.14.1 (Trainer._loss_shifts_labels).
# Up to transformers 5.7 there is no such attribute: those of every model are counted, Llama's too.
# Here: crest.integrations makes them -100 before they are counted (token_losses.py, learned).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 transformers==5.24.0 accelerate==1.15.0
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys

import torch
from transformers import (
    GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments,
)

ROWS, LENGTH = 4, 8
gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1, n_positions=LENGTH))
llama = LlamaForCausalLM(LlamaConfig(
    vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=LENGTH,
))
tokens = torch.arange(1, LENGTH + 1).repeat(ROWS, 1)
data = [{"input_ids": row, "labels": row} for row in tokens]
counted = {}
for name, model in {"gpt2": gpt2, "llama": llama}.items():
    arguments = TrainingArguments(
        name, max_steps=1, per_device_train_batch_size=ROWS, use_cpu=True, report_to="none",
        disable_tqdm=True, save_strategy="no", logging_strategy="no",
    )
    seen = []

    class Watching(Trainer):
        def compute_loss(self, model, inputs, *rest, num_items_in_batch=None, **others):
            seen.append(int(num_items_in_batch))
            return super().compute_loss(
                model, inputs, *rest, num_items_in_batch=num_items_in_batch, **others
            )

    Watching(model, arguments, train_dataset=data).train()
    counted[name] = seen[0]
learned = ROWS * (LENGTH - 1)
for name, count in counted.items():
    print(f"{name}: {count} items counted, {learned} learned")
sys.exit(0 if counted == {"gpt2": ROWS * LENGTH, "llama": learned} else 1)
PYTHON
echo "as described: GPT-2's first labels are counted, Llama's are not"
