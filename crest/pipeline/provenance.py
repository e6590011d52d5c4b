"""What a result depends on, for run.json."""

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from crest.config import Parameters
from crest.data.files import Meta
from crest.devices.precision import Precision
from crest.training.compiling import compiler_version

PACKAGES = ("crest-coresets", "torch", "torchvision", "transformers", "polars", "numpy")


def describe(
    parameters: Parameters, meta: Meta, precision: Precision, method: str, model: str
) -> dict[str, Any]:
    """Return the contents of run.json."""
    return {
        "method": method,
        "model": model,
        "parameters": parameters.model_dump(mode="json"),
        "data": {
            "dataset": meta.dataset,
            "content_hash": meta.content_hash,
            "sizes": meta.sizes,
            "classes": len(meta.classes),
        },
        "device": _device(precision),
        "compiler": compiler_version() if parameters.train.compile else None,
        "versions": {"python": platform.python_version()}
        | {package: version_of(package) for package in PACKAGES},
        "git_commit": git_commit(),
    }


def identity(parameters: Parameters, meta: Meta, method: str, weights: str) -> str:
    """Return what tells a run from every other: a hash of what it was made from and came to.

    It is no random number, so that a run that is made again as it was is the same run: what rests
    on it need not be made again, and two clones agree. ``weights`` is the digest of the trained
    model's.
    """
    values = {
        "method": method,
        "data": meta.content_hash,
        "train": parameters.train.model_dump(mode="json"),
        "own": parameters.of_method(method).model_dump(mode="json"),
        "weights": weights,
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def version_of(package: str) -> str:
    """Return the version of a package that may not be installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device(precision: Precision) -> dict[str, Any]:
    device = precision.device
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "device": str(device),
        "name": name,
        "precision": precision.name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
    }


def git_commit() -> str | None:
    """Return the commit the code stands at, with -dirty for changed files; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
