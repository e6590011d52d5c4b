"""A made-up project up to its analysis, and what a page of its report holds."""

from html.parser import HTMLParser

import pytest

from crest.config import parse
from stages import analyze
from tests.stages import synthetic_artifacts as made_up


def parameters(models=(), **run):
    values = {
        "run": run,
        "reuse": {"models": list(models)},
        "report": {"title": "A <report> & more"},
    }
    return parse(values, "tests")


def write_project(root):
    paths = made_up.write_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyze, "gallery", lambda *_: [])
        analyze.run(parameters(), paths)
    return paths


class Page(HTMLParser):
    """Elements, attributes and text of a page; the terms and passages of its lists on their own."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.text = ""
        self.lists = {"dt": [], "dd": []}
        self.into = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in self.lists:
            self.into = self.lists[tag]
            self.into.append("")

    def handle_endtag(self, tag):
        if tag in self.lists:
            self.into = None

    def handle_data(self, data):
        self.text += data
        if self.into is not None:
            self.into[-1] += data
