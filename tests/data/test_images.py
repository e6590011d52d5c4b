import io
import zlib
from contextlib import suppress

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from crest.data.decoding import Square
from crest.data.images import ImageDecoder, read_image
from crest.errors import DataError
from tests.data.image_files import png_chunk, png_file


class Listed:
    """A reader of the examples it is given."""

    def __init__(self, examples, batch=1000):
        self._examples, self._batch = examples, batch

    def __len__(self):
        return len(self._examples)

    def examples(self):
        for start in range(0, len(self), self._batch):
            yield self._examples[start : start + self._batch]

    def example_at(self, row):
        return f"listed, row {row}"


def decode(examples, side=None, workers=2):
    square = None if side is None else Square(side)
    reader = Listed(examples)
    with ImageDecoder(reader, square, workers) as decoder:
        return decoder.decode(examples, reader, 0).pixels


def test_a_lossless_image_comes_back_as_it_was(pixels, encode):
    assert np.array_equal(read_image(encode(pixels[0])), pixels[0])


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA"])
def test_every_mode_becomes_rgb(pixels, encode, mode):
    form = "JPEG" if mode == "CMYK" else "PNG"
    image = Image.fromarray(pixels[0]).convert(mode)
    assert read_image(encode(image, form)).shape == (8, 6, 3)


def test_a_grey_image_becomes_three_equal_channels(pixels, encode):
    grey = pixels[0, ..., 0]
    assert np.array_equal(read_image(encode(grey)), np.repeat(grey[..., None], 3, axis=2))


def test_a_palette_with_transparency_is_read_without_a_warning(pixels, encode):
    image = Image.fromarray(pixels[0]).convert("P")
    assert read_image(encode(image, transparency=bytes(range(256)))).shape == (8, 6, 3)


def test_pixels_are_taken_as_they_are(pixels):
    assert np.array_equal(read_image(pixels[0]), pixels[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_keeps_channels_and_constant_images(channels):
    image = np.full((7, 9, channels), 37, dtype=np.uint8)
    assert np.array_equal(read_image(image, Square(5)), np.full((5, 5, channels), 37))


def test_an_image_of_the_right_size_is_not_changed_by_resizing(pixels):
    assert np.array_equal(read_image(pixels[0, :6], Square(6)), pixels[0, :6])


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, "null"),
        (b"", "0 bytes"),
        (b"no image at all", "not an image in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a known format"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "no pixels"),
    ],
)
def test_what_is_no_image_is_refused(example, message):
    with pytest.raises(ValueError, match=message):
        read_image(example)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_truncated_image_is_refused(pixels, encode, form):
    whole = encode(np.tile(pixels[0], (9, 9, 1)), form)
    with pytest.raises(ValueError, match=r"cannot be decoded"):
        read_image(whole[: len(whole) // 2])


def test_sixteen_bits_are_refused_rather_than_clipped(encode):
    deep = Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16))
    with pytest.raises(ValueError, match=r"more than 8 bits"):
        read_image(encode(deep))


@settings(max_examples=100, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=5)
)
def test_damage_gives_an_image_or_a_value_error(flips):
    stream = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(stream, "PNG")
    damaged = bytearray(stream.getvalue())
    for place, change in flips:
        damaged[place % len(damaged)] ^= change
    with suppress(ValueError):
        assert read_image(bytes(damaged)).shape[-1] == 3


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_rows_keep_their_order_for_any_number_of_workers(pixels, encode, workers):
    many = np.concatenate([pixels] * 5)
    assert np.array_equal(decode([encode(image) for image in many], workers=workers), many)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_bad_row_is_named(pixels, encode, workers):
    examples = [encode(image) for image in np.concatenate([pixels] * 5)]
    examples[41] = None
    examples[100] = b"damaged"
    with pytest.raises(DataError, match=r"^listed, row 41: there is no image \(null\); mend or"):
        decode(examples, workers=workers)


def test_a_bad_first_image_is_named():
    with pytest.raises(DataError, match=r"^listed, row 0: "):
        ImageDecoder(Listed([b""]), None, 1)


def test_long_texts_within_a_png_are_no_reason_to_refuse_it(pixels):
    text = png_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3 * 2**20)))
    content = png_file(pixels[0].reshape(8, 18), before=text)
    assert np.array_equal(decode([content])[0], pixels[0])
    assert PngImagePlugin.MAX_TEXT_CHUNK == 2**20


def test_images_of_two_sizes_are_both_named(pixels, encode):
    examples = [encode(pixels[0]), encode(pixels[1]), encode(pixels[2, :5])]
    message = (
        "^listed, row 2: 6×5 pixels of 3 channels, but listed, row 0: 6×8 pixels of 3 channels; "
        "set prepare.image_size"
    )
    with pytest.raises(DataError, match=message):
        decode(examples)
    assert decode(examples, side=4).shape == (3, 4, 4, 3)


def test_real_images_equal_plain_decoding(samples):
    file = samples / "cifar10" / "test-00000-of-00001.parquet"
    contents = pl.scan_parquet(file).head(50).collect()["img"].struct.field("bytes").to_list()
    found = decode(contents)
    for image, content in zip(found, contents, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
