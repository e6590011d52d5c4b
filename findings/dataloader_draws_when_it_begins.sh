#!/usr/bin/env bash
# A DataLoader that is begun anew draws from torch's global state, in order or not, shuffled or not.
#
# One would think: a loader that shuffles nothing, with a batch sampler of one's own and no workers,
# leaves torch's random numbers alone, so that a loop that restores torch.get_rng_state() and begins
# its loader again goes on with the same dropout.
# What is: each iter() draws a seed for workers that there may be, also where there are none, so the
# dropout that follows is another. With generator= of the loader's own the global state stays.
# Seen with torch 2.14.1.
# Here: docs/loop.md gives the loader a generator of its own; tests/samplers/test_resumed_loop.py runs it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 numpy
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys

import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

numbers = torch.arange(8.0)
dropout = torch.nn.Dropout(0.5)


def changes_dropout(**options):
    state = torch.get_rng_state()
    expected = dropout(torch.ones(64))
    torch.set_rng_state(state)
    batches = BatchSampler(SequentialSampler(numbers), 4, drop_last=False)
    next(iter(DataLoader(numbers, batch_sampler=batches, num_workers=0, **options)))
    return not torch.equal(dropout(torch.ones(64)), expected)


plain = changes_dropout()
own = changes_dropout(generator=torch.Generator())
print(f"begun without a generator, dropout changes: {plain}; with one of its own: {own}")
sys.exit(0 if plain and not own else 1)
PYTHON
echo "as described: beginning a DataLoader draws from the global state"
