"""prepare: any source of data as the arrays in data/prepared."""

from collections.abc import Iterator
from pathlib import Path

from crest.artifacts import replacing_folder
from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.files import Meta, TextMeta
from crest.errors import ParameterError, printable
from crest.parameters.sections import PrepareParameters
from crest.pipeline.paths import PREPARED
from crest.pipeline.progress import progress_bar


def run(params: PrepareParameters, folder: Path) -> Meta:
    """Prepare the data into ``folder``; what was there before stays if anything fails.

    Raises
    ------
    ParameterError
        If a parameter does not fit the data set.
    DataError
        If the data are missing, damaged or inconsistent; the message names file and row.
    ArtifactError
        If the folder cannot be written.
    """
    source = open_source(params)
    _refuse_source_within(params, folder)
    total = sum(map(len, source.splits.values()))
    with replacing_folder(folder, PREPARED) as partial, progress_bar("prepare", total) as advance:
        return build(source, params, partial, advance)


def _refuse_source_within(params: PrepareParameters, folder: Path) -> None:
    """Refuse a source that would be removed with the folder that is replaced."""
    if params.source is None or "://" in params.source:
        return
    source = Path(params.source).expanduser().resolve()
    if source.is_relative_to(folder.resolve()):
        raise ParameterError(
            f"prepare.source: {params.source} lies within {folder}, which is replaced; move it "
            "elsewhere"
        )


def notes(meta: Meta) -> Iterator[str]:
    """Say in lines what became of the data: what was left out, held out, cut or warned of."""
    yield from map(printable, meta.notes)
    if not isinstance(meta, TextMeta):
        return
    for split, lengths in meta.lengths.items():
        shares = ", ".join(
            f"{name} {lengths[share]:g}"
            for name, share in (("half up to", "50"), ("90% up to", "90"), ("longest", "100"))
        )
        cut = f"{meta.truncated[split]} cut to {meta.max_length}"
        yield f"{split}: tokens: {shares}; {cut}"
    dropped = {split: count for split, count in meta.dropped.items() if count}
    for split, count in dropped.items():
        yield f"{split}: {count} rows without a label left out"
