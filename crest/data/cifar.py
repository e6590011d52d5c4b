"""CIFAR-10 and CIFAR-100, from Parquet files or from the official archives through torchvision."""

import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crest.data.arrays import ArrayReader
from crest.data.parquet import ParquetLayout, open_parquet
from crest.data.sources import LAYOUT_KEYS, DatasetSpec, Reader, Source, local_folder, refuse
from crest.errors import DataError, needs_extra
from crest.parameters.sections import PrepareParameters

DOWNLOADS = Path("~/.cache/crest")


@dataclass(frozen=True)
class Cifar:
    """What torchvision calls a data set, and how its Parquet files are laid out."""

    torchvision: str
    layout: ParquetLayout


def open_cifar(params: PrepareParameters, cifar: Cifar) -> Source[Reader]:
    """Open Parquet files, or for the source 'torchvision' or 'torchvision:FOLDER' the archive.

    Raises
    ------
    DataError
        If the archive is missing, not the official one, or cannot be downloaded.
    """
    kind, colon, folder = str(params.source).partition(":")
    if kind != "torchvision":
        return open_parquet(params, cifar.layout)
    reason = "torchvision's archives have one layout"
    refuse(params, reason, *LAYOUT_KEYS)
    if colon:
        return _open_archive(cifar.torchvision, local_folder(folder), download=False)
    return _open_archive(cifar.torchvision, DOWNLOADS.expanduser(), download=True)


def _open_archive(name: str, folder: Path, download: bool) -> Source[Reader]:
    with needs_extra("images"):
        from torchvision import datasets
        from torchvision.datasets.utils import check_integrity, extract_archive

    kind = getattr(datasets, name)
    packed = folder / kind.filename
    if download or (folder / kind.base_folder).is_dir() or not packed.is_file():
        return _load(kind, folder, download)
    try:
        if not check_integrity(packed, kind.tgz_md5):
            raise DataError(
                f"{packed}: not the official archive (its MD5 differs); download it again"
            )
        with tempfile.TemporaryDirectory() as unpacked:
            extract_archive(packed, unpacked)
            return _load(kind, Path(unpacked), download=False)
    except OSError as error:
        raise DataError(
            f"{packed}: cannot be unpacked into {tempfile.gettempdir()}: "
            f"{error.strerror or error}; mend that, or set TMPDIR to a folder with room"
        ) from None


def _load(kind: Any, folder: Path, download: bool) -> Source[Reader]:
    """Read both splits. torchvision unpickles only files whose MD5 is the official one."""
    with warnings.catch_warnings():
        # The archives were pickled with an old NumPy, whose data types today's warns about.
        warnings.simplefilter("ignore")
        try:
            splits = [kind(root=folder, train=train, download=download) for train in (True, False)]
        except (RuntimeError, OSError) as error:
            raise DataError(_explain(kind, folder, download, error)) from None
    train, test = (
        ArrayReader(f"{folder / kind.base_folder}, {name}", split.data, np.array(split.targets))
        for name, split in zip(("train", "test"), splits, strict=True)
    )
    return Source(train, test, tuple(splits[0].classes))


def _explain(kind: Any, folder: Path, download: bool, error: Exception) -> str:
    if download:
        return f"{kind.url}: cannot be downloaded to {folder}: {error}"
    return (
        f"{folder}: no {kind.base_folder} with the official files in it (their MD5 is checked); "
        "set prepare.source to torchvision to download them"
    )


CIFAR10 = DatasetSpec(
    open=partial(open_cifar, cifar=Cifar("CIFAR10", ParquetLayout(image_column="img"))),
    sources="a folder of Parquet files, hf://datasets/uoft-cs/cifar10, or torchvision",
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)

CIFAR100 = DatasetSpec(
    open=partial(
        open_cifar, cifar=Cifar("CIFAR100", ParquetLayout("img", label_column="fine_label"))
    ),
    sources="a folder of Parquet files, hf://datasets/uoft-cs/cifar100, or torchvision",
    classes=100,
)
