"""The schema of every table that a run leaves behind, and how it is written, read and checked."""

import errno
import io
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from crest.artifacts import seals
from crest.artifacts.failures import cannot_be_read
from crest.artifacts.replacement import replacing
from crest.errors import ArtifactError

SCHEMA_VERSION = 1
# Tables whose columns have changed since, so that files of the others stay readable.
NEWER_VERSIONS: Mapping[str, int] = {"examples": 4, "difficulty": 4, "regions": 2}

ABOUT = "crest_about_"  # begins the names of what a table's metadata says that it is of

MODEL = "model.safetensors"
CORESETS = "coresets.parquet"
REGIONS = "regions.parquet"
STEPS = "steps.parquet"
EXAMPLES = "examples.parquet"
VALIDATION = "validation.parquet"
SNAPSHOTS = "snapshots"
METRICS = "metrics.json"
RUN = "run.json"
MANIFEST = "manifest.json"
PREDICTIONS = "predictions.parquet"
DIFFICULTY = "difficulty.parquet"
EMBEDDED = "embedded.parquet"

NEVER = -1  # in a column of steps or classes, where there is none

# One entry a table, named as its file: column -> type, in the order of the file.
TABLES: Mapping[str, Mapping[str, Any]] = {
    "coresets": {
        "region": pl.Int32,
        "minibatch": pl.Int32,  # within the region
        "position": pl.Int32,  # greedy order within the mini-batch
        "index": pl.Int64,  # row in the prepared training set
        "label": pl.Int64,
        "weight": pl.Float32,  # mean 1 within a mini-batch; of craig, gradmatch, a coreset
        "loss": pl.Float32,  # at selection
    },
    "regions": {
        "region": pl.Int32,
        "start_step": pl.Int32,
        "end_step": pl.Int32,  # first step after the region
        "check_interval": pl.Int32,  # T1
        "minibatches": pl.Int32,  # P
        "checks": pl.Int32,
        "rho": pl.Float64,  # of the last check; null when training ended before one
        "loss_start": pl.Float64,  # L(w_l)
        "gradient_norm": pl.Float64,  # null for methods without a quadratic model
        "curvature_norm": pl.Float64,  # null for methods without a quadratic model
        # Kish's effective size (Σw)²/Σw², a mean over its mini-batches: as many examples of equal
        # weight would vary as much.
        "effective_size": pl.Float64,
        "active": pl.Int64,
        "excluded": pl.Int64,
        "seconds_select": pl.Float64,
        "seconds_model": pl.Float64,
        "seconds_check": pl.Float64,
        "seconds_train": pl.Float64,
    },
    "steps": {
        "step": pl.Int32,
        "region": pl.Int32,  # -1 for methods without regions
        "minibatch": pl.Int32,  # -1 for methods without saved mini-batches
        "lr": pl.Float64,
        "loss": pl.Float64,
        "accuracy": pl.Float64,  # share of the mini-batch classified right, before the step
        "examples": pl.Int64,  # trained on so far, this step included
        "seconds": pl.Float64,  # since the start, everything but validation included
    },
    "examples": {
        "pass": pl.String,  # training: as trained on; selection: as scored by the method
        "index": pl.Int64,
        "label": pl.Int64,  # null where there is none, of what LossBatchSampler saved
        "seen": pl.Int32,
        # These three are null where LossBatchSampler was not given what is right.
        "correct": pl.Int32,
        "forgotten": pl.Int32,  # times it went from right to wrong between two visits
        "first_learned": pl.Int32,  # step at which it was first right, -1 for never
        "loss_sum": pl.Float64,
        "el2n": pl.Float64,  # mean norm of softmax - one-hot, trained on early; null where not
        # Class that most of its wrong classifications name, -1 for none; null where not kept.
        "taken_for": pl.Int32,
        # Means over the first few visits: what the model gave to the label, and to one other class
        # drawn at random; null where not kept.
        "label_probability": pl.Float64,
        "control_probability": pl.Float64,
        "excluded_at": pl.Int32,  # step at which it left V, -1 for never
    },
    "validation": {
        "step": pl.Int32,  # training steps taken
        "seconds": pl.Float64,
        "loss": pl.Float64,
        "accuracy": pl.Float64,
    },
    "predictions": {
        "index": pl.Int64,  # row in the prepared test set
        "label": pl.Int64,
        "prediction": pl.Int64,
        "confidence": pl.Float32,
        "loss": pl.Float32,
    },
    "embedded": {
        "split": pl.String,
        "index": pl.Int64,  # row in that prepared split
        "label": pl.Int64,
        "nearest": pl.Int64,  # row in the prepared training set
        "similarity": pl.Float32,  # cosine with it
        "agreement": pl.Float32,  # share of its neighbours with its label
        "outlier_score": pl.Float32,  # mean distance of its neighbours, 1 - cosine
        "outlier": pl.Boolean,  # whether that lies far above the others'
        "duplicate_of": pl.Int64,  # first row of the training set it is a copy of, -1 for none
        # Chance that its label is wrong, by those of all others; null where it is not training's.
        "wrong_label": pl.Float64,
        "taken_for": pl.Int32,  # class that all others name, -1 for the label's own
        "suspected": pl.Boolean,  # whether it is more likely wrong than right
    },
    "difficulty": {
        "index": pl.Int64,
        "label": pl.Int64,
        "forgotten": pl.Int32,
        "seen": pl.Int32,
        "correct": pl.Int32,  # times it was right of those
        "mean_loss": pl.Float64,  # null for never seen
        "el2n": pl.Float64,  # null for never seen early
        "taken_for": pl.Int32,  # class that its wrong classifications name, -1 for none
        "wrong_label": pl.Float64,  # how likely its label is wrong, 0 to 1; null where not known
        "first_learned": pl.Int32,
        "selected": pl.Int32,  # times picked into a mini-batch coreset
        "trained": pl.Int32,  # times trained on by crest
        "excluded_at": pl.Int32,
    },
}


def coresets_file(source: Path) -> Path:
    """Return the file of the 'coresets' table of a run's folder, or the file itself."""
    return source / CORESETS if source.is_dir() else source


def table_name(path: Path) -> str:
    """Return the table a file holds, by its name."""
    return path.name.partition(".")[0]


def schema_version(table: str) -> int:
    """Return the version of a table's columns."""
    return NEWER_VERSIONS.get(table, SCHEMA_VERSION)


def write_table(
    path: Path,
    frame: pl.DataFrame,
    table: str | None = None,
    about: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a table with its schema and version.

    ``table`` names the schema where the file is called something else; ``about`` says what the
    table is of, to be read with :func:`read_about`; ``more`` are columns and types beside those of
    the schema.

    Raises
    ------
    ArtifactError
        If the file cannot be written.
    polars.exceptions.PolarsError
        If the frame lacks a column or has one of another type: a fault of ours, not of a user.
    """
    content = table_bytes(frame, table or table_name(path), about, more)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def table_bytes(
    frame: pl.DataFrame,
    table: str,
    about: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """Return what :func:`write_table` writes, for a stream."""
    columns = {**TABLES[table], **(more or {})}
    checked = frame.select(pl.col(column).cast(kind) for column, kind in columns.items())
    metadata = {
        "crest_table": table,
        "crest_schema": str(schema_version(table)),
        **{f"{ABOUT}{key}": value for key, value in (about or {}).items()},
        seals.KEY: seals.BLANK,
    }
    stream = io.BytesIO()
    checked.write_parquet(stream, metadata=metadata)
    return seals.seal_parquet(stream.getvalue())


def read_table(path: Path, table: str | None = None) -> pl.DataFrame:
    """Read a table and check that it is what its name says.

    Raises
    ------
    ArtifactError
        If the file is missing, unreadable, damaged, of another kind or of another schema version.
    """
    name = table or table_name(path)
    content = _content(path)
    if not seals.parquet_is_whole(content):
        raise _not_whole(path, "its checksum is another")
    try:
        metadata = pl.read_parquet_metadata(io.BytesIO(content))
        frame = pl.read_parquet(io.BytesIO(content))
    # Polars panics over some damage, which is not even an Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise _not_whole(path, str(error).partition("\n")[0]) from None
    _check_metadata(path, name, metadata)
    _check_schema(path, name, frame)
    return frame


def read_about(path: Path) -> dict[str, str]:
    """Return what :func:`write_table` recorded that a table is of; none of other files."""
    try:
        metadata = pl.read_parquet_metadata(io.BytesIO(_content(path)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        return {}
    return {key.removeprefix(ABOUT): metadata[key] for key in metadata if key.startswith(ABOUT)}


def _not_whole(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{path}: not a whole Parquet file ({reason}); make it again")


def _content(path: Path) -> bytes:
    """Return the bytes of a file; Polars would take some marks in a path for a pattern."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return path.read_bytes()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise cannot_be_read(path, error) from None
    raise ArtifactError(f"{path}: no such file; it is written by the stage before this one")


def _check_metadata(path: Path, name: str, metadata: Mapping[str, str]) -> None:
    kind, version = metadata.get("crest_table"), metadata.get("crest_schema")
    if kind is None or version is None:
        raise ArtifactError(
            f"{path}: not written by this project (no schema version inside); name a file that was"
        )
    if kind != name:
        raise ArtifactError(
            f"{path}: holds a '{kind}' table where a '{name}' table is needed; name another file"
        )
    if version != str(schema_version(name)):
        raise ArtifactError(
            f"{path}: schema version {version}, this code reads version {schema_version(name)}; "
            "make it again, or use the code that wrote it"
        )


def _check_schema(path: Path, name: str, frame: pl.DataFrame) -> None:
    for column, kind in TABLES[name].items():
        if column not in frame.columns:
            raise ArtifactError(
                f"{path}: column '{column}' is missing; it has {frame.columns}; make it again"
            )
        if frame.schema[column] != kind:
            raise ArtifactError(
                f"{path}: column '{column}' is {frame.schema[column]}, it must be {kind}; "
                "make it again"
            )
