"""Gradient and Hutchinson diagonal against exact derivatives of a small network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from crest.devices.precision import Precision
from crest.errors import ParameterError
from crest.inference.evaluator import Evaluator
from crest.models.head import last_layer
from crest.regions.curvature import (
    NoCurvatureError,
    covered_parameters,
    estimate_curvature,
    flatten,
    trained_parameters,
)
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
    found = estimate_curvature(Evaluator(model, split, FLOAT32), coresets(), generator)
    torch.testing.assert_close(found.gradient, gradient)


def test_hutchinson_mean_converges_to_the_exact_diagonal() -> None:
    model, split = network(), linear_split()
    _, hessian = exact(model, split, coresets())
    errors = []
    for draws in (10, 1000):
        generator = torch.Generator().manual_seed(0)
        found = estimate_curvature(Evaluator(model, split, FLOAT32), coresets(), generator, draws)
        errors.append(float((found.hessian - hessian.diagonal()).norm()))
    scale = float(hessian.diagonal().norm())
    assert errors[1] < 0.15 * scale
    # The error falls like the root of the number of draws: by 10 here, give or take.
    assert 4.0 < errors[0] / errors[1] < 25.0


@pytest.mark.parametrize("draws", [1, 3])
def test_pieces_that_fit_into_the_memory_add_up_to_the_whole(draws: int, caplog) -> None:
    """With the same z in all pieces the estimate is that of the whole, not only its mean."""

    class Limited(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            logits = super().forward(inputs)
            if len(inputs) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return logits

    split = linear_split()
    whole, limited = network(), Limited(*network())
    expected, found = (
        estimate_curvature(
            Evaluator(model, split, Precision("float32", torch.device("cpu"))),
            coresets(),
            torch.Generator().manual_seed(0),
            draws,
        )
        for model in (whole, limited)
    )
    torch.testing.assert_close(found.gradient, expected.gradient)
    torch.testing.assert_close(found.hessian, expected.hessian)
    assert found.products == expected.products
    assert caplog.messages == [
        "estimating curvature: 6 examples at once do not fit into the GPU's memory; from here on 1"
    ]


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
    found = estimate_curvature(Evaluator(model, split, FLOAT32), coresets(1), torch.Generator())
    torch.testing.assert_close(found.hessian, hessian.diagonal())


def test_batchnorm_statistics_and_gradients_are_left_alone() -> None:
    model, split = convnet(), image_split()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    estimate_curvature(Evaluator(model, split, FLOAT32), coresets(), torch.Generator())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


@pytest.mark.parametrize(
    ("quadratic", "names"),
    [
        ("full", ["0.weight", "0.bias", "2.weight", "2.bias"]),
        ("last_layer", ["2.weight", "2.bias"]),
        ("*.bias", ["0.bias", "2.bias"]),
        ("0.*", ["0.weight", "0.bias"]),
    ],
)
def test_covered_parameters_are_those_named(quadratic: str, names: list[str]) -> None:
    model = network()
    named = dict(model.named_parameters())
    covered = covered_parameters(model, quadratic)
    assert [id(value) for value in covered] == [id(named[name]) for name in names]


def test_frozen_parameters_are_not_covered() -> None:
    model = network()
    model[2].bias.requires_grad_(False)
    assert covered_parameters(model, "last_layer")[0] is model[2].weight
    assert len(covered_parameters(model, "last_layer")) == 1
    assert len(covered_parameters(model, "*")) == 3


def test_a_pattern_of_nothing_is_refused_with_names_that_exist() -> None:
    with pytest.raises(
        ParameterError, match=r"crest\.quadratic\.parameters: 'head.*2\.weight, 2\.bias"
    ):
        covered_parameters(network(), "head.*")


@pytest.mark.parametrize("quadratic", ["last_layer", "*.bias"])
def test_a_part_of_the_diagonal_is_that_part_of_the_exact_one(quadratic: str) -> None:
    model, split = network(), linear_split()
    gradient, hessian = exact(model, split, coresets())
    inside = torch.cat(
        [
            torch.full((value.numel(),), any(value is one for one in covered))
            for covered in [covered_parameters(model, quadratic)]
            for value in model.parameters()
        ]
    )
    generator = torch.Generator().manual_seed(0)
    found = estimate_curvature(
        Evaluator(model, split, FLOAT32),
        coresets(),
        generator,
        draws=1000,
        parameters=covered_parameters(model, quadratic),
    )
    torch.testing.assert_close(found.gradient, gradient[inside])
    diagonal = hessian.diagonal()[inside]
    assert float((found.hessian - diagonal).norm()) < 0.15 * float(diagonal.norm())
    assert all(value.requires_grad for value in model.parameters())


class Attending(nn.Module):
    """Attention by torch's own operation, whose fast kernels have no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 3)
        self.last = nn.Linear(1, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = self.inner(inputs[:, None, :, None]).split(1, dim=-1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.last(mixed[:, 0].mean(1))


def test_attention_is_differentiated_twice() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attending()
    split = linear_split()
    with sdpa_kernel(SDPBackend.MATH):
        gradient, _ = exact(model, split, coresets())
    found = estimate_curvature(Evaluator(model, split, FLOAT32), coresets(), torch.Generator())
    torch.testing.assert_close(found.gradient, gradient)
    assert found.hessian[: model.inner.weight.numel()].abs().min() > 0


class AttendingFast(Attending):
    """Attention that insists on a fast kernel."""

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = self.inner(inputs[:, None, :, None]).split(1, dim=-1)
        attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return self.last(attend(query, key, value)[0][:, 0].mean(1))


def test_an_operation_without_a_second_derivative_is_told_with_the_way_out() -> None:
    model, split = AttendingFast(), linear_split()
    with pytest.raises(NoCurvatureError, match=r"crest\.quadratic\.parameters: .*last_layer"):
        estimate_curvature(Evaluator(model, split, FLOAT32), coresets(), torch.Generator())
    covered = trained_parameters(last_layer(model))
    found = estimate_curvature(
        Evaluator(model, split, FLOAT32), coresets(), torch.Generator(), parameters=covered
    )
    assert found.gradient.isfinite().all()


class Once(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        return inputs * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Detached(torch.autograd.Function):
    """Goes back by numbers alone."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        return inputs * 2

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.detach() * 2


@pytest.mark.parametrize(
    "operation",
    [
        F.hardsigmoid,
        Once.apply,
        lambda x: checkpoint(torch.tanh, x, use_reentrant=True),
    ],
)
def test_every_way_of_not_differentiating_twice_is_told(operation: Any) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.last(operation(self.first(inputs)))

    with pytest.raises(NoCurvatureError):
        estimate_curvature(Evaluator(Odd(), linear_split(), FLOAT32), coresets(), torch.Generator())


class Auxiliary(nn.Module):
    """Has weights that no pass uses, and a head that only training's do."""

    def __init__(self) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.ones(5))
        self.body = network()
        self.auxiliary = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.body(inputs)
        return logits + self.auxiliary(logits) if self.training else logits


@pytest.mark.parametrize("draws", [1, 2])
def test_weights_that_no_pass_uses_have_no_gradient_and_change_no_other(draws: int) -> None:
    """Their signs are drawn all the same, those of a used weight after those before it."""
    model, split = Auxiliary(), linear_split()
    gradient, hessian = exact(model.body, split, coresets())
    used = torch.cat(
        [torch.full((p.numel(),), name.startswith("body")) for name, p in model.named_parameters()]
    )
    total = torch.zeros(len(used))
    for seed in range(400 // draws):
        generator = torch.Generator().manual_seed(seed)
        found = estimate_curvature(Evaluator(model, split, FLOAT32), coresets(), generator, draws)
        torch.testing.assert_close(found.gradient[used], gradient)
        total += found.hessian / (400 // draws)
    assert not found.gradient[~used].any()
    assert not total[~used].any()
    diagonal = hessian.diagonal()
    assert float((total[used] - diagonal).norm()) < 0.2 * float(diagonal.norm())


def test_covering_only_what_no_pass_uses_is_told() -> None:
    model = Auxiliary()
    covered = covered_parameters(model, "auxiliary.*")
    with pytest.raises(NoCurvatureError, match="depends on none of the parameters"):
        estimate_curvature(
            Evaluator(model, linear_split(), FLOAT32),
            coresets(),
            torch.Generator(),
            parameters=covered,
        )


def test_sparse_gradients_are_flattened_as_what_they_stand_for() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1, 1])).sum().backward()
    assert table.weight.grad is not None
    assert flatten([table.weight.grad]).tolist() == [0, 0, 2, 2, 0, 0, 0, 0]


class NotFinite(nn.Module):
    """Normalises zeros, whose second derivative is no number, as swin_v2 does of small images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 3)
        nn.init.zeros_(self.first.weight)
        nn.init.zeros_(self.first.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(F.normalize(self.first(inputs)))


def test_a_second_derivative_that_is_no_number_is_told() -> None:
    with pytest.raises(NoCurvatureError, match="second derivative of the loss is not all finite"):
        estimate_curvature(
            Evaluator(NotFinite(), linear_split(), FLOAT32), coresets(), torch.Generator()
        )


def test_a_model_that_is_frozen_altogether_or_in_its_last_layer_is_refused_in_words() -> None:
    model = network()
    model[2].requires_grad_(False)
    with pytest.raises(ParameterError, match="last layer is frozen"):
        covered_parameters(model, "last_layer")
    with pytest.raises(ParameterError, match="every parameter of the model is frozen"):
        covered_parameters(model.requires_grad_(False), "full")
