"""Coresets of an earlier run, found and read."""

import logging
from pathlib import Path

from crest import artifacts
from crest.data.prepared import Prepared
from crest.errors import ArtifactError
from crest.samplers.saved import SavedCoresets
from crest.samplers.saved import read_coresets as read_saved

logger = logging.getLogger(__name__)


def read_coresets(source: Path, data: Prepared, batch_size: int) -> SavedCoresets:
    """Read saved coresets to replay: a training run's folder, or a coresets.parquet alone.

    Says so if their mini-batches are not of ``batch_size``.
    """
    path = existing_coresets(source)
    saved = read_saved(source, data.train.labels)
    if not saved.all_of_size(batch_size):
        logger.warning(
            "%s: its mini-batches hold %d examples, train.batch_size is %d: each step takes so "
            "many of its region's",
            path,
            len(saved.regions[0][0].indices),
            batch_size,
        )
    return saved


def existing_coresets(source: Path) -> Path:
    """Return the file of coresets that a training run's folder holds, or that is named itself."""
    path = artifacts.coresets_file(source)
    if not path.is_file():
        raise ArtifactError(
            f"{path}: no such file; it is written by training with a method that selects, such as "
            "crest: train, or name another (--coresets, reuse.coresets, replay.coresets)"
        )
    return path
