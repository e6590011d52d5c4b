"""Pictures of an analysis, drawn without any global state of the plotting library."""

from crest.figures.gallery import Picture, gallery
from crest.figures.images import thumbnail
from crest.figures.theme import png, svg

__all__ = ["Picture", "gallery", "png", "svg", "thumbnail"]
