"""difficulty: how hard each example was, of any training that recorded it."""

from pathlib import Path

from crest import artifacts
from crest.analysis.difficulty import difficulty_table, hardest, mislabelled, training_pass
from crest.data.files import Meta, read_meta
from crest.data.origins import columns_in, with_sources
from crest.errors import ArtifactError, ParameterError
from crest.figures import png, record_pictures
from crest.pipeline.page import render_records
from crest.pipeline.texts import ranked

WRITTEN = (artifacts.DIFFICULTY, "hardest.csv", "mislabelled.csv", "*.png", "report.html")


def run(source: Path, out: Path, prepared: Path | None) -> None:
    """Write difficulty.parquet, hardest.csv, mislabelled.csv, pictures and report.html.

    Where correct was not reported, nobody knows what was forgotten, and there is no hardest.csv.

    Parameters
    ----------
    source
        A folder with examples.parquet, of ``LossBatchSampler.save`` or a training run; or a file.
    out
        Folder of the results, which is replaced.
    prepared
        Folder of prepared data, whose training split the rows are of: names of classes, the
        examples themselves and where they came from are had from it. None: numbers alone.

    Raises
    ------
    ArtifactError
        If a table or the data are missing, damaged or not of each other, or ``out`` cannot be
        written.
    """
    file = source if source.is_file() else source / artifacts.EXAMPLES
    if not file.is_file():
        raise ArtifactError(
            f"{file}: no such file; name a folder that LossBatchSampler.save wrote, or a training "
            "run"
        )
    examples = training_pass(artifacts.read_table(file, "examples"))
    count = len(examples)
    if examples["index"].to_list() != list(range(count)):
        raise ArtifactError(
            f"{file}: its training pass must list every example once, in order; save it again"
        )
    meta = None if prepared is None else _meta(prepared, file, count)
    table = with_sources(difficulty_table(examples), prepared)
    pictures = record_pictures(table)
    title = f"What was seen of each example: {source.name or file}"
    html = render_records(title, table, pictures, meta, prepared or Path())
    with artifacts.replacing_folder(out, WRITTEN) as folder:
        artifacts.write_table(folder / artifacts.DIFFICULTY, table, more=columns_in(table))
        if not (hard := hardest(table)).is_empty():
            ranked(hard, meta, ["forgotten"]).write_csv(folder / "hardest.csv")
        ranked(mislabelled(table), meta).write_csv(folder / "mislabelled.csv")
        for picture in pictures:
            (folder / f"{picture.name}.png").write_bytes(png(picture.figure))
        (folder / "report.html").write_text(html, encoding="utf-8")


def default_out(source: Path) -> Path:
    """Return the folder beside a table that its results go to.

    Raises
    ------
    ParameterError
        If it is a training run, whose folder is replaced as a whole and holds nothing else.
    """
    folder = source if source.is_dir() else source.parent
    if (folder / artifacts.MANIFEST).is_file():
        raise ParameterError(
            f"difficulty: {folder} is a training run, which holds nothing else; say where the "
            "results go: --out FOLDER"
        )
    return folder / "difficulty"


def _meta(prepared: Path, file: Path, count: int) -> Meta:
    meta = read_meta(prepared)
    if meta.sizes["train"] != count:
        raise ArtifactError(
            f"{file}: {count:,} examples, and {meta.sizes['train']:,} in the training split of "
            f"{prepared}; give --prepared the data that it is of, or leave it out"
        )
    return meta
