"""How text that came from data is put on a page."""

import re

# What HTML cannot hold: control characters but white space, and halves of surrogates.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def visible(text: str) -> str:
    """Put a sign in the place of each character that a page cannot hold."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
