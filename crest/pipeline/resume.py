"""Where the state of an unfinished run is kept, and what it depends on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch

from crest.config import Parameters
from crest.data.files import Meta
from crest.devices.distributed import ALONE, Group
from crest.devices.precision import Precision
from crest.errors import ArtifactError
from crest.parameters.section import keys_of, value_of
from crest.pipeline.arithmetic import arithmetic
from crest.pipeline.code import Sources
from crest.pipeline.provenance import version_of
from crest.samplers.saved import SavedCoresets
from crest.training.compiling import compiler_version
from crest.training.state import Checkpoint
from crest.training.step import micro_batches


def checkpoint_for(
    path: Path,
    parameters: Parameters,
    method: str,
    meta: Meta,
    precision: Precision,
    saved: SavedCoresets | None,
    stop: Callable[[], int],
    group: Group = ALONE,
    stage: str = "train",
) -> Checkpoint:
    """Return the place of a run's state, under everything that its result depends on.

    That is the number of micro-batches, and not how many processes share them; and of our code what
    ``stage`` runs for the method, as it is now, whatever is edited while the run goes on.
    """
    sources = Sources()
    sections = {"train": parameters.train, method: parameters.of_method(method)}
    key = {
        f"{name}.{place}": json.dumps(value_of(section, place))
        for name, section in sections.items()
        for place in keys_of(type(section))
    }
    key |= {
        "method": method,
        "data": meta.content_hash,
        "coresets": _coresets_hash(saved),
        "weights": _weights_hash(parameters.train.weights),
        "torch version": torch.__version__,
        "transformers version": version_of("transformers"),
        "device": str(precision.device),
        "precision": precision.name,
        "processor": arithmetic(precision.device),
        "threads": str(torch.get_num_threads()),
        "compiler": compiler_version() if parameters.train.compile else "none",
        "train.micro_batches": str(micro_batches(parameters.train, group)),
    }
    if path.parent.exists() and not path.parent.is_dir():
        raise ArtifactError(f"{path.parent}: a file where a folder is to be; move it away")
    return Checkpoint(
        path,
        key,
        parameters.run.save_interval,
        stop,
        group.first,
        lambda: {"code": json.dumps(sources.digests(stage, method))},
    )


def _weights_hash(weights: str | None) -> str:
    """Return a hash of the file that a run starts from, or the name of what it starts from."""
    path = Path(weights or "").expanduser()
    if weights is None or not path.is_file():
        return str(weights)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _coresets_hash(saved: SavedCoresets | None) -> str:
    """Return a hash of the coresets that a run trains on."""
    if saved is None:
        return "none"
    digest = hashlib.sha256(json.dumps(saved.sequence).encode())
    for region in saved.regions:
        for coreset in region:
            digest.update(coreset.indices.numpy().tobytes())
            digest.update(coreset.weights.numpy().tobytes())
    return digest.hexdigest()
