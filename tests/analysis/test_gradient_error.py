"""Bias and variance of gradients against closed forms on a linear model."""

import itertools

import pytest
import torch
from torch import Tensor

from crest.analysis import gradient_error
from crest.analysis.gradient_error import (
    ErrorMoments,
    GradientErrors,
    gradient_errors,
    mean_gradient,
)
from crest.inference.evaluator import Evaluator
from crest.selection.choices import find_choice
from crest.selection.choosing import select_minibatch_coresets
from crest.selection.gradients import find_proxy
from tests.tiny import FLOAT32, convnet, image_split, linear_model, linear_split, parameters

EXAMPLES, SIZE = 60, 6
NOBODY = torch.empty(0, dtype=torch.int64)


def single_gradients() -> Tensor:
    """The gradient of each example's loss by the closed form, (p − y) ⊗ (x, 1)."""
    model, split = linear_model(), linear_split(EXAMPLES)
    with torch.no_grad():
        errors = model(split.features).softmax(1)
    errors[torch.arange(EXAMPLES), split.labels] -= 1
    weights = errors[:, :, None] * split.features[:, None, :]
    return torch.cat([weights.flatten(1), errors], 1).double()


def measure(
    sample: int = EXAMPLES,
    draws: int = 4,
    seed: int = 0,
    excluded: Tensor = NOBODY,
    union: int = 5,
    **crest: object,
) -> GradientErrors:
    settings = parameters(crest={"subset_size": 20, **crest}).crest
    generator = torch.Generator().manual_seed(seed)
    return gradient_errors(
        Evaluator(linear_model(), linear_split(EXAMPLES), FLOAT32),
        excluded,
        settings,
        SIZE,
        union,
        generator,
        sample,
        draws,
    )


def variance_without_replacement(size: int) -> float:
    """The textbook variance of a mean of ``size`` of all examples, drawn without replacement."""
    gradients = single_gradients()
    spread = (gradients - gradients.mean(0)).square().sum() / (EXAMPLES - 1)
    return float(spread) / size * (1 - size / EXAMPLES)


def test_the_mean_gradient_is_that_of_the_weighted_mean_loss(monkeypatch):
    monkeypatch.setattr(gradient_error, "BLOCK", 4)
    indices, weights = torch.tensor([3, 1, 3, 50, 7]), torch.tensor([2.0, 0.5, 0.0, 1.5, 1.0])
    model, split = linear_model(), linear_split(EXAMPLES)
    found = mean_gradient(Evaluator(model, split, FLOAT32), indices, weights)
    expected = (single_gradients()[indices] * weights[:, None]).mean(0)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)
    plain = mean_gradient(Evaluator(model, split, FLOAT32), torch.arange(EXAMPLES))
    expected = single_gradients().mean(0)
    torch.testing.assert_close(plain.double(), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("draws", [2, 3])
def test_moments_are_unbiased(draws):
    """Over all ways to draw from three errors, the estimates are right in the mean."""
    errors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    biases, squares = [], []
    for chosen in itertools.product(errors, repeat=draws):
        moments = ErrorMoments()
        for error in chosen:
            moments.add(error)
        biases.append(moments.bias_squared)
        squares.append(moments.mean_square)
    mean = errors.mean(0)
    assert sum(biases) / len(biases) == pytest.approx(float(mean.square().sum()))
    assert sum(squares) / len(squares) == pytest.approx(float(errors.square().sum(1).mean()))


def test_random_minibatches_and_subsets_have_the_textbook_variance():
    found = measure(draws=1500)
    assert found.minibatch.variance == pytest.approx(variance_without_replacement(SIZE), rel=0.06)
    assert found.subset.variance == pytest.approx(variance_without_replacement(20), rel=0.06)
    assert abs(found.minibatch.bias_squared) < 0.01 * found.minibatch.variance
    assert (found.minibatch.examples, found.subset.examples) == (SIZE, 20)


def test_all_data_as_the_subset_leave_a_bias_and_no_variance():
    found = measure(subset_size=EXAMPLES)
    model, split = linear_model(), linear_split(EXAMPLES)
    (coreset,) = select_minibatch_coresets(
        Evaluator(model, split, FLOAT32),
        [torch.arange(EXAMPLES)],
        SIZE,
        find_proxy("logits"),
        find_choice("facility_location"),
        torch.Generator(),
    )
    singles = single_gradients()
    error = (singles[coreset.indices] * coreset.weights[:, None]).mean(0) - singles.mean(0)
    for kind in (found.coreset, found.union):
        assert kind.bias_squared == pytest.approx(float(error.square().sum()), rel=1e-4)
        assert kind.variance == pytest.approx(0.0, abs=1e-9)
    assert found.subset.mean_square == pytest.approx(0.0, abs=1e-9)
    assert found.gradient_square == pytest.approx(float(singles.mean(0).square().sum()), rel=1e-4)


def test_minibatches_that_share_out_all_data_err_alone_and_not_together():
    found = measure(
        subset_size=EXAMPLES,
        choice="spatially_balanced",
        subset_coresets=EXAMPLES // SIZE,
        union=10,
    )
    assert found.coreset.variance > 0.01
    assert found.union.mean_square == pytest.approx(0.0, abs=1e-9)


def test_the_union_errs_as_unions_drawn_one_by_one_do():
    singles, union = single_gradients(), 5
    found = measure(draws=600)
    model, split = linear_model(), linear_split(EXAMPLES)
    generator = torch.Generator().manual_seed(9)
    squares = []
    for _ in range(300):
        subsets = [torch.randperm(EXAMPLES, generator=generator)[:20] for _ in range(union)]
        coresets = select_minibatch_coresets(
            Evaluator(model, split, FLOAT32),
            subsets,
            SIZE,
            find_proxy("logits"),
            find_choice("facility_location"),
            generator,
        )
        gradients = [
            (singles[coreset.indices] * coreset.weights[:, None]).mean(0) for coreset in coresets
        ]
        error = torch.stack(gradients).mean(0) - singles.mean(0)
        squares.append(float(error.square().sum()))
    assert found.union.examples == union * SIZE
    assert found.union.mean_square == pytest.approx(sum(squares) / len(squares), rel=0.1)
    assert found.union.bias_squared == found.coreset.bias_squared


def test_coresets_of_linear_features_vary_less_than_random_minibatches():
    found = measure(draws=300)
    assert found.coreset.variance < 0.7 * found.minibatch.variance


def test_what_a_sampled_gradient_errs_by_is_taken_out():
    truth = measure(draws=400)
    sampled = [measure(sample=20, draws=40, seed=seed) for seed in range(40)]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    scale = truth.minibatch.variance
    assert abs(mean([found.minibatch.bias_squared for found in sampled])) < 0.05 * scale
    assert mean([found.gradient_square for found in sampled]) == pytest.approx(
        truth.gradient_square, abs=0.1 * scale
    )
    assert mean([found.coreset.bias_squared for found in sampled]) == pytest.approx(
        truth.coreset.bias_squared, abs=0.05 * scale
    )


def test_subsets_are_not_drawn_from_the_excluded(monkeypatch):
    scored: list[Tensor] = []
    choose = gradient_error.select_minibatch_coresets

    def watched(evaluator, subsets, *rest, **named):
        scored.extend(subsets)
        return choose(evaluator, subsets, *rest, **named)

    monkeypatch.setattr(gradient_error, "select_minibatch_coresets", watched)
    measure(excluded=torch.arange(30))
    assert len(scored) == 4
    assert all(int(subset.min()) >= 30 for subset in scored)


def test_the_model_is_left_as_it_was():
    model, split = convnet(), image_split(60)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = parameters(crest={"subset_size": 20}).crest
    generator = torch.Generator().manual_seed(0)
    gradient_errors(Evaluator(model, split, FLOAT32), NOBODY, settings, 6, 5, generator, 60, 2)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_focus_is_a_bias_that_its_weights_take_away():
    """Of a linear model, whose losses differ a lot; subsets are dealt whole."""
    drawn = {
        "choice": "spatially_balanced",
        "selection": "on_demand",
        "subset_coresets": 3,
        "subset_size": 18,
    }
    with_focus = drawn | {"draw": "without_replacement", "focus": 1.0, "focus_floor": 0.3}
    plain = measure(draws=400, **drawn)
    biased = measure(draws=400, **with_focus)
    weighed = measure(draws=400, **with_focus, focus_weights=True)
    square = plain.gradient_square
    assert abs(plain.coreset.bias_squared) < 0.01 * square
    assert biased.coreset.bias_squared > 0.05 * square
    assert abs(weighed.coreset.bias_squared) < 0.25 * biased.coreset.bias_squared
