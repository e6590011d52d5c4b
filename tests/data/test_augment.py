import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crest.data import augment
from crest.data.augment import Augmentation, crop_and_flip, draw_crops_and_flips, normalise


def one_by_one(images, augmentation, generator):
    """The same draws, used in a loop over the images."""
    count, height, width, channels = images.shape
    padding = augmentation.crop
    flipped = torch.zeros(count, dtype=torch.bool)
    offsets = torch.zeros(count, 2, dtype=torch.int64)
    if augmentation.flip:
        flipped = torch.randint(2, (count, 1), generator=generator, dtype=torch.bool)[:, 0]
    if padding:
        offsets = torch.randint(2 * padding + 1, (count, 2), generator=generator)
    results = []
    for image, flip, (top, left) in zip(images, flipped, offsets.tolist(), strict=True):
        padded = torch.zeros(height + 2 * padding, width + 2 * padding, channels, dtype=torch.uint8)
        padded[padding : padding + height, padding : padding + width] = image
        cropped = padded[top : top + height, left : left + width]
        results.append(cropped.flip(1) if flip else cropped)
    return torch.stack(results)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def augmented(images, augmentation, generator):
    draws = draw_crops_and_flips(len(images), augmentation, generator)
    return crop_and_flip(images, augmentation, draws)


def random_images(*shape):
    return torch.randint(256, shape, generator=generator(1), dtype=torch.uint8)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, 6) for _ in range(3)), st.sampled_from((1, 3))),
    crop=st.integers(0, 4),
    flip=st.booleans(),
    seed=st.integers(0, 1000),
    large=st.sampled_from((1, augment.LARGE)),
)
def test_a_batch_is_augmented_as_its_images_one_by_one(shape, crop, flip, seed, large):
    images, augmentation = random_images(*shape), Augmentation(crop, flip)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "LARGE", large)  # pixels from which they are moved by slices
        batched = augmented(images, augmentation, generator(seed))
    assert torch.equal(batched, one_by_one(images, augmentation, generator(seed)))


def test_no_augmentation_is_the_identity_and_draws_nothing():
    images, drawn = random_images(5, 4, 4, 3), generator()
    assert torch.equal(augmented(images, Augmentation(), drawn), images)
    assert torch.equal(drawn.get_state(), generator().get_state())


def test_some_of_the_draws_give_the_same_views_as_all():
    images, augmentation, some = random_images(6, 4, 5, 3), Augmentation(2, True), [4, 1]
    draws = draw_crops_and_flips(6, augmentation, generator())
    views = crop_and_flip(images, augmentation, draws)
    assert torch.equal(crop_and_flip(images[some], augmentation, draws[some]), views[some])


def test_the_batch_itself_is_left_alone():
    images = random_images(5, 4, 4, 3)
    before = images.clone()
    augmented(images, Augmentation(2, True), generator())
    assert torch.equal(images, before)


def test_half_of_the_images_are_flipped():
    images = torch.tensor([0, 1], dtype=torch.uint8).view(1, 1, 2, 1).repeat(4000, 1, 1, 1)
    flipped = augmented(images, Augmentation(flip=True), generator())[:, 0, 0, 0]
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_all_offsets_of_a_crop_are_equally_likely():
    image = torch.zeros(1, 3, 3, 1, dtype=torch.uint8)
    image[0, 1, 1] = 1
    crops = augmented(image.expand(9000, 3, 3, 1), Augmentation(crop=1), generator())
    share = crops.float().mean(dim=0)[..., 0]
    assert torch.allclose(share, torch.full((3, 3), 1 / 9), atol=0.02)


def test_normalised_pixels_have_the_closed_form():
    images = random_images(4, 5, 6, 3)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    expected = ((images.double() / 255 - mean) / std).permute(0, 3, 1, 2).float()
    found = normalise(images, mean, std)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("cached", [1, 70, 2**19])
def test_what_is_normalised_at_a_time_and_where_it_is_written_change_no_bit(monkeypatch, cached):
    images = random_images(7, 4, 5, 3)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    pixels = images.permute(0, 3, 1, 2).float()
    expected = pixels.div(255.0).sub(mean[:, None, None]).div(std[:, None, None])
    monkeypatch.setattr("crest.data.augment.CACHED", cached)
    out = torch.empty(7, 4, 5, 3)
    for some in (slice(7), slice(0), slice(3)):
        assert torch.equal(normalise(images[some], mean, std, out[some]), expected[some])
        assert torch.equal(out[some].permute(0, 3, 1, 2), expected[some])


def test_normalising_by_its_own_statistics_gives_mean_zero_and_deviation_one():
    images = random_images(64, 8, 8, 3)
    scaled = images.double() / 255
    mean, std = scaled.mean((0, 1, 2)).float(), scaled.std((0, 1, 2), correction=0).float()
    found = normalise(images, mean, std)
    assert found.mean((0, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(found.std((0, 2, 3), correction=0), torch.ones(3))
