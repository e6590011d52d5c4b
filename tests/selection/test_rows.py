"""Rows kept in few bytes give the table that rows kept as they are give."""

import polars as pl
import pytest
import torch
from torch import Tensor

from crest.artifacts import TABLES
from crest.selection.coresets import MiniBatchCoreset, coreset_rows, uniform
from crest.selection.rows import BLOCK, CoresetRows

LABELS = torch.randint(7, (1000,), generator=torch.Generator().manual_seed(1))


def regions(count: int, size: int) -> list[list[MiniBatchCoreset]]:
    generator = torch.Generator().manual_seed(0)

    def one(region: int, number: int) -> MiniBatchCoreset:
        indices = torch.randint(1000, (size,), generator=generator)
        weights, losses = torch.rand(2, size, generator=generator)
        return MiniBatchCoreset(indices, weights, losses, region, number)

    return [[one(region, number) for number in range(1 + region % 3)] for region in range(count)]


def filled(chosen: list[list[MiniBatchCoreset]], labels: Tensor = LABELS) -> CoresetRows:
    rows = CoresetRows(labels)
    for coresets in chosen:
        rows.add(coresets)
    return rows


@pytest.mark.parametrize("count", [1, 5, BLOCK, 2 * BLOCK + 3])
def test_the_table_is_that_of_rows_put_one_behind_the_other(count: int) -> None:
    chosen = regions(count, 4)
    expected = pl.concat([coreset_rows(coresets, LABELS) for coresets in chosen])
    assert filled(chosen).frame().equals(expected)


def test_coresets_of_other_sizes_keep_their_positions() -> None:
    chosen = [*regions(1, 3), *regions(1, 5), *regions(1, 1)]
    assert filled(chosen).frame()["position"].to_list() == [*range(3), *range(5), 0]


def test_of_none_the_table_is_empty() -> None:
    assert CoresetRows(LABELS).frame().schema == dict(TABLES["coresets"])
    assert CoresetRows(LABELS).frame().is_empty()


@pytest.mark.parametrize("stop", [0, 1, BLOCK, BLOCK + 30])
def test_a_state_goes_on_where_it_was(stop: int) -> None:
    chosen = regions(BLOCK + 40, 2)
    resumed = CoresetRows(LABELS)
    resumed.load_state_dict(filled(chosen[:stop]).state_dict())
    for coresets in chosen[stop:]:
        resumed.add(coresets)
    assert resumed.frame().equals(filled(chosen).frame())


def test_the_table_can_be_asked_for_on_the_way() -> None:
    chosen = regions(20, 3)
    rows = filled(chosen[:10])
    before = rows.frame()
    for coresets in chosen[10:]:
        rows.add(coresets)
    assert rows.frame().equals(filled(chosen).frame())
    assert before.equals(filled(chosen[:10]).frame())


def test_a_pick_takes_12_bytes() -> None:
    chosen = regions(600, 128)
    state = filled(chosen).state_dict()
    coresets = sum(map(len, chosen))
    assert sum(values.nbytes for values in state.values()) == coresets * (128 * 12 + 12)


def test_what_has_no_losses_is_refused() -> None:
    rows = CoresetRows(LABELS)
    rows.add([uniform(torch.arange(3))])
    with pytest.raises(pl.exceptions.ShapeError):
        rows.frame()
