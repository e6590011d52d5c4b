import pickle

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from crest.data import encoded as encoded_images
from crest.data import jpeg
from crest.data.augment import Augmentation
from crest.data.build import build
from crest.data.datasets import open_source
from crest.data.decoding import decode
from crest.data.encoded import EncodedImages, EncodedSplit
from crest.data.files import open_array, read_meta
from crest.data.prepared import load
from crest.data.preprocessing import Preprocessing
from crest.data.sources import Source
from crest.data.views.crops import crop_boxes
from crest.data.views.making import crop_draws
from crest.errors import ArtifactError, DamagedDataError, DataError, ParameterError
from crest.parameters.sections import PrepareParameters
from tests.data.image_files import exif, photograph, written

CPU = torch.device("cpu")
SIDE = 16
STORAGES = ("encoded", "pixels")
CROPS = Augmentation(flip=True, scale=(0.08, 1.0))


def files():
    """A file of every kind that is read, none of them square but one."""
    image, frame = photograph(), photograph(seed=1)
    clear = image.copy()
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    return {
        "JPEG": written(image, "JPEG"),
        "square": written(photograph(30, 30), "JPEG"),
        "tall": written(photograph(20, 60), "JPEG"),
        "grey": written(image.convert("L"), "JPEG"),
        "turned": written(image, "JPEG", exif=exif(6)),
        "mirrored": written(image, "PNG", exif=exif(2)),
        "CMYK": written(image.convert("CMYK"), "JPEG"),
        "PNG": written(image, "PNG"),
        "RGBA": written(clear, "PNG"),
        "grey and alpha": written(clear.convert("LA"), "PNG"),
        "palette": written(image.convert("P"), "PNG"),
        "WebP": written(image, "WEBP"),
        "moving WebP": written(image, "WEBP", save_all=True, append_images=[frame]),
        "moving PNG": written(image, "PNG", save_all=True, append_images=[frame]),
        "GIF": written(image, "GIF", save_all=True, append_images=[frame]),
        "TIFF": written(image, "TIFF"),
        "BMP": written(image, "BMP"),
    }


FILES = files()
KINDS = list(FILES)
ANEW = {"moving WebP", "moving PNG", "GIF", "TIFF", "BMP"}


def prepare(path, folder, **params):
    folder.mkdir()
    given = {"dataset": "parquet", "source": str(path), "image_size": SIDE, "validation": 0.0}
    chosen = PrepareParameters(**given | params)
    return build(open_source(chosen), chosen, folder, lambda done: None)


def write(folder, contents):
    folder.mkdir()
    labels = [number % 2 for number in range(len(contents))]
    for split in ("train", "test"):
        frame = pl.DataFrame({"image": contents, "label": labels})
        frame.write_parquet(folder / f"{split}.parquet")
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The same files in both storages."""
    root = tmp_path_factory.mktemp("encoded")
    source = write(root / "source", list(FILES.values()))
    for storage in ("encoded", "pixels"):
        prepare(source, root / storage, storage=storage)
    return root


def images_of(folder):
    return EncodedImages(folder, "train", read_meta(folder))


def split_of(folder, augmentation, workers=None):
    meta = read_meta(folder)
    labels = torch.from_numpy(np.load(folder / "train_labels.npy"))
    mean, std = torch.tensor(meta.mean), torch.tensor(meta.std)
    return EncodedSplit(images_of(folder), labels, mean, std, CPU, augmentation, workers)


@pytest.mark.parametrize("library", ["simplejpeg", "Pillow"])
def test_evaluation_sees_what_pixels_would_hold_bit_for_bit(prepared, library, monkeypatch):
    if library == "simplejpeg":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(jpeg, "_simplejpeg", None)
    encoded, pixels = (load(prepared / name, CPU) for name in ("encoded", "pixels"))
    everything = torch.arange(len(KINDS))
    for split in ("train", "test"):
        found = getattr(encoded, split).inputs(everything)
        assert torch.equal(found, getattr(pixels, split).inputs(everything))
    assert (encoded.meta.mean, encoded.meta.std) == (pixels.meta.mean, pixels.meta.std)


def test_plain_jpegs_are_decoded_by_simplejpeg_for_evaluation_too(prepared, monkeypatch):
    images, decoded = images_of(prepared / "encoded"), []
    monkeypatch.setattr(encoded_images, "whole_jpeg", lambda content: decoded.append(len(content)))
    for index in range(len(KINDS)):
        assert images[index].shape == (SIDE, SIDE, 3)
    assert decoded == [len(FILES[kind]) for kind in ("JPEG", "square", "tall", "grey")]


def test_the_same_is_said_of_odd_images_in_both_storages(prepared):
    encoded, pixels = (read_meta(prepared / name).notes for name in ("encoded", "pixels"))
    odd = [note for note in pixels if "stored" not in note]
    assert [note for note in encoded if note in odd] == odd
    assert any(note.startswith("10 images saved anew as PNG") for note in encoded)
    assert any(note.startswith("stored encoded") for note in encoded)


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_kept_as_they_are_where_that_will_do(prepared, kind):
    content = bytes(images_of(prepared / "encoded").content(KINDS.index(kind)))
    assert (content == FILES[kind]) == (kind not in ANEW)
    assert np.array_equal(decode(content).pixels, decode(FILES[kind]).pixels)


def test_sizes_are_those_of_the_upright_images(prepared):
    heights, widths = images_of(prepared / "encoded").sizes(torch.arange(len(KINDS)))
    expected = [decode(content).pixels.shape[:2] for content in FILES.values()]
    assert list(zip(heights.tolist(), widths.tolist(), strict=True)) == expected


def test_padded_crops_and_flips_are_those_of_pixels(prepared):
    augmentation = Augmentation(crop=3, flip=True)
    encoded, pixels = (load(prepared / name, CPU, augmentation).train for name in STORAGES)
    draws = pixels.draw_views(len(KINDS), torch.Generator().manual_seed(0))
    drawn = encoded.draw_views(len(KINDS), torch.Generator().manual_seed(0))
    assert torch.equal(draws, drawn)
    everything = torch.arange(len(KINDS))
    assert torch.equal(encoded.views(everything, draws), pixels.views(everything, draws))


def test_training_crops_the_whole_image_as_pillow_does(prepared):
    images = images_of(prepared / "encoded")
    split = split_of(prepared / "encoded", CROPS)
    everything = torch.arange(len(KINDS))
    draws = split.draw_views(len(KINDS), torch.Generator().manual_seed(1))
    boxes = crop_boxes(crop_draws(draws, CROPS), *images.sizes(everything), CROPS)
    for index, (top, left, rows, columns) in enumerate(boxes.tolist()):
        whole = Image.fromarray(decode(FILES[KINDS[index]]).pixels)
        part = whole.crop((left, top, left + columns, top + rows))
        expected = np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).astype(int)
        found = images.cropped(index, (top, left, rows, columns), (SIDE, SIDE)).numpy()
        assert np.abs(found - expected).max() <= 1, KINDS[index]


@pytest.mark.parametrize("storage", STORAGES)
def test_crops_are_resized_once_to_what_the_network_takes(prepared, storage):
    crops, side = Augmentation(scale=(0.08, 1.0)), 12
    as_they_are = Preprocessing((0.0,) * 3, (1.0,) * 3, resized=side)
    split = load(prepared / storage, CPU, crops, as_they_are).train
    everything = torch.arange(len(KINDS))
    draws = split.draw_views(len(KINDS), torch.Generator().manual_seed(1))
    found = split.views(everything, draws).permute(0, 2, 3, 1).mul(255).numpy()
    stored = np.load(prepared / "pixels" / "train_images.npy")
    if storage == "encoded":
        stored = [decode(content).pixels for content in FILES.values()]
    sizes = torch.tensor([pixels.shape[:2] for pixels in stored])
    boxes = crop_boxes(crop_draws(draws, crops), *sizes.unbind(1), crops)
    for pixels, view, (top, left, rows, columns) in zip(stored, found, boxes.tolist(), strict=True):
        part = Image.fromarray(pixels).crop((left, top, left + columns, top + rows))
        expected = np.asarray(part.resize((side, side), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(view - expected).max() < 1.01  # a level, as both round


@pytest.mark.parametrize("workers", [1, 3])
def test_views_do_not_depend_on_threads_or_on_what_was_expected(prepared, workers):
    plain = split_of(prepared / "encoded", CROPS, 1)
    expecting = split_of(prepared / "encoded", CROPS, workers)
    indices = torch.tensor([3, 0, 7, 3, 3, 12])
    draws = plain.draw_views(6, torch.Generator().manual_seed(2))
    draws[3] = draws[0]  # the same view twice
    expected = plain.views(indices, draws)
    expecting.expect(torch.tensor([5, 3]), plain.draw_views(2, torch.Generator()))  # in vain
    expecting.expect(indices, draws)
    assert torch.equal(expecting.views(indices[:2], draws[:2]), expected[:2])
    assert torch.equal(expecting.views(indices[2:], draws[2:]), expected[2:])
    assert torch.equal(expecting.inputs(indices), plain.inputs(indices))
    assert expecting.inputs(indices[:0]).shape == (0, 3, SIDE, SIDE)


def test_views_in_two_parts_and_in_another_process_are_the_same(prepared):
    split = load(prepared / "encoded", CPU, CROPS).train
    indices = torch.tensor([3, 0, 7])
    draws = split.draw_views(3, torch.Generator().manual_seed(2))
    expected = split.views(indices, draws)
    for there in (split, pickle.loads(pickle.dumps(split))):
        pixels = there.pixels(indices, draws)
        assert pixels.dtype == torch.uint8
        assert torch.equal(split.finish(pixels, draws), expected)


def test_torch_keeps_its_threads(prepared):
    before = torch.get_num_threads()
    split_of(prepared / "encoded", CROPS, 2).inputs(torch.arange(3))
    assert torch.get_num_threads() == before


def test_a_large_jpeg_is_decoded_at_a_fraction(tmp_path, monkeypatch):
    large = photograph(1024, 768)
    folder = tmp_path / "prepared"
    prepare(write(tmp_path / "source", [written(large, "JPEG")] * 4), folder, storage="encoded")
    images = images_of(folder)
    drafts = []
    draft = JpegImageFile.draft

    def noted(self, mode, size):
        drafts.append(size)
        return draft(self, mode, size)

    monkeypatch.setattr(JpegImageFile, "draft", noted)
    found = images.cropped(0, (64, 128, 640, 800), (SIDE, SIDE)).numpy().astype(int)
    part = large.crop((128, 64, 928, 704)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    assert drafts == [(128, 96)]
    assert np.abs(found - np.asarray(part)).mean() < 2.0


def test_images_go_to_another_process(prepared):
    images = images_of(prepared / "encoded")
    there = pickle.loads(pickle.dumps(images))
    assert np.array_equal(there[4], images[4])


# ----------------------------------------------------------------------------- what is refused


def test_another_size_is_other_data(prepared, tmp_path):
    meta = prepare(prepared / "source", tmp_path / "larger", image_size=20, storage="encoded")
    known = read_meta(prepared / "encoded")
    assert np.array_equal(
        open_array(tmp_path / "larger", "train", "bytes"),
        open_array(prepared / "encoded", "train", "bytes"),
    )
    assert meta.content_hash != known.content_hash


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (written(Image.new("I;16", (8, 8)), "PNG"), r"more than 8 bits a channel \(16\)"),
        (FILES["JPEG"][:400], "the image cannot be decoded"),
        (b"", "the image is empty"),
        (None, "there is no image"),
        (b"GIF89a", "GIF of a kind that is not read, or damaged"),
    ],
)
def test_bad_images_are_refused_with_their_row_in_both(tmp_path, storage, content, reason):
    contents = [*list(FILES.values())[:3], content]
    source = write(tmp_path / "source", contents)
    with pytest.raises(DataError, match=rf"train\.parquet, .*row 3 \(counted from 0\): {reason}"):
        prepare(source, tmp_path / "out", storage=storage)


def test_what_cannot_be_decoded_any_more_is_said(prepared, tmp_path):
    for path in (prepared / "encoded").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    images = images_of(tmp_path)
    content = np.lib.format.open_memmap(tmp_path / "train_bytes.npy", mode="r+")
    content[:200] = 0
    content.flush()
    for ask in (lambda: images[0], lambda: images.cropped(0, (0, 0, 20, 20), (8, 8))):
        with pytest.raises(DamagedDataError, match=r"train_bytes.npy: image 0 cannot be decoded"):
            ask()
    with pytest.raises(DamagedDataError, match=r"other than when they were written"):
        load(tmp_path, CPU)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("offsets", lambda offsets: offsets[:-1]),
        ("offsets", lambda offsets: offsets[::-1]),
        ("offsets", lambda offsets: offsets.astype(np.int32)),
        ("shapes", lambda shapes: shapes[:, :2]),
        ("shapes", np.zeros_like),
        ("bytes", lambda content: content[:-1]),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(prepared, tmp_path, part, change):
    for path in (prepared / "encoded").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / f"train_{part}.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(ArtifactError, match=r"train_\w+\.npy: damaged .* prepare` again"):
        images_of(tmp_path)


# ------------------------------------------------------------------------------ which storage


def test_storage_is_chosen_by_size(prepared, tmp_path):
    assert prepare(prepared / "source", tmp_path / "a", image_size=127).storage == "pixels"
    assert prepare(prepared / "source", tmp_path / "b", image_size=128).storage == "encoded"


def test_larger_images_are_made_smaller_if_asked(prepared, tmp_path):
    folder = tmp_path / "smaller"
    meta = prepare(prepared / "source", folder, encoded_side=24, storage="encoded")
    images = images_of(folder)
    heights, widths = images.sizes(torch.arange(len(KINDS)))
    assert torch.equal(
        torch.minimum(heights, widths),
        torch.tensor([20 if kind == "tall" else 24 for kind in KINDS]),
    )
    assert (heights[0], widths[0]) == (24, round(45 * 24 / 31))
    assert any(note.startswith("32 images made smaller") for note in meta.notes)
    assert bytes(images.content(KINDS.index("tall"))) == FILES["tall"]
    turned = images[KINDS.index("turned")].astype(int)
    upright = decode(FILES["turned"], images._square).pixels
    assert np.abs(turned - upright).mean() < 12


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"encoded_side": 24}, "only encoded storage has a use for it"),
        ({"encoded_side": 8, "storage": "encoded"}, "8 is less than what prepare.image_size"),
    ],
)
def test_parameters_that_cannot_be_are_refused(prepared, tmp_path, params, message):
    with pytest.raises(ParameterError, match=rf"^prepare.encoded_side: .*{message}"):
        prepare(prepared / "source", tmp_path / "out", **params)


def test_pixels_cannot_be_kept_as_files(tmp_path, reader):
    source = Source(reader([0, 1, 0, 1]), reader([0, 1]))
    with pytest.raises(ParameterError, match=r"^prepare.storage: the data set holds pixels"):
        build(
            source,
            PrepareParameters(storage="encoded", validation=0.0),
            tmp_path,
            lambda done: None,
        )
