"""Run several trainings in turns, so that all of them meet the same noise of the machine."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Advance = Callable[[int], None]
R = TypeVar("R")


@dataclass
class Runner(Generic[R]):
    """One of the trainings: its seconds in each turn, and what it returned or raised."""

    name: str
    work: Callable[[Advance], R]
    turns: list[float] = field(default_factory=list)
    results: list[R] = field(default_factory=list)  # of the end
    error: BaseException | None = None
    done: bool = False
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def result(self) -> R:
        return self.results[0]


def take_turns(
    works: dict[str, Callable[[Advance], R]],
    block: int,
    between: Callable[[], None] = lambda: None,
) -> dict[str, Runner[R]]:
    """Run each work in a thread of its own, one at a time, handing over every ``block`` steps.

    Parameters
    ----------
    works
        From names to functions that are given ``advance``, and call it with the number of steps
        taken after each step.
    block
        Steps of a turn.
    between
        Called after each round of turns, off everybody's clock.
    """
    finished = threading.Semaphore(0)  # a turn has ended
    runners = [Runner(name, work) for name, work in works.items()]
    threads = [
        threading.Thread(target=_run, args=(runner, block, finished), daemon=True)
        for runner in runners
    ]
    for thread in threads:
        thread.start()
    while waiting := [runner for runner in runners if not runner.done]:
        for runner in waiting:
            runner.baton.release()
            finished.acquire()
            if runner.error is not None:
                raise runner.error
        between()
    return {runner.name: runner for runner in runners}


def _run(runner: Runner[R], block: int, finished: threading.Semaphore) -> None:
    runner.baton.acquire()
    started = time.perf_counter()

    def advance(steps: int) -> None:
        nonlocal started
        if steps % block:
            return
        runner.turns.append(time.perf_counter() - started)
        finished.release()
        runner.baton.acquire()
        started = time.perf_counter()

    try:
        runner.results.append(runner.work(advance))
    except BaseException as error:
        runner.error = error
    runner.turns.append(time.perf_counter() - started)
    runner.done = True
    finished.release()
