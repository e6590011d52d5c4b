"""Prepared data on disk: one layout for every source. Nothing here takes the time to import torch.

A folder holds ``meta.json``, the :data:`Meta` of the data and a checksum of it, and for each split
(``train``, ``validation``, ``test``; validation may be absent) ``SPLIT_labels.npy`` (int64, N) and
the examples:

images, as pixels
    ``SPLIT_images.npy`` (uint8, N×H×W×C).
images, encoded
    ``SPLIT_bytes.npy`` (uint8: the files of all examples one after another, each JPEG, PNG or
    WebP), ``SPLIT_offsets.npy`` (int64, N+1: where each begins, and the end) and
    ``SPLIT_shapes.npy`` (int32, N×3: height and width of the upright image, and 1 where it is a
    JPEG that is decoded and no more).
text
    ``SPLIT_tokens.npy`` (int32: the token numbers of all examples one after another, special
    tokens included), ``SPLIT_offsets.npy`` (int64, N+1: where each begins, and the end),
    ``SPLIT_second_starts.npy`` (int32, N: where in the example the second text's tokens begin,
    its length if nowhere) and ``SPLIT_texts.parquet`` (the text columns as the source has them).

Both have ``SPLIT_sources.parquet``: the file of each example, and its row in the file where that
holds several (:mod:`crest.data.origins`).
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from crest.artifacts import cannot_be_read
from crest.errors import ArtifactError

# Of each kind of data, so that a change of one does not ask for the other to be prepared again.
SCHEMA_VERSIONS = {"image": 3, "text": 4}
# What folders of earlier versions lack, which are read all the same.
EARLIER: Mapping[tuple[str, Any], Mapping[str, Any]] = {
    ("image", 2): {"storage": "pixels", "fit": "squeeze", "source_hashes": {}},
    ("text", 3): {"source_hashes": {}},
}
STORAGES = ("pixels", "encoded")
FITS = ("crop", "squeeze")
SPLITS = ("train", "validation", "test")
PERCENTILES = (0, 50, 90, 99, 100)


@dataclass(frozen=True)
class ImageMeta:
    """What prepared images are and where they came from; meta.json holds exactly these fields.

    ``image_shape`` is height, width and channels as models are evaluated on them; ``mean`` and
    ``std`` are per channel, of the training split, on the scale 0 to 1; ``content_hash`` is a
    SHA-256 over all arrays in the order of their names, and of encoded images over
    ``image_shape`` and ``fit`` too; ``notes`` are lines for people: what was
    left out, held out or warned of; ``storage`` is one of :data:`STORAGES`; ``fit`` what became of
    images that are not square; ``source_hashes`` are the SHA-256 of the splits' files of sources,
    as far as there are some.
    """

    schema_version: int
    kind: str
    dataset: str
    source: str
    sizes: dict[str, int]
    classes: list[str]
    image_shape: list[int]
    mean: list[float]
    std: list[float]
    content_hash: str
    notes: list[str] = field(default_factory=list)
    storage: str = "pixels"
    fit: str = "crop"
    source_hashes: dict[str, str] = field(default_factory=dict)

    def is_whole(self) -> bool:
        """Whether splits, classes, shape and channels are all there and agree."""
        if (
            self.storage not in STORAGES
            or self.fit not in FITS
            or not isinstance(self.source_hashes, dict)
        ):
            return False
        height, width, channels = self.image_shape
        usable = all(map(math.isfinite, (*self.mean, *self.std))) and min(self.std) > 0
        shaped = _are_counts([height, width, channels], least=1)
        return _is_split(self) and shaped and usable and len(self.mean) == len(self.std) == channels


@dataclass(frozen=True)
class TextMeta:
    """What prepared text is and where it came from; meta.json holds exactly these fields.

    Parameters
    ----------
    tokenizer
        Name or folder as given; ``vocabulary_hash`` is a SHA-256 over its tokens and their numbers.
    token_types
        Whether its models take token types, which mark the second text.
    lengths
        For each split, percentiles of the examples' tokens before they were cut to ``max_length``.
    truncated
        For each split, how many were cut.
    dropped
        For each split of the source, the rows left out for having no label.
    content_hash
        SHA-256 over all arrays in the order of their names.
    notes
        Lines for people: what was left out, held out or warned of.
    text_hashes
        For each split, the SHA-256 of its file of texts.
    source_hashes
        As of images.
    """

    schema_version: int
    kind: str
    dataset: str
    source: str
    sizes: dict[str, int]
    classes: list[str]
    text_columns: list[str]
    tokenizer: str
    vocabulary_size: int
    vocabulary_hash: str
    pad_token_id: int
    token_types: bool
    max_length: int
    lengths: dict[str, dict[str, float]]
    truncated: dict[str, int]
    dropped: dict[str, int]
    content_hash: str
    notes: list[str] = field(default_factory=list)
    text_hashes: dict[str, str] = field(default_factory=dict)
    source_hashes: dict[str, str] = field(default_factory=dict)

    def is_whole(self) -> bool:
        """Whether splits, classes, columns and vocabulary are all there and agree."""
        described = all(
            values.keys() == self.sizes.keys()
            for values in (self.lengths, self.truncated, self.text_hashes)
        )
        expected = [str(percentile) for percentile in PERCENTILES]
        measured = all(list(lengths) == expected for lengths in self.lengths.values())
        counts = [*self.truncated.values(), *self.dropped.values()]
        padded = _are_counts([self.pad_token_id]) and self.pad_token_id < self.vocabulary_size
        columns = len(self.text_columns) in (1, 2) and all(
            isinstance(column, str) for column in self.text_columns
        )
        positive = _are_counts([self.vocabulary_size, self.max_length], least=1)
        typed = isinstance(self.token_types, bool)
        typed = typed and isinstance(self.source_hashes, dict)
        whole = described and measured and padded and columns and positive and typed
        return whole and _is_split(self) and _are_counts(counts)


Meta = ImageMeta | TextMeta
METAS: Mapping[str, type[ImageMeta] | type[TextMeta]] = {"image": ImageMeta, "text": TextMeta}


def read_meta(folder: Path) -> Meta:
    """Read meta.json; raises :class:`ArtifactError` if it is absent, damaged or another version."""
    path = folder / "meta.json"
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no prepared data here; run `python cli.py prepare` first"
        ) from None
    except OSError as error:
        raise cannot_be_read(path, error) from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from None
    if not isinstance(values, dict):
        raise damaged(path, "it holds no JSON object")
    kind = values.get("kind", "image")
    is_known = kind in tuple(METAS)
    version, expected = values.get("schema_version"), SCHEMA_VERSIONS[kind if is_known else "image"]
    added = EARLIER.get((kind, version), {}) if is_known else {}
    if version != expected and not added:
        raise ArtifactError(
            f"{path}: schema version {version}, this code reads {expected}; "
            "run `python cli.py prepare` again"
        )
    if not is_known:
        raise damaged(path, f"kind {kind!r:.40} is none of {', '.join(METAS)}")
    checksum = values.pop("checksum", None)
    names = {field.name for field in fields(METAS[kind])} - added.keys()
    if values.keys() != names:
        raise damaged(path, f"lacking or not known: {', '.join(sorted(values.keys() ^ names))}")
    meta = METAS[kind](**values, **added)
    if not _is_whole(meta):
        raise damaged(path, "its fields contradict each other")
    if checksum != checksum_of(values):
        raise damaged(path, "it is other than when it was written: its checksum is another")
    return meta


def damaged(path: Path, reason: str) -> ArtifactError:
    """Return the error for a file that cannot be what it should."""
    return ArtifactError(f"{path}: damaged ({reason}); run `python cli.py prepare` again")


def _is_whole(meta: Meta) -> bool:
    """Whether all is there and agrees; fields of any type are taken."""
    try:
        return meta.is_whole()
    except (TypeError, ValueError, KeyError, AttributeError):
        return False


def _is_split(meta: Meta) -> bool:
    """Whether there are examples to train on and to test with, of two classes at least."""
    known = {"train", "test"} <= meta.sizes.keys() <= set(SPLITS)
    named = isinstance(meta.classes, list) and len(meta.classes) > 1
    noted = isinstance(meta.notes, list) and all(isinstance(line, str) for line in meta.notes)
    return known and named and noted and _are_counts([*meta.sizes.values()], least=1)


def _are_counts(values: Sequence[Any], least: int = 0) -> bool:
    return all(isinstance(value, int) and value >= least for value in values)


def write_meta(folder: Path, meta: Meta) -> None:
    """Write meta.json, and a checksum of it in it."""
    values = asdict(meta)
    values["checksum"] = checksum_of(values)
    text = json.dumps(values, indent=2, ensure_ascii=False)
    (folder / "meta.json").write_text(text + "\n", encoding="utf-8")


def checksum_of(values: Mapping[str, Any]) -> str:
    """SHA-256 over the fields, however they are laid out."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def open_array(folder: Path, split: str, name: str) -> np.ndarray[Any, Any]:
    """Map ``SPLIT_NAME.npy`` without loading it, to be read only.

    The system counts a mapping that may be written to, copy-on-write too, as if it were in memory,
    and refuses one that is larger than all of it.
    """
    path = folder / f"{split}_{name}.npy"
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run `python cli.py prepare` again") from None
    except PermissionError as error:
        raise cannot_be_read(path, error) from None
    except Exception as error:
        # NumPy takes the head for Python: SyntaxError and TokenError come too.
        raise damaged(path, str(error).partition("\n")[0]) from None
