"""Several processes, as torchrun starts them, give what one process gives."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from crest.devices.distributed import ALONE, Group, joined, local_rank
from crest.devices.generators import generator_for
from crest.errors import ParameterError
from crest.parameters.sections import TrainParameters
from crest.pipeline.paths import Paths
from crest.selection.coresets import MiniBatchCoreset
from crest.training.step import Stepper, micro_batches
from tests.processes import ROOT, run, run_ranks
from tests.tiny import FLOAT32, convnet, image_split

CLI = ROOT / "cli.py"
SHORT = (
    *("-S", "train.device=cpu", "-S", "train.precision=float32"),
    *("-S", "train.snapshots=0", "-S", "train.budget=0.02"),
)


def run_on(
    processes: int, folder: Path, *arguments: str
) -> "list[subprocess.CompletedProcess[str]]":
    options = ("train", *SHORT, *arguments)
    if processes == 1:
        return [run(CLI, *options, folder=folder)]
    return run_ranks(processes, CLI, *options, folder=folder)


@pytest.fixture(scope="module")
def project(digits: Paths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared digits and the parameters of the repository."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(digits.root / "data", folder / "data")
    return folder


def results(folder: Path, method: str) -> tuple[pl.DataFrame, list[float], dict[str, torch.Tensor]]:
    place = folder / "artifacts" / "train" / method
    steps = pl.read_parquet(place / "steps.parquet")
    model = load_file(place / "model.safetensors")
    return pl.read_parquet(place / "coresets.parquet"), steps["loss"].to_list(), model


PUBLISHED = [
    *("-S", "crest.choice=facility_location", "-S", "crest.selection=ahead"),
    *(
        "-S",
        "crest.outputs=fresh",
        "-S",
        "crest.draw=independent",
        "-S",
        "crest.focus.exponent=0.0",
    ),
    *("-S", "crest.interval_factor=1.0", "-S", "crest.subset_coresets=1"),
    *("-S", "crest.curvature.interval=0", "-S", "crest.gradient.source=coresets"),
]


MIXED = [
    *("-S", "train.augment_flip=alternating", "-S", "train.augment_policy=trivialaugment"),
    *("-S", "train.mixup=0.2", "-S", "train.label_smoothing=0.1", "-S", "train.ema_decay=0.9"),
]


@pytest.mark.parametrize("settings", [[], [*PUBLISHED, *MIXED]], ids=["default", "published"])
def test_two_processes_give_what_one_gives_bit_for_bit(project: Path, settings: list[str]) -> None:
    """For four processes, and for whole runs, see docs/scale.md."""
    arguments = ["--method", "crest", "-S", "train.micro_batches=4", *settings]
    found = []
    for processes in (1, 2):
        for done in run_on(processes, project, *arguments):
            assert done.returncode == 0, done.stderr
        found.append(results(project, "crest"))
    (coresets, losses, model), (others, other_losses, other_model) = found
    assert coresets.equals(others)
    assert losses == other_losses
    assert all(torch.equal(model[name], other_model[name]) for name in model)


def test_a_killed_process_is_named_and_the_run_goes_on_from_its_state(project: Path) -> None:
    """Under torchrun, which ends the others of a group as soon as one is gone."""
    arguments = ("--method", "random", "-S", "train.micro_batches=2", "-S", "run.save_interval=0")
    slow = (*arguments, "-S", "train.budget=0.1")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    process = subprocess.Popen(
        [sys.executable, *launcher, str(CLI), "train", *SHORT, *slow],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    state = project / ".resume" / "train-random.safetensors"
    until = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    victim = _worker(process.pid, 1)
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - killed < 60
    assert re.search(r"rank 1 \(.*, process \d+\) no longer answers", output), output
    assert state.exists()
    place = project / "artifacts" / "train" / "random"
    assert not place.exists()
    found = []
    for processes in (2, 1):
        assert [done.returncode for done in run_on(processes, project, *slow)] == [0] * processes
        found.append(load_file(place / "model.safetensors"))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def _worker(launcher: int, rank: int) -> int:
    """Return the process of a rank, a child of the launcher."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            variables = (folder / "environ").read_text().split("\0")
        except OSError:
            continue
        if int(parent) == launcher and f"RANK={rank}" in variables:
            return int(folder.name)
    raise AssertionError("no such process")


def parameters(**changes: int) -> TrainParameters:
    return TrainParameters(batch_size=12, **changes)


def stepped(model: nn.Module, parts: int) -> torch.Tensor:
    """The weights after three steps of so many parts."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    stepper = Stepper(
        model,
        optimizer,
        image_split(36),
        generator_for(0, "augmentation"),
        parameters(micro_batches=parts),
        FLOAT32,
    )
    weights = torch.rand(36, generator=torch.Generator().manual_seed(1)) + 0.5
    for indices in torch.arange(36).split(12):
        stepper.take(MiniBatchCoreset(indices, weights[indices]))
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def without_batchnorm(model: nn.Module) -> nn.Module:
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(1, child.num_features))
    return model


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_parts_of_a_mini_batch_add_up_to_it_where_examples_are_normalised_alone(parts: int) -> None:
    whole = stepped(without_batchnorm(convnet()), 1)
    found = stepped(without_batchnorm(convnet()), parts)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-6)
    assert not torch.equal(found, stepped(without_batchnorm(convnet()), 1) * 1.001)


def test_running_statistics_move_by_the_mean_of_the_parts() -> None:
    """Of means over equal parts the mean is that over all, as of one step on the whole."""
    whole, parted = convnet().train(), convnet().train()
    for model, parts in ((whole, 1), (parted, 3)):
        stepper = Stepper(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            image_split(36),
            generator_for(0, "augmentation"),
            parameters(micro_batches=parts),
            FLOAT32,
        )
        stepper.take(MiniBatchCoreset(torch.arange(12), torch.ones(12)))
    first = next(module for module in whole.modules() if isinstance(module, nn.BatchNorm2d))
    other = next(module for module in parted.modules() if isinstance(module, nn.BatchNorm2d))
    torch.testing.assert_close(other.running_mean, first.running_mean)
    assert other.num_batches_tracked == first.num_batches_tracked == 1


def test_fewer_parts_than_processes_or_more_than_examples_are_refused() -> None:
    assert micro_batches(parameters(), ALONE) == 1
    assert micro_batches(parameters(), Group(0, 3)) == 3
    with pytest.raises(ParameterError, match="without work"):
        micro_batches(parameters(micro_batches=2), Group(0, 3))
    with pytest.raises(ParameterError, match="batch_size"):
        micro_batches(parameters(micro_batches=13), ALONE)


class GatheredAs(Group):
    """A group of which each process has said a text."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(0, len(texts))
        self._texts = texts

    def gather(self, text: str) -> list[str]:
        return self._texts


def test_processes_that_were_started_otherwise_are_refused_with_what_differs_and_where() -> None:
    key = {"train.lr": "0.1", "data": "a" * 64, "device": "cpu"}
    ALONE.require_same(key)
    GatheredAs([json.dumps(key)] * 3).require_same(key)
    others = [key, {**key, "train.lr": "0.2"}, key, {**key, "data": "b" * 64, "device": "cuda"}]
    with pytest.raises(ParameterError) as caught:
        GatheredAs([json.dumps(other) for other in others]).require_same(key)
    assert str(caught.value).splitlines() == [
        "train.lr: 0.1 on rank 0, 2, 3, 0.2 on rank 1",
        f"data: {'a' * 12}… on rank 0, 1, 2, {'b' * 12}… on rank 3",
        "device: cpu on rank 0, 1, 2, cuda on rank 3",
        "The processes of a run need the same parameters, data and code: start all the same way",
    ]
    with pytest.raises(ParameterError, match=r"train\.lr: 0\.1 on rank 0, nothing on rank 1"):
        GatheredAs([json.dumps(key), json.dumps({**key, "train.lr": None})]).require_same(key)


def test_two_processes_with_other_parameters_are_refused_before_any_step(project: Path) -> None:
    rates = ("-S", "train.lr=0.1"), ("-S", "train.lr=0.2")
    ranks = run_ranks(2, CLI, "train", "--method", "random", *SHORT, folder=project, each=rates)
    for done in ranks:
        assert done.returncode != 0
        assert "train.lr: 0.1 on rank 0, 0.2 on rank 1" in done.stderr
        assert "Traceback" not in done.stderr


LAUNCHED = {
    **{"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
    **{"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"},
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WORLD_SIZE", "", "WORLD_SIZE: is '', not a number from 1 to .* unset it to train in one"),
        ("WORLD_SIZE", "two", "WORLD_SIZE: is 'two', not a number from 1"),
        ("WORLD_SIZE", "0", "WORLD_SIZE: is '0', not a number from 1"),
        ("WORLD_SIZE", "-2", "WORLD_SIZE: is '-2'"),
        ("WORLD_SIZE", "1e3", "WORLD_SIZE: is '1e3'"),
        ("WORLD_SIZE", "9" * 5000, "WORLD_SIZE: is '999"),
        ("WORLD_SIZE", "\u0662", "WORLD_SIZE: is "),
        ("RANK", None, "RANK: is not set, not a number from 0 to 1; .* or unset WORLD_SIZE"),
        ("RANK", "", "RANK: is '', not a number from 0 to 1"),
        ("RANK", "first", "RANK: is 'first'"),
        ("RANK", "2", "RANK: is '2', not a number from 0 to 1"),
        ("MASTER_PORT", "http", "MASTER_PORT: is 'http', not a number from 0 to 65535"),
        ("MASTER_PORT", "65536", "MASTER_PORT: is '65536'"),
        ("MASTER_PORT", None, "MASTER_PORT: is not set"),
        ("MASTER_ADDR", None, "MASTER_ADDR: names no host"),
        ("MASTER_ADDR", "", "MASTER_ADDR: names no host"),
    ],
)
def test_an_environment_that_no_launcher_made_is_refused_by_name(
    name, value, message, monkeypatch
) -> None:
    for key, given in {**LAUNCHED, name: value}.items():
        if given is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, given)
    with pytest.raises(ParameterError, match=message), joined(1.0):
        pass


def test_a_rank_on_its_machine_that_is_no_number_is_refused_by_name(monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "gpu0")
    with pytest.raises(ParameterError, match="LOCAL_RANK: is 'gpu0', not a number from 0"):
        local_rank()


def test_shares_cover_all_work_once() -> None:
    shares = [Group(rank, 3).share(8) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(8))
