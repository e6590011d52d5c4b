"""Saved coresets summed up over mini-batches: what each example weighed in all of them."""

import polars as pl


def example_totals(coresets: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each distinct example of a 'coresets' table, in the order of its index.

    Columns: index int64; label int64; selected int32, the mini-batches it was chosen into; weight
    float32, the sum of its weights in them, scaled to a mean of 1 over the rows. An epoch over the
    rows, each loss times its weight, then has the mean gradient of an epoch over the mini-batches.
    """
    total = pl.col("weight").cast(pl.Float64).sum()
    summed = coresets.group_by("index").agg(
        pl.col("label").first(), pl.len().cast(pl.Int32).alias("selected"), total
    )
    scaled = (pl.col("weight") / pl.col("weight").mean()).cast(pl.Float32)
    return summed.sort("index").with_columns(scaled)
