"""Pictures of an analysis, without matplotlib's global state."""

from crest.errors import needs_extra

with needs_extra("pipeline"):  # so that no other file of this folder need say so
    from crest.figures.gallery import Picture, gallery
    from crest.figures.images import thumbnail
    from crest.figures.records import record_pictures
    from crest.figures.theme import png, svg

__all__ = ["Picture", "gallery", "png", "record_pictures", "svg", "thumbnail"]
