"""FLOP against closed forms."""

import torch
from torch import nn

from crest.inference.flops import Flops, count_flops
from tests.tiny import LinearSplit, convnet, image_split, linear_model, linear_split


def test_a_linear_layer_costs_two_an_entry_and_as_much_for_its_gradient() -> None:
    split = linear_split(features=4)
    flops = count_flops(linear_model(4), split)
    entries = 4 * linear_model(4).out_features
    assert flops == Flops(forward=2 * entries, step=4 * entries)  # no gradient of the inputs


def test_convolutions_cost_a_product_and_a_sum_for_each_weight_and_place() -> None:
    model, split = convnet(), image_split(10)
    sizes: list[tuple[nn.Conv2d, int]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda layer, _, output: sizes.append((layer, output[0, 0].numel()))
            )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flops = count_flops(model, split)
    forward = sum(2 * layer.weight.numel() * places for layer, places in sizes[:3])
    assert flops is not None
    assert flops.forward == forward + 2 * model.linear.weight.numel()
    first = 2 * sizes[0][0].weight.numel() * sizes[0][1]
    assert flops.step == 3 * flops.forward - first  # whose inputs have no gradient
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_examples_that_differ_in_length_cost_what_one_of_median_length_does() -> None:
    class Tokens(LinearSplit):
        """Examples of so many places, each a row of the same linear layer."""

        def inputs(self, indices: torch.Tensor) -> torch.Tensor:
            assert self.lengths is not None
            return self.features[indices][:, None].expand(-1, int(self.lengths[indices].max()), -1)

    plain = linear_split(7, features=4)
    split = Tokens(plain.features, plain.labels, torch.tensor([1, 90, 5, 2, 5, 3, 80]))
    one, found = count_flops(linear_model(4), plain), count_flops(linear_model(4), split)
    assert one is not None
    assert found is not None
    assert found.forward == 5 * one.forward


def test_attention_is_counted_layer_by_layer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    tokens = LinearSplit(torch.randn(5, 3, 8), torch.arange(5) % 3)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3))
    flops = count_flops(model, tokens)
    weights = 3 * 8 * 8 + 8 * 8 + 2 * 8 * 16  # of queries, keys, values; their sum; both layers
    attention = 2 * 3 * 3 * 8
    assert flops is not None
    assert flops.forward == 2 * (3 * weights + attention + 24 * 3)
    assert 2 <= flops.step / flops.forward <= 3
    assert torch.backends.mha.get_fastpath_enabled()


def test_recurrent_layers_are_not_counted() -> None:
    model = nn.Sequential(nn.RNN(4, 3), nn.Flatten())
    assert count_flops(model, linear_split()) is None


def test_what_is_frozen_costs_its_forward_pass() -> None:
    model = linear_model(4).requires_grad_(False)
    flops = count_flops(model, linear_split(features=4))
    assert flops is not None
    assert flops.step == flops.forward
