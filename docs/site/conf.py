"""The site of the documents: `make docs` writes it to build/site, and fails at a broken link.

The pages are the Markdown files as they lie in the repository, so that they read well there too.
NAVIGATION says in which order; a page that it does not name is listed under OTHERS. Pages of a
folder beside a page of its name (docs/results/, docs/results.md) stand below that page, in the
order in which it links to them.
"""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # of crest, for the docstrings

project = "CREST"
author = "The CREST coresets developers"
project_copyright = author
root_doc = "README"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "findings/README.md",
    "docs/**.md",
    "docs/**.rst",
]
exclude_patterns = [
    ".*",
    "**/.*",
    "artifacts",
    "build",
    "crest",
    "data",
    "deps",
    "results",
    "tests",
]

html_theme = "furo"
html_title = "CREST"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_extra_path = ["index.html"]  # sends on to the first page, which is README.md
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 6
smartquotes = False  # two hyphens are an option, not a dash
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_rtype = False

NAVIGATION = {
    "First steps": ["docs/quick-start", "docs/loop", "docs/coresets", "docs/examples"],
    "The pipeline": ["docs/pipeline", "docs/cluster", "docs/scale"],
    "Your data": ["docs/data", "docs/pretrained", "docs/views", "docs/text", "docs/label-noise"],
    "Methods": ["docs/methods", "docs/rules", "docs/batch-selection"],
    "Reference": ["docs/parameters", "docs/api", "docs/errors", "docs/compatibility"],
    "Results": ["docs/results", "docs/hard-figures", "docs/performance", "docs/gpu"],
    "Background": [
        "docs/related",
        "docs/differences",
        "docs/lab-book",
        "findings/README",
        "benchmarks/README",
    ],
    "Project": ["docs/architecture", "CONTRIBUTING", "CHANGELOG"],
}
OTHERS = "More"

# Where a link to a folder leads, by the folder.
FOLDERS = {
    "benchmarks/experiments/definitions": "benchmarks/README",
    "docs/results": "docs/results",
    "examples": "docs/examples",
}


def parent(page: str, found: set[str]) -> str | None:
    """Return the page that a page stands below, if there is one."""
    folder = page.rpartition("/")[0]
    return folder if folder in found else None


def navigation(found: set[str]) -> str:
    """Return the tables of contents, in Markdown, but of those below a page."""
    tops = {page for page in found if parent(page, found) is None}
    parts = {title: [page for page in pages if page in tops] for title, pages in NAVIGATION.items()}
    named = {page for pages in parts.values() for page in pages}
    parts[OTHERS] = sorted(tops - named - {root_doc})
    return "\n\n".join(contents(pages, title) for title, pages in parts.items() if pages)


def below(name: str, text: str, found: set[str]) -> list[str]:
    """Return the pages below a page, in the order of its links."""
    pages = sorted(page for page in found if parent(page, found) == name)
    return sorted(pages, key=lambda page: text.find(f"({page.removeprefix('docs/')}.md"))


def contents(pages: list[str], caption: str = "") -> str:
    """Return one table of contents, which only the side bar shows."""
    options = [":hidden:"] + [f":caption: {caption}"] * bool(caption)
    return "\n".join(["```{toctree}", *options, "", *(f"/{page}" for page in pages), "```"])


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the tables of contents below the first page, and below pages that have others."""
    found = set(app.env.found_docs)
    if name == root_doc:
        source[0] += "\n\n" + navigation(found)
    elif pages := below(name, source[0], found):
        source[0] += "\n\n" + contents(pages)


def resolve_folders(app: Sphinx, tree: nodes.document) -> None:
    """Lead links to folders to the pages that stand for them."""
    for link in list(tree.findall(pending_xref)):
        if link["reftype"] != "myst" or link["refdomain"]:
            continue
        path = Path(app.env.relfn2path(link["reftarget"])[1])
        page = FOLDERS.get(path.relative_to(ROOT).as_posix()) if path.is_dir() else None
        if page is not None:
            link.update_all_atts({"refdomain": "doc", "reftarget": page}, replace=True)
            link["reftargetid"] = None


def setup(app: Sphinx) -> None:
    """Connect what is done to pages as they are read."""
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", resolve_folders)
