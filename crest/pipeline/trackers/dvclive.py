"""DVCLive: files in ``dvclive/RUN``, which DVC and the editors' extension draw as they grow.

``dvclive/dvc.yaml`` lists them for DVC, so that the pipeline's stays as it is; within RUN, DVCLive
3.49 would list each anew at every step. They are no outputs of a stage: DVC removes those before
the stage runs, and a run that is resumed goes on in these files.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from crest.errors import needs_extra
from crest.pipeline.trackers.base import Session

with needs_extra("dvclive"):
    from dvclive import Live


class DVCLive:
    """A Live of DVCLive."""

    def __init__(self, folder: Path, resume: bool) -> None:
        metrics = folder / "metrics.json"
        if resume and not _is_whole(metrics):
            metrics.unlink()
        self.run = str(folder)
        self._live = Live(
            dir=str(folder),
            resume=resume,
            dvcyaml=str(folder.parent / "dvc.yaml"),
            save_dvc_exp=False,  # of a run on its own; within `dvc exp run` DVC saves it
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row to each curve's file, and renew the latest values."""
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.next_step()

    def finish(self, step: int, values: Mapping[str, float]) -> None:
        """Put the values of the whole run beside the latest."""
        for name, value in values.items():
            self._live.log_metric(name, value, plot=False)
        self._live.end()

    def stop(self) -> None:
        """Leave the files as they are."""
        self._live.end()


def start(session: Session, run: str | None) -> DVCLive:
    """Begin the files of a run, or go on with those that there are."""
    return DVCLive(session.folder / "dvclive" / session.name, resume=run is not None)


def _is_whole(path: Path) -> bool:
    """Whether a document is not there, or can be read: DVCLive writes it in place."""
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True
