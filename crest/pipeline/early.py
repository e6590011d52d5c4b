"""What a process does about signals while its modules are imported; it imports next to nothing."""

import os
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """Have a signal end the process in a line, until a stage handles it otherwise.

    Not by an exception: one that is raised while modules are imported gets lost, or comes out of
    them as another.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells have it
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # The module may not be there, or in the middle of its import.
    remove = getattr(sys.modules.get("crest.artifacts.locks"), "remove_files", None)
    if remove is not None:
        remove()
    os.write(2, b"interrupted\n")
    os._exit(128 + number)
