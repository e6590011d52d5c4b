"""Two commands in one folder at once, and what lies in the folders that they replace."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import cli
from crest.artifacts.locks import reading, writing
from crest.pipeline import commands, printing
from crest.pipeline.paths import Paths
from stages import prepare, train
from tests.bad_input.project import png
from tests.tiny import digits_parameters

ROOT = Path(__file__).parents[1]


@pytest.fixture
def here(project, monkeypatch) -> Path:
    """A project with runs in it, as the working folder."""
    monkeypatch.chdir(project.root)
    values = digits_parameters(run={"methods": ["random"]}).model_dump(mode="json")
    (project.root / "params.yaml").write_text(yaml.safe_dump(values))
    return project.root


def everything() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@contextmanager
def elsewhere(how, target: Path) -> Iterator[None]:
    """Hold a lock in another thread, which is to a lock what another process is."""
    done = threading.Event()
    ready = threading.Event()

    def hold() -> None:
        with how(target):
            ready.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("command", "how", "target", "expected"),
    [
        ("train --method random", writing, "artifacts/train/random", "a run goes on here"),
        ("train", writing, "artifacts/train/random", "a run goes on here"),
        ("reuse --model convnet", writing, "artifacts/reuse/convnet", "a run goes on here"),
        ("evaluate --method random", writing, "artifacts/evaluate/random", "a run goes on here"),
        ("prepare", writing, "data/prepared", "a run goes on here"),
        ("prepare", reading, "data/prepared", "a run that reads it goes on"),
        ("train --method random", writing, "data/prepared", "a run goes on here"),
        ("evaluate --method random", writing, "data/prepared", "a run goes on here"),
    ],
)
def test_the_second_command_is_refused_in_words(here, command, how, target, expected) -> None:
    (here / target).parent.mkdir(parents=True, exist_ok=True)
    before = everything()
    with elsewhere(how, here / target):
        result = CliRunner().invoke(cli.app, command.split())
    assert result.exit_code == 1
    assert f"{target}: {expected}, process {os.getpid()} on " in result.stderr
    assert "wait until it has ended, or work in another copy of the project" in result.stderr
    assert everything() == before


def test_another_method_and_another_reader_do_not_mind(here) -> None:
    with (
        elsewhere(writing, here / "artifacts" / "train" / "crest"),
        elsewhere(reading, here / "data" / "prepared"),
    ):
        result = CliRunner().invoke(cli.app, ["train", "--method", "random"])
    assert result.exit_code == 0, result.output


def test_of_several_processes_only_the_first_claims(here, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with elsewhere(writing, here / "artifacts" / "train" / "random"):
        assert not commands.is_first_process()
        with commands.failing_plainly("preset", lambda: None, lambda _: pytest.fail("claimed")):
            pass


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("prepare", "data/prepared/notes.txt"),
        ("prepare", "data/prepared/mine/train_images.npy"),
        ("train --method random", "artifacts/train/random/notes.txt"),
        ("train --method random", "artifacts/train/random/snapshots/best.safetensors"),
        ("evaluate --method random", "artifacts/evaluate/random/plot.png"),
        ("reuse --model convnet", "artifacts/reuse/convnet/paper.pdf"),
        ("reuse --model convnet", "artifacts/reuse/convnet/small/model.safetensors"),
    ],
)
def test_a_users_file_in_a_folder_that_is_replaced_is_not_removed(here, command, file) -> None:
    path = here / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    before = everything()
    result = CliRunner().invoke(cli.app, command.split())
    assert result.exit_code == 1
    folder = next(parent for parent in Path(file).parents if len(parent.parts) <= 3)
    if file.startswith("data"):
        folder = Path("data/prepared")
    expected = f"holds {Path(file).relative_to(folder)}, which would be removed with it; move it"
    assert f"error: {folder}: {expected} elsewhere" in result.stderr
    assert everything() == before
    path.unlink()
    assert CliRunner().invoke(cli.app, command.split()).exit_code == 0  # as it was told to do


@pytest.mark.parametrize(
    "source", ["data/prepared", "data/prepared/mine", "./data/../data/prepared"]
)
def test_a_source_within_prepared_data_is_refused(here, source) -> None:
    for kind in ("train/ant", "train/bee", "test/ant", "test/bee"):
        folder = here / source / kind
        folder.mkdir(parents=True)
    for number, folder in enumerate(sorted((here / source).rglob("*/*"))):
        for copy in range(3):
            (folder / f"{copy}.png").write_bytes(png(3 * number + copy))
    before = everything()
    options = ["-S", "prepare.dataset=folder", "-S", f"prepare.source={source}"]
    result = CliRunner().invoke(cli.app, ["prepare", *options])
    assert result.exit_code == 2, result.output
    assert f"prepare.source: {source} lies within data/prepared, which is replaced" in result.stderr
    assert everything() == before


def test_a_project_whose_path_has_the_marks_of_a_pattern(tmp_path, monkeypatch) -> None:
    root = tmp_path / "run{1,2}[3]*?"
    root.mkdir()
    monkeypatch.chdir(root)
    paths, parameters = Paths(), digits_parameters(train={"epochs": 0.2})
    Path("params.yaml").write_text("{}")
    for _ in range(2):
        prepare.run(parameters.prepare, paths.prepared)
        train.run(parameters, paths, "random")
    assert [path.name for path in Path("artifacts/train").iterdir()] == ["random"]
    result = CliRunner().invoke(cli.app, ["evaluate", "--method", "random"])
    assert result.exit_code == 0, result.output


def select(out: str, **options) -> subprocess.CompletedProcess[bytes]:
    model = "artifacts/train/crest/model.safetensors"
    command = ["select", "--checkpoint", model, "--out", out, "--minibatches", "1"]
    return subprocess.run([sys.executable, ROOT / "cli.py", *command], check=False, **options)


def test_coresets_stream_into_what_is_no_file(here) -> None:
    os.mkfifo("pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(Path("pipe").read_bytes()))
    reader.start()
    model = "artifacts/train/crest/model.safetensors"
    command = ["select", "--checkpoint", model, "--out", "pipe", "--minibatches", "1"]
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    reader.join()
    streamed = select("/dev/stdout", capture_output=True)
    assert streamed.returncode == 0
    assert found[0] == streamed.stdout
    assert len(pl.read_parquet(io.BytesIO(streamed.stdout))) == 32
    assert Path("pipe").is_fifo()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_any_encoding(here, encoding, monkeypatch) -> None:
    class Stdout(io.StringIO):
        pass

    Stdout.encoding = encoding
    monkeypatch.setattr(sys, "stdout", Stdout())
    text = printing.encodable('[{"class": "süß 中 😀"}]')
    assert text.encode(encoding)
    assert json.loads(text) == [{"class": "süß 中 😀"}]


def test_a_program_whose_output_is_latin_1_ends_without_a_traceback(here) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, ROOT / "cli.py", "train", "-S", "train.süß中=1"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"s\xfc\xdf\\u4e2d" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_imports_ends_in_a_line(here, number, code) -> None:
    """As soon as the lock is there, which a command takes before it imports what takes long."""
    before = everything()
    running = subprocess.Popen(
        [sys.executable, ROOT / "cli.py", "train", "--method", "random"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lock = here / "artifacts" / "train" / ".random.lock"
    while not lock.exists():
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(number)
    assert running.communicate() == ("", "interrupted\n")
    assert running.returncode == code
    assert everything() == before
