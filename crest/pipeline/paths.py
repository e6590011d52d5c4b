"""Where every stage reads and writes: one place for all paths of the contract."""

import re
from dataclasses import dataclass
from pathlib import Path

from crest import artifacts
from crest.data.files import SPLITS
from crest.errors import ParameterError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# What each stage writes into its folder; a file of another name is somebody's, and not removed.
PREPARED = (
    "meta.json",
    *(f"{split}_*.npy" for split in SPLITS),
    "*_texts.parquet",
    "*_sources.parquet",
)
EVALUATED = (artifacts.METRICS, artifacts.PREDICTIONS, artifacts.MANIFEST)
TRAINED = (
    artifacts.MODEL,
    artifacts.RUN,
    *(f"{table}.parquet" for table in artifacts.TABLES if table != "embedded"),
    f"{artifacts.SNAPSHOTS}/step_*.safetensors",
    *EVALUATED,
)
ANALYSED = (artifacts.DIFFICULTY, "*.csv", "*.png", artifacts.MANIFEST)
EMBEDDED = ("embeddings.json", artifacts.EMBEDDED, *(f"{split}.npy" for split in SPLITS))
REPORTED = ("summary.json", "summary.csv", "seeds.csv", "report.html", artifacts.MANIFEST)


@dataclass(frozen=True)
class Paths:
    """The folders of a project, under ``root``."""

    root: Path = Path()

    @property
    def prepared(self) -> Path:
        """Memory-mapped arrays and meta.json."""
        return self.root / "data" / "prepared"

    @property
    def fingerprint(self) -> Path:
        """What the inputs from outside hold."""
        return self.root / "data" / "fingerprint"

    @property
    def hashes(self) -> Path:
        """What is remembered of their files, so that they are not read again."""
        return self.root / "data" / ".hashes.json"

    @property
    def analyze(self) -> Path:
        """Difficulty, CSVs and pictures."""
        return self.root / "artifacts" / "analyze"

    @property
    def report(self) -> Path:
        """Summary and report.html."""
        return self.root / "artifacts" / "report"

    def resume(self, run: str) -> Path:
        """State of an unfinished run; outside the outputs, which DVC removes before a run."""
        return self.root / ".resume" / f"{_folder_name(run)}.safetensors"

    def unfinished(self) -> list[str]:
        """Return the names of the runs of any command that have such a state."""
        states = (self.root / ".resume").glob("[!.]*.safetensors")
        return sorted(path.stem for path in states if path.is_file())

    def train(self, method: str) -> Path:
        """What training with a method left behind."""
        return self.root / "artifacts" / "train" / _folder_name(method)

    def evaluate(self, method: str) -> Path:
        """A method's model on the test split."""
        return self.root / "artifacts" / "evaluate" / _folder_name(method)

    def repeat(self, method: str, seed: int) -> Path:
        """Return the folder of a method's run with another seed than train.seed."""
        return self.root / "artifacts" / "seeds" / _folder_name(method) / str(seed)

    def reuse(self, model: str) -> Path:
        """A model trained on saved coresets, filed under its name.

        OWNER/NAME, or a folder within the project, keeps its parts, as DVC has it; a path that
        leads elsewhere goes by its last part, whatever / and . it ends with.
        """
        return self.root / "artifacts" / "reuse" / Path(*map(_folder_name, _parts(model)))

    def embed(self, model: str) -> Path:
        """What a model's backbone made of the examples, filed under its name as in reuse."""
        return self.root / "artifacts" / "embed" / Path(*map(_folder_name, _parts(model)))

    def reuse_state(self, model: str) -> Path:
        """State of an unfinished run of reuse."""
        return self.resume(f"reuse-{'--'.join(_parts(model))}")


def _parts(model: str) -> list[str]:
    parts = [*Path(model).parts] or [model]  # without a / or . at its end
    return parts if all(map(NAME.fullmatch, parts)) else parts[-1:]


def _folder_name(name: str) -> str:
    """Return a name that cannot lead out of the folder it is put in."""
    if not NAME.fullmatch(name):
        raise ParameterError(
            f"--method, --model: '{name}' is no name of one; use letters, digits and - _ . only"
        )
    return name
