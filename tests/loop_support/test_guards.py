"""What goes wrong around a loop of one's own: noticed, told, and none the worse for it."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crest import Coresets, economical
from crest.errors import OrderError, ParameterError, TrainingError
from tests.tiny import CLASSES, convnet, image_split, linear_model, linear_split

SPLIT = image_split()
BF16 = {"device_type": "cpu", "dtype": torch.bfloat16}
WITHIN = "within one torch.autocast block"


def coresets_of(model: nn.Module, **options: object) -> Coresets:
    arguments: dict = {"steps": 8, "batch_size": 8, "subset_size": 32} | options
    return Coresets(model, SPLIT.inputs, SPLIT.labels, **arguments)


def train(
    model: nn.Module,
    coresets: Coresets,
    forward: Callable[[], object] = nullcontext,
    step: Callable[[], object] = nullcontext,
) -> list[list[int]]:
    """A loop whose forward pass, and whose whole step, stand in a block."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    mini_batches = iter(coresets)
    taken = []
    while coresets.steps_taken < len(coresets):
        with step():  # type: ignore[attr-defined]
            indices, weights = next(mini_batches)
            with forward():  # type: ignore[attr-defined]
                logits = model(SPLIT.inputs(indices))
                losses = F.cross_entropy(logits, SPLIT.labels[indices], reduction="none")
                loss = (losses * weights).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            coresets.step(logits.float())
            taken.append(indices.tolist())
    return taken


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def autocast(**options: object) -> torch.autocast:
    return torch.autocast(**BF16, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("options", [{}, economical(8)], ids=["published", "economical"])
def test_a_loop_within_one_autocast_block_is_told_and_trains(precision: str, options: dict) -> None:
    inside, beside = convnet(), convnet()
    with pytest.warns(UserWarning, match=WITHIN) as found, autocast():
        taken = train(inside, coresets_of(inside, precision=precision, **options))
    assert len(found) == 1
    # The same, bit for bit, as with the forward pass alone in a block.
    coresets = coresets_of(beside, precision=precision, **options)
    assert train(beside, coresets, forward=autocast) == taken
    assert torch.equal(weights_of(inside), weights_of(beside))


@pytest.mark.parametrize(
    "blocks",
    [
        {"forward": autocast},
        {"step": autocast},
        {"forward": autocast, "step": lambda: autocast(enabled=False)},
    ],
    ids=["forward", "step", "off"],
)
def test_blocks_that_end_with_each_step_raise_no_alarm(blocks: dict) -> None:
    model = convnet()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, coresets_of(model), **blocks)


def test_a_block_without_a_cache_raises_no_alarm() -> None:
    model = convnet()
    with warnings.catch_warnings(), autocast(cache_enabled=False):
        warnings.simplefilter("error")
        train(model, coresets_of(model))
        assert not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled()


@pytest.mark.parametrize("block", [torch.no_grad, torch.inference_mode, autocast])
def test_a_mini_batch_is_the_same_whatever_block_asks_for_it(block) -> None:
    plain, asked = coresets_of(convnet(), steps=3), coresets_of(convnet(), steps=3)
    for indices, weights in plain:
        with block():
            found, their_weights = next(iter(asked))
        assert torch.equal(found, indices)
        assert torch.equal(their_weights, weights)
        assert not their_weights.is_inference()
        plain.step()
        asked.step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_16_bits_are_told_of_once(dtype: torch.dtype) -> None:
    model, split = linear_model().to(dtype), linear_split()

    def inputs(indices: Tensor) -> Tensor:
        return split.features[indices].to(dtype)

    least = {torch.bfloat16: 256, torch.float16: 2048}[dtype]
    options: dict = {"steps": 2, "batch_size": 4, "subset_size": 12}
    with pytest.warns(
        UserWarning, match=f"model: 100% .* less than 1/{least} of a weight"
    ) as found:
        coresets = Coresets(model, inputs, split.labels, **options)
    next(iter(coresets))
    assert len(found) == 1
    # The figure is what rounds away.
    one = torch.ones(1, dtype=dtype)
    assert torch.equal(one + 0.9 / least, one)
    assert not torch.equal(one + 2.0 / least, one)


def test_frozen_weights_of_16_bits_are_not_told_of() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 4).bfloat16().requires_grad_(False), linear_model()

        def forward(self, features: Tensor) -> Tensor:
            return self.head(self.body(features.bfloat16()).float())

    split = linear_split()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Coresets(
            Mixed(),
            split.inputs,
            split.labels,
            steps=2,
            batch_size=4,
            subset_size=12,
            quadratic="last_layer",
        )


def spoiled(index: int, value: float) -> Callable[[Tensor], Tensor]:
    images = SPLIT.inputs(torch.arange(240)).clone()
    images[index, 0, 3, 3] = value
    return lambda indices: images[indices]


@pytest.mark.parametrize("method", ["crest", "greedy", "craig", "gradmatch", "glister"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_inputs_that_are_not_finite_are_named_when_first_scored(method: str, value: float) -> None:
    sections: dict = {"crest": {"subset_size": 200}, "greedy": {"subset_size": 200}}
    sections |= {name: {"coreset_size": 0.5} for name in ("craig", "gradmatch", "glister")}
    inputs = spoiled(100, value)
    coresets = Coresets(
        convnet(), inputs, SPLIT.labels, steps=9, batch_size=8, method=method, **sections
    )
    with pytest.raises(ParameterError, match="inputs: what is returned for example 100 holds"):
        for _ in coresets:
            coresets.step()


def test_the_first_and_the_last_example_are_scored_at_once() -> None:
    for index in (0, 239):
        message = f"inputs: .* example {index} holds numbers"
        inputs = spoiled(index, torch.nan)
        with pytest.raises(ParameterError, match=message):
            Coresets(convnet(), inputs, SPLIT.labels, steps=9, batch_size=8, method="random")
    images = SPLIT.inputs(torch.arange(200))
    with pytest.raises(ParameterError, match=r"scoring examples 0 and 239 fails \(IndexError"):
        Coresets(convnet(), lambda i: images[i], SPLIT.labels, steps=9, batch_size=8)
    with pytest.raises(ParameterError, match=r"scoring .* fails \(RuntimeError: .*channels"):
        Coresets(
            convnet(),
            lambda i: images[i % 200].expand(-1, 2, 8, 8),
            SPLIT.labels,
            steps=9,
            batch_size=8,
        )


def test_inputs_that_are_not_finite_are_named_by_a_method_that_only_sees_steps() -> None:
    model = convnet()
    inputs = spoiled(100, torch.nan)
    coresets = Coresets(model, inputs, SPLIT.labels, steps=60, batch_size=8, method="focused")
    with pytest.raises(ParameterError, match="inputs: what is returned for example 100 holds"):
        for indices, _ in coresets:
            coresets.step(model(inputs(indices)))


def test_weights_that_are_no_numbers_are_told_by_a_method_that_only_sees_steps() -> None:
    model = convnet()
    coresets = coresets_of(model, subset_size=32)
    method_only = Coresets(
        model, SPLIT.inputs, SPLIT.labels, steps=9, batch_size=8, method="focused"
    )
    assert coresets.steps_taken == 0
    for parameter in model.parameters():
        parameter.data.fill_(torch.nan)
    indices, _ = next(iter(method_only))
    with pytest.raises(TrainingError, match="step 0: the model's weights are no finite numbers"):
        method_only.step(model(SPLIT.inputs(indices)))


AMP = economical(8) | {"interval_factor": 2.0, "threshold": 1e-9, "curvature_interval": 20}


@pytest.mark.parametrize("quadratic", ["full", "last_layer"])
@pytest.mark.parametrize("kind", ["all", "one", "scaled"])
def test_a_step_that_the_scaler_skipped_leaves_nothing_behind(kind: str, quadratic: str) -> None:
    model = convnet()
    coresets = coresets_of(model, steps=40, **{**AMP, "quadratic": quadratic})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for indices, weights in coresets:
        logits = model(SPLIT.inputs(indices))
        optimizer.zero_grad()
        losses = F.cross_entropy(logits, SPLIT.labels[indices], reduction="none")
        (losses * weights).mean().backward()
        if coresets.steps_taken in (0, 1, 25):
            _overflow(model, kind)
            before = coresets._method._quadratic._estimates  # type: ignore[attr-defined]
            coresets.step(logits)
            assert coresets._method._quadratic._estimates is before  # type: ignore[attr-defined]
            continue
        optimizer.step()
        coresets.step(logits)
    table = coresets.tables()["regions"]
    for column in ("rho", "loss_start", "gradient_norm", "curvature_norm"):
        assert table[column].drop_nulls().is_finite().all()
        assert (table[column].drop_nulls() < 1e3).all()


def _overflow(model: nn.Module, kind: str) -> None:
    """What a scaler leaves of gradients that overflowed when it skips the step."""
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    if kind == "all":
        for gradient in gradients:
            gradient.fill_(torch.inf)
    else:
        gradients[0].view(-1)[0] = torch.nan
    if kind == "scaled":  # a fused optimiser divides none where it finds one
        for gradient in gradients:
            gradient.mul_(65536.0)


def test_logits_that_overflowed_are_not_remembered() -> None:
    model = convnet()
    coresets = coresets_of(model, steps=12, **economical(8))
    for indices, _ in coresets:
        logits = model(SPLIT.inputs(indices)).detach()
        if coresets.steps_taken % 3 == 0:
            logits[2] = torch.tensor([torch.inf, torch.nan, 0.0])
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        coresets.step(logits)
    state = coresets.state_dict()["method"]["supply"]["subsets"]["memory"]
    assert state["logits"].isfinite().all()
    assert not state["losses"].isinf().any()


def test_a_real_scaler_skips_and_everything_goes_on() -> None:
    model, split = linear_model(), linear_split()
    options = {**economical(4), "curvature_interval": 4, "interval_factor": 2.0}
    coresets = Coresets(model, split.inputs, split.labels, steps=20, batch_size=4, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=3)
    skipped = 0
    for indices, weights in coresets:
        logits = model(split.inputs(indices))
        losses = F.cross_entropy(logits, split.labels[indices], reduction="none")
        optimizer.zero_grad()
        scaler.scale((losses * weights).mean() * 8).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        skipped += scaler.get_scale() < scale
        coresets.step(logits)
    assert 0 < skipped < 20
    assert coresets.tables()["regions"]["rho"].drop_nulls().is_finite().all()
    assert torch.isfinite(coresets.state_dict()["method"]["quadratic"]["gradients"]["total"]).all()


def test_gradients_that_were_filled_with_zeros_too_early_are_noticed() -> None:
    model = convnet()
    coresets = coresets_of(model, gradient="training")
    for indices, _ in coresets:
        logits = model(SPLIT.inputs(indices))
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        if coresets.steps_taken == 0:
            with pytest.warns(UserWarning, match="the gradients of the step are all 0; if not"):
                coresets.step()
            continue
        with pytest.raises(OrderError, match="all 0, its losses are not; report the step after"):
            coresets.step(logits)
        right = 100.0 * F.one_hot(SPLIT.labels[indices], CLASSES)
        assert not F.cross_entropy(right, SPLIT.labels[indices])
        coresets.step(right)  # nothing is left to learn of these
        break


def test_weights_that_were_replaced_or_moved_are_noticed_where_the_method_scores() -> None:
    def steps(method: str, change: Callable[[nn.Sequential], object]) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, CLASSES))
        crest = {"subset_size": 32}
        coresets = Coresets(
            model, SPLIT.inputs, SPLIT.labels, steps=20, batch_size=8, method=method, crest=crest
        )
        for _ in coresets:
            if coresets.steps_taken == 2:
                change(model)
            coresets.step()

    changes: list[Callable[[nn.Sequential], object]] = [
        lambda model: model.__setitem__(3, nn.Linear(8, CLASSES)),
        lambda model: model.insert(1, nn.Linear(64, 64)),
        lambda model: model.to("meta"),
    ]
    for change in changes:
        with pytest.raises(OrderError, match=r"model: Sequential (has other weights|is on meta)"):
            steps("crest", change)
        steps("random", change)


def test_choices_are_the_same_whatever_the_default_device_is() -> None:
    """As after torch.set_default_device("cuda"); what the loop calls keeps it."""
    seen = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear_model()

        def forward(self, features: Tensor) -> Tensor:
            seen.append(torch.empty(0).device.type)
            return self.linear(features)

    split = linear_split()
    options: dict = {"steps": 6, "batch_size": 4, "subset_size": 12}
    plain = Coresets(linear_model(), split.inputs, split.labels, **options)
    with torch.device("meta"):
        with torch.device("cpu"):
            model = Watched()
        moved = Coresets(model, split.inputs, split.labels.tolist(), **options)
        for (indices, weights), (expected, ones) in zip(moved, plain, strict=True):
            with torch.device("cpu"):
                assert torch.equal(indices, expected)
                assert torch.equal(weights, ones)
                plain.step()
            moved.step()
        assert moved.tables()["coresets"].equals(plain.tables()["coresets"])
        moved.load_state_dict(moved.state_dict())
    assert set(seen) == {"meta"}
