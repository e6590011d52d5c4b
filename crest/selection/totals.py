"""Saved coresets summed up: what each example weighed in all, and what mini-batches are worth."""

import numpy as np
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


def effective_sizes(coresets: pl.DataFrame) -> pl.DataFrame:
    """Return what each region's mini-batches are worth in examples of equal weight.

    That is Kish's effective size, (Σw)²/Σw² of a mini-batch's weights (*Survey Sampling*, 1965): a
    mean over so many examples of equal weight has the variance of its weighted mean, were the
    examples drawn uniformly. It is the number of examples where all weigh the same.

    Parameters
    ----------
    coresets
        'coresets' table, not empty.

    Returns
    -------
    pl.DataFrame
        By region: ``region`` int32 and ``effective_size`` float64, the mean over its mini-batches.
    """
    rows = coresets.sort("region", "minibatch", maintain_order=True)
    weights = rows["weight"].cast(pl.Float64).to_numpy()
    # NumPy adds in one order; Polars' groups come out of several threads.
    each = rows.select(pl.struct("region", "minibatch").rle_id()).to_series()
    first = np.flatnonzero(np.diff(each, prepend=-1))
    sizes = np.add.reduceat(weights, first) ** 2 / np.add.reduceat(weights**2, first)
    regions = rows["region"].gather(first)
    begins = np.flatnonzero(np.diff(regions.rle_id(), prepend=-1))
    counts = np.diff(begins, append=len(sizes))
    return pl.DataFrame(
        {
            "region": regions.gather(begins),
            "effective_size": np.add.reduceat(sizes, begins) / counts,
        }
    )


def with_effective_sizes(regions: pl.DataFrame, coresets: pl.DataFrame) -> pl.DataFrame:
    """Fill in the column ``effective_size`` of a 'regions' table, in its order."""
    if coresets.is_empty():
        return regions
    found = effective_sizes(coresets)
    filled = regions.drop("effective_size").join(
        found, on="region", how="left", maintain_order="left"
    )
    return filled.select(regions.columns)
