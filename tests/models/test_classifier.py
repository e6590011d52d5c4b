"""A classifier of any make answers with logits, under its own names."""

import pytest
import torch
from torch import Tensor, nn

from crest.errors import ParameterError
from crest.models.classifier import Classifier
from crest.models.head import features_and_logits
from tests.tiny import convnet, linear_model


class Answer:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Keyed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = linear_model()

    def forward(self, features: Tensor) -> Answer:
        return Answer(self.head(features))


def test_a_tensor_and_a_mapping_are_answered_with_logits() -> None:
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    plain, keyed = Classifier(linear_model()), Classifier(Keyed())
    assert torch.equal(plain(features), keyed({"features": features}))
    found = features_and_logits(keyed, {"features": features})
    assert torch.equal(found[0], features)
    assert torch.equal(found[1], plain(features))


def test_parameters_and_name_are_the_networks_own() -> None:
    network = convnet()
    model = Classifier(network)
    assert list(dict(model.named_parameters())) == list(dict(network.named_parameters()))
    pairs = zip(model.parameters(), network.parameters(), strict=True)
    assert all(one is other for one, other in pairs)
    with pytest.raises(ParameterError, match=r"Flatten has no linear layer"):
        features_and_logits(Classifier(nn.Flatten()), torch.zeros(2, 2))
