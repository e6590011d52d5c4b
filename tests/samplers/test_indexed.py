"""Examples that say which they are."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from crest import Indexed
from crest.errors import ParameterError


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


class Unsized:
    def __getitem__(self, index):
        return index


def test_an_item_gains_its_index_by_its_kind() -> None:
    assert Indexed(["a", "b"])[1] == (1, "b")
    assert Indexed([("a", 0), ("b", 1)])[1] == (1, "b", 1)
    assert Indexed([{"text": "a"}, {"text": "b"}])[1] == {"index": 1, "text": "b"}
    assert Indexed([{"index": 7}], name="row")[0] == {"row": 0, "index": 7}


def test_indices_come_through_a_loader_as_a_tensor() -> None:
    data = Indexed(TensorDataset(torch.arange(10.0)))
    assert len(data) == 10
    for indices, values in DataLoader(data, batch_size=4, shuffle=True):
        assert indices.dtype == torch.int64
        assert torch.equal(indices.float(), values)


def test_a_field_of_the_indexs_name_is_not_lost() -> None:
    with pytest.raises(
        ParameterError, match="a field 'index' of their own; give the index another"
    ):
        Indexed([{"index": 7}])[0]


def test_what_has_no_examples_by_index_or_no_length_is_refused() -> None:
    with pytest.raises(ParameterError, match="Indexed: Endless cannot be asked for the example"):
        Indexed(Endless())
    with pytest.raises(ParameterError, match="Indexed: Unsized has no length"):
        len(Indexed(Unsized()))
