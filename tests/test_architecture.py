"""The house is as docs/architecture.md shows it."""

import importlib.util
from pathlib import Path

import yaml
from typer.main import get_command

import cli

ROOT = Path(__file__).resolve().parents[1]
MOST_LOOSE = 7  # modules in the root of crest/
MOST_LETTERS = 62  # of what a layer is, so that it fits into its band


def drawing():
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs/architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_that_of_the_layers() -> None:
    kept = (ROOT / "docs/architecture.svg").read_text(encoding="utf-8")
    assert kept == drawing().picture(), "python docs/architecture.py > docs/architecture.svg"


def test_every_layer_says_in_a_line_what_it_is() -> None:
    purposes = {layer: drawing().purpose(layer) for layer in drawing().layers()}
    assert {k: v for k, v in purposes.items() if not 10 < len(v) <= MOST_LETTERS} == {}


def test_every_package_and_module_is_in_a_layer() -> None:
    inside = {
        f"crest.{path.stem}"
        for path in (ROOT / "crest").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert inside - {"crest.__init__"} == set(drawing().layers()) - {"stages"}


def test_few_modules_are_loose() -> None:
    assert len(list((ROOT / "crest").glob("*.py"))) <= MOST_LOOSE


def test_stages_hold_stages_and_commands_alone() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert modules == set(get_command(cli.app).commands)
    assert set(stages) <= modules
