import io

import numpy as np
import pytest
from PIL import Image

from crest.data import jpeg
from tests.data.image_files import photograph, written

WHOLE = photograph(45, 31)
NOISE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (31, 45, 3)).astype(np.uint8), "RGB"
)
SORTS = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "4:1:1": {"subsampling": "4:1:1"},
    "progressive": {"progressive": True},
    "coarse": {"quality": 5},
    "fine": {"quality": 100, "optimize": True},
    "restarts": {"restart_marker_blocks": 2},
    "stored as RGB": {"keep_rgb": True},
}
BOX = (3, 7, 21, 30)
PART = slice(3, 24), slice(7, 37)


def by_pillow(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(params=["simplejpeg", "Pillow"])
def library(request, monkeypatch):
    """Each of the libraries in turn."""
    if request.param == "simplejpeg":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(jpeg, "_simplejpeg", None)
    return request.param


@pytest.mark.parametrize("sort", SORTS)
def test_each_library_gives_the_same_pixels(library, sort):
    for image in (WHOLE, NOISE, WHOLE.convert("L")):
        if sort == "stored as RGB" and image.mode == "L":
            continue
        content = written(image, "JPEG", **SORTS[sort])
        assert np.array_equal(jpeg.part_of_jpeg(content, BOX), by_pillow(content)[PART])
        assert np.array_equal(jpeg.part_of_jpeg(bytearray(content), BOX), by_pillow(content)[PART])


def test_faults_that_libjpeg_passes_over_are_passed_over(library):
    content = written(NOISE, "JPEG", quality=95)
    broken = bytearray(content)
    middle = len(broken) // 2
    broken[middle : middle + 40] = bytes(40)
    found = jpeg.part_of_jpeg(broken, BOX)
    assert np.array_equal(found, by_pillow(broken)[PART])
    assert not np.array_equal(found, by_pillow(content)[PART])


@pytest.mark.parametrize("content", [written(WHOLE, "JPEG")[:-300], b"", b"no image"])
def test_what_cannot_be_decoded_is_refused(library, content):
    with pytest.raises((OSError, SyntaxError, ValueError)):
        jpeg.part_of_jpeg(content, BOX)


def test_a_fraction_has_so_many_fewer_pixels(library):
    large = photograph(400, 300)
    found = jpeg.part_of_jpeg(written(large, "JPEG"), (40, 80, 200, 160), 4)
    part = large.crop((80, 40, 240, 240)).resize((40, 50), Image.Resampling.BOX)
    assert found.shape == (50, 40, 3)
    assert np.abs(found.astype(int) - np.asarray(part)).mean() < 2.0


def test_that_pillow_decodes_is_said(monkeypatch):
    monkeypatch.setattr(jpeg, "_simplejpeg", None)
    with pytest.warns(UserWarning, match=r"same pixels .* pip install \"crest-coresets\[jpeg\]\""):
        jpeg.say_what_is_slow()
