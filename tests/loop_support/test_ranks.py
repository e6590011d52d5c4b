"""Processes that train together in somebody's loop choose the same, or an error says so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from crest.errors import ParameterError, TrainingError
from crest.loop_support.guards import Ranks


def two_ranks(*settings: dict[str, object]) -> list[Ranks]:
    store = dist.HashStore()
    return [Ranks(rank, store, mine) for rank, mine in enumerate(settings)]


def test_ranks_that_choose_the_same_go_on_in_any_order() -> None:
    ranks = two_ranks({"seed": 0}, {"seed": 0}, {"seed": 0})
    draw = torch.Generator().manual_seed(0)
    for step in range(200):
        chosen = torch.randperm(50, generator=draw)[:8]
        for rank in torch.randperm(3, generator=draw).tolist():
            ranks[rank].compare(step, chosen.clone())


def test_ranks_that_choose_otherwise_are_noticed_in_that_step() -> None:
    first, second = two_ranks({"seed": 0}, {"seed": 0})
    for step in range(3):
        first.compare(step, torch.arange(8))
        second.compare(step, torch.arange(8))
    second.compare(3, torch.arange(8))
    with pytest.raises(
        TrainingError, match="rank 0 has chosen other examples for step 3 than rank 1"
    ):
        first.compare(3, torch.arange(8).flip(0))


def test_ranks_with_other_arguments_are_refused_by_name_with_both_values() -> None:
    hashes = ["a" * 64, "a" * 63 + "b"]
    two_ranks({"seed": 0, "labels": hashes[0]}, {"seed": 0, "labels": hashes[0]})
    with pytest.raises(ParameterError, match=r"^seed: 1 on rank 1, 0 on rank 0\. .*together=False"):
        two_ranks({"seed": 0, "labels": hashes[0]}, {"seed": 1, "labels": hashes[0]})
    with pytest.raises(ParameterError, match=r"^labels: aaaaaaaa… on rank 1"):
        two_ranks({"seed": 0, "labels": hashes[0]}, {"seed": 0, "labels": hashes[1]})


def test_a_store_that_is_gone_is_told_of_once_and_training_goes_on() -> None:
    class Gone:
        def compare_set(self, *arguments: object) -> bytes:
            raise dist.DistStoreError("connection reset")

    ranks = two_ranks({"seed": 0})
    ranks[0]._store = Gone()  # type: ignore[assignment]
    with pytest.warns(UserWarning, match="no longer compared"):
        ranks[0].compare(0, torch.arange(8))
    for step in range(1, 100):  # a warning is an error
        ranks[0].compare(step, torch.arange(8))


PROCESSES = """
import sys, torch, torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from crest import Coresets, ParameterError, TrainingError, Weighted
from tests.tiny import convnet, image_split, linear_model, linear_split

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, split = dist.get_rank(), image_split()

def say(what, value):
    sys.stdout.write(f"{rank} {what}: {value}\\n")  # in one piece
    sys.stdout.flush()

def coresets_of(model, **options):
    options = {"steps": 12, "batch_size": 8, "subset_size": 32} | options
    return Coresets(model, split.inputs, split.labels, **options)

def steps(broadcast, **options):
    model = convnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for indices, weights in (coresets := coresets_of(model, **options)):
        own = indices[rank::2]
        losses = F.cross_entropy(model(split.inputs(own)), split.labels[own], reduction="none")
        optimizer.zero_grad()
        (losses * weights[rank::2]).mean().backward()
        if broadcast:
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
        optimizer.step()
        if broadcast:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
        coresets.step()
    return coresets.steps_taken

def through_workers():
    split, model = linear_split(), DistributedDataParallel(linear_model())
    data = Weighted(TensorDataset(split.features, split.labels))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"steps": 12, "batch_size": 8, "subset_size": 24, "lag": 3}
    coresets = Coresets(model, split.inputs, split.labels, **options)
    shares = (batch[rank::2] for batch in coresets.batch_sampler())
    for features, labels, weights in DataLoader(data, batch_sampler=shares, num_workers=1):
        losses = F.cross_entropy(model(features), labels, reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        coresets.step()
    return coresets.steps_taken

say("same", steps(True))
say("through workers", through_workers())
say("apart, as asked", steps(False, together=False, seed=rank))
dist.barrier()
if rank == 0:
    coresets_of(convnet(), seed=0)
dist.barrier()
try:
    if rank == 1:
        coresets_of(convnet(), seed=1)
except ParameterError as error:
    say("refused", error)
dist.barrier()
try:
    steps(False)
except TrainingError as error:
    say("noticed", error)
dist.barrier()
"""


def test_processes_of_torch_distributed_choose_the_same_or_are_told(tmp_path: Path) -> None:
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script)
    done = subprocess.run(
        [sys.executable, *map(str, launcher)],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        assert f"{rank} same: 12" in done.stdout
        assert f"{rank} through workers: 12" in done.stdout
        assert f"{rank} apart, as asked: 12" in done.stdout
    assert "1 refused: seed: 1 on rank 1, 0 on rank 0." in done.stdout
    assert re.search(r"\d noticed: rank \d has chosen other examples for step \d+", done.stdout)
