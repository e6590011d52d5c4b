import pytest
import torch
from torch import nn

from crest.parameters.sections import TrainParameters
from crest.training import clipping, optimizers
from crest.training.clipping import clipped


def optimizer_with_gradients(scale: float) -> torch.optim.Optimizer:
    model = nn.Linear(3, 2)
    model.weight.grad = scale * torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    model.bias.grad = scale * torch.tensor([0.0, 4.0])
    return optimizers.build(model, TrainParameters(lr=0.1))  # ‖g‖ = 5·scale


def weights_of(optimizer):
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def gradients(optimizer):
    return torch.cat([weight.grad.flatten() for weight in weights_of(optimizer)])


@pytest.mark.parametrize(("greatest", "factor"), [(2.5, 0.5), (5.0, 1.0), (50.0, 1.0), (None, 1.0)])
def test_gradients_are_scaled_to_the_norm_within_the_block_only(greatest, factor):
    optimizer = optimizer_with_gradients(1.0)
    before = gradients(optimizer).clone()
    with clipped(weights_of(optimizer), greatest):
        torch.testing.assert_close(gradients(optimizer), factor * before)
    torch.testing.assert_close(gradients(optimizer), before)


def test_as_torch_clips():
    ours, theirs = optimizer_with_gradients(3.0), optimizer_with_gradients(3.0)
    torch.nn.utils.clip_grad_norm_(weights_of(theirs), 1.0)
    with clipped(weights_of(ours), 1.0):
        torch.testing.assert_close(gradients(ours), gradients(theirs))


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("greatest", [1e-3, 1.0, 5.0, 1e3])
@pytest.mark.parametrize("scale", [1.0, 1 / 3, 1e-20, 1e20, float("inf"), float("nan")])
def test_the_bits_are_those_of_a_number_on_the_host(scale, greatest, at_once, monkeypatch):
    monkeypatch.setattr(clipping, "is_read_at_once", lambda values: at_once)
    optimizer = optimizer_with_gradients(scale)
    expected = gradients(optimizer).clone()
    norm = float(torch.nn.utils.get_total_norm([w.grad for w in weights_of(optimizer)]))
    factors = (greatest / norm, norm / greatest) if norm > greatest else (1.0, 1.0)
    with clipped(weights_of(optimizer), greatest):
        expected *= factors[0]
        assert torch.equal(gradients(optimizer).nan_to_num(7.0), expected.nan_to_num(7.0))
    expected *= factors[1]
    assert torch.equal(gradients(optimizer).nan_to_num(7.0), expected.nan_to_num(7.0))


def test_without_any_gradient_there_is_nothing_to_clip():
    with clipped([nn.Parameter(torch.ones(2))], 1.0):
        pass


def test_a_gradient_that_is_no_number_is_left_to_be_noticed():
    optimizer = optimizer_with_gradients(float("nan"))
    with clipped(weights_of(optimizer), 1.0):
        assert gradients(optimizer).isnan().any()


def test_weights_without_a_gradient_are_no_matter():
    optimizer = optimizer_with_gradients(1.0)
    optimizer.param_groups[0]["params"][1].grad = None
    with clipped(weights_of(optimizer), 1.0):
        assert float(optimizer.param_groups[0]["params"][0].grad.norm()) == pytest.approx(1.0)
