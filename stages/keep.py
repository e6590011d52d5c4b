"""keep: the part of the examples whose score is highest or lowest, or the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from crest.analysis.subset import SCORES, WORDS, Part, hard_first, part_of
from crest.data.origins import with_sources
from crest.errors import ParameterError, not_one_of
from crest.pipeline.paths import Paths
from crest.pipeline.recorded import meta_of, read_difficulty
from crest.pipeline.texts import ranked

__all__ = ["SCORES", "Kept", "run"]


@dataclass(frozen=True)
class Kept:
    """Rows of the examples asked for, and a sentence on how they were taken."""

    rows: pl.DataFrame
    summary: str


def run(
    sources: Sequence[Path],
    paths: Paths,
    by: str,
    share: float | None,
    count: int | None,
    *,
    lowest: bool = False,
    per_class: bool = False,
    others: bool = False,
    seed: int = 0,
    prepared: Path | None = None,
) -> Kept:
    """Take a share, or a count, of the examples by a score.

    Parameters
    ----------
    sources
        As :func:`crest.pipeline.recorded.read_difficulty` has them; none: the last analysis.
    prepared
        Folder of prepared data, for the names of classes and where examples came from. None: the
        project's for its own analysis, else numbers.
    others
        Whether the rows are those that are not kept.

    Raises
    ------
    ParameterError
        If there is no such score, not one of share and count, or too few examples have the score.
    ArtifactError
        If a table or the data are missing, damaged, or not of each other.
    """
    if (share is None) == (count is None):
        raise ParameterError("keep: say how many: one of --share 0.1 and --count 500")
    if share == 0.0:
        raise ParameterError("keep: --share: 0 keeps nothing; say a share above 0")
    if by not in SCORES:
        raise ParameterError(f"keep: --by: {not_one_of(by, SCORES)}")
    own = not sources
    sources = [paths.analyze] if own else sources
    if own and prepared is None and paths.prepared.is_dir():
        prepared = paths.prepared
    table = read_difficulty(sources)
    meta = None if prepared is None else meta_of(prepared, len(table), sources)
    table = with_sources(table, prepared)
    if count is not None and count > len(table):
        raise ParameterError(f"keep: --count {count:,}: there are {len(table):,} examples")

    def size(examples: int) -> int:
        return count if count is not None else max(1, round((share or 0.0) * examples))

    part = part_of(table, by, size, lowest=lowest, per_class=per_class, seed=seed)
    rows = part.others if others else part.kept
    listed = ranked(rows.head(0), meta).columns
    more = [name for name in (by, "forgotten") if name not in listed]
    return Kept(
        ranked(rows, meta, list(dict.fromkeys(more)), most=len(rows)),
        f"{_in_words(len(part.kept), len(table), by, lowest, per_class, others)}"
        f"{_ties_in_words(part, by, lowest, seed)}.",
    )


def _in_words(kept: int, total: int, by: str, lowest: bool, per_class: bool, others: bool) -> str:
    within = ", of each class its share" if per_class else ""
    which = f"the {kept:,} of {total:,} examples {WORDS[by][lowest]}{within}"
    return f"{'All but' if others else 'These are'} {which}"


def _ties_in_words(part: Part, by: str, lowest: bool, seed: int) -> str:
    """Say how many of equal ones are kept, by their mean loss and by chance; nothing of none."""
    if not part.level:
        return ""
    everyone = part.level == len(part.kept) + len(part.others)
    which = (
        "all are equal in it:"
        if everyone
        else f"of {part.level:,} equal ones where the line falls,"
    )
    chance = f"{part.drawn:,} by chance (--seed {seed})"
    start = f"; {which}"
    if part.tied == part.level:
        return f"{start} {chance}"
    extreme = "highest" if hard_first(by, lowest) else "lowest"
    sentence = f"{start} {part.taken:,} by the {extreme} mean loss"
    return f"{sentence}, of {part.tied:,} equal in that too {chance}" if part.tied else sentence
