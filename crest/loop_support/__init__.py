"""What the front for loops of one's own is built from: see :mod:`crest.coresets`."""
