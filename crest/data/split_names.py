"""Which of a source's splits are for training, for testing and for validation."""

from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from typing import TypeVar

from crest.data.sources import Labelled, Source
from crest.errors import ParameterError
from crest.parameters.sections import PrepareParameters

# What people call a split, the usual name first.
TRAIN = ("train", "training")
TEST = ("test", "testing", "eval", "evaluation")
VALIDATION = ("validation", "valid", "val", "dev")

Split = TypeVar("Split", bound=Labelled)


def open_splits(
    params: PrepareParameters,
    there: Container[str],
    open_split: Callable[[str, str], Split],
    train: str = TRAIN[0],
    test: str = TEST[0],
    is_remote: bool = False,
) -> Source[Split]:
    """Open the splits that the parameters name, else those that are there under usual names.

    Where there is no test split, a validation split is taken for it; where there is none
    either, the source has no test split and :func:`crest.data.splits.divide` holds a share of
    train out. The source's notes say what was taken for what.

    Parameters
    ----------
    there
        The splits that are there.
    open_split
        Opens the split of a name, which the parameter of another name sets, such as
        ``test_split``; raises :class:`DataError` where it is not there. Train is opened first.
    train, test
        What the data set calls them.
    is_remote
        Whether it takes long to see what is there: nothing is searched for that is not needed.

    Raises
    ------
    ParameterError
        If a split is named for two purposes.
    DataError
        If a split that is named, or train, is not there.
    """
    _check(params)
    notes: list[str] = []
    validation_name = params.validation_split
    train_name = params.train_split or _first((train, *TRAIN), there) or train
    test_name = params.test_split
    if params.test_share is None and test_name is None:
        other = [name for name in (test, *TEST, *VALIDATION) if name != validation_name]
        test_name = _first((name for name in other if name != train_name), there)
    _refuse_twice({
        "train_split": train_name, "test_split": test_name, "validation_split": validation_name
    })  # fmt: skip
    if params.train_split is None and train_name != train:
        notes.append(f"no split {train}: {train_name} is the training split (prepare.train_split)")
    if params.test_split is None and test_name not in (None, test):
        notes.append(f"no split {test}: {test_name} is the test split (prepare.test_split)")

    def optional(name: str | None, key: str) -> Split | None:
        return None if name is None else open_split(name, key)

    def unopened(names: Iterable[str]) -> str | None:
        opened = {train_name, test_name, validation_name}
        return _first([name for name in names if name not in opened], there)

    source = Source(
        train=open_split(train_name, "train_split"),
        test=optional(test_name, "test_split"),
        validation=optional(validation_name, "validation_split"),
        spare=lambda: unopened(VALIDATION),
    )
    if not is_remote:
        notes += _left_out(unopened(VALIDATION), unopened((test, *TEST)), params)
    return replace(source, notes=tuple(notes))


def _left_out(validation: str | None, test: str | None, params: PrepareParameters) -> list[str]:
    """Notes on splits that are there and are not read."""
    notes: list[str] = []
    if validation is not None and params.validation_split is None:
        notes.append(
            f"split {validation} is not read: prepare.validation_split={validation} takes it in "
            "place of a share of train"
        )
    if test is not None and params.test_share is not None:
        notes.append(f"split {test} is not read: a share of train is held out (prepare.test_share)")
    return notes


def _check(params: PrepareParameters) -> None:
    if params.test_split is not None and params.test_share is not None:
        raise ParameterError(
            f"prepare.test_share: the test split is '{params.test_split}' (prepare.test_split); "
            "set one of the two to null"
        )


def _first(names: Iterable[str], there: Container[str]) -> str | None:
    return next((name for name in names if name in there), None)


def _refuse_twice(names: dict[str, str | None]) -> None:
    """Refuse one split for two purposes: a model is known by examples it was not trained on."""
    keys: dict[str, str] = {}
    for key, name in names.items():
        if name is not None and name in keys:
            raise ParameterError(
                f"prepare.{key}: '{name}' is what prepare.{keys[name]} takes; a split serves one "
                "purpose: name another, or leave it null"
            )
        if name is not None:
            keys[name] = key
