"""Draws docs/architecture.svg: the layers that the import linter holds, and what flows through.

    python docs/architecture.py > docs/architecture.svg

Layers and their order come from pyproject.toml, what each is from its package's docstring.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What is read and written on the way from somebody's data to a report, and by which command.
FLOW = (
    ("Parquet, images, CSV, JSON lines, the hub", "python cli.py prepare"),
    ("data/prepared: mapped arrays, meta.json", "python cli.py train --method crest"),
    (
        "artifacts/train/crest: coresets.parquet, …",
        "python cli.py evaluate, analyze, reuse, export",
    ),
    ("artifacts/evaluate, analyze, reuse", "python cli.py report"),
    ("artifacts/report: report.html", ""),
)
INSIDE = 1  # the step of FLOW that is the training loop
LOOP = (
    "minibatch(step): indices, weights",
    "optimiser step: outputs, losses",
    "update(minibatch, outputs, seconds)",
)
OWN_LOOP = (
    "coresets = crest.Coresets(model, inputs, labels, …)",
    "for indices, weights in coresets: …; coresets.step()",
    "coresets.save(folder): coresets.parquet, …",
)
ROW, LEFT, RIGHT, WIDTH = 34, 20, 680, 1140
INK, PAPER, BAND, ACCENT = "#1b1f24", "#ffffff", "#eef3f8", "#2563a8"


def layers() -> list[str]:
    """Return the modules of the import contract, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    return list(contract["layers"])


def purpose(module: str) -> str:
    """Return the first sentence of a module's docstring."""
    base = ROOT / Path(*module.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.sub(r":\w+:`(.+?)`", r"\1", text.split("\n\n")[0].rstrip("."))


def text(x: float, y: float, words: str, *, bold: bool = False, colour: str = INK) -> str:
    """Return a line of text."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{colour}"{weight}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, edge: str = "none") -> str:
    """Return a rectangle with round corners."""
    shape = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="5"'
    return f'<rect {shape} fill="{fill}" stroke="{edge}"/>'


def arrow(x: float, top: float, bottom: float) -> str:
    """Return an arrow that points down."""
    return (
        f'<path d="M{x} {top}V{bottom - 5}m-4 -2l4 7l4 -7" stroke="{ACCENT}" '
        'stroke-width="1.5" fill="none"/>'
    )


def draw_layers(top: float) -> Iterator[str]:
    """Draw a band for each layer."""
    for number, module in enumerate(layers()):
        y = top + number * ROW
        yield box(LEFT, y, RIGHT - LEFT - 40, ROW - 5, BAND)
        yield text(LEFT + 10, y + 19, module.replace("crest.", "crest/"), bold=True)
        yield text(LEFT + 165, y + 19, purpose(module))


def draw_flow(top: float) -> Iterator[str]:
    """Draw what is read and written, and the commands between."""
    y = top
    for number, (what, command) in enumerate(FLOW):
        yield box(RIGHT, y, WIDTH - RIGHT - 20, 30, PAPER, ACCENT)
        yield text(RIGHT + 12, y + 20, what, bold=True)
        y += 30
        if not command:
            break
        loop = LOOP if number == INSIDE else ()
        height = 44 + 22 * len(loop)
        yield arrow(RIGHT + 20, y + 2, y + height - 2)
        yield text(RIGHT + 40, y + 26, command, colour=ACCENT)
        for line, words in enumerate(loop):
            yield text(RIGHT + 60, y + 48 + 22 * line, words)
        y += height
    yield text(RIGHT, y + 50, "In a loop of one's own, without files", bold=True)
    for number, words in enumerate(OWN_LOOP):
        yield text(RIGHT + 12, y + 76 + 22 * number, words)


def picture() -> str:
    """Return the picture as SVG."""
    height = 60 + ROW * len(layers())
    parts = [
        text(LEFT, 28, "Layers: each imports those below it only", bold=True),
        text(RIGHT, 28, "From somebody's data to coresets.parquet", bold=True),
        *draw_layers(44),
        *draw_flow(44),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">'
    )
    return "\n".join([head, box(0, 0, WIDTH, height, PAPER), *parts, "</svg>\n"])


if __name__ == "__main__":
    sys.stdout.write(picture())
