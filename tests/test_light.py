"""A light library: what an installation of crest alone brings is all that it needs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

from crest.errors import MissingPackageError, needs_extra
from crest.pipeline.paths import Paths

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, PACKAGES = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
GATED = ROOT / "crest" / "figures"  # its __init__ imports all of it as what needs an extra

# Finds nothing of what is refused, as if it were not installed.
REFUSING = """
import sys

class Refusing:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name in REFUSED else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Refusing, sys.meta_path)
"""
# All of the public library, on 400 examples of two features in two classes.
EVERYTHING = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import crest
from crest.methods import METHODS

inputs = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
labels = (inputs[:, 0] > 0).long()

def model():
    layers = nn.Sequential(nn.Linear(2, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    return crest.checkpoint_activations(nn.Sequential(nn.Sequential(*layers), nn.Linear(4, 2)))

def trained(method, **options):
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    def coresets():
        return crest.Coresets(
            network, lambda rows: inputs[rows], labels, steps=6, batch_size=4, method=method,
            **options,
        )
    chosen = coresets()
    while chosen.steps_taken < 6:
        indices, weights = next(iter(chosen))
        logits = network(inputs[indices])
        losses = F.cross_entropy(logits, labels[indices], reduction="none")
        optimizer.zero_grad()
        (losses * weights).mean().backward()
        optimizer.step()
        chosen.step(logits)
        if chosen.steps_taken == 3:
            state, chosen = chosen.state_dict(), coresets()
            chosen.load_state_dict(state)
    return chosen

saved = None
for method in METHODS.keys() - {"replay"}:
    chosen = trained(method)
    if "coresets" in chosen.tables():
        chosen.save(method)
        saved = crest.read_coresets(method, labels)
trained("crest", **crest.economical(4))
trained("replay", saved=saved)
assert len(list(saved.minibatches(steps=5))) == 5
loader = DataLoader(
    crest.Weighted(TensorDataset(inputs, labels)), batch_sampler=crest.CoresetBatchSampler(saved)
)
assert sum(weights.numel() for _, _, weights in loader) == 6 * 4
for name in crest.__all__:
    assert getattr(crest, name) is not None
"""


TEXT = ("-S", "prepare.dataset=text", "-S", "prepare.source=words")
CLI = f"import runpy; runpy.run_path({str(ROOT / 'cli.py')!r}, run_name='__main__')"


def names_of(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


LIGHT = names_of(PROJECT["dependencies"])


@cache
def installed() -> dict[str, set[str]]:
    """Of each name that is installed, the distributions that bring it."""
    return {
        module: {canonicalize_name(name) for name in found}
        for module, found in packages_distributions().items()
    }


def distributions_of(module: str) -> set[str]:
    return installed().get(module, {canonicalize_name(module)})


def closure(requirements: list[str]) -> set[str]:
    """The distributions that an installation of these brings, of those that are installed."""
    reached: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        wanted = one.marker is None or one.marker.evaluate({"extra": ""})
        name = canonicalize_name(one.name)
        if not wanted or name in reached:
            continue
        try:
            waiting += [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue  # of another platform
        reached.add(name)
    return reached


def run_without(
    refused: set[str], code: str, folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, in which some packages are not installed."""
    return subprocess.run(
        [sys.executable, "-c", f"REFUSED = {refused!r}\n{REFUSING}\n{code}", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_the_whole_library_runs_with_its_own_dependencies_alone(tmp_path: Path) -> None:
    light = closure(PROJECT["dependencies"])
    refused = {module for module, found in installed().items() if not found & light}
    refused = refused - {"crest"} | {"stages", "benchmarks"}
    assert refused > {"PIL", "transformers", "ruamel", "yaml", "rich", "typer", "matplotlib"}
    done = run_without(refused, EVERYTHING, tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_installation_brings_crest_whole_and_no_other_name() -> None:
    packages = find_packages(str(ROOT), **PACKAGES["packages"]["find"])
    assert {name.partition(".")[0] for name in packages} == {"crest"}
    modules = [*(ROOT / "crest").rglob("*.py")]
    assert {".".join(path.parent.relative_to(ROOT).parts) for path in modules} == set(packages)
    others = {path for path in (ROOT / "crest").rglob("*") if path.is_file()} - set(modules)
    others = {path for path in others if path.suffix != ".pyc"}
    brought = {
        path for glob in PACKAGES["package-data"]["crest"] for path in ROOT.glob(f"crest/{glob}")
    }
    assert others
    assert others <= brought


def test_there_are_six_dependencies_at_most_and_each_is_imported() -> None:
    used = {top for path in sources() for top, _ in third_party(path)}
    assert len(LIGHT) <= 6
    assert {name for top in used for name in distributions_of(top)} >= LIGHT


def test_what_the_library_can_do_without_is_imported_as_part_of_an_extra() -> None:
    strangers = {
        f"{path.relative_to(ROOT)}: {top}, under {extra or 'no extra'}"
        for path in sources()
        for top, extra in third_party(path)
        # What is not installed here goes by its own name.
        if not (distributions_of(top) or {top}) & (LIGHT | names_of(EXTRAS.get(extra or "", [])))
    }
    assert strangers == set()


def sources() -> Iterator[Path]:
    for folder in ("crest", "stages"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def third_party(path: Path) -> Iterator[tuple[str, str | None]]:
    """What a file imports that is no one's own: the module, and the extra that it stands under."""

    def within(node: ast.AST, extra: str | None) -> Iterator[tuple[str, str | None]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            for top in top_levels(child) - sys.stdlib_module_names - {"crest", "stages"}:
                yield top, extra
            yield from within(child, extra_of(child) or extra)

    return within(
        ast.parse(path.read_text(encoding="utf-8")), "pipeline" if GATED in path.parents else None
    )


def top_levels(node: ast.AST) -> set[str]:
    """What an import begins with."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module]
    return {name.partition(".")[0] for name in names}


def extra_of(node: ast.AST) -> str | None:
    """The extra that a block's imports need."""
    if not isinstance(node, ast.With):
        return None
    call = re.fullmatch(r"needs_extra\('(\w+)'\)", ast.unparse(node.items[0]))
    return call[1] if call else None


def test_the_groups_are_every_extra_once() -> None:
    groups = {name: Requirement(*EXTRAS[name]).extras for name in ("all", "trackers", "trainers")}
    members = [name for extras in groups.values() for name in extras]
    assert sorted(members) == sorted(EXTRAS.keys() - groups.keys())


def test_what_is_missing_is_said_in_a_line() -> None:
    with (
        pytest.raises(MissingPackageError, match=r'^not_there is .*"crest-coresets\[text\]"'),
        needs_extra("text"),
    ):
        import not_there  # noqa: F401


WORDS = "text,label\n" + "some words,1\nother words,0\n" * 20


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("typer", "pipeline", ["--help"]),
        ("ruamel", "pipeline", ["prepare"]),
        ("rich", "pipeline", ["prepare"]),
        ("matplotlib", "pipeline", ["analyze"]),
        ("jinja2", "pipeline", ["report"]),
        ("yaml", "pipeline", ["preset", "digits"]),
        ("PIL", "images", ["prepare"]),
        ("sklearn", "images", ["prepare"]),
        ("torchvision", "images", ["train", "--method", "random", "-S", "train.model=resnet18"]),
        ("transformers", "text", ["prepare", "-S", "prepare.tokenizer=.", *TEXT]),
        ("huggingface_hub", "text", ["prepare", "-S", "prepare.tokenizer=some/model", *TEXT]),
    ],
)
def test_the_command_line_says_which_extra_is_missing(
    package: str, extra: str, command: list[str], digits: Paths, tmp_path: Path
) -> None:
    (tmp_path / "words").mkdir()
    for split in ("train", "test"):
        (tmp_path / "words" / f"{split}.csv").write_text(WORDS)
    (tmp_path / "params.yaml").write_text("train: {device: cpu}")
    if command[0] not in ("prepare", "preset"):
        (tmp_path / "data").symlink_to(digits.root / "data")
    done = run_without({package}, CLI, tmp_path, *command)
    (line,) = done.stderr.splitlines()
    assert re.match(rf'error: {package}\S* is not installed; .*"crest-coresets\[{extra}\]"', line)
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("package", "brings", "example"),
    [
        ("sklearn", "scikit-learn", "plain_pytorch"),
        ("transformers", "transformers accelerate", "transformers_trainer"),
    ],
)
def test_an_example_says_what_it_needs_besides_crest(
    package: str, brings: str, example: str
) -> None:
    path = ROOT / "examples" / f"{example}.py"
    done = run_without({package}, f"import runpy; runpy.run_path({str(path)!r})", ROOT)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: .*: pip install {brings}\n", done.stderr)
    assert f"pip install {brings} " in path.read_text(encoding="utf-8")
