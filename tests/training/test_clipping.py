import pytest
import torch
from torch import nn

from crest.parameters.sections import TrainParameters
from crest.training import optimizers
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


def test_a_gradient_that_is_no_number_is_left_to_be_noticed():
    optimizer = optimizer_with_gradients(float("nan"))
    with clipped(weights_of(optimizer), 1.0):
        assert gradients(optimizer).isnan().any()


def test_weights_without_a_gradient_are_no_matter():
    optimizer = optimizer_with_gradients(1.0)
    optimizer.param_groups[0]["params"][1].grad = None
    with clipped(weights_of(optimizer), 1.0):
        assert float(optimizer.param_groups[0]["params"][0].grad.norm()) == pytest.approx(1.0)
