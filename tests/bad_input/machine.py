"""What may be wrong with the disk, the folders and the devices of a machine."""

from tests.bad_input.breaks import as_file, content, no_cuda, no_space, read_only
from tests.bad_input.case import Case
from tests.bad_input.project import MODEL, PREPARED, RUN

# fmt: off

SURROUNDINGS = [
    Case("no space for images", "prepare",
         "data/prepared: cannot be written: File too large; raise the limit on the size of a"
         " file", surroundings=no_space),
    Case("no space for labels", "prepare",
         "data/prepared: cannot be written: File too large; raise the limit on the size of a"
         " file", surroundings=lambda: no_space(200)),
    Case("no space for a model", "train",
         f"{RUN}/model.safetensors: cannot be written: File too large; raise the limit on the"
         " size of a file", surroundings=no_space),
    Case("no space for a state", "train --method random -S run.save_interval=0",
         ".resume/train-random.safetensors: cannot be written: File too large; raise the "
         "limit on the size of a file", surroundings=no_space),
    Case("no space for predictions", "evaluate",
         "artifacts/evaluate/crest/predictions.parquet: cannot be written: File too large; "
         "raise the limit on the size of a file", surroundings=lambda: no_space(500)),
    Case("no space for coresets", f"select --checkpoint {MODEL} --out c.parquet",
         "c.parquet: cannot be written: File too large; raise the limit on the size of a "
         "file", surroundings=lambda: no_space(500)),
    Case("no space for an export", "export --out subset",
         "subset: cannot be written: File too large; raise the limit on the size of a file",
         surroundings=lambda: no_space(500)),
    Case("no space for an export as CSV", "export --out c.csv",
         "c.csv: cannot be written: File too large; raise the limit on the size of a file",
         surroundings=lambda: no_space(500)),
    Case("no space for an analysis", "analyze",
         "artifacts/analyze: cannot be written: File too large; raise the limit on the size "
         "of a file", surroundings=lambda: no_space(10_000)),
    Case("no space for a report", "report",
         "artifacts/report: cannot be written: File too large; raise the limit on the size "
         "of a file", surroundings=no_space),
    Case("no space for parameters", "preset digits",
         "params.yaml: cannot be written: File too large; raise the limit on the size of a "
         "file", surroundings=lambda: no_space(50)),
    Case("a read-only disk, preparing", "prepare",
         "data/prepared: cannot be written: Read-only file system; work on a disk that can "
         "be written", surroundings=read_only),
    Case("a read-only disk, training", "train",
         f"{RUN}: cannot be written: Read-only file system; work on a disk that can be "
         "written", surroundings=read_only),
    Case("a read-only disk, evaluating", "evaluate",
         "artifacts/evaluate/crest: cannot be written: Read-only file system; work on a disk"
         " that can be written", surroundings=read_only),
    Case("a file where data/ is to be", "prepare",
         "data/prepared: cannot be written: File exists; move away the file that is where a "
         "folder is to be", as_file("data")),
    Case("a file where data/prepared is to be", "prepare",
         "data/prepared: a file where a folder is to be; move it away", as_file(PREPARED)),
    Case("a file where the run is to be", "train",
         f"{RUN}: a file where a folder is to be; move it away", as_file(RUN)),
    Case("a file where .resume/ is to be", "train --method random",
         ".resume: a file where a folder is to be; move it away", content(".resume", b"")),
    Case("a folder where coresets are to be", f"select --checkpoint {MODEL} --out artifacts",
         "artifacts: cannot be written: Is a directory; move away the folder in its place, "
         "or name another file"),
    Case("a folder where a CSV is to be", "export --out c.csv",
         "c.csv: cannot be written: Is a directory; move away the folder in its place, or name "
         "another file", content("c.csv/x", b"")),
    Case("CUDA where there is none", "train -S train.device=cuda",
         "train.device: 'cuda' asked for, but PyTorch finds no CUDA device here; use 'auto' "
         "or 'cpu'", code=2, surroundings=no_cuda),
    Case("the third GPU where there is none", "evaluate -S train.device=cuda:2",
         "train.device: 'cuda:2' asked for, but PyTorch finds no CUDA device here; use "
         "'auto' or 'cpu'", code=2, surroundings=no_cuda),
    Case("a loss that is no number", "train --method random -S train.lr=1e30",
         "the training loss became nan at step 1; lower train.lr or set train.precision to "
         "float32, and start with --fresh: the state before that is kept until then"),
]
