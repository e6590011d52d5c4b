"""The data of the parts: CIFAR-10 prepared once, or as many made-up images as --small needs."""

from io import BytesIO
from pathlib import Path

from benchmarks.gpu.queue import Job
from crest.errors import DataError
from crest.parameters.sections import PrepareParameters
from crest.pipeline.paths import Paths

MADE_UP = {"train": 160, "test": 20}


def project(job: Job, settings: PrepareParameters) -> Paths:
    """Return the paths of a project with the data prepared.

    Raises
    ------
    DataError
        If CIFAR-10 was not carried there.
    """
    import stages.prepare

    paths = Paths(job.work / ("small" if job.small else "cifar10"))
    if paths.prepared.exists():
        return paths
    source = job.carried / "data" / "cifar10"
    if job.small:
        source = job.work / "made-up"
        write_made_up(source)
    if not source.is_dir():
        raise DataError(
            f"{source}: CIFAR-10 as Parquet is expected there: benchmarks.gpu.pack, or a link"
        )
    stages.prepare.run(settings.model_copy(update={"source": str(source)}), paths.prepared)
    return paths


def write_made_up(folder: Path) -> None:
    """Write images of noise as CIFAR-10's files have them."""
    import numpy as np
    import polars as pl
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for split, size in MADE_UP.items():
        images = []
        for _ in range(size):
            file = BytesIO()
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file, format="PNG")
            images.append({"bytes": file.getvalue(), "path": None})
        table = pl.DataFrame(
            {"img": images, "label": [number % 10 for number in range(size)]},
            schema_overrides={"img": pl.Struct({"bytes": pl.Binary, "path": pl.String})},
        )
        table.write_parquet(folder / f"{split}-00000-of-00001.parquet")
