"""The lines of docs/loop.md that save a loop of one's own and go on with it."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import crest

LOOP = Path(__file__).resolve().parents[2] / "docs" / "loop.md"
STEPS, STOPPED = 24, 7


@pytest.fixture
def lines():
    """The section's two pieces of code: what saves, and what goes on."""
    text = LOOP.read_text("utf-8")
    section = text.split("\n## Resumed: saved, and gone on with\n", 1)[1].split("\n## ", 1)[0]
    saving, going_on = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return saving, going_on


def built():
    """Everything as at a start."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(60, 5), torch.arange(60) % 3
    model = nn.Linear(5, 3)
    return {
        "crest": crest, "torch": torch, "F": F, "DataLoader": DataLoader,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "data": TensorDataset(inputs, targets),
        "sampler": crest.LossBatchSampler(60, batch_size=8, steps=STEPS, lag=3),
    }  # fmt: skip


def weights_after(names):
    return torch.cat([p.detach().flatten() for p in names["model"].parameters()])


def test_a_loop_goes_on_to_the_same_weights(lines, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    saving, going_on = lines
    never, stopped, resumed = built(), built(), built()
    loop = going_on[going_on.index("loader = ") :]
    exec(loop, never)
    for indices in stopped["sampler"]:
        inputs, targets = stopped["data"][indices]
        losses = F.cross_entropy(stopped["model"](inputs), targets, reduction="none")
        stopped["optimizer"].zero_grad()
        stopped["sampler"].mean(losses).backward()
        stopped["optimizer"].step()
        stopped["sampler"].update(indices, losses)
        if stopped["sampler"].position == STOPPED:
            break
    exec(saving, stopped)
    exec(going_on, resumed)
    assert torch.equal(weights_after(resumed), weights_after(never))
    assert not torch.equal(weights_after(resumed), weights_after(stopped))
    with pytest.raises(crest.OrderError, match=f"all {STEPS} steps"):
        iter(resumed["sampler"])
