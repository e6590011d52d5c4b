"""Checkpointed models are the same models: bit for bit, in float32 on the CPU."""

import copy
import pickle
import weakref
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from crest import checkpoint_activations
from crest.devices.precision import Precision
from crest.errors import ParameterError
from crest.inference.evaluator import Evaluator
from crest.inference.folding import find_folds, folded
from crest.models import build
from crest.models.checkpointing import blocks
from crest.models.head import features_and_logits
from crest.regions.curvature import estimate_curvature
from crest.selection.coresets import MiniBatchCoreset
from tests.tiny import CPU, FLOAT32, LinearSplit, convnet
from tests.tiny_text import POSITIONS, VOCABULARY

CLASSES = 3
SIDE = 16
LABELS = torch.arange(6) % CLASSES
IMAGES = torch.randn(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def of_images(name: str) -> nn.Module:
    return build(name, classes=CLASSES, image_shape=(SIDE, SIDE, 3), stem="cifar", seed=0)


class Dropping(nn.Module):
    """A user's own: layers of a convolution, a cumulative BatchNorm and dropout, side by side."""

    class Layer(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(channels, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8, momentum=None)
            self.dropout = nn.Dropout(0.3)

        def forward(self, images: Tensor, *, scale: float) -> Tensor:
            return self.dropout(F.relu(self.norm(self.convolution(images)), inplace=True)) * scale

    def __init__(self) -> None:
        super().__init__()
        self.first = self.Layer(3)
        self.second = self.Layer(8)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        images = self.second(self.first(images, scale=2.0), scale=0.5)
        return self.head(images.mean(dim=(2, 3)))


def dropping() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Dropping()


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    from crest.models.text import TextClassifier

    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=POSITIONS,
        num_labels=CLASSES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TextClassifier(BertForSequenceClassification(config)).train()


def tokens() -> dict[str, Tensor]:
    ids = torch.randint(5, 50, (6, 9), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: of_images("resnet20"),
    "resnet20_gn": lambda: of_images("resnet20_gn"),
    "resnet18": lambda: of_images("resnet18"),
    "resnet50": lambda: of_images("resnet50"),
    "efficientnet_b0": lambda: of_images("efficientnet_b0"),  # drops whole blocks at random
    "own": dropping,
    "bert": bert,
}


def both(name: str) -> tuple[nn.Module, nn.Module]:
    """The plain model and the checkpointed one."""
    plain = MODELS[name]()
    return plain, checkpoint_activations(MODELS[name]())


def inputs_of(name: str):
    return tokens() if name == "bert" else IMAGES


def train(model: nn.Module, inputs, steps: int = 2, autocast=nullcontext) -> Tensor:
    """Take some steps; returns the global generator's state after them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for _ in range(steps):
            optimizer.zero_grad()
            with autocast():
                logits = model(inputs)
            F.cross_entropy(logits.float(), LABELS).backward()
            optimizer.step()
        return torch.get_rng_state()


def assert_same(plain: nn.Module, other: nn.Module) -> None:
    """Names, values and gradients are equal, running statistics among them."""
    expected, found = plain.state_dict(), other.state_dict()
    assert list(found) == list(expected)
    assert [name for name, _ in other.named_parameters()] == [
        n for n, _ in plain.named_parameters()
    ]
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    gradients = zip(plain.parameters(), other.parameters(), strict=True)
    for one, same in gradients:
        assert (one.grad is None) == (same.grad is None)
        assert one.grad is None or torch.equal(one.grad, same.grad)


@pytest.mark.parametrize("name", MODELS)
def test_training_is_the_same_bit_for_bit(name: str) -> None:
    plain, other = both(name)
    inputs = inputs_of(name)
    assert torch.equal(train(plain, inputs), train(other, inputs))
    assert_same(plain, other)


@pytest.mark.parametrize("name", ["resnet20", "own", "bert"])
def test_training_in_bf16_is_the_same_too(name: str) -> None:
    plain, other = both(name)
    for model in (plain, other):
        train(model, inputs_of(name), autocast=Precision("bf16", CPU).autocast)
    assert_same(plain, other)
    exact = MODELS[name]()
    train(exact, inputs_of(name))
    assert not torch.equal(next(exact.parameters()), next(plain.parameters()))


def kept(model: nn.Module, inputs) -> int:
    """How many outputs of inner linear layers and convolutions the forward pass leaves alive."""
    alive: list[weakref.ref[Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: alive.append(weakref.ref(output)))
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    loss = F.cross_entropy(model(inputs), LABELS)
    for hook in hooks:
        hook.remove()
    assert loss.requires_grad
    return sum(reference() is not None for reference in alive)


@pytest.mark.parametrize("name", ["resnet20", "own", "bert"])
def test_what_is_within_blocks_is_not_kept(name: str) -> None:
    plain, other = both(name)
    whole, part = kept(plain, inputs_of(name)), kept(other, inputs_of(name))
    assert part < 0.5 * whole


@pytest.mark.parametrize("name", ["resnet20", "own", "bert"])
def test_blocks_run_once_more_in_training_and_only_there(name: str) -> None:
    _, model = both(name)
    runs = []
    inner = next(part for part in model.modules() if _is_within_a_block(part))
    inner.register_forward_hook(lambda *_: runs.append(1))
    model.eval()
    F.cross_entropy(model(inputs_of(name)), LABELS).backward()
    assert len(runs) == 1
    model.train()
    with torch.no_grad():
        model(inputs_of(name))
    assert len(runs) == 2
    F.cross_entropy(model(inputs_of(name)), LABELS).backward()
    assert len(runs) == 4


def _is_within_a_block(module: nn.Module) -> bool:
    shape = getattr(getattr(module, "weight", None), "shape", None)
    return shape in {(16, 16, 3, 3), (8, 8, 3, 3), (32, 16)}


def coreset() -> MiniBatchCoreset:
    return MiniBatchCoreset(torch.arange(6), torch.tensor([2.0, 0.5, 1.0, 1.0, 0.5, 1.0]))


@pytest.mark.parametrize("name", ["resnet20", "own"])
def test_curvature_is_the_same(name: str) -> None:
    split = LinearSplit(IMAGES, LABELS)
    found = []
    for model in both(name):
        generator = torch.Generator().manual_seed(0)
        folds = find_folds(model, IMAGES[:2])
        with folded(model, folds):
            found.append(
                estimate_curvature(Evaluator(model, split, FLOAT32), [coreset()], generator, 2)
            )
    assert torch.equal(found[0].gradient, found[1].gradient)
    assert torch.equal(found[0].hessian, found[1].hessian)
    assert float(found[0].hessian.norm()) > 0.0


@pytest.mark.parametrize("name", ["resnet20", "own"])
def test_second_derivatives_in_train_mode_are_the_same(name: str) -> None:
    products = []
    models = both(name)
    for model in models:
        parameters = list(model.parameters())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            loss = F.cross_entropy(model(IMAGES), LABELS)
            first = torch.autograd.grad(loss, parameters, create_graph=True)
            signs = [torch.ones_like(value) for value in parameters]
            products.append(torch.autograd.grad(first, parameters, signs))
    for one, same in zip(*products, strict=True):
        assert torch.equal(one, same)
    assert_same(*models)  # nothing was counted by any of the runs in between


def test_the_same_norms_are_folded_and_copies_are_models_of_their_own() -> None:
    plain, other = both("resnet20")
    folds = find_folds(other, IMAGES)
    assert folds == find_folds(plain, IMAGES)
    assert len(folds) == 19
    train(plain, IMAGES)
    train(other, IMAGES)
    twin = copy.deepcopy(other)
    for model in (plain, other):
        with torch.no_grad(), folded(model, folds):
            logits = model(IMAGES)
        assert torch.equal(logits, plain_logits(plain, folds))
    with torch.no_grad():
        for value in other.parameters():
            value.zero_()
    for model in (plain, twin):
        model.zero_grad()
        train(model, IMAGES)
    assert_same(plain, twin)
    assert kept(twin, IMAGES) < 0.5 * kept(plain, IMAGES)


def plain_logits(model: nn.Module, folds) -> Tensor:
    with torch.no_grad(), folded(model, folds):
        return model(IMAGES)


def test_a_pickled_model_is_checkpointed_still() -> None:
    plain, other = both("resnet20")
    loaded = pickle.loads(pickle.dumps(other))
    train(plain, IMAGES)
    train(loaded, IMAGES)
    assert_same(plain, loaded)
    assert kept(loaded, IMAGES) < 0.5 * kept(plain, IMAGES)


@pytest.mark.parametrize("name", ["resnet20", "own", "bert"])
@pytest.mark.parametrize("training", [True, False])
def test_features_and_logits_are_the_same_and_so_are_gradients_through_them(
    name: str, training: bool
) -> None:
    models = both(name)
    found = []
    for model in models:
        model.train(training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            features, logits = features_and_logits(model, inputs_of(name))
            (features.square().sum() + logits.sum()).backward()
        found.append((features, logits))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert_same(*models)


@pytest.mark.parametrize("name", ["resnet20", "own", "bert"])
def test_data_parallel_training_is_the_same(name: str, process_group: None) -> None:
    plain, other = both(name)
    train(DistributedDataParallel(plain), inputs_of(name))
    train(DistributedDataParallel(other), inputs_of(name))
    assert_same(plain, other)


def test_asking_twice_is_asking_once() -> None:
    model = checkpoint_activations(checkpoint_activations(of_images("resnet20")))
    runs = []
    model.get_submodule("blocks.0.conv1").register_forward_hook(lambda *_: runs.append(1))
    F.cross_entropy(model(IMAGES), LABELS).backward()
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("resnet20", {"Block": 9}),
        ("resnet18", {"BasicBlock": 8}),
        ("resnet50", {"Bottleneck": 16}),
        ("efficientnet_b0", {"Conv2dNormActivation": 2, "MBConv": 16}),
        ("own", {"Layer": 2}),
    ],
)
def test_blocks_are_those_of_the_paper_of_each_model(name: str, kinds: dict[str, int]) -> None:
    found = [type(block).__name__ for block in blocks(MODELS[name]())]
    assert {kind: found.count(kind) for kind in found} == kinds


def test_a_block_holds_no_other_and_not_the_last_layer() -> None:
    def layer(ins: int, outs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(ins, outs), nn.ReLU())

    model = nn.Sequential(
        nn.Sequential(layer(4, 8), layer(8, 8)),
        layer(8, 8),
        nn.Sequential(nn.Dropout(), nn.Linear(8, 3)),
    )
    assert blocks(model) == [model[0][0], model[0][1], model[1]]


@pytest.mark.parametrize(
    "model", [convnet(), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))]
)
def test_a_model_without_blocks_is_refused_and_left_as_it_is(model: nn.Module) -> None:
    message = r"train\.activation_checkpointing: .* has no blocks .*; set it to false"
    with pytest.raises(ParameterError, match=message):
        checkpoint_activations(model)
    assert all("forward" not in vars(part) for part in model.modules())


def test_what_transformers_cannot_do_is_refused() -> None:
    network = bert().network
    type(network).supports_gradient_checkpointing = False
    try:
        with pytest.raises(ParameterError, match=r"transformers cannot do it for Bert.*\(Bert"):
            checkpoint_activations(network)
    finally:
        del type(network).supports_gradient_checkpointing


def test_transformers_has_nothing_to_report(capfd) -> None:
    from transformers.utils import logging

    model = checkpoint_activations(bert())
    logging.get_logger("transformers").warning_once.cache_clear()
    train(model, tokens())
    assert capfd.readouterr().err == ""


def test_frozen_embeddings_of_transformers_ask_for_no_gradients() -> None:
    model = checkpoint_activations(bert())
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert not model(tokens()).requires_grad


def test_batchnorm_of_transformers_counts_once() -> None:
    from transformers import MobileViTConfig, MobileViTForImageClassification

    config = MobileViTConfig(
        image_size=32,
        hidden_sizes=[16, 16, 16],
        neck_hidden_sizes=[8, 8, 16, 16, 16, 16, 16],
        num_attention_heads=2,
        num_labels=CLASSES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = MobileViTForImageClassification(config).train()
    other = checkpoint_activations(copy.deepcopy(plain))
    images = F.interpolate(IMAGES, size=32)
    for model in (plain, other):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            F.cross_entropy(model(images).logits, LABELS).backward()
    assert_same(plain, other)
