import dataclasses

import pytest
import torch

from crest.devices.precision import Precision, has_bf16, resolve_device, resolve_precision
from crest.errors import ParameterError

CPU = torch.device("cpu")


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_is_the_cpu_without_a_gpu(no_gpu):
    assert resolve_device("auto") == CPU


@pytest.mark.parametrize(
    ("name", "device"),
    [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0"), ("cpu", "cpu")],
)
def test_devices_come_with_their_index(two_gpus, name, device):
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_where_there_is_none(no_gpu, name):
    with pytest.raises(ParameterError, match=rf"train\.device: '{name}' asked for") as caught:
        resolve_device(name)
    assert caught.value.exit_code == 2


def test_a_gpu_beyond_the_last(two_gpus):
    with pytest.raises(ParameterError, match=r"train\.device: 'cuda:2'.* is cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:-1", ""])
def test_other_names(name):
    with pytest.raises(ParameterError, match=r"train\.device: .* is none of auto"):
        resolve_device(name)


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "bf16"])
def test_auto_is_bf16_where_the_processor_has_it(monkeypatch, capability):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    assert has_bf16(CPU)
    assert resolve_precision("auto", CPU).name == "bf16"


def test_auto_is_float32_elsewhere(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "bf16": False})
    assert resolve_precision("auto", CPU).name == "float32"
    assert resolve_precision("bf16", CPU).name == "bf16"


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_forward_passes_compute_in_that_format(name, dtype):
    precision = resolve_precision(name, CPU)
    layer = torch.nn.Linear(4, 3)
    with precision.autocast():
        logits = layer(torch.ones(2, 4))
    logits.float().sum().backward()
    assert logits.dtype == dtype
    assert layer.weight.grad.dtype == torch.float32


def test_float32_switches_an_outer_autocast_off():
    with torch.autocast("cpu", dtype=torch.bfloat16), Precision("float32", CPU).autocast():
        assert torch.nn.Linear(4, 3)(torch.ones(2, 4)).dtype == torch.float32


def test_an_unknown_precision():
    with pytest.raises(ParameterError, match=r"train\.precision: 'fp8' is none of"):
        resolve_precision("fp8", CPU)


def test_a_precision_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolve_precision("float32", CPU).name = "bf16"
