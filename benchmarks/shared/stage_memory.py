"""How much memory a stage needs, sampled while it runs."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT

POLL = 0.02  # seconds between samples


@dataclass(frozen=True)
class Usage:
    """What a stage took: peaks in MiB, wall-clock in seconds."""

    stage: str
    examples: int
    anonymous: float
    resident: float
    seconds: float


def memory(process: int) -> tuple[int, int]:
    """Return anonymous and resident memory of a process, in bytes; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    found = dict(line.split(":", 1) for line in lines)
    anonymous, resident = (
        int(found.get(key, "0 kB").split()[0]) * 1024 for key in ("RssAnon", "VmRSS")
    )
    return anonymous, resident


def measure(
    project: Path, examples: int, stage: str, *options: str, checkout: Path = ROOT
) -> Usage:
    """Run a stage of a checkout and sample its memory until it ends."""
    started = time.perf_counter()
    command = [sys.executable, str(checkout / "cli.py"), stage, *options]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL)
    peaks = (0, 0)
    while process.poll() is None:
        now = memory(process.pid)
        peaks = (max(peaks[0], now[0]), max(peaks[1], now[1]))
        time.sleep(POLL)
    if process.returncode:
        raise SystemExit(f"{stage} ended with {process.returncode}")
    anonymous, resident = (peak / 2**20 for peak in peaks)
    return Usage(stage, examples, anonymous, resident, time.perf_counter() - started)
