"""Folded models are the same functions, with the same derivatives."""

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest.inference.folding import find_folds, folded
from crest.models import build


def trained(model: nn.Module) -> nn.Module:
    """Give BatchNorm the statistics and weights of some training."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                if tensor is not None:
                    tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator)
    return model


def test_a_model_without_batchnorm_is_not_even_run() -> None:
    class Unrunnable(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            raise AssertionError

    assert find_folds(Unrunnable(2, 2), torch.zeros(2, 2)) == ()


def images(size: int = 8) -> Tensor:
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))


def resnet(name: str = "resnet20") -> nn.Module:
    return build(name, classes=5, image_shape=(16, 16, 3), stem="cifar", seed=0)


@pytest.mark.parametrize(("name", "norms"), [("resnet20", 19), ("resnet18", 20)])
def test_every_norm_of_a_residual_network_is_folded_and_the_logits_stay(
    name: str, norms: int
) -> None:
    model = trained(resnet(name)).eval()
    inputs = images(16)
    folds = find_folds(model, inputs)
    assert len(folds) == norms
    with torch.no_grad(), folded(model, folds):
        found = model(inputs)
    torch.testing.assert_close(found, model(inputs).detach(), rtol=1e-4, atol=1e-4)


def test_groupnorm_is_left_as_it_is() -> None:
    model, inputs = resnet("resnet20_gn"), images(16)
    folds = find_folds(model, inputs)
    assert folds == ()
    with torch.no_grad():
        expected = model.eval()(inputs)
        with folded(model.train(), folds):
            assert torch.equal(model(inputs), expected)
    assert model.training


def derivatives(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Gradient and one Hessian-vector product."""
    weights = list(model.parameters())
    loss = F.cross_entropy(model(inputs), torch.arange(len(inputs)))
    gradient = torch.autograd.grad(loss, weights, create_graph=True)
    signs = [torch.ones_like(weight) for weight in weights]
    return [*gradient, *torch.autograd.grad(gradient, weights, signs)]


def test_gradients_and_hessian_vector_products_stay() -> None:
    model = trained(resnet()).double().eval()
    inputs = images(16).double()
    folds = find_folds(model, inputs)
    plain = derivatives(model, inputs)
    with folded(model, folds):
        found = derivatives(model, inputs)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other)


class Twice(nn.Module):
    """Takes a convolution's output once normalised and once as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.convolution(inputs)
        return self.linear((self.norm(output) + output).mean((2, 3)))


def test_an_output_that_is_used_twice_is_not_folded() -> None:
    # Untouched statistics make the two functions nearly equal: the search must not be fooled.
    model = Twice()
    assert find_folds(model, images()) == ()


def test_a_model_without_norms_has_no_folds() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    assert find_folds(model, images()) == ()


def test_looking_for_folds_changes_nothing() -> None:
    model = resnet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find_folds(model, images(16))
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_an_error_leaves_the_model_as_it_was() -> None:
    model = trained(resnet())
    folds = find_folds(model, images(16))
    expected = model.eval()(images(16))
    model.train()
    with pytest.raises(ZeroDivisionError), folded(model, folds):
        raise ZeroDivisionError
    assert model.training
    assert torch.equal(model.eval()(images(16)), expected)


def test_a_model_that_cannot_be_copied_is_folded() -> None:
    model = resnet()
    model.logger = threading.Lock()
    assert len(find_folds(model, images(16))) == 19


def test_the_tensors_of_the_norms_are_the_very_same_after_the_search() -> None:
    model = resnet()
    before = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    find_folds(model, images(16))
    after = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    assert after == before


def test_a_failing_search_puts_the_norms_back() -> None:
    class Failing(Twice):
        def forward(self, inputs: Tensor) -> Tensor:
            raise ZeroDivisionError

    model = Failing()
    weight = model.norm.weight
    with pytest.raises(ZeroDivisionError):
        find_folds(model, images())
    assert model.norm.weight is weight
    assert model.norm.running_mean.tolist() == [0.0] * 4


def test_inputs_that_are_no_numbers_have_no_folds_and_no_error() -> None:
    assert find_folds(resnet(), images(16) * torch.nan) == ()


def test_a_forward_that_somebody_replaced_is_neither_folded_nor_lost() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    assert len(find_folds(model, images())) == 1
    convolution = model[0]
    assert isinstance(convolution, nn.Conv2d)
    own = convolution.forward
    convolution.forward = lambda inputs: own(inputs) * 2  # type: ignore[method-assign]
    assert find_folds(model, images()) == ()
    assert "forward" in vars(convolution)


def test_folding_within_a_folded_block_changes_nothing_of_it() -> None:
    """An evaluator folds for each pass, also where whoever asks has folded already."""
    model, inputs = trained(resnet()), images(16)
    folds = find_folds(model, inputs)
    with torch.no_grad(), folded(model, folds):
        before = model(inputs)
        with folded(model, folds):
            assert torch.equal(model(inputs), before)
        assert torch.equal(model(inputs), before)
    assert all("forward" not in vars(module) for module in model.modules())
