#!/usr/bin/env bash
# torchdata's StatefulDataLoader with workers saves a batch sampler as it was when a batch was drawn.
#
# One would think: loader.state_dict() asks the batch sampler for its state, as it is without workers.
# What is: with workers each batch carries the sampler's state of the time when it was drawn, several
# batches before it reaches the loop. What a sampler has learned since, such as losses that the loop
# reported, is not in the loader's state. Eight batches given and reported, two workers: resumed, the
# sampler knows of fewer reports, though the next batch is the right one.
# Seen with torchdata 0.11.0, torch 2.14.1.
# Here: crest.LossBatchSampler saves its own state beside the loader's, and takes the better.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq torch==2.14.1 torchdata==0.11.0
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import sys

from torchdata.stateful_dataloader import StatefulDataLoader


class Reported:
    """Batches of one example, which knows how many were reported back."""

    def __init__(self):
        self.reports = 0

    def __len__(self):
        return 20

    def __iter__(self):
        return Iteration(self)


class Iteration:
    def __init__(self, sampler):
        self.sampler, self.drawn = sampler, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.drawn += 1
        return [self.drawn - 1]

    def state_dict(self):
        return {"drawn": self.drawn, "reports": self.sampler.reports}

    def load_state_dict(self, state):
        self.drawn, self.sampler.reports = state["drawn"], state["reports"]


def saved(workers):
    sampler = Reported()
    loader = StatefulDataLoader(list(range(20)), batch_sampler=sampler, num_workers=workers)
    for number, _ in enumerate(loader, 1):
        sampler.reports += 1
        if number == 8:
            state = loader.state_dict()
            resumed = Reported()
            other = StatefulDataLoader(
                list(range(20)), batch_sampler=resumed, num_workers=workers
            )
            other.load_state_dict(state)
            first = next(iter(other)).item()
            return first, resumed.reports


alone, with_workers = saved(0), saved(2)
for workers, (first, reports) in {0: alone, 2: with_workers}.items():
    print(f"{workers} workers: resumed at batch {first}, {reports} of 8 reports are known")
sys.exit(0 if alone == (8, 8) and with_workers[0] == 8 and with_workers[1] < 8 else 1)
PYTHON
echo "as described: reports since the draw are not in the state"
