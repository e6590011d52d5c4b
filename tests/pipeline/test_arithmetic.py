"""A state is not gone on with where sums are rounded otherwise."""

import pytest
import torch

from crest.pipeline.arithmetic import VARIABLES, arithmetic
from tests.tiny import CPU


@pytest.fixture(autouse=True)
def untold(monkeypatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_instruction_set_counts(monkeypatch) -> None:
    here = arithmetic(CPU)
    assert torch.backends.cpu.get_cpu_capability() in here
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NONE")
    assert arithmetic(CPU) != here


@pytest.mark.parametrize("name", VARIABLES)
def test_what_a_library_is_told_counts(monkeypatch, name) -> None:
    here = arithmetic(CPU)
    monkeypatch.setenv(name, "AVX2")
    assert arithmetic(CPU) == f"{here}, {name}=AVX2"


def test_the_model_of_the_processor_counts(monkeypatch) -> None:
    here = arithmetic(CPU)
    monkeypatch.setattr("crest.pipeline.arithmetic._processor", lambda: "another")
    assert arithmetic(CPU) != here


def test_on_a_gpu_its_name_counts(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert arithmetic(torch.device("cuda")) == "a GPU"
