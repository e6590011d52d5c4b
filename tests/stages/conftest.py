"""Reports and analyses without their pictures, which take most of the time."""

import pytest

from stages import analyze


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr("crest.pipeline.page.gallery", lambda *_: [])


@pytest.fixture
def undrawn_analysis(undrawn, monkeypatch):
    monkeypatch.setattr(analyze, "gallery", lambda *_: [])
