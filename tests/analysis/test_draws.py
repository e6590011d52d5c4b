"""How often a method drew the examples of each class and difficulty, against a count by hand."""

import polars as pl

from crest import artifacts
from crest.analysis.draws import times_drawn

EXAMPLES = 20


def examples(seen, pass_name="training"):
    kinds = artifacts.TABLES["examples"]
    columns = {"pass": [pass_name] * len(seen), "index": range(len(seen)), "seen": seen}
    return pl.DataFrame(columns).select(
        pl.col(name).cast(kind) if name in columns else pl.lit(None, kind).alias(name)
        for name, kind in kinds.items()
    )


def difficulty(losses):
    count = len(losses)
    columns = {"index": range(count), "label": [i % 2 for i in range(count)], "mean_loss": losses}
    return pl.DataFrame(columns, schema_overrides={"mean_loss": pl.Float64, "label": pl.Int64})


def test_means_are_those_of_a_count_by_hand() -> None:
    seen = [1 if index % 2 else 3 for index in range(EXAMPLES)]
    found = times_drawn(difficulty(list(range(EXAMPLES))), examples(seen), ["even", "odd"])
    assert found.filter(pl.col("by") == "class").drop("by").rows() == [
        (0, "even", 10, 3.0, 1.5), (1, "odd", 10, 1.0, 0.5),
    ]  # fmt: skip
    tenths = found.filter(pl.col("by") == "difficulty")
    assert tenths["place"].to_list() == list(range(10))
    assert tenths["examples"].to_list() == [2] * 10
    assert tenths["relative"].to_list() == [1.0] * 10
    assert tenths["name"][0] == "0 to 1"
    assert tenths["name"][9] == "18 to 19"


def test_what_is_drawn_more_when_hard_rises_with_difficulty() -> None:
    found = times_drawn(difficulty(list(range(EXAMPLES))), examples(list(range(EXAMPLES))), [])
    tenths = found.filter(pl.col("by") == "difficulty")
    assert tenths["times"].to_list() == [2 * place + 0.5 for place in range(10)]
    assert found["name"][0] == "?"  # a class without a name


def test_the_selection_pass_and_what_was_never_scored_do_not_count() -> None:
    table = difficulty([None, *range(1, EXAMPLES)])
    both = pl.concat([examples([1] * EXAMPLES), examples([9] * EXAMPLES, "selection")])
    found = times_drawn(table, both, ["even", "odd"])
    assert set(found["times"]) == {1.0}
    assert found.filter(pl.col("by") == "difficulty")["examples"].sum() == EXAMPLES - 1


def test_a_method_that_trained_on_nothing_has_no_shares() -> None:
    found = times_drawn(difficulty([1.0, 2.0]), examples([0, 0]), ["even", "odd"])
    assert set(found["times"]) == {0.0}
    assert found["relative"].null_count() == len(found)
