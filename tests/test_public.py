"""What the package exports, and that its examples run as they are written."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import crest

ROOT = Path(__file__).resolve().parents[1]


def names() -> dict[str, object]:
    """What the examples take for given: a model of the bundled digits and its optimiser."""
    digits = load_digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return {
        "F": F,
        "model": model,
        "images": torch.tensor(digits.images, dtype=torch.float32) / 16,
        "labels": torch.tensor(digits.target),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "folder": "coresets",
    }


def accuracy(given: dict) -> float:
    with torch.no_grad():
        found = given["model"](given["images"]).argmax(1)
    return float((found == given["labels"]).double().mean())


def test_the_example_of_the_package_runs_and_learns(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = names()
    example = doctest.DocTestParser().get_doctest(crest.__doc__, given, "crest", None, None)
    results = doctest.DocTestRunner().run(example, clear_globs=False)
    assert results.failed == 0
    assert results.attempted > 4
    assert accuracy(given) > 0.8
    assert crest.read_coresets("coresets", given["labels"]).steps == 200


def test_the_lines_of_the_readme_run_and_learn() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    given = names()
    given["images"] = given["images"][:, None]  # type: ignore[index]
    exec(lines.replace("steps=2000", "steps=100"), given)
    assert accuracy(given) > 0.7


def test_the_lines_of_the_page_on_coresets_run_and_learn(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "coresets.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    size = "steps=2000, batch_size=128"  # 1% of the digits is less than 128 examples
    assert size in lines
    given = names()
    exec(lines.replace(size, "steps=100, batch_size=14"), given)
    assert accuracy(given) > 0.7
    (call,) = re.findall(r"`(read_coresets\(.*?)`", section)
    minibatches = eval(call, {"read_coresets": crest.read_coresets})
    assert len(list(minibatches)) == 1000


def test_everything_exported_is_there_and_documented() -> None:
    for name in crest.__all__:
        value = getattr(crest, name)
        assert value.__doc__, name
        assert value.__name__ == name
        assert name in dir(crest)
        assert getattr(importlib.import_module(value.__module__), name) is value
    with pytest.raises(AttributeError, match="'crest' has no attribute 'coreset'"):
        crest.coreset  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, crest, crest.parameters.sections; "
        "print({'torch', 'polars', 'numpy'} & sys.modules.keys())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "set()\n"


def test_a_name_of_before_goes_on_working_and_says_what_it_is_called_now() -> None:
    with pytest.warns(FutureWarning, match=r"crest\.focused is called crest\.economical now"):
        found = crest.focused  # type: ignore[attr-defined]
    assert found is crest.economical
