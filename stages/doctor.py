"""doctor: what is installed, what the machine has, and how far the project has come."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from crest import artifacts
from crest.config import Parameters
from crest.data.files import read_meta
from crest.devices.machine import memory, readable
from crest.devices.precision import resolve_device, resolve_precision
from crest.errors import CrestError
from crest.methods import METHODS
from crest.pipeline.paths import Paths
from crest.pipeline.provenance import git_commit, version_of

Facts = Mapping[str, str]

CORE = ("torch", "numpy", "polars", "pydantic", "safetensors")


@dataclass(frozen=True)
class Extra:
    """What an extra of the package is for, and what it brings, by what is imported."""

    purpose: str
    brings: Mapping[str, str]  # module: distribution


EXTRAS: Mapping[str, Extra] = {
    "pipeline": Extra(
        "the command line, the pipeline, reports",
        {"typer": "typer", "rich": "rich", "matplotlib": "matplotlib", "jinja2": "jinja2",
         "ruamel.yaml": "ruamel.yaml", "yaml": "pyyaml", "markupsafe": "markupsafe", "dvc": "dvc"},
    ),
    "images": Extra(
        "data of images, models of torchvision",
        {"PIL": "pillow", "torchvision": "torchvision", "sklearn": "scikit-learn"},
    ),
    "jpeg": Extra("photographs decoded in less time", {"simplejpeg": "simplejpeg"}),
    "timm": Extra("models of timm for images", {"timm": "timm"}),
    "text": Extra(
        "data and models of text",
        {"transformers": "transformers", "huggingface_hub": "huggingface-hub"},
    ),
    "s3": Extra("DVC's cache in S3", {"dvc_s3": "dvc-s3"}),
    "accelerate": Extra("loops of Accelerate", {"accelerate": "accelerate"}),
    "lightning": Extra("Lightning's Trainer", {"pytorch_lightning": "pytorch-lightning"}),
    "transformers": Extra(
        "the Trainer of transformers", {"transformers": "transformers", "accelerate": "accelerate"}
    ),
    "trl": Extra(
        "the trainers of TRL",
        {"trl": "trl", "datasets": "datasets", "transformers": "transformers",
         "accelerate": "accelerate"},
    ),
    "dvclive": Extra("run.track: dvclive", {"dvclive": "dvclive"}),
    "tensorboard": Extra("run.track: tensorboard", {"tensorboard": "tensorboard"}),
    "mlflow": Extra("run.track: mlflow", {"mlflow": "mlflow"}),
    "wandb": Extra("run.track: wandb", {"wandb": "wandb"}),
}  # fmt: skip


def run(parameters: Parameters, paths: Paths) -> dict[str, Facts]:
    """Return what is there, by subject; a fault is said in place of what it hides."""
    return {
        "installed": _installed(),
        "extras": {name: _extra(name, extra) for name, extra in EXTRAS.items()},
        "machine": _machine(parameters, paths),
        "project": _project(paths),
    }


def _installed() -> Facts:
    commit = git_commit()
    found = {
        "crest": version_of("crest-coresets") + (f" ({commit[:9]})" if commit else ""),
        "Python": f"{platform.python_version()} on {platform.platform(terse=True)}",
    }
    return found | {name: version_of(name) for name in CORE}


def _extra(name: str, extra: Extra) -> str:
    missing = [package for module, package in extra.brings.items() if not _is_importable(module)]
    if not missing:
        versions = ", ".join(f"{one} {version_of(one)}" for one in extra.brings.values())
        return f"{extra.purpose}: {versions}"
    return f'{extra.purpose}: lacks {", ".join(missing)}; pip install "crest-coresets[{name}]"'


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a package that is not there, or half of one
        return False


def _machine(parameters: Parameters, paths: Paths) -> Facts:
    settings = parameters.train
    threads = "one a core" if settings.threads is None else str(settings.threads)
    found = {
        "device": f"{_device(settings.device)} (train.device: {settings.device})",
        "precision": f"{_precision(parameters)} (train.precision: {settings.precision})",
        "threads": f"{threads} of {os.cpu_count()} cores (train.threads)",
        "memory": readable(memory()),
    }
    free = shutil.disk_usage(paths.root.resolve()).free
    return found | {"disk": f"{readable(free)} free at {paths.root.resolve()}"}


def _device(name: str) -> str:
    try:
        device = resolve_device(name)
    except CrestError as error:
        return str(error)
    if device.type != "cuda":
        return f"{device}, {platform.processor() or platform.machine()}"
    total = torch.cuda.get_device_properties(device).total_memory
    return f"{device}, {torch.cuda.get_device_name(device)}, {readable(total)}"


def _precision(parameters: Parameters) -> str:
    try:
        device = resolve_device(parameters.train.device)
        return resolve_precision(parameters.train.precision, device).name
    except CrestError as error:
        return str(error)


def _project(paths: Paths) -> Facts:
    runs = [name for name in METHODS if (paths.train(name) / artifacts.METRICS).is_file()]
    return {
        "data": _data(paths.prepared),
        "trained": ", ".join(runs) or "nothing yet; python cli.py train",
        "unfinished": ", ".join(paths.unfinished()) or "none",
    }


def _data(prepared: Path) -> str:
    try:
        meta = read_meta(prepared)
    except CrestError as error:
        return str(error)
    sizes = ", ".join(f"{split} {size:,}" for split, size in meta.sizes.items())
    return f"{meta.dataset}: {sizes}, {len(meta.classes)} classes"
