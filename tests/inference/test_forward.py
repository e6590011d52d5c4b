"""What a forward pass gives, and the mode that models are put into for it."""

import pytest
import torch
from torch import nn

from crest.inference.evaluator import Evaluator
from crest.inference.forward import evaluating, joined, places_of
from tests.tiny import FLOAT32, linear_model, linear_split


def test_each_part_of_a_model_goes_back_to_the_mode_it_was_in() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout()))
    model[1].eval()
    before = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ValueError, match="within"), evaluating(model):
        raise ValueError("within")
    assert [module.training for module in model.modules()] == before


def test_places_are_where_the_indices_stand() -> None:
    within = torch.tensor([7, 3, 9, 0])
    assert places_of(torch.tensor([0, 7, 9]), within).tolist() == [3, 0, 2]


def test_a_joined_pass_has_the_new_logits_of_some_and_the_old_of_the_rest() -> None:
    split = linear_split()
    known = Evaluator(linear_model(seed=0), split, FLOAT32).score(torch.tensor([7, 3, 9, 0]))
    scored = Evaluator(linear_model(seed=1), split, FLOAT32).score(torch.tensor([9, 7]))
    both = joined(known, scored)
    expected = torch.stack([scored.logits[1], known.logits[1], scored.logits[0], known.logits[3]])
    assert torch.equal(both.logits, expected)
    assert torch.equal(both.indices, known.indices)
