"""What parameters, values, counts and runs were called when rows of docs/results were written.

Rows lie in their files as they were written. Whoever reads them gets today's names, and what a
plan's hash is taken over has the names of then: so the hash of a run stays what it was.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from crest.parameters import renamed
from crest.parameters.section import Section

FILE = Path(__file__).parent / "names.yaml"


class Names(Section):
    """The table: of each thing that was called otherwise, today's name and that of then.

    ``values`` are by today's key of their parameter.
    """

    parameters: dict[str, str]
    values: dict[str, dict[str, str]]
    counts: dict[str, str]
    runs: dict[str, str]

    def overrides_then(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters, called as today, by the names of then."""
        return {
            self.parameters.get(key, key): _renamed(value, self.values.get(key, {}))
            for key, value in overrides.items()
        }

    def row_now(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row, of whatever time, by today's names."""
        changed: dict[str, Any] = {}
        runs, counts, keys = map(_inverse, (self.runs, self.counts, self.parameters))
        for key in row.keys() & {"name", "coresets_of"}:
            changed[key] = _renamed(row[key], runs)
        if given := row.get("as_long_as"):
            changed["as_long_as"] = {**given, "run": _renamed(given["run"], runs)}
        if "counts" in row:
            changed["counts"] = {
                counts.get(key, key): value for key, value in row["counts"].items()
            }
        if "overrides" in row:
            called = {keys.get(key, key): value for key, value in row["overrides"].items()}
            changed["overrides"] = {
                key: _renamed(value, _inverse(self.values.get(key, {})))
                for key, value in called.items()
            }
        return {**row, **changed}


def _inverse(table: Mapping[str, str]) -> dict[str, str]:
    return {then: now for now, then in table.items()}


def _renamed(value: Any, table: Mapping[str, str]) -> Any:
    return table.get(value, value) if isinstance(value, str) else value


@cache
def names() -> Names:
    """Return the table of names.yaml."""
    others = YAML(typ="safe", pure=True).load(FILE.read_text(encoding="utf-8"))
    parameters = _inverse(renamed.KEYS)
    values = {key: _inverse(table) for key, table in renamed.VALUES.items()}
    return Names.model_validate({"parameters": parameters, "values": values, **others})
