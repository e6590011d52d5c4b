import copy

import pytest
import torch
from torch import nn

from crest import models
from crest.errors import ParameterError
from crest.parameters.sections import TrainParameters
from crest.training import optimizers


def gradients(weight: torch.Tensor, steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(weight.shape, generator=generator) for _ in range(steps)]


def sgd_by_hand(weight, grads, lr, momentum, nesterov, decay):
    """v ← μv + g + λw; w ← w − η(g + λw + μv) with Nesterov, w − ηv without."""
    velocity = torch.zeros_like(weight)
    for grad in grads:
        grad = grad + decay * weight
        velocity = momentum * velocity + grad
        weight = weight - lr * (grad + momentum * velocity if nesterov else velocity)
    return weight


def adamw_by_hand(weight, grads, lr, beta, decay):
    """Loshchilov and Hutter's algorithm 2, with the second beta at 0.999."""
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for step, grad in enumerate(grads, start=1):
        first = beta * first + (1 - beta) * grad
        second = 0.999 * second + 0.001 * grad**2
        update = first / (1 - beta**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        weight = weight - lr * update - lr * decay * weight
    return weight


def run(model: nn.Linear, parameters: TrainParameters, grads: list[torch.Tensor]) -> None:
    optimizer = optimizers.build(model, parameters)
    for grad in grads:
        model.weight.grad = grad.clone()
        optimizer.step()


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_takes_the_steps_of_the_formula(momentum, nesterov):
    model = nn.Linear(5, 3, bias=False)
    start, grads = model.weight.detach().clone(), gradients(model.weight, 4)
    run(
        model,
        TrainParameters(lr=0.2, momentum=momentum, nesterov=nesterov, weight_decay=0.05),
        grads,
    )
    expected = sgd_by_hand(start, grads, 0.2, momentum, nesterov, 0.05)
    torch.testing.assert_close(model.weight.detach(), expected)


def test_adamw_takes_the_steps_of_the_formula():
    model = nn.Linear(5, 3, bias=False)
    start, grads = model.weight.detach().clone(), gradients(model.weight, 4)
    parameters = TrainParameters(optimizer="adamw", lr=0.01, momentum=0.8, weight_decay=0.1)
    run(model, parameters, grads)
    expected = adamw_by_hand(start, grads, 0.01, 0.8, 0.1)
    torch.testing.assert_close(model.weight.detach(), expected)


def test_adamw_is_fused_where_there_is_one_layout_only():
    parameters = TrainParameters(optimizer="adamw")
    for model, fused in ((nn.Linear(5, 3), True), (nn.Conv2d(4, 3, 3), False)):
        optimizer = optimizers.build(model, parameters)
        assert {bool(group["fused"]) for group in optimizer.param_groups} == {fused}


def test_sgd_decays_every_weight_in_one_group():
    model = models.build("convnet", classes=3, image_shape=(8, 8, 1), stem="cifar", seed=0)
    (group,) = optimizers.build(model, TrainParameters(weight_decay=0.01)).param_groups
    assert group["weight_decay"] == 0.01
    assert len(group["params"]) == len(list(model.parameters()))


def test_adamw_spares_biases_and_norms():
    model = models.build("convnet", classes=3, image_shape=(8, 8, 1), stem="cifar", seed=0)
    parameters = TrainParameters(optimizer="adamw", weight_decay=0.01)
    decayed, spared = optimizers.build(model, parameters).param_groups
    assert decayed["weight_decay"] == 0.01
    assert spared["weight_decay"] == 0.0
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(parameter)] for parameter in decayed["params"]} == {
        "linear.weight",
        *(f"convolutions.{index}.weight" for index in range(3)),
    }
    assert {names[id(parameter)] for parameter in spared["params"]} == {
        "linear.bias",
        *(f"norms.{index}.{kind}" for index in range(3) for kind in ("weight", "bias")),
    }


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_frozen_weights_are_left_out(name):
    model = nn.Linear(5, 3)
    model.bias.requires_grad_(False)
    (group,) = optimizers.build(model, TrainParameters(optimizer=name)).param_groups
    assert group["params"] == [model.weight]


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_memory_layout_does_not_change_the_step(name):
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        model = nn.Conv2d(4, 3, 3).to(memory_format=layout)
        optimizer = optimizers.build(model, TrainParameters(optimizer=name))
        for grad in gradients(model.weight, 3):
            model.weight.grad = grad.clone()
            optimizer.step()
        results.append(model.weight.detach())
    assert torch.equal(*results)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_the_state_resumes_exactly(name):
    parameters = TrainParameters(optimizer=name)
    first, second = nn.Linear(5, 3), nn.Linear(5, 3)
    grads = gradients(first.weight, 4)
    optimizer = optimizers.build(first, parameters)
    for index, grad in enumerate(grads):
        if index == 2:
            second.load_state_dict(first.state_dict())
            resumed = optimizers.build(second, parameters)
            resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        first.weight.grad = grad.clone()
        optimizer.step()
        if index >= 2:
            second.weight.grad = grad.clone()
            resumed.step()
    assert torch.equal(first.weight, second.weight)


def test_nesterov_is_not_for_adamw():
    with pytest.raises(ParameterError, match=r"train\.nesterov: only sgd has it"):
        optimizers.build(nn.Linear(2, 2), TrainParameters(optimizer="adamw", nesterov=True))


def test_an_unknown_optimizer_is_named():
    parameters = TrainParameters.model_construct(optimizer="lion")
    with pytest.raises(ParameterError, match=r"train\.optimizer: 'lion' is not one of"):
        optimizers.build(nn.Linear(2, 2), parameters)


def test_a_model_with_nothing_to_train():
    with pytest.raises(ParameterError, match=r"train\.model: Flatten has no weights to train"):
        optimizers.build(nn.Flatten(), TrainParameters())


def groups(model: nn.Module, **settings) -> list[tuple[int, float, float]]:
    optimizer = optimizers.build(model, TrainParameters(**settings))
    return [
        (len(group["params"]), group["weight_decay"], group["lr_factor"])
        for group in optimizer.param_groups
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"optimizer": "sgd"}, [(6, 0.1, 1.0)]),
        ({"optimizer": "sgd", "decayed": "matrices"}, [(2, 0.1, 1.0), (4, 0.0, 1.0)]),
        ({"optimizer": "adamw"}, [(2, 0.1, 1.0), (4, 0.0, 1.0)]),
        ({"optimizer": "adamw", "decayed": "all"}, [(6, 0.1, 1.0)]),
        (
            {"optimizer": "adamw", "layer_decay": 0.5, "head_lr_factor": 4.0},
            [(1, 0.1, 0.5), (3, 0.0, 0.5), (1, 0.1, 4.0), (1, 0.0, 4.0)],
        ),
    ],
)
def test_groups_are_by_rate_and_by_what_decays(settings, expected):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert groups(model, weight_decay=0.1, **settings) == expected


def test_a_step_moves_each_weight_at_its_own_rate():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    settings = TrainParameters(momentum=0.0, weight_decay=0.0, layer_decay=0.25, head_lr_factor=2.0)
    before = copy.deepcopy(model)
    optimizer = optimizers.build(model, settings)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizers.set_rate(optimizer, 0.1)
    optimizer.step()
    for layer, rate in ((0, 0.025), (1, 0.2)):
        moved = before[layer].weight - model[layer].weight
        torch.testing.assert_close(moved, torch.full_like(moved, rate))
