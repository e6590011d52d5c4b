"""fingerprint: what the inputs from outside hold, for DVC to compare.

DVC asks for it before every run: the source of the data may lie anywhere, on the hub too, and what
a data set would not read of it does not count.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from crest.artifacts import read_json, replacing_folder, write_json
from crest.config import Parameters
from crest.data.fingerprint import (
    Fingerprint,
    UnseenError,
    file_fingerprint,
    folder_fingerprint,
    source_fingerprint,
)
from crest.data.hashes import Hashes
from crest.errors import ArtifactError, ParameterError
from crest.methods import check_method
from crest.parameters.sections import PrepareParameters
from crest.pipeline.dependencies import COMMAND, LINKS
from crest.pipeline.paths import Paths

logger = logging.getLogger(__name__)

SOURCE, TRAIN, REUSE, EMBED = "source.json", "train.json", "reuse", "embed"

# What a file holds: the inputs of a stage, by what they are.
Inputs = dict[str, Fingerprint]


def run(parameters: Parameters, paths: Paths) -> dict[str, Inputs]:
    """Write data/fingerprint, a file for each stage that has inputs; returns what is in each.

    An input that is not there, or that the hub does not tell of, counts as it was last seen; a
    message says so.

    Raises
    ------
    ParameterError, DataError
        If an input that was never seen cannot be read, or DVC does not know of a method.
    ArtifactError
        If the folder cannot be written.
    """
    for method in parameters.run.methods:
        _require_known(method, paths)
    hashes = Hashes(paths.hashes)
    found = dict(_inputs(parameters, hashes, paths.fingerprint))
    with replacing_folder(paths.fingerprint) as partial:
        for name, inputs in found.items():
            described = {kind: asdict(known) for kind, known in inputs.items()}
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            write_json(partial / name, described)
    hashes.save()
    return found


def notes(found: dict[str, Inputs]) -> Iterator[str]:
    """Say in a line what each input is of which there are files here or on the hub."""
    for name, inputs in found.items():
        for kind, known in inputs.items():
            if known.files is not None:
                yield f"{name.removesuffix('.json')}: {kind}: {known}"


def _require_known(method: str, paths: Paths) -> None:
    """Refuse a method that DVC would end with an error over, and no word about why."""
    check_method(method)
    links = paths.root / LINKS / method
    if (paths.root / "dvc.yaml").is_file() and not links.is_dir():
        raise ParameterError(
            f"{links}: no such folder, which links to the code of {method}; make it with "
            f"`{COMMAND}`"
        )


def _inputs(parameters: Parameters, hashes: Hashes, folder: Path) -> Iterator[tuple[str, Inputs]]:
    """Yield the name of each file, and the inputs that it describes."""
    prepare = parameters.prepare
    name = SOURCE
    earlier = _earlier(folder / name)
    inputs = {prepare.dataset: _seen(prepare, hashes, earlier.get(prepare.dataset))}
    if prepare.tokenizer is not None:
        known = folder_fingerprint(prepare.tokenizer, hashes, weights=False)
        inputs["tokenizer"] = _or_earlier(known, earlier.get("tokenizer"))
    yield name, inputs
    models = {TRAIN: parameters.train.model}
    models |= {f"{REUSE}/{model}.json": model for model in parameters.reuse.models}
    models |= {f"{EMBED}/{model}.json": model for model in parameters.embed.models}
    for name, model in models.items():
        known = folder_fingerprint(model, hashes, weights=True)
        found = {"model": _or_earlier(known, _earlier(folder / name).get("model"))}
        of_train = name == TRAIN or (name.startswith(EMBED) and model == parameters.train.model)
        if of_train and parameters.train.weights is not None:
            given = file_fingerprint(parameters.train.weights, hashes)
            found["weights"] = _or_earlier(given, _earlier(folder / name).get("weights"))
        yield name, found


def _seen(prepare: PrepareParameters, hashes: Hashes, earlier: Fingerprint | None) -> Fingerprint:
    """Fingerprint the source; where it cannot be read, it is as it was."""
    try:
        return source_fingerprint(prepare, hashes)
    except UnseenError as error:
        if earlier is not None and earlier.name == error.name and earlier.files is not None:
            logger.warning("%s; it counts as it was last seen", error)
            return earlier
        if not error.remote:
            raise
        logger.warning("%s; it is known by its address alone", error)
        return Fingerprint(error.name)


def _or_earlier(known: Fingerprint, earlier: Fingerprint | None) -> Fingerprint:
    """Return what was seen of a folder; of one that is gone, what was seen earlier."""
    gone = known.files is None and earlier is not None and earlier.files is not None
    if not gone or earlier is None or earlier.name != known.name:
        return known
    logger.warning("%s: no such folder; it counts as it was last seen", known.name)
    return earlier


def _earlier(path: Path) -> Inputs:
    """Return what a file held; nothing where it is not there or of another making."""
    try:
        return {kind: Fingerprint(**known) for kind, known in read_json(path).items()}
    except (ArtifactError, TypeError):
        return {}
