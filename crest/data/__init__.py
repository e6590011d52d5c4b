"""Data: what they are read from, and the prepared arrays that every other stage reads."""
