"""The rows of finished runs, as they lie in docs/results: a file for each experiment."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from benchmarks.experiments.experiment import Plan
from benchmarks.experiments.names import names
from crest import artifacts
from crest.errors import ArtifactError

Row = dict[str, Any]


class Rows:
    """The finished runs: a JSON object a line, shared by several processes.

    A row takes the place of one of the same name and seed; the others stay as they were written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Row]:
        """Return all rows, by the names that parameters, counts and runs have today."""
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8") as file:
            return [names().row_now(row) for row in self._parsed(file)]

    def add(self, row: Row) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            rows = self._parsed(file)
            kept = [other for other in rows if identity(names().row_now(other)) != identity(row)]
            if len(kept) == len(rows):
                file.write(json.dumps(row) + "\n")
                return
            with artifacts.replacing(self.path) as partial:
                lines = [json.dumps(other) + "\n" for other in [*kept, row]]
                partial.write_text("".join(lines), encoding="utf-8")

    @contextmanager
    def _locked(self) -> Iterator[TextIO]:
        """Open the file for this process alone; another may have replaced it meanwhile."""
        while True:
            with self.path.open("a+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    file.seek(0)
                    yield file
                    return

    def _parsed(self, file: TextIO) -> list[Row]:
        rows = []
        for number, line in enumerate(file, start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ArtifactError(f"{self.path}: line {number} is no JSON: {error}") from None
        return rows


def identity(row: Row) -> tuple[str, str, int]:
    """Return what no two rows of a file share: experiment, run and seed."""
    return row["experiment"], row["name"], row["seed"]


def of_plan(rows: Sequence[Row], plan: Plan) -> list[Row]:
    """Return the rows of a plan as it is now, all seeds."""
    return [row for row in rows if row["name"] == plan.name and row["hash"] == plan.hash]
