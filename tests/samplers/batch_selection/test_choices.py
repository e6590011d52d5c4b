"""Which candidates are kept, against brute force."""

import pytest
import torch
from torch import Tensor

from crest.inference.forward import ForwardPass
from crest.samplers.batch_selection.candidates import Scores
from crest.samplers.batch_selection.choices import (
    FLOOR,
    Coreset,
    GradientShare,
    Hardest,
    chance,
    threshold,
)
from crest.selection.choices import find_choice
from crest.selection.choosing import choose_minibatch_coresets
from tests.tiny import linear_model


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores(norms: Tensor) -> Scores:
    return Scores(norms, torch.empty(len(norms), 0))


def test_the_hardest_are_kept_and_before_them_what_is_not_known() -> None:
    norms = torch.tensor([0.3, 0.9, torch.nan, 0.1, 0.9, 0.5])
    places, weights = Hardest(0.5).keep(scores(norms), 3, generator())
    assert places.tolist() == [1, 2, 4]
    assert weights.tolist() == [1.0] * 3
    assert Hardest(0.3).candidates(9) == 30


@pytest.mark.parametrize("lost", [0.05, 0.2, 0.5])
def test_what_is_left_out_carries_the_share_of_the_gradient_that_may_be_lost(lost) -> None:
    norms = torch.rand(5000, generator=generator(), dtype=torch.float64).pow(4).float()
    found = threshold(norms, lost)
    chances = torch.tensor([min(1.0, max(FLOOR, (norm / found) ** 2)) for norm in norms.tolist()])
    torch.testing.assert_close(chance(norms, found), chances)
    assert float(((1 - chances) * norms).sum() / norms.sum()) == pytest.approx(lost, rel=1e-3)


def test_few_of_many_that_carry_nothing_are_kept_and_all_that_carry_much() -> None:
    norms = torch.cat([torch.full((448,), 0.01), torch.full((64,), 1.0)])
    keep, kept = GradientShare(0.02), []
    drawing = generator()
    for _ in range(20):
        places, weights = keep.keep(scores(norms), 128, drawing)
        assert torch.equal(weights, torch.ones(len(places)))
        kept.append((int((places < 448).sum()), int((places >= 448).sum())))
    easy, hard = zip(*kept, strict=True)
    assert set(hard) == {64}
    # (1 - p) · 4.48 = 0.02 · 68.48, of the 448.
    assert sum(easy) / (20 * 448) == pytest.approx(1 - 0.02 * 68.48 / 4.48, abs=0.02)


def test_where_all_carry_the_same_as_few_are_left_out_as_may_be_lost() -> None:
    keep, drawing = GradientShare(0.1), generator()
    kept = [len(keep.keep(scores(torch.full((500,), 0.7)), 8, drawing)[0]) for _ in range(20)]
    assert sum(kept) / (20 * 500) == pytest.approx(0.9, abs=0.02)


def test_what_is_not_known_is_kept() -> None:
    places, _ = GradientShare(0.5).keep(scores(torch.full((50,), torch.nan)), 8, generator())
    assert places.tolist() == list(range(50))


def test_no_example_is_forgotten_for_good() -> None:
    norms = torch.cat([torch.zeros(1000), torch.ones(10)])
    keep, drawing = GradientShare(0.1), generator()
    found = [int((keep.keep(scores(norms), 8, drawing)[0] < 1000).sum()) for _ in range(20)]
    assert sum(found) / (20 * 1000) == pytest.approx(FLOOR, abs=0.01)


@pytest.mark.parametrize("name", ["facility_location", "spatially_balanced"])
def test_a_coreset_is_chosen_by_the_gradients_of_whoever_scored(name) -> None:
    model = linear_model(4)
    logits, labels = torch.randn(20, 3, generator=generator()), torch.arange(20) % 3
    outputs = ForwardPass(torch.arange(100, 120), labels, logits, torch.zeros(20, 4))
    keep = Coreset(find_choice(name), 0.25, model)
    assert keep.candidates(5) == 20
    found = Scores(torch.ones(20), torch.empty(20, 0), outputs)
    places, weights = keep.keep(found, 5, generator())
    gradients = logits.softmax(1) - torch.nn.functional.one_hot(labels, 3)
    expected = choose_minibatch_coresets(outputs, gradients, 1, 5, find_choice(name), generator())[
        0
    ]
    assert (places + 100).tolist() == expected.indices.tolist()
    assert torch.equal(weights, expected.weights)
