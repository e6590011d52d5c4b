"""What spreadsheets make of cells that begin like a formula.

Cells are written as they are: changing them would change names that programs read back. Whoever
writes a CSV says which of its cells a spreadsheet would take for formulas.
"""

from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula, and not for text; numbers it may not."""
    if not cell.startswith(FORMULA):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def formula_note(what: str, cells: Iterable[str]) -> str | None:
    """Say that some cells look like formulas, if any does.

    Parameters
    ----------
    what
        What the cells are, such as ``names of classes``.
    """
    found = sum(map(is_formula, cells))
    if not found:
        return None
    return (
        f"{what} begin with =, +, - or @ ({found} of them), which a spreadsheet takes for "
        "formulas: import the column as text"
    )
