"""A classifier of any make as the library calls one: inputs in, logits out."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from crest.data.prepared import Inputs


class Classifier(nn.Module):
    """A classifier that takes a tensor, or a mapping of names as keyword arguments.

    Its parameters and its name are those of the network. Nothing of it is copied.

    Parameters
    ----------
    network
        Answers with logits, B×C, or with an object that has ``logits``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the logits, B×C."""
        output = self.network(**inputs) if isinstance(inputs, Mapping) else self.network(inputs)
        logits: Tensor = getattr(output, "logits", output)
        return logits

    def named_parameters(
        self, *arguments: Any, **options: Any
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the network's own, by the names they have there."""
        return self.network.named_parameters(*arguments, **options)

    def _get_name(self) -> str:
        return self.network._get_name()
