"""How many labels are wrong: counted once, and said in one sentence wherever it is said."""

from dataclasses import dataclass

import polars as pl

from crest.analysis.comparison import percent
from crest.analysis.difficulty import MOST_MISLABELLED

ORDER = "what is listed is an order, likeliest first"
OF_A_RUN = "too high where the model has learned little"
OF_INPUTS = "where the inputs tell little"


@dataclass(frozen=True)
class Suspects:
    """Of ``known`` labels ``expected`` are wrong by estimate, ``likely`` more likely than not.

    ``trained`` is whether a run has seen any; else the estimate is of the inputs alone.
    """

    known: int
    expected: int
    likely: int
    trained: bool

    @classmethod
    def of(cls, difficulty: pl.DataFrame) -> "Suspects":
        """Count those of a 'difficulty' table."""
        chances = difficulty["wrong_label"].drop_nulls()
        trained = bool((difficulty["seen"] > 0).any())
        return cls(len(chances), round(chances.sum()), int((chances > 0.5).sum()), trained)

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
        low = "The estimate is of labels that are wrong at random: it is too low where they go to"
        if self.trained:
            return f"{low} similar classes, and {OF_A_RUN}."
        return f"{low} similar classes, and {OF_INPUTS}."
