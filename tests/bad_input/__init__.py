"""Everything a user or a machine may get wrong, and what the command line answers.

    python -m tests.bad_input > docs/errors.md

Each case breaks a copy of a small project in one way and runs one command in it.
"""

import os

# No case asks the network; before transformers is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tests.bad_input.case import Case, Outcome, meet
from tests.bad_input.checkpoints import CHECKPOINTS
from tests.bad_input.coresets import SAVED_CORESETS
from tests.bad_input.folders import FOLDERS
from tests.bad_input.listed import LISTED_IMAGES
from tests.bad_input.machine import SURROUNDINGS
from tests.bad_input.mixed import MIXED_RESULTS
from tests.bad_input.parameters import PARAMETERS
from tests.bad_input.parquet import PARQUET
from tests.bad_input.prepared_data import PREPARED_DATA
from tests.bad_input.pretrained import PRETRAINED
from tests.bad_input.project import make_project, png
from tests.bad_input.text import TEXT
from tests.bad_input.unfinished import UNFINISHED_RUNS

__all__ = ["CASES", "Case", "Outcome", "make_project", "meet", "png"]

CASES = {
    "Parameters": PARAMETERS,
    "Parquet files": PARQUET,
    "Image folders": FOLDERS,
    "Listed images and how images are stored": LISTED_IMAGES,
    "Text": TEXT,
    "Prepared data": PREPARED_DATA,
    "Pretrained weights": PRETRAINED,
    "Checkpoints": CHECKPOINTS,
    "Coresets and runs": SAVED_CORESETS,
    "Results that do not belong together": MIXED_RESULTS,
    "The state of an unfinished run": UNFINISHED_RUNS,
    "The machine": SURROUNDINGS,
}
