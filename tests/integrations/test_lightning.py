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
from tests.integrations.loops import COUNT, INPUTS, TARGETS, losses_of, network, plain_loop
from tests.integrations.processes import on_processes


def sampler(**options):
    settings = {"count": COUNT, "batch_size": 11, "steps": 42, "lag": 9, "epoch_steps": 14}
    return crest.LossBatchSampler(**settings | options)


def run(rank, folder):
    """A whole run, and one that is left in the middle of the second epoch and resumed."""
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

    def trained(resumed_from=None):
        module = Module()
        lightning.Trainer(
            accelerator="cpu", devices=processes, max_epochs=3,
            strategy="ddp" if processes > 1 else "auto",
            accumulate_grad_batches=2, logger=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0,
            callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=5, save_top_k=-1)],
        ).fit(module, ckpt_path=resumed_from)  # fmt: skip
        return module.batches, nn.utils.parameters_to_vector(module.parameters()).tolist()

    whole, weights = trained()
    rest, resumed = trained(folder / "step=10.ckpt")
    return {"whole": whole, "weights": weights, "rest": rest, "resumed": resumed}


def test_processes_train_as_a_plain_loop_does_also_when_resumed(tmp_path) -> None:
    pytest.importorskip("pytorch_lightning")
    batches, weights = plain_loop(sampler(), accumulated=2)
    for ranks in on_processes([1, 2], __name__, "run", tmp_path):
        for kind, trained_to, first in [("whole", "weights", 0), ("rest", "resumed", 20)]:
            parts = zip(*[rank[kind] for rank in ranks], strict=True)
            assert [list(chain(*part)) for part in parts] == batches[first:]
            for rank in ranks:
                torch.testing.assert_close(torch.tensor(rank[trained_to]), weights)


def test_what_cannot_be_had_is_refused() -> None:
    loader = DataLoader(TensorDataset(INPUTS), batch_sampler=sampler())
    with pytest.raises(ParameterError, match="steps: 42 is no multiple of the 4 batches"):
        LossLoader(loader, accumulated=4)
    with pytest.raises(ParameterError, match="the loader's batch_sampler is a BatchSampler"):
        LossLoader(DataLoader(TensorDataset(INPUTS), batch_size=4))
