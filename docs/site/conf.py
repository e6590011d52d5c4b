"""The site of the documents: `make docs` writes it to build/site, and fails at a broken link.

The pages are the Markdown files as they lie in the repository, so that they read well there too.
NAVIGATION says in which order; a page that it does not name is listed under OTHERS.
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
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_rtype = False

NAVIGATION = {
    "First steps": ["docs/quick-start", "docs/loop", "docs/coresets", "docs/examples"],
    "The pipeline": ["docs/pipeline", "docs/cluster", "docs/scale"],
    "Your data": ["docs/data", "docs/pretrained", "docs/views", "docs/text", "docs/label-noise"],
    "Methods": ["docs/methods", "docs/rules", "docs/rules/*", "docs/batch-selection"],
    "Reference": ["docs/parameters", "docs/api", "docs/errors", "docs/compatibility"],
    "Results": ["docs/results", "docs/results/*", "docs/performance", "docs/gpu"],
    "Background": [
        "docs/related",
        "docs/differences",
        "docs/lab-book",
        "docs/lab-book/*",
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


def listed(names: list[str], found: set[str]) -> list[str]:
    """Return the pages that exist of those named; a star stands for all of a folder."""
    pages = []
    for name in names:
        folder, star, _ = name.partition("*")
        pages += sorted(page for page in found if page.startswith(folder)) if star else [name]
    return [page for page in pages if page in found]


def navigation(found: set[str]) -> str:
    """Return the tables of contents, in Markdown, of all pages but the first."""
    parts = {title: listed(names, found) for title, names in NAVIGATION.items()}
    named = {page for pages in parts.values() for page in pages}
    parts[OTHERS] = sorted(found - named - {root_doc})
    return "\n\n".join(contents(title, pages) for title, pages in parts.items() if pages)


def contents(title: str, pages: list[str]) -> str:
    """Return one table of contents, which only the side bar shows."""
    lines = ["```{toctree}", ":hidden:", f":caption: {title}", ""]
    return "\n".join([*lines, *(f"/{page}" for page in pages), "```"])


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the tables of contents below the first page."""
    if name == root_doc:
        source[0] += "\n\n" + navigation(app.env.found_docs)


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
