"""Everything that waits for a GPU, in one command with a time limit.

    python -m benchmarks.gpu.run --seconds 840 --out results/gpu

Parts come in order of worth, each in its share of the time; what has a row in --out is not run
again, so that the same command goes on where the last one stopped. Timings are of the code they
were taken with: another build wants another --out. Prints tables in Markdown, which are kept as
report.md beside the rows. --small runs every part to its end on made-up data, on the processor.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import ROOT
from benchmarks.gpu.parts import PARTS, PRELOAD
from benchmarks.gpu.queue import Job, commit_of, report, run_parts


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=840.0, help="of all parts together")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows")
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART")
    parser.add_argument("--small", action="store_true", help="made-up data, on the processor")
    parser.add_argument(
        "--carried", type=Path, default=ROOT / ".gpu", help="where pack unpacked; may be absent"
    )
    parser.add_argument("--work", type=Path, help="prepared data, states; default: CARRIED/work")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    carried = arguments.carried.resolve()
    # Of the processes to come; what was carried comes before what is installed.
    paths = [str(carried / "site"), str(ROOT)]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    if arguments.small:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    job = Job(
        part="",
        out=arguments.out.resolve(),
        work=(arguments.work or carried / "work").resolve(),
        carried=carried,
        small=arguments.small,
        commit=commit_of(carried),
    )
    parts = [part for part in PARTS if part.name in arguments.only]
    outcomes = run_parts(parts, job, arguments.seconds, PRELOAD)
    print(report(parts, job, outcomes))
    return 1 if any(each.state.startswith("failed") for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
