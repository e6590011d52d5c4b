"""What people are told of a name that there is not."""

import pytest

from crest.errors import nearest, not_one_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crst", "; did you mean 'crest'?"),
        ("Selective-Backprop", "; did you mean 'selective_backprop'?"),
        ("zzz", ""),
        (3, ""),
        (["crest"], "; did you mean 'crest'?"),
    ],
)
def test_the_nearest_name_is_suggested(name, expected) -> None:
    assert nearest(name, ["full", "crest", "selective_backprop"]) == expected


def test_a_name_is_none_of_a_list() -> None:
    words = "'cifar-10' is not one of digits, cifar10, cifar100; did you mean 'cifar10'?"
    assert not_one_of("cifar-10", iter(("digits", "cifar10", "cifar100"))) == words
    assert not_one_of(None, ["a"]) == "None is not one of a"
