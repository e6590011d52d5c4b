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


def built(dropout=0.0):
    """Everything as at a start."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(60, 5), torch.arange(60) % 3
    model = nn.Sequential(nn.Dropout(dropout), nn.Linear(5, 3))
    return {
        "crest": crest, "torch": torch, "F": F, "DataLoader": DataLoader,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "data": TensorDataset(inputs, targets),
        "sampler": crest.LossBatchSampler(60, batch_size=8, steps=STEPS, lag=3),
    }  # fmt: skip


def weights_after(names):
    return torch.cat([p.detach().flatten() for p in names["model"].parameters()])


def run_until_stopped(names):
    for indices in names["sampler"]:
        inputs, targets = names["data"][indices]
        losses = F.cross_entropy(names["model"](inputs), targets, reduction="none")
        names["optimizer"].zero_grad()
        names["sampler"].mean(losses).backward()
        names["optimizer"].step()
        names["sampler"].update(indices, losses)
        if names["sampler"].position == STOPPED:
            break


def test_a_loop_goes_on_to_the_same_weights(lines, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    saving, going_on = lines
    never, stopped, resumed = built(), built(), built()
    loop = going_on[going_on.index("loader = ") :]
    exec(loop, never)
    run_until_stopped(stopped)
    exec(saving, stopped)
    exec(going_on, resumed)
    assert torch.equal(weights_after(resumed), weights_after(never))
    assert not torch.equal(weights_after(resumed), weights_after(stopped))
    with pytest.raises(crest.OrderError, match=f"all {STEPS} steps"):
        iter(resumed["sampler"])


def test_dropout_goes_on_where_loaders_have_a_generator(lines, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    saving, going_on = lines
    never, stopped, resumed = (built(dropout=0.5) for _ in range(3))
    loading, loop = going_on.split("loader = ")
    loop = "loader = " + loop.replace("=sampler)", "=sampler, generator=torch.Generator())")
    torch.manual_seed(1)
    exec(loop, never)
    torch.manual_seed(1)
    run_until_stopped(stopped)
    exec(saving, stopped)
    state = torch.get_rng_state()
    exec(loading, resumed)
    torch.manual_seed(2)
    torch.set_rng_state(state)
    exec(loop, resumed)
    assert torch.equal(weights_after(resumed), weights_after(never))
