"""prepare: any source of data as the arrays in data/prepared."""

from pathlib import Path

from crest.artifacts import replacing_folder
from crest.config import PrepareParameters
from crest.data import open_source
from crest.data.build import build
from crest.data.files import Meta
from stages.progress import progress_bar


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
    total = len(source.train) + len(source.test)
    with replacing_folder(folder) as partial, progress_bar("prepare", total) as advance:
        return build(source, params, partial, advance)
