import pytest

from crest.files.csv_cells import formula_note, is_formula


@pytest.mark.parametrize("cell", ["=1+1", "+a", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"])
def test_cells_that_a_spreadsheet_runs_are_known(cell):
    assert is_formula(cell)
    assert formula_note("names", ["a", cell]) == (
        "names begin with =, +, - or @ (1 of them), which a spreadsheet takes for formulas: "
        "import the column as text"
    )


@pytest.mark.parametrize("cell", ["", "a=b", "-1", "+2.5", "1-2", "'=1", "\u2013 dash"])
def test_other_cells_are_none(cell):
    assert not is_formula(cell)
    assert formula_note("names", [cell]) is None
