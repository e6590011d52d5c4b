"""The part of the examples with the highest scores, against small tables by hand."""

import polars as pl
import pytest

from crest.analysis.subset import SCORES, WORDS, part_of
from crest.artifacts import NEVER, TABLES
from crest.errors import ParameterError


def table(**columns):
    """A 'difficulty' table with some columns given."""
    count = len(next(iter(columns.values())))
    given = {"index": list(range(count)), "label": [0] * count, "seen": [4] * count}
    given |= {"first_learned": [1] * count} | columns
    kinds = TABLES["difficulty"]
    return pl.DataFrame(given, schema_overrides={k: kinds[k] for k in given}).select(
        pl.col(name).cast(kind) if name in given else pl.lit(None, kind).alias(name)
        for name, kind in kinds.items()
    )


def indices(rows):
    return rows["index"].to_list()


def test_the_highest_are_kept_and_the_others_are_the_rest() -> None:
    part = part_of(table(mean_loss=[0.1, 3.0, 0.5, 2.0]), "mean_loss", lambda n: n // 2)
    assert (indices(part.kept), indices(part.others)) == ([1, 3], [2, 0])
    assert (part.drawn, part.tied) == (0, 0)
    lowest = part_of(table(mean_loss=[0.1, 3.0, 0.5, 2.0]), "mean_loss", lambda n: 1, lowest=True)
    assert (indices(lowest.kept), indices(lowest.others)) == ([0], [2, 3, 1])


def test_what_was_never_right_is_the_most_forgotten_and_what_was_never_seen_is_not_known() -> None:
    examples = table(forgotten=[2, 0, 0, 5], first_learned=[1, NEVER, NEVER, 2], seen=[4, 4, 0, 9])
    part = part_of(examples, "forgotten", lambda _: 3)
    assert indices(part.kept) == [1, 3, 0]
    with pytest.raises(ParameterError, match="3 of 4 examples have it"):
        part_of(examples, "forgotten", lambda _: 4)


def test_equal_ones_are_drawn_by_chance_and_counted() -> None:
    examples = table(forgotten=[3, *[1] * 40, *[0] * 9])
    draws = [part_of(examples, "forgotten", lambda _: 11, seed=seed) for seed in range(3)]
    for part in draws:
        assert indices(part.kept)[0] == 0
        assert part.kept["forgotten"].to_list() == [3, *[1] * 10]
        assert (part.drawn, part.tied) == (10, 40)
    assert len({tuple(indices(part.kept)) for part in draws}) == 3
    again = part_of(examples, "forgotten", lambda _: 11, seed=2)
    assert again.kept.equals(draws[2].kept)
    whole = part_of(examples, "forgotten", lambda _: 41)
    assert (whole.drawn, whole.tied) == (0, 0)


def test_each_class_keeps_its_share_and_the_sum_is_right() -> None:
    labels = [0] * 50 + [1] * 30 + [2] * 15
    examples = table(label=labels, mean_loss=[float(place) for place in range(95)])
    part = part_of(examples, "mean_loss", lambda n: round(0.1 * n), per_class=True)
    kept = part.kept.group_by("label").len().sort("label")["len"].to_list()
    assert sum(kept) == round(0.1 * 95)
    assert kept == [5, 3, 2]  # 5.26, 3.16 and 1.58 of 10: the largest remainder gets what is left
    for label, (first, end) in enumerate([(0, 50), (50, 80), (80, 95)]):
        assert sorted(indices(part.kept.filter(pl.col("label") == label))) == list(
            range(end - kept[label], end)
        )
        assert first <= end


def test_an_unknown_score_is_refused_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r"not one of forgotten, .*; did you mean 'mean_loss'"):
        part_of(table(mean_loss=[1.0]), "mean-los", lambda n: n)


def test_every_score_is_of_the_table() -> None:
    assert SCORES.keys() < TABLES["difficulty"].keys()
    assert SCORES.keys() == WORDS.keys()


def test_equal_ones_are_taken_by_mean_loss_before_chance() -> None:
    equal = {"forgotten": [1] * 5, "correct": [2] * 5, "mean_loss": [0.3, 0.9, 0.1, 0.5, 0.7]}
    part = part_of(table(**equal), "forgotten", lambda _: 2)
    assert (set(indices(part.kept)), part.drawn, part.tied) == ({1, 4}, 0, 0)
    assert set(indices(part_of(table(**equal), "correct", lambda _: 2).kept)) == {0, 2}
