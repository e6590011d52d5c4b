"""The data sets by name. A new one is a file here and a line in DATASETS."""

from dataclasses import replace
from typing import Any

from crest.data.cifar import CIFAR10, CIFAR100
from crest.data.digits import DIGITS
from crest.data.folder import FOLDER
from crest.data.listed import LISTED
from crest.data.parquet import PARQUET, TINY_IMAGENET
from crest.data.sources import DatasetSpec, Source, refuse
from crest.data.text import SNLI, TEXT
from crest.errors import ParameterError, not_one_of
from crest.parameters.sections import PrepareParameters

DATASETS = {
    "digits": DIGITS,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "tinyimagenet": TINY_IMAGENET,
    "parquet": PARQUET,
    "folder": FOLDER,
    "listed": LISTED,
    "snli": SNLI,
    "text": TEXT,
}

# Parameters that only one kind of data has a use for.
KEYS_OF_KIND = {
    "image": ("image_column", "split_column", "image_size", "storage", "encoded_side", "workers"),
    "text": ("text_columns", "tokenizer"),
}


def find_dataset(params: PrepareParameters) -> DatasetSpec:
    """Look up prepare.dataset, and check that prepare.source is set where it must be.

    Raises
    ------
    ParameterError
        If the data set is unknown, lacks its source, or has one that would be ignored.
    """
    name = params.dataset
    spec = DATASETS.get(name)
    if spec is None:
        raise ParameterError(f"prepare.dataset: {not_one_of(name, DATASETS)}")
    if spec.sources is None and params.source is not None:
        raise ParameterError(f"prepare.source: {name} is bundled and has no source; set it to null")
    if spec.sources is not None and not params.source:
        raise ParameterError(f"prepare.source: {name} needs one: {spec.sources}")
    for kind, keys in KEYS_OF_KIND.items():
        if kind != spec.kind:
            refuse(params, f"{name} is {spec.kind} data", *keys)
    return spec


def open_source(params: PrepareParameters) -> Source[Any]:
    """Open the data set that the parameters name; nothing but files' descriptions is read yet.

    Raises
    ------
    ParameterError
        If a parameter cannot be used with this data set.
    DataError
        If files are missing, damaged, or laid out in another way.
    """
    spec = find_dataset(params)
    return replace(spec.open(params), expected=spec.classes, kind=spec.kind)
