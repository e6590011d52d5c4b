import torch
from torch import nn

from crest.training.averaging import WeightAverage


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))


def move(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator))


def test_averages_are_those_of_the_closed_form():
    """With weights w_t and decays d_t, the sum over t of (1 − d_t) Π_{s>t} d_s w_t."""
    network = model()
    average = WeightAverage(network, 0.5)
    decays = [min(0.5, (1 + step) / (10 + step)) for step in range(12)]
    assert 0.1 == decays[0] < decays[7] < decays[8] == decays[11] == 0.5
    names = [name for name, value in network.state_dict().items() if value.is_floating_point()]
    expected = {name: network.state_dict()[name].double().clone() for name in names}
    for step, decay in enumerate(decays):
        move(network, step)
        average.update()
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * network.state_dict()[name]
    with average.in_model():
        for name in names:
            torch.testing.assert_close(network.state_dict()[name].double(), expected[name])


def test_the_model_is_given_back_to_the_bit_and_in_place():
    network = model()
    average = WeightAverage(network, 0.9)
    move(network, 0)
    average.update()
    network[1].num_batches_tracked += 7
    before = {name: value.clone() for name, value in network.state_dict().items()}
    places = [weight.data_ptr() for weight in network.parameters()]
    with average.in_model():
        assert not torch.equal(network[0].weight, before["0.weight"])
        assert network[1].num_batches_tracked == 7
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [weight.data_ptr() for weight in network.parameters()] == places


def test_a_state_goes_on_as_if_it_had_never_stopped():
    network = model()
    average, again = WeightAverage(network, 0.9), WeightAverage(network, 0.9)
    for step in range(6):
        move(network, step)
        average.update()
        if step == 2:
            again.load_state_dict(average.state_dict())
        if step > 2:
            again.update()
    for one, other in zip(
        average.state_dict()["averages"], again.state_dict()["averages"], strict=True
    ):
        assert torch.equal(one, other)
