"""Generators: one for each purpose, none like another."""

import pytest
import torch

from crest.training.generators import generator_for


def draws(seed: int, purpose: str, count: int = 1000) -> torch.Tensor:
    return torch.rand(count, generator=generator_for(seed, purpose), dtype=torch.float64)


def test_the_same_seed_and_purpose_draw_the_same() -> None:
    assert torch.equal(draws(3, "method"), draws(3, "method"))


def test_draws_are_the_same_in_every_process_and_release() -> None:
    """A saved seed must mean the same run tomorrow."""
    generator = generator_for(0, "method")
    drawn = torch.randint(2**31, (3,), generator=generator)
    assert drawn.tolist() == [550423871, 984257863, 168557253]


@pytest.mark.parametrize(
    "other", [(1, "method"), (0, "augmentation"), (0, "Method"), (10, "method"), (0, "")]
)
def test_another_seed_or_purpose_draws_independently(other) -> None:
    pair = torch.stack([draws(0, "method"), draws(*other)])
    assert abs(float(pair.corrcoef()[0, 1])) < 0.12


def test_seed_and_purpose_do_not_run_together() -> None:
    assert not torch.equal(draws(1, "1/x"), draws(11, "/x"))


def test_any_seed_that_parameters_allow_will_do() -> None:
    assert len(draws(2**63 - 1, "method")) == 1000


def test_it_is_on_the_cpu_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    assert generator_for(0, "method").device == torch.device("cpu")
    draws(0, "method")
    assert torch.equal(before, torch.get_rng_state())
