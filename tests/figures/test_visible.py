"""Text that came from data, printed where it could do harm."""

from crest.errors import printable
from crest.figures.visible import visible


def test_a_page_holds_no_control_characters_and_no_halves_of_surrogates():
    assert visible("a\x1b[31m\x00\ud800\x85z") == "a\ufffd[31m\ufffd\ufffd\ufffdz"
    assert visible("line\nline\ttab é 😀") == "line\nline\ttab é 😀"


def test_a_terminal_is_told_nothing():
    assert printable("a\x1b[31m\r\u202eb\n") == r"a\x1b[31m\r\u202eb\n"
    assert printable("a\nb", "\n") == "a\nb"
