"""Commands of benchmarks: those that are named are there, and those that are there are listed."""

import re
from pathlib import Path

import pytest

from benchmarks import ROOT

PROGRAMS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (ROOT / "benchmarks").rglob("*.py")
    if "\ndef main(" in path.read_text(encoding="utf-8") and path.parent.name != "shared"
}
TEXTS = [
    ROOT / "Makefile",
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "findings").glob("*"),
    *(
        path
        for folder in ("benchmarks", "crest", "stages", "tests", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".sh", ".yaml")
    ),
]
README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_every_command_that_is_named_runs_a_module() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in TEXTS
        for name in re.findall(r"-m\s+(benchmarks\.[a-z_0-9.]*[a-z_0-9])", path.read_text("utf-8"))
    }
    assert len({name for _, name in found}) > 20
    assert [(path, name) for path, name in sorted(found) if not is_program(name)] == []


def is_program(name: str) -> bool:
    return name in PROGRAMS or (ROOT / Path(*name.split(".")) / "__main__.py").is_file()


def test_every_file_of_benchmarks_that_is_named_is_there() -> None:
    named = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in TEXTS
        for name in re.findall(r"(?<![\w/])benchmarks/[\w/-]+\.\w+", path.read_text("utf-8"))
    }
    assert named
    assert [(path, name) for path, name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_benchmark_says_how_it_is_run_and_is_listed(name: str) -> None:
    command = name.removesuffix(".commands")
    text = PROGRAMS[name].read_text(encoding="utf-8")
    assert f"python -m {command} " in text.split('"""')[1]
    assert re.search(rf"`{re.escape(command)}[` ]", README)


def test_the_list_has_nothing_else() -> None:
    listed = re.findall(r"^\| [^|]+ \| `(benchmarks[^` ]*)", README, re.MULTILINE)
    assert {name for name in listed if not is_program(name)} == set()
