"""One style for all pictures: a blank figure, and how it becomes PNG bytes or inline SVG."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from itertools import cycle
from typing import Any, Literal

import matplotlib
import polars as pl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from crest.figures.visible import visible

SMALL = (3.3, 2.55)  # inches
INK = "#23262d"
GRID = "#dfe2e7"
PAPER = "#ffffff"
SERIES = ("#0b64b4", "#c4480f", "#16803f", "#7a3fc0", "#8a6d00", "#b3256f")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[tuple[int, tuple[int, ...]], ...] = (
    (0, ()),
    (0, (5, 2)),
    (0, (1, 1)),
    (0, (5, 2, 1, 2)),
    (0, (3, 1)),
    (0, (8, 2)),
)

# In SVG each colour becomes a CSS variable, so that a page can give it another value in the dark.
CSS_COLOURS: Mapping[str, str] = {
    INK: "--ink",
    GRID: "--grid",
    PAPER: "--paper",
    **{colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)},
}


def styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each method, so that no line is known by its colour alone."""
    combinations = cycle(zip(SERIES, MARKERS, DASHES, strict=True))
    return {
        method: {"color": colour, "marker": marker, "linestyle": dashes}
        for method, (colour, marker, dashes) in zip(methods, combinations, strict=False)
    }


def styles_of(methods: pl.Series, order: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the style of each method of a table, the same in all pictures of one ``order``."""
    there = methods.unique(maintain_order=True).to_list()
    known = styles([*dict.fromkeys([*order, *there])])
    return {method: known[method] for method in there}


def blank(
    title: str, x_label: str, y_label: str, size: tuple[float, float] = SMALL
) -> tuple[Figure, Axes]:
    """Return a figure with one empty pair of axes, small enough for four in a row of a page."""
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    figure.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_xlabel(x_label, color=INK, fontsize=9)
    axes.set_ylabel(y_label, color=INK, fontsize=9)
    axes.tick_params(which="both", color=GRID, labelcolor=INK, labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(GRID)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def from_zero(axes: Axes, room: float = 0.06) -> None:
    """Begin the vertical axis at 0, with room above the highest point for its mark."""
    axes.set_ylim(bottom=0)  # which keeps the upper end that autoscaling chose, often at the mark
    highest = max(axes.dataLim.y1, 0.0)
    if highest > 0:
        axes.set_ylim(top=highest * (1 + room))


def legend(axes: Axes, columns: int | None = None) -> None:
    """Add a legend between title and axes, where it hides nothing; None: as wide as there is room.

    Constrained layout makes the axes narrower for a legend that is wider than they are.
    """
    if columns is None:
        longest = max(map(len, axes.get_legend_handles_labels()[1]), default=0)
        whole = axes.get_figure(root=True)
        room = (SMALL[0] if whole is None else whole.get_figwidth()) * 72 - 40
        columns = max(1, int(room // (28 + 4.8 * longest)))
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        ncols=columns,
        frameon=False,
        labelcolor=INK,
        fontsize=8.5,
        columnspacing=1.0,
        handlelength=1.8,
        handletextpad=0.5,
    )


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make one axis logarithmic, its numbers written out."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def plain(text: str) -> str:
    """Keep text that came from data from being read as a formula, or from breaking the picture."""
    return visible(text).replace("$", r"\$")


def png(figure: Figure, dots_per_inch: int = 200) -> bytes:
    """Draw a figure on white."""
    buffer = BytesIO()
    with _drawing():
        figure.savefig(
            buffer,
            format="png",
            dpi=dots_per_inch,
            facecolor=PAPER,
            metadata={"Software": None},
        )
    return buffer.getvalue()


def svg(figure: Figure, alt: str, name: str) -> Markup:
    """Draw a figure as an ``<svg>`` element to put into an HTML page.

    Parameters
    ----------
    alt
        What the picture shows, for those who cannot see it.
    name
        Sets the element's internal identifiers apart from those of other pictures on the page.

    Returns
    -------
    Markup
        Refers to nothing outside itself, has text as text, no size of its own, and colours as CSS
        variables (:data:`CSS_COLOURS`) that fall back to the light ones.
    """
    buffer = StringIO()
    with _drawing(name):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text).replace("xlink:href", "href")
    text = _with_css_colours(text)
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None
    head = f'<svg {view.group()} role="img" aria-label="{escape(visible(alt))}">'
    return Markup(head + text[text.index(">") + 1 :])


def _with_css_colours(text: str) -> str:
    for colour, variable in CSS_COLOURS.items():
        text = re.sub(rf"(: ?){colour}\b", rf"\g<1>var({variable}, {colour})", text)
    return text


@contextmanager
def _drawing(salt: str = "crest") -> Iterator[None]:
    """Draw the same bytes each time; a letter the font lacks is no reason for a warning."""
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
