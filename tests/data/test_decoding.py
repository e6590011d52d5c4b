import io
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision import transforms

from crest.data import decoding
from crest.data.decoding import GROUND, Square, Trait, decode
from tests.data.image_files import bmp_file, exif, png_chunk, png_file, tiff_file, written

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)
OTHER = Image.fromarray(PIXELS[::-1])
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def opened(content):
    return Image.open(io.BytesIO(content))


# ------------------------------------------------------------------------------------ orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_an_image_is_turned_as_pillow_turns_it(form, orientation):
    content = written(IMAGE, form, exif=exif(orientation), **LOSSLESS.get(form, {}))
    found = decode(content)
    expected = ImageOps.exif_transpose(opened(content)).convert("RGB")
    assert np.array_equal(found.pixels, np.asarray(expected))
    assert found.pixels.shape[:2] == ((6, 9) if orientation < 5 else (9, 6))
    assert found.traits == (set() if orientation == 1 else {Trait.TURNED})


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_upright_pixels_come_back_whatever_way_they_were_stored(form, orientation):
    turn = decoding.TURNS.get(orientation)
    backwards = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(orientation, turn)
    stored = IMAGE if turn is None else IMAGE.transpose(backwards)
    found = decode(written(stored, form, exif=exif(orientation)))
    assert np.array_equal(found.pixels, PIXELS)


def test_orientation_is_found_where_old_programs_and_xmp_put_it():
    raw = exif(6)
    text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    after = png_chunk(b"eXIf", raw.removeprefix(b"Exif\0\0"))
    rows = PIXELS.reshape(6, 27)
    for content in (
        png_file(rows, after=after),
        png_file(rows, before=png_chunk(b"tEXt", b"Raw profile type exif\0" + text)),
        written(IMAGE, "WEBP", lossless=True, xmp=xmp),
    ):
        found = decode(content)
        assert np.array_equal(found.pixels, np.rot90(PIXELS, -1))
        assert found.traits == {Trait.TURNED}


def test_a_turned_image_is_resized_upright():
    content = written(IMAGE, "PNG", exif=exif(6))
    upright = written(Image.fromarray(np.rot90(PIXELS, -1)), "PNG")
    assert np.array_equal(decode(content, Square(5)).pixels, decode(upright, Square(5)).pixels)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(orientation):
    found = decode(written(IMAGE, "PNG", exif=exif(orientation)))
    assert np.array_equal(found.pixels, PIXELS)
    assert not found.traits


def test_exif_that_cannot_be_read_turns_nothing_and_is_told():
    for broken in (b"Exif\0\0", b"Exif\0\0XX*\0\x08\0\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        found = decode(written(IMAGE, "WEBP", lossless=True, exif=broken))
        assert np.array_equal(found.pixels, PIXELS)
        assert found.traits <= {Trait.BROKEN_EXIF}
    assert decode(written(IMAGE, "PNG", exif=b"Exif\0\0XX")).traits == {Trait.BROKEN_EXIF}


# ------------------------------------------------------------------------------------------ depth


RNG = np.random.default_rng(1)
DEEP_16 = {
    f"PNG of colour type {colour}": png_file(RNG.integers(0, 4096, (4, 4 * channels)), 16, colour)
    for colour, channels in ((0, 1), (2, 3), (4, 2), (6, 4))
}
DEEP = DEEP_16 | {
    "PGM": b"P5 4 4 4095\n" + bytes(32),
    "PPM": b"P6\n# of a camera\n4 4\n65535\n" + bytes(96),
    "plain PPM": b"P3\n1 1\n256\n0 1 2\n",
    "plain PGM": b"P2\n1 1\n1000\n900\n",
    "PFM": b"Pf\n1 1\n-1.0\n" + bytes(4),
    "JPEG 2000": written(Image.fromarray(np.zeros((4, 4), np.uint16)), "JPEG2000"),
} | {
    f"TIFF {order}{name}": tiff_file(samples, bits, photometric, order, kind)
    for order in "<>"
    for name, samples, bits, photometric, kind in (
        ("grey of 16", np.zeros((4, 4), "u2"), 16, 1, None),
        ("RGB of 16", np.zeros((4, 4, 3), "u2"), 16, 2, None),
        ("RGBA of 16", np.zeros((4, 4, 4), "u2"), 16, 2, None),
        ("CMYK of 16", np.zeros((4, 4, 4), "u2"), 16, 5, None),
        ("signed grey of 8", np.zeros((4, 4), "i1"), 8, 1, 2),
        ("signed grey of 16", np.zeros((4, 4), "i2"), 16, 1, 2),
        ("grey of 32", np.zeros((4, 4), "f4"), 32, 1, 3),
    )
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
def test_more_than_eight_bits_a_channel_are_refused(name):
    with pytest.raises(ValueError, match=r"^more than 8 bits a channel \(\d+\); save it with 8$"):
        decode(DEEP[name])


def test_what_pillow_cannot_open_for_its_depth_is_refused_with_the_reason():
    jpeg = bytearray(written(IMAGE, "JPEG"))
    jpeg[jpeg.find(b"\xff\xc0") + 4] = 12
    with pytest.raises(ValueError, match=r"^JPEG of a kind that is not read, .*12-bit"):
        decode(bytes(jpeg))
    floats = tiff_file(np.zeros((4, 4, 3), "f4"), 32, 2, kind=3)
    with pytest.raises(ValueError, match=r"^TIFF of a kind that is not read, .*unknown pixel mode"):
        decode(floats)


def test_avif_of_ten_bits_is_refused():
    plain = written(IMAGE, "AVIF")
    assert decode(plain).pixels.shape == PIXELS.shape
    three = b"pixi\0\0\0\0\3"
    deep = bytearray(plain.replace(three + bytes([8] * 3), three + bytes([10] * 3)))
    deep[deep.find(b"av1C") + 6] |= 0x40
    with pytest.raises(ValueError, match=r"^more than 8 bits a channel \(10\)"):
        decode(bytes(deep))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_fewer_bits_of_grey_are_scaled_to_eight(depth):
    highest = 2**depth - 1
    rows = np.arange(4 * 8).reshape(4, 8) % (highest + 1)
    expected = np.repeat((rows * 255 // highest)[..., None], 3, axis=2)
    assert np.array_equal(decode(png_file(rows, depth, 0)).pixels, expected)


@pytest.mark.parametrize("highest", [1, 15, 100, 255])
def test_ppm_is_scaled_by_its_own_white(highest):
    values = np.linspace(0, highest, 12).astype(np.uint8).reshape(2, 2, 3)
    found = decode(f"P6 2 2 {highest}\n".encode() + values.tobytes()).pixels
    assert np.array_equal(found, np.round(values / highest * 255).astype(np.uint8))


# ----------------------------------------------------------------------------------- transparency


def on_white(colours, alpha):
    """The closed form, rounded."""
    alpha = np.asarray(alpha, dtype=float)[..., None] / 255
    return np.floor(colours * alpha + np.array(GROUND) * (1 - alpha) + 0.5)


def test_transparency_is_laid_on_white():
    alpha = RNG.integers(0, 256, PIXELS.shape[:2], dtype=np.uint8)
    image = Image.fromarray(np.dstack([PIXELS, alpha]))
    for form in ("PNG", "TIFF"):
        found = decode(written(image, form))
        assert np.abs(found.pixels - on_white(PIXELS, alpha)).max() <= 0.5
        assert found.traits == {Trait.TRANSPARENT}
    grey = Image.fromarray(np.dstack([PIXELS[..., 0], alpha]))
    expected = on_white(np.repeat(PIXELS[..., :1], 3, axis=2), alpha)
    assert np.abs(decode(written(grey, "PNG")).pixels - expected).max() <= 0.5


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG2000"])
def test_an_alpha_of_full_opacity_changes_and_says_nothing(form):
    image = Image.fromarray(np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)]))
    found = decode(written(image, form, **({"lossless": True} if form == "WEBP" else {})))
    assert np.array_equal(found.pixels, PIXELS)
    assert not found.traits


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "TIFF"])
def test_what_is_wholly_transparent_is_the_ground_whatever_its_colours(form):
    image = Image.fromarray(np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)]))
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    found = decode(written(image, form, **options))
    assert np.array_equal(found.pixels, np.broadcast_to(GROUND, PIXELS.shape))


def test_a_bmp_whose_alpha_is_nowhere_set_is_opaque():
    alpha = RNG.integers(0, 256, PIXELS.shape[:2], dtype=np.uint8)
    found = decode(bmp_file(np.dstack([PIXELS, alpha])))
    assert np.abs(found.pixels - on_white(PIXELS, alpha)).max() <= 0.5
    assert found.traits == {Trait.TRANSPARENT}
    for value in (0, 255):
        found = decode(bmp_file(np.dstack([PIXELS, np.full_like(alpha, value)])))
        assert np.array_equal(found.pixels, PIXELS)
        assert not found.traits


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_grey_of_any_depth_shows_the_ground(depth):
    highest = 2**depth - 1
    rows = np.arange(4 * 8).reshape(4, 8) % (highest + 1)
    chosen = 1
    content = png_file(rows, depth, 0, before=png_chunk(b"tRNS", bytes([0, chosen])))
    expected = np.where(rows == chosen, 255, rows * 255 // highest)
    found = decode(content)
    assert np.array_equal(found.pixels, np.repeat(expected[..., None], 3, axis=2))
    assert found.traits == {Trait.TRANSPARENT}


def test_a_transparent_colour_and_a_palettes_alphas_show_the_ground():
    rows = PIXELS.reshape(6, 27)
    chosen = b"".join(bytes([0, value]) for value in PIXELS[2, 3])
    found = decode(png_file(rows, before=png_chunk(b"tRNS", chosen))).pixels
    there = (PIXELS[2, 3] == PIXELS).all(axis=2)
    assert np.array_equal(found, np.where(there[..., None], 255, PIXELS))
    palette = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], dtype=np.uint8)
    chunks = png_chunk(b"PLTE", palette.tobytes()) + png_chunk(b"tRNS", bytes([0, 128]))
    numbers = np.array([[0, 1, 2, 1]])
    found = decode(png_file(numbers, 2, 3, before=chunks)).pixels
    expected = on_white(palette[numbers], np.array([0, 128, 255])[numbers])
    assert np.abs(found - expected).max() <= 0.5


# --------------------------------------------------------------------------- colours and palettes


def test_a_palette_that_is_missing_is_refused_and_one_too_short_told():
    numbers = np.array([[0, 1, 2, 3]])
    with pytest.raises(ValueError, match=r"^the image has no palette"):
        decode(png_file(numbers, 2, 3))
    palette = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], dtype=np.uint8)
    chunk = png_chunk(b"PLTE", palette.tobytes())
    assert np.array_equal(decode(png_file(numbers[:, :3], 2, 3, before=chunk)).pixels[0], palette)
    found = decode(png_file(numbers, 2, 3, before=chunk))
    assert np.array_equal(found.pixels[0], [*palette, [0, 0, 0]])
    assert found.traits == {Trait.PALETTE}


def test_a_cmyk_jpeg_keeps_dark_dark_and_is_told():
    dark = Image.new("CMYK", (8, 8), (0, 0, 0, 240))
    light = Image.new("CMYK", (8, 8), (0, 0, 0, 5))
    for form in ("JPEG", "TIFF"):
        assert decode(written(dark, form)).pixels.max() < 30
        assert decode(written(light, form)).pixels.min() > 240
        assert decode(written(light, form)).traits == {Trait.CMYK}


def test_lab_is_converted_to_srgb():
    lab = written(
        Image.fromarray(np.full((4, 4, 3), [200, 30, 60], np.uint8)).convert("LAB"), "TIFF"
    )
    found = decode(lab)
    assert np.abs(found.pixels.astype(int) - [200, 30, 60]).max() <= 6
    assert not found.traits


def test_profiles_and_gammas_other_than_srgb_are_told():
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    assert not decode(written(IMAGE, "PNG", icc_profile=srgb)).traits
    found = decode(written(IMAGE, "PNG", icc_profile=lab))
    assert found.traits == {Trait.PROFILE}
    assert np.array_equal(found.pixels, PIXELS)
    rows = PIXELS.reshape(6, 27)
    usual, linear = ((value).to_bytes(4) for value in (45455, 100000))
    assert not decode(png_file(rows, before=png_chunk(b"gAMA", usual))).traits
    assert decode(png_file(rows, before=png_chunk(b"gAMA", linear))).traits == {Trait.PROFILE}


def test_channels_beyond_the_colours_are_told():
    samples = np.dstack([PIXELS, PIXELS[..., :1]])
    found = decode(tiff_file(samples, 8, 2, extra=[0]))
    assert np.array_equal(found.pixels, PIXELS)
    assert found.traits == {Trait.EXTRA}


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO"])
def test_the_first_frame_is_taken_and_told(form):
    alone = decode(written(IMAGE, form, **LOSSLESS.get(form, {})))
    options = LOSSLESS.get(form, {}) | {"save_all": True, "append_images": [OTHER.copy()]}
    several = decode(written(IMAGE, form, **options))
    assert several.traits == {Trait.FRAMES}
    assert not alone.traits
    assert np.abs(several.pixels.astype(int) - alone.pixels).mean() < 5


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_damage_in_a_later_frame_is_no_matter(form):
    others = [OTHER.copy() for _ in range(3)]
    options = LOSSLESS.get(form, {}) | {"save_all": True, "append_images": others}
    whole = written(IMAGE, form, **options)
    if form == "PNG":  # the first frame ends where the second begins
        whole = whole[: whole.rfind(b"fdAT") + 20]
    assert decode(whole).pixels.shape == PIXELS.shape


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>", "a web page"),
        (b"<?xml version='1.0'?><svg/>", "SVG or other XML"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC, which is not read"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "an AppleDouble file"),
        (png_file(np.zeros((1, 3)), size=(0, 1)), "PNG of a kind that is not read, or damaged"),
        (b"GIF89a", "GIF of a kind that is not read, or damaged"),
    ],
)
def test_what_is_no_image_is_named(content, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        decode(content)


def test_an_image_beyond_the_limits_is_refused_with_what_to_do(monkeypatch):
    content = written(IMAGE, "PNG")
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 0)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 53)
    with pytest.raises(ValueError, match=r"^9×6 pixels are more than the 53 pixels that are read"):
        decode(content)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 54)
    assert decode(content).pixels.shape == PIXELS.shape
    monkeypatch.setattr(decoding, "memory", lambda: 800)
    with pytest.raises(ValueError, match=r"^9×6 pixels take 432 bytes of memory to decode, more"):
        decode(content)


def test_a_tiff_that_lacks_strips_is_refused():
    whole = tiff_file(PIXELS, 8, 2)
    assert np.array_equal(decode(whole).pixels, PIXELS)
    height = whole.find(b"\x01\x01\x03\0\x01\0\0\0\x06\0") + 8
    with pytest.raises(ValueError, match=r"lacks strips or tiles"):
        decode(whole[:height] + b"\x07" + whole[height + 1 :])
    for options in ({"compression": "tiff_lzw"}, {"compression": "raw", "strip_size": 30}):
        assert np.array_equal(decode(written(IMAGE, "TIFF", **options)).pixels, PIXELS)


def test_a_tile_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"^the image, or a tile of it, has more than the"):
        decode(written(IMAGE, "PNG"))


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000", "BMP", "PPM"]),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=5),
    cut=st.integers(0, 40),
)
def test_damage_of_any_kind_gives_an_image_or_a_value_error(form, flips, cut):
    options = {} if form in ("BMP", "PPM", "GIF", "JPEG2000") else {"exif": exif(6)}
    content = bytearray(written(IMAGE, form, **options))
    for place, change in flips:
        content[place % len(content)] ^= change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(ValueError):
            assert decode(bytes(content[: len(content) - cut])).pixels.shape[-1] == 3


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(("squeeze", "trait"), [(True, Trait.SQUEEZED), (False, Trait.CROPPED)])
def test_what_becomes_of_an_image_that_is_not_square_is_told(form, squeeze, trait):
    square = Square(4, squeeze)
    wide = written(Image.new("RGB", (8, 4)), form)
    assert decode(wide, square).traits == {trait}
    assert decode(np.zeros((4, 8, 3), np.uint8), square).traits == {trait}
    assert decode(written(Image.new("RGB", (8, 8)), form), square).traits == set()
    assert decode(wide).traits == set()


@pytest.mark.parametrize(("width", "height"), [(80, 60), (60, 80), (120, 40), (60, 60)])
def test_the_middle_is_kept_as_torchvision_resizes_and_crops(width, height):
    side = min(width, height) // 2
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    whole = transforms.Resize(side, transforms.InterpolationMode.BICUBIC)(image)
    expected = np.asarray(transforms.CenterCrop(side)(whole))
    assert np.array_equal(decode(written(image, "PNG"), Square(side)).pixels, expected)
    assert np.array_equal(decode(pixels, Square(side)).pixels, expected)


def test_all_of_an_image_is_squeezed_where_that_is_asked_for():
    image = Image.fromarray(PIXELS)
    expected = np.asarray(image.resize((4, 4), Image.Resampling.BICUBIC))
    found = decode(written(image, "PNG"), Square(4, squeeze=True)).pixels
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, decode(PIXELS, Square(4)).pixels)
