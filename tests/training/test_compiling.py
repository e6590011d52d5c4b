"""Steps through torch.compile: the same again in another process, near those without it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from crest.devices.distributed import ALONE, Group
from crest.errors import ParameterError, TrainingError
from crest.parameters.sections import TrainParameters
from crest.training.compiling import compiler_version, part_sizes, require_compilable
from tests.training.compiled_run import STEPS, STOPPED_AFTER, M, Steps

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="train.compile is not tested: there is no C++ compiler (g++) here",
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(one, other) -> bool:
    """Whether two trees hold the same bits."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@needs_compiler
def test_a_run_goes_on_in_another_process_bit_for_bit(tmp_path):
    whole, losses = Steps(), []
    for number in range(STEPS):
        if number == STOPPED_AFTER:
            state = whole.state_dict()
        losses.append(whole.take(number).losses)
    file = tmp_path / "state.pt"
    torch.save(state, file)
    # What was compiled lies there, but is generated again and found by its very text.
    afresh = {"TORCHINDUCTOR_FX_GRAPH_CACHE": "0", "TORCHINDUCTOR_AUTOGRAD_CACHE": "0"}
    command = [sys.executable, "-m", "tests.training.compiled_run", str(file)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **afresh}, check=True)
    found = torch.load(file, weights_only=True)
    assert same(found, (losses[STOPPED_AFTER:], whole.state_dict()))
    assert not same(state, whole.state_dict())


@needs_compiler
def test_steps_are_those_without_but_for_rounding():
    compiled, plain = Steps(), Steps(compile=False)
    for number in range(3):
        torch.manual_seed(number)  # of dropout
        found = compiled.take(number)
        torch.manual_seed(number)
        expected = plain.take(number)
        for name in ("loss", "losses", "logits"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    states = compiled.model.state_dict(), plain.model.state_dict()
    torch.testing.assert_close(*states)  # running statistics too, under the same names
    assert not same(*states)  # else nothing was compiled
    # Of another size than the mini-batch: as ever, from the same place.
    plain.model.load_state_dict(states[0])
    torch.manual_seed(3)
    found = compiled.take(3, M - 3)
    torch.manual_seed(3)
    assert same(found.losses, plain.take(3, M - 3).losses)


class Deciding(nn.Module):
    """A model that decides in Python by a number that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images.flatten(1))
        return logits * 2 if float(logits.detach().max()) > 0 else logits


def test_a_model_that_cannot_be_compiled_is_refused():
    with pytest.raises(TrainingError, match=r"train\.compile: .* cannot be compiled .* false"):
        Steps(model=Deciding()).take(0)


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_the_sizes_of_parts_are_those_that_mini_batches_are_cut_into(parts):
    cut = {len(part) for part in torch.arange(M).tensor_split(parts)}
    assert part_sizes(M, parts, halved=False) == cut
    halved = part_sizes(M, parts, halved=True)
    assert cut < halved
    assert {1, 2} <= halved


def test_texts_checkpointing_and_processes_are_refused():
    wanted = TrainParameters(compile=True)
    require_compilable(TrainParameters(), ALONE, text=True)
    with pytest.raises(ParameterError, match=r"train\.compile: .* text.* set it to false"):
        require_compilable(wanted, ALONE, text=True)
    both = TrainParameters(compile=True, activation_checkpointing=True)
    with pytest.raises(ParameterError, match=r"train\.compile, train\.activation_checkpointing: "):
        require_compilable(both, ALONE, text=False)
    with pytest.raises(ParameterError, match=r"train\.compile: .* 2 processes .*; set it to false"):
        require_compilable(wanted, Group(0, 2), text=False)


def test_without_a_compiler_it_is_said_what_to_install():
    from torch._inductor import config

    missing = config.patch({"cpp.cxx": (None, "no-such-compiler")})
    with (
        missing,
        pytest.raises(ParameterError, match=r"train\.compile: .* no C\+\+ compiler .* g\+\+"),
    ):
        require_compilable(TrainParameters(compile=True), ALONE, text=False)


@needs_compiler
def test_the_compiler_tells_its_version():
    assert any(letter.isdigit() for letter in compiler_version())
