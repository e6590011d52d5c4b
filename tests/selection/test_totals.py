"""What examples weighed, against loops over the rows."""

import numpy as np
import polars as pl

from crest.selection.totals import example_totals
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
    """Any mean over examples, a gradient's say, comes out alike."""
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
