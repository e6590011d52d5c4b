"""The code that dvc.yaml names for each stage: what the stage runs, neither less nor more.

    python -m crest.pipeline.dependencies

writes it there, in place of what is named. A foreach of DVC has one list for all methods: it names
what every method's training runs, and a folder of links, ``deps/train/METHOD``, to what is run for
that method besides. DVC looks through links to files, though not through links to folders.
"""

import shutil
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crest.methods import METHODS
from crest.pipeline.code import COMMANDS, OURS, ROOT, Sources

COMMAND = "python -m crest.pipeline.dependencies"
LINKS = "deps/train"
# What a stage trains with, if not what its name says.
TRAINS_WITH = {
    "prepare": None,
    "embed": None,
    "evaluate": None,
    "analyze": None,
    "reuse": "replay",
    "report": None,
}


@dataclass(frozen=True)
class Dependencies:
    """``named``: of each stage, what dvc.yaml names. ``linked``: of each method, link to file."""

    named: Mapping[str, tuple[str, ...]]
    linked: Mapping[str, Mapping[str, str]]


def dependencies(sources: Sources) -> Dependencies:
    """Return what the sources call for."""
    run = {stage: sources.run_by(stage, method) for stage, method in TRAINS_WITH.items()}
    training = {method: sources.run_by("train", method) for method in METHODS}
    run["train"] = frozenset.intersection(*training.values())
    repeating = [sources.run_by("repeat", method) for method in METHODS]
    run["repeat"] = frozenset.intersection(*repeating)
    linked = {
        method: {_module_name(path): path for path in sorted(paths - run["train"])}
        for method, paths in training.items()
    }
    return Dependencies({stage: folded(paths, sources) for stage, paths in run.items()}, linked)


def folded(paths: Set[str], sources: Sources) -> tuple[str, ...]:
    """Return files in order, a package in place of its own where all of them are among these."""
    packages = {parent for path in paths for parent in PurePosixPath(path).parents}
    whole = {
        package
        for package in packages - {PurePosixPath(), *map(PurePosixPath, OURS)}
        if sources.code_in(package) <= paths
    }
    return tuple(sorted({_outermost(PurePosixPath(path), whole).as_posix() for path in paths}))


def _outermost(path: PurePosixPath, whole: Set[PurePosixPath]) -> PurePosixPath:
    """Return the outermost of some packages that holds a file, or the file itself."""
    return next((parent for parent in reversed(path.parents) if parent in whole), path)


def _module_name(path: str) -> str:
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def write(root: Path = ROOT) -> None:
    """Write the dependencies of a repository into its dvc.yaml and its folder of links."""
    needed = dependencies(Sources(root))
    pipeline = root / "dvc.yaml"
    pipeline.write_text(
        with_code(pipeline.read_text(encoding="utf-8"), root, needed.named), "utf-8"
    )
    shutil.rmtree(root / LINKS, ignore_errors=True)
    for method, links in needed.linked.items():
        folder = root / LINKS / method
        folder.mkdir(parents=True)
        up = "../" * len(folder.relative_to(root).parts)
        for name, path in links.items():
            (folder / name).symlink_to(up + path)


def with_code(pipeline: str, root: Path, named: Mapping[str, Iterable[str]]) -> str:
    """Return a dvc.yaml whose stages name other code, and all else as before."""
    lines: list[str] = []
    stage, listing = "", False
    for line in pipeline.splitlines():
        text = line.strip()
        if line.startswith("  ") and line[2] not in " #-":
            stage = text.removesuffix(":")
        if listing and is_code(text.removeprefix("- "), root):
            continue
        lines.append(line)
        listing = text == "deps:" or (listing and text.startswith("- "))
        if text == "deps:":
            indent = " " * (line.index("deps:") + 2)
            lines += [f"{indent}- {path}" for path in named[stage]]
    return "\n".join(lines) + "\n"


def is_code(dependency: str, root: Path) -> bool:
    """Whether a dependency is the command line, a module or a package of ours."""
    path = root / dependency
    if PurePosixPath(dependency).parts[0] not in OURS:
        return dependency == COMMANDS
    return path.suffix == ".py" or not path.exists() or any(path.rglob("*.py"))


if __name__ == "__main__":
    write()
