"""manifest.json: which run a folder of results rests on, and the checksum of every file in it.

A run is known by what it came to (:func:`crest.pipeline.provenance.identity`), so that the same
parameters on the same data are the same run, however often they are trained: DVC may run it again
or not.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crest import artifacts
from crest.data.files import Meta
from crest.errors import ArtifactError

SCHEMA_VERSION = 1
CHOOSE_AGAIN = "choose them again, by training with the method they come from"


@dataclass(frozen=True)
class Manifest:
    """What a folder of results says of itself.

    ``runs`` holds the identity of each run that it rests on, by method; ``data`` the content hash
    of the prepared data; ``coresets`` where the coresets that were trained on came from, and of
    which run, where they were saved ones; ``files`` the SHA-256 of each file. ``again`` says in
    messages how the folder is made.
    """

    folder: Path
    runs: Mapping[str, str]
    data: str
    coresets: Mapping[str, str | None]
    files: Mapping[str, str]
    again: str

    def run(self, method: str) -> str:
        """Return the identity of the run of a method; an :class:`ArtifactError` if of others."""
        if method not in self.runs:
            raise ArtifactError(
                f"{self.folder}: of {', '.join(self.runs)}, not of {method}; {self.again}"
            )
        return self.runs[method]

    def verify(self, *names: str) -> None:
        """Check that files, by their paths within the folder, are those that were written.

        Raises
        ------
        ArtifactError
            If one is missing, was changed since, or is of another run.
        """
        for name in names:
            path = self.folder / name
            if name not in self.files:
                raise ArtifactError(f"{path}: not a file of the run in this folder; {self.again}")
            if not path.is_file():
                raise ArtifactError(f"{path}: no such file; {self.again}")
            if _sha256(path) != self.files[name]:
                raise ArtifactError(
                    f"{path}: not as it was written: cut short, changed, or of another run; "
                    f"{self.again}"
                )

    def require_data(self, meta: Meta) -> None:
        """Refuse results on other data than are prepared now."""
        if self.data != meta.content_hash:
            raise ArtifactError(
                f"{self.folder}: of other data than data/prepared holds now; {self.again}"
            )


def seal(
    folder: Path,
    runs: Mapping[str, str],
    data: str,
    coresets: Mapping[str, str | None] | None = None,
) -> None:
    """Write the manifest of a folder in which everything else is written."""
    written = sorted(path for path in folder.rglob("[!.]*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): _sha256(path) for path in written}
    values = {
        "schema_version": SCHEMA_VERSION,
        "runs": dict(runs),
        "data": data,
        "coresets": dict(coresets or {}),
        "files": {name: digest for name, digest in files.items() if name != artifacts.MANIFEST},
    }
    artifacts.write_json(folder / artifacts.MANIFEST, values)


def read(folder: Path, again: str) -> Manifest:
    """Read the manifest of a folder; ``again`` says how the folder is made.

    Raises
    ------
    ArtifactError
        If there is none, as in folders of earlier versions, or it is damaged.
    """
    path = folder / artifacts.MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"{path}: no such file, so that nobody can tell which run this is of; results of "
            f"earlier versions have none: {again}"
        )
    values = artifacts.read_json(path)
    if values.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: schema version {values.get('schema_version')!r:.20}, this code reads "
            f"{SCHEMA_VERSION}; {again}"
        )
    try:
        found = Manifest(
            folder=folder,
            runs={method: _text(run) for method, run in values["runs"].items()},
            data=_text(values["data"]),
            coresets={key: value and _text(value) for key, value in values["coresets"].items()},
            files={name: _text(digest) for name, digest in values["files"].items()},
            again=again,
        )
    except (KeyError, AttributeError, TypeError):
        raise ArtifactError(f"{path}: damaged; {again}") from None
    return found


def of_training(folder: Path, method: str) -> Manifest:
    """Read the manifest of a training run, which is to be one of ``method``."""
    found = read(folder, f"make it again with `python cli.py train --method {method}`")
    found.run(method)
    return found


def of_trainings(folders: Mapping[str, Path], meta: Meta) -> dict[str, Manifest]:
    """Read the manifests of training runs on the prepared data, by their methods.

    Raises
    ------
    ArtifactError
        If one is missing or damaged, or runs are of other data: each of them is named.
    """
    found = {method: of_training(folder, method) for method, folder in folders.items()}
    old = [method for method, run in found.items() if run.data != meta.content_hash]
    if len(old) > 1:
        commands = ", ".join(f"`python cli.py train --method {method}`" for method in old)
        raise ArtifactError(
            f"{', '.join(str(folders[method]) for method in old)}: of other data than "
            f"data/prepared holds now; make them again with {commands}"
        )
    for method in old:
        found[method].require_data(meta)
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise artifacts.cannot_be_read(path, error) from None


def coresets_origin(source: Path, meta: Meta) -> dict[str, str | None]:
    """Return where saved coresets are from, as :func:`seal` notes it: ``source`` and ``run``.

    A file of coresets that says nothing of its run or data, such as one that a program of its own
    wrote, is taken as it is.

    Raises
    ------
    ArtifactError
        If they were chosen from other data than are prepared now, or are not as they were written.
    """
    file = artifacts.coresets_file(source)
    run, data = _recorded(source, file)
    if data is not None and data != meta.content_hash:
        raise ArtifactError(
            f"{file}: chosen from other data than data/prepared holds now; {CHOOSE_AGAIN}"
        )
    return {"source": str(source), "run": run}


def _recorded(source: Path, file: Path) -> tuple[str | None, str | None]:
    """Return the run that coresets are of, and its data; None for what is not known."""
    if (file.parent / artifacts.MANIFEST).is_file():
        manifest = read(file.parent, CHOOSE_AGAIN)
        if source.is_dir() or file.name in manifest.files:
            manifest.verify(file.name, *([artifacts.STEPS] if source.is_dir() else []))
            return next(iter(manifest.runs.values()), None), manifest.data
    about = artifacts.read_about(file)
    if "data" in about:
        return about.get("run"), about["data"]
    described = file.parent / artifacts.RUN
    if source.is_dir() and described.is_file():  # of a version without manifests
        data = artifacts.read_json(described).get("data")
        found = data.get("content_hash") if isinstance(data, dict) else None
        return None, found if isinstance(found, str) else None
    return None, None


def is_outdated(origin: Mapping[str, str | None]) -> bool:
    """Whether a folder that coresets came from holds those of another run by now."""
    source, run = origin.get("source"), origin.get("run")
    if source is None or run is None:
        return False
    folder = artifacts.coresets_file(Path(source)).parent
    if not (folder / artifacts.MANIFEST).is_file():
        return False
    return run not in read(folder, CHOOSE_AGAIN).runs.values()
