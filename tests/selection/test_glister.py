"""GLISTER's gains and picks against recomputing the validation loss."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest.selection.glister import Head, _updates_with_picks, gains, glister, with_constant

EXAMPLES, FEATURES, CLASSES = 20, 4, 3


class Case:
    """A linear model in float64, examples to choose from, and validation data."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(count: int) -> tuple[Tensor, Tensor]:
            features = torch.randn(count, FEATURES, generator=generator, dtype=torch.float64)
            return features, torch.randint(CLASSES, (count,), generator=generator)

        self.model = nn.Linear(FEATURES, CLASSES, dtype=torch.float64)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.features, self.labels = draw(EXAMPLES)
        self.validation, self.validation_labels = draw(15)
        with torch.no_grad():
            probabilities = self.model(self.features).softmax(1)
        self.residuals = probabilities - F.one_hot(self.labels, CLASSES)

    def steps(self) -> list[tuple[Tensor, Tensor]]:
        """The gradient of each example's loss, by automatic differentiation."""
        found = []
        for place in range(EXAMPLES):
            loss = F.cross_entropy(self.model(self.features[place]), self.labels[place])
            found.append(torch.autograd.grad(loss, (self.model.weight, self.model.bias)))
        return found

    def loss_after(self, picks: list[int], step_size: float) -> float:
        """Validation loss after a step along the sum of the gradients of some examples."""
        steps = self.steps()
        weight = self.model.weight - step_size * sum(steps[pick][0] for pick in picks)
        bias = self.model.bias - step_size * sum(steps[pick][1] for pick in picks)
        logits = F.linear(self.validation, weight, bias).detach()
        return float(F.cross_entropy(logits, self.validation_labels))

    def choose(
        self, size: int, gradient_updates: int, step_size: float, groups: Tensor, shares: Tensor
    ) -> list[int]:
        return glister(
            Head.of(self.model),
            self.residuals,
            with_constant(self.features),
            with_constant(self.validation),
            self.validation_labels,
            groups,
            shares,
            gradient_updates,
            step_size,
        ).tolist()


def test_the_gradient_of_the_validation_loss_equals_autograd() -> None:
    case = Case(0)
    loss = F.cross_entropy(case.model(case.validation), case.validation_labels)
    expected = torch.autograd.grad(loss, (case.model.weight, case.model.bias))
    found = Head.of(case.model).loss_gradient(
        with_constant(case.validation), case.validation_labels
    )
    torch.testing.assert_close(found, torch.cat([expected[0], expected[1][:, None]], 1))


def test_gains_are_how_much_a_small_step_lowers_the_validation_loss() -> None:
    case, step_size = Case(1), 1e-6
    gradient = Head.of(case.model).loss_gradient(
        with_constant(case.validation), case.validation_labels
    )
    found = gains(case.residuals, with_constant(case.features), gradient)
    before = case.loss_after([], step_size)
    expected = [(before - case.loss_after([i], step_size)) / step_size for i in range(EXAMPLES)]
    assert found.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_one_by_one_it_is_greedy_by_the_loss_itself(seed: int) -> None:
    """With steps so small that the Taylor series is exact; the layer moves by η/k a pick."""
    case, size, step_size = Case(seed), 6, 0.003
    everybody = torch.zeros(EXAMPLES, dtype=torch.int64)
    picks = case.choose(size, size, step_size, everybody, torch.tensor([size]))
    for place, pick in enumerate(picks):
        losses = {
            other: case.loss_after([*picks[:place], other], step_size / size)
            for other in range(EXAMPLES)
            if other not in picks[:place]
        }
        assert losses[pick] == pytest.approx(min(losses.values()), abs=1e-6)
        assert min(losses, key=losses.__getitem__) == pick


@pytest.mark.parametrize("gradient_updates", [1, 3, 8, 50])
def test_shares_of_groups_are_kept_whatever_the_updates(gradient_updates: int) -> None:
    case = Case(2)
    groups = torch.arange(EXAMPLES) % 3
    picks = case.choose(8, gradient_updates, 1.0, groups, torch.tensor([5, 0, 3]))
    assert len(set(picks)) == 8
    assert torch.bincount(groups[picks], minlength=3).tolist() == [5, 0, 3]


def test_a_new_gradient_changes_what_is_chosen() -> None:
    """A large step along the first picks turns the validation loss towards other examples."""
    case = Case(3)
    everybody = torch.zeros(EXAMPLES, dtype=torch.int64)
    chosen = [
        set(case.choose(8, gradient_updates, 20.0, everybody, torch.tensor([8])))
        for gradient_updates in (1, 8)
    ]
    assert chosen[0] != chosen[1]


@pytest.mark.parametrize("seed", range(20))
def test_updates_at_which_nothing_is_due_are_left_out(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    shares = torch.randint(0, 7, (3,), generator=generator)
    gradient_updates = int(torch.randint(1, 60, (1,), generator=generator))
    due = [
        shares * (update + 1) // gradient_updates - shares * update // gradient_updates
        for update in range(gradient_updates)
    ]
    taken = list(_updates_with_picks(shares, gradient_updates))
    assert set(taken) >= {update for update in range(gradient_updates) if due[update].any()}
    assert len(taken) <= max(1, int(shares.sum()))
    assert taken == sorted(taken)
    assert not int(shares.sum()) or sum(due[update] for update in taken).equal(shares)


def test_updates_without_an_end_are_as_many_as_there_are_picks() -> None:
    shares = torch.tensor([3, 0, 5])
    assert len(list(_updates_with_picks(shares, 2**31 - 1))) == 7
