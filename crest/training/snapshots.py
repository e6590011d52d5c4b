"""The weights of a run at several steps, to be analysed afterwards."""

import shutil
from collections.abc import Collection
from pathlib import Path

from torch import nn

from crest.artifacts import replacing
from crest.artifacts.tensors import are_whole
from crest.errors import ArtifactError
from crest.models import Spec, weights
from crest.training.state import PREFIX, SUFFIX, remove_snapshots, start_afresh


class Snapshots:
    """Files of weights, one for each of some numbers of steps taken.

    They lie beside the saved state of the run (:class:`crest.training.state.Checkpoint`), which
    they share their fate with: a run that goes on from its state goes on with its snapshots, and
    writes those it comes by once more over what is there.

    Parameters
    ----------
    folder
        Where they are kept until the run is done; made when the first is written.
    spec
        What the model was built from.
    steps
        Numbers of steps taken.
    """

    def __init__(self, folder: Path, spec: Spec, steps: Collection[int]) -> None:
        self._folder = folder
        self._spec = spec
        self._steps = sorted(steps)

    def begin(self, steps_taken: int) -> None:
        """Start a run, or go on with one.

        Raises
        ------
        ArtifactError
            If a snapshot that the run had written is gone or damaged.
        """
        if not steps_taken:  # what is there is of a run that was killed before it had a state
            remove_snapshots(self._folder)
        for step in self._steps:
            path = self._folder / snapshot_name(step)
            if step > steps_taken:
                continue
            if not path.is_file():
                raise ArtifactError(
                    f"{path}: a snapshot of the unfinished run is gone; {start_afresh(path)}"
                )
            _require_whole(path)

    def due(self, steps_taken: int) -> bool:
        """Whether this is one of the steps."""
        return steps_taken in self._steps

    def save(self, model: nn.Module, steps_taken: int) -> None:
        """Write the weights; :class:`ArtifactError` if they cannot be written."""
        weights.save(model, self._spec, self._folder / snapshot_name(steps_taken))

    def copy_to(self, folder: Path) -> None:
        """Copy all of them, each whole or not at all.

        The run keeps its own until its state is removed: killed before that, it ends once more.
        """
        for step in self._steps:
            name = snapshot_name(step)
            with replacing(folder / name) as partial:
                shutil.copyfile(self._folder / name, partial)
            _require_whole(folder / name)


def _require_whole(path: Path) -> None:
    if not are_whole(path):
        raise ArtifactError(
            f"{path}: a snapshot of the unfinished run is damaged (its checksum is another); "
            f"{start_afresh(path)}"
        )


def snapshot_name(steps_taken: int) -> str:
    """Return the name of a snapshot's file."""
    return f"{PREFIX}{steps_taken}{SUFFIX}"


def find_snapshots(folder: Path) -> dict[int, Path]:
    """Return the snapshots in a folder by steps taken, in order; none where there is no folder."""
    found = {
        int(number): path
        for path in folder.glob(f"{PREFIX}*{SUFFIX}")
        if (number := path.name.removeprefix(PREFIX).removesuffix(SUFFIX)).isdecimal()
    }
    return dict(sorted(found.items()))
