"""Label noise of images, texts and features whose labels were made wrong."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

import crest
from crest.data.features import FeatureSplit
from crest.errors import ParameterError
from crest.label_noise import noise_of
from crest.label_noise.bags import bags


def shuffled(labels: Tensor, share: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    some = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    changed = labels.clone()
    changed[some] = labels[some[torch.randperm(len(some), generator=generator)]]
    return changed


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    found = load_digits()
    return torch.tensor(found.images).float()[:, None] / 8 - 1, torch.tensor(found.target)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("flat", [False, True])
def test_digits_with_wrong_labels(digits, share, flat):
    images, true = digits
    labels = shuffled(true, share)
    noise = crest.estimate_label_noise(images.flatten(1) if flat else images, labels)
    wrong = labels != true
    assert noise.wrong == pytest.approx(float(wrong.double().mean()), abs=0.02)
    if share:
        first = noise.quality.argsort()[: int(wrong.sum())]
        assert wrong[first].double().mean() > 0.9
        assert (noise.predicted[wrong] == true[wrong]).double().mean() > 0.85


def test_the_same_seed_gives_the_same_numbers(digits):
    images, true = digits
    labels = shuffled(true[:300], 0.3)
    first, again, other = (
        crest.estimate_label_noise(images[:300], labels, seed=seed) for seed in (3, 3, 4)
    )
    assert first.quality.equal(again.quality)
    assert not first.quality.equal(other.quality)


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 40, 70), (2, 1, 9), (1, 32, 32)])
def test_images_of_any_size(shape):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(64, *shape, generator=generator)
    labels = torch.randint(0, 3, (64,), generator=generator)
    noise = crest.estimate_label_noise(images, labels)
    assert noise.quality.shape == (64,)
    assert bool(noise.quality.isfinite().all())


@pytest.mark.parametrize("scale", [1e-4, 16.0])
def test_images_of_any_scale_tell_the_same(digits, scale):
    images, true = digits
    labels = shuffled(true, 0.2)
    once = crest.estimate_label_noise(images, labels)
    scaled = crest.estimate_label_noise(images * scale, labels)
    assert scaled.wrong == pytest.approx(once.wrong, abs=1e-3)


def test_global_settings_of_torch_change_nothing(digits):
    images, true = digits
    images, labels = images[:300], shuffled(true[:300], 0.2)
    expected = crest.estimate_label_noise(images, labels)
    torch.set_default_dtype(torch.float64)
    try:
        double = crest.estimate_label_noise(images, labels)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.inference_mode():
        frozen = crest.estimate_label_noise(images, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = crest.estimate_label_noise(images, labels)
    for found in (double, frozen, mixed):
        assert found.quality.equal(expected.quality)


def test_classes_have_whatever_numbers(digits):
    images, true = digits
    labels = shuffled(true, 0.2)
    noise, far = (
        crest.estimate_label_noise(images, labels * factor) for factor in (1, 1_000_000_007)
    )
    assert far.quality.equal(noise.quality)
    assert far.predicted.equal(noise.predicted * 1_000_000_007)


@pytest.mark.parametrize(
    "inputs",
    [
        {"input_ids": torch.ones(6, 3, 4).long(), "attention_mask": torch.ones(6, 3, 4)},
        {"input_ids": torch.ones(6, 4).long(), "attention_mask": torch.ones(6, 1, 4, 4)},
        {"pixels": torch.ones(6, 4)},
        torch.ones(6, 4).long(),
        torch.ones(6, 4, 3),
    ],
)
def test_inputs_of_another_kind_are_not_judged(inputs):
    class Some:
        labels = torch.arange(6) % 2

        def __len__(self) -> int:
            return 6

        def inputs(self, rows: Tensor):
            if isinstance(inputs, dict):
                return {name: values[rows] for name, values in inputs.items()}
            return inputs[rows]

    assert noise_of(Some(), 2, torch.Generator()) is None


def test_images_that_are_all_the_same():
    noise = crest.estimate_label_noise(torch.ones(20, 1, 8, 8), torch.arange(20) % 2)
    assert bool(noise.quality.isfinite().all())


def test_bags_tell_tokens_order_and_texts_of_a_pair_apart_but_not_padding():
    tokens = torch.tensor([[5, 6, 7, 0], [5, 6, 7, 9], [7, 6, 5, 0], [5, 6, 7, 0]])
    real = torch.tensor([[1, 1, 1, 0]] * 4)
    kinds = torch.tensor([[0, 0, 0, 0]] * 3 + [[0, 0, 1, 0]])
    one, padded, turned, pair = bags(
        {"input_ids": tokens, "attention_mask": real, "token_type_ids": kinds}
    )
    assert one.norm() == pytest.approx(1.0)
    assert one.equal(padded)
    assert not one.equal(turned)
    assert not one.equal(pair)


@pytest.mark.parametrize(
    ("inputs", "labels", "says"),
    [
        (torch.zeros(3, 4, 5), torch.zeros(3).long(), "n×d"),
        (torch.zeros(3, 8, 8), torch.zeros(3).long(), r"inputs\[:, None\] where images have no ch"),
        (torch.zeros(3, 4).long(), torch.zeros(3).long(), "numbers of tokens"),
        (torch.zeros(3, 4), torch.zeros(2).long(), "3 inputs and 2 labels"),
        (torch.zeros(3, 4), torch.zeros(3), "n integers"),
        (torch.zeros(3, 4), torch.tensor([0, -1, 1]), "row 1 is -1"),
        (torch.zeros(1, 4), torch.tensor([0]), "two at least"),
        (None, torch.zeros(3).long(), "inputs: no tensor or array"),
        (torch.zeros(3, 4), ["a", "b", "c"], "labels: no tensor or array"),
        (torch.zeros(3, 4, dtype=torch.complex64), torch.zeros(3).long(), "n×d"),
        (torch.zeros(3, 1, 0, 0), torch.zeros(3).long(), "n×d"),
    ],
)
def test_what_is_refused(inputs, labels, says):
    with pytest.raises(ParameterError, match=says):
        crest.estimate_label_noise(inputs, labels)


def relations(count: int = 1500) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of features that are near each other or not, which no side of them tells."""
    generator = torch.Generator().manual_seed(0)
    first, other = (torch.randn(count, 8, generator=generator) for _ in range(2))
    true = torch.arange(count) % 2
    near = first + 0.3 * torch.randn(count, 8, generator=generator)
    return first, torch.where(true[:, None] == 1, near, other), true


def test_of_pairs_it_is_found_by_what_relates_the_two():
    first, second, true = relations()
    labels = shuffled(true, 0.4)
    noise = crest.estimate_label_noise((first, second), labels)
    wrong = labels != true
    assert noise.wrong == pytest.approx(float(wrong.double().mean()), abs=0.02)
    together = torch.cat([first, second, (first - second).abs(), first * second], 1)
    assert noise.quality.equal(crest.estimate_label_noise(together, labels).quality)
    beside = crest.estimate_label_noise(torch.cat([first, second], 1), labels)
    assert bool((beside.quality == 1.0).all())


@pytest.mark.parametrize(
    "pair",
    [
        (),
        (torch.ones(4, 2),),
        (torch.ones(4, 2), torch.ones(4, 3)),
        (torch.ones(4, 1, 8, 8), torch.ones(4, 1, 8, 8)),
        (torch.ones(4, 2).long(), torch.ones(4, 2).long()),
    ],
)
def test_a_tuple_that_is_no_pair_is_refused(pair):
    with pytest.raises(ParameterError, match="inputs: a tuple is of pairs"):
        crest.estimate_label_noise(pair, torch.arange(4) % 2)


def test_of_tokens_what_a_model_makes_of_them_counts_alone():
    first, second, true = relations()
    together = torch.cat([first, second, (first - second).abs(), first * second], 1)

    class Texts:
        labels = shuffled(true, 0.4)

        def __len__(self) -> int:
            return len(true)

        def inputs(self, rows: Tensor) -> dict[str, Tensor]:
            tokens = torch.stack([rows % 7, rows % 11], 1)
            return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}

    texts = Texts()
    found = noise_of(texts, 2, torch.Generator().manual_seed(0), lambda rows: together[rows])
    alone = noise_of(
        FeatureSplit(together, texts.labels, torch.device("cpu")),
        2,
        torch.Generator().manual_seed(0),
    )
    assert found is not None
    assert alone is not None
    assert found.wrong > 0.1
    assert found.quality.equal(alone.quality)
