"""Results that do not belong together, or are not as they were written."""

import shutil
from pathlib import Path

from crest import artifacts
from crest.pipeline import manifest
from tests.bad_input.breaks import Break, both, cut_lines, gone, other_data
from tests.bad_input.case import Case, invoke
from tests.bad_input.project import CORESETS, MODEL, RUN

REUSE = "reuse --model convnet"
REPORT, ANALYSIS = Path("artifacts/report"), Path("artifacts/analyze")
EVALUATION = Path("artifacts/evaluate/crest")
AGAIN = "make it again with `python cli.py train --method crest`"
ALTERED = "not as it was written: cut short, changed, or of another run"
UNKNOWN = (
    "no such file, so that nobody can tell which run this is of; results of earlier versions "
    "have none"
)
OTHER_DATA = "of other data than data/prepared holds now"


def trained_anew() -> None:
    """Train once more, with another learning rate."""
    assert invoke("train --method crest -S train.lr=0.01").exit_code == 0


def evaluated_anew() -> None:
    """Evaluate what was trained anew."""
    assert invoke("evaluate --method crest").exit_code == 0


def edited(path: Path, **changes: object) -> Break:
    """Change values of a JSON file by hand."""

    def damage() -> None:
        artifacts.write_json(path, artifacts.read_json(path) | changes)

    return damage


def of_random() -> None:
    """Put a run in a folder of another name."""
    shutil.rmtree(RUN)
    assert invoke("train --method random").exit_code == 0
    Path("artifacts/train/random").rename(RUN)


# fmt: off

MIXED_RESULTS = [
    Case("trained anew, not evaluated", "report",
         f"{EVALUATION}: of another run than {RUN} holds now; make it with `python cli.py evaluate "
         "--method crest`", trained_anew),
    Case("trained and evaluated anew, not analysed", "report",
         f"{ANALYSIS}: of another run than {RUN} holds now; make it again with `python cli.py "
         "analyze`", both(trained_anew, evaluated_anew)),
    Case("evaluated on data prepared anew", "evaluate", f"{RUN}: {OTHER_DATA}; {AGAIN}",
         other_data),
    Case("analysed on data prepared anew", "analyze", f"{RUN}: {OTHER_DATA}; {AGAIN}",
         other_data),
    Case("reported on data prepared anew", "report", f"{RUN}: {OTHER_DATA}; {AGAIN}",
         other_data),
    Case("coresets of data prepared anew, reused", REUSE,
         f"{CORESETS}: chosen from {OTHER_DATA.removeprefix('of ')}; {manifest.CHOOSE_AGAIN}",
         other_data),
    Case("coresets of data prepared anew, exported", "export --out subset.csv",
         f"{CORESETS}: chosen from {OTHER_DATA.removeprefix('of ')}; {manifest.CHOOSE_AGAIN}",
         other_data),
    Case("the run of another method in a folder", "evaluate --method crest",
         f"{RUN}: of random, not of crest; {AGAIN}", of_random),
    Case("a model that another run wrote", "evaluate", f"{MODEL}: {ALTERED}; {AGAIN}",
         both(lambda: shutil.copyfile(MODEL, "earlier"), trained_anew,
              lambda: shutil.copyfile("earlier", MODEL))),
    Case("an accuracy changed by hand", "report",
         f"{EVALUATION}/metrics.json: {ALTERED}; make it with `python cli.py evaluate --method "
         "crest`", edited(EVALUATION / "metrics.json", accuracy=0.99)),
    Case("steps changed by hand", "evaluate", f"{RUN}/metrics.json: {ALTERED}; {AGAIN}",
         edited(RUN / "metrics.json", steps=1)),
    Case("a curve cut short", "report",
         f"{ANALYSIS}/curves.csv: {ALTERED}; make it again with `python cli.py analyze`",
         cut_lines(ANALYSIS / "curves.csv")),
    Case("a summary cut short", "report --show",
         f"{REPORT}/summary.csv: {ALTERED}; make it with `python cli.py report`",
         cut_lines(REPORT / "summary.csv")),
    Case("a run that does not say which it is", "evaluate",
         f"{RUN}/manifest.json: {UNKNOWN}: {AGAIN}", gone(RUN / "manifest.json")),
    Case("an analysis that does not say of which runs", "report",
         f"{ANALYSIS}/manifest.json: {UNKNOWN}: make it again with `python cli.py analyze`",
         gone(ANALYSIS / "manifest.json")),
]
