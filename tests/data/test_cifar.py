import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from crest.data.datasets import open_source
from crest.errors import DataError, ParameterError
from crest.parameters.sections import PrepareParameters

NAMES = [f"class {number}" for number in range(10)]
FILES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}


class OldType:
    """Pickles as NumPy 1 pickled the type of bytes, at which today's NumPy warns."""

    def __reduce__(self):
        return np.dtype, ("u1", 0, 1)


class OldArray:
    """Pickles as an array of bytes whose type is an :class:`OldType`."""

    def __init__(self, values):
        self.values = values

    def __reduce__(self):
        build, start, _ = self.values.__reduce__()
        return build, start, (1, self.values.shape, OldType(), False, self.values.tobytes())


def write_archive(folder):
    """Two images a file, in the official format; returns all images, N×H×W×C, and labels."""
    inner = folder / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    generator = np.random.default_rng(0)
    written = {}
    for split, files in FILES.items():
        images = generator.integers(0, 256, (2 * len(files), 3, 32, 32), dtype=np.uint8)
        labels = [row % 10 for row in range(len(images))]
        for number, file in enumerate(files):
            rows = slice(2 * number, 2 * number + 2)
            data = OldArray(images[rows].reshape(2, -1))
            content = pickle.dumps({"data": data, "labels": labels[rows]}, protocol=2)
            (inner / file).write_bytes(content)
        written[split] = (images.transpose(0, 2, 3, 1), labels)
    (inner / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))
    return written


def pack(folder):
    """Put the archive into its tar.gz, as it is downloaded."""
    inner = folder / "cifar-10-batches-py"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(inner, arcname=inner.name)
    for file in inner.iterdir():
        file.unlink()
    inner.rmdir()
    (folder / "cifar-10-python.tar.gz").write_bytes(stream.getvalue())


def open_archive(folder, **params):
    return open_source(
        PrepareParameters(dataset="cifar10", source=f"torchvision:{folder}", **params)
    )


@pytest.fixture
def accept_any_content(monkeypatch):
    """Let made-up archives pass where torchvision compares their MD5."""

    def exists(path, md5=None):
        return Path(path).is_file()

    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", exists)
    monkeypatch.setattr("torchvision.datasets.utils.check_integrity", exists)


@pytest.mark.parametrize("packed", [False, True])
def test_the_official_archive_is_read(tmp_path, accept_any_content, packed):
    written = write_archive(tmp_path)
    if packed:
        pack(tmp_path)
    before = sorted(tmp_path.iterdir())
    source = open_archive(tmp_path)
    for name, (images, labels) in written.items():
        reader = getattr(source, name)
        assert np.array_equal(
            np.concatenate([np.stack(batch) for batch in reader.examples()]), images
        )
        assert reader.labels().to_list() == labels
    assert source.class_names == tuple(NAMES)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_not_the_official_archive_is_never_unpickled(tmp_path, packed):
    write_archive(tmp_path)
    if packed:
        pack(tmp_path)
    with pytest.raises(DataError, match=r"MD5"):
        open_archive(tmp_path)


def test_an_archive_that_cannot_be_unpacked_is_said_to_be_so(
    tmp_path, accept_any_content, monkeypatch
):
    def full(archive, folder):
        raise OSError(28, "No space left on device")

    write_archive(tmp_path)
    pack(tmp_path)
    monkeypatch.setattr("torchvision.datasets.utils.extract_archive", full)
    with pytest.raises(DataError, match=r"gz: cannot be unpacked into .*: No space left.*; mend"):
        open_archive(tmp_path)


def test_a_pipe_in_an_archives_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(DataError, match=r"no cifar-10-batches-py"):
        open_archive(tmp_path)


def test_an_absent_archive_is_not_downloaded(tmp_path):
    with pytest.raises(DataError, match=r"no cifar-10-batches-py .* set prepare.source to torchv"):
        open_archive(tmp_path)


def test_the_source_torchvision_downloads_to_the_cache(tmp_path, monkeypatch, accept_any_content):
    asked = []

    def download(self):
        asked.append(self.root)
        write_archive(tmp_path) if len(asked) == 1 else None

    monkeypatch.setattr("crest.data.cifar.DOWNLOADS", tmp_path)
    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", download)
    source = open_source(PrepareParameters(dataset="cifar10", source="torchvision"))
    assert len(source.train) == 10
    assert set(asked) == {tmp_path}


def test_a_download_that_fails_is_said_plainly(tmp_path, monkeypatch):
    def download(self):
        raise OSError("no route to host")

    monkeypatch.setattr("crest.data.cifar.DOWNLOADS", tmp_path)
    monkeypatch.setattr("torchvision.datasets.CIFAR100.download", download)
    with pytest.raises(DataError, match=r"cannot be downloaded to .*: no route to host"):
        open_source(PrepareParameters(dataset="cifar100", source="torchvision"))


def test_columns_of_archives_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"^prepare.image_column: torchvision's archives"):
        open_archive(tmp_path, image_column="img")


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent: no such folder"):
        open_archive(tmp_path / "absent")
