"""dvc.yaml names, for each stage, all of our own code that the stage imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# Looked at before every run, whatever has changed.
# What people are told and when a stage stops or refuses, but not what it makes.
INDIFFERENT = {
    "crest/__init__.py",
    "crest/errors.py",
    "stages/__init__.py",
}
OURS = ("crest", "stages")
ALWAYS = {name for name, stage in STAGES.items() if stage.get("always_changed")}


def module_path(name: str) -> Path | None:
    """The file of one of our modules, by its full name."""
    base = ROOT / Path(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run, those for type checkers alone left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from nodes(node)


@cache
def imported(path: Path) -> frozenset[Path]:
    """Our modules that a file imports itself, also within functions.

    A package counts where a name is taken from it: what else it lists is not what a stage runs.
    """
    names: set[str] = set()
    for node in nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = {module_path(name) for name in names if name.split(".")[0] in OURS}
    return frozenset(path for path in found if path is not None)


def closure(start: Path) -> set[Path]:
    """All of our modules that are loaded with a file."""
    reached, waiting = {start}, [start]
    while waiting:
        for path in imported(waiting.pop()) - reached:
            reached.add(path)
            waiting.append(path)
    return reached


def dependencies(stage: dict) -> list[Path]:
    return [ROOT / path for path in stage.get("do", stage)["deps"] if "$" not in path]


def is_named(path: Path, named: list[Path]) -> bool:
    return any(path == one or one in path.parents for one in named)


@pytest.mark.parametrize("name", sorted(STAGES.keys() - ALWAYS))
def test_everything_that_a_stage_imports_is_named(name) -> None:
    named = dependencies(STAGES[name])
    reached = closure(ROOT / "stages" / f"{name}.py")
    missing = {path.relative_to(ROOT).as_posix() for path in reached if not is_named(path, named)}
    assert missing - INDIFFERENT == set()


def test_what_is_named_is_there() -> None:
    """But for what the stages themselves make."""
    made = ("data/", "artifacts/")
    for stage in STAGES.values():
        for path in stage.get("do", stage).get("deps", []):
            assert path.startswith((*made, "$")) or (ROOT / path).exists(), path
