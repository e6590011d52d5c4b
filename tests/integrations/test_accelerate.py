"""Accelerate with the adapter: parts of batches, the step, a state in the middle of an epoch."""

from itertools import chain

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import crest
from crest.errors import OrderError, ParameterError
from crest.integrations.accelerate import prepare_loader
from tests.integrations.loops import COUNT, INPUTS, TARGETS, close, losses_of, network, plain_loop
from tests.integrations.processes import on_processes

pytest.importorskip("accelerate")

PRECISIONS = ["no", "bf16"]
STOPS = [14, 20]  # batches: the end of the first epoch, and the middle of the second


def sampler(**options):
    settings = {"count": COUNT, "batch_size": 11, "steps": 42, "lag": 9, "epoch_steps": 14}
    return crest.LossBatchSampler(**settings | options)


def loader(made, workers=0):
    data = crest.Indexed(TensorDataset(INPUTS, TARGETS))
    return DataLoader(data, batch_sampler=made, num_workers=workers)


def trained(folder, precision, stop=None, resumed=False):
    """The batches of this process, and the weights; left after ``stop`` batches."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, mixed_precision=precision)
    made, batches = sampler(), []
    prepared = prepare_loader(accelerator, loader(made))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model, optimizer = accelerator.prepare(model, optimizer)
    if resumed:
        accelerator.load_state(str(folder / "state"))
    while made.position < made.steps:
        for indices, inputs, targets in prepared:
            batches.append(indices.tolist())
            with accelerator.accumulate(model):
                losses = losses_of(model, inputs, targets)
                accelerator.backward(made.mean(losses))
                optimizer.step()
                optimizer.zero_grad()
            made.update(indices, losses)
            if len(batches) == stop:
                accelerator.save_state(str(folder / "state"))
                return batches, None
    return batches, nn.utils.parameters_to_vector(model.parameters()).tolist()


def run(rank, folder):
    """Whole runs, and those that are left at an epoch's end or in its middle, and resumed."""
    from accelerate.state import AcceleratorState

    found = {}
    for precision in PRECISIONS:
        AcceleratorState._reset_state()  # which keeps the first precision
        found[precision] = [trained(folder, precision)]
        for stop in STOPS:
            begun, _ = trained(folder, precision, stop)
            rest, weights = trained(folder, precision, resumed=True)
            found[precision].append((begun + rest, weights))
    return found | {"within a step": refused(folder)}


def refused(folder):
    """What is told where a state would be saved in the middle of a step."""
    try:
        trained(folder, PRECISIONS[-1], stop=STOPS[-1] + 1)
    except OrderError as error:
        return str(error)
    return ""


def test_processes_train_as_a_plain_loop_does_also_when_resumed(tmp_path) -> None:
    for ranks in on_processes([1, 2], __name__, "run", tmp_path):
        for rank in ranks:
            assert "save_state: within a step of 2 batches" in rank["within a step"]
        for precision in PRECISIONS:
            batches, weights = plain_loop(sampler(), accumulated=2, mixed=precision == "bf16")
            for runs in zip(*[rank[precision] for rank in ranks], strict=True):
                parts = zip(*[found for found, _ in runs], strict=True)
                assert [list(chain(*part)) for part in parts] == batches
                for (_, trained_to), rank in zip(runs, ranks, strict=True):
                    assert trained_to == rank[precision][0][1]
                    close(torch.tensor(trained_to), weights, precision == "bf16")


class Named:
    """As much of an Accelerator as is asked before it is refused."""

    gradient_accumulation_steps = 4


def test_a_step_that_an_epoch_would_cut_off_is_refused() -> None:
    with pytest.raises(ParameterError, match="steps: 42 is no multiple of the 4 batches"):
        prepare_loader(Named(), loader(sampler()))
    with pytest.raises(ParameterError, match="epoch_steps: 14 is no multiple of the 4 batches"):
        prepare_loader(Named(), loader(sampler(steps=44)))


def test_another_batch_sampler_is_refused() -> None:
    with pytest.raises(ParameterError, match="the loader's batch_sampler is a BatchSampler"):
        prepare_loader(Named(), DataLoader(TensorDataset(INPUTS), batch_size=4))
