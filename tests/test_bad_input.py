"""Whatever is wrong, one message says what, where and what to do, and nothing is touched."""

import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
import torch

from tests.bad_input import CASES, Case, make_project, meet
from tests.bad_input.advice import ADVICE, Advice
from tests.bad_input.case import invoke

ROOT = Path(__file__).parents[1]
LEFTOVERS = {".partial", ".earlier", ".part", ".tmp"}


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """A project in which every command works; not to be written to."""
    folder = tmp_path_factory.mktemp("whole")
    make_project(folder)
    return folder


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{group}: {case.name}")
        for group, cases in CASES.items()
        for case in cases
    ],
)
def test_a_mistake_is_told_in_one_message_and_touches_nothing(case: Case, whole, tmp_path) -> None:
    outcome = meet(case, whole, tmp_path)
    result = outcome.result
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == case.code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\nerror: ") == 0
    assert "Traceback" not in result.stderr
    assert str(tmp_path) not in result.stderr
    assert case.expects(outcome.message), outcome.message
    assert outcome.after == outcome.before
    assert not [path for path in tmp_path.rglob("*") if path.suffix in LEFTOVERS]


@pytest.fixture
def same_threads() -> Iterator[None]:
    """As many threads afterwards as before."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("same_threads")
@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.followed)
def test_advice_that_is_followed_leads_on(advice: Advice, whole, tmp_path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with chdir(tmp_path), advice.surroundings():
        failed = invoke(advice.command)
        assert failed.exit_code in (1, 2)
        assert advice.words in failed.stderr
        followed = invoke(advice.followed)
        assert followed.exit_code == 0, followed.output


def test_every_case_is_in_the_documentation_with_its_exit_code() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for group, cases in CASES.items():
        section = text.partition(f"## {group}\n")[2].partition("\n## ")[0]
        rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
        found = [(row[0].removeprefix("| "), row[2]) for row in rows]
        assert found == [(case.name, str(case.code)) for case in cases], "make docs/errors.md again"


def test_names_of_cases_are_different() -> None:
    for cases in CASES.values():
        names = [case.name for case in cases]
        assert len(set(names)) == len(names)
