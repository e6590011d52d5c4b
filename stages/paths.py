"""Where every stage reads and writes: one place for all paths of the contract."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The folders of a project, under ``root``."""

    root: Path = Path()

    @property
    def prepared(self) -> Path:
        """Memory-mapped arrays and meta.json."""
        return self.root / "data" / "prepared"

    @property
    def analyze(self) -> Path:
        """Difficulty, CSVs and pictures."""
        return self.root / "artifacts" / "analyze"

    @property
    def report(self) -> Path:
        """Summary and report.html."""
        return self.root / "artifacts" / "report"

    def train(self, method: str) -> Path:
        """What training with a method left behind."""
        return self.root / "artifacts" / "train" / method

    def evaluate(self, method: str) -> Path:
        """A method's model on the test split."""
        return self.root / "artifacts" / "evaluate" / method

    def reuse(self, model: str) -> Path:
        """A model trained on saved coresets."""
        return self.root / "artifacts" / "reuse" / model
