"""What a run leaves behind: the schema of every table, and how it is written, read and checked.

Every file is written under a temporary name, flushed to disk and renamed, so that a file under
its final name is always whole.
"""

import errno
import glob
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from crest.errors import ArtifactError

SCHEMA_VERSION = 1
# Tables whose columns have changed since, so that files of the others stay readable.
NEWER_VERSIONS: Mapping[str, int] = {"examples": 2, "difficulty": 2}

MODEL = "model.safetensors"
CORESETS = "coresets.parquet"
REGIONS = "regions.parquet"
STEPS = "steps.parquet"
EXAMPLES = "examples.parquet"
VALIDATION = "validation.parquet"
SNAPSHOTS = "snapshots"
METRICS = "metrics.json"
RUN = "run.json"
PREDICTIONS = "predictions.parquet"
DIFFICULTY = "difficulty.parquet"

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
        "pass": pl.String,  # training: as trained on; selection: as looked at by the method
        "index": pl.Int64,
        "label": pl.Int64,
        "seen": pl.Int32,
        "correct": pl.Int32,
        "forgotten": pl.Int32,  # times it went from right to wrong between two sightings
        "first_learned": pl.Int32,  # step at which it was first right, -1 for never
        "loss_sum": pl.Float64,
        "el2n": pl.Float64,  # mean norm of softmax - one-hot, trained on early; null where not
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
    "difficulty": {
        "index": pl.Int64,
        "label": pl.Int64,
        "forgotten": pl.Int32,
        "seen": pl.Int32,
        "correct": pl.Int32,  # times it was right of those
        "mean_loss": pl.Float64,  # null for never seen
        "el2n": pl.Float64,  # null for never seen early
        "first_learned": pl.Int32,
        "selected": pl.Int32,  # times picked into a mini-batch coreset
        "trained": pl.Int32,  # times trained on by crest
        "excluded_at": pl.Int32,
    },
}


def table_name(path: Path) -> str:
    """Return the table a file holds, by its name."""
    return path.name.partition(".")[0]


def schema_version(table: str) -> int:
    """Return the version of a table's columns."""
    return NEWER_VERSIONS.get(table, SCHEMA_VERSION)


def write_table(path: Path, frame: pl.DataFrame, table: str | None = None) -> None:
    """Write a table with its schema and version.

    ``table`` names the schema where the file is called something else.

    Raises
    ------
    ArtifactError
        If the file cannot be written.
    polars.exceptions.PolarsError
        If the frame lacks a column or has one of another type: a fault of ours, not of a user.
    """
    with replacing(path) as temporary:
        try:
            _write_parquet(temporary, frame, table or table_name(path))
        except pl.exceptions.ComputeError as error:  # how Polars says that the disk is full
            raise os_error(error) from None


def table_bytes(frame: pl.DataFrame, table: str) -> bytes:
    """Return what :func:`write_table` writes, for a stream."""
    stream = io.BytesIO()
    _write_parquet(stream, frame, table)
    return stream.getvalue()


def _write_parquet(where: Path | io.BytesIO, frame: pl.DataFrame, table: str) -> None:
    checked = frame.select(pl.col(column).cast(kind) for column, kind in TABLES[table].items())
    metadata = {"crest_table": table, "crest_schema": str(schema_version(table))}
    checked.write_parquet(where, metadata=metadata)


def read_table(path: Path, table: str | None = None) -> pl.DataFrame:
    """Read a table and check that it is what its name says.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, of another kind or of another schema version.
    """
    name = table or table_name(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; it is written by the stage before this one")
    try:
        metadata = pl.read_parquet_metadata(path)
        frame = pl.read_parquet(path, glob=False)
    # Polars panics over some damage, which is not even an Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ArtifactError(f"{path}: not a whole Parquet file ({reason}); make it again") from None
    _check_metadata(path, name, metadata)
    _check_schema(path, name, frame)
    return frame


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


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object; numbers that JSON has no word for are a :class:`ValueError`."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; :class:`ArtifactError` if it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no such file; it is written by the stage before this one"
        ) from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: damaged JSON ({error}); make it again") from None
    if not isinstance(values, dict):
        raise ArtifactError(f"{path}: must hold a JSON object")
    return values


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` if the block ends well.

    Raises
    ------
    ArtifactError
        If the file system refuses anything.
    """
    with _writing(path) as target:
        handle, name = tempfile.mkstemp(".partial", _prefix(target), target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new empty folder that takes the place of ``folder`` if the block ends well.

    Raises
    ------
    ArtifactError
        If ``folder`` is a file, or the file system refuses anything.
    """
    with _writing(folder) as target:
        if target.exists() and not target.is_dir():
            raise ArtifactError(f"{folder}: a file where a folder is to be; move it away")
        temporary = Path(tempfile.mkdtemp(".partial", _prefix(target), target.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            _swap(temporary, target)
        except ArtifactError as error:
            # Whoever wrote into it knew it by its temporary name.
            raise ArtifactError(str(error).replace(str(temporary), str(folder))) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yield where ``path`` leads if it is a link, in a folder that is there."""
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        yield target
    except OSError as error:
        raise _cannot_be_written(path, error) from None


def os_error(error: Exception) -> OSError:
    """Return what Polars or safetensors say of a file system as Python itself would say it."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is None:
        return OSError(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])))


_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of a file",
    errno.EACCES: "make its folder writable",
    errno.EPERM: "make its folder writable",
    errno.EROFS: "work on a disk that can be written",
    errno.EEXIST: "move away the file that is where a folder is to be",
    errno.ENOTDIR: "move away the file that is where a folder is to be",
    errno.EISDIR: "move away the folder in its place, or name another file",
    errno.ENAMETOOLONG: "give it a shorter name",
}


def _cannot_be_written(path: Path, error: OSError) -> ArtifactError:
    """Say what the file system refused, and what to do; temporary names are left out."""
    remedy = _REMEDIES.get(error.errno or 0)
    reason = error.strerror or str(error)
    return ArtifactError(f"{path}: cannot be written: {reason}{f'; {remedy}' if remedy else ''}")


def _prefix(target: Path) -> str:
    """Begin the name of a temporary file beside ``target`` with whose it is."""
    return f".{target.name}.{os.getpid()}."


def _sweep(target: Path) -> None:
    """Remove what a killed process left beside ``target``; put back what it had moved aside."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.*"):
        owner = left.name.removeprefix(f".{target.name}.").partition(".")[0]
        if not owner.isdigit() or _is_running(int(owner)):
            continue
        if left.suffix == ".earlier" and not target.exists():
            left.rename(target)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif left.suffix == ".partial":
            left.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _swap(temporary: Path, folder: Path) -> None:
    """Put ``temporary`` where ``folder`` is, which is kept until the new one is in place."""
    if not folder.exists():
        temporary.rename(folder)
        return
    earlier = temporary.with_suffix(".earlier")
    folder.rename(earlier)
    try:
        temporary.rename(folder)
    finally:
        if not folder.exists():
            earlier.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)


def _umask() -> int:
    """Read the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
