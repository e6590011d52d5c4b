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
    Importance,
    StratifiedImportance,
    chance,
    threshold,
)
from crest.selection.choices import find_choice
from crest.selection.choosing import choose_minibatch_coresets
from crest.selection.importance import clamped, limit_of
from tests.tiny import linear_model


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scored(norms: Tensor, classes: int = 1) -> tuple[Scores, Tensor]:
    """Return what is known of candidates, and their labels."""
    return Scores(norms, torch.empty(len(norms), 0)), torch.arange(len(norms)) % classes


def test_the_hardest_are_kept_and_before_them_what_is_not_known() -> None:
    norms = torch.tensor([0.3, 0.9, torch.nan, 0.1, 0.9, 0.5])
    places, weights = Hardest(0.5).keep(*scored(norms), 3, generator())
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
        places, weights = keep.keep(*scored(norms), 128, drawing)
        assert torch.equal(weights, torch.ones(len(places)))
        kept.append((int((places < 448).sum()), int((places >= 448).sum())))
    easy, hard = zip(*kept, strict=True)
    assert set(hard) == {64}
    # (1 - p) · 4.48 = 0.02 · 68.48, of the 448.
    assert sum(easy) / (20 * 448) == pytest.approx(1 - 0.02 * 68.48 / 4.48, abs=0.02)


def test_where_all_carry_the_same_as_few_are_left_out_as_may_be_lost() -> None:
    keep, drawing = GradientShare(0.1), generator()
    kept = [len(keep.keep(*scored(torch.full((500,), 0.7)), 8, drawing)[0]) for _ in range(20)]
    assert sum(kept) / (20 * 500) == pytest.approx(0.9, abs=0.02)


def test_what_is_not_known_is_kept() -> None:
    places, _ = GradientShare(0.5).keep(*scored(torch.full((50,), torch.nan)), 8, generator())
    assert places.tolist() == list(range(50))


def test_no_example_is_forgotten_for_good() -> None:
    norms = torch.cat([torch.zeros(1000), torch.ones(10)])
    keep, drawing = GradientShare(0.1), generator()
    found = [int((keep.keep(*scored(norms), 8, drawing)[0] < 1000).sum()) for _ in range(20)]
    assert sum(found) / (20 * 1000) == pytest.approx(FLOOR, abs=0.01)


@pytest.mark.parametrize("name", ["facility_location", "spatially_balanced"])
def test_a_coreset_is_chosen_by_the_gradients_of_whoever_scored(name) -> None:
    model = linear_model(4)
    logits, labels = torch.randn(20, 3, generator=generator()), torch.arange(20) % 3
    outputs = ForwardPass(torch.arange(100, 120), labels, logits, torch.zeros(20, 4))
    keep = Coreset(find_choice(name), 0.25, model)
    assert keep.candidates(5) == 20
    found = Scores(torch.ones(20), torch.empty(20, 0), outputs)
    places, weights = keep.keep(found, labels, 5, generator())
    gradients = logits.softmax(1) - torch.nn.functional.one_hot(labels, 3)
    expected = choose_minibatch_coresets(outputs, gradients, 1, 5, find_choice(name), generator())[
        0
    ]
    assert (places + 100).tolist() == expected.indices.tolist()
    assert torch.equal(weights, expected.weights)


def test_what_is_kept_by_importance_stands_for_all_candidates_without_bias() -> None:
    """Of gradients v whose norms are told wrong, the weighted mean is theirs, on average."""
    drawing = generator(3)
    norms = torch.rand(256, generator=drawing).pow(3)
    gradients = norms + torch.randn(256, generator=drawing)
    keep, sums, counts = Importance(0.5), [], []
    for _ in range(1000):
        places, weights = keep.keep(*scored(norms), 64, drawing)
        sums.append(float((weights * gradients[places]).sum()))
        counts.append(len(places))
    mean = sum(sums) / (1000 * 0.5 * 256)
    error = 3 * torch.tensor(sums).std() / (1000**0.5 * 0.5 * 256)
    assert mean == pytest.approx(float(gradients.mean()), abs=float(error))
    assert sum(counts) / 1000 == pytest.approx(0.5 * 256, rel=0.01)


def test_importance_varies_less_than_chance_where_norms_tell_something() -> None:
    drawing, keep = generator(4), Importance(0.5)
    norms = torch.rand(256, generator=drawing).pow(6) + 1e-3
    by_norm, at_random = [], []
    for _ in range(400):
        places, weights = keep.keep(*scored(norms), 64, drawing)
        by_norm.append(float((weights * norms[places]).sum()))
        some = torch.rand(256, generator=drawing) < 0.5
        at_random.append(float(norms[some].sum()))
    assert torch.tensor(by_norm).std() < 0.6 * torch.tensor(at_random).std()


def test_importance_of_equal_gradients_is_chance_and_of_unknown_ones_all() -> None:
    drawing, keep = generator(5), Importance(0.4)
    found = [keep.keep(*scored(torch.full((300,), 0.7)), 8, drawing) for _ in range(30)]
    assert all(torch.allclose(weights, torch.ones(len(weights))) for _, weights in found)
    assert sum(len(places) for places, _ in found) / 9000 == pytest.approx(0.4, abs=0.02)
    places, weights = keep.keep(*scored(torch.full((5,), torch.nan)), 8, drawing)
    assert (places.tolist(), weights.tolist()) == ([0, 1, 2, 3, 4], [1.0] * 5)


def chances_of(norms: Tensor, share: float) -> Tensor:
    return clamped(norms.double(), limit_of(norms, share))


def test_stratified_importance_keeps_each_with_its_chance_and_stands_for_all() -> None:
    drawing, norms = generator(8), torch.rand(60, generator=generator(9)).pow(3)
    gradients, expected = torch.randn(60, generator=generator(10)), chances_of(norms, 0.5)
    counts, sums = torch.zeros(60), []
    for _ in range(1000):
        places, weights = StratifiedImportance(0.5).keep(*scored(norms, 3), 30, drawing)
        assert len(places.unique()) == 30
        torch.testing.assert_close(weights, (0.5 / expected[places]).float())
        counts[places] += 1
        sums.append(float((weights * gradients[places]).mean()))
    assert (counts / 1000 - expected).abs().max() < 4 * (0.25 / 1000) ** 0.5
    error = 4 * torch.tensor(sums).std() / 1000**0.5
    assert sum(sums) / 1000 == pytest.approx(float(gradients.mean()), abs=float(error))


@pytest.mark.parametrize("known", [1.0, 0.5, 0.0])
def test_stratified_importance_keeps_of_each_class_what_its_chances_sum_to(known) -> None:
    drawing, norms = generator(11), torch.rand(213, generator=generator(12)).pow(2)
    norms[torch.rand(213, generator=generator(13)) >= known] = torch.nan
    filled = torch.where(norms.isnan(), norms.nanmean() if known else 1.0, norms)
    expected = chances_of(filled, 128 / 213)
    for _ in range(50):
        given = scored(norms, 5)
        places, _ = StratifiedImportance(0.6).keep(*given, 128, drawing)
        assert len(places) == 128
        kept = given[1][places].bincount(minlength=5)
        sums = torch.zeros(5, dtype=torch.float64).index_add(0, given[1], expected)
        assert ((kept - sums).abs() < 1).all()


def test_stratified_importance_varies_less_than_importance_where_classes_differ() -> None:
    """Of gradients that are those of their class and a little besides."""
    drawing, norms = generator(14), torch.rand(200, generator=generator(15)).pow(2)
    given = scored(norms, 4)
    gradients = given[1].double() + 0.1 * torch.randn(200, generator=generator(16))
    deviations = []
    for keep in (StratifiedImportance(0.5), Importance(0.5)):
        sums = []
        for _ in range(300):
            places, weights = keep.keep(*given, 100, drawing)
            sums.append(float((weights * gradients[places]).sum() / 100))
        deviations.append(float(torch.tensor(sums).std()))
    assert deviations[0] < 0.5 * deviations[1]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_no_weight_is_more_than_four_times_another(share) -> None:
    norms = torch.cat([torch.zeros(900), torch.ones(100)])
    drawing = generator(6)
    for keep in (Importance(share), StratifiedImportance(max(share, 0.25))):
        for _ in range(5):
            weights = keep.keep(*scored(norms), 500, drawing)[1]
            assert float(weights.max() / weights.min()) <= 4.0 + 1e-5


@pytest.mark.parametrize("size", [0.0, 1e-7])
def test_where_no_gradient_is_left_candidates_are_alike(size) -> None:
    drawing, norms = generator(7), torch.full((400,), size)
    for keep, share in ((GradientShare(0.1), 0.9), (Importance(0.6), 0.6)):
        counts = [len(keep.keep(*scored(norms), 8, drawing)[0]) for _ in range(30)]
        assert sum(counts) / (30 * 400) == pytest.approx(share, abs=0.02)


def test_a_share_of_all_is_all_of_them() -> None:
    norms = torch.cat([torch.zeros(50), torch.ones(50)])
    for keep, size in ((Importance(1.0), 8), (StratifiedImportance(1.0), 100)):
        places, weights = keep.keep(*scored(norms), size, generator())
        assert (places.tolist(), weights.tolist()) == ([*range(100)], [1.0] * 100)
