"""The Trainer of transformers with the adapter: its batches, its steps, its checkpoints."""

import math
import os
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import crest
from crest.errors import ArtifactError, OrderError, ParameterError
from tests.integrations.processes import on_processes

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from crest.integrations.token_losses import example_losses  # noqa: E402
from crest.integrations.transformers import LossSampled  # noqa: E402

COUNT, SIZE, ACCUMULATED, EPOCHS = 70, 6, 2, 3  # SIZE: of all processes
STEPS = COUNT // (SIZE * ACCUMULATED) * EPOCHS
WORDS, LENGTH = 30, 7
GENERATOR = torch.Generator().manual_seed(7)
TOKENS = torch.randint(3, WORDS, (COUNT, LENGTH), generator=GENERATOR)
LENGTHS = torch.randint(3, LENGTH + 1, (COUNT,), generator=GENERATOR)
MASK = torch.arange(LENGTH) < LENGTHS[:, None]
CLASSES = TOKENS[:, 0] % 3
# Where each is resumed: in the middle of the second epoch, or at its end.
KINDS = {"classes": 8, "tokens": 10, "tokens in bfloat16": 8}
SETTINGS = {"rule": "focused", "lag": 6, "seed": 4, "record": True}
WEIGHTED = SETTINGS | {"rule": "infobatch"}
RECORDS = ["seen", "correct", "forgotten", "first_learned", "taken_for"]


class FocusedTrainer(LossSampled, transformers.Trainer):
    pass


def classifier():
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=WORDS, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
            intermediate_size=8, num_labels=3, max_position_embeddings=LENGTH,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def language_model():
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=WORDS, n_embd=8, n_layer=1, n_head=1, n_positions=LENGTH,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def row(index, kind):
    """An example; -100 for tokens that pad it."""
    labels = TOKENS[index].masked_fill(~MASK[index], -100)
    return {
        "input_ids": TOKENS[index] * MASK[index],
        "attention_mask": MASK[index].long(),
        "labels": CLASSES[index] if kind == "classes" else labels,
    }


def trainer(folder, kind, processes=1, sampling=SETTINGS, **options):
    made = {
        "per_device_train_batch_size": SIZE // processes, "num_train_epochs": EPOCHS,
        "gradient_accumulation_steps": ACCUMULATED, "learning_rate": 0.05, "max_grad_norm": 0.0,
        "label_smoothing_factor": 0.1, "lr_scheduler_type": "constant", "optim": "sgd",
        "save_steps": 2, "report_to": "none", "disable_tqdm": True, "use_cpu": True,
        "logging_strategy": "no",
    }  # fmt: skip
    made |= {"bf16": "bfloat16" in kind}
    model = classifier() if kind == "classes" else language_model()
    arguments = transformers.TrainingArguments(output_dir=str(folder), **made | options)
    data = [row(index, kind) for index in range(COUNT)]
    return FocusedTrainer(model, arguments, train_dataset=data, sampling=sampling)


def recorded(made):
    """Note the indices of each batch that is reported."""
    batches, report = [], made._report

    def noting(losses, *outcome):
        batches.append(made._indices.tolist())
        report(losses, *outcome)

    made._report = noting
    return batches


def records(made):
    return made.sampler.examples().select(RECORDS).rows()


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).tolist()


def run(rank, folder):
    """Of each kind a whole run, and one that is resumed."""
    processes, found = int(os.environ["WORLD_SIZE"]), {}
    for kind, step in KINDS.items():
        whole = trainer(folder / kind, kind, processes)
        batches = recorded(whole)
        whole.train()
        rest = trainer(folder / kind, kind, processes)
        others = recorded(rest)
        rest.train(resume_from_checkpoint=str(folder / kind / f"checkpoint-{step}"))
        found[kind] = {
            "whole": batches, "rest": others,
            "weights": weights(whole.model), "resumed": weights(rest.model),
            "records": records(whole), "rest of records": records(rest),
        }  # fmt: skip
    found["evaluated first"] = evaluated_first(folder, processes)
    return found


def evaluated_first(folder, processes):
    """What is told where evaluation has kept DDP from the model, or else the weights."""
    made = trainer(folder / "evaluated", "classes", processes, max_steps=1, save_strategy="no")
    made.evaluate([row(index, "classes") for index in range(6)])
    try:
        made.train()
    except OrderError as error:
        return str(error)
    return weights(made.model)


def plain(kind, settings=SETTINGS):
    """Batches, weights and records of a plain loop, whose step is the mean over all its items."""
    model = classifier() if kind == "classes" else language_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    per_epoch = STEPS // EPOCHS * ACCUMULATED
    sampler = crest.LossBatchSampler(
        COUNT, SIZE, STEPS * ACCUMULATED, epoch_steps=per_epoch, **settings
    )
    batches, sums, items = [], 0.0, 0
    for batch in chain.from_iterable(sampler for _ in range(EPOCHS)):
        rows = [row(index, kind) for index in batch]
        inputs = {name: torch.stack([one[name] for one in rows]) for name in rows[0]}
        labels = inputs.pop("labels")
        with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in kind):
            logits = model(**inputs).logits.float()
        if kind != "classes":
            labels, logits = labels[:, 1:], logits[:, :-1].transpose(1, 2)
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=0.1)
        losses = losses.reshape(SIZE, -1).sum(1)
        counts = (labels != -100).reshape(SIZE, -1).sum(1)
        named = (logits.argmax(1) == labels, logits.argmax(1)) if kind == "classes" else ()
        weighed = losses * sampler.weights(batch)
        sampler.update(batch, losses / counts, *named)
        batches.append(batch)
        sums, items = sums + weighed.sum(), items + counts.sum()
        if len(batches) % ACCUMULATED == 0:
            optimizer.zero_grad()
            (sums / items).backward()
            optimizer.step()
            sums, items = 0.0, 0
    examples = [list(row) for row in sampler.examples().select(RECORDS).rows()]
    return batches, weights(model), examples


def test_steps_are_those_of_a_plain_loop_on_one_and_two_processes_also_when_resumed(
    tmp_path,
) -> None:
    """With accumulation and label smoothing, for classes and for tokens of padded sequences."""
    expected = {kind: plain(kind) for kind in KINDS}
    for ranks in on_processes([1, 2], __name__, "run", tmp_path):
        evaluated = [one["evaluated first"] for one in ranks]
        if any("the processes would train apart" in one for one in evaluated):
            assert len(ranks) > 1
        assert evaluated == evaluated[:1] * len(ranks)
        for kind, (batches, trained_to, examples) in expected.items():
            of_kind = [rank[kind] for rank in ranks]
            parts = zip(*[one["whole"] for one in of_kind], strict=True)
            assert [list(chain(*part)) for part in parts] == batches
            rest = zip(*[one["rest"] for one in of_kind], strict=True)
            assert [list(chain(*part)) for part in rest] == batches[KINDS[kind] * ACCUMULATED :]
            tolerance = 2e-3 if "bfloat16" in kind else 1e-5
            for one in of_kind:
                assert one["records"] == one["rest of records"] == examples
                assert one["resumed"] == one["weights"]
                torch.testing.assert_close(one["weights"], trained_to, atol=tolerance, rtol=1e-4)


def test_bfloat16_reports_finite_losses_and_evaluates(tmp_path) -> None:
    made = trainer(tmp_path, "tokens", bf16=True, max_steps=3, save_strategy="no")
    made.eval_dataset = [row(index, "tokens") for index in range(10)]
    made.train()
    assert made.sampler.position == 3 * ACCUMULATED
    loss = made.evaluate()["eval_loss"]
    assert math.log(WORDS) / 2 < loss < math.log(WORDS) * 1.5


def test_losses_of_ones_own_are_means_over_examples(tmp_path) -> None:
    kept = {"save_strategy": "no", "label_smoothing_factor": 0.0, "max_steps": 4}
    own, default = trainer(tmp_path, "classes", **kept), trainer(tmp_path, "classes", **kept)
    own._losses = lambda outputs, labels: F.cross_entropy(outputs.logits, labels, reduction="none")
    own.train()
    default.train()
    torch.testing.assert_close(weights(own.model), weights(default.model))


@pytest.mark.parametrize(
    ("kind", "own"), [("classes", False), ("classes", True), ("tokens", False)]
)
def test_a_rule_that_weighs_losses_is_that_of_a_plain_loop(kind, own, tmp_path) -> None:
    made = trainer(tmp_path, kind, sampling=WEIGHTED, save_strategy="no")
    if own:
        made._losses = lambda outputs, labels: F.cross_entropy(
            outputs.logits, labels, reduction="none", label_smoothing=0.1
        )
    batches = recorded(made)
    made.train()
    expected, trained_to, _ = plain(kind, WEIGHTED)
    assert batches == expected
    torch.testing.assert_close(weights(made.model), trained_to, atol=1e-5, rtol=1e-4)
    assert plain(kind, WEIGHTED | {"weights": False})[1] != trained_to


def test_a_checkpoint_without_the_sampler_is_told(tmp_path) -> None:
    trainer(tmp_path, "classes", max_steps=8).train()
    (tmp_path / "checkpoint-8" / "crest_sampler.pt").unlink()
    with pytest.raises(ArtifactError, match=r"checkpoint-8: no crest_sampler\.pt, as it was saved"):
        trainer(tmp_path, "classes", max_steps=9).train(resume_from_checkpoint=True)


def test_a_trainer_before_the_class_is_refused() -> None:
    """It would train with its own loader, and take ``sampling`` for no argument of its own."""
    right = r"write class Wrong\(LossSampled, Trainer\)"
    with pytest.raises(ParameterError, match=right):
        type("Wrong", (transformers.Trainer, LossSampled), {})
    mixin = type("Mixin", (LossSampled,), {})
    with pytest.raises(ParameterError, match=right):
        type("Wrong", (transformers.Trainer, mixin), {})
    changed = type("Changed", (), {"get_train_dataloader": None, "training_step": None})
    type("Right", (changed, mixin, transformers.Trainer), {})  # changes what comes after it
    type("Right", (FocusedTrainer,), {})


@pytest.mark.parametrize("name", ["steps", "batch_size", "rank"])
def test_what_the_trainer_says_is_not_said_again(tmp_path, name) -> None:
    """It was a TypeError of multiple values, or batches split twice."""
    with pytest.raises(ParameterError, match=rf"sampling: {name}: .*leave it out"):
        trainer(tmp_path, "classes", sampling={name: 1})


def test_what_cannot_be_had_is_refused(tmp_path) -> None:
    with pytest.raises(ParameterError, match="70 examples are fewer than the 96 of a step"):
        trainer(tmp_path, "classes", gradient_accumulation_steps=16).train()
    outputs = transformers.modeling_outputs.ModelOutput(start_logits=torch.ones(2, 3))
    with pytest.raises(ParameterError, match="say how the losses of examples are had"):
        example_losses(outputs, torch.ones(2), None, shifted=False)


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([[2.0], [0.5]], [1.0, 1.0], [1.0, 0.25]),
        ([[0.0, 0.0]], [[1.0, 0.0]], [2 * math.log(2)]),
        ([[0.0, 0.0], [0.0, 0.0]], [1, -100], [math.log(2), 0.0]),
        ([[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]], [[1, 0, -100]], [2 * math.log(2)]),
    ],
)
def test_regression_several_labels_and_tokens(logits, labels, expected) -> None:
    outputs = transformers.modeling_outputs.SequenceClassifierOutput(logits=torch.tensor(logits))
    labels = torch.tensor(labels)
    sums, items = example_losses(outputs, labels, None, shifted=False)
    torch.testing.assert_close(sums, torch.tensor(expected))
    assert int(items.sum()) == int((labels != -100).sum())
