"""TRL's SFTTrainer with the adapter: which rows, the losses of their own tokens, the steps."""

import os
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import crest
from crest.errors import ParameterError
from tests.integrations.processes import on_processes

pytest.importorskip("trl")

import datasets
import tokenizers
import transformers
from trl import SFTConfig

from crest.integrations.trl import LossSampledSFT

pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL, of packing without flash attention
WORDS, COUNT, LONGEST = 30, 40, 9
GENERATOR = torch.Generator().manual_seed(3)
LENGTHS = torch.randint(3, LONGEST + 1, (COUNT,), generator=GENERATOR).tolist()
ROWS = [torch.randint(3, WORDS, (n,), generator=GENERATOR).tolist() for n in LENGTHS]
CUT = 11  # a row whose first tokens are not trained on, and the others are cut off


def data():
    labels = [[*row[:1], -100, *row[2:]] for row in ROWS]
    rows = [*ROWS[:CUT], [5] * 20, *ROWS[CUT + 1 :]]
    labels[CUT] = [-100] * 15 + [5] * 5
    return datasets.Dataset.from_dict({"input_ids": rows, "labels": labels})


def llama():
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=WORDS, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=1, max_position_embeddings=64,
        )
    )  # fmt: skip


def gpt2():
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=WORDS, n_embd=8, n_layer=1, n_head=1, n_positions=64, bos_token_id=1,
            eos_token_id=1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )
    )  # fmt: skip


def trainer(folder, sampling=None, model=None, **options):
    vocabulary = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | {str(n): n for n in range(3, WORDS)}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    made = {
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": 6,
        "max_length": LONGEST, "report_to": "none", "disable_tqdm": True, "use_cpu": True,
        "save_strategy": "no", "learning_rate": 1e-9, "bf16": False, "logging_strategy": "no",
    }  # fmt: skip
    config = SFTConfig(output_dir=str(folder), **made | options)
    return LossSampledSFT(
        model or llama(), config, train_dataset=data(), processing_class=tokenizer,
        sampling={"lag": 5} | (sampling or {}),
    )  # fmt: skip


def reported(made, resumed_from=None):
    """Train, and return all indices and losses that were reported."""
    indices, losses, report = [], [], made._report

    def noting(values):
        indices.append(made._indices.tolist())
        losses.extend(values.tolist())
        report(values)

    made._report = noting
    made.train(resume_from_checkpoint=resumed_from)
    return indices, losses


def loss_of(model, row, labels):
    logits = model(torch.tensor([row])).logits[0, :-1]
    return float(F.cross_entropy(logits, torch.tensor(labels)[1:], ignore_index=-100))


@pytest.mark.parametrize("options", [{}, {"shuffle_dataset": True}])
def test_a_rows_loss_is_that_of_its_own_tokens_and_its_index_that_of_the_row(
    options, tmp_path
) -> None:
    made = trainer(tmp_path, **options)
    indices, losses = reported(made)
    assert made.dropped == [CUT]
    assert sorted(made.rows) == [index for index in range(COUNT) if index != CUT]
    given, model = data(), made.model.eval()
    expected = []
    for index in chain(*indices):
        row = given[made.rows[index]]
        expected.append(loss_of(model, row["input_ids"], row["labels"]))
    torch.testing.assert_close(losses, expected, atol=1e-4, rtol=1e-4)


def test_the_batches_are_the_samplers(tmp_path) -> None:
    made = trainer(tmp_path, sampling={"rule": "random"})
    indices, _ = reported(made)
    sampler = crest.LossBatchSampler(COUNT - 1, 4, 12, rule="random", seed=42, lag=5, epoch_steps=8)
    assert indices == list(sampler) + list(sampler)


def test_a_packed_rows_loss_is_that_of_its_own_tokens(tmp_path) -> None:
    """Rows lie one behind the other in a batch without padding."""
    made = trainer(tmp_path, packing=True, max_length=20, per_device_train_batch_size=2)
    batches, collate = [], made.data_collator
    made.data_collator = lambda rows: batches.append((rows, collate(rows))) or batches[-1][1].copy()
    indices, losses = reported(made)
    assert made.rows is None
    assert max(chain(*indices)) < len(made.train_dataset) < COUNT
    model, expected = made.model.eval(), []
    for rows, batch in batches:
        labels = batch.pop("labels")
        logits = model(**batch, use_cache=False).logits[:, :-1].transpose(1, 2)
        tokens = F.cross_entropy(logits, labels[:, 1:], ignore_index=-100, reduction="none")
        tokens, start = F.pad(tokens, (1, 0))[0], 0
        for row in rows:
            end = start + len(row["input_ids"])
            count = int((labels[0, start:end] != -100).sum())
            expected.append(float(tokens[start:end].sum() / count))
            start = end
    torch.testing.assert_close(losses, expected, atol=1e-4, rtol=1e-4)


def test_a_rule_that_weighs_losses_is_refused(tmp_path) -> None:
    with pytest.raises(ParameterError, match="rule: the step is TRL's own"):
        trainer(tmp_path, sampling={"rule": "infobatch"}).train()


def test_groups_are_of_the_rows_that_were_given(tmp_path) -> None:
    made = trainer(tmp_path, sampling={"groups": [0] * CUT + [7] + [1] * (COUNT - CUT - 1)})
    assert made._sampling["groups"] == [0] * CUT + [1] * (COUNT - CUT - 1)
    with pytest.raises(ParameterError, match="groups: rows are packed"):
        trainer(tmp_path, sampling={"groups": [0] * COUNT}, packing=True)


SIZE, EPOCHS, SAVED_AFTER = 4, 2, 5  # SIZE: of all processes
KINDS = {
    "padded": (gpt2, {}),
    "padded, in bfloat16": (llama, {"bf16": True}),
    "packed": (llama, {"packing": True, "max_length": 12}),
    "padding-free": (llama, {"padding_free": True, "max_length": None}),
}


def long_trainer(folder, kind, processes=1, **others):
    model, options = KINDS[kind]
    made = {
        "per_device_train_batch_size": SIZE // processes, "num_train_epochs": EPOCHS,
        "max_steps": -1, "optim": "sgd", "learning_rate": 0.5, "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant", "save_strategy": "steps", "save_steps": SAVED_AFTER,
    }  # fmt: skip
    return trainer(folder / kind, model=model(), **made | options | others)


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).tolist()


def run(rank, folder):
    """Of each kind a whole run, and one that is resumed in the middle of the second epoch."""
    processes, found = int(os.environ["WORLD_SIZE"]), {}
    for kind in KINDS:
        whole = long_trainer(folder, kind, processes)
        batches, _ = reported(whole)
        rest = long_trainer(folder, kind, processes)
        others, _ = reported(rest, str(folder / kind / f"checkpoint-{SAVED_AFTER}"))
        found[kind] = {
            "whole": batches, "rest": others,
            "weights": weights(whole.model), "resumed": weights(rest.model),
        }  # fmt: skip
    return found


def documents(row):
    """The input and labels of each document of a row, one alone where rows are not packed."""
    lengths = row.get("seq_lengths") or [len(row["input_ids"])]
    columns = (torch.tensor(row[name]).split(lengths) for name in ("input_ids", "labels"))
    return zip(*columns, strict=True)


def plain(rows, kind):
    """The batches and the weights of a plain loop, whose step is the mean over all its tokens."""
    model = KINDS[kind][0]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    per_epoch = len(rows) // (2 * SIZE) * 2
    sampler = crest.LossBatchSampler(
        len(rows), SIZE, EPOCHS * per_epoch, seed=42, lag=5, epoch_steps=per_epoch
    )
    batches, step, items = [], 0.0, 0
    for batch in chain.from_iterable(sampler for _ in range(EPOCHS)):
        means = []
        for row in (rows[index] for index in batch):
            sums, count = 0.0, 0
            for tokens, labels in documents(row):
                with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in kind):
                    logits = model(tokens[None]).logits[0, :-1].float()
                sums = sums + F.cross_entropy(logits, labels[1:], reduction="sum")
                count += int((labels[1:] != -100).sum())
            means.append(float(sums) / max(count, 1))
            step, items = step + sums, items + count
        sampler.update(batch, means)
        batches.append(batch)
        if len(batches) % 2 == 0:
            optimizer.zero_grad()
            (step / items).backward()
            optimizer.step()
            step, items = 0.0, 0
    return batches, weights(model)


def test_steps_are_those_of_a_plain_loop_on_one_and_two_processes_also_when_resumed(
    tmp_path,
) -> None:
    """With accumulation: padded, packed, and one row behind the other without padding."""
    expected = {}
    for kind in KINDS:
        rows = long_trainer(tmp_path / "rows", kind).train_dataset
        expected[kind] = plain(rows.to_list(), kind)
    for ranks in on_processes([1, 2], __name__, "run", tmp_path):
        for kind, (batches, trained_to) in expected.items():
            of_kind = [rank[kind] for rank in ranks]
            for name, first in [("whole", 0), ("rest", 2 * SAVED_AFTER)]:
                parts = zip(*[one[name] for one in of_kind], strict=True)
                assert [list(chain(*part)) for part in parts] == batches[first:], (kind, name)
            tolerance = 5e-3 if "bfloat16" in kind else 1e-5
            for one in of_kind:
                assert one["resumed"] == one["weights"]
                torch.testing.assert_close(one["weights"], trained_to, atol=tolerance, rtol=1e-4)
