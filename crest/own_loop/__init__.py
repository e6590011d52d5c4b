"""CREST in a loop of one's own: what stands between somebody's loop and the methods."""
