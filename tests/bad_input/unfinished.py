"""What may be wrong with the state of an unfinished run."""

import shutil

from tests.bad_input.breaks import content, cut, other_code, other_data, unfinished
from tests.bad_input.case import Case
from tests.bad_input.project import MODEL, STATE

AFRESH = "to start afresh, run `python cli.py train --fresh` or remove the file"

# fmt: off

UNFINISHED_RUNS = [
    Case("a state cut short", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"…; {AFRESH}", unfinished(cut(STATE))),
    Case("a state of 0 bytes", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"…; {AFRESH}", unfinished(cut(STATE, 0.0))),
    Case("a state that is none", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"…; {AFRESH}", unfinished(content(STATE, b"\x80\x04state" * 50))),
    Case("other parameters", "train --method random -S train.lr=0.2",
         ".resume/train-random.safetensors: the saved state is of an unfinished run with "
         f"other train.lr; set back what changed to finish it, or {AFRESH}", unfinished()),
    Case("other data", "train --method random",
         ".resume/train-random.safetensors: the saved state is of an unfinished run with "
         f"other data; set back what changed to finish it, or {AFRESH}",
         unfinished(other_data)),
    Case("other code", "train --method random",
         ".resume/train-random.safetensors: the saved state is of an unfinished run with other "
         f"code (crest/training/loop.py); set back what changed to finish it, or {AFRESH}",
         unfinished(other_code)),
    Case("a state of another program", "train --method random",
         ".resume/train-random.safetensors: the saved state of an unfinished run is damaged "
         f"('key'); {AFRESH}", unfinished(lambda: shutil.copy(MODEL, STATE))),
]
