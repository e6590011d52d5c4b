"""Gradient and Hutchinson diagonal against exact derivatives of a small network."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from crest.regions.curvature import estimate_curvature, flatten, trained_parameters
from crest.selection.coresets import MiniBatchCoreset
from tests.tiny import FLOAT32, LinearSplit, convnet, image_split, linear_split

WEIGHTS = torch.tensor([2.0, 0.5, 1.0, 1.0, 0.5, 1.0])


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))


def coresets(count: int = 2) -> list[MiniBatchCoreset]:
    return [MiniBatchCoreset(torch.arange(6) + 6 * place, WEIGHTS) for place in range(count)]


def exact(model: nn.Module, split: LinearSplit, union: list[MiniBatchCoreset]) -> tuple:
    """Gradient and full Hessian of the mean weighted loss over the union, by torch.func."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    start = flatten(trained_parameters(model))

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        values = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        total = torch.zeros(())
        for coreset in union:
            arguments = dict(zip(names, values, strict=True))
            logits = functional_call(model, arguments, split.inputs(coreset.indices))
            labels = split.labels[coreset.indices]
            total = total + (F.cross_entropy(logits, labels, reduction="none") * WEIGHTS).mean()
        return total / len(union)

    return torch.func.grad(loss)(start), torch.func.hessian(loss)(start)


def test_gradient_is_exact() -> None:
    model, split = network(), linear_split()
    gradient, _ = exact(model, split, coresets())
    generator = torch.Generator().manual_seed(0)
    found = estimate_curvature(model, split, coresets(), FLOAT32, generator)
    torch.testing.assert_close(found.gradient, gradient)


def test_hutchinson_mean_converges_to_the_exact_diagonal() -> None:
    model, split = network(), linear_split()
    _, hessian = exact(model, split, coresets())
    errors = []
    for draws in (10, 1000):
        generator = torch.Generator().manual_seed(0)
        found = estimate_curvature(model, split, coresets(), FLOAT32, generator, draws)
        errors.append(float((found.hessian - hessian.diagonal()).norm()))
    scale = float(hessian.diagonal().norm())
    assert errors[1] < 0.15 * scale
    # The error falls like the root of the number of draws: by 10 here, give or take.
    assert 4.0 < errors[0] / errors[1] < 25.0


def test_a_diagonal_hessian_is_exact_from_one_draw() -> None:
    class Separable(nn.Module):
        """One weight; its Hessian is 1x1, so one draw gives it exactly."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.3]))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.weight * inputs[:, :1] * torch.tensor([1.0, 0.0, -1.0])

    model, split = Separable(), linear_split()
    _, hessian = exact(model, split, coresets(1))
    found = estimate_curvature(model, split, coresets(1), FLOAT32, torch.Generator())
    torch.testing.assert_close(found.hessian, hessian.diagonal())


def test_batchnorm_statistics_and_gradients_are_left_alone() -> None:
    model, split = convnet(), image_split()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    estimate_curvature(model, split, coresets(), FLOAT32, torch.Generator())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
