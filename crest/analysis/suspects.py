"""How many labels are wrong: counted once, and said in one sentence wherever it is said."""

from dataclasses import dataclass

import polars as pl

from crest.analysis.comparison import percent
from crest.analysis.difficulty import MOST_MISLABELLED

ORDER = "what is listed is an order, likeliest first"


@dataclass(frozen=True)
class Suspects:
    """Of ``known`` labels ``expected`` are wrong by estimate, ``likely`` more likely than not.

    ``trained`` is whether a run has seen any; else the estimate is of the inputs alone. ``right``
    is the share of the times it saw one that it was right, None where that is not known.
    """

    known: int
    expected: int
    likely: int
    trained: bool
    right: float | None = None

    @classmethod
    def of(cls, difficulty: pl.DataFrame) -> "Suspects":
        """Count those of a 'difficulty' table."""
        chances = difficulty["wrong_label"].drop_nulls()
        likely = int((chances > 0.5).sum())
        counts = pl.col("correct", "seen").cast(pl.Int64).sum()
        known = difficulty.drop_nulls("correct").select(counts).row(0)
        right = known[0] / known[1] if known[1] else None
        trained = bool((difficulty["seen"] > 0).any())
        return cls(len(chances), round(chances.sum()), likely, trained, right)

    @property
    def listed(self) -> int:
        """How many are listed where nobody says how many: at least one, so that all can look."""
        return self.likely or self.expected or MOST_MISLABELLED

    def __str__(self) -> str:
        """Say how many are wrong, and whether it is known which; one sentence or two."""
        if not self.known:
            return (
                f"How many labels are wrong is not known, of losses alone or of less than two "
                f"passes: {ORDER}."
            )
        start = f"Of {self.known:,} labels"
        about = f"about {self.expected:,} ({percent(self.expected / self.known)})"
        if self.likely:
            found = (
                f"{start} {about} are wrong by estimate, {self.likely:,} more likely wrong than "
                "right."
            )
        elif self.expected:
            found = (
                f"{start} none is more likely wrong than right, and up to {about} may be wrong by "
                f"estimate: {ORDER}."
            )
        else:
            found = f"{start} none is wrong by estimate: {ORDER}."
        return f"{found} {self._bounds()}"

    def _bounds(self) -> str:
        """Say what the estimate is of, and where it errs."""
        low = "The estimate is of labels that are wrong at random: it is too low where they go to"
        if not self.trained:
            return f"{low} similar classes, and where the inputs tell little."
        right = "" if self.right is None else f" (this one was right {self.right:.0%} of the times)"
        return f"{low} similar classes, and too high where the model has learned little{right}."
