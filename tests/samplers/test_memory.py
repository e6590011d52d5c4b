"""Memory: what was last seen of an example, and nothing of what was not."""

import torch
from torch.nn import functional as F

from crest.samplers.memory import Memory
from tests.tiny import CPU

LABELS = torch.tensor([0, 2, 1, 1, 0])


def logits(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def remember(memory: Memory, indices: list[int], said: torch.Tensor) -> None:
    memory.remember(
        torch.tensor(indices), said, F.cross_entropy(said, LABELS[indices], reduction="none")
    )


def test_it_recalls_the_last_sighting() -> None:
    memory = Memory(LABELS, CPU, kept=3)
    remember(memory, [3, 1], logits(2, 0))
    remember(memory, [1, 4], logits(2, 1))
    scored = memory.recall(torch.tensor([4, 3, 1]))
    expected = torch.stack([logits(2, 1)[1], logits(2, 0)[0], logits(2, 1)[0]])
    torch.testing.assert_close(scored.logits, expected, rtol=1e-3, atol=1e-3)
    assert scored.labels.tolist() == [0, 1, 2]
    assert scored.indices.tolist() == [4, 3, 1]


def test_losses_are_exact_and_unknown_ones_are_told() -> None:
    memory = Memory(LABELS, CPU, kept=3)
    remember(memory, [2, 0], logits(2, 0))
    losses = memory.losses(torch.arange(5))
    expected = F.cross_entropy(logits(2, 0), torch.tensor([1, 0]), reduction="none")
    torch.testing.assert_close(losses[[2, 0]], expected)
    assert losses[[1, 3, 4]].isnan().all()
    assert memory.unknown(torch.tensor([4, 2, 1])).tolist() == [4, 1]


def test_losses_alone_are_the_same_and_take_no_logits() -> None:
    whole, losses = Memory(LABELS, CPU, kept=3), Memory(LABELS, CPU)
    for memory in (whole, losses):
        remember(memory, [2, 0], logits(2, 0))
    everything = torch.arange(5)
    assert torch.equal(losses.losses(everything)[[2, 0]], whole.losses(everything)[[2, 0]])
    assert losses.unknown(everything).tolist() == [1, 3, 4]
    assert losses.state_dict()["logits"].nbytes == 0


def test_a_loaded_state_recalls_the_same() -> None:
    first, second = Memory(LABELS, CPU, kept=3), Memory(LABELS, CPU, kept=3)
    remember(first, [2, 0], logits(2, 0))
    second.load_state_dict({name: values.clone() for name, values in first.state_dict().items()})
    everything = torch.arange(5)
    assert torch.equal(first.recall(everything).logits, second.recall(everything).logits)
    losses = first.losses(everything).nan_to_num(-1.0)
    assert torch.equal(losses, second.losses(everything).nan_to_num(-1.0))
