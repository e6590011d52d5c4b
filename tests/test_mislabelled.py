"""Digits with flipped labels: they rank first, and are taken for what they are."""

import polars as pl
import pytest
import torch

from crest.analysis.difficulty import MOST_MISLABELLED, difficulty_table, mislabelled, notable
from crest.data.prepared import load
from crest.methods import METHODS
from crest.models import spec_for
from crest.pipeline.runs import context_of
from crest.training.loop import train
from tests.tiny import CPU, FLOAT32, digits_parameters

SHARE = 0.05


def flip(labels: torch.Tensor, share: float = SHARE) -> tuple[torch.Tensor, set[int]]:
    """Give a share of the examples another label; returns the labels and whose changed."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    by = torch.randint(1, 10, (len(chosen),), generator=generator)
    flipped = labels.clone()
    flipped[chosen] = (labels[chosen] + by) % 10
    return flipped, set(chosen.tolist())


# Over six seeds all of those shown are flipped after 6 epochs and after 15, and 0.95 to 1 of the
# first 65, of which 0.97 to 1 are taken for their true class; which exactly depends on the
# processor, as bits do. Chance would find SHARE, and a ninth.
@pytest.mark.parametrize("epochs", [6, 15])
def test_flipped_labels_rank_first_and_are_taken_for_the_true_class(digits, epochs):
    parameters = digits_parameters(train={"epochs": epochs, "budget": 1.0, "augment_crop": 0})
    data = load(digits.prepared, CPU)
    true = data.train.labels
    data.train.labels, wrong = flip(true)
    model = spec_for(parameters.train, data.meta).fresh(seed=0)
    steps = epochs * len(data.train) // 32
    method = METHODS["random"].build(context_of(parameters, "random", data, model, steps, FLOAT32))
    settings = parameters.train
    done = train(model, method, data.train, None, steps, settings, FLOAT32)
    table = difficulty_table(done.examples_table)
    groups = {group.name: group for group in notable(table)}
    rows = groups["mislabelled"].rows["index"].to_list()
    assert len(rows) == MOST_MISLABELLED
    assert len(wrong.intersection(rows)) / len(rows) >= 0.95
    first = mislabelled(table).head(len(wrong)).filter(pl.col("index").is_in(wrong))
    assert len(first) / len(wrong) >= 0.9
    named = torch.tensor(first["taken_for"].to_list())
    assert (named == true[first["index"].to_torch()]).double().mean() >= 0.9
