"""What examples weighed, against loops over the rows."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from crest.artifacts import TABLES
from crest.selection.totals import effective_sizes, example_totals, with_effective_sizes
from tests.tiny import linear_split


def coresets(minibatches: int = 12, size: int = 8, examples: int = 20) -> pl.DataFrame:
    """Mini-batches of distinct examples, of mean weight 1."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(minibatches):
        weights = draw.integers(1, 9, size).astype(float)
        weights *= size / weights.sum()
        for index, weight in zip(draw.permutation(examples)[:size], weights, strict=True):
            rows.append(
                {"region": number // 3, "minibatch": number % 3, "index": index, "weight": weight}
            )
    return pl.DataFrame(rows).with_columns(pl.col("weight").cast(pl.Float32), label="index")


def test_each_example_has_a_row_with_its_counts_and_weights() -> None:
    table = coresets()
    totals = example_totals(table)
    assert totals.columns == ["index", "label", "selected", "weight"]
    assert totals["index"].to_list() == sorted(set(table["index"]))
    weights = {index: 0.0 for index in totals["index"]}
    for row in table.iter_rows(named=True):
        weights[row["index"]] += row["weight"]
    mean = sum(weights.values()) / len(weights)
    for row in totals.iter_rows(named=True):
        assert row["label"] == row["index"]
        assert row["selected"] == table["index"].to_list().count(row["index"])
        assert np.isclose(row["weight"], weights[row["index"]] / mean)
    assert np.isclose(totals["weight"].mean(), 1)


def test_their_mean_is_that_of_the_minibatches() -> None:
    """Any mean over examples, a gradient's say, comes out the same."""
    table = coresets()
    values = linear_split(20).features.numpy()
    of_minibatches = np.mean(
        [
            (part["weight"].to_numpy()[:, None] * values[part["index"].to_numpy()]).mean(0)
            for part in table.partition_by("region", "minibatch")
        ],
        axis=0,
    )
    totals = example_totals(table)
    weighted = totals["weight"].to_numpy()[:, None] * values[totals["index"].to_numpy()]
    np.testing.assert_allclose(weighted.mean(0), of_minibatches, rtol=1e-5, atol=1e-6)


def test_effective_size_of_weights_by_kish() -> None:
    """Σw = 4: of 1, 1, 1, 1 four count, of 4, 0, 0, 0 one, of 2, 2, 0, 0 two."""
    weights = {(0, 0): [1.0] * 4, (0, 1): [4.0, 0.0, 0.0, 0.0], (1, 0): [2.0, 2.0, 0.0, 0.0]}
    rows = [
        (region, minibatch, place, place, 0, weight, 0.0)
        for (region, minibatch), row in weights.items()
        for place, weight in enumerate(row)
    ]
    coresets = pl.DataFrame(rows, schema=dict(TABLES["coresets"]), orient="row")
    assert effective_sizes(coresets).sort("region").rows() == [(0, 2.5), (1, 2.0)]
    regions = pl.DataFrame(
        [{"region": region} for region in (1, 0, 2)], schema=dict(TABLES["regions"])
    )
    found = with_effective_sizes(regions, coresets)
    assert found["region"].to_list() == [1, 0, 2]
    assert found["effective_size"].to_list() == [2.0, 2.5, None]
    assert found.columns == list(TABLES["regions"])


@given(st.lists(st.floats(0.0078125, 128, width=32), min_size=1, max_size=20))
def test_effective_size_is_at_most_the_number_of_examples(weights: list[float]) -> None:
    rows = [(0, 0, place, place, 0, weight, 0.0) for place, weight in enumerate(weights)]
    coresets = pl.DataFrame(rows, schema=dict(TABLES["coresets"]), orient="row")
    (size,) = effective_sizes(coresets)["effective_size"]
    assert 1 - 1e-9 <= size <= len(weights) * (1 + 1e-9)
