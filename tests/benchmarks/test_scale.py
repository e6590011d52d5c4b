"""The benchmark of data larger than memory, on little data; its prediction against what is kept."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.memory import scale
from crest.data.prepared import load
from crest.methods import METHODS
from crest.pipeline.paths import Paths
from crest.training.recorder import Recorder
from crest.training.schedules import budget_steps, total_steps
from tests.tiny import CPU, context, image_split

EXAMPLES = 20_000
CLASSES = 3


def test_data_are_prepared_data_whose_classes_differ(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scale, "BLOCK", 70)
    scale.write_data(tmp_path / "prepared", 300, 6, 4)
    data = load(tmp_path / "prepared", CPU)
    assert (len(data.train), len(data.test)) == (300, scale.TEST)
    images, labels = data.train.inputs(torch.arange(300)), data.train.labels
    means = torch.stack([images[labels == label].mean(0) for label in range(4)])
    spread = images.std(0).mean()
    # Noise is averaged away, patterns are not.
    assert torch.cdist(means.flatten(1), means.flatten(1))[~torch.eye(4).bool()].min() > spread


@pytest.mark.parametrize("row", list(scale.ROWS))
def test_the_prediction_is_what_a_method_keeps(row: str) -> None:
    """All tensors as long as the data, in what a run would save, and of V what is not saved."""
    method, _ = scale.ROWS[row]
    settings = scale.parameters_of(row, EXAMPLES, 10, "convnet").crest
    run = context(split=image_split(EXAMPLES), steps=10, crest=settings.model_dump())
    chooser, recorder = METHODS[method].build(run.of(method)), Recorder(EXAMPLES, 10)
    chooser.minibatch(0)
    kept = {
        values.untyped_storage().data_ptr(): values.untyped_storage().nbytes()
        for values in tensors([chooser.state_dict(), recorder.state_dict()])
        if values.dim() and EXAMPLES // 2 < len(values) <= EXAMPLES  # the model has more weights
    }
    unsaved = {"random": 0, "crest": 4, "focused": scale.ACTIVE}[method] * EXAMPLES
    assert sum(kept.values()) + unsaved == scale.predicted(row, EXAMPLES, CLASSES)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a tree."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list):
        for inside in value.values() if isinstance(value, dict) else value:
            yield from tensors(inside)


@pytest.mark.parametrize("row", list(scale.ROWS))
def test_a_run_takes_the_steps_that_it_is_asked_for(row: str) -> None:
    for examples in (1000, 50_000):
        parameters = scale.parameters_of(row, examples, 30, "convnet")
        steps = total_steps(parameters.train.epochs, examples, scale.BATCH)
        assert budget_steps(parameters.train.budget, steps) == 30
    assert parameters.crest.subset_size in (scale.SUBSET, 512)


def test_a_run_is_measured_through_all_its_phases(tmp_path: Path) -> None:
    sent = []

    class Connection:
        send = staticmethod(sent.append)

    scale.write_data(Paths(tmp_path).prepared, 1000, 6, 4)
    outcome = scale.Outcome(1000, "crest, economical")
    threads = torch.get_num_threads()
    scale.work(tmp_path, outcome, 6, "convnet", False, Connection())
    torch.set_num_threads(threads)
    assert sent == ["open", "train", "save", "train", "write", "done", outcome]
    assert outcome.anonymous.keys() == {"imported", "start", "middle", "end"}
    assert len(outcome.steps) == 5
    assert outcome.first > 0
    assert (tmp_path / "state.safetensors").is_file()
    assert (tmp_path / "crest, economical" / "coresets.parquet").is_file()


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux")
def test_the_command_measures_and_writes_its_figures(tmp_path: Path, capsys, monkeypatch) -> None:
    data = ["--examples", "300", "--side", "6", "--classes", "4", "--folder", str(tmp_path)]
    run = ["--rows", "random", "--steps", "22", "--out", str(tmp_path / "scale.json")]
    monkeypatch.setattr(sys, "argv", ["scale.py", *data, *run])
    scale.main()
    assert "300 random" in capsys.readouterr().out
    record = json.loads((tmp_path / "scale.json").read_text())
    (outcome,) = record["outcomes"]
    assert outcome["anonymous"]["end"] > 2**20
    assert outcome["peaks"]["write"] > 2**20
    assert [path.name for path in tmp_path.iterdir()] == ["scale.json"]


def test_growth_is_by_example() -> None:
    first, second = scale.Outcome(10, "random"), scale.Outcome(30, "random")
    for outcome in (first, second):
        outcome.anonymous["end"] = 1000 + 50 * outcome.examples
        outcome.peaks = {phase: 2000 + 60 * outcome.examples for phase in scale.PHASES}
    assert scale.growth(first, second, 5).split()[1:5] == ["10", "30", "61", "50.0"]
    assert "write 60" in scale.growth(first, second, 5)
