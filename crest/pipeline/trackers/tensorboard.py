"""TensorBoard: event files in ``tensorboard/RUN/TIME``, a folder for each run."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from crest.errors import needs_extra
from crest.pipeline.trackers.base import Session

with needs_extra("tensorboard"):
    import tensorboard  # noqa: F401, what torch's writer needs; without it, it says less

from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """A writer of event files, each point on disk at once."""

    def __init__(self, folder: str) -> None:
        self.run = folder
        self._writer = SummaryWriter(folder)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a scalar for each value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of the whole run at its last step."""
        self.log(step, values)
        self._writer.close()

    def stop(self) -> None:
        """Close the file; a run that goes on adds another to the folder."""
        self._writer.close()

    def describe(self, session: Session) -> None:
        """Add the settings as a table."""
        rows = "".join(f"| {key} | {value} |\n" for key, value in session.settings.items())
        self._writer.add_text("settings", f"| key | value |\n|---|---|\n{rows}")


def start(session: Session, run: str | None) -> TensorBoard:
    """Begin a folder of a run, or go on with the one that there is."""
    if run is not None:
        return TensorBoard(run)
    time_of_day = datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")
    tracker = TensorBoard(str(Path(session.folder, "tensorboard", session.name, time_of_day)))
    tracker.describe(session)
    return tracker
