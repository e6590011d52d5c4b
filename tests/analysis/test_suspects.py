"""How many labels are wrong, counted by hand, and what is said of them."""

import pytest

from crest.analysis.difficulty import MOST_MISLABELLED
from crest.analysis.suspects import ORDER, Suspects
from tests.analysis.test_profile import table


def test_they_are_counted_of_the_labels_whose_chance_is_known():
    found = Suspects.of(table(wrong_label=[0.9, 0.6, None, 0.5, 0.0]))
    assert found == Suspects(known=4, expected=2, likely=2, trained=True, right=0.9)
    assert "the model has learned little (this one was right 90% of the times)." in str(found)
    untrained = Suspects.of(table(wrong_label=[None, 0.4], seen=[0, 0]))
    assert untrained == Suspects(known=1, expected=0, likely=0, trained=False)


@pytest.mark.parametrize(
    ("chances", "listed", "said"),
    [
        ([0.9, 0.6, 0.5, 0.0], 2, "Of 4 labels about 2 (50.0%) are wrong by estimate, 2 more"),
        (
            [0.4, 0.4, 0.3, 0.5, 0.4],
            2,
            "none is more likely wrong than right, and up to about 2 (40.0%) may be",
        ),
        ([0.1, 0.1], MOST_MISLABELLED, "Of 2 labels none is wrong by estimate: what is listed"),
        ([None], MOST_MISLABELLED, "How many labels are wrong is not known"),
    ],
)
def test_as_many_are_listed_as_the_sentence_says_and_else_an_order(chances, listed, said):
    found = Suspects.of(table(wrong_label=chances))
    assert found.listed == listed
    assert said in str(found)
    assert (ORDER in str(found)) == (found.likely == 0)


@pytest.mark.parametrize("seen", [[0, 0], [1, 1]])
def test_an_estimate_of_the_inputs_blames_no_model(seen):
    said = str(Suspects.of(table(wrong_label=[0.9, 0.0], seen=seen)))
    assert ("the model has learned little" in said) == any(seen)
    assert ("the inputs tell little" in said) != any(seen)
