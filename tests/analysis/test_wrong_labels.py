"""The estimates of wrong labels, against draws whose truth is known."""

import math

import polars as pl
import pytest
import torch
from torch.distributions import Beta

from crest.analysis.wrong_labels import pooled, together, wrong_probabilities, wrong_share
from crest.artifacts import TABLES

COUNT = 20_000


def drawn(share: float, seed: int = 0) -> pl.DataFrame:
    """Probabilities of labels: of right ones high, of wrong ones and of controls alike."""
    torch.manual_seed(seed)
    right, control = (Beta(*shape).sample((COUNT,)) for shape in ((8.0, 1.5), (1.0, 6.0)))
    wrong = torch.arange(COUNT) < share * COUNT
    own = torch.where(wrong, Beta(1.0, 6.0).sample((COUNT,)), right)
    return pl.DataFrame(
        {"label_probability": own.numpy(), "control_probability": control.numpy()}
    ).cast(pl.Float64)


# The least of several estimates is rather too low: over ten seeds by 0.08 at most, and never too
# high by more than 0.02.
@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.4, 0.8])
def test_the_share_is_the_planted_one(share) -> None:
    assert wrong_share(drawn(share)) == pytest.approx(share, abs=0.03)


def test_the_share_is_the_least_excess_over_the_lowest_controls() -> None:
    """40 of 100 labels are as low as the lowest 50 controls, 12 as the lowest 40: 0.3 of them."""
    control = [place / 100 for place in range(1, 101)]
    own = [0.005] * 12 + [0.45] * 28 + [2.0] * 60
    table = pl.DataFrame({"label_probability": own, "control_probability": control})
    assert wrong_share(table) == pytest.approx(12 / 40)
    tied = table.with_columns(control_probability=pl.lit(0.4))  # so that all controls are lowest
    assert wrong_share(tied) == pytest.approx(12 / 100)


@pytest.mark.parametrize("rows", [0, 19])
def test_of_too_few_or_unknown_probabilities_nothing_is_said(rows) -> None:
    assert wrong_share(drawn(0.2).head(rows)) is None
    assert wrong_share(drawn(0.2).with_columns(control_probability=None)) is None
    assert wrong_share(drawn(0.2).head(20)) is not None


def test_probabilities_are_those_of_the_planted_normals() -> None:
    """Of losses whose logarithms are 0.3 · N(1, 0.4²) + 0.7 · N(-1, 0.6²), by Bayes' rule."""
    torch.manual_seed(0)
    wrong = torch.rand(COUNT) < 0.3
    logs = torch.where(wrong, 1 + 0.4 * torch.randn(COUNT), -1 + 0.6 * torch.randn(COUNT)).double()
    found = wrong_probabilities(pl.Series(logs.exp().numpy()), 0.3).to_torch()
    normal = torch.distributions.Normal
    odds = normal(1.0, 0.4).log_prob(logs) - normal(-1.0, 0.6).log_prob(logs) + math.log(0.3 / 0.7)
    inner = (logs > -1.5) & (logs < 3)
    assert (found - odds.sigmoid())[inner].abs().max() < 0.06
    assert found.mean() == pytest.approx(0.3, abs=0.01)
    assert (found[logs.argsort()].diff() >= 0).all()


def test_low_losses_are_no_sign_though_the_wrong_ones_spread_wider() -> None:
    torch.manual_seed(0)
    wrong = torch.rand(COUNT) < 0.3
    logs = torch.where(wrong, torch.randn(COUNT), -2 + 0.2 * torch.randn(COUNT)).double()
    found = wrong_probabilities(pl.Series(logs.exp().numpy()), 0.3).to_torch()
    assert found[logs < -2.6].max() == found.min() < 0.01


@pytest.mark.parametrize(("share", "expected"), [(0.0, [0.0, 0.0]), (1.0, [1.0, 1.0])])
def test_none_or_all_are_wrong(share, expected) -> None:
    assert wrong_probabilities(pl.Series([0.5, 2.0]), share).to_list() == expected


def test_what_is_unknown_stays_so() -> None:
    losses = pl.Series([0.1, None, 5.0, 0.12, 0.09])
    assert wrong_probabilities(losses, None).to_list() == [None] * 5
    found = wrong_probabilities(losses, 0.25)
    assert found[1] is None
    assert found[2] == 1.0
    assert max(found[0], found[3], found[4]) < 1e-6


def test_losses_that_are_all_alike_say_nothing_of_one_another() -> None:
    found = wrong_probabilities(pl.Series([0.0] * 50), 0.2)
    assert found.is_finite().all()
    assert found.n_unique() == 1


def rows(**columns: list) -> pl.DataFrame:
    given = {"pass": ["training"] * 2, "index": [0, 1], "label": [4, 5]} | columns
    blank = {name: [None, None] for name in TABLES["examples"]}
    return pl.DataFrame(blank | given, schema=dict(TABLES["examples"]))


def test_runs_count_together() -> None:
    one = rows(seen=[1, 2], loss_sum=[1.0, 2.0], label_probability=[0.5, None], taken_for=[7, -1])
    two = rows(seen=[3, 0], loss_sum=[5.0, 0.0], label_probability=[0.1, None], taken_for=[1, 1])
    assert pooled([one]).equals(one)
    expected = rows(
        seen=[4, 2], loss_sum=[6.0, 2.0], label_probability=[0.3, None], taken_for=[7, -1]
    )
    assert pooled([one, two]).equals(expected)


def test_two_estimates_together_are_as_bayes_has_it():
    share = 0.2
    run, inputs = pl.Series([0.2, 0.5, None, 0.9]), pl.Series([0.2, 0.3, 0.1, 0.2])
    assert inputs.mean() == pytest.approx(share)

    def bayes(one: float, other: float) -> float:
        prior = (1 - share) / share
        odds = one / (1 - one) * other / (1 - other) * prior
        return odds / (1 + odds)

    found = together(run, inputs)
    assert found.to_list() == pytest.approx(
        [bayes(0.2, 0.2), bayes(0.5, 0.3), bayes(share, 0.1), bayes(0.9, 0.2)]
    )
    assert together(run, pl.Series([0.0] * 4)).to_list() == [0.2, 0.5, None, 0.9]
