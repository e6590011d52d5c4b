"""Recursive least squares against the weighted problem solved at once."""

import numpy as np
import torch

from crest.samplers.batch_selection.expectation import DECAY, RIDGE, Expectation, features_of


def test_it_is_least_squares_in_which_older_steps_count_less() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(6, 3, generator=generator) for _ in range(40)]
    values = [torch.randn(6, generator=generator) for _ in batches]
    found = Expectation(3)
    for features, norms in zip(batches, values, strict=True):
        found.learn(features, norms)
    scale = np.repeat([DECAY ** (39 - step) for step in range(40)], 6) ** 0.5
    rows = torch.cat(batches).double().numpy() * scale[:, None]
    targets = torch.cat(values).double().numpy() * scale
    ridge = RIDGE**0.5 * np.eye(3)
    both = np.vstack([rows, ridge]), np.concatenate([targets, np.zeros(3)])
    coefficients = np.linalg.lstsq(*both, rcond=None)[0]
    candidates = torch.randn(5, 3, generator=generator)
    expected = torch.from_numpy(candidates.double().numpy() @ coefficients).float()
    torch.testing.assert_close(found.expect(candidates), expected)


def test_where_features_tell_nothing_the_mean_is_expected() -> None:
    generator, found = torch.Generator().manual_seed(1), Expectation(7)
    for _ in range(300):
        last, norms = torch.rand(2, 64, generator=generator)
        found.learn(features_of(last, torch.rand(64, generator=generator), None), norms)
    last = torch.linspace(0.1, 0.9, 9)
    expected = found.expect(features_of(last, torch.full((9,), 0.5), None))
    assert (expected - 0.5).abs().max() < 0.05


def test_forgetting_is_learned_from_how_long_ago_a_visit_was() -> None:
    """Norms that rise with the passes since the last visit are expected to."""
    generator, found = torch.Generator().manual_seed(2), Expectation(7)
    for _ in range(200):
        last = torch.rand(64, generator=generator)
        passes = 4 * torch.rand(64, generator=generator)
        found.learn(features_of(last, passes, None), last + 0.3 * passes.log1p())
    last, passes = torch.full((3,), 0.2), torch.tensor([0.5, 1.0, 4.0])
    expected = found.expect(features_of(last, passes, None))
    torch.testing.assert_close(expected, last + 0.3 * passes.log1p(), atol=1e-3, rtol=0)


def test_norms_that_never_change_are_expected_however_long_they_do_not() -> None:
    found, same = Expectation(7), torch.ones(16)
    rows = features_of(same, same, None)
    for _ in range(6000):
        found.learn(rows, same)
    torch.testing.assert_close(found.expect(rows[:1]), same[:1], atol=1e-4, rtol=0)


def test_its_state_is_all_it_knows() -> None:
    found, again = Expectation(2), Expectation(2)
    found.learn(torch.randn(9, 2), torch.randn(9))
    again.load_state_dict(found.state_dict())
    found.learn(torch.randn(9, 2), torch.randn(9))  # a saved state does not change any more
    some = torch.randn(4, 2)
    assert not torch.equal(again.expect(some), found.expect(some))
    again.load_state_dict(found.state_dict())
    assert torch.equal(again.expect(some), found.expect(some))
