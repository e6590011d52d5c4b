"""The tests that are marked gpu: a row each, and one for all of them together."""

import os
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.gpu.queue import Job, table

ALL = "all"


class Outcomes:
    """A plugin of pytest that adds a row for each test."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take note of a test that was run, skipped or broken before it ran."""
        if report.when == "call" or report.outcome != "passed":
            reason = str(report.longrepr)[-300:] if report.failed else None
            seconds = round(report.duration, 2)
            self._job.add(report.nodeid, outcome=report.outcome, seconds=seconds, reason=reason)


def run(job: Job) -> bool:
    import pytest

    if job.missing([ALL]):
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # whatever else is installed there
        options = ["-q", "-p", "no:cacheprovider", "-m", "gpu", "--rootdir", str(ROOT)]
        code = pytest.main([*options, *map(str, marked())], plugins=[Outcomes(job)])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise RuntimeError(f"pytest ended with {code!r}; its output says why")
        job.add(ALL, outcome=pytest.ExitCode(code).name.lower())
    return True


def marked() -> list[Path]:
    """Return the files with such tests: others may need what a GPU's machine lacks.

    Raises
    ------
    RuntimeError
        If there is none.
    """
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    found = [path for path in files if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]
    if not found:
        raise RuntimeError(f"{ROOT / 'tests'}: no test is marked gpu; look in another checkout")
    return found


def report(job: Job) -> str:
    return table(job.rows(), ("name", "outcome", "seconds", "reason"))
