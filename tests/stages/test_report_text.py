"""report on made-up runs of text."""

import re
from dataclasses import replace

import polars as pl
import pytest

from crest.data.files import read_meta, write_meta
from crest.data.verifying import file_hash
from crest.errors import ArtifactError
from stages import analyze, report
from tests.stages import synthetic_artifacts as made_up
from tests.stages.synthetic_reports import Page, parameters

HOSTILE = {
    19: "<script>alert(1)</script>&\"'",
    39: "</dd></article><img src=x onerror=alert(1)> {{ 7 * 7 }} {% raw %} &lt; <!-- ]]>",
    34: "\u202eright to left\u202c\u0000\u0007\x1b[31m\r\nnext line \U0001f469\u200d\U0001f52c",
    6: "",
    13: "x" * 1000,
    20: "y" * 400,
}


def text_project(root, **columns):
    """A report of text; its training examples are those of ``columns``."""
    paths = made_up.write_project(root)
    made_up.turn_into_text(paths.prepared, **columns)
    analyze.run(parameters(), paths)
    return paths


def sentences(name, other=None):
    texts = made_up.sentences(name)
    for index, text in (other or {}).items():
        texts[index] = text
    return texts


def read_page(paths):
    report.run(parameters(), paths)
    return Page((paths.report / "report.html").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("undrawn_analysis")
def test_text_is_shown_as_labelled_lines(tmp_path):
    columns = {"premise": sentences("premise"), "a <b>claim</b>": sentences("claim")}
    page = read_page(text_project(tmp_path, **columns))
    assert "img" not in {tag for tag, _ in page.elements}
    assert page.lists["dt"][:2] == ["premise", "a <b>claim</b>"]
    assert page.lists["dd"][:4] == [
        "premise of example 34", "claim of example 34", "premise of example 27",
        "claim of example 27",
    ]  # fmt: skip
    text = " ".join(page.text.split())
    for title in (
        "Hardest",
        "Likely mislabelled",
        "Most selected",
        "Never selected",
        "Excluded early",
    ):
        assert title in text
    said = "taken for zero, never right, right 0 of 6, loss 36.50, EL2N 0.47, selected 1× premise"
    assert f"three #19 {said}" in text
    assert "The number is the example's row in the prepared training set." in text


@pytest.mark.usefixtures("undrawn_analysis")
def test_text_stays_text_whatever_it_holds(tmp_path):
    plain = read_page(text_project(tmp_path / "plain", text=sentences("text")))
    page = read_page(text_project(tmp_path / "hostile", text=sentences("text", HOSTILE)))
    kinds = [tag for tag, _ in page.elements if tag != "span"]
    assert kinds == [tag for tag, _ in plain.elements if tag != "span"]
    assert HOSTILE[19] in page.lists["dd"]
    assert HOSTILE[39] in page.lists["dd"]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    html = (tmp_path / "hostile/artifacts/report/report.html").read_text(encoding="utf-8")
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", html)
    assert "\ufffd\ufffd\ufffd[31m" in html
    assert "\U0001f469\u200d\U0001f52c" in html
    definitions = [attributes for tag, attributes in page.elements if tag == "dd"]
    assert definitions
    assert all(attributes == {"dir": "auto"} for attributes in definitions)


@pytest.mark.usefixtures("undrawn_analysis")
def test_long_texts_are_cut_and_empty_ones_said(tmp_path):
    page = read_page(text_project(tmp_path, text=sentences("text", HOSTILE)))
    assert "x" * 400 + "… (1,000 characters in all)" in page.lists["dd"]
    assert "x" * 401 not in page.text
    assert "y" * 400 in page.lists["dd"]
    assert "empty" in page.lists["dd"]


@pytest.mark.usefixtures("undrawn_analysis")
def test_a_page_of_long_texts_stays_small(tmp_path):
    paths = text_project(tmp_path, text=["&" * 100_000] * made_up.EXAMPLES)
    report.run(parameters(), paths)
    assert (paths.report / "report.html").stat().st_size < 500_000


@pytest.mark.usefixtures("undrawn_analysis")
@pytest.mark.parametrize("columns", [["row"], ["index", "label"]])
def test_text_columns_may_be_called_anything(tmp_path, columns):
    page = read_page(text_project(tmp_path, **{name: sentences(name) for name in columns}))
    assert page.lists["dt"][: len(columns)] == columns
    assert page.lists["dd"][0] == f"{columns[0]} of example 34"


def damage_texts(path, how):
    if how == "absent":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "with another bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    elif how == "of other data":
        pl.DataFrame({"text": ["one"]}).write_parquet(path)
    elif how == "without its column":
        pl.DataFrame({"texts": sentences("text")}).write_parquet(path)
    elif how == "of another type":
        pl.DataFrame({"text": range(made_up.EXAMPLES)}).write_parquet(path)
    else:
        pl.DataFrame({"text": [None, *sentences("text")[1:]]}).write_parquet(path)


@pytest.mark.usefixtures("undrawn_analysis")
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("absent", "no such file"),
        ("cut off", "damaged"),
        ("with another bit", "other than when it was written"),
        ("of other data", r"1 rows, meta\.json says 40"),
        ("without its column", "column 'text' is missing"),
        ("of another type", "column 'text' is Int64, it must be String"),
        ("with a null", "row 0 lacks a text"),
    ],
)
def test_damaged_texts_are_one_message_and_leave_the_earlier_report(tmp_path, how, message):
    paths = text_project(tmp_path, text=sentences("text"))
    report.run(parameters(), paths)
    before = (paths.report / "report.html").read_bytes()
    path = paths.prepared / "train_texts.parquet"
    damage_texts(path, how)
    if how.startswith(("of", "without", "with a null")):  # and described as what it is now
        meta = read_meta(paths.prepared)
        hashes = {"train": file_hash(path), "test": meta.text_hashes["test"]}
        write_meta(paths.prepared, replace(meta, text_hashes=hashes))
    with pytest.raises(ArtifactError, match=rf"train_texts.*{message}.*cli\.py prepare"):
        report.run(parameters(), paths)
    assert (paths.report / "report.html").read_bytes() == before
