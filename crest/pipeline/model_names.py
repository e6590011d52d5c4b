"""Names of models in a table: folders by as many of their last parts as tell them apart."""

import os
from collections.abc import Iterable
from pathlib import Path


def model_names(models: Iterable[str]) -> dict[str, str]:
    """Return a name for each model: the same for one folder however written, else another.

    A folder within the project goes by its path there, one elsewhere by the last part of its path,
    or as many as none of the others ends with; whatever is no folder keeps its name.
    """
    places = {model: _place(model) for model in models}
    folders = {place for place in places.values() if Path(place).is_absolute()}
    return {
        model: _name(place, folders - {place}) if place in folders else place
        for model, place in places.items()
    }


def _place(model: str) -> str:
    """Return the whole path of a folder, without . and .. in it; else the name as it is."""
    path = Path(model)
    return os.path.normpath(Path.cwd() / path) if path.is_absolute() or path.is_dir() else model


def _name(place: str, others: set[str]) -> str:
    path = Path(place)
    if path.is_relative_to(Path.cwd()) and path != Path.cwd():
        return path.relative_to(Path.cwd()).as_posix()
    parts = path.parts[1:]
    for count in range(1, len(parts) + 1):
        if not any(Path(other).parts[-count:] == parts[-count:] for other in others):
            return "/".join(parts[-count:])
    return place
