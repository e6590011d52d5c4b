"""dvc.yaml names, for each stage and method, the code that runs, and DVC sees when it changes."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage

from crest.methods import METHODS
from crest.pipeline.code import OURS, ROOT, Sources
from crest.pipeline.dependencies import COMMAND, LINKS, TRAINS_WITH, is_code, write

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES, PLOTS = PIPELINE["stages"], PIPELINE["plots"]
PARAMETERS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
ALWAYS = {name for name, stage in STAGES.items() if stage.get("always_changed")}
SOURCES = Sources()
AGAIN = f"run `{COMMAND}`, which names in dvc.yaml what each stage runs"

# What a clone needs for dvc status, its methods, and its stages with what they train with.
FILES = ("cli.py", "dvc.yaml", "params.yaml")
TRAINED = ("crest", "random", "glister")
MODELS = tuple(PARAMETERS["reuse"]["models"])
TRACKED = {
    "prepare": ("prepare", None),
    **{f"train@{method}": ("train", method) for method in TRAINED},
    **{f"evaluate@{method}": ("evaluate", None) for method in TRAINED},
    "analyze": ("analyze", None),
    **{f"reuse@{model}": ("reuse", "replay") for model in MODELS},
    "report": ("report", None),
}
EVERY_STAGE = TRACKED.keys()
RESULTS = (
    *(f"data/fingerprint/{name}.json" for name in ("source", "train")),
    *(f"data/fingerprint/reuse/{name}.json" for name in MODELS),
    "data/prepared/meta.json",
    *(f"artifacts/{stage}/{name}/x" for stage in ("train", "evaluate") for name in TRAINED),
    *(f"artifacts/reuse/{name}/x" for name in MODELS),
    "artifacts/analyze/curves.csv",
    "artifacts/report/summary.json",
)


def named(stage: str, method: str | None) -> Iterator[str]:
    """The modules that dvc.yaml names for a stage, folders opened and links followed."""
    for text in STAGES[stage].get("do", STAGES[stage])["deps"]:
        path = ROOT / text.replace("${item}", str(method)).replace("${item.method}", str(method))
        if text.startswith(LINKS) and path.is_dir():
            yield from (link.resolve().relative_to(ROOT).as_posix() for link in path.iterdir())
        elif is_code(text, ROOT) and path.is_dir():
            yield from (one.relative_to(ROOT).as_posix() for one in path.rglob("*.py"))
        elif is_code(text, ROOT):
            yield text


@pytest.mark.parametrize(
    ("stage", "method"),
    [
        *TRAINS_WITH.items(),
        *((stage, method) for stage in ("train", "repeat") for method in METHODS),
    ],
)
def test_what_is_named_is_what_is_run(stage, method) -> None:
    found = {path for path in named(stage, method) if not is_empty(path)}
    assert found == SOURCES.run_by(stage, method), AGAIN


def is_empty(path: str) -> bool:
    """Whether a module is there and does nothing."""
    return (ROOT / path).exists() and SOURCES.module(path).is_empty


def test_every_stage_is_known() -> None:
    assert STAGES.keys() == {*TRAINS_WITH, "train", "repeat", *ALWAYS}


def test_files_that_are_no_code_are_named_where_a_stage_reads_them() -> None:
    """But for what DVC draws with, the presets and the page of difficulty, which no stage reads."""
    files = {path.relative_to(ROOT) for one in OURS for path in (ROOT / one).rglob("*.*")}
    left = {path for path in files if path.suffix not in (".py", ".pyc", ".typed")}
    left -= {path for path in left if path.parent == Path("crest/presets")}
    left -= {
        Path("crest/pipeline/templates", f"{page}.html.j2") for page in ("difficulty", "plain")
    }
    drawn = {
        Path(plot["template"]) for one in PLOTS if isinstance(one, dict) for plot in one.values()
    }
    read = {Path(text) for stage in STAGES.values() for text in stage.get("deps", [])}
    assert left - drawn == left & read


def test_what_is_named_is_there() -> None:
    """But for what the stages themselves make."""
    made = ("data/", "artifacts/", "$", LINKS)
    for stage in STAGES.values():
        for path in stage.get("do", stage).get("deps", []):
            assert path.startswith(made) or (ROOT / path).exists(), path


def test_prepare_runs_again_for_every_key_but_the_number_of_threads() -> None:
    """As what it makes does not depend on it."""
    keys = {f"prepare.{key}" for key in PARAMETERS["prepare"]}
    assert set(STAGES["prepare"]["params"]) == keys - {"prepare.workers"}


def command(folder: Path, *arguments: str) -> str:
    """Run a program; returns what it says on stdout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=kept | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The repository as a clone has it, with all methods and results that are up to date."""
    folder = tmp_path_factory.mktemp("clone")
    for name in command(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z").split("\0"):
        if name.startswith((*OURS, LINKS, ".dvc", "artifacts", *FILES)) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    command(folder, "git", "init", "--quiet")
    parameters = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    parameters["run"]["methods"] = [*TRAINED]
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters), encoding="utf-8")
    for name in RESULTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}", encoding="utf-8")
    command(folder, "dvc", "commit", "--force", "--quiet")
    return folder


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """Change a file for a while."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "old", "new", "stale"),
    [
        (
            "crest/samplers/sizes.py",
            "return share_or_count\n",
            "return 2 * share_or_count\n",
            {"train@crest", "train@glister", "analyze", "report"},
        ),
        (
            "crest/parameters/types.py",
            "SMALLEST, GREATEST = 1e-30, 1e30\n",
            "SMALLEST, GREATEST = 1e-20, 1e30\n",
            EVERY_STAGE,
        ),
        (
            "crest/devices/distributed.py",
            'torch.float64 if device.type == "cpu"',
            'torch.float32 if device.type == "cpu"',
            EVERY_STAGE - {"prepare", "report"},
        ),
        ("crest/selection/glister.py", "\n\n", "\n\n# A comment.\n", {"train@glister"}),
        ("crest/errors.py", "\n\n", "\n\n# A comment.\n", set()),
    ],
)
def test_dvc_status_lists_what_rests_on_an_edit(copy, path, old, new, stale) -> None:
    with edited(copy / path, old, new):
        assert set(json.loads(command(copy, "dvc", "status", "--json"))) == ALWAYS | stale


def test_an_edit_of_any_module_makes_stale_those_stages_that_run_it(copy) -> None:
    sources = Sources(copy)
    run = {name: sources.run_by(*case) for name, case in TRACKED.items()}
    every = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*.py"))
    # A package that is named whole brings along what does nothing.
    every = [path for path in every if not sources.module(path).is_empty]
    with chdir(copy), Repo() as repo, repo.lock:
        stages = {stage.addressing: stage for stage in repo.index.stages}
        assert stages.keys() == run.keys() | ALWAYS
        assert stale(stages) == set()
        for path in random.Random(0).sample(every, 20):
            with edited(copy / path, "", "# A comment.\n"):
                assert stale(stages) == {name for name, paths in run.items() if path in paths}, path


def stale(stages: Mapping[str, PipelineStage]) -> set[str]:
    """The stages of which DVC finds files that have changed."""
    return {
        name
        for name, stage in stages.items()
        for one in stage.deps
        if not isinstance(one, ParamsDependency) and one.workspace_status()
    }


def test_what_is_written_is_what_is_there(copy) -> None:
    before = {path: content(path) for path in written(copy)}
    write(copy)
    assert {path: content(path) for path in written(copy)} == before, AGAIN


def written(folder: Path) -> list[Path]:
    return [folder / "dvc.yaml", *(folder / LINKS).rglob("*")]


def content(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_text(encoding="utf-8") if path.is_file() else "a folder"
