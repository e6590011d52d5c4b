"""The sentences against tables counted by hand."""

import polars as pl

from crest.analysis.profile import profile
from crest.analysis.suspects import Suspects
from crest.artifacts import TABLES

UNKNOWN = str(Suspects(known=0, expected=0, likely=0, trained=True))
CLASSES = ["cat", "dog", "bird"]


def table(**columns: list) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    defaults = {
        "index": list(range(count)),
        "label": [index % 3 for index in range(count)],
        "forgotten": [0] * count,
        "seen": [10] * count,
        "correct": [9] * count,
        "mean_loss": [0.5] * count,
        "el2n": [0.5] * count,
        "taken_for": [-1] * count,
        "wrong_label": [None] * count,
        "first_learned": [1] * count,
        "selected": [0] * count,
        "trained": [0] * count,
        "excluded_at": [-1] * count,
    }
    return pl.DataFrame(defaults | columns, schema=dict(TABLES["difficulty"]))


def test_it_counts_what_was_learned_and_names_the_hardest_classes():
    found = profile(
        table(
            forgotten=[0, 3, 1, 0, 0, 0],
            first_learned=[1, 1, 1, -1, 1, 1],
            mean_loss=[0.1, 0.2, 0.9, 0.1, 0.2, 0.9],
            seen=[10, 10, 10, 2, 10, 0],
        ),
        CLASSES,
    )
    assert found[0] == (
        "Of the 5 examples that were scored, 2 (40.0%) were learned and never forgotten, "
        "1 (20.0%) were forgotten 3 times or more, and 1 (20.0%) were never classified rightly."
    )
    assert found[1] == (
        "The hardest classes by mean loss are bird (0.90), dog (0.20); the easiest is cat (0.10)."
    )
    assert found[2] == (
        f"{UNKNOWN} Listed below are the 5 highest mean losses, from 0.90 down to 0.10; the median "
        "is 0.20."
    )
    assert len(found) == 3


def test_where_what_was_right_was_not_reported_it_says_so():
    unknown = {name: [None] * 3 for name in ("label", "forgotten", "correct", "first_learned")}
    found = profile(table(**unknown, seen=[2, 4, 6], mean_loss=[0.1, 0.2, 0.3]), [])
    assert found == [
        "3 examples were trained on, from 2 to 6 times, 4.0 on average; what was right was not "
        "reported.",
        f"{UNKNOWN} Listed below are the 3 highest mean losses, from 0.30 down to 0.10; the median "
        "is 0.20.",
    ]


def test_it_says_where_the_selections_went_and_what_was_dropped():
    found = profile(
        table(
            selected=[6, 3, 1, 1, 1, 0],
            forgotten=[2, 1, 0, 0, 0, 0],
            excluded_at=[-1, -1, -1, 20, 40, 60],
        ),
        CLASSES,
    )
    assert found[-2] == (
        "Half of all 12 picks into mini-batch coresets went to 1 (16.7%) of the examples, and "
        "1 (16.7%) were never picked. What was ever forgotten was picked 4.5 times on average, "
        "what was learned for good 0.8 times."
    )
    assert found[-1] == (
        "3 (50.0%) of the examples were dropped as learned, half of them by step 40."
    )


def test_it_says_where_a_rare_class_fills_the_list():
    """Six of class 2 among 200, all of them with high losses."""
    rare = [number < 6 for number in range(200)]
    frequent = profile(table(label=[number % 2 for number in range(200)]), CLASSES)
    assert "a class of" not in frequent[1]
    found = profile(
        table(
            label=[2 if few else number % 2 for number, few in enumerate(rare)],
            mean_loss=[2.0 if few else 0.5 for few in rare],
        ),
        CLASSES,
    )
    assert "the 48 highest mean losses, from 2.00 down to 0.50" in found[2]
    assert "Of these, 6 are labelled bird, a class of 3.0% of the data" in found[2]
    fewer = profile(
        table(
            label=[2 if number < 30 else number % 2 for number in range(400)],
            mean_loss=[2.0 if number < 30 else 0.5 for number in range(400)],
        ),
        CLASSES,
    )
    assert fewer[2].endswith(
        "Of these, 30 are labelled bird, a class of 7.5% of the data: a rare class is learned "
        "late, and ranks high even where its labels are right."
    )


def test_without_scores_there_is_nothing_to_say():
    assert profile(table(seen=[0, 0]), CLASSES) == []
    assert profile(table(seen=[]), CLASSES) == []


def test_of_wrong_labels_it_says_what_the_list_of_them_says_and_nothing_else():
    wrong = table(wrong_label=[0.9, 0.6, None, 0.5, 0.0])
    (found,) = [one for one in profile(wrong, CLASSES) if "wrong" in one]
    assert found.startswith(f"{Suspects.of(wrong)} Listed below are the 5 highest mean losses")
