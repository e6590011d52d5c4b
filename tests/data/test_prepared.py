import errno
import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crest.data.augment import Augmentation, normalise
from crest.data.files import (
    SCHEMA_VERSIONS,
    ImageMeta,
    checksum_of,
    open_array,
    read_meta,
    write_meta,
)
from crest.data.origins import source_of
from crest.data.prepared import load
from crest.data.preprocessing import Preprocessing
from crest.data.verifying import with_hashes
from crest.errors import ArtifactError, DamagedDataError, ParameterError

CPU = torch.device("cpu")

META = ImageMeta(
    schema_version=SCHEMA_VERSIONS["image"],
    kind="image",
    dataset="made",
    source="up – für Prüfungen",
    sizes={"train": 6, "validation": 2, "test": 3},
    classes=["a", "b"],
    image_shape=[4, 5, 3],
    mean=[0.4, 0.5, 0.6],
    std=[0.2, 0.3, 0.4],
    content_hash="0" * 64,
)


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name, size in META.sizes.items():
        images = generator.integers(0, 256, (size, 4, 5, 3), dtype=np.uint8)
        np.save(tmp_path / f"{name}_images.npy", images)
        np.save(tmp_path / f"{name}_labels.npy", np.arange(size) % 2)
    write_meta(tmp_path, with_hashes(tmp_path, META))
    return tmp_path


def test_meta_comes_back(folder):
    assert read_meta(folder) == with_hashes(folder, META)


def test_images_prepared_by_version_2_are_read_as_they_are(folder):
    values = json.loads((folder / "meta.json").read_text()) | {"schema_version": 2}
    for added in ("storage", "fit", "source_hashes", "checksum"):
        del values[added]
    values["checksum"] = checksum_of(values)
    (folder / "meta.json").write_text(json.dumps(values))
    meta = load(folder, CPU).meta
    expected = with_hashes(folder, META)
    assert meta == replace(expected, schema_version=2, fit="squeeze")
    with pytest.raises(
        ArtifactError, match=r"no such file; run .* prepare` again, which keeps where"
    ):
        source_of(folder, "train", 0)


def test_all_splits_are_opened(folder):
    data = load(folder, CPU)
    assert [len(data.train), len(data.validation), len(data.test)] == [6, 2, 3]
    assert data.train.labels.tolist() == [0, 1] * 3
    assert data.train.labels.dtype == torch.int64


def test_validation_may_be_absent(folder):
    for path in folder.glob("validation_*"):
        path.unlink()
    write_meta(folder, with_hashes(folder, replace(META, sizes={"train": 6, "test": 3})))
    assert load(folder, CPU).validation is None


def test_inputs_are_gathered_and_normalised(folder):
    indices = torch.tensor([5, 0, 5])
    images = torch.from_numpy(np.load(folder / "train_images.npy"))[indices]
    expected = normalise(images, torch.tensor(META.mean), torch.tensor(META.std))
    assert torch.equal(load(folder, CPU).train.inputs(indices), expected)


WANTED = Preprocessing((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), source="somebody's weights")


def test_weights_normalise_in_place_of_the_datas_statistics(folder):
    indices = torch.tensor([2, 1])
    images = torch.from_numpy(np.load(folder / "train_images.npy"))[indices]
    data = load(folder, CPU, preprocessing=WANTED)
    expected = normalise(images, torch.tensor(WANTED.mean), torch.tensor(WANTED.std))
    for split in (data.train, data.test):
        assert split.inputs(indices).shape == (2, 3, 4, 5)
    assert torch.equal(data.train.inputs(indices), expected)
    assert data.preprocessing == WANTED


@pytest.mark.parametrize("side", [2, 8])
def test_images_are_resized_on_their_way_in_as_pytorch_does_it(folder, side):
    indices = torch.tensor([3, 1])
    plain = load(folder, CPU, preprocessing=WANTED).train.inputs(indices)
    split = load(folder, CPU, preprocessing=replace(WANTED, resized=side)).train
    expected = torch.nn.functional.interpolate(
        plain, (side, side), mode="bilinear", antialias=side < 4
    )
    assert torch.equal(split.inputs(indices), expected)
    assert torch.equal(split.views(indices, split.draw_views(2, torch.Generator())), expected)


def with_channels(folder, channels):
    """Have all images lose channels, or repeat their first."""
    kept = slice(channels)
    for name in META.sizes:
        images = np.load(folder / f"{name}_images.npy")[..., kept]
        np.save(folder / f"{name}_images.npy", images)
    meta = replace(META, image_shape=[4, 5, channels], mean=META.mean[kept], std=META.std[kept])
    write_meta(folder, with_hashes(folder, meta))


def test_grey_images_are_three_equal_channels_before_they_are_normalised(folder):
    with_channels(folder, 1)
    grey = load(folder, CPU, preprocessing=WANTED).train.inputs(torch.arange(6))
    mean, std = (torch.tensor(value)[:, None, None] for value in (WANTED.mean, WANTED.std))
    pixels = grey * std + mean
    torch.testing.assert_close(pixels[:, 0], pixels[:, 1])
    torch.testing.assert_close(pixels[:, 0], pixels[:, 2])


def test_images_of_other_channels_than_the_weights_are_refused(folder):
    with_channels(folder, 2)
    with pytest.raises(ParameterError, match="is of images of 3 channels, and the prepared"):
        load(folder, CPU, preprocessing=WANTED)


def test_augmented_inputs_are_cropped_and_flipped_as_asked(folder):
    indices, plain = torch.arange(6), load(folder, CPU).train
    draws = plain.draw_views(6, torch.Generator())
    assert torch.equal(plain.views(indices, draws), plain.inputs(indices))
    flipping = load(folder, CPU, Augmentation(flip=True)).train
    draws = flipping.draw_views(6, torch.Generator().manual_seed(0))
    augmented = flipping.views(indices, draws)
    inputs = plain.inputs(indices)
    same = [torch.equal(*pair) for pair in zip(augmented, inputs, strict=True)]
    mirrored = [torch.equal(*pair) for pair in zip(augmented, inputs.flip(3), strict=True)]
    assert all(one or other for one, other in zip(same, mirrored, strict=True))
    assert any(mirrored)


def test_nothing_written_to_inputs_reaches_the_files(folder):
    before = (folder / "train_images.npy").read_bytes()
    load(folder, CPU).train.inputs(torch.arange(6)).zero_()
    assert (folder / "train_images.npy").read_bytes() == before


def test_an_empty_folder_says_what_to_run(tmp_path):
    with pytest.raises(ArtifactError, match=r"no prepared data here; run `python cli.py prepare`"):
        load(tmp_path, CPU)


BARE = f'{{"schema_version": {SCHEMA_VERSIONS["image"]}}}'


@pytest.mark.parametrize("text", ["", "{", "[]", "3", BARE, "\x00"])
def test_damaged_meta_is_refused(folder, text):
    (folder / "meta.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"meta.json: damaged \(.*run `python cli.py prepare`"):
        read_meta(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": {"train": 6}},
        {"sizes": {"train": 6, "test": 3, "dev": 1}},
        {"sizes": [6, 3]},
        {"sizes": {"train": "6", "test": 3}},
        {"image_shape": [4, 5]},
        {"image_shape": None},
        {"mean": [0.5]},
        {"std": ["x", "y", "z"]},
    ],
)
def test_contradictory_meta_is_refused(folder, change):
    (folder / "meta.json").write_text(json.dumps(asdict(META) | change))
    with pytest.raises(ArtifactError, match=r"its fields contradict each other"):
        read_meta(folder)


@pytest.mark.parametrize("kind", ["", ', "kind": "sound"', ', "kind": ["image"]'])
def test_another_version_is_refused_even_with_other_fields(folder, kind):
    (folder / "meta.json").write_text(f'{{"schema_version": 1, "news": true{kind}}}')
    with pytest.raises(ArtifactError, match=r"schema version 1, this code reads 3"):
        read_meta(folder)


@pytest.mark.parametrize("name", ["train_images", "test_labels", "validation_images"])
@pytest.mark.parametrize("damage", ["absent", "empty", "short", "text"])
def test_damaged_arrays_are_refused(folder, name, damage):
    path = folder / f"{name}.npy"
    content = {"empty": b"", "short": path.read_bytes()[:-1], "text": b"text"}
    path.unlink() if damage == "absent" else path.write_bytes(content[damage])
    expected = rf"{name}.npy: (damaged|no such file).*run `python cli.py prepare` again"
    with pytest.raises(ArtifactError, match=expected):
        load(folder, CPU)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train_images", np.zeros((5, 4, 5, 3), np.uint8), r"\[5, 4, 5, 3\], meta.json says \[6"),
        ("train_images", np.zeros((6, 4, 5, 3), np.float32), "float32"),
        ("test_labels", np.zeros(4, np.int64), r"\[4\], meta.json says \[3\]"),
        ("test_labels", np.zeros(3, np.int32), "int32"),
        ("test_labels", np.array([0, 1, 2]), "labels outside 2 classes"),
        ("test_labels", np.array([0, 1, -1]), "labels outside 2 classes"),
    ],
)
def test_arrays_that_disagree_with_meta_are_refused(folder, name, array, message):
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(ArtifactError, match=f"{name}.npy: .*{message}"):
        load(folder, CPU)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_images_larger_than_the_memory_are_opened(tmp_path, monkeypatch):
    """A sparse file: it takes no room on the disk, and reads as zeros but for one image."""
    shape = (1024, 1024, 3)
    pages = sum(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith(("MemTotal", "SwapTotal"))
    )
    examples = pages // math.prod(shape) + 1000
    for split, count in (("train", examples), ("test", 2)):
        np.save(tmp_path / f"{split}_labels.npy", np.arange(count) % 2)
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        with (tmp_path / f"{split}_images.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + count * math.prod(shape))
            file.seek(-math.prod(shape), os.SEEK_END)
            file.write(b"\xff" * math.prod(shape))
    sizes = {"train": examples, "test": 2}
    channels = {"image_shape": list(shape), "mean": [0.0] * 3, "std": [1.0] * 3}
    write_meta(tmp_path, replace(META, sizes=sizes, classes=["a", "b"], **channels))
    checked = []
    monkeypatch.setattr("crest.data.verifying._hash", lambda *files: checked.append(files) or "0")
    data = load(tmp_path, CPU)
    with pytest.raises(DamagedDataError):  # so much is checked while the work on it goes on
        data.require_whole()
    assert checked[0][1]
    train = data.train
    assert len(train) == examples
    brightness = train.inputs(torch.tensor([0, examples - 1])).amax((1, 2, 3))
    assert brightness.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", ["train_images", "validation_labels", "test_images"])
def test_no_bit_of_an_array_changes_unnoticed(folder, name):
    path = folder / f"{name}.npy"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 8 * len(whole) // 40):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"damaged.*run `python cli.py prepare` again"):
            load(folder, CPU)


def test_damage_to_much_data_is_found_meanwhile(folder, monkeypatch):
    monkeypatch.setattr("crest.data.verifying.AT_ONCE", 100)
    data = load(folder, CPU)
    data.require_whole()
    path = folder / "train_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    data = load(folder, CPU)
    with pytest.raises(DamagedDataError, match="its arrays are damaged: other than when they were"):
        data.require_whole()
    with pytest.raises(DamagedDataError):
        data.require_whole(wait=False)


def test_one_process_of_a_machine_checks_the_data(folder, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert load(folder, CPU).verification is None


@pytest.mark.parametrize("field", ["mean", "std", "classes", "source", "content_hash"])
def test_a_description_that_was_changed_is_refused(folder, field):
    path = folder / "meta.json"
    values = json.loads(path.read_text())
    values[field] = {"mean": [0.4, 0.5, 0.7], "std": [0.2] * 3, "classes": ["a", "c"]}.get(
        field, "other"
    )
    path.write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=r"meta\.json: damaged .*its checksum is another"):
        read_meta(folder)


def test_no_bit_of_a_description_changes_unnoticed(folder):
    path = folder / "meta.json"
    whole, meta = path.read_bytes(), read_meta(folder)
    for bit in range(0, 8 * len(whole), 13):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with suppress(ArtifactError):
            assert read_meta(folder) == meta  # white space


def test_arrays_that_may_not_be_read_are_not_called_damaged(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("crest.data.prepared.read_meta", lambda _: META)
    expected = r"images.npy: cannot be read: Permission denied; make it readable"
    with pytest.raises(ArtifactError, match=expected):
        load(folder, CPU)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
@pytest.mark.parametrize(("memory", "ahead"), [(2**40, True), (100, False)])
def test_of_arrays_that_do_not_fit_only_what_is_asked_for_is_read(
    folder, monkeypatch, memory, ahead
):
    monkeypatch.setattr("crest.data.opening.physical_memory", lambda: memory)
    kept = load(folder, CPU)
    _, _, about = Path("/proc/self/smaps").read_text().partition(str(folder / "train_images.npy"))
    flags = next(line for line in about.splitlines() if line.startswith("VmFlags"))
    assert ("rr" not in flags.split()) == ahead  # the kernel's word for random reads
    assert len(kept.train) == META.sizes["train"]


def test_mapped_arrays_are_as_they_are_on_the_disk_and_for_reading_only(folder):
    train = load(folder, CPU).train
    assert torch.equal(train.labels, torch.from_numpy(np.load(folder / "train_labels.npy")))
    with pytest.raises(ValueError, match="read-only"):
        open_array(folder, "train", "images")[0] = 1


@pytest.mark.gpu
def test_a_gpu_gives_the_same_inputs(folder):
    indices = torch.tensor([3, 1])
    augmentation = Augmentation(1, True)
    here = load(folder, CPU, augmentation).train
    there = load(folder, torch.device("cuda"), augmentation).train
    torch.testing.assert_close(there.inputs(indices).cpu(), here.inputs(indices))
    draws = here.draw_views(2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(there.views(indices, draws).cpu(), here.views(indices, draws))
