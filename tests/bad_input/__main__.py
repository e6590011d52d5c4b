"""Print docs/errors.md: all cases with the messages that they get."""

import re
import shutil
import tempfile
from pathlib import Path

from tests.bad_input import CASES, Case, Outcome, make_project, meet


def table_of(group: str, outcomes: list[tuple[Case, Outcome]]) -> str:
    """Return the cases of a group and what they were told as a table in Markdown."""
    head = [f"## {group}", "", "| what is wrong | command | exit | message |", "|---|---|---|---|"]
    rows = [
        f"| {case.name} | `{_cell(case.command)}` | {outcome.result.exit_code} "
        f"| {_cell(outcome.message)} |"
        for case, outcome in outcomes
    ]
    return "\n".join([*head, *rows, ""])


def _cell(text: str) -> str:
    """Make a text fit into a cell of a table."""
    shorter = re.sub("x{50,}", "xxx…", text)
    return shorter.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


INTRODUCTION = """\
# What goes wrong, and what you are told

Every row is a test: the project is broken in that way, the command ends with that exit code and
that message on stderr, without a traceback, and no file is changed, half written or left over.
Exit code 2 means that the command or a parameter is wrong, 1 that data or files are.

This page is made by `python -m tests.bad_input > docs/errors.md`.
"""


def main() -> None:
    """Print the tables of all cases with the messages that they get."""
    print(INTRODUCTION)
    with tempfile.TemporaryDirectory() as top:
        project = Path(top, "project")
        project.mkdir()
        make_project(project)
        for group, cases in CASES.items():
            outcomes = []
            for case in cases:
                outcomes.append((case, meet(case, project, folder := Path(top, "copy"))))
                shutil.rmtree(folder)
            print(table_of(group, outcomes))


if __name__ == "__main__":
    main()
