"""TRL's SFTTrainer with the adapter: which rows, and the losses of their own tokens."""

from itertools import chain

import pytest
import torch
from torch.nn import functional as F

import crest
from crest.errors import ParameterError

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


def trainer(folder, sampling=None, **options):
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=WORDS, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=1, max_position_embeddings=64,
        )
    )  # fmt: skip
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
        model, config, train_dataset=data(), processing_class=tokenizer,
        sampling={"lag": 5} | (sampling or {}),
    )  # fmt: skip


def reported(made):
    """Train, and return all indices and losses that were reported."""
    indices, losses, report = [], [], made._report

    def noting(values):
        indices.append(made._indices.tolist())
        losses.extend(values.tolist())
        report(values)

    made._report = noting
    made.train()
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


def test_groups_are_of_the_rows_that_were_given(tmp_path) -> None:
    made = trainer(tmp_path, sampling={"groups": [0] * CUT + [7] + [1] * (COUNT - CUT - 1)})
    assert made._sampling["groups"] == [0] * CUT + [1] * (COUNT - CUT - 1)
    with pytest.raises(ParameterError, match="groups: rows are packed"):
        trainer(tmp_path, sampling={"groups": [0] * COUNT}, packing=True)
