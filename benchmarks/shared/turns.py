"""Train with the code of any checkout, some steps at a time, each when asked to.

    python benchmarks/shared/turns.py CHECKOUT STEPS GO DONE train --method crest

A program that imports nothing of this checkout. It runs CHECKOUT/cli.py with the arguments given,
in the folder where it stands; every STEPS optimiser steps it writes a line to the file descriptor
DONE, the seconds of the clock and of the processor that they took, and waits for a byte from GO.
"""

import os
import runpy
import sys
import time
from typing import Any


class Turns:
    """Counts optimiser steps, and waits for the next turn when enough were taken."""

    def __init__(self, steps: int, go: int, done: int) -> None:
        self._steps = steps
        self._go = go
        self._done = done
        self._taken = 0
        self.wait()

    def step(self, *_: Any) -> None:
        """Count a step; called by every optimiser."""
        self._taken += 1
        if self._taken % self._steps == 0:
            seconds = time.perf_counter() - self._resumed
            processor = time.process_time() - self._processor
            os.write(self._done, f"{seconds} {processor}\n".encode())
            self.wait()

    def wait(self) -> None:
        """Wait for a turn; end where none comes any more."""
        if not os.read(self._go, 1):
            os._exit(0)
        self._resumed, self._processor = time.perf_counter(), time.process_time()


def main() -> None:
    checkout, steps, go, done, *arguments = sys.argv[1:]
    turns = Turns(int(steps), int(go), int(done))
    sys.path[0] = checkout
    from torch.optim.optimizer import register_optimizer_step_post_hook

    register_optimizer_step_post_hook(turns.step)
    sys.argv = [f"{checkout}/cli.py", *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
