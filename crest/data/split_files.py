"""Where the files of a split lie: in a local folder, or on the Hugging Face hub.

In the source itself, its folder data/, or in one folder of any other name, they are called
``SPLIT-*.SUFFIX`` or ``SPLIT.SUFFIX``, or lie in a folder SPLIT, as in the hub's converted branch
(CONFIGURATION/SPLIT/0000.parquet; partial-SPLIT where the hub converted a part). Hidden folders
are left out, and endings may be in capitals.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from crest.data.sources import local_folder, some
from crest.errors import DataError, ParameterError

REMOTE = "hf://"
PARQUET_SUFFIX = "parquet"
# A revision may be a branch's name with its slashes encoded, or ~parquet, the converted branch.
ADDRESS = re.compile(
    r"hf://datasets/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(@(?P<revision>[^/\s]+))?"
    r"(?P<folder>(/[^/\s%\\?#*\[\]{}\x00-\x1f\x7f]+)*)/?",
    re.ASCII,
)
SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
FOLDERS = ("", "data/", "*/")
SHARD = re.compile(r"-(\d+)-of-(\d+)")
CONVERTED = re.compile(r"(\d{4})\.parquet")
PARTIAL = "partial-"
# In what polars says where no file matches: of what it knows itself, and of the hub's answer where
# the folder of the pattern is not there, which polars takes for one that it cannot read.
NO_MATCH = ("expanded paths were empty", "does not exist on ")
# In the hub's answer where there is no such data set, or none that it shows to anybody.
NO_ACCESS = ("Invalid username or password", "Repository not found")
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)

# Of lists of files, each in a format of its own: the place of the one to read, and why not the
# others; None if that is not known.
Choose = Callable[[Sequence[Sequence[str]]], tuple[int, str] | None]


class SplitFiles:
    """The files of a source's splits, each listed once.

    Parameters
    ----------
    source
        A local folder, or an ``hf://datasets/OWNER/NAME`` address.
    suffixes
        Of the formats that a split may be in; on the hub it is in Parquet.
    choose
        Which of several formats a split is in; that there are several is refused if None.

    Raises
    ------
    ParameterError
        If the source cannot be an address.
    """

    def __init__(
        self,
        source: str,
        suffixes: Sequence[str] = (PARQUET_SUFFIX,),
        choose: Choose | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.is_remote = source.startswith(REMOTE)
        self._source = source
        self._suffixes = suffixes
        self._choose = choose
        self._found: dict[str, list[str]] = {}
        self._folders = cache(Folders)
        if self.is_remote:
            check_address(source)

    def __contains__(self, split: object) -> bool:
        """Whether there are files of a split."""
        return bool(self._list(str(split)))

    def find(self, split: str, key: str) -> tuple[str, ...]:
        """List the files of a split in the order of their names; notes say what was left out.

        Parameters
        ----------
        key
            The parameter that names the split, for messages.

        Raises
        ------
        ParameterError
            If the name cannot be that of a split.
        DataError
            If there are none, or they are not one whole set.
        """
        if not SPLIT_NAME.fullmatch(split):
            raise ParameterError(f"prepare.{key}: {split!r} cannot be the name of a split's files")
        found = self._list(split)
        if not found:
            raise DataError(
                f"{self._source}: no {' or '.join(self._names(split))}; {self._there()}; set "
                f"prepare.{key}{OR_NULL if key == 'test_split' else ''}"
            )
        check_complete(found, self._source, split)
        if _parent(found[0]).startswith(PARTIAL):
            self.notes.append(f"{split}: the hub converted a part of it only ({PARTIAL}{split})")
        return tuple(found)

    def _list(self, split: str) -> list[str]:
        if split not in self._found:
            if self.is_remote:
                listed = map(_list_remote, addresses(self._source, split))
                self._found[split] = next(filter(None, listed), [])
            else:
                self._found[split] = self._list_folder(split)
        return self._found[split]

    def _list_folder(self, split: str) -> list[str]:
        """List the files of a split in the one format that it is in."""
        root = local_folder(self._source)
        formats = (
            [listed for at in places(split) if (listed := self._folders(root).matching(at, suffix))]
            for suffix in self._suffixes
        )
        found = [listings for listings in formats if listings]
        if len(found) > 1:
            found = [self._one_of(root, split, found)]
        if not found:
            return []
        first = found[0][0]
        others = [file for file in dict.fromkeys(chain(*found[0])) if file not in first]
        if others:
            left = some([Path(file).relative_to(root).as_posix() for file in others], 3)
            self.notes.append(f"{split}: {left} left out: {first[0]} comes first")
        return first

    def _one_of(self, root: Path, split: str, found: list[list[list[str]]]) -> list[list[str]]:
        """Return the one of several formats that is the split's; notes say of the others why."""
        firsts = [listings[0] for listings in found]
        chosen = None if self._choose is None else self._choose(firsts)
        if chosen is None:
            names = some([files[0] for files in firsts])
            raise DataError(f"{root}: {split} in several formats ({names}); keep one")
        number, why = chosen
        left = some([files[0] for files in firsts if files is not firsts[number]])
        self.notes.append(f"{split}: {left} left out: {why}")
        return found[number]

    def _names(self, split: str) -> Iterator[str]:
        yield f"{split}-*.{self._suffixes[0]}"
        yield from (f"{split}.{suffix}" for suffix in self._suffixes if "." not in suffix)

    def _there(self) -> str:
        """Say what is there in the place of a split that is not."""
        if self.is_remote:
            return "an address that holds Parquet files is needed"
        root = local_folder(self._source)
        others = [
            Path(file).relative_to(root).as_posix()
            for suffix in self._suffixes
            for at in ("", "*/", "*/*/")
            for file in self._folders(root).matching(f"{at}*", suffix)
        ]
        kind = "Parquet files" if len(self._suffixes) == 1 else "files of these formats"
        return f"{kind} there: {some(others)}"


OR_NULL = ", or set it to null to hold out a share of train"


def places(split: str) -> tuple[str, ...]:
    """Where the files of a split may lie within a folder, less their suffix; the first counts."""
    named = (f"{split}-*", split)
    folders = (f"{split}/*", f"{PARTIAL}{split}/*")
    return tuple(
        folder + name for names in (named, folders) for folder in FOLDERS for name in names
    )


def addresses(source: str, split: str) -> tuple[str, ...]:
    """Where they may lie below an address, as polars takes it."""
    return tuple(
        f"{source.rstrip('/')}/{place}.{PARQUET_SUFFIX}"
        for place in places(split)
        if place.endswith("*")
    )


def check_address(source: str) -> None:
    """Refuse, before anything is asked for, what is no address of a data set or leads elsewhere."""
    match = ADDRESS.fullmatch(source)
    decoded = source
    while decoded != unquote(decoded):
        decoded = unquote(decoded)
    if match is None or not {".", ".."}.isdisjoint(re.split(r"[/\\@]", decoded)):
        raise ParameterError(
            f"prepare.source: {source}: write it as hf://datasets/OWNER/NAME, "
            "with /FOLDER for one of several configurations"
        )


def check_complete(files: Sequence[str], source: str, split: str) -> None:
    """Raise :class:`DataError` unless the files are one whole set of shards in one folder."""
    folders = sorted({file.rpartition("/")[0] for file in files})
    if len(folders) > 1:
        found = some([_configuration(folder, split) for folder in folders])
        raise DataError(f"{source}: several configurations ({found}); add one to prepare.source")
    names = [file.rpartition("/")[2] for file in files]
    if len(names) > 1 and len({name.lower() for name in names}) == 1:
        raise DataError(f"{source}: {' and '.join(names)}: keep one")
    shards = [match for name in names if (match := SHARD.search(name))]
    totals = {int(match[2]) for match in shards}
    numbers = sorted(int(match[1]) for match in shards)
    if not shards:
        numbers = sorted(int(match[1]) for name in names if (match := CONVERTED.fullmatch(name)))
        first = min(numbers, default=0)
        totals = {numbers[-1] + 1 - (first == 1)} if numbers else set()
        numbers = [number - (first == 1) for number in numbers]
    if totals and (len(totals) > 1 or numbers != list(range(max(totals)))):
        raise DataError(
            f"{source}: not one whole set of {max(totals)} files, but {some(names)}; "
            "download what is missing and remove what is left over"
        )


def is_of_the_hub(file: str) -> bool:
    """Whether a file lies there, as polars lists them: at https:// in some versions."""
    return "://" in file


def _parent(file: str) -> str:
    return file.rpartition("/")[0].rpartition("/")[2]


def _configuration(folder: str, split: str) -> str:
    """Name the configuration that a folder belongs to: the folder above where it is a split's."""
    above, _, name = folder.rpartition("/")
    return above.rpartition("/")[2] if name.removeprefix(PARTIAL) == split else name


class Folders:
    """What lies in a folder and its folders, hidden names left out, each listed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[Path, tuple[list[str], list[str]]] = {}

    def matching(self, place: str, suffix: str) -> list[str]:
        """List the files of a place, as of :func:`places`; their ending may be in capitals."""
        *above, stem = place.split("/")
        folders = [self._root]
        for part in above:
            inner = [(folder, name) for folder in folders for name in self._scan(folder)[1]]
            folders = [folder / name for folder, name in inner if part in ("*", name)]
        ending = f".{suffix}"
        return sorted(
            (folder / name).as_posix()
            for folder in folders
            for name in self._scan(folder)[0]
            if name.lower().endswith(ending) and _is_named(name[: -len(ending)], stem)
        )

    def _scan(self, folder: Path) -> tuple[list[str], list[str]]:
        """Names of the files and of the folders in a folder."""
        if folder not in self._seen:
            files: list[str] = []
            folders: list[str] = []
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir():
                            folders.append(entry.name)
                        elif entry.is_file():  # no pipe, which would be waited for
                            files.append(entry.name)
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{folder}: cannot be read: {reason}; mend it") from None
            self._seen[folder] = (files, folders)
        return self._seen[folder]


def _is_named(name: str, stem: str) -> bool:
    return name.startswith(stem[:-1]) if stem.endswith("*") else name == stem


def _list_remote(pattern: str) -> list[str]:
    """List the files that match, asked of polars; none where nothing does."""
    path = pl.col("crest_path").unique()
    try:
        listing = pl.scan_parquet(pattern, include_file_paths="crest_path").select(path).collect()
    except UNREADABLE as error:
        if any(text in str(error) for text in NO_MATCH):
            return []
        if any(text in str(error) for text in NO_ACCESS):
            raise DataError(
                f"{pattern}: the hub has no such data set, or shows it to those alone who may see "
                "it; correct prepare.source, or log in (`hf auth login`)"
            ) from None
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{pattern}: cannot be read: {reason}") from None
    return sorted(listing["crest_path"].to_list())
