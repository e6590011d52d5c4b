"""Figures as files and as parts of a page; what they show is looked at by people."""

import xml.etree.ElementTree as ET
from io import BytesIO

import matplotlib
import numpy as np
import polars as pl
import pytest
from PIL import Image

from crest.analysis.runs import ANALYSIS_TABLES, Analysis
from crest.artifacts import TABLES
from crest.figures import gallery, png, svg, thumbnail
from crest.figures.gallery import varies
from crest.figures.selections import draw_class_balance, draw_score_by_window
from crest.figures.theme import CSS_COLOURS, blank, from_zero, legend, styles, styles_of


def balance(name):
    rows = [("crest", 0, 0, label, name, 0.5, 0.5, 0.5) for label in range(2)]
    return pl.DataFrame(rows, schema=dict(ANALYSIS_TABLES["class_balance"]), orient="row")


def line(x=(1, 2)):
    figure, axes = blank("A line", "x", "y")
    axes.plot(x, [1, 2], **styles(["crest"])["crest"])
    return figure


def test_svg_is_a_described_element_without_a_size_of_its_own():
    element = ET.fromstring(svg(line(), 'a "line" <up>', "line"))
    assert element.attrib["aria-label"] == 'a "line" <up>'
    assert element.attrib["role"] == "img"
    assert "width" not in element.attrib
    assert "viewBox" in element.attrib


def test_svg_takes_its_colours_from_the_page():
    text = svg(line(), "", "line")
    assert "var(--series-1, #0b64b4)" in text
    assert "var(--ink, #23262d)" in text
    for colour in CSS_COLOURS:
        assert text.count(colour) == text.count(f", {colour})")


def test_svg_is_the_same_every_time():
    assert svg(line(), "", "line") == svg(line(), "", "line")


def test_svg_identifiers_of_two_pictures_differ():
    def identifiers(name):
        return {
            element.attrib["id"]
            for element in ET.fromstring(svg(line(), "", name)).iter()
            if "id" in element.attrib
        }

    assert identifiers("one").isdisjoint(identifiers("two"))


@pytest.mark.parametrize("name", ["$x$", "$\\broken{$", "<script>", "数字", "_hidden", "a&b"])
def test_class_names_are_text_whatever_they_hold(name):
    figure = draw_class_balance(balance(name))
    text = svg(figure, "", "balance")
    assert "<script>" not in text
    assert png(figure).startswith(b"\x89PNG")


def test_png_is_on_white():
    image = Image.open(BytesIO(png(line(), dots_per_inch=50)))
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_drawing_leaves_no_setting_changed():
    before = dict(matplotlib.rcParams)
    svg(line(), "", "line")
    png(line())
    assert dict(matplotlib.rcParams) == before


def test_styles_differ_in_more_than_colour():
    all_styles = list(styles([f"method{number}" for number in range(6)]).values())
    assert len({style["color"] for style in all_styles}) == 6
    assert len({style["marker"] for style in all_styles}) == 6
    assert len(styles([str(number) for number in range(20)])) == 20


def test_a_mean_over_a_whole_run_has_no_marks():
    rows = [
        ("crest", 10, 1.0, "window"),
        ("crest", 20, 2.0, "window"),
        ("full", 0, 1.5, "training"),
        ("full", 20, 1.5, "training"),
    ]
    schema = dict(ANALYSIS_TABLES["score_by_window"])
    figure = draw_score_by_window(pl.DataFrame(rows, schema=schema, orient="row"))
    lines = {line.get_label(): line.get_marker() for line in figure.axes[0].get_lines()}
    assert lines == {"crest": "o", "full": ""}


def test_gallery_of_runs_without_selections_holds_the_curves():
    rows = [("random", "train", step, float(step), step, 1.0, 0.5) for step in (1, 2)]
    empty = {name: pl.DataFrame(schema=dict(kinds)) for name, kinds in ANALYSIS_TABLES.items()}
    curves = pl.DataFrame(rows, schema=dict(ANALYSIS_TABLES["curves"]), orient="row")
    difficulty = pl.DataFrame(schema=dict(TABLES["difficulty"]))
    analysis = Analysis(difficulty, **(empty | {"curves": curves}))
    pictures = gallery(analysis, threshold=0.05)
    assert [picture.part for picture in pictures] == ["curves"] * 4
    assert pictures[0].alt == "Train accuracy by step. At the end: random 50.0%."


@pytest.mark.parametrize("values", [[60.0, 60.0], [1.0, 0.25], [0.0, 0.0]])
def test_no_mark_is_cut_at_the_upper_edge(values):
    figure, axes = blank("A line", "x", "y")
    axes.plot([1, 2], values, marker="o")
    from_zero(axes)
    low, high = axes.get_ylim()
    assert low == 0
    assert high > max(values) * 1.05
    figure.draw_without_rendering()


def test_a_legend_is_as_wide_as_there_is_room():
    figure, axes = blank("Lines", "x", "y")
    for number in range(4):
        axes.plot([1, 2], [number, number], label=f"a method {number}")
    legend(axes)
    figure.draw_without_rendering()
    inside = axes.get_position()
    assert inside.width > 0.6  # not squeezed by what stands above it


def test_a_method_has_one_style_in_all_pictures():
    order = ["adaptive", "crest", "full"]
    assert styles_of(pl.Series(["full", "crest"]), order) == {
        name: styles(order)[name] for name in ("full", "crest")
    }


def test_what_never_changes_has_no_picture():
    rows = {"method": ["crest"] * 3, "rho": [None, 0.1, 0.1], "active": [40, 40, 37]}
    table = pl.DataFrame(rows, schema_overrides={"rho": pl.Float64})
    assert not varies(table, "rho")
    assert varies(table, "active")


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (2, "L")])
def test_thumbnail_keeps_pixels_and_shrinks_large_images(channels, mode):
    pixels = np.arange(8 * 6 * channels, dtype=np.uint8).reshape(8, 6, channels)
    image = Image.open(BytesIO(thumbnail(pixels)))
    assert (image.mode, image.size) == (mode, (6, 8))
    if channels != 2:
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    large = np.zeros((300, 200, channels), dtype=np.uint8)
    assert Image.open(BytesIO(thumbnail(large))).size == (64, 96)
