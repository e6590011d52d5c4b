"""Lightning with the adapter: its own parts of batches, the step, a run that is resumed."""

import os
from itertools import chain

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import crest
from crest.errors import ParameterError
from crest.integrations.lightning import LossLoader
from tests.integrations.loops import COUNT, INPUTS, TARGETS, close, losses_of, network, plain_loop
from tests.integrations.processes import on_processes


def sampler(**options):
    settings = {"count": COUNT, "batch_size": 11, "steps": 42, "lag": 9, "epoch_steps": 14}
    return crest.LossBatchSampler(**settings | options)


# After which step each is resumed: the last of the first epoch, or one within the second.
PRECISIONS = {"32-true": 7, "bf16-mixed": 10}


def run(rank, folder):
    """In each precision a whole run, and one that is resumed."""
    import pytorch_lightning as lightning
    from pytorch_lightning.callbacks import ModelCheckpoint

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network, self.batches = network(), []

        def train_dataloader(self):
            self.sampler = sampler()
            data = crest.Indexed(TensorDataset(INPUTS, TARGETS))
            return LossLoader(DataLoader(data, batch_sampler=self.sampler), accumulated=2)

        def training_step(self, batch, _):
            indices, inputs, targets = batch
            losses = losses_of(self.network, inputs, targets)
            self.sampler.update(indices, losses)
            self.batches.append(indices.tolist())
            return self.sampler.mean(losses)

        def configure_optimizers(self):
            return torch.optim.SGD(self.network.parameters(), lr=0.05)

    processes = int(os.environ["WORLD_SIZE"])  # Lightning takes it away

    def trained(precision, resumed_from=None):
        module = Module()
        saving = ModelCheckpoint(
            folder / precision, "{step}", every_n_train_steps=PRECISIONS[precision], save_top_k=-1
        )
        lightning.Trainer(
            accelerator="cpu", devices=processes, max_epochs=3, precision=precision,
            strategy="ddp" if processes > 1 else "auto", callbacks=[saving],
            accumulate_grad_batches=2, logger=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0,
        ).fit(module, ckpt_path=resumed_from)  # fmt: skip
        return module.batches, nn.utils.parameters_to_vector(module.parameters()).tolist()

    return {
        precision: [
            trained(precision), trained(precision, folder / precision / f"step={step}.ckpt"),
        ]
        for precision, step in PRECISIONS.items()
    }  # fmt: skip


def test_processes_train_as_a_plain_loop_does_also_when_resumed(tmp_path) -> None:
    pytest.importorskip("pytorch_lightning")
    for ranks in on_processes([1, 2], __name__, "run", tmp_path):
        for precision, step in PRECISIONS.items():
            mixed = precision == "bf16-mixed"
            batches, weights = plain_loop(sampler(), accumulated=2, mixed=mixed)
            whole, rest = zip(*[rank[precision] for rank in ranks], strict=True)
            for runs, first in [(whole, 0), (rest, 2 * step)]:
                parts = zip(*[found for found, _ in runs], strict=True)
                assert [list(chain(*part)) for part in parts] == batches[first:]
            for (_, trained_to), (_, resumed) in zip(whole, rest, strict=True):
                assert resumed == trained_to
                close(torch.tensor(trained_to), weights, mixed)


def test_a_checkpoint_within_a_step_is_warned_of() -> None:
    made = sampler()
    data = crest.Indexed(TensorDataset(INPUTS, TARGETS))
    loader = LossLoader(DataLoader(data, batch_sampler=made), accumulated=2)
    batches = iter(loader)
    made.update(next(batches)[0], torch.ones(11))
    with pytest.warns(UserWarning, match="a checkpoint within a step of 2 batches"):
        loader.state_dict()
    made.update(next(batches)[0], torch.ones(11))
    loader.state_dict()  # without a warning, which would be an error


def test_what_cannot_be_had_is_refused() -> None:
    loader = DataLoader(TensorDataset(INPUTS), batch_sampler=sampler())
    with pytest.raises(ParameterError, match="steps: 42 is no multiple of the 4 batches"):
        LossLoader(loader, accumulated=4)
    with pytest.raises(ParameterError, match="the loader's batch_sampler is a BatchSampler"):
        LossLoader(DataLoader(TensorDataset(INPUTS), batch_size=4))
