"""Signals that ask a run to stop: it ends within seconds, and nothing is half done."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from crest.errors import Interrupted, InterruptedAtOnce

ASKING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def raising() -> Iterator[None]:
    """Raise :class:`Interrupted` where a stage is when a signal comes."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled(handle):
        yield


@contextmanager
def noted(raise_on_second: bool = True) -> Iterator[Callable[[], int]]:
    """Note a signal, for a run that stops where it can go on from.

    Yields a function that returns the number of the first signal, 0 if none came. A second one
    raises :class:`InterruptedAtOnce` wherever the run is, unless not ``raise_on_second``: a
    launcher passes on signals that have come to its processes already.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if raise_on_second and len(received) > 1:
            raise InterruptedAtOnce(number, "interrupted at once; an earlier saved state is kept")

    with _handled(handle):
        yield lambda: received[0] if received else 0


@contextmanager
def _handled(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals with a function for a while, then as before."""
    before = {number: signal.signal(number, handle) for number in ASKING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
