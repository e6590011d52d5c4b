"""A step asks nothing of the device that the host would wait for."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crest.data.augment import Augmentation
from crest.data.prepared import ImageSplit
from crest.data.views import batches
from crest.devices.generators import generator_for
from crest.devices.precision import Precision
from crest.methods import METHODS
from crest.samplers.base import Context
from crest.selection import spatially_stratified
from crest.training import clipping, optimizers, step
from crest.training.cuda_graph import WARM_UP
from crest.training.recorder import Recorder
from crest.training.step import Stepper
from tests.simulated_device import CPU, SimulatedDevice, WaitError
from tests.tiny import CLASSES, parameters

EXAMPLES, SIZE = 64, 8
# Of a round's eight steps: before these a method begins the round, and a graph is captured.
STEPS = range(WARM_UP + 2, EXAMPLES // SIZE)
METHODS_OF_ROUNDS = ("random", "stratified", "focused", "adaptive", "by_rule")


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(step, "can_run_out", lambda device: True)
    monkeypatch.setattr(clipping, "is_read_at_once", lambda values: False)
    monkeypatch.setattr(batches, "is_on_host", lambda values: False)
    simulated = SimulatedDevice()
    with simulated.watching():
        yield simulated


@pytest.fixture
def values(device):
    return device.put(torch.arange(6.0))


# The books themselves


@pytest.mark.parametrize(
    "ask",
    [
        lambda values: values[0].item(),
        lambda values: values.tolist(),
        lambda values: values.cpu(),
        lambda values: values.to("cpu"),
        lambda values: values.numpy(),
        lambda values: np.asarray(values),
        lambda values: bool(values.all()),
        lambda values: float(values.sum()),
        lambda values: int(values[1]),
        lambda values: [1, 2, 3][values[1].long()],
        lambda values: f"{values[1]:.2f}",
        lambda values: str(values),
        lambda values: 2.0 in values,
        lambda values: 1.0 if values.sum() > 0 else 2.0,
        lambda values: values.nonzero(),
        lambda values: torch.where(values > 1),
        lambda values: values[values > 1],
        lambda values: values.masked_select(values > 1),
        lambda values: values.unique(),
        lambda values: torch.equal(values, values + 1),
        lambda values: torch.ones(6).repeat_interleave(values.long()),
        lambda values: torch.zeros(6).copy_(values),
        lambda values: torch.zeros(6).add_(values),
        lambda values: torch.zeros(6)[values.long()],
        lambda values: values[torch.tensor([0, 1])],
        lambda values: values + torch.ones(6),
        lambda values: torch.ones(6).to(CPU),
        lambda values: torch.tensor([1.0], device=CPU),
        lambda values: values.copy_(torch.ones(6)),
        lambda values: torch.full((2,), values[0]),
    ],
)
def test_what_the_host_would_wait_for_is_refused(device, values, ask):
    ask(values)
    with device.within(), pytest.raises(WaitError):
        ask(values)


@pytest.mark.parametrize(
    "ask",
    [
        lambda values: values.mul(2).sum(),
        lambda values: values[1:3] * 0.5,
        lambda values: torch.where(values > 1, values, 0.0),
        lambda values: values.to(CPU),
        lambda values: values.double().shape[0],
        lambda values: values[torch.ones(2, dtype=torch.int64).to(CPU, non_blocking=True)],
        lambda values: values + torch.ones(6, device=CPU),
        lambda values: values.index_select(0, values.long()),
        lambda values: torch.ones(6).tolist(),
        lambda values: bool(torch.ones(6).all()),
        lambda values: torch.ones(6).nonzero(),
    ],
)
def test_what_it_would_not_wait_for_is_let_through(device, values, ask):
    with device.within():
        ask(values)


def test_what_is_computed_there_is_there(device):
    weight = nn.Parameter(torch.ones(3))
    device.put(weight.data)
    loss = (weight * 2).sum()
    loss.backward()
    assert device.has(loss)
    assert device.has(weight.grad)
    assert not device.has(torch.ones(3))
    assert not device.has(loss.cpu())
    assert not device.has(loss.to("cpu"))


# A step


AUGMENTED = Augmentation(crop=1, flip=True)
EVERYTHING = Augmentation(
    crop=1, flip=True, policy="randaugment", policy_operations=5, color=0.4, hue=0.1, erasing=0.5
)


class Steps:
    """A model in training on a device, onto which ``put`` puts tensors; its method and recorder."""

    def __init__(
        self, device, put, method, augmented=AUGMENTED, options=None, steps=STEPS.stop, **train
    ):
        settings = parameters(train={"batch_size": SIZE, "epochs": 1, **train}).train
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Flatten(), nn.Linear(4 * 8 * 8, CLASSES)),
        )
        model.to(device)
        for tensor in (*model.parameters(), *model.buffers()):
            put(tensor.data)
        images = torch.randint(0, 256, (EXAMPLES, 8, 8, 3), dtype=torch.uint8)
        labels = torch.arange(EXAMPLES) % CLASSES
        mean, std = torch.full((3,), 0.45), torch.full((3,), 0.25)
        split = ImageSplit(put(images), labels, mean, std, device, augmented)
        precision = Precision("float32", device)
        context = Context(
            model=model,
            train=split,
            steps=steps,
            batch_size=SIZE,
            precision=precision,
            generator=generator_for(0, "method"),
            parameters=parameters(**{method: options or {}}).of_method(method),
        )
        self.method = METHODS[method].build(context)
        self.recorder = Recorder(EXAMPLES, steps, device)
        optimizer = optimizers.build(model, settings)
        augmentation = generator_for(0, "augmentation")
        self.stepper = Stepper(model, optimizer, split, augmentation, settings, precision)

    def take(self, number):
        minibatch = self.method.minibatch(number)
        outputs = self.stepper.take(minibatch)
        self.method.update(minibatch, outputs, 0.1)
        self.recorder.step(number, minibatch, 0.1, outputs, 0.1)


SETTINGS = {
    "plain": {},
    "clipped": {"clip_norm": 0.1},
    "in parts": {"micro_batches": 2},
    "nesterov": {"nesterov": True},
    "adamw": {"optimizer": "adamw", "lr": 0.001},
    "smoothed": {"label_smoothing": 0.1},
    "mixed": {"mixup": 0.2, "cutmix": 1.0},
    "mixed in parts": {"mixup": 0.2, "micro_batches": 2},
    "every view": {"augmented": EVERYTHING},
    "resized crops": {"augmented": Augmentation(scale=(0.2, 1.0))},
}


def without_waiting(steps, strictly):
    for number in range(STEPS.start):
        steps.take(number)
    with strictly:
        for number in STEPS:
            steps.take(number)


@pytest.mark.parametrize("method", METHODS_OF_ROUNDS)
def test_no_step_of_a_round_waits(device, method):
    without_waiting(Steps(CPU, device.put, method), device.within())


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_kind_of_step_waits(device, setting):
    without_waiting(Steps(CPU, device.put, "random", **SETTINGS[setting]), device.within())


ECONOMICAL = {
    "choice": "spatially_stratified",
    "subset_size": 4 * SIZE,
    "subset_coresets": 4,
    "selection": "on_demand",
    "outputs": "remembered",
    "draw": "stratified_without_replacement",
    "focus": {"exponent": 0.5},
    "gradient": {"source": "training"},
    "curvature": {"minibatches": 2, "interval": 1000},
    # The first region ends after four steps, the second never.
    "threshold": 1e-9,
    "interval_factor": 1e6,
}


class Noted(SimulatedDevice):
    """Lets through what the host waits for, and notes it."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def refuse(self, what, mixes=False):
        try:
            super().refuse(what, mixes)
        except WaitError as error:
            self.noted.append(str(error))


def test_crest_waits_for_what_it_selected_and_for_nothing_else(device, monkeypatch):
    """In a round whose outputs are all remembered; a subset is selected from for four steps.

    Three copies, of what was selected: by the first all is computed, so that one of them waits.
    Every other subset begins a round, which reads the last losses of all examples.
    """
    # What another test has cached is the host's.
    uncached = spatially_stratified._levels.__wrapped__
    monkeypatch.setattr(spatially_stratified, "_levels", uncached)
    device = Noted()
    with device.watching():
        steps = Steps(CPU, device.put, "crest", options=ECONOMICAL, steps=64, lr=1e-3)
        for number in range(12):
            steps.take(number)
        waits = []
        for number in range(12, 20):
            with device.within():
                steps.take(number)
            waits.append(device.noted)
            device.noted = []
    copy = "Tensor.cpu of a tensor of the device"
    assert waits == [[copy] * 3, [], [], [], [copy] * 4, [], [], []]


def histories(steps):
    """What a recorder knows of the examples after three rounds, fetched in each."""
    for number in range(3 * EXAMPLES // SIZE):
        steps.take(number)
        if number % 5 == 0:
            steps.recorder.flush()
    steps.recorder.flush()
    return steps.recorder.tracker


def test_histories_are_kept_and_counted_on_the_device():
    plain = histories(Steps(CPU, lambda tensor: tensor, "random"))
    device = SimulatedDevice()
    with device.watching():
        with device.within(waits=True):
            tracker = histories(Steps(CPU, device.put, "random"))
        assert all(map(device.has, tracker._counts.values()))
        labels = torch.arange(EXAMPLES) % CLASSES
        assert tracker.frame(labels, "training").equals(plain.frame(labels, "training"))


@contextmanager
def synchronising_is_an_error():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("method", METHODS_OF_ROUNDS)
def test_no_step_of_a_round_waits_for_a_gpu(method, graph):
    device = torch.device("cuda", torch.cuda.current_device())
    steps = Steps(device, Tensor.cuda, method, cuda_graph=graph)
    without_waiting(steps, synchronising_is_an_error())


@pytest.mark.gpu
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_kind_of_step_waits_for_a_gpu(setting):
    device = torch.device("cuda", torch.cuda.current_device())
    steps = Steps(device, Tensor.cuda, "random", **SETTINGS[setting])
    without_waiting(steps, synchronising_is_an_error())
