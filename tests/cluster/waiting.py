"""Waiting for what another process does."""

import time


def wait_for(condition, process, seconds=120):
    """Wait until a condition holds, while a process runs."""
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
