"""The examples, run as a reader would, each in its own process: what they print and keep."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from crest import read_coresets
from crest.artifacts import read_table
from tests.processes import ROOT, run, run_ranks

EXAMPLES = ROOT / "examples"


def start(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run(EXAMPLES / name, *arguments)


def accuracy(*ended: subprocess.CompletedProcess[str]) -> float:
    """What an example printed, in one process or the first of several."""
    for done in ended:
        assert done.returncode == 0, done.stderr
    (found,) = re.findall(r"^accuracy: ([0-9.]+)$", ended[0].stdout, re.MULTILINE)
    return float(found)


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in text


def test_the_quick_start_prints_and_draws_what_its_page_says(tmp_path) -> None:
    page = (ROOT / "docs" / "quick-start.md").read_text("utf-8")
    (printed,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert code == [(EXAMPLES / "quick_start.py").read_text("utf-8")]

    done = start("quick_start.py", "--picture", tmp_path / "accuracy.png")

    assert done.returncode == 0, done.stderr
    number = r"\d+(?:\.\d+)?"
    assert re.sub(number, "#", done.stdout) == re.sub(number, "#", printed)
    found, expected = (
        [float(value) for value in re.findall(number, text)] for text in (done.stdout, printed)
    )
    assert found == pytest.approx(expected, abs=1.5)  # other processors, other roundings
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """What plain_pytorch.py keeps."""
    folder = tmp_path_factory.mktemp("examples") / "saved"
    assert accuracy(start("plain_pytorch.py", "--save", folder, "--steps", 100)) > 0.9
    return folder


def test_a_plain_loop_learns_and_keeps_its_coresets(saved) -> None:
    assert read_coresets(saved).steps == read_table(saved / "steps.parquet").height == 100


def test_the_baseline_learns_by_one_word_and_says_that_it_keeps_nothing(tmp_path) -> None:
    done = start("plain_pytorch.py", "--method", "random", "--save", tmp_path / "x", "--steps", 60)
    assert "accuracy: 0.9" in done.stdout
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "'random' keeps no coresets" in done.stderr
    assert not (tmp_path / "x").exists()


def test_workers_decode_photographs() -> None:
    done = start("photographs.py", "--steps", 30)
    assert done.returncode == 0, done.stderr
    first, *losses = done.stdout.splitlines()
    assert first == "162 photographs to train on"
    assert [line.partition(":")[0] for line in losses] == ["step 10", "step 20", "step 30"]
    assert float(losses[-1].rpartition(" ")[2]) < 0.3


def test_several_processes_train_together_on_what_one_of_them_chooses(tmp_path) -> None:
    ranks = run_ranks(
        2, EXAMPLES / "several_processes.py", "--steps", 60, "--save", tmp_path / "saved"
    )
    assert accuracy(*ranks) > 0.85
    assert read_coresets(tmp_path / "saved").steps == 60
    done = start("several_processes.py")
    assert done.returncode == 1
    assert done.stderr.startswith("error: start it with torchrun")


def test_gradients_accumulate_over_the_parts_of_a_mini_batch() -> None:
    assert accuracy(start("gradient_accumulation.py", "--steps", 60)) > 0.9


def test_a_loader_with_workers_trains_on_what_is_chosen_meanwhile() -> None:
    assert accuracy(start("dataloader_coresets.py", "--steps", 60, "--part", 32)) > 0.85


def test_a_loader_with_workers_trains_on_what_the_loop_kept(saved) -> None:
    assert accuracy(start("dataloader_saved_coresets.py", saved)) > 0.85


def test_a_loader_trains_on_a_run_of_the_pipeline(runs) -> None:
    coresets = runs.train("crest")
    data = ("--prepared", runs.prepared, "--steps", 100, "--workers", 0)
    assert accuracy(start("dataloader_saved_coresets.py", coresets, *data)) > 0.7
    other = start("dataloader_saved_coresets.py", coresets)
    assert other.returncode == 1
    assert "these coresets were chosen from other data" in other.stderr
    assert "Traceback" not in other.stderr


def test_the_trainer_of_transformers_learns_and_keeps_its_coresets(tmp_path) -> None:
    if importlib.util.find_spec("accelerate") is None:
        done = start("transformers_trainer.py")
        assert (done.returncode, done.stdout) == (1, "")
        assert "pip install accelerate" in done.stderr
        pytest.skip("the Trainer needs accelerate: pip install accelerate")
    folder = tmp_path / "saved"
    source = (EXAMPLES / "transformers_trainer.py").read_text(encoding="utf-8")
    assert "logging_nan_inf_filter=False" in source  # a loss that is NaN is not logged as 0
    assert accuracy(start("transformers_trainer.py", "--save", folder, "--steps", 100)) > 0.9
    saved = read_coresets(folder)
    assert saved.steps == 100
    assert {len(one.indices) for region in saved.regions for one in region} == {16}


def test_accelerate_draws_by_losses_and_learns_on_two_processes() -> None:
    pytest.importorskip("accelerate")
    ranks = run_ranks(2, EXAMPLES / "accelerate_loop.py", "--steps", 60, "--workers", 1)
    assert accuracy(*ranks) > 0.85


def test_the_trainer_of_transformers_draws_by_losses_learns_and_resumes(tmp_path) -> None:
    pytest.importorskip("accelerate")
    options = ("--steps", 100, "--folder", tmp_path)
    assert accuracy(start("trainer_by_losses.py", *options)) > 0.9
    assert (tmp_path / "checkpoint-80" / "crest_sampler.pt").is_file()
    assert (
        accuracy(start("trainer_by_losses.py", *options, "--resume", tmp_path / "checkpoint-80"))
        > 0.9
    )


def test_lightning_draws_by_losses_learns_and_resumes(tmp_path) -> None:
    pytest.importorskip("pytorch_lightning")
    options = ("--steps", 60, "--folder", tmp_path)
    assert accuracy(start("lightning_by_losses.py", *options)) > 0.85
    (kept,) = tmp_path.glob("*step=40.ckpt")
    assert accuracy(start("lightning_by_losses.py", *options, "--resume", kept)) > 0.85


def test_the_sft_trainer_draws_by_losses_and_says_which_rows_were_dropped(tmp_path) -> None:
    pytest.importorskip("trl")
    done = start("sft_by_losses.py", "--steps", 20, "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows dropped: [7]" in done.stdout
    before, after = map(float, re.findall(r"^loss: ([0-9.]+)$", done.stdout, re.MULTILINE))
    assert after < before - 0.3
    assert (tmp_path / "checkpoint-20" / "crest_sampler.pt").is_file()
