import pytest
import torch
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide

from crest.data.augment import Augmentation
from crest.data.views.policies import (
    BINS,
    OPERATIONS,
    SIGNED,
    draw_operations,
    operate,
    operations_of,
    policy_of,
)

TRIVIAL = policy_of(Augmentation(policy="trivialaugment"))
RAND = policy_of(Augmentation(policy="randaugment"))
THEIRS = {"trivialaugment": TrivialAugmentWide(), "randaugment": RandAugment()}
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count, height=34, width=40, channels=3):
    """Smooth ones with noise, as photographs: pure noise would be equalised already."""
    ramp = torch.linspace(20, 180, width) + torch.linspace(0, 40, height)[:, None]
    noise = torch.randint(30, (count, height, width, channels), generator=generator(1))
    return (ramp[None, :, :, None] + noise).to(torch.uint8)


def theirs_of(transform, image, name, magnitude):
    changed = transform._apply_image_or_video_transform(
        image.permute(2, 0, 1), name, magnitude, transform.interpolation, transform._fill
    )
    return changed.permute(1, 2, 0)


@pytest.mark.parametrize("policy", THEIRS)
def test_operations_and_their_magnitudes_are_torchvisions(policy):
    theirs, ours = THEIRS[policy]._AUGMENTATION_SPACE, policy_of(Augmentation(policy=policy))
    assert set(theirs) == set(OPERATIONS)
    for name, (magnitudes, signed) in theirs.items():
        expected = magnitudes(BINS, 34, 40)
        assert (name in SIGNED) == signed
        if expected is not None:
            assert torch.equal(ours.magnitudes[name](34, 40).double(), expected.double()), name


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_does_what_torchvisions_does(name, channels):
    """Bit for bit; where pixels move, but for points midway between two of the source."""
    places = torch.arange(BINS)
    draws = torch.zeros(2 * BINS, 3, dtype=torch.int64)
    # The middle of the range that stands for each.
    draws[:, 0] = int((OPERATIONS.index(name) + 0.5) / len(OPERATIONS) * 2**31)
    draws[:, 1] = ((places + 0.5) / BINS * 2**31).long().repeat(2)
    draws[:, 2] = torch.tensor([0, 2**31 - 1]).repeat_interleave(BINS)
    images = random_images(2 * BINS, channels=channels)
    operations, magnitudes = operations_of(draws, TRIVIAL, 34, 40)
    assert (operations == OPERATIONS.index(name)).all()
    found = operate(images, draws, TRIVIAL)
    expected = torch.stack(
        [
            theirs_of(THEIRS["trivialaugment"], image, name, magnitude)
            for image, magnitude in zip(images, magnitudes.tolist(), strict=True)
        ]
    )
    if name in GEOMETRIC:
        assert (found != expected).any(3).double().mean() < 1e-3
    else:
        assert torch.equal(found, expected)


def test_operations_magnitudes_and_signs_are_equally_likely():
    draws = draw_operations(20_000, TRIVIAL, generator())
    operations, magnitudes = operations_of(draws, TRIVIAL, 32, 32)
    shares = torch.bincount(operations, minlength=len(OPERATIONS)) / len(operations)
    assert torch.allclose(shares, torch.full_like(shares, 1 / len(OPERATIONS)), atol=0.01)
    turns = magnitudes[operations == OPERATIONS.index("Rotate")]
    assert (turns > 0).double().mean() == pytest.approx(30 / 62, abs=0.04)
    counts = torch.bincount((turns.abs() / 4.5).round().long(), minlength=BINS) / len(turns)
    assert torch.allclose(counts, torch.full_like(counts, 1 / BINS), atol=0.02)


def test_randaugment_goes_through_its_operations_one_after_another():
    images = random_images(40)
    draws = draw_operations(40, RAND, generator())
    expected = images
    for drawn in draws.split(3, 1):
        operations, magnitudes = operations_of(drawn, RAND, 34, 40)
        expected = torch.stack(
            [
                theirs_of(THEIRS["randaugment"], image, OPERATIONS[number], magnitude)
                for image, number, magnitude in zip(
                    expected, operations.tolist(), magnitudes.tolist(), strict=True
                )
            ]
        )
    found = operate(images, draws, RAND)
    assert (found != expected).any(3).double().mean() < 1e-3
    assert not torch.equal(found, images)
    operations, magnitudes = operations_of(draw_operations(500, RAND, generator()), RAND, 34, 40)
    turns = magnitudes[operations == OPERATIONS.index("Rotate")]
    assert turns.unique().tolist() == [-9.0, 9.0]  # the tenth of 31 up to 30 degrees
