"""The cards of docs/methods/ are what `python docs/method_cards.py` writes, of the kept rows."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from crest.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "methods"
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
MOST_BYTES = 60_000  # of a picture


@pytest.fixture(scope="module")
def cards():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        yield importlib.import_module("method_cards")
        for name in ("method_cards", "cards", "rules"):
            sys.modules.pop(name, None)


def test_cards_are_what_the_rows_give(cards) -> None:
    kept = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert kept == cards.pages(), "python docs/method_cards.py"


def test_every_method_has_a_card_that_the_page_links_to(cards) -> None:
    linked = set(re.findall(r"\n\| [^|]*\]\((?:methods|rules)/([a-z_]+)\.md\)", PAGE))
    linked |= set(re.findall(r"\]\(methods/([a-z_]+)\.md\)", PAGE))
    names = {"selective_backprop_fresh" if m == "selective_backprop" else m for m in METHODS}
    assert names - {"by_rule"} <= linked
    assert cards.PROSE.keys() <= names


def test_pictures_are_there_where_a_run_has_a_random_and_are_small(cards) -> None:
    wanted = {name for name in cards.PROSE if cards.compared(cards.runs_of(name))}
    sizes = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert sizes.keys() == wanted > {"crest", "greedy"}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}


def test_what_a_run_gains_is_what_its_table_prints(cards) -> None:
    gains = {title: (mean, error) for title, mean, error in cards.compared(cards.runs_of("greedy"))}
    mean, error = gains["greedy, methods-cifar10"]
    assert f"{mean:+.2f} ± {error:.2f}" == "+1.36 ± 0.63"
    assert gains["greedy 5% (one seed), cifar10-resnet20"][1] is None
