"""What decides how numbers are rounded besides the code: the processor, and its settings."""

import os
import platform
from pathlib import Path

import torch

# Variables by which ATen, oneDNN, MKL and cuBLAS choose other instructions or less precision.
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)


def arithmetic(device: torch.device) -> str:
    """Return what sums on a device are rounded by: another answer, another last bit."""
    if device.type == "cuda":
        return ", ".join((torch.cuda.get_device_name(device), *_settings()))
    capability = torch.backends.cpu.get_cpu_capability()
    return ", ".join((_processor(), capability, *_settings()))


def _settings() -> list[str]:
    found = {name: os.environ.get(name) for name in VARIABLES}
    return [f"{name}={value}" for name, value in found.items() if value]


def _processor() -> str:
    """Return the model of the processor, by which MKL and oneDNN choose and divide their work."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
