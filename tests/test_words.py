"""Identifiers are made of the field's words; those of a private dialect do not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for place in ("crest", "stages", "benchmarks", "cli.py")
    for path in ((ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else [ROOT / place])
)
# What each is called now, for whoever meets this test.
RETIRED = {
    "look": "forward, score, scan",
    "looks": "forward passes, outputs",
    "looked": "scored, listed",
    "shown": "outputs, scored, printed, drawn",
    "unshown": "unprintable",
    "said": "output, message",
    "told": "warn, advance, message",
    "telling": "explaining",
    "deal": "draw, disjoint_samples",
    "deals": "draws",
    "dealt": "drawn",
    "dealer": "passes",
    "hand": "batch",
    "hands": "batches",
    "handed": "returned, passed",
    "alike": "uniform, same",
    "sightings": "times_seen",
    "moment": "snapshot, step",
    "moments": "snapshots, steps",
    "portrait": "profile",
    "insisting": "raise_on_second",
}
# Moments of a distribution, which are the field's own.
ALLOWED = {"ErrorMoments", "moments"}


def words(identifier: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", identifier)]


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that code defines or uses, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias):
            yield node.name, node.lineno


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("_look_at", ["look", "at"]),
        ("LookAt", ["look", "at"]),
        ("SHOWN_AFTER", ["shown", "after"]),
        ("handler", ["handler"]),
        ("from_moments", ["from", "moments"]),
    ],
)
def test_names_are_split_into_words(identifier: str, expected: list[str]) -> None:
    assert words(identifier) == expected


def test_every_kind_of_identifier_is_found() -> None:
    code = "import a.b as c\nclass D(e.f):\n def g(self, h, *i): return j(k=l)\n"
    found = {name for name, _ in identifiers(ast.parse(code))}
    assert found == {"a.b", "D", "e", "f", "g", "self", "h", "i", "j", "k", "l"}


@pytest.mark.parametrize("file", FILES)
def test_no_retired_word_is_in_an_identifier(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = {
        f"{file}:{line}: {name}: '{word}' is now {RETIRED[word]}"
        for name, line in identifiers(tree)
        if name not in ALLOWED
        for word in words(name)
        if word in RETIRED
    }
    assert sorted(found) == []
